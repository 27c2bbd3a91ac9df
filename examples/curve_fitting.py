"""
Curve fitting
=============

Thousands of decays with lifetimes in common, fitted together in JAX.

Each of the curves is a sum of two exponentials. The two lifetimes, and the delay of the instrument,
are common to all of them, and the two sizes and a background are its own: three unknowns in common
and three for each curve. `least_squares` sees that ``J^T J`` is an arrow, and a step costs one pass
over the data. The standard errors count what the common unknowns do to the others, and the implicit
function theorem gives the derivative of a lifetime in every datum (its influence).

Run: ``python examples/curve_fitting.py``; it compares with variable projection by SciPy, in which
linear least squares eliminate the sizes.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

import sparsechol.jax as scj

jax.config.update("jax_enable_x64", True)

TIMES = np.linspace(0, 10, 60)
NOISE = 0.02


def curves(x):
    """All curves, one a row."""
    first, second, delay = x["common"]
    t = TIMES + delay
    return (
        x["own"][:, :1] * jnp.exp(-t / first)
        + x["own"][:, 1:2] * jnp.exp(-t / second)
        + x["own"][:, 2:]
    )


def residual(x, data):
    """What is minimized: misfits, and what is known of the delay."""
    return (curves(x) - data) / NOISE, (x["common"][2] - 0.1) / 0.01


def by_projection(data):
    """Common unknowns by variable projection: the best sizes for given lifetimes are linear."""

    def f(common):
        t = TIMES + common[2]
        basis = np.stack([np.exp(-t / common[0]), np.exp(-t / common[1]), np.ones_like(t)], 1)
        sizes, *_ = np.linalg.lstsq(basis, data.T)
        return np.append((basis @ sizes - data.T).ravel() / NOISE, (common[2] - 0.1) / 0.01)

    return least_squares(f, [0.8, 4.0, 0.1], x_scale=[1, 1, 0.01], xtol=1e-12, ftol=1e-12)


def main(count=3000):
    rng = np.random.default_rng(1)
    truth = {"common": np.array([1.0, 3.0, 0.1]), "own": rng.uniform(0.5, 2, (count, 3))}
    data = np.asarray(curves(truth)) + NOISE * rng.standard_normal((count, len(TIMES)))
    start = {"common": np.array([0.8, 4.0, 0.1]), "own": np.ones((count, 3))}
    print(f"{count} curves of {len(TIMES)} points: {3 + 3 * count} unknowns")

    solve = jax.jit(lambda x, data: scj.least_squares(residual, x, data))
    begin = time.perf_counter()
    compiled = solve.lower(start, data).compile()
    ready = time.perf_counter()
    found = jax.block_until_ready(compiled(start, data))
    end = time.perf_counter()
    print(f"cost {found.cost:.2f} after {found.iterations} steps, {found.message}")
    print(f"{ready - begin:.1f} s to prepare, {1000 * (end - ready):.0f} ms to solve")
    errors = found.standard_errors()
    for name, x, error, true in zip(
        ("first lifetime", "second lifetime", "delay"),
        found.x["common"],
        errors["common"],
        truth["common"],
        strict=True,
    ):
        print(f"{name:16s}{x:8.4f} +- {error:.4f}   (true: {true})")
    away = (found.x["own"] - truth["own"]) / errors["own"]
    print(f"errors of sizes over their standard errors: root mean square {jnp.std(away):.3f}")

    begin = time.perf_counter()
    theirs = by_projection(data)
    end = time.perf_counter()
    print(f"variable projection: {theirs.x.round(4)}, {1000 * (end - begin):.0f} ms", end=", ")
    print(f"cost {theirs.cost:.2f}")

    lifetime = lambda data: scj.least_squares(residual, found.x, data).x["common"][0]  # noqa: E731
    influence = jax.jit(jax.grad(lifetime))(data)
    error = NOISE * jnp.linalg.norm(influence)
    print(f"standard error of the first lifetime by its influences: {error:.4f}")
    return found, theirs, truth, error


if __name__ == "__main__":
    main()
