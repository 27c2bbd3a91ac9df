"""Takahashi's partial inverse in frontal form: the entries of A^-1 on the pattern of L + L^H.

The fronts are visited from the roots down. F, the inverse on all rows of a front, starts as its
corner M, which a child takes out of the front of its parent, and grows to the left by blocks of
columns of the supernode:

        [  .    .   .  ]       block L = [L11; L21], inverse below it known: M = F22
        [  .   F11  .  ]  w        T   = L11^-1,  Y = L21 T
        [  .   F21 F22 ]  r        F21 = -F22 Y,  F11 = T^H T - Y^H F21

Twice the arithmetic of the factorisation, nearly all of it products.

References
----------
Takahashi, K., Fagan, J., Chen, M.-S. (1973). Formation of a sparse bus impedance matrix and its
    application to short circuit study. 8th PICA Conference, 63-69.
Campbell, Y. E., Davis, T. A. (1995). Computing the sparse inverse subset: an inverse multifrontal
    approach. Technical report TR-95-021, University of Florida.
"""

from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from sparsechol.numeric.dense cimport (
    AS_IS, DOUBLE, DOUBLE_COMPLEX, FLOAT, PACK, PANEL, Crew, conjugate, invert_columns, kind_of,
    multiply, real, scalar, size_of, solve_right,
)
from sparsechol.numeric.pool cimport POOL_DOWN, pool_run, pool_scratch, pool_worker
from sparsechol.symbolic.structure cimport Pattern, Structure


cdef inline Py_ssize_t front_rows(const Pattern *p, int32_t s) noexcept nogil:
    """Order of the whole front of s; of a region's root it is the corner alone."""
    if p.region[s] != -1:
        return p.row_start[s + 1] - p.row_start[s]
    return p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]


cdef void gather_corner(const Pattern *p, int32_t s, const scalar *front, scalar *target,
                        Py_ssize_t ld) noexcept nogil:
    """The inverse on the rows below s, out of the front of its parent.

        front of the parent
        rows and columns of s lie     ->           M, with leading dimension ld
        at `relative`
    """
    cdef Py_ssize_t m = p.row_start[s + 1] - p.row_start[s]
    cdef const int32_t *place = p.relative + p.row_start[s]
    cdef Py_ssize_t above = front_rows(p, p.parent[s])
    cdef const scalar *source
    cdef Py_ssize_t i, j
    for j in range(m):
        source = front + place[j] * above
        for i in range(m):
            target[i] = source[place[i]]
        target += ld


cdef inline void receive_corner(const Pattern *p, int32_t s, const scalar *shared,
                                scalar *own) noexcept nogil:
    """The inverse on the rows below s into the corner of its own front.

        [ .  . ]
        [ .  M ]   from the parent's front, or from what its task has handed over
    """
    cdef Py_ssize_t m = p.row_start[s + 1] - p.row_start[s]
    cdef Py_ssize_t rows = front_rows(p, s)
    cdef scalar *corner = own + p.front[s] + (rows - m) * (rows + 1)
    cdef Py_ssize_t j
    if p.handed[s] == -1:
        gather_corner(p, s, <const scalar *>own + p.front[p.parent[s]], corner, rows)
    else:
        for j in range(m):
            memcpy(corner + j * rows, shared + p.update[s] + j * m, sizeof(scalar) * m)


cdef void invert_block(int w, int r, const scalar *l, scalar *f, int ld, scalar *t,
                       scalar *h, const Crew *crew) noexcept nogil:
    """One block of columns of a front; `l` and `f` point to its diagonal entry.

    `t` and `h` hold w (w + r) scalars each: t = [T; Y] = [I; L21] L11^-1 and h = t^H, so that
    F11 = -h [-T; F21].
    """
    cdef Py_ssize_t rows = w + r
    cdef Py_ssize_t i, j
    cdef scalar *f21 = f + w
    for j in range(w):
        for i in range(w):
            t[i + j * rows] = 0
        t[j + j * rows] = 1
        memcpy(t + j * rows + w, l + j * <Py_ssize_t>ld + w, sizeof(scalar) * r)
    solve_right(AS_IS, <int>rows, w, l, ld, t, <int>rows, crew)
    for j in range(w):
        for i in range(w):
            f[i + j * ld] = -t[i + j * rows]
        for i in range(rows):
            h[j + i * w] = conjugate(t[i + j * rows])
    multiply(AS_IS, False, r, w, r, <const scalar *>f21 + w * <Py_ssize_t>ld, ld,
             <const scalar *>t + w, <int>rows, False, f21, ld, crew)
    multiply(AS_IS, True, w, w, <int>rows, <const scalar *>h, w, <const scalar *>f, ld, False, t, w,
             crew)
    for j in range(w):
        f[j + j * ld] = <scalar>real(t[j + j * w])      # imaginary rounding is left out
        for i in range(j + 1, w):
            f[i + j * ld] = t[i + j * w]
    mirror(rows, w, f, ld)


cdef inline void mirror(Py_ssize_t rows, Py_ssize_t w, scalar *f, Py_ssize_t ld) noexcept nogil:
    """The first w rows of f from its first w columns, by tiles."""
    cdef Py_ssize_t i, j, begin = 0
    while begin < rows:
        for j in range(w):
            for i in range(max(begin, j + 1), min(begin + 16, rows)):
                f[j + i * ld] = conjugate(f[i + j * ld])
        begin += 16


cdef void invert_front(const Pattern *p, int32_t s, const scalar *l, scalar *z, scalar *own,
                       scalar *t, const Crew *crew) noexcept nogil:
    """One front: its corner is in place."""
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int rows = <int>front_rows(p, s)
    cdef int w, j = nc
    cdef const scalar *panel = l + p.panel[s]
    cdef scalar *f = own + p.front[s]
    while j > 0:
        w = min(<int>PANEL, j)
        j -= w
        invert_block(w, rows - j - w, panel + j * <Py_ssize_t>(rows + 1),
                     f + j * <Py_ssize_t>(rows + 1), rows, t, t + <Py_ssize_t>PANEL * p.tallest,
                     crew)
    memcpy(z + p.panel[s], f, sizeof(scalar) * <Py_ssize_t>rows * nc)


cdef void invert_task(const Pattern *p, int32_t t, const scalar *l, scalar *z, scalar *shared,
                      scalar *own, const Crew *crew) noexcept nogil:
    """All fronts and regions of one task, from its roots down; the guests get their corners."""
    cdef int32_t k, s, child
    for k in range(p.task_start[t + 1] - 1, p.task_start[t] - 1, -1):
        s = p.steps[k]
        if p.parent[s] != -1:
            receive_corner(p, s, <const scalar *>shared, own)
        if p.region[s] == -1:
            invert_front(p, s, l, z, own, own + p.fronts, crew)
        else:
            invert_columns(p, p.begin[s], s, l, z, <const scalar *>own + p.front[s],
                           own + p.fronts)
        child = p.guest[s]
        while child != -1:
            gather_corner(p, child, <const scalar *>own + p.front[s], shared + p.update[child],
                          p.row_start[child + 1] - p.row_start[child])
            child = p.next_guest[child]


cdef struct Job:
    # One partial inverse, or a batch of them.
    const Pattern *p
    int kind                # scalar type
    int threads
    const char *factor
    char *z
    char *work              # handed over, then each thread's own


cdef inline Py_ssize_t own_space(const Pattern *p) noexcept nogil:
    """Scalars of a thread's own workspace: for products, whole fronts, two blocks of columns."""
    return <Py_ssize_t>PACK + p.fronts + 2 * <Py_ssize_t>PANEL * p.tallest


cdef void run_task(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    """One task of a partial inverse."""
    cdef Job *job = <Job *>context
    cdef const Pattern *p = job.p
    cdef Py_ssize_t size = size_of(job.kind)
    cdef char *packs = job.work + size * p.handovers
    cdef Crew crew = Crew(
        threads=job.threads, worker=worker, packs=packs, step=size * own_space(p),
    )
    invert_any(job.kind, p, t, job.factor, job.z, job.work,
               packs + crew.step * worker.number + size * PACK, &crew)


cdef void run_matrix(void *context, int32_t k, pool_worker *worker) noexcept nogil:
    """One matrix of a batch: all its tasks."""
    cdef Job *job = <Job *>context
    cdef const Pattern *p = job.p
    cdef Py_ssize_t size = size_of(job.kind)
    cdef char *work = job.work + size * worker.number * (p.handovers + own_space(p))
    cdef char *pack = work + size * p.handovers
    cdef Crew crew = Crew(threads=1, worker=worker, packs=pack, step=0)
    cdef int32_t t
    for t in range(p.tasks - 1, -1, -1):
        invert_any(job.kind, p, t, job.factor + size * k * p.size, job.z + size * k * p.size, work,
                   pack + size * PACK, &crew)


cdef inline void invert_any(int kind, const Pattern *p, int32_t t, const void *l, void *z,
                            void *shared, void *own, const Crew *crew) noexcept nogil:
    if kind == DOUBLE:
        invert_task(p, t, <const double *>l, <double *>z, <double *>shared, <double *>own, crew)
    elif kind == FLOAT:
        invert_task(p, t, <const float *>l, <float *>z, <float *>shared, <float *>own, crew)
    elif kind == DOUBLE_COMPLEX:
        invert_task(p, t, <const double complex *>l, <double complex *>z,
                    <double complex *>shared, <double complex *>own, crew)
    else:
        invert_task(p, t, <const float complex *>l, <float complex *>z, <float complex *>shared,
                    <float complex *>own, crew)


def workspace(Structure structure, Py_ssize_t batch, int threads):
    """Scalars of workspace that `partial_inverse` needs."""
    cdef const Pattern *p = &structure.pattern
    return p.handovers * (1 if batch == 1 else threads) + threads * own_space(p)


def partial_inverse(Structure structure, const scalar[:, ::1] l, scalar[:, ::1] z,
                    scalar[::1] work, int threads):
    """Entries of (L L^H)^-1 on the pattern of the panels of L, for each matrix of a batch.

    Parameters
    ----------
    structure : Structure
    l : (batch, structure.size) panels of each L.
    z : (batch, structure.size) overwritten with the panels of the inverse; diagonal blocks are
        full.
    work : (workspace(structure, batch, threads),) workspace.
    threads : most threads to work at once: on the tasks of one matrix, or on several matrices.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t batch = l.shape[0]
    cdef Job job
    cdef void *scratch
    if (l.shape[1] != p.size or z.shape[0] != batch or z.shape[1] != p.size or threads < 1
            or work.shape[0] < workspace(structure, batch, threads)):
        raise ValueError("partial_inverse: arrays do not belong to this structure")
    if p.n == 0 or batch == 0:
        return
    if batch >= 2**31 - 1:
        raise OverflowError(f"a batch of {batch} matrices is too large")
    job.p = p
    job.kind = kind_of(&l[0, 0])
    job.threads = threads
    job.factor = <const char *>&l[0, 0]
    job.z = <char *>&z[0, 0]
    job.work = <char *>&work[0]
    scratch = malloc(pool_scratch(<int32_t>max(batch, <Py_ssize_t>p.tasks), threads) + 1)
    if scratch == NULL:
        raise MemoryError("no memory for the list of tasks")
    with nogil:
        if batch == 1:
            pool_run(threads, p.tasks, p.task_parent, POOL_DOWN, p.down_rank, run_task, &job,
                     scratch)
        else:
            pool_run(threads, <int32_t>batch, NULL, POOL_DOWN, NULL, run_matrix, &job, scratch)
        free(scratch)
