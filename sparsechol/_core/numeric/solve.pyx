"""Forward and backward substitution with a supernodal factor.

Right-hand sides are permuted and interleaved: `x` holds the `k` values of row 0, then those of
row 1. In column-major terms that is the k x n matrix X^T, so that the rows of a front are columns
side by side and every step is a product from the right.

        [ L11      ]        forward     X1^T <- X1^T L11^-T,  X2^T <- X2^T - X1^T L21^T
        [ L21  L22 ]        backward    X1^T <- (X1^T - X2^T L21) L11^-1

Between the two X1 <- S X1, where S = sign(diag L), if the factor is signed.
The backward step is with L^T. The adjoint of a complex factor is reached by conjugating X before
and after: L^-H x = conj(L^-T conj(x)).

Where the tree is cut into tasks (see symbolic.plans), what a task takes from rows beyond it, and
what it was left to take by the tasks below, is summed from zero and left to the task above: on the
way up no two tasks write to one place, and the sums are the same for any number of threads. On the
way down a task writes to its own rows only.

A batch goes block by block, or, where there are columns alone, in groups side by side.
"""

from libc.limits cimport INT_MAX
from libc.math cimport copysign
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from sparsechol._core.numeric.dense cimport (
    AS_IS, DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX, PACK, SCALARS, TRANSPOSED,
    Crew, backward_columns, backward_one, conjugate, forward_columns, forward_one, kind_of,
    multiply, real, scalar, size_of, solve_right,
)
from sparsechol._core.numeric.solve_side_by_side cimport (
    Group, begin_groups, goes_side_by_side, most_together, solve_group,
)
from sparsechol._core.numeric.sweep_driver cimport array_of, each, run_tasks
from sparsechol._core.parallel.pool cimport (
    POOL_UP, pool_begin, pool_call, pool_end, pool_run, pool_scratch, pool_stopped, pool_worker,
)
from sparsechol._core.symbolic.structure cimport Pattern, Plan, Structure

# Nothing is known of where right-hand sides are zero (see `solve`).
NO_REACH = np.empty(0, dtype=np.uint8)


cdef void forward(const Pattern *p, int32_t t, const scalar *l, scalar *x, int k, scalar *y,
                  scalar *shared, scalar *w, const uint8_t *reached, bint signs,
                  const Crew *crew) noexcept nogil:
    """X <- L^-1 X on one task, X <- S L^-1 X with `signs`.

    x : k values for each row of the matrix.
    y : as many; where the thread works. x itself where no other thread does.
    shared : what goes from task to task.
    w : k values for each row of the tallest front.
    reached : whether X has nonzeros in the subtree of each supernode; NULL: it may.
    """
    cdef const Plan *plan = &p.parallel_plan
    cdef int32_t q = plan.task_start[t], end = plan.task_start[t + 1], s, begin
    if x != y:
        copy_rows(p, t, k, <const scalar *>x, y)
    if plan.tasks > 1:
        begin_sums(plan, t, k, y, shared)
    while q < end:
        s = plan.steps[q]
        if k == 1 and is_column(p, s):
            begin = p.begin[s]
            while q + 1 < end and goes_on(p, s, plan.steps[q + 1]):
                q += 1
                s = plan.steps[q]
            forward_columns(p, begin, s, l, y, reached, signs)
        elif k > 1 and pool_stopped(step_entries(p, s) * k):
            return
        elif reached == NULL or reached[s]:
            if p.simplicial_root[s] == -1:
                forward_front(p, s, l, y, k, w, crew)
                if signs:
                    turn_rows(p, s, l, y, k)
            else:
                forward_subtree(p, s, l, y, k, reached, signs)
        q += 1
    if plan.tasks > 1:
        end_sums(plan, t, k, y, shared)
    if x != y:
        copy_rows(p, t, k, <const scalar *>y, x)


cdef inline bint is_column(const Pattern *p, int32_t s) noexcept nogil:
    """Whether a step has supernodes of one column alone: a subtree, or a front."""
    return p.first[s + 1] - p.first[s] == 1


cdef inline bint goes_on(const Pattern *p, int32_t s, int32_t after) noexcept nogil:
    """Whether the columns of two steps follow one another."""
    return is_column(p, s) and is_column(p, after) and p.begin[after] == s + 1


cdef inline int64_t step_entries(const Pattern *p, int32_t s) noexcept nogil:
    """Entries of L in a front or a simplicial subtree."""
    return p.panel[s + 1] - p.panel[s if p.simplicial_root[s] == -1 else p.begin[s]]


cdef inline void copy_rows(const Pattern *p, int32_t t, int k, const scalar *source,
                           scalar *target) noexcept nogil:
    """The rows of a task."""
    cdef const Plan *plan = &p.parallel_plan
    cdef int32_t q, s
    cdef Py_ssize_t at
    for q in range(plan.task_start[t], plan.task_start[t + 1]):
        s = plan.steps[q]
        at = <Py_ssize_t>p.first[p.begin[s]] * k
        memcpy(target + at, source + at, sizeof(scalar) * (<Py_ssize_t>p.first[s + 1] * k - at))


cdef inline void begin_sums(const Plan *plan, int32_t t, int k, scalar *y,
                            scalar *shared) noexcept nogil:
    """Zero on the rows beyond a task, whose values wait in `shared`; then what tasks below left."""
    cdef int64_t q
    cdef int32_t child = plan.task_child[t]
    cdef scalar *kept
    cdef scalar *row
    cdef int c
    for q in range(plan.beyond_start[t], plan.beyond_start[t + 1]):
        kept = shared + q * k
        row = y + <Py_ssize_t>plan.beyond[q] * k
        for c in range(k):
            kept[c] = row[c]
            row[c] = 0
    while child != -1:
        q = plan.beyond_start[child]
        scatter_rows(<int>(plan.beyond_start[child + 1] - q), k, plan.beyond + q,
                     <const scalar *>shared + q * k, y)
        child = plan.next_task[child]


cdef inline void end_sums(const Plan *plan, int32_t t, int k, scalar *y,
                          scalar *shared) noexcept nogil:
    """What the task leaves to the one above goes to `shared`, the values that waited go back."""
    cdef int64_t q
    cdef scalar *kept
    cdef scalar *row
    cdef scalar value
    cdef int c
    for q in range(plan.beyond_start[t], plan.beyond_start[t + 1]):
        kept = shared + q * k
        row = y + <Py_ssize_t>plan.beyond[q] * k
        for c in range(k):
            value = kept[c]
            kept[c] = row[c]
            row[c] = value


cdef inline void forward_front(const Pattern *p, int32_t s, const scalar *l, scalar *x, int k,
                               scalar *w, const Crew *crew) noexcept nogil:
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const scalar *panel = l + p.panel[s]
    cdef const int32_t *rows = p.rows + p.row_start[s]
    cdef scalar *x1 = x + <Py_ssize_t>p.first[s] * k
    cdef int i
    if k == 1:
        memcpy(w, x1, sizeof(scalar) * nc)
        memset(w + nc, 0, sizeof(scalar) * m)
        forward_one(nc, m, panel, w)
        memcpy(x1, w, sizeof(scalar) * nc)
        for i in range(m):
            x[rows[i]] += w[nc + i]
    else:
        solve_right(TRANSPOSED, k, nc, panel, nc + m, x1, k, crew)
        multiply(TRANSPOSED, False, k, m, nc, <const scalar *>x1, k, panel + nc, nc + m, False, w,
                 k, crew)
        scatter_rows(m, k, rows, <const scalar *>w, x)


cdef inline void turn_rows(const Pattern *p, int32_t s, const scalar *l, scalar *x,
                           int k) noexcept nogil:
    """X1 <- S X1 on the columns of one front."""
    cdef Py_ssize_t rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
    cdef int32_t j
    cdef int c
    cdef double sign
    l += p.panel[s]
    for j in range(p.first[s], p.first[s + 1]):
        sign = copysign(1, real(l[0]))      # no branch that would be mispredicted
        for c in range(k):
            x[<Py_ssize_t>j * k + c] = <scalar>(x[<Py_ssize_t>j * k + c] * sign)
        l += rows + 1


cdef inline void forward_subtree(const Pattern *p, int32_t root, const scalar *l, scalar *x, int k,
                                 const uint8_t *reached, bint signs) noexcept nogil:
    cdef int32_t s
    cdef int c
    cdef Py_ssize_t at
    cdef const scalar *column
    for s in range(p.begin[root], root + 1):
        if reached != NULL and not reached[s]:
            continue
        at = <Py_ssize_t>p.first[s] * k
        column = l + p.panel[s]
        forward_column(<int>(p.row_start[s + 1] - p.row_start[s]), k, column,
                       p.rows + p.row_start[s], x + at, x)
        if signs and real(column[0]) < 0:
            for c in range(k):
                x[at + c] = -x[at + c]


cdef void backward(const Pattern *p, int32_t t, const scalar *l, scalar *x, int k, scalar *w,
                   const Crew *crew) noexcept nogil:
    """X <- L^-H X for one right-hand side, X <- L^-T X for several, on one task."""
    cdef const Plan *plan = &p.parallel_plan
    cdef int32_t q = plan.task_start[t + 1] - 1, end = plan.task_start[t], s, root
    while q >= end:
        root = plan.steps[q]
        if k == 1 and is_column(p, root):
            while q > end and goes_on(p, plan.steps[q - 1], plan.steps[q]):
                q -= 1
            backward_columns(p, p.begin[plan.steps[q]], root, l, x)
        elif k > 1 and pool_stopped(step_entries(p, root) * k):
            return
        elif p.simplicial_root[root] == -1:
            backward_front(p, root, l, x, k, w, crew)
        else:
            for s in range(root, p.begin[root] - 1, -1):
                backward_column(<int>(p.row_start[s + 1] - p.row_start[s]), k, l + p.panel[s],
                                p.rows + p.row_start[s], x + <Py_ssize_t>p.first[s] * k, x)
        q -= 1


cdef inline void backward_front(const Pattern *p, int32_t s, const scalar *l, scalar *x, int k,
                                scalar *w, const Crew *crew) noexcept nogil:
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const scalar *panel = l + p.panel[s]
    cdef const int32_t *rows = p.rows + p.row_start[s]
    cdef scalar *x1 = x + <Py_ssize_t>p.first[s] * k
    cdef int i
    if k == 1:
        memcpy(w, x1, sizeof(scalar) * nc)
        for i in range(m):
            w[nc + i] = x[rows[i]]
        backward_one(nc, m, panel, w)
        memcpy(x1, w, sizeof(scalar) * nc)
    else:
        gather_rows(m, k, rows, x, w)
        multiply(AS_IS, False, k, nc, m, <const scalar *>w, k, panel + nc, nc + m, True, x1, k,
                 crew)
        solve_right(AS_IS, k, nc, panel, nc + m, x1, k, crew)


cdef inline void forward_column(int m, int k, const scalar *column, const int32_t *rows,
                                scalar *x1, scalar *x) noexcept nogil:
    """One column of a simplicial subtree: x1 <- x1 / l, then it leaves the rows below."""
    cdef double inverse = 1 / real(column[0])       # does not wait for x1
    cdef int i, c
    cdef scalar *target
    for c in range(k):
        x1[c] = x1[c] * inverse
    for i in range(m):
        target = x + <Py_ssize_t>rows[i] * k
        for c in range(k):
            target[c] -= column[i + 1] * x1[c]


cdef inline void backward_column(int m, int k, const scalar *column, const int32_t *rows,
                                 scalar *x1, const scalar *x) noexcept nogil:
    """One column of a simplicial subtree."""
    cdef double inverse = 1 / real(column[0])
    cdef int i, c
    cdef const scalar *source
    for i in range(m):
        source = x + <Py_ssize_t>rows[i] * k
        for c in range(k):
            x1[c] -= column[i + 1] * source[c]
    for c in range(k):
        x1[c] = x1[c] * inverse


cdef inline void scatter_rows(int m, int k, const int32_t *rows, const scalar *w,
                              scalar *x) noexcept nogil:
    """Rows of X take in the rows of w (which already carry the minus sign)."""
    cdef int i, c
    cdef scalar *target
    for i in range(m):
        target = x + <Py_ssize_t>rows[i] * k
        for c in range(k):
            target[c] += w[c]
        w += k


cdef inline void gather_rows(int m, int k, const int32_t *rows, const scalar *x,
                             scalar *w) noexcept nogil:
    cdef int i, c
    cdef const scalar *source
    for i in range(m):
        source = x + <Py_ssize_t>rows[i] * k
        for c in range(k):
            w[c] = source[c]
        w += k


cdef inline void conjugate_all(scalar *x, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    if scalar is floatcomplex or scalar is doublecomplex:
        for i in range(length):
            x[i] = conjugate(x[i])


cdef inline void permute_in(const int32_t *place, const scalar *b, Py_ssize_t n, int k,
                            Py_ssize_t row_step, Py_ssize_t column_step, scalar *x) noexcept nogil:
    """Row i of X <- row place[i] of b."""
    cdef Py_ssize_t i
    cdef int c
    cdef const scalar *source
    if k == 1:
        for i in range(n):
            x[i] = b[place[i] * row_step]
        return
    for i in range(n):
        source = b + place[i] * row_step
        for c in range(k):
            x[c] = source[c * column_step]
        x += k


cdef inline void permute_out(const int32_t *place, const scalar *x, Py_ssize_t n, int k,
                             Py_ssize_t row_step, Py_ssize_t column_step, scalar *b) noexcept nogil:
    """Row place[i] of b <- row i of X."""
    cdef Py_ssize_t i
    cdef int c
    cdef scalar *target
    if k == 1:
        for i in range(n):
            b[place[i] * row_step] = x[i]
        return
    for i in range(n):
        target = b + place[i] * row_step
        for c in range(k):
            target[c * column_step] = x[c]
        x += k


cdef inline Py_ssize_t space(const Pattern *p, Py_ssize_t block) noexcept nogil:
    """Scalars of a thread's workspace: X, Y, what is shared, w, and for products."""
    cdef Py_ssize_t rows = p.n + p.shared_rows + p.tallest
    if p.parallel_plan.tasks > 1:
        rows += p.n
    return rows * block + (PACK if block > 1 else 0)


cdef struct Block:
    # One block of right-hand sides in the workspace of a thread.
    int k
    void *x
    void *y
    void *shared
    void *w
    Crew crew


cdef inline Block block_of(const System *job, int k, int thread) noexcept nogil:
    """Where a thread keeps a block of k right-hand sides."""
    cdef const Pattern *p = job.p
    cdef Py_ssize_t unit = size_of(job.kind) * job.block
    cdef char *x = job.work + size_of(job.kind) * space(p, job.block) * thread
    cdef char *y = x + unit * p.n if p.parallel_plan.tasks > 1 else x
    cdef char *shared = y + unit * p.n
    cdef char *w = shared + unit * p.shared_rows
    cdef Crew crew = Crew(threads=1, worker=NULL, packs=w + unit * p.tallest, stride=0)
    return Block(k=k, x=x, y=y, shared=shared, w=w, crew=crew)


cdef void enter(const System *job, const scalar *b, const Block *block) noexcept nogil:
    """Right-hand sides into X."""
    permute_in(job.inward, b, job.p.n, block.k, job.strides[1], job.strides[2], <scalar *>block.x)
    if block.k > 1 and not job.lower:
        conjugate_all(<scalar *>block.x, <Py_ssize_t>job.p.n * block.k)


cdef inline void turn(const System *job, const Block *block, const scalar *tag) noexcept nogil:
    """Between L and L^H."""
    if block.k > 1 and job.lower and job.upper:
        conjugate_all(<scalar *>block.x, <Py_ssize_t>job.p.n * block.k)


cdef void leave(const System *job, scalar *b, const Block *block) noexcept nogil:
    """Solutions out of X."""
    if block.k > 1 and job.upper:
        conjugate_all(<scalar *>block.x, <Py_ssize_t>job.p.n * block.k)
    permute_out(job.outward, <const scalar *>block.x, job.p.n, block.k, job.strides[1],
                job.strides[2], b)


# A part of the work on one item. The last argument, NULL, carries the type (see dense.pxd).
ctypedef void (*routine)(const System *job, int32_t item, int thread,
                         const void *tag) noexcept nogil


cdef void solve_block(const System *job, int32_t item, int thread,
                      const scalar *tag) noexcept nogil:
    """One block from beginning to end on one thread."""
    cdef const Pattern *p = job.p
    cdef const scalar *panels = <const scalar *>array_of(
        &job.factor, sizeof(scalar) * p.size, item // job.blocks)
    cdef Py_ssize_t column = item % job.blocks * job.block
    cdef Block block = block_of(job, <int>min(<Py_ssize_t>job.block, job.columns - column), thread)
    cdef scalar *b = <scalar *>job.b
    cdef int32_t t
    b += item // job.blocks * job.strides[0] + column * job.strides[2]
    enter(job, <const scalar *>b, &block)
    if job.lower:
        for t in range(p.parallel_plan.tasks):
            forward(p, t, panels, <scalar *>block.x, block.k, <scalar *>block.x,
                    <scalar *>block.shared, <scalar *>block.w, job.reached, job.signs, &block.crew)
    turn(job, &block, tag)
    if job.upper:
        for t in range(p.parallel_plan.tasks - 1, -1, -1):
            backward(p, t, panels, <scalar *>block.x, block.k, <scalar *>block.w, &block.crew)
    leave(job, b if job.out == NULL else <scalar *>job.out, &block)


cdef void forward_task(const System *job, int32_t t, int thread,
                       const scalar *tag) noexcept nogil:
    """One task of the way up for a block that all threads share."""
    cdef Block block = block_of(job, <int>job.columns, 0)
    cdef Block own = block_of(job, <int>job.columns, thread)
    forward(job.p, t, <const scalar *>job.factor.data, <scalar *>block.x, block.k,
            <scalar *>own.y, <scalar *>block.shared, <scalar *>own.w, job.reached, job.signs,
            &own.crew)


cdef void backward_task(const System *job, int32_t t, int thread,
                        const scalar *tag) noexcept nogil:
    """One task of the way down for a block that all threads share."""
    cdef Block block = block_of(job, <int>job.columns, 0)
    cdef Block own = block_of(job, <int>job.columns, thread)
    backward(job.p, t, <const scalar *>job.factor.data, <scalar *>block.x, block.k,
             <scalar *>own.w, &own.crew)


cdef void solve_together(const System *job, int32_t threads, int thread,
                         const scalar *tag) noexcept nogil:
    """One block of right-hand sides, the tree spread over the threads."""
    cdef const Pattern *p = job.p
    cdef const Plan *plan = &p.parallel_plan
    cdef Block block = block_of(job, <int>job.columns, 0)
    enter(job, <const scalar *>job.b, &block)
    if job.lower:
        run_tasks(plan, True, threads, run_forward, <void *>job, job.scratch)
    turn(job, &block, tag)
    if job.upper:
        run_tasks(plan, False, threads, run_backward, <void *>job, job.scratch)
    leave(job, <scalar *>(job.b if job.out == NULL else job.out), &block)


cdef routine blocks[SCALARS]
blocks[FLOAT] = <routine>solve_block[float]
blocks[DOUBLE] = <routine>solve_block[double]
blocks[FLOAT_COMPLEX] = <routine>solve_block[floatcomplex]
blocks[DOUBLE_COMPLEX] = <routine>solve_block[doublecomplex]

cdef routine forwards[SCALARS]
forwards[FLOAT] = <routine>forward_task[float]
forwards[DOUBLE] = <routine>forward_task[double]
forwards[FLOAT_COMPLEX] = <routine>forward_task[floatcomplex]
forwards[DOUBLE_COMPLEX] = <routine>forward_task[doublecomplex]

cdef routine backwards[SCALARS]
backwards[FLOAT] = <routine>backward_task[float]
backwards[DOUBLE] = <routine>backward_task[double]
backwards[FLOAT_COMPLEX] = <routine>backward_task[floatcomplex]
backwards[DOUBLE_COMPLEX] = <routine>backward_task[doublecomplex]

cdef routine together[SCALARS]
together[FLOAT] = <routine>solve_together[float]
together[DOUBLE] = <routine>solve_together[double]
together[FLOAT_COMPLEX] = <routine>solve_together[floatcomplex]
together[DOUBLE_COMPLEX] = <routine>solve_together[doublecomplex]


cdef void run_block(void *context, int32_t item, pool_worker *worker) noexcept nogil:
    """A block of right-hand sides of one matrix, or those of matrices side by side."""
    cdef const System *job = <const System *>context
    if item < job.groups:
        run_group(job, item * <Py_ssize_t>most_together(), worker.number)
    else:
        blocks[job.kind](job, item + <int32_t>job.groups * (most_together() - 1), worker.number,
                         NULL)


cdef void run_group(const System *job, Py_ssize_t first, int thread) noexcept nogil:
    """Matrices side by side, one right-hand side each."""
    cdef Group group
    cdef int v
    for v in range(most_together()):
        group.factor[v] = <const double *>array_of(
            &job.factor, sizeof(double) * job.p.size, first + v)
        group.b[v] = <double *>job.b + job.strides[0] * (first + v)
    group.inward = job.inward
    group.outward = job.outward
    group.lower = job.lower
    group.upper = job.upper
    group.signs = job.signs
    solve_group(job.p, &group, job.lanes, thread)


cdef void run_forward(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    cdef const System *job = <const System *>context
    forwards[job.kind](job, t, worker.number, NULL)


cdef void run_backward(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    cdef const System *job = <const System *>context
    backwards[job.kind](job, t, worker.number, NULL)


cdef enum:
    WORTH_SHARING = 100_000     # entries of the factor, once for each block, worth more threads
    FEWEST_TASKS = 4            # fewer are not worth waking a second thread for


cdef int useful_threads(const Pattern *p, Py_ssize_t columns) noexcept nogil:
    """Most threads that gain something on one matrix and so many right-hand sides."""
    cdef Py_ssize_t blocks = (columns + RHS_BLOCK - 1) // RHS_BLOCK
    if blocks * p.size < WORTH_SHARING:
        blocks = 1
    if p.parallel_plan.tasks < FEWEST_TASKS and blocks == 1:
        return 1
    return <int>min(<Py_ssize_t>INT_MAX, max(<Py_ssize_t>p.parallel_plan.tasks, blocks))


def most_threads(Structure structure, Py_ssize_t columns):
    """Most threads that gain something on one matrix and so many right-hand sides."""
    return useful_threads(&structure.pattern, columns)


cdef Py_ssize_t solve_space(const Pattern *p, int block, int threads) noexcept nogil:
    """Scalars of workspace."""
    return threads * space(p, block)


cdef bint solve_all(System *job, Py_ssize_t batch, int threads) noexcept nogil:
    """Solve for every right-hand side of a batch, none empty; False without memory."""
    cdef Py_ssize_t items
    job.blocks = (job.columns + job.block - 1) // job.block
    items = batch * job.blocks
    job.groups = 0
    job.lanes = NULL
    if (job.kind == DOUBLE and job.columns == 1 and job.strides[1] == 1 and job.reached == NULL
            and goes_side_by_side(job.p)):
        job.groups = begin_groups(job.p, batch, threads, &job.lanes)
        items -= job.groups * (most_together() - 1)
    job.scratch = malloc(
        pool_scratch(<int32_t>max(items, <Py_ssize_t>job.p.parallel_plan.tasks), threads) + 1)
    if job.scratch == NULL:
        free(job.lanes)
        return False
    if items > 1 or threads == 1:
        pool_run(threads, <int32_t>items, NULL, POOL_UP, NULL, run_block, job, job.scratch)
    else:
        together[job.kind](job, threads, 0, NULL)
    free(job.scratch)
    free(job.lanes)
    return True


def workspace(Structure structure, int block, int threads):
    """Scalars of workspace that `solve` needs."""
    return solve_space(&structure.pattern, block, threads)


def solve(Structure structure, const scalar[:, ::1] l, scalar[:, :, :] b, scalar[::1] work,
          bint lower, bint upper, const int32_t[::1] inward, const int32_t[::1] outward,
          const uint8_t[::1] reached, int block, int threads, bint signs=False):
    """Overwrite b with the solution of L x = b, L^H x = b, or both one after the other.

    Parameters
    ----------
    structure : Structure
    l : (batch, structure.size) panels of each L.
    b : (batch, n, k) right-hand sides, overwritten.
    work : (workspace(structure, block, threads),) workspace.
    lower, upper : whether to solve with L, and then with L^H.
    inward, outward : (n,) row of b that each row of the system is read from and written to.
    reached : (nsuper,) whether b has nonzeros in the subtree of each supernode; NO_REACH: it may.
    block : right-hand sides taken at once.
    threads : most threads to work at once.
    signs : whether, between both, to multiply by the signs of the diagonal of L.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t n = p.n, batch = l.shape[0]
    cdef System job
    cdef bint done
    cdef pool_call call
    if (l.shape[1] != p.size or b.shape[0] != batch or b.shape[1] != n or inward.shape[0] != n
            or outward.shape[0] != n or reached.shape[0] not in (0, p.nsuper)):
        raise ValueError("solve: arrays do not belong to this structure")
    if block < 1 or threads < 1 or work.shape[0] < workspace(structure, block, threads):
        raise ValueError("solve: workspace too small")
    if n == 0 or b.shape[2] == 0 or batch == 0:
        return
    job.p = p
    job.kind = kind_of(&l[0, 0])
    job.lower = lower
    job.upper = upper
    job.signs = signs and lower and upper
    job.factor = each(&l[0, 0])
    job.b = <char *>&b[0, 0, 0]
    job.out = NULL
    job.strides[0] = b.strides[0] // <Py_ssize_t>sizeof(scalar)
    job.strides[1] = b.strides[1] // <Py_ssize_t>sizeof(scalar)
    job.strides[2] = b.strides[2] // <Py_ssize_t>sizeof(scalar)
    job.columns = b.shape[2]
    job.block = block
    job.inward = &inward[0]
    job.outward = &outward[0]
    job.reached = &reached[0] if reached.shape[0] else NULL
    job.work = <char *>&work[0]
    if batch * b.shape[2] >= 2**31 - 1:
        raise OverflowError("too many right-hand sides")
    pool_begin(&call)
    with nogil:
        done = solve_all(&job, batch, threads)
    pool_end(&call)
    if not done:
        raise MemoryError("no memory for the list of tasks")


def reach(Structure structure, const int32_t[::1] inward, const int32_t[::1] rows):
    """Which supernodes have one of the given rows of b in their subtree (uint8)."""
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t k
    cdef int32_t s, j
    reached_array = np.zeros(p.nsuper, dtype=np.uint8)
    cdef uint8_t[::1] reached = reached_array
    cdef uint8_t[::1] wanted = np.zeros(p.n, dtype=np.uint8)
    if inward.shape[0] != p.n:
        raise ValueError("reach: arrays do not belong to this structure")
    with nogil:
        for k in range(rows.shape[0]):
            wanted[rows[k]] = 1
        for s in range(p.nsuper):
            for j in range(p.first[s], p.first[s + 1]):
                if wanted[inward[j]]:
                    reached[s] = 1
            if reached[s] and p.parent[s] != -1:
                reached[p.parent[s]] = 1
    return reached_array
