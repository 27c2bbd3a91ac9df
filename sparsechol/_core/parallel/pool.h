/* Threads that work on the tasks of whoever calls, without Python's global lock.
 *
 * A caller brings a job: a forest of tasks, or independent ones. It works on the job itself, and
 * workers of the pool join where there is something to take. A task may share a loop with the
 * threads of its job that have nothing else to do.
 */
#ifndef SPARSECHOL_POOL_H
#define SPARSECHOL_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* A thread at work on a job. No other thread of the job has its number, so that every number can
 * have a private workspace; the calling thread is number 0. */
typedef struct {
    int number;
    struct job *job;
    struct seat *seat;
} pool_worker;

typedef void (*pool_task)(void *context, int32_t task, pool_worker *worker);

/* In which order a forest runs: a task after its children (UP) or after its parent (DOWN). */
enum { POOL_UP, POOL_DOWN };

/* Bytes of workspace for pool_run, aligned as an int32_t. */
size_t pool_scratch(int32_t tasks, int threads);

/* Run every task, on the calling thread and up to threads - 1 idle workers; return when all have
 * run and no worker touches the job any more. What the tasks wrote is visible to the caller.
 *
 * parent[t] > t is the task above t, or -1; NULL: all tasks are independent. Among the tasks that
 * are ready the one of least rank is taken first; NULL: the one of least number. On one thread the
 * ranks do not matter: a forest runs in ascending (UP) or descending (DOWN) order.
 * A task may call pool_run: that is a job of its own. */
void pool_run(int threads, int32_t tasks, const int32_t *parent, int order, const int32_t *rank,
              pool_task run, void *context, void *workspace);

/* Inside a task: run the pieces 0 to count - 1 of a loop; idle threads of the job help. Each
 * piece gets the worker that runs it. Pieces are taken in ascending order; they may not share. */
void pool_share(pool_worker *worker, int32_t count, pool_task piece, void *context);

/* Make the pool new and empty: once before all else, and in the child after a fork, where the
 * threads are gone and their locks stay as they were. 0 where memory is short. */
int pool_open(void);
/* The life of a worker: returns after pool_close. */
void pool_work(void);
/* Number of threads inside pool_work. */
int pool_workers(void);
/* Let all workers go as soon as they have run the task or the piece that they are at. */
void pool_close(void);

/* The least of the numbers that the tasks of a job name, a failed column for instance. */
typedef _Atomic int32_t pool_least;

static inline int32_t pool_read(const pool_least *least) {
    return atomic_load_explicit(least, memory_order_relaxed);
}

static inline void pool_lower(pool_least *least, int32_t number) {
    int32_t old = pool_read(least);
    while (number < old && !atomic_compare_exchange_weak(least, &old, number)) continue;
}

#endif
