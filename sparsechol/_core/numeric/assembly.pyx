"""Fronts put together on the way up the tree and taken apart on the way down (see assembly.pxd)."""

from libc.stdint cimport INT32_MAX, int32_t, int64_t
from libc.string cimport memcpy, memset

from sparsechol._core.numeric.dense cimport (
    DOUBLE, DOUBLE_COMPLEX, FLOAT, element, gather_lower, mirror, scatter_add,
)
from sparsechol._core.parallel.pool cimport pool_share, pool_worker
from sparsechol._core.numeric.sweep_driver cimport FrontContext
from sparsechol._core.symbolic.structure cimport Pattern


cdef enum:
    SHARED_ROWS = 256       # rows of a front from which its assembly is worth sharing
    TILE = 16               # columns of a square that are gathered and mirrored at a time


cdef void open_columns(int32_t s, int begin, int end, const FrontContext *ctx,
                       const element *tag) noexcept nogil:
    """Columns `begin` to `end` of the front of s: cleared, and its entries put in.

    The update matrix is not cleared where nothing is added to it before it is computed.
    """
    cdef const Pattern *p = ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef element *panel = <element *>ctx.panels + p.panel[s]
    cdef element *update = update_matrix(s, ctx, tag)
    cdef int j, split = min(nc, end)
    if begin < split:
        memset(panel + <Py_ssize_t>(nc + m) * begin, 0,
               sizeof(element) * <Py_ssize_t>(nc + m) * (split - begin))
        if ctx.a != NULL:
            put_entries(p, s, begin, split, <const element *>ctx.a, panel)
        elif ctx.flat != NULL:
            put_panel(nc + m, begin, split, <const element *>ctx.flat + p.panel[s], panel)
    if has_children(ctx, s):
        for j in range(max(nc, begin) - nc, end - nc):
            memset(update + j * <Py_ssize_t>(m + 1), 0, sizeof(element) * (m - j))


cdef void extend_columns(int32_t s, int begin, int end, const FrontContext *ctx,
                         const element *tag) noexcept nogil:
    """Add the update matrix of s to columns `begin` to `end` of the front of its parent.

        update of s        front of the parent
        [ u11  .  ]   ->   [ panel   .    ]      rows and columns go to `relative`;
        [ u21 u22 ]        [ panel update ]      the first columns land in the panel
    """
    cdef const Pattern *p = ctx.p
    cdef int32_t parent = p.parent[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const int32_t *place = p.relative + p.place_start[s]
    cdef int nc = p.first[parent + 1] - p.first[parent]
    cdef int below = <int>(p.row_start[parent + 1] - p.row_start[parent])
    cdef const element *update = update_matrix(s, ctx, tag)
    cdef int low = lower_bound(place, m, begin)
    cdef int high = lower_bound(place, m, end)
    cdef int split = max(low, min(high, <int>p.panel_rows[s]))
    cdef const int32_t *runs = p.runs + p.place_start[s]
    scatter_add(m, low, split, place, runs, 0, update, <element *>ctx.panels + p.panel[parent],
                nc + below)
    scatter_add(m, split, high, place, runs, nc, update, update_matrix(parent, ctx, tag), below)


cdef inline int lower_bound(const int32_t *place, int m, int value) noexcept nogil:
    """How many places lie before `value`."""
    cdef int low = 0, high = m, middle
    if m == 0 or value <= place[0]:
        return 0
    if value > place[m - 1]:
        return m
    while low < high:
        middle = (low + high) // 2
        if place[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


cdef struct Assembly:
    # Part of the assembly of a front that the threads of a crew share by columns.
    int32_t s               # the front that is opened, or
    int32_t child           # the one that is added to it; -1: none
    int width               # columns in a piece
    const FrontContext *ctx


cdef void assemble(int32_t s, int32_t child, const FrontContext *ctx,
                   const element *tag) noexcept nogil:
    """Open the front of s, or add the update matrix of its child to it."""
    cdef const Pattern *p = ctx.p
    cdef int rows = <int>(p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s])
    cdef Assembly job
    if ctx.crew.threads == 1 or rows < SHARED_ROWS:
        if child == -1:
            open_columns(s, 0, rows, ctx, tag)
        else:
            extend_columns(child, 0, rows, ctx, tag)
        return
    job = Assembly(s=s, child=child, width=SHARED_ROWS // 8, ctx=ctx)
    pool_share(ctx.crew.worker, (rows + job.width - 1) // job.width, assemble_piece, &job)


cdef void assemble_piece(void *context, int32_t piece, pool_worker *worker) noexcept nogil:
    cdef const Assembly *job = <const Assembly *>context
    if job.ctx.kind == DOUBLE:
        assemble_columns(job, piece, <const double *>NULL)
    elif job.ctx.kind == FLOAT:
        assemble_columns(job, piece, <const float *>NULL)
    elif job.ctx.kind == DOUBLE_COMPLEX:
        assemble_columns(job, piece, <const double complex *>NULL)
    else:
        assemble_columns(job, piece, <const float complex *>NULL)


cdef inline void assemble_columns(const Assembly *job, int32_t piece,
                                  const element *tag) noexcept nogil:
    cdef const Pattern *p = job.ctx.p
    cdef int32_t s = job.s
    cdef int rows = <int>(p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s])
    cdef int begin = piece * job.width
    cdef int end = min(rows, begin + job.width)
    if job.child == -1:
        open_columns(s, begin, end, job.ctx, tag)
    else:
        extend_columns(job.child, begin, end, job.ctx, tag)


cdef inline void add_foreign(int32_t s, int32_t child, int32_t end, const FrontContext *ctx,
                             const element *tag) noexcept nogil:
    """Add the update matrices that other tasks left to s, from one child on and before another."""
    while child != -1 and child < end:
        assemble(s, child, ctx, tag)
        child = ctx.plan.next_foreign[child]


cdef void assemble_rest(int32_t s, const FrontContext *ctx, const element *tag) noexcept nogil:
    """What is still missing in the front of s when the children in its task are done."""
    if ctx.plan.leaf[s]:
        assemble(s, -1, ctx, tag)
    add_foreign(s, ctx.plan.foreign_after[s], INT32_MAX, ctx, tag)


cdef void extend_add_to_parent(int32_t s, const FrontContext *ctx,
                               const element *tag) noexcept nogil:
    """Add the update matrix of s, which is done, to the front of its parent in the same task."""
    cdef const Pattern *p = ctx.p
    if p.parent[s] == -1 or ctx.plan.shared[s]:
        return
    if ctx.plan.opens[s]:
        assemble(p.parent[s], -1, ctx, tag)
    add_foreign(p.parent[s], ctx.plan.foreign_before[s], s, ctx, tag)
    assemble(p.parent[s], s, ctx, tag)


cdef void open_subtree(int32_t root, const FrontContext *ctx, const element *tag) noexcept nogil:
    """A simplicial subtree: columns and update matrix cleared, and the entries put in."""
    cdef const Pattern *p = ctx.p
    cdef int64_t m = p.row_start[root + 1] - p.row_start[root]
    cdef int32_t s, begin = p.begin[root]
    cdef element *panels = <element *>ctx.panels
    cdef Py_ssize_t size = p.panel[root + 1] - p.panel[begin]
    if ctx.flat != NULL:
        memcpy(panels + p.panel[begin], <const element *>ctx.flat + p.panel[begin],
               sizeof(element) * size)
    else:
        memset(panels + p.panel[begin], 0, sizeof(element) * size)
    if ctx.a != NULL:
        for s in range(begin, root + 1):
            put_entries(p, s, 0, 1, <const element *>ctx.a, panels + p.panel[s])
    memset(update_matrix(root, ctx, tag), 0, sizeof(element) * m * m)


cdef void gather_columns(int32_t s, int begin, int end, const FrontContext *ctx,
                         const element *tag) noexcept nogil:
    """Columns `begin` to `end` of the lower triangle of a square, and the rows that mirror them.

        front of the parent
        [ Z11  .  ]        ->      [ m11  .  ]     rows and columns lie at `relative`;
        [ Z21  M  ]                [ m21 m22 ]     the first columns come out of the panel
    """
    cdef const Pattern *p = ctx.p
    cdef int32_t parent = p.parent[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const int32_t *place = p.relative + p.place_start[s]
    cdef const int32_t *runs = p.runs + p.place_start[s]
    cdef int nc = p.first[parent + 1] - p.first[parent]
    cdef int below = <int>(p.row_start[parent + 1] - p.row_start[parent])
    cdef element *target = update_matrix(s, ctx, tag)
    cdef int split = max(begin, min(end, <int>p.panel_rows[s]))
    gather_lower(m, begin, split, place, runs, 0, <const element *>ctx.panels + p.panel[parent],
                 nc + below, target)
    gather_lower(m, split, end, place, runs, nc,
                 <const element *>update_matrix(parent, ctx, tag), below, target)
    mirror(m, begin, end, target)


cdef struct Gathering:
    # A square that the threads of a crew gather together.
    int32_t s
    const FrontContext *ctx


cdef void gather(int32_t s, const FrontContext *ctx, const element *tag) noexcept nogil:
    """The square of s out of the front of its parent."""
    cdef const Pattern *p = ctx.p
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef Gathering job
    if ctx.crew.threads == 1 or m < SHARED_ROWS:
        gather_columns(s, 0, m, ctx, tag)
    else:
        job = Gathering(s=s, ctx=ctx)
        pool_share(ctx.crew.worker, (m + <int>TILE - 1) // <int>TILE, gather_piece, &job)


cdef void gather_piece(void *context, int32_t piece, pool_worker *worker) noexcept nogil:
    """One tile of columns."""
    cdef const Gathering *job = <const Gathering *>context
    cdef int m = <int>(job.ctx.p.row_start[job.s + 1] - job.ctx.p.row_start[job.s])
    cdef int begin = piece * <int>TILE
    cdef int end = min(begin + <int>TILE, m)
    if job.ctx.kind == DOUBLE:
        gather_columns(job.s, begin, end, job.ctx, <const double *>NULL)
    elif job.ctx.kind == FLOAT:
        gather_columns(job.s, begin, end, job.ctx, <const float *>NULL)
    elif job.ctx.kind == DOUBLE_COMPLEX:
        gather_columns(job.s, begin, end, job.ctx, <const double complex *>NULL)
    else:
        gather_columns(job.s, begin, end, job.ctx, <const float complex *>NULL)


cdef void gather_foreign(int32_t s, const FrontContext *ctx, const element *tag) noexcept nogil:
    """The squares of the children of s that belong to other tasks."""
    cdef int32_t child = ctx.plan.foreign_child[s]
    while child != -1:
        gather(child, ctx, tag)
        child = ctx.plan.next_foreign[child]
