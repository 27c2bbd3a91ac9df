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

import numpy as np

from sparsechol._core.symbolic.counting cimport accumulate

# Many more tasks than threads, so that the threads end at about the same time, ...
cdef double PARTS = 128
# ... but none so short (in ns) that starting it is felt.
cdef double SHORTEST = 50_000


def _constant(*numbers, dtype=np.int32):
    """A read-only array."""
    array = np.array(numbers, dtype=dtype)
    array.flags.writeable = False
    return array


# The only task of a small matrix, which has nothing to do with others.
ALONE = dict(
    task_parent=_constant(-1), up_rank=_constant(0), down_rank=_constant(0),
    task_child=_constant(-1), next_task=_constant(-1),
    beyond_start=_constant(0, 0, dtype=np.int64), beyond=_constant(),
)


def make_plan(row_start, rows, parent, simplicial_root, time, task, task_parent):
    """Everything that a partition into tasks decides: the contents of a Plan."""
    below = np.diff(row_start)
    steps, task_start, length, shared = steps_by_task(parent, time, task, task_parent)
    leaf, opens, foreign_child, foreign_before, foreign_after, next_foreign = assembly_order(
        parent, simplicial_root, task)
    update, updates = stack_offsets(below, parent, shared, opens, leaf, steps, task_start)
    contents = dict(
        task_start=task_start, steps=steps, leaf=leaf, opens=opens, foreign_child=foreign_child,
        foreign_before=foreign_before, foreign_after=foreign_after, next_foreign=next_foreign,
        shared=shared, update=update,
    )
    shared_size = 0
    if task_parent.shape[0] == 1:
        contents |= ALONE
    else:
        senders = np.flatnonzero(shared).astype(np.int32)
        update[senders], shared_size = shared_offsets(senders, below, task, task_parent)
        up_rank, down_rank = ranks(task_parent, length)
        task_child, next_task = children(task_parent)
        beyond_start, beyond = rows_beyond(shared, row_start, rows, steps, task_start)
        contents |= dict(
            task_parent=task_parent, up_rank=up_rank, down_rank=down_rank, task_child=task_child,
            next_task=next_task, beyond_start=beyond_start, beyond=beyond,
        )
    for array in contents.values():
        array.flags.writeable = False
    return contents | dict(updates=updates, shared_size=shared_size)


def partition(const int32_t[::1] parent, const int32_t[::1] simplicial_root,
              const double[::1] time):
    """Task of each step, and the tasks' parents; every task comes before its parent.

    It is -1 for the columns of a simplicial subtree but its root.
    """
    cdef Py_ssize_t ns = parent.shape[0]
    cdef int32_t s, p, t = 0
    cdef double grain, total = 0
    task_array = np.empty(ns, dtype=np.int32)
    cdef int32_t[::1] task = task_array
    with nogil:
        for s in range(ns):
            total += time[s]
            task[s] = 0 if simplicial_root[s] == -1 or simplicial_root[s] == s else -1
    if ns > 0 and total < SHORTEST:
        return task_array, ALONE["task_parent"]
    above_array = np.empty(ns + 1, dtype=np.int32)          # supernode above each task
    cdef int32_t[::1] above = above_array
    # Subtrees under one parent (the last place: roots) that wait for more.
    cdef double[::1] waiting = np.zeros(ns + 1)
    cdef int32_t[::1] head = np.empty(ns + 1, dtype=np.int32)
    cdef int32_t[::1] link = np.empty(ns, dtype=np.int32)
    cdef double carried
    grain = max(total / PARTS, SHORTEST)
    with nogil:
        for s in range(ns):
            task[s] = head[s] = -1
        head[ns] = -1
        for s in range(ns):
            if simplicial_root[s] != -1 and simplicial_root[s] != s:
                continue
            p = parent[s] if parent[s] != -1 else <int32_t>ns
            carried = time[s] + waiting[s]
            if carried >= grain:
                task[s] = t
                above[t] = parent[s]
                t += 1
                continue
            link[s] = head[p]
            head[p] = s
            waiting[p] += carried
            if waiting[p] >= grain:
                t = close(&head[p], &waiting[p], link, task, above, t, parent[s])
        if head[ns] != -1:
            t = close(&head[ns], &waiting[ns], link, task, above, t, -1)
        for s in range(<int32_t>ns - 1, -1, -1):
            if task[s] == -1 and (simplicial_root[s] == -1 or simplicial_root[s] == s):
                task[s] = task[parent[s]]
        for s in range(t):
            if above[s] != -1:
                above[s] = task[above[s]]
    return task_array, above_array[:t].copy()


cdef int32_t close(int32_t *head, double *waiting, int32_t[::1] link, int32_t[::1] task,
                   int32_t[::1] above, int32_t t, int32_t parent) noexcept nogil:
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


def steps_by_task(const int32_t[::1] parent, const double[::1] time, const int32_t[::1] task,
                  const int32_t[::1] task_parent):
    """Steps task by task, ascending, and those whose update matrix goes to another task.

    Returns
    -------
    steps, task_start : int32, the steps and where each task starts.
    length : float64, predicted time of each task.
    shared : uint8, whether a step's update matrix goes to another task.
    """
    cdef Py_ssize_t ns = task.shape[0]
    cdef Py_ssize_t tasks = task_parent.shape[0]
    cdef int32_t s
    start_array = np.zeros(tasks + 1, dtype=np.int32)
    length_array = np.zeros(tasks)
    shared_array = np.zeros(ns, dtype=np.uint8)
    cdef int32_t[::1] start = start_array
    cdef double[::1] length = length_array
    cdef uint8_t[::1] shared = shared_array
    cdef int32_t[::1] head = np.empty(tasks, dtype=np.int32)
    cdef int32_t[::1] steps
    with nogil:
        for s in range(ns):
            if task[s] == -1:
                continue
            start[task[s] + 1] += 1
            length[task[s]] += time[s]
            shared[s] = parent[s] != -1 and task[parent[s]] != task[s]
        accumulate(start, head)
    steps_array = np.empty(start_array[tasks], dtype=np.int32)
    steps = steps_array
    with nogil:
        for s in range(ns):
            if task[s] != -1:
                steps[head[task[s]]] = s
                head[task[s]] += 1
    return steps_array, start_array, length_array, shared_array


def assembly_order(const int32_t[::1] parent, const int32_t[::1] simplicial_root,
                   const int32_t[::1] task):
    """How each front begins, and in which order its children are added: ascending.

    Returns
    -------
    leaf : uint8, 1 for a simplicial subtree and for a front without a child in its task.
    opens : uint8, 1 for the first child of a front in their task.
    foreign_child, foreign_before, foreign_after, next_foreign : int32, children of a front from
        other tasks as linked lists, ascending: the first; the one to be added before a child of the
        same task; the one after the last of those; the next.
    """
    cdef Py_ssize_t ns = parent.shape[0]
    cdef int32_t s, p
    leaf_array = np.empty(ns, dtype=np.uint8)
    opens_array = np.empty(ns, dtype=np.uint8)
    cdef uint8_t[::1] leaf = leaf_array
    cdef uint8_t[::1] opens = opens_array
    list_array = np.empty((4, ns), dtype=np.int32)
    cdef int32_t[:, ::1] lists = list_array
    cdef int32_t[::1] foreign_child = lists[0]
    cdef int32_t[::1] foreign_before = lists[1]
    cdef int32_t[::1] foreign_after = lists[2]
    cdef int32_t[::1] following = lists[3]
    cdef int32_t[::1] opener = np.empty(ns, dtype=np.int32)
    with nogil:
        for s in range(ns):
            opens[s] = 0
            foreign_child[s] = foreign_before[s] = foreign_after[s] = following[s] = opener[s] = -1
        for s in range(<int32_t>ns - 1, -1, -1):
            p = parent[s]
            if task[s] == -1 or p == -1:
                continue
            if task[p] != task[s]:
                following[s] = foreign_child[p]
                foreign_child[p] = s
            elif opener[p] == -1:
                foreign_after[p] = foreign_child[p]
                opener[p] = s
            else:
                foreign_before[opener[p]] = foreign_child[p] if foreign_child[p] < opener[p] else -1
                opener[p] = s
        for s in range(ns):
            leaf[s] = task[s] != -1 and (simplicial_root[s] == s or opener[s] == -1)
            if opener[s] == -1:
                foreign_after[s] = foreign_child[s]
            else:
                opens[opener[s]] = 1
                foreign_before[opener[s]] = foreign_child[s] if foreign_child[s] < opener[s] else -1
    return leaf_array, opens_array, *list_array


def stack_offsets(const int64_t[::1] orders, const int32_t[::1] parent,
                  const uint8_t[::1] shared, const uint8_t[::1] opens,
                  const uint8_t[::1] leaf, const int32_t[::1] steps,
                  const int32_t[::1] task_start):
    """Start of a square matrix for each step in a thread's workspace, and its length.

    Plays each task once on two stacks (even and odd levels); the stack of the odd levels starts
    where the even one is ever highest. What goes to another task is left out. OverflowError where
    64 bits do not hold the length.
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
                if leaf[s] and not shared[s]:
                    start[s] = push(orders[s], &top[level[s]], &highest[level[s]])
                if opens[s] and not shared[p]:
                    start[p] = push(orders[p], &top[level[p]], &highest[level[p]])
                if not shared[s]:
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
