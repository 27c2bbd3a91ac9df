"""Takahashi's partial inverse in frontal form: the entries of A^-1 on the pattern of L + L^H.

The fronts are visited from the roots down. F, the inverse on all rows of a front, starts as its
corner M, which a child takes out of the front of its parent, and grows to the left by blocks of
columns of the supernode:

        [  .    .   .  ]       block L = [L11; L21], inverse below it known: M = F22
        [  .   F11  .  ]  w        T   = L11^-1,  Y = L21 T
        [  .   F21 F22 ]  r        F21 = -F22 Y,  F11 = T^H T - Y^H F21

Twice the arithmetic of the factorisation, nearly all of it products.

References
----------
Takahashi, K., Fagan, J., Chen, M.-S. (1973). Formation of a sparse bus impedance matrix and its
    application to short circuit study. 8th PICA Conference, 63-69.
Campbell, Y. E., Davis, T. A. (1995). Computing the sparse inverse subset: an inverse multifrontal
    approach. Technical report TR-95-021, University of Florida.
"""

from libc.stdint cimport int32_t
from libc.string cimport memcpy

from sparsechol.numeric.dense cimport (
    AS_IS, PACK, PANEL, conjugate, multiply, real, scalar, solve_right,
)
from sparsechol.symbolic.structure cimport Pattern, Structure


cdef inline Py_ssize_t front_rows(const Pattern *p, int32_t s) noexcept nogil:
    return p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]


cdef void gather_corner(const Pattern *p, int32_t s, scalar *work) noexcept nogil:
    """The inverse on the rows below s, out of the front of its parent, into the corner of its own.

        front of the parent                        front of s
        rows and columns of s lie     ->           [ .  . ]
        at `relative`                              [ .  M ]
    """
    cdef Py_ssize_t m = p.row_start[s + 1] - p.row_start[s]
    cdef const int32_t *place = p.relative + p.row_start[s]
    cdef Py_ssize_t rows = front_rows(p, s)
    cdef Py_ssize_t above = front_rows(p, p.parent[s])
    cdef scalar *target = work + p.front[s] + (rows - m) * (rows + 1)
    cdef const scalar *source
    cdef Py_ssize_t i, j
    for j in range(m):
        source = work + p.front[p.parent[s]] + place[j] * above
        for i in range(m):
            target[i] = source[place[i]]
        target += rows


cdef void invert_block(int w, int r, const scalar *l, scalar *f, int ld, scalar *t,
                       scalar *h, scalar *pack) noexcept nogil:
    """One block of columns of a front; `l` and `f` point to its diagonal entry.

    `t` and `h` hold w (w + r) scalars each: t = [T; Y] = [I; L21] L11^-1 and h = t^H, so that
    F11 = -h [-T; F21].
    """
    cdef Py_ssize_t rows = w + r
    cdef Py_ssize_t i, j
    cdef scalar *f21 = f + w
    for j in range(w):
        for i in range(w):
            t[i + j * rows] = 0
        t[j + j * rows] = 1
        memcpy(t + j * rows + w, l + j * <Py_ssize_t>ld + w, sizeof(scalar) * r)
    solve_right(AS_IS, <int>rows, w, l, ld, t, <int>rows, pack)
    for j in range(w):
        for i in range(w):
            f[i + j * ld] = -t[i + j * rows]
        for i in range(rows):
            h[j + i * w] = conjugate(t[i + j * rows])
    multiply(AS_IS, False, r, w, r, <const scalar *>f21 + w * <Py_ssize_t>ld, ld,
             <const scalar *>t + w, <int>rows, False, f21, ld, pack)
    multiply(AS_IS, True, w, w, <int>rows, <const scalar *>h, w, <const scalar *>f, ld, False, t, w,
             pack)
    for j in range(w):
        f[j + j * ld] = <scalar>real(t[j + j * w])      # imaginary rounding is left out
        for i in range(j + 1, w):
            f[i + j * ld] = t[i + j * w]
    mirror(rows, w, f, ld)


cdef inline void mirror(Py_ssize_t rows, Py_ssize_t w, scalar *f, Py_ssize_t ld) noexcept nogil:
    """The first w rows of f from its first w columns, by tiles."""
    cdef Py_ssize_t i, j, begin = 0
    while begin < rows:
        for j in range(w):
            for i in range(max(begin, j + 1), min(begin + 16, rows)):
                f[j + i * ld] = conjugate(f[i + j * ld])
        begin += 16


cdef void invert_fronts(const Pattern *p, const scalar *l, scalar *z, scalar *work) noexcept nogil:
    """All fronts, from the roots down."""
    cdef int32_t s
    cdef int nc, rows, j, w
    cdef const scalar *panel
    cdef scalar *f
    cdef scalar *t = work + p.fronts
    cdef scalar *h = t + <Py_ssize_t>PANEL * p.tallest
    cdef scalar *pack = h + <Py_ssize_t>PANEL * p.tallest
    for s in range(p.nsuper - 1, -1, -1):
        nc = p.first[s + 1] - p.first[s]
        rows = <int>front_rows(p, s)
        panel = l + p.panel[s]
        f = work + p.front[s]
        if rows > nc:
            gather_corner(p, s, work)
        j = nc
        while j > 0:
            w = min(<int>PANEL, j)
            j -= w
            invert_block(w, rows - j - w, panel + j * <Py_ssize_t>(rows + 1),
                         f + j * <Py_ssize_t>(rows + 1), rows, t, h, pack)
        memcpy(z + p.panel[s], f, sizeof(scalar) * <Py_ssize_t>rows * nc)


def workspace(Structure structure):
    """Scalars of workspace that `partial_inverse` needs."""
    return (structure.pattern.fronts + 2 * <Py_ssize_t>PANEL * structure.pattern.tallest
            + <Py_ssize_t>PACK)


def partial_inverse(Structure structure, const scalar[::1] l, scalar[::1] z, scalar[::1] work):
    """Entries of (L L^H)^-1 on the pattern of the panels of L.

    Parameters
    ----------
    structure : Structure
    l : (structure.size,) panels of L.
    z : (structure.size,) overwritten with the panels of the inverse; diagonal blocks are full.
    work : (workspace(structure),) workspace.
    """
    cdef const Pattern *p = &structure.pattern
    if l.shape[0] != p.size or z.shape[0] != p.size or work.shape[0] < workspace(structure):
        raise ValueError("partial_inverse: arrays do not belong to this structure")
    if p.n:
        with nogil:
            invert_fronts(p, &l[0], &z[0], &work[0])
