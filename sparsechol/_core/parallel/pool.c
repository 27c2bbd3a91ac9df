/* The pool of workers (see pool.h).
 *
 * Each waiting thread owns a parker: `unpark` sets its token from any thread; `park` blocks the
 * owner until the token is set, and consumes it. An unpark before the park is not lost. An unpark
 * for nothing does no harm, because every park stands in a loop that checks its condition again.
 * Parkers are never freed, so that a late unpark cannot touch freed memory.
 *
 * Idle workers lie on a stack and know of no jobs. A thread that takes work and leaves some calls
 * `wake_workers`: it takes up to two workers off the stack, puts the job into their mailboxes and
 * unparks them; each of them does the same in its turn. A worker that finds no more work in a job
 * leaves the job, searches the list of jobs once, and goes back to the stack.
 *
 * There are two kinds of mutex. pool.mutex guards the list of jobs, the stack, all mailboxes and
 * the numbers of the workers in each job. The mutex of a job, which lies in its caller's parker,
 * guards its heap of ready tasks and its list of shared loops. No thread holds two at a time.
 *
 * All atomics are sequentially consistent. One place needs it: a thread that offers work writes
 * `ready` or `loops` and then reads `caller_idle`, `helpers` and `idle`; a thread that stops
 * working writes one of these three and then looks for work. One of the two threads sees what the
 * other wrote, so that no work is left without a thread that could take it. A job or a loop ends
 * when its counters `unfinished` and `helpers` fall to zero: the thread that reads the zero sees
 * all that was written before.
 *
 * Python handles signals on the main thread only, with its global lock. So that thread takes the
 * lock now and then while it works for a call that may be stopped, or waits for others, and notes
 * in the call what came of it; all threads that work for the call read the note. It holds no mutex
 * of the pool meanwhile, so that whoever has the global lock cannot wait for it.
 */
#include <Python.h>

#include <stdatomic.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <sched.h>
#include <time.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "pool.h"

enum {
    TRIES = 100,        /* attempts at a mutex before its thread sleeps */
    SPINS = 1000,       /* pauses before a parking thread offers its core to others */
    YIELDS = 10,        /* offers of the core before a parking thread sleeps */
    WAKE_AT_ONCE = 2,   /* workers that one thread wakes: all are awake after log2(threads) steps */
    ASK_EVERY = 50,     /* milliseconds between two looks for signals */
    ASK_WORK = 1 << 20, /* multiplications between two looks at the clock, less than 2 ms */
};

enum { EMPTY, NOTIFIED, PARKED };

typedef struct job job;

typedef struct parker {
    atomic_int state;
    PyThread_type_lock signal;  /* the owner sleeps on this lock, which is held otherwise */
    PyThread_type_lock mutex;   /* of the job that the owner called for */
    struct parker *below;       /* in the stack of idle workers, or of free parkers */
    struct parker *next;        /* in the list of all workers */
    _Atomic(job *) mailbox;     /* the job that this worker is to join, */
    int number;                 /* under this number */
} parker;

/* Tasks or pieces that come one after the other. */
typedef struct {
    _Atomic int64_t next;
    int32_t count;
    pool_task run;
    void *context;
} sequence;

/* A loop that a task shares. It lies on the call stack of its owner, who waits for all helpers. */
typedef struct loop {
    sequence pieces;
    atomic_int helpers;
    parker *owner;
    struct loop *next;
} loop;

struct job {
    sequence tasks;             /* `next` stays at the end where the tasks are a forest */
    _Atomic int32_t unfinished; /* tasks */
    parker *caller;
    pool_call *call;            /* that the job belongs to; NULL: nothing stops it */
    atomic_int caller_idle;     /* the caller found nothing to do */

    const int32_t *parent, *rank;
    int order;
    int32_t *heap;              /* ready tasks of a forest, the least rank on top */
    _Atomic int32_t ready;      /* number of ready tasks */
    int32_t *pending;           /* UP: children that have not run */
    int32_t *child, *sibling;   /* DOWN: lists of children */
    _Atomic(loop *) loops;      /* loops with pieces to take */

    job *next;                  /* in the list of jobs */
    int threads;
    atomic_int helpers;         /* workers that joined, or are about to */
    int32_t *numbers;           /* (threads - 1) of workers; the first `helpers` are in use */
};

static struct {
    PyThread_type_lock mutex;
    job *jobs;
    parker *stack;              /* idle workers */
    atomic_int idle;            /* number of idle workers */
    parker *all;                /* all workers */
    parker *free;               /* parkers for callers */
    atomic_int workers;
    atomic_int closed;
    unsigned long main_thread;
} pool;

/* What the thread works for. */
static _Thread_local struct {
    pool_call *call;            /* NULL: nothing stops it */
    int asks;                   /* this is the thread that asks Python for signals */
    int64_t work;               /* since it last looked at the clock */
} mine;


/* ---- signals -------------------------------------------------------------------------------- */

static int64_t milliseconds(void)
{
#ifdef _WIN32
    return (int64_t)GetTickCount64();
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
#endif
}

/* Let Python handle signals; an exception stops the call. */
static void ask(pool_call *call)
{
    PyGILState_STATE state = PyGILState_Ensure();
    if (PyErr_CheckSignals() < 0)
        atomic_store(&call->stopped, 1);
    PyGILState_Release(state);
    call->asked = milliseconds();
}

int pool_stopped(int64_t work)
{
    pool_call *call = mine.call;
    if (!call)
        return 0;
    if (mine.asks && (mine.work += work) >= ASK_WORK) {
        mine.work = 0;
        if (!atomic_load(&call->stopped) && milliseconds() - call->asked >= ASK_EVERY)
            ask(call);
    }
    return atomic_load_explicit(&call->stopped, memory_order_relaxed);
}

void pool_begin(pool_call *call)
{
    int asks = PyThread_get_thread_ident() == pool.main_thread;
    atomic_init(&call->stopped, 0);
    call->asked = milliseconds();
    call->outer = mine.call;
    call->outer_asks = mine.asks;
    mine.call = asks ? call : NULL;
    mine.asks = asks;
}

int pool_end(pool_call *call)
{
    mine.call = call->outer;
    mine.asks = call->outer_asks;
    return atomic_load(&call->stopped);
}


/* ---- waiting -------------------------------------------------------------------------------- */

static inline void pause_briefly(void)
{
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
    _mm_pause();
#elif defined(_MSC_VER)
    __yield();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void offer_core(void)
{
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
#endif
}

static void acquire(PyThread_type_lock mutex)
{
    for (int i = 0; i < TRIES; i++) {
        if (PyThread_acquire_lock(mutex, NOWAIT_LOCK))
            return;
        pause_briefly();
    }
    PyThread_acquire_lock(mutex, WAIT_LOCK);
}

static void release(PyThread_type_lock mutex)
{
    PyThread_release_lock(mutex);
}

static void unpark(parker *p)
{
    if (atomic_exchange(&p->state, NOTIFIED) == PARKED)
        PyThread_release_lock(p->signal);
}

/* Sleep until another thread releases the lock. */
static void await(PyThread_type_lock signal)
{
    while (mine.asks && !atomic_load(&mine.call->stopped)) {
        if (PyThread_acquire_lock_timed(signal, ASK_EVERY * 1000, 0) == PY_LOCK_ACQUIRED)
            return;
        ask(mine.call);
    }
    PyThread_acquire_lock(signal, WAIT_LOCK);
}

static void park(parker *p)
{
    int empty = EMPTY;
    for (int i = 0; i < SPINS && atomic_load(&p->state) == EMPTY; i++)
        pause_briefly();
    for (int i = 0; i < YIELDS && atomic_load(&p->state) == EMPTY; i++)
        offer_core();
    if (atomic_compare_exchange_strong(&p->state, &empty, PARKED))
        await(p->signal);
    atomic_store(&p->state, EMPTY);
}

static parker *new_parker(void)
{
    parker *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->signal = PyThread_allocate_lock();
    p->mutex = PyThread_allocate_lock();
    if (p->signal && p->mutex) {
        PyThread_acquire_lock(p->signal, WAIT_LOCK);
        return p;
    }
    if (p->signal)
        PyThread_free_lock(p->signal);
    if (p->mutex)
        PyThread_free_lock(p->mutex);
    free(p);
    return NULL;
}


/* ---- which worker joins which job ----------------------------------------------------------- */

static int has_work(job *j)
{
    return atomic_load(&j->ready) > 0 || atomic_load(&j->loops)
           || atomic_load(&j->tasks.next) < j->tasks.count;
}

static int has_room(job *j)
{
    return atomic_load(&j->helpers) < j->threads - 1;
}

/* Make the job the next one of a worker. The caller holds pool.mutex. */
static void assign(job *j, parker *p)
{
    p->number = j->numbers[atomic_fetch_add(&j->helpers, 1)];
    atomic_store(&p->mailbox, j);
}

/* Give a worker a job, or put it on the stack of idle workers. The caller holds pool.mutex. */
static void next_job_or_idle(parker *p)
{
    atomic_fetch_add(&pool.idle, 1);
    for (job *j = pool.jobs; j; j = j->next) {
        if (has_room(j) && has_work(j)) {
            atomic_fetch_sub(&pool.idle, 1);
            assign(j, p);
            return;
        }
    }
    p->below = pool.stack;
    pool.stack = p;
}

/* Wake threads for a job in which there is work for `most` more. */
static void wake_workers(job *j, int32_t most)
{
    parker *woken[WAKE_AT_ONCE];
    int count = 0;
    if (most > 0 && atomic_load(&j->caller_idle) && atomic_exchange(&j->caller_idle, 0)) {
        unpark(j->caller);
        most--;
    }
    if (most <= 0 || atomic_load(&pool.idle) == 0 || !has_room(j))
        return;
    acquire(pool.mutex);
    while (count < WAKE_AT_ONCE && count < most && pool.stack && has_room(j) && has_work(j)) {
        parker *p = woken[count++] = pool.stack;
        pool.stack = p->below;
        atomic_fetch_sub(&pool.idle, 1);
        assign(j, p);
    }
    release(pool.mutex);
    while (count > 0)
        unpark(woken[--count]);
}

/* Take a worker that found nothing more to do out of its job. */
static void leave(job *j, parker *p)
{
    parker *caller = j->caller;
    int last;
    acquire(pool.mutex);
    last = atomic_load(&j->unfinished) == 0 && atomic_load(&j->helpers) == 1;
    j->numbers[atomic_load(&j->helpers) - 1] = p->number;
    atomic_fetch_sub(&j->helpers, 1);   /* from here on the job may be gone */
    next_job_or_idle(p);
    release(pool.mutex);
    if (last)
        unpark(caller);
}

/* Return whether a thread may take another task: a worker may not once the pool is closed. */
static int may_go_on(const pool_worker *worker)
{
    return worker->number == 0 || !atomic_load(&pool.closed);
}


/* ---- sequences and shared loops ------------------------------------------------------------- */

/* Run what this thread can take of a sequence; return the number of tasks or pieces. */
static int32_t run_sequence(sequence *q, pool_worker *worker, int to_the_end)
{
    int32_t ran = 0;
    while ((to_the_end || !atomic_load(&pool.closed)) && atomic_load(&q->next) < q->count) {
        int64_t k = atomic_fetch_add(&q->next, 1);
        if (k >= q->count)
            break;
        if (ran++ == 0)
            wake_workers(worker->job, (int32_t)(q->count - 1 - k));
        if (!pool_stopped(0))
            q->run(q->context, (int32_t)k, worker);
    }
    return ran;
}

static void open_loop(job *j, loop *l)
{
    acquire(j->caller->mutex);
    l->next = atomic_load(&j->loops);
    atomic_store(&j->loops, l);
    release(j->caller->mutex);
}

/* Take a loop without pieces left off the list. The owner and every helper call this. */
static void close_loop(job *j, loop *l)
{
    acquire(j->caller->mutex);
    loop *before = atomic_load(&j->loops);
    if (before == l) {
        atomic_store(&j->loops, l->next);
    } else {
        while (before && before->next != l)
            before = before->next;
        if (before)
            before->next = l->next;
    }
    release(j->caller->mutex);
}

/* Help with the loop opened last; return 0 if there is none. */
static int help(job *j, pool_worker *worker)
{
    loop *l;
    parker *owner;
    if (!atomic_load(&j->loops) || !may_go_on(worker))
        return 0;
    acquire(j->caller->mutex);
    l = atomic_load(&j->loops);
    if (l)
        atomic_fetch_add(&l->helpers, 1);
    release(j->caller->mutex);
    if (!l)
        return 0;
    run_sequence(&l->pieces, worker, 0);
    close_loop(j, l);
    owner = l->owner;
    if (atomic_fetch_sub(&l->helpers, 1) == 1)  /* from here on the loop may be gone */
        unpark(owner);
    return 1;
}

void pool_share(pool_worker *worker, int32_t count, pool_task piece, void *context)
{
    job *j = worker->job;
    if (!j || count <= 1) {
        for (int32_t k = 0; k < count && !pool_stopped(0); k++)
            piece(context, k, worker);
        return;
    }
    loop l = {.pieces = {.count = count, .run = piece, .context = context},
              .owner = worker->parker};
    open_loop(j, &l);
    run_sequence(&l.pieces, worker, 1);
    close_loop(j, &l);
    while (atomic_load(&l.helpers) > 0)
        park(worker->parker);
}


/* ---- forests -------------------------------------------------------------------------------- */

static inline int before(const job *j, int32_t a, int32_t b)
{
    return j->rank ? j->rank[a] < j->rank[b] : a < b;
}

static void push(job *j, int32_t task)
{
    int32_t *heap = j->heap, at = atomic_fetch_add(&j->ready, 1);
    while (at > 0 && before(j, task, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = task;
}

/* Remove and return the ready task of least rank; -1 if there is none. */
static int32_t pop(job *j)
{
    int32_t *heap = j->heap, size = atomic_load(&j->ready), at = 0, top, last;
    if (size == 0)
        return -1;
    top = heap[0];
    last = heap[--size];
    for (int32_t below = 1; below < size; below = 2 * at + 1) {
        if (below + 1 < size && before(j, heap[below + 1], heap[below]))
            below++;
        if (!before(j, heap[below], last))
            break;
        heap[at] = heap[below];
        at = below;
    }
    heap[at] = last;
    atomic_store(&j->ready, size);
    return top;
}

/* Count the children that each task waits for (UP) or list those that wait for it (DOWN); push
 * the tasks that wait for none. */
static void init_forest(job *j)
{
    int32_t n = j->tasks.count;
    for (int32_t t = 0; t < n; t++) {
        if (j->order == POOL_UP)
            j->pending[t] = 0;
        else
            j->child[t] = -1;
    }
    for (int32_t t = n - 1; t >= 0; t--) {
        int32_t p = j->parent ? j->parent[t] : -1;
        if (j->order == POOL_DOWN && p >= 0) {
            j->sibling[t] = j->child[p];
            j->child[p] = t;
        } else if (j->order == POOL_DOWN) {
            push(j, t);
        } else if (p >= 0) {
            j->pending[p]++;
        }
    }
    for (int32_t t = 0; j->order == POOL_UP && t < n; t++)
        if (j->pending[t] == 0)
            push(j, t);
}

/* Push the tasks that waited for this one alone. */
static void free_dependents(job *j, int32_t task)
{
    int32_t p = j->parent ? j->parent[task] : -1;
    if (j->order == POOL_UP) {
        if (p >= 0 && --j->pending[p] == 0)
            push(j, p);
    } else {
        for (int32_t t = j->child[task]; t >= 0; t = j->sibling[t])
            push(j, t);
    }
}

/* Count tasks that have run; the last one ends the wait of the caller. */
static void count_finished(job *j, int32_t ran)
{
    if (ran > 0 && atomic_fetch_sub(&j->unfinished, ran) == ran)
        unpark(j->caller);
}

/* Run ready tasks until there are none. */
static void run_forest(job *j, pool_worker *worker)
{
    int32_t task = -1, left;
    for (;;) {
        acquire(j->caller->mutex);
        if (task >= 0)
            free_dependents(j, task);
        count_finished(j, task >= 0);
        task = may_go_on(worker) ? pop(j) : -1;
        left = atomic_load(&j->ready);
        release(j->caller->mutex);
        wake_workers(j, left);
        if (task < 0)
            return;
        if (!pool_stopped(0))
            j->tasks.run(j->tasks.context, task, worker);
    }
}


/* ---- jobs ----------------------------------------------------------------------------------- */

/* Run tasks of a job and pieces of its loops until there are none to take. */
static void work_on(job *j, pool_worker *worker)
{
    do {
        if (j->heap)
            run_forest(j, worker);
        else
            count_finished(j, run_sequence(&j->tasks, worker, worker->number == 0));
    } while (help(j, worker));
}

/* Return a parker for a caller, or NULL if memory is short. */
static parker *take_parker(void)
{
    parker *p;
    acquire(pool.mutex);
    p = pool.free;
    if (p)
        pool.free = p->below;
    release(pool.mutex);
    /* Not under the mutex: Python's allocator may want the global lock. */
    return p ? p : new_parker();
}

static void list_job(job *j)
{
    acquire(pool.mutex);
    j->next = pool.jobs;
    pool.jobs = j;
    release(pool.mutex);
}

/* Empty the mailboxes that hold the job: these workers need not come any more. The caller holds
 * pool.mutex. */
static void cancel_pending(job *j)
{
    for (parker *p = pool.all; p && atomic_load(&j->helpers) > 0; p = p->next) {
        job *pending = j;
        if (atomic_compare_exchange_strong(&p->mailbox, &pending, NULL)) {
            atomic_fetch_sub(&j->helpers, 1);
            next_job_or_idle(p);
            if (atomic_load(&p->mailbox))
                unpark(p);
        }
    }
}

/* Wait until no worker is in the job, and take it off the list. All tasks have run. */
static void finish(job *j)
{
    job **link = &pool.jobs;
    acquire(pool.mutex);
    while (*link != j)
        link = &(*link)->next;
    *link = j->next;
    cancel_pending(j);
    while (atomic_load(&j->helpers) > 0) {
        release(pool.mutex);
        park(j->caller);
        acquire(pool.mutex);
    }
    j->caller->below = pool.free;
    pool.free = j->caller;
    release(pool.mutex);
}

static void run_alone(int32_t tasks, int descending, pool_task run, void *context)
{
    pool_worker alone = {0, NULL, NULL};
    for (int32_t t = 0; t < tasks && !pool_stopped(0); t++)
        run(context, descending ? tasks - 1 - t : t, &alone);
}

size_t pool_scratch(int32_t tasks, int threads)
{
    return sizeof(int32_t) * (3 * (size_t)tasks + (size_t)threads);
}

/* Divide the workspace among the arrays of a job and fill them. */
static void init_job(job *j, int32_t *space)
{
    int32_t tasks = j->tasks.count;
    j->numbers = space;
    for (int k = 0; k < j->threads - 1; k++)
        j->numbers[k] = k + 1;
    if (j->parent || j->rank) {
        j->heap = space + j->threads;
        j->pending = j->child = j->heap + tasks;
        j->sibling = j->child + tasks;
        atomic_store(&j->tasks.next, tasks);
        init_forest(j);
    }
}

/* Work as the caller: run tasks while there are any to take, and park while others work. */
static void run_as_caller(job *j)
{
    pool_worker self = {0, j, j->caller};
    work_on(j, &self);
    while (atomic_load(&j->unfinished) > 0) {
        atomic_store(&j->caller_idle, 1);
        if (!has_work(j) && atomic_load(&j->unfinished) > 0)
            park(j->caller);
        atomic_store(&j->caller_idle, 0);
        work_on(j, &self);
    }
}

void pool_run(int threads, int32_t tasks, const int32_t *parent, int order, const int32_t *rank,
              pool_task run, void *context, void *workspace)
{
    int serial = threads <= 1 || tasks <= 0 || (tasks == 1 && pool_workers() == 0);
    parker *caller = serial ? NULL : take_parker();
    if (!caller) {
        run_alone(tasks, parent && order == POOL_DOWN, run, context);
        return;
    }
    job j = {.tasks = {.count = tasks, .run = run, .context = context}, .unfinished = tasks,
             .caller = caller, .call = mine.call, .parent = parent, .rank = rank,
             .order = order, .threads = threads};
    init_job(&j, workspace);
    list_job(&j);
    run_as_caller(&j);
    finish(&j);
}


/* ---- the pool ------------------------------------------------------------------------------- */

int pool_open(unsigned long main_thread)
{
    PyThread_type_lock mutex = PyThread_allocate_lock();
    pool.mutex = mutex;
    pool.jobs = NULL;
    pool.stack = pool.all = pool.free = NULL;
    atomic_store(&pool.idle, 0);
    atomic_store(&pool.workers, 0);
    atomic_store(&pool.closed, 0);
    pool.main_thread = main_thread;
    return mutex != NULL;
}

void pool_work(void)
{
    parker *p = new_parker();
    if (!p)
        return;
    acquire(pool.mutex);
    p->next = pool.all;
    pool.all = p;
    atomic_fetch_add(&pool.workers, 1);
    next_job_or_idle(p);
    release(pool.mutex);
    while (!atomic_load(&pool.closed)) {
        job *j = atomic_exchange(&p->mailbox, NULL);
        if (j) {
            pool_worker self = {p->number, j, p};
            mine.call = j->call;
            work_on(j, &self);
            mine.call = NULL;
            leave(j, p);
        } else {
            park(p);
        }
    }
    atomic_fetch_sub(&pool.workers, 1);
}

int pool_workers(void)
{
    return atomic_load(&pool.workers);
}

void pool_close(void)
{
    acquire(pool.mutex);
    atomic_store(&pool.closed, 1);
    for (parker *p = pool.all; p; p = p->next)
        unpark(p);
    release(pool.mutex);
}
