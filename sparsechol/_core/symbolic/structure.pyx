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

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

import numpy as np

from sparsechol._core.symbolic.blocks cimport (
    Block, ints, ints_in, longs, longs_in, take, workspace,
)
from sparsechol._core.symbolic.etree cimport invert, list_upper_triangle
from sparsechol._core.symbolic.plans cimport (
    Partition, arrays_of_plan, copied, join_tasks, lay_out_partition, make_plan, partition,
)
from sparsechol._core.symbolic.supernodes cimport predict_times
from sparsechol._core.symbolic.symbolic_factorization cimport (
    Front, find_runs, locate_products, start_entries, symbolic_factorization,
)


cdef extern from "memory.h" nogil:
    void keep_freed_memory()


keep_freed_memory()


cdef struct Work:
    # Workspace of the analysis.
    int32_t *inverse        # (n) place of each row; then the supernode of each place
    int64_t *starts         # (n + 1) rows above the diagonal of the permuted pattern, by column
    int32_t *members        # (nnz - n)
    int64_t *sources        # (nnz - n) the entries they came from
    int64_t *entry          # (n)
    Front *front            # (nsuper)
    int32_t *place          # (n)
    int32_t *waiting        # (n)
    int32_t *link           # (nsuper)
    int32_t *served         # (nsuper)
    int64_t *head           # (nsuper)
    Partition cut


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
        cdef Pattern *p = &self.pattern
        cdef const int64_t *start = longs_in(indptr)
        cdef const int32_t *row = ints_in(indices)
        cdef const int64_t *below = longs_in(rows_below)
        cdef uint8_t *memory
        cdef Work work
        cdef double total
        cdef bint well
        self.perm, self.first, self.simplicial_root = perm, first, simplicial_root
        memset(p, 0, sizeof(Pattern))
        p.n = <int32_t>perm.shape[0]
        p.nsuper = <int32_t>(first.shape[0] - 1)
        p.nnz = indices.shape[0]
        p.perm = ints_in(perm)
        p.first = ints_in(first)
        p.simplicial_root = ints_in(simplicial_root)
        total = entries_of_factor(p, below)
        if total > 2.0**60:
            raise OverflowError(
                f"the factor would hold {total:.3g} entries, {total * 8 / 2**30:.3g} GiB in"
                " float64: beyond 64-bit addressing"
            )
        starts = lay_out_block(p, lay_out_starts)
        with nogil:
            offsets(p, below)
        arrays = lay_out_block(p, lay_out_arrays)
        memory = workspace(lay_out_work(&work, NULL, p))
        try:
            lay_out_work(&work, memory, p)
            with nogil:
                well = fill(p, start, row, &work)
            if not well:
                raise ValueError("the numbers of rows below do not belong to this pattern")
            self.blocks = starts, arrays, *make_plan(p, &work.cut, &p.parallel_plan)
            p.serial_plan = p.parallel_plan
            if p.parallel_plan.tasks > 1:
                join_tasks(p, &work.cut)
                self.blocks += make_plan(p, &work.cut, &p.serial_plan)
            p.shared_rows = p.parallel_plan.beyond_start[p.parallel_plan.tasks]
        finally:
            free(memory)

    @property
    def arrays(self) -> dict:
        """Copies of the arrays by name."""
        cdef const Pattern *p = &self.pattern
        cdef Py_ssize_t n = p.n, ns = p.nsuper
        return dict(
            perm=copied(p.perm, n, np.int32),
            first=copied(p.first, ns + 1, np.int32),
            parent=copied(p.parent, ns, np.int32),
            row_start=copied(p.row_start, ns + 1, np.int64),
            rows=copied(p.rows, p.row_start[ns], np.int32),
            place_start=copied(p.place_start, ns + 1, np.int64),
            relative=copied(p.relative, p.place_start[ns], np.int32),
            runs=copied(p.runs, p.place_start[ns], np.int32),
            panel_rows=copied(p.panel_rows, ns, np.int32),
            panel=copied(p.panel, ns + 1, np.int64),
            simplicial_root=copied(p.simplicial_root, ns, np.int32),
            begin=copied(p.begin, ns, np.int32),
            target_start=copied(p.target_start, ns + 1, np.int64),
            target=copied(p.target, p.target_start[ns], np.int32),
            entry_start=copied(p.entry_start, n + 1, np.int64),
            entry_source=copied(p.entry_source, p.nnz, np.int64),
            entry_row=copied(p.entry_row, p.nnz, np.int32),
        )

    @property
    def serial_plan(self) -> dict:
        """Copies of the arrays of the plan for one thread, and its sizes."""
        return arrays_of_plan(&self.pattern, &self.pattern.serial_plan)

    @property
    def parallel_plan(self) -> dict:
        """The same of the plan for several threads."""
        return arrays_of_plan(&self.pattern, &self.pattern.parallel_plan)

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
        given = self.perm.nbytes + self.first.nbytes + self.simplicial_root.nbytes
        return given + sum(block.nbytes for block in self.blocks)


ctypedef int64_t (*layout)(Pattern *p, uint8_t *start) noexcept nogil


cdef object lay_out_block(Pattern *p, layout lay_out):
    """Memory for arrays of a pattern, one after another, where `lay_out` places them.

    A large block is given large pages, which single arrays are too short for: to touch fresh memory
    in small ones can cost as much as to compute what is written there.
    """
    cdef uint8_t[::1] memory
    block = np.empty(max(8, lay_out(p, NULL)), dtype=np.uint8)
    memory = block
    lay_out(p, &memory[0])
    return block


cdef int64_t lay_out_starts(Pattern *p, uint8_t *start) noexcept nogil:
    """Place the arrays whose lengths the supernodes decide; returns their bytes."""
    cdef Block block = Block(start=start, used=0)
    p.row_start = longs(&block, <int64_t>p.nsuper + 1)
    p.place_start = longs(&block, <int64_t>p.nsuper + 1)
    p.panel = longs(&block, <int64_t>p.nsuper + 1)
    p.target_start = longs(&block, <int64_t>p.nsuper + 1)
    p.entry_start = longs(&block, <int64_t>p.n + 1)
    p.parent = ints(&block, p.nsuper)
    p.panel_rows = ints(&block, p.nsuper)
    p.begin = ints(&block, p.nsuper)
    return block.used


cdef int64_t lay_out_arrays(Pattern *p, uint8_t *start) noexcept nogil:
    """Place the arrays whose lengths the starts decide; returns their bytes."""
    cdef Block block = Block(start=start, used=0)
    p.entry_source = longs(&block, p.nnz)
    p.entry_row = ints(&block, p.nnz)
    p.rows = ints(&block, p.row_start[p.nsuper])
    p.relative = ints(&block, p.place_start[p.nsuper])
    p.runs = ints(&block, p.place_start[p.nsuper])
    p.target = ints(&block, p.target_start[p.nsuper])
    return block.used


cdef int64_t lay_out_work(Work *work, uint8_t *start, const Pattern *p) noexcept nogil:
    """Place the workspace; returns its bytes."""
    cdef Block block = Block(start=start, used=0)
    work.inverse = ints(&block, p.n)
    work.starts = longs(&block, <int64_t>p.n + 1)
    work.members = ints(&block, p.nnz - p.n)
    work.sources = longs(&block, p.nnz - p.n)
    work.entry = longs(&block, p.n)
    work.front = <Front *>take(&block, p.nsuper * <int64_t>sizeof(Front))
    work.place = ints(&block, p.n)
    work.waiting = ints(&block, p.n)
    work.link = ints(&block, p.nsuper)
    work.served = ints(&block, p.nsuper)
    work.head = longs(&block, p.nsuper)
    lay_out_partition(&work.cut, &block, p.nsuper)
    return block.used


cdef bint fill(Pattern *p, const int64_t *indptr, const int32_t *indices,
               Work *work) noexcept nogil:
    """Fill the arrays, and cut the tree into tasks; False where the supernodes do not fit A."""
    invert(p.n, p.perm, work.inverse)
    list_upper_triangle(p.n, indptr, indices, work.inverse, work.starts, work.members,
                        work.sources)
    start_entries(p, work.starts, work.members, <int64_t *>p.entry_start)
    p.longest_row = longest_row(p, work.starts)
    if not symbolic_factorization(p, indptr, work.starts, work.members, work.sources, work.front,
                                  work.inverse, work.entry):
        return False
    find_runs(p)
    locate_products(p, work.place, work.waiting, work.link, work.served, work.head)
    predict_times(p, work.cut.time)
    partition(p, &work.cut)
    p.nested = mostly_nested(p)
    return True


cdef int32_t longest_row(const Pattern *p, const int64_t *starts) noexcept nogil:
    """Most entries in a row of A, given where those above the diagonal start."""
    cdef int32_t j
    cdef int64_t most = 0
    for j in range(p.n):
        most = max(most, p.entry_start[j + 1] - p.entry_start[j] + starts[j + 1] - starts[j])
    return <int32_t>most


cdef double entries_of_factor(const Pattern *p, const int64_t *below) noexcept nogil:
    """Entries of the flat factor, where 64 bits hold them or not."""
    cdef int32_t s
    cdef double columns, total = 0
    for s in range(p.nsuper):
        columns = p.first[s + 1] - p.first[s]
        total += columns * (columns + <double>below[s])
    return total


cdef void offsets(Pattern *p, const int64_t *below) noexcept nogil:
    """Where in its arrays what belongs to each supernode starts, and the largest front.

    Columns of a simplicial subtree but the last have no places in the front of the parent; columns
    of a simplicial subtree alone have products. `begin` is the first column of the subtree of each
    root, and of other supernodes they themselves.
    """
    cdef int64_t *row_start = <int64_t *>p.row_start
    cdef int64_t *place_start = <int64_t *>p.place_start
    cdef int64_t *panel = <int64_t *>p.panel
    cdef int64_t *target_start = <int64_t *>p.target_start
    cdef int32_t *begin = <int32_t *>p.begin
    cdef const int32_t *root = p.simplicial_root
    cdef int32_t s, columns
    row_start[0] = place_start[0] = panel[0] = target_start[0] = 0
    for s in range(p.nsuper):
        columns = p.first[s + 1] - p.first[s]
        p.tallest = max(p.tallest, columns + <int32_t>below[s])
        p.widest = max(p.widest, columns)
        begin[s] = s
        row_start[s + 1] = row_start[s] + below[s]
        place_start[s + 1] = place_start[s]
        if root[s] == -1 or root[s] == s:
            place_start[s + 1] += below[s]
        panel[s + 1] = panel[s] + columns * (columns + below[s])
        target_start[s + 1] = target_start[s]
        if root[s] != -1:
            target_start[s + 1] += below[s] * (below[s] + 1) // 2
    p.size = panel[p.nsuper]
    for s in range(p.nsuper - 1, -1, -1):
        if root[s] != -1:
            begin[root[s]] = s


cdef bint mostly_nested(const Pattern *p) noexcept nogil:
    """Whether more than half of the simplicial columns have the rows of the next one, and one more.

    That is so where each vertex has several unknowns: solves then take such columns together. To
    ask column by column does not pay elsewhere.
    """
    cdef Py_ssize_t s, columns = 0, nested = 0
    for s in range(p.nsuper):
        columns += p.simplicial_root[s] != -1
    for s in range(p.nsuper - 1):
        nested += (p.simplicial_root[s] != -1 and p.simplicial_root[s] == p.simplicial_root[s + 1]
                   and p.row_start[s + 1] - p.row_start[s]
                   == p.row_start[s + 2] - p.row_start[s + 1] + 1)
    return 2 * nested > columns
