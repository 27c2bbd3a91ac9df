"""Multifrontal Cholesky factorization.

The fronts of a task (see symbolic.tasks) are visited in postorder. A front is opened (panel and
update matrix cleared, the entries of A put in) when its first child in the task is done, so that
every child adds its update matrix to it while that is still in cache. What other tasks hand over is
added between them, so that the children come in ascending order: the result has the same bits for
any number of threads. Regions (see symbolic.structure) are done column by column.

References
----------
Duff, I. S., Reid, J. K. (1983). The multifrontal solution of indefinite sparse symmetric linear
    equations. ACM Trans. Math. Softw. 9(3), 302-325.
Liu, J. W. H. (1992). The multifrontal method for sparse matrix solution: theory and practice.
    SIAM Review 34(1), 82-109.
"""

from libc.stdint cimport INT32_MAX, int32_t
from libc.stdlib cimport free, malloc

import numpy as np

from sparsechol._core.numeric.assembly cimport (
    Place, complete, open_region, pass_on, receives, square_of,
)
from sparsechol._core.numeric.dense cimport (
    ADJOINT, DOUBLE, DOUBLE_COMPLEX, FLOAT, PACK, Crew, factor_columns, factor_panel, kind_of,
    multiply, real, scalar, size_of,
)
from sparsechol._core.parallel.pool cimport (
    POOL_UP, pool_least, pool_lower, pool_read, pool_run, pool_scratch, pool_worker,
)
from sparsechol._core.symbolic.structure cimport Pattern, Plan, Structure, plan_for


cdef inline void merge_outcomes(Outcome *outcome, const Outcome *other) noexcept nogil:
    """The first failure and the weakest column, the first of equals: in any order the same."""
    if other.failed < outcome.failed:
        outcome.failed = other.failed
        outcome.pivot = other.pivot
    if (other.ratio < outcome.ratio
            or other.ratio == outcome.ratio and other.weakest < outcome.weakest):
        outcome.ratio = other.ratio
        outcome.weakest = other.weakest


cdef bint factor_front(const Pattern *p, int32_t s, const Place *at, const scalar *witness,
                       Outcome *outcome) noexcept nogil:
    """Factor one front; False if a pivot is not positive."""
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef scalar *panel = <scalar *>at.panels + p.panel[s]
    cdef int bad
    complete(p, s, at, witness)
    #   [ F11  .  ]      L11 = chol(F11), L21 = F21 L11^-H
    #   [ F21 F22 ]      F22 <- F22 - L21 L21^H
    bad = factor_panel(nc + m, nc, panel, nc + m, &at.crew)
    if bad >= 0:
        outcome.failed = p.first[s] + bad
        outcome.pivot = real(panel[bad * <Py_ssize_t>(nc + m + 1)])
        return False
    weigh_pivots(p, s, <const scalar *>at.a, <const scalar *>panel, nc + m, outcome)
    if m:
        multiply(ADJOINT, True, m, m, nc, <const scalar *>panel + nc, nc + m,
                 <const scalar *>panel + nc, nc + m, receives(at, s), square_of(p, s, at, witness),
                 m, &at.crew)
    return True


cdef bint factor_region(const Pattern *p, int32_t root, const Place *at, const scalar *witness,
                        Outcome *outcome) noexcept nogil:
    """Factor the columns of one region; False if a pivot is not positive."""
    cdef int32_t s, begin = p.begin[root]
    cdef scalar *panels = <scalar *>at.panels
    cdef Py_ssize_t bad
    open_region(p, root, at, witness)
    bad = factor_columns(p, root, panels, square_of(p, root, at, witness))
    if bad >= 0:
        outcome.failed = <int32_t>bad
        outcome.pivot = real(panels[p.panel[begin + bad - p.first[begin]]])
        return False
    for s in range(begin, root + 1):
        weigh_pivots(p, s, <const scalar *>at.a, <const scalar *>panels + p.panel[s], 1, outcome)
    return True


cdef void factor_task(const Pattern *p, int32_t t, const Place *at, const scalar *witness,
                      const pool_least *failed, Outcome *outcome) noexcept nogil:
    """All fronts and regions of one task, as far as no earlier column has failed."""
    cdef int32_t k, s
    cdef bint good
    outcome[0] = Outcome(failed=INT32_MAX, weakest=INT32_MAX, pivot=0, ratio=1)
    for k in range(at.plan.task_start[t], at.plan.task_start[t + 1]):
        s = at.plan.steps[k]
        if pool_read(failed) < p.first[s]:
            return
        if p.region[s] == -1:
            good = factor_front(p, s, at, witness, outcome)
        else:
            good = factor_region(p, s, at, witness, outcome)
        if not good:
            return
        pass_on(p, s, at, witness)


cdef inline void weigh_pivots(const Pattern *p, int32_t s, const scalar *a, const scalar *panel,
                              Py_ssize_t rows, Outcome *outcome) noexcept nogil:
    """Note the pivot that is smallest against the diagonal entry it came from."""
    cdef int32_t j
    cdef double root, entry
    for j in range(p.first[s], p.first[s + 1]):
        root = real(panel[0])
        entry = real(a[p.entry_source[p.entry_start[j]]])
        if root * root < outcome.ratio * entry:
            outcome.ratio = root * root / entry
            outcome.weakest = j
        panel += rows + 1


cdef struct Job:
    # One factorization, or a batch of them.
    const Pattern *p
    const Plan *plan
    int kind                # scalar type
    int threads
    const char *a
    char *factor
    char *work              # handed over, then each thread's own
    Outcome *outcomes       # of each task, or of each matrix of the batch
    pool_least failed       # least column that has failed so far


cdef inline Py_ssize_t own_space(const Plan *plan) noexcept nogil:
    """Scalars of a thread's own workspace: for products, and its update matrices."""
    return plan.updates + <Py_ssize_t>PACK


cdef void run_task(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    """One task of a factorization."""
    cdef Job *job = <Job *>context
    cdef const Pattern *p = job.p
    cdef Py_ssize_t size = size_of(job.kind)
    cdef char *packs = job.work + size * job.plan.handovers
    cdef Crew crew = Crew(
        threads=job.threads, worker=worker, packs=packs, step=size * own_space(job.plan),
    )
    cdef Place at = Place(
        a=job.a, flat=NULL, panels=job.factor, shared=job.work,
        own=packs + crew.step * worker.number + size * PACK, kind=job.kind, plan=job.plan,
        crew=crew,
    )
    factor_any(job.kind, p, t, &at, &job.failed, &job.outcomes[t])
    pool_lower(&job.failed, job.outcomes[t].failed)


cdef void run_matrix(void *context, int32_t k, pool_worker *worker) noexcept nogil:
    """One matrix of a batch: all its tasks."""
    cdef Job *job = <Job *>context
    cdef const Pattern *p = job.p
    cdef Py_ssize_t size = size_of(job.kind)
    cdef char *work = job.work + size * worker.number * (job.plan.handovers + own_space(job.plan))
    cdef char *pack = work + size * job.plan.handovers
    cdef Place at = Place(
        a=job.a + size * k * p.nnz, flat=NULL, panels=job.factor + size * k * p.size, shared=work,
        own=pack + size * PACK, kind=job.kind, plan=job.plan,
        crew=Crew(threads=1, worker=worker, packs=pack, step=0),
    )
    cdef Outcome outcome
    cdef pool_least failed = INT32_MAX
    cdef int32_t t
    job.outcomes[k] = Outcome(failed=INT32_MAX, weakest=INT32_MAX, pivot=0, ratio=1)
    for t in range(job.plan.tasks):
        factor_any(job.kind, p, t, &at, &failed, &outcome)
        pool_lower(&failed, outcome.failed)
        merge_outcomes(&job.outcomes[k], &outcome)


cdef inline void factor_any(int kind, const Pattern *p, int32_t t, const Place *at,
                            const pool_least *failed, Outcome *outcome) noexcept nogil:
    if kind == DOUBLE:
        factor_task(p, t, at, <const double *>NULL, failed, outcome)
    elif kind == FLOAT:
        factor_task(p, t, at, <const float *>NULL, failed, outcome)
    elif kind == DOUBLE_COMPLEX:
        factor_task(p, t, at, <const double complex *>NULL, failed, outcome)
    else:
        factor_task(p, t, at, <const float complex *>NULL, failed, outcome)


cdef Py_ssize_t factor_space(const Pattern *p, Py_ssize_t batch, int threads) noexcept nogil:
    """Scalars of workspace."""
    cdef const Plan *plan = plan_for(p, batch, threads)
    return plan.handovers + own_space(plan) * threads


cdef Outcome *factor_all(const Pattern *p, int kind, Py_ssize_t batch, const void *a, void *l,
                         void *work, int threads) noexcept nogil:
    """Factor each matrix of a batch, neither of which is empty.

    Returns what came of each, for the caller to free; NULL if there is no memory for it.
    """
    cdef const Plan *plan = plan_for(p, batch, threads)
    cdef int32_t t, items = <int32_t>max(batch, <Py_ssize_t>plan.tasks)
    cdef Job job = Job(
        p=p, plan=plan, kind=kind, threads=threads, a=<const char *>a, factor=<char *>l,
        work=<char *>work, outcomes=NULL, failed=INT32_MAX,
    )
    job.outcomes = <Outcome *>malloc(sizeof(Outcome) * items + pool_scratch(items, threads))
    if job.outcomes == NULL:
        return NULL
    if batch == 1:
        pool_run(threads, plan.tasks, plan.task_parent, POOL_UP, plan.up_rank, run_task, &job,
                 &job.outcomes[items])
        for t in range(1, plan.tasks):
            merge_outcomes(&job.outcomes[0], &job.outcomes[t])
    else:
        pool_run(threads, <int32_t>batch, NULL, POOL_UP, NULL, run_matrix, &job,
                 &job.outcomes[items])
    return job.outcomes


def workspace(Structure structure, Py_ssize_t batch, int threads):
    """Scalars of workspace that `factorize` needs."""
    return factor_space(&structure.pattern, batch, threads)


def factorize(Structure structure, const scalar[:, ::1] a, scalar[:, ::1] l, scalar[::1] work,
              int threads):
    """Factor A = L L^H for each matrix of a batch.

    Parameters
    ----------
    structure : Structure
    a : (batch, structure.nnz) values of the lower triangle of each A, in the analyzed order.
    l : (batch, structure.size) overwritten with the panels of each L.
    work : (workspace(structure, batch, threads),) workspace.
    threads : most threads to work at once: on the tasks of one matrix, or on several matrices.

    Returns
    -------
    failed : (batch,) int32
        -1, or the original row at which the pivot is not positive (or not finite).
    row : (batch,) int32
        Original row whose pivot lost most of its diagonal entry to cancellation; -1 where none
        lost anything.
    value : (batch,) float64
        The failed pivot, or the part of the diagonal entry of `row` that was left.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t k, batch = a.shape[0]
    cdef Outcome *outcomes
    if (a.shape[1] != p.nnz or l.shape[0] != batch or l.shape[1] != p.size or threads < 1
            or work.shape[0] < workspace(structure, batch, threads)):
        raise ValueError("factorize: arrays do not belong to this structure")
    failed_array = np.full(batch, -1, dtype=np.int32)
    row_array = np.full(batch, -1, dtype=np.int32)
    value_array = np.ones(batch)
    cdef int32_t[::1] failed = failed_array
    cdef int32_t[::1] row = row_array
    cdef double[::1] value = value_array
    if p.n == 0 or batch == 0:
        return failed_array, row_array, value_array
    if batch >= 2**31 - 1:
        raise OverflowError(f"a batch of {batch} matrices is too large")
    with nogil:
        outcomes = factor_all(p, kind_of(&a[0, 0]), batch, &a[0, 0], &l[0, 0], &work[0], threads)
    if outcomes == NULL:
        raise MemoryError("no memory for the list of tasks")
    for k in range(batch):
        failed[k] = p.perm[outcomes[k].failed] if outcomes[k].failed != INT32_MAX else -1
        row[k] = p.perm[outcomes[k].weakest] if outcomes[k].weakest != INT32_MAX else -1
        value[k] = outcomes[k].pivot if failed[k] != -1 else outcomes[k].ratio
    free(outcomes)
    return failed_array, row_array, value_array
