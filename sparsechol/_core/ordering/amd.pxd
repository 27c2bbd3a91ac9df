"""Minimum degree orderings, for the parts of a graph that dissection leaves."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


cdef struct Vertex:
    # A variable or an element; numbers that are read together lie together.
    int64_t start           # of its list
    int32_t length
    int32_t elements
    int32_t weight
    int32_t degree          # approximate external one of a variable, |L_e| of an element, or GONE
    int64_t stamp           # |L_e and L_pivot| + flag of an element, marks of a variable


cdef struct Link:
    int32_t next            # in the list of its degree, or of its hash value
    int32_t previous        # in the list of its degree, or its hash value


cdef struct Quotient:
    int32_t n
    int64_t left            # weight of the variables, and of those that can be pivots
    int64_t waiting
    int64_t room            # length of `lists`
    int64_t free            # first free place in `lists`
    int32_t lowest          # no variable has a smaller degree
    int32_t most            # degrees from here on share a list
    int64_t flag            # stamps from `flag` on belong to the current pivot
    int32_t *lists
    Vertex *vertex          # (n)
    int32_t *parent         # (n) vertex that swallowed it, or -1
    uint8_t *fixed          # (n) 1: never eliminated
    Link *link              # (n), then the ends of the list of each degree, which is a ring
    uint64_t mask           # hash values are sums modulo a power of two, at most n
    int32_t *bucket         # (n) first variable of each hash value
    int32_t *sibling        # (n)


cdef bint open_quotient(Quotient *g, int32_t n, int64_t entries, int64_t total) noexcept nogil
cdef void close_quotient(Quotient *g) noexcept nogil
cdef int32_t minimum_degree(Quotient *g, int32_t *perm) noexcept nogil
