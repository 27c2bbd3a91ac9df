"""log det(A + s B + t C) as a product of series, against eigenvalues and dense matrices."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import sparsechol as sc
from sparsechol.models import adjacency, besag, grid_laplacian, rw2
from support.helpers import SETTINGS

RING = besag(adjacency([(i, (i + 1) % 9) for i in range(9)])).Q
LAM = 2 - 2 * np.cos(2 * np.pi * np.arange(9) / 9)  # of the ring
BOX = ((-0.2, 3.0), (0.01, 2.0))


@pytest.fixture(scope="module")
def ring():
    """I + s R + t (R^2 + I), all of whose eigenvectors are the same."""
    unit = sp.eye_array(9)
    return sc.logdet_pencil_pair(unit, RING, RING @ RING + unit, BOX)


def points(box, count, seed=0):
    rng = np.random.default_rng(seed)
    return [np.r_[side, rng.uniform(*side, count)] for side in box]


def test_values_and_derivatives(ring):
    s, t = points(BOX, 20)
    assert ring.error < 1e-10
    eigenvalues = 1 + s[:, None] * LAM + t[:, None] * (LAM**2 + 1)
    assert_allclose(ring(s, t), np.log(eigenvalues).sum(axis=1), atol=1e-10)
    b, c = LAM / eigenvalues, (LAM**2 + 1) / eigenvalues
    for order, terms in (((1, 0), b), ((0, 1), c), ((1, 1), -b * c), ((2, 1), 2 * b**2 * c)):
        assert_allclose(ring.derivative(s, t, order), terms.sum(axis=1), rtol=1e-6, atol=1e-7)
    assert_allclose(ring.derivative(s, t, (0, 0)), ring(s, t), atol=1e-12)


def test_shapes(ring):
    s, t = np.linspace(0, 3, 4), np.linspace(0.1, 2, 3)[:, None]
    table = ring(s, t)
    assert table.shape == ring.derivative(s, t, (1, 0)).shape == (3, 4)
    assert table[2, 1] == pytest.approx(ring(1.0, 2.0), abs=1e-12)
    assert isinstance(ring(1.0, 1.0), float)


def test_outside_a_matrix_is_factored(ring):
    s, t = np.array([7.0, 0.0, 7.0]), np.array([1.0, 9.0, 30.0])
    eigenvalues = 1 + s[:, None] * LAM + t[:, None] * (LAM**2 + 1)
    assert_allclose(ring(s, t), np.log(eigenvalues).sum(axis=1), rtol=1e-12)
    assert np.isnan(ring.derivative(s, t, (1, 0))).all()
    assert np.isnan(ring(np.nan, 1.0))
    with pytest.raises(sc.NotPositiveDefiniteError):
        ring(-9.0, 0.1)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
@SETTINGS
def test_any_semidefinite_matrices(n, seed):
    rng = np.random.default_rng(seed)
    parts = [X @ X.T for X in rng.standard_normal((3, n, n))]
    A = parts[0] + 1e-2 * np.eye(n)
    box = [(0.0, 10.0 ** rng.uniform(-1, 1)) for _ in range(2)]
    f = sc.logdet_pencil_pair(A, *parts[1:], box, atol=1e-7)
    s, t = points(box, 5, seed)
    dense = A + s[:, None, None] * parts[1] + t[:, None, None] * parts[2]
    noise = n * np.linalg.cond(dense).max() * 1e-15
    assert_allclose(f(s, t), np.linalg.slogdet(dense)[1], rtol=1e-10, atol=1e-10 + noise)


def test_a_range_that_both_parameters_share():
    """I - s W - t W is singular at s + t = 1: beyond the box something is left for both."""
    W = np.array([[0.0, 1.0], [1.0, 0.0]])
    f = sc.logdet_pencil_pair(np.eye(2), -W, -W, ((0.0, 0.4), (0.0, 0.4)))
    assert f.ends[0][1] + f.ends[1][1] < 1
    assert min(side[1] for side in f.ends) > 0.45
    s, t = points(f.box, 10)
    assert_allclose(f(s, t), np.log1p(-((s + t) ** 2)), atol=1e-12)


def test_a_lattice_and_a_null_space_of_all():
    grid, unit = grid_laplacian((12, 7)), sp.eye_array(84)
    f = sc.logdet_pencil_pair(unit, grid, grid @ grid, ((0.0, 5.0), (0.0, 2.0)))
    lam = np.linalg.eigvalsh(grid.toarray())
    s, t = points(f.box, 10)
    values = np.log(1 + s[:, None] * lam + t[:, None] * lam**2).sum(axis=1)
    assert_allclose(f(s, t), values, rtol=1e-12, atol=1e-11)
    times = sp.eye_array(6), rw2(6).Q, sp.diags_array(np.arange(6.0))
    A, B, C = (sp.kron(M, RING) for M in times)
    V = sp.kron(sp.eye_array(6), np.ones((9, 1)))
    g = sc.logdet_pencil_pair(A, B, C, ((0.1, 2.0), (0.0, 1.0)), null_space=V)
    eigenvalues = np.linalg.eigvalsh((A + 0.7 * B + 0.3 * C).toarray())
    assert_allclose(g(0.7, 0.3), np.log(eigenvalues[6:]).sum(), rtol=1e-11)


def test_pickled_and_shown(ring):
    again = pickle.loads(pickle.dumps(ring))
    assert_allclose(again(1.0, 1.0), ring(1.0, 1.0), rtol=1e-14)
    assert repr(ring).startswith("<LogdetPencilPair of order 9 on [-0.2, 3] x [0.01, 2]:")
    assert sc.logdet_pencil_pair(*[np.zeros((0, 0))] * 3, ((0, 1), (0, 1)))(0.5, 0.5) == 0


@pytest.mark.parametrize(
    ("box", "atol", "error", "message"),
    [
        (3, 1e-8, ValueError, "a pair of intervals"),
        (((0, 1), (1, 1)), 1e-8, ValueError, "must be finite and"),
        (((0, 1), (0, 1)), 1e-19, ValueError, "which is more than atol"),
        (((0, 1), (-5, 1)), 1e-8, sc.NotPositiveDefiniteError, "row"),
    ],
)
def test_refused(box, atol, error, message):
    with pytest.raises(error, match=message) as caught:
        sc.logdet_pencil_pair(np.eye(2), np.eye(2), np.diag([1.0, 2.0]), box, atol=atol)
    if error is sc.NotPositiveDefiniteError:
        assert "(0.0, -5.0)" in caught.value.__notes__[0]
