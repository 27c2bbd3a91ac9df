"""Which triangle is read, and whether the two agree: against the definition on dense arrays."""

from contextlib import suppress

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsechol as sc
from support.helpers import DTYPES, SETTINGS, eps, random_spd, spd_matrices

FORMATS = ["csc", "csr", "coo", "bsr", "lil", "dok", "dia"]


def stored(A, format):
    return A if format == "dense" else sp.coo_array(A).asformat(format)


def strict(A, lower):
    return np.tril(A, -1) if lower else np.triu(A, 1)


ONE_SHOT = {
    "cholesky": sc.cholesky,
    "solve": lambda A, **options: sc.solve(A, np.ones(A.shape[0]), **options),
    "logdet": sc.logdet,
    "partial_inverse": sc.partial_inverse,
}


def entries_of_the_face(A):
    """All that reads a matrix by one triangle, and the keyword that names it."""
    S = sc.analyze(A)
    F = S.factorize(A)
    return {
        **ONE_SHOT,
        "analyze": sc.analyze,
        "values": S.values,
        "factorize": S.factorize,
        "refactorize": F.refactorize,
        "solve_triangular": lambda A, **lower: sc.solve_triangular(A, np.ones(F.shape[0]), **lower),
    }  # fmt: skip


# ---- the triangle that is read ----------------------------------------------------------------


@pytest.mark.parametrize("format", ["dense", *FORMATS])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_other_triangle_is_refused(dtype, lower, format):
    A = random_spd(np.random.default_rng(0), 7, "random", dtype)
    other = stored(np.triu(A) if lower else np.tril(A), format)
    for name, function in entries_of_the_face(A).items():
        with pytest.raises(ValueError, match=f"pass lower={not lower}"):
            function(other, lower=lower)
        if name != "solve_triangular":
            function(other, lower=not lower)
    np.testing.assert_allclose(
        sc.solve(other, A @ np.ones(7), lower=not lower), np.ones(7), rtol=200 * eps(dtype)
    )


@pytest.mark.parametrize("lower", [True, False])
def test_diagonal_matrices_are_not_refused(lower):
    A, D = random_spd(np.random.default_rng(0), 7), np.diag(np.arange(1.0, 8.0))
    zeros = sp.csc_array(np.triu(np.ones((7, 7))))  # stored zeros in the upper triangle
    zeros.data[:] = 0
    zeros.setdiag(1)
    for function in entries_of_the_face(A).values():
        for M in (D, sp.dia_array(D), sp.csr_array(D), np.zeros((0, 0))):
            if len(M.shape) == 2 and M.shape[0] == 7:
                function(M, lower=lower)
    assert sc.analyze(zeros, lower=False).indices.size == 28
    with pytest.raises(ValueError, match="lower=False"):  # the pattern is what counts
        sc.analyze(zeros)


def test_stored_zeros_beside_the_values_in_the_other_triangle():
    A = np.array([[4.0, 1.0], [1.0, 3.0]])
    full = sp.csc_array(A)
    full.data[1] = 0  # entry (1, 0)
    S = sc.analyze(full)  # only positions count
    for function in (S.values, S.factorize, sc.cholesky):
        with pytest.raises(ValueError, match="lower=False"):
            function(full)
    assert sc.logdet(full, lower=False, check_symmetric=False) == pytest.approx(np.log(11))


def test_changes_of_derivatives():
    A = random_spd(np.random.default_rng(0), 7)
    F = sc.cholesky(A)
    change = np.where(A != 0, 1.0, 0.0)
    wanted = sc.derivatives.logdet_jvp(F, change)
    assert sc.derivatives.logdet_jvp(F, np.tril(change)) == wanted
    for function in (
        sc.derivatives.logdet_jvp,
        sc.derivatives.logdet_hvp,
        sc.derivatives.factor_jvp,
        sc.derivatives.partial_inverse_jvp,
        sc.derivatives.diag_inverse_jvp,
    ):
        with pytest.raises(ValueError, match="pass its conjugate transpose"):
            function(F, np.triu(change))


# ---- two triangles ----------------------------------------------------------------------------


def unlike(A):
    """The definition: pairs that differ by more than rounding."""
    tolerance = np.sqrt(eps(A.dtype)) * np.maximum(abs(A), abs(A.T))
    scale = np.sqrt(abs(np.diag(A)).astype(float))
    tolerance = np.maximum(tolerance, 100 * eps(A.dtype) * np.outer(scale, scale))
    both = strict(A, True).any() and strict(A, False).any()
    off = abs(A - A.conj().T) > tolerance
    return off if both else off & np.eye(len(A), dtype=bool)


@SETTINGS
@given(spd_matrices(min_n=2), st.sampled_from(["dense", "csc", "csr"]), st.booleans(), st.data())
def test_symmetry_is_checked_as_defined(A, format, lower, data):
    i, j = data.draw(st.tuples(*[st.integers(0, len(A) - 1)] * 2))
    size = data.draw(st.sampled_from([0, 1e-30, 1e-20, 1e-14, 1e-9, 1e-6, 1e-2, 1]))
    A[i, j] *= 1 + size
    A[i, j] += A.dtype.type((1j if A.dtype.kind == "c" else 1) * size * data.draw(st.booleans()))
    M = stored(A, format)
    if not unlike(A).any() and (strict(A, lower).any() or not strict(A, not lower).any()):
        with suppress(sc.NotPositiveDefiniteError):
            sc.cholesky(M, lower=lower)
        return
    with pytest.raises(ValueError, match=r"symmetric|Hermitian|lower="):
        sc.cholesky(M, lower=lower)
    if strict(A, True).any() and strict(A, False).any():
        for function in ONE_SHOT.values():
            with pytest.raises(ValueError, match=r"symmetric|Hermitian"):
                function(M, lower=lower)
        with pytest.raises(ValueError, match=r"symmetric|Hermitian"):
            sc.analyze(M, check_symmetric=True)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_unsorted_repeated_and_padded_entries(dtype, format):
    rng = np.random.default_rng(0)
    A = random_spd(rng, 9, "random", dtype)
    sc.cholesky(stored(A, format))
    row, column = np.nonzero(A)
    part = rng.standard_normal(row.size).astype(A.real.dtype)
    order = rng.permutation(2 * row.size)
    data = np.concatenate([A[row, column] * part, A[row, column] * (1 - part)])[order]
    M = sp.coo_array((data, (np.tile(row, 2)[order], np.tile(column, 2)[order])), shape=A.shape)
    sc.cholesky(M)
    if format in ("csc", "csr"):
        M = stored(A, format)
        for k in range(9):  # every list backwards
            piece = slice(M.indptr[k], M.indptr[k + 1])
            M.indices[piece], M.data[piece] = M.indices[piece][::-1], M.data[piece][::-1].copy()
        M.has_sorted_indices = False
        for lower in (True, False):
            sc.cholesky(M, lower=lower)
    # A stored zero without a partner is no difference.
    extra = sp.coo_array(A)
    row, column = np.append(extra.row, 0), np.append(extra.col, 8)
    M = sp.csc_array((np.append(extra.data, 0), (row, column)), shape=A.shape)
    sc.cholesky(M)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("terms", [10, 1000, 30_000])
def test_rounding_of_products_is_no_asymmetry(dtype, terms):
    """Entries of A^H A, each triangle summed in an order of its own, one after another."""
    rng = np.random.default_rng(terms)
    for shift in (0, 3):  # with and without cancellation
        X = (rng.standard_normal((terms, 8)) + shift).astype(dtype)
        if X.dtype.kind == "c":
            X = X + 1j * rng.standard_normal(X.shape).astype(X.real.dtype)
        X *= 10.0 ** rng.integers(-3, 4, 8)
        X = X.astype(dtype)

        def summed(X):
            products = X[:, :, None].conj() * X[:, None, :]
            return np.cumsum(products, axis=0, dtype=X.dtype)[-1]

        G, H = summed(X), summed(X[rng.permutation(terms)])
        G = np.tril(G) + np.triu(H, 1)
        if terms > 10:
            assert (G != G.conj().T).any()
        G[np.diag_indices(8)] *= G.dtype.type(1.5)  # well conditioned: here symmetry is at stake
        sc.cholesky(G)
        sc.cholesky(sp.csr_array(G), lower=False)


def elements(rng, size, scale):
    """Stiffness matrices of triangles of a grid with right angles, where entries cancel."""
    corner = np.arange(size * size).reshape(size, size)
    a, b, c, d = (
        x.ravel() for x in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:])
    )
    triangles = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
    angle = rng.uniform(0, 7)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.stack(np.unravel_index(np.arange(size * size), (size, size)), 1) @ turn
    x = points[triangles]
    sides = x[:, [2, 0, 1]] - x[:, [1, 2, 0]]
    weights = rng.uniform(1, 2, (3, len(triangles)))  # as many points of quadrature
    area = abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
    matrices = np.einsum("eik,ejk->eij", sides, sides) / (2 * area)[:, None, None]
    matrices = scale * weights[:, :, None, None] * matrices
    return np.tile(triangles, (3, 1)), matrices.reshape(-1, 3, 3)


def assemble(rng, triangles, matrices, n, dtype):
    row = np.repeat(triangles, 3, axis=1).ravel()
    column = np.tile(triangles, 3).ravel()
    order = rng.permutation(row.size)  # and so each entry and its mirror image has its own order
    K = sp.coo_array(
        (matrices.ravel()[order].astype(dtype), (row[order], column[order])), shape=(n, n)
    )
    return sp.csc_array(K)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_assembled_elements_and_boundary_rows(dtype):
    rng = np.random.default_rng(0)
    for scale in 10.0 ** np.arange(-8 if dtype == np.float32 else -20, 13, 2.0):
        triangles, matrices = elements(rng, 12, scale)
        K = assemble(rng, triangles, matrices, 144, dtype)
        assert (K != K.T).nnz
        K = sp.csc_array(K + sp.eye_array(144, dtype=dtype) * dtype(scale))
        sc.cholesky(K)
        for row in rng.permutation(144)[:4]:  # the row of the identity, the column as it was
            dense = K.toarray()
            dense[row] = 0
            dense[row, row] = 1
            for M in (dense, sp.csc_array(dense), sp.csr_array(dense)):
                for lower in (True, False):
                    with pytest.raises(ValueError, match="not symmetric"):
                        sc.solve(M, np.ones(144), lower=lower)


def test_boundary_rows_give_the_wrong_answer_unchecked():
    """What the check is for."""
    A = np.array([[1.0, 0, 0, 0], [-1, 2, -1, 0], [0, -1, 2, -1], [0, 0, 0, 1.0]])
    b = np.array([0.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(np.linalg.solve(A, b), [0, 1, 1, 0], atol=1e-15)
    with pytest.raises(ValueError, match=r"\(0, 1\) and \(1, 0\) differ by 1, they are 0 and -1"):
        sc.solve(A, b)
    assert not np.allclose(sc.solve(A, b, check_symmetric=False), [0, 1, 1, 0])


# ---- messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("format", ["dense", *FORMATS])
def test_complex_symmetric_and_imaginary_diagonal(dtype, format):
    symmetric = np.array([[2, 1j], [1j, 2]], dtype)
    diagonal = np.array([[2 + 1j, 1j], [-1j, 2]], dtype)
    nan = np.array([[2 + 1j * np.nan, 1j], [-1j, 2]], dtype)
    for function in ONE_SHOT.values():
        for lower in (True, False):
            with pytest.raises(
                ValueError, match=r"complex symmetric, not Hermitian: .* both 0[+]1j"
            ):
                function(stored(symmetric, format), lower=lower)
            with pytest.raises(
                ValueError, match=r"entry \(0, 0\), on the diagonal, is 2[+]1j, not"
            ):
                function(stored(diagonal, format), lower=lower)
            with pytest.raises(ValueError, match=r"NaNs: entry \(0, 0\)"):
                function(stored(nan, format), lower=lower)
    with pytest.raises(ValueError, match=r"NaNs: entry \(0, 0\)"):
        sc.analyze(stored(nan, format), check_symmetric=True)
    with pytest.raises(ValueError, match="not Hermitian: entries"):
        sc.solve(np.array([[2, 1j], [2, 2]]), np.ones(2))


def test_nan_in_the_triangle_that_is_not_read():
    A = np.array([[2.0, np.nan], [1.0, 2.0]])
    with pytest.raises(ValueError, match=r"NaNs: entry \(0, 1\) is nan"):
        sc.solve(A, np.ones(2))
    assert sc.logdet(A, check_symmetric=False) == pytest.approx(np.log(3))


def test_failed_factorizations_mention_asymmetry():
    good = np.array([[2.0, 1.0], [1.0, 2.0]])
    A = np.array([[1.0, 0.1], [2.0, 1.0]])
    S = sc.analyze(good)
    F = S.factorize(good)
    wanted = r"and column 1 is -3. Only one .* entries \(\d, \d\) and \(\d, \d\) differ by 1.9"
    for function in (
        lambda M: sc.cholesky(M, check_symmetric=False),
        S.factorize,
        F.refactorize,
    ):
        for M in (A, sp.csc_array(A), sp.csr_array(A)):
            with pytest.raises(sc.NotPositiveDefiniteError, match=wanted) as caught:
                function(M)
            assert (caught.value.row, caught.value.pivot) == (1, -3)
        for M in (np.tril(A), np.array([[1.0, 2.0], [2.0, 1.0]])):  # symmetry is not at fault
            with pytest.raises(sc.NotPositiveDefiniteError, match=r"1 is -3$"):
                function(M)
    with pytest.raises(sc.NotPositiveDefiniteError, match=r"1 is -3$"):
        S.factorize([1.0, 2.0, 1.0])


@pytest.mark.parametrize("lower", [True, False])
def test_stored_zeros_are_no_values(lower):
    """Zeros stored in the other triangle neither hide the one that is read nor contradict it."""
    ends, places = ([0, 2, 4], [0, 1, 0, 1])
    A = sp.csc_array((np.array([4.0, 1.0, 0.0, 3.0]), places, ends), shape=(2, 2))
    A = A if lower else sp.csc_array(A.T)
    H = np.array([[4.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(sc.solve(A, np.ones(2), lower=lower), np.linalg.solve(H, np.ones(2)))
    assert sc.logdet(A, lower=lower) == pytest.approx(np.log(11))
    ends, places = ([0, 1, 3], [0, 0, 1])
    D = sp.csc_array((np.array([4.0, 0.0, 3.0]), places, ends), shape=(2, 2))
    D = D if lower else sp.csc_array(D.T)
    np.testing.assert_allclose(sc.solve(D, np.ones(2), lower=lower), [1 / 4, 1 / 3])
    np.testing.assert_allclose(sc.solve_triangular(D, np.ones(2), lower=lower), [1 / 4, 1 / 3])
    with pytest.raises(ValueError, match="none off the diagonal"):
        sc.analyze(D, lower=lower)
