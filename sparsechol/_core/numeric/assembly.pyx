"""Fronts put together on the way up the tree and taken apart on the way down (see assembly.pxd)."""

from libc.stdint cimport INT32_MAX, int32_t, int64_t
from libc.string cimport memcpy, memset

from sparsechol._core.numeric.dense cimport (
    DOUBLE, DOUBLE_COMPLEX, FLOAT, gather_lower, mirror, scalar, scatter_add,
)
from sparsechol._core.parallel.pool cimport pool_share, pool_worker
from sparsechol._core.symbolic.structure cimport Pattern


cdef enum:
    SHARED_ROWS = 256       # rows of a front from which its assembly is worth sharing
    TILE = 16               # columns of M that are gathered and mirrored at a time


cdef void open_columns(const Pattern *p, int32_t s, int begin, int end, const Place *at,
                       const scalar *witness) noexcept nogil:
    """Columns `begin` to `end` of the front of s: cleared, and its entries put in.

    The update matrix is not cleared where nothing is added to it before it is computed.
    """
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef scalar *panel = <scalar *>at.panels + p.panel[s]
    cdef scalar *update = square_of(p, s, at, witness)
    cdef int j, split = min(nc, end)
    if begin < split:
        memset(panel + <Py_ssize_t>(nc + m) * begin, 0,
               sizeof(scalar) * <Py_ssize_t>(nc + m) * (split - begin))
        if at.a != NULL:
            put_entries(p, s, begin, split, <const scalar *>at.a, panel)
        elif at.flat != NULL:
            put_panel(nc + m, begin, split, <const scalar *>at.flat + p.panel[s], panel)
    if receives(at, s):
        for j in range(max(nc, begin) - nc, end - nc):
            memset(update + j * <Py_ssize_t>(m + 1), 0, sizeof(scalar) * (m - j))


cdef void extend_columns(const Pattern *p, int32_t s, int begin, int end, const Place *at,
                         const scalar *witness) noexcept nogil:
    """Add the update matrix of s to columns `begin` to `end` of the front of its parent.

        update of s        front of the parent
        [ u11  .  ]   ->   [ panel   .    ]      rows and columns go to `relative`;
        [ u21 u22 ]        [ panel update ]      the first columns land in the panel
    """
    cdef int32_t parent = p.parent[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const int32_t *place = p.relative + p.place_start[s]
    cdef int nc = p.first[parent + 1] - p.first[parent]
    cdef int below = <int>(p.row_start[parent + 1] - p.row_start[parent])
    cdef const scalar *update = square_of(p, s, at, witness)
    cdef int low = lower_bound(place, m, begin)
    cdef int high = lower_bound(place, m, end)
    cdef int split = max(low, min(high, <int>p.panel_rows[s]))
    cdef const int32_t *runs = p.runs + p.place_start[s]
    scatter_add(m, low, split, place, runs, 0, update, <scalar *>at.panels + p.panel[parent],
                nc + below)
    scatter_add(m, split, high, place, runs, nc, update, square_of(p, parent, at, witness), below)


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
    const Pattern *p
    int32_t s               # the front that is opened, or
    int32_t child           # the one that is added to it; -1: none
    int width               # columns in a piece
    const Place *at


cdef void assemble(const Pattern *p, int32_t s, int32_t child, const Place *at,
                   const scalar *witness) noexcept nogil:
    """Open the front of s, or add the update matrix of its child to it."""
    cdef int rows = <int>(p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s])
    cdef Assembly job
    if at.crew.threads == 1 or rows < SHARED_ROWS:
        if child == -1:
            open_columns(p, s, 0, rows, at, witness)
        else:
            extend_columns(p, child, 0, rows, at, witness)
        return
    job = Assembly(p=p, s=s, child=child, width=SHARED_ROWS // 8, at=at)
    pool_share(at.crew.worker, (rows + job.width - 1) // job.width, assemble_piece, &job)


cdef void assemble_piece(void *context, int32_t piece, pool_worker *worker) noexcept nogil:
    cdef const Assembly *job = <const Assembly *>context
    if job.at.kind == DOUBLE:
        assemble_columns(job, piece, <const double *>NULL)
    elif job.at.kind == FLOAT:
        assemble_columns(job, piece, <const float *>NULL)
    elif job.at.kind == DOUBLE_COMPLEX:
        assemble_columns(job, piece, <const double complex *>NULL)
    else:
        assemble_columns(job, piece, <const float complex *>NULL)


cdef inline void assemble_columns(const Assembly *job, int32_t piece,
                                  const scalar *witness) noexcept nogil:
    cdef const Pattern *p = job.p
    cdef int32_t s = job.s
    cdef int rows = <int>(p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s])
    cdef int begin = piece * job.width
    cdef int end = min(rows, begin + job.width)
    if job.child == -1:
        open_columns(p, s, begin, end, job.at, witness)
    else:
        extend_columns(p, job.child, begin, end, job.at, witness)


cdef inline void add_guests(const Pattern *p, int32_t s, int32_t child, int32_t end,
                            const Place *at, const scalar *witness) noexcept nogil:
    """Add what was handed over to the front of s, from one child on and before another."""
    while child != -1 and child < end:
        assemble(p, s, child, at, witness)
        child = at.plan.next_guest[child]


cdef void complete(const Pattern *p, int32_t s, const Place *at,
                   const scalar *witness) noexcept nogil:
    """What is still missing in the front of s when the children in its task are done."""
    if at.plan.leaf[s]:
        assemble(p, s, -1, at, witness)
    add_guests(p, s, at.plan.rest[s], INT32_MAX, at, witness)


cdef void pass_on(const Pattern *p, int32_t s, const Place *at,
                  const scalar *witness) noexcept nogil:
    """Add the update matrix of s, which is done, to the front of its parent in the same task."""
    if p.parent[s] == -1 or at.plan.handed[s] != -1:
        return
    if at.plan.opens[s]:
        assemble(p, p.parent[s], -1, at, witness)
    add_guests(p, p.parent[s], at.plan.before[s], s, at, witness)
    assemble(p, p.parent[s], s, at, witness)


cdef void open_region(const Pattern *p, int32_t root, const Place *at,
                      const scalar *witness) noexcept nogil:
    """The columns of a region and its update matrix: cleared, and the entries put in."""
    cdef int64_t m = p.row_start[root + 1] - p.row_start[root]
    cdef int32_t s, begin = p.begin[root]
    cdef scalar *panels = <scalar *>at.panels
    cdef Py_ssize_t size = p.panel[root + 1] - p.panel[begin]
    if at.flat != NULL:
        memcpy(panels + p.panel[begin], <const scalar *>at.flat + p.panel[begin],
               sizeof(scalar) * size)
    else:
        memset(panels + p.panel[begin], 0, sizeof(scalar) * size)
    if at.a != NULL:
        for s in range(begin, root + 1):
            put_entries(p, s, 0, 1, <const scalar *>at.a, panels + p.panel[s])
    memset(square_of(p, root, at, witness), 0, sizeof(scalar) * m * m)


cdef void gather_columns(const Pattern *p, int32_t s, int begin, int end,
                         const Place *at, const scalar *witness) noexcept nogil:
    """Columns `begin` to `end` of the lower triangle of M, and the rows that mirror them.

        front of the parent
        [ Z11  .  ]        ->      [ m11  .  ]     rows and columns lie at `relative`;
        [ Z21  M  ]                [ m21 m22 ]     the first columns come out of the panel
    """
    cdef int32_t parent = p.parent[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const int32_t *place = p.relative + p.place_start[s]
    cdef const int32_t *runs = p.runs + p.place_start[s]
    cdef int nc = p.first[parent + 1] - p.first[parent]
    cdef int below = <int>(p.row_start[parent + 1] - p.row_start[parent])
    cdef scalar *target = square_of(p, s, at, witness)
    cdef int split = max(begin, min(end, <int>p.panel_rows[s]))
    gather_lower(m, begin, split, place, runs, 0, <const scalar *>at.panels + p.panel[parent],
                 nc + below, target)
    gather_lower(m, split, end, place, runs, nc,
                 <const scalar *>square_of(p, parent, at, witness), below, target)
    mirror(m, begin, end, target)


cdef struct Gathering:
    # A matrix M that the threads of a crew gather together.
    const Pattern *p
    int32_t s
    const Place *at


cdef void gather(const Pattern *p, int32_t s, const Place *at,
                 const scalar *witness) noexcept nogil:
    """The matrix M of s out of the front of its parent."""
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef Gathering job
    if at.crew.threads == 1 or m < SHARED_ROWS:
        gather_columns(p, s, 0, m, at, witness)
    else:
        job = Gathering(p=p, s=s, at=at)
        pool_share(at.crew.worker, (m + <int>TILE - 1) // <int>TILE, gather_piece, &job)


cdef void gather_piece(void *context, int32_t piece, pool_worker *worker) noexcept nogil:
    """One tile of columns."""
    cdef const Gathering *job = <const Gathering *>context
    cdef int m = <int>(job.p.row_start[job.s + 1] - job.p.row_start[job.s])
    cdef int begin = piece * <int>TILE
    cdef int end = min(begin + <int>TILE, m)
    if job.at.kind == DOUBLE:
        gather_columns(job.p, job.s, begin, end, job.at, <const double *>NULL)
    elif job.at.kind == FLOAT:
        gather_columns(job.p, job.s, begin, end, job.at, <const float *>NULL)
    elif job.at.kind == DOUBLE_COMPLEX:
        gather_columns(job.p, job.s, begin, end, job.at, <const double complex *>NULL)
    else:
        gather_columns(job.p, job.s, begin, end, job.at, <const float complex *>NULL)


cdef void gather_guests(const Pattern *p, int32_t s, const Place *at,
                        const scalar *witness) noexcept nogil:
    """The matrices M of the children of s that belong to other tasks."""
    cdef int32_t child = at.plan.guest[s]
    while child != -1:
        gather(p, child, at, witness)
        child = at.plan.next_guest[child]
