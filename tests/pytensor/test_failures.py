"""Matrices that are not positive definite, and operands that do not fit when the graph runs."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp

import sparsechol as sc
import sparsechol.pytensor as scpt
from support.pytensor_systems import FUNCTIONS, MODES, VALUES, B, N, matrix, measure

a = pt.dvector("a")
BAD = [-VALUES, np.full_like(VALUES, np.nan), np.zeros_like(VALUES)]
NEED_POSITIVE = [name for name in FUNCTIONS if name not in ("matvec", "quad_form")]


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", MODES)
def test_nan_and_no_exception(mode):
    names = NEED_POSITIVE if mode in ("FAST_COMPILE", "JAX") else ["gmrf_logp", "draw"]
    f = [measure(FUNCTIONS[name](a)) for name in names]
    function = pytensor.function([a], [*f, *(pytensor.grad(x, a) for x in f)], mode=mode)
    for values in BAD:
        got = function(values)
        for k, name in enumerate(names):
            assert np.isnan(got[k]), name
            assert np.isnan(got[len(f) + k]).any(), name
    assert all(np.isfinite(x).all() for x in function(VALUES))


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", ["FAST_COMPILE", "NUMBA", "JAX"])
def test_the_failing_matrix_of_a_batch_only(mode):
    f = scpt.logdet(matrix(a))
    many = pt.dmatrix("many")
    outputs = pytensor.graph.vectorize_graph([f, pytensor.grad(f, a)], {a: many})
    value, gradient = pytensor.function([many], outputs, mode=mode)(np.stack([VALUES, -VALUES]))
    np.testing.assert_array_equal(np.isnan(value), [False, True])
    np.testing.assert_array_equal(np.isnan(gradient).any(1), [False, True])


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", MODES)
def test_layout_and_flags_of_operands(mode):
    """Read-only and strided operands, of other types that can be cast."""
    b = pt.matrix("b", dtype="float64")
    f = pytensor.function([a, b], scpt.solve(matrix(a), b), mode=mode)
    wanted = f(VALUES, B)
    strided = np.repeat(VALUES, 3)[::3]
    frozen = VALUES.copy()
    frozen.flags.writeable = False
    for values, x in [(strided, np.asfortranarray(B)), (frozen, np.repeat(B, 2, axis=1)[:, ::2])]:
        np.testing.assert_allclose(f(values, x), wanted, rtol=1e-14)
    reversed_ = np.ascontiguousarray(VALUES[::-1])[::-1]
    np.testing.assert_allclose(f(reversed_, B[::-1][::-1]), wanted, rtol=1e-14)


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", [0, 3, len(VALUES) + 1])
def test_wrong_lengths(mode, length):
    f = pytensor.function([a], scpt.logdet(matrix(a)), mode=mode)
    with pytest.raises((ValueError, TypeError), match="pattern"):
        f(np.ones(length))


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", MODES)
def test_wrong_right_hand_sides(mode):
    b = pt.dmatrix("b")
    f = pytensor.function([b], scpt.solve(matrix(VALUES), b), mode=mode)
    with pytest.raises((ValueError, TypeError), match="pattern"):
        f(np.ones((N + 1, 2)))
    assert f(np.ones((N, 0))).shape == (N, 0)


def test_wrong_types():
    with pytest.raises(TypeError, match="real"):
        scpt.logdet(matrix(pt.zvector("z")))
    f = pytensor.function([a], scpt.logdet(matrix(a)), mode="FAST_COMPILE")
    with pytest.raises(ValueError, match="could not convert"):
        f("values")


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", MODES)
def test_empty_matrix(mode):
    S = sc.analyze(sp.csc_array((0, 0)))
    Q = scpt.SymmetricMatrix(S, a)
    outputs = [scpt.logdet(Q), scpt.solve(Q, np.zeros((0, 2))), scpt.partial_inverse(Q)]
    value, x, z = pytensor.function([a], outputs, mode=mode)(np.zeros(0))
    assert value == 0
    assert x.shape == (0, 2)
    assert z.shape == (0,)


def test_semidefinite():
    """A graph Laplacian is singular to working precision: NaN, not a huge number."""
    W = sp.diags_array([np.ones(9), np.ones(9)], offsets=[-1, 1])
    Q = scpt.combine([(1.0, sp.diags_array(W.sum(axis=0))), (-1.0, W)])
    assert np.isnan(scpt.logdet(Q).eval(mode="FAST_COMPILE"))


HUGE = sp.coo_array(([1.0], ([0], [0])), shape=(1, 1))
HUGE._shape = (4_000_000_000, 4_000_000_000)


@pytest.mark.parametrize(
    "call",
    [
        lambda: scpt.from_sparse(HUGE),
        lambda: scpt.combine([(1.0, HUGE)]),
        lambda: scpt.solve_triangular(HUGE, np.ones(3)),
    ],
    ids=["from_sparse", "combine", "solve_triangular"],
)
def test_orders_are_checked_before_anything_is_allocated(call):
    with pytest.raises(OverflowError, match="order 4000000000"):
        call()


# ---- weak pivots and near singularity ----------------------------------------------------------


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", MODES)
def test_rcond(mode):
    """That of the SciPy face; without a derivative."""
    Q = matrix(a)
    gradient = pytensor.grad(Q.rcond * Q.logdet(), a, disconnected_inputs="ignore")
    outputs = [Q.rcond, gradient, pytensor.grad(Q.logdet(), a)]
    rcond, found, wanted = pytensor.function([a], outputs, mode=mode)(VALUES)
    assert rcond == Q.pattern.factorize(VALUES).rcond
    np.testing.assert_allclose(found, rcond * wanted, rtol=1e-12)
    assert np.isnan(pytensor.function([a], Q.rcond, mode=mode)(-VALUES))
    many = pt.dmatrix("many")
    batch = pytensor.function([many], pytensor.graph.vectorize_graph(Q.rcond, {a: many}), mode=mode)
    np.testing.assert_array_equal(batch(np.stack([VALUES, -VALUES])), [rcond, np.nan])


@pytest.mark.fast_cases(r".*(FAST_COMPILE|JAX).*")
@pytest.mark.parametrize("mode", MODES)
def test_weak_pivots(mode):
    pattern = sc.analyze(np.ones((2, 2)))
    weak = np.array([1.0, 1.0, 1.0 + 8 * np.finfo(float).eps])
    Q = scpt.SymmetricMatrix(pattern, a)
    accepting = scpt.SymmetricMatrix(pattern, a, weak_pivots="accept")
    assert np.isnan(pytensor.function([a], scpt.logdet(Q), mode=mode)(weak))
    outputs = [
        scpt.logdet(Q, weak_pivots="accept"),
        scpt.slogdet(Q, weak_pivots="accept")[1],
        scpt.solve(Q, np.ones(2), weak_pivots="accept"),
        scpt.partial_inverse(Q, weak_pivots="accept"),
        scpt.diag_inverse(accepting),
        (accepting * 2.0).logdet(),
        scpt.combine([(2.0, accepting), (1.0, np.zeros((2, 2)))]).logdet(),
        accepting.rcond,
    ]
    gradient = pytensor.grad(accepting.logdet(), a)
    for value in pytensor.function([a], [*outputs, gradient], mode=mode)(weak):
        assert np.isfinite(value).all()
    refused = [
        scpt.logdet(accepting, weak_pivots="refuse"),
        accepting.with_weak_pivots("refuse").rcond,
    ]
    assert np.isnan(pytensor.function([a], refused, mode=mode)(weak)).all()
    with pytest.raises(ValueError, match="weak_pivots must be"):
        scpt.SymmetricMatrix(pattern, a, weak_pivots="warn")
