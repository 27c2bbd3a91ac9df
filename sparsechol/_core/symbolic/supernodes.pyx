"""Supernodes: fundamental ones, amalgamation by predicted time, and the order they are visited in.

A supernode is a set of columns that are eliminated together; its front is

        columns   rest
      [  F11        .  ]  nc          nc  columns of the supernode
      [  F21       F22 ]  m           m   rows below them

The panel [F11; F21] becomes columns of L, F22 is the update matrix that goes to the parent.

Where fronts are tiny, at the bottom of the tree, a whole subtree does without them and is
simplicial: its columns stand alone and send every product straight to its place in the later
columns of the subtree.

References
----------
Ashcraft, C., Grimes, R. (1989). The influence of relaxed supernode partitions on the
    multifrontal method. ACM Trans. Math. Softw. 15(4), 291-309.
Liu, J. W. H. (1986). On the storage requirement in the out-of-core multifrontal method for
    sparse factorization. ACM Trans. Math. Softw. 12(3), 249-264.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free

import numpy as np

from sparsechol._core.symbolic.blocks cimport Block, bytes_of, doubles, ints, ints_in, workspace
from sparsechol._core.symbolic.forest cimport depth_first
from sparsechol._core.symbolic.pattern cimport Pattern


# Predicted nanoseconds of one front (see front_time): least squares of the relative error of 60
# measured factorizations. Doubling or halving one of them changes times by a few per cent. FLOP is
# the arithmetic alone; FACTORIZATION_FLOP in `ordering` is a whole factorization for each flop.
cdef double FRONT_OVERHEAD = 450.0
cdef double PANEL_ENTRY = 0.7
cdef double UPDATE_ENTRY = 1.25
cdef double FLOP = 0.024

# The same for one column of a simplicial subtree, for one product that it sends off, and for a
# subtree under a front, which also gets its update matrix.
cdef double COLUMN_OVERHEAD = 8.0
cdef double PRODUCT = 1.0
cdef double SUBTREE_OVERHEAD = 50.0

# Two subtrees of a node that take longer than this, in ns, are not one simplicial subtree:
# threads share them.
cdef double SHARED = 200_000.0

# Amalgamation may store at most this part of a panel as zeros.
cdef double MAX_ZEROS = 0.35

# Places inside a simplicial subtree are 32-bit numbers.
cdef double SUBTREE_ENTRIES = 2.0**31 - 1


cdef struct Merging:
    # Supernodes that are merged: arrays for each fundamental one, ns of them.
    int32_t ns
    int32_t *first          # (ns + 1) its first column
    int32_t *into           # the supernode that it ended in, itself if it stayed
    int32_t *above          # parent of each that stayed, -1 for a root
    uint8_t *simplicial     # of each that stayed: its whole subtree goes column by column
    # workspace
    int32_t *owner          # (n) supernode of each column
    int32_t *child
    int32_t *sibling
    int32_t *stack
    int32_t *heaviest
    int32_t *visited
    double *columns         # of each that stayed
    double *below           # rows
    double *nonzeros        # entries of L, zeros of merging left out
    double *time            # (5, ns)


cdef int64_t lay_out(Merging *m, uint8_t *start, int64_t n) noexcept nogil:
    """Place the arrays in a block of memory, with room for n supernodes; returns its bytes."""
    cdef Block block = Block(start=start, used=0)
    m.first = ints(&block, n + 1)
    m.into = ints(&block, n)
    m.above = ints(&block, n)
    m.simplicial = bytes_of(&block, n)
    m.owner = ints(&block, n)
    m.child = ints(&block, n)
    m.sibling = ints(&block, n)
    m.stack = ints(&block, n)
    m.heaviest = ints(&block, n)
    m.visited = ints(&block, n)
    m.columns = doubles(&block, n)
    m.below = doubles(&block, n)
    m.nonzeros = doubles(&block, n)
    m.time = doubles(&block, 5 * n)
    return block.used


def order_supernodes(const int32_t[::1] parent, const int64_t[::1] count):
    """Supernodes that are visited in the order of their columns.

    Parameters
    ----------
    parent, count : elimination tree in postorder, and the entries in each column of L.

    Returns
    -------
    order : int32 ndarray of length n, the old column at each new place.
    boundaries : int32 ndarray of length nsuper + 1, first new column of each supernode. The
        columns of simplicial subtrees are supernodes of their own.
    simplicial_root : int32 ndarray of length nsuper, the last column (as a supernode) of the
        simplicial subtree that each one is part of, -1 for a front.
    below : int64 ndarray of length nsuper, rows below each supernode.
    """
    cdef Py_ssize_t n = parent.shape[0], s
    cdef Merging m
    cdef uint8_t *memory
    cdef int32_t fronts = 0
    cdef const int32_t *above = ints_in(parent)
    order_array = np.empty(n, dtype=np.int32)
    boundaries_array = np.zeros(n + 1, dtype=np.int32)
    root_array = np.empty(n, dtype=np.int32)
    below_array = np.empty(n, dtype=np.int64)
    cdef int32_t[::1] order = order_array
    cdef int32_t[::1] boundaries = boundaries_array
    cdef int32_t[::1] root = root_array
    cdef int64_t[::1] below = below_array
    if n:
        memory = workspace(lay_out(&m, NULL, n))
        lay_out(&m, memory, n)
        with nogil:
            find_fundamental(n, above, &count[0], &m)
            amalgamate(above, &count[0], &m)
            find_simplicial(&count[0], &m)
            find_heaviest(&count[0], &m)
            fronts = number_columns(&m, visit(&m), &order[0], &boundaries[0], &root[0])
            for s in range(fronts):
                below[s] = count[order[boundaries[s + 1] - 1]] - 1
            free(memory)
    return order_array, boundaries_array[:fronts + 1], root_array[:fronts], below_array[:fronts]


def merged_supernodes(const int32_t[::1] parent, const int64_t[::1] count):
    """Fundamental supernodes, and what amalgamation makes of them: `first`, `into` and `above`."""
    cdef Py_ssize_t n = parent.shape[0]
    cdef Merging m
    cdef uint8_t *memory
    first = np.zeros(n + 1, dtype=np.int32)
    lists = np.empty((2, n), dtype=np.int32)
    cdef int32_t[::1] first_view = first
    cdef int32_t[:, ::1] list_view = lists
    if n == 0:
        return first, *lists
    memory = workspace(lay_out(&m, NULL, n))
    lay_out(&m, memory, n)
    m.first = &first_view[0]
    m.into = &list_view[0, 0]
    m.above = &list_view[1, 0]
    find_fundamental(n, &parent[0], &count[0], &m)
    amalgamate(&parent[0], &count[0], &m)
    free(memory)
    return first[:m.ns + 1], *lists[:, :m.ns]


cdef void find_fundamental(Py_ssize_t n, const int32_t *parent, const int64_t *count,
                           Merging *m) noexcept nogil:
    """First column of each maximal run of columns with nested structure.

    Columns are in postorder. Column j joins column j - 1 when it is its parent and has the same
    rows below it.
    """
    cdef int32_t j
    m.ns = 0
    for j in range(n):
        if j == 0 or parent[j - 1] != j or count[j - 1] != count[j] + 1:
            m.first[m.ns] = j
            m.ns += 1
    m.first[m.ns] = <int32_t>n


cdef inline double front_time(double nc, double m) noexcept nogil:
    """Predicted time of one front in ns: start, panel, extend-add of the update, arithmetic."""
    return (FRONT_OVERHEAD + PANEL_ENTRY * nc * (nc + m) + UPDATE_ENTRY * 0.5 * m * m
            + FLOP * nc * (nc * nc / 3.0 + nc * m + m * m))


cdef inline double column_time(double m) noexcept nogil:
    """Predicted time of one column of a simplicial subtree in ns."""
    return COLUMN_OVERHEAD + PRODUCT * m * (m + 1) / 2


cdef inline double subtree_time(double m) noexcept nogil:
    """Predicted time that a simplicial subtree takes besides its columns in ns."""
    return SUBTREE_OVERHEAD + UPDATE_ENTRY * 0.5 * m * m


cdef inline double trapezoid(double nc, double m) noexcept nogil:
    """Entries of L in a full front."""
    return nc * (nc + 1) / 2 + nc * m


cdef void predict_times(const Pattern *p, double *time) noexcept nogil:
    """Predicted nanoseconds of each front; those of a simplicial subtree are all its root's."""
    cdef Py_ssize_t s
    cdef double nc, m
    for s in range(p.nsuper):
        time[s] = 0
    for s in range(p.nsuper):
        nc = <double>(p.first[s + 1] - p.first[s])
        m = <double>(p.row_start[s + 1] - p.row_start[s])
        if p.simplicial_root[s] == -1:
            time[s] += front_time(nc, m)
        else:
            time[p.simplicial_root[s]] += column_time(m)


cdef void amalgamate(const int32_t *parent, const int64_t *count, Merging *m) noexcept nogil:
    """Merge supernodes into their parents where that is predicted to save time.

    Any child may be merged, not only the last: the columns of a merged supernode are made
    contiguous afterwards by `number_columns`. Fills in `into` and `above`.
    """
    cdef int32_t *child = m.child
    cdef int32_t *sibling = m.sibling
    cdef int32_t s, c, p, top, following, last
    for s in range(m.ns):
        for c in range(m.first[s], m.first[s + 1]):
            m.owner[c] = s
    for s in range(m.ns):
        last = m.first[s + 1] - 1
        m.into[s] = s
        m.above[s] = m.owner[parent[last]] if parent[last] != -1 else -1
        m.columns[s] = m.first[s + 1] - m.first[s]
        m.below[s] = count[last] - 1
        m.nonzeros[s] = trapezoid(m.columns[s], m.below[s])
        child[s] = sibling[s] = -1
    for s in range(m.ns):
        p = s
        # All children of p are final now. The one with most rows is tried first: it costs
        # the fewest zeros and, once in, makes the next ones cheaper to judge.
        top = -1
        c = child[p]
        while c != -1:
            if top == -1 or m.below[c] > m.below[top]:
                top = c
            c = sibling[c]
        if top != -1 and worth_merging(top, p, m):
            merge(top, p, m)
        c = child[p]
        while c != -1:
            following = sibling[c]
            if c != top and worth_merging(c, p, m):
                merge(c, p, m)
            c = following
        if m.above[p] != -1:
            sibling[p] = child[m.above[p]]
            child[m.above[p]] = p
    for s in range(m.ns - 1, -1, -1):
        m.into[s] = m.into[m.into[s]]
    for s in range(m.ns):
        if m.above[s] != -1:
            m.above[s] = m.into[m.above[s]]


cdef inline bint worth_merging(int32_t c, int32_t p, const Merging *m) noexcept nogil:
    """Whether one front for c and p is predicted to be faster than two."""
    cdef double nc = m.columns[c] + m.columns[p]
    cdef double stored = trapezoid(nc, m.below[p])
    if m.below[c] == m.columns[p] + m.below[p]:
        return True                                  # same structure, no zero is added
    if stored - m.nonzeros[c] - m.nonzeros[p] > MAX_ZEROS * stored:
        return False
    return (front_time(nc, m.below[p])
            < front_time(m.columns[c], m.below[c]) + front_time(m.columns[p], m.below[p]))


cdef inline void merge(int32_t c, int32_t p, Merging *m) noexcept nogil:
    m.into[c] = p
    m.columns[p] += m.columns[c]
    m.nonzeros[p] += m.nonzeros[c]


cdef void find_simplicial(const int64_t *count, Merging *m) noexcept nogil:
    """Subtrees that are predicted to be faster column by column than as fronts.

    Where two large ones meet they stay apart, for two threads. Fills in `simplicial`.
    """
    cdef double *as_columns = m.time                # time of the subtree column by column
    cdef double *best = m.time + m.ns               # least time of the subtrees of the children
    cdef double *entries = m.time + 2 * <Py_ssize_t>m.ns    # of L in the subtree
    cdef double *longest = m.time + 3 * <Py_ssize_t>m.ns    # `as_columns` of the children: greatest
    cdef double *second = m.time + 4 * <Py_ssize_t>m.ns     # and second
    cdef int32_t s, j, p
    cdef double rows, fronts
    for s in range(m.ns):
        as_columns[s] = best[s] = entries[s] = longest[s] = second[s] = 0
        m.simplicial[s] = False
    for s in range(m.ns):
        for j in range(m.first[s], m.first[s + 1]):
            as_columns[m.into[s]] += column_time(<double>(count[j] - 1))
            entries[m.into[s]] += <double>count[j]
    for s in range(m.ns):
        if m.into[s] != s:
            continue
        p = m.above[s]
        rows = <double>(count[m.first[s + 1] - 1] - 1)
        fronts = best[s] + front_time(m.columns[s], rows)
        m.simplicial[s] = (as_columns[s] <= fronts and second[s] <= SHARED
                           and max(entries[s], rows * rows) <= SUBTREE_ENTRIES)
        if p != -1:
            second[p] = max(second[p], min(longest[p], as_columns[s]))
            longest[p] = max(longest[p], as_columns[s])
            as_columns[p] += as_columns[s]
            entries[p] += entries[s]
            best[p] += as_columns[s] + subtree_time(rows) if m.simplicial[s] else fronts
    for s in range(m.ns - 1, -1, -1):
        if m.into[s] == s and m.above[s] != -1 and m.simplicial[m.above[s]]:
            m.simplicial[s] = True


cdef void find_heaviest(const int64_t *count, Merging *m) noexcept nogil:
    """The child of each merged supernode whose subtree needs the most workspace, -1 for none.

    It is visited first: it is the only one that runs before the parent's update matrix exists.
    """
    cdef double *peak = m.time
    cdef double *other = m.time + m.ns      # largest peak among the children but the heaviest
    cdef int32_t *heaviest = m.heaviest
    cdef int32_t s, p
    cdef double square
    for s in range(m.ns):
        heaviest[s] = -1
        peak[s] = other[s] = 0
    for s in range(m.ns):
        if m.into[s] != s:
            continue
        square = <double>(count[m.first[s + 1] - 1] - 1)
        square *= square
        peak[s] = max(peak[s], square + other[s])
        p = m.above[s]
        if p == -1:
            continue
        if heaviest[p] == -1 or peak[s] > peak[heaviest[p]]:
            if heaviest[p] != -1:
                other[p] = max(other[p], peak[heaviest[p]])
            heaviest[p] = s
            peak[p] = max(peak[s], square)
        else:
            other[p] = max(other[p], peak[s])


cdef int32_t visit(Merging *m) noexcept nogil:
    """List the merged supernodes in postorder, the heaviest child first; returns their number."""
    cdef int32_t *child = m.child
    cdef int32_t *sibling = m.sibling
    cdef int32_t s, p, root = -1, size = 0
    for s in range(m.ns):
        child[s] = sibling[s] = -1
    for s in range(m.ns - 1, -1, -1):
        if m.into[s] != s:
            continue
        p = m.above[s]
        if p == -1:
            sibling[s] = root
            root = s
        elif m.heaviest[p] != s:
            sibling[s] = child[p]
            child[p] = s
    for s in range(m.ns):
        if m.heaviest[s] != -1:
            sibling[m.heaviest[s]] = child[s]
            child[s] = m.heaviest[s]
    while root != -1:
        s = sibling[root]
        size = depth_first(root, child, sibling, m.stack, m.visited, size)
        root = s
    return size


cdef int32_t number_columns(Merging *m, int32_t size, int32_t *order, int32_t *boundaries,
                            int32_t *simplicial_root) noexcept nogil:
    """Fill in what `order_supernodes` returns; returns the number of supernodes.

    A front is one supernode, each column of a simplicial subtree is one. The subtree's are filled
    in from `begin` when its root is done.
    """
    cdef int32_t *member = m.child          # old supernodes, ascending
    cdef int32_t *following = m.sibling
    cdef int32_t s, j, p, c, place = 0, fronts = 0, begin = 0
    for s in range(m.ns):
        member[s] = -1
    for s in range(m.ns - 1, -1, -1):
        following[s] = member[m.into[s]]
        member[m.into[s]] = s
    for c in range(size):
        p = m.visited[c]
        boundaries[fronts] = place
        fronts += not m.simplicial[p]
        s = member[p]
        while s != -1:
            for j in range(m.first[s], m.first[s + 1]):
                order[place] = j
                simplicial_root[place] = -1
                if m.simplicial[p]:
                    boundaries[fronts] = place
                    fronts += 1
                place += 1
            s = following[s]
        if not m.simplicial[p]:
            begin = fronts
        elif m.above[p] == -1 or not m.simplicial[m.above[p]]:
            for s in range(begin, fronts):
                simplicial_root[s] = fronts - 1
            begin = fronts
    boundaries[fronts] = place
    return fronts
