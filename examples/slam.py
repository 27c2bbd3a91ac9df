"""
SLAM
====

Where a robot has been, in JAX: wrong loop closures, and what is uncertain.

Each pose is a place and a heading (x, y, phi), and an edge measures pose j as seen from pose i.
`least_squares` finds the sparsity of the residuals, colors it, and iterates in one compiled loop;
Cauchy's loss forgives wrong edges: at first those that are wrong by far, and in the end those by a
few standard deviations. At the solution the partial inverse gives the standard errors of all poses,
and the implicit function theorem says how the last pose follows from each measurement.

Run: ``python examples/slam.py [GRAPH.g2o [FIGURE]]``, where GRAPH.g2o has edges ``EDGE_SE2``;
without it a walk through a city is made up, in which one returned place of ten is mistaken.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from pose_graph import along, steps, walk, with_headings
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

import sparsechol.jax as scj

jax.config.update("jax_enable_x64", True)

DEVIATIONS = np.array([0.05, 0.05, 0.01])  # of a measurement: ahead, to the left, of the angle


def seen(a, b, xp=jnp):
    """Poses b as seen from poses a."""
    x, y, turn = (b - a).T
    cos, sin = xp.cos(a[:, 2]), xp.sin(a[:, 2])
    turn = turn - 2 * np.pi * xp.round(turn / (2 * np.pi))
    return xp.stack([cos * x + sin * y, cos * y - sin * x, turn], 1)


def residuals(edges, roots):
    """The function of poses and measurements whose squares are minimized; pose 0 is at zero."""
    i, j = edges.T

    def f(poses, measured):
        poses = jnp.concatenate([jnp.zeros((1, 3)), poses])
        error = seen(poses[i], poses[j]) - measured
        angle = error[:, 2] - 2 * np.pi * jnp.round(error[:, 2] / (2 * np.pi))
        error = jnp.stack([error[:, 0], error[:, 1], angle], 1)
        return jnp.sum(roots * error[:, None], axis=2)

    return f


def made_up(poses, rng):
    """A walk, its edges, and measurements, of which a tenth of the returns is wrong."""
    places, edges = walk(poses, rng)
    edges = np.unique(np.concatenate([steps(poses), edges]), axis=0)
    truth = with_headings(places)
    truth[:, 2] -= truth[0, 2]
    truth[:, :2] -= truth[0, :2]
    measured = seen(truth[edges[:, 0]], truth[edges[:, 1]], np)
    measured += DEVIATIONS * rng.standard_normal(measured.shape)
    returns = np.flatnonzero(np.diff(edges, axis=1)[:, 0] != 1)
    wrong = rng.permutation(returns)[: len(returns) // 10]
    measured[wrong, :2] += rng.uniform(0.5, 1.5, (len(wrong), 2))
    roots = np.broadcast_to(np.diag(1 / DEVIATIONS), (len(edges), 3, 3))
    return truth, edges, measured, roots


def from_file(path):
    """Edges, measurements and roots of their information matrices from a file of g2o."""
    with open(path) as file:
        lines = [line.split()[1:] for line in file if line.startswith("EDGE_SE2")]
    numbers = np.array(lines, dtype=float)
    _, edges = np.unique(numbers[:, :2].astype(int), return_inverse=True)
    information = numbers[:, [5, 6, 7, 6, 8, 9, 7, 9, 10]].reshape(-1, 3, 3)
    roots = np.swapaxes(np.linalg.cholesky(information), 1, 2)
    return edges.reshape(-1, 2), numbers[:, 2:5], roots


def first_guess(edges, measured):
    """Poses from measurements along the tree of shortest paths from pose 0."""
    n = edges.max() + 1
    graph = coo_array((np.ones(len(edges)), edges.T), (n, n)).tocsr()
    order, parents = breadth_first_order(graph, 0, directed=False)
    return along(parents, order, edges, measured, np.zeros(3))


def draw(path, start, found, errors):
    """The first guess, and the solution with its standard errors."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    left.plot(*start[:, :2].T, color="tab:red", linewidth=0.8)
    left.set(title="First guess", aspect="equal")
    pieces = np.stack([found[:-1, :2], found[1:, :2]], axis=1)
    lines = right.add_collection(LineCollection(pieces, array=errors, linewidths=1.2))
    figure.colorbar(lines, ax=right, label="standard error of the place")
    right.set(title="Least squares with Cauchy's loss", aspect="equal")
    figure.savefig(path, dpi=150)


def main(file=None, figure="slam.png", poses=2000):
    truth = None
    if file is None:
        truth, edges, measured, roots = made_up(poses, np.random.default_rng(7))
    else:
        edges, measured, roots = from_file(file)
    start = first_guess(edges, measured)
    print(f"{len(start)} poses, {len(edges)} edges")
    f = residuals(edges, roots)

    solve = jax.jit(
        lambda x, z, f_scale: scj.least_squares(
            f, x, z, loss="cauchy", f_scale=f_scale, maxiter=500
        )
    )
    begin = time.perf_counter()
    compiled = solve.lower(start[1:], measured, 1.0).compile()
    print(f"{time.perf_counter() - begin:.1f} s to prepare")
    poses = start[1:]
    for f_scale in (30.0, 10.0, 3.0, 1.0):
        begin = time.perf_counter()
        found = jax.block_until_ready(compiled(poses, measured, f_scale))
        end = time.perf_counter()
        poses = found.x
        print(
            f"scale {f_scale:g}: cost {found.cost:.2f} after {found.iterations} steps,"
            f" {1000 * (end - begin):.0f} ms: {found.message}"
        )
        if truth is not None:
            away = np.hypot(*(poses - truth[1:])[:, :2].T)
            print(f"  largest error of a place: {away.max():.2f}")

    errors = np.asarray(found.standard_errors())
    print(f"standard errors of the last place: {errors[-1, 0]:.3f}, {errors[-1, 1]:.3f}")
    last = 3 * (len(start) - 2) + np.arange(3)
    middle = 3 * (len(start) // 2) + np.arange(3)
    block = found.covariance_blocks(last, middle)
    print(f"covariance of the last x and that of the pose in the middle: {block[0, 0]:.2e}")

    slope = jax.jit(jax.grad(lambda z: solve(poses, z, 1.0).x[-1, 0]))(measured)
    most = int(abs(slope[:, 0]).argmax())
    i, j = edges[most]
    print(f"the last x follows most the measurement ({i}, {j}): by {slope[most, 0]:.2f}")
    if figure is not None:
        draw(figure, start, np.concatenate([np.zeros((1, 3)), found.x]), errors[:, 0])
    return f, measured, found, slope


if __name__ == "__main__":
    main(*sys.argv[1:3])
