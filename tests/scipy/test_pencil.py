"""log det(A + t B) as a series, against generalized eigenvalues and high precision."""

import math
import pickle

import mpmath
import numpy as np
import pytest
import scipy.linalg as sl
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import sparsechol as sc
from sparsechol.models import adjacency, besag, car, grid_laplacian, leroux, rw2
from support.helpers import SETTINGS

RING = adjacency([(i, (i + 1) % 9) for i in range(9)])  # odd: no eigenvalue -1


def semidefinite(rng, n, rank):
    X = rng.standard_normal((n, rank)) * np.exp(rng.uniform(-2, 2, n))[:, None]
    return X @ X.T


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.floats(-3, 2), st.floats(0.1, 4))
@SETTINGS
def test_any_semidefinite_pair(n, seed, start, length):
    """Derivatives are sums over the generalized eigenvalues of A and B relative to A + B."""
    rng = np.random.default_rng(seed)
    A = semidefinite(rng, n, int(rng.integers(1, n + 1))) + 1e-3 * np.eye(n)
    B = semidefinite(rng, n, int(rng.integers(1, n + 1)))
    low, high = 10.0**start, 10.0 ** (start + length)
    f = sc.logdet_pencil(A, B, (low, high), atol=1e-4)
    t = np.clip(low * (high / low) ** np.linspace(0, 1, 9), low, high)
    r = np.clip(sl.eigh(B, A + B, eigvals_only=True), 0, 1)
    terms = r / (1 - r + t[:, None] * r)
    dense = A + t[:, None, None] * B
    noise = 1e-15 * (abs(f(t)).max() + n * np.linalg.cond(dense).max())
    assert_allclose(f(t), np.linalg.slogdet(dense)[1], atol=1e-12 + 10 * noise)
    assert_allclose(t * f.derivative(t), t * terms.sum(axis=1), atol=1e-10 + 1e3 * noise)
    second = -((t[:, None] * terms) ** 2).sum(axis=1)
    assert_allclose(t**2 * f.derivative(t, 2), second, atol=1e-8 + 1e5 * noise)


def dense_pair(family):
    (_, A), (_, B) = family.terms(**dict.fromkeys(family.parameters, 0.5))
    return A, B


@pytest.mark.parametrize("interval", [(0.001, 1 - 1e-6), (-0.9, 0.5), (-1.02, -1.0), (0.3, 0.4)])
def test_car(interval):
    """Negative t, down to beyond -1 on a graph that is not bipartite."""
    D, W = dense_pair(car(RING))
    f = sc.logdet_pencil(D, -W, interval)
    assert f.ends[0] < interval[0]
    assert interval[1] < f.ends[1] <= 1
    alpha = np.linspace(*interval, 11)
    lam = np.cos(2 * np.pi * np.arange(9) / 9)
    assert_allclose(
        f(alpha), 9 * np.log(2) + np.log1p(-alpha[:, None] * lam).sum(axis=1), atol=1e-9
    )
    for order in range(1, 5):
        terms = (lam / (1 - alpha[:, None] * lam)) ** order
        expected = -math.factorial(order - 1) * terms.sum(axis=1)
        assert_allclose(f.derivative(alpha, order), expected, rtol=1e-5, atol=1e-6)


def test_leroux_and_an_intrinsic_matrix():
    R = besag(RING).Q
    f = sc.logdet_pencil(sp.eye_array(9), R - sp.eye_array(9), (0.0, 1 - 1e-5))
    g = sc.logdet_pencil(R, sp.eye_array(9), (1e-5, 1e5))
    for x in (0.0, 0.3, 0.99, 1 - 1e-5):
        assert_allclose(f(x), sc.logdet(leroux(RING)(lambda_=x).Q) if x else 0.0, atol=1e-9)
    for t in (1e-5, 0.01, 1.0, 1e5):
        assert_allclose(g(t), sc.logdet(R + t * sp.eye_array(9)), atol=1e-8)
    assert -1e-5 < g.ends[0] - 0.0 < 1e-5


def test_a_null_space_of_both():
    walk, graph = rw2(6).Q, besag(RING).Q
    A, B = sp.kron(sp.eye_array(6), graph), sp.kron(walk, graph)
    V = sp.kron(sp.eye_array(6), np.ones((9, 1)))
    f = sc.logdet_pencil(A, B, (0.01, 10.0), null_space=V)
    for t in (0.01, 0.7, 10.0):
        eigenvalues = np.linalg.eigvalsh((A + t * B).toarray())
        assert_allclose(f(t), np.log(eigenvalues[6:]).sum(), rtol=1e-11)
    assert_allclose(f(20.0), sc.cholesky(A + 20 * B, null_space=V).logdet())


def test_grid_in_high_precision():
    """Shifts of a Laplacian, whose eigenvalues are known."""
    A, m = grid_laplacian((12, 7)), (12, 7)
    lines = [4 * np.sin(np.pi * np.arange(1, k + 1) / (2 * (k + 1))) ** 2 for k in m]
    lam = np.add.outer(*lines).ravel()
    f = sc.logdet_pencil(A, sp.eye_array(84), (1e-3, 1e3))
    for t in (1e-3, 0.5, 30.0, 1e3):
        with mpmath.workdps(40):
            value = float(mpmath.fsum(mpmath.log(mpmath.mpf(x) + t) for x in lam))
            slope = float(mpmath.fsum(1 / (mpmath.mpf(x) + t) for x in lam))
        assert_allclose(f(t), value, rtol=1e-13)
        assert_allclose(f.derivative(t), slope, rtol=1e-11)


def test_length_does_not_depend_on_the_spectrum():
    interval = (1e-3, 1e3)
    spread = sp.diags_array(10.0 ** np.linspace(-9, 9, 50))
    one = sp.eye_array(50)
    counts = [
        sc.logdet_pencil(A, B, interval, atol=1e-7).coefficients.size
        for A, B in ((one, spread), (spread, one), (one, one))
    ]
    assert max(counts) < 130


@pytest.mark.parametrize("dtype", ["f4", "c8", "c16"])
def test_types(dtype):
    A = np.array([[4, 1], [1, 5]], dtype)
    if A.dtype.kind == "c":
        A = A + np.array([[0, 1j], [-1j, 0]], dtype)
    f = sc.logdet_pencil(A, np.eye(2, dtype=dtype), (0, 1))
    assert_allclose(f(0.3), np.linalg.slogdet(A + 0.3 * np.eye(2))[1], rtol=1e-12)


def test_outside_a_matrix_is_factored():
    f = sc.logdet_pencil(2 * np.eye(3), np.eye(3), (0.0, 1.0))
    assert_allclose(f([0.5, 7.0, -1.0]), 3 * np.log([2.5, 9.0, 1.0]))
    assert np.isnan(f.derivative(7.0))
    assert np.isnan(f(np.nan))
    assert isinstance(f(0.5), float)
    with pytest.raises(sc.NotPositiveDefiniteError):
        f(-3.0)
    assert_allclose(f(7.0), 3 * np.log(9.0))  # after a matrix that was none


def test_small_pickled_and_shown():
    f = pickle.loads(pickle.dumps(sc.logdet_pencil(np.array([[2.0]]), np.array([[0.0]]), (0, 1))))
    assert_allclose(f(0.5), math.log(2))
    assert f.error < 1e-14
    assert repr(f).startswith("<LogdetPencil of order 1 on [0, 1]:")
    assert f.derivative(0.5, 3) == pytest.approx(0, abs=1e-9)
    assert sc.logdet_pencil(np.zeros((0, 0)), np.zeros((0, 0)), (0, 1))(0.5) == 0


def test_the_error_that_is_found_is_refused():
    with pytest.raises(ValueError, match="which is more than atol"):
        sc.logdet_pencil(besag(RING).Q, sp.eye_array(9), (1e-6, 1.0), atol=1e-17)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: sc.logdet_pencil(np.eye(2), -np.eye(2), (0, 1)),
            sc.NotPositiveDefiniteError,
            "row",
        ),
        (lambda: sc.logdet_pencil(np.eye(2), np.eye(3), (0, 1)), ValueError, "different shapes"),
        (lambda: sc.logdet_pencil(np.eye(2), np.eye(2), (1, 1)), ValueError, "must be finite and"),
        (lambda: sc.logdet_pencil(np.eye(2), np.eye(2), (0, np.inf)), ValueError, "finite"),
        (lambda: sc.logdet_pencil(np.eye(2), np.eye(2), 3), ValueError, "a pair of numbers"),
        (lambda: sc.logdet_pencil(np.eye(2), [[1, 2], [3, 4]], (0, 1)), ValueError, "B"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_end_within_rounding():
    B = np.array([[-1.0]])
    with pytest.raises(ValueError, match="within rounding of a singular matrix"):
        sc.logdet_pencil(-B, B, (0.0, 1 - 2**-52))


def test_which_end_is_wrong():
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        sc.logdet_pencil(np.eye(2), -np.eye(2), (0, 2))
    assert "t = 2.0" in caught.value.__notes__[0]
