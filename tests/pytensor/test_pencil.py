"""log det(A + t B) and of two parameters in PyTensor: as in the NumPy face, with derivatives."""

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.testing import assert_allclose

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol.models import adjacency, car

(_, D), (_, W) = car(adjacency([(i, (i + 1) % 7) for i in range(7)])).terms(alpha=0.0)
INTERVAL = (-0.5, 0.999)


def test_derivatives_of_a_batch():
    expected, f = sc.logdet_pencil(D, -W, INTERVAL), scpt.logdet_pencil(D, -W, INTERVAL)
    t = pt.dvector("t")
    value = f(t)
    slope = pt.grad(value.sum(), t)
    curvature = pt.grad(slope.sum(), t)
    run = pytensor.function([t], [value, slope, curvature], mode="FAST_COMPILE")
    at = np.array([-0.5, 0.0, 0.7, 0.999])
    found = run(at)
    assert_allclose(found[0], expected(at), rtol=1e-12)
    for k in (1, 2):
        assert_allclose(found[k], expected.derivative(at, k), rtol=1e-6, atol=1e-6)
    outside = run(np.array([1.5, 0.0]))
    assert np.isnan(outside[0][0])
    assert outside[1][0] == 0
    assert_allclose(outside[0][1], expected(0.0))


def test_numba():
    expected, f = sc.logdet_pencil(D, -W, INTERVAL), scpt.logdet_pencil(D, -W, INTERVAL)
    t = pt.dscalar("t")
    value = f(t)
    run = pytensor.function([t], [value, pt.grad(value, t)], mode="NUMBA")
    assert_allclose(run(0.7), [expected(0.7), expected.derivative(0.7)], rtol=1e-9)


def test_scalars_and_types():
    f = scpt.logdet_pencil(D, -W, INTERVAL)
    t = pt.fscalar("t")
    assert f(t).type.dtype == "float32"
    assert f(t).type.ndim == 0
    assert_allclose(f(0.5).eval(mode="FAST_COMPILE"), sc.logdet(D - 0.5 * W))


def test_two_parameters():
    """Mixed derivatives, shapes that broadcast, and what lies outside."""
    parts = (D, -W, np.eye(7), ((-0.5, 0.9), (0.0, 2.0)))
    expected, f = sc.logdet_pencil_pair(*parts), scpt.logdet_pencil_pair(*parts)
    s, t = pt.dvector("s"), pt.dscalar("t")
    value = f(s, t)
    slopes = pt.grad(value.sum(), [s, t])
    mixed = pt.grad(slopes[1], s)
    run = pytensor.function([s, t], [value, *slopes, mixed], mode="FAST_COMPILE")
    at = np.array([-0.5, 0.0, 0.7])
    found = run(at, 1.3)
    assert_allclose(found[0], expected(at, 1.3), rtol=1e-12)
    assert_allclose(found[1], expected.derivative(at, 1.3, (1, 0)), rtol=1e-8, atol=1e-10)
    assert_allclose(found[2], expected.derivative(at, 1.3, (0, 1)).sum(), rtol=1e-8, atol=1e-10)
    assert_allclose(found[3], expected.derivative(at, 1.3, (1, 1)), rtol=1e-8, atol=1e-8)
    outside = run(np.array([0.5]), 7.0)
    assert np.isnan(outside[0][0])
    assert not any(np.any(part) for part in outside[1:])
    assert f(pt.fscalar(), pt.fscalar()).type.dtype == "float32"
