"""Quadratic programs, min x^T P x / 2 + q^T x with l <= A x <= u, as KKT matrices.

The problem classes of OSQP's benchmarks (Stellato, Banjac, Goulart, Bemporad and Boyd 2020,
appendix A), each from its formulation there; q, l and u are not in the matrix. Where they say
nothing else, matrices have 15 % normal entries.
"""

import numpy as np
import scipy.sparse as sp


def kkt(P, A):
    """[P + 1e-6 I, A^T; A, -I / 10], the matrix of OSQP's steps."""
    n, m = P.shape[0], A.shape[0]
    return sp.csc_array(
        sp.block_array([[P + 1e-6 * sp.eye_array(n), A.T], [A, -0.1 * sp.eye_array(m)]])
    )


def normal(rng, m, n):
    """15 % normal entries."""
    return sp.random_array((m, n), density=0.15, random_state=rng, data_sampler=rng.standard_normal)


def equality(rng, n):
    """x^T P x / 2 + q^T x with A x = b, half as many equations as variables."""
    M = normal(rng, n, n)
    return kkt(M @ M.T + 0.01 * sp.eye_array(n), normal(rng, n // 2, n))


def bounded(rng, n):
    """x^T P x / 2 + q^T x with l <= A x <= u, ten rows for each variable."""
    M = normal(rng, n, n)
    return kkt(M @ M.T + 0.01 * sp.eye_array(n), normal(rng, 10 * n, n))


def portfolio(rng, k):
    """k factors, 100 k assets: x^T D x + |y|^2 with y = F^T x, sum x = 1, x >= 0."""
    n = 100 * k
    F = sp.random_array((n, k), density=0.5, random_state=rng)
    P = sp.block_diag([sp.diags_array(rng.random(n) * np.sqrt(k)), sp.eye_array(k)])
    A = sp.block_array([[sp.csc_array(np.ones((1, n))), None], [F.T, -sp.eye_array(k)],
                        [sp.eye_array(n), None]])  # fmt: skip
    return kkt(P, A)


def lasso(rng, n):
    """n parameters, 100 n residuals: |y|^2 + 1^T t with y = D x - b, -t <= x <= t."""
    m = 100 * n
    D, one = normal(rng, m, n), sp.eye_array(n)
    P = sp.block_diag([sp.csc_array((n, n)), 2 * sp.eye_array(m), sp.csc_array((n, n))])
    A = sp.block_array([[D, -sp.eye_array(m), None], [one, None, -one], [one, None, one]])
    return kkt(P, A)


def huber(rng, n):
    """n parameters, 100 n residuals: |u|^2 + 2 1^T (r + s) with D x - b - u = r - s, r, s >= 0."""
    m = 100 * n
    one = sp.eye_array(m)
    P = sp.block_diag([sp.csc_array((n, n)), 2 * one, sp.csc_array((2 * m, 2 * m))])
    A = sp.block_array([[normal(rng, m, n), -one, -one, one], [None, None, one, None],
                        [None, None, None, one]])  # fmt: skip
    return kkt(P, A)


def svm(rng, n):
    """n weights, 100 n points in two classes: |x|^2 + 1^T t with t >= diag(b) D x + 1, t >= 0."""
    m = 100 * n
    b, one = np.repeat([1.0, -1.0], m // 2), sp.eye_array(m)
    D = sp.coo_array(normal(rng, m, n))
    D.data = b[D.coords[0]] / n + D.data / np.sqrt(n)  # the classes lie around 1 / n and -1 / n
    P = sp.block_diag([2 * sp.eye_array(n), sp.csc_array((m, m))])
    A = sp.block_array([[sp.diags_array(b) @ D, -one], [None, one]])
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


# Matrices of order 10^3 to 10^5.
PROBLEMS = {
    "equality 700": (equality, 700),
    "equality 1500": (equality, 1500),
    "random 100": (bounded, 100),
    "random 200": (bounded, 200),
    "portfolio 10": (portfolio, 10),
    "portfolio 50": (portfolio, 50),
    "portfolio 100": (portfolio, 100),
    "lasso 20": (lasso, 20),
    "lasso 100": (lasso, 100),
    "huber 20": (huber, 20),
    "huber 100": (huber, 100),
    "svm 20": (svm, 20),
    "svm 100": (svm, 100),
    "control 20": (control, 20),
    "control 100": (control, 100),
}


def load(name):
    """The matrix of a problem, always the same."""
    make, size = PROBLEMS[name]
    return make(np.random.default_rng(0), size)
