"""
Sleep study
===========

Reaction times of 18 drivers: intercepts and slopes that vary together.

The data are those of Belenky et al. (2003. Patterns of performance degradation and restoration
during sleep restriction and subsequent recovery. J. Sleep Res. 12(1)), as lme4 has them, in the
file sleepstudy.csv. Driver s has a reaction time of ::

    beta_1 + b_s1 + (beta_2 + b_s2) days + noise,    b_s = Lambda u_s,

with standard normal u_s and a lower triangle Lambda of order two: the matrix of all effects has
Lambda in blocks. beta has no prior: integrated out with the u_s it makes the restricted likelihood
(Patterson and Thompson 1971). Everything is normal, so that Laplace's approximation is exact.

Run: ``python examples/sleepstudy.py``
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

import sparsechol.jax as scj

jax.config.update("jax_enable_x64", True)
DRIVERS = 18
# The gallery runs a script in its folder, and without a __file__.
DATA = Path(globals().get("__file__", "sleepstudy.py")).with_suffix(".csv")


def read():
    """Return reaction times, days, and the number of the driver from zero on."""
    table = np.loadtxt(DATA, delimiter=",", skiprows=1)
    return table[:, 0], table[:, 1], np.unique(table[:, 2], return_inverse=True)[1]


def triangle(theta):
    """Lambda, from the logarithms of its diagonal and the entry below."""
    return jnp.array([[jnp.exp(theta[0]), 0.0], [theta[1], jnp.exp(theta[2])]])


def logjoint(x, theta, data):
    """Log density of the data and of (beta, u), given Lambda and the noise."""
    time, days, driver = data
    beta, u = x[:2], x[2:].reshape(DRIVERS, 2)
    b = u @ triangle(theta).T
    mean = beta[0] + b[driver, 0] + (beta[1] + b[driver, 1]) * days
    noise = -0.5 * jnp.sum((time - mean) ** 2) * jnp.exp(-2 * theta[3]) - time.size * theta[3]
    constant = -0.5 * (time.size + u.size) * np.log(2 * np.pi)
    return noise - 0.5 * jnp.sum(u**2) + constant


def fitted(data):
    """Maximize the restricted likelihood."""

    def integrated(theta):
        return scj.laplace(lambda x, t: logjoint(x, t, data), jnp.zeros(2 + 2 * DRIVERS), theta)

    criterion = jax.jit(jax.value_and_grad(lambda theta: -2 * integrated(theta).log_marginal))
    start = np.array([3.0, 0.0, 1.5, 3.3])
    found = minimize(criterion, start, jac=True, method="BFGS", options={"gtol": 1e-6})
    return found, jax.jit(integrated)(found.x)


def main():
    found, at = fitted(read())
    L = np.asarray(triangle(found.x))
    covariance = L @ L.T
    deviations = np.sqrt(np.diag(covariance))
    errors = np.sqrt(scj.cholesky(at.precision).diag_inverse()[:2])
    correlation = covariance[1, 0] / deviations.prod()
    print(f"restricted likelihood criterion {found.fun:.4f} after {found.nfev} evaluations")
    print(f"deviations of intercept and slope {deviations[0]:.4f} {deviations[1]:.4f}")
    print(f"their correlation {correlation:.4f}, noise {np.exp(found.x[3]):.4f}")
    print(
        f"intercept {at.mode[0]:.4f} +- {errors[0]:.4f}, slope {at.mode[1]:.4f} +- {errors[1]:.4f}"
    )


if __name__ == "__main__":
    main()
