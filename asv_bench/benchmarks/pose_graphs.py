"""Pose graphs: the g2o format, a first guess, and residuals in JAX for SE(2) and SE(3).

A pose of SE(2) is (x, y, angle), one of SE(3) a place and a unit quaternion (x, y, z, i, j, k, w).
An edge (i, j) measures pose j as seen from pose i, with an information matrix. The residual of an
edge is that of GTSAM's ``BetweenFactor``: the logarithm of the pose of j as seen from where it is
measured to be, times the root of the information.
"""

import gzip
from collections import namedtuple
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial.transform import Rotation

PoseGraph = namedtuple("PoseGraph", "poses edges measured information")

SIZES = {"SE2": 3, "SE3:QUAT": 7}


def read_g2o(path):
    """Return the pose graph of a file; poses that it lacks come from edges."""
    path = Path(path)
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        lines = [line.split() for line in file if line.strip()]
    vertices = [line for line in lines if line[0].startswith("VERTEX_")]
    edges = [line for line in lines if line[0].startswith("EDGE_")]
    kind = edges[0][0].removeprefix("EDGE_")
    size, k = SIZES[kind], 3 if kind == "SE2" else 6
    numbers = np.array([line[1:] for line in edges], dtype=float)
    pairs, measured = numbers[:, :2].astype(int), numbers[:, 2 : 2 + size]
    names, pairs = np.unique(pairs, return_inverse=True)
    pairs = pairs.reshape(-1, 2)
    information = np.zeros((len(pairs), k, k))
    row, column = np.triu_indices(k)
    information[:, row, column] = information[:, column, row] = numbers[:, 2 + size :]
    if size == 7:
        measured[:, 3:] /= np.linalg.norm(measured[:, 3:], axis=1, keepdims=True)
    poses = {int(line[1]): np.array(line[2:], dtype=float) for line in vertices}
    if all(name in poses for name in names.tolist()):
        poses = np.stack([poses[name] for name in names.tolist()])
    else:
        poses = along_a_tree(len(names), pairs, measured)
    return PoseGraph(poses, pairs, measured, information)


def along_a_tree(n, edges, measured):
    """Return poses from measurements along a tree of shortest paths from pose 0."""
    graph = sp.csr_array((np.arange(1, len(edges) + 1), edges.T), (n, n))
    order, parents = breadth_first_order(graph, 0, directed=False)
    number = {pair: k for k, pair in reversed(list(enumerate(map(tuple, edges.tolist()))))}
    poses = [origin(measured.shape[1])] * n
    for child in order[1:].tolist():
        parent = int(parents[child])
        k = number.get((parent, child))
        move = measured[k] if k is not None else inverse(measured[number[child, parent]])
        poses[child] = after(poses[parent], move)
    return np.stack(poses)


def origin(size):
    return np.zeros(3) if size == 3 else np.array([0.0, 0, 0, 0, 0, 0, 1])


def turn(pose):
    """Return the rotation of a pose of SE(2) or SE(3) as a matrix."""
    if len(pose) == 3:
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        return np.array([[cos, -sin], [sin, cos]])
    return Rotation.from_quat(pose[3:]).as_matrix()


def after(pose, move):
    """Return the pose that is seen as `move` from `pose`."""
    d = 2 if len(pose) == 3 else 3
    place = pose[:d] + turn(pose) @ move[:d]
    if d == 2:
        return np.append(place, pose[2] + move[2])
    return np.append(place, (Rotation.from_quat(pose[3:]) * Rotation.from_quat(move[3:])).as_quat())


def inverse(move):
    """Return pose i as seen from j, from j as seen from i."""
    d = 2 if len(move) == 3 else 3
    place = -turn(move).T @ move[:d]
    return np.append(place, -move[2] if d == 2 else [*-move[3:6], move[6]])


# ---- JAX ----


def problem(graph):
    """Return ``residual(x, measured)``, the point x0 and the retraction, for `least_squares`.

    Pose 0 is held by a residual of its own.
    """
    import jax.numpy as jnp

    plane = graph.poses.shape[1] == 3
    error, move = (error_se2, move_se2) if plane else (error_se3, move_se3)
    i, j = graph.edges.T
    root = np.swapaxes(np.linalg.cholesky(graph.information), 1, 2)
    first = graph.poses[:1]

    def residual(x, measured):
        seen = error(jnp, x[i], x[j], measured)
        whitened = [
            sum(root[:, r, c] * seen[c] for c in range(r, len(seen))) for r in range(len(seen))
        ]
        held = error(jnp, first, x[:1], origin(first.shape[1])[None])
        return jnp.stack(whitened, axis=1), jnp.stack(held, axis=1)

    tangent = np.zeros((len(graph.poses), 3 if plane else 6))
    return residual, graph.poses, tangent, lambda x, d: move(jnp, x, d)


def error_se2(jnp, a, b, measured):
    cos, sin = jnp.cos(a[:, 2]), jnp.sin(a[:, 2])
    x, y = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    x, y = cos * x + sin * y - measured[:, 0], cos * y - sin * x - measured[:, 1]
    cos, sin = jnp.cos(measured[:, 2]), jnp.sin(measured[:, 2])
    angle = b[:, 2] - a[:, 2] - measured[:, 2]
    angle = angle - 2 * np.pi * jnp.round(angle / (2 * np.pi))
    x, y = cos * x + sin * y, cos * y - sin * x
    small = jnp.abs(angle) < 1e-4
    half = jnp.where(small, 1, angle) / 2
    a = jnp.where(small, 1 - angle**2 / 12, half / jnp.tan(half))
    return a * x + angle / 2 * y, a * y - angle / 2 * x, angle


def move_se2(jnp, x, d):
    return x + d


def error_se3(jnp, a, b, measured):
    back, undone = conjugate(a[:, 3:].T), conjugate(measured[:, 3:].T)
    place = rotated(back, (b[:, :3] - a[:, :3]).T)
    place = rotated(undone, [place[k] - measured[:, k] for k in range(3)])
    return logarithm(jnp, place, times(undone, times(back, b[:, 3:].T)))


def logarithm(jnp, place, q):
    """Return the six numbers whose exponential is a motion: those of the place come first."""
    sign = jnp.where(q[3] < 0, -1.0, 1.0)
    x, y, z, w = (sign * part for part in q)
    square = x * x + y * y + z * z
    small = square < 1e-10
    size = jnp.sqrt(jnp.where(small, 1, square))
    angle = 2 * jnp.arctan2(size, w)
    scale = jnp.where(small, 2 / w, angle / size)
    turn = [scale * x, scale * y, scale * z]
    c = (1 - angle / (2 * jnp.tan(angle / 2))) / angle**2
    c = jnp.where(small, 1 / 12, c)
    once = cross(turn, place)
    twice = cross(turn, once)
    return *(place[k] - 0.5 * once[k] + c * twice[k] for k in range(3)), *turn


def move_se3(jnp, x, d):
    """Add to the place; turn by a rotation vector, behind the quaternion."""
    square = jnp.sum(d[:, 3:] ** 2, axis=1)
    small = square < 1e-8
    angle = jnp.sqrt(jnp.where(small, 1, square))
    scale = jnp.where(small, 0.5 - square / 48, jnp.sin(angle / 2) / angle)
    real = jnp.where(small, 1 - square / 8, jnp.cos(angle / 2))
    turned = times(x[:, 3:].T, [*(scale * d[:, k] for k in range(3, 6)), real])
    norm = jnp.sqrt(sum(q**2 for q in turned))
    return jnp.concatenate([x[:, :3] + d[:, :3], jnp.stack([q / norm for q in turned], 1)], 1)


def conjugate(q):
    return [-q[0], -q[1], -q[2], q[3]]


def times(p, q):
    """Return the product of two quaternions."""
    return [
        p[3] * q[0] + p[0] * q[3] + p[1] * q[2] - p[2] * q[1],
        p[3] * q[1] - p[0] * q[2] + p[1] * q[3] + p[2] * q[0],
        p[3] * q[2] + p[0] * q[1] - p[1] * q[0] + p[2] * q[3],
        p[3] * q[3] - p[0] * q[0] - p[1] * q[1] - p[2] * q[2],
    ]


def cross(a, b):
    return [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]


def rotated(q, v):
    """Return vectors turned by unit quaternions."""
    once = cross(q, v)
    twice = cross(q, [once[k] + q[3] * v[k] for k in range(3)])
    return [v[k] + 2 * twice[k] for k in range(3)]
