"""
Mixed model
===========

Crossed random effects by restricted maximum likelihood, with SciPy alone.

Ratings ``y = X beta + sum_k Z_k u_k + noise`` of the size of the InstEval data (Bates et al.,
2015): 73421 of them, by 2972 students, on 1128 lecturers, in 28 courses. The effects of factor k
are normal with standard deviation s_k. Factors that cross have no elimination order without fill,
and a dense covariance matrix of the ratings would take 43 GB. With W = [X Z_1 Z_2 ...] and
b = (beta, u_1, u_2, ...) everything is in ::

    H = W^T W / sigma^2 + diag(0, I / s_1^2, I / s_2^2, ...),    c = W^T y / sigma^2:

the estimates are ``H^-1 c``, their covariance matrix is ``H^-1``, and the restricted likelihood
(Patterson and Thompson 1971) is, but for a constant, ::

    log det H + N log sigma^2 + sum_k q_k log s_k^2 + y^T y / sigma^2 - c^T H^-1 c,    times -1/2.

H is a sum of fixed matrices with weights that depend on the parameters. So the gradient needs, from
one factorization, `logdet_grad` and `quadratic_form_grad`, and their products with these matrices.

Run: ``python examples/mixed_model.py [FIGURE]``
"""

import sys

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

import sparsechol as sc
from sparsechol import derivatives

FACTORS = ("student", "lecturer", "course")
EFFECTS = ("intercept", "service", "semester")
DEVIATIONS = np.array([0.33, 0.51, 0.15, 1.18])  # of the three factors, and of the noise
BETA = np.array([3.2, -0.1, 0.05])


def simulate(levels, ratings, rng):
    """Ratings, the matrix W, and the true effects (beta, u_1, u_2, u_3)."""
    groups = [rng.integers(q, size=ratings) for q in levels]
    # Few lecturers have many ratings: the square of a uniform number is often small.
    groups[1] = (levels[1] * rng.random(ratings) ** 2).astype(int)
    X = np.column_stack(
        [np.ones(ratings), rng.integers(2, size=ratings), rng.integers(-3, 4, size=ratings)]
    )
    rows = np.arange(ratings)
    indicators = [
        sp.csr_array((np.ones(ratings), (rows, group)), (ratings, q))
        for group, q in zip(groups, levels, strict=True)
    ]
    W = sp.hstack([sp.csr_array(X), *indicators], format="csr")
    effects = [s * rng.standard_normal(q) for s, q in zip(DEVIATIONS, levels, strict=False)]
    b = np.concatenate([BETA, *effects])
    return W @ b + DEVIATIONS[-1] * rng.standard_normal(ratings), W, b


class Likelihood:
    """-2 log of the restricted likelihood, and its gradient in log (s_1, s_2, s_3, sigma)."""

    def __init__(self, y, W, levels):
        self.levels, self.ratings = np.array(levels), len(y)
        WtW = sp.csc_array(W.T @ W)
        self.S = sc.analyze(WtW)
        bounds = W.shape[1] - self.levels.sum() + np.cumsum([0, *levels])
        blocks = np.zeros((len(levels), W.shape[1]))
        for block, start, stop in zip(blocks, bounds[:-1], bounds[1:], strict=True):
            block[start:stop] = 1
        matrices = [*map(sp.diags_array, blocks), WtW]
        self.parts = np.array([self.S.values(M) for M in matrices])
        self.Wty, self.yty = W.T @ y, y @ y
        self.constant = (self.ratings - W.shape[1] + self.levels.sum()) * np.log(2 * np.pi)

    def factor(self, theta):
        """The factor of H, and H^-1 c: estimates and predictions."""
        F = self.S.factorize(np.exp(-2 * theta) @ self.parts)
        return F, F.solve(np.exp(-2 * theta[-1]) * self.Wty)

    def __call__(self, theta):
        weights = np.exp(-2 * theta)
        F, b = self.factor(theta)
        c = weights[-1] * self.Wty
        counts = np.array([*self.levels, self.ratings])
        value = F.logdet() + 2 * counts @ theta + weights[-1] * self.yty - c @ b + self.constant
        in_H, in_c = derivatives.quadratic_form_grad(F, b)  # of c^T H^-1 c
        in_weights = self.parts @ (F.logdet_grad() - in_H)
        in_weights[-1] += self.yty - in_c @ self.Wty
        return value, 2 * counts - 2 * weights * in_weights


def fit(likelihood):
    """The parameters, and their standard errors by differences of the gradient."""
    found = minimize(likelihood, np.zeros(4), jac=True, method="BFGS", options={"gtol": 1e-2})
    step = 1e-4
    hessian = [
        (likelihood(found.x + change)[1] - likelihood(found.x - change)[1]) / (2 * step)
        for change in step * np.eye(4)
    ]
    covariance = 2 * np.linalg.inv((np.array(hessian) + np.transpose(hessian)) / 2)
    return found, np.sqrt(np.diag(covariance))


def difference(f, theta, direction, step=1e-5):
    """Of the value along a direction: what the gradient must say."""
    return (f(theta + step * direction)[0] - f(theta - step * direction)[0]) / (2 * step)


def draw(path, names, estimates, errors, truth, lecturers):
    """Parameters in units of the truth, and the lecturers in the order of what is predicted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.7])
    places = np.arange(len(names))[::-1]
    left.axvline(0, color="black", linewidth=0.8)
    left.errorbar(estimates - truth, places, xerr=1.96 * errors, fmt="o", capsize=3)
    left.set_yticks(places, names)
    left.set_xlabel("estimate minus truth, with its 95 % interval")
    left.set_title("Parameters")

    predicted, deviation, true = (part[np.argsort(lecturers[0])] for part in lecturers)
    rank = np.arange(len(predicted))
    band = predicted - 1.96 * deviation, predicted + 1.96 * deviation
    right.fill_between(rank, *band, step="mid", alpha=0.3, label="95 % interval")
    right.plot(rank, predicted, label="predicted")
    right.plot(rank, true, ".", color="tab:red", markersize=3, label="truth")
    right.set(xlabel="lecturer, in the order of the prediction", ylabel="effect on the rating")
    right.set_title(f"{len(rank)} lecturers")
    right.margins(x=0.01)
    right.legend(loc="upper left")
    figure.savefig(path, dpi=150)


def main(figure="mixed_model.png", levels=(2972, 1128, 28), ratings=73421):
    y, W, truth = simulate(levels, ratings, np.random.default_rng(1))
    likelihood = Likelihood(y, W, levels)
    print(f"{ratings} ratings, {W.shape[1]} effects, {likelihood.S.nnz} entries in L")
    direction = np.array([0.5, -1.0, 1.0, 0.2])
    slope = likelihood(np.zeros(4))[1] @ direction
    error = abs(slope / difference(likelihood, np.zeros(4), direction) - 1)
    print(f"gradient against differences: relative error {error:.0e}")

    found, log_errors = fit(likelihood)
    F, b = likelihood.factor(found.x)
    deviations = np.sqrt(F.diag_inverse())
    names = [*(f"deviation of {name}" for name in (*FACTORS, "noise")), *EFFECTS]
    estimates = np.concatenate([np.exp(found.x), b[:3]])
    errors = np.concatenate([np.exp(found.x) * log_errors, deviations[:3]])
    true = np.concatenate([DEVIATIONS, BETA])
    print(f"-2 log likelihood {found.fun:.2f} after {found.nfev} evaluations with gradient")
    for row in zip(names, estimates, errors, true, strict=True):
        print("{:22} {:7.4f} +- {:.4f}   (true: {})".format(*row))
    u = np.s_[3 + levels[0] : 3 + levels[0] + levels[1]]
    inside = np.mean(abs(b[u] - truth[u]) < 1.96 * deviations[u])
    print(f"lecturers: {100 * inside:.1f} % of the effects in their 95 % intervals")
    if figure is not None:
        draw(figure, names, estimates, errors, true, (b[u], deviations[u], truth[u]))
    return estimates, errors, true, inside


if __name__ == "__main__":
    main(*sys.argv[1:2])
