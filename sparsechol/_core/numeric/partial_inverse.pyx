"""Takahashi's partial inverse in frontal form: the entries of A^-1 on the pattern of L + L^H.

The fronts are visited from the roots down. With the panel [L11; L21] of a supernode and M, the
inverse on the rows below, which a child takes out of the panel and the M of its parent:

        [ Z11  .  ]  nc        T   = L11^-1,  Y = L21 T
        [ Z21  M  ]  m         Z21 = -M Y,    Z11 = T^H T - Y^H Z21

by blocks of columns of the supernode from the right, M growing to the left. Twice the arithmetic
of the factorization, nearly all of it products.

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

from sparsechol._core.numeric.assembly cimport Place, gather, gather_guests, square_of
from sparsechol._core.numeric.dense cimport (
    AS_IS, DOUBLE, DOUBLE_COMPLEX, FLOAT, PACK, PANEL, Crew, conjugate, invert_columns, kind_of,
    multiply, real, scalar, size_of, solve_right, transpose,
)
from sparsechol._core.parallel.pool cimport POOL_DOWN, pool_run, pool_scratch, pool_worker
from sparsechol._core.symbolic.structure cimport Pattern, Plan, Structure, plan_for


cdef struct Inversion:
    # What a thread works with.
    Place at                    # `panels` takes the partial inverse
    const void *factor          # L
    void *spare                 # two blocks of PANEL columns


cdef void invert_block(int w, int c, int m, const scalar *l, int ld, scalar *z,
                       const scalar *corner, scalar *t, scalar *h,
                       const Crew *crew) noexcept nogil:
    """One block of w columns of a front; `l` and `z` point to its diagonal entry.

        [ F11  .   .  ]  w     block of L = [L11; L21], t = [T; Y] = [I; L21] L11^-1, h = t^H;
        [ F21  Zc  .  ]  c     c columns of the supernode to the right are done
        [ F31  Zb  M  ]  m
    """
    cdef Py_ssize_t rows = w + c + m
    cdef Py_ssize_t step = ld
    cdef Py_ssize_t i, j
    cdef scalar *zc = z + w * (step + 1)
    cdef scalar *zb = zc + c
    for j in range(w):
        for i in range(w):
            t[i + j * rows] = 0
        t[j + j * rows] = 1
        memcpy(t + j * rows + w, l + j * step + w, sizeof(scalar) * (c + m))
    solve_right(AS_IS, <int>rows, w, l, ld, t, <int>rows, crew)
    for j in range(w):
        for i in range(w):
            z[i + j * step] = -t[i + j * rows]
    transpose(rows, w, <const scalar *>t, rows, h)
    # F31 = -M Y3 - Zb Y2,  F21 = -Zc Y2 - Zb^H Y3
    multiply(AS_IS, False, m, w, m, corner, m, <const scalar *>t + w + c, <int>rows, False,
             z + w + c, ld, crew)
    if c:
        multiply(AS_IS, False, m, w, c, <const scalar *>zb, ld, <const scalar *>t + w,
                 <int>rows, True, z + w + c, ld, crew)
        multiply(AS_IS, False, w, c, m, <const scalar *>h + (w + c) * w, w, <const scalar *>zb,
                 ld, False, t, w, crew)
        multiply(AS_IS, False, w, c, c, <const scalar *>h + w * w, w, <const scalar *>zc, ld,
                 True, t, w, crew)
        for j in range(c):
            for i in range(w):
                z[i + (w + j) * step] = t[i + j * w]
                z[w + j + i * step] = conjugate(t[i + j * w])
    # F11 = -h [-T; F21; F31]
    multiply(AS_IS, True, w, w, <int>rows, <const scalar *>h, w, <const scalar *>z, ld, False,
             t, w, crew)
    for j in range(w):
        z[j + j * step] = <scalar>real(t[j + j * w])      # imaginary rounding is left out
        for i in range(j + 1, w):
            z[i + j * step] = t[i + j * w]
            z[j + i * step] = conjugate(t[i + j * w])


cdef void invert_front(const Pattern *p, int32_t s, const Inversion *job,
                       const scalar *witness) noexcept nogil:
    """One front: its M is in place."""
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef int w, j = nc
    cdef const scalar *panel = <const scalar *>job.factor + p.panel[s]
    cdef const scalar *corner = square_of(p, s, &job.at, witness)
    cdef scalar *z = <scalar *>job.at.panels + p.panel[s]
    cdef scalar *t = <scalar *>job.spare
    while j > 0:
        w = min(<int>PANEL, j)
        j -= w
        invert_block(w, nc - j - w, m, panel + j * <Py_ssize_t>(nc + m + 1), nc + m,
                     z + j * <Py_ssize_t>(nc + m + 1), corner, t,
                     t + <Py_ssize_t>PANEL * p.tallest, &job.at.crew)


cdef void invert_task(const Pattern *p, int32_t t, const Inversion *job,
                      const scalar *witness) noexcept nogil:
    """All fronts and regions of one task, from its roots down; the guests get their M."""
    cdef const Plan *plan = job.at.plan
    cdef int32_t k, s
    for k in range(plan.task_start[t + 1] - 1, plan.task_start[t] - 1, -1):
        s = plan.steps[k]
        if p.parent[s] != -1 and plan.handed[s] == -1:
            gather(p, s, &job.at, witness)
        if p.region[s] == -1:
            invert_front(p, s, job, witness)
        else:
            invert_columns(p, s, <const scalar *>job.factor, <scalar *>job.at.panels,
                           <const scalar *>square_of(p, s, &job.at, witness),
                           <scalar *>job.spare)
        gather_guests(p, s, &job.at, witness)


cdef struct Job:
    # One partial inverse, or a batch of them.
    const Pattern *p
    const Plan *plan
    int kind                # scalar type
    int threads
    const char *factor
    char *z
    char *work              # handed over, then each thread's own


cdef inline Py_ssize_t own_space(const Pattern *p, const Plan *plan) noexcept nogil:
    """Scalars of a thread's own workspace: for products, two blocks of columns, matrices M."""
    return <Py_ssize_t>PACK + 2 * <Py_ssize_t>PANEL * p.tallest + plan.updates


cdef inline Inversion inversion_of(const Job *job, Py_ssize_t k, char *shared, char *packs,
                                   int threads, pool_worker *worker) noexcept nogil:
    """Where a thread works on matrix k of a batch; its own workspace begins with its pack."""
    cdef const Pattern *p = job.p
    cdef Py_ssize_t size = size_of(job.kind)
    cdef Py_ssize_t step = size * own_space(p, job.plan)
    cdef char *spare = packs + size * PACK + (step * worker.number if threads > 1 else 0)
    cdef Place at = Place(
        a=NULL, flat=NULL, panels=job.z + size * k * p.size, shared=shared,
        own=spare + size * 2 * <Py_ssize_t>PANEL * p.tallest, kind=job.kind, plan=job.plan,
        crew=Crew(threads=threads, worker=worker, packs=packs, step=step),
    )
    return Inversion(at=at, factor=job.factor + size * k * p.size, spare=spare)


cdef void run_task(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    """One task of a partial inverse."""
    cdef Job *job = <Job *>context
    cdef char *packs = job.work + size_of(job.kind) * job.plan.handovers
    cdef Inversion inversion = inversion_of(job, 0, job.work, packs, job.threads, worker)
    invert_any(job.p, t, &inversion)


cdef void run_matrix(void *context, int32_t k, pool_worker *worker) noexcept nogil:
    """One matrix of a batch: all its tasks."""
    cdef Job *job = <Job *>context
    cdef const Pattern *p = job.p
    cdef Py_ssize_t size = size_of(job.kind)
    cdef Py_ssize_t space = job.plan.handovers + own_space(p, job.plan)
    cdef char *shared = job.work + size * worker.number * space
    cdef char *packs = shared + size * job.plan.handovers
    cdef Inversion inversion = inversion_of(job, k, shared, packs, 1, worker)
    cdef int32_t t
    for t in range(job.plan.tasks - 1, -1, -1):
        invert_any(p, t, &inversion)


cdef inline void invert_any(const Pattern *p, int32_t t, const Inversion *job) noexcept nogil:
    if job.at.kind == DOUBLE:
        invert_task(p, t, job, <const double *>NULL)
    elif job.at.kind == FLOAT:
        invert_task(p, t, job, <const float *>NULL)
    elif job.at.kind == DOUBLE_COMPLEX:
        invert_task(p, t, job, <const double complex *>NULL)
    else:
        invert_task(p, t, job, <const float complex *>NULL)


cdef Py_ssize_t inverse_space(const Pattern *p, Py_ssize_t batch, int threads) noexcept nogil:
    """Scalars of workspace."""
    cdef const Plan *plan = plan_for(p, batch, threads)
    return plan.handovers + threads * own_space(p, plan)


cdef bint invert_all(const Pattern *p, int kind, Py_ssize_t batch, const void *l, void *z,
                     void *work, int threads) noexcept nogil:
    """The partial inverse of each matrix of a batch, neither empty; False without memory."""
    cdef const Plan *plan = plan_for(p, batch, threads)
    cdef Job job = Job(p=p, plan=plan, kind=kind, threads=threads, factor=<const char *>l,
                       z=<char *>z, work=<char *>work)
    cdef void *scratch = malloc(
        pool_scratch(<int32_t>max(batch, <Py_ssize_t>plan.tasks), threads) + 1)
    if scratch == NULL:
        return False
    if batch == 1:
        pool_run(threads, plan.tasks, plan.task_parent, POOL_DOWN, plan.down_rank, run_task, &job,
                 scratch)
    else:
        pool_run(threads, <int32_t>batch, NULL, POOL_DOWN, NULL, run_matrix, &job, scratch)
    free(scratch)
    return True


def workspace(Structure structure, Py_ssize_t batch, int threads):
    """Scalars of workspace that `partial_inverse` needs."""
    return inverse_space(&structure.pattern, batch, threads)


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
    cdef bint done
    if (l.shape[1] != p.size or z.shape[0] != batch or z.shape[1] != p.size or threads < 1
            or work.shape[0] < workspace(structure, batch, threads)):
        raise ValueError("partial_inverse: arrays do not belong to this structure")
    if p.n == 0 or batch == 0:
        return
    if batch >= 2**31 - 1:
        raise OverflowError(f"a batch of {batch} matrices is too large")
    with nogil:
        done = invert_all(p, kind_of(&l[0, 0]), batch, &l[0, 0], &z[0, 0], &work[0], threads)
    if not done:
        raise MemoryError("no memory for the list of tasks")
