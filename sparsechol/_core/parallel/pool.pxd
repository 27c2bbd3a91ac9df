"""Pool of worker threads that run the tasks of a caller (see pool.h)."""

from libc.stdint cimport int32_t, int64_t

cdef extern from "pool.h" nogil:
    ctypedef struct pool_worker:
        int number
    ctypedef void (*pool_task)(void *context, int32_t task, pool_worker *worker) noexcept
    cdef enum:
        POOL_UP
        POOL_DOWN
    ctypedef struct pool_call:
        pass
    ctypedef int32_t pool_least
    int32_t pool_read(const pool_least *least)
    void pool_lower(pool_least *least, int32_t number)

# A call that signals may stop: `pool_begin` before `with nogil`, and behind it `pool_end`, which
# raises what a signal handler has raised. Loops in between end early if `pool_stopped` says so.
cdef void pool_begin(pool_call *call) noexcept
cdef int pool_end(pool_call *call) except -1
cdef bint pool_stopped(int64_t work) noexcept nogil

cdef size_t pool_scratch(int32_t tasks, int threads) noexcept nogil
cdef void pool_run(int threads, int32_t tasks, const int32_t *parent, int order,
                   const int32_t *rank, pool_task run, void *context,
                   void *workspace) noexcept nogil
cdef void pool_share(pool_worker *worker, int32_t count, pool_task piece,
                     void *context) noexcept nogil
