"""Nested Laplace approximation: a Poisson model whose latent field is integrated out.

Counts ``y ~ Poisson(exp(mu + x))`` on a lattice, with a conditional autoregression
``x ~ N(0, Q^-1)``, ``Q = tau (D - alpha W)``. The approximation of Tierney and Kadane (1986), which
TMB and INLA are built on, replaces p(x | y) by the normal density with the same mode and curvature.
It is a smooth function of the three parameters, here with its exact gradient: for an optimizer, as
below, or for `pm.Potential` in PyMC, whose sampler then sees three dimensions instead of ten
thousand.

Run: ``python examples/nested_laplace.py``
"""

import numpy as np
import pytensor
import pytensor.tensor as pt
import scipy.sparse as sp
from pytensor.gradient import disconnected_grad
from pytensor.scan.utils import until
from scipy.optimize import minimize

import sparsechol as sc
import sparsechol.pytensor as scpt


def curvature(x, mu):
    """Of the likelihood in each latent value, with the other sign."""
    return pt.exp(mu + x)


def newton_step(x, y, mu, Q):
    """The mode, if the likelihood were what it is at x to second order."""
    h = curvature(x, mu)
    return scpt.solve(Q.add_diagonal(h), y - h + h * x)


def mode(y, mu, Q, steps=50, tolerance=1e-8):
    """Of p(x | y), by one loop; its derivatives are those of the last step.

    That step begins at the mode, where it moves no point any more: by the implicit function theorem
    its first derivatives are exact, and the loop is not differentiated.
    """

    def step(x, mu, values):
        new = newton_step(x, y, mu, Q.with_values(values))
        return new, until(pt.max(pt.abs(new - x)) < tolerance)

    x = pytensor.scan(
        step,
        outputs_info=[pt.zeros(len(y))],
        non_sequences=[mu, Q.values],
        n_steps=steps,
        return_updates=False,
    )
    return newton_step(disconnected_grad(x[-1]), y, mu, Q)


def marginal_likelihood(y, mu, Q):
    """Log density of the counts, and the mode and precision of the latent values."""
    x = mode(y, mu, Q)
    A = Q.add_diagonal(curvature(x, mu))
    of_counts = (y * (mu + x) - pt.exp(mu + x) - pt.gammaln(y + 1)).sum()
    return of_counts + 0.5 * (scpt.logdet(Q) - scpt.logdet(A) - Q.quad_form(x)), x, A


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


def likelihood(y, W, D):
    """A compiled function of the parameters: log likelihood and its gradient; and the graph."""
    theta = pt.dvector("theta")
    value, x, A = marginal_likelihood(y, theta[2], precision(theta, W, D))
    return pytensor.function([theta], [value, pt.grad(value, theta)]), theta, x, A


def main(rows=100):
    W, D = lattice(rows)
    truth = np.array([0.5, 3.0, 1.0])
    y = simulate(truth, W, D, np.random.default_rng(1))
    f, theta, x, A = likelihood(y, W, D)
    fit = minimize(lambda t: [-part for part in f(t)], np.zeros(3), jac=True, method="BFGS")
    latent = pytensor.function([theta], [x, pt.sqrt(scpt.marginal_variances(A))])
    mean, deviation = latent(fit.x)
    print(f"{len(y)} latent values, {fit.nfev} evaluations with gradient")
    for name, estimate, error, true in zip(
        ["log tau", "logit alpha", "mu"], fit.x, np.sqrt(np.diag(fit.hess_inv)), truth, strict=True
    ):
        print(f"{name:12} {estimate:7.3f} +- {error:.3f}   (true: {true})")
    print(f"latent field from {mean.min():.2f} to {mean.max():.2f}, +- {deviation.mean():.2f}")
    return fit


if __name__ == "__main__":
    main()
