"""
Monthly series
==============

Trend and season: a random walk and a seasonal effect, both intrinsic.

The logarithm of the passengers of international airlines, in thousands a month, 1949 to 1960
(series G of Box and Jenkins, 1976), is ::

    y = trend + season + noise,

a random walk of second order (no penalty on a line) and an effect that nearly sums to zero over
any twelve months in a row (no penalty on a pattern that repeats itself). Their precision matrices
t R and u S are singular with known null spaces; given y, all is definite. With B, which picks what
was measured, and x = (trend, season), ::

    P = diag(t R, u S) + s B^T B,     c = s B^T y,     m = P^-1 c
    log p(y) = (log pdet t R + log pdet u S + N log s - (N - k) log 2 pi
                - log det P - s y^T y + c^T m) / 2,

the restricted likelihood: in the k = 2 + 11 directions of the null spaces the data alone decide. A
derivative is, for a precision t with rank r, ::

    t d/dt log p(y) = (r - t tr(P^-1 R) - t m^T R m) / 2,

where the trace needs the entries of P^-1 on the pattern of P alone. The last year is left out and
predicted.

Run: ``python examples/monthly_series.py [FIGURE]``
"""

import sys

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

import sparsechol as sc

# fmt: off
PASSENGERS = np.array([
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
    115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
    145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166,
    171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194,
    196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
    204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229,
    242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
    284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306,
    315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336,
    340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
    360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405,
    417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
], dtype=float)
# fmt: on
YEAR = 12
NAMES = ("trend", "season", "noise")


class Series:
    """The likelihood of theta, the logarithms of the three precisions, and what follows from it."""

    def __init__(self, y, n):
        """Take measurements y of the first of n months."""
        empty = sp.csc_array((n, n))
        trend, season = sc.models.rw2(n), sc.models.seasonal(n, YEAR)
        B = sp.eye_array(y.size, n)
        self.B = sp.hstack([B, B], format="csc")
        self.matrices = [
            sp.block_diag([trend.Q, empty], format="csc"),
            sp.block_diag([empty, season.Q], format="csc"),
            (self.B.T @ self.B).tocsc(),
        ]
        self.ranks = np.array([trend.rank, season.rank, y.size])
        free = 2 * n - trend.rank - season.rank
        self.constant = sum(
            sc.cholesky(model.Q, null_space=model.null_space).logdet() for model in (trend, season)
        ) - (y.size - free) * np.log(2 * np.pi)
        self.pattern = sc.analyze(sum(abs(M) for M in self.matrices))
        self.packed = np.array([self.pattern.values(M) for M in self.matrices])
        self.y = y

    def posterior(self, theta):
        """Return the factor of P and m."""
        precisions = np.exp(theta)
        F = self.pattern.factorize(precisions @ self.packed)
        return F, F.solve(precisions[2] * (self.B.T @ self.y))

    def __call__(self, theta):
        """Return minus log p(y) and its gradient."""
        (F, m), precisions = self.posterior(theta), np.exp(theta)
        misfit = self.y - self.B @ m
        squares = np.array([m @ (M @ m) for M in self.matrices[:2]] + [misfit @ misfit])
        Z = F.partial_inverse()
        traces = np.array([(Z * M).sum() for M in self.matrices])
        value = self.ranks @ theta + self.constant - F.logdet() - precisions @ squares
        return -value / 2, (precisions * (traces + squares) - self.ranks) / 2

    def predict(self, theta):
        """Return trend, season and their sum, each with its standard deviation."""
        F, m = self.posterior(theta)
        n = m.size // 2
        variances = F.diag_inverse()
        both = F.inverse_entries(np.arange(n), n + np.arange(n))
        total = variances[:n] + variances[n:] + 2 * both
        means = m[:n], m[n:], m[:n] + m[n:]
        return means, np.sqrt([variances[:n], variances[n:], total])


def draw(path, months, y, means, deviations, noise, measured):
    """Draw the series with its trend and prediction, and the season."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.plot(months, np.exp(y), "k.", markersize=4, label="passengers")
    above.plot(months, np.exp(means[0]), color="C0", label="trend")
    later = slice(measured, None)
    spread = 1.96 * np.hypot(deviations[2][later], noise)
    ends = [np.exp(means[2][later] + sign * spread) for sign in (-1, 1)]
    above.fill_between(months[later], *ends, color="C1", alpha=0.4, label="prediction, 95 %")
    above.set(yscale="log", ylabel="thousands a month")
    above.legend()
    below.plot(months, np.exp(means[1]), color="C2")
    ends = [np.exp(means[1] + sign * 1.96 * deviations[1]) for sign in (-1, 1)]
    below.fill_between(months, *ends, color="C2", alpha=0.3)
    below.set(ylabel="season, as a factor", xlabel="year")
    figure.savefig(path, dpi=120)


def main(figure="monthly_series.png"):
    y, measured = np.log(PASSENGERS), PASSENGERS.size - YEAR
    series = Series(y[:measured], y.size)
    found = minimize(series, np.log([1e4, 1e4, 1e3]), jac=True, method="BFGS")
    print(f"log likelihood {-found.fun:.3f} after {found.nfev} evaluations with gradient")
    sizes = np.exp(-found.x / 2)
    for name, size in zip(NAMES, sizes, strict=True):
        print(f"standard deviation of the {name:7} {size:.5f}")

    means, deviations = series.predict(found.x)
    error = y[measured:] - means[2][measured:]
    spread = np.hypot(deviations[2][measured:], sizes[2])
    print(f"last year: predicted within {100 * np.sqrt(np.mean(error**2)):.1f} %, ", end="")
    print(f"{np.sum(abs(error) < 1.96 * spread)} of {YEAR} months in their 95 % intervals")
    if figure is not None:
        months = 1949 + np.arange(y.size) / YEAR
        draw(figure, months, y, means, deviations, sizes[2], measured)
    return found, error, spread


if __name__ == "__main__":
    main(*sys.argv[1:2])
