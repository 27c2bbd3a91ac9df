"""Kernels on batches in one call, in every mode: against matrix by matrix and dense NumPy."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.tensor.blockwise import Blockwise

import sparsechol.pytensor as scpt
from sparsechol.pytensor._batches import Batch, GatheredInverse
from sparsechol.pytensor._ops import Kernel
from support.pytensor_systems import B0, FUNCTIONS, VALUES, B, N, P, differ, matrix, measure

PYTHON = "FAST_COMPILE"  # compiles fastest
COMPILERS = [PYTHON, "NUMBA", "JAX"]
COUNT = 11
MANY = VALUES * np.random.default_rng(0).uniform(1, 2, (COUNT, 1))
# As before there were batches of kernels.
ONE_BY_ONE = Mode(
    linker="py",
    optimizer=RewriteDatabaseQuery(include=["fast_run"], exclude=["sparsechol_batches"]),
)

a = pt.dvector("a", shape=VALUES.shape)
many = pt.dmatrix("many")


def ops_of(function):
    return [node.op for node in function.maker.fgraph.toposort()]


def in_one_call(function):
    """The kernels that have whole batches; none is run matrix by matrix."""
    ops = ops_of(function)
    assert not any(isinstance(op, Blockwise) and isinstance(op.core_op, Kernel) for op in ops)
    return [type(op.kernel).__name__ for op in ops if isinstance(op, Batch)]


def dense(values):
    """Symmetric matrices from their packed values."""
    out = np.zeros((*values.shape[:-1], N, N))
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    out[..., P.indices, column] = out[..., column, P.indices] = values
    return out


@pytest.mark.fast_cases("FAST_COMPILE|solve vector-JAX")
@pytest.mark.parametrize("mode", [PYTHON, "JAX"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_are_those_of_single_matrices(name, mode):
    f = measure(FUNCTIONS[name](a))
    g = pytensor.grad(f, a)
    outputs = [f, g, pytensor.grad(measure(g), a)]
    function = pytensor.function([many], vectorize_graph(outputs, {a: many}), mode=mode)
    assert in_one_call(function)
    each = pytensor.function([a], outputs, mode=PYTHON)
    wanted = zip(*(each(values) for values in MANY), strict=True)
    # Of one matrix XLA has second derivatives with other roundings too: 4e-13 where they are 1000.
    tolerance = 1e-13 if mode == PYTHON else 1e-11
    for found, expected in zip(function(MANY), wanted, strict=True):
        assert differ(found, np.array(expected)) < tolerance


@pytest.mark.fast_cases("FAST_COMPILE")
@pytest.mark.parametrize("mode", COMPILERS)
def test_logdet_and_solve_against_dense_matrices(mode):
    b = pt.dtensor3("b")
    logdet, x = scpt.logdet(matrix(many)), scpt.solve(matrix(many), b)
    outputs = [logdet, x, *pytensor.grad(logdet.sum() + (x * b).sum(), [many, b])]
    function = pytensor.function([many, b], outputs, mode=mode)
    assert "GatheredInverse" in in_one_call(function)
    rhs = B * np.arange(1, COUNT + 1)[:, None, None]
    dets, xs, by_values, by_b = map(np.asarray, function(MANY, rhs))
    A = dense(MANY)
    solved = np.linalg.solve(A, rhs)
    np.testing.assert_allclose(dets, np.linalg.slogdet(A).logabsdet, rtol=1e-13)
    np.testing.assert_allclose(xs, solved, rtol=1e-10)
    np.testing.assert_allclose(by_b, 2 * solved, rtol=1e-10)
    gradient = np.linalg.inv(A) - solved @ solved.transpose(0, 2, 1)
    gradient *= 2 - np.eye(N)  # an entry below the diagonal stands for two
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    np.testing.assert_allclose(by_values, gradient[:, P.indices, column], rtol=1e-9, atol=1e-12)


def test_bits_are_those_of_matrix_by_matrix():
    outputs = [
        scpt.logdet(matrix(many)),
        matrix(many).solve_triangular(B),
        scpt.solve(matrix(many), B),
    ]
    found = pytensor.function([many], outputs, mode=PYTHON)(MANY)
    expected = pytensor.function([many], outputs, mode=ONE_BY_ONE)(MANY)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.fast_cases("FAST_COMPILE|JAX")
@pytest.mark.parametrize("mode", COMPILERS)
def test_dimensions_of_length_one_are_the_same_for_all(mode):
    """Five matrices by three right-hand sides, and their gradients."""
    values = pt.tensor("values", shape=(5, 1, VALUES.size), dtype="float64")
    b = pt.tensor("b", shape=(1, 3, N, 2), dtype="float64")
    x = scpt.solve(scpt.SymmetricMatrix(P, values), b)
    function = pytensor.function([values, b], [x, *pytensor.grad(x.sum(), [values, b])], mode=mode)
    assert in_one_call(function)
    rhs = B * np.arange(1.0, 4)[None, :, None, None]
    x, by_values, by_b = map(np.asarray, function(MANY[:5, None], rhs))
    A = dense(MANY[:5])
    solved = np.linalg.solve(A[:, None], rhs)
    w = np.linalg.solve(A, np.ones((N, 1)))
    np.testing.assert_allclose(x, solved, rtol=1e-10)
    np.testing.assert_allclose(
        by_b, np.broadcast_to(w.sum(0), (N, 2))[None, None] + 0 * rhs, rtol=1e-10
    )
    full = -w[:, None] @ solved.sum(-1)[..., None, :]
    full = (full + full.swapaxes(-1, -2)).sum(1) * (1 - np.eye(N) / 2)
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    assert by_values.shape == (5, 1, VALUES.size)
    np.testing.assert_allclose(by_values[:, 0], full[:, P.indices, column], rtol=1e-9, atol=1e-12)


@pytest.mark.fast_cases("FAST_COMPILE|JAX")
@pytest.mark.parametrize("mode", COMPILERS)
def test_what_is_refused_and_what_fails(mode):
    b = pt.dmatrix("b")
    x = scpt.solve(matrix(many), b, b_ndim=1)
    function = pytensor.function([many, b], [x, scpt.logdet(matrix(many))], mode=mode)
    with pytest.raises(ValueError, match="batches of different shapes"):
        function(MANY, np.ones((1, N)))  # the type does not say that b is one for all
    with pytest.raises(ValueError, match="batches of different shapes"):
        function(MANY, np.ones((COUNT - 1, N)))
    spoiled = MANY.copy()
    spoiled[4, 0] = -1.0
    solved, logdet = map(np.asarray, function(spoiled, np.ones((COUNT, N))))
    assert [*np.flatnonzero(np.isnan(logdet))] == [4]
    assert [*np.flatnonzero(np.isnan(solved).any(1))] == [4]
    np.testing.assert_allclose(solved[5], np.linalg.solve(dense(MANY[5]), np.ones(N)))
    solved, logdet = map(np.asarray, function(MANY[:0], np.ones((0, N))))
    assert solved.shape == (0, N)
    assert logdet.shape == (0,)


@pytest.mark.fast_cases("FAST_COMPILE")
@pytest.mark.parametrize("mode", COMPILERS)
def test_wrong_sizes_are_refused(mode):
    function = pytensor.function([many], scpt.logdet(matrix(many)), mode=mode)
    with pytest.raises((ValueError, TypeError), match="shape"):
        function(MANY[:, 1:])


@pytest.mark.fast_cases("FAST_COMPILE")
@pytest.mark.parametrize("mode", COMPILERS)
def test_single_precision(mode):
    values = pt.fmatrix("values")
    logdet = scpt.logdet(matrix(values))
    function = pytensor.function([values], [logdet, pytensor.grad(logdet.sum(), values)], mode=mode)
    found, gradient = map(np.asarray, function(MANY.astype(np.float32)))
    assert found.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(found, np.linalg.slogdet(dense(MANY)).logabsdet, rtol=1e-5)


def test_shapes_are_known_without_computing():
    x = scpt.solve(matrix(many), B0)
    function = pytensor.function([many], x.shape)
    assert not any(isinstance(op, Batch) for op in ops_of(function))
    assert [*function(MANY)] == [COUNT, N]


def test_a_partial_inverse_that_others_use_stays():
    Z = scpt.partial_inverse(matrix(many))
    outputs = [scpt.logdet(matrix(many)).sum(), Z]
    both = pytensor.function([many], [pytensor.grad(outputs[0], many), Z], mode=PYTHON)
    found, _ = both(MANY)
    inverse = np.linalg.inv(dense(MANY)) * (2 - np.eye(N))
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    np.testing.assert_allclose(found, inverse[:, P.indices, column], rtol=1e-9)
    assert not any(isinstance(getattr(op, "kernel", None), GatheredInverse) for op in ops_of(both))
