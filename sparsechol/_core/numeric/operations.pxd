"""The table of operations, for callers with the interpreter and without it."""

from libc.stdint cimport int32_t, int64_t

from sparsechol._core.numeric.gram cimport Congruence
from sparsechol._core.symbolic.structure cimport Pattern

cdef enum:
    MOST_OPERANDS = 3

cpdef enum:
    LOWER = 1               # flags: the triangle is L, not L^H;
    PERMUTE = 2             # vectors are in the order of A, not in that of L;
    ACCEPT_WEAK = 4         # pivots that are rounding are taken as they are, if they are positive;
    UNSCALED = 8            # the condition is that of A itself, not that of A with a unit diagonal;
    QUICK = 16              # a first estimate will do where it is far from a rounding;
    SIGNED = 32             # the factor is that of LDL


cdef struct View:
    # An analyzed pattern with the orders and maps of its SymbolicFactor.
    const Pattern *p
    const int64_t *indptr       # stored values by column
    const int32_t *indices
    const int64_t *members      # rows of a triangle that is no factor; NULL: it is one
    const int32_t *order        # original row at each place
    const int32_t *post         # row of L, as the user sees it, at each place
    const int64_t *entries      # (entry_count) places of the entries of L; NULL: not known yet
    Py_ssize_t entry_count
    const int64_t *sources      # (full_count) of both triangles, see packing.expand; or NULL
    Py_ssize_t full_count
    const Congruence *gram      # of a rectangular matrix; NULL: none is known


cdef struct Operand:
    char *data
    int kind                    # scalar type
    Py_ssize_t rank
    const int64_t *dims


cdef struct Call:
    int operation
    int flags
    double diagonal             # weights of entries on and below the diagonal
    double below
    int threads                 # most to use
    int operands
    Operand operand[MOST_OPERANDS]
    Operand result


cdef int core_rank(char letter) noexcept nogil
cdef const char *signature_for(int operation) noexcept nogil
cdef const char *perform(const View *view, const Call *call) noexcept nogil
cdef Py_ssize_t length_of(const View *view, char letter) noexcept nogil
