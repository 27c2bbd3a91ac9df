"""Lower primitives to calls of the kernels, in one of three ways.

    ffi         XLA calls the handler in `_ffi`: no interpreter, no copy
    buffer      XLA calls Python with views of its buffers
    callback    `jax.pure_callback`: copies, and works wherever JAX does

SPARSECHOL_JAX_BACKEND names the way for the CPU; by default it is the fastest that registers. Other
devices always take the last, through the host.
"""

import os
import warnings
from collections import deque
from functools import partial
from typing import ClassVar

import jax
import numpy as np

from .._core.numeric.handle import register
from .._core.numeric.operations import ACCEPT_WEAK, CODES, LOWER, PERMUTE, SIGNED
from .._core.parallel.threads import thread_count
from . import _ffi
from ._compat import buffer_callback, kept_alive, lower_function

VARIABLE = "SPARSECHOL_JAX_BACKEND"
BACKENDS = ("ffi", "buffer", "callback")
TARGET = "sparsechol"


_chosen: str | None = None


def backend() -> str:
    """Return the lowering for the CPU, chosen at the first call."""
    global _chosen
    if _chosen is None:
        wanted = os.environ.get(VARIABLE, "").strip().lower() or "ffi"
        if wanted not in BACKENDS:
            raise ValueError(f"{VARIABLE} must be one of {', '.join(BACKENDS)}, not {wanted!r}")
        use_backend(wanted)
    return _chosen or "callback"


def use_backend(name: str) -> None:
    """Choose the lowering of programs that are compiled from now on."""
    global _chosen
    if name == "ffi" and not _register():
        name = "buffer"
    if name == "buffer" and buffer_callback is None:
        _warn("it has no buffer callbacks")
        name = "callback"
    _chosen = name


def _register() -> bool:
    """Register the handler with XLA, and tell whether XLA takes it."""
    # The backend must be up before: if it refuses a handler while it starts, it fails as a whole.
    devices = len(jax.devices("cpu"))
    _Hold.released = deque(_Hold.released, maxlen=64 * devices)
    try:
        jax.ffi.register_ffi_target(TARGET, _ffi.handler(), platform="cpu")
    except Exception as error:
        if "already registered" in str(error).lower():
            return True
        _warn(f"it does not take our handler: {error}")
        return False
    return True


def _warn(reason: str) -> None:
    """Warn that calls will be slower."""
    warnings.warn(
        f"sparsechol: calls from this JAX will be slower: {reason}", RuntimeWarning, stacklevel=2
    )


def options_of(
    lower=False, permute=False, diagonal=1.0, below=1.0, accept_weak=False, signed=False
):
    """Return flags and weights as `numeric.operations` takes them."""
    flags = LOWER * lower + PERMUTE * permute + ACCEPT_WEAK * accept_weak + SIGNED * signed
    return flags, float(diagonal), float(below)


def lower_for_cpu(context, *operands, operation, pattern, options):
    """Lower one operation on the CPU."""
    chosen = backend()
    if chosen == "ffi":
        high, low = _hold(context, pattern)
        _ffi.use_threads(thread_count())
        flags, diagonal, below = options
        return jax.ffi.ffi_lowering(TARGET)(
            context,
            *operands,
            operation=operation,
            high=np.int64(high),
            low=np.int64(low),
            flags=np.int32(flags),
            diagonal=np.float64(diagonal),
            below=np.float64(below),
        )
    function = through_buffers if chosen == "buffer" else through_callback
    return lower_with(
        function, context, *operands, operation=operation, pattern=pattern, options=options
    )


class _Hold:
    """Keep a pattern alive while a compiled program may still use it.

    XLA can run a program after Python has dropped it. JAX's CPU client has up to 32 programs in
    flight on a device, so the last 64 patterns for each device are kept.
    """

    released: ClassVar[deque] = deque(maxlen=64)

    def __init__(self, handle):
        self.handle = handle

    def __del__(self):
        self.released.append(self.handle)


def _hold(context, pattern) -> tuple[int, int]:
    """Let the program that is being compiled hold a pattern, and return the pattern's name."""
    held, handle = kept_alive(context), pattern._handle
    if not any(isinstance(hold, _Hold) and hold.handle is handle for hold in held):
        held.append(_Hold(handle))
    return register(pattern.digest, handle)


def lower_with(function, context, *operands, **parameters):
    """Lower as a traceable function of the operands and the aval of the result."""
    [aval] = context.avals_out
    out = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
    rule = lower_function(partial(function, out=out, **parameters), multiple_results=False)
    return rule(context, *operands)


def through_buffers(*operands, out, operation, pattern, options):
    """Call the kernel from Python on views of XLA's buffers."""

    def call(_, result, *arrays):
        perform(operation, pattern, options, map(np.asarray, arrays), np.asarray(result))

    return buffer_callback(call, out)(*operands)


def through_callback(*operands, out, operation, pattern, options):
    """Call the kernel from Python on copies of the operands."""

    def call(*arrays):
        result = np.empty(out.shape, out.dtype)
        perform(operation, pattern, options, map(np.asarray, arrays), result)
        return result

    return jax.pure_callback(call, out, *operands)


def perform(operation, pattern, options, arrays, result) -> None:
    """Call a kernel on the host."""
    flags, diagonal, below = options
    arrays = tuple(np.asarray(x, order="C") for x in arrays)
    pattern._handle.perform(
        CODES[operation], arrays, result, thread_count(), flags, diagonal, below
    )
