"""Solves with sparse unsymmetric matrices, against dense algebra."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp

from sparsechol.pytensor import sparse_jacobian, superlu_solve
from support.pytensor_sparsity_battery import PYTHON

N = 6
RNG = np.random.default_rng(4)
A = sp.csc_array((RNG.random((N, N)) < 0.4) * RNG.standard_normal((N, N)) + 3 * np.eye(N))
ROW, COLUMN = A.tocoo().coords
B = RNG.standard_normal((N, 2))


def run(inputs, outputs, points):
    return pytensor.function(inputs, outputs, mode=PYTHON)(*points)


@pytest.mark.parametrize("trans", [False, True])
@pytest.mark.parametrize("columns", [None, 2])
def test_solve_and_its_derivatives(trans, columns):
    a = pt.vector("a", shape=(A.nnz,))
    b = pt.vector("b", shape=(N,)) if columns is None else pt.matrix("b", shape=(N, 2))
    dense = pt.set_subtensor(pt.zeros((N, N))[ROW, COLUMN], a)
    found = superlu_solve(a, A, b, trans=trans), pt.linalg.solve(dense.T if trans else dense, b)
    results = []
    for x in found:
        g = pytensor.grad(pt.sin(x).sum(), [a, b])
        h = pytensor.grad(pt.cos(g[0]).sum() + (g[1] ** 2).sum(), [a, b])
        results += [x, *g, *h]
    out = run([a, b], results, [A.data, B if columns else B[:, 0]])
    for got, wanted in zip(out[:5], out[5:], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-11)


def test_newton_step():
    x = pt.vector("x", shape=(3,))
    f = pt.stack([x[0] * x[1] - 1, pt.exp(x[1]) + x[2], x[2] ** 3 + x[0]])
    step = superlu_solve(*sparse_jacobian(f, x, format="values"), f)
    at = np.array([0.5, 0.2, -0.7])
    jacobian = np.array([[0.2, 0.5, 0], [0, np.exp(0.2), 1], [1, 0, 3 * 0.49]])
    values = np.array([0.1 - 1, np.exp(0.2) - 0.7, 0.5 - 0.7**3])
    np.testing.assert_allclose(run([x], step, [at]), np.linalg.solve(jacobian, values))


def test_errors():
    with pytest.raises(ValueError, match="must be square"):
        superlu_solve(pt.vector(), np.ones((2, 3)), pt.vector())
    with pytest.raises(ValueError, match="must be a vector"):
        superlu_solve(pt.matrix(), np.eye(2), pt.vector())
    a, b = pt.vectors("ab")
    with pytest.raises(ValueError, match="2 values and 2 rows"):
        run([a, b], superlu_solve(a, np.eye(2), b), [np.ones(3), np.ones(2)])
    with pytest.raises(RuntimeError, match="singular"):
        run([a, b], superlu_solve(a, np.eye(2), b), [np.zeros(2), np.ones(2)])
