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

from sparsechol._core.symbolic.pattern cimport Pattern


cdef enum:
    RUN = 8                 # rows from which a run is worth a loop of its own


cdef void start_entries(const Pattern *pattern, const int64_t *starts, const int32_t *members,
                        int64_t *start) noexcept nogil:
    """Where the entries of A in each permuted column start, from its rows above the diagonal."""
    cdef Py_ssize_t n = pattern.n
    cdef Py_ssize_t j
    cdef int64_t p
    start[0] = 0
    for j in range(n):
        start[j + 1] = 1
    for p in range(starts[n]):
        start[members[p] + 1] += 1
    for j in range(n):
        start[j + 1] += start[j]


cdef bint symbolic_factorization(
    const Pattern *pattern, const int64_t *indptr, const int64_t *starts, const int32_t *members,
    const int64_t *sources, Front *front, int32_t *supernode, int64_t *entry,
) noexcept nogil:
    """Tree of the supernodes, the rows below each of them, and the place of everything in a front.

    Row i of L is the subtree climbed from the entries of row i of A (`starts`, `members`,
    `sources`); every supernode met on the way to i's own has row i, below all that it has so far.
    A supernode hangs below the first row that meets it. Filled are `rows`, `relative` (places in
    the front of the parent, for those that have any, see `offsets`), `parent` and `panel_rows`
    (how many rows are columns of the parent), and by permuted column, the diagonal first,
    `entry_source` and `entry_row`: the entries of A and their places in the front.

    `front`, (nsuper), `supernode` and `entry`, (n), are workspace. Returns False where the numbers
    of rows below do not belong to the pattern.
    """
    cdef Py_ssize_t ns = pattern.nsuper
    cdef Py_ssize_t n = pattern.n
    cdef const int32_t *perm = pattern.perm
    cdef const int32_t *first = pattern.first
    cdef const int64_t *row_start = pattern.row_start
    cdef const int64_t *place_start = pattern.place_start
    cdef int32_t *rows = <int32_t *>pattern.rows
    cdef int32_t *relative = <int32_t *>pattern.relative
    cdef int32_t *parent = <int32_t *>pattern.parent
    cdef int32_t *panel_rows = <int32_t *>pattern.panel_rows
    cdef int64_t *entry_source = <int64_t *>pattern.entry_source
    cdef int32_t *entry_row = <int32_t *>pattern.entry_row
    cdef int32_t i, j, k, s, own, above
    cdef int64_t p, q, total
    cdef bint well = True
    cdef Front *f
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
        entry[i] = pattern.entry_start[i]
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
    return well


cdef void find_runs(const Pattern *pattern) noexcept nogil:
    """Fill `runs`: for each row below a supernode, where the rows end that are placed alike.

    Positive: a run of at least RUN rows whose places in the parent's front follow one another.
    Negative: rows between such runs.
    """
    cdef Py_ssize_t ns = pattern.nsuper
    cdef Py_ssize_t s
    cdef const int64_t *place_start = pattern.place_start
    cdef const int32_t *relative = pattern.relative
    cdef int32_t *runs = <int32_t *>pattern.runs
    cdef int64_t q, head, tail, end
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


cdef void locate_products(const Pattern *pattern, int32_t *place, int32_t *waiting, int32_t *link,
                          int32_t *served, int64_t *head) noexcept nogil:
    """Fill `target` (see structure.pyx), one simplicial subtree after another.

    The columns wait in the list of the next row that they have not served yet. When a column of
    the subtree is reached, its map row -> place serves all that wait for it; what is left at the
    end goes to the update matrix.

    Workspace: `place` and `waiting`, (n), by row; `link`, `served` and `head`, (nsuper).
    """
    cdef Py_ssize_t ns = pattern.nsuper
    cdef Py_ssize_t n = pattern.n
    cdef const int32_t *first = pattern.first
    cdef const int32_t *simplicial_root = pattern.simplicial_root
    cdef const int64_t *row_start = pattern.row_start
    cdef const int32_t *rows = pattern.rows
    cdef const int64_t *panel = pattern.panel
    cdef int32_t *target = <int32_t *>pattern.target
    cdef int32_t s, j, root, k, following, begin = 0
    cdef int64_t q, m
    for j in range(n):
        waiting[j] = -1
    for s in range(ns):
        served[s] = 0
        head[s] = pattern.target_start[s]
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


cdef inline void send(int32_t k, const int32_t *place, int64_t ld, const int64_t *row_start,
                      const int32_t *rows, int32_t *served, int64_t *head,
                      int32_t *target) noexcept nogil:
    """Places of the products of column k with its next row; in a square of order `ld`, if any."""
    cdef int64_t q = row_start[k] + served[k]
    cdef int32_t column = <int32_t>(ld * place[rows[q]])
    served[k] += 1
    for q in range(q, row_start[k + 1]):
        target[head[k]] = column + place[rows[q]]
        head[k] += 1


cdef inline void wait(int32_t k, const int64_t *row_start, const int32_t *rows, int32_t *served,
                      int32_t *waiting, int32_t *link) noexcept nogil:
    """Put column k into the list of its next row."""
    cdef int64_t q = row_start[k] + served[k]
    if q < row_start[k + 1]:
        link[k] = waiting[rows[q]]
        waiting[rows[q]] = k
