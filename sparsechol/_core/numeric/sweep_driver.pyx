"""The driver of all sweeps of the tree (see sweep_driver.pxd).

One matrix is swept task by task (see symbolic.plans), a task after those below it on the way up and
before them on the way down; its tasks are spread over the threads. Of a batch each matrix goes to
one thread, as one task.

Workspace:

    [ shared squares | thread 0: pack, spare, squares | thread 1: pack, spare, squares | .. ]

The pack is for products. A second set of squares lies behind the first, in both places.
"""

from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc

from sparsechol._core.numeric.dense cimport PACK, Crew, size_of
from sparsechol._core.parallel.pool cimport (
    POOL_DOWN, POOL_UP, pool_run, pool_scratch, pool_task, pool_worker,
)
from sparsechol._core.symbolic.structure cimport Plan, plan_for


cdef inline Py_ssize_t own_space(const SweepJob *job, const Plan *plan) noexcept nogil:
    """Scalars of a thread's own workspace."""
    return <Py_ssize_t>PACK + job.spare + job.squares * plan.updates


cdef Py_ssize_t sweep_space(const SweepJob *job, Py_ssize_t batch, int threads) noexcept nogil:
    """Scalars of workspace."""
    cdef const Plan *plan = plan_for(job.p, batch, threads)
    return job.squares * plan.shared_size + threads * own_space(job, plan)


cdef Sweep sweep_of(const SweepJob *job, Py_ssize_t k, pool_worker *worker) noexcept nogil:
    """What a thread works with on matrix k."""
    cdef const Arrays *arrays = &job.arrays
    cdef Py_ssize_t size = size_of(job.kind)
    cdef Py_ssize_t flat = size * job.p.size
    cdef Py_ssize_t stride = size * own_space(job, job.plan)
    cdef char *packs = job.work + size * job.squares * job.plan.shared_size
    cdef char *own = packs + stride * worker.number
    cdef Sweep sweep
    sweep.job = job
    sweep.matrix = k
    sweep.factor = array_of(&arrays.factor, flat, k)
    sweep.x = array_of(&arrays.x, flat, k)
    sweep.y = array_of(&arrays.y, flat, k)
    sweep.out = job.out + flat * k
    sweep.spare = own + size * PACK
    sweep.ctx = FrontContext(
        p=job.p, plan=job.plan, kind=job.kind, a=array_of(&arrays.values, size * job.p.nnz, k),
        flat=array_of(&arrays.flat, flat, k), panels=sweep.out, shared=job.work,
        own=<char *>sweep.spare + size * job.spare,
        crew=Crew(threads=job.threads, worker=worker, packs=packs, stride=stride),
    )
    if job.batch > 1:       # the other threads have matrices of their own
        sweep.ctx.crew = Crew(threads=1, worker=worker, packs=own, stride=0)
    sweep.known = sweep.ctx
    sweep.known.panels = <void *>array_of(&arrays.s, flat, k)
    if job.squares == 2:
        sweep.known.shared = <char *>sweep.ctx.shared + size * job.plan.shared_size
        sweep.known.own = <char *>sweep.ctx.own + size * job.plan.updates
    return sweep


cdef void run_item(void *context, int32_t item, pool_worker *worker) noexcept nogil:
    """One task of one matrix, or one matrix of a batch."""
    cdef const SweepJob *job = <const SweepJob *>context
    cdef bint single = job.batch == 1
    cdef Sweep sweep = sweep_of(job, 0 if single else item, worker)
    job.tasks[job.kind](&sweep, item if single else 0, NULL)


cdef void run_tasks(const Plan *plan, bint up, int threads, pool_task run, void *context,
                    void *scratch) noexcept nogil:
    """Run the tasks of a plan, each after those below it (up) or before them (down)."""
    pool_run(threads, plan.tasks, plan.task_parent, POOL_UP if up else POOL_DOWN,
             plan.up_rank if up else plan.down_rank, run, context, scratch)


cdef bint run_sweep(SweepJob *job, Py_ssize_t batch, void *work, int threads) noexcept nogil:
    """Sweep every matrix of a batch, neither empty; False without memory.

    work : sweep_space(job, batch, threads) scalars.
    """
    cdef const Plan *plan = plan_for(job.p, batch, threads)
    cdef int32_t items = plan.tasks if batch == 1 else <int32_t>batch
    cdef void *scratch = malloc(pool_scratch(items, threads) + 1)
    if scratch == NULL:
        return False
    job.plan = plan
    job.batch = batch
    job.threads = threads
    job.work = <char *>work
    if batch == 1:
        run_tasks(plan, job.up, threads, run_item, job, scratch)
    else:
        pool_run(threads, items, NULL, POOL_UP, NULL, run_item, job, scratch)
    free(scratch)
    return True
