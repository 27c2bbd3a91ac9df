"""Quadratic forms with the inverse, of rows in and off the pattern, against dense algebra."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsechol as sc
from sparsechol._scipy.quadratic import pieces, rows_in_inverse
from sparsechol.models import grid_laplacian
from support.helpers import SETTINGS, eps, orders, random_spd, spd_matrices


def rows_for(F, rng, dtype):
    """Rows of every kind: none, one element, cliques of L, far elements, many; some written twice.

    Returns
    -------
    csr_array with unsorted rows
    """
    n, (indptr, indices) = F.shape[0], F.pattern.factor_pattern()
    chosen = [[], [0], [n - 1, 0], range(n), rng.permutation(n)[: n // 2], [0, 0, n - 1]]
    for _ in range(6):
        j = rng.integers(n)
        column = F.perm[indices[indptr[j] : indptr[j + 1]]]
        chosen.append(rng.permutation(column)[:4])
    columns = np.concatenate([np.asarray(c, int) for c in chosen])
    starts = np.cumsum([0, *map(len, chosen)])
    values = rng.standard_normal(columns.size)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(columns.size)
    return sp.csr_array((values.astype(dtype), columns, starts), shape=(len(chosen), n))


def wanted(B, inverse):
    B = B.toarray() if sp.issparse(B) else B
    return np.einsum("ri,ij,rj->r", B, inverse, B.conj()).real


@SETTINGS
@given(spd_matrices(), st.data())
def test_rows_of_every_kind(A, data):
    n = len(A)
    F = sc.cholesky(A, ordering=data.draw(orders(n)))
    inverse = np.linalg.inv(A.astype(np.result_type(A.dtype, float)))
    tolerance = 1000 * (n + 10) * n * eps(A.dtype) * abs(inverse).max()
    rng = np.random.default_rng(n)
    for dtype in {A.dtype, np.dtype(complex)}:
        B = rows_for(F, rng, dtype)
        before = B.indices.copy()
        expected = wanted(B, inverse)
        for given_ in (B, B.tocsc(), B.tocoo(), B.toarray()):
            found = F.inverse_quadratic(given_)
            assert found.dtype == A.dtype.type(0).real.dtype
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(B.indices, before)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_both_ways_and_the_choice(kind):
    """Differences of neighbors on a lattice, and rows with elements anywhere."""
    rng = np.random.default_rng(0)
    A = grid_laplacian((12, 12)) + 0.5 * sp.eye_array(144)
    if kind == "complex":
        turn = np.exp(1j * rng.uniform(0, 6, 144))
        A = sp.csc_array(turn[:, None] * A.toarray() * turn.conj())
    F = sc.cholesky(A)
    inverse = np.linalg.inv(A.toarray())
    i, j = np.triu(A.toarray() != 0, 1).nonzero()
    edges = np.repeat(np.arange(i.size), 2), np.c_[i, j].ravel()
    B = sp.csr_array((rng.standard_normal(2 * i.size), edges), shape=(i.size, 144))
    assert rows_in_inverse(F.pattern, B, 2 * F.nnz).all()
    assert not rows_in_inverse(F.pattern, B[:1], 2 * F.nnz).any()  # one solve is cheaper
    np.testing.assert_allclose(F.inverse_quadratic(B), wanted(B, inverse), rtol=1e-11)
    by_solves = [F.inverse_quadratic(B[[k]]) for k in range(5)]
    np.testing.assert_allclose(np.ravel(by_solves), wanted(B[:5], inverse), rtol=1e-11)
    far = sp.csr_array(sp.random_array((30, 144), density=0.05, random_state=rng))
    both = sp.csr_array(sp.vstack([B, far]))
    inside = rows_in_inverse(F.pattern, both, 2 * F.nnz)
    assert inside[: i.size].all()
    assert not inside[i.size :].all()
    np.testing.assert_allclose(F.inverse_quadratic(both), wanted(both, inverse), rtol=1e-11)


def test_pieces():
    """Long lists of pairs are cut, and nothing is lost."""
    B = sp.csr_array(sp.random_array((50, 40), density=0.2, random_state=np.random.default_rng(1)))
    rows = np.arange(0, 50, 2)
    cut = pieces(B, rows, 30)
    assert len(cut) > 3
    np.testing.assert_array_equal(np.concatenate(cut), rows)
    assert pieces(B, rows[:0]) == []


def test_one_row():
    A = random_spd(np.random.default_rng(2), 20, "random")
    F, inverse, b = sc.cholesky(A), np.linalg.inv(A), np.zeros(20)
    b[[3, 5]] = 1.0, -2.0
    for given_ in (b, sp.coo_array(b), sp.csr_array(b[None])[[0]]):
        found = F.inverse_quadratic(given_)
        np.testing.assert_allclose(found, b @ inverse @ b, rtol=1e-11)
    assert isinstance(F.inverse_quadratic(b), float)
    assert F.inverse_quadratic(np.zeros((0, 20))).shape == (0,)
    np.testing.assert_array_equal(F.inverse_quadratic(np.zeros((2, 20))), 0)


@pytest.mark.parametrize("signed", [False, True])
def test_batches(signed):
    rng = np.random.default_rng(3)
    A = random_spd(rng, 25, "banded")
    S = sc.analyze(A)
    values = np.stack([k * S.values(A) for k in (1.0, 2.0, 5.0)])
    F = S.ldl_batch(-values) if signed else S.factorize_batch(values)
    B = rows_for(S.factorize(A), rng, float)
    expected = (-1) ** signed * wanted(B, np.linalg.inv(A)) / np.array([[1.0], [2.0], [5.0]])
    np.testing.assert_allclose(F.inverse_quadratic(B), expected, rtol=1e-9, atol=1e-12)
    assert F.inverse_quadratic(B[[1]].toarray()[0]).shape == (3,)


def test_effective_degrees_of_freedom():
    """Of a smoothing spline in discrete form: the trace of the matrix that makes fitted values."""
    n, D = 60, np.diff(np.eye(60), 2, axis=0)
    B = np.random.default_rng(4).random((200, 1)) * 58
    k = np.floor(B[:, 0]).astype(int)
    rows = np.repeat(np.arange(200), 2)
    part = B[:, 0] - k
    B = sp.csr_array((np.c_[1 - part, part].ravel(), (rows, np.c_[k, k + 1].ravel())), (200, n))
    w = np.linspace(0.5, 2, 200)
    Q = B.T @ sp.diags_array(w) @ B + 3 * sp.csc_array(D.T @ D)
    F = sc.cholesky(Q)
    dense = B.toarray()
    hat = dense @ np.linalg.solve(Q.toarray(), dense.T * w)
    np.testing.assert_allclose(w @ F.inverse_quadratic(B), np.trace(hat), rtol=1e-9)


@pytest.mark.parametrize(
    ("error", "match", "B"),
    [
        (ValueError, r"\(2, 4\): it is \(3,\) or \(m, 3\)", np.ones((2, 4))),
        (ValueError, r"\(1, 2, 3\)", np.ones((1, 2, 3))),
        (ValueError, r"B\[1, 0\]", np.array([[1.0, 0, 0], [np.nan, 0, 0]])),
        (ValueError, "row 1", sp.csr_array(np.array([[1.0, 0, 0], [np.inf, 0, 0]]))),
        (TypeError, "object", np.array([None, 1, 2])),
        (ValueError, "masked", np.ma.masked_array(np.ones(3), [True, False, False])),
    ],
)
def test_bad_input(error, match, B):
    F = sc.cholesky(np.diag([1.0, 2.0, 3.0]))
    with pytest.raises(error, match=match):
        F.inverse_quadratic(B)
    with pytest.raises(error, match=match):
        F.condition(np.ones(3), 1.0).quadratic_variance(B)
