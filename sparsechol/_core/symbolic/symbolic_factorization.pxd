"""Filling a `Pattern` whose arrays have been laid out; see symbolic_factorization.pyx."""

from libc.stdint cimport int32_t, int64_t

from sparsechol._core.symbolic.pattern cimport Pattern


cdef struct Front:
    # A supernode while its rows are listed.
    int64_t head            # where its next row goes in `rows`
    int64_t offset          # head + offset: place of the latest row in the front
    int64_t relative        # where the next row's place in the parent's front goes; -1: nowhere
    int32_t left            # rows that are still to come
    int32_t latest          # the latest row
    int32_t parent
    int32_t panel_rows      # rows so far that are columns of the parent


cdef void start_entries(const Pattern *pattern, const int64_t *starts, const int32_t *members,
                        int64_t *start) noexcept nogil
cdef bint symbolic_factorization(
    const Pattern *pattern, const int64_t *indptr, const int64_t *starts, const int32_t *members,
    const int64_t *sources, Front *front, int32_t *supernode, int64_t *entry,
) noexcept nogil
cdef void find_runs(const Pattern *pattern) noexcept nogil
cdef void locate_products(const Pattern *pattern, int32_t *place, int32_t *waiting, int32_t *link,
                          int32_t *served, int64_t *head) noexcept nogil
