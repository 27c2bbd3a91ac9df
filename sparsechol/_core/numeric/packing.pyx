"""Values on their way in and out: user's matrix <-> packed lower triangle <-> flat panels.

The packed values of a pattern are its lower triangle by column, sorted, diagonal included. A
compressed matrix (CSC or CSR) reaches them in one of two orientations:

    major is the column    CSC with lower=True, CSR with lower=False    rows >= major are read
    major is the row       CSR with lower=True, CSC with lower=False    columns <= major are read

With lower=False an entry above the diagonal stands for the conjugate of the one below it.
"""

from libc.math cimport fabs, sqrt
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

import numpy as np

from sparsechol._core.numeric.dense cimport (
    DOUBLE, DOUBLE_COMPLEX, FLOAT, conjugate, element, lanes, number, real, scalar,
)
from sparsechol._core.symbolic.structure cimport (
    Pattern, Structure, front_rows, place_in_front, supernode_of,
)

ctypedef fused index:
    int32_t
    int64_t


def pack(const int64_t[::1] indptr, const int32_t[::1] indices, const int64_t[::1] starts,
         const index[::1] minors, const scalar[::1] data, bint major_is_column, bint conjugated,
         scalar[::1] packed):
    """Add the entries of a compressed matrix to `packed`, in the order of (indptr, indices).

    Returns
    -------
    (row, column) of the lower triangle of the first nonzero outside the pattern, or (-1, -1).
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1
    cdef Py_ssize_t major
    cdef int64_t p, k = 0
    cdef int64_t minor
    cdef scalar value
    # How far each column of the pattern has been read, if major is the row.
    cdef int64_t[::1] place = np.array(indptr[:0 if major_is_column else n])
    cdef int64_t stray_major = -1, stray_minor = -1
    if indices.shape[0] != indptr[n] or packed.shape[0] != indptr[n]:
        raise ValueError("pack: pattern and packed values do not have one length")
    if starts.shape[0] != n + 1 or minors.shape[0] < starts[n] or data.shape[0] < starts[n]:
        raise ValueError("pack: arrays do not belong to one compressed matrix")
    if major_is_column and not conjugated and same_pattern(indptr, indices, starts, minors):
        with nogil:
            for p in range(indptr[n]):
                packed[p] = packed[p] + data[p]
        return -1, -1
    with nogil:
        for major in range(n):
            if major_is_column:
                k = indptr[major]
            for p in range(starts[major], starts[major + 1]):
                minor = minors[p]
                if (minor < major) if major_is_column else (minor > major):
                    continue
                value = data[p]
                if major_is_column:
                    # It is the same entry of the column as before, or the next, or searched for.
                    k += indices[k] != minor and k + 1 < indptr[major + 1]
                    if indices[k] != minor:
                        k = search(indices, indptr[major], indptr[major + 1], minor)
                else:
                    k = place[minor]
                    while k < indptr[minor + 1] and indices[k] < major:
                        k += 1
                    place[minor] = k
                    if k == indptr[minor + 1] or indices[k] != major:
                        k = -1
                if k >= 0:
                    packed[k] = packed[k] + (conjugate(value) if conjugated else value)
                elif value != 0:
                    stray_major = major
                    stray_minor = minor
                    break
                else:
                    k = indptr[major]
            if stray_major >= 0:
                break
    return (stray_minor, stray_major) if major_is_column else (stray_major, stray_minor)


cdef bint same_pattern(const int64_t[::1] indptr, const int32_t[::1] indices,
                       const int64_t[::1] starts, const index[::1] minors) noexcept nogil:
    """Whether a compressed matrix has the pattern itself, in its order."""
    cdef Py_ssize_t j
    cdef int64_t p, unequal = 0
    for j in range(indptr.shape[0]):
        unequal += indptr[j] != starts[j]
    if unequal:
        return False
    for p in range(indices.shape[0]):
        unequal += indices[p] != minors[p]
    return unequal == 0


cdef inline int64_t search(const int32_t[::1] indices, int64_t begin, int64_t end,
                           int64_t row) noexcept nogil:
    """Place of a row in a sorted column, or -1."""
    cdef int64_t middle
    while end - begin > 1:
        middle = (begin + end) // 2
        if indices[middle] <= row:
            begin = middle
        else:
            end = middle
    return begin if indices[begin] == row else -1


def off_diagonal(const int64_t[::1] starts, const index[::1] minors, const scalar[::1] data,
                 bint major_is_column):
    """What the two triangles of a compressed matrix hold off the diagonal.

    Returns
    -------
    read, other : 0 for no entry, 1 for stored zeros alone, 2 for a nonzero. The search ends with
        the first nonzero of the triangle that is read, mostly the first entry of all.
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef Py_ssize_t major
    cdef int64_t p
    cdef int read = 0, other = 0, found
    if n < 0 or minors.shape[0] < starts[n] or data.shape[0] < starts[n]:
        raise ValueError("off_diagonal: arrays do not belong to one compressed matrix")
    with nogil:
        for major in range(n):
            for p in range(starts[major], starts[major + 1]):
                found = 2 if data[p] != 0 else 1
                if minors[p] == major:
                    continue
                elif (minors[p] > major) == major_is_column:
                    read = max(read, found)
                else:
                    other = max(other, found)
                if read == 2:
                    break
            if read == 2:
                break
    return read, other


cdef inline double modulus(scalar x) noexcept nogil:
    """The sum of the absolute values of the parts."""
    if scalar is floatcomplex or scalar is doublecomplex:
        return fabs(x.real) + fabs(x.imag)
    else:
        return fabs(x)


def mirrored(const int64_t[::1] indptr, const int32_t[::1] indices, const scalar[::1] packed,
             const int64_t[::1] starts, const index[::1] minors, const scalar[::1] data,
             bint major_is_column, bint conjugated, double relative, double absolute):
    """Whether the triangle that was not packed has no entry, or agrees with the packed one.

    Two values agree if they differ by at most `relative` times the larger of them, or by `absolute`
    times the roots of the diagonal entries of their row and column. The answer is False, too, where
    that takes a closer look: entries are repeated, or there in one triangle only.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1
    cdef Py_ssize_t major, row, column
    cdef int64_t p, k, count = 0
    cdef double difference
    cdef scalar value
    cdef bint agree = True
    cdef int64_t[::1] place = np.array(indptr[:n])      # how far each column has been compared
    if indices.shape[0] != indptr[n] or packed.shape[0] != indptr[n]:
        raise ValueError("mirrored: pattern and packed values do not fit")
    if starts.shape[0] != n + 1 or minors.shape[0] < starts[n] or data.shape[0] < starts[n]:
        raise ValueError("mirrored: arrays do not belong to one compressed matrix")
    with nogil:
        for major in range(n):
            for p in range(starts[major], starts[major + 1]):
                if minors[p] == major or (minors[p] > major) == major_is_column:
                    continue
                row = max(<Py_ssize_t>minors[p], major)
                column = min(<Py_ssize_t>minors[p], major)
                k = place[column]
                while k < indptr[column + 1] and indices[k] < row:
                    k += 1
                place[column] = k + 1
                if k >= indptr[column + 1] or indices[k] != row:
                    agree = False
                    break
                count += 1
                value = conjugate(data[p]) if conjugated else data[p]
                if value == packed[k]:
                    continue
                difference = modulus(<scalar>(value - packed[k]))
                agree = (difference <= relative * max(modulus(value), modulus(packed[k]))
                         or difference <= (absolute * sqrt(fabs(real(packed[indptr[row]])))
                                           * sqrt(fabs(real(packed[indptr[column]])))))
                if not agree:
                    break
            if not agree:
                break
    return agree and (count == 0 or count == indptr[n] - n)


cdef bint all_finite(const scalar *x, Py_ssize_t length) noexcept nogil:
    """Whether no exponent has all its bits set; adding its lowest bit then reaches the sign."""
    cdef const uint32_t *short_words = <const uint32_t *>x
    cdef const uint64_t *long_words = <const uint64_t *>x
    cdef uint32_t short_bad = 0
    cdef uint64_t long_bad = 0
    cdef Py_ssize_t i
    if scalar is floatcomplex or scalar is doublecomplex:
        length *= 2
    if scalar is float or scalar is floatcomplex:
        for i in range(length):
            short_bad |= (short_words[i] & <uint32_t>0x7f800000) + <uint32_t>0x00800000
    else:
        for i in range(length):
            long_bad |= ((long_words[i] & <uint64_t>0x7ff0000000000000)
                         + <uint64_t>0x0010000000000000)
    return (short_bad >> 31 | long_bad >> 63) == 0


def first_nonfinite(const scalar[::1] values):
    """Position of the first NaN or infinity, or -1."""
    cdef Py_ssize_t length, i = 0
    with nogil:
        while i < values.shape[0]:
            length = min(<Py_ssize_t>256, values.shape[0] - i)
            if not all_finite(&values[i], length):
                while all_finite(&values[i], 1):
                    i += 1
                break
            i += length
        else:
            i = -1
    return i


cdef void gather_supernodes(const Pattern *p, int32_t begin, int32_t end, const element *flat,
                            double diagonal, double below, element *packed) noexcept nogil:
    """packed <- the entries on the pattern of A of the panels from `begin` to `end`, weighed."""
    cdef int32_t s, j
    cdef int64_t q, source, rows
    cdef double weight
    cdef element value
    flat += p.panel[begin]
    for s in range(begin, end):
        rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
        for j in range(p.first[s], p.first[s + 1]):
            weight = diagonal           # the first entry of a column is on it
            for q in range(p.entry_start[j], p.entry_start[j + 1]):
                source = p.entry_source[q]
                value = flat[p.entry_row[q]]
                if element is floatcomplex or element is doublecomplex:
                    if source < 0:
                        value = conjugate(value)
                packed[source ^ (source >> 63)] = times(weight, value)
                weight = below
            flat += rows


cdef inline element times(double weight, element x) noexcept nogil:
    if element in lanes:
        return number(weight, &x) * x
    else:
        return <element>(x * weight)


cdef void gather_panels(const Pattern *p, const scalar *flat, double diagonal, double below,
                        scalar *packed) noexcept nogil:
    """packed <- the entries of flat panels on the pattern of A, weighed."""
    gather_supernodes(p, 0, p.nsuper, flat, diagonal, below, packed)


cdef void gather_kind(const Pattern *p, int kind, const void *flat, double diagonal, double below,
                      void *packed) noexcept nogil:
    """The same for a type of scalars."""
    if kind == DOUBLE:
        gather_panels(p, <const double *>flat, diagonal, below, <double *>packed)
    elif kind == FLOAT:
        gather_panels(p, <const float *>flat, diagonal, below, <float *>packed)
    elif kind == DOUBLE_COMPLEX:
        gather_panels(p, <const double complex *>flat, diagonal, below, <double complex *>packed)
    else:
        gather_panels(p, <const float complex *>flat, diagonal, below, <float complex *>packed)


cdef void scatter_panels(const Pattern *p, const scalar *packed, double diagonal, double below,
                         scalar *flat) noexcept nogil:
    """flat <- values on the pattern of A, weighed, and zeros elsewhere: the adjoint."""
    cdef int32_t s, j
    cdef int64_t q, source, rows
    cdef double weight
    memset(flat, 0, sizeof(scalar) * p.size)
    for s in range(p.nsuper):
        rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
        for j in range(p.first[s], p.first[s + 1]):
            weight = diagonal
            for q in range(p.entry_start[j], p.entry_start[j + 1]):
                source = p.entry_source[q]
                if source >= 0:
                    flat[p.entry_row[q]] = <scalar>(packed[source] * weight)
                else:
                    flat[p.entry_row[q]] = <scalar>(conjugate(packed[~source]) * weight)
                weight = below
            flat += rows


cdef void weigh_entries(const Pattern *p, const scalar *flat, double diagonal, double below,
                        scalar *out) noexcept nogil:
    """out <- flat panels, weighed, with a real diagonal and zeros above it."""
    cdef Py_ssize_t i, j, rows
    cdef int32_t s, nc
    for s in range(p.nsuper):
        nc = p.first[s + 1] - p.first[s]
        rows = nc + p.row_start[s + 1] - p.row_start[s]
        for j in range(nc):
            memset(out, 0, sizeof(scalar) * j)
            out[j] = <scalar>(real(flat[j]) * diagonal)
            for i in range(j + 1, rows):
                out[i] = <scalar>(flat[i] * below)
            flat += rows
            out += rows


cdef void turn_panels(const Pattern *p, const scalar *l, const scalar *flat,
                      scalar *out) noexcept nogil:
    """out <- X S, S the signs of the diagonal of L; a real diagonal and zeros above it."""
    cdef Py_ssize_t i, j, rows
    cdef int32_t s, nc
    cdef int sign
    for s in range(p.nsuper):
        nc = p.first[s + 1] - p.first[s]
        rows = nc + p.row_start[s + 1] - p.row_start[s]
        for j in range(nc):
            sign = -1 if real(l[j]) < 0 else 1
            memset(out, 0, sizeof(scalar) * j)
            out[j] = <scalar>(real(flat[j]) * sign)
            for i in range(j + 1, rows):
                out[i] = <scalar>(flat[i] * sign)
            l += rows
            flat += rows
            out += rows


cdef void read_diagonal(const Pattern *p, const scalar *flat, void *out) noexcept nogil:
    """out, real and in the precision of flat: out[original row] <- the diagonal of flat panels."""
    cdef int32_t s, j
    cdef int64_t rows
    for s in range(p.nsuper):
        rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
        for j in range(p.first[s], p.first[s + 1]):
            if scalar is float or scalar is floatcomplex:
                (<float *>out)[p.perm[j]] = <float>real(flat[0])
            else:
                (<double *>out)[p.perm[j]] = real(flat[0])
            flat += rows + 1
        flat -= p.first[s + 1] - p.first[s]


cdef void write_diagonal(const Pattern *p, const void *rows, scalar *flat) noexcept nogil:
    """flat <- panels with the diagonal rows[original row], and zeros elsewhere."""
    cdef int32_t s, j
    cdef int64_t height
    memset(flat, 0, sizeof(scalar) * p.size)
    for s in range(p.nsuper):
        height = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
        for j in range(p.first[s], p.first[s + 1]):
            if scalar is float or scalar is floatcomplex:
                flat[0] = <scalar>(<const float *>rows)[p.perm[j]]
            else:
                flat[0] = <scalar>(<const double *>rows)[p.perm[j]]
            flat += height + 1
        flat -= p.first[s + 1] - p.first[s]


cdef void read_places(const scalar *flat, const int64_t *position, Py_ssize_t count,
                      scalar *out) noexcept nogil:
    """out <- entries of flat panels at the positions of `find_entries`; ABSENT ones are left."""
    cdef Py_ssize_t k
    cdef int64_t at
    for k in range(count):
        at = position[k]
        if at >= 0:
            out[k] = flat[at]
        elif at != INT64_MIN:
            out[k] = conjugate(flat[~at])


cdef void write_places(Py_ssize_t size, const scalar *values, const int64_t *position,
                       Py_ssize_t count, scalar *flat) noexcept nogil:
    """flat <- values at these positions, none of which is ABSENT, and zeros elsewhere."""
    cdef Py_ssize_t k
    cdef int64_t at
    memset(flat, 0, sizeof(scalar) * size)
    for k in range(count):
        at = position[k]
        if at >= 0:
            flat[at] = values[k]
        else:
            flat[~at] = conjugate(values[k])


cdef void unfold(const int64_t *indptr, Py_ssize_t n, const int64_t *sources, Py_ssize_t count,
                 const scalar *packed, double diagonal, double below, scalar *full) noexcept nogil:
    """full <- both triangles from the packed one, weighed; see `expand` for the sources."""
    cdef Py_ssize_t j = 0, q
    cdef int64_t source
    for q in range(count):
        source = sources[q]
        if j < n and source == indptr[j]:       # the columns come one after another
            full[q] = <scalar>(real(packed[source]) * diagonal)
            j += 1
        elif source >= 0:
            full[q] = <scalar>(packed[source] * below)
        else:
            full[q] = <scalar>(conjugate(packed[~source]) * below)


cdef void fold(const int64_t *indptr, Py_ssize_t n, const int64_t *sources, Py_ssize_t count,
               const scalar *full, double diagonal, double below, scalar *packed) noexcept nogil:
    """packed <- the sum of both triangles, weighed: the adjoint of `unfold`."""
    cdef Py_ssize_t j = 0, q
    cdef int64_t source
    memset(packed, 0, sizeof(scalar) * indptr[n])
    for q in range(count):
        source = sources[q]
        if j < n and source == indptr[j]:
            packed[source] = <scalar>(real(full[q]) * diagonal)
            j += 1
        elif source >= 0:
            packed[source] = packed[source] + <scalar>(full[q] * below)
        else:
            packed[~source] = packed[~source] + <scalar>(conjugate(full[q]) * below)


def gather_values(Structure structure, const scalar[:, ::1] flat, scalar[:, ::1] packed,
                  double diagonal=1, double below=1):
    """packed <- the entries of flat panels on the pattern of A, for each matrix of a batch.

    diagonal, below : weights of the entries on and below the diagonal.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t k
    if (flat.shape[1] != p.size or packed.shape[0] != flat.shape[0]
            or packed.shape[1] != p.nnz):
        raise ValueError("gather_values: arrays do not belong to this structure")
    if p.n == 0:
        return
    with nogil:
        for k in range(flat.shape[0]):
            gather_panels(p, &flat[k, 0], diagonal, below, &packed[k, 0])


def expand(const scalar[::1] packed, const int64_t[::1] sources, scalar[::1] out):
    """out[q] <- packed[sources[q]], or the conjugate where the source is complemented."""
    cdef Py_ssize_t q
    cdef int64_t source
    if out.shape[0] != sources.shape[0]:
        raise ValueError("expand: arrays do not have one length")
    with nogil:
        for q in range(sources.shape[0]):
            source = sources[q]
            out[q] = packed[source] if source >= 0 else conjugate(packed[~source])


def gather_factor(Structure structure, const scalar[::1] flat, const int32_t[::1] post,
                  const int64_t[::1] starts, const int32_t[::1] members, scalar[::1] out):
    """out <- the entries of flat panels at (members, column), a pattern inside that of L.

    `post[k]` is the column of (starts, members) that the k-th column of the structure is.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t n = p.n
    cdef int32_t s, j, nc
    cdef int64_t q
    cdef const scalar *column
    inverse_array = np.empty(n, dtype=np.int32)
    inverse_array[np.asarray(post)] = np.arange(n, dtype=np.int32)
    cdef const int32_t[::1] inverse = inverse_array
    cdef int32_t[::1] place = np.empty(n, dtype=np.int32)
    if (flat.shape[0] != p.size or starts.shape[0] != n + 1 or members.shape[0] < starts[n]
            or out.shape[0] != members.shape[0]):
        raise ValueError("gather_factor: arrays do not belong to this structure")
    if n == 0:
        return
    with nogil:
        for s in range(p.nsuper):
            nc = p.first[s + 1] - p.first[s]
            for j in range(nc):
                place[p.first[s] + j] = j
            for q in range(p.row_start[s], p.row_start[s + 1]):
                place[p.rows[q]] = nc + <int32_t>(q - p.row_start[s])
            column = &flat[0] + p.panel[s]
            for j in range(p.first[s], p.first[s + 1]):
                for q in range(starts[post[j]], starts[post[j] + 1]):
                    out[q] = column[place[inverse[members[q]]]]
                column += nc + (p.row_start[s + 1] - p.row_start[s])


def gather_diagonal(Structure structure, const scalar[:, ::1] flat, out):
    """out[k, original row] <- the diagonal of flat panels, real part, for each of a batch.

    out : (batch, n) real ndarray of the precision of `flat`.
    """
    cdef const Pattern *p = &structure.pattern
    cdef float[:, ::1] short_out
    cdef double[:, ::1] long_out
    cdef Py_ssize_t k
    if flat.shape[1] != p.size or out.shape != (flat.shape[0], p.n):
        raise ValueError("gather_diagonal: arrays do not belong to this structure")
    if p.n == 0:
        return
    if scalar is float or scalar is floatcomplex:
        short_out = out
        for k in range(flat.shape[0]):
            read_diagonal(p, &flat[k, 0], &short_out[k, 0])
    else:
        long_out = out
        for k in range(flat.shape[0]):
            read_diagonal(p, &flat[k, 0], &long_out[k, 0])


ABSENT = INT64_MIN


def find_entries(Structure structure, const int32_t[::1] row, const int32_t[::1] column,
                 int64_t[::1] position):
    """Where entries (row, column) of the original matrix lie in flat panels.

    `position` is complemented where the entry is stored as its mirror image, and ABSENT where it
    is in no panel.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t k
    cdef int32_t i, j
    cdef int64_t at
    cdef int32_t[::1] inverse = np.empty(p.n, dtype=np.int32)
    if column.shape[0] != row.shape[0] or position.shape[0] != row.shape[0]:
        raise ValueError("find_entries: arrays do not have one length")
    with nogil:
        for k in range(p.n):
            inverse[p.perm[k]] = <int32_t>k
        for k in range(row.shape[0]):
            i = inverse[row[k]]
            j = inverse[column[k]]
            at = find(p, max(i, j), min(i, j))
            position[k] = INT64_MIN if at < 0 else (~at if i < j else at)


cdef int64_t find(const Pattern *p, int32_t i, int32_t j) noexcept nogil:
    """Place of entry (i, j), i >= j, of permuted rows in flat panels; -1 where there is none."""
    cdef int32_t s = supernode_of(p, j)
    cdef int64_t at = place_in_front(p, s, i)
    return -1 if at == -1 else p.panel[s] + (j - p.first[s]) * front_rows(p, s) + at


def read_entries(const scalar[::1] flat, const int64_t[::1] position, scalar[::1] out):
    """out <- entries of flat panels at the positions of `find_entries`; ABSENT ones are left."""
    if out.shape[0] != position.shape[0]:
        raise ValueError("read_entries: arrays do not have one length")
    if out.shape[0] and flat.shape[0]:
        with nogil:
            read_places(&flat[0], &position[0], position.shape[0], &out[0])
