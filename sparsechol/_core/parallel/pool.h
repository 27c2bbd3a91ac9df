/* A pool of worker threads that run the tasks of a caller without Python's global lock.
 *
 * A caller brings a job: a forest of tasks, or independent tasks. The caller works on the job
 * itself, and idle workers of the pool join while there are tasks to take. A task may share a loop
 * with the idle threads of its job.
 */
#ifndef SPARSECHOL_POOL_H
#define SPARSECHOL_POOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* A thread at work on a job. No two threads of a job have one number, so that every number can have
 * a private workspace; the calling thread is number 0. */
typedef struct {
    int number;
    struct job *job;
    struct parker *parker;
} pool_worker;

typedef void (*pool_task)(void *context, int32_t task, pool_worker *worker);

/* The order in which a forest runs: a task after its children (UP) or after its parent (DOWN). */
enum { POOL_UP, POOL_DOWN };

/* Return the bytes of workspace for pool_run. The workspace is aligned as an int32_t. */
size_t pool_scratch(int32_t tasks, int threads);

/* Run every task, on the calling thread and up to threads - 1 idle workers. Return when all have
 * run and no worker touches the job any more. What the tasks wrote is visible to the caller.
 *
 * parent[t] > t is the parent of task t, or -1; with parent NULL all tasks are independent. Among
 * the ready tasks the one of least rank is taken first; with rank NULL the one of least number. On
 * one thread the ranks do not matter: a forest runs in ascending (UP) or descending (DOWN) order.
 * A task may call pool_run, which is then a job of its own. */
void pool_run(int threads, int32_t tasks, const int32_t *parent, int order, const int32_t *rank,
              pool_task run, void *context, void *workspace);

/* Run the pieces 0 to count - 1 of a loop inside a task; idle threads of the job help. Each piece
 * gets the worker that runs it. Pieces are taken in ascending order. A piece may not call
 * pool_share. */
void pool_share(pool_worker *worker, int32_t count, pool_task piece, void *context);

/* A call that signals may end early, such as SIGINT at Ctrl-C. It lies on the call stack. */
typedef struct pool_call {
    atomic_int stopped;
    int64_t asked;              /* when Python was last asked for signals, in milliseconds */
    struct pool_call *outer;    /* the call during which a signal handler made this one */
    int outer_asks;
} pool_call;

/* Begin a call. The jobs and loops of this thread belong to it until its end. On any other thread
 * than the main one, where Python handles no signals, nothing ever stops the call. */
void pool_begin(pool_call *call);
/* End a call, with Python's global lock. Return 1 if a signal handler has raised an exception, which
 * is set then: the call was stopped, and what it should have computed is of no use. */
int pool_end(pool_call *call);
/* Return whether the call that this thread works for was stopped: tasks and pieces end as soon as
 * they can then, and no others begin. `work` is about how many multiplications the thread has done
 * or is about to do since it last asked. Without Python's global lock, which it may take. */
int pool_stopped(int64_t work);

/* Make the pool new and empty: once before all else, and in the child after a fork, where the
 * threads are gone and their locks stay as they were. The number is that of the main thread. Return
 * 0 if memory is short. */
int pool_open(unsigned long main_thread);
/* Be a worker: return after pool_close. */
void pool_work(void);
/* Return the number of threads inside pool_work. */
int pool_workers(void);
/* Send every worker home after the task or the piece that it runs. */
void pool_close(void);

/* The least number that any task of a job has named, such as the first failed column. */
typedef _Atomic int32_t pool_least;

static inline int32_t pool_read(const pool_least *least) {
    return atomic_load_explicit(least, memory_order_relaxed);
}

static inline void pool_lower(pool_least *least, int32_t number) {
    int32_t old = pool_read(least);
    while (number < old && !atomic_compare_exchange_weak(least, &old, number)) continue;
}

#endif
