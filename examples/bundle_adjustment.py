"""
Bundle adjustment
=================

Cameras and points from pictures of a made-up scene, in JAX.

A camera is a rotation vector, a place and a focal length. A point in the scene is seen by some
cameras, and each picture of it is two residuals that depend on one camera and one point. The blocks
of ``J^T J`` that belong to points are eliminated first: the fill-reducing ordering finds that
itself. Pictures determine the scene up to a motion and a scale only. Two known cameras fix both.

Run: ``python examples/bundle_adjustment.py``; a small scene is compared with SciPy.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import least_squares

import sparsechol.jax as scj

jax.config.update("jax_enable_x64", True)

NOISE = 0.5  # of a picture, in pixels
KNOWN = 1e-3  # how well the places of the first two cameras are known


def rotated(turn, v):
    """Vectors rotated by rotation vectors (Rodrigues), smooth at zero."""
    square = jnp.sum(turn**2, axis=-1, keepdims=True)
    small = square < 1e-12
    angle = jnp.sqrt(jnp.where(small, 1, square))
    a = jnp.where(small, 1 - square / 6, jnp.sin(angle) / angle)
    b = jnp.where(small, 0.5 - square / 24, (1 - jnp.cos(angle)) / angle**2)
    once = jnp.cross(turn, v)
    return v + a * once + b * jnp.cross(turn, once)


def pictures(cameras, points):
    """Where cameras see points, in pixels."""
    at = rotated(cameras[:, :3], points - cameras[:, 3:6])
    return cameras[:, 6:] * at[:, :2] / at[:, 2:]


def scene(cameras, points, rng):
    """Cameras on a circle that look at a cloud of points, and which see which."""
    angle = 2 * np.pi * np.arange(cameras) / cameras
    places = np.stack([4 * np.sin(angle), 0.3 * np.cos(3 * angle), -4 * np.cos(angle)], 1)
    turns = np.stack([0 * angle, angle, 0 * angle], 1)
    truth = {
        "cameras": np.column_stack([turns, places, np.full(cameras, 600.0)]),
        "points": rng.uniform(-1, 1, (points, 3)),
    }
    # A point is seen by the cameras that are nearest to the direction in which it faces.
    faces = rng.uniform(0, cameras, points)
    near = (faces[:, None] + np.arange(5)).astype(int) % cameras
    return truth, near.ravel(), np.repeat(np.arange(points), 5)


def residuals(camera, point, known):
    """The function of cameras and points whose squares are minimized."""

    def f(x, seen):
        error = pictures(x["cameras"][camera], x["points"][point]) - seen
        held = (x["cameras"][:2, :6] - known) / KNOWN
        return error / NOISE, held

    return f


def problem(cameras, points, seed=4):
    """The truth, the residuals, the pictures, and a first guess."""
    rng = np.random.default_rng(seed)
    truth, camera, point = scene(cameras, points, rng)
    seen = pictures(truth["cameras"][camera], truth["points"][point])
    seen = np.asarray(seen) + NOISE * rng.standard_normal(seen.shape)
    known = truth["cameras"][:2, :6] + KNOWN * rng.standard_normal((2, 6))
    scale = {"cameras": np.array([0.01] * 3 + [0.05] * 3 + [10.0]), "points": 0.05}
    start = {name: x + scale[name] * rng.standard_normal(x.shape) for name, x in truth.items()}
    start["cameras"][:2, :6] = known
    return truth, residuals(camera, point, known), seen, start


def by_scipy(f, seen, start):
    """The same minimum by SciPy, with dense algebra."""
    raveled, unravel = ravel_pytree(start)
    vector = jax.jit(lambda x: ravel_pytree(f(unravel(x), seen))[0])
    return least_squares(vector, raveled, jac=jax.jit(jax.jacfwd(vector)), x_scale="jac")


def main(cameras=40, points=2000):
    truth, f, seen, start = problem(cameras, points)
    unknown = sum(x.size for x in start.values())
    print(f"{cameras} cameras, {points} points, {len(seen)} pictures: {unknown} unknowns")

    solve = jax.jit(lambda x, seen: scj.least_squares(f, x, seen))
    begin = time.perf_counter()
    compiled = solve.lower(start, seen).compile()
    ready = time.perf_counter()
    found = jax.block_until_ready(compiled(start, seen))
    end = time.perf_counter()
    print(f"cost {found.cost:.2f} after {found.iterations} steps: {found.message}")
    print(f"{ready - begin:.1f} s to prepare, {1000 * (end - ready):.0f} ms to solve")
    of_freedom = 2 * len(seen) + 12 - unknown
    print(f"expected cost {of_freedom / 2:.0f} +- {np.sqrt(of_freedom / 2):.0f}")

    every = jax.tree.map(lambda x, y, e: (x - y) / e, found.x, truth, found.standard_errors())
    for name, error in every.items():
        print(f"errors over standard errors, {name}: root mean square {jnp.std(error):.2f}")
    one = 7 * cameras + 3 * 17 + np.arange(3)
    axes = np.sqrt(np.linalg.eigvalsh(found.covariance_blocks(one, one)))
    print(f"the ellipsoid of point 17 has half axes {axes.round(5)}")

    _, f, seen, start = problem(10, 60)
    ours, theirs = scj.least_squares(f, start, seen), by_scipy(f, seen, start)
    print(f"10 cameras, 60 points: cost {ours.cost:.6f}, by SciPy {theirs.cost:.6f}")
    return found, truth, ours, theirs


if __name__ == "__main__":
    main()
