"""Entries of the inverse on the pattern of the matrix. No peer here has them."""

import numpy as np
import scipy.sparse as sp

from . import problems
from .common import matrix, solver


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


def rows_of(A, kind):
    """Return rows to multiply with: one for each entry below the diagonal, or a few of any kind."""
    n = A.shape[0]
    if kind == "neighbors":  # differences, which the partial inverse holds
        below = sp.coo_array(sp.tril(A, -1))
        ends = np.stack([below.row, below.col], axis=1)
        pointers = 2 * np.arange(len(ends) + 1)
        signs = np.tile([1.0, -1.0], len(ends))
        return sp.csr_array((signs, ends.ravel(), pointers), shape=(len(ends), n))
    return sp.random_array((100, n), density=min(1.0, 20 / n), format="csr", rng=0)


class InverseQuadratic:
    params = (problems.NAMES, ["neighbors", "scattered"])
    param_names = ("problem", "rows")
    timeout = 300

    def setup(self, problem, rows):
        self.solver = solver(problem, "sparsechol")
        self.solver.analyze()
        self.solver.factorize()
        self.B = rows_of(matrix(problem), rows)

    def time_inverse_quadratic(self, problem, rows):
        self.solver.factor.inverse_quadratic(self.B)
