"""The kernels as a C function that machine code of numba calls: no interpreter, no copy."""

from libc.stdint cimport int64_t, intptr_t
from libc.string cimport memcmp, strlen

from zlib import crc32

from sparsechol._core.numeric.operations import NAMES

from sparsechol._core.numeric.dense cimport DOUBLE, FLOAT
from sparsechol._core.numeric.operations cimport (
    MOST_OPERANDS, Call, Operand, View, core_rank, perform, signature_for,
)
from sparsechol._core.numeric.handle cimport find


cdef extern from "Python.h" nogil:
    ctypedef struct PyThreadState:
        pass
    bint PyGILState_Check()
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *state)


cdef enum Answer:
    DONE
    UNKNOWN_PATTERN
    WRONG_SHAPE
    NO_MEMORY


cdef struct Array:
    void *data
    int64_t size


cdef bint shape(const View *view, char letter, const Array *array, int64_t columns,
                int64_t *dims, int kind, Operand *operand) noexcept nogil:
    """The array that a letter stands for; False if its size is no multiple of its columns."""
    operand.data = <char *>array.data
    operand.kind = kind
    operand.rank = core_rank(letter)
    operand.dims = dims
    dims[0] = array.size
    if operand.rank == 2:
        dims[0] = array.size // columns if columns > 0 else view.p.n
        dims[1] = columns
        return array.size == dims[0] * columns
    return operand.rank == 1 or array.size == 1


cdef bint shapes(const View *view, Call *call, const Array *arrays, int64_t columns, int64_t *dims,
                 int kind) noexcept nogil:
    """The operands, followed by the result, as the signature of the operation has them."""
    cdef const char *letters = signature_for(call.operation)
    cdef int q
    if letters == NULL or columns < 0:
        return False
    call.operands = <int>strlen(letters) - 2
    for q in range(call.operands):
        if not shape(view, letters[q], &arrays[q], columns, dims + 2 * q, kind,
                     &call.operand[q]):
            return False
    q = MOST_OPERANDS
    return shape(view, letters[call.operands + 1], &arrays[q], columns, dims + 2 * q, kind,
                 &call.result)


cdef int answer(const View *view, const Call *call) noexcept nogil:
    """Carry out an operation; whoever calls may hold the interpreter or not."""
    cdef PyThreadState *state = NULL
    cdef const char *error
    if PyGILState_Check():
        state = PyEval_SaveThread()
    error = perform(view, call)
    if state != NULL:
        PyEval_RestoreThread(state)
    if error == NULL:
        return DONE
    return NO_MEMORY if memcmp(error, "no memory", 9) == 0 else WRONG_SHAPE


cdef int most_threads = 1


def use_threads(int threads):
    """Most threads for a call from now on."""
    global most_threads
    most_threads = max(1, threads)


cdef Call call_of(int64_t operation, int64_t flags, double diagonal, double below) noexcept nogil:
    cdef Call call
    call.operation = <int>operation
    call.flags = <int>flags
    call.diagonal = diagonal
    call.below = below
    call.threads = most_threads
    return call


cdef int enter(int64_t high, int64_t low, int64_t operation, int64_t single, int64_t flags,
               double diagonal, double below, int64_t columns, void *x, int64_t x_size, void *y,
               int64_t y_size, void *z, int64_t z_size, void *result,
               int64_t result_size) noexcept nogil:
    """One operation on one matrix."""
    cdef const View *view = find(high, low)
    cdef Array[MOST_OPERANDS + 1] arrays
    cdef int64_t dims[2 * (MOST_OPERANDS + 1)]
    cdef Call call = call_of(operation, flags, diagonal, below)
    if view == NULL:
        return UNKNOWN_PATTERN
    arrays[0] = Array(x, x_size)
    arrays[1] = Array(y, y_size)
    arrays[2] = Array(z, z_size)
    arrays[3] = Array(result, result_size)
    if not shapes(view, &call, arrays, columns, dims, FLOAT if single else DOUBLE):
        return WRONG_SHAPE
    return answer(view, &call)


cdef int enter_batch(int64_t high, int64_t low, int64_t operation, int64_t single, int64_t flags,
                     double diagonal, double below, int64_t lead, void *x, int64_t *x_dims,
                     void *y, int64_t *y_dims, void *z, int64_t *z_dims, void *result,
                     int64_t *result_dims) noexcept nogil:
    """One operation on a batch, whose arrays have so many leading dimensions."""
    cdef const View *view = find(high, low)
    cdef const char *letters = signature_for(<int>operation)
    cdef int kind = FLOAT if single else DOUBLE
    cdef void **data = [x, y, z]
    cdef int64_t **dims = [x_dims, y_dims, z_dims]
    cdef Call call = call_of(operation, flags, diagonal, below)
    cdef int q
    if view == NULL:
        return UNKNOWN_PATTERN
    if letters == NULL or lead < 0:
        return WRONG_SHAPE
    call.operands = <int>strlen(letters) - 2
    for q in range(call.operands):
        call.operand[q] = Operand(data=<char *>data[q], kind=kind, dims=dims[q],
                                  rank=lead + core_rank(letters[q]))
    call.result = Operand(data=<char *>result, kind=kind, dims=result_dims,
                          rank=lead + core_rank(letters[call.operands + 1]))
    return answer(view, &call)


# Machine code in a cache on disk finds the functions by these names, which change with whatever
# that code takes for granted: the arguments above, and the number of each operation.
ARGUMENTS = 2
SYMBOL = f"sparsechol_{ARGUMENTS}_{crc32(repr(NAMES).encode()):08x}"
BATCH_SYMBOL = f"{SYMBOL}_batch"


def address():
    """Where the function for one matrix is."""
    return <intptr_t>&enter


def batch_address():
    """Where the function for a batch is."""
    return <intptr_t>&enter_batch
