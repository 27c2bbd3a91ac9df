"""Entries of the inverse on the pattern of the matrix. No peer here has them."""

from . import problems
from .common import solver


class PartialInverse:
    params = (problems.NAMES,)
    param_names = ("problem",)
    timeout = 300

    def setup(self, problem):
        self.solver = solver(problem, "sparsechol")
        self.solver.analyze()
        self.solver.factorize()
        self.solver.factor.partial_inverse()  # the pattern of the result is found once

    def time_partial_inverse(self, problem):
        self.solver.factor.partial_inverse()

    def time_diag_inverse(self, problem):
        self.solver.factor.diag_inverse()
