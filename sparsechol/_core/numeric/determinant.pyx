"""The log-determinants of factors."""

from libc.math cimport fabs, log
from libc.stdint cimport int32_t, int64_t

from sparsechol._core.numeric.dense cimport real, scalar
from sparsechol._core.symbolic.structure cimport Pattern, Structure


cdef enum:
    PARTS = 4       # products of a factor that do not wait for each other, a power of two


cdef void log_determinants(const Pattern *p, int count, const scalar **l,
                           double *out) noexcept nogil:
    """2 sum(log |diag(L)|) of a few factors, AT_ONCE at most.

    Logarithms are taken of products that stay in the range of float64.
    """
    cdef double product[PARTS][AT_ONCE]
    cdef double x
    cdef int32_t s, j
    cdef int64_t rows, at
    cdef int v, part
    for v in range(count):
        out[v] = 0
        for part in range(PARTS):
            product[part][v] = 1
    for s in range(p.nsuper):
        rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
        at = p.panel[s]
        for j in range(p.first[s], p.first[s + 1]):
            part = j & (<int>PARTS - 1)
            for v in range(count):
                x = product[part][v] * fabs(real(l[v][at]))     # entries are from 1e-162 to 1e154
                if x < 1e-100 or x > 1e100:
                    out[v] += log(x)
                    x = 1
                product[part][v] = x
            at += rows + 1
    for v in range(count):
        for part in range(PARTS):
            out[v] += log(product[part][v])
        out[v] *= 2


def logdet(Structure structure, const scalar[:, ::1] l, double[::1] out):
    """out <- log |det A| of each factor, in float64.

    l : (batch, structure.size) panels of each L.
    """
    cdef const Pattern *p = &structure.pattern
    cdef const scalar *factor[AT_ONCE]
    cdef Py_ssize_t k = 0, batch = l.shape[0]
    cdef int v, count
    if l.shape[1] != p.size or out.shape[0] != batch:
        raise ValueError("logdet: the factor does not belong to this structure")
    if p.n == 0:
        out[:] = 0
        return
    with nogil:
        while k < batch:
            count = <int>min(batch - k, <Py_ssize_t>AT_ONCE)
            for v in range(count):
                factor[v] = &l[k + v, 0]
            log_determinants(p, count, factor, &out[k])
            k += count
