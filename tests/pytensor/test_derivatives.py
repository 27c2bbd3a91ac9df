"""Every function and its derivatives in every mode: against dense JAX and finite differences."""

from functools import cache

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.gradient import hessian, pushforward, verify_grad
from pytensor.graph.replace import vectorize_graph

from support.pytensor_systems import CHANGE, FUNCTIONS, MODES, VALUES, differ, measure, run

a, da = pt.dvector("a"), pt.dvector("da")
POINT = (VALUES, CHANGE)
PYTHON = "FAST_COMPILE"  # compiles fastest
BATCH = np.stack([VALUES, 1.3 * VALUES, VALUES + 0.1])


def along(f):
    """Derivative of a scalar in the direction da."""
    return (pytensor.grad(f, a) * da).sum()


def derivatives(f):
    """Value, gradient, and derivatives of the gradient along da, once and twice."""
    return [f, *(pytensor.grad(g, a) for g in (f, along(f), along(along(f))))]


@cache
def expected(name):
    pytest.importorskip("jax")
    from support import pytensor_dense as dense

    return dense.derivatives(lambda a: dense.measure(dense.FUNCTIONS[name](a)), *POINT)


@pytest.mark.fast_cases(
    r"(partial_inverse|solve_triangular)-JAX",
    r"(logdet|solve|solve vector|diag_inverse|draw)-FAST_COMPILE",
    r"(unpermuted|quad_form|matvec|gmrf_logp)-FAST_COMPILE",
)
@pytest.mark.parametrize("mode", [PYTHON, "JAX"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_to_the_third_order(name, mode):
    got = run([a, da], derivatives(measure(FUNCTIONS[name](a))), POINT, mode)
    for order, (x, y) in enumerate(zip(got, expected(name), strict=True)):
        assert differ(x, y) < 1e-11, order


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["CVM", "NUMBA", None])
def test_the_other_modes(mode):
    """Functions and their gradients in one graph."""
    names = ["gmrf_logp", "draw"] if mode == "CVM" else FUNCTIONS  # a C compiler takes long
    f = [measure(FUNCTIONS[name](a)) for name in names]
    got = run([a, da], [*f, *(pytensor.grad(g, a) for g in f)], POINT, mode)
    for k, name in enumerate(names):
        value, gradient, *_ = expected(name)
        assert differ(got[k], value) < 1e-12, name
        assert differ(got[len(f) + k], gradient) < 1e-11, name


VERIFIED = ["logdet", "solve", "solve_triangular", "partial_inverse", "quad_form"]


@pytest.mark.slow
def test_second_order_in_numba():
    """In one graph: numba compiles once what the functions share."""
    names = [*VERIFIED, "draw"]
    products = [pytensor.grad(along(measure(FUNCTIONS[name](a))), a) for name in names]
    for name, product in zip(names, run([a, da], products, POINT, "NUMBA"), strict=True):
        assert differ(product, expected(name)[2]) < 1e-11, name


@pytest.mark.fast_cases(r"logdet-JAX")
@pytest.mark.parametrize("mode", ["FAST_COMPILE", "JAX"])
@pytest.mark.parametrize("name", VERIFIED)
def test_verify_grad(name, mode):
    def gradient(a):
        return pytensor.grad(measure(FUNCTIONS[name](a)), a)

    for f in (FUNCTIONS[name], gradient) if mode == "JAX" else (gradient,):
        verify_grad(f, [VALUES], n_tests=1, rng=np.random.default_rng(0), mode=mode)


@pytest.mark.fast_cases(r"(logdet|matvec)")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_pushforward(name):
    """Both kinds of forward mode, of the function and of its gradient."""
    x = FUNCTIONS[name](a)
    f = [x, pytensor.grad(along(measure(x)), a)]
    both = [pushforward(y, a, da, use_op_pushforward=direct) for y in f for direct in (True, False)]
    h = 1e-6
    function = pytensor.function([a, da], [*both, *f], mode=PYTHON)
    *got, _, _ = function(VALUES, CHANGE)
    up, down = (function(VALUES + step * CHANGE, CHANGE)[-2:] for step in (h, -h))
    for k, (u, d) in enumerate(zip(up, down, strict=True)):
        assert differ(got[2 * k], got[2 * k + 1]) < 1e-11
        assert differ(got[2 * k], (u - d) / (2 * h)) < 1e-6


@pytest.mark.fast_cases(r"FAST_COMPILE")
@pytest.mark.parametrize("mode", ["FAST_COMPILE", "NUMBA", "JAX"])
def test_batches(mode):
    """vectorize_graph, before and after the gradient is taken."""
    names = ["logdet", "draw"] if mode == "NUMBA" else FUNCTIONS  # numba compiles long
    f = sum(measure(FUNCTIONS[name](a)) for name in names)
    many = pt.dmatrix("many")
    values, gradients = vectorize_graph([f, pytensor.grad(f, a)], {a: many})
    outputs = [values, gradients, pytensor.grad(vectorize_graph(f, {a: many}).sum(), many)]
    got = run([many], outputs, [BATCH], mode)
    each = pytensor.function([a], [f, pytensor.grad(f, a)], mode=PYTHON)
    for k, point in enumerate(BATCH):
        value, gradient = each(point)
        assert differ(got[0][k], value) < 1e-12
        assert differ(got[1][k], gradient) < 1e-11
        assert differ(got[2][k], gradient) < 1e-11


@pytest.mark.fast_cases(r"JAX")
@pytest.mark.parametrize("mode", [PYTHON, "JAX"])
def test_hessian(mode):
    f = FUNCTIONS["gmrf_logp"](a)
    H, product = run([a, da], [hessian(f, a), pytensor.grad(along(f), a)], POINT, mode)
    assert differ(H, H.T) < 1e-11
    assert differ(H @ CHANGE, product) < 1e-11


@pytest.mark.slow
def test_single_precision():
    x = pt.fvector("x")
    wanted = run([a], pytensor.grad(FUNCTIONS["logdet"](a), a), [VALUES], PYTHON)
    for mode in MODES:
        g = pytensor.grad(FUNCTIONS["logdet"](x), x)
        value, gradient = run([x], [FUNCTIONS["logdet"](x), g], [VALUES.astype("f")], mode)
        assert value.dtype == gradient.dtype == np.float32
        assert differ(gradient, wanted) < 1e-5
