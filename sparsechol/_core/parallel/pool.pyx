"""The one worker pool of the process, which all modules with kernels share, and its threads.

The workers are daemon threads of Python, so that a task may call Python. They are started when
first wanted, and wait and work outside the interpreter.
"""

import atexit
import os
import threading
import time

from libc.stdint cimport int32_t, int64_t


cdef extern from "pool.h" nogil:
    size_t scratch "pool_scratch"(int32_t tasks, int threads)
    void run_job "pool_run"(int threads, int32_t tasks, const int32_t *parent, int order,
                            const int32_t *rank, pool_task run, void *context, void *workspace)
    void share "pool_share"(pool_worker *worker, int32_t count, pool_task piece, void *context)
    void begin "pool_begin"(pool_call *call)
    int end "pool_end"(pool_call *call)
    int stopped "pool_stopped"(int64_t work)
    int pool_open(unsigned long main_thread)
    void pool_work()
    int pool_workers()
    void pool_close()


cdef size_t pool_scratch(int32_t tasks, int threads) noexcept nogil:
    """Return the bytes of workspace for pool_run."""
    return scratch(tasks, threads)


cdef void pool_run(int threads, int32_t tasks, const int32_t *parent, int order,
                   const int32_t *rank, pool_task run, void *context,
                   void *workspace) noexcept nogil:
    """Run every task of a forest on at most `threads` threads, this one included."""
    run_job(threads, tasks, parent, order, rank, run, context, workspace)


cdef void pool_share(pool_worker *worker, int32_t count, pool_task piece,
                     void *context) noexcept nogil:
    """Run the pieces of a loop inside a task, with the help of idle threads of the job."""
    share(worker, count, piece, context)


cdef void pool_begin(pool_call *call) noexcept:
    """Begin a call that signals may stop."""
    begin(call)


cdef int pool_end(pool_call *call) except -1:
    """End a call; raise what a signal handler has raised in it."""
    return -1 if end(call) else 0


cdef bint pool_stopped(int64_t work) noexcept nogil:
    """Return whether the call that this thread works for was stopped."""
    return stopped(work)


cdef int started = 0        # number of threads that have been started or refused


def start_workers(int count):
    """Start workers until there are `count`, or the system gives no more threads."""
    global started
    if count <= started:
        return
    with lock:
        # An interrupt may have left a thread in the list that never started.
        threads[:] = [thread for thread in threads if thread.is_alive()]
        while len(threads) < count and not closed:
            thread = threading.Thread(target=_live, name="sparsechol", daemon=True)
            threads.append(thread)
            try:
                thread.start()
            except RuntimeError:        # the system gives no more threads: do not ask again
                threads.pop()
                break
        started = count


def workers():
    """Return the number of workers, idle or at work."""
    return pool_workers()


def _live():
    """Work in the pool until it is closed."""
    with nogil:
        pool_work()


def _begin(main_thread):
    """Open a new pool without workers."""
    global lock, threads, started, closed
    lock = threading.Lock()
    threads = []
    started = 0
    closed = False
    if not pool_open(main_thread):
        raise MemoryError("no memory for the lock of the worker pool")


def _end():
    """Close the pool and wait at most a second for its workers to end."""
    global closed
    closed = True
    with nogil:
        pool_close()
    patience = time.monotonic() + 1.0
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, patience - time.monotonic()))


_begin(threading.main_thread().ident)
atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _begin(threading.get_ident()))
