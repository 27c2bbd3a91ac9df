"""Matrices that are not positive definite, and NaN."""

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
    for transform in (jax.vmap, lambda f: jax.jit(jax.vmap(f))):
        for name, values in transform(everything)(batch).items():
            assert np.isnan(values[1]).all(), name
            for k in (0, 2):
                np.testing.assert_allclose(values[k], everything(batch[k])[name], rtol=1e-12)

    def f(v):
        return sum(jnp.sum(x) for x in everything(v).values())

    gradients = jax.vmap(jax.grad(f))(batch)
    assert np.isnan(gradients[1]).any()
    assert np.isfinite(gradients[::2]).all()
    second = jax.vmap(lambda v: jax.jvp(jax.grad(f), (v,), (a,))[1])(batch)
    assert np.isfinite(second[::2]).all()


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
