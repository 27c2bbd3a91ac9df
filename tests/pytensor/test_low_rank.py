"""Q + C D C^T beside a matrix, against dense PyTensor, and its gradients against differences."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol.models import grid_laplacian

N, K = 12, 3
A = grid_laplacian((4, 3))
Q = scpt.from_sparse(A)
rng = np.random.default_rng(0)
C0, D0 = rng.standard_normal((N, K)), np.diag([2.0, 0.0, -0.02]) + 0.01
X0 = rng.standard_normal(N)


def results():
    """All methods as functions of a factor of A, of C and of D; and whether the sum is definite."""
    t, C, D = pt.dscalar(), pt.dmatrix(), pt.dmatrix()
    G = Q.with_values(t * Q.values).with_low_rank(C, D)
    outputs = [
        G.logdet(), G.solve(X0), G.solve(C0), G.diag_inverse(), G.quad_form(X0),
        G.gmrf_logp(X0, 1.0), G.inverse_entries([0, -1], [[5], [1]]),
    ]  # fmt: skip
    return [t, C, D], outputs, G.ok


@pytest.fixture(scope="module", params=["JAX", pytest.param("NUMBA", marks=pytest.mark.slow)])
def compiled(request):
    operands, outputs, ok = results()
    return pytensor.function(operands, [*outputs, ok], mode=request.param)


def dense(t, C, D):
    M = t * A.toarray() + C @ D @ C.T
    inverse, logdet = np.linalg.inv(M), np.linalg.slogdet(M)[1]
    centered = X0 - 1
    logp = 0.5 * (logdet - N * np.log(2 * np.pi) - centered @ M @ centered)
    entries = inverse[[0, -1], [[5], [1]]]
    return [logdet, inverse @ X0, inverse @ C0, np.diag(inverse), X0 @ M @ X0, logp, entries]


def number(t, C, D, count):
    return sum(np.sin(x).sum() for x in dense(t, C, D)[-count:])


@pytest.mark.filterwarnings("ignore:np.dot:Warning")  # PyTensor's products of transposed matrices
def test_against_dense(compiled):
    got = compiled(2.0, C0, D0)
    for ours, theirs in zip(got, dense(2.0, C0, D0), strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    assert got[-1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:np.dot:Warning")
@pytest.mark.parametrize("mode", ["NUMBA", "JAX"])
def test_gradient(mode):
    operands, outputs, _ = results()
    chosen = outputs if mode == "JAX" else outputs[-1:]  # numba compiles for a minute
    gradient = pt.grad(sum(pt.sum(pt.sin(x)) for x in chosen), operands)
    dt, dC, dD = pytensor.function(operands, gradient, mode=mode)(2.0, C0, D0)
    steps = 1.0, rng.standard_normal(C0.shape), rng.standard_normal(D0.shape)
    steps = *steps[:2], steps[2] + steps[2].T
    h = 1e-5
    ends = [
        number(2.0 + s * h, C0 + s * h * steps[1], D0 + s * h * steps[2], len(chosen))
        for s in (1, -1)
    ]
    expected = (ends[0] - ends[1]) / (2 * h)
    got = dt + (dC * steps[1]).sum() + (dD * steps[2]).sum()
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:np.dot:Warning")
def test_nan_where_it_is_not_definite(compiled):
    for t, D in ((2.0, -10 * np.eye(K)), (-1.0, np.eye(K))):
        got = compiled(t, C0, D)
        assert not got[-1]
        assert np.isnan(got[0])
        assert np.isnan(got[1]).all()


def test_vectors_and_weights():
    ours = Q.with_low_rank(C0[:, 0], [3.0]).logdet().eval()
    theirs = sc.cholesky(A).with_low_rank(C0[:, 0], [3.0]).logdet()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("C", "D", "match"),
    [
        (np.ones(3), None, "C"),
        (np.ones((2, N, 1)), None, "no batch"),
        (np.ones((N, 2)), np.ones(3), "D has type"),
        (np.ones((N, 2)), np.ones((2, 2, 2)), "D has type"),
    ],
)
def test_mistakes(C, D, match):
    with pytest.raises(ValueError, match=match):
        Q.with_low_rank(C, D)
