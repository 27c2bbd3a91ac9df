"""Patterns of many expressions: they hold every entry, and no more where that can be told."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.gradient import pullback

from sparsechol.pytensor import hessian_pattern, jacobian_pattern
from support.pytensor_sparsity_battery import HESSIANS, JACOBIANS, PYTHON, N

# Of PyTensor's own einsum, when numba compiles it for the first time.
pytestmark = pytest.mark.filterwarnings("ignore:.*faster on contiguous arrays")

POINTS = np.random.default_rng(1).uniform(0.5, 1.5, (2, N))


def nonzeros(expr, x):
    """Where the Jacobian is not zero at one of the points, row by row."""
    cotangent = expr.type()
    outputs = [expr, pullback(expr, x, cotangent, disconnected_inputs="ignore")]
    f = pytensor.function([x, cotangent], outputs, mode=PYTHON, on_unused_input="ignore")
    shape = pytensor.function([x], expr, mode=PYTHON, on_unused_input="ignore")(POINTS[0]).shape
    rows = np.eye(int(np.prod(shape)), dtype=expr.type.dtype).reshape(-1, *shape)
    found = [[f(point, row)[1] for row in rows] for point in POINTS]
    return np.any(np.array(found) != 0, axis=0)


def compare(found, wanted, nnz):
    assert found.shape == wanted.shape
    assert not (wanted & (found.toarray() == 0)).any()
    if nnz is not None:
        assert found.nnz == nnz


@pytest.mark.fast_cases(
    r"(sparse|stopped|kernels): .*|.*: (switch.*|product|sum|mean|concatenate|reshape)",
    r".*: (set.*|solve.*|two taps)",
)
@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobian(name):
    build, nnz = JACOBIANS[name]
    x = pt.vector("x", shape=(N,))
    expr = build(x)
    compare(jacobian_pattern(expr, x, on_unknown="raise"), nonzeros(expr, x), nnz)


@pytest.mark.fast_cases(r".*(rosenbrock|poisson|kernel|density|solve|logdet).*")
@pytest.mark.parametrize("name", HESSIANS)
def test_hessian(name):
    build, nnz = HESSIANS[name]
    x = pt.vector("x", shape=(N,))
    cost = build(x)
    found = hessian_pattern(cost, x, on_unknown="raise")
    assert (found != found.T).nnz == 0
    g = pytensor.grad(cost, x)
    compare(found, nonzeros(g, x), nnz)


def test_there_are_enough():
    assert len(JACOBIANS) >= 160
    assert len(HESSIANS) >= 20


@pytest.mark.parametrize("value", [1e10, -1e10, np.nan, np.inf, 5.7, -0.5])
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_casts_that_do_not_fit_are_not_known(value, dtype):
    """Backends differ in them."""
    x = pt.vector("x", shape=(8,))
    i = pt.clip(pt.cast(pt.constant(np.float64(value)), dtype), 0, 7)
    P = jacobian_pattern(x[i][None], x)
    assert P.nnz == (1 if value in (5.7, -0.5) else 8)
