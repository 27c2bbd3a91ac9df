"""Compressed patterns: is one safe to walk, and those made from others.

The lower triangle that is analyzed, both triangles, and the pattern of L.
"""

from libc.stdint cimport int32_t, int64_t

import numpy as np

from sparsechol._core.symbolic.counting cimport accumulate

ctypedef fused index:
    int32_t
    int64_t


cdef Py_ssize_t first_bad_pointer(const index[::1] indptr, index limit) noexcept nogil:
    """First p for which indptr[p] decreases or lies above limit; the length of indptr if none."""
    cdef Py_ssize_t p
    cdef index previous = 0
    for p in range(indptr.shape[0]):
        if indptr[p] < previous or indptr[p] > limit:
            return p
        previous = indptr[p]
    return indptr.shape[0]


cdef Py_ssize_t first_bad_index(
    const index[::1] indices, Py_ssize_t count, Py_ssize_t n_minor
) noexcept nogil:
    """First p < count for which indices[p] lies outside 0 .. n_minor - 1; count if none."""
    cdef Py_ssize_t p
    cdef Py_ssize_t outside = 0
    for p in range(count):
        outside += indices[p] < 0 or indices[p] >= n_minor
    if outside == 0:
        return count
    for p in range(count):
        if indices[p] < 0 or indices[p] >= n_minor:
            break
    return p


def check_compressed(
    const index[::1] indptr, const index[::1] indices, Py_ssize_t n_minor, name="A"
):
    """
    Refuse index arrays that would lead outside their bounds.

    Order and repetition of the indices within a row or column are free, and `indices` may be
    longer than ``indptr[-1]``, as SciPy allows.

    Parameters
    ----------
    indptr : (n_major + 1,) ndarray of int32 or int64
    indices : (capacity,) ndarray of the type of `indptr`
    n_minor : int
        Number of rows of a CSC array, of columns of a CSR array.
    name : str, optional
        What the messages call the array.

    Raises
    ------
    ValueError
        Naming the first position that is wrong.
    """
    cdef Py_ssize_t limit = indices.shape[0], bad, count
    if indptr.shape[0] == 0:
        raise ValueError(f"{name}.indptr is empty: it starts with 0")
    if indptr[0] != 0:
        raise ValueError(f"{name}.indptr[0] = {indptr[0]}: it must be 0")

    with nogil:
        bad = first_bad_pointer(indptr, <index>limit)
    if bad < indptr.shape[0]:
        if indptr[bad] < indptr[bad - 1]:
            raise ValueError(
                f"{name}.indptr[{bad}] = {indptr[bad]} is below"
                f" {name}.indptr[{bad - 1}] = {indptr[bad - 1]}"
            )
        raise ValueError(
            f"{name}.indptr[{bad}] = {indptr[bad]} is above the length {limit} of {name}.indices"
        )

    count = indptr[indptr.shape[0] - 1]
    with nogil:
        bad = first_bad_index(indices, count, n_minor)
    if bad < count:
        raise ValueError(
            f"{name}.indices[{bad}] = {indices[bad]} is outside 0 <= index < {n_minor}"
        )


def lower_pattern(const int64_t[::1] starts, const index[::1] minors, bint major_is_column):
    """Sorted lower triangle by column of a compressed pattern, with the whole diagonal.

    Entries may be unsorted and repeated. Columns that are sorted are copied; everything else is
    dealt out by row, which sorts the columns, and unsorted columns are turned into rows first.
    """
    if not major_is_column:
        return columns_of_rows(starts, minors)
    if ascending(starts, minors):
        return lower_of_sorted(starts, minors)
    by_row, columns = rows_of_columns(starts, minors)
    return columns_of_rows[int32_t](by_row, columns)


cdef bint ascending(const int64_t[::1] starts, const index[::1] minors) noexcept:
    """Whether every list is sorted and without repetitions.

    Descents from one entry to the next are counted in one loop over all, and then between lists.
    """
    cdef Py_ssize_t j
    cdef int64_t p, descents = 0
    with nogil:
        for p in range(starts[0] + 1, starts[starts.shape[0] - 1]):
            descents += minors[p] <= minors[p - 1]
        for j in range(1, starts.shape[0] - 1):
            p = starts[j]
            if starts[0] < p < starts[j + 1]:
                descents -= minors[p] <= minors[p - 1]
    return descents == 0


cdef lower_of_sorted(const int64_t[::1] starts, const index[::1] rows):
    """`lower_pattern` of sorted columns."""
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef Py_ssize_t j
    cdef int64_t p, q = 0
    cdef bint packed = True
    indptr_array = np.empty(n + 1, dtype=np.int64)
    cdef int64_t[::1] indptr = indptr_array
    cdef int32_t[::1] indices
    with nogil:
        for j in range(n):
            packed = packed and starts[j] < starts[j + 1] and rows[starts[j]] == j
        indptr[0] = 0
        for j in range(n):
            q += 1
            if packed:
                q += starts[j + 1] - starts[j] - 1
            else:
                for p in range(starts[j], starts[j + 1]):
                    q += rows[p] > j
            indptr[j + 1] = q
    indices_array = np.empty(q, dtype=np.int32)
    indices = indices_array
    with nogil:
        if packed:
            for p in range(q):
                indices[p] = <int32_t>rows[starts[0] + p]
        else:
            for j in range(n):
                q = indptr[j]
                indices[q] = <int32_t>j
                for p in range(starts[j + 1] - indptr[j + 1] + q + 1, starts[j + 1]):
                    q += 1
                    indices[q] = <int32_t>rows[p]
    return indptr_array, indices_array


cdef rows_of_columns(const int64_t[::1] starts, const index[::1] rows):
    """Columns of the entries below the diagonal, by row."""
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef Py_ssize_t j
    cdef int64_t p
    start_array = np.zeros(n + 1, dtype=np.int64)
    cdef int64_t[::1] start = start_array
    cdef int64_t[::1] head = np.empty(n, dtype=np.int64)
    cdef int32_t[::1] columns
    with nogil:
        for j in range(n):
            for p in range(starts[j], starts[j + 1]):
                if rows[p] > j:
                    start[rows[p] + 1] += 1
        accumulate(start, head)
    columns_array = np.empty(start_array[n], dtype=np.int32)
    columns = columns_array
    with nogil:
        for j in range(n):
            for p in range(starts[j], starts[j + 1]):
                if rows[p] > j:
                    columns[head[rows[p]]] = <int32_t>j
                    head[rows[p]] += 1
    return start_array, columns_array


cdef columns_of_rows(const int64_t[::1] starts, const index[::1] columns):
    """`lower_pattern` of rows."""
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int32_t i, j
    cdef int64_t p
    indptr_array = np.zeros(n + 1, dtype=np.int64)
    cdef int64_t[::1] indptr = indptr_array
    cdef int64_t[::1] head = np.empty(n, dtype=np.int64)
    cdef int32_t[::1] indices
    cdef int32_t[::1] last = np.arange(n, dtype=np.int32)      # latest row listed in each column
    with nogil:
        for j in range(n):
            indptr[j + 1] = 1
        for i in range(n):
            for p in range(starts[i], starts[i + 1]):
                j = <int32_t>columns[p]
                if j < i and last[j] != i:
                    last[j] = i
                    indptr[j + 1] += 1
        accumulate(indptr, head)
    last = np.arange(n, dtype=np.int32)
    indices_array = np.empty(indptr_array[n], dtype=np.int32)
    indices = indices_array
    with nogil:
        for j in range(n):
            indices[head[j]] = j
            head[j] += 1
        for i in range(n):
            for p in range(starts[i], starts[i + 1]):
                j = <int32_t>columns[p]
                if j < i and last[j] != i:
                    last[j] = i
                    indices[head[j]] = i
                    head[j] += 1
    return indptr_array, indices_array


def symmetric_pattern(const int64_t[::1] indptr, const int32_t[::1] indices):
    """Both triangles of a lower pattern, by column, sorted.

    Returns
    -------
    starts, members : the full pattern.
    sources : position of each entry in the lower pattern, complemented above the diagonal.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1
    cdef Py_ssize_t j
    cdef int64_t p, q
    cdef int32_t i
    starts_array = np.zeros(n + 1, dtype=np.int64)
    cdef int64_t[::1] starts = starts_array
    cdef int64_t[::1] head = np.empty(n, dtype=np.int64)
    with nogil:
        for j in range(n):
            starts[j + 1] += indptr[j + 1] - indptr[j]
            for p in range(indptr[j], indptr[j + 1]):
                if indices[p] != j:
                    starts[indices[p] + 1] += 1
        accumulate(starts, head)
    members_array = np.empty(starts_array[n], dtype=np.int32)
    sources_array = np.empty(starts_array[n], dtype=np.int64)
    cdef int32_t[::1] members = members_array
    cdef int64_t[::1] sources = sources_array
    with nogil:
        # Column by column: what stands above the diagonal of column j came from columns before j.
        for j in range(n):
            for p in range(indptr[j], indptr[j + 1]):
                i = indices[p]
                q = head[j]
                head[j] += 1
                members[q] = i
                sources[q] = p
                if i != j:
                    q = head[i]
                    head[i] += 1
                    members[q] = <int32_t>j
                    sources[q] = ~p
    return starts_array, members_array, sources_array


def factor_pattern(const int32_t[::1] parent, const int64_t[::1] starts,
                   const int32_t[::1] members, const int64_t[::1] count):
    """Exact pattern of L by column, sorted, amalgamation zeros left out.

    Row i of L is the part of the elimination tree that is climbed from the entries of row i of A
    towards i. `starts`, `members` list for each column the rows above the diagonal; `count` holds
    the column counts.
    """
    cdef Py_ssize_t n = parent.shape[0]
    cdef int32_t i, k
    cdef int64_t p
    indptr_array = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(count, out=indptr_array[1:])
    indices_array = np.empty(indptr_array[n], dtype=np.int32)
    cdef int64_t[::1] head = indptr_array[:n].copy()
    cdef int32_t[::1] indices = indices_array
    cdef int32_t[::1] mark = np.full(n, -1, dtype=np.int32)
    with nogil:
        for i in range(n):
            mark[i] = i
            indices[head[i]] = i
            head[i] += 1
            for p in range(starts[i], starts[i + 1]):
                k = members[p]
                while mark[k] != i:
                    mark[k] = i
                    indices[head[k]] = i
                    head[k] += 1
                    k = parent[k]
    return indptr_array, indices_array
