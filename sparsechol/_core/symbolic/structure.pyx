"""Supernodal structure: rows, relative indices, and every offset that numeric work needs.

All panels of L lie one after another in one flat array; the panel of a supernode with `nc`
columns and `m` rows below is a column-major rectangle of `nc + m` rows.

A simplicial subtree is one whose supernodes are single columns without fronts; they stand one after
another. Only its root has an update matrix. Column k with rows r_0 < r_1 < .. sends products

    l_ik l_jk, i >= j    to entry (r_i, r_j) of L if column r_j is in the subtree,
                         else of the update matrix of its root

and `target` lists these places, j by j: from the start of the subtree's part of the flat factor, or
from the start of the update matrix. The sweeps from the roots down read from the same places.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t

import numpy as np

from sparsechol._core.symbolic.etree import inverse_permutation, permuted_triangle
from sparsechol._core.symbolic.plans import make_plan, partition
from sparsechol._core.symbolic.supernodes import step_times
from sparsechol._core.symbolic.symbolic_factorization import (
    entry_starts, find_runs, locate_products, symbolic_factorization,
)


cdef class Structure:
    """Arrays of an analyzed pattern, with a C view for the kernels.

    Parameters
    ----------
    indptr, indices : lower triangle of A by column, sorted, with the whole diagonal.
    perm : int32 ndarray, original row at each place.
    first : int32 ndarray, first column of each supernode; supernodes are in postorder.
    simplicial_root : int32 ndarray, root of the simplicial subtree that each supernode is a column
        of, or -1.
    rows_below : int64 ndarray, rows below each supernode.

    The same arguments always give the same structure.
    """

    def __init__(self, const int64_t[::1] indptr, const int32_t[::1] indices,
                 const int32_t[::1] perm, const int32_t[::1] first,
                 const int32_t[::1] simplicial_root, const int64_t[::1] rows_below):
        cdef Py_ssize_t n = perm.shape[0]
        cdef Py_ssize_t ns = first.shape[0] - 1
        cdef Py_ssize_t nnz = indices.shape[0]
        starts, members, sources = permuted_triangle(
            indptr, indices, inverse_permutation(perm), traced=True)
        begin, (row_start, place_start, panel, target_start), tallest, widest = offsets(
            first, rows_below, simplicial_root)
        entry_source, entry_row, rows, relative, runs, target = allocate_block(
            nnz, nnz, row_start[ns], place_start[ns], place_start[ns], target_start[ns])
        parent = np.empty(ns, dtype=np.int32)
        panel_rows = np.empty(ns, dtype=np.int32)
        entry_start = entry_starts(indptr, members)
        symbolic_factorization(
            first, row_start, place_start, starts, members, sources, indptr, perm, entry_start,
            rows, relative, parent, panel_rows, entry_source, entry_row)
        find_runs(place_start, relative, runs)
        locate_products(
            first, simplicial_root, row_start, rows, panel, target_start, target)
        time = step_times(first, row_start, simplicial_root)
        task, task_parent = partition(parent, simplicial_root, time)
        self.parallel_plan = make_plan(
            row_start, rows, parent, simplicial_root, time, task, task_parent)
        if task_parent.shape[0] > 1:
            one = np.where(task < 0, -1, 0).astype(np.int32)
            self.serial_plan = make_plan(
                row_start, rows, parent, simplicial_root, time, one,
                np.array([-1], dtype=np.int32))
        else:
            self.serial_plan = self.parallel_plan
        self.arrays = dict(
            perm=np.asarray(perm), first=np.asarray(first), parent=parent, row_start=row_start,
            rows=rows, place_start=place_start, relative=relative, runs=runs,
            panel_rows=panel_rows, panel=panel, simplicial_root=np.asarray(simplicial_root),
            begin=begin,
            target_start=target_start, target=target,
            entry_start=entry_start, entry_source=entry_source, entry_row=entry_row,
        )
        for array in self.arrays.values():
            array.flags.writeable = False
        self.pattern.n = <int32_t>n
        self.pattern.nsuper = <int32_t>ns
        self.pattern.tallest = tallest
        self.pattern.widest = widest
        self.pattern.nested = mostly_nested(rows_below, simplicial_root)
        self.pattern.nnz = nnz
        self.pattern.size = panel[ns]
        self.pattern.shared_rows = self.parallel_plan["beyond"].shape[0]
        self.pattern.serial_plan = plan_of(self.serial_plan)
        self.pattern.parallel_plan = plan_of(self.parallel_plan)
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
        self.pattern.simplicial_root = ints(self.arrays["simplicial_root"])
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
        return self.pattern.parallel_plan.tasks

    @property
    def nbytes(self) -> int:
        """Bytes of the structure itself."""
        every = [self.arrays, self.parallel_plan]
        if self.serial_plan is not self.parallel_plan:
            every.append(self.serial_plan)
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


cdef Plan plan_of(dict contents):
    """The C view of a plan."""
    return Plan(
        tasks=len(contents["task_parent"]),
        updates=contents["updates"],
        shared_size=contents["shared_size"],
        task_start=ints(contents["task_start"]),
        steps=ints(contents["steps"]),
        task_parent=ints(contents["task_parent"]),
        up_rank=ints(contents["up_rank"]),
        down_rank=ints(contents["down_rank"]),
        leaf=flags(contents["leaf"]),
        opens=flags(contents["opens"]),
        foreign_child=ints(contents["foreign_child"]),
        foreign_before=ints(contents["foreign_before"]),
        foreign_after=ints(contents["foreign_after"]),
        next_foreign=ints(contents["next_foreign"]),
        shared=flags(contents["shared"]),
        update=longs(contents["update"]),
        task_child=ints(contents["task_child"]),
        next_task=ints(contents["next_task"]),
        beyond_start=longs(contents["beyond_start"]),
        beyond=ints(contents["beyond"]),
    )


def offsets(const int32_t[::1] first, const int64_t[::1] below,
            const int32_t[::1] simplicial_root):
    """Where in its arrays what belongs to each supernode starts.

    Returns
    -------
    begin : int32, first column of the simplicial subtree of each root; other supernodes themselves.
    starts : (4, nsuper + 1) int64, for its rows; for their places in the front of the parent, which
        columns of a simplicial subtree but the last do not have; for its panel in the flat factor;
        for its products, which columns of a simplicial subtree alone have.
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
                if simplicial_root[s] == -1 or simplicial_root[s] == s:
                    start[1, s + 1] += below[s]
                start[2, s + 1] = start[2, s] + columns * (columns + below[s])
                start[3, s + 1] = start[3, s]
                if simplicial_root[s] != -1:
                    start[3, s + 1] += below[s] * (below[s] + 1) // 2
            for s in range(<int32_t>ns - 1, -1, -1):
                if simplicial_root[s] != -1:
                    begin[simplicial_root[s]] = s
    if total > 2.0**60:
        raise OverflowError(
            f"the factor would hold {total:.3g} entries, {total * 8 / 2**30:.3g} GiB in float64: "
            "beyond 64-bit addressing"
        )
    return begin_array, start_array, tallest, widest


cdef bint mostly_nested(const int64_t[::1] below, const int32_t[::1] simplicial_root) noexcept:
    """Whether more than half of the simplicial columns have the rows of the next one, and one more.

    That is so where each vertex has several unknowns: solves then take such columns together. To
    ask column by column does not pay elsewhere.
    """
    cdef Py_ssize_t s, columns = 0, nested = 0
    for s in range(below.shape[0]):
        columns += simplicial_root[s] != -1
    for s in range(below.shape[0] - 1):
        nested += (simplicial_root[s] != -1 and simplicial_root[s] == simplicial_root[s + 1]
                   and below[s] == below[s + 1] + 1)
    return 2 * nested > columns


def allocate_block(longs, *lengths):
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
