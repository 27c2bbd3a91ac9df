"""
Stochastic volatility
=====================

Returns whose log variance is a process of first order.

Return t, of 3000 made-up ones, is normal with mean zero and deviation exp(h_t / 2), where
``h_t - mu = phi (h_{t-1} - mu) + sigma noise`` begins in its stationary law (Taylor 1982). The
3000 values h are integrated out by Laplace's approximation, and the three parameters have the
largest marginal likelihood. The deviations of h hold both parts: that given the parameters, and
that of the parameters through the mode (Kass and Steffey 1989).

Run: ``python examples/stochastic_volatility.py [FILE.csv]``, to write the returns
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

import sparsechol.jax as scj

jax.config.update("jax_enable_x64", True)
RETURNS = 3000
MU, PHI, SIGMA = -9.0, 0.97, 0.2


def simulate(rng, count=RETURNS):
    """Return the returns and the log variances."""
    noise = SIGMA * rng.standard_normal(count)
    h = np.empty(count)
    h[0] = MU + noise[0] / np.sqrt(1 - PHI**2)
    for t in range(1, count):
        h[t] = MU + PHI * (h[t - 1] - MU) + noise[t]
    return np.exp(h / 2) * rng.standard_normal(count), h


def parameters(theta):
    """Return mu, phi and sigma, from parameters that may be any numbers."""
    return theta[0], jnp.tanh(theta[1]), jnp.exp(theta[2])


def model(y):
    """Return the log density of returns and h, as a function of h and parameters."""

    def logjoint(h, theta):
        mu, phi, sigma = parameters(theta)
        d = (h - mu) / sigma
        steps = jnp.sum((d[1:] - phi * d[:-1]) ** 2) + (1 - phi**2) * d[0] ** 2
        prior = 0.5 * jnp.log(1 - phi**2) - h.size * jnp.log(sigma) - 0.5 * steps
        likelihood = -0.5 * jnp.sum(h + y**2 * jnp.exp(-h))
        return prior + likelihood - h.size * np.log(2 * np.pi)

    return logjoint


def main():
    y, h = simulate(np.random.default_rng(0))
    if len(sys.argv) > 1:
        np.savetxt(sys.argv[1], y, "%.17g", header="y", comments="")
    logjoint, start = model(y), jnp.full(y.size, np.log(np.mean(y**2)))

    def integrated(theta):
        return scj.laplace(logjoint, start, theta)

    def loss(theta):
        return -integrated(theta).log_marginal

    first = np.array([start[0], 1.5, -1.0])
    found = minimize(jax.jit(jax.value_and_grad(loss)), first, jac=True, options={"gtol": 1e-4})
    theta = found.x
    print(f"log likelihood {-found.fun:.4f} after {found.nfev} evaluations with gradient")
    covariance = np.linalg.inv(jax.jit(jax.hessian(loss))(theta))
    slopes = np.asarray(jax.jacfwd(parameters)(theta))
    errors = np.sqrt(np.einsum("ki,ij,kj->k", slopes, covariance, slopes))
    names = ("mu", "phi", "sigma")
    for name, *row in zip(names, parameters(theta), errors, (MU, PHI, SIGMA), strict=True):
        print("{:6s}{:8.4f} +- {:.4f}   (true: {:.2f})".format(name, *row))
    at = jax.jit(integrated)(theta)
    J = jax.jit(jax.jacfwd(lambda t: integrated(t).mode))(theta)
    variance = scj.cholesky(at.precision).diag_inverse() + np.einsum(
        "ki,ij,kj->k", J, covariance, J
    )
    inside = np.abs(h - at.mode) < 1.96 * np.sqrt(variance)
    print(f"{100 * inside.mean():.1f} % of the log variances in their 95 % intervals")


if __name__ == "__main__":
    main()
