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

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int8_t, int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from sparsechol._core.numeric.dense cimport (
    ANY_SIGN, DOUBLE, DOUBLE_COMPLEX, DOWNDATE, FLOAT, FLOAT_COMPLEX, UPDATE, WIDTH, conjugate,
    kind_named, real, scalar, size_of, update_column, update_panel,
)
from sparsechol._core.numeric.packing cimport all_finite
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
    cdef int32_t least = -1
    cdef int r
    for r in range(count):
        if <uint32_t>at[r] < <uint32_t>least:       # -1 is the largest
            least = at[r]
    return least


cdef inline int32_t step(const Pattern *p, int32_t s, int32_t *at, int count) noexcept nogil:
    """Vectors that are in supernode s go to its parent; return the next one as `leftmost` does."""
    cdef int32_t up = p.parent[s], least = -1
    cdef int r
    for r in range(count):
        if at[r] == s:
            at[r] = up
        if <uint32_t>at[r] < <uint32_t>least:       # -1 is the largest
            least = at[r]
    return least


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
        s = step(p, s, at, v.count)


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
        s = step(p, s, v.at, v.count)
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
    # The vectors of a change, compressed by column, rows in the order of the kernels. They have no
    # zeros, and perhaps several entries in one row, which are summed. Their values go beside.
    Py_ssize_t count
    const int64_t *start
    const int32_t *rows


cdef int32_t first_row(const Columns *c, Py_ssize_t k) noexcept nogil:
    """The first row of a vector; -1 if it is empty."""
    cdef int64_t q
    cdef int32_t least = -1
    for q in range(c.start[k], c.start[k + 1]):
        if least == -1 or c.rows[q] < least:
            least = c.rows[q]
    return least


cdef Vectors set_out(const Pattern *p, const Columns *c, Py_ssize_t begin, int form, double sign,
                     const int8_t *expected, double least) noexcept nogil:
    """Up to WIDTH vectors, each in the supernode of its first row."""
    cdef Vectors v
    cdef int r
    cdef int32_t row
    v.count = <int>min(<Py_ssize_t>WIDTH, c.count - begin)
    v.form, v.expected, v.least, v.weakest = form, expected, least, 1
    for r in range(v.count):
        v.signs[r] = sign
        row = first_row(c, begin + r)
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
    int64_t entry               # the first that does not fit, and nothing was done; see `update`
    int32_t failed              # column whose pivot is refused, -1 if none
    double pivot                # that pivot
    double weakest              # the smallest pivot, relative to its terms
    bint memory                 # whether there was enough


cdef struct Rule:
    # Which rotations there are, and which pivots are refused.
    int form
    double sign
    const int8_t *expected
    double least


cdef Outcome change(const Pattern *p, scalar *l, const Columns *c, const scalar *values,
                    const Rule *rule, scalar *work, Py_ssize_t size,
                    scalar *memory) noexcept nogil:
    """Take all vectors into the factor. Where a pivot is refused the factor is as it was.

    memory : (n, WIDTH) zeros, which they are again unless a pivot is refused, and WIDTH vectors on
        the tallest front.
    """
    cdef Outcome out = Outcome(entry=-1, failed=-1, pivot=0, weakest=1, memory=True)
    cdef Saved saved
    cdef Vectors v
    cdef Py_ssize_t begin = 0
    cdef int64_t supernodes = 0, entries = 0
    cdef scalar *dense = memory + <Py_ssize_t>WIDTH * p.n
    memset(&saved, 0, sizeof(saved))
    out.entry = misfit(p, c, values, &out.failed)
    if out.entry != -1:
        return out
    if rule.form != UPDATE:
        while begin < c.count:
            v = set_out(p, c, begin, rule.form, rule.sign, rule.expected, rule.least)
            count_paths(p, &v, &supernodes, &entries)
            begin += WIDTH
    if entries:
        saved.panels = work if entries <= size else malloc(sizeof(scalar) * entries)
        saved.supernodes = <int32_t *>malloc(sizeof(int32_t) * supernodes + 1)
        out.memory = saved.panels != NULL and saved.supernodes != NULL
    begin = 0
    while out.memory and begin < c.count and out.failed == -1:
        v = set_out(p, c, begin, rule.form, rule.sign, rule.expected, rule.least)
        spread(c, values, begin, v.count, memory)
        out.failed = walk(p, &v, l, memory, dense, &saved)
        out.weakest = min(out.weakest, v.weakest)
        begin += WIDTH
    if out.failed != -1:
        out.pivot = pivot_of(p, <const scalar *>l, out.failed)
        restore(p, l, &saved)
    if saved.panels != <void *>work:
        free(saved.panels)
    free(saved.supernodes)
    return out


cdef double pivot_of(const Pattern *p, const scalar *l, int32_t column) noexcept nogil:
    """The pivot whose root, with its sign, stands on the diagonal."""
    cdef int32_t s = supernode_of(p, column), j = column - p.first[s]
    cdef double root = real(l[p.panel[s] + j * (front_rows(p, s) + 1)])
    return root * abs(root)


cdef int64_t misfit(const Pattern *p, const Columns *c, const scalar *values,
                    int32_t *first) noexcept nogil:
    """The first entry of C that does not fit the pattern of L, and the first row of its column.

    The rows of a column of C must be among those of the column of L at the first of them. -1 if
    all fit, -2 if they do and their squares are beyond the largest number.
    """
    cdef scalar square = 0
    cdef Py_ssize_t k
    cdef int64_t q
    cdef int32_t s
    for k in range(c.count):
        first[0] = first_row(c, k)
        if first[0] == -1:
            continue
        s = supernode_of(p, first[0])
        for q in range(c.start[k], c.start[k + 1]):
            square = square + values[q] * conjugate(values[q])
            if place_in_front(p, s, c.rows[q]) == -1:
                return q
    first[0] = -1
    return -1 if real(square) - real(square) == 0 else -2


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


cdef bint add_products(const int64_t *indptr, const int32_t *indices, const Columns *c,
                       const scalar *values, double sign, scalar *packed) noexcept:
    """packed <- packed + sign C C^H, the lower triangle; whether each entry has its place there."""
    cdef Py_ssize_t k
    cdef int64_t a, b, at
    cdef bint all_inside = True
    cdef scalar product
    for k in range(c.count):
        for a in range(c.start[k], c.start[k + 1]):
            for b in range(c.start[k], c.start[k + 1]):
                if c.rows[a] < c.rows[b]:
                    continue
                at = place_in(indices, indptr[c.rows[b]], indptr[c.rows[b] + 1], c.rows[a])
                if at == -1:
                    all_inside = False
                else:
                    product = values[a] * conjugate(values[b])
                    if a == b:
                        product = real(product)
                    packed[at] = packed[at] + <scalar>sign * product
    return all_inside


# ---- called from Python ----

ctypedef fused index:
    int32_t
    int64_t


cdef dict DTYPES = {FLOAT: np.dtype(np.float32), DOUBLE: np.dtype(np.float64),
                    FLOAT_COMPLEX: np.dtype(np.complex64), DOUBLE_COMPLEX: np.dtype(np.complex128)}
cdef int READ = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT
cdef int WRITE = READ | PyBUF_WRITABLE


cdef class Change:
    """The vectors of a change: a checked copy of the nonzeros of C, by column.

    Parameters
    ----------
    indptr, indices : both int32 or both int64 ndarray, contiguous
    data : ndarray of one of the four types, contiguous
    n : int
        Rows of C.
    """

    cdef Columns columns
    cdef int64_t *starts
    cdef int32_t *numbers
    cdef void *values
    cdef int kind

    def __cinit__(self, indptr, indices, data, int64_t n):
        cdef Py_buffer starts, rows, values
        cdef Py_ssize_t room
        PyObject_GetBuffer(indptr, &starts, READ)
        PyObject_GetBuffer(indices, &rows, READ)
        PyObject_GetBuffer(data, &values, READ)
        self.kind = kind_named(values.format)
        self.columns.count = starts.len // starts.itemsize - 1
        room = rows.len // rows.itemsize
        try:
            if (self.kind == -1 or starts.ndim != 1 or rows.ndim != 1 or values.ndim != 1
                    or not are_integers(&starts) or not are_integers(&rows)
                    or starts.itemsize != rows.itemsize
                    or values.len != room * size_of(self.kind) or self.columns.count < 0):
                raise ValueError("Change: the arrays do not belong to each other")
            self.starts = <int64_t *>malloc(sizeof(int64_t) * (self.columns.count + 1))
            self.numbers = <int32_t *>malloc(sizeof(int32_t) * room + 1)
            self.values = malloc(values.len + 1)
            if self.starts == NULL or self.numbers == NULL or self.values == NULL:
                raise MemoryError("no memory for the vectors of a change")
            self.columns.start, self.columns.rows = self.starts, self.numbers
            if not (copy_kind(self, <const int32_t *>starts.buf, <const int32_t *>rows.buf, room,
                              values.buf, n) if starts.itemsize == 4 else
                    copy_kind(self, <const int64_t *>starts.buf, <const int64_t *>rows.buf, room,
                              values.buf, n)):
                raise ValueError("Change: a row lies outside the matrix, or columns overlap")
        finally:
            PyBuffer_Release(&starts)
            PyBuffer_Release(&rows)
            PyBuffer_Release(&values)

    def __dealloc__(self):
        free(self.starts)
        free(self.numbers)
        free(self.values)

    @property
    def count(self):
        """Number of vectors."""
        return self.columns.count

    @property
    def start(self):
        """(count + 1,) int64 ndarray."""
        return copied(self.starts, self.columns.count + 1, np.int64)

    @property
    def rows(self):
        """int32 ndarray."""
        return copied(self.numbers, self.starts[self.columns.count], np.int32)

    @property
    def data(self):
        """The values."""
        return copied(self.values, self.starts[self.columns.count], DTYPES[self.kind])

    def is_finite(self):
        """Whether no value is NaN or infinite."""
        cdef Py_ssize_t length = self.starts[self.columns.count]
        if self.kind == DOUBLE:
            return bool(all_finite(<const double *>self.values, length))
        elif self.kind == FLOAT:
            return bool(all_finite(<const float *>self.values, length))
        elif self.kind == DOUBLE_COMPLEX:
            return bool(all_finite(<const double complex *>self.values, length))
        return bool(all_finite(<const float complex *>self.values, length))


cdef bint are_integers(const Py_buffer *view) noexcept:
    """Whether numbers are int32 or int64, in native order."""
    cdef char letter = view.format[0]
    return (view.format[1] == 0 and (letter == b"i" or letter == b"l" or letter == b"q")
            and (view.itemsize == 4 or view.itemsize == 8))


cdef object copied(const void *source, Py_ssize_t length, dtype):
    """The numbers at an address as an ndarray."""
    cdef Py_buffer view
    array = np.empty(length, dtype)
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
    memcpy(view.buf, source, view.len)
    PyBuffer_Release(&view)
    return array


cdef bint copy_kind(Change change, const index *starts, const index *rows, Py_ssize_t room,
                    const void *values, int64_t n) noexcept:
    if change.kind == DOUBLE:
        return copy_nonzeros(change, starts, rows, room, <const double *>values, n)
    elif change.kind == FLOAT:
        return copy_nonzeros(change, starts, rows, room, <const float *>values, n)
    elif change.kind == DOUBLE_COMPLEX:
        return copy_nonzeros(change, starts, rows, room, <const double complex *>values, n)
    return copy_nonzeros(change, starts, rows, room, <const float complex *>values, n)


cdef bint copy_nonzeros(Change change, const index *starts, const index *rows, Py_ssize_t room,
                        const scalar *values, int64_t n) noexcept:
    """Copy what is not zero; False where the arrays are no compressed columns of n rows."""
    cdef scalar *out = <scalar *>change.values
    cdef Py_ssize_t k
    cdef int64_t q, count = 0
    if starts[0] != 0:
        return False
    for k in range(change.columns.count):
        change.starts[k] = count
        if not starts[k] <= starts[k + 1] <= room:
            return False
        for q in range(starts[k], starts[k + 1]):
            if not 0 <= rows[q] < n:
                return False
            change.numbers[count] = <int32_t>rows[q]
            out[count] = values[q]
            count += values[q] != 0
    change.starts[change.columns.count] = count
    return True


cdef class Changer:
    """Changes the factor of one matrix, and keeps the memory for it.

    Parameters
    ----------
    structure : Structure
    place : (n,) where each row is in the order of the kernels
    starts, members : pattern of A, both triangles, sorted
    indptr, indices : the lower one
    """

    cdef Structure structure
    cdef const int32_t[::1] place, members, indices
    cdef const int64_t[::1] starts, indptr
    cdef void *memory               # see `change`; NULL: none yet, or in use
    cdef Py_ssize_t room            # its bytes

    def __cinit__(self, Structure structure, const int32_t[::1] place, const int64_t[::1] starts,
                  const int32_t[::1] members, const int64_t[::1] indptr,
                  const int32_t[::1] indices):
        cdef Py_ssize_t n = structure.pattern.n
        self.structure, self.place = structure, place
        self.starts, self.members = starts, members
        self.indptr, self.indices = indptr, indices
        if (place.shape[0] != n or starts.shape[0] != n + 1 or indptr.shape[0] != n + 1
                or starts[n] != members.shape[0] or indptr[n] != indices.shape[0]):
            raise ValueError("Changer: arrays do not belong to this structure")

    def __dealloc__(self):
        free(self.memory)

    def misfit(self, Change change, const int32_t[::1] place=None, const int32_t[::1] parent=None):
        """The first entry of C for which elimination leaves no entry in L, and its first row.

        Panels have room for more, where columns of different branches were merged: what came there
        would be in no triangle of the order of the user.

        Parameters
        ----------
        change : Change
        place : (n,) where each row is in an order; None: in that of the kernels
        parent : elimination tree in that order; None: only entries of A count

        Returns
        -------
        entry, row : -1 if all fit
        """
        cdef const Columns *c = &change.columns
        cdef const int32_t *rows = c.rows
        cdef Py_ssize_t k
        cdef int64_t q, first
        if place is None:
            place = self.place
        for k in range(c.count):
            first = -1
            for q in range(c.start[k], c.start[k + 1]):
                if first == -1 or place[rows[q]] < place[rows[first]]:
                    first = q
            for q in range(c.start[k], c.start[k + 1]):
                if rows[q] != rows[first] and place_in(
                        &self.members[0], self.starts[rows[q]], self.starts[rows[q] + 1],
                        rows[first]) == -1 and (
                        parent is None or not fills(self.starts, self.members, place, parent,
                                                    rows[q], place[rows[first]])):
                    return q, rows[first]
        return -1, -1

    def update(self, panels, Change change, double sign, bint any_sign, double least, work,
               expected=None, bint placed=False):
        """L S L^H <- L S L^H + sign C C^H, in place.

        Parameters
        ----------
        panels : (1, structure.size) panels of L
        change : Change
        sign : 1 or -1
        any_sign : whether pivots may be negative
        least : a pivot no larger than this part of its terms is refused
        work : workspace of any size, where panels are saved if it is large enough
        expected : (n,) int8 sign of each pivot, in the order of the kernels; None: any
        placed : whether the rows of C are in the order of the kernels

        Returns
        -------
        entry : number of the first nonzero of C that does not fit the pattern of L, and nothing
            was done; -2 where squares are beyond the largest number; else -1
        row : original row of the pivot that is refused, the factor is then as it was; -1 if none.
            Of an entry that does not fit, the first row of its column
        pivot : that pivot
        weakest : the smallest pivot, relative to its terms
        """
        cdef const Pattern *p = &self.structure.pattern
        cdef Py_buffer l, space, signs
        cdef Rule rule = Rule(form=ANY_SIGN if any_sign else UPDATE if sign > 0 else DOWNDATE,
                              sign=sign, expected=NULL, least=least)
        cdef Outcome out
        cdef bint fit
        PyObject_GetBuffer(panels, &l, WRITE)
        PyObject_GetBuffer(work, &space, WRITE)
        if expected is not None:
            PyObject_GetBuffer(expected, &signs, READ)
            rule.expected = <const int8_t *>signs.buf
        try:
            fit = (kind_named(l.format) == kind_named(space.format) == change.kind
                   and l.len == p.size * size_of(change.kind)
                   and (expected is None or signs.itemsize == 1 and signs.len == p.n))
            if not fit:
                raise ValueError("Changer: arrays do not belong to this structure")
            out = self.run(l.buf, change, &rule, space.buf, space.len, placed)
        finally:
            PyBuffer_Release(&l)
            PyBuffer_Release(&space)
            if expected is not None:
                PyBuffer_Release(&signs)
        if not out.memory:
            raise MemoryError("no memory for the workspace of an update")
        return out.entry, (-1 if out.failed == -1 else p.perm[out.failed]), out.pivot, out.weakest

    cdef Outcome run(self, void *l, Change vectors, const Rule *rule, void *work,
                     Py_ssize_t space, bint placed) except *:
        """Take vectors into the factor with memory that nobody else has meanwhile."""
        cdef const Pattern *p = &self.structure.pattern
        cdef Py_ssize_t bytes = size_of(vectors.kind), q, length
        cdef Py_ssize_t room = bytes * WIDTH * (<Py_ssize_t>p.n + p.tallest)
        cdef Columns c = vectors.columns
        cdef Outcome out = Outcome(entry=-1, failed=-1, pivot=0, weakest=1, memory=False)
        cdef int32_t *rows = NULL
        cdef void *memory = self.memory if self.room == room else NULL
        length = c.start[c.count]
        if length == 0:
            out.memory = True
            return out
        if not placed:
            rows = <int32_t *>malloc(sizeof(int32_t) * length)
            if rows == NULL:
                return out
            for q in range(length):
                rows[q] = self.place[c.rows[q]]
            c.rows = rows
        if memory != NULL:
            self.memory = NULL
        else:
            memory = calloc(room, 1)
        if memory != NULL:
            with nogil:
                out = change_kind(p, vectors.kind, l, &c, vectors.values, rule, work,
                                  space // bytes, memory)
        free(rows)
        if out.memory and out.failed == -1 and self.memory == NULL:
            self.memory, self.room = memory, room
        else:
            free(memory)
        return out

    def add_products(self, Change change, double sign, packed):
        """Add sign C C^H to the packed values of A, (1, nnz) or none; whether all had a place."""
        cdef const Columns *c = &change.columns
        cdef Py_buffer values
        cdef const int32_t *indices
        cdef bint inside
        if packed.size == 0:
            return False
        PyObject_GetBuffer(packed, &values, WRITE)
        try:
            if (kind_named(values.format) != change.kind
                    or values.len != self.indices.shape[0] * size_of(change.kind)):
                raise ValueError("Changer: arrays do not belong to this structure")
            indices = &self.indices[0]
            if change.kind == DOUBLE:
                inside = add_products(&self.indptr[0], indices, c, <const double *>change.values,
                                      sign, <double *>values.buf)
            elif change.kind == FLOAT:
                inside = add_products(&self.indptr[0], indices, c, <const float *>change.values,
                                      sign, <float *>values.buf)
            elif change.kind == DOUBLE_COMPLEX:
                inside = add_products(&self.indptr[0], indices, c,
                                      <const double complex *>change.values, sign,
                                      <double complex *>values.buf)
            else:
                inside = add_products(&self.indptr[0], indices, c,
                                      <const float complex *>change.values, sign,
                                      <float complex *>values.buf)
        finally:
            PyBuffer_Release(&values)
        return inside


cdef Outcome change_kind(const Pattern *p, int kind, void *l, const Columns *c, const void *values,
                         const Rule *rule, void *work, Py_ssize_t size,
                         void *memory) noexcept nogil:
    if kind == DOUBLE:
        return change(p, <double *>l, c, <const double *>values, rule, <double *>work, size,
                      <double *>memory)
    elif kind == FLOAT:
        return change(p, <float *>l, c, <const float *>values, rule, <float *>work, size,
                      <float *>memory)
    elif kind == DOUBLE_COMPLEX:
        return change(p, <double complex *>l, c, <const double complex *>values, rule,
                      <double complex *>work, size, <double complex *>memory)
    return change(p, <float complex *>l, c, <const float complex *>values, rule,
                  <float complex *>work, size, <float complex *>memory)


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
    row_array = np.empty(count, dtype=np.int64)
    value_array = np.empty(count, dtype=dtype)
    cdef int64_t[::1] rows = row_array
    cdef scalar[::1] values = value_array
    with nogil:
        count = 0
        for c in range(k):
            for i in range(n):
                if vectors[i, c] != 0:
                    rows[count] = i
                    values[count] = vectors[i, c]
                    count += 1
    return start_array, row_array, value_array
