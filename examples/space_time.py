"""
Space and time
==============

Likelihood, gradient and marginal variances of a process with 10^5 unknowns.

A concentration drifts with the wind, spreads, decays and is stirred up by noise, on a grid of
places and over many hours::

    x_(t+1) = K x_t + w_t,   K = a I - d G - v V,   x_0, w_t ~ N(0, (tau S)^-1),

with the grid Laplacian G, the upwind difference V and noise that is smooth in space,
S = I / 10 + G. Space and time are not separable: this is no `models.kron` of a model of each. The
precision matrix of all x together is Q = tau B^T (I x S) B, where B has the blocks I on its
diagonal and -K below it: a polynomial in (a, d, v) whose coefficients are fixed sparse matrices.
Some stations measure ``y = A x + noise``. All is normal::

    log p(y) = (log det Q - log det P + m log s - s y^T y + c^T P^-1 c - m log 2 pi) / 2

with the precision s of the noise, P = Q + s A^T A and c = s A^T y; and N(P^-1 c, P^-1) is what is
known of x. One partial inverse has the marginal variances on its diagonal, and is, entry by entry,
the gradient of log det P. An independent check: det B = 1, so that
log det Q = n log tau + (number of hours) log det S.

Run: ``python examples/space_time.py [FIGURE]``
"""

import sys
import time
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp

import sparsechol as sc
from sparsechol import derivatives, models

try:
    import resource
except ImportError:  # on Windows
    resource = None

NAMES = ("a", "d", "v", "tau", "s")
TRUTH = np.array([0.98, 0.10, 0.25, 4.0, 25.0])


def operators(rows, columns):
    """S, and what K is made of: I, -G and -V, the wind blowing along the rows."""
    upwind = sp.diags_array([np.ones(columns), -np.ones(columns - 1)], offsets=[0, -1])
    G = models.kron_sum(models.rw1(rows), models.rw1(columns)).Q
    unit = sp.eye_array(rows * columns)
    return sp.csr_array(0.1 * unit + G), [unit, -G, -sp.kron(sp.eye_array(rows), upwind)]


class Model:
    """The posterior precision matrix P as a sum of fixed matrices with weights."""

    def __init__(self, rows, columns, hours, y, at):
        self.shape, self.y, self.at = (hours, rows, columns), y, at
        self.n = hours * rows * columns
        observed = np.zeros(self.n)
        observed[at] = 1
        S, K = operators(rows, columns)
        matrices = [*self.of_prior(S, K, hours), sp.diags_array(observed)]
        pattern = sum(abs(M) for M in matrices)
        self.S = sc.analyze(pattern)
        self.parts = np.array([self.S.values(M) for M in matrices])
        self.constant = hours * sc.logdet(S)
        self.Aty = np.zeros(self.n)
        self.Aty[at] = y

    @staticmethod
    def of_prior(S, K, hours):
        """Matrices of 1, c_i and c_i c_j in B^T (I x S) B, for c = (a, d, v)."""
        last = sp.diags_array(np.arange(hours) < hours - 1, dtype=float)  # no step leaves the end
        step = sp.diags_array(np.ones(hours - 1), offsets=-1, shape=(hours, hours))
        yield sp.kron(sp.eye_array(hours), S)
        for k in K:
            down = sp.kron(step, S @ k)
            yield -(down + down.T)
        for i, j in zip(*np.triu_indices(3), strict=True):
            square = K[i].T @ S @ K[j]
            yield sp.kron(last, square if i == j else square + square.T)

    def weights(self, parameters):
        """Of the matrices, and their derivatives in (a, d, v, tau, s)."""
        c, tau, s = parameters[:3], parameters[3], parameters[4]
        i, j = np.triu_indices(3)
        of_prior = np.concatenate([[1.0], c, c[i] * c[j]])
        slopes = np.zeros((5, 11))
        unit = np.eye(3)
        slopes[:3, 1:4] = tau * unit
        slopes[:3, 4:10] = tau * (unit[:, i] * c[j] + c[i] * unit[:, j])
        slopes[3, :10] = of_prior
        slopes[4, 10] = 1
        return np.append(tau * of_prior, s), slopes

    def factor(self, parameters):
        """Of P, and P^-1 c: the expectation of x given y."""
        F = self.S.factorize(self.weights(parameters)[0] @ self.parts)
        return F, F.solve(parameters[4] * self.Aty)

    def logdet_of_prior(self, parameters):
        """log det Q, without a factorization."""
        return self.n * np.log(parameters[3]) + self.constant

    def value(self, parameters, F, mean):
        """log p(y)."""
        s, m = parameters[4], len(self.y)
        residual = self.y - mean[self.at]
        return 0.5 * (
            self.logdet_of_prior(parameters)
            - F.logdet()
            + m * np.log(s / (2 * np.pi))
            - s * self.y @ residual
        )

    def gradient(self, parameters, F, mean):
        """Of log p(y) in the five parameters; and the marginal variances, diag P^-1."""
        tau, s = parameters[3:]
        fitted = mean[self.at]
        inverse = F.logdet_grad()
        in_P = derivatives.quadratic_form_grad(F, mean)[0] - inverse
        gradient = 0.5 * (self.weights(parameters)[1] @ (self.parts @ in_P))
        gradient[3] += 0.5 * self.n / tau
        gradient[4] += 0.5 * (len(self.y) / s - self.y @ (self.y - 2 * fitted))
        return gradient, inverse[self.S.indptr[:-1]]  # where the diagonal is


def simulate(rows, columns, hours, stations, rng):
    """The true process, where stations measure it, and the measurements."""
    a, d, v, tau, s = TRUTH
    S, operands = operators(rows, columns)
    K = sum(c * k for c, k in zip((a, d, v), operands, strict=True)).tocsr()
    w = sc.cholesky(tau * S).sample(hours, rng=rng)
    x = [w[0]]
    for noise in w[1:]:
        x.append(K @ x[-1] + noise)
    x = np.concatenate(x)
    places = np.sort(rng.choice(rows * columns, stations, replace=False))
    at = (rows * columns * np.arange(hours)[:, None] + places).ravel()
    return x, at, x[at] + rng.standard_normal(len(at)) / np.sqrt(s), places


@contextmanager
def timed(what):
    """Print the seconds that something took, and the most memory so far."""
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    print(f"{what:52} {seconds:6.2f} s, peak {peak_memory():5.2f} GiB")


def peak_memory():
    """Of this process, in GiB (the kernel counts KiB, on macOS bytes); NaN where it is unknown."""
    if resource is None:
        return np.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def draw(path, shape, truth, mean, deviation, places):
    """Truth, expectation and standard deviation in the middle of the time; one place over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.5), layout="constrained")
    axes = figure.subplot_mosaic("ABC;DDD", height_ratios=[1.8, 1])
    hour = shape[0] // 2
    maps = [part.reshape(shape)[hour] for part in (truth, mean, deviation)]
    limit = abs(maps[0]).max()
    titles = ("truth", "expectation", "standard deviation")
    for ax, values, title in zip((axes["A"], axes["B"], axes["C"]), maps, titles, strict=True):
        scale = {"cmap": "viridis"}
        if title != titles[2]:
            scale = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        image = ax.imshow(values, origin="lower", **scale)
        ax.plot(places % shape[2], places // shape[2], "k.", markersize=3)
        ax.set(title=f"{title}, hour {hour}", xlabel="column", ylabel="row")
        figure.colorbar(image, ax=ax, orientation="horizontal", aspect=40)

    line = axes["D"]
    place = shape[1] // 2 * shape[2] + shape[2] // 2
    series = (part.reshape(shape[0], -1)[:, place] for part in (truth, mean, deviation))
    true, expected, spread = series
    hours = np.arange(shape[0])
    band = expected - 1.96 * spread, expected + 1.96 * spread
    line.fill_between(hours, *band, alpha=0.3, label="95 % interval")
    line.plot(hours, expected, label="expectation")
    line.plot(hours, true, color="tab:red", linewidth=0.8, label="truth")
    line.set(xlabel="hour", ylabel="concentration")
    line.set_title(f"row {place // shape[2]}, column {place % shape[2]}")
    line.margins(x=0.01)
    line.legend(loc="upper right", ncols=3)
    figure.savefig(path, dpi=150)


def main(figure="space_time.png", rows=24, columns=32, hours=140, stations=40):
    rng = np.random.default_rng(3)
    truth, at, y, places = simulate(rows, columns, hours, stations, rng)
    with timed("model and analysis"):
        model = Model(rows, columns, hours, y, at)
    print(f"{model.n} unknowns, {len(y)} measurements, {model.S.nnz} entries in L")
    with timed("factorization and expectation"):
        F, mean = model.factor(TRUTH)
    value = model.value(TRUTH, F, mean)
    with timed("gradient and marginal variances"):
        gradient, variance = model.gradient(TRUTH, F, mean)
    deviation = np.sqrt(variance)
    print(f"log likelihood {value:.3f}, gradient:")
    print("   ".join(f"{n} {g:.3f}" for n, g in zip(NAMES, gradient, strict=True)))

    with timed("check: log det Q, two points of a difference"):
        a = model.weights(TRUTH)[0]
        F.refactorize(np.append(a[:-1], 0.0) @ model.parts)
        logdet_error = F.logdet() / model.logdet_of_prior(TRUTH) - 1
        step = 1e-5 * TRUTH
        ends = [model.value(t, *model.factor(t)) for t in (TRUTH + step, TRUTH - step)]
        gradient_error = (ends[0] - ends[1]) / (2 * step @ gradient) - 1
    inside = np.mean(abs(mean - truth) < 1.96 * deviation)
    print(f"relative errors: log det Q {abs(logdet_error):.0e}, gradient {abs(gradient_error):.0e}")
    print(f"{100 * inside:.1f} % of the true values in their 95 % intervals")
    if figure is not None:
        draw(figure, model.shape, truth, mean, deviation, places)
    return value, gradient, logdet_error, gradient_error, inside


if __name__ == "__main__":
    main(*sys.argv[1:2])
