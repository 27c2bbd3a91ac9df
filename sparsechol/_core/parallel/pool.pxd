"""Pool of worker threads that run the tasks of a caller (see pool.h)."""

from libc.stdint cimport int32_t

cdef extern from "pool.h" nogil:
    ctypedef struct pool_worker:
        int number
    ctypedef void (*pool_task)(void *context, int32_t task, pool_worker *worker) noexcept
    cdef enum:
        POOL_UP
        POOL_DOWN
    ctypedef int32_t pool_least
    int32_t pool_read(const pool_least *least)
    void pool_lower(pool_least *least, int32_t number)

cdef size_t pool_scratch(int32_t tasks, int threads) noexcept nogil
cdef void pool_run(int threads, int32_t tasks, const int32_t *parent, int order,
                   const int32_t *rank, pool_task run, void *context,
                   void *workspace) noexcept nogil
cdef void pool_share(pool_worker *worker, int32_t count, pool_task piece,
                     void *context) noexcept nogil
