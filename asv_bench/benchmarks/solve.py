"""Solves with a factor at hand."""

from . import peers, problems
from .common import Factored


class Solve(Factored):
    params = (problems.NAMES, peers.NAMES, [1, 64])
    param_names = ("problem", "solver", "rhs")

    def setup(self, problem, solver, k):
        super().setup(problem, solver)
        self.b = self.solver.right_hand_side(problems.right_hand_side(problems.load(problem), k))

    def time_solve(self, problem, solver, k):
        self.solver.solve(self.b)
