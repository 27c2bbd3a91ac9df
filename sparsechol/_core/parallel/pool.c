/* The pool of workers (see pool.h).
 *
 * Who waits has a seat: a token that any thread may set (`call`) and only the thread that sits
 * there takes (`await_call`). A call that comes before the wait is not lost, and one that comes
 * for nothing does no harm, because every wait stands in a loop that looks at its condition again.
 * Seats are never freed, so that a late call cannot touch memory that has gone.
 *
 * Idle workers lie on a stack and know of no jobs. Whoever takes work and leaves some `invites`:
 * takes up to two workers off the stack, puts the job in their post and calls them; they do the
 * same in their turn. A worker that finds nothing more to do leaves the job, looks once through
 * the list of jobs, and goes back to the stack.
 *
 * Two kinds of mutex: pool.mutex guards the list of jobs, the stack, all posts and the numbers of
 * the workers in each job. The mutex of a job guards its heap of ready tasks and its list of
 * shared loops. No thread holds two at a time.
 *
 * All atomics are sequentially consistent, and once that is needed: whoever offers work writes
 * `ready` or `loops` and then reads `absent`, `helpers` and `idle`; whoever stops working writes
 * one of these and then looks for work. One of the two sees the other, so that no work stays
 * without a thread that could take it. A job or a loop ends when its counters, `unfinished` and
 * `helpers`, fall to zero: who reads the zero sees all that was written before.
 */
#include <Python.h>

#include <stdatomic.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <sched.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "pool.h"

enum {
    TRIES = 100,        /* attempts at a mutex before its thread sleeps */
    SPINS = 1000,       /* pauses, then */
    YIELDS = 10,        /* offers of the core to others before a waiting thread sleeps */
    INVITED = 2,        /* workers that one thread calls: all are awake after log2(threads) steps */
};

enum { QUIET, CALLED, ASLEEP };

typedef struct job job;

typedef struct seat {
    atomic_int state;
    PyThread_type_lock bell;    /* its thread sleeps on this lock, which is held otherwise */
    PyThread_type_lock mutex;   /* of the job whose caller sits here */
    struct seat *below;         /* in the stack of idle workers, or of free seats */
    struct seat *next;          /* of all workers */
    _Atomic(job *) post;        /* the job that this worker is to join, */
    int number;                 /* under this number */
} seat;

/* Tasks or pieces that come one after the other. */
typedef struct {
    _Atomic int64_t next;
    int32_t count;
    pool_task run;
    void *context;
} sequence;

/* A loop that a task shares; it lies on the stack of its owner, who waits for all helpers. */
typedef struct loop {
    sequence pieces;
    atomic_int helpers;
    seat *owner;
    struct loop *next;
} loop;

struct job {
    sequence tasks;             /* `next` stays at the end where the tasks are a forest */
    _Atomic int32_t unfinished; /* tasks */
    seat *caller;
    atomic_int absent;          /* the caller found nothing to do */

    const int32_t *parent, *rank;
    int order;
    int32_t *heap;              /* ready tasks of a forest, the least rank on top */
    _Atomic int32_t ready;      /* how many */
    int32_t *pending;           /* UP: children that have not run */
    int32_t *child, *sibling;   /* DOWN: lists of children */
    _Atomic(loop *) loops;      /* with pieces to take */

    job *next;                  /* in the list of jobs */
    int threads;
    atomic_int helpers;         /* workers that joined, or are about to */
    int32_t *numbers;           /* threads - 1 of them; the first `helpers` are in use */
};

static struct {
    PyThread_type_lock mutex;
    job *jobs;
    seat *stack;                /* of idle workers */
    atomic_int idle;            /* how many */
    seat *all;                  /* workers */
    seat *free;                 /* seats for callers */
    atomic_int workers;
    atomic_int closed;
} pool;


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

static void call(seat *s)
{
    if (atomic_exchange(&s->state, CALLED) == ASLEEP)
        PyThread_release_lock(s->bell);
}

static void await_call(seat *s)
{
    int quiet = QUIET;
    for (int i = 0; i < SPINS && atomic_load(&s->state) == QUIET; i++)
        pause_briefly();
    for (int i = 0; i < YIELDS && atomic_load(&s->state) == QUIET; i++)
        offer_core();
    if (atomic_compare_exchange_strong(&s->state, &quiet, ASLEEP))
        PyThread_acquire_lock(s->bell, WAIT_LOCK);
    atomic_store(&s->state, QUIET);
}

static seat *new_seat(void)
{
    seat *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->bell = PyThread_allocate_lock();
    s->mutex = PyThread_allocate_lock();
    if (s->bell && s->mutex) {
        PyThread_acquire_lock(s->bell, WAIT_LOCK);
        return s;
    }
    if (s->bell)
        PyThread_free_lock(s->bell);
    if (s->mutex)
        PyThread_free_lock(s->mutex);
    free(s);
    return NULL;
}


/* ---- who works where ------------------------------------------------------------------------ */

static int has_work(job *j)
{
    return atomic_load(&j->ready) > 0 || atomic_load(&j->loops)
           || atomic_load(&j->tasks.next) < j->tasks.count;
}

static int has_room(job *j)
{
    return atomic_load(&j->helpers) < j->threads - 1;
}

/* With pool.mutex: make the job the next one of a worker. */
static void assign(job *j, seat *s)
{
    s->number = j->numbers[atomic_fetch_add(&j->helpers, 1)];
    atomic_store(&s->post, j);
}

/* With pool.mutex: a job for a worker that has none, else its place on the stack. */
static void find_job(seat *s)
{
    atomic_fetch_add(&pool.idle, 1);
    for (job *j = pool.jobs; j; j = j->next) {
        if (has_room(j) && has_work(j)) {
            atomic_fetch_sub(&pool.idle, 1);
            assign(j, s);
            return;
        }
    }
    s->below = pool.stack;
    pool.stack = s;
}

/* A thread of the job has left work for `most` others. */
static void invite(job *j, int32_t most)
{
    seat *guests[INVITED];
    int count = 0;
    if (most > 0 && atomic_load(&j->absent) && atomic_exchange(&j->absent, 0)) {
        call(j->caller);
        most--;
    }
    if (most <= 0 || atomic_load(&pool.idle) == 0 || !has_room(j))
        return;
    acquire(pool.mutex);
    while (count < INVITED && count < most && pool.stack && has_room(j) && has_work(j)) {
        seat *s = guests[count++] = pool.stack;
        pool.stack = s->below;
        atomic_fetch_sub(&pool.idle, 1);
        assign(j, s);
    }
    release(pool.mutex);
    while (count > 0)
        call(guests[--count]);
}

/* A worker has found nothing more to do in a job. */
static void leave(job *j, seat *s)
{
    seat *caller = j->caller;
    int last;
    acquire(pool.mutex);
    last = atomic_load(&j->unfinished) == 0 && atomic_load(&j->helpers) == 1;
    j->numbers[atomic_load(&j->helpers) - 1] = s->number;
    atomic_fetch_sub(&j->helpers, 1);   /* from here on the job may be gone */
    find_job(s);
    release(pool.mutex);
    if (last)
        call(caller);
}

/* Whether a thread goes on with the tasks of its job: a worker goes when the pool is closed. */
static int stays(const pool_worker *worker)
{
    return worker->number == 0 || !atomic_load(&pool.closed);
}


/* ---- sequences and shared loops ------------------------------------------------------------- */

/* Run what this thread can take of a sequence; how many that were. */
static int32_t run_sequence(sequence *q, pool_worker *worker, int to_the_end)
{
    int32_t ran = 0;
    while ((to_the_end || !atomic_load(&pool.closed)) && atomic_load(&q->next) < q->count) {
        int64_t k = atomic_fetch_add(&q->next, 1);
        if (k >= q->count)
            break;
        if (ran++ == 0)
            invite(worker->job, (int32_t)(q->count - 1 - k));
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

/* Nothing is left to take: no more helpers. The owner and every helper come here. */
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

/* Help with a loop, the one opened last; 0 where there is none. */
static int help(job *j, pool_worker *worker)
{
    loop *l;
    seat *owner;
    if (!atomic_load(&j->loops) || !stays(worker))
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
        call(owner);
    return 1;
}

void pool_share(pool_worker *worker, int32_t count, pool_task piece, void *context)
{
    job *j = worker->job;
    if (!j || count <= 1) {
        for (int32_t k = 0; k < count; k++)
            piece(context, k, worker);
        return;
    }
    loop l = {.pieces = {.count = count, .run = piece, .context = context},
              .owner = worker->seat};
    open_loop(j, &l);
    run_sequence(&l.pieces, worker, 1);
    close_loop(j, &l);
    while (atomic_load(&l.helpers) > 0)
        await_call(worker->seat);
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

/* The ready task of least rank, or -1. */
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

/* Children that each task waits for (UP), or lists of those that wait for it (DOWN). */
static void plant(job *j)
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

/* A task has run: what waited for it alone is ready. */
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

static void settle(job *j, int32_t ran)
{
    if (ran > 0 && atomic_fetch_sub(&j->unfinished, ran) == ran)
        call(j->caller);
}

/* Run ready tasks until there is none. */
static void run_forest(job *j, pool_worker *worker)
{
    int32_t task = -1, left;
    for (;;) {
        acquire(j->caller->mutex);
        if (task >= 0)
            free_dependents(j, task);
        settle(j, task >= 0);
        task = stays(worker) ? pop(j) : -1;
        left = atomic_load(&j->ready);
        release(j->caller->mutex);
        invite(j, left);
        if (task < 0)
            return;
        j->tasks.run(j->tasks.context, task, worker);
    }
}


/* ---- jobs ----------------------------------------------------------------------------------- */

static void work(job *j, pool_worker *worker)
{
    do {
        if (j->heap)
            run_forest(j, worker);
        else
            settle(j, run_sequence(&j->tasks, worker, worker->number == 0));
    } while (help(j, worker));
}

/* A seat for a caller; NULL where there is no memory. */
static seat *take_seat(void)
{
    seat *s;
    acquire(pool.mutex);
    s = pool.free;
    if (s)
        pool.free = s->below;
    release(pool.mutex);
    /* Not under the mutex: an allocator of Python's may want the global lock. */
    return s ? s : new_seat();
}

static void enter(job *j)
{
    acquire(pool.mutex);
    j->next = pool.jobs;
    pool.jobs = j;
    release(pool.mutex);
}

/* With pool.mutex: no worker that is only on its way to the job needs to come any more. */
static void retract(job *j)
{
    for (seat *s = pool.all; s && atomic_load(&j->helpers) > 0; s = s->next) {
        job *posted = j;
        if (atomic_compare_exchange_strong(&s->post, &posted, NULL)) {
            atomic_fetch_sub(&j->helpers, 1);
            find_job(s);
            if (atomic_load(&s->post))
                call(s);
        }
    }
}

/* All tasks have run: let the workers go and take the job out of the list. */
static void finish(job *j)
{
    job **link = &pool.jobs;
    acquire(pool.mutex);
    while (*link != j)
        link = &(*link)->next;
    *link = j->next;
    retract(j);
    while (atomic_load(&j->helpers) > 0) {
        release(pool.mutex);
        await_call(j->caller);
        acquire(pool.mutex);
    }
    j->caller->below = pool.free;
    pool.free = j->caller;
    release(pool.mutex);
}

static void run_alone(int32_t tasks, int descending, pool_task run, void *context)
{
    pool_worker alone = {0, NULL, NULL};
    for (int32_t t = 0; t < tasks; t++)
        run(context, descending ? tasks - 1 - t : t, &alone);
}

size_t pool_scratch(int32_t tasks, int threads)
{
    return sizeof(int32_t) * (3 * (size_t)tasks + (size_t)threads);
}

/* Share out the workspace. */
static void lay_out(job *j, int32_t *space)
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
        plant(j);
    }
}

/* The caller's part: it works while there is something to do, and waits while others work. */
static void serve(job *j)
{
    pool_worker self = {0, j, j->caller};
    work(j, &self);
    while (atomic_load(&j->unfinished) > 0) {
        atomic_store(&j->absent, 1);
        if (!has_work(j) && atomic_load(&j->unfinished) > 0)
            await_call(j->caller);
        atomic_store(&j->absent, 0);
        work(j, &self);
    }
}

void pool_run(int threads, int32_t tasks, const int32_t *parent, int order, const int32_t *rank,
              pool_task run, void *context, void *workspace)
{
    int serial = threads <= 1 || tasks <= 0 || (tasks == 1 && pool_workers() == 0);
    seat *caller = serial ? NULL : take_seat();
    if (!caller) {
        run_alone(tasks, parent && order == POOL_DOWN, run, context);
        return;
    }
    job j = {.tasks = {.count = tasks, .run = run, .context = context}, .unfinished = tasks,
             .caller = caller, .parent = parent, .rank = rank, .order = order,
             .threads = threads};
    lay_out(&j, workspace);
    enter(&j);
    serve(&j);
    finish(&j);
}


/* ---- the pool ------------------------------------------------------------------------------- */

int pool_open(void)
{
    PyThread_type_lock mutex = PyThread_allocate_lock();
    pool.mutex = mutex;
    pool.jobs = NULL;
    pool.stack = pool.all = pool.free = NULL;
    atomic_store(&pool.idle, 0);
    atomic_store(&pool.workers, 0);
    atomic_store(&pool.closed, 0);
    return mutex != NULL;
}

void pool_work(void)
{
    seat *s = new_seat();
    if (!s)
        return;
    acquire(pool.mutex);
    s->next = pool.all;
    pool.all = s;
    atomic_fetch_add(&pool.workers, 1);
    find_job(s);
    release(pool.mutex);
    while (!atomic_load(&pool.closed)) {
        job *j = atomic_exchange(&s->post, NULL);
        if (j) {
            pool_worker self = {s->number, j, s};
            work(j, &self);
            leave(j, s);
        } else {
            await_call(s);
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
    for (seat *s = pool.all; s; s = s->next)
        call(s);
    release(pool.mutex);
}
