"""Low-rank changes of a factor in place: L S L^H +- C C^H.

A vector whose entries fit the pattern of L changes the columns on one path of the tree, from its
first entry to the root (Davis and Hager 1999). Several vectors are taken up together, so that each
column is read and written once (Davis and Hager 2001): their paths are walked like sorted lists
that are merged, always the leftmost supernode of all paths next.

        path of c1     2 --- 5 --- 9             next: 2 (c1), 3 (c2), 5 (c1), 7 (c2), 9 (both)
        path of c2       3 ----- 7 - 9

What a vector is on the rows of a front is gathered into a dense matrix W beside the panel, and
rotations take it into the columns (kernels_update.h).

References
----------
Chambers, J. M. (1971). Regression updating. J. Amer. Statist. Assoc. 66.
Davis, T. A., Hager, W. W. (1999). Modifying a sparse Cholesky factorization. SIAM J. Matrix Anal.
    Appl. 20(3).
Davis, T. A., Hager, W. W. (2001). Multiple-rank modifications of a sparse Cholesky factorization.
    SIAM J. Matrix Anal. Appl. 22(4).
"""

from libc.stdint cimport int8_t, int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from sparsechol._core.numeric.dense cimport (
    ANY_SIGN, DOWNDATE, UPDATE, WIDTH, conjugate, real, scalar, update_column, update_panel,
)
from sparsechol._core.symbolic.structure cimport (
    Pattern, Structure, front_rows, place_in, place_in_front, supernode_of,
)


cdef struct Vectors:
    # Up to WIDTH vectors on their way to the root.
    int count
    int form                    # which rotations there are
    double signs[WIDTH]         # of each vector, 1 or -1
    const int8_t *expected      # the sign of each pivot; NULL: any
    double least                # a pivot no larger, relative to its terms, is refused
    double weakest              # the smallest of these ratios so far
    int32_t at[WIDTH]           # the supernode where each vector is, -1 beyond the root


cdef struct Saved:
    # Panels as they were, in a stack; NULL where nothing can fail.
    void *panels
    int64_t entries             # how many of them are in use
    int32_t *supernodes
    int64_t count


cdef inline int32_t leftmost(const int32_t *at, int count) noexcept nogil:
    """The next supernode of all paths, -1 if all are beyond the root."""
    cdef int32_t s = -1
    cdef int r
    for r in range(count):
        if at[r] != -1 and (s == -1 or at[r] < s):
            s = at[r]
    return s


cdef inline void step(const Pattern *p, int32_t s, int32_t *at, int count) noexcept nogil:
    """Vectors that are in supernode s go to its parent."""
    cdef int r
    for r in range(count):
        if at[r] == s:
            at[r] = p.parent[s]


cdef void count_paths(const Pattern *p, const Vectors *v, int64_t *supernodes,
                      int64_t *entries) noexcept nogil:
    """Add the supernodes on the paths of some vectors, and the entries of their panels."""
    cdef int32_t at[WIDTH]
    cdef int32_t s
    memcpy(at, v.at, sizeof(at))
    s = leftmost(at, v.count)
    while s != -1:
        supernodes[0] += 1
        entries[0] += p.panel[s + 1] - p.panel[s]
        step(p, s, at, v.count)
        s = leftmost(at, v.count)


cdef inline void save(const Pattern *p, int32_t s, const scalar *l, Saved *saved) noexcept nogil:
    cdef int64_t size = p.panel[s + 1] - p.panel[s]
    if saved.panels != NULL:
        memcpy(<scalar *>saved.panels + saved.entries, l + p.panel[s], sizeof(scalar) * size)
        saved.supernodes[saved.count] = s
        saved.entries += size
        saved.count += 1


cdef void restore(const Pattern *p, scalar *l, Saved *saved) noexcept nogil:
    """Panels become what they were, those saved last first."""
    cdef int64_t size
    cdef int32_t s
    while saved.count > 0:
        saved.count -= 1
        s = saved.supernodes[saved.count]
        size = p.panel[s + 1] - p.panel[s]
        saved.entries -= size
        memcpy(l + p.panel[s], <const scalar *>saved.panels + saved.entries, sizeof(scalar) * size)


cdef int32_t walk(const Pattern *p, Vectors *v, scalar *l, scalar *w, scalar *dense,
                  Saved *saved) noexcept nogil:
    """Take vectors up to the root; -1, or the column whose pivot is refused.

    w : (n, v.count) by rows; zero at the end.
    dense : WIDTH vectors on the rows of the tallest front.
    """
    cdef int32_t bad, s = leftmost(v.at, v.count)
    while s != -1:
        save(p, s, <const scalar *>l, saved)
        if p.simplicial_root[s] == -1:
            bad = take_into_front(p, s, v, l + p.panel[s], w, dense)
        else:
            bad = update_column(v.form, <int>(p.row_start[s + 1] - p.row_start[s]), v.count,
                                l + p.panel[s], p.rows + p.row_start[s], p.first[s], w, v.signs,
                                expected_of(p, s, v), v.least, &v.weakest)
        if bad != -1:
            return p.first[s] + bad
        memset(w + <Py_ssize_t>p.first[s] * v.count, 0,
               sizeof(scalar) * (p.first[s + 1] - p.first[s]) * v.count)
        step(p, s, v.at, v.count)
        s = leftmost(v.at, v.count)
    return -1


cdef inline const int8_t *expected_of(const Pattern *p, int32_t s, const Vectors *v) noexcept nogil:
    return v.expected + p.first[s] if v.expected != NULL else NULL


cdef int32_t take_into_front(const Pattern *p, int32_t s, Vectors *v, scalar *panel, scalar *w,
                             scalar *dense) noexcept nogil:
    """The vectors that are in front s; -1, or the column of the front whose pivot is refused."""
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const int32_t *rows = p.rows + p.row_start[s]
    cdef double signs[WIDTH]
    cdef int which[WIDTH]
    cdef int r, k = 0, wide = 1, bad
    for r in range(v.count):
        if v.at[r] == s:
            which[k] = r
            signs[k] = v.signs[r]
            k += 1
    while wide < k:
        wide *= 2
    for r in range(k, wide):
        signs[r] = 1
    memset(dense + <Py_ssize_t>k * (nc + m), 0, sizeof(scalar) * (wide - k) * (nc + m))
    gather(nc, m, rows, v.count, k, which, w + <Py_ssize_t>p.first[s] * v.count, w, dense)
    bad = update_panel(v.form, nc, m, wide, panel, dense, signs, expected_of(p, s, v), v.least,
                       &v.weakest)
    for r in range(k):
        v.signs[which[r]] = signs[r]
    scatter(nc, m, rows, v.count, k, which, w, <const scalar *>dense)
    return bad


cdef inline void gather(int nc, int m, const int32_t *rows, int count, int k, const int *which,
                        const scalar *own, const scalar *w, scalar *dense) noexcept nogil:
    """dense <- some vectors on the columns of a front and the rows below it."""
    cdef int i, r
    cdef scalar *out
    for r in range(k):
        out = dense + <Py_ssize_t>r * (nc + m)
        for i in range(nc):
            out[i] = own[<Py_ssize_t>i * count + which[r]]
        for i in range(m):
            out[nc + i] = w[<Py_ssize_t>rows[i] * count + which[r]]


cdef inline void scatter(int nc, int m, const int32_t *rows, int count, int k, const int *which,
                         scalar *w, const scalar *dense) noexcept nogil:
    cdef int i, r
    cdef const scalar *source
    for r in range(k):
        source = dense + <Py_ssize_t>r * (nc + m) + nc
        for i in range(m):
            w[<Py_ssize_t>rows[i] * count + which[r]] = source[i]


cdef struct Columns:
    # The vectors of a change, compressed by column, rows in the order of the kernels. They may have
    # zeros, and several entries in one row, which are summed. Their values go beside.
    Py_ssize_t count
    const int64_t *start
    const int32_t *rows


cdef int32_t first_row(const Columns *c, Py_ssize_t k, const scalar *values) noexcept nogil:
    """The first row of a vector that is not zero; -1 if there is none."""
    cdef int64_t q
    cdef int32_t least = -1
    for q in range(c.start[k], c.start[k + 1]):
        if values[q] != 0 and (least == -1 or c.rows[q] < least):
            least = c.rows[q]
    return least


cdef Vectors set_out(const Pattern *p, const Columns *c, const scalar *values, Py_ssize_t begin,
                     int form, double sign, const int8_t *expected, double least) noexcept nogil:
    """Up to WIDTH vectors, each in the supernode of its first row."""
    cdef Vectors v
    cdef int r
    cdef int32_t row
    v.count = <int>min(<Py_ssize_t>WIDTH, c.count - begin)
    v.form, v.expected, v.least, v.weakest = form, expected, least, 1
    for r in range(v.count):
        v.signs[r] = sign
        row = first_row(c, begin + r, values)
        v.at[r] = -1 if row == -1 else supernode_of(p, row)
    return v


cdef void spread(const Columns *c, const scalar *values, Py_ssize_t begin, int count,
                 scalar *w) noexcept nogil:
    """w, by rows, takes some vectors."""
    cdef int64_t q
    cdef int r
    for r in range(count):
        for q in range(c.start[begin + r], c.start[begin + r + 1]):
            w[<Py_ssize_t>c.rows[q] * count + r] += values[q]


cdef struct Outcome:
    int32_t failed              # column whose pivot is refused, -1 if none
    double pivot                # that pivot
    double weakest              # the smallest pivot, relative to its terms
    bint memory                 # whether there was enough


cdef Outcome change(const Pattern *p, scalar *l, const Columns *c, const scalar *values, int form,
                    double sign, const int8_t *expected, double least, scalar *work,
                    Py_ssize_t size) noexcept nogil:
    """Take all vectors into the factor. Where a pivot is refused the factor is as it was."""
    cdef Outcome out = Outcome(failed=-1, pivot=0, weakest=1, memory=False)
    cdef Saved saved
    cdef Vectors v
    cdef Py_ssize_t begin = 0
    cdef int64_t supernodes = 0, entries = 0
    cdef scalar *w = <scalar *>calloc(<size_t>p.n * min(<Py_ssize_t>WIDTH, c.count) + 1,
                                      sizeof(scalar))
    cdef scalar *dense = <scalar *>malloc(sizeof(scalar) * (<size_t>WIDTH * p.tallest + 1))
    memset(&saved, 0, sizeof(saved))
    out.memory = w != NULL and dense != NULL
    if form != UPDATE and out.memory:
        while begin < c.count:
            v = set_out(p, c, values, begin, form, sign, expected, least)
            count_paths(p, &v, &supernodes, &entries)
            begin += WIDTH
    if entries and out.memory:
        saved.panels = work if entries <= size else malloc(sizeof(scalar) * entries)
        saved.supernodes = <int32_t *>malloc(sizeof(int32_t) * supernodes + 1)
        out.memory = saved.panels != NULL and saved.supernodes != NULL
    begin = 0
    while out.memory and begin < c.count and out.failed == -1:
        v = set_out(p, c, values, begin, form, sign, expected, least)
        spread(c, values, begin, v.count, w)
        out.failed = walk(p, &v, l, w, dense, &saved)
        out.weakest = min(out.weakest, v.weakest)
        begin += WIDTH
    if out.failed != -1:
        out.pivot = pivot_of(p, <const scalar *>l, out.failed)
        restore(p, l, &saved)
    free(w)
    free(dense)
    if saved.panels != <void *>work:
        free(saved.panels)
    free(saved.supernodes)
    return out


cdef double pivot_of(const Pattern *p, const scalar *l, int32_t column) noexcept nogil:
    """The pivot whose root, with its sign, stands on the diagonal."""
    cdef int32_t s = supernode_of(p, column), j = column - p.first[s]
    cdef double root = real(l[p.panel[s] + j * (front_rows(p, s) + 1)])
    return root * abs(root)


def update(Structure structure, const int32_t[::1] place, scalar[::1] l,
           const int64_t[::1] start, const int32_t[::1] rows, const scalar[::1] values,
           double sign, bint any_sign, double least, scalar[::1] work,
           const int8_t[::1] expected=None):
    """L S L^H <- L S L^H + sign C C^H, in place.

    Parameters
    ----------
    structure : Structure
    place : (n,) where each row of C is in the order of the kernels; None: rows are in it
    l : (structure.size,) panels of L
    start : (k + 1,) int64, columns of C
    rows : int32 rows of C
    values : entries of C
    sign : 1 or -1
    any_sign : whether pivots may be negative
    least : a pivot no larger than this part of its terms is refused
    work : workspace of any size, where panels are saved if it is large enough
    expected : (n,) sign of each pivot, in the order of the kernels; None: any

    Returns
    -------
    entry : number of the first nonzero of C that does not fit the pattern of L, and nothing was
        done; -2 where squares are beyond the largest number; else -1
    row : original row of the pivot that is refused, the factor is then as it was; -1 if none. Of
        an entry that does not fit, the first row of its column
    pivot : that pivot
    weakest : the smallest pivot, relative to its terms
    """
    cdef const Pattern *p = &structure.pattern
    cdef Columns c = Columns(count=start.shape[0] - 1, start=NULL, rows=NULL)
    cdef Outcome out = Outcome(failed=-1, pivot=0, weakest=1, memory=True)
    cdef int form = ANY_SIGN if any_sign else UPDATE if sign > 0 else DOWNDATE
    cdef int32_t *placed = NULL
    cdef int64_t entry = -1, q
    cdef int32_t first = -1
    check_columns(p, start, rows)
    if l.shape[0] != p.size or values.shape[0] != rows.shape[0] or (
            place is not None and place.shape[0] != p.n) or (
            expected is not None and expected.shape[0] != p.n):
        raise ValueError("update: arrays do not belong to this structure")
    if rows.shape[0] == 0:
        return -1, -1, 0.0, 1.0
    c.start, c.rows = &start[0], &rows[0]
    if place is not None:
        placed = <int32_t *>malloc(sizeof(int32_t) * rows.shape[0])
        if placed == NULL:
            raise MemoryError("no memory for the rows of an update")
        for q in range(rows.shape[0]):
            placed[q] = place[rows[q]]
        c.rows = placed
    with nogil:
        entry = misfit(p, &c, &values[0], &first)
        if entry == -1:
            out = change(p, &l[0], &c, &values[0], form, sign,
                         &expected[0] if expected is not None else NULL, least,
                         &work[0] if work.shape[0] else NULL, work.shape[0])
            first = out.failed
    free(placed)
    if not out.memory:
        raise MemoryError("no memory for the workspace of an update")
    return entry, (-1 if first == -1 else p.perm[first]), out.pivot, out.weakest


cdef int check_columns(const Pattern *p, const int64_t[::1] start,
                       const int32_t[::1] rows) except -1:
    cdef Py_ssize_t k
    cdef int64_t q
    if start.shape[0] < 1 or start[0] != 0 or start[start.shape[0] - 1] != rows.shape[0]:
        raise ValueError("update: the columns do not belong to the rows")
    for k in range(start.shape[0] - 1):
        if start[k + 1] < start[k]:
            raise ValueError("update: the columns do not belong to the rows")
    for q in range(rows.shape[0]):
        if not 0 <= rows[q] < p.n:
            raise ValueError("update: a row lies outside the matrix")
    return 0


cdef int64_t misfit(const Pattern *p, const Columns *c, const scalar *values,
                    int32_t *first) noexcept nogil:
    """The first nonzero of C that does not fit the pattern of L, and the first row of its column.

    The rows of a column of C must be among those of the column of L at the first of them. -1 if
    all fit, -2 if they do and their squares are beyond the largest number.
    """
    cdef scalar square = 0
    cdef Py_ssize_t k
    cdef int64_t q
    cdef int32_t s
    for k in range(c.count):
        first[0] = first_row(c, k, values)
        if first[0] == -1:
            continue
        s = supernode_of(p, first[0])
        for q in range(c.start[k], c.start[k + 1]):
            square = square + values[q] * conjugate(values[q])
            if values[q] != 0 and place_in_front(p, s, c.rows[q]) == -1:
                return q
    first[0] = -1
    return -1 if real(square) - real(square) == 0 else -2


def misfit_of_tree(const int64_t[::1] starts, const int32_t[::1] members,
                   const int32_t[::1] place, const int32_t[::1] parent,
                   const int64_t[::1] start, const int32_t[::1] rows, const scalar[::1] values):
    """The first nonzero of C for which elimination leaves no entry in L, and its first row.

    Panels have room for more, where columns of different branches were merged: what came there
    would be in no triangle of the order of the user.

    Parameters
    ----------
    starts, members : pattern of A, both triangles, sorted
    place : where each row is in an order
    parent : elimination tree in that order; None: only entries of A count
    start, rows, values : C by column, original rows

    Returns
    -------
    entry, row : -1 if all fit
    """
    cdef Py_ssize_t k
    cdef int64_t q, first
    for k in range(start.shape[0] - 1):
        first = -1
        for q in range(start[k], start[k + 1]):
            if values[q] != 0 and (first == -1 or place[rows[q]] < place[rows[first]]):
                first = q
        for q in range(start[k], start[k + 1]):
            if values[q] != 0 and rows[q] != rows[first] and place_in(
                    &members[0], starts[rows[q]], starts[rows[q] + 1], rows[first]) == -1 and (
                    parent is None or not fills(starts, members, place, parent, rows[q],
                                                place[rows[first]])):
                return q, rows[first]
    return -1, -1


cdef bint fills(const int64_t[::1] starts, const int32_t[::1] members, const int32_t[::1] place,
                const int32_t[::1] parent, int32_t row, int32_t column) noexcept:
    """Whether L has an entry: the column is above some entry of the row in the tree (Liu 1990)."""
    cdef int64_t q
    cdef int32_t k
    for q in range(starts[row], starts[row + 1]):
        k = place[members[q]]
        while k != -1 and k < column:
            k = parent[k]
        if k == column:
            return True
    return False


def nonzeros(const scalar[::1, :] vectors, dtype):
    """Start, rows and values of what is not zero in each column of an array, which has a dtype."""
    cdef Py_ssize_t n = vectors.shape[0], k = vectors.shape[1]
    cdef Py_ssize_t i, c
    cdef int64_t count = 0
    start_array = np.empty(k + 1, dtype=np.int64)
    cdef int64_t[::1] start = start_array
    with nogil:
        for c in range(k):
            start[c] = count
            for i in range(n):
                count += vectors[i, c] != 0
        start[k] = count
    row_array = np.empty(count, dtype=np.int32)
    value_array = np.empty(count, dtype=dtype)
    cdef int32_t[::1] rows = row_array
    cdef scalar[::1] values = value_array
    with nogil:
        count = 0
        for c in range(k):
            for i in range(n):
                if vectors[i, c] != 0:
                    rows[count] = <int32_t>i
                    values[count] = vectors[i, c]
                    count += 1
    return start_array, row_array, value_array


def add_products(const int64_t[::1] indptr, const int32_t[::1] indices, const int64_t[::1] start,
                 const int32_t[::1] rows, const scalar[::1] values, double sign,
                 scalar[::1] packed):
    """packed <- packed + sign C C^H, the lower triangle.

    Parameters
    ----------
    indptr, indices : pattern of the packed values
    start, rows, values : C by column, original rows
    packed : values of a matrix

    Returns
    -------
    bool
        Whether each entry of the product has its place; those that have none are left out.
    """
    cdef Py_ssize_t k
    cdef int64_t a, b, at
    cdef bint all_inside = True
    cdef scalar product
    for k in range(start.shape[0] - 1):
        for a in range(start[k], start[k + 1]):
            for b in range(start[k], start[k + 1]):
                if rows[a] < rows[b] or values[a] == 0 or values[b] == 0:
                    continue
                at = place_in(&indices[0], indptr[rows[b]], indptr[rows[b] + 1], rows[a])
                if at == -1:
                    all_inside = False
                else:
                    product = values[a] * conjugate(values[b])
                    if a == b:
                        product = real(product)
                    packed[at] = packed[at] + <scalar>sign * product
    return all_inside
