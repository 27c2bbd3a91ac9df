"""The driver of all sweeps of the tree (see sweep_driver.pxd).

One matrix is swept task by task (see symbolic.plans), a task after those below it on the way up and
before them on the way down; its tasks are spread over the threads. Of a batch each matrix goes to
one thread, as one task.

Workspace:

    [ shared squares | thread 0: pack, spare, squares | thread 1: pack, spare, squares | .. ]

The pack is for products. A second set of squares lies behind the first, in both places. Where a
batch gives its results on the pattern of A alone, each thread has panels behind its squares.

Several matrices go side by side where that pays: entry p of matrix v becomes number v of vector p,
and the same sweep runs once for all of them, with vectors for scalars. For each thread

    [ result | operands | spare | squares | panels | entries on the pattern of A ]

are vectors. What a step alone reads, its panels of L, X and Y, is copied when it begins, the other
operands before the first step; its panel of the result is copied out when it ends, while it is in
cache.
"""

from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.stdlib cimport free, malloc

from sparsechol._core.numeric.dense cimport (
    DOUBLE, LANES_OF_8, MOST_SIDE_BY_SIDE, PACK, Crew, interleave, kind_side_by_side, lanes4,
    lanes8, separate, size_of,
)
from sparsechol._core.numeric.packing cimport gather_kind, gather_supernodes
from sparsechol._core.parallel.pool cimport (
    POOL_DOWN, POOL_UP, pool_run, pool_scratch, pool_task, pool_worker,
)
from sparsechol._core.symbolic.structure cimport Pattern, Plan, plan_for


cdef inline Py_ssize_t own_space(const SweepJob *job, const Plan *plan) noexcept nogil:
    """Scalars of a thread's own workspace."""
    cdef Py_ssize_t panels = job.p.size if job.packed.data != NULL else 0
    return <Py_ssize_t>PACK + job.spare + job.squares * plan.updates + panels


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
    if job.packed.data != NULL:
        sweep.out = own + stride - flat
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
    """One task of one matrix, matrices of a batch side by side, or one matrix."""
    cdef const SweepJob *job = <const SweepJob *>context
    if job.batch == 1:
        run_matrix(job, 0, item, worker)
    elif item < job.groups:
        run_group(job, item * <Py_ssize_t>job.together, worker)
    else:
        run_matrix(job, item + job.groups * (job.together - 1), 0, worker)


cdef void run_matrix(const SweepJob *job, Py_ssize_t k, int32_t task,
                     pool_worker *worker) noexcept nogil:
    cdef Sweep sweep = sweep_of(job, k, worker)
    job.tasks[job.kind](&sweep, task, NULL)
    if job.packed.data != NULL:
        gather_kind(job.p, job.kind, sweep.out, job.packed.diagonal, job.packed.below,
                    job.packed.data + size_of(job.kind) * job.p.nnz * k)


# ---- side by side ----


cdef inline Py_ssize_t vectors_of(const SweepJob *job) noexcept nogil:
    """Vectors of a thread's workspace."""
    cdef const Arrays *arrays = &job.arrays
    cdef Py_ssize_t flat = 1
    flat += arrays.flat.data != NULL
    flat += arrays.factor.data != NULL
    flat += arrays.s.data != NULL
    flat += arrays.x.data != NULL
    flat += arrays.y.data != NULL
    cdef Py_ssize_t on_pattern = (arrays.values.data != NULL) + (job.packed.data != NULL)
    return (flat * job.p.size + on_pattern * job.p.nnz + spare_of(job)
            + job.squares * job.p.serial_plan.updates)


cdef inline Py_ssize_t spare_of(const SweepJob *job) noexcept nogil:
    """Vectors of workspace that a thread needs besides: one always, for `weigh_lanes`."""
    return max(job.spare, <Py_ssize_t>1)


cdef inline int32_t first_of(const Pattern *p, int32_t s) noexcept nogil:
    """The first supernode of a step: a front, or a simplicial subtree."""
    return s if p.simplicial_root[s] == -1 else p.begin[s]


cdef const char *panels_of(const Sweep *sweep, const Many *many, int32_t s,
                           char *place) noexcept nogil:
    """Panels of which the one of step s is copied to a place."""
    cdef const SweepJob *job = sweep.job
    cdef const Pattern *p = job.p
    cdef int64_t begin = p.panel[first_of(p, s)]
    cdef const double *one[MOST_SIDE_BY_SIDE]
    cdef int v
    for v in range(job.together):
        one[v] = begin + <const double *>array_of(many, sizeof(double) * p.size, sweep.matrix + v)
    interleave(job.kind_together, p.panel[s + 1] - begin, one, place)
    return place - begin * size_of(job.kind_together)


cdef void enter_step(Sweep *sweep, int32_t s) noexcept nogil:
    """Copy what a step alone reads of matrices side by side: its panels of L, X and Y."""
    cdef const Arrays *arrays = &sweep.job.arrays
    cdef Py_ssize_t bytes = size_of(sweep.job.kind_together) * sweep.job.p.size
    cdef char *place = <char *>sweep.panels
    if arrays.factor.data != NULL:
        sweep.factor = panels_of(sweep, &arrays.factor, s, place)
        place += bytes
    if arrays.x.data != NULL:
        sweep.x = panels_of(sweep, &arrays.x, s, place)
        place += bytes
    if arrays.y.data != NULL:
        sweep.y = panels_of(sweep, &arrays.y, s, place)


cdef void leave_step(const Sweep *sweep, int32_t s) noexcept nogil:
    """Copy the panel of a step, which is done, to the results of matrices side by side."""
    cdef const Pattern *p = sweep.job.p
    cdef const Packed *packed = &sweep.job.packed
    cdef int32_t first = first_of(p, s)
    cdef int64_t begin = p.panel[first]
    if packed.data == NULL:
        leave(sweep, p.panel[s + 1] - begin, <const char *>sweep.out,
              begin * size_of(sweep.job.kind_together), <double *>sweep.job.out + begin, p.size)
    elif sweep.job.kind_together == LANES_OF_8:
        gather_supernodes(p, first, s + 1, <const lanes8 *>sweep.out, packed.diagonal,
                          packed.below, <lanes8 *>sweep.packed)
    else:
        gather_supernodes(p, first, s + 1, <const lanes4 *>sweep.out, packed.diagonal,
                          packed.below, <lanes4 *>sweep.packed)


cdef inline void leave(const Sweep *sweep, Py_ssize_t length, const char *all, Py_ssize_t offset,
                       double *results, Py_ssize_t stride) noexcept nogil:
    """Copy a part of the results of matrices side by side, `stride` from one to the next."""
    cdef double *one[MOST_SIDE_BY_SIDE]
    cdef int v
    for v in range(sweep.job.together):
        one[v] = results + stride * (sweep.matrix + v)
    separate(sweep.job.kind_together, length, all + offset, one)


cdef const char *enter(const SweepJob *job, const Many *many, Py_ssize_t first, Py_ssize_t length,
                       char **place) noexcept nogil:
    """An operand of matrices from `first` on, copied to the place, which moves on; or NULL."""
    cdef const double *one[MOST_SIDE_BY_SIDE]
    cdef char *copy = place[0]
    cdef int v
    if many.data == NULL:
        return NULL
    for v in range(job.together):
        one[v] = <const double *>array_of(many, sizeof(double) * length, first + v)
    interleave(job.kind_together, length, one, copy)
    place[0] += length * size_of(job.kind_together)
    return copy


cdef void run_group(const SweepJob *job, Py_ssize_t first, pool_worker *worker) noexcept nogil:
    """Sweep matrices side by side, then those again that are not done."""
    cdef const Arrays *arrays = &job.arrays
    cdef Py_ssize_t flat = job.p.size, vector = size_of(job.kind_together)
    cdef Py_ssize_t squares = vector * job.plan.updates
    cdef char *place = job.lanes + vector * vectors_of(job) * worker.number
    cdef Sweep sweep
    cdef int v, again = 0
    sweep.packed = place + vector * (vectors_of(job) - job.p.nnz)
    sweep.job = job
    sweep.matrix = first
    sweep.again = &again
    sweep.out = place
    place += vector * flat
    sweep.ctx.p = job.p
    sweep.ctx.plan = job.plan
    sweep.ctx.kind = job.kind_together
    sweep.ctx.a = enter(job, &arrays.values, first, job.p.nnz, &place)
    sweep.ctx.flat = enter(job, &arrays.flat, first, flat, &place)
    sweep.ctx.panels = sweep.out
    sweep.ctx.shared = NULL
    sweep.ctx.crew = Crew(threads=1, worker=worker, packs=NULL, stride=0)
    sweep.known = sweep.ctx
    sweep.known.panels = <void *>enter(job, &arrays.s, first, flat, &place)
    sweep.spare = place
    sweep.ctx.own = place + vector * spare_of(job)
    sweep.known.own = <char *>sweep.ctx.own + (job.squares - 1) * squares
    sweep.panels = <char *>sweep.known.own + squares
    job.tasks[job.kind_together](&sweep, 0, NULL)
    if job.packed.data != NULL:
        leave(&sweep, job.p.nnz, <const char *>sweep.packed, 0, <double *>job.packed.data,
              job.p.nnz)
    for v in range(job.together):
        if again >> v & 1:
            run_matrix(job, first + v, 0, worker)


cdef enum:
    AUTOMATIC = -1


cdef int forced = AUTOMATIC


cdef bint allowed_side_by_side(bint pays) noexcept nogil:
    """Whether matrices go side by side that can, where it pays or as tests want it."""
    return pays if forced == AUTOMATIC else forced


cdef bint pays(const SweepJob *job) noexcept nogil:
    """Whether matrices are swept faster side by side: while fronts are small.

    Large fronts fill the vectors of the processor by themselves, and their entries of one matrix
    stay in cache where those of several do not (measured on Zen 4).
    """
    cdef const Plan *plan = &job.p.serial_plan
    cdef int64_t work = 0
    cdef int32_t k
    for k in range(plan.task_start[plan.tasks]):
        work += step_work(job.p, plan.steps[k])
    return work <= job.most_work * job.p.size


cdef void *begin_groups(SweepJob *job, Py_ssize_t batch, int threads) noexcept nogil:
    """Workspace for matrices side by side, for the caller to free; NULL: none are.

    Each thread gets as many groups; the matrices that are left go one by one.
    """
    cdef int kind = kind_side_by_side()
    cdef Py_ssize_t vector = size_of(kind), groups
    cdef void *work = NULL
    job.groups = 0
    job.kind_together = kind
    job.together = <int>(vector // <Py_ssize_t>sizeof(double))
    groups = batch // job.together // threads * threads
    if (job.kind == DOUBLE and kind != -1 and groups > 0 and job.most_work > 0
            and allowed_side_by_side(pays(job))):
        work = malloc(vector * (vectors_of(job) * threads + 1))
    if work != NULL:
        job.groups = groups
        job.lanes = <char *>((<uintptr_t>work + vector - 1) // vector * vector)
    return work


def side_by_side(allow):
    """Let matrices of a batch go side by side always, never, or where it pays: None (for tests)."""
    global forced
    forced = AUTOMATIC if allow is None else bool(allow)


# ---- all ----


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
    cdef void *vectors
    if scratch == NULL:
        return False
    job.plan = plan
    job.batch = batch
    job.threads = threads
    job.work = <char *>work
    vectors = begin_groups(job, batch, threads)
    items -= <int32_t>(job.groups * (job.together - 1))
    if batch == 1:
        run_tasks(plan, job.up, threads, run_item, job, scratch)
    else:
        pool_run(threads, items, NULL, POOL_UP, NULL, run_item, job, scratch)
    free(vectors)
    free(scratch)
    return True
