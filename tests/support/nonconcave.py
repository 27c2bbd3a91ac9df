"""Random walks seen through likelihoods that are not concave, and their modes by a dense solver."""

import os

import numpy as np
from scipy.optimize import minimize

KINDS = ("student", "mixture", "inflated", "threshold")
# How many models of each kind and size: all 200 of them where it is 10.
MODELS = int(os.environ.get("SPARSECHOL_MODES", "2"))
SIZES = (30,) if MODELS < 10 else (10, 30, 100, 300, 1000)


def problem(kind, n, seed):
    """Return what ``logjoint(kind, x, data, xp)`` reads, and a start."""
    rng = np.random.default_rng([KINDS.index(kind), n, seed])
    far = rng.choice([0.0, 5.0, 20.0, -30.0])
    tau, scale = np.exp(rng.uniform(-2, 3)), np.exp(rng.uniform(-1, 2))
    walk = np.cumsum(rng.standard_normal(n) / np.sqrt(tau))
    outlying = np.where(rng.random(n) < 0.2, 10, 1)
    y = {
        "student": walk + far + scale * rng.standard_t(2, n),
        "mixture": walk + far + scale * outlying * rng.standard_normal(n),
        "inflated": rng.poisson(np.exp(np.minimum(0.3 * walk + 1, 8))) * (rng.random(n) < 0.7),
        "threshold": np.where(walk > 0, 2.0, -1.0) + 0.5 * rng.standard_normal(n),
    }[kind]
    return (y.astype(float), tau, scale), np.full(n, rng.choice([0.0, 3.0, -3.0]))


def likelihood(kind, x, y, scale, xp):
    """Evaluate a log likelihood with the functions of a module."""
    r = (y - x) / scale
    if kind == "student":
        return -1.5 * xp.log1p(r**2 / 2).sum()
    if kind == "mixture":  # of two normal densities
        return (xp.log(0.8 * xp.exp(-0.495 * r**2) + 0.02) - r**2 / 200).sum()
    if kind == "inflated":  # counts, more of which are zero
        zero = xp.log(0.3 + 0.7 * xp.exp(-xp.exp(x)))
        return xp.where(xp.equal(y, 0), zero, y * x - xp.exp(x)).sum()
    return -2 * ((y + 1 - 3 / (1 + xp.exp(-3 * x))) ** 2).sum()  # one of two means


def logjoint(kind, x, data, xp):
    """Evaluate the log of a density of x, which has a mode: it falls in all directions."""
    y, tau, scale = data
    steps = ((x[1:] - x[:-1]) ** 2).sum()
    prior = -0.5 * tau * steps - 0.5 * x[0] ** 2 - 5e-3 * (x**2).sum()
    return likelihood(kind, x, y, scale, xp) + prior


def dense_mode(value, gradient, hessian, start):
    """Find a maximum by a dense trust region; None where that fails."""
    found = minimize(
        lambda x: -value(x), start, jac=lambda x: -gradient(x), hess=lambda x: -hessian(x),
        method="trust-exact", options={"maxiter": 1000, "gtol": 1e-8},
    )  # fmt: skip
    definite = np.linalg.eigvalsh(-hessian(found.x)).min() > 0
    return found.x if definite and abs(found.jac).max() < 1e-4 else None
