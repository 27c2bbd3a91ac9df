"""Walking a forest that is stored as first children and next siblings."""

from libc.stdint cimport int32_t


cdef inline int32_t depth_first(int32_t root, int32_t *child, const int32_t *sibling,
                                int32_t *stack, int32_t *order, int32_t place) noexcept nogil:
    """List a tree in postorder from order[place] on; returns the place after it.

    `child` is used up; `stack` has room for the depth of the tree.
    """
    cdef int32_t top = 0, node
    stack[0] = root
    while top >= 0:
        node = stack[top]
        if child[node] != -1:
            top += 1
            stack[top] = child[node]
            child[node] = sibling[child[node]]
        else:
            order[place] = node
            place += 1
            top -= 1
    return place
