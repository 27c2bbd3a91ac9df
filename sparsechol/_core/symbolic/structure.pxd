"""The analyzed pattern as the numeric kernels see it: plain pointers, no Python object."""

from libc.stdint cimport int32_t, int64_t, uint8_t


cdef struct Plan:
    # How a sweep goes through the tree, on one thread or in tasks for several.
    int32_t tasks               # number of tasks
    int64_t updates             # entries of a thread's own update matrices, alive at once
    int64_t handovers           # entries of the update matrices handed over, alive at once
    const int32_t *task_start   # (tasks + 1) into steps
    const int32_t *steps        # fronts and roots of regions, task by task, ascending in each
    const int32_t *task_parent  # (tasks) task above, -1 for none
    const int32_t *up_rank      # (tasks) order of urgency from the leaves up
    const int32_t *down_rank    # (tasks) and from the roots down
    const uint8_t *leaf         # (nsuper) region, or front with no child in its task
    const uint8_t *opens        # (nsuper) first child of its parent in their task
    const int32_t *guest        # (nsuper) first child that is handed over, -1 for none
    const int32_t *before       # (nsuper) first guest of the parent to be added before this child
    const int32_t *rest         # (nsuper) first guest after the last child of the task
    const int32_t *next_guest   # (nsuper) next sibling that is handed over, -1 for none
    const int64_t *handed       # (nsuper) start of its rows among all handed over, -1 if it is not
    const int64_t *update       # (nsuper) start of each update matrix: a thread's own, or handed


cdef struct Pattern:
    int32_t n                   # order of the matrix
    int32_t nsuper              # number of supernodes
    int32_t tallest             # most rows of a front
    int32_t widest              # most columns of a front
    int64_t nnz                 # stored values of A
    int64_t size                # entries of the flat factor
    int64_t handed_rows         # rows of all update matrices handed over
    const int32_t *perm         # original row at each place
    const int32_t *first        # (nsuper + 1) first column of each supernode
    const int32_t *parent       # (nsuper) parent supernode, -1 for a root
    const int64_t *row_start    # (nsuper + 1) into rows
    const int32_t *rows         # rows below each supernode, ascending
    const int64_t *place_start  # (nsuper + 1) into relative and runs, which steps alone have
    const int32_t *relative     # their places in the parent's front
    const int32_t *runs         # where rows that are placed alike end, see structure.pyx
    const int32_t *panel_rows   # (nsuper) how many of them lie in the columns of the parent
    const int64_t *panel        # (nsuper + 1) start of each panel in the flat factor
    const int32_t *region       # (nsuper) root of the region it is a column of, -1 for a front
    const int32_t *begin        # (nsuper) first column of the region of a root, else itself
    const int64_t *target_start     # (nsuper + 1) into target
    const int32_t *target       # where the products of a column of a region go, see structure.pyx
    Plan alone                  # for one thread: one task
    Plan crowd                  # for several threads
    const int64_t *entry_start  # (n + 1) entries of A by permuted column
    const int64_t *entry_source     # stored value of A, complemented where it is conjugated
    const int32_t *entry_row        # its row in the front


cdef class Structure:
    cdef Pattern pattern
    cdef readonly dict arrays
    cdef readonly dict alone
    cdef readonly dict crowd


cdef inline const Plan *plan_for(const Pattern *p, Py_ssize_t batch, int threads) noexcept nogil:
    """How to go through the tree: a batch gives each matrix to one thread."""
    return &p.crowd if batch == 1 and threads > 1 else &p.alone
