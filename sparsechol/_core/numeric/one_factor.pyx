"""The common calls on the factor of one matrix, with little between Python and the kernels.

A contiguous vector of the factor's own type is solved for at once, and the values of a matrix whose
index arrays are those of the last one are gathered from known places. Everything else is answered
by None: the caller takes the long way, which reads what users may hand over and says what is wrong.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_RECORDS_RO, PyBUF_WRITABLE, PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.pythread cimport (
    NOWAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock,
    PyThread_release_lock, PyThread_type_lock,
)
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

import numpy as np

from sparsechol._core.parallel.threads import thread_count

from sparsechol._core.numeric.dense cimport (
    DOUBLE, DOUBLE_COMPLEX, FLOAT, conjugate, kind_named, scalar, size_of,
)
from sparsechol._core.numeric.packing cimport all_finite
from sparsechol._core.numeric.solve cimport System, solve_all, solve_space, useful_threads
from sparsechol._core.numeric.sweep_driver cimport each
from sparsechol._core.parallel.pool cimport pool_begin, pool_call, pool_end
from sparsechol._core.symbolic.structure cimport Pattern, Structure

cdef object ndarray = np.ndarray
cdef object empty = np.empty
cdef int READ = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT
cdef int WRITE = READ | PyBUF_WRITABLE


cdef class VectorSolver:
    """Solve A x = b for one vector at a time with the factor of one matrix.

    Parameters
    ----------
    structure : Structure
    panels : (1, structure.size) panels of L, which is read at each solve.
    order : (n,) int32, original row at each place.
    signs : whether pivots have signs.
    """

    cdef Structure structure
    cdef const int32_t[::1] order
    cdef object dtype
    cdef Py_buffer panels
    cdef int kind
    cdef bint signs, held
    cdef PyThread_type_lock lock    # of the workspace; who finds it taken makes one for itself
    cdef void *work
    cdef Py_ssize_t room            # bytes of the workspace

    def __cinit__(self, Structure structure, panels, const int32_t[::1] order, bint signs):
        PyObject_GetBuffer(panels, &self.panels, READ)
        self.held = True
        self.structure = structure
        self.kind = kind_named(self.panels.format)
        self.order = order
        self.dtype = panels.dtype
        self.signs = signs
        if (self.kind == -1 or self.panels.len != structure.pattern.size * self.panels.itemsize
                or order.shape[0] != structure.pattern.n):
            raise ValueError("VectorSolver: arrays do not belong to this structure")
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError("no memory for a lock")

    def __dealloc__(self):
        free(self.work)
        if self.lock != NULL:
            PyThread_free_lock(self.lock)
        if self.held:
            PyBuffer_Release(&self.panels)

    def solve(self, b, threads):
        """x for a finite vector b of the type of the factor; None where the long way is needed."""
        cdef const Pattern *p = &self.structure.pattern
        cdef Py_buffer source, target
        cdef int count = useful_threads(p, 1)
        cdef bint done = False
        if type(b) is not ndarray or not (threads is None or type(threads) is int and threads > 0):
            return None
        if count > 1:
            count = min(<int>thread_count(threads), count)
        PyObject_GetBuffer(b, &source, PyBUF_RECORDS_RO)
        try:
            if (source.ndim != 1 or source.shape[0] != p.n or p.n == 0
                    or source.strides[0] != source.itemsize
                    or kind_named(source.format) != self.kind or not is_aligned(&source)):
                return None
            x = empty(p.n, self.dtype)
            PyObject_GetBuffer(x, &target, WRITE)
            try:
                done = self.run(source.buf, target.buf, count)
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&source)
        return x if done else None

    cdef bint run(self, void *b, void *x, int threads) except -1:
        """Solve; False without memory, and where the solution is not finite."""
        cdef const Pattern *p = &self.structure.pattern
        cdef Py_ssize_t room = solve_space(p, 1, threads) * size_of(self.kind)
        cdef void *work
        cdef bint mine = PyThread_acquire_lock(self.lock, NOWAIT_LOCK)
        cdef bint done
        cdef pool_call call
        cdef System system
        if mine and self.room < room:
            free(self.work)
            self.work = malloc(room)
            self.room = room if self.work != NULL else 0
        work = self.work if mine else malloc(room)
        memset(&system, 0, sizeof(system))
        system.p = p
        system.kind = self.kind
        system.lower = system.upper = True
        system.signs = self.signs
        system.factor = each(self.panels.buf)
        system.b = <char *>b
        system.out = <char *>x
        system.strides[0] = p.n
        system.strides[1] = system.strides[2] = 1
        system.columns = system.block = 1
        system.inward = system.outward = &self.order[0]
        system.work = <char *>work
        pool_begin(&call)
        with nogil:
            done = (work != NULL and solve_all(&system, 1, threads)
                    and are_finite(self.kind, x, p.n))
        if mine:
            PyThread_release_lock(self.lock)
        else:
            free(work)
        pool_end(&call)
        return done


cdef class KnownPlaces:
    """Where the packed values of a matrix lie among those of a compressed one.

    Parameters
    ----------
    A : csc or csr container whose arrays have been checked; they are copied.
    lower : bool, which triangle is read.
    places : (nnz,) int32, the place of each packed value in ``A.data``; -1: there is none.
    indptr : (n + 1,) int64, the columns of the packed values.
    conjugated : bool, whether the values are conjugated.
    one_sided : bool, whether `A` has no entry in the triangle that is not read.
    """

    cdef object container, shape
    cdef bint lower, conjugated, one_sided, straight
    cdef Py_ssize_t length          # of A.data
    cdef const int32_t[::1] places
    cdef const int64_t[::1] columns
    cdef Py_buffer starts, minors

    def __cinit__(self, A, bint lower, const int32_t[::1] places, const int64_t[::1] indptr,
                  bint conjugated, bint one_sided):
        PyObject_GetBuffer(A.indptr.copy(), &self.starts, READ)
        PyObject_GetBuffer(A.indices.copy(), &self.minors, READ)
        self.container = type(A)
        self.shape = A.shape
        self.length = self.minors.shape[0]
        self.lower = lower
        self.places = places
        self.columns = indptr
        self.conjugated = conjugated
        self.one_sided = one_sided
        self.straight = not conjugated and places.shape[0] == self.length and bool(
            (np.asarray(places) == np.arange(self.length)).all())
        if places.shape[0] != indptr[indptr.shape[0] - 1] or places.shape[0] and not (
                -1 <= np.min(places) and np.max(places) < self.length):
            raise ValueError("KnownPlaces: wrong places")

    def __dealloc__(self):
        PyBuffer_Release(&self.minors)
        PyBuffer_Release(&self.starts)

    def packed(self, A, lower, dtype):
        """The values of a matrix in the same places, (1, nnz); None for the long way."""
        cdef Py_buffer data, out
        cdef bint good = False
        if type(A) is not self.container or lower is not self.lower or A.shape != self.shape:
            return None
        values = A.data
        if (type(values) is not ndarray or values.dtype is not dtype
                or not same(A.indptr, &self.starts) or not same(A.indices, &self.minors)):
            return None
        PyObject_GetBuffer(values, &data, PyBUF_RECORDS_RO)
        try:
            if (data.ndim == 1 and data.shape[0] == self.length
                    and data.strides[0] == data.itemsize and kind_named(data.format) != -1
                    and is_aligned(&data)):
                packed = empty((1, self.places.shape[0]), dtype)
                PyObject_GetBuffer(packed, &out, WRITE)
                good = self.gather(kind_named(data.format), data.buf, out.buf)
                PyBuffer_Release(&out)
        finally:
            PyBuffer_Release(&data)
        return packed if good else None

    cdef bint gather(self, int kind, const void *data, void *out) noexcept:
        """Gather; False where the values call for the long way."""
        if kind == DOUBLE:
            return gather_places(self, <const double *>data, <double *>out)
        elif kind == FLOAT:
            return gather_places(self, <const float *>data, <float *>out)
        elif kind == DOUBLE_COMPLEX:
            return gather_places(self, <const double complex *>data, <double complex *>out)
        return gather_places(self, <const float complex *>data, <float complex *>out)


cdef bint gather_places(KnownPlaces known, const scalar *data, scalar *out) noexcept:
    cdef Py_ssize_t q, count = known.places.shape[0]
    cdef const int32_t *places = &known.places[0] if count else NULL
    cdef scalar value
    if known.straight:
        memcpy(out, data, sizeof(scalar) * count)
    for q in range(0 if known.straight else count):
        value = 0
        if places[q] >= 0:
            value = data[places[q]]
        out[q] = conjugate(value) if known.conjugated else value
    return all_finite(<const scalar *>out, count) and (
        known.one_sided or has_off_diagonal(known, <const scalar *>out))


cdef bint has_off_diagonal(KnownPlaces known, const scalar *packed) noexcept:
    """Whether a packed value off the diagonal is not zero: mostly the first is not."""
    cdef Py_ssize_t j
    cdef int64_t q
    for j in range(known.columns.shape[0] - 1):
        for q in range(known.columns[j] + 1, known.columns[j + 1]):
            if packed[q] != 0:
                return True
    return False


cdef bint is_aligned(const Py_buffer *view) noexcept:
    """Whether kernels may read the numbers where they lie."""
    return <size_t>view.buf % <size_t>min(view.itemsize, 8) == 0


cdef bint same(array, const Py_buffer *known) except -1:
    """Whether an array has the type and the numbers of a known one."""
    cdef Py_buffer view
    cdef bint equal
    if type(array) is not ndarray:
        return False
    PyObject_GetBuffer(array, &view, PyBUF_RECORDS_RO)
    equal = (view.ndim == 1 and view.len == known.len and view.strides[0] == view.itemsize
             and view.itemsize == known.itemsize and view.format[0] == known.format[0]
             and view.format[1] == 0 and memcmp(view.buf, known.buf, view.len) == 0)
    PyBuffer_Release(&view)
    return equal


def packed_copy(values, Py_ssize_t nnz, dtype):
    """A copy of finite packed values of a type, (1, nnz); None where the long way is needed."""
    cdef Py_buffer source, target
    cdef bint good = False
    if type(values) is not ndarray or values.dtype is not dtype:
        return None
    PyObject_GetBuffer(values, &source, PyBUF_RECORDS_RO)
    try:
        if (source.ndim == 1 and source.shape[0] == nnz and source.strides[0] == source.itemsize
                and kind_named(source.format) != -1):
            packed = empty((1, nnz), dtype)
            PyObject_GetBuffer(packed, &target, WRITE)
            memcpy(target.buf, source.buf, source.len)
            good = are_finite(kind_named(source.format), target.buf, nnz)
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&source)
    return packed if good else None


cdef bint are_finite(int kind, const void *x, Py_ssize_t length) noexcept nogil:
    """Whether no number is NaN or infinite."""
    if kind > DOUBLE:
        length *= 2
    if kind == DOUBLE or kind == DOUBLE_COMPLEX:
        return all_finite(<const double *>x, length)
    return all_finite(<const float *>x, length)
