"""Random walks seen through likelihoods that are not concave, and their modes by a dense solver."""

import numpy as np
from scipy.optimize import minimize

KINDS = ("student", "mixture", "inflated", "threshold")


def problem(kind, seed):
    """Return a random density ``logjoint(x, xp)`` of x in a module of functions, and a start."""
    rng = np.random.default_rng(seed)
    n, far = int(rng.integers(10, 60)), rng.choice([0.0, 5.0, 20.0, -30.0])
    tau, scale = np.exp(rng.uniform(-2, 3)), np.exp(rng.uniform(-1, 2))
    walk = np.cumsum(rng.standard_normal(n) / np.sqrt(tau))
    outlying = np.where(rng.random(n) < 0.2, 10, 1)
    y = {
        "student": walk + far + scale * rng.standard_t(2, n),
        "mixture": walk + far + scale * outlying * rng.standard_normal(n),
        "inflated": rng.poisson(np.exp(0.3 * walk + 1)) * (rng.random(n) < 0.7) * 1.0,
        "threshold": np.where(walk > 0, 2.0, -1.0) + 0.5 * rng.standard_normal(n),
    }[kind]

    def likelihood(x, xp):
        r = (y - x) / scale
        if kind == "student":
            return -1.5 * xp.log1p(r**2 / 2).sum()
        if kind == "mixture":  # of two normal densities
            return (xp.log(0.8 * xp.exp(-0.495 * r**2) + 0.02) - r**2 / 200).sum()
        if kind == "inflated":  # counts, more of which are zero
            zero = xp.log(0.3 + 0.7 * xp.exp(-xp.exp(x)))
            return ((y == 0) * zero + (y > 0) * (y * x - xp.exp(x))).sum()
        return -2 * ((y + 1 - 3 / (1 + xp.exp(-3 * x))) ** 2).sum()  # one of two means

    def logjoint(x, xp):
        steps = ((x[1:] - x[:-1]) ** 2).sum()
        return likelihood(x, xp) - 0.5 * tau * steps - 0.5 * x[0] ** 2 - 5e-3 * (x**2).sum()

    return logjoint, np.full(n, rng.choice([0.0, 3.0, -3.0]))


def has_mode(value, gradient, hessian, start):
    """Say whether a dense trust region finds a maximum from a start."""
    found = minimize(
        lambda x: -value(x), start, jac=lambda x: -gradient(x), hess=lambda x: -hessian(x),
        method="trust-exact", options={"maxiter": 1000, "gtol": 1e-8},
    )  # fmt: skip
    return found.success and np.linalg.eigvalsh(-hessian(found.x)).min() > 0
