"""Takahashi's partial inverse in frontal form: the entries of A^-1 on the pattern of L + L^H.

The fronts are visited from the roots down. With M = Z22, the inverse on the rows below the
supernode, known from the parent,

        [ Z11  .  ]        T   = L11^-1,  Y = L21 T
        [ Z21  M  ]        Z21 = -M Y
                           Z11 = T^H T - Y^H Z21

and every child takes its own M out of the whole front [Z11 Z21^H; Z21 M].

References
----------
Takahashi, K., Fagan, J., Chen, M.-S. (1973). Formation of a sparse bus impedance matrix and its
    application to short circuit study. 8th PICA Conference, 63-69.
Campbell, Y. E., Davis, T. A. (1995). Computing the sparse inverse subset: an inverse multifrontal
    approach. Technical report TR-95-021, University of Florida.
"""

from libc.stdint cimport int32_t

from sparsechol.numeric.dense cimport AS_IS, conjugate, multiply, scalar, solve_right
from sparsechol.symbolic.structure cimport Pattern, Structure


cdef void gather_front(const Pattern *p, int32_t s, const scalar *z, scalar *work) noexcept nogil:
    """M of s: the inverse on its rows, taken from the front of its parent, both triangles.

        front of the parent          rows and columns of s lie at `relative`; those before
        [ Z11  .  ]   ->   M         `split` come from the panel, the others from the
        [ Z21  M  ]                  parent's own M
    """
    cdef int32_t parent = p.parent[s]
    cdef Py_ssize_t m = p.row_start[s + 1] - p.row_start[s]
    cdef const int32_t *place = p.relative + p.row_start[s]
    cdef Py_ssize_t nc = p.first[parent + 1] - p.first[parent]
    cdef Py_ssize_t below = p.row_start[parent + 1] - p.row_start[parent]
    cdef const scalar *panel = z + p.panel[parent]
    cdef const scalar *source
    cdef scalar *target = work + p.update[s]
    cdef Py_ssize_t i, j
    for j in range(m):
        if place[j] < nc:
            source = panel + place[j] * (nc + below)
        else:
            source = work + p.update[parent] + (place[j] - nc) * below - nc
        for i in range(j, m):
            target[i + j * m] = source[place[i]]
    mirror(m, target, m)


cdef void mirror(Py_ssize_t n, scalar *F, Py_ssize_t ld) noexcept nogil:
    """Fill the upper triangle of a Hermitian matrix from its lower one, by tiles."""
    cdef Py_ssize_t i, j, bi, bj
    bj = 0
    while bj < n:
        bi = bj
        while bi < n:
            for j in range(bj, min(bj + 16, n)):
                for i in range(max(bi, j + 1), min(bi + 16, n)):
                    F[j + i * ld] = conjugate(F[i + j * ld])
            bi += 16
        bj += 16


cdef void invert_front(int nc, int m, const scalar *l, scalar *z, const scalar *M,
                       scalar *w, scalar *v) noexcept nogil:
    """[Z11; Z21] of one front in `z`; `w` and `v` hold a panel each.

        w = [T; Y] = [I; L21] L11^-1        v = w^H
        Z21 = -M Y                          Z11 = -v [-T; Z21]
    """
    cdef Py_ssize_t rows = nc + m
    cdef Py_ssize_t i, j
    for j in range(nc):
        for i in range(nc):
            w[i + j * rows] = 0
        w[j + j * rows] = 1
        for i in range(nc, rows):
            w[i + j * rows] = l[i + j * rows]
    solve_right(AS_IS, <int>rows, nc, l, <int>rows, w, <int>rows)
    for j in range(nc):
        for i in range(nc):
            z[i + j * rows] = -w[i + j * rows]
        for i in range(rows):
            v[j + i * nc] = conjugate(w[i + j * rows])
    multiply(AS_IS, False, m, nc, m, M, m, <const scalar *>w + nc, <int>rows, False,
             z + nc, <int>rows)
    multiply(AS_IS, False, nc, nc, <int>rows, <const scalar *>v, nc, <const scalar *>z, <int>rows,
             False, w, nc)
    for j in range(nc):
        for i in range(nc):
            z[i + j * rows] = w[i + j * nc]


cdef void invert_fronts(const Pattern *p, const scalar *l, scalar *z, scalar *work) noexcept nogil:
    """All fronts, from the roots down."""
    cdef int32_t s
    cdef int nc, m
    cdef scalar *w = work + p.workspace
    for s in range(p.nsuper - 1, -1, -1):
        nc = p.first[s + 1] - p.first[s]
        m = <int>(p.row_start[s + 1] - p.row_start[s])
        if m:
            gather_front(p, s, <const scalar *>z, work)
        invert_front(nc, m, l + p.panel[s], z + p.panel[s], <const scalar *>work + p.update[s],
                     w, w + p.largest)


def partial_inverse(Structure structure, const scalar[::1] l, scalar[::1] z, scalar[::1] work):
    """Entries of (L L^H)^-1 on the pattern of the panels of L.

    Parameters
    ----------
    structure : Structure
    l : (structure.size,) panels of L.
    z : (structure.size,) overwritten with the panels of the inverse; diagonal blocks are full.
    work : (structure.workspace + 2 * structure.largest,) workspace.
    """
    cdef const Pattern *p = &structure.pattern
    if (l.shape[0] != p.size or z.shape[0] != p.size
            or work.shape[0] < p.workspace + 2 * p.largest):
        raise ValueError("partial_inverse: arrays do not belong to this structure")
    if p.n:
        with nogil:
            invert_fronts(p, &l[0], &z[0], &work[0])
