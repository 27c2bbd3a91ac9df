"""Compute the constant equations of a jaxpr, as the compiled program computes them.

NumPy is faster for small arrays, and used where it gives the same bits: to move data, for integers,
and for plain arithmetic. Everything else is run by JAX.

Not known at all is what JAX itself computes in two ways. A cast of one number that does not fit its
new type is made by NumPy where JAX traces, and by XLA where it does not. Subnormal numbers are zero
in some compiled programs, and not in others: comparisons of them, and casts to whole numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from ._compat import bound


def run_eagerly(eqn: JaxprEqn, inputs: list) -> list | None:
    """Return the results of an equation with these inputs; None if it cannot run by itself."""
    return run_safely(partial(_run, eqn), inputs)


def run_safely(function: Callable, inputs: list) -> Any:
    """Return the result of a function outside of every trace; None if it fails."""
    with jax.ensure_compile_time_eval():
        return attempt(function, inputs)


def attempt(function: Callable, *args: Any) -> Any:
    """Return the result of a function that runs primitives; None if it fails.

    A primitive may fail in any way outside of its program: nothing is known then.
    """
    try:
        return function(*args)
    except Exception:
        return None


def _run(eqn, inputs):
    name = eqn.primitive.name
    decides = name == "convert_element_type" and not _is_floating(eqn.outvars[0])
    if (decides or name in COMPARISONS) and any(_has_subnormal(np.asarray(x)) for x in inputs):
        raise ValueError("a subnormal number may be zero or not")
    found = _by_numpy(eqn, inputs)
    if found is not None:
        return [found]
    inner = eqn.params.get("jaxpr")
    if name in ("jit", "pjit", "closed_call") and isinstance(inner, ClosedJaxpr):
        return run_all(inner, inputs)
    out = bound(eqn, inputs)
    if name == "convert_element_type" and np.ndim(out[0]) == 0:
        _require_same(inputs[0], out[0])
    return out


def _require_same(x, out):
    """Raise ValueError unless NumPy casts a number as XLA does."""
    with np.errstate(all="ignore"):
        by_numpy = np.asarray(x).astype(out.dtype)
    if not np.array_equal(by_numpy, np.asarray(out), equal_nan=out.dtype.kind in "fc"):
        raise ValueError(f"the cast of {x} to {out.dtype} is not defined")


def _by_numpy(eqn, inputs):
    """Return the result if NumPy is known to give the same as XLA, else None."""
    name, dtype = eqn.primitive.name, eqn.outvars[0].aval.dtype
    types = [atom.aval.dtype for atom in eqn.invars]
    if not all(isinstance(kind, np.dtype) for kind in [dtype, *types]):  # random keys
        return None
    if name in MOVES:
        return np.asarray(MOVES[name](*map(np.asarray, inputs), **eqn.params), dtype)
    if name in MADE:
        if not all(map(_is_whole, [dtype, *types])):
            return None
        return np.asarray(MADE[name](*map(np.asarray, inputs), **eqn.params), dtype)
    if name not in ARITHMETIC:
        return None
    arrays = [*map(np.asarray, inputs)]
    if all(map(_is_whole, types)):
        return np.asarray(ARITHMETIC[name](*arrays), dtype)
    if name not in FLOATING or any(kind.name not in ("float32", "float64") for kind in types):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(ARITHMETIC[name](*arrays), dtype)


def _is_whole(dtype):
    """Tell whether a type is boolean or one of NumPy's integers."""
    return dtype.kind in "biu"


def _is_floating(atom):
    """Tell whether a variable holds real or complex floating point numbers."""
    return jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def _has_subnormal(x):
    """Tell whether a floating point number is near enough to zero to be flushed."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return False
    size = np.abs(x)
    with np.errstate(invalid="ignore"):
        return bool(((size < jnp.finfo(x.dtype).tiny) & (size > 0)).any())


def run_all(closed: ClosedJaxpr, inputs: list) -> list:
    """Return the results of a jaxpr with these inputs."""
    jaxpr = closed.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *inputs], strict=True))

    def read(atom):
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        values.update(zip(eqn.outvars, _run(eqn, [*map(read, eqn.invars)]), strict=True))
    return [*map(read, jaxpr.outvars)]


def _iota(*, dtype, shape, dimension, **_):
    turned = [1] * len(shape)
    turned[dimension] = shape[dimension]
    return np.broadcast_to(np.arange(shape[dimension]).astype(dtype).reshape(turned), shape)


def _broadcast(x, *, shape, broadcast_dimensions, **_):
    turned = [1] * len(shape)
    for size, axis in zip(x.shape, broadcast_dimensions, strict=True):
        turned[axis] = size
    return np.broadcast_to(x.reshape(turned), shape)


def _reshape(x, *, new_sizes, dimensions=None, **_):
    return (x if dimensions is None else x.transpose(dimensions)).reshape(new_sizes)


def _select(which, *cases):
    if len(cases) == 2:
        return np.where(which != 0, cases[1], cases[0])
    last = np.clip(which, 0, len(cases) - 1)
    return np.select([last == k for k in range(len(cases))], cases)


def _slice(x, *, start_indices, limit_indices, strides):
    strides = strides or (1,) * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


MOVES = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": lambda x, *, dimensions, **_: x.squeeze(dimensions),
    "expand_dims": lambda x, *, dimensions, **_: np.expand_dims(x, dimensions),
    "transpose": lambda x, *, permutation: x.transpose(permutation),
    "slice": _slice,
    "concatenate": lambda *x, dimension: np.concatenate(x, dimension),
    "select_n": lambda *x, **_: _select(*x),
}
MADE = {
    "iota": _iota,
    "convert_element_type": lambda x, *, new_dtype, **_: x.astype(new_dtype),
}
ARITHMETIC = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "max": np.maximum,
    "min": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
}
COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
FLOATING = {"add", "sub", "mul", "neg", *COMPARISONS}
