"""The one pool of the process, for all modules with kernels, and the threads that work in it.

The workers are daemon threads of Python, started when first wanted, so that a task may call
Python. They spend their lives outside the interpreter.
"""

import atexit
import os
import threading
import time

from libc.stdint cimport int32_t


cdef extern from "pool.h" nogil:
    size_t scratch "pool_scratch"(int32_t tasks, int threads)
    void run_job "pool_run"(int threads, int32_t tasks, const int32_t *parent, int order,
                            const int32_t *rank, pool_task run, void *context, void *workspace)
    void share "pool_share"(pool_worker *worker, int32_t count, pool_task piece, void *context)
    int pool_open()
    void pool_work()
    int pool_workers()
    void pool_close()


cdef size_t pool_scratch(int32_t tasks, int threads) noexcept nogil:
    """Bytes of workspace for pool_run."""
    return scratch(tasks, threads)


cdef void pool_run(int threads, int32_t tasks, const int32_t *parent, int order,
                   const int32_t *rank, pool_task run, void *context,
                   void *workspace) noexcept nogil:
    """Run every task of a forest on at most `threads` threads, this one included."""
    run_job(threads, tasks, parent, order, rank, run, context, workspace)


cdef void pool_share(pool_worker *worker, int32_t count, pool_task piece,
                     void *context) noexcept nogil:
    """Inside a task: run the pieces of a loop, with the help of idle threads of the job."""
    share(worker, count, piece, context)


cdef int started = 0        # threads that no one has to start any more


def start_workers(int count):
    """Have at least `count` workers, as far as the system gives threads."""
    global started
    if count <= started:
        return
    with lock:
        # Where an interrupt came between, a thread is in the list that never started.
        threads[:] = [thread for thread in threads if thread.is_alive()]
        while len(threads) < count and not closed:
            thread = threading.Thread(target=_live, name="sparsechol", daemon=True)
            threads.append(thread)
            try:
                thread.start()
            except RuntimeError:        # no more threads to be had: do not ask again
                threads.pop()
                break
        started = count


def workers():
    """Number of workers that are ready for work or at it."""
    return pool_workers()


def _live():
    with nogil:
        pool_work()


def _begin():
    """A new pool without workers."""
    global lock, threads, started, closed
    lock = threading.Lock()
    threads = []
    started = 0
    closed = False
    if not pool_open():
        raise MemoryError("no memory for the lock of the worker pool")


def _end():
    """Send the workers home; one that is deep in a long task is not waited for."""
    global closed
    closed = True
    with nogil:
        pool_close()
    patience = time.monotonic() + 1.0
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, patience - time.monotonic()))


_begin()
atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin)
