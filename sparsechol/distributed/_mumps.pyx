"""An instance of MUMPS: its phases, controls and arrays.

Every phase is collective. Nothing here is agreed between ranks, and nothing is finalized
where an instance is merely forgotten: see `_context`.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

import numpy as np

cdef extern from "mumps.h" nogil:
    ctypedef int MUMPS_INT
    ctypedef struct mumps_instance:
        int single
    int mumps_run(mumps_instance *m, int job)
    void mumps_start(mumps_instance *m, int comm_fortran, int sym)
    void mumps_set_icntl(mumps_instance *m, int k, int value)
    int mumps_infog(mumps_instance *m, int k)
    double mumps_rinfog(mumps_instance *m, int k)
    void mumps_set_entries(mumps_instance *m, MUMPS_INT n, int64_t count, MUMPS_INT *rows,
                           MUMPS_INT *columns, void *values)
    void mumps_set_places(mumps_instance *m, MUMPS_INT *places)
    void mumps_set_columns(mumps_instance *m, MUMPS_INT n, MUMPS_INT count, void *values)
    void mumps_set_requests(mumps_instance *m, MUMPS_INT n, MUMPS_INT count, MUMPS_INT *starts,
                            MUMPS_INT *rows, void *values)

# Phases.
START, FINISH, ANALYZE, FACTORIZE, SOLVE = -1, -2, 1, 2, 3

# MUMPS counts rows, and the entries of one request, in integers of this type.
INT = np.dtype(np.intc if sizeof(MUMPS_INT) == sizeof(int) else np.int64)

cdef int POSITIVE_DEFINITE = 1


cdef class Instance:
    """One matrix and its factor in MUMPS.

    Parameters
    ----------
    communicator : int
        Fortran handle.
    single : bool
        float32 instead of float64.
    """

    cdef mumps_instance *m
    cdef readonly object dtype
    cdef readonly bint finished
    cdef dict kept  # arrays that MUMPS has the addresses of

    def __cinit__(self, int communicator, bint single):
        self.m = <mumps_instance *>calloc(1, sizeof(mumps_instance))
        if self.m == NULL:
            raise MemoryError("an instance of MUMPS")
        self.m.single = single
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.kept = {}
        mumps_start(self.m, communicator, POSITIVE_DEFINITE)

    def __dealloc__(self):
        free(self.m)

    def run(self, int job):
        """Run a phase; INFOG(1), which is negative where it fails."""
        cdef int answer
        with nogil:
            answer = mumps_run(self.m, job)
        return answer

    def finish(self):
        """The last phase, which frees what MUMPS holds."""
        self.run(FINISH)
        self.finished = True
        self.kept.clear()

    def set_icntl(self, int k, int value):
        """ICNTL(k)"""
        check_number(k, 60)
        mumps_set_icntl(self.m, k, value)

    def infog(self, int k):
        """INFOG(k)"""
        check_number(k, 80)
        return mumps_infog(self.m, k)

    def rinfog(self, int k):
        """RINFOG(k)"""
        check_number(k, 40)
        return mumps_rinfog(self.m, k)

    def set_entries(self, MUMPS_INT n, rows, columns, values):
        """This rank's entries of the matrix, numbered from one."""
        check_length(rows, columns.shape[0])
        check_length(values, rows.shape[0])
        mumps_set_entries(self.m, n, rows.shape[0], self.integers("rows", rows),
                          self.integers("columns", columns), self.reals("values", values))

    def set_places(self, places):
        """Place of each row in the order of elimination, from one; on the host."""
        mumps_set_places(self.m, self.integers("places", places))

    def set_columns(self, columns):
        """Right-hand sides, (n, k) in Fortran order; on the host. They become the solutions."""
        if not columns.flags.f_contiguous:
            raise ValueError("right-hand sides must stand column by column")
        mumps_set_columns(self.m, columns.shape[0], columns.shape[1],
                          self.reals("columns", columns))

    def set_requests(self, starts, rows, values):
        """Entries of the inverse by column, numbered from one; on the host, which `values` fill."""
        check_length(values, rows.shape[0])
        if starts[starts.shape[0] - 1] != rows.shape[0] + 1:
            raise ValueError("the requests do not end where the last column does")
        mumps_set_requests(self.m, starts.shape[0] - 1, rows.shape[0],
                           self.integers("starts", starts), self.integers("request rows", rows),
                           self.reals("requests", values))

    cdef MUMPS_INT *integers(self, str name, array) except? NULL:
        return <MUMPS_INT *>self.address(name, array, INT)

    cdef void *reals(self, str name, array) except? NULL:
        return self.address(name, array, self.dtype)

    cdef void *address(self, str name, array, dtype) except? NULL:
        """Where an array lies; it is kept alive as long as MUMPS may look there."""
        if array.dtype != dtype or not array.flags.forc:
            raise ValueError(f"{name}: contiguous {dtype} needed, not {array.dtype}")
        self.kept[name] = array
        cdef size_t place = array.ctypes.data
        return <void *>place


def check_number(int k, int most):
    if not 1 <= k <= most:
        raise IndexError(f"MUMPS has no number {k} there")


def check_length(array, length):
    if array.ndim != 1 or array.shape[0] != length:
        raise ValueError(f"an array of shape {array.shape} where {length} entries are needed")
