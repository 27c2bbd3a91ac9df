"""Solves with plain sparse triangles, against SciPy's dense ones and differences."""

import pickle

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytest
import scipy.linalg as dense
import scipy.sparse as sp
from pytensor.gradient import jacobian, pushforward
from pytensor.graph.replace import vectorize_graph

import sparsechol.pytensor as scpt
from sparsechol.pytensor import jacobian_pattern
from support.pytensor_systems import MODES, kernels, measure

N = 6
RNG = np.random.default_rng(1)
MATRIX = RNG.standard_normal((N, N)) * (RNG.random((N, N)) < 0.5) + 3 * np.eye(N)
A = sp.csc_array(MATRIX)
B = RNG.standard_normal((N, 2))
SYSTEMS = [(lower, trans) for lower in (True, False) for trans in (0, 1, 2, "N", "T", "C")]
data = pt.dvector("data")


def value(x, at=()):
    return x.eval(dict(at), mode="FAST_COMPILE")


def built(format="csc", values=data, matrix=A):
    M = matrix.asformat(format)
    return (ps.CSC if format == "csc" else ps.CSR)(values, M.indices, M.indptr, M.shape)


def stored(format, matrix=A):
    return matrix.asformat(format).data


@pytest.mark.parametrize("unit_diagonal", [False, True])
@pytest.mark.parametrize(("lower", "trans"), SYSTEMS)
def test_against_dense(lower, trans, unit_diagonal):
    options = {"lower": lower, "trans": trans, "unit_diagonal": unit_diagonal}
    wanted = dense.solve_triangular(MATRIX, B, **options)
    for T in (A, A.tocsr(), A.tocoo(), sp.csc_matrix(A), MATRIX):
        np.testing.assert_allclose(value(scpt.solve_triangular(T, B, **options)), wanted)
    for format in ("csc", "csr"):
        x = scpt.solve_triangular(built(format), B, **options)
        np.testing.assert_allclose(value(x, {data: stored(format)}), wanted)
        x = scpt.solve_triangular(built(format).T, B[:, 0], **options)
        wanted_of_transpose = dense.solve_triangular(MATRIX.T, B[:, 0], **options)
        np.testing.assert_allclose(value(x, {data: stored(format)}), wanted_of_transpose)


def test_sums_of_variables():
    t = pt.dscalar("t")
    D = ps.as_sparse_variable(sp.csc_matrix(np.diag(np.arange(7.0, N + 7))))
    x = scpt.solve_triangular(t * built() - D.T, B)
    wanted = dense.solve_triangular(2 * MATRIX - np.diag(np.arange(7, N + 7)), B, lower=True)
    np.testing.assert_allclose(value(x, {data: A.data, t: 2.0}), wanted)
    shared = pytensor.shared(sp.csr_matrix(A))
    f = pytensor.function([], scpt.solve_triangular(shared, B), mode="FAST_COMPILE")
    shared.set_value(sp.csr_matrix(2.0 * A))
    np.testing.assert_allclose(f(), dense.solve_triangular(2 * MATRIX, B, lower=True))


@pytest.mark.fast_cases("JAX|FAST_COMPILE")
@pytest.mark.parametrize("mode", MODES)
def test_derivatives(mode):
    """In the entries and the right-hand side: against dense ones, up to second order."""
    b = pt.vector("b", dtype="float64", shape=(N,))
    for lower, trans in SYSTEMS if mode == "FAST_COMPILE" else [(True, 0), (False, 1)]:
        options = {"lower": lower, "trans": trans}
        x = scpt.solve_triangular(built(), pt.sin(b), **options)
        M = pt.zeros((N, N))[A.indices, np.repeat(np.arange(N), np.diff(A.indptr))].set(data)
        M = pt.tril(M) if lower else pt.triu(M)
        y = pt.linalg.solve(M.T if trans not in (0, "N") else M, pt.sin(b))
        along = [pytensor.grad(measure(z), [data, b]) for z in (x, y)]
        second = [pytensor.grad(g[0].sum() + (g[1] * np.arange(N)).sum(), [data, b]) for g in along]
        inputs, point = [data, b], (A.data, B[:, 0])
        got = pytensor.function(inputs, [*along[0], *second[0]], mode=mode)(*point)
        wanted = pytensor.function(inputs, [*along[1], *second[1]], mode="FAST_COMPILE")(*point)
        for g, w in zip(got, wanted, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-11)


def test_forward_mode():
    b, change = pt.dmatrix("b"), RNG.standard_normal(A.nnz)
    x = scpt.solve_triangular(built(), b)
    tangents = [pt.dvector("of data"), pt.dmatrix("of b")]
    moved = pushforward(x, [data, b], tangents, use_op_pushforward=True)
    f = pytensor.function([data, b, *tangents], moved, mode="FAST_COMPILE")
    of_b, h = RNG.standard_normal(B.shape), 1e-6
    up, down = (value(x, {data: A.data + step * change, b: B + step * of_b}) for step in (h, -h))
    np.testing.assert_allclose(f(A.data, B, change, of_b), (up - down) / (2 * h), rtol=1e-6)


def test_batches():
    many = pt.dmatrix("many")
    x = vectorize_graph(scpt.solve_triangular(built(), B), {data: many})
    got = value(x, {many: np.stack([A.data, 2 * A.data])})
    wanted = dense.solve_triangular(MATRIX, B, lower=True)
    np.testing.assert_allclose(got, [wanted, wanted / 2])


def test_sparsity():
    """Of the derivatives: in the right-hand side the pattern of the inverse."""
    b, at = pt.vector("b", shape=(N,)), pt.vector("at", shape=(A.nnz,))
    for lower in (True, False):
        inverse = dense.solve_triangular(MATRIX, np.eye(N), lower=lower)
        found = jacobian_pattern(scpt.solve_triangular(A, b, lower=lower), b, on_unknown="raise")
        assert not (found.toarray() < (inverse != 0)).any()
        assert found.nnz == (inverse != 0).sum()
        x = scpt.solve_triangular(built(values=at), B[:, 0], lower=lower)
        found = jacobian_pattern(x, at, on_unknown="raise").toarray()
        wanted = value(jacobian(x, at), {at: A.data}) != 0
        assert not (found < wanted).any()


def test_one_solve():
    """One kernel, and one more for its gradient."""
    f = measure(scpt.solve_triangular(built(), B))
    function = pytensor.function([data], [f, pytensor.grad(f, data)], mode="FAST_COMPILE")
    assert kernels(function) == {"PlainSolve": 2, "PlainOuter": 1}


def test_pickles():
    f = pytensor.function([data], scpt.solve_triangular(built(), B), mode="FAST_COMPILE")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(A.data), f(A.data))


def test_single_precision():
    x = scpt.solve_triangular(built(values=pt.fvector("d")), B.astype("f"))
    assert x.type.dtype == "float32"


def test_zero_on_the_diagonal():
    """Nothing is raised."""
    T = sp.csc_array(np.array([[2.0, 0.0], [1.0, 0.0]]))
    assert not np.isfinite(value(scpt.solve_triangular(T, np.ones(2)))[1])
    unit = scpt.solve_triangular(T, np.ones(2), unit_diagonal=True)
    np.testing.assert_allclose(value(unit), [1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: scpt.solve_triangular(A, np.ones(3)), ValueError, r"b, \(3,\)"),
        (lambda: scpt.solve_triangular(A, B, trans="X"), ValueError, "'X'"),
        (lambda: scpt.solve_triangular(np.ones((3, 4)), B), ValueError, "square"),
        (lambda: scpt.solve_triangular(pt.dmatrix("M"), B), TypeError, "sparse"),
        (lambda: scpt.solve_triangular(ps.csc_matrix("S"), B), TypeError, "not known"),
        (lambda: scpt.solve_triangular(1j * A, B), (TypeError, ValueError), "complex"),
        (lambda: scpt.solve_triangular(A, B, True), TypeError, "positional"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_other_triangle_is_refused():
    T, b = sp.csc_matrix([[2.0, 0.0], [1.0, 4.0]]), np.ones(2)
    for lower, other in ((True, T.T.tocsc()), (False, T)):
        for form in (other, other.toarray(), ps.as_sparse(other)):
            with pytest.raises(ValueError, match=f"pass lower={not lower}"):
                scpt.solve_triangular(form, b, lower=lower)
            scpt.solve_triangular(form, b, lower=not lower)
