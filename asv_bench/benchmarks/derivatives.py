"""Derivative sweeps, each in units of our own factorization. No peer here has them."""

from time import perf_counter

import numpy as np

from . import THREADS, problems
from .common import solver

SWEEPS = ["tangent", "adjoint", "outer", "inner", "sandwich"]
ROUNDS = 5


class Sweep:
    """The kernels alone, on arrays that are there."""

    params = (problems.NAMES, SWEEPS)
    param_names = ("problem", "sweep")
    timeout = 300

    def setup(self, problem, sweep):
        from sparsechol._core.numeric.operations import CODES

        self.solver = solver(problem, "sparsechol")
        self.solver.analyze()
        self.solver.factorize()
        factor = self.solver.factor
        structure = factor.pattern._structure
        threads = THREADS if structure.tasks > 1 else 1
        panels, out = factor._valid_panels, np.empty((1, structure.size))
        inverse, x = factor._inverse(threads), factor._valid_panels.copy()
        arrays = {
            "tangent": (panels, self.solver._values[None]),
            "adjoint": (panels, x),
            "outer": (panels, x),
            "inner": (inverse, x),
            "sandwich": (panels, inverse, x),
        }[sweep]
        handle = factor.pattern._handle
        self.run = lambda: handle.perform(CODES[sweep], arrays, out, threads)
        self.run()

    def time_sweep(self, problem, sweep):
        self.run()

    def track_ratio_to_factorization(self, problem, sweep):
        return ratio(self.run, self.solver.factorize)

    track_ratio_to_factorization.unit = "factorizations"


class Gradient:
    """Gradient of ``log det(A) / 2 - b^T A^-1 b / 2``, the factorization included."""

    params = (problems.NAMES,)
    param_names = ("problem",)
    timeout = 300

    def setup(self, problem):
        self.solver = solver(problem, "sparsechol")
        self.solver.analyze()
        self.solver.factorize()
        self.b = problems.right_hand_side(problems.load(problem))
        self.time_gradient(problem)

    def time_gradient(self, problem):
        from sparsechol import derivatives

        self.solver.factorize()
        factor = self.solver.factor
        x = factor.solve(self.b)
        return factor.logdet_grad() / 2 - derivatives.quadratic_form_grad(factor, x)[0] / 2

    def track_ratio_to_factorization(self, problem):
        return ratio(lambda: self.time_gradient(problem), self.solver.factorize)

    track_ratio_to_factorization.unit = "factorizations"


def ratio(function, unit):
    """Least times of both, taking turns."""
    times = [(seconds(function), seconds(unit)) for _ in range(ROUNDS)]
    return min(one for one, _ in times) / min(other for _, other in times)


def seconds(function):
    start = perf_counter()
    function()
    return perf_counter() - start
