"""Changes of a factor: low rank, beside CHOLMOD through scikit-sparse; rows that come and go."""

import numpy as np
import scipy.sparse as sp

from . import common, problems

# Each call changes the factor and the next one changes it back.
SOLVERS = ["sparsechol", "scikit-sparse"]


def cliques(A, k, most=5, seed=0):
    """Sparse (n, k) array; each column has nonzeros where A has an entry for each two of them."""
    rng, n = np.random.default_rng(seed), A.shape[0]
    A = sp.csc_array(A)
    rows, columns = [], []
    for column in range(k):
        found = []
        start = int(rng.integers(n))
        for row in (start, *A.indices[A.indptr[start] : A.indptr[start + 1]]):
            entries = A.indices[A.indptr[row] : A.indptr[row + 1]]
            if row not in found and np.isin(found, entries).all() and len(found) < most:
                found.append(int(row))
        rows += found
        columns += [column] * len(found)
    values = 0.1 * rng.standard_normal(len(rows)) * np.sqrt(A.diagonal()[rows])
    return sp.csc_array((values, (rows, columns)), shape=(n, k))


class Update:
    params = (problems.NAMES, SOLVERS, [1, 8])
    param_names = ("problem", "solver", "rank")
    timeout = 300

    def setup(self, problem, solver_name, rank):
        self.solver = common.solver(problem, solver_name)
        self.solver.analyze()
        self.solver.factorize()
        self.C = cliques(common.matrix(problem), rank)
        if solver_name == "scikit-sparse":
            factor, self.C = self.solver._factor, sp.csc_matrix(self.C)
            self.update = lambda down: factor.update_inplace(self.C, subtract=down)
        else:
            factor = self.solver.factor
            self.update = lambda down: factor.update(self.C, downdate=down)

    def time_update_and_downdate(self, problem, solver_name, rank):
        self.update(False)
        self.update(True)


class Rows:
    params = (problems.NAMES,)
    param_names = ("problem",)
    timeout = 300

    def setup(self, problem):
        solver = common.solver(problem, "sparsechol")
        solver.analyze()
        solver.factorize()
        self.factor = solver.factor
        A = sp.csc_array(common.matrix(problem))
        rows = np.random.default_rng(0).integers(A.shape[0], size=20)
        self.rows = [(int(row), A[:, [int(row)]]) for row in rows]
        self.time_delete_and_add(problem)

    def time_delete_and_add(self, problem):
        for row, column in self.rows:
            self.factor.delete_rows(row)
            self.factor.add_row(row, column)
