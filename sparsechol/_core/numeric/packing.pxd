from libc.stdint cimport int32_t, int64_t

from sparsechol._core.numeric.dense cimport element, scalar
from sparsechol._core.symbolic.structure cimport Pattern

cdef bint all_finite(const scalar *x, Py_ssize_t length) noexcept nogil
cdef void gather_supernodes(const Pattern *p, int32_t begin, int32_t end, const element *flat,
                            double diagonal, double below, element *packed) noexcept nogil
cdef void gather_kind(const Pattern *p, int kind, const void *flat, double diagonal, double below,
                      void *packed) noexcept nogil
cdef void gather_panels(const Pattern *p, const scalar *flat, double diagonal, double below,
                        scalar *packed) noexcept nogil
cdef void scatter_panels(const Pattern *p, const scalar *packed, double diagonal, double below,
                         scalar *flat) noexcept nogil
cdef void weigh_entries(const Pattern *p, const scalar *flat, double diagonal, double below,
                        scalar *out) noexcept nogil
cdef void turn_panels(const Pattern *p, const scalar *l, const scalar *flat,
                      scalar *out) noexcept nogil
cdef void read_diagonal(const Pattern *p, const scalar *flat, void *out) noexcept nogil
cdef void write_diagonal(const Pattern *p, const void *rows, scalar *flat) noexcept nogil
cdef void read_places(const scalar *flat, const int64_t *position, Py_ssize_t count,
                      scalar *out) noexcept nogil
cdef void write_places(Py_ssize_t size, const scalar *values, const int64_t *position,
                       Py_ssize_t count, scalar *flat) noexcept nogil
cdef void unfold(const int64_t *indptr, Py_ssize_t n, const int64_t *sources, Py_ssize_t count,
                 const scalar *packed, double diagonal, double below, scalar *full) noexcept nogil
cdef void fold(const int64_t *indptr, Py_ssize_t n, const int64_t *sources, Py_ssize_t count,
               const scalar *full, double diagonal, double below, scalar *packed) noexcept nogil
