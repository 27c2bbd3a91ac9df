"""Tasks: pieces of the tree that one thread does from beginning to end.

A step is a front or a region, which goes by its root. Going up the tree, the subtrees of siblings
are put together until their predicted time reaches the grain, then they are a task; what is left
joins its parent. So a task is a piece of the tree, or several under one parent, and the tasks are a
forest of their own.

The update matrix of a step whose parent belongs to another task is handed over: it lies in memory
that all threads share. The tasks' places there alternate with their depth: when a task writes, the
matrices of its children, on the other side, are read, while those of its grandchildren are dead and
give their place. The sweeps from the roots down use the same places in reverse.
"""

from libc.stdint cimport int32_t, int64_t

import numpy as np

# Many more tasks than threads, so that the threads end at about the same time, ...
cdef double PARTS = 128
# ... but none so short (in ns) that starting it is felt.
cdef double SHORTEST = 50_000


def partition(const int32_t[::1] parent, const int32_t[::1] region, const double[::1] time):
    """Task of each step (-1 for the columns of a region but its root), and the tasks' parents.

    Every task comes before its parent.
    """
    cdef Py_ssize_t ns = parent.shape[0]
    cdef int32_t s, p, t = 0
    cdef double grain
    task_array = np.full(ns, -1, dtype=np.int32)
    above_array = np.full(ns + 1, -1, dtype=np.int32)       # supernode above each task
    cdef int32_t[::1] task = task_array
    cdef int32_t[::1] above = above_array
    # Subtrees under one parent (the last place: roots) that wait for more.
    cdef double[::1] waiting = np.zeros(ns + 1)
    cdef int32_t[::1] head = np.full(ns + 1, -1, dtype=np.int32)
    cdef int32_t[::1] link = np.empty(ns, dtype=np.int32)
    cdef double carried
    grain = max(np.sum(time) / PARTS, SHORTEST)
    with nogil:
        for s in range(ns):
            if region[s] != -1 and region[s] != s:
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
            if task[s] == -1 and (region[s] == -1 or region[s] == s):
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
    if count == 1:
        return np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.int32)
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
    return places(np.asarray(up)), places(np.asarray(down))


def places(length):
    """Place of each task when the longest comes first."""
    rank = np.empty(length.shape[0], dtype=np.int32)
    rank[np.argsort(-length, kind="stable")] = np.arange(length.shape[0], dtype=np.int32)
    return rank


def handovers(const int32_t[::1] handed, const int64_t[::1] below, const int32_t[::1] task,
              const int32_t[::1] parent):
    """Start of the update matrix of each step in `handed`, and the length of the shared memory.

    With the children's memory side by side, a task needs on its own side the larger of its own
    matrices and its children's, and on the other side what its children need there.
    """
    cdef Py_ssize_t count = parent.shape[0]
    cdef int32_t t, p, side
    cdef Py_ssize_t k
    cdef int64_t base
    if handed.shape[0] == 0:
        return np.empty(0, dtype=np.int64), 0
    cdef int32_t[::1] level = np.zeros(count, dtype=np.int32)
    cdef int64_t[::1] own = np.zeros(count, dtype=np.int64)
    cdef int64_t[:, ::1] need = np.zeros((2, count), dtype=np.int64)
    cdef int64_t[:, ::1] start = np.zeros((2, count), dtype=np.int64)
    cdef int64_t total[2]
    place_array = np.empty(handed.shape[0], dtype=np.int64)
    cdef int64_t[::1] place = place_array
    with nogil:
        for t in range(<int32_t>count - 1, -1, -1):
            if parent[t] != -1:
                level[t] = 1 - level[parent[t]]
        for k in range(handed.shape[0]):
            own[task[handed[k]]] += below[handed[k]] * below[handed[k]]
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
        for k in range(handed.shape[0]):
            t = task[handed[k]]
            place[k] = start[level[t], t]
            start[level[t], t] += below[handed[k]] * below[handed[k]]
    return place_array, total[0] + total[1]
