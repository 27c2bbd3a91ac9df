"""Values between the user's matrix, the packed triangle and the flat panels."""

import numpy as np
import pytest
import scipy.sparse as sp

from sparsechol._core.numeric import packing


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("major_is_column", [True, False])
@pytest.mark.parametrize("conjugated", [True, False])
def test_pack_adds_the_lower_triangle_in_order(system, index, major_is_column, conjugated):
    A, S, _, packed = system
    C = sp.csc_array(A) if major_is_column else sp.csr_array(A)
    out = np.zeros(len(S.indices), A.dtype)
    arguments = (C.indptr.astype(np.int64), C.indices.astype(index), C.data)
    for array in (*arguments, S.indptr, S.indices):
        array.setflags(write=False)
    stray = packing.pack(S.indptr, S.indices, *arguments, major_is_column, conjugated, out)
    assert stray == (-1, -1)
    assert np.array_equal(out, packed.conj() if conjugated else packed)


def test_pack_refuses_wrong_lengths(system):
    A, S, _, _ = system
    C = sp.csc_array(A)
    good = [S.indptr, S.indices, C.indptr.astype(np.int64), C.indices, C.data, True, False,
            np.zeros(len(S.indices), A.dtype)]  # fmt: skip
    packing.pack(*good)
    for place in (0, 1, 2, 3, 4, 7):
        arguments = good.copy()
        arguments[place] = arguments[place][:-1].copy()
        with pytest.raises(ValueError, match="do not"):
            packing.pack(*arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_first_nonfinite(dtype, bad):
    values = np.ones(20, dtype)
    assert packing.first_nonfinite(values) == -1
    values[[7, 12]] = bad
    assert packing.first_nonfinite(values) == 7
    if dtype.kind == "c":
        values[3] = complex(0, bad)
        assert packing.first_nonfinite(values) == 3


def test_first_nonfinite_of_nothing(dtype):
    assert packing.first_nonfinite(np.empty(0, dtype)) == -1


def test_gather_values_reads_back_what_was_put_in(system):
    """Panels that hold a numbered Hermitian matrix give its packed values."""
    A, S, structure, _ = system
    flat, M = numbered_panels(structure, A.dtype)
    packed = np.empty(structure.nnz, A.dtype)
    packing.gather_values(structure, flat[None], packed[None])
    columns = np.repeat(np.arange(S.shape[0]), np.diff(S.indptr))
    assert np.array_equal(packed, M[S.indices, columns])


def test_gather_diagonal(system):
    A, S, structure, _ = system
    flat, M = numbered_panels(structure, A.dtype)
    out = np.empty(S.shape[0], np.finfo(A.dtype).dtype)
    packing.gather_diagonal(structure, flat[None], out[None])
    assert np.array_equal(out, M.diagonal().real)


def test_find_and_read_entries_of_the_whole_matrix(system):
    A, S, structure, _ = system
    n = S.shape[0]
    flat, M = numbered_panels(structure, A.dtype)
    row, column = (index.ravel().astype(np.int32) for index in np.indices((n, n)))
    position = np.empty(n * n, dtype=np.int64)
    packing.find_entries(structure, row, column, position)
    absent = position == packing.ABSENT
    assert np.array_equal(absent, (M == 0).ravel())
    out = np.zeros(n * n, A.dtype)
    packing.read_entries(flat, position, out)
    assert np.array_equal(out, M.ravel())


def test_gather_factor_reads_the_pattern_of_the_factor(system):
    A, S, structure, _ = system
    flat, M = numbered_panels(structure, A.dtype)
    starts, members = S.factor_pattern()
    out = np.empty(len(members), A.dtype)
    packing.gather_factor(structure, flat, S._post, starts, members, out)
    columns = np.repeat(np.arange(S.shape[0]), np.diff(starts))
    assert np.array_equal(out, M[S.perm[members], S.perm[columns]])


def numbered_panels(structure, dtype):
    """Flat panels with a number for each entry, and the Hermitian matrix that they stand for."""
    a = structure.arrays
    n = len(a["perm"])
    number = 1 + np.arange(n * n).reshape(n, n)
    lower = np.tril(number).astype(dtype)
    if dtype.kind == "c":
        lower = lower + np.tril(1j * number[::-1], -1)
    M = lower + np.tril(lower, -1).conj().T  # in permuted order
    flat = np.zeros(structure.size, dtype)
    inside = np.zeros((n, n), dtype=bool)
    for s in range(len(a["parent"])):
        columns = np.arange(a["first"][s], a["first"][s + 1])
        rows = np.concatenate([columns, a["rows"][a["row_start"][s] : a["row_start"][s + 1]]])
        panel = M[np.ix_(rows, columns)]
        flat[a["panel"][s] : a["panel"][s + 1]] = panel.ravel(order="F")
        inside[np.ix_(rows, columns)] = inside[np.ix_(columns, rows)] = True
    original = np.empty_like(M)
    original[np.ix_(a["perm"], a["perm"])] = np.where(inside, M, 0)
    return flat.astype(dtype), original.astype(dtype)


def test_wrong_lengths_are_refused(system):
    A, S, structure, _ = system
    n = S.shape[0]
    flat = np.zeros(structure.size, A.dtype)
    short, real = np.zeros(structure.size - 1, A.dtype), np.finfo(A.dtype).dtype
    packed = np.zeros(structure.nnz, A.dtype)
    starts, members = S.factor_pattern()
    out = np.zeros(len(members), A.dtype)
    rows, positions = np.zeros(4, np.int32), np.zeros(4, np.int64)
    calls = [
        (packing.gather_values, structure, short[None], packed[None]),
        (packing.gather_values, structure, flat[None], packed[None, :-1]),
        (packing.gather_diagonal, structure, short[None], np.zeros((1, n), real)),
        (packing.gather_diagonal, structure, flat[None], np.zeros((1, n - 1), real)),
        (packing.gather_factor, structure, short, S._post, starts, members, out),
        (packing.gather_factor, structure, flat, S._post, starts[:-1], members, out),
        (packing.gather_factor, structure, flat, S._post, starts, members, out[:-1]),
        (packing.gather_factor, structure, flat, S._post[:-1], starts, members, out),
        (packing.find_entries, structure, rows, rows[:-1], positions),
        (packing.find_entries, structure, rows, rows, positions[:-1]),
        (packing.read_entries, flat, positions, np.zeros(3, A.dtype)),
    ]
    for function, *arguments in calls:
        with pytest.raises(ValueError, match=r"do not|shape mismatch"):
            function(*arguments)


def test_comparisons_of_triangles_refuse_arrays_that_do_not_fit():
    A = sp.csc_array(np.array([[4.0, 1.0], [1.0, 5.0]]))
    starts, minors = A.indptr.astype(np.int64), A.indices
    indptr, indices = np.array([0, 2, 3]), np.array([0, 1, 1], np.int32)
    packed = np.array([4.0, 1.0, 5.0])
    whole = (starts, minors, A.data)

    def mirrored(pattern, matrix):
        return packing.mirrored(*pattern, *matrix, True, True, 1e-8, 1e-14)

    assert packing.off_diagonal(*whole, True) == (2, 0)  # the search ends with the first
    assert mirrored((indptr, indices, packed), whole)
    assert not mirrored((indptr, indices, packed + 1), whole)
    for cut in ((starts, minors[:3], A.data), (starts, minors, A.data[:3])):
        with pytest.raises(ValueError, match="off_diagonal: arrays do not"):
            packing.off_diagonal(*cut, True)
        with pytest.raises(ValueError, match="mirrored: arrays do not"):
            mirrored((indptr, indices, packed), cut)
    for pattern in ((indptr, indices[:2], packed), (indptr, indices, packed[:2])):
        with pytest.raises(ValueError, match="mirrored: pattern"):
            mirrored(pattern, whole)
