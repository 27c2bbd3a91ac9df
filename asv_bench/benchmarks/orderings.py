"""Orderings alone, against SuiteSparse's AMD (in cvxopt) and METIS; how analysis grows with n."""

import importlib.util
from functools import partial

import numpy as np
import scipy.sparse as sp

import sparsechol

from . import problems
from .common import matrix

PACKAGES = {"suitesparse-amd": "cvxopt", "metis": "pymetis"}
OURS = ("amd", "nested_dissection")
SIZES = (10**3, 10**4, 10**5, 10**6)


def lower_pattern(A):
    from sparsechol._core.symbolic.patterns import lower_pattern

    A = sp.csc_array(A)
    return lower_pattern(A.indptr.astype(np.int64), A.indices, True)


def ordering(A, method, threads=1):
    """A function that orders the pattern of A from its lower triangle."""
    if method in PACKAGES and importlib.util.find_spec(PACKAGES[method]) is None:
        raise NotImplementedError(f"{PACKAGES[method]} is not installed")
    if method == "suitesparse-amd":
        return partial(suitesparse_amd, triangle_of_cvxopt(A))
    from sparsechol._core.ordering.choose import Candidates
    from sparsechol._core.parallel.threads import thread_count

    pattern = lower_pattern(A)
    threads = thread_count(threads)
    return lambda: Candidates(*pattern, threads).permutation(method)


def triangle_of_cvxopt(A):
    from cvxopt import matrix, spmatrix

    lower = sp.tril(A).tocsc().tocoo()
    rows, columns = (matrix(index.astype(np.int64)) for index in lower.coords)
    return spmatrix(1.0, rows, columns, A.shape)


def suitesparse_amd(triangle):
    from cvxopt import amd

    return np.array(amd.order(triangle), dtype=np.int32).ravel()


def tree(A, perm):
    """Elimination tree and counts of an order."""
    from sparsechol._core.symbolic.analysis import elimination

    return elimination(*lower_pattern(A), perm)


def square_grid(n):
    """A grid of about n points."""
    side = round(n**0.5)
    return problems.model("grid_laplacian", (side, side))


class Orderings:
    params = (problems.NAMES, [*OURS, *PACKAGES])
    param_names = ("problem", "order")
    timeout = 300

    def setup(self, problem, order):
        self.A = matrix(problem)
        self.order = ordering(self.A, order)

    def time_order(self, problem, order):
        self.order()

    def track_flops(self, problem, order):
        return tree(self.A, self.order()).flops

    track_flops.unit = "flops"


class Growth:
    """Time of each part of the analysis of square grids, which should grow as n does."""

    params = SIZES
    param_names = ("n",)
    timeout = 300

    def setup(self, n):
        self.A = sp.csc_array(sp.tril(square_grid(n)))
        self.perm = sparsechol.analyze(self.A, ordering="amd").perm

    def time_amd(self, n):
        ordering(self.A, "amd")()

    def time_nested_dissection(self, n):
        ordering(self.A, "nested_dissection")()

    def time_after_ordering(self, n):
        sparsechol.analyze(self.A, ordering=self.perm)
