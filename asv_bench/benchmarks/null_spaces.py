"""Semidefinite matrices with known null space, and constraints, beside definite matrices."""

import numpy as np
import scipy.sparse as sp

import sparsechol as sc


def lattice(side):
    """Return the Laplacian of a square lattice, singular as that of every graph."""
    A = sc.models.grid_laplacian((side, side))
    neighbors = sp.diags_array(A.diagonal()) - A
    return sc.models.besag(neighbors)


FIELDS = {
    "grid2d_200": lambda: lattice(200),
    "rw2_1000": lambda: sc.models.rw2(1000),
}
KINDS = ["definite", "null space"]
CONSTRAINTS = 8


class Field:
    """Each result of a factor, and of the factor of the matrix made definite."""

    params = (list(FIELDS), KINDS)
    param_names = ("field", "kind")
    timeout = 300

    def setup(self, name, kind):
        model = FIELDS[name]()
        Q = model.Q if kind == "null space" else model.Q + 0.1 * sp.eye_array(model.Q.shape[0])
        self.S = sc.analyze(Q)
        self.values = self.S.values(Q)
        self.options = {}
        if kind == "null space":
            self.options["null_space"] = sc.NullSpace(self.S, model.null_space)
        self.F = self.S.factorize(self.values, **self.options)
        rng, n = np.random.default_rng(0), Q.shape[0]
        self.b = rng.standard_normal(n)
        self.C = rng.standard_normal((CONSTRAINTS, n))
        self.x = self.F.condition(self.C).sample(rng=rng)

    def time_factorize_and_logdet(self, name, kind):
        self.S.factorize(self.values, **self.options).logdet()

    def time_refactorize(self, name, kind):
        self.F.refactorize(self.values)

    def time_solve(self, name, kind):
        self.F.solve(self.b)

    def time_diag_inverse(self, name, kind):
        self.F.diag_inverse()

    def time_condition_and_logpdf(self, name, kind):
        self.F.condition(self.C).logpdf(self.x)

    def time_condition_and_variances(self, name, kind):
        self.F.condition(self.C).marginal_variances()


class Batch:
    """Many random walks at once."""

    params = ([16, 256], KINDS)
    param_names = ("matrices", "kind")

    def setup(self, matrices, kind):
        model = sc.models.rw1(300)
        Q = model.Q if kind == "null space" else model.Q + sp.eye_array(300)
        self.S = sc.analyze(Q)
        self.values = np.outer(np.linspace(1, 2, matrices), self.S.values(Q))
        self.options = {}
        if kind == "null space":
            self.options["null_space"] = sc.NullSpace(self.S, model.null_space)

    def time_factorize_and_logdet(self, matrices, kind):
        self.S.factorize_batch(self.values, **self.options).logdet()
