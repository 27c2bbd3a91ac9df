"""Forward and backward substitution with a supernodal factor, and its log-determinant.

Right-hand sides are permuted and interleaved: `x` holds the `k` values of row 0, then those of
row 1. In column-major terms that is the k x n matrix X^T, so that the rows of a front are columns
side by side and every step is a product from the right.

        [ L11      ]        forward     X1^T <- X1^T L11^-T,  X2^T <- X2^T - X1^T L21^T
        [ L21  L22 ]        backward    X1^T <- (X1^T - X2^T L21) L11^-1

The backward step is with L^T. The adjoint of a complex factor is reached by conjugating X before
and after: L^-H x = conj(L^-T conj(x)).
"""

from libc.math cimport log
from libc.stdint cimport int32_t, int64_t

from sparsechol.numeric.dense cimport (
    AS_IS, PACK, TRANSPOSED, backward_one, conjugate, forward_one, multiply, real, scalar,
    solve_right,
)
from sparsechol.symbolic.structure cimport Pattern, Structure


cdef void forward(const Pattern *p, const scalar *l, scalar *x, int k, scalar *w,
                  scalar *pack) noexcept nogil:
    """X <- L^-1 X; `w` holds k values for each row of the tallest front.

    One right-hand side needs no `pack`.
    """
    cdef int32_t s
    cdef int nc, m, i
    cdef const scalar *panel
    cdef const int32_t *rows
    cdef scalar *x1
    for s in range(p.nsuper):
        nc = p.first[s + 1] - p.first[s]
        m = <int>(p.row_start[s + 1] - p.row_start[s])
        panel = l + p.panel[s]
        rows = p.rows + p.row_start[s]
        x1 = x + <Py_ssize_t>p.first[s] * k
        if k == 1:
            forward_one(nc, m, panel, nc + m, x1, w)
            for i in range(m):
                x[rows[i]] -= w[i]
        else:
            solve_right(TRANSPOSED, k, nc, panel, nc + m, x1, k, pack)
            multiply(TRANSPOSED, False, k, m, nc, <const scalar *>x1, k, panel + nc, nc + m,
                     False, w, k, pack)
            scatter_rows(m, k, rows, w, x)


cdef void backward(const Pattern *p, const scalar *l, scalar *x, int k, scalar *w,
                   scalar *pack) noexcept nogil:
    """X <- L^-H X for one right-hand side, X <- L^-T X for several."""
    cdef int32_t s
    cdef int nc, m, i
    cdef const scalar *panel
    cdef const int32_t *rows
    cdef scalar *x1
    for s in range(p.nsuper - 1, -1, -1):
        nc = p.first[s + 1] - p.first[s]
        m = <int>(p.row_start[s + 1] - p.row_start[s])
        panel = l + p.panel[s]
        rows = p.rows + p.row_start[s]
        x1 = x + <Py_ssize_t>p.first[s] * k
        if k == 1:
            for i in range(m):
                w[i] = x[rows[i]]
            backward_one(nc, m, panel, nc + m, x1, <const scalar *>w)
        else:
            gather_rows(m, k, rows, x, w)
            multiply(AS_IS, False, k, nc, m, <const scalar *>w, k, panel + nc, nc + m, True, x1, k,
                     pack)
            solve_right(AS_IS, k, nc, panel, nc + m, x1, k, pack)


cdef inline void scatter_rows(int m, int k, const int32_t *rows, const scalar *w,
                              scalar *x) noexcept nogil:
    """Rows of X take in the rows of w (which already carry the minus sign)."""
    cdef int i, c
    cdef scalar *target
    for i in range(m):
        target = x + <Py_ssize_t>rows[i] * k
        for c in range(k):
            target[c] += w[c]
        w += k


cdef inline void gather_rows(int m, int k, const int32_t *rows, const scalar *x,
                             scalar *w) noexcept nogil:
    cdef int i, c
    cdef const scalar *source
    for i in range(m):
        source = x + <Py_ssize_t>rows[i] * k
        for c in range(k):
            w[c] = source[c]
        w += k


cdef inline void conjugate_all(scalar *x, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    if scalar is floatcomplex or scalar is doublecomplex:
        for i in range(length):
            x[i] = conjugate(x[i])


cdef inline void permute_in(const int32_t *place, const scalar *b, Py_ssize_t n, int k,
                            Py_ssize_t row_step, Py_ssize_t column_step, scalar *x) noexcept nogil:
    """Row i of X <- row place[i] of b."""
    cdef Py_ssize_t i
    cdef int c
    cdef const scalar *source
    for i in range(n):
        source = b + place[i] * row_step
        for c in range(k):
            x[c] = source[c * column_step]
        x += k


cdef inline void permute_out(const int32_t *place, const scalar *x, Py_ssize_t n, int k,
                             Py_ssize_t row_step, Py_ssize_t column_step, scalar *b) noexcept nogil:
    """Row place[i] of b <- row i of X."""
    cdef Py_ssize_t i
    cdef int c
    cdef scalar *target
    for i in range(n):
        target = b + place[i] * row_step
        for c in range(k):
            target[c * column_step] = x[c]
        x += k


def workspace(Structure structure, Py_ssize_t block):
    """Scalars of workspace that `solve` needs for `block` right-hand sides at once."""
    return (block * (structure.pattern.n + structure.pattern.tallest)
            + (<Py_ssize_t>PACK if block > 1 else 0))


def solve(Structure structure, const scalar[::1] l, scalar[::1, :] b, scalar[::1] work,
          bint lower, bint upper, const int32_t[::1] inward, const int32_t[::1] outward, int block):
    """Overwrite b with the solution of L x = b, L^H x = b, or both one after the other.

    Parameters
    ----------
    structure : Structure
    l : (structure.size,) panels of L.
    b : (n, k) right-hand sides, overwritten.
    work : (workspace(structure, block),) workspace.
    lower, upper : whether to solve with L, and then with L^H.
    inward, outward : (n,) row of b that each row of the system is read from and written to.
    block : right-hand sides taken at once.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t n = p.n
    cdef Py_ssize_t j, columns = b.shape[1]
    cdef int k
    cdef scalar *x
    cdef scalar *w
    cdef scalar *pack
    if l.shape[0] != p.size or b.shape[0] != n or inward.shape[0] != n or outward.shape[0] != n:
        raise ValueError("solve: arrays do not belong to this structure")
    if block < 1 or work.shape[0] < workspace(structure, block):
        raise ValueError("solve: workspace too small")
    if n == 0 or columns == 0:
        return
    with nogil:
        x = &work[0]
        w = x + block * n
        pack = w + block * <Py_ssize_t>p.tallest
        j = 0
        while j < columns:
            k = <int>min(<Py_ssize_t>block, columns - j)
            permute_in(&inward[0], <const scalar *>&b[0, j], n, k, 1, n, x)
            if lower:
                forward(p, &l[0], x, k, w, pack)
            if upper:
                if k > 1:
                    conjugate_all(x, n * k)
                backward(p, &l[0], x, k, w, pack)
                if k > 1:
                    conjugate_all(x, n * k)
            permute_out(&outward[0], <const scalar *>x, n, k, 1, n, &b[0, j])
            j += k


def logdet(Structure structure, const scalar[::1] l):
    """log det(L L^H) = 2 sum(log diag(L)), summed in float64."""
    cdef const Pattern *p = &structure.pattern
    cdef int32_t s, _
    cdef int64_t rows
    cdef const scalar *d
    cdef double total = 0
    if l.shape[0] != p.size:
        raise ValueError("logdet: the factor does not belong to this structure")
    if p.n == 0:
        return 0.0
    with nogil:
        for s in range(p.nsuper):
            rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
            d = &l[0] + p.panel[s]
            for _ in range(p.first[s], p.first[s + 1]):
                total += log(real(d[0]))
                d += rows + 1
    return 2 * total
