"""Intake: dtypes, right-hand sides, and index arrays that lie."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import sparsechol as sc
from sparsechol._core.symbolic import patterns as checks
from sparsechol._scipy.input import (
    as_scipy,
    check_finite,
    compressed,
    converted,
    dense_rhs,
    scalar_dtype,
    sparse_rhs,
)
from sparsechol._scipy.triangle_pattern import TriangularPattern

FORMATS = ["csc", "csr", "coo", "bsr", "dia", "lil", "dok"]
steady = settings(derandomize=True, deadline=None, max_examples=200)


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([], [], r"M\.indptr is empty"),
        ([1, 2], [0, 1], r"M\.indptr\[0\] = 1"),
        ([0, -1, 2], [0, 1], r"M\.indptr\[1\] = -1 is below M\.indptr\[0\] = 0"),
        ([0, 2, 1], [0, 1], r"M\.indptr\[2\] = 1 is below M\.indptr\[1\] = 2"),
        ([0, 1, 3], [0, 1], r"M\.indptr\[2\] = 3 is above the length 2"),
        ([0, 9, 2], [0, 1], r"M\.indptr\[1\] = 9 is above"),
        ([0, 1, 2], [0, -1], r"M\.indices\[1\] = -1 is outside 0 <= index < 3"),
        ([0, 1, 2], [3, 0], r"M\.indices\[0\] = 3 is outside"),
    ],
)
def test_check_compressed_refuses(indptr, indices, message, index_dtype):
    indptr, indices = np.array(indptr, index_dtype), np.array(indices, index_dtype)
    with pytest.raises(ValueError, match=message):
        checks.check_compressed(indptr, indices, 3, "M")


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [([0], []), ([0, 0, 0], []), ([0, 3], [2, 0, 2]), ([0, 1, 2], [0, 2, 99, -1])],
)
def test_check_compressed_accepts(indptr, indices):
    checks.check_compressed(np.array(indptr, np.int32), np.array(indices, np.int32), 3)


@steady
@given(
    st.lists(st.integers(-2, 6), min_size=1, max_size=5),
    st.lists(st.integers(-2, 6), max_size=5),
    st.integers(0, 5),
)
def test_check_compressed_against_its_definition(indptr, indices, n_minor):
    good = (
        indptr[0] == 0
        and indptr == sorted(indptr)
        and indptr[-1] <= len(indices)
        and all(0 <= i < n_minor for i in indices[: indptr[-1]])
    )
    arrays = np.array(indptr, np.int64), np.array(indices, np.int64)
    if good:
        checks.check_compressed(*arrays, n_minor)
    else:
        with pytest.raises(ValueError, match=r"A\.ind"):
            checks.check_compressed(*arrays, n_minor)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["f2"], "f4"),
        (["f4"], "f4"),
        (["g"], "f8"),
        (["F"], "c8"),
        (["G"], "c16"),
        (["?"], "f8"),
        (["u8"], "f8"),
        (["i1", "f4"], "f4"),
        (["i8", "f4"], "f8"),
        (["f8", "c8"], "c16"),
    ],
)
def test_scalar_dtype(dtypes, expected):
    assert scalar_dtype(*dtypes) == np.dtype(expected)


@pytest.mark.parametrize("dtype", ["O", "S3", "U3", "M8[s]", "m8[s]", "V4"])
def test_scalar_dtype_refuses(dtype):
    with pytest.raises(TypeError, match="not supported"):
        scalar_dtype("f8", dtype)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 0)])
def test_dense_rhs(order, shape):
    b = np.arange(np.prod(shape), dtype=float).reshape(shape)
    columns, restored = dense_rhs(b, 3, np.float64, order)
    assert columns.flags[f"{order}_CONTIGUOUS"]
    assert columns.ndim == 2
    assert not np.shares_memory(columns, b)
    assert_array_equal(columns.reshape(restored), b)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (3, 1, 1)])
def test_dense_rhs_refuses_shapes(shape):
    with pytest.raises(ValueError, match=r"\(3, 3\), and b"):
        dense_rhs(np.zeros(shape), 3, np.float64)


def test_check_finite_names_the_first():
    check_finite(np.zeros((0, 2)), "b")
    with pytest.raises(ValueError, match=r"M\[1, 0\]"):
        check_finite(np.array([[1, 2], [np.nan, np.inf]]), "M")


@steady
@given(st.sampled_from(FORMATS), st.integers(0, 7), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_compressed_keeps_the_matrix(format, m, n, seed):
    values = np.random.default_rng(seed).integers(0, 3, (m, n))
    if format == "bsr" and m and n:
        A = sp.bsr_array(values, blocksize=(m, n))
    else:
        A = sp.coo_array(values).asformat(format)
    C = compressed(A)
    assert C.data.dtype == np.float64
    assert_array_equal(as_scipy(C).toarray(), values)
    for other in ("csc", "csr"):
        assert converted(C, other).format == other
        assert_array_equal(as_scipy(converted(C, other)).toarray(), values)


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", "f8", "g", "c8", "c16"])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "transposed strided", "reversed", "rows"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (5, 8), (8, 5), (1, 9), (9, 1)])
def test_dense_arrays_of_any_layout(shape, layout, dtype):
    rng = np.random.default_rng(sum(shape))
    values = np.where(rng.random(shape) < 0.4, rng.integers(1, 9, shape), 0).astype(dtype)
    A = {
        "C": values,
        "F": np.asfortranarray(values),
        "strided": np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3],
        "transposed strided": np.repeat(values.T, 2, axis=0)[::2].T,
        "reversed": values[::-1, ::-1].copy()[::-1, ::-1],
        "rows": np.repeat(values, 2, axis=0)[::2],
    }[layout]
    A.flags.writeable = False
    C = compressed(A)
    as_scipy(C).check_format(full_check=True)
    assert C.indptr.dtype == C.indices.dtype == np.int32
    assert C.data.dtype == scalar_dtype(values.dtype)
    assert C.data.size == np.count_nonzero(values)
    assert as_scipy(C).has_canonical_format
    assert_array_equal(as_scipy(C).toarray(), values)


def test_dense_arrays_keep_what_is_not_finite_and_drop_zeros():
    C = compressed(np.array([[np.nan, -0.0], [np.inf, 0.0]]))
    assert_array_equal(C.data, [np.nan, np.inf])
    assert_array_equal(C.indptr, [0, 1, 2])
    C = compressed(np.array([[1e-60, 0.0]]), np.float32)
    assert_array_equal(as_scipy(C).toarray(), [[0, 0]])  # a nonzero, too small for the type
    assert compressed([[1, 2], [0, 4]]).data.tolist() == [1, 2, 4]


def test_compressed_copies_nothing_needlessly():
    A = sp.csc_array(np.eye(3))
    C = compressed(A)
    assert np.shares_memory(C.data, A.data)
    assert np.shares_memory(C.indices, A.indices)


def test_compressed_ignores_room_at_the_end():
    A = sp.csr_array(np.eye(3))
    A.indices = np.append(A.indices, [99, -1]).astype(np.int32)
    A.data = np.append(A.data, [np.nan, np.nan])
    assert_array_equal(as_scipy(compressed(A)).toarray(), np.eye(3))


def test_dia_with_offsets_beyond_the_shape():
    A = sp.dia_array((np.ones((3, 5)), [0, -9, 7]), shape=(3, 4))
    A.offsets = A.offsets.astype(np.int64)
    A.offsets[2] = 2**32  # would be the main diagonal again in 32 bits
    assert_array_equal(as_scipy(compressed(A)).toarray(), np.eye(3, 4))


@pytest.mark.parametrize("corrupt", [-1, 3, 10**8])
@pytest.mark.parametrize("format", ["csc", "csr", "bsr", "coo", "lil"])
def test_index_out_of_range(format, corrupt):
    A = sp.eye_array(3, format="csc").asformat(format)
    if format == "lil":
        A.rows[1] = [corrupt]
    elif format == "coo":
        A.col[1] = corrupt
    else:
        A.indices[1] = corrupt
    with pytest.raises(ValueError, match=rf"A\.(indices|col)\[1\] = {corrupt}"):
        compressed(A)


def test_key_out_of_range():
    A = sp.dok_array((3, 3))
    A._dict[(1, 5)] = 1.0
    with pytest.raises(ValueError, match="5"):
        compressed(A)


@pytest.mark.parametrize("format", ["csc", "csr", "bsr"])
@pytest.mark.parametrize(
    ("attribute", "values", "message"),
    [
        ("indptr", [0, 2, 1, 3], r"A\.indptr\[2\] = 1 is below"),
        ("indptr", [0, 1, 2, 9], r"A\.indptr\[3\] = 9 is above"),
        ("indptr", [0, -5, 2, 3], r"A\.indptr\[1\] = -5"),
        ("indptr", [0, 1, 3], r"A\.indptr has length 3: it must be 4"),
        ("indptr", [0.0, 1.0, 2.0, 3.0], "1-D array of integers"),
        ("indptr", [[0, 1, 2, 3]], "1-D array of integers"),
        ("indices", [0, 1], r"A\.indptr\[3\] = 3 is above the length 2"),
        ("indices", [0, 1, 2, 2], r"A\.data has length 3: it must be 4"),
    ],
)
def test_corrupt_structure(format, attribute, values, message):
    A = sp.eye_array(3, format=format)
    setattr(A, attribute, np.array(values))
    with pytest.raises(ValueError, match=message):
        compressed(A)


def test_corrupt_structure_of_other_formats():
    A = sp.coo_array(np.eye(3))
    A.data = np.ones(2)
    with pytest.raises(ValueError, match=r"A\.row has length 3"):
        compressed(A)
    A = sp.dia_array(np.eye(3))
    A.offsets = np.array([0, 1])
    with pytest.raises(ValueError, match=r"A\.data has length 1"):
        compressed(A)
    A = sp.lil_array(np.eye(3))
    A.data[1] = [1.0, 2.0]
    with pytest.raises(ValueError, match=r"A\.data\[1\] has length 2"):
        compressed(A)
    A = sp.bsr_array(np.eye(4), blocksize=(2, 2))
    A.data = np.ones((2, 3, 3))
    with pytest.raises(ValueError, match="do not divide"):
        compressed(A)


def test_bsr_is_left_as_it_is():
    A = sp.bsr_array(np.eye(4), blocksize=(2, 2))
    A.indices = np.append(A.indices, 7)
    A.data = np.append(A.data, np.ones((1, 2, 2)), axis=0)
    indices, data = A.indices, A.data
    assert_array_equal(as_scipy(compressed(A)).toarray(), np.eye(4))
    assert A.indices is indices
    assert A.data is data


@pytest.mark.parametrize("format", ["coo", "csr", "dok"])
def test_one_dimensional_is_a_column(format):
    try:
        b = sp.coo_array(np.array([0.0, 3.0, 0.0, 4.0])).asformat(format)
    except ValueError:
        pytest.skip("this SciPy has no such one-dimensional array")
    C = sparse_rhs(b, 4, np.float64)
    assert C.format == "csc"
    assert_array_equal(as_scipy(C).toarray(), [[0], [3], [0], [4]])


def test_sparse_rhs_names_what_is_not_finite():
    b = sp.csc_array([[1.0, 0.0, 0.0], [0.0, 0.0, np.nan]])
    with pytest.raises(ValueError, match=r"b\[1, 2\]"):
        sparse_rhs(b, 2, np.float64)


def test_masked_elements_are_refused():
    masked = np.ma.masked_array([1.0, 2.0], mask=[True, False])
    with pytest.raises(ValueError, match="b has masked elements"):
        dense_rhs(masked, 2, np.float64)
    with pytest.raises(ValueError, match="A has masked elements"):
        compressed(np.ma.masked_array(np.eye(2), mask=np.eye(2, dtype=bool)))


# ---- orders ------------------------------------------------------------------------------------

HUGE = 4_000_000_000


@pytest.fixture(params=["coo", "dok", "dia"])
def huge(request):
    """One entry in a matrix of such an order: a pointer for each row would take 30 GiB."""
    A = sp.coo_array((3, 3))
    A = A.asformat(request.param)
    if request.param == "coo":
        A = sp.coo_array(([1.0], ([0], [0])))
    elif request.param == "dok":
        A[0, 0] = 1.0
    else:
        A = sp.dia_array(([[1.0]], [0]), shape=(1, 1))
    A._shape = (HUGE, HUGE)
    return A


ORDERS_TAKEN = {
    "analyze": (sc.analyze, OverflowError),
    "cholesky": (sc.cholesky, OverflowError),
    "solve": (lambda A: sc.solve(A, [1.0]), OverflowError),
    "logdet": (sc.logdet, OverflowError),
    "partial_inverse": (sc.partial_inverse, OverflowError),
    "solve_triangular": (lambda A: sc.solve_triangular(A, [1.0]), ValueError),
    "values": (lambda A: sc.analyze(np.eye(3)).values(A), ValueError),
    "factorize": (lambda A: sc.analyze(np.eye(3)).factorize(A), ValueError),
    "refactorize": (lambda A: sc.cholesky(np.eye(3)).refactorize(A), ValueError),
    "factor_vjp": (lambda A: sc.derivatives.factor_vjp(sc.cholesky(np.eye(3)), A), ValueError),
    "logdet_jvp": (lambda A: sc.derivatives.logdet_jvp(sc.cholesky(np.eye(3)), A), ValueError),
    "TriangularPattern": (TriangularPattern.of, OverflowError),
    "solve with b": (lambda A: sc.cholesky(np.eye(3)).solve(A), ValueError),
}


@pytest.mark.parametrize("name", ORDERS_TAKEN)
def test_orders_are_checked_before_anything_is_allocated(name, huge):
    call, error = ORDERS_TAKEN[name]
    tracemalloc.start()
    try:
        with pytest.raises(error, match=r"4000000000"):
            call(huge)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
