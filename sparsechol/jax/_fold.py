"""Compute the constant equations of a jaxpr, with NumPy where it gives the same as JAX."""

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from ._compat import bind_arguments


def run_eagerly(eqn: JaxprEqn, inputs: list) -> list | None:
    """Return the results of an equation with these inputs; None if it cannot run by itself."""
    try:
        return _run(eqn, inputs)
    except (
        Exception
    ):  # a primitive may fail in any way outside of its program: nothing is known then
        return None


def _run(eqn, inputs):
    function = NUMPY.get(eqn.primitive.name)
    if function is not None:
        out = function(*map(np.asarray, inputs), **eqn.params)
        return [np.asarray(out, eqn.outvars[0].aval.dtype)]
    inner = eqn.params.get("jaxpr")
    if eqn.primitive.name in ("jit", "pjit", "closed_call") and isinstance(inner, ClosedJaxpr):
        return _run_all(inner, inputs)
    functions, params = bind_arguments(eqn)
    with jax.ensure_compile_time_eval():
        out = eqn.primitive.bind(*functions, *inputs, **params)
    return list(out) if eqn.primitive.multiple_results else [out]


def _run_all(closed, inputs):
    """Return the results of a jaxpr."""
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
    return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(turned), shape)


def _broadcast(x, *, shape, broadcast_dimensions, **_):
    turned = [1] * len(shape)
    for size, axis in zip(x.shape, broadcast_dimensions, strict=True):
        turned[axis] = size
    return np.broadcast_to(x.reshape(turned), shape)


def _reshape(x, *, new_sizes, dimensions=None, **_):
    return (x if dimensions is None else x.transpose(dimensions)).reshape(new_sizes)


def _select(which, *cases):
    return np.select([which == k for k in range(len(cases))], cases)


def _slice(x, *, start_indices, limit_indices, strides):
    strides = strides or (1,) * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


def _plain(function):
    """Return a function that ignores the parameters of an equation."""
    return lambda *x, **_: function(*x)


NUMPY = {
    "iota": _iota,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": lambda x, *, dimensions, **_: x.squeeze(dimensions),
    "expand_dims": lambda x, *, dimensions, **_: np.expand_dims(x, dimensions),
    "transpose": lambda x, *, permutation: x.transpose(permutation),
    "slice": _slice,
    "concatenate": lambda *x, dimension: np.concatenate(x, dimension),
    "convert_element_type": lambda x, *, new_dtype, **_: x.astype(new_dtype),
    "select_n": _plain(_select),
    "add": _plain(np.add),
    "sub": _plain(np.subtract),
    "mul": _plain(np.multiply),
    "neg": _plain(np.negative),
    "max": _plain(np.maximum),
    "min": _plain(np.minimum),
    "eq": _plain(np.equal),
    "ne": _plain(np.not_equal),
    "lt": _plain(np.less),
    "le": _plain(np.less_equal),
    "gt": _plain(np.greater),
    "ge": _plain(np.greater_equal),
    "and": _plain(np.bitwise_and),
    "or": _plain(np.bitwise_or),
    "xor": _plain(np.bitwise_xor),
    "not": _plain(np.invert),
}
