"""Sets of the inputs that values depend on, each stored as the union of two others.

A set is a number: 0 is the empty set, 1 to n are the sets of one input each, and every other set is
the union of two sets of smaller numbers. An array of sets has the shape of an array of values, and
says what each value depends on. An operation that moves data moves the numbers. The members of the
sets are listed once, at the end.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc

import numpy as np

cdef enum:
    KNOWN = 1 << 18  # unions that are remembered, so as not to be made again
    MOST = 2147483646  # most sets
    MOST_ENTRIES = 1 << 29  # most members that are listed
    NO_MEMORY = -1


cdef int by_number(const void *a, const void *b) noexcept nogil:
    """Compare two numbers for qsort."""
    cdef int32_t x = (<const int32_t *>a)[0], y = (<const int32_t *>b)[0]
    return (x > y) - (x < y)


cdef class Sets:
    """All sets of one detection.

    Parameters
    ----------
    n : int
        Number of inputs.
    """

    cdef readonly int64_t n
    cdef int32_t count  # number of sets, with the empty one
    cdef int64_t room
    cdef int32_t *left  # the two sets that each set is the union of; 0 for a set of one input
    cdef int32_t *right
    cdef int32_t *known

    def __cinit__(self, int64_t n):
        if n < 0 or n >= MOST:
            raise ValueError(f"{n} inputs are too many for sets of 32-bit numbers")
        self.n = n
        self.count = <int32_t>(n + 1)
        self.room = min(n + 1024, MOST)
        self.left = <int32_t *>calloc(self.room, sizeof(int32_t))
        self.right = <int32_t *>calloc(self.room, sizeof(int32_t))
        self.known = <int32_t *>calloc(KNOWN, sizeof(int32_t))
        if self.left == NULL or self.right == NULL or self.known == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.left)
        free(self.right)
        free(self.known)

    def __len__(self):
        return self.count

    def inputs(self, shape):
        """Return the sets of one input each."""
        return np.arange(1, self.n + 1, dtype=np.int32).reshape(shape)

    # ---- making unions ----

    cdef int32_t pair(self, int32_t a, int32_t b) noexcept nogil:
        """Return the union of two sets, or NO_MEMORY."""
        cdef uint64_t key
        cdef uint32_t place
        cdef int32_t known
        cdef int64_t room
        cdef int32_t *grown
        if a < b:
            a, b = b, a  # a is not older
        if b == 0 or a == b or self.left[a] == b or self.right[a] == b:
            return a
        key = (<uint64_t>a << 32) | <uint32_t>b
        place = <uint32_t>((key * <uint64_t>0x9E3779B97F4A7C15ULL) >> 46)
        known = self.known[place]
        if known and self.left[known] == a and self.right[known] == b:
            return known
        if self.count == self.room:
            room = min(2 * self.room, <int64_t>MOST)
            if room == self.room:
                return NO_MEMORY
            grown = <int32_t *>realloc(self.left, room * sizeof(int32_t))
            if grown == NULL:
                return NO_MEMORY
            self.left = grown
            grown = <int32_t *>realloc(self.right, room * sizeof(int32_t))
            if grown == NULL:
                return NO_MEMORY
            self.right = grown
            self.room = room
        self.left[self.count], self.right[self.count] = a, b
        self.known[place] = self.count
        self.count += 1
        return self.count - 1

    cdef int32_t unite(self, int32_t *some, int64_t k) noexcept nogil:
        """Return the union of k sets, which are overwritten by unions of neighboring pairs.

        The sets are sorted, so that rows with the same sets make the same unions.
        """
        cdef int64_t q, kept = 0
        cdef bint sorted = True
        for q in range(k):
            if some[q]:
                some[kept] = some[q]
                if kept and some[kept - 1] >= some[kept]:
                    sorted = False
                kept += 1
        if not sorted:
            qsort(some, kept, sizeof(int32_t), by_number)
        while kept > 1:
            for q in range(kept // 2):
                some[q] = self.pair(some[2 * q], some[2 * q + 1])
                if some[q] == NO_MEMORY:
                    return NO_MEMORY
            if kept % 2:
                some[kept // 2] = some[kept - 1]
            kept = (kept + 1) // 2
        return some[0] if kept else 0

    cdef int check(self, const int32_t[::1] ids) except -1:
        """Raise ValueError unless all numbers are sets."""
        cdef int64_t q
        cdef bint strange = False
        with nogil:
            for q in range(ids.shape[0]):
                strange |= ids[q] < 0 or ids[q] >= self.count
        if strange:
            raise ValueError("there is no such set")
        return 0

    def union(self, const int32_t[::1] a, const int32_t[::1] b):
        """Return the unions of the elements of two arrays."""
        if a.shape[0] != b.shape[0]:
            raise ValueError(f"arrays of {a.shape[0]} and of {b.shape[0]} sets")
        self.check(a)
        self.check(b)
        cdef int32_t[::1] out = np.empty(a.shape[0], np.int32)
        cdef int64_t q
        cdef bint failed = False
        with nogil:
            for q in range(a.shape[0]):
                out[q] = self.pair(a[q], b[q])
                if out[q] == NO_MEMORY:
                    failed = True
                    break
        if failed:
            raise MemoryError
        return np.asarray(out)

    def apply(self, const int64_t[::1] starts, const int32_t[::1] members,
              const int32_t[:, ::1] ids):
        """Return, for each line of sets and row of a matrix, the union of the sets in the row.

        Parameters
        ----------
        starts, members : arrays
            Lists of the entries in each row of a boolean matrix with k columns.
        ids : (lines, k) array
            Sets.

        Returns
        -------
        (lines, rows) ndarray
        """
        check_rows(starts, members, ids.shape[1])
        self.check(np.asarray(ids).reshape(-1))
        cdef int64_t lines = ids.shape[0], rows = starts.shape[0] - 1, i, r, q, widest
        cdef int32_t[:, ::1] out = np.empty((lines, rows), np.int32)
        cdef int32_t *some
        cdef bint failed = False
        widest = int(np.diff(starts).max(initial=0))
        some = <int32_t *>malloc((widest + 1) * sizeof(int32_t))
        if some == NULL:
            raise MemoryError
        with nogil:
            for i in range(lines):
                for r in range(rows):
                    for q in range(starts[r], starts[r + 1]):
                        some[q - starts[r]] = ids[i, members[q]]
                    out[i, r] = self.unite(some, starts[r + 1] - starts[r])
                    if out[i, r] == NO_MEMORY:
                        failed = True
                        break
                if failed:
                    break
        free(some)
        if failed:
            raise MemoryError
        return np.asarray(out)

    def reduce(self, const int32_t[:, ::1] ids):
        """Return the union of each row."""
        self.check(np.asarray(ids).reshape(-1))
        cdef int64_t rows = ids.shape[0], k = ids.shape[1], r, q
        cdef int32_t[::1] out = np.empty(rows, np.int32)
        cdef int32_t *some = <int32_t *>malloc((k + 1) * sizeof(int32_t))
        cdef bint failed = False
        if some == NULL:
            raise MemoryError
        with nogil:
            for r in range(rows):
                for q in range(k):
                    some[q] = ids[r, q]
                out[r] = self.unite(some, k)
                if out[r] == NO_MEMORY:
                    failed = True
                    break
        free(some)
        if failed:
            raise MemoryError
        return np.asarray(out)

    def cumulative_union(self, const int32_t[:, ::1] ids):
        """Return for each element the union of its row up to the element, itself included."""
        self.check(np.asarray(ids).reshape(-1))
        cdef int64_t r, q
        cdef int32_t[:, ::1] out = np.empty((ids.shape[0], ids.shape[1]), np.int32)
        cdef int32_t last
        cdef bint failed = False
        with nogil:
            for r in range(ids.shape[0]):
                last = 0
                for q in range(ids.shape[1]):
                    last = self.pair(last, ids[r, q])
                    if last == NO_MEMORY:
                        failed = True
                        break
                    out[r, q] = last
                if failed:
                    break
        if failed:
            raise MemoryError
        return np.asarray(out)

    def substitute(self, const int64_t[::1] starts, const int32_t[::1] members,
                   const int32_t[::1] ids):
        """Return the sets of the solution of a triangular system with right-hand side `ids`.

        Row r of the strict lower triangle is ``members[starts[r]:starts[r + 1]]``.
        """
        cdef int64_t n = ids.shape[0], r, q
        cdef int32_t last
        cdef bint failed = False
        if starts.shape[0] != n + 1:
            raise ValueError("a row for each set is needed")
        check_rows(starts, members, n)
        self.check(ids)
        cdef int32_t[::1] out = np.array(ids)
        with nogil:
            for r in range(n):
                last = out[r]
                for q in range(starts[r], starts[r + 1]):
                    if members[q] < r:
                        last = self.pair(last, out[members[q]])
                        if last == NO_MEMORY:
                            failed = True
                            break
                if failed:
                    break
                out[r] = last
        if failed:
            raise MemoryError
        return np.asarray(out)

    def repeat(self, const int64_t[::1] starts, const int32_t[::1] members,
               const int32_t[::1] carried, const int32_t[::1] fixed, const int32_t[:, ::1] steps,
               bint backwards):
        """Return the sets that a loop carries at last and that its steps yield.

        One matrix describes every step. Its columns are the values carried in, the fixed values and
        the inputs of the step. Its rows are the values carried out and the values yielded.

        Returns
        -------
        carried : ndarray
            Sets of the values carried out of the last step.
        yields : (number of steps, rows - len(carried)) ndarray
            Sets of the values that each step yields.
        """
        cdef int64_t c = carried.shape[0], f = fixed.shape[0], s = steps.shape[1]
        cdef int64_t count = steps.shape[0], rows = starts.shape[0] - 1
        cdef int64_t turn, t, r, q, widest = int(np.diff(starts).max(initial=0))
        if rows < c:
            raise ValueError("too few rows")
        check_rows(starts, members, c + f + s)
        for part in (carried, fixed, np.asarray(steps).reshape(-1)):
            self.check(part)
        cdef int32_t[::1] state = np.concatenate([carried, fixed, np.zeros(s, np.int32)])
        cdef int32_t[::1] following = np.empty(rows, np.int32)
        cdef int32_t[:, ::1] out = np.empty((count, rows - c), np.int32)
        cdef int32_t *some = <int32_t *>malloc((widest + 1) * sizeof(int32_t))
        cdef bint failed = False
        if some == NULL:
            raise MemoryError
        with nogil:
            for turn in range(count):
                t = count - 1 - turn if backwards else turn
                for q in range(s):
                    state[c + f + q] = steps[t, q]
                for r in range(rows):
                    for q in range(starts[r], starts[r + 1]):
                        some[q - starts[r]] = state[members[q]]
                    following[r] = self.unite(some, starts[r + 1] - starts[r])
                    if following[r] == NO_MEMORY:
                        failed = True
                        break
                if failed:
                    break
                for r in range(c):
                    state[r] = following[r]
                for r in range(c, rows):
                    out[t, r - c] = following[r]
        free(some)
        if failed:
            raise MemoryError
        return np.array(state[:c]), np.asarray(out)

    def substitute_sets(self, Sets inner, const int32_t[::1] ids, const int64_t[::1] columns,
                        const int64_t[::1] starts, const int64_t[::1] members,
                        const int32_t[::1] entering, int64_t versions):
        """Return the sets of values that depend on older ones, and on sets that enter.

        The value q is the union of ``ids[q]``, a set of another detection, and of
        ``members[starts[q]:starts[q + 1]]``. Both stand for values by number: ``columns`` has the
        numbers of the inputs of the other detection. Numbers below ``versions`` are values before
        q; those above are ``entering``; negative ones stand for nothing.

        Unions of the other detection are made once, when the first value needs them.
        """
        cdef int64_t count = ids.shape[0], q, k, top, most = versions + entering.shape[0]
        cdef int32_t node, last, part
        cdef bint failed = False, strange = False
        if columns.shape[0] != inner.n or starts.shape[0] != count + 1 or versions > count:
            raise ValueError("columns for all inputs and rows for all values are needed")
        inner.check(ids)
        self.check(entering)
        if (np.diff(starts) < 0).any() or starts[0] != 0 or starts[count] > members.shape[0]:
            raise ValueError("these are no lists of values")
        for part_of in (np.asarray(columns), np.asarray(members)):
            if part_of.max(initial=-1) >= most:
                raise ValueError("there is no such value")
        cdef int32_t[::1] out = np.empty(count, np.int32)
        cdef int32_t[::1] made = np.full(inner.count, -1, np.int32)  # sets of the other detection
        cdef int32_t[::1] stack = np.empty(inner.count + 1, np.int32)
        made[0] = 0
        with nogil:
            for q in range(count):
                stack[0] = ids[q]
                top = 1
                while top and not failed and not strange:
                    node = stack[top - 1]
                    if made[node] >= 0:
                        top -= 1
                    elif inner.left[node] == 0:
                        k = columns[node - 1]
                        strange |= q <= k < versions
                        if not strange:
                            made[node] = 0 if k < 0 else (
                                out[k] if k < versions else entering[k - versions])
                    elif made[inner.left[node]] < 0:
                        stack[top] = inner.left[node]
                        top += 1
                    elif made[inner.right[node]] < 0:
                        stack[top] = inner.right[node]
                        top += 1
                    else:
                        part = self.pair(made[inner.left[node]], made[inner.right[node]])
                        failed |= part == NO_MEMORY
                        made[node] = part
                if failed or strange:
                    break
                last = made[ids[q]]
                for top in range(starts[q], starts[q + 1]):
                    k = members[top]
                    strange |= q <= k < versions
                    if k < 0 or strange:
                        continue
                    last = self.pair(last, out[k] if k < versions else entering[k - versions])
                    if last == NO_MEMORY:
                        failed = True
                        break
                if failed or strange:
                    break
                out[q] = last
        if failed:
            raise MemoryError
        if strange:
            raise ValueError("a value depends on a later one")
        return np.asarray(out)

    # ---- listing the members ----

    def rows(self, const int32_t[::1] ids):
        """Return the inputs in each set.

        Returns
        -------
        starts, members : int64 and int32 ndarrays
            Lists of the inputs in each set: rows of a boolean matrix with `n` columns, not sorted.
        """
        self.check(ids)
        cdef int64_t m = ids.shape[0], r, room = 4 * m + 1024, filled = 0, top, size
        cdef int32_t node, child
        cdef int32_t *members = <int32_t *>malloc(room * sizeof(int32_t))
        cdef int32_t *grown
        cdef int32_t *stack = <int32_t *>malloc((<int64_t>self.count + 1) * sizeof(int32_t))
        cdef int32_t *seen = <int32_t *>calloc(self.count, sizeof(int32_t))
        cdef int32_t stamp = 0
        cdef int64_t[::1] starts = np.zeros(m + 1, np.int64)
        cdef bint failed = members == NULL or stack == NULL or seen == NULL, dense = False
        if not failed:
            with nogil:
                for r in range(m):
                    dense = filled > MOST_ENTRIES
                    if dense:
                        break
                    starts[r] = filled
                    if r and ids[r] == ids[r - 1]:  # as before
                        size = filled - starts[r - 1]
                    else:
                        size = self.n if self.n < self.count else self.count
                        if ids[r] <= self.n:
                            size = 1
                    while filled + size > room:
                        room = 2 * room
                        grown = <int32_t *>realloc(members, room * sizeof(int32_t))
                        if grown == NULL:
                            failed = True
                            break
                        members = grown
                    if failed:
                        break
                    if r and ids[r] == ids[r - 1]:
                        for top in range(size):
                            members[filled + top] = members[starts[r - 1] + top]
                        filled += size
                        continue
                    if ids[r] == 0:
                        continue
                    stamp += 1
                    stack[0] = ids[r]
                    seen[ids[r]] = stamp
                    top = 1
                    while top:
                        top -= 1
                        node = stack[top]
                        if self.left[node] == 0:
                            members[filled] = node - 1
                            filled += 1
                            continue
                        child = self.right[node]
                        if seen[child] != stamp:
                            seen[child] = stamp
                            stack[top] = child
                            top += 1
                        child = self.left[node]
                        if seen[child] != stamp:
                            seen[child] = stamp
                            stack[top] = child
                            top += 1
                starts[m] = filled
        free(stack)
        free(seen)
        if failed or dense:
            free(members)
            if failed:
                raise MemoryError
            raise OverflowError(
                f"a pattern of shape ({m}, {self.n}) with more than {MOST_ENTRIES} entries is not"
                " sparse: dense derivatives are the better choice"
            )
        out = np.empty(filled, np.int32)
        cdef int32_t[::1] view = out
        with nogil:
            for r in range(filled):
                view[r] = members[r]
        free(members)
        return np.asarray(starts), out


cdef int check_rows(const int64_t[::1] starts, const int32_t[::1] members, int64_t k) except -1:
    """Raise ValueError unless these are lists of the rows of a matrix with k columns."""
    cdef int64_t q, rows = starts.shape[0] - 1
    cdef bint strange = rows < 0 or starts[0] != 0 or starts[rows] > members.shape[0]
    with nogil:
        if not strange:
            for q in range(rows):
                strange |= starts[q] > starts[q + 1]
            for q in range(members.shape[0]):
                strange |= members[q] < 0 or members[q] >= k
    if strange:
        raise ValueError(f"these are no rows of a matrix with {k} columns")
    return 0
