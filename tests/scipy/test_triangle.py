"""solve_triangular against scipy.linalg.solve_triangular on the dense triangle."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sparsechol import solve_triangular

FORMATS = ["csc", "csr", "coo", "bsr", "dia", "lil", "dok", "dense"]
SCALARS = [np.float32, np.float64, np.complex64, np.complex128]
LAYOUTS = ["vector", "C", "F", "strided", "reversed", "read-only"]
steady = settings(derandomize=True, deadline=None, max_examples=150)


def random_values(rng, shape, dtype):
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def random_square(rng, n, dtype, density=0.3):
    """Both triangles filled; each is diagonally dominant, so condition numbers stay below 10."""
    values = random_values(rng, (n, n), dtype) * (rng.random((n, n)) < density)
    np.fill_diagonal(values, 0)
    size = np.maximum(np.abs(values).sum(axis=0), np.abs(values).sum(axis=1))
    phase = random_values(rng, n, dtype)
    np.fill_diagonal(values, phase / np.abs(phase) * (1 + 2 * size))
    return values.astype(dtype)


def stored(values, format):
    return values if format == "dense" else sp.coo_array(values).asformat(format)


def random_rhs(rng, n, k, layout, dtype):
    if layout == "vector":
        return random_values(rng, n, dtype)
    b = random_values(rng, (n, k), dtype)
    if layout == "F":
        return np.asfortranarray(b)
    if layout == "strided":
        wide = np.zeros((2 * n, 3 * k), dtype=dtype)
        wide[::2, ::3] = b
        return wide[::2, ::3]
    if layout == "reversed":
        return b[::-1, ::-1]
    if layout == "read-only":
        b.flags.writeable = False
    return b


def tolerance(*dtypes):
    """Backward stable substitution: order * machine epsilon * condition (10), with a margin."""
    return 30 * 10 * max(np.finfo(dtype).eps for dtype in dtypes)


def agree(x, expected, dtype):
    assert x.shape == expected.shape
    scale = np.abs(expected).max(initial=1)
    assert_allclose(x, expected, rtol=0, atol=tolerance(dtype) * scale)


def arrays_of(A):
    """Copies of every array that a dense or sparse argument is made of."""
    if not sp.issparse(A):
        return [np.array(A, copy=True)]
    if A.format in ("dok", "lil"):
        return [A.toarray()]
    names = ("data", "indices", "indptr", "offsets", "row", "col")
    return [np.array(getattr(A, name), copy=True) for name in names if hasattr(A, name)]


cases = st.fixed_dictionaries(
    {
        "n": st.integers(1, 12),
        "lower": st.booleans(),
        "trans": st.sampled_from([0, 1, 2, "N", "T", "C"]),
        "unit_diagonal": st.booleans(),
        "format": st.sampled_from(FORMATS),
        "dtype": st.sampled_from(SCALARS),
        "b_dtype": st.sampled_from(SCALARS),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def reference(values, b, case):
    """SciPy's dense answer, in double precision."""
    wide = np.complex128
    return scipy.linalg.solve_triangular(
        values.astype(wide),
        b.astype(wide),
        trans=case["trans"],
        lower=case["lower"],
        unit_diagonal=case["unit_diagonal"],
    )


def options(case):
    return {name: case[name] for name in ("lower", "trans", "unit_diagonal")}


def random_matrix(rng, case):
    values = random_square(rng, case["n"], case["dtype"])
    corner = (-1, 0) if case["lower"] else (0, -1)
    if case["n"] > 1 and not values[corner]:  # a triangle without entries may be refused
        values[corner] = values[0, 0] / 9
    if case["unit_diagonal"]:  # diagonally dominant again, with ones on the diagonal
        values /= 1 + 4 * np.abs(values).sum(axis=0).max() / 3
        np.fill_diagonal(values, rng.integers(0, 2, case["n"]))
    return values


@steady
@given(cases, st.integers(0, 9), st.sampled_from(LAYOUTS))
def test_dense_rhs(case, k, layout):
    rng = np.random.default_rng(case["seed"])
    values = random_matrix(rng, case)
    A = stored(values, case["format"])
    b = random_rhs(rng, case["n"], k, layout, case["b_dtype"])
    before = arrays_of(A), b.copy()

    x = solve_triangular(A, b, **options(case))

    assert type(x) is np.ndarray
    assert x.dtype == np.result_type(case["dtype"], case["b_dtype"])
    assert not np.shares_memory(x, b)
    agree(x, reference(values, b, case), x.dtype)
    for old, new in zip(before[0], arrays_of(A), strict=True):
        assert_array_equal(old, new)
    assert_array_equal(before[1], b)


def pattern_of(A):
    """Which entries are stored: BSR pads its blocks with zeros."""
    pattern = np.zeros(A.shape, dtype=bool)
    pattern[sp.coo_array(A).coords] = True
    return pattern


def structural_reach(T, pattern):
    """Nonzero pattern of T^-1 b barring cancellation: the closure of T's graph, times b's."""
    T = T.copy()
    np.fill_diagonal(T, True)
    for _ in range(len(T)):
        T = T @ T
    return T @ pattern


@steady
@given(cases, st.integers(0, 9), st.sampled_from(FORMATS[:-1]), st.floats(0, 0.5), st.booleans())
def test_sparse_rhs(case, k, b_format, density, matrix):
    rng = np.random.default_rng(case["seed"])
    values = random_matrix(rng, case)
    n = case["n"]
    A = stored(values, case["format"])
    dense = random_values(rng, (n, k), case["b_dtype"]) * (rng.random((n, k)) < density)
    dense = dense.astype(case["b_dtype"])
    b = stored(dense, b_format)
    if matrix:
        b = sp.csc_matrix(b)
    before = arrays_of(A), arrays_of(b)

    x = solve_triangular(A, b, **options(case))

    assert isinstance(x, sp.csc_array)
    assert x.dtype == np.result_type(case["dtype"], case["b_dtype"])
    x.check_format(full_check=True)
    agree(x.toarray(), reference(values, dense, case), x.dtype)

    triangle = np.tril(pattern_of(A)) if case["lower"] else np.triu(pattern_of(A))
    if case["trans"] not in (0, "N"):
        triangle = triangle.T
    pattern = structural_reach(triangle, pattern_of(b))
    assert_array_equal(x.indptr, np.append(0, np.cumsum(pattern.sum(axis=0))))
    assert_array_equal(x.indices, np.nonzero(pattern.T)[1])

    for old, new in zip(before[0] + before[1], arrays_of(A) + arrays_of(b), strict=True):
        assert_array_equal(old, new)


@steady
@given(cases, st.sampled_from(["csc", "csr", "coo"]), st.sampled_from([np.int32, np.int64]))
def test_unsorted_and_repeated(case, format, index_dtype):
    """Every entry split in two, without rounding, and shuffled within its slice."""
    rng = np.random.default_rng(case["seed"])
    values = random_matrix(rng, case)
    A = sp.coo_array(values)
    order = rng.permutation(2 * A.nnz)
    data = np.concatenate([2 * A.data, -A.data])[order]
    row, column = np.tile(A.row, 2)[order], np.tile(A.col, 2)[order]
    if format == "coo":
        A = sp.coo_array((data, (row, column)), shape=A.shape)
    else:
        major, minor = (row, column) if format == "csr" else (column, row)
        by_major = np.argsort(major, kind="stable")
        indptr = np.append(0, np.cumsum(np.bincount(major, minlength=case["n"])))
        A = sp.csr_array((case["n"], case["n"])).asformat(format)
        A.data, A.indices = data[by_major], minor[by_major].astype(index_dtype)
        A.indptr = indptr.astype(index_dtype)
    before = arrays_of(A)
    for k in (1, 3):
        b = random_values(rng, (case["n"], k), case["b_dtype"])
        x = solve_triangular(A, b, **options(case))
        agree(x, reference(values, b, case), np.result_type(A.dtype, b.dtype))
        sparse = solve_triangular(A, sp.csc_array(b), **options(case))
        assert_allclose(sparse.toarray(), x, rtol=0, atol=tolerance(x.dtype) * np.abs(x).max())
    for old, new in zip(before, arrays_of(A), strict=True):
        assert_array_equal(old, new)


@pytest.mark.parametrize("format", ["csc", "csr"])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("trans", [0, 1, 2])
@pytest.mark.parametrize("spread", [0.01, 1.0])
def test_sparse_rhs_of_larger_order(format, lower, trans, spread):
    """Long chains, reaches near and far apart, and a solution that outgrows its first arrays."""
    rng = np.random.default_rng(7)
    n, k = 400, 60
    T = random_values(rng, (n, n), np.float64) * (rng.random((n, n)) < 0.004)
    np.fill_diagonal(T, 8)
    T = sp.coo_array(T)
    b = np.zeros((n, k))
    rows = rng.integers(0, max(1, int(n * spread)), (4, k))
    b[rows, np.arange(k)] = rng.standard_normal((4, k))
    x = solve_triangular(T.asformat(format), sp.csc_array(b), lower=lower, trans=trans)
    assert x.has_sorted_indices
    expected = scipy.linalg.solve_triangular(T.toarray(), b, lower=lower, trans=trans)
    agree(x.toarray(), expected, np.float64)


def test_sparse_solution_outgrows_its_arrays():
    """Dense columns from one entry each: the solution needs many times the first guess."""
    n = 40
    L = sp.eye_array(n, format="csc") - sp.eye_array(n, k=-1, format="csc")
    b = sp.csc_array((np.ones(n), (np.zeros(n, int), np.arange(n))), shape=(n, n))
    x = solve_triangular(L, b)
    assert_array_equal(x.toarray(), np.ones((n, n)))


def test_sparse_rhs_with_repeated_entries():
    b = sp.csc_array((np.ones(4), np.array([2, 0, 2, 0]), np.array([0, 4])), shape=(3, 1))
    x = solve_triangular(sp.eye_array(3, format="csc") * 2.0, b)
    assert_array_equal(x.indices, [0, 2])
    assert_array_equal(x.data, [1.0, 1.0])


@pytest.mark.parametrize("format", ["coo", "csr", "dok"])
def test_one_dimensional_sparse_rhs(format):
    L = sp.csc_array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, 4.0]])
    dense = np.array([0.0, 1.0, 0.0])
    try:
        b = sp.coo_array(dense).asformat(format)
    except ValueError:
        pytest.skip("this SciPy has no such one-dimensional array")
    x = solve_triangular(L, b)
    assert x.shape == (3,)
    assert_array_equal(x.toarray(), solve_triangular(L, dense))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("b", [np.zeros(0), np.zeros((0, 3)), np.zeros((0, 0))])
def test_order_zero(format, b):
    A = stored(np.zeros((0, 0)), format)
    assert solve_triangular(A, b).shape == b.shape


@pytest.mark.parametrize("format", FORMATS)
def test_order_one(format):
    assert_array_equal(solve_triangular(stored(np.array([[4.0]]), format), [2.0]), [0.5])


@pytest.mark.parametrize("shape", [(0, 2), (3, 0)])
def test_empty_sparse_rhs(shape):
    x = solve_triangular(sp.eye_array(shape[0], format="csc"), sp.csc_array(shape))
    assert x.shape == shape
    assert x.nnz == 0


@pytest.mark.parametrize(
    ("a", "b", "dtype"),
    [
        (np.int64, np.int8, np.float64),
        (np.bool_, np.bool_, np.float64),
        (np.float32, np.bool_, np.float32),
        (np.float32, np.int64, np.float64),
        (np.float32, np.float16, np.float32),
        (np.longdouble, np.float32, np.float64),
        (np.complex64, np.float64, np.complex128),
        (np.clongdouble, np.float32, np.complex128),
        (np.float32, np.complex64, np.complex64),
        (np.dtype(">f8"), np.dtype(">i4"), np.float64),
    ],
)
@pytest.mark.parametrize("format", ["csc", "dense"])
def test_dtypes(a, b, dtype, format):
    A = stored(np.tril(np.ones((3, 3))), format)
    if format == "dense":
        A = A.astype(a)
    else:
        A.data = A.data.astype(a)
    x = solve_triangular(A, np.array([1, 1, 0]).astype(b))
    assert x.dtype == dtype
    assert x.dtype.isnative
    assert_array_equal(x, [1, 0, -1])


def test_float16_matrix():
    x = solve_triangular(np.eye(2, dtype=np.float16), np.ones(2, dtype=np.float16))
    assert x.dtype == np.float32


def test_mixed_index_types_are_accepted():
    A = sp.csc_array(np.tril(np.ones((3, 3))))
    A.indptr = A.indptr.astype(np.int64)
    assert_array_equal(solve_triangular(A, [1.0, 1.0, 1.0]), [1, 0, 0])


def test_read_only_matrix():
    A = sp.csr_array(np.tril(np.ones((3, 3))))
    for array in (A.data, A.indices, A.indptr):
        array.flags.writeable = False
    assert_array_equal(solve_triangular(A, [1.0, 1.0, 1.0]), [1, 0, 0])
    b = sp.csc_array(np.ones((3, 1)))
    for array in (b.data, b.indices, b.indptr):
        array.flags.writeable = False
    assert_array_equal(solve_triangular(A, b).toarray().ravel(), [1, 0, 0])


def test_lists_and_np_matrix_are_dense():
    assert_array_equal(solve_triangular([[2, 0], [0, 4]], [2, 4]), [1, 1])
    x = solve_triangular(sp.csc_matrix(np.eye(2)), np.ones((2, 1)).view(np.matrix))
    assert type(x) is np.ndarray


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("part", [1, 1j, 1 + 1j])
def test_complex_division_neither_over_nor_underflows(dtype, part):
    for size in (np.finfo(dtype).max / 8, np.finfo(dtype).tiny * 8):
        pivot = dtype(part * size)
        for k in (1, 2):
            b = np.full((1, k), pivot * dtype(0.5))
            x = solve_triangular(np.array([[pivot]]), b, trans="N")
            assert_allclose(x, 0.5, rtol=4 * np.finfo(dtype).eps)
            x = solve_triangular(np.array([[pivot]]), b.conj(), trans="C")
            assert_allclose(x, 0.5, rtol=4 * np.finfo(dtype).eps)


def test_other_triangle_and_unit_diagonal_are_not_read():
    A = np.array([[2.0, np.nan], [1.0, 1.0]])
    assert_array_equal(solve_triangular(sp.csc_array(A), [2.0, 3.0]), [1, 2])
    A[[0, 1], [0, 1]] = np.inf
    assert_array_equal(solve_triangular(sp.csr_array(A), [2.0, 3.0], unit_diagonal=True), [2, 1])


# ---------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("b", [np.ones(3), sp.csc_array(np.ones((3, 1)))])
def test_zero_or_missing_diagonal(format, b):
    A = stored(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), format)
    with pytest.raises(np.linalg.LinAlgError, match="row 1 is zero or missing"):
        solve_triangular(A, b)


def test_diagonal_that_cancels():
    A = sp.csc_array(([1.0, -1.0, 1.0], [0, 0, 1], [0, 2, 3]), shape=(2, 2))
    with pytest.raises(np.linalg.LinAlgError, match="row 0"):
        solve_triangular(A, np.ones(2))


@pytest.mark.parametrize(
    "A", [np.ones((2, 3)), sp.csc_array((3, 2)), np.ones(3), np.ones((2,) * 3)]
)
def test_matrix_is_not_square(A):
    with pytest.raises(ValueError, match="square"):
        solve_triangular(A, np.ones(3))


@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 3), (), (3, 1, 1)])
def test_shapes_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"\(3, 3\).*" + str(shape).replace("(", r"\(")[:-1]):
        solve_triangular(sp.eye_array(3, format="csc"), np.ones(shape))


def test_sparse_shapes_do_not_fit():
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(4, 2\)"):
        solve_triangular(sp.eye_array(3, format="csc"), sp.csc_array((4, 2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, np.nan)])
@pytest.mark.parametrize("format", FORMATS)
def test_not_finite(bad, format):
    A = np.eye(3, dtype=np.result_type(bad))
    A[2, 1] = bad
    with pytest.raises(ValueError, match=r"A\[2, 1\]"):
        solve_triangular(stored(A, format), np.ones(3))
    b = np.ones((3, 2), dtype=np.result_type(bad))
    b[1, 0] = bad
    with pytest.raises(ValueError, match=r"b\[1, 0\]"):
        solve_triangular(np.eye(3), stored(b, format))
    if format == "dense":
        with pytest.raises(ValueError, match=r"b\[1\]"):
            solve_triangular(np.eye(3), b[:, 0])


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(float).max, reason="the same type")
def test_overflow_of_longer_floats_is_not_finite():
    huge = np.array([1, np.finfo(np.longdouble).max])
    with pytest.raises(ValueError, match=r"b\[1\]"):
        solve_triangular(np.eye(2), huge)
    with pytest.raises(ValueError, match=r"A\[1, 1\]"):
        solve_triangular(np.diag(huge), np.ones(2))


@pytest.mark.parametrize("bad", [object, "U1", "M8[s]"])
def test_not_numeric(bad):
    with pytest.raises(TypeError, match="not supported"):
        solve_triangular(np.eye(2), np.zeros(2, dtype=bad))
    with pytest.raises(TypeError, match="not supported"):
        solve_triangular(np.zeros((2, 2), dtype=bad), np.ones(2))


@pytest.mark.parametrize("trans", [3, "H", "n", None])
def test_unknown_trans(trans):
    with pytest.raises(ValueError, match="trans"):
        solve_triangular(np.eye(2), np.ones(2), trans=trans)


@pytest.mark.parametrize("format", ["csc", "csr"])
def test_corrupt_indices_of_either_argument(format):
    good, bad = (sp.eye_array(3, format=format) for _ in range(2))
    bad.indices[1] = 10**6
    with pytest.raises(ValueError, match=r"A\.indices\[1\]"):
        solve_triangular(bad, np.ones(3))
    with pytest.raises(ValueError, match=r"b\.indices\[1\]"):
        solve_triangular(good, bad)
