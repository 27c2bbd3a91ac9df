"""
Pose graph
==========

Where a robot has been, by Gauss-Newton: one analysis for all iterations.

Each pose is a place and a heading (x, y, phi). A robot measures its own motion from pose to pose,
and recognizes places where it was before: edges (i, j), with measurements of pose j as seen from
pose i. The most likely poses minimize the sum of squares of ::

    e_ij = (R(phi_i)^T (p_j - p_i) - place_ij, phi_j - phi_i - angle_ij) / standard deviations.

With J, the sparse Jacobian of all e, each step of Gauss and Newton solves ``J^T J step = -J^T e``.
The pattern of J^T J is that of the graph, in blocks of three, and never changes: `analyze` once,
`update` in each iteration. Pose 0 is known. At the end the diagonal of (J^T J)^-1 says how well
each other one is. The start are the measurements along a tree of shortest paths in the graph.

Run: ``python examples/pose_graph.py [GRAPH [FIGURE]]``, where GRAPH is a Matrix Market file with a
matrix J^T J, whose pattern says which edges there are, say that of the Manhattan data (Olson et
al., 2006). Poses that fit it, and measurements, are made up; without GRAPH so is a walk in a city.
"""

import sys
import time
import warnings

import numpy as np
import scipy.sparse as sp
from scipy.io import mmread
from scipy.sparse.csgraph import breadth_first_order, shortest_path
from scipy.sparse.linalg import eigsh
from scipy.spatial import cKDTree

import sparsechol as sc

DEVIATIONS = np.array([0.05, 0.05, 0.01])  # of a measurement: ahead, to the left, of the angle


def walk(poses, rng, blocks=6, length=5):
    """Places on a walk through the streets of a square city, and edges: steps and returns."""
    ways = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    corner, way, places = np.zeros(2, dtype=int), 0, []
    while len(places) < poses:
        # Straight on, to the left, or to the right; back where the city ends.
        ahead = [(way + turn) % 4 for turn in (0, 1, 3)]
        ahead = [w for w in ahead if np.all(abs(2 * (corner + ways[w]) - blocks) <= blocks)]
        way = rng.choice(ahead)
        places += [length * corner + step * ways[way] for step in range(length)]
        corner = corner + ways[way]
    places = np.array(places[:poses], dtype=float)
    pairs = cKDTree(places).query_pairs(0.5, output_type="ndarray")
    returns = rng.permutation(pairs)[: poses // 2]
    return places, np.concatenate([steps(poses), returns])


def steps(poses):
    """Edges from each pose to the next."""
    return np.column_stack([np.arange(poses - 1), np.arange(1, poses)])


def from_file(file):
    """Edges of a graph, and places at distances like those in the graph (classical scaling)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the class that mmread returns
        A = sp.coo_array(mmread(file))
    j, i = (index // 3 for index in A.coords)
    edges = np.unique(np.column_stack([i, j])[i < j], axis=0)
    squares = shortest_path(adjacency(edges), directed=False, unweighted=True) ** 2
    means = squares.mean(axis=0)
    inner = 0.5 * (means[:, None] + means - squares - means.mean())
    largest, vectors = eigsh(inner, k=2, v0=np.ones(len(means)))
    return vectors * np.sqrt(largest), edges


def adjacency(edges):
    """The graph as a matrix, each edge in one direction."""
    n = edges.max() + 1
    return sp.csr_array((np.ones(len(edges)), edges.T), (n, n))


def with_headings(places):
    """Poses: each heads for the next."""
    ahead = np.diff(places, axis=0, append=2 * places[-1:] - places[-2:-1])
    return np.column_stack([places, np.arctan2(ahead[:, 1], ahead[:, 0])])


def wrapped(angle):
    """The same angle between -pi and pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def seen(poses, edges):
    """Poses j as seen from poses i."""
    (x, y, turn), phi = (poses[edges[:, 1]] - poses[edges[:, 0]]).T, poses[edges[:, 0], 2]
    cos, sin = np.cos(phi), np.sin(phi)
    return np.column_stack([cos * x + sin * y, cos * y - sin * x, wrapped(turn)])


def residuals(poses, edges, measured):
    """All e, one row for each edge."""
    error = seen(poses, edges) - measured
    error[:, 2] = wrapped(error[:, 2])
    return error / DEVIATIONS


def jacobian(poses, edges):
    """J without the columns of pose 0, as a sparse matrix of always the same pattern."""
    m, phi = len(edges), poses[edges[:, 0], 2]
    in_i, in_j = np.zeros((2, m, 3, 3))
    in_j[:, 0, 0] = in_j[:, 1, 1] = np.cos(phi)
    in_j[:, 0, 1], in_j[:, 1, 0] = np.sin(phi), -np.sin(phi)
    in_j[:, 2, 2] = 1
    in_i[:] = -in_j
    ahead = seen(poses, edges)
    in_i[:, 0, 2], in_i[:, 1, 2] = ahead[:, 1], -ahead[:, 0]
    blocks = np.stack([in_i, in_j], axis=1) / DEVIATIONS[:, None]
    rows = 3 * np.arange(m)[:, None, None, None] + np.arange(3)[:, None]
    columns = 3 * edges[:, :, None, None] + np.arange(3)
    rows, columns = (index.ravel() for index in np.broadcast_arrays(rows, columns))
    J = sp.csc_array((blocks.ravel(), (rows, columns)), (3 * m, 3 * len(poses)))
    return J[:, 3:]


def along(parents, order, edges, measured, first):
    """Poses from measurements along a tree, each from that of its parent."""
    number = {(i, j): k for k, (i, j) in enumerate(edges.tolist())}
    poses = np.tile(first, (len(parents), 1))
    for pose in order[1:]:
        parent = parents[pose]
        forward = (parent, pose) in number
        x, y, turn = measured[number[(parent, pose) if forward else (pose, parent)]]
        phi = poses[parent, 2]
        if not forward:  # the parent as seen from the child
            phi, turn = phi - turn, -turn
            x, y = -x, -y
        cos, sin = np.cos(phi), np.sin(phi)
        move = [cos * x - sin * y, sin * x + cos * y, turn]
        poses[pose] = poses[parent] + move
    return poses


def gauss_newton(poses, edges, measured, most=20, tolerance=1e-10):
    """Poses of least squares, the factor of J^T J there, and (sum of squares, step) on the way."""
    pattern = abs(jacobian(poses, edges))
    F, history = sc.analyze(pattern.T @ pattern), []
    for _ in range(most):
        J, e = jacobian(poses, edges), residuals(poses, edges, measured).ravel()
        H = J.T @ J
        F = F.refactorize(H) if history else F.factorize(H)
        step = -F.solve(J.T @ e)
        poses = poses + np.append(np.zeros(3), step).reshape(-1, 3)
        history.append((e @ e, abs(step).max()))
        if history[-1][1] < tolerance:
            break
    return poses, F, history


def draw(path, truth, reckoned, poses, deviations, history):
    """Dead reckoning, the solution with its standard deviations, and how fast it was found."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 5.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(*truth[:, :2].T, color="black", linewidth=0.8, label="truth")
    left.plot(*reckoned[:, :2].T, color="tab:red", linewidth=0.8, label="dead reckoning")
    left.legend()
    left.set(title="From step to step", aspect="equal")
    middle.plot(*truth[:, :2].T, color="black", linewidth=2.5)
    pieces = np.stack([poses[:-1, :2], poses[1:, :2]], axis=1)
    lines = middle.add_collection(LineCollection(pieces, array=deviations[1:], linewidths=1.2))
    figure.colorbar(lines, ax=middle, label="standard deviation of the place")
    middle.set(title="Least squares (the truth below it in black)", aspect="equal")
    right.semilogy(range(1, len(history) + 1), [step for _, step in history], "o-")
    right.set(xlabel="iteration", ylabel="largest change of a coordinate", title="Gauss–Newton")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main(file=None, figure="pose_graph.png", poses=3500):
    rng = np.random.default_rng(7)
    places, edges = from_file(file) if file is not None else walk(poses, rng)
    truth = with_headings(places)
    measured = seen(truth, edges) + DEVIATIONS * rng.standard_normal((len(edges), 3))
    n = len(truth)
    print(f"{n} poses, {len(edges)} edges")
    reckoned = along(np.arange(-1, n - 1), np.arange(n), edges, measured, truth[0])
    order, parents = breadth_first_order(adjacency(edges), 0, directed=False)
    start = along(parents, order, edges, measured, truth[0])

    begin = time.perf_counter()
    found, F, history = gauss_newton(start, edges, measured)
    print(f"{1000 * (time.perf_counter() - begin):.0f} ms, {F}")
    for k, (squares, step) in enumerate(history):
        print(f"iteration {k + 1}: sum of squares {squares:12.2f}, largest step {step:.1e}")

    J, e = jacobian(found, edges), residuals(found, edges, measured).ravel()
    least, of_e, slope = e @ e, len(e) - J.shape[1], abs(J.T @ e).max()
    print(f"sum of squares {least:.1f}, expected {of_e} +- {np.sqrt(2 * of_e):.0f}", end="; ")
    print(f"its gradient is {slope:.0e}")
    variances = F.diag_inverse().reshape(-1, 3)
    error = found - truth
    error[:, 2] = wrapped(error[:, 2])
    weighed, of_errors = np.sum((J @ error[1:].ravel()) ** 2), J.shape[1]
    deviations = np.sqrt(variances[:, 0] + variances[:, 1])
    away = [np.hypot(*(p - truth)[:, :2].T).max() for p in (reckoned, start, found)]
    print(
        "largest error of a place: dead reckoning {:.1f}, start {:.1f}, found {:.2f}".format(*away)
    )
    print(f"all errors, weighed by J^T J: {weighed:.1f}, expected {of_errors}", end=" ")
    print(f"+- {np.sqrt(2 * of_errors):.0f}")
    if figure is not None:
        draw(figure, truth, reckoned, found, np.append(0, deviations), history)
    return (least / of_e, weighed / of_errors), slope, away, history


if __name__ == "__main__":
    main(*sys.argv[1:3])
