"""Patterns by the name that compiled programs have for them."""

from libc.stdint cimport int64_t

from sparsechol._core.numeric.operations cimport View

cdef const View *find(int64_t high, int64_t low) noexcept nogil
