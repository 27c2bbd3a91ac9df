"""The handler that XLA calls: operands straight from its buffers, no interpreter, no copy.

A program names a pattern as `numeric.handle` does.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcmp, memset, strlen

from sparsechol._core.numeric.operations import NAMES

from sparsechol._core.numeric.dense cimport DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX
from sparsechol._core.numeric.operations cimport MOST_OPERANDS, Call, Operand, View, perform
from sparsechol._core.numeric.handle cimport find


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
    cdef void *value
    cdef int64_t k, high = 0, low = 0
    call.operation = -1
    call.flags = 0
    call.diagonal = call.below = 1
    for k in range(attributes.count):
        name = attributes.names[k]
        if attributes.types[k] == FFI_ATTRIBUTE_STRING:
            if named(name, "operation"):
                call.operation = operation_of(<const ffi_string *>attributes.values[k])
        elif attributes.types[k] == FFI_ATTRIBUTE_SCALAR:
            value = (<ffi_scalar *>attributes.values[k]).value
            if named(name, "high"):
                high = (<int64_t *>value)[0]
            elif named(name, "low"):
                low = (<int64_t *>value)[0]
            elif named(name, "flags"):
                call.flags = (<int32_t *>value)[0]
            elif named(name, "diagonal"):
                call.diagonal = (<double *>value)[0]
            elif named(name, "below"):
                call.below = (<double *>value)[0]
    view[0] = find(high, low)
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
