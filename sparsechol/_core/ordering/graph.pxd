"""Weighted graphs, which own their memory, and random numbers for the orderings.

The neighbors of v are ``adjacent[start[v]:start[v + 1]]``, without v, each with the weight
of its edge. If all edges weigh the same, `edge` is NULL.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef extern from "memory.h" nogil:
    void prefer_large_pages(void *start, size_t bytes)


cdef struct Graph:
    int32_t n
    int64_t total               # weight of all vertices
    int64_t *start              # (n + 1)
    int32_t *adjacent
    int32_t *edge
    int32_t *weight             # (n)


cdef inline void *room(int64_t count, size_t size) noexcept nogil:
    """Allocate an array, never of length 0; return NULL if memory is short."""
    cdef void *memory
    if count < 0 or <uint64_t>count > (<uint64_t>1 << 62) // size:
        return NULL
    memory = malloc(max(1, <size_t>count * size))
    prefer_large_pages(memory, <size_t>count * size)
    return memory


cdef inline bint allocate(Graph *g, int32_t n, int64_t entries, bint weighted) noexcept nogil:
    """Allocate the arrays of a graph; return False if memory is short.

    `release` frees them in either case.
    """
    memset(g, 0, sizeof(Graph))
    g.n = n
    g.start = <int64_t *>room(<int64_t>n + 1, sizeof(int64_t))
    g.adjacent = <int32_t *>room(entries, sizeof(int32_t))
    g.weight = <int32_t *>room(n, sizeof(int32_t))
    if weighted:
        g.edge = <int32_t *>room(entries, sizeof(int32_t))
    return (g.start != NULL and g.adjacent != NULL and g.weight != NULL
            and (g.edge != NULL or not weighted))


cdef inline void release(Graph *g) noexcept nogil:
    """Free a graph, allocated or zero."""
    free(g.start)
    free(g.adjacent)
    free(g.edge)
    free(g.weight)
    memset(g, 0, sizeof(Graph))


cdef inline uint64_t random_number(uint64_t *state) noexcept nogil:
    """Return the next of a sequence of 64-bit numbers (splitmix64; Steele, Lea, Flood 2014)."""
    cdef uint64_t z
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)
