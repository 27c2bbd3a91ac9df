"""Takahashi's partial inverse in frontal form: the entries of A^-1 on the pattern of L + L^H.

The fronts are visited from the roots down. With the panel [L11; L21] of a supernode and M, the
inverse on the rows below, which a child takes out of the panel and the M of its parent:

        [ Z11  .  ]  nc        T   = L11^-1,  Y = L21 T
        [ Z21  M  ]  m         Z21 = -M Y,    Z11 = T^H S T - Y^H Z21,    S = sign(diag L11)

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
from libc.string cimport memcpy, memset

from sparsechol._core.numeric.assembly cimport gather, gather_foreign, update_matrix
from sparsechol._core.numeric.dense cimport (
    AS_IS, DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX, KINDS, LANES_OF_4, LANES_OF_8, PANEL,
    Crew, conjugate, element, invert_columns, kind_of, lanes, lanes4, lanes8, multiply, number,
    real, real_part, scalar, sign_of, solve_right, transpose,
)
from sparsechol._core.numeric.sweep_driver cimport (
    FrontContext, Many, Packed, Sweep, SweepJob, each, enter_step, leave_step, on_panels,
    run_sweep, step_work, sweep_job, sweep_space, task_function,
)
from sparsechol._core.parallel.pool cimport pool_begin, pool_call, pool_end, pool_stopped
from sparsechol._core.symbolic.structure cimport Pattern, Plan, Structure


cdef void invert_block(int w, int c, int m, const element *l, int ld, element *z,
                       const element *inverse_below, element *t, element *h,
                       const Crew *crew) noexcept nogil:
    """One block of w columns of a front; `l` and `z` point to its diagonal entry.

        [ F11  .   .  ]  w     block of L = [L11; L21], t = [T; Y] = [I; L21] L11^-1, h = t^H;
        [ F21  Zc  .  ]  c     c columns of the supernode to the right are done
        [ F31  Zb  M  ]  m
    """
    cdef Py_ssize_t rows = w + c + m
    cdef Py_ssize_t step = ld
    cdef Py_ssize_t i, j
    cdef element *zc = z + w * (step + 1)
    cdef element *zb = zc + c
    for j in range(w):
        memset(t + j * rows, 0, sizeof(element) * w)
        t[j + j * rows] = number(1, l)
        memcpy(t + j * rows + w, l + j * step + w, sizeof(element) * (c + m))
    solve_right(AS_IS, <int>rows, w, l, ld, t, <int>rows, crew)
    for j in range(w):
        for i in range(w):
            z[i + j * step] = -t[i + j * rows]
    for i in range(w):
        if element in lanes:
            for j in range(w):
                z[i + j * step] *= sign_of(l[i * (step + 1)])
        elif real(l[i * (step + 1)]) < 0:
            for j in range(w):
                z[i + j * step] = t[i + j * rows]
    transpose(rows, w, <const element *>t, rows, h)
    # F31 = -M Y3 - Zb Y2,  F21 = -Zc Y2 - Zb^H Y3
    multiply(AS_IS, False, m, w, m, inverse_below, m, <const element *>t + w + c, <int>rows, False,
             z + w + c, ld, crew)
    if c:
        multiply(AS_IS, False, m, w, c, <const element *>zb, ld, <const element *>t + w,
                 <int>rows, True, z + w + c, ld, crew)
        multiply(AS_IS, False, w, c, m, <const element *>h + (w + c) * w, w, <const element *>zb,
                 ld, False, t, w, crew)
        multiply(AS_IS, False, w, c, c, <const element *>h + w * w, w, <const element *>zc, ld,
                 True, t, w, crew)
        for j in range(c):
            for i in range(w):
                z[i + (w + j) * step] = t[i + j * w]
                z[w + j + i * step] = conjugate(t[i + j * w])
    # F11 = -h [-S T; F21; F31]
    multiply(AS_IS, True, w, w, <int>rows, <const element *>h, w, <const element *>z, ld, False,
             t, w, crew)
    for j in range(w):
        z[j + j * step] = real_part(t[j + j * w])      # imaginary rounding is left out
        for i in range(j + 1, w):
            z[i + j * step] = t[i + j * w]
            z[j + i * step] = conjugate(t[i + j * w])


cdef void invert_front(int32_t s, const Sweep *sweep, const element *tag) noexcept nogil:
    """One front, whose square is in place."""
    cdef const Pattern *p = sweep.ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef int w, j = nc
    cdef const element *panel = <const element *>sweep.factor + p.panel[s]
    cdef const element *inverse_below = update_matrix(s, &sweep.ctx, tag)
    cdef element *z = <element *>sweep.out + p.panel[s]
    cdef element *t = <element *>sweep.spare
    while j > 0 and not pool_stopped(0):
        w = min(<int>PANEL, j)
        j -= w
        invert_block(w, nc - j - w, m, panel + j * <Py_ssize_t>(nc + m + 1), nc + m,
                     z + j * <Py_ssize_t>(nc + m + 1), inverse_below, t,
                     t + <Py_ssize_t>PANEL * p.tallest, &sweep.ctx.crew)


cdef void invert_task(const Sweep *given, int32_t t, const element *tag) noexcept nogil:
    """All steps of one task, from its roots down; the children in other tasks get their squares."""
    cdef Sweep own = given[0]
    cdef Sweep *sweep = &own
    cdef const FrontContext *ctx = &sweep.ctx
    cdef const Pattern *p = ctx.p
    cdef const Plan *plan = ctx.plan
    cdef int32_t k, s
    for k in range(plan.task_start[t + 1] - 1, plan.task_start[t] - 1, -1):
        s = plan.steps[k]
        if pool_stopped(2 * step_work(p, s)):
            return
        if p.parent[s] != -1 and not plan.shared[s]:
            gather(s, ctx, tag)
        if element in lanes:
            enter_step(sweep, s)
        if p.simplicial_root[s] == -1:
            invert_front(s, sweep, tag)
        else:
            invert_columns(p, s, <const element *>sweep.factor, <element *>sweep.out,
                           <const element *>update_matrix(s, ctx, tag), <element *>sweep.spare)
        if element in lanes:
            leave_step(sweep, s)
        gather_foreign(s, ctx, tag)


cdef task_function tasks[KINDS]
tasks[FLOAT] = <task_function>invert_task[float]
tasks[DOUBLE] = <task_function>invert_task[double]
tasks[FLOAT_COMPLEX] = <task_function>invert_task[floatcomplex]
tasks[DOUBLE_COMPLEX] = <task_function>invert_task[doublecomplex]
tasks[LANES_OF_4] = <task_function>invert_task[lanes4]
tasks[LANES_OF_8] = <task_function>invert_task[lanes8]


cdef SweepJob job_of(const Pattern *p, int kind) noexcept nogil:
    """A job without arrays yet."""
    cdef SweepJob job = sweep_job(p, tasks, kind)
    job.most_work = 75
    job.spare = 2 * <Py_ssize_t>PANEL * p.tallest      # t and h of `invert_block`
    return job


cdef Py_ssize_t inverse_space(const Pattern *p, Packed packed, Py_ssize_t batch,
                              int threads) noexcept nogil:
    """Scalars of workspace."""
    cdef SweepJob job = job_of(p, FLOAT)
    job.packed = packed
    return sweep_space(&job, batch, threads)


cdef bint invert_all(const Pattern *p, int kind, Py_ssize_t batch, Many l, void *z, Packed packed,
                     void *work, int threads) noexcept nogil:
    """The partial inverse of each matrix of a batch, neither empty; False without memory.

    packed : where entries on the pattern of A go in the place of panels, for a batch of several.
    """
    cdef SweepJob job = job_of(p, kind)
    job.arrays.factor = l
    job.out = <char *>z
    job.packed = packed
    return run_sweep(&job, batch, work, threads)


def workspace(Structure structure, Py_ssize_t batch, int threads):
    """Scalars of workspace that `partial_inverse` needs."""
    return inverse_space(&structure.pattern, on_panels(), batch, threads)


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
    cdef pool_call call
    if (l.shape[1] != p.size or z.shape[0] != batch or z.shape[1] != p.size or threads < 1
            or work.shape[0] < workspace(structure, batch, threads)):
        raise ValueError("partial_inverse: arrays do not belong to this structure")
    if p.n == 0 or batch == 0:
        return
    if batch >= 2**31 - 1:
        raise OverflowError(f"a batch of {batch} matrices is too large")
    pool_begin(&call)
    with nogil:
        done = invert_all(p, kind_of(&l[0, 0]), batch, each(&l[0, 0]), &z[0, 0],
                          on_panels(), &work[0], threads)
    pool_end(&call)
    if not done:
        raise MemoryError("no memory for the list of tasks")
