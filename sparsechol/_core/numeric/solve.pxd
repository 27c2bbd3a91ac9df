from libc.stdint cimport int32_t, uint8_t

from sparsechol._core.numeric.dense cimport scalar
from sparsechol._core.numeric.sweep_driver cimport Many
from sparsechol._core.symbolic.structure cimport Pattern


cpdef enum:
    RHS_BLOCK = 32              # right-hand sides taken at once: products, but still in cache


cdef struct System:
    # Which triangles of a factor are solved with, and for what.
    const Pattern *p
    int kind                # scalar type
    bint lower              # solve with L,
    bint upper              # and then with L^H
    bint signs              # and in between with S = sign(diag L)
    Many factor
    char *b
    char *out               # where solutions go, laid out as b; b itself where it is NULL
    Py_ssize_t strides[3]   # from factor to factor, row to row, right-hand side to right-hand side
    Py_ssize_t columns      # right-hand sides of each factor
    Py_ssize_t blocks       # of the right-hand sides of each factor
    int block               # right-hand sides in a block
    const int32_t *inward   # row of b that each row of the system is read from
    const int32_t *outward  # and written to
    const uint8_t *reached  # whether b has nonzeros in the subtree of each supernode; NULL: it may
    char *work
    # Set by `solve_all`.
    void *scratch           # of the pool
    Py_ssize_t groups       # of matrices side by side: the first ones of the batch
    void *lanes             # their workspace


cdef int useful_threads(const Pattern *p, Py_ssize_t columns) noexcept nogil
cdef Py_ssize_t solve_space(const Pattern *p, int block, int threads) noexcept nogil
cdef bint solve_all(System *job, Py_ssize_t batch, int threads) noexcept nogil
