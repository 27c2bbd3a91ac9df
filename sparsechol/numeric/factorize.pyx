"""Multifrontal Cholesky factorisation.

The fronts are visited in postorder. A front is opened (panel and update matrix cleared, the
entries of A put in) when its first child is done, so that every child adds its update matrix to
it while that is still in cache.

References
----------
Duff, I. S., Reid, J. K. (1983). The multifrontal solution of indefinite sparse symmetric linear
    equations. ACM Trans. Math. Softw. 9(3), 302-325.
Liu, J. W. H. (1992). The multifrontal method for sparse matrix solution: theory and practice.
    SIAM Review 34(1), 82-109.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from sparsechol.numeric.dense cimport (
    ADJOINT, PACK, conjugate, factor_panel, multiply, real, scalar, scatter_add,
)
from sparsechol.symbolic.structure cimport Pattern, Structure


cdef void open_front(const Pattern *p, int32_t s, const scalar *a, scalar *l, scalar *work,
                     bint has_children) noexcept nogil:
    """Put the entries of A into the cleared panel of s, and clear its update matrix.

    A leaf's update matrix is not cleared: nothing is added to it before it is computed.
    """
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef Py_ssize_t rows = nc + m
    cdef scalar *panel = l + p.panel[s]
    cdef scalar *update = work + p.update[s]
    cdef int64_t q, source
    cdef int32_t j
    memset(panel, 0, sizeof(scalar) * rows * nc)
    for j in range(p.first[s], p.first[s + 1]):
        for q in range(p.entry_start[j], p.entry_start[j + 1]):
            source = p.entry_source[q]
            if source >= 0:
                panel[p.entry_row[q]] = a[source]
            else:
                panel[p.entry_row[q]] = conjugate(a[~source])
        panel += rows
    if has_children:
        for j in range(m):
            memset(update + j * <Py_ssize_t>(m + 1), 0, sizeof(scalar) * (m - j))


cdef void extend_add(const Pattern *p, int32_t s, scalar *l, scalar *work) noexcept nogil:
    """Add the update matrix of s to the front of its parent.

        update of s        front of the parent
        [ u11  .  ]   ->   [ panel   .    ]      rows and columns go to `relative`;
        [ u21 u22 ]        [ panel update ]      the first columns land in the panel
    """
    cdef int32_t parent = p.parent[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const int32_t *place = p.relative + p.row_start[s]
    cdef int nc = p.first[parent + 1] - p.first[parent]
    cdef int below = <int>(p.row_start[parent + 1] - p.row_start[parent])
    cdef int split = 0
    while split < m and place[split] < nc:
        split += 1
    scatter_add(m, 0, split, place, 0, work + p.update[s], l + p.panel[parent], nc + below)
    scatter_add(m, split, m, place, nc, work + p.update[s], work + p.update[parent], below)


cdef struct Outcome:
    int32_t failed          # permuted column whose pivot is not positive and finite, or -1
    int32_t weakest         # permuted column that kept the least of its diagonal entry, or -1
    double ratio            # pivot / diagonal entry of A there


cdef Outcome factor_fronts(const Pattern *p, const scalar *a, scalar *l,
                           scalar *work) noexcept nogil:
    """All fronts."""
    cdef int32_t s
    cdef int nc, m, bad
    cdef scalar *panel
    cdef scalar *pack = work + p.updates
    cdef Outcome outcome = Outcome(failed=-1, weakest=-1, ratio=1.0)
    for s in range(p.nsuper):
        if p.leaf[s]:
            open_front(p, s, a, l, work, False)
        nc = p.first[s + 1] - p.first[s]
        m = <int>(p.row_start[s + 1] - p.row_start[s])
        panel = l + p.panel[s]
        #   [ F11  .  ]      L11 = chol(F11), L21 = F21 L11^-H
        #   [ F21 F22 ]      F22 <- F22 - L21 L21^H
        bad = factor_panel(nc + m, nc, panel, nc + m, pack)
        if bad >= 0:
            outcome.failed = p.first[s] + bad
            outcome.ratio = real(panel[bad * <Py_ssize_t>(nc + m + 1)])
            return outcome
        weigh_pivots(p, s, a, <const scalar *>panel, nc + m, &outcome)
        if m:
            multiply(ADJOINT, True, m, m, nc, <const scalar *>panel + nc, nc + m,
                     <const scalar *>panel + nc, nc + m, not p.leaf[s], work + p.update[s], m,
                     pack)
            if p.opens[s]:
                open_front(p, p.parent[s], a, l, work, True)
            extend_add(p, s, l, work)
    return outcome


cdef inline void weigh_pivots(const Pattern *p, int32_t s, const scalar *a, const scalar *panel,
                              Py_ssize_t rows, Outcome *outcome) noexcept nogil:
    """Note the pivot that is smallest against the diagonal entry it came from."""
    cdef int32_t j
    cdef double root, entry
    for j in range(p.first[s], p.first[s + 1]):
        root = real(panel[0])
        entry = real(a[p.entry_source[p.entry_start[j]]])
        if root * root < outcome.ratio * entry:
            outcome.ratio = root * root / entry
            outcome.weakest = j
        panel += rows + 1


def workspace(Structure structure):
    """Scalars of workspace that `factorize` needs."""
    return structure.pattern.updates + <Py_ssize_t>PACK


def factorize(Structure structure, const scalar[::1] a, scalar[::1] l, scalar[::1] work):
    """Factor A = L L^H.

    Parameters
    ----------
    structure : Structure
    a : (structure.nnz,) values of the lower triangle of A, in the analysed order.
    l : (structure.size,) overwritten with the panels of L.
    work : (workspace(structure),) workspace.

    Returns
    -------
    failed : int
        -1, or the original row at which the pivot is not positive (or not finite).
    row : int
        Original row whose pivot lost most of its diagonal entry to cancellation; -1 where none
        lost anything.
    value : float
        The failed pivot, or the part of the diagonal entry of `row` that was left.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Outcome outcome
    if a.shape[0] != p.nnz or l.shape[0] != p.size or work.shape[0] < workspace(structure):
        raise ValueError("factorize: arrays do not belong to this structure")
    if p.n == 0:
        return -1, -1, 1.0
    with nogil:
        outcome = factor_fronts(p, &a[0], &l[0], &work[0])
    return (p.perm[outcome.failed] if outcome.failed >= 0 else -1,
            p.perm[outcome.weakest] if outcome.weakest >= 0 else -1,
            outcome.ratio)
