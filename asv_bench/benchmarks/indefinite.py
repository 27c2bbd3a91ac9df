"""KKT matrices of quadratic programs, as OSQP's benchmarks make them: beside QDLDL and PARDISO."""

import numpy as np
from threadpoolctl import threadpool_limits

from . import THREADS, peers, quadratic_programs


class Indefinite:
    params = (list(quadratic_programs.PROBLEMS), peers.INDEFINITE)
    param_names = ("problem", "solver")
    timeout = 300

    def setup(self, problem, solver_name):
        if not peers.installed(solver_name):
            raise NotImplementedError(f"{solver_name} is not installed")
        A = quadratic_programs.load(problem)
        self.solver = peers.make(solver_name, A)
        threadpool_limits(THREADS)
        self.solver.analyze()
        self.solver.factorize()
        self.b = self.solver.right_hand_side(np.cos(np.arange(A.shape[0])))

    def teardown(self, *_):
        if hasattr(self, "solver"):
            self.solver.release()

    def time_refactorize(self, problem, solver_name):
        self.solver.factorize()

    def time_solve(self, problem, solver_name):
        self.solver.solve(self.b)
