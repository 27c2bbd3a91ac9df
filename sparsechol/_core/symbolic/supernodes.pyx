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

import numpy as np

from sparsechol._core.symbolic.forest cimport depth_first


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


def fundamental_supernodes(const int32_t[::1] parent, const int64_t[::1] count):
    """First column of each maximal run of columns with nested structure.

    Columns are in postorder. Column j joins column j - 1 when it is its parent and has the same
    rows below it. Returns int32 array of length nsuper + 1.
    """
    cdef Py_ssize_t n = parent.shape[0]
    cdef int32_t j, size = 0
    first_array = np.empty(n + 1, dtype=np.int32)
    cdef int32_t[::1] first = first_array
    with nogil:
        for j in range(n):
            if j == 0 or parent[j - 1] != j or count[j - 1] != count[j] + 1:
                first[size] = j
                size += 1
        first[size] = <int32_t>n
    return first_array[:size + 1].copy()


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


def step_times(const int32_t[::1] first, const int64_t[::1] row_start,
               const int32_t[::1] simplicial_root):
    """Predicted nanoseconds of each front; those of a simplicial subtree are all its root's."""
    cdef Py_ssize_t ns = simplicial_root.shape[0]
    cdef Py_ssize_t s
    cdef double nc, m
    time_array = np.zeros(ns)
    cdef double[::1] time = time_array
    with nogil:
        for s in range(ns):
            nc = <double>(first[s + 1] - first[s])
            m = <double>(row_start[s + 1] - row_start[s])
            if simplicial_root[s] == -1:
                time[s] += front_time(nc, m)
            else:
                time[simplicial_root[s]] += column_time(m)
    return time_array


def amalgamate(const int32_t[::1] first, const int32_t[::1] parent, const int64_t[::1] count):
    """Merge supernodes into their parents where that is predicted to save time.

    Any child may be merged, not only the last: the columns of a merged supernode are made
    contiguous afterwards by `visiting_order`.

    Returns
    -------
    into : int32 ndarray, the supernode that each one ended in (itself if it stayed).
    above : int32 ndarray, parent of each supernode that stayed, -1 for a root.
    """
    cdef Py_ssize_t ns = first.shape[0] - 1
    cdef int32_t s, c, p, top, following
    cdef int32_t last
    into_array = np.empty(ns, dtype=np.int32)
    above_array = np.empty(ns, dtype=np.int32)
    cdef int32_t[::1] into = into_array
    cdef int32_t[::1] above = above_array
    cdef int32_t[::1] supernode = np.empty(parent.shape[0], dtype=np.int32)
    cdef double[:, ::1] sizes = np.empty((3, ns))
    cdef double[::1] columns = sizes[0]
    cdef double[::1] below = sizes[1]
    cdef double[::1] nonzeros = sizes[2]            # entries of L, amalgamation zeros left out
    cdef int32_t[:, ::1] links = np.empty((2, ns), dtype=np.int32)
    cdef int32_t[::1] child = links[0]
    cdef int32_t[::1] sibling = links[1]

    with nogil:
        for s in range(ns):
            for c in range(first[s], first[s + 1]):
                supernode[c] = s
        for s in range(ns):
            last = first[s + 1] - 1
            into[s] = s
            above[s] = supernode[parent[last]] if parent[last] != -1 else -1
            columns[s] = first[s + 1] - first[s]
            below[s] = count[last] - 1
            nonzeros[s] = trapezoid(columns[s], below[s])
            child[s] = sibling[s] = -1
        for s in range(ns):
            p = s
            # All children of p are final now. The one with most rows is tried first: it costs
            # the fewest zeros and, once in, makes the next ones cheaper to judge.
            top = -1
            c = child[p]
            while c != -1:
                if top == -1 or below[c] > below[top]:
                    top = c
                c = sibling[c]
            if top != -1 and worth_merging(top, p, columns, below, nonzeros):
                merge(top, p, into, columns, below, nonzeros)
            c = child[p]
            while c != -1:
                following = sibling[c]
                if c != top and worth_merging(c, p, columns, below, nonzeros):
                    merge(c, p, into, columns, below, nonzeros)
                c = following
            if above[p] != -1:
                sibling[p] = child[above[p]]
                child[above[p]] = p
        for s in range(<int32_t>ns - 1, -1, -1):
            into[s] = into[into[s]]
        for s in range(ns):
            if above[s] != -1:
                above[s] = into[above[s]]
    return into_array, above_array


cdef inline bint worth_merging(int32_t c, int32_t p, double[::1] columns, double[::1] below,
                               double[::1] nonzeros) noexcept nogil:
    """Whether one front for c and p is predicted to be faster than two."""
    cdef double nc = columns[c] + columns[p]
    cdef double stored = trapezoid(nc, below[p])
    if below[c] == columns[p] + below[p]:
        return True                                  # same structure, no zero is added
    if stored - nonzeros[c] - nonzeros[p] > MAX_ZEROS * stored:
        return False
    return (front_time(nc, below[p])
            < front_time(columns[c], below[c]) + front_time(columns[p], below[p]))


cdef inline void merge(int32_t c, int32_t p, int32_t[::1] into, double[::1] columns,
                       double[::1] below, double[::1] nonzeros) noexcept nogil:
    into[c] = p
    columns[p] += columns[c]
    nonzeros[p] += nonzeros[c]


def simplicial_subtrees(const int32_t[::1] first, const int32_t[::1] into, const int32_t[::1] above,
                        const int64_t[::1] count):
    """Subtrees that are predicted to be faster column by column than as fronts.

    Where two large ones meet they stay apart, for two threads.

    Returns uint8 array, 1 for every merged supernode whose whole subtree is simplicial.
    """
    cdef Py_ssize_t ns = first.shape[0] - 1
    cdef int32_t s, j
    cdef double rows, fronts
    simplicial_array = np.zeros(ns, dtype=np.uint8)
    cdef uint8_t[::1] simplicial = simplicial_array
    cdef double[:, ::1] work = np.zeros((6, ns))
    cdef double[::1] columns = work[0]      # of the merged supernode
    cdef double[::1] as_columns = work[1]   # time of the subtree column by column
    cdef double[::1] best = work[2]         # least time of the subtrees of the children
    cdef double[::1] entries = work[3]      # of L in the subtree
    cdef double[::1] longest = work[4]      # `as_columns` of the children: greatest, second
    cdef double[::1] second = work[5]
    with nogil:
        for s in range(ns):
            columns[into[s]] += first[s + 1] - first[s]
            for j in range(first[s], first[s + 1]):
                as_columns[into[s]] += column_time(<double>(count[j] - 1))
                entries[into[s]] += <double>count[j]
        for s in range(ns):
            if into[s] != s:
                continue
            rows = <double>(count[first[s + 1] - 1] - 1)
            fronts = best[s] + front_time(columns[s], rows)
            simplicial[s] = (as_columns[s] <= fronts and second[s] <= SHARED
                             and max(entries[s], rows * rows) <= SUBTREE_ENTRIES)
            if above[s] != -1:
                second[above[s]] = max(second[above[s]], min(longest[above[s]], as_columns[s]))
                longest[above[s]] = max(longest[above[s]], as_columns[s])
                as_columns[above[s]] += as_columns[s]
                entries[above[s]] += entries[s]
                best[above[s]] += as_columns[s] + subtree_time(rows) if simplicial[s] else fronts
        for s in range(<int32_t>ns - 1, -1, -1):
            if into[s] == s and above[s] != -1 and simplicial[above[s]]:
                simplicial[s] = 1
    return simplicial_array


def visiting_order(const int32_t[::1] first, const int32_t[::1] into, const int32_t[::1] above,
                   const int64_t[::1] count, const uint8_t[::1] simplicial):
    """Postorder of the merged supernodes that keeps the update matrices few, and their columns.

    The child whose subtree needs the most workspace is visited first: it is the only one that
    runs before the parent's update matrix exists.

    Returns
    -------
    order : int32 ndarray of length n, the old column at each new place.
    boundaries : int32 ndarray of length nsuper + 1, first new column of each supernode. The
        columns of simplicial subtrees are supernodes of their own.
    simplicial_root : int32 ndarray of length nsuper, the last column (as a supernode) of the
        simplicial subtree that each one is part of, -1 for a front.
    """
    cdef Py_ssize_t ns = first.shape[0] - 1
    cdef Py_ssize_t n = first[ns]
    cdef int32_t fronts = 0, size
    order_array = np.empty(n, dtype=np.int32)
    boundaries_array = np.zeros(n + 1, dtype=np.int32)
    root_array = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] order = order_array
    cdef int32_t[::1] boundaries = boundaries_array
    cdef int32_t[::1] simplicial_root = root_array
    cdef int32_t[::1] heaviest = np.empty(ns, dtype=np.int32)
    cdef int32_t[::1] visited = np.empty(ns, dtype=np.int32)
    if ns > 0:
        subtree_peaks(first, into, above, count, heaviest)
        size = order_children(into, above, heaviest, visited)
        fronts = number_columns(
            first, into, above, simplicial, visited[:size], order, boundaries, simplicial_root)
    return order_array, boundaries_array[:fronts + 1].copy(), root_array[:fronts].copy()


cdef subtree_peaks(const int32_t[::1] first, const int32_t[::1] into, const int32_t[::1] above,
                   const int64_t[::1] count, int32_t[::1] heaviest):
    """The child of each merged supernode whose subtree needs the most workspace, -1 for none."""
    cdef Py_ssize_t ns = into.shape[0]
    cdef int32_t s, p
    cdef double square
    cdef double[:, ::1] peaks = np.zeros((2, ns))
    cdef double[::1] peak = peaks[0]
    cdef double[::1] other = peaks[1]       # largest peak among the children but the heaviest
    with nogil:
        for s in range(ns):
            heaviest[s] = -1
        for s in range(ns):
            if into[s] != s:
                continue
            square = <double>(count[first[s + 1] - 1] - 1)
            square *= square
            peak[s] = max(peak[s], square + other[s])
            p = above[s]
            if p == -1:
                continue
            if heaviest[p] == -1 or peak[s] > peak[heaviest[p]]:
                if heaviest[p] != -1:
                    other[p] = max(other[p], peak[heaviest[p]])
                heaviest[p] = s
                peak[p] = max(peak[s], square)
            else:
                other[p] = max(other[p], peak[s])


cdef int32_t order_children(const int32_t[::1] into, const int32_t[::1] above,
                            const int32_t[::1] heaviest, int32_t[::1] visited) except -1:
    """Visit the merged supernodes in postorder, the heaviest child first; returns their number."""
    cdef Py_ssize_t ns = into.shape[0]
    cdef int32_t s, p, root = -1, size = 0
    cdef int32_t[:, ::1] links = np.empty((3, ns), dtype=np.int32)
    cdef int32_t[::1] child = links[0]
    cdef int32_t[::1] sibling = links[1]
    cdef int32_t[::1] stack = links[2]
    with nogil:
        for s in range(ns):
            child[s] = sibling[s] = -1
        for s in range(<int32_t>ns - 1, -1, -1):
            if into[s] != s:
                continue
            p = above[s]
            if p == -1:
                sibling[s] = root
                root = s
            elif heaviest[p] != s:
                sibling[s] = child[p]
                child[p] = s
        for s in range(ns):
            if heaviest[s] != -1:
                sibling[heaviest[s]] = child[s]
                child[s] = heaviest[s]
        while root != -1:
            s = sibling[root]
            size = depth_first(root, &child[0], &sibling[0], &stack[0], &visited[0], size)
            root = s
    return size


cdef int32_t number_columns(const int32_t[::1] first, const int32_t[::1] into,
                            const int32_t[::1] above, const uint8_t[::1] simplicial,
                            const int32_t[::1] visited, int32_t[::1] order,
                            int32_t[::1] boundaries, int32_t[::1] simplicial_root) except -1:
    """Fill in what `visiting_order` returns; returns the number of supernodes.

    A front is one supernode, each column of a simplicial subtree is one. The subtree's are filled
    in from `begin` when its root is done.
    """
    cdef Py_ssize_t ns = into.shape[0]
    cdef Py_ssize_t c
    cdef int32_t s, j, p, place = 0, fronts = 0, begin = 0
    cdef int32_t[:, ::1] links = np.empty((2, ns), dtype=np.int32)
    cdef int32_t[::1] member = links[0]     # old supernodes, ascending
    cdef int32_t[::1] following = links[1]
    with nogil:
        for s in range(ns):
            member[s] = -1
        for s in range(<int32_t>ns - 1, -1, -1):
            following[s] = member[into[s]]
            member[into[s]] = s
        for c in range(visited.shape[0]):
            p = visited[c]
            boundaries[fronts] = place
            fronts += not simplicial[p]
            s = member[p]
            while s != -1:
                for j in range(first[s], first[s + 1]):
                    order[place] = j
                    simplicial_root[place] = -1
                    if simplicial[p]:
                        boundaries[fronts] = place
                        fronts += 1
                    place += 1
                s = following[s]
            if not simplicial[p]:
                begin = fronts
            elif above[p] == -1 or not simplicial[above[p]]:
                for s in range(begin, fronts):
                    simplicial_root[s] = fronts - 1
                begin = fronts
        boundaries[fronts] = place
    return fronts
