"""The handler that XLA calls: operands straight from its buffers, no interpreter, no copy.

A program names a pattern by the digest of its content, so that it means the same in any process
that it is replayed in from a cache. Here the digest leads to the pattern, as long as it lives.
"""

from cpython.pycapsule cimport PyCapsule_New
from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock,
)
from libc.stdint cimport int32_t, int64_t, intptr_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memset, strlen

from weakref import finalize

from sparsechol.numeric.operations import NAMES

from sparsechol.numeric.dense cimport DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX
from sparsechol.numeric.operations cimport (
    MOST_OPERANDS, Call, Frame, Operand, View, perform,
)


cdef extern from "ffi.h" nogil:
    enum:
        FFI_MAJOR
        FFI_MINOR
        FFI_EXTENSION_METADATA
        FFI_F32
        FFI_F64
        FFI_C64
        FFI_C128
        FFI_STAGE_EXECUTE
        FFI_ATTRIBUTE_SCALAR
        FFI_ATTRIBUTE_STRING
        FFI_INVALID_ARGUMENT
        FFI_NOT_FOUND
        FFI_RESOURCE_EXHAUSTED
    ctypedef struct ffi_extension:
        int type
        ffi_extension *next
    ctypedef struct ffi_version:
        int major
        int minor
    ctypedef struct ffi_metadata:
        ffi_version version
        int traits
    ctypedef struct ffi_metadata_extension:
        ffi_metadata *metadata
    ctypedef struct ffi_error:
        pass
    ctypedef struct ffi_error_arguments:
        size_t size
        const char *message
        int code
    ctypedef struct ffi_api:
        ffi_error *(*create_error)(ffi_error_arguments *arguments) noexcept nogil
    ctypedef struct ffi_buffer:
        int type
        void *data
        int64_t rank
        int64_t *dims
    ctypedef struct ffi_string:
        const char *text
        size_t length
    ctypedef struct ffi_scalar:
        int type
        void *value
    ctypedef struct ffi_buffers:
        int64_t count
        ffi_buffer **buffers
    ctypedef struct ffi_attributes:
        int64_t count
        int *types
        ffi_string **names
        void **values
    ctypedef struct ffi_call:
        ffi_extension *extensions
        const ffi_api *api
        int stage
        ffi_buffers operands
        ffi_buffers results
        ffi_attributes attributes


# ---- patterns by digest ----

cdef enum:
    DIGEST = 32             # characters


cdef struct Entry:
    char digest[DIGEST]
    const View *view


cdef Entry *entries = NULL
cdef Py_ssize_t entry_count = 0
cdef PyThread_type_lock lock = PyThread_allocate_lock()
if lock == NULL:
    raise MemoryError("no memory for a lock")


cdef const View *find(const char *digest) noexcept nogil:
    """The pattern with this digest, NULL if there is none."""
    cdef const View *view = NULL
    cdef Py_ssize_t k
    PyThread_acquire_lock(lock, 1)
    for k in range(entry_count):
        if memcmp(entries[k].digest, digest, DIGEST) == 0:
            view = entries[k].view
            break
    PyThread_release_lock(lock)
    return view


def register(str digest, Frame frame):
    """Let programs name a pattern by its digest, as long as its frame lives."""
    global entries, entry_count
    cdef bytes text = digest.encode()
    cdef const char *characters = text
    cdef Entry *more
    cdef bint known = False
    cdef Py_ssize_t k, i
    if len(text) != DIGEST:
        raise ValueError(f"a digest has {DIGEST} characters")
    PyThread_acquire_lock(lock, 1)
    for k in range(entry_count):
        known = known or entries[k].view == &frame.view
    more = entries
    if not known:
        more = <Entry *>realloc(entries, sizeof(Entry) * (entry_count + 1))
        if more != NULL:
            entries = more
            for i in range(DIGEST):
                entries[entry_count].digest[i] = characters[i]
            entries[entry_count].view = &frame.view
            entry_count += 1
    PyThread_release_lock(lock)
    if more == NULL:
        raise MemoryError("no memory to register a pattern")
    if not known:
        finalize(frame, _forget, <intptr_t>&frame.view).atexit = False


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


# ---- the handler ----

cdef int most_threads = 1


def use_threads(int threads):
    """Most threads for a call from now on."""
    global most_threads
    most_threads = max(1, threads)


cdef bytes spelled = b"".join(name.encode() + b"\0" for name in NAMES)
cdef const char *names = spelled
cdef int name_count = len(NAMES)


cdef int operation_of(const ffi_string *name) noexcept nogil:
    """Number of an operation, -1 if there is none of this name."""
    cdef const char *candidate = names
    cdef size_t length
    cdef int code
    for code in range(name_count):
        length = strlen(candidate)
        if length == name.length and memcmp(candidate, name.text, length) == 0:
            return code
        candidate += length + 1
    return -1


cdef ffi_error *fail(const ffi_call *call, const char *message, int code) noexcept nogil:
    cdef ffi_error_arguments arguments
    memset(&arguments, 0, sizeof(arguments))
    arguments.size = sizeof(arguments)
    arguments.message = message
    arguments.code = code
    return call.api.create_error(&arguments)


cdef bint answer(const ffi_call *call) noexcept nogil:
    """Tell the version of the interface, if that is what is asked for."""
    cdef ffi_extension *extension = call.extensions
    cdef ffi_metadata *metadata
    while extension != NULL:
        if extension.type == FFI_EXTENSION_METADATA:
            metadata = (<ffi_metadata_extension *>extension).metadata
            metadata.version.major = FFI_MAJOR
            metadata.version.minor = FFI_MINOR
            metadata.traits = 0
            return True
        extension = extension.next
    return False


cdef inline bint named(const ffi_string *name, const char *text) noexcept nogil:
    return name.length == strlen(text) and memcmp(name.text, text, name.length) == 0


cdef const char *read_attributes(const ffi_attributes *attributes, Call *call,
                                 const View **view) noexcept nogil:
    """What is to be done, and on which pattern; or what is wrong."""
    cdef const ffi_string *name
    cdef const ffi_string *text
    cdef void *value
    cdef int64_t k
    call.operation = -1
    call.flags = 0
    call.diagonal = call.below = 1
    view[0] = NULL
    for k in range(attributes.count):
        name = attributes.names[k]
        if attributes.types[k] == FFI_ATTRIBUTE_STRING:
            text = <const ffi_string *>attributes.values[k]
            if named(name, "operation"):
                call.operation = operation_of(text)
            elif named(name, "digest") and text.length == DIGEST:
                view[0] = find(text.text)
        elif attributes.types[k] == FFI_ATTRIBUTE_SCALAR:
            value = (<ffi_scalar *>attributes.values[k]).value
            if named(name, "flags"):
                call.flags = (<int32_t *>value)[0]
            elif named(name, "diagonal"):
                call.diagonal = (<double *>value)[0]
            elif named(name, "below"):
                call.below = (<double *>value)[0]
    if call.operation == -1:
        return "sparsechol: this program was compiled for another version of sparsechol"
    return NULL


cdef bint take(const ffi_buffer *buffer, Operand *operand) noexcept nogil:
    """An operand from a buffer; False if its type is none of ours."""
    if buffer.type == FFI_F64:
        operand.kind = DOUBLE
    elif buffer.type == FFI_F32:
        operand.kind = FLOAT
    elif buffer.type == FFI_C128:
        operand.kind = DOUBLE_COMPLEX
    elif buffer.type == FFI_C64:
        operand.kind = FLOAT_COMPLEX
    else:
        return False
    operand.data = <char *>buffer.data
    operand.rank = buffer.rank
    operand.dims = buffer.dims
    return True


cdef ffi_error *handle(ffi_call *frame) noexcept nogil:
    """One call from XLA."""
    cdef Call call
    cdef const View *view
    cdef const char *error
    cdef int64_t k
    if answer(frame) or frame.stage != FFI_STAGE_EXECUTE:
        return NULL
    error = read_attributes(&frame.attributes, &call, &view)
    if error != NULL:
        return fail(frame, error, FFI_INVALID_ARGUMENT)
    if view == NULL:
        return fail(frame, "sparsechol: the pattern of this program is not known in this process",
                    FFI_NOT_FOUND)
    if frame.operands.count > MOST_OPERANDS or frame.results.count != 1:
        return fail(frame, "sparsechol: wrong number of operands", FFI_INVALID_ARGUMENT)
    call.threads = most_threads
    call.operands = <int>frame.operands.count
    for k in range(frame.operands.count):
        if not take(frame.operands.buffers[k], &call.operand[k]):
            return fail(frame, "sparsechol: wrong type of operand", FFI_INVALID_ARGUMENT)
    if not take(frame.results.buffers[0], &call.result):
        return fail(frame, "sparsechol: wrong type of result", FFI_INVALID_ARGUMENT)
    error = perform(view, &call)
    if error != NULL:
        return fail(frame, error, FFI_RESOURCE_EXHAUSTED if memcmp(error, "no memory", 9) == 0
                    else FFI_INVALID_ARGUMENT)
    return NULL


def handler():
    """The handler, as `jax.ffi.register_ffi_target` takes it."""
    return PyCapsule_New(<void *>&handle, NULL, NULL)
