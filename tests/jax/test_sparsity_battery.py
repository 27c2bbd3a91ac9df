"""Soundness: no entry of a dense Jacobian is missed, and no more are found than there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsechol.jax as scj
from support.jax_sparsity_battery import BATTERY, FORWARD_ONLY, HESSIANS, REVERSE_ONLY, N


def points():
    """Return two points without special values."""
    rng = np.random.default_rng(1)
    return [jnp.asarray(rng.standard_normal(N)) for _ in range(2)]


def flat(f):
    """Return a function whose results are in one vector."""
    return lambda x: jnp.concatenate([y.ravel() for y in map(jnp.asarray, jax.tree.leaves(f(x)))])


def dense(name, f):
    """Return the dense Jacobian of JAX."""
    return (jax.jacrev if name in REVERSE_ONLY else jax.jacfwd)(flat(f))


def patterns(name, f):
    """Yield the pattern in each mode that is possible."""
    if name not in REVERSE_ONLY:
        yield scj.jacobian_pattern(f, jnp.ones(N), mode="forward")
    if name not in FORWARD_ONLY:
        yield scj.jacobian_pattern(f, jnp.ones(N), mode="reverse")


@pytest.mark.fast_cases(
    r"algebra: our (solve|logdet|partial inverse|triangle|product|density)|control: (cond|scan)",
    r"elements: clip|indices: set by value|moves: pad|products: (bcoo|dense)|sums: (cumsum|sort)",
    r"bounded: (quotient|set or drop)|zeros: tridiagonal",
)
@pytest.mark.parametrize("name", BATTERY)
def test_nothing_is_missed(name):
    f, count = BATTERY[name]
    J = dense(name, f)
    found = [J(x) for x in points()]
    nonzero = np.any([np.asarray(A) != 0 for A in found], axis=0)
    for P in patterns(name, f):
        assert P.shape == nonzero.shape
        assert P.has_canonical_format
        missed = nonzero & (P.toarray() == 0)
        assert not missed.any(), np.argwhere(missed)
        if count is not None:
            assert P.nnz == count
    sparse = scj.sparse_jacobian(f, jnp.ones(N))
    for A, x in zip(found, points(), strict=True):
        np.testing.assert_allclose(sparse(x).toarray(), A, rtol=1e-9, atol=1e-11)


@pytest.mark.fast_cases(r"our (density|logdet)|rosenbrock")
@pytest.mark.parametrize("name", HESSIANS)
def test_hessians(name):
    f, count = HESSIANS[name]
    P = scj.hessian_pattern(f, jnp.ones(N))
    H = scj.sparse_hessian(f, jnp.ones(N))
    dense = jax.jit(jax.hessian(f))
    for x in points():
        A = np.asarray(dense(x))
        assert not ((A != 0) & (P.toarray() == 0)).any()
        np.testing.assert_allclose(H(x).toarray(), A, rtol=1e-8, atol=1e-10)
    if count is not None:
        assert P.nnz == count


@pytest.mark.skipif(not hasattr(jax, "new_ref"), reason="there are no mutable arrays")
def test_arrays_that_are_written_to():
    def f(x):
        ref = jax.new_ref(x)
        ref[2] = x[0] * x[1]
        return ref[...]

    with pytest.warns(scj.SparsityWarning, match="has no sparsity rule"):
        P = scj.jacobian_pattern(f, jnp.ones(N))
    assert P.nnz == N * N


def test_there_are_enough():
    assert len(BATTERY) >= 150
    assert len(HESSIANS) >= 25
