"""Symbolic factorization: the rows of each front, and where everything goes.

Row i of L is the subtree of the elimination tree that is climbed from the entries of row i of A. So
one climb for each row finds the rows below each supernode, the tree of the supernodes, where the
rows of a front lie in that of its parent, and where the entries of A do.

References
----------
Liu, J. W. H. (1990). The role of elimination trees in sparse factorization.
    SIAM J. Matrix Anal. Appl. 11(1), 134-172.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

import numpy as np


cdef enum:
    RUN = 8                 # rows from which a run is worth a loop of its own


def entry_starts(const int64_t[::1] indptr, const int32_t[::1] members):
    """Where the entries of A in each permuted column start, from its rows above the diagonal."""
    cdef Py_ssize_t n = indptr.shape[0] - 1
    cdef Py_ssize_t p, j
    start_array = np.empty(n + 1, dtype=np.int64)
    cdef int64_t[::1] start = start_array
    with nogil:
        start[0] = 0
        for j in range(n):
            start[j + 1] = 1
        for p in range(members.shape[0]):
            start[members[p] + 1] += 1
        for j in range(n):
            start[j + 1] += start[j]
    return start_array


cdef struct Front:
    # A supernode while its rows are listed.
    int64_t head            # where its next row goes in `rows`
    int64_t offset          # head + offset: place of the latest row in the front
    int64_t relative        # where the next row's place in the parent's front goes; -1: nowhere
    int32_t left            # rows that are still to come
    int32_t latest          # the latest row
    int32_t parent
    int32_t panel_rows      # rows so far that are columns of the parent


def symbolic_factorization(
    const int32_t[::1] first, const int64_t[::1] row_start, const int64_t[::1] place_start,
    const int64_t[::1] starts, const int32_t[::1] members, const int64_t[::1] sources,
    const int64_t[::1] indptr, const int32_t[::1] perm, const int64_t[::1] entry_start,
    int32_t[::1] rows, int32_t[::1] relative, int32_t[::1] parent, int32_t[::1] panel_rows,
    int64_t[::1] entry_source, int32_t[::1] entry_row,
):
    """Tree of the supernodes, the rows below each of them, and the place of everything in a front.

    Row i of L is the subtree climbed from the entries of row i of A (`starts`, `members`,
    `sources`); every supernode met on the way to i's own has row i, below all that it has so far.
    A supernode hangs below the first row that meets it. Filled are `rows`, `relative` (places in
    the front of the parent, for those that have any, see `offsets`), `parent` and `panel_rows`
    (how many rows are columns of the parent), and by permuted column, the diagonal first,
    `entry_source` and `entry_row`: the entries of A and their places in the front.
    """
    cdef Py_ssize_t ns = parent.shape[0]
    cdef Py_ssize_t n = perm.shape[0]
    cdef int32_t i, j, k, s, own, above
    cdef int64_t p, q, total
    cdef bint well = True
    cdef int32_t[::1] supernode = np.empty(n, dtype=np.int32)
    cdef int64_t[::1] entry = np.empty(n, dtype=np.int64)    # where the next entry of a column goes
    cdef Front *front = <Front *>malloc(max(1, <size_t>ns * sizeof(Front)))
    cdef Front *f
    if front == NULL:
        raise MemoryError("no memory for the rows of the supernodes")
    with nogil:
        for s in range(ns):
            for j in range(first[s], first[s + 1]):
                supernode[j] = s
            total = row_start[s + 1] - row_start[s]
            front[s] = Front(
                head=row_start[s], offset=first[s + 1] - first[s] - row_start[s] - 1,
                relative=place_start[s] if place_start[s] < place_start[s + 1] else -1,
                left=<int32_t>total, latest=-1, parent=-1, panel_rows=0,
            )
        for i in range(n):
            entry[i] = entry_start[i]
        for i in range(n):
            own = supernode[i]
            entry_source[entry[i]] = indptr[perm[i]]
            entry_row[entry[i]] = i - first[own]
            entry[i] += 1
            for p in range(starts[i], starts[i + 1]):
                k = members[p]
                s = supernode[k]
                while s != own and front[s].latest != i:
                    f = &front[s]
                    if f.left <= 0:
                        well = False
                        break
                    if f.parent == -1:
                        f.parent = own
                    above = f.parent
                    f.latest = i
                    f.left -= 1
                    rows[f.head] = i
                    f.head += 1
                    f.panel_rows += above == own
                    if f.relative >= 0:
                        relative[f.relative] = i - first[own] if above == own else <int32_t>(
                            front[above].head + front[above].offset + (front[above].latest != i))
                        f.relative += 1
                    s = above
                s = supernode[k]
                q = entry[k]
                entry[k] += 1
                entry_source[q] = sources[p]
                entry_row[q] = i - first[own] if s == own else <int32_t>(
                    front[s].head + front[s].offset)
            if not well:
                break
        for s in range(ns):
            parent[s] = front[s].parent
            panel_rows[s] = front[s].panel_rows
            well = well and front[s].left == 0
        free(front)
    if not well:
        raise ValueError("the numbers of rows below do not belong to this pattern")


def find_runs(const int64_t[::1] place_start, const int32_t[::1] relative, int32_t[::1] runs):
    """Fill `runs`: for each row below a supernode, where the rows end that are placed alike.

    Positive: a run of at least RUN rows whose places in the parent's front follow one another.
    Negative: rows between such runs.
    """
    cdef Py_ssize_t ns = place_start.shape[0] - 1
    cdef Py_ssize_t s
    cdef int64_t q, head, tail, end
    with nogil:
        for s in range(ns):
            end = place_start[s + 1]
            tail = end                  # rows from `tail` on are settled
            while end > place_start[s]:
                head = end - 1
                while head > place_start[s] and relative[head - 1] + 1 == relative[head]:
                    head -= 1
                if end - head >= RUN:
                    for q in range(head, end):
                        runs[q] = <int32_t>(end - place_start[s])
                    tail = head
                else:
                    for q in range(head, end):
                        runs[q] = -<int32_t>(tail - place_start[s])
                end = head


def locate_products(const int32_t[::1] first, const int32_t[::1] simplicial_root,
                    const int64_t[::1] row_start, const int32_t[::1] rows,
                    const int64_t[::1] panel, const int64_t[::1] target_start,
                    int32_t[::1] target):
    """Fill `target` (see structure.pyx), one simplicial subtree after another.

    The columns wait in the list of the next row that they have not served yet. When a column of
    the subtree is reached, its map row -> place serves all that wait for it; what is left at the
    end goes to the update matrix.
    """
    cdef Py_ssize_t ns = simplicial_root.shape[0]
    cdef Py_ssize_t n = first[ns]
    cdef int32_t s, j, root, k, following, begin = 0
    cdef int64_t q, m
    cdef int32_t[::1] place = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] waiting = np.empty(n, dtype=np.int32)         # by row
    cdef int32_t[::1] link = np.empty(ns, dtype=np.int32)
    cdef int32_t[::1] served = np.empty(ns, dtype=np.int32)
    cdef int64_t[::1] head = np.empty(ns, dtype=np.int64)
    with nogil:
        for j in range(n):
            waiting[j] = -1
        for s in range(ns):
            served[s] = 0
            head[s] = target_start[s]
        while begin < ns:
            root = simplicial_root[begin]
            if root == -1:
                begin += 1
                continue
            for s in range(begin, root + 1):
                place[first[s]] = <int32_t>(panel[s] - panel[begin])
                for q in range(row_start[s], row_start[s + 1]):
                    place[rows[q]] = place[first[s]] + 1 + <int32_t>(q - row_start[s])
                k = waiting[first[s]]
                while k != -1:
                    following = link[k]
                    send(k, place, 0, row_start, rows, served, head, target)
                    wait(k, row_start, rows, served, waiting, link)
                    k = following
                wait(s, row_start, rows, served, waiting, link)
            m = row_start[root + 1] - row_start[root]
            for q in range(row_start[root], row_start[root + 1]):
                place[rows[q]] = <int32_t>(q - row_start[root])
            for s in range(begin, root + 1):
                while row_start[s] + served[s] < row_start[s + 1]:
                    send(s, place, m, row_start, rows, served, head, target)
            for q in range(row_start[root], row_start[root + 1]):
                waiting[rows[q]] = -1
            begin = root + 1


cdef inline void send(int32_t k, int32_t[::1] place, int64_t ld, const int64_t[::1] row_start,
                      const int32_t[::1] rows, int32_t[::1] served, int64_t[::1] head,
                      int32_t[::1] target) noexcept nogil:
    """Places of the products of column k with its next row; in a square of order `ld`, if any."""
    cdef int64_t q = row_start[k] + served[k]
    cdef int32_t column = <int32_t>(ld * place[rows[q]])
    served[k] += 1
    for q in range(q, row_start[k + 1]):
        target[head[k]] = column + place[rows[q]]
        head[k] += 1


cdef inline void wait(int32_t k, const int64_t[::1] row_start, const int32_t[::1] rows,
                      int32_t[::1] served, int32_t[::1] waiting, int32_t[::1] link) noexcept nogil:
    """Put column k into the list of its next row."""
    cdef int64_t q = row_start[k] + served[k]
    if q < row_start[k + 1]:
        link[k] = waiting[rows[q]]
        waiting[rows[q]] = k
