"""Patterns by the name that compiled programs have for them: the two halves of their digests.

A digest tells the content, so that a program means the same in any process that it is replayed in
from a cache. Here it leads to the pattern, as long as that lives.
"""

from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock,
)
from libc.stdint cimport int64_t, intptr_t
from libc.stdlib cimport realloc

import struct
from weakref import finalize

from sparsechol._core.numeric.operations cimport Frame, View


cdef struct Entry:
    int64_t high
    int64_t low
    const View *view


cdef Entry *entries = NULL
cdef Py_ssize_t entry_count = 0
cdef PyThread_type_lock lock = PyThread_allocate_lock()
if lock == NULL:
    raise MemoryError("no memory for a lock")


cdef const View *find(int64_t high, int64_t low) noexcept nogil:
    """The pattern of this name, NULL if there is none."""
    cdef const View *view = NULL
    cdef Py_ssize_t k
    PyThread_acquire_lock(lock, 1)
    for k in range(entry_count):
        if entries[k].low == low and entries[k].high == high:
            view = entries[k].view
            break
    PyThread_release_lock(lock)
    return view


def name_of(str digest):
    """The two halves of a digest."""
    return struct.unpack(">qq", bytes.fromhex(digest))


def register(str digest, Frame frame):
    """Let programs name a pattern, as long as its frame lives; returns the name."""
    global entries, entry_count
    cdef int64_t high, low
    cdef Entry *more
    cdef bint known = False
    cdef Py_ssize_t k
    high, low = name_of(digest)
    PyThread_acquire_lock(lock, 1)
    for k in range(entry_count):
        known = known or entries[k].view == &frame.view
    more = entries
    if not known:
        more = <Entry *>realloc(entries, sizeof(Entry) * (entry_count + 1))
        if more != NULL:
            entries = more
            entries[entry_count] = Entry(high, low, &frame.view)
            entry_count += 1
    PyThread_release_lock(lock)
    if more == NULL:
        raise MemoryError("no memory to register a pattern")
    if not known:
        finalize(frame, _forget, <intptr_t>&frame.view).atexit = False
    return high, low


def _forget(intptr_t view):
    global entry_count
    cdef Py_ssize_t k
    PyThread_acquire_lock(lock, 1)
    for k in range(entry_count):
        if <intptr_t>entries[k].view == view:
            entry_count -= 1
            entries[k] = entries[entry_count]
            break
    PyThread_release_lock(lock)


def registered():
    """Number of patterns that programs may name."""
    return entry_count
