"""Batches: 64 matrices of one pattern, n about 1000, against a loop over the peers."""

from functools import partial

import numpy as np
import scipy.sparse as sp

from . import peers, problems

COUNT = 64
MODELS = {
    "grid2d_32": partial(problems.model, "grid_laplacian", (32, 32), shift=0.1),
    "spde_32": partial(problems.model, "matern_spde", 32),
    "chain_1000": partial(problems.model, "grid_laplacian", (1000,), shift=0.1),
}
SWEEPS = {
    "cholesky": "a",
    "solve": "lb",
    "partial_inverse": "l",
    "gathered_inverse": "l",
    "tangent": "la",
    "adjoint": "lx",
    "outer": "lx",
    "inner": "sx",
    "sandwich": "lsx",
}
LOOPS = ["scikit-sparse", "cholmod-simplicial", "cholmod-supernodal", "sparsechol"]


class Batch:
    params = (list(MODELS), ["batch", *LOOPS])
    param_names = ("model", "solver")
    timeout = 300

    def setup(self, model, solver):
        if solver != "batch" and not peers.installed(solver):
            raise NotImplementedError(f"{solver} is not installed")
        loops = [] if solver == "batch" else [solver]
        self.work = work_of(sp.csc_array(MODELS[model]()), loops)[solver]

    def time_factorize_solve_logdet(self, model, solver):
        self.work()


class SideBySide:
    """Each sweep on a batch, matrices in the lanes of vectors, and matrix by matrix."""

    params = (list(MODELS), list(SWEEPS), ["side by side", "one by one", "as chosen"])
    param_names = ("model", "sweep", "way")

    def setup(self, model, sweep, way):
        import sparsechol
        from sparsechol._core.numeric.operations import CODES, NAMES
        from sparsechol._core.numeric.sweep_driver import side_by_side

        A = sp.csc_array(MODELS[model]())
        symbolic = sparsechol.analyze(A)
        scales = 1 + np.random.default_rng(0).random(COUNT)
        known = {"a": symbolic.values(A) * scales[:, None], "b": np.ones((COUNT, A.shape[0], 1))}

        def perform(name, operands):
            result = NAMES[name][-1]
            columns = [1] if result == "x" else []
            out = np.zeros((COUNT, symbolic._handle.length(result), *columns))
            arrays = tuple(known[letter] for letter in operands)
            symbolic._handle.perform(CODES[name], arrays, out, 1)
            return out

        known["l"] = perform("cholesky", "a")
        known["s"] = perform("partial_inverse", "l")
        known["x"] = perform("tangent", "la")
        self.work = partial(perform, sweep, SWEEPS[sweep])
        side_by_side({"side by side": True, "one by one": False, "as chosen": None}[way])

    def teardown(self, model, sweep, way):
        from sparsechol._core.numeric.sweep_driver import side_by_side

        side_by_side(None)

    def time_sweep(self, model, sweep, way):
        self.work()


def work_of(A, loops):
    """The batch, and a loop over each solver; every matrix has values of its own."""
    import sparsechol

    rng = np.random.default_rng(0)
    matrices = [A * scale for scale in 1 + rng.random(COUNT)]
    b = rng.standard_normal((COUNT, A.shape[0]))
    symbolic = sparsechol.analyze(A)
    values = np.array([symbolic.values(M) for M in matrices])
    factors = symbolic.factorize_batch(values)

    def batch():
        factors.refactorize(values)
        factors.solve(b)
        factors.logdet()

    work = {"batch": batch}
    for name in loops:
        one = peers.make(name, A)
        one.analyze()
        work[name] = partial(loop, one, name, matrices, values, b)
    return work


def loop(one, name, matrices, values, b):
    """The same matrix by matrix; loading the values is part of it, as it is of the batch."""
    for M, v, rhs in zip(matrices, values, b, strict=True):
        if name == "sparsechol":
            one.load_packed(v)
        else:
            one.load(M)
        one.factorize()
        one.solve(one.right_hand_side(rhs))
        one.logdet()
