"""Nonlinear least squares in JAX on made-up pose graphs: preparation, and one solution."""

import numpy as np

from .jax_face import start_jax
from .pose_graphs import PoseGraph, along_a_tree, problem


def ring(poses, size):
    """Return a pose graph: a walk of steps, and returns to what was seen some steps before."""
    rng = np.random.default_rng(poses)
    first = np.arange(poses - 1)
    back = np.flatnonzero(rng.random(poses - 25) < 0.5)
    edges = np.concatenate([np.stack([first, first + 1], 1), np.stack([back, back + 25], 1)])
    step = np.array([1.0, 0.1, 0.05]) if size == 3 else np.array([1, 0.1, 0.2, 0, 0, 0.025, 1])
    walk = along_a_tree(poses, edges[: poses - 1], np.tile(step, (poses - 1, 1)))
    measured = np.concatenate([np.tile(step, (poses - 1, 1)), np.tile(step * 0, (len(back), 1))])
    several = along_a_tree(26, edges[:25], np.tile(step, (25, 1)))[-1]
    measured[poses - 1 :] = several
    measured += 0.01 * rng.standard_normal(measured.shape)
    if size == 7:
        measured[:, 3:] /= np.linalg.norm(measured[:, 3:], axis=1, keepdims=True)
    k = 3 if size == 3 else 6
    return PoseGraph(walk, edges, measured, np.broadcast_to(100 * np.eye(k), (len(edges), k, k)))


class PoseGraphs:
    """Levenberg and Marquardt on graphs of SE(2) and SE(3)."""

    params = (["SE(2)", "SE(3)"], [300, 3000])
    param_names = ("group", "poses")
    timeout = 300

    def setup(self, group, poses):
        self.jax = start_jax()
        self.graph = ring(poses, 3 if group == "SE(2)" else 7)
        self.compiled = None

    def _solve(self):
        import sparsechol.jax as scj

        residual, x0, tangent, retract = problem(self.graph)
        solve = self.jax.jit(
            lambda x, seen: scj.least_squares(residual, x, seen, retract=retract, tangent=tangent)
        )
        return solve.lower(x0, self.graph.measured)

    def track_iteration(self, group, poses):
        """Milliseconds of a step, all included, after compilation."""
        from time import perf_counter

        compiled, times = self._solve().compile(), []
        for _ in range(5):
            begin = perf_counter()
            found = self.jax.block_until_ready(compiled(self.graph.poses, self.graph.measured))
            times.append((perf_counter() - begin) / max(int(found.iterations), 1))
        return 1000 * min(times)

    track_iteration.unit = "ms"

    def time_prepare(self, group, poses):
        """Seconds to trace, detect, color and analyze, without XLA."""
        self._solve()
