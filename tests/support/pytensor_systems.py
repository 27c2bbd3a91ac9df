"""A small system, and the same functions of its stored values sparse and dense."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import scipy.sparse as sp

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol.pytensor import _ops as ops
from sparsechol.pytensor._programs import Program
from support.helpers import random_spd

MODES = ["FAST_COMPILE", "CVM", "NUMBA", "JAX"]

RNG = np.random.default_rng(3)
N = 7
A = sp.csc_array(random_spd(RNG, N, "random", np.float64))
P = sc.analyze(A)
VALUES = P.values(A)
CHANGE = RNG.standard_normal(VALUES.shape)
B = RNG.standard_normal((N, 2))
B0 = B[:, 0].copy()
WEIGHTS = RNG.standard_normal(200)
COLUMN = np.repeat(np.arange(N), np.diff(P.indptr))


def matrix(a):
    return scpt.SymmetricMatrix(P, a)


# Name: function of the stored values; where there is a right-hand side, it moves with them.
FUNCTIONS = {
    "logdet": lambda a: scpt.logdet(matrix(a)),
    "solve": lambda a: scpt.solve(matrix(a), pt.sin(B * a[0])),
    "solve vector": lambda a: scpt.solve(matrix(a), pt.sin(B0 * a[0])),
    "partial_inverse": lambda a: scpt.partial_inverse(matrix(a)),
    "diag_inverse": lambda a: scpt.diag_inverse(matrix(a)),
    "solve_triangular": lambda a: matrix(a).solve_triangular(B * a[1]),
    "draw": lambda a: matrix(a).solve_triangular(B0 * a[1], trans="T"),
    "unpermuted": lambda a: matrix(a).solve_triangular(B * a[1], trans=1, permute=False),
    "quad_form": lambda a: matrix(a).quad_form(pt.cos(B * a[0])),
    "matvec": lambda a: matrix(a) @ (B * a[2]),
    "gmrf_logp": lambda a: scpt.gmrf_logp(pt.sin(a[:N]), a[1], matrix(a)),
}


def measure(x):
    """A smooth scalar of all elements of an array of known shape."""
    shape = x.type.shape
    return pt.sin(x * (1 + 0.1 * np.arange(np.prod(shape, dtype=int)).reshape(shape))).sum()


def run(inputs, outputs, values, mode=None):
    """Results of a graph; numba must not fall back to Python."""
    return pytensor.function(inputs, outputs, mode=mode, on_unused_input="ignore")(*values)


def differ(x, y):
    """Largest difference, relative to 1 + the largest element."""
    x, y = np.asarray(x), np.asarray(y)
    assert x.shape == y.shape
    return np.max(abs(x - y), initial=0) / (1 + np.max(abs(y), initial=0))


def nodes_of(fgraph):
    """The nodes of a compiled graph, and those in programs."""
    for node in fgraph.toposort():
        yield from node.op.nodes if isinstance(node.op, Program) else [node]


def kernels(function):
    """How often each kind of Op is in a compiled function."""
    counts = {}
    for node in nodes_of(function.maker.fgraph):
        op = getattr(node.op, "core_op", node.op)
        op = getattr(op, "kernel", op)  # one vector
        if isinstance(op, ops.Kernel):
            counts[type(op).__name__] = counts.get(type(op).__name__, 0) + 1
    return counts
