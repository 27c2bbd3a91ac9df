"""Forward and backward substitution with a supernodal factor, and its log-determinant.

Right-hand sides are permuted and interleaved: `x` holds the `k` values of row 0, then those of
row 1. In column-major terms that is the k x n matrix X^T, so that the rows of a front are columns
side by side and every step is a product from the right.

        [ L11      ]        forward     X1^T <- X1^T L11^-T,  X2^T <- X2^T - X1^T L21^T
        [ L21  L22 ]        backward    X1^T <- (X1^T - X2^T L21) L11^-1

The backward step is with L^T. The adjoint of a complex factor is reached by conjugating X before
and after: L^-H x = conj(L^-T conj(x)).

Where the tree is cut into tasks (see symbolic.tasks), what a task takes from rows beyond it goes
into sums of its own, which it hands over to the task above: on the way up no two tasks write to one
place. On the way down a task writes to its own rows only.
"""

from libc.limits cimport INT_MAX
from libc.math cimport log
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import numpy as np

from sparsechol._core.numeric.batch cimport array_of, each
from sparsechol._core.numeric.dense cimport (
    AS_IS, DOUBLE, DOUBLE_COMPLEX, FLOAT, PACK, TRANSPOSED, Crew, backward_one, conjugate,
    forward_one, kind_of, multiply, real, scalar, size_of, solve_right,
)
from sparsechol._core.parallel.pool cimport (
    POOL_DOWN, POOL_UP, pool_run, pool_scratch, pool_worker,
)
from sparsechol._core.symbolic.structure cimport Pattern, Structure


cdef void forward(const Pattern *p, int32_t t, const scalar *l, scalar *x, int k, scalar *sums,
                  scalar *hands, scalar *w, const uint8_t *reached,
                  const Crew *crew) noexcept nogil:
    """X <- L^-1 X on one task.

    x : k values for each row of the matrix.
    sums : what the task takes from each row, zero before and after; x itself if there is one task.
    hands : what is handed over.
    w : k values for each row of the tallest front.
    reached : whether X has nonzeros in the subtree of each supernode; NULL: it may.
    """
    cdef int32_t q, s
    for q in range(p.crowd.task_start[t], p.crowd.task_start[t + 1]):
        s = p.crowd.steps[q]
        if reached != NULL and not reached[s]:
            continue
        take_over(p, s, k, sums, hands, reached)
        if p.region[s] == -1:
            forward_front(p, s, l, x, k, sums, w, crew)
        else:
            forward_region(p, s, l, x, k, sums, reached)
        if p.crowd.handed[s] != -1:
            hand_over(p, s, k, sums, hands + p.crowd.handed[s] * k)


cdef inline void take_over(const Pattern *p, int32_t s, int k, scalar *sums, const scalar *hands,
                           const uint8_t *reached) noexcept nogil:
    """Add what other tasks took from the rows of s and above."""
    cdef int32_t child = p.crowd.guest[s]
    while child != -1:
        if reached == NULL or reached[child]:
            scatter_rows(<int>(p.row_start[child + 1] - p.row_start[child]), k,
                         p.rows + p.row_start[child], hands + p.crowd.handed[child] * k, sums)
        child = p.crowd.next_guest[child]


cdef inline void hand_over(const Pattern *p, int32_t s, int k, scalar *sums,
                           scalar *hand) noexcept nogil:
    """Move the sums of the rows below s."""
    cdef int64_t q
    cdef int c
    cdef scalar *source
    for q in range(p.row_start[s], p.row_start[s + 1]):
        source = sums + <Py_ssize_t>p.rows[q] * k
        for c in range(k):
            hand[c] = source[c]
            source[c] = 0
        hand += k


cdef inline void settle(Py_ssize_t length, scalar *x1, scalar *sums1) noexcept nogil:
    """Right-hand sides take in the sums of their rows."""
    cdef Py_ssize_t i
    if x1 != sums1:
        for i in range(length):
            x1[i] += sums1[i]
            sums1[i] = 0


cdef inline void forward_front(const Pattern *p, int32_t s, const scalar *l, scalar *x, int k,
                               scalar *sums, scalar *w, const Crew *crew) noexcept nogil:
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const scalar *panel = l + p.panel[s]
    cdef const int32_t *rows = p.rows + p.row_start[s]
    cdef Py_ssize_t at = <Py_ssize_t>p.first[s] * k
    cdef scalar *x1 = x + at
    cdef int i
    settle(<Py_ssize_t>nc * k, x1, sums + at)
    if k == 1:
        memcpy(w, x1, sizeof(scalar) * nc)
        memset(w + nc, 0, sizeof(scalar) * m)
        forward_one(nc, m, panel, w)
        memcpy(x1, w, sizeof(scalar) * nc)
        for i in range(m):
            sums[rows[i]] += w[nc + i]
    else:
        solve_right(TRANSPOSED, k, nc, panel, nc + m, x1, k, crew)
        multiply(TRANSPOSED, False, k, m, nc, <const scalar *>x1, k, panel + nc, nc + m, False, w,
                 k, crew)
        scatter_rows(m, k, rows, <const scalar *>w, sums)


cdef inline void forward_region(const Pattern *p, int32_t root, const scalar *l, scalar *x, int k,
                                scalar *sums, const uint8_t *reached) noexcept nogil:
    cdef int32_t s
    cdef Py_ssize_t at
    for s in range(p.begin[root], root + 1):
        if reached != NULL and not reached[s]:
            continue
        at = <Py_ssize_t>p.first[s] * k
        settle(k, x + at, sums + at)
        forward_column(<int>(p.row_start[s + 1] - p.row_start[s]), k, l + p.panel[s],
                       p.rows + p.row_start[s], x + at, sums)


cdef void backward(const Pattern *p, int32_t t, const scalar *l, scalar *x, int k, scalar *w,
                   const Crew *crew) noexcept nogil:
    """X <- L^-H X for one right-hand side, X <- L^-T X for several, on one task."""
    cdef int32_t q, s, root
    for q in range(p.crowd.task_start[t + 1] - 1, p.crowd.task_start[t] - 1, -1):
        root = p.crowd.steps[q]
        if p.region[root] == -1:
            backward_front(p, root, l, x, k, w, crew)
        else:
            for s in range(root, p.begin[root] - 1, -1):
                backward_column(<int>(p.row_start[s + 1] - p.row_start[s]), k, l + p.panel[s],
                                p.rows + p.row_start[s], x + <Py_ssize_t>p.first[s] * k, x)


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
                                scalar *x1, scalar *sums) noexcept nogil:
    """One column of a region: x1 <- x1 / l, then it leaves the rows below."""
    cdef double inverse = 1 / real(column[0])       # does not wait for x1
    cdef int i, c
    cdef scalar y
    cdef scalar *target
    if k == 1:
        y = x1[0] * inverse
        x1[0] = y
        for i in range(m):
            sums[rows[i]] -= column[i + 1] * y
        return
    for c in range(k):
        x1[c] = x1[c] * inverse
    for i in range(m):
        target = sums + <Py_ssize_t>rows[i] * k
        for c in range(k):
            target[c] -= column[i + 1] * x1[c]


cdef inline void backward_column(int m, int k, const scalar *column, const int32_t *rows,
                                 scalar *x1, const scalar *x) noexcept nogil:
    """One column of a region; conjugated if there is one right-hand side (see `backward`)."""
    cdef double inverse = 1 / real(column[0])
    cdef int i, c
    cdef scalar y
    cdef const scalar *source
    if k == 1:
        y = x1[0]
        for i in range(m):
            y -= conjugate(column[i + 1]) * x[rows[i]]
        x1[0] = y * inverse
        return
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
    """Scalars of a thread's workspace: X, sums, what is handed over, w, and for products."""
    cdef Py_ssize_t rows = p.n + p.handed_rows + p.tallest
    if p.crowd.tasks > 1:
        rows += p.n
    return rows * block + (PACK if block > 1 else 0)


cdef struct Block:
    # One block of right-hand sides in the workspace of a thread.
    int k
    void *x
    void *sums
    void *hands
    void *w
    Crew crew


cdef inline Block block_of(const System *job, int k, int thread) noexcept nogil:
    """Where a thread keeps a block of k right-hand sides."""
    cdef const Pattern *p = job.p
    cdef Py_ssize_t unit = size_of(job.kind) * job.block
    cdef char *x = job.work + size_of(job.kind) * space(p, job.block) * thread
    cdef char *sums = x + unit * p.n if p.crowd.tasks > 1 else x
    cdef char *hands = sums + unit * p.n
    cdef char *w = hands + unit * p.handed_rows
    cdef Crew crew = Crew(threads=1, worker=NULL, packs=w + unit * p.tallest, step=0)
    return Block(k=k, x=x, sums=sums, hands=hands, w=w, crew=crew)


cdef void enter(const System *job, const scalar *b, const Block *at) noexcept nogil:
    """Right-hand sides into X; the sums are cleared."""
    permute_in(job.inward, b, job.p.n, at.k, job.steps[1], job.steps[2], <scalar *>at.x)
    if job.p.crowd.tasks > 1:
        memset(at.sums, 0, sizeof(scalar) * job.p.n * at.k)
    if at.k > 1 and not job.lower:
        conjugate_all(<scalar *>at.x, <Py_ssize_t>job.p.n * at.k)


cdef inline void turn(const System *job, const Block *at, const scalar *witness) noexcept nogil:
    """Between L and L^H."""
    if at.k > 1 and job.lower and job.upper:
        conjugate_all(<scalar *>at.x, <Py_ssize_t>job.p.n * at.k)


cdef void leave(const System *job, scalar *b, const Block *at) noexcept nogil:
    if at.k > 1 and job.upper:
        conjugate_all(<scalar *>at.x, <Py_ssize_t>job.p.n * at.k)
    permute_out(job.outward, <const scalar *>at.x, job.p.n, at.k, job.steps[1], job.steps[2], b)


cdef void solve_block(const System *job, int32_t item, int thread, scalar *b) noexcept nogil:
    """One block from beginning to end on one thread."""
    cdef const Pattern *p = job.p
    cdef const scalar *panels = <const scalar *>array_of(
        &job.factor, sizeof(scalar) * p.size, item // job.blocks)
    cdef Py_ssize_t column = item % job.blocks * job.block
    cdef Block at = block_of(job, <int>min(<Py_ssize_t>job.block, job.columns - column), thread)
    cdef int32_t t
    b += item // job.blocks * job.steps[0] + column * job.steps[2]
    enter(job, <const scalar *>b, &at)
    if job.lower:
        for t in range(p.crowd.tasks):
            forward(p, t, panels, <scalar *>at.x, at.k, <scalar *>at.sums, <scalar *>at.hands,
                    <scalar *>at.w, job.reached, &at.crew)
    turn(job, &at, panels)
    if job.upper:
        for t in range(p.crowd.tasks - 1, -1, -1):
            backward(p, t, panels, <scalar *>at.x, at.k, <scalar *>at.w, &at.crew)
    leave(job, b, &at)


cdef void run_block(void *context, int32_t item, pool_worker *worker) noexcept nogil:
    cdef System *job = <System *>context
    if job.kind == DOUBLE:
        solve_block(job, item, worker.number, <double *>job.b)
    elif job.kind == FLOAT:
        solve_block(job, item, worker.number, <float *>job.b)
    elif job.kind == DOUBLE_COMPLEX:
        solve_block(job, item, worker.number, <double complex *>job.b)
    else:
        solve_block(job, item, worker.number, <float complex *>job.b)


cdef inline void task_up(const System *job, int32_t t, int thread,
                         const scalar *l) noexcept nogil:
    """One task of the way up for a block that all threads share."""
    cdef Block at = block_of(job, <int>job.columns, 0)
    cdef Block own = block_of(job, <int>job.columns, thread)
    forward(job.p, t, l, <scalar *>at.x, at.k, <scalar *>own.sums, <scalar *>at.hands,
            <scalar *>own.w, job.reached, &own.crew)


cdef void run_up(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    cdef System *job = <System *>context
    if job.kind == DOUBLE:
        task_up(job, t, worker.number, <const double *>job.factor.data)
    elif job.kind == FLOAT:
        task_up(job, t, worker.number, <const float *>job.factor.data)
    elif job.kind == DOUBLE_COMPLEX:
        task_up(job, t, worker.number, <const double complex *>job.factor.data)
    else:
        task_up(job, t, worker.number, <const float complex *>job.factor.data)


cdef inline void task_down(const System *job, int32_t t, int thread,
                           const scalar *l) noexcept nogil:
    """One task of the way down for a block that all threads share."""
    cdef Block at = block_of(job, <int>job.columns, 0)
    cdef Block own = block_of(job, <int>job.columns, thread)
    backward(job.p, t, l, <scalar *>at.x, at.k, <scalar *>own.w, &own.crew)


cdef void run_down(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    cdef System *job = <System *>context
    if job.kind == DOUBLE:
        task_down(job, t, worker.number, <const double *>job.factor.data)
    elif job.kind == FLOAT:
        task_down(job, t, worker.number, <const float *>job.factor.data)
    elif job.kind == DOUBLE_COMPLEX:
        task_down(job, t, worker.number, <const double complex *>job.factor.data)
    else:
        task_down(job, t, worker.number, <const float complex *>job.factor.data)


cdef void solve_together(System *job, int threads, scalar *b, void *scratch) noexcept nogil:
    """One block of right-hand sides, the tree spread over the threads."""
    cdef const Pattern *p = job.p
    cdef Block at = block_of(job, <int>job.columns, 0)
    cdef int thread
    enter(job, <const scalar *>b, &at)
    for thread in range(1, threads):
        memset(block_of(job, at.k, thread).sums, 0, sizeof(scalar) * p.n * at.k)
    if job.lower:
        pool_run(threads, p.crowd.tasks, p.crowd.task_parent, POOL_UP, p.crowd.up_rank, run_up,
                 job, scratch)
    turn(job, &at, <const scalar *>b)
    if job.upper:
        pool_run(threads, p.crowd.tasks, p.crowd.task_parent, POOL_DOWN, p.crowd.down_rank,
                 run_down, job, scratch)
    leave(job, b, &at)


cdef enum:
    WORTH_SHARING = 100_000     # entries of the factor, once for each block, worth more threads
    FEWEST_TASKS = 4            # fewer are not worth waking a second thread for


cdef int useful_threads(const Pattern *p, Py_ssize_t columns) noexcept nogil:
    """Most threads that gain something on one matrix and so many right-hand sides."""
    cdef Py_ssize_t blocks = (columns + BLOCK - 1) // BLOCK
    if blocks * p.size < WORTH_SHARING:
        blocks = 1
    if p.crowd.tasks < FEWEST_TASKS and blocks == 1:
        return 1
    return <int>min(<Py_ssize_t>INT_MAX, max(<Py_ssize_t>p.crowd.tasks, blocks))


def most_threads(Structure structure, Py_ssize_t columns):
    """Most threads that gain something on one matrix and so many right-hand sides."""
    return useful_threads(&structure.pattern, columns)


cdef Py_ssize_t solve_space(const Pattern *p, int block, int threads) noexcept nogil:
    """Scalars of workspace."""
    return threads * space(p, block)


cdef bint solve_all(System *job, Py_ssize_t batch, int threads) noexcept nogil:
    """Solve for every right-hand side of a batch, none empty; False without memory."""
    cdef const Pattern *p = job.p
    cdef Py_ssize_t items
    cdef void *scratch
    job.blocks = (job.columns + job.block - 1) // job.block
    items = batch * job.blocks
    scratch = malloc(pool_scratch(<int32_t>max(items, <Py_ssize_t>p.crowd.tasks), threads) + 1)
    if scratch == NULL:
        return False
    if items > 1 or threads == 1:
        pool_run(threads, <int32_t>items, NULL, POOL_UP, NULL, run_block, job, scratch)
    elif job.kind == DOUBLE:
        solve_together(job, threads, <double *>job.b, scratch)
    elif job.kind == FLOAT:
        solve_together(job, threads, <float *>job.b, scratch)
    elif job.kind == DOUBLE_COMPLEX:
        solve_together(job, threads, <double complex *>job.b, scratch)
    else:
        solve_together(job, threads, <float complex *>job.b, scratch)
    free(scratch)
    return True


def workspace(Structure structure, int block, int threads):
    """Scalars of workspace that `solve` needs."""
    return solve_space(&structure.pattern, block, threads)


def solve(Structure structure, const scalar[:, ::1] l, scalar[:, :, :] b, scalar[::1] work,
          bint lower, bint upper, const int32_t[::1] inward, const int32_t[::1] outward,
          const uint8_t[::1] reached, int block, int threads):
    """Overwrite b with the solution of L x = b, L^H x = b, or both one after the other.

    Parameters
    ----------
    structure : Structure
    l : (batch, structure.size) panels of each L.
    b : (batch, n, k) right-hand sides, overwritten.
    work : (workspace(structure, block, threads),) workspace.
    lower, upper : whether to solve with L, and then with L^H.
    inward, outward : (n,) row of b that each row of the system is read from and written to.
    reached : (nsuper,) whether b has nonzeros in the subtree of each supernode; empty: it may.
    block : right-hand sides taken at once.
    threads : most threads to work at once.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t n = p.n, batch = l.shape[0]
    cdef System job
    cdef bint done
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
    job.factor = each(&l[0, 0])
    job.b = <char *>&b[0, 0, 0]
    job.steps[0] = b.strides[0] // <Py_ssize_t>sizeof(scalar)
    job.steps[1] = b.strides[1] // <Py_ssize_t>sizeof(scalar)
    job.steps[2] = b.strides[2] // <Py_ssize_t>sizeof(scalar)
    job.columns = b.shape[2]
    job.block = block
    job.inward = &inward[0]
    job.outward = &outward[0]
    job.reached = &reached[0] if reached.shape[0] else NULL
    job.work = <char *>&work[0]
    if batch * b.shape[2] >= 2**31 - 1:
        raise OverflowError("too many right-hand sides")
    with nogil:
        done = solve_all(&job, batch, threads)
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


cdef double log_determinant(const Pattern *p, const scalar *l) noexcept nogil:
    """2 sum(log diag(L)), logarithms taken of products as large as stay in the range of float64."""
    cdef int32_t s, _
    cdef int64_t rows
    cdef const scalar *d
    cdef double total = 0, product = 1
    for s in range(p.nsuper):
        rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
        d = l + p.panel[s]
        for _ in range(p.first[s], p.first[s + 1]):
            product *= real(d[0])       # entries are from 1e-162 to 1e154
            if product < 1e-100 or product > 1e100:
                total += log(product)
                product = 1
            d += rows + 1
    return 2 * (total + log(product))


def logdet(Structure structure, const scalar[:, ::1] l, double[::1] out):
    """out <- log det(L L^H) of each L, in float64.

    l : (batch, structure.size) panels of each L.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t k
    if l.shape[1] != p.size or out.shape[0] != l.shape[0]:
        raise ValueError("logdet: the factor does not belong to this structure")
    with nogil:
        for k in range(l.shape[0]):
            out[k] = log_determinant(p, &l[k, 0])
