"""
Kriging
=======

A Matern field: maximum likelihood by JAX gradients, and maps of what is predicted.

Measurements ``y = b + field + noise`` at scattered places. The field is bilinear on a grid. Its
values x at the points have the sparse precision matrix of Lindgren, Rue and Lindstrom (2011) ::

    Q = tau^2 (kappa^4 C + 2 kappa^2 G + G C^-1 G),

C and G being the masses and the stiffness of finite elements (`models.spde_lattice`). A
interpolates from the grid to the places. With the precision s of the noise, P = Q + s A^T A is the
precision matrix of x given y, and ::

    log p(y) = (log det Q - log det P + m log (s / 2 pi) - s |r|^2 + c^T P^-1 c) / 2,

r = y - b, c = s A^T r. JAX has its gradient for the optimizer and its Hessian for standard errors.
The prediction is b + P^-1 c, and the diagonal of P^-1 has its variances, at all points of the map.

Run: ``python examples/kriging.py [FIGURE]``
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

import sparsechol.jax as scj
from sparsechol.models import spde_lattice, spde_parameters

jax.config.update("jax_enable_x64", True)

NAMES = ("b", "range", "deviation", "noise")
TRUTH = np.array([10.0, 0.3, 2.0, 0.5])
MARGIN = 0.3  # around the unit square, where edges of the grid do no harm


def interpolation(points, at):
    """Return the matrix that interpolates from points on a line to other places."""
    left = np.clip(np.searchsorted(points, at, side="right") - 1, 0, len(points) - 2)
    part = (at - points[left]) / (points[left + 1] - points[left])
    rows = np.arange(len(at))
    values, columns = np.concatenate([1 - part, part]), np.concatenate([left, left + 1])
    return sp.csr_array((values, (np.tile(rows, 2), columns)), (len(at), len(points)))


def at_places(line, places):
    """Return A, the bilinear interpolation from the grid line x line to places (x, y)."""
    across, up = (interpolation(line, coordinate) for coordinate in places.T)
    ones = np.ones((1, len(line)))
    return (sp.kron(up, ones) * sp.kron(ones, across)).tocsr()


class Kriging:
    """The likelihood of y in theta = (b, log range, log deviation, log noise), and predictions."""

    def __init__(self, line, A, y):
        self.field = spde_lattice((len(line), len(line)), spacing=line[1] - line[0])
        AtA = A.T @ A
        self.pattern = scj.analyze(self.field.pattern + AtA)
        self.parts = jnp.array([self.pattern.values(M) for M in (*self.field.matrices, AtA)])
        self.y, self.Aty, self.At1 = jnp.asarray(y), A.T @ y, A.T @ np.ones(len(y))

    def prior(self, theta):
        """Return Q."""
        kappa, tau = spde_parameters(range_=jnp.exp(theta[1]), sigma=jnp.exp(theta[2]))
        weights = jnp.array(self.field.coefficients(kappa=kappa, tau=tau))
        return scj.SymmetricMatrix(self.pattern, weights @ self.parts[:3])

    def posterior(self, theta):
        """Return the factor of P, c and P^-1 c."""
        s = jnp.exp(-2 * theta[3])
        Q = self.prior(theta)
        F = scj.cholesky(Q.with_values(Q.values + s * self.parts[3]))
        c = s * (self.Aty - theta[0] * self.At1)
        return F, c, F.solve(c)

    def log_likelihood(self, theta):
        s, r = jnp.exp(-2 * theta[3]), self.y - theta[0]
        F, c, mean = self.posterior(theta)
        determinants = scj.logdet(self.prior(theta)) - F.logdet()
        of_noise = len(self.y) * jnp.log(s / (2 * jnp.pi)) - s * r @ r
        return 0.5 * (determinants + of_noise + c @ mean)

    def predict(self, theta):
        """Return expectation and standard deviation on the grid, given y and theta."""
        F, _, mean = self.posterior(theta)
        return theta[0] + mean, jnp.sqrt(F.diag_inverse())


def loss(model):
    """Compile minus the log likelihood with its gradient, and its Hessian."""

    def value(theta):
        return -model.log_likelihood(theta)

    return jax.jit(jax.value_and_grad(value)), jax.jit(jax.hessian(value))


def simulate(line, measurements, rng):
    """Draw places (none in a disc), measurements there, and the field on the grid."""
    places = rng.random((3 * measurements, 2))
    outside = np.hypot(*(places - [0.65, 0.4]).T) > 0.18
    places = places[outside][:measurements]
    A = at_places(line, places)
    theta = np.append(TRUTH[0], np.log(TRUTH[1:]))
    Q = Kriging(line, A, np.zeros(len(places))).prior(theta)
    field = TRUTH[0] + Q.pattern.factorize(np.asarray(Q.values)).sample(rng=rng)
    return places, A, A @ field + TRUTH[3] * rng.standard_normal(len(places)), field


def gradient_error(f, theta, step=1e-5):
    """Return the largest error of the gradient against central differences, relative."""
    ends = [[f(theta + t * e)[0] for t in (step, -step)] for e in np.eye(len(theta))]
    differences = np.array([(up - down) / (2 * step) for up, down in ends])
    gradient = f(theta)[1]
    return float(abs(gradient - differences).max() / abs(gradient).max())


def draw(path, line, places, y, field, mean, deviation):
    """Draw maps of the measurements, the truth, the prediction and its standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    inside = (line >= 0) & (line <= 1)
    maps = [
        part.reshape(len(line), -1)[np.ix_(inside, inside)] for part in (field, mean, deviation)
    ]
    low, high = np.min(maps[:2]), np.max(maps[:2])
    scale = {"vmin": low, "vmax": high, "cmap": "viridis"}
    points = axes[0].scatter(*places.T, c=y, s=22, edgecolors="black", linewidths=0.3, **scale)
    figure.colorbar(points, ax=axes[0])
    titles = ("true field", "prediction", "standard deviation of the prediction")
    scales = (scale, scale, {"cmap": "magma"})
    for ax, values, title, colors in zip(axes[1:], maps, titles, scales, strict=True):
        image = ax.imshow(values, origin="lower", extent=(0, 1, 0, 1), **colors)
        ax.set_title(title)
        figure.colorbar(image, ax=ax)
    axes[0].set(title=f"{len(y)} measurements", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    axes[3].plot(*places.T, ".", color="white", markersize=2.5)
    for ax in axes:
        ax.label_outer()
    figure.savefig(path, dpi=150)


def main(figure="kriging.png", rows=129, measurements=400):
    line = np.linspace(-MARGIN, 1 + MARGIN, rows)
    places, A, y, field = simulate(line, measurements, np.random.default_rng(5))
    model = Kriging(line, A, y)
    print(f"{rows**2} points, {measurements} measurements, {model.pattern.nnz} entries in L")
    start = np.array([y.mean(), np.log(0.2), np.log(y.std()), np.log(y.std() / 2)])
    f, hessian = loss(model)
    error = gradient_error(f, start)
    print(f"gradient against differences: relative error {error:.0e}")

    found = minimize(f, start, jac=True, method="BFGS")
    print(f"log likelihood {-found.fun:.3f} after {found.nfev} evaluations with gradient")
    estimates = np.append(found.x[0], np.exp(found.x[1:]))
    errors = np.sqrt(np.diag(np.linalg.inv(hessian(found.x)))) * np.append(1.0, estimates[1:])
    for row in zip(NAMES, estimates, errors, TRUTH, strict=True):
        print("{:10} {:6.3f} +- {:.3f}   (true: {})".format(*row))

    mean, deviation = map(np.asarray, jax.jit(model.predict)(found.x))
    x, up = np.meshgrid(line, line)
    inside = ((x >= 0) & (x <= 1) & (up >= 0) & (up <= 1)).ravel()
    z = ((mean - field) / deviation)[inside]
    actual, predicted = (np.sqrt(np.mean(e[inside] ** 2)) for e in (mean - field, deviation))
    print(f"root mean square error of the prediction {actual:.2f}, predicted {predicted:.2f}")
    print(f"{100 * np.mean(abs(z) < 1.96):.1f} % of the field in its 95 % intervals")
    if figure is not None:
        draw(figure, line, places, y, field, mean, deviation)
    return estimates, errors, z


if __name__ == "__main__":
    main(*sys.argv[1:2])
