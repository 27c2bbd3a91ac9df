"""Is a compressed structure (CSC or CSR) safe to walk?"""

from libc.stdint cimport int32_t, int64_t

ctypedef fused index_t:
    int32_t
    int64_t


cdef Py_ssize_t first_bad_pointer(const index_t[::1] indptr, index_t limit) noexcept nogil:
    """First p for which indptr[p] decreases or lies above limit; the length of indptr if none."""
    cdef Py_ssize_t p
    cdef index_t previous = 0
    for p in range(indptr.shape[0]):
        if indptr[p] < previous or indptr[p] > limit:
            return p
        previous = indptr[p]
    return indptr.shape[0]


cdef Py_ssize_t first_bad_index(
    const index_t[::1] indices, Py_ssize_t count, Py_ssize_t n_minor
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
    const index_t[::1] indptr, const index_t[::1] indices, Py_ssize_t n_minor, name="A"
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
        bad = first_bad_pointer(indptr, <index_t> limit)
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
