"""The Op `Program` in numba: source text with a loop for each node that computes something.

def program(x0, x1, out0, w_float64):       pointers: to inputs, outputs, and room for all between
    v1 = f0(x1[0])                          scalars are variables
    for i1 in range(99):
        v2 = w_float64[100 + i1]            a part of an array is a place and strides
        v3 = v2 * v1
        out0[i1] = f1(v3)

It is translated and compiled by itself, and called by its address, in a function that makes room:

def run(x0, x1):
    out0, w_float64 = np.empty((99,), np.float64), np.empty(298, np.float64)
    call(x0.ctypes, x1.ctypes, out0.ctypes, w_float64.ctypes)
    return out0

Numba would simplify the code of the program again in every function around it.
"""

from hashlib import sha256
from uuid import uuid4

import llvmlite.binding
import numpy as np
from numba import cfunc, from_dtype, types
from pytensor import config
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key

from .._core.parallel.threads import thread_count
from . import _native
from ._numba import MESSAGES, kernel_of
from ._numba_loops import Source
from ._numba_translation import translated
from ._program_rules import rule_of
from ._program_text import Writer
from ._programs import Program

VERSION = 2  # of the code below and of what is written
OFF = 'mode=pytensor.compile.get_mode("NUMBA").excluding("sparsechol_programs")'
WORDS = {
    "unknown": MESSAGES[1],
    "shape": MESSAGES[2],
    "memory": MESSAGES[3],
    "size": f"{MESSAGES[2]}; if no size has changed, PyTensor takes a shape for another: use {OFF}",
}

_kept = {}  # numba never gives machine code back that may call a program


@register_funcify_and_cache_key(Program)
def numba_funcify_program(op, node, **kwargs):
    source = Source()
    writer = Writer(op, source, rule_of)
    text, key = writer.text(), None
    if None not in source.keys:
        what = VERSION, _native.SYMBOL, text, source.keys
        key = sha256(repr(what).encode()).hexdigest()
    name = f"sparsechol_program_{key or uuid4().hex}"
    signature = types.int64(*(kind_of(*parameter) for parameter in writer.parameters))
    if name not in _kept:
        _kept[name] = compiled(text, source.names, signature, key)
        llvmlite.binding.add_symbol(name, _kept[name].address)
        _kept.update(writer.handles)
        _native.use_threads(thread_count())
    names = {"call": types.ExternalFunction(name, signature), "np": np, **WORDS}
    return numba_njit(compile_numba_function_src(writer.caller(), "run", names)), key


def compiled(text, names, signature, key):
    """Compile a program, or find it in PyTensor's cache."""
    fastmath = numba_njit(lambda: None).targetoptions["fastmath"]
    kept = key and config.numba__cache and f"{key}_program_fastmath{int(bool(fastmath))}"
    operands = "".join(f"x{k}, " for k in range(len(signature.args)))
    main = f"def program({operands}):\n    return translated(({operands}))\n"
    found = {"translated": translated(text, {**names, "kernel": kernel_of(types.voidptr)})}
    found["__name__"] = __name__  # numba looks it up when it loads what is on disk
    function = compile_numba_function_src(main, "program", found, cache_key=kept or None)
    return cfunc(signature, cache=bool(kept), fastmath=fastmath)(function)


def kind_of(name, dtype, pointer):
    """Return numba's type of a parameter."""
    kind = from_dtype(np.dtype(dtype))
    return types.CPointer(kind) if pointer else kind
