"""The analyzed pattern as the numeric kernels see it: plain pointers, no Python object."""

from libc.stdint cimport int32_t, int64_t, uint8_t


cdef struct Plan:
    # How a sweep goes through the tree (see plans.pyx). A step is a front or the root of a
    # simplicial subtree. The update matrix of a step whose parent belongs to another task is
    # shared; the step is a foreign child there.
    int32_t tasks               # number of tasks
    int64_t updates             # entries of a thread's own update matrices, alive at once
    int64_t shared_size         # entries of the shared update matrices, alive at once
    const int32_t *task_start   # (tasks + 1) into steps
    const int32_t *steps        # task by task, ascending in each
    const int32_t *task_parent  # (tasks) task above, -1 for none
    const int32_t *up_rank      # (tasks) order of urgency from the leaves up
    const int32_t *down_rank    # (tasks) and from the roots down
    const uint8_t *leaf         # (nsuper) simplicial subtree, or front with no child in its task
    const uint8_t *opens        # (nsuper) first child of its parent in their task
    const int32_t *foreign_child    # (nsuper) first foreign child, -1 for none
    const int32_t *foreign_before   # (nsuper) foreign sibling to be added first before this child
    const int32_t *foreign_after    # (nsuper) first foreign child after the last one of the task
    const int32_t *next_foreign     # (nsuper) next foreign sibling, -1 for none
    const uint8_t *shared           # (nsuper) whether its update matrix is shared
    const int64_t *update       # (nsuper) start of each update matrix: a thread's own, or shared
    const int32_t *task_child   # (tasks) first task below, -1 for none
    const int32_t *next_task    # (tasks) next task below the same one, -1 for none
    const int64_t *beyond_start     # (tasks + 1) into beyond
    const int32_t *beyond       # rows that shared update matrices of each task have, ascending


cdef struct Pattern:
    int32_t n                   # order of the matrix
    int32_t nsuper              # number of supernodes
    int32_t tallest             # most rows of a front
    int32_t widest              # most columns of a front
    int32_t longest_row         # most entries in a row of A, of both triangles
    bint nested                 # whether most simplicial columns have the rows of the next one
    int64_t nnz                 # stored values of A
    int64_t size                # entries of the flat factor
    int64_t shared_rows         # rows beyond the tasks of the parallel plan
    const int32_t *perm         # original row at each place
    const int32_t *first        # (nsuper + 1) first column of each supernode
    const int32_t *parent       # (nsuper) parent supernode, -1 for a root
    const int64_t *row_start    # (nsuper + 1) into rows
    const int32_t *rows         # rows below each supernode, ascending
    const int64_t *place_start  # (nsuper + 1) into relative and runs, which steps alone have
    const int32_t *relative     # their places in the parent's front
    const int32_t *runs         # where rows that are placed alike end, see `find_runs`
    const int32_t *panel_rows   # (nsuper) how many of them lie in the columns of the parent
    const int64_t *panel        # (nsuper + 1) start of each panel in the flat factor
    const int32_t *simplicial_root  # (nsuper) of the subtree it is a column of, -1 for a front
    const int32_t *begin        # (nsuper) first column of the subtree of such a root, else itself
    const int64_t *target_start     # (nsuper + 1) into target
    const int32_t *target       # where products of its columns go, see structure.pyx
    Plan serial_plan            # for one thread: one task
    Plan parallel_plan          # for several threads
    const int64_t *entry_start  # (n + 1) entries of A by permuted column
    const int64_t *entry_source     # stored value of A, complemented where it is conjugated
    const int32_t *entry_row        # its row in the front


cdef inline const Plan *plan_for(const Pattern *p, Py_ssize_t batch, int threads) noexcept nogil:
    """How to go through the tree: a batch gives each matrix to one thread."""
    return &p.parallel_plan if batch == 1 and threads > 1 else &p.serial_plan


cdef inline int32_t supernode_of(const Pattern *p, int32_t column) noexcept nogil:
    """The supernode that a column belongs to."""
    cdef int32_t low = 0, high = p.nsuper, middle
    while high - low > 1:
        middle = (low + high) // 2
        if p.first[middle] <= column:
            low = middle
        else:
            high = middle
    return low


cdef inline int64_t place_in(const int32_t *sorted_rows, int64_t low, int64_t high,
                             int32_t row) noexcept nogil:
    """Where a row stands between two places of a sorted list, -1 if it does not."""
    cdef int64_t end = high, middle
    low -= 1
    while high - low > 1:
        middle = (low + high) // 2
        if sorted_rows[middle] < row:
            low = middle
        else:
            high = middle
    return high if high < end and sorted_rows[high] == row else -1


cdef inline int64_t place_in_front(const Pattern *p, int32_t s, int32_t row) noexcept nogil:
    """Where a row, not before supernode s, stands in its front; -1 if it does not."""
    cdef int64_t at
    if row < p.first[s + 1]:
        return row - p.first[s]
    at = place_in(p.rows, p.row_start[s], p.row_start[s + 1], row)
    return -1 if at == -1 else p.first[s + 1] - p.first[s] + at - p.row_start[s]


cdef inline int64_t front_rows(const Pattern *p, int32_t s) noexcept nogil:
    """Rows of a front."""
    return p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
