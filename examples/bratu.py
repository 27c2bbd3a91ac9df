"""
Bratu's problem
===============

Newton's method on sparse Hessians in JAX, up to where the solutions end.

``-laplace(u) = lambda exp(u)`` on the unit square with u = 0 on its border: heat that a reaction
sets free, faster where it is hotter. With N x N points at distance h = 1 / (N + 1) its lower
solution is a minimum of the energy ::

    E(u, lambda) = sum over neighbors of (u_i - u_j)^2 / 2 - lambda h^2 sum exp(u_i),

whose Hessian is found, colored and analyzed by `sparse_hessian`, from E alone. Beyond a critical
lambda there is no solution, and the mixture explodes: the smallest eigenvalue of the Hessian falls
to zero there, as the square root of the distance. Hence its square, extrapolated to zero, shows
where. The literature has lambda = 6.808124423, in the limit of small h.

Run: ``python examples/bratu.py [FIGURE]``
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import eigsh

import sparsechol.jax as scj

jax.config.update("jax_enable_x64", True)

CRITICAL = 6.808124423


def energy(u, strength, N):
    """Evaluate E; its gradient is the equation, times h^2."""
    U = jnp.pad(u.reshape(N, N), 1)
    stiffness = jnp.sum(jnp.diff(U, axis=0) ** 2) + jnp.sum(jnp.diff(U, axis=1) ** 2)
    return 0.5 * stiffness - strength * jnp.sum(jnp.exp(u)) / (N + 1) ** 2


def newton_by_hand(E, u, strength, steps=6):
    """Take plain Newton steps with one analysis, and measure the largest residual before each."""
    H = scj.sparse_hessian(E, u, strength)

    @jax.jit
    def step(u):
        residual = jax.grad(E)(u, strength)
        return u - scj.solve(H.matrix(u, strength), residual), jnp.abs(residual).max()

    residuals = []
    for _ in range(steps):
        u, residual = step(u)
        residuals.append(float(residual))
    return H, u, residuals


def branch(E, H, u, strengths):
    """Follow solutions: return highest points, their slopes in lambda, and eigenvalues."""

    @jax.jit
    def follow(u, strength):
        def top(strength):
            found = scj.newton(E, u, strength)
            return jnp.max(found.x), found

        # The derivative is that of the implicit function: one solve more.
        height, slope, found = jax.jvp(top, (strength,), (1.0,), has_aux=True)
        return found.x, found.converged, height, slope

    packed, rows = jax.jit(H.packed), []
    for strength in strengths:
        u, converged, height, slope = follow(u, strength)
        if not converged:
            raise ValueError(f"no solution was found for lambda = {strength}")
        rows.append((height, slope, smallest_eigenvalue(H.pattern, packed(u, strength))))
    return u, np.array(rows)


def smallest_eigenvalue(symbolic, values):
    """Find the smallest eigenvalue of the Hessian by Lanczos' method on its inverse."""
    inverse = symbolic.factorize(np.asarray(values)).to_linear_operator()
    start = np.ones(inverse.shape[0])
    [largest] = eigsh(inverse, k=1, v0=start, return_eigenvectors=False)
    return 1 / largest


def extrapolated(strengths, eigenvalues):
    """Return the zero of the parabola through the last three squares of eigenvalues."""
    squares = eigenvalues[-3:] ** 2
    return float(np.polyval(np.polyfit(squares, strengths[-3:], 2), 0.0))


def draw(path, u, strengths, rows, critical):
    """Draw the last solution, and the end of the branch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.1, 1, 1])
    N = int(np.sqrt(len(u)))
    whole = np.pad(np.asarray(u).reshape(N, N), 1)
    line = np.linspace(0, 1, N + 2)
    levels = np.linspace(0, np.ceil(20 * whole.max()) / 20, 28)
    image = left.contourf(line, line, whole, levels, cmap="inferno")
    left.contour(line, line, whole, 6, colors="white", linewidths=0.5)
    left.set(aspect="equal", xlabel="x", ylabel="y", title=f"u for λ = {strengths[-1]:g}")
    figure.colorbar(image, ax=left, ticks=np.arange(0, whole.max(), 0.2))

    heights, slopes, eigenvalues = rows.T
    middle.plot(strengths, heights, "o", markersize=5)
    for strength, height, slope in zip(strengths, heights, slopes, strict=True):
        reach = 0.25 / np.hypot(1, 4 * slope)
        middle.plot(*np.array([[strength, height], [1, slope]]).T @ [[1, 1], [-reach, reach]], "C1")
    middle.set(xlabel="λ", ylabel="max u", title="Highest point, and its slope in λ")
    right.plot(strengths, (eigenvalues * (N + 1) ** 2) ** 2, "o-")
    for ax in (middle, right):
        ax.axvline(critical, color="tab:red", linestyle="--", label=f"end: λ = {critical:.4f}")
        ax.legend()
    right.set(xlabel="λ", ylabel="μ²", title="μ: smallest eigenvalue of −Δ − λ exp(u)")
    right.set_ylim(bottom=0)
    figure.savefig(path, dpi=150)


def main(figure="bratu.png", N=127):
    def E(u, strength):
        return energy(u, strength, N)

    H, u, residuals = newton_by_hand(E, jnp.zeros(N * N), 6.0)
    print(f"{H}, {H.pattern.nnz} entries in L")
    print("largest residuals for lambda = 6:", *(f"{r:.0e}" for r in residuals))

    strengths = np.array([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.2, 6.5, 6.7, 6.75, 6.78, 6.8])
    u, rows = branch(E, H, jnp.zeros(N * N), strengths)
    residual = float(jnp.abs(jax.grad(E)(u, strengths[-1])).max())
    critical = extrapolated(strengths, rows[:, 2])
    print(f"lambda = {strengths[-1]:g}: max u = {rows[-1, 0]:.6f}, largest residual {residual:.0e}")
    print(f"smallest eigenvalue from {rows[0, 2]:.2e} down to {rows[-1, 2]:.2e}, zero at")
    print(f"lambda = {critical:.5f}   (literature, without discretization: {CRITICAL:.5f})")
    if figure is not None:
        draw(figure, u, strengths, rows, critical)
    return u, strengths, rows, critical


if __name__ == "__main__":
    main(*sys.argv[1:2])
