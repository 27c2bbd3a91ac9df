"""Numeric factorization with the analysis reused."""

from .common import Factored


class Refactorize(Factored):
    def time_refactorize(self, problem, solver):
        self.solver.factorize()
