"""How a compiled program reaches the kernels.

    ffi         XLA calls the handler in `_ffi`: no interpreter, no copy
    buffer      XLA calls Python with views of its buffers
    callback    `jax.pure_callback`: copies, and works wherever JAX does

SPARSECHOL_JAX_BACKEND names one of them for the CPU; by default it is the fastest that registers.
On other devices it is always the last, through the host.
"""

import os
import warnings
from collections import deque
from functools import partial
from typing import ClassVar

import jax
import numpy as np

from .._core.numeric.handle import register
from .._core.numeric.operations import CODES, LOWER, PERMUTE
from .._core.parallel.threads import thread_count
from . import _ffi
from ._compat import buffer_callback, kept_alive, lower_function

VARIABLE = "SPARSECHOL_JAX_BACKEND"
BACKENDS = ("ffi", "buffer", "callback")
TARGET = "sparsechol"


_chosen: str | None = None


def backend() -> str:
    """The lowering for the CPU, chosen when first asked for."""
    global _chosen
    if _chosen is None:
        wanted = os.environ.get(VARIABLE, "").strip().lower() or "ffi"
        if wanted not in BACKENDS:
            raise ValueError(f"{VARIABLE} must be one of {', '.join(BACKENDS)}, not {wanted!r}")
        use_backend(wanted)
    return _chosen or "callback"


def use_backend(name: str) -> None:
    """Compile for another lowering from now on; what is compiled already stays as it is."""
    global _chosen
    if name == "ffi" and not _register():
        name = "buffer"
    if name == "buffer" and buffer_callback is None:
        _warn("it has no buffer callbacks")
        name = "callback"
    _chosen = name


def _register() -> bool:
    # A handler that is registered before the backend is up, and then refused, would take the whole
    # backend down with it.
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
    warnings.warn(
        f"sparsechol: calls from this JAX will be slower, as {reason}", RuntimeWarning, stacklevel=2
    )


def options_of(lower=False, permute=False, diagonal=1.0, below=1.0):
    """Flags and weights as `numeric.operations` takes them."""
    return LOWER * lower + PERMUTE * permute, float(diagonal), float(below)


def lower_for_cpu(context, *operands, operation, pattern, options):
    """Lowering rule of one operation on the CPU."""
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
    """Held by a compiled program, for its pattern to live.

    The program may still wait to be run when Python has dropped it, so that the pattern lives on
    for as long as that can be: JAX's CPU client has up to 32 programs in flight on a device.
    """

    released: ClassVar[deque] = deque(maxlen=64)

    def __init__(self, handle):
        self.handle = handle

    def __del__(self):
        self.released.append(self.handle)


def _hold(context, pattern) -> tuple[int, int]:
    """Have the program that is being compiled hold a pattern, once; returns its name."""
    held, handle = kept_alive(context), pattern._handle
    if not any(isinstance(hold, _Hold) and hold.handle is handle for hold in held):
        held.append(_Hold(handle))
    return register(pattern.digest, handle)


def lower_with(function, context, *operands, **parameters):
    """Lower as a traceable function of the operands and the result's aval."""
    [aval] = context.avals_out
    out = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
    rule = lower_function(partial(function, out=out, **parameters), multiple_results=False)
    return rule(context, *operands)


def through_buffers(*operands, out, operation, pattern, options):
    def call(_, result, *arrays):
        perform(operation, pattern, options, map(np.asarray, arrays), np.asarray(result))

    return buffer_callback(call, out)(*operands)


def through_callback(*operands, out, operation, pattern, options):
    def call(*arrays):
        result = np.empty(out.shape, out.dtype)
        perform(operation, pattern, options, map(np.asarray, arrays), result)
        return result

    return jax.pure_callback(call, out, *operands)


def perform(operation, pattern, options, arrays, result) -> None:
    """One call on the host."""
    flags, diagonal, below = options
    arrays = tuple(np.asarray(x, order="C") for x in arrays)
    pattern._handle.perform(
        CODES[operation], arrays, result, thread_count(), flags, diagonal, below
    )
