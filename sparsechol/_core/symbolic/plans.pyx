"""Plans: in which order a sweep goes through the tree, and where its square matrices lie.

A task is a piece of the tree that one thread does from beginning to end. A step is a front or a
simplicial subtree, which goes by its root. Going up the tree, the subtrees of siblings are put
together until their predicted time reaches the grain, then they are a task; what is left joins its
parent. So a task is a piece of the tree, or several under one parent, and the tasks are a forest of
their own.

A thread keeps the update matrices of its task in two stacks, one for the even and one for the odd
levels of the tree. A supernode's update matrix is opened when its first child in the task is done
and closed when it has been added to the parent's, so that a child and its parent never share a
stack and nothing is ever moved. The sweeps from the roots down keep matrices of the same size in
the same places, with time reversed.

The update matrix of a step whose parent belongs to another task is shared: it lies in memory that
all threads see, and the step is a foreign child there. The tasks' places in that memory alternate
with their depth: when a task writes, the matrices of its children, on the other side, are read,
while those of its grandchildren are dead and give their place. Foreign or not, children are added
in ascending order, so that the sum has the same bits however the tree is cut.

Solves take vectors from task to task, on all rows of a task's shared update matrices: the rows
beyond the task.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy

import numpy as np

from sparsechol._core.symbolic.blocks cimport (
    Block, bytes_of, doubles, ints, ints_in, longs, longs_in,
)
from sparsechol._core.symbolic.pattern cimport Pattern, Plan

# Many more tasks than threads, so that the threads end at about the same time, ...
cdef double PARTS = 128
# ... but none so short (in ns) that starting it is felt.
cdef double SHORTEST = 50_000

# What an only task has to do with others.
cdef int32_t[1] NONE = [-1]
cdef int32_t[1] FIRST = [0]
cdef int64_t[2] NO_ROWS = [0, 0]


cdef void lay_out_partition(Partition *cut, Block *block, Py_ssize_t ns) noexcept nogil:
    cut.time = doubles(block, ns)
    cut.length = doubles(block, ns + 1)
    cut.task = ints(block, ns)
    cut.parent = ints(block, ns + 1)
    cut.head = ints(block, ns + 1)
    cut.link = ints(block, ns)


cdef tuple make_plan(const Pattern *p, Partition *cut, Plan *plan):
    """Fill a plan with everything that a partition into tasks decides; returns what owns it."""
    cdef uint8_t[::1] memory
    block = np.empty(lay_out(plan, NULL, p.nsuper, cut.tasks), dtype=np.uint8)
    memory = block
    lay_out(plan, &memory[0], p.nsuper, cut.tasks)
    plan.tasks = cut.tasks
    list_steps(p, cut, plan)
    order_assembly(p, cut, plan)
    if not place_updates(p, cut, plan):
        raise OverflowError("the workspace of this factorization is beyond 64-bit addressing")
    if cut.tasks > 1:
        return block, *connect_tasks(p, cut, plan)
    plan.shared_size = 0
    plan.task_parent = plan.task_child = plan.next_task = NONE
    plan.up_rank = plan.down_rank = plan.beyond = FIRST
    plan.beyond_start = NO_ROWS
    return block,


cdef int64_t lay_out(Plan *plan, uint8_t *start, Py_ssize_t ns, Py_ssize_t tasks) noexcept nogil:
    """Place the arrays that every plan has in a block of memory; returns its bytes."""
    cdef Block block = Block(start=start, used=0)
    plan.update = longs(&block, ns)
    plan.task_start = ints(&block, tasks + 1)
    plan.steps = ints(&block, ns)
    plan.foreign_child = ints(&block, ns)
    plan.foreign_before = ints(&block, ns)
    plan.foreign_after = ints(&block, ns)
    plan.next_foreign = ints(&block, ns)
    plan.leaf = bytes_of(&block, ns)
    plan.opens = bytes_of(&block, ns)
    plan.shared = bytes_of(&block, ns)
    return block.used


cdef dict arrays_of_plan(const Pattern *p, const Plan *plan):
    """Copies of the arrays of a plan by name, and its two sizes."""
    cdef Py_ssize_t ns = p.nsuper, tasks = plan.tasks
    return dict(
        updates=plan.updates,
        shared_size=plan.shared_size,
        task_start=copied(plan.task_start, tasks + 1, np.int32),
        steps=copied(plan.steps, plan.task_start[tasks], np.int32),
        task_parent=copied(plan.task_parent, tasks, np.int32),
        up_rank=copied(plan.up_rank, tasks, np.int32),
        down_rank=copied(plan.down_rank, tasks, np.int32),
        leaf=copied(plan.leaf, ns, np.uint8),
        opens=copied(plan.opens, ns, np.uint8),
        foreign_child=copied(plan.foreign_child, ns, np.int32),
        foreign_before=copied(plan.foreign_before, ns, np.int32),
        foreign_after=copied(plan.foreign_after, ns, np.int32),
        next_foreign=copied(plan.next_foreign, ns, np.int32),
        shared=copied(plan.shared, ns, np.uint8),
        update=copied(plan.update, ns, np.int64),
        task_child=copied(plan.task_child, tasks, np.int32),
        next_task=copied(plan.next_task, tasks, np.int32),
        beyond_start=copied(plan.beyond_start, tasks + 1, np.int64),
        beyond=copied(plan.beyond, plan.beyond_start[tasks], np.int32),
    )


cdef object copied(const void *numbers, int64_t count, dtype):
    """An array of its own with the numbers at a place in memory; read-only."""
    cdef uint8_t[::1] into
    array = np.empty(count, dtype=dtype)
    if count:
        into = array.view(np.uint8)
        memcpy(&into[0], numbers, into.shape[0])
    array.flags.writeable = False
    return array


cdef tuple connect_tasks(const Pattern *p, const Partition *cut, Plan *plan):
    """Fill in what several tasks have to do with each other; returns the arrays."""
    cdef const int32_t[::1] senders
    cdef const int64_t[::1] place
    cdef Py_ssize_t k, ns = p.nsuper, steps = plan.task_start[cut.tasks]
    parent = copied(cut.parent, cut.tasks, np.int32)
    shared = copied(plan.shared, ns, np.uint8)
    row_start = copied(p.row_start, ns + 1, np.int64)
    sender_array = np.flatnonzero(shared).astype(np.int32)
    place_array, plan.shared_size = shared_offsets(
        sender_array, np.diff(row_start), copied(cut.task, ns, np.int32), parent)
    senders, place = sender_array, place_array
    for k in range(senders.shape[0]):
        (<int64_t *>plan.update)[senders[k]] = place[k]
    up_rank, down_rank = ranks(parent, copied(cut.length, cut.tasks, np.float64))
    child, following = children(parent)
    beyond_start, beyond = rows_beyond(
        shared, row_start, copied(p.rows, row_start[ns], np.int32),
        copied(plan.steps, steps, np.int32), copied(plan.task_start, cut.tasks + 1, np.int32))
    plan.task_parent = ints_in(parent)
    plan.up_rank = ints_in(up_rank)
    plan.down_rank = ints_in(down_rank)
    plan.task_child = ints_in(child)
    plan.next_task = ints_in(following)
    plan.beyond_start = longs_in(beyond_start)
    plan.beyond = ints_in(beyond)
    return parent, up_rank, down_rank, child, following, beyond_start, beyond


cdef void partition(const Pattern *p, Partition *cut) noexcept nogil:
    """Cut the tree into tasks, of which every one comes before its parent."""
    cdef Py_ssize_t ns = p.nsuper
    cdef int32_t *task = cut.task
    cdef int32_t *above = cut.parent        # supernode above each task, at first
    # Subtrees under one parent (the last place: roots) that wait for more.
    cdef double *waiting = cut.length
    cdef int32_t *head = cut.head
    cdef int32_t *link = cut.link
    cdef int32_t s, q, t = 0
    cdef double grain, carried, total = 0
    for s in range(ns):
        total += cut.time[s]
        task[s] = head[s] = -1
        waiting[s] = 0
    if ns > 0 and total < SHORTEST:
        join_tasks(p, cut)
        return
    head[ns] = -1
    waiting[ns] = 0
    grain = max(total / PARTS, SHORTEST)
    for s in range(ns):
        if not is_step(p, s):
            continue
        q = p.parent[s] if p.parent[s] != -1 else <int32_t>ns
        carried = cut.time[s] + waiting[s]
        if carried >= grain:
            task[s] = t
            above[t] = p.parent[s]
            t += 1
            continue
        link[s] = head[q]
        head[q] = s
        waiting[q] += carried
        if waiting[q] >= grain:
            t = close(&head[q], &waiting[q], link, task, above, t, p.parent[s])
    if head[ns] != -1:
        t = close(&head[ns], &waiting[ns], link, task, above, t, -1)
    for s in range(<int32_t>ns - 1, -1, -1):
        if task[s] == -1 and is_step(p, s):
            task[s] = task[p.parent[s]]
    for s in range(t):
        if above[s] != -1:
            above[s] = task[above[s]]
    cut.tasks = t


cdef void join_tasks(const Pattern *p, Partition *cut) noexcept nogil:
    """Make all of the tree one task."""
    cdef int32_t s
    for s in range(p.nsuper):
        cut.task[s] = 0 if is_step(p, s) else -1
    cut.parent[0] = -1
    cut.tasks = 1


cdef inline bint is_step(const Pattern *p, int32_t s) noexcept nogil:
    """Whether a supernode is a front or the root of a simplicial subtree."""
    return p.simplicial_root[s] == -1 or p.simplicial_root[s] == s


cdef inline int32_t close(int32_t *head, double *waiting, const int32_t *link, int32_t *task,
                          int32_t *above, int32_t t, int32_t parent) noexcept nogil:
    """Make the waiting subtrees a task; returns the number of the next one."""
    while head[0] != -1:
        task[head[0]] = t
        head[0] = link[head[0]]
    waiting[0] = 0
    above[t] = parent
    return t + 1


def ranks(const int32_t[::1] parent, const double[::1] time):
    """Order of urgency of the tasks on the way up and on the way down: longest path first."""
    cdef Py_ssize_t count = parent.shape[0]
    cdef int32_t t
    cdef double[::1] up = np.array(time)
    cdef double[::1] down = np.array(time)
    cdef double[::1] longest = np.zeros(count)
    for t in range(<int32_t>count - 1, -1, -1):
        if parent[t] != -1:
            up[t] += up[parent[t]]
    for t in range(count):
        down[t] += longest[t]
        if parent[t] != -1:
            longest[parent[t]] = max(longest[parent[t]], down[t])
    return rank_of(np.asarray(up)), rank_of(np.asarray(down))


def rank_of(length):
    """Rank of each task when the longest comes first."""
    rank = np.empty(length.shape[0], dtype=np.int32)
    rank[np.argsort(-length, kind="stable")] = np.arange(length.shape[0], dtype=np.int32)
    return rank


def shared_offsets(const int32_t[::1] shared, const int64_t[::1] below, const int32_t[::1] task,
                   const int32_t[::1] parent):
    """Start of the update matrix of each step in `shared`, and the length of the shared memory.

    With the children's memory side by side, a task needs on its own side the larger of its own
    matrices and its children's, and on the other side what its children need there.
    """
    cdef Py_ssize_t count = parent.shape[0]
    cdef int32_t t, p, side
    cdef Py_ssize_t k
    cdef int64_t base
    if shared.shape[0] == 0:
        return np.empty(0, dtype=np.int64), 0
    cdef int32_t[::1] level = np.zeros(count, dtype=np.int32)
    cdef int64_t[::1] own = np.zeros(count, dtype=np.int64)
    cdef int64_t[:, ::1] need = np.zeros((2, count), dtype=np.int64)
    cdef int64_t[:, ::1] start = np.zeros((2, count), dtype=np.int64)
    cdef int64_t total[2]
    place_array = np.empty(shared.shape[0], dtype=np.int64)
    cdef int64_t[::1] place = place_array
    with nogil:
        for t in range(<int32_t>count - 1, -1, -1):
            if parent[t] != -1:
                level[t] = 1 - level[parent[t]]
        for k in range(shared.shape[0]):
            own[task[shared[k]]] += below[shared[k]] * below[shared[k]]
        total[0] = total[1] = 0
        for t in range(count):
            need[level[t], t] = max(need[level[t], t], own[t])
            for side in range(2):
                if parent[t] != -1:
                    start[side, t] = need[side, parent[t]]
                    need[side, parent[t]] += need[side, t]
                else:
                    start[side, t] = total[side]
                    total[side] += need[side, t]
        for t in range(<int32_t>count - 1, -1, -1):
            p = parent[t]
            for side in range(2):
                base = start[side, p] if p != -1 else side * total[0]
                start[side, t] += base
        for k in range(shared.shape[0]):
            t = task[shared[k]]
            place[k] = start[level[t], t]
            start[level[t], t] += below[shared[k]] * below[shared[k]]
    return place_array, total[0] + total[1]


def children(const int32_t[::1] parent):
    """The first child of each node of a forest, and the next sibling; -1 for none."""
    cdef Py_ssize_t count = parent.shape[0]
    cdef int32_t t
    child_array = np.full(count, -1, dtype=np.int32)
    sibling_array = np.full(count, -1, dtype=np.int32)
    cdef int32_t[::1] child = child_array
    cdef int32_t[::1] sibling = sibling_array
    for t in range(<int32_t>count - 1, -1, -1):
        if parent[t] != -1:
            sibling[t] = child[parent[t]]
            child[parent[t]] = t
    return child_array, sibling_array


def rows_beyond(const uint8_t[::1] shared, const int64_t[::1] row_start, const int32_t[::1] rows,
                const int32_t[::1] steps, const int32_t[::1] task_start):
    """The rows of each task's shared update matrices: where they start, and the rows, ascending."""
    cdef Py_ssize_t tasks = task_start.shape[0] - 1
    cdef Py_ssize_t t, k
    cdef int32_t s
    cdef int64_t q, most = 0, count = 0
    start_array = np.zeros(tasks + 1, dtype=np.int64)
    cdef int64_t[::1] start = start_array
    for k in range(steps.shape[0]):
        s = steps[k]
        most += row_start[s + 1] - row_start[s] if shared[s] else 0
    found_array = np.empty(most, dtype=np.int32)
    cdef int32_t[::1] found = found_array
    cdef int32_t[::1] latest = np.full(np.max(rows, initial=-1) + 1, -1, dtype=np.int32)
    with nogil:
        for t in range(tasks):
            for k in range(task_start[t], task_start[t + 1]):
                s = steps[k]
                for q in range(row_start[s], row_start[s + 1] if shared[s] else row_start[s]):
                    if latest[rows[q]] != t:
                        latest[rows[q]] = <int32_t>t
                        found[count] = rows[q]
                        count += 1
            start[t + 1] = count
    for t in range(tasks):
        found_array[start[t]:start[t + 1]].sort()
    return start_array, found_array[:count].copy()


cdef void list_steps(const Pattern *p, Partition *cut, Plan *plan) noexcept nogil:
    """Steps task by task, ascending, and whether the update matrix of each goes to another task.

    The tasks are given their predicted times, too.
    """
    cdef int32_t *start = <int32_t *>plan.task_start
    cdef int32_t *steps = <int32_t *>plan.steps
    cdef uint8_t *shared = <uint8_t *>plan.shared
    cdef const int32_t *task = cut.task
    cdef int32_t s, t
    for t in range(cut.tasks + 1):
        start[t] = 0
    for t in range(cut.tasks):
        cut.length[t] = 0
    for s in range(p.nsuper):
        shared[s] = 0
        if task[s] == -1:
            continue
        start[task[s] + 1] += 1
        cut.length[task[s]] += cut.time[s]
        shared[s] = p.parent[s] != -1 and task[p.parent[s]] != task[s]
    for t in range(cut.tasks):
        cut.head[t] = start[t]
        start[t + 1] += start[t]
    for s in range(p.nsuper):
        if task[s] != -1:
            steps[cut.head[task[s]]] = s
            cut.head[task[s]] += 1


cdef void order_assembly(const Pattern *p, Partition *cut, Plan *plan) noexcept nogil:
    """How each front begins, and in which order its children are added: ascending.

    Filled are `leaf`, `opens`, and the lists of children from other tasks.
    """
    cdef uint8_t *leaf = <uint8_t *>plan.leaf
    cdef uint8_t *opens = <uint8_t *>plan.opens
    cdef int32_t *foreign_child = <int32_t *>plan.foreign_child
    cdef int32_t *foreign_before = <int32_t *>plan.foreign_before
    cdef int32_t *foreign_after = <int32_t *>plan.foreign_after
    cdef int32_t *following = <int32_t *>plan.next_foreign
    cdef const int32_t *task = cut.task
    cdef int32_t *opener = cut.link
    cdef int32_t s, q
    for s in range(p.nsuper):
        opens[s] = 0
        foreign_child[s] = foreign_before[s] = foreign_after[s] = following[s] = opener[s] = -1
    for s in range(p.nsuper - 1, -1, -1):
        q = p.parent[s]
        if task[s] == -1 or q == -1:
            continue
        if task[q] != task[s]:
            following[s] = foreign_child[q]
            foreign_child[q] = s
        elif opener[q] == -1:
            foreign_after[q] = foreign_child[q]
            opener[q] = s
        else:
            foreign_before[opener[q]] = foreign_child[q] if foreign_child[q] < opener[q] else -1
            opener[q] = s
    for s in range(p.nsuper):
        leaf[s] = task[s] != -1 and (p.simplicial_root[s] == s or opener[s] == -1)
        if opener[s] == -1:
            foreign_after[s] = foreign_child[s]
        else:
            opens[opener[s]] = 1
            foreign_before[opener[s]] = foreign_child[s] if foreign_child[s] < opener[s] else -1


cdef bint place_updates(const Pattern *p, Partition *cut, Plan *plan) noexcept nogil:
    """Start of a square matrix for each step in a thread's workspace, and its length.

    Plays each task once on two stacks (even and odd levels); the stack of the odd levels starts
    where the even one is ever highest. What goes to another task is left out. False where 64 bits
    do not hold the length.
    """
    cdef int64_t *start = <int64_t *>plan.update
    cdef const uint8_t *shared = plan.shared
    cdef int32_t *level = cut.link
    cdef int32_t k, s, q, t
    cdef int64_t top[2]
    cdef int64_t highest[2]
    cdef double total = 0
    for s in range(p.nsuper):
        total += <double>rows_below(p, s) * <double>rows_below(p, s)
    if total > 2.0**60:
        return False
    highest[0] = highest[1] = 0
    for s in range(p.nsuper - 1, -1, -1):
        start[s] = 0
        level[s] = 1 - level[p.parent[s]] if p.parent[s] != -1 else 0
    for t in range(cut.tasks):
        top[0] = top[1] = 0
        for k in range(plan.task_start[t], plan.task_start[t + 1]):
            s = plan.steps[k]
            q = p.parent[s]
            if plan.leaf[s] and not shared[s]:
                start[s] = push(rows_below(p, s), &top[level[s]], &highest[level[s]])
            if plan.opens[s] and not shared[q]:
                start[q] = push(rows_below(p, q), &top[level[q]], &highest[level[q]])
            if not shared[s]:
                top[level[s]] = start[s]
    for s in range(p.nsuper):
        if level[s]:
            start[s] += highest[0]
    plan.updates = highest[0] + highest[1]
    return True


cdef inline int64_t rows_below(const Pattern *p, int32_t s) noexcept nogil:
    """Rows below a supernode: the order of its update matrix."""
    return p.row_start[s + 1] - p.row_start[s]


cdef inline int64_t push(int64_t order, int64_t *top, int64_t *highest) noexcept nogil:
    """Take a square matrix from a stack; returns where it starts."""
    cdef int64_t start = top[0]
    top[0] += order * order
    highest[0] = max(highest[0], top[0])
    return start
