"""
Crossed counts
==============

Poisson counts with two crossed random effects, fitted by Laplace's approximation as glmmTMB does.

Count i of 20 000, made up, is Poisson with mean exp(beta_1 + beta_2 z_i + u_g(i) + v_h(i)): 500
normal effects u and 300 v, whose deviations are estimated with beta. Effects that cross make a
Hessian Z^T W Z that a coloring would need more than a hundred products for. `laplace` sees that the
effects enter by a linear map, and forms the product itself.

Run: ``python examples/crossed_counts.py [FILE.csv]``, to write the data for ::

    glmmTMB(y ~ z + (1 | g) + (1 | h), family = poisson, data = read.csv("FILE.csv"))
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

import sparsechol.jax as scj

jax.config.update("jax_enable_x64", True)
COUNTS, LEVELS = 20_000, (500, 300)
TRUTH = np.array([0.5, 0.3, np.log(0.5), np.log(0.3)])  # beta, logarithms of deviations


def simulate(rng, counts=COUNTS, levels=LEVELS):
    """Return counts, the covariate, and the levels of both factors."""
    g, h = (rng.integers(q, size=counts) for q in levels)
    z = rng.standard_normal(counts)
    u, v = (np.exp(s) * rng.standard_normal(q) for s, q in zip(TRUTH[2:], levels, strict=True))
    return rng.poisson(np.exp(TRUTH[0] + TRUTH[1] * z + u[g] + v[h])), z, g, h


def model(data, levels=LEVELS):
    """Return the log density of counts and effects, as a function of effects and parameters."""
    y, z, g, h = data
    constant = jnp.sum(jax.scipy.special.gammaln(y + 1.0)) + sum(levels) / 2 * np.log(2 * np.pi)

    def logjoint(x, theta):
        u, v = x[: levels[0]], x[levels[0] :]
        eta = theta[0] + theta[1] * z + u[g] + v[h]
        prior = sum(
            -0.5 * jnp.sum(effect**2) * jnp.exp(-2 * s) - effect.size * s
            for effect, s in ((u, theta[2]), (v, theta[3]))
        )
        return prior + jnp.sum(y * eta - jnp.exp(eta)) - constant

    return logjoint


def fitted(logjoint, size):
    """Maximize the marginal likelihood; return the optimum and the covariance of parameters."""

    def loss(theta):
        return -scj.laplace(logjoint, jnp.zeros(size), theta).log_marginal

    found = minimize(
        jax.jit(jax.value_and_grad(loss)), np.zeros(4), jac=True, options={"gtol": 1e-4}
    )
    return found, np.linalg.inv(jax.jit(jax.hessian(loss))(found.x))


def main():
    data = simulate(np.random.default_rng(0))
    if len(sys.argv) > 1:
        np.savetxt(sys.argv[1], np.column_stack(data), "%.17g", ",", header="y,z,g,h", comments="")
    logjoint = model(data)
    H = scj.sparse_hessian(logjoint, jnp.zeros(sum(LEVELS)), jnp.zeros(4))
    print(H)
    found, covariance = fitted(logjoint, sum(LEVELS))
    print(f"log likelihood {-found.fun:.3f} after {found.nfev} evaluations with gradient")
    errors = np.sqrt(np.diag(covariance))
    names = ("intercept", "slope", "log deviation of u", "log deviation of v")
    for name, *row in zip(names, found.x, errors, TRUTH, strict=True):
        print("{:20s}{:8.4f} +- {:.4f}   (true: {:.4f})".format(name, *row))


if __name__ == "__main__":
    main()
