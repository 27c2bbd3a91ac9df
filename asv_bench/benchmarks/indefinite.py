"""KKT matrices of quadratic programs, as OSQP's benchmarks make them: beside QDLDL and PARDISO."""

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from . import THREADS, peers


def kkt(P, A):
    """[P + 1e-6 I, A^T; A, -I / 10], the matrix of OSQP's steps."""
    n, m = P.shape[0], A.shape[0]
    return sp.csc_array(
        sp.block_array([[P + 1e-6 * sp.eye_array(n), A.T], [A, -0.1 * sp.eye_array(m)]])
    )


def portfolio(rng, k):
    """k factors, 100 k assets."""
    n = 100 * k
    F = sp.random_array((n, k), density=0.5, rng=rng)
    P = sp.block_diag([sp.diags_array(rng.random(n) * np.sqrt(k)), sp.eye_array(k)])
    A = sp.block_array([[sp.csc_array(np.ones((1, n))), None], [F.T, -sp.eye_array(k)],
                        [sp.eye_array(n), None]])  # fmt: skip
    return kkt(P, A)


def lasso(rng, n):
    """n parameters, 100 n residuals."""
    m = 100 * n
    D, one = sp.random_array((m, n), density=0.15, rng=rng), sp.eye_array(n)
    P = sp.block_diag([sp.csc_array((n, n)), 2 * sp.eye_array(m), sp.csc_array((n, n))])
    A = sp.block_array([[D, -sp.eye_array(m), None], [one, None, -one], [one, None, one]])
    return kkt(P, A)


def control(rng, n):
    """Model predictive control: n states, n / 2 inputs, 10 steps."""
    steps, u = 10, n // 2
    dynamics = np.eye(n) + 0.1 * rng.standard_normal((n, n))
    P = sp.eye_array((steps + 1) * n + steps * u)
    states = sp.kron(sp.eye_array(steps + 1), -sp.eye_array(n))
    states = states + sp.kron(sp.eye_array(steps + 1, k=-1), dynamics)
    below = sp.csc_array((n, steps * u))
    inputs = sp.kron(sp.eye_array(steps), 0.1 * rng.standard_normal((n, u)))
    A = sp.hstack([states, sp.vstack([below, inputs])])
    return kkt(P, sp.vstack([A, sp.eye_array(A.shape[1])]))


PROBLEMS = {
    "portfolio 10": (portfolio, 10),
    "portfolio 50": (portfolio, 50),
    "lasso 20": (lasso, 20),
    "lasso 100": (lasso, 100),
    "control 20": (control, 20),
    "control 100": (control, 100),
}


class Indefinite:
    params = (list(PROBLEMS), peers.INDEFINITE)
    param_names = ("problem", "solver")
    timeout = 300

    def setup(self, problem, solver_name):
        if not peers.installed(solver_name):
            raise NotImplementedError(f"{solver_name} is not installed")
        make, size = PROBLEMS[problem]
        A = make(np.random.default_rng(0), size)
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
