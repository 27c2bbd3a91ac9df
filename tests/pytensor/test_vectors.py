"""Kernels on one vector: what numba compiles in the place of a matrix with one column."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from pytensor.compile.mode import Mode
from pytensor.graph.rewriting.db import RewriteDatabaseQuery

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol.pytensor._ops import Kernel
from sparsechol.pytensor._vectors import OneVector
from support.pytensor_systems import (
    B0,
    FUNCTIONS,
    VALUES,
    differ,
    kernels,
    matrix,
    measure,
    nodes_of,
)

a = pt.dvector("a")
# The rewrites for numba, and no compiler.
REWRITTEN = Mode(linker="py", optimizer=RewriteDatabaseQuery(include=["fast_run", "numba"]))
VECTORS = {
    **{name: FUNCTIONS[name] for name in ("solve vector", "draw", "gmrf_logp")},
    "product": lambda a: matrix(a) @ pt.sin(B0 * a[0]),
    "quad_form": lambda a: matrix(a).quad_form(pt.cos(B0 * a[0])),
}


def of_one_vector(function):
    return sum(isinstance(node.op, OneVector) for node in nodes_of(function.maker.fgraph))


@pytest.mark.parametrize("name", VECTORS)
def test_results_and_gradients(name):
    f = measure(VECTORS[name](a))
    g = pytensor.grad(f, a)
    outputs = [f, g, pytensor.grad(measure(g), a)]
    function = pytensor.function([a], outputs, mode=REWRITTEN)
    wanted = pytensor.function([a], outputs, mode="FAST_COMPILE")
    for found, expected in zip(function(VALUES), wanted(VALUES), strict=True):
        assert differ(found, expected) < 1e-13
    assert of_one_vector(function)
    for node in nodes_of(function.maker.fgraph):
        assert not (isinstance(node.op, Kernel) and "x" in node.op.letters)


def test_several_vectors_and_batches_stay():
    x, b = pt.dmatrix("x"), pt.dmatrix("b")
    outputs = [matrix(a) @ x, scpt.solve(matrix(a), b, b_ndim=1)]
    function = pytensor.function([a, x, b], outputs, mode=REWRITTEN)
    assert not of_one_vector(function)
    assert kernels(function)["MatVec"] == 1
    assert kernels(function)["Solve"] == 1


@pytest.mark.slow
def test_numba():
    f = (
        measure(VECTORS["quad_form"](a))
        + measure(VECTORS["draw"](a))
        + measure(VECTORS["product"](a))
    )
    outputs = [f, pytensor.grad(f, a)]
    function = pytensor.function([a], outputs, mode="NUMBA")
    wanted = pytensor.function([a], outputs, mode="FAST_COMPILE")(VALUES)
    assert of_one_vector(function)
    for found, expected in zip(function(VALUES), wanted, strict=True):
        assert differ(found, expected) < 1e-13


def test_more_entries_in_the_factor():
    """Of an arrow whose point comes first, the factor is full."""
    arrow = 6 * np.eye(6)
    arrow[0], arrow[:, 0] = 1, 1
    arrow[0, 0] = 6
    pattern = sc.analyze(sp.csc_array(arrow), ordering="natural")
    x = scpt.solve(scpt.SymmetricMatrix(pattern, a), pt.cos(a[:6]))
    function = pytensor.function([a], x, mode=REWRITTEN)
    assert of_one_vector(function)
    values = pattern.values(sp.csc_array(arrow))
    assert differ(function(values), np.linalg.solve(arrow, np.cos(values[:6]))) < 1e-13
