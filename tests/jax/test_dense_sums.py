"""Sums over many unknowns, which make a Hessian dense: split off, against dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsechol as sc
import sparsechol.jax as scj

N = 150
Y = jnp.asarray(np.random.default_rng(0).poisson(2.0, N).astype(float))


def counts(x):
    return jnp.sum(Y * x - jnp.exp(x)) - 2 * jnp.sum((x[1:] - x[:-1]) ** 2)


def soft_constraint(x, t):
    return counts(x) - 50 * jnp.exp(t) * jnp.sum(x) ** 2


def mean_subtracted(x, t):
    return counts(x - t * jnp.mean(x)) - 0.05 * jnp.sum(x**2)


def share_of_all(x, t):
    """Each count has its share of the sum of all rates: the logarithm of a sum of exponentials."""
    return counts(x) - jnp.exp(t) * jax.scipy.special.logsumexp(x)


def variance_integrated_out(x, t):
    """Sums of products, and a sum of what has a mean subtracted: one sum depends on another."""
    centered = x - jnp.mean(x)
    return counts(x) - jnp.exp(t) * jnp.log1p(jnp.sum(centered**2) / N)


def two_sums(x, t):
    weights = jnp.linspace(0, 1, N)
    sums = jnp.stack([jnp.ones(N), weights]) @ x
    return counts(x) - jnp.exp(t) * jnp.sum(sums**2)


def mean_beside_a_walk(x, t):
    """Without the soft constraint a constant moves from one to the other."""
    walk = x[1:]
    likelihood = jnp.sum(Y[1:] * (x[0] + walk) - jnp.exp(x[0] + walk))
    return likelihood - jnp.sum(jnp.diff(walk) ** 2) - jnp.exp(t) * jnp.sum(walk) ** 2 / N


FUNCTIONS = [soft_constraint, mean_subtracted, share_of_all, variance_integrated_out, two_sums]
FUNCTIONS += [mean_beside_a_walk]


@pytest.mark.fast_cases("share_of_all")
@pytest.mark.parametrize("f", FUNCTIONS)
def test_marginal_density(f):
    """Mode, value and gradient against the dense formula."""

    def marginal(t):
        return scj.laplace(f, jnp.zeros(N), t)

    def dense(t):
        x, H = found.mode, -jax.hessian(f)(found.mode, t)
        x = x + jnp.linalg.solve(H, jax.grad(f)(x, t))  # its derivative is that of the mode
        H = -jax.hessian(f)(x, t)
        return f(x, t) + N / 2 * np.log(2 * np.pi) - jnp.linalg.slogdet(H)[1] / 2

    found, t = jax.jit(marginal)(0.3), 0.3
    assert not isinstance(found.precision, scj.SymmetricMatrix)
    np.testing.assert_allclose(jax.grad(f)(found.mode, t), 0, atol=1e-7)
    H = -jax.hessian(f)(found.mode, t)
    scale = abs(H).max()
    np.testing.assert_allclose(found.precision.todense(), H, atol=1e-12 * scale)
    np.testing.assert_allclose(found.precision @ jnp.eye(N), H, atol=1e-12 * scale)
    np.testing.assert_allclose(found.precision.diagonal(), jnp.diag(H), rtol=1e-10)
    np.testing.assert_allclose(found.log_marginal, dense(t), rtol=1e-10)
    slope = jax.grad(lambda t: marginal(t).log_marginal)(t)
    np.testing.assert_allclose(slope, jax.grad(dense)(t), rtol=1e-7, atol=1e-9)
    variances = scj.cholesky(found.precision).diag_inverse()
    np.testing.assert_allclose(variances, jnp.diag(jnp.linalg.inv(H)), rtol=1e-7)


@pytest.mark.slow
def test_large():
    """No dense matrix is formed: it would have 10^10 entries."""
    n = 100_000

    def f(x):
        return jnp.sum(x - jnp.exp(x)) - jnp.sum((x[1:] - x[:-1]) ** 2) - 10 * jnp.sum(x) ** 2

    found = scj.laplace(f, jnp.zeros(n))
    assert found.precision.matrix.values.size < 3 * n
    np.testing.assert_allclose(jax.grad(f)(found.mode), 0, atol=1e-6)


def test_warning():
    """Of a Hessian as one matrix: which line makes it dense, and what to do."""
    x = jnp.zeros(N)
    with pytest.warns(sc.SparsityWarning, match=r"sum over many.*test_dense_sums.py:\d+.*low_rank"):
        H = scj.sparse_hessian(soft_constraint, x, 0.3)
    np.testing.assert_allclose(H(x, 0.3).toarray(), jax.hessian(soft_constraint)(x, 0.3))


def test_sums_in_which_the_function_is_linear():
    """They make nothing dense."""
    H = scj.sparse_hessian(lambda x: 3 * jnp.sum(x**2) - jnp.mean(jnp.exp(x)) / 2, jnp.zeros(N))
    assert H.sparsity.nnz == N


def test_uncertainty():
    """Standard errors are there; draws would need a root of what is indefinite, and are refused."""
    report = scj.laplace(lambda x, t: soft_constraint(x, 0.0) - t**2, jnp.zeros(N), 0.3)
    found = report.uncertainty()
    H = report.precision.todense()
    wanted = jnp.sqrt(jnp.diag(jnp.linalg.inv(H)))
    np.testing.assert_allclose(found.latent_standard_errors(), wanted, rtol=1e-7)
    for refused in (found.precision, lambda: found.sample(jax.random.key(0))):
        with pytest.raises(ValueError, match="LowRankMatrix"):
            refused()
