"""Supernodal structure: rows, relative indices, and every offset that numeric work needs.

All panels of L lie one after another in one flat array; the panel of a supernode with `nc`
columns and `m` rows below is a column-major rectangle of `nc + m` rows.

A thread that does a task (see symbolic.tasks) keeps update matrices in two stacks, one for the even
and one for the odd levels of the tree. A supernode's update matrix is opened when its first child
in the task is done and closed when it has been added to the parent's, so that a child and its
parent never share a stack and nothing is ever moved. The sweeps from the roots down keep matrices
of the same size in the same places, with time reversed. What goes from task to task is handed over
in memory that all threads share; the children that are handed over are the guests of a front.
Guests or not, children are added in ascending order, so that the sum has the same bits however the
tree is cut.

A region is a subtree whose supernodes are single columns without fronts; they stand one after
another. Only its root has an update matrix. Column k with rows r_0 < r_1 < .. sends products

    l_ik l_jk, i >= j    to entry (r_i, r_j) of L if column r_j is in the region,
                         else of the update matrix of the region's root

and `target` lists these places, j by j: from the start of the region's part of the flat factor, or
from the start of the update matrix. The sweeps from the roots down read from the same places.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc

import numpy as np

from sparsechol._core.symbolic.etree import inverse_permutation, permuted_triangle
from sparsechol._core.symbolic.supernodes import step_times
from sparsechol._core.symbolic.tasks import handovers as handed_over
from sparsechol._core.symbolic.tasks import partition, ranks


cdef enum:
    RUN = 8                 # rows from which a run is worth a loop of its own


cdef class Structure:
    """Arrays of an analyzed pattern, with a C view for the kernels.

    Parameters
    ----------
    indptr, indices : lower triangle of A by column, sorted, with the whole diagonal.
    perm : int32 ndarray, original row at each place.
    first : int32 ndarray, first column of each supernode; supernodes are in postorder.
    region : int32 ndarray, root of the region that each supernode is a column of, or -1.
    rows_below : int64 ndarray, rows below each supernode.

    The same arguments always give the same structure.
    """

    def __init__(self, const int64_t[::1] indptr, const int32_t[::1] indices,
                 const int32_t[::1] perm, const int32_t[::1] first, const int32_t[::1] region,
                 const int64_t[::1] rows_below):
        cdef Py_ssize_t n = perm.shape[0]
        cdef Py_ssize_t ns = first.shape[0] - 1
        cdef Py_ssize_t nnz = indices.shape[0]
        starts, members, sources = permuted_triangle(
            indptr, indices, inverse_permutation(perm), traced=True)
        begin, (row_start, place_start, panel, target_start), tallest, widest = offsets(
            first, rows_below, region)
        entry_source, entry_row, rows, relative, runs, target = together(
            nnz, nnz, row_start[ns], place_start[ns], place_start[ns], target_start[ns])
        parent = np.empty(ns, dtype=np.int32)
        panel_rows = np.empty(ns, dtype=np.int32)
        entry_start = entry_starts(indptr, members)
        climb(first, row_start, place_start, starts, members, sources, indptr, perm, entry_start,
              rows, relative, parent, panel_rows, entry_source, entry_row)
        find_runs(place_start, relative, runs)
        locate_products(first, region, row_start, rows, panel, target_start, target)
        time = step_times(first, row_start, region)
        task, task_parent = partition(parent, region, time)
        self.crowd = plan(rows_below, parent, region, time, task, task_parent)
        if task_parent.shape[0] > 1:
            one = np.where(task < 0, -1, 0).astype(np.int32)
            self.alone = plan(rows_below, parent, region, time, one,
                              np.array([-1], dtype=np.int32))
        else:
            self.alone = self.crowd
        self.arrays = dict(
            perm=np.asarray(perm), first=np.asarray(first), parent=parent, row_start=row_start,
            rows=rows, place_start=place_start, relative=relative, runs=runs,
            panel_rows=panel_rows, panel=panel, region=np.asarray(region), begin=begin,
            target_start=target_start, target=target,
            entry_start=entry_start, entry_source=entry_source, entry_row=entry_row,
        )
        for array in self.arrays.values():
            array.flags.writeable = False
        self.pattern.n = <int32_t>n
        self.pattern.nsuper = <int32_t>ns
        self.pattern.tallest = tallest
        self.pattern.widest = widest
        self.pattern.nnz = nnz
        self.pattern.size = panel[ns]
        self.pattern.handed_rows = self.crowd["handed_rows"]
        self.pattern.alone = plan_of(self.alone)
        self.pattern.crowd = plan_of(self.crowd)
        self.pattern.perm = ints(self.arrays["perm"])
        self.pattern.first = ints(self.arrays["first"])
        self.pattern.parent = ints(parent)
        self.pattern.row_start = longs(row_start)
        self.pattern.rows = ints(rows)
        self.pattern.place_start = longs(place_start)
        self.pattern.relative = ints(relative)
        self.pattern.runs = ints(runs)
        self.pattern.panel_rows = ints(panel_rows)
        self.pattern.panel = longs(panel)
        self.pattern.region = ints(self.arrays["region"])
        self.pattern.begin = ints(begin)
        self.pattern.target_start = longs(target_start)
        self.pattern.target = ints(target)
        self.pattern.entry_start = longs(entry_start)
        self.pattern.entry_source = longs(entry_source)
        self.pattern.entry_row = ints(entry_row)

    @property
    def nnz(self) -> int:
        """Stored values of A."""
        return self.pattern.nnz

    @property
    def size(self) -> int:
        """Entries of the flat factor."""
        return self.pattern.size

    @property
    def tallest(self) -> int:
        """Most rows of a front."""
        return self.pattern.tallest

    @property
    def tasks(self) -> int:
        """Pieces that threads can work on."""
        return self.pattern.crowd.tasks

    @property
    def nbytes(self) -> int:
        """Bytes of the structure itself."""
        every = [self.arrays, self.crowd] + ([self.alone] if self.alone is not self.crowd else [])
        return sum(array.nbytes for arrays in every for array in arrays.values()
                   if isinstance(array, np.ndarray))


cdef const void *start_of(array) except? NULL:
    """Where the numbers of a contiguous array lie; it must stay alive."""
    cdef Py_buffer view
    cdef const void *start
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    start = view.buf
    PyBuffer_Release(&view)
    return start


cdef const int32_t *ints(array) except? NULL:
    return <const int32_t *>start_of(array)


cdef const int64_t *longs(array) except? NULL:
    return <const int64_t *>start_of(array)


cdef const uint8_t *flags(array) except? NULL:
    return <const uint8_t *>start_of(array)


def offsets(const int32_t[::1] first, const int64_t[::1] below, const int32_t[::1] region):
    """Where in its arrays what belongs to each supernode starts.

    Returns
    -------
    begin : int32, first column of the region of each root; every other supernode itself.
    starts : (4, nsuper + 1) int64, for its rows; for their places in the front of the parent, which
        columns of a region but the last do not have; for its panel in the flat factor; for its
        products, which columns of a region alone have.
    tallest, widest : most rows and most columns of a front.

    OverflowError where 64 bits do not hold the factor.
    """
    cdef Py_ssize_t ns = below.shape[0]
    cdef int32_t s
    cdef int64_t columns, tallest = 0, widest = 0
    cdef double total = 0
    begin_array = np.empty(ns, dtype=np.int32)
    start_array = np.empty((4, ns + 1), dtype=np.int64)
    cdef int32_t[::1] begin = begin_array
    cdef int64_t[:, ::1] start = start_array
    with nogil:
        for s in range(ns):
            columns = first[s + 1] - first[s]
            total += <double>columns * <double>(columns + below[s])
        if total <= 2.0**60:
            start[0, 0] = start[1, 0] = start[2, 0] = start[3, 0] = 0
            for s in range(ns):
                columns = first[s + 1] - first[s]
                tallest = max(tallest, columns + below[s])
                widest = max(widest, columns)
                begin[s] = s
                start[0, s + 1] = start[0, s] + below[s]
                start[1, s + 1] = start[1, s]
                if region[s] == -1 or region[s] == s:
                    start[1, s + 1] += below[s]
                start[2, s + 1] = start[2, s] + columns * (columns + below[s])
                start[3, s + 1] = start[3, s]
                if region[s] != -1:
                    start[3, s + 1] += below[s] * (below[s] + 1) // 2
            for s in range(<int32_t>ns - 1, -1, -1):
                if region[s] != -1:
                    begin[region[s]] = s
    if total > 2.0**60:
        raise OverflowError(
            f"the factor would hold {total:.3g} entries, {total * 8 / 2**30:.3g} GiB in float64: "
            "beyond 64-bit addressing"
        )
    return begin_array, start_array, tallest, widest


def together(longs, *lengths):
    """An int64 array, and int32 arrays of the other lengths, side by side in one block of memory.

    A large block is given large pages, which single arrays are too short for: to touch fresh memory
    in small ones can cost as much as to compute what is written there.
    """
    block = np.empty(2 * longs + sum(lengths), dtype=np.int32)
    arrays = [block[:2 * longs].view(np.int64)]
    place = 2 * longs
    for length in lengths:
        arrays.append(block[place:place + length])
        place += length
    return arrays


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


def climb(const int32_t[::1] first, const int64_t[::1] row_start, const int64_t[::1] place_start,
          const int64_t[::1] starts, const int32_t[::1] members, const int64_t[::1] sources,
          const int64_t[::1] indptr, const int32_t[::1] perm, const int64_t[::1] entry_start,
          int32_t[::1] rows, int32_t[::1] relative, int32_t[::1] parent, int32_t[::1] panel_rows,
          int64_t[::1] entry_source, int32_t[::1] entry_row):
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
    cdef int64_t[::1] entry = np.array(entry_start[:n])      # where the next entry of a column goes
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


def locate_products(const int32_t[::1] first, const int32_t[::1] region,
                    const int64_t[::1] row_start, const int32_t[::1] rows,
                    const int64_t[::1] panel, const int64_t[::1] target_start,
                    int32_t[::1] target):
    """Fill `target` region by region.

    The columns wait in the list of the next row that they have not served yet. When a column of
    the region is reached, its map row -> place serves all that wait for it; what is left at the
    end goes to the update matrix.
    """
    cdef Py_ssize_t ns = region.shape[0]
    cdef Py_ssize_t n = first[ns]
    cdef int32_t s, root, k, following, begin = 0
    cdef int64_t q, m
    cdef int32_t[::1] place = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] waiting = np.full(n, -1, dtype=np.int32)      # by row
    cdef int32_t[::1] link = np.empty(ns, dtype=np.int32)
    cdef int32_t[::1] served = np.zeros(ns, dtype=np.int32)
    cdef int64_t[::1] head = np.array(target_start[:ns])
    with nogil:
        while begin < ns:
            root = region[begin]
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


def plan(below, parent, region, time, task, task_parent):
    """Everything that a partition into tasks decides: the contents of a Plan (see the pxd)."""
    steps, task_start, length, given, handed, handed_rows = by_task(
        below, parent, time, task, task_parent)
    up_rank, down_rank = ranks(task_parent, length)
    leaf, opens, guest, before, rest, next_guest = children(parent, region, task)
    update, updates = stacked(below, parent, handed, opens, leaf, steps, task_start)
    update[given], handovers = handed_over(given, below, task, task_parent)
    contents = dict(
        task_start=task_start, steps=steps, task_parent=task_parent, up_rank=up_rank,
        down_rank=down_rank, leaf=leaf, opens=opens, guest=guest, before=before, rest=rest,
        next_guest=next_guest, handed=handed, update=update,
    )
    for array in contents.values():
        array.flags.writeable = False
    return contents | dict(updates=updates, handovers=handovers, handed_rows=handed_rows)


cdef Plan plan_of(dict contents):
    """The C view of `plan`."""
    return Plan(
        tasks=len(contents["task_parent"]),
        updates=contents["updates"],
        handovers=contents["handovers"],
        task_start=ints(contents["task_start"]),
        steps=ints(contents["steps"]),
        task_parent=ints(contents["task_parent"]),
        up_rank=ints(contents["up_rank"]),
        down_rank=ints(contents["down_rank"]),
        leaf=flags(contents["leaf"]),
        opens=flags(contents["opens"]),
        guest=ints(contents["guest"]),
        before=ints(contents["before"]),
        rest=ints(contents["rest"]),
        next_guest=ints(contents["next_guest"]),
        handed=longs(contents["handed"]),
        update=longs(contents["update"]),
    )


def by_task(const int64_t[::1] below, const int32_t[::1] parent, const double[::1] time,
            const int32_t[::1] task, const int32_t[::1] task_parent):
    """Steps task by task, ascending, and what is handed over.

    Returns
    -------
    steps, task_start : int32, the steps and where each task starts.
    length : float64, predicted time of each task.
    given : int32, the steps that are handed over, ascending.
    handed : int64, where the rows of a step start among all that are handed over, -1 if it is not.
    rows : how many rows are handed over.
    """
    cdef Py_ssize_t ns = task.shape[0]
    cdef Py_ssize_t tasks = task_parent.shape[0]
    cdef Py_ssize_t t, count = 0
    cdef int32_t s
    cdef int64_t rows = 0
    start_array = np.zeros(tasks + 1, dtype=np.int32)
    length_array = np.zeros(tasks)
    handed_array = np.empty(ns, dtype=np.int64)
    given_array = np.empty(ns, dtype=np.int32)
    cdef int32_t[::1] start = start_array
    cdef double[::1] length = length_array
    cdef int64_t[::1] handed = handed_array
    cdef int32_t[::1] given = given_array
    cdef int32_t[::1] head
    cdef int32_t[::1] steps
    with nogil:
        for s in range(ns):
            handed[s] = -1
            if task[s] == -1:
                continue
            start[task[s] + 1] += 1
            length[task[s]] += time[s]
            if parent[s] != -1 and task[parent[s]] != task[s]:
                handed[s] = rows
                rows += below[s]
                given[count] = s
                count += 1
        for t in range(tasks):
            start[t + 1] += start[t]
    head = start_array[:tasks].copy()
    steps_array = np.empty(start_array[tasks], dtype=np.int32)
    steps = steps_array
    with nogil:
        for s in range(ns):
            if task[s] != -1:
                steps[head[task[s]]] = s
                head[task[s]] += 1
    given_array = given_array[:count].copy()
    return steps_array, start_array, length_array, given_array, handed_array, rows


def children(const int32_t[::1] parent, const int32_t[::1] region, const int32_t[::1] task):
    """How each front begins, and in which order its children are added: ascending.

    Returns
    -------
    leaf : uint8, 1 for a region and for a front without a child in its task.
    opens : uint8, 1 for the first child of a front in their task.
    guest, next_guest : int32, children of a front from other tasks as linked lists, ascending.
    before, rest : int32, where those lists go on after a front's other children: the guest to be
        added before a child, and after the last of them.
    """
    cdef Py_ssize_t ns = parent.shape[0]
    cdef int32_t s, p
    leaf_array = np.empty(ns, dtype=np.uint8)
    opens_array = np.empty(ns, dtype=np.uint8)
    cdef uint8_t[::1] leaf = leaf_array
    cdef uint8_t[::1] opens = opens_array
    list_array = np.empty((4, ns), dtype=np.int32)
    cdef int32_t[:, ::1] lists = list_array
    cdef int32_t[::1] guest = lists[0]
    cdef int32_t[::1] before = lists[1]
    cdef int32_t[::1] rest = lists[2]
    cdef int32_t[::1] following = lists[3]
    cdef int32_t[::1] opener = np.empty(ns, dtype=np.int32)
    with nogil:
        for s in range(ns):
            opens[s] = 0
            guest[s] = before[s] = rest[s] = following[s] = opener[s] = -1
        for s in range(<int32_t>ns - 1, -1, -1):
            p = parent[s]
            if task[s] == -1 or p == -1:
                continue
            if task[p] != task[s]:
                following[s] = guest[p]
                guest[p] = s
            elif opener[p] == -1:
                rest[p] = guest[p]
                opener[p] = s
            else:
                before[opener[p]] = guest[p] if guest[p] < opener[p] else -1
                opener[p] = s
        for s in range(ns):
            leaf[s] = task[s] != -1 and (region[s] == s or opener[s] == -1)
            if opener[s] == -1:
                rest[s] = guest[s]
            else:
                opens[opener[s]] = 1
                before[opener[s]] = guest[s] if guest[s] < opener[s] else -1
    return leaf_array, opens_array, *list_array


def stacked(const int64_t[::1] orders, const int32_t[::1] parent, const int64_t[::1] handed,
            const uint8_t[::1] opens, const uint8_t[::1] leaf, const int32_t[::1] steps,
            const int32_t[::1] task_start):
    """Start of a square matrix for each step in a thread's workspace, and its length.

    Plays each task once on two stacks (even and odd levels); the stack of the odd levels starts
    where the even one is ever highest. What is handed over is left out. OverflowError where 64
    bits do not hold the length.
    """
    cdef Py_ssize_t ns = parent.shape[0]
    cdef Py_ssize_t k, t
    cdef int32_t s, p
    cdef int64_t even
    cdef int64_t top[2]
    cdef int64_t highest[2]
    cdef double total = 0
    start_array = np.empty(ns, dtype=np.int64)
    cdef int64_t[::1] start = start_array
    cdef uint8_t[::1] level = np.empty(ns, dtype=np.uint8)
    with nogil:
        for s in range(ns):
            total += <double>orders[s] * <double>orders[s]
    if total > 2.0**60:
        raise OverflowError("the workspace of this factorization is beyond 64-bit addressing")
    highest[0] = highest[1] = 0
    with nogil:
        for s in range(<int32_t>ns - 1, -1, -1):
            start[s] = 0
            level[s] = 1 - level[parent[s]] if parent[s] != -1 else 0
        for t in range(task_start.shape[0] - 1):
            top[0] = top[1] = 0
            for k in range(task_start[t], task_start[t + 1]):
                s = steps[k]
                p = parent[s]
                if leaf[s] and handed[s] == -1:
                    start[s] = push(orders[s], &top[level[s]], &highest[level[s]])
                if opens[s] and handed[p] == -1:
                    start[p] = push(orders[p], &top[level[p]], &highest[level[p]])
                if handed[s] == -1:
                    top[level[s]] = start[s]
        even = highest[0]
        for s in range(ns):
            if level[s]:
                start[s] += even
    return start_array, highest[0] + highest[1]


cdef inline int64_t push(int64_t order, int64_t *top, int64_t *highest) noexcept nogil:
    """Take a square matrix from a stack; returns where it starts."""
    cdef int64_t start = top[0]
    top[0] += order * order
    highest[0] = max(highest[0], top[0])
    return start
