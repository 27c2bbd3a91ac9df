"""The Ops in numba: calls of a C function, by a name that also finds it in cached machine code."""

from hashlib import sha256

import llvmlite.binding
import numpy as np
from numba import types
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key

from .._core.numeric.handle import register
from .._core.numeric.operations import CODES, NAMES
from .._core.parallel.threads import thread_count
from . import _native, _numba_loops  # noqa: F401
from ._batches import DIFFER, Batch, axes
from ._ops import RESIZED, Kernel, QuadForm
from ._vectors import OneVector

VERSION = 4  # of the code below
MESSAGES = {
    1: "sparsechol: the pattern of this compiled function is not known in this process",
    2: f"sparsechol: an operand has a shape that does not fit the pattern of the matrix: {RESIZED}",
    3: "sparsechol: no memory for the workspace of an operation",
}
UNKNOWN, SHAPE, MEMORY = MESSAGES.values()

llvmlite.binding.add_symbol(_native.SYMBOL, _native.address())
llvmlite.binding.add_symbol(_native.BATCH_SYMBOL, _native.batch_address())

# numba never gives machine code back, and so the patterns that it names live on.
_kept = {}


def kernel_of(pointer):
    """Return the function that runs all kernels, for one type of pointers."""
    arguments = [types.int64] * 5 + [types.float64] * 2 + [types.int64]
    arguments += [pointer, types.int64] * 4
    return types.ExternalFunction(_native.SYMBOL, types.int32(*arguments))


def batch_kernel_of(pointer):
    """Return the function that runs all kernels on a batch, for one type of pointers."""
    arguments = [types.int64] * 5 + [types.float64] * 2 + [types.int64]
    arguments += [pointer, types.CPointer(types.int64)] * 4
    return types.ExternalFunction(_native.BATCH_SYMBOL, types.int32(*arguments))


@register_funcify_and_cache_key(Kernel)
def numba_funcify_kernel(op, node, **kwargs):
    function, key = _compiled(op, node, _with_result)
    return _without_first(function) if op.unused else function, key


@register_funcify_and_cache_key(OneVector)
def numba_funcify_one_vector(op, node, **kwargs):
    return _compiled(op.kernel, node, _with_vector)


def _compiled(op, node, with_result):
    """Return a function of the operands that a kernel reads, and a key for it."""
    call, constants, dtype = _bound(op, node, kernel_of)
    high, low, code, single, flags, diagonal, below = constants

    @numba_njit
    def run(x, y, z, columns, out):
        # fmt: off
        outcome = call(
            high, low, code, single, flags, diagonal, below, columns,
            x.ctypes, x.size, y.ctypes, y.size, z.ctypes, z.size, out.ctypes, out.size,
        )
        # fmt: on
        if outcome:
            refuse(outcome)
        return out

    function = with_result(run, NAMES[op.operation], op.handle.length(op.result), dtype)
    return function, _key(op, node, dtype)


def _bound(op, node, kernel):
    """Return the function that runs a kernel, its first arguments, and the type of numbers."""
    handle = op.handle
    _kept[op.pattern.digest] = handle
    high, low = register(op.pattern.digest, handle)
    _native.use_threads(thread_count())
    dtype = np.dtype(node.outputs[0].type.dtype)
    call = kernel(types.CPointer(types.float32 if dtype == np.float32 else types.float64))
    single = int(dtype == np.float32)
    return call, (high, low, CODES[op.operation], single, op.flags, op.diagonal, op.below), dtype


def _key(op, node, *more):
    """Return a name, which is that of a file in PyTensor's cache."""
    names = type(node.op).__name__, type(op).__name__
    what = _native.SYMBOL, VERSION, *names, op.pattern.digest, op._props()[1:], *more
    return f"sparsechol_{sha256(repr(what).encode()).hexdigest()}"


@numba_njit
def refuse(outcome):
    """Say what was wrong with a call."""
    if outcome == 1:
        raise ValueError(UNKNOWN)
    if outcome == 2:
        raise ValueError(SHAPE)
    raise MemoryError(MEMORY)


@register_funcify_and_cache_key(Batch)
def numba_funcify_batch(op, node, **kwargs):
    """Return a function that makes room for the result of a batch, and a key for it.

    def batch(x0, x1):
        x0, x1 = np.ascontiguousarray(x0), np.ascontiguousarray(x1)
        if x1.shape[0] != x0.shape[0]: raise ValueError(differ)
        return run(x0, x1, x1, np.empty((x0.shape[0], 99, x1.shape[2]), dtype))
    """
    kernel = op.kernel
    call, constants, dtype = _bound(kernel, node, batch_kernel_of)
    high, low, code, single, flags, diagonal, below = constants
    lead = len(axes(node))

    @numba_njit
    def run(x, y, z, out):
        # fmt: off
        outcome = call(
            high, low, code, single, flags, diagonal, below, lead,
            x.ctypes, np.array(x.shape).ctypes, y.ctypes, np.array(y.shape).ctypes,
            z.ctypes, np.array(z.shape).ctypes, out.ctypes, np.array(out.shape).ctypes,
        )
        # fmt: on
        if outcome:
            refuse(outcome)
        return out

    text = _batch_text(kernel, axes(node))
    names = {"np": np, "run": run, "dtype": dtype, "differ": DIFFER}
    return numba_njit(compile_numba_function_src(text, "batch", names)), _key(
        kernel, node, text, dtype
    )


def _batch_text(kernel, axes):
    """Write the function that `numba_funcify_batch` returns."""
    names = [f"x{q}" for q in range(len(kernel.letters))]
    read = names[len(kernel.unused) :]
    lines = [f"def batch({', '.join(names)}):"]
    lines += [f"    {x} = np.ascontiguousarray({x})" for x in read]
    shape = []
    for axis, operands in enumerate(axes):
        lengths = [f"x{q}.shape[{axis}]" for q in operands]
        shape.append(lengths[0] if lengths else "1")
        lines += [
            f"    if {other} != {lengths[0]}: raise ValueError(differ)" for other in lengths[1:]
        ]
    columns = next((f"{x}.shape[-1]" for x in read if kernel.letters[names.index(x)] == "x"), None)
    shape += [str(length) for length in kernel.core_shape(kernel.result, columns)]
    lines.append(f"    out = np.empty(({', '.join(shape)},), dtype)")
    lines.append(f"    return run({', '.join([*read, read[-1], read[-1]][:3])}, out)")
    return "\n".join(lines)


def _with_result(run, signature, length, dtype):
    """Make a function of the operands that makes room for the result."""
    letters, result = signature.split(">")

    @numba_njit
    def to_scalar(x):
        x = np.ascontiguousarray(x)
        return np.asarray(run(x, x, x, 1, np.empty(1, dtype))[0])

    @numba_njit
    def from_two_to_scalar(x, y):
        x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        return np.asarray(run(x, y, y, 1, np.empty(1, dtype))[0])

    @numba_njit
    def to_vectors(a, x):
        a, x = np.ascontiguousarray(a), np.ascontiguousarray(x)
        return run(a, x, x, x.shape[1], np.empty(x.shape, dtype))

    @numba_njit
    def from_vectors(x, y):
        x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        return run(x, y, y, x.shape[1], np.empty(length, dtype))

    @numba_njit
    def from_one(x):
        x = np.ascontiguousarray(x)
        return run(x, x, x, 1, np.empty(length, dtype))

    @numba_njit
    def from_two(x, y):
        x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
        return run(x, y, y, 1, np.empty(length, dtype))

    @numba_njit
    def from_three(x, y, z):
        x, y, z = np.ascontiguousarray(x), np.ascontiguousarray(y), np.ascontiguousarray(z)
        return run(x, y, z, 1, np.empty(length, dtype))

    if result == "s":
        return to_scalar if len(letters) == 1 else from_two_to_scalar
    if result == "x":
        return to_vectors
    if letters == "xx":
        return from_vectors
    return {1: from_one, 2: from_two, 3: from_three}[len(letters)]


def _with_vector(run, signature, length, dtype):
    """Make a function of operands that are vectors, as the result is."""
    letters, result = signature.split(">")

    @numba_njit
    def to_vector(a, x):
        a, x = np.ascontiguousarray(a), np.ascontiguousarray(x)
        return run(a, x, x, 1, np.empty(x.shape, dtype))

    if result == "x":
        return to_vector
    return _with_result(run, f"{letters.replace('x', 'r')}>{result}", length, dtype)


def _without_first(function):
    """Make a function that ignores its first operand."""

    @numba_njit
    def of_the_others(unused, *operands):
        return function(*operands)

    return of_the_others


@register_funcify_and_cache_key(QuadForm)
def numba_funcify_quad_form(op, node, **kwargs):
    @numba_njit
    def quad_form(a, x, y):
        out = np.zeros(y.shape[1], y.dtype)
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                out[j] += x[i, j] * y[i, j]
        return out

    return quad_form, repr(("sparsechol", VERSION, "QuadForm"))
