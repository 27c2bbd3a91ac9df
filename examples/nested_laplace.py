"""
Nested Laplace approximation
============================

A Poisson model whose latent field is integrated out.

Counts ``y ~ Poisson(exp(mu + x))`` on a lattice, with a conditional autoregression
``x ~ N(0, Q^-1)``, ``Q = tau (D - alpha W)``. The approximation of Tierney and Kadane (1986), which
TMB and INLA are built on, replaces p(x | y) by the normal density with the same mode and curvature.
It is a smooth function of the three parameters, here with its exact gradient: for an optimizer, as
below, or for `pm.Potential` in PyMC, whose sampler then sees three dimensions instead of ten
thousand. Standard errors come from its exact Hessian. Those of the field have two terms: how far it
is known for these parameters, and how it moves with them.

Run: ``python examples/nested_laplace.py``
"""

import numpy as np
import pytensor
import pytensor.tensor as pt
import scipy.sparse as sp
from scipy.optimize import minimize

import sparsechol as sc
import sparsechol.pytensor as scpt

NAMES = ["log tau", "logit alpha", "mu"]


def lattice(rows):
    """Adjacency matrix of a square lattice, and its diagonal of degrees."""
    path = sp.diags_array([np.ones(rows - 1)] * 2, offsets=[-1, 1])
    W = sp.kronsum(path, path)
    return W, sp.diags_array(W.sum(axis=0))


def precision(theta, W, D):
    """Q for the parameters (log tau, logit alpha, mu)."""
    tau, alpha = pt.exp(theta[0]), pt.sigmoid(theta[1])
    return scpt.combine([(tau, D), (-tau * alpha, W)])


def simulate(theta, W, D, rng):
    """Counts of the model."""
    tau, alpha = np.exp(theta[0]), 1 / (1 + np.exp(-theta[1]))
    x = sc.cholesky(tau * (D - alpha * W)).sample(rng=rng)
    return rng.poisson(np.exp(theta[2] + x)).astype(float)


def integrated(y, theta, W, D):
    """The approximation of the log density of the counts, the field being integrated out."""
    x = pt.vector("x", shape=(len(y),), dtype="float64")
    rate = theta[2] + x
    of_counts = (y * rate - pt.exp(rate) - pt.gammaln(y + 1)).sum()
    return scpt.laplace(of_counts + precision(theta, W, D).gmrf_logp(x), x)


def likelihood(y, W, D):
    """A compiled function of the parameters: log likelihood and its gradient; and the graph."""
    theta = pt.vector("theta", shape=(3,), dtype="float64")
    found = integrated(y, theta, W, D)
    value = found.log_marginal
    return pytensor.function([theta], [value, pt.grad(value, theta)]), theta, found


def uncertainty(found, theta):
    """A compiled function of the parameters: standard errors, the field, and those of it."""
    report = found.uncertainty(theta)
    [errors] = report.standard_errors()
    given = pt.sqrt(scpt.marginal_variances(found.precision))
    outputs = [errors, found.mode, report.latent_standard_errors(), given]
    return pytensor.function([theta], outputs)


def main(rows=100):
    W, D = lattice(rows)
    truth = np.array([0.5, 3.0, 1.0])
    y = simulate(truth, W, D, np.random.default_rng(1))
    f, theta, found = likelihood(y, W, D)
    fit = minimize(lambda t: [-part for part in f(t)], np.zeros(3), jac=True, method="BFGS")
    errors, mean, deviation, given = uncertainty(found, theta)(fit.x)
    print(f"{len(y)} latent values, {fit.nfev} evaluations with gradient")
    for name, estimate, error, true in zip(NAMES, fit.x, errors, truth, strict=True):
        print(f"{name:12} {estimate:7.3f} +- {error:.3f}   (true: {true})")
    print(f"latent field from {mean.min():.2f} to {mean.max():.2f}, +- {deviation.mean():.2f}")
    more = 100 * (deviation / given - 1).max()
    print(f"up to {more:.1f} % of that because the parameters are estimates")
    return fit


if __name__ == "__main__":
    main()
