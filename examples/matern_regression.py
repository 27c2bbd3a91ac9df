"""
Matern regression
=================

A field by stochastic partial differential equations in PyMC, its parameters sampled.

Measurements ``y = b + field(s) + noise`` at scattered places s. The field is a sum of piecewise
linear functions on a triangulation with random weights x, which have the sparse precision matrix
of Lindgren, Rue and Lindstrom (2011), ::

    Q = tau (kappa^4 C + 2 kappa^2 G + G C^-1 G),

and ``A x`` are its values at s. All is normal, so that x is integrated out exactly: the sampler
sees the four parameters, and the posterior field comes from one solve and one partial inverse for
each draw that one wants.

Run: ``python examples/matern_regression.py``
"""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import scipy.sparse as sp
from scipy.spatial import Delaunay

import sparsechol.pytensor as scpt


def mesh(rows):
    """Triangulation of the square from -0.2 to 1.2 (with a margin, where edges do no harm)."""
    line = np.linspace(-0.2, 1.2, rows)
    return Delaunay(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2))


def finite_elements(mesh):
    """Lumped masses C and stiffness G of linear elements."""
    n, t = len(mesh.points), mesh.simplices
    corners = mesh.points[t]
    edges = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]  # each across from its corner
    areas = 0.5 * abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    parts = np.einsum("tik,tjk->tij", edges, edges) / (4 * areas[:, None, None])
    i, j = np.broadcast_arrays(t[:, :, None], t[:, None, :])
    C = sp.diags_array(np.bincount(t.ravel(), np.repeat(areas / 3, 3), n))
    return C, sp.csc_array((parts.ravel(), (i.ravel(), j.ravel())), (n, n))


def at_points(mesh, points):
    """The matrix A that interpolates from the vertices to points of the square."""
    t = mesh.find_simplex(points)
    transform = mesh.transform[t]
    weights = np.einsum("tij,tj->ti", transform[:, :2], points - transform[:, 2])
    weights = np.column_stack([weights, 1 - weights.sum(axis=1)])
    rows = np.repeat(np.arange(len(points)), 3)
    shape = (len(points), len(mesh.points))
    return sp.csr_array((weights.ravel(), (rows, mesh.simplices[t].ravel())), shape)


def precision(kappa, tau, C, G):
    """Q, for numbers and for random variables."""
    curved = G @ sp.diags_array(1 / C.diagonal()) @ G
    return scpt.combine([(tau * kappa**4, C), (2 * tau * kappa**2, G), (tau, curved)])


def parameters(range_, deviation):
    """kappa and tau of a field with this range and standard deviation."""
    kappa = 8**0.5 / range_
    return kappa, 1 / (4 * np.pi * kappa**2 * deviation**2)


def regression(A, y, C, G):
    """The model, and mean and precision of the weights given parameters and measurements."""
    AtA, Aty, At1 = sp.csc_array(A.T @ A), A.T @ y, A.T @ np.ones(len(y))
    with pm.Model() as model:
        b = pm.Normal("b", 0.0, 5.0)
        range_ = pm.LogNormal("range", np.log(0.3), 1.0)
        deviation = pm.HalfNormal("deviation", 2.0)
        noise = pm.HalfNormal("noise", 1.0)
        Q = precision(*parameters(range_, deviation), C, G)
        given_y = scpt.combine([(1.0, Q), (noise**-2, AtA)])
        of_y = (Aty - b * At1) / noise**2
        mean = scpt.solve(given_y, of_y)
        exponent = ((y - b) ** 2).sum() / noise**2 - (of_y * mean).sum()
        pm.Potential(
            "likelihood",
            0.5 * (scpt.logdet(Q) - scpt.logdet(given_y) - exponent)
            - len(y) * (pt.log(noise) + 0.5 * np.log(2 * np.pi)),
        )
    return model, mean, given_y


def simulate(A, C, G, rng, b=1.0, range_=0.4, deviation=1.0, noise=0.3):
    """Measurements, and the weights of the true field."""
    Q = precision(*parameters(range_, deviation), C, G)
    x = Q.random(np.zeros(Q.shape[0]), Q.values.eval(), rng=rng)
    return b + A @ x + noise * rng.standard_normal(A.shape[0]), x


def main(rows=37, measurements=600, **options):
    rng = np.random.default_rng(4)
    vertices = mesh(rows)
    C, G = finite_elements(vertices)
    A = at_points(vertices, rng.random((measurements, 2)))
    y, x = simulate(A, C, G, rng)
    model, mean, given_y = regression(A, y, C, G)
    with model:
        trace = pm.sample(random_seed=5, **options)
    for name, true in [("b", 1.0), ("range", 0.4), ("deviation", 1.0), ("noise", 0.3)]:
        draws = trace.posterior[name].values
        print(f"{name:10} {draws.mean():6.3f} +- {draws.std():.3f}   (true: {true})")

    inputs = [model[name] for name in ("b", "range", "deviation", "noise")]
    field = pytensor.function(inputs, [inputs[0] + mean, scpt.marginal_variances(given_y)])
    estimate, variance = field(*(trace.posterior[v.name].values.mean() for v in inputs))
    inside = np.all((vertices.points > 0) & (vertices.points < 1), axis=1)
    error = (estimate - 1.0 - x)[inside]
    print(f"field: root mean square error {np.sqrt(np.mean(error**2)):.2f}", end=", ")
    print(f"predicted {np.sqrt(np.mean(variance[inside])):.2f}")
    return trace, error, variance[inside]


if __name__ == "__main__":
    main()
