"""Patterns made from patterns: the lower triangle that is analysed, both triangles, that of L."""

from libc.stdint cimport int32_t, int64_t

import numpy as np

ctypedef fused index:
    int32_t
    int64_t


def lower_pattern(const int64_t[::1] starts, const index[::1] minors, bint major_is_column):
    """Sorted lower triangle by column of a compressed pattern, with the whole diagonal.

    Entries may be unsorted and repeated. Two passes of bucket sort: by row, then by column.
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef Py_ssize_t major
    cdef int64_t p, q, total
    cdef int32_t row, column
    by_row_array = np.zeros(n + 1, dtype=np.int64)
    indptr_array = np.zeros(n + 1, dtype=np.int64)
    cdef int64_t[::1] by_row = by_row_array
    cdef int64_t[::1] indptr = indptr_array
    cdef int64_t[::1] head
    cdef int32_t[::1] columns, indices
    cdef int32_t[::1] last = np.arange(n, dtype=np.int32)      # latest row listed in each column

    with nogil:
        for major in range(n):
            for p in range(starts[major], starts[major + 1]):
                if below(major, minors[p], major_is_column, &row, &column):
                    by_row[row + 1] += 1
        for major in range(n):
            by_row[major + 1] += by_row[major]
        total = by_row[n]
    head = by_row_array[:n].copy()
    columns = np.empty(total, dtype=np.int32)
    with nogil:
        for major in range(n):
            for p in range(starts[major], starts[major + 1]):
                if below(major, minors[p], major_is_column, &row, &column):
                    columns[head[row]] = column
                    head[row] += 1
        for column in range(n):
            indptr[column + 1] = 1
        for row in range(n):
            for p in range(by_row[row], by_row[row + 1]):
                column = columns[p]
                if last[column] != row:
                    last[column] = row
                    indptr[column + 1] += 1
        for column in range(n):
            indptr[column + 1] += indptr[column]
    head = indptr_array[:n].copy()
    last = np.arange(n, dtype=np.int32)
    indices_array = np.empty(indptr_array[n], dtype=np.int32)
    indices = indices_array
    with nogil:
        for column in range(n):
            indices[head[column]] = column
            head[column] += 1
        for row in range(n):
            for p in range(by_row[row], by_row[row + 1]):
                column = columns[p]
                if last[column] != row:
                    last[column] = row
                    q = head[column]
                    head[column] += 1
                    indices[q] = row
    return indptr_array, indices_array


cdef inline bint below(Py_ssize_t major, int64_t minor, bint major_is_column, int32_t *row,
                       int32_t *column) noexcept nogil:
    """Whether an entry is read and lies off the diagonal; where it is in the lower triangle."""
    if major_is_column:
        row[0] = <int32_t>minor
        column[0] = <int32_t>major
    else:
        row[0] = <int32_t>major
        column[0] = <int32_t>minor
    return row[0] > column[0]


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
    cdef int64_t[::1] head
    with nogil:
        for j in range(n):
            starts[j + 1] += indptr[j + 1] - indptr[j]
            for p in range(indptr[j], indptr[j + 1]):
                if indices[p] != j:
                    starts[indices[p] + 1] += 1
        for j in range(n):
            starts[j + 1] += starts[j]
    head = starts_array[:n].copy()
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
