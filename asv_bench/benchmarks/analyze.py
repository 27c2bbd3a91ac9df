"""Ordering and symbolic factorization: time, and how good the result is."""

import importlib.util

import scipy.sparse as sp

import sparsechol

from . import problems
from .common import matrix


class Analyze:
    params = (problems.NAMES, ["auto", "amd", "nested_dissection", "metis"])
    param_names = ("problem", "order")
    timeout = 300

    def setup(self, problem, order):
        if order == "metis" and importlib.util.find_spec("pymetis") is None:
            raise NotImplementedError("pymetis is not installed")
        self.A = sp.csc_array(sp.tril(matrix(problem)))
        self.symbolic = sparsechol.analyze(self.A, ordering=order)

    def time_analyze(self, problem, order):
        sparsechol.analyze(self.A, ordering=order)

    def track_nnz(self, problem, order):
        return self.symbolic.nnz

    def track_flops(self, problem, order):
        return self.symbolic.flops

    def track_stored_entries(self, problem, order):
        return self.symbolic.memory.factor / 8 / self.symbolic.nnz

    def track_workspace(self, problem, order):
        return self.symbolic.memory.workspace

    track_nnz.unit = "entries of L"
    track_flops.unit = "flops"
    track_stored_entries.unit = "stored / nnz(L)"
    track_workspace.unit = "bytes"
