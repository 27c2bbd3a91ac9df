"""Matrices that are not positive definite, and NaN."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import coo_array

import sparsechol as sc
import sparsechol.jax as scj
from support.jax_systems import System

SYSTEM = System()
P, a = SYSTEM.P, SYSTEM.a
ROW = 3
BAD = a.at[P.indptr[ROW]].set(-1.0)


def everything(v):
    F = SYSTEM.factor(v)
    return {
        "L": F.L,
        "logdet": F.logdet(),
        "solve": F.solve(SYSTEM.b),
        "triangular": F.solve_triangular(SYSTEM.b),
        "inverse": F.partial_inverse(),
        "diagonal": F.diag_inverse(),
        "sample": F.sample(jax.random.key(0)),
    }


@pytest.mark.fast_cases(r"ffi-bad3")
@pytest.mark.parametrize("bad", [BAD, a.at[0].set(np.nan), a.at[1].set(np.inf), 0 * a])
def test_nan_in_the_failing_element_only(backend, bad):
    batch = jnp.stack([a, bad, 2 * a])
    ok = jax.vmap(lambda v: SYSTEM.factor(v).ok)(batch)
    assert ok.tolist() == [True, False, True]
    alone = {k: everything(batch[k]) for k in (0, 2)}
    for transform in (jax.vmap, lambda f: jax.jit(jax.vmap(f))):
        for name, values in transform(everything)(batch).items():
            assert np.isnan(values[1]).all(), name
            for k in (0, 2):
                np.testing.assert_allclose(values[k], alone[k][name], rtol=1e-12)

    def f(v):
        return sum(jnp.sum(x) for x in everything(v).values())

    gradients = jax.jit(jax.vmap(jax.grad(f)))(batch)
    assert np.isnan(gradients[1]).any()
    assert np.isfinite(gradients[::2]).all()
    second = jax.jit(jax.vmap(lambda v: jax.jvp(jax.grad(f), (v,), (a,))[1]))(batch)
    assert np.isfinite(second[::2]).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_nans_are_found_where_jax_looks_for_them(compiled):
    asked = {
        "logdet": lambda v: scj.logdet(SYSTEM.matrix(v)),
        "gradient": jax.grad(lambda v: scj.logdet(SYSTEM.matrix(v))),
        "solve": lambda v: scj.solve(SYSTEM.matrix(v), SYSTEM.b),
        "product": lambda v: SYSTEM.matrix(v * jnp.nan) @ SYSTEM.b,
    }
    with jax.debug_nans(True):
        for name, f in asked.items():
            with pytest.raises(FloatingPointError, match="nan"):
                print(name, (jax.jit(f) if compiled else f)(BAD))


def test_gradient_of_a_failed_logdet_is_nan(backend):
    assert np.isnan(jax.grad(lambda v: scj.logdet(SYSTEM.matrix(v)))(BAD)).all()


def test_singular_to_working_precision_is_not_ok():
    pattern = scj.analyze(np.ones((2, 2)))
    assert not scj.cholesky(scj.SymmetricMatrix(pattern, jnp.array([1.0, 1.0, 1.0]))).ok


def test_check():
    assert scj.cholesky(SYSTEM.matrix(a), check=True).ok
    with pytest.raises(sc.NotPositiveDefiniteError, match=f"row and column {ROW} is") as caught:
        scj.cholesky(SYSTEM.matrix(BAD), check=True)
    assert caught.value.row == ROW
    with pytest.raises(ValueError, match="infinities or NaNs"):
        scj.cholesky(SYSTEM.matrix(a * np.nan), check=True)
    for transform in (jax.jit, jax.grad):
        with pytest.raises(ValueError, match=r"Factor\.ok"):
            transform(lambda v: scj.cholesky(SYSTEM.matrix(v), check=True).logdet())(a)


@pytest.mark.parametrize("name", ["analyze", "from_sparse", "analyze_triangle"])
def test_orders_are_checked_before_anything_is_allocated(name):
    huge = coo_array(([1.0], ([0], [0])), shape=(1, 1))
    huge._shape = (4_000_000_000, 4_000_000_000)
    with pytest.raises(OverflowError, match="order 4000000000"):
        getattr(scj, name)(huge)


# ---- weak pivots and near singularity ----------------------------------------------------------

ONES = scj.analyze(np.ones((2, 2)))
WEAK = jnp.array([1.0, 1.0, 1.0 + 8 * np.finfo(float).eps])


def test_rcond_equals_that_of_the_scipy_face(backend):
    wanted = sc.cholesky(SYSTEM.A).rcond
    assert SYSTEM.factor(a).rcond == wanted
    assert jax.jit(lambda v: SYSTEM.factor(v).rcond)(a) == wanted
    batch = jnp.stack([a, BAD, 4 * a])
    for found in (
        jax.vmap(SYSTEM.factor)(batch).rcond,
        jax.vmap(lambda v: SYSTEM.factor(v).rcond)(batch),
    ):
        np.testing.assert_array_equal(found, [wanted, np.nan, wanted])


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_rcond_of_every_type(dtype):
    system = System(dtype)
    rcond = system.factor(system.a).rcond
    assert rcond.dtype == np.finfo(dtype).dtype
    assert float(rcond) == sc.cholesky(system.A).rcond


def test_rcond_has_no_derivative():
    def f(v):
        return SYSTEM.factor(v).rcond * SYSTEM.factor(v).logdet()

    g = jax.grad(lambda v: SYSTEM.factor(v).logdet())(a)
    for derivative in (jax.grad(f), jax.jacfwd(f)):
        np.testing.assert_allclose(derivative(a), SYSTEM.factor(a).rcond * g, rtol=1e-12)
    empty = scj.analyze(np.empty((0, 0)))
    assert scj.cholesky(scj.SymmetricMatrix(empty, jnp.zeros(0))).rcond == 1


def test_rcond_tells_of_singular_matrices_that_go_through():
    """What the SciPy face warns of."""
    A = np.array([[34.0, -13, 17], [-13, 5, -6], [17, -6, 17]])
    pattern = scj.analyze(A, ordering="natural")
    F = scj.cholesky(scj.SymmetricMatrix(pattern, jnp.asarray(pattern.values(A))))
    assert F.ok
    assert F.rcond <= 4 * np.finfo(float).eps


FUNCTIONS = {
    "solve": lambda M, **options: scj.solve(M, jnp.ones(2), **options),
    "logdet": scj.logdet,
    "slogdet": lambda M, **options: scj.slogdet(M, **options)[1],
    "partial_inverse": scj.partial_inverse,
    "diag_inverse": scj.diag_inverse,
}


@pytest.mark.fast_cases(r"ffi-.*|(buffer|callback)-logdet")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_weak_pivots(backend, name):
    def f(v, **options):
        return FUNCTIONS[name](scj.SymmetricMatrix(ONES, v), **options)

    accept = {"weak_pivots": "accept"}
    assert np.isnan(f(WEAK)).all()
    for transformed in (f, jax.jit(f, static_argnames="weak_pivots")):
        assert np.isfinite(transformed(WEAK, **accept)).all()
    assert np.isfinite(jax.jacrev(lambda v: f(v, **accept))(WEAK)).all()
    assert np.isfinite(jax.jacfwd(lambda v: f(v, **accept))(WEAK)).all()
    with pytest.raises(ValueError, match="weak_pivots must be"):
        f(WEAK, weak_pivots="warn")


@pytest.mark.fast_cases(r"ffi-.*")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_weak_pivots_in_double_precision_inside(backend, name):
    """1 2^-50 on the diagonal of single precision are a weak pivot in double precision."""
    v = jnp.array([2.0**-24, 1.0, 2.0**24 * (1 + 2.0**-23)], "f")
    v = jnp.stack([v, v.at[2].set(2.0**24)])
    pattern = ONES

    def f(v, **options):
        M = scj.SymmetricMatrix(pattern, v)
        return FUNCTIONS[name](M, compute_dtype="float64", **options)

    for options in ({}, {"weak_pivots": "accept"}):
        good, singular = jax.vmap(partial(f, **options))(v)
        assert np.isfinite(good).all()
        assert not np.isfinite(singular).all()
    assert np.isfinite(jax.jacrev(lambda v: f(v, weak_pivots="accept"))(v[0])).all()


def test_weak_pivots_of_a_factor():
    M = scj.SymmetricMatrix(ONES, WEAK)
    F = scj.cholesky(M, weak_pivots="accept", check=True)
    assert F.ok
    assert F.rcond < 4 * np.finfo(float).eps
    with pytest.raises(sc.NotPositiveDefiniteError, match="singular"):
        scj.cholesky(M, check=True)
