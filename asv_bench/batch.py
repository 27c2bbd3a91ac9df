"""Batches: 64 matrices of one pattern, n about 1000, against a loop over the peers."""

from functools import partial

import numpy as np
import scipy.sparse as sp

from . import clock, tables
from .benchmarks import peers, problems

COUNT = 64
MODELS = {
    "grid2d_32": partial(problems.model, "grid_laplacian", (32, 32), 0.1),
    "spde_32": partial(problems.model, "matern_spde", 32),
    "chain_1000": partial(problems.model, "grid_laplacian", (1000,), 0.1),
}
LOOPS = ["scikit-sparse", "cholmod-simplicial", "cholmod-supernodal", "sparsechol"]


def table(repeat, markdown):
    """Times of a batch and of loops, in milliseconds, and their ratios."""
    loops = [name for name in LOOPS if peers.installed(name)]
    header = ["model", "batch ms", *(f"{name} loop / batch" for name in loops)]
    rows = []
    for name, model in MODELS.items():
        times = clock.medians(work_of(sp.csc_array(model()), loops), repeat)
        ratios = [f"{times[loop] / times['batch']:.2f}" for loop in loops]
        rows.append([name, f"{1e3 * times['batch']:.3f}", *ratios])
    heading = tables.title(f"Batch of {COUNT}: factorise, solve, log-determinant", markdown)
    return [heading, "", *tables.table(header, rows, markdown)]


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
        factors.update(values)
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
