"""Analyze, factorize and solve from scratch."""

from . import problems
from .common import Peers


class Once(Peers):
    def setup(self, problem, solver):
        super().setup(problem, solver)
        self.b = self.solver.right_hand_side(problems.right_hand_side(problems.load(problem)))

    def time_once(self, problem, solver):
        self.solver.once(self.b)
