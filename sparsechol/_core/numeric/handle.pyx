"""Patterns as operations know them: by a handle in Python, by a name in compiled programs.

The name of a pattern is the two halves of its digest. A digest tells the content, so that a program
means the same in any process that it is replayed in from a cache. Here the name leads to the
pattern, as long as that lives.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock,
)
from libc.stdint cimport int32_t, int64_t, intptr_t
from libc.stdlib cimport realloc
from libc.string cimport memset

import os
import struct
from weakref import WeakValueDictionary, finalize

import numpy as np

from sparsechol._core.numeric.packing import find_entries

from sparsechol._core.numeric.dense cimport DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX
from sparsechol._core.numeric.operations cimport (
    MOST_OPERANDS, Call, Operand, View, length_of, perform,
)
from sparsechol._core.parallel.pool cimport pool_begin, pool_call, pool_end
from sparsechol._core.symbolic.structure cimport Pattern, Structure


# ---- handles ----


cdef const int64_t *longs(const int64_t[::1] array) noexcept:
    return &array[0] if array.shape[0] else NULL


cdef const int32_t *ints(const int32_t[::1] array) noexcept:
    return &array[0] if array.shape[0] else NULL


KINDS = {"f": FLOAT, "d": DOUBLE, "F": FLOAT_COMPLEX, "D": DOUBLE_COMPLEX}

cdef enum:
    MOST_DIMENSIONS = 64


cdef class PatternHandle:
    """What operations need of a SymbolicFactor, of a triangle or of a congruence, which keeps it.
    """

    def __init__(self, symbolic):
        cdef Structure structure
        if self.kept is not None:
            raise ValueError("operations: a handle belongs to one pattern")
        self.kept = []
        memset(&self.view, 0, sizeof(View))
        plan = getattr(symbolic, "_plan", None)
        if plan is not None:
            symbolic = symbolic.pattern
            self.know_congruence(plan, symbolic)
        self.view.indptr = longs(self.keep(symbolic.indptr))
        structure = getattr(symbolic, "_structure", None)
        if structure is None:
            memset(&self.own, 0, sizeof(Pattern))
            self.own.n = symbolic.shape[0]
            self.own.nnz = self.own.size = symbolic.indices.shape[0]
            self.own.parallel_plan.tasks = self.own.serial_plan.tasks = 1
            self.view.p = &self.own
            self.view.members = longs(self.keep(np.append(symbolic.indices, 0)))
        else:
            self.keep(structure)
            self.view.p = &structure.pattern
            self.view.indices = ints(self.keep(symbolic.indices))
            self.view.order = ints(self.keep(symbolic._order))
            self.view.post = ints(self.keep(symbolic._post))

    def keep(self, thing):
        """Have it live as long as this."""
        self.kept.append(thing)
        return thing

    def know_congruence(self, plan, symbolic):
        """Have the analysis of a rectangular matrix at hand."""
        full_start, full_rows, full_sources = symbolic._both_triangles
        self.gram.rows = plan.row_order.shape[0]
        self.gram.block = plan.block
        self.gram.entries = plan.row_start[self.gram.rows]
        self.gram.squares = plan.square_start.item(plan.square_start.shape[0] - 1)
        self.gram.widest = plan.widest
        self.gram.unit_tasks = plan.unit_task.shape[0] - 1
        self.gram.column_tasks = plan.column_task.shape[0] - 1
        self.gram.row_start = longs(self.keep(plan.row_start))
        self.gram.row_order = ints(self.keep(plan.row_order))
        self.gram.row_at = ints(self.keep(plan.row_at))
        self.gram.unit_start = longs(self.keep(plan.unit_start))
        self.gram.column_start = longs(self.keep(plan.column_start))
        self.gram.square_start = longs(self.keep(plan.square_start))
        self.gram.unit_columns = ints(self.keep(plan.unit_columns))
        self.gram.local = ints(self.keep(plan.local))
        self.gram.incidence_start = longs(self.keep(plan.incidence_start))
        self.gram.incidence_at = ints(self.keep(plan.incidence_at))
        self.gram.incidence_row = ints(self.keep(plan.incidence_row))
        self.gram.incidence_column = ints(self.keep(plan.incidence_column))
        self.gram.incidence_local = ints(self.keep(plan.incidence_local))
        self.gram.incidence_tail = ints(self.keep(plan.incidence_tail))
        self.gram.unit_task = ints(self.keep(plan.unit_task))
        self.gram.column_task = ints(self.keep(plan.column_task))
        self.gram.full_start = longs(self.keep(np.asarray(full_start, np.int64)))
        self.gram.full_rows = ints(self.keep(np.asarray(full_rows, np.int32)))
        self.gram.full_sources = longs(self.keep(full_sources))
        self.view.gram = &self.gram

    def know_factor(self, symbolic):
        """Have the entries of L at hand."""
        if self.view.entries != NULL:
            return
        indptr, indices = symbolic.factor_pattern()
        column = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
        places = np.zeros(indices.shape[0] + 1, dtype=np.int64)     # never of length zero
        find_entries(symbolic._structure, symbolic.perm[indices], symbolic.perm[column],
                     places[:indices.shape[0]])
        self.kept.append(places)
        self.view.entry_count = indices.shape[0]
        self.view.entries = longs(places)

    def know_both_triangles(self, symbolic):
        """Have the map between one triangle of A and both at hand."""
        if self.view.sources != NULL:
            return
        sources = np.append(symbolic._both_triangles[2], 0)         # never of length zero
        self.kept.append(sources)
        self.view.full_count = sources.shape[0] - 1
        self.view.sources = longs(sources)

    def length(self, str letter):
        """Length of the array that a letter stands for, of one vector for x."""
        return length_of(&self.view, ord(letter))

    def perform(self, int operation, tuple operands, result, int threads, int flags=0,
                double diagonal=1, double below=1):
        """Carry out an operation on C-contiguous arrays."""
        cdef Call call
        cdef Py_buffer buffers[MOST_OPERANDS + 1]
        cdef int64_t dims[(MOST_OPERANDS + 1) * MOST_DIMENSIONS]
        cdef const char *error
        cdef pool_call interruptible
        cdef int q, held = 0
        call.operation = operation
        call.flags = flags
        call.diagonal = diagonal
        call.below = below
        call.threads = threads
        call.operands = len(operands)
        if call.operands > MOST_OPERANDS or threads < 1:
            raise ValueError("operations: wrong arguments")
        try:
            for q in range(call.operands + 1):
                array = operands[q] if q < call.operands else result
                if array.ndim > MOST_DIMENSIONS or array.dtype.char not in KINDS:
                    raise ValueError("operations: wrong arguments")
                PyObject_GetBuffer(
                    array, &buffers[q],
                    PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if q == call.operands else 0))
                held += 1
                take(&buffers[q], KINDS[array.dtype.char], dims + q * MOST_DIMENSIONS,
                     &call.operand[q] if q < call.operands else &call.result)
            pool_begin(&interruptible)
            with nogil:
                error = perform(&self.view, &call)
            pool_end(&interruptible)
        finally:
            for q in range(held):
                PyBuffer_Release(&buffers[q])
        if error != NULL:
            message = error.decode()
            if message == "no memory":
                raise MemoryError("no memory for the workspace of an operation")
            raise ValueError(f"operations: {message}")


handles = WeakValueDictionary()


def handle_of(symbolic):
    """The handle of all equal patterns: what one of them knows the others need not find out."""
    handle = handles.get(symbolic.digest)
    if handle is None:
        handle = handles.setdefault(symbolic.digest, PatternHandle(symbolic))
    return handle


cdef void take(Py_buffer *buffer, int kind, int64_t *dims, Operand *operand) noexcept:
    cdef int i
    for i in range(buffer.ndim):
        dims[i] = buffer.shape[i]
    operand.data = <char *>buffer.buf
    operand.kind = kind
    operand.rank = buffer.ndim
    operand.dims = dims


# ---- names ----


cdef struct Entry:
    int64_t high
    int64_t low
    const View *view


cdef Entry *entries = NULL
cdef Py_ssize_t entry_count = 0
cdef PyThread_type_lock lock


def _make_lock():
    """Make the lock, which in a child of the process a lost thread may hold."""
    global lock
    lock = PyThread_allocate_lock()
    if lock == NULL:
        raise MemoryError("no memory for a lock")


_make_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_lock)


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


def register(str digest, PatternHandle handle):
    """Let programs name a pattern, as long as its handle lives; returns the name."""
    global entries, entry_count
    cdef int64_t high, low
    cdef Entry *more
    cdef bint known = False
    cdef Py_ssize_t k
    high, low = name_of(digest)
    PyThread_acquire_lock(lock, 1)
    for k in range(entry_count):
        known = known or entries[k].view == &handle.view
    more = entries
    if not known:
        more = <Entry *>realloc(entries, sizeof(Entry) * (entry_count + 1))
        if more != NULL:
            entries = more
            entries[entry_count] = Entry(high, low, &handle.view)
            entry_count += 1
    PyThread_release_lock(lock)
    if more == NULL:
        raise MemoryError("no memory to register a pattern")
    if not known:
        finalize(handle, _forget, <intptr_t>&handle.view).atexit = False
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
