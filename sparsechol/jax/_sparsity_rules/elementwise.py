"""Sparsity rules of elementwise operations, of moving data, and of reductions."""

import numpy as np

from ..._sparsity import propagate
from .._fold import run_safely
from .._rule_table import or_empty, out_shape, present, rule
from .._zeros import zeros

ELEMENTWISE = """
    neg add sub rem max min pow integer_pow exp exp2 log log1p expm1 sin cos tan asin acos
    atan sinh cosh tanh asinh acosh atanh sqrt rsqrt cbrt square abs logistic erf erfc erf_inv
    lgamma digamma polygamma igamma igammac igamma_grad_a random_gamma_grad zeta nextafter atan2
    regularized_incomplete_beta bessel_i0e bessel_i1e real imag complex conj add_any log2
    reduce_precision clamp name div one_minus_square polynomial
"""
WITHOUT_DERIVATIVE = """
    sign floor ceil round is_finite eq ne lt le gt ge eq_to lt_to le_to and or not xor
    population_count clz shift_left shift_right_logical shift_right_arithmetic stop_gradient
    argmax argmin iota
"""


# ---- element by element ----


@rule(*ELEMENTWISE.split())
def elementwise(scope, eqn, operands):
    return [propagate.union(scope.sets, *present(operands), shape=out_shape(eqn))]


@rule(*WITHOUT_DERIVATIVE.split())
def constant(scope, eqn, operands):
    """Let a result without a derivative depend on nothing."""
    return [None]


@rule("convert_element_type", "bitcast_convert_type")
def convert(scope, eqn, operands):
    smooth = eqn.outvars[0].aval.dtype.kind in "fcV"
    return [operands[0].reshape(out_shape(eqn)) if smooth else None]


@rule("copy", "copy_p", "optimization_barrier", "device_put", "reshard", "sharding_constraint",
      "layout_constraint", "relayout")  # fmt: skip
def same(scope, eqn, operands):
    return list(operands)


@rule("mul")
def multiply(scope, eqn, operands):
    shape = out_shape(eqn)
    out = propagate.union(scope.sets, *present(operands), shape=shape)
    for atom, ids in zip(eqn.invars, operands, strict=True):
        mask = zeros(scope, atom) if ids is None else None
        if mask is not None:
            out = propagate.keep_where(out, ~mask)
    return [out]


@rule("select_n")
def select(scope, eqn, operands):
    which, *cases = operands
    shape = out_shape(eqn)
    known = scope.value(eqn.invars[0]) if which is None else None
    if known is None:
        return [propagate.union(scope.sets, *present(cases), shape=shape)]
    out = propagate.no_inputs(shape)
    for k, ids in enumerate(cases):
        if ids is not None:
            out = np.where(np.broadcast_to(known, shape) == k, ids, out)
    return [out]


# ---- moving data ----


@rule("reshape")
def reshape(scope, eqn, operands):
    ids = operands[0]
    if eqn.params.get("dimensions") is not None:
        ids = ids.transpose(eqn.params["dimensions"])
    return [ids.reshape(out_shape(eqn))]


@rule("squeeze", "expand_dims")
def reshaped(scope, eqn, operands):
    return [operands[0].reshape(out_shape(eqn))]


@rule("broadcast_in_dim")
def broadcast(scope, eqn, operands):
    shape, ids = out_shape(eqn), operands[0]
    inner = [1] * len(shape)
    for size, axis in zip(ids.shape, eqn.params["broadcast_dimensions"], strict=True):
        inner[axis] = size
    return [np.broadcast_to(ids.reshape(inner), shape)]


@rule("transpose")
def transpose(scope, eqn, operands):
    return [operands[0].transpose(eqn.params["permutation"])]


@rule("rev")
def reverse(scope, eqn, operands):
    return [np.flip(operands[0], eqn.params["dimensions"])]


@rule("slice")
def slice_(scope, eqn, operands):
    p = eqn.params
    strides = p["strides"] or (1,) * len(p["start_indices"])
    pieces = map(slice, p["start_indices"], p["limit_indices"], strides)
    return [operands[0][tuple(pieces)]]


@rule("pad")
def pad(scope, eqn, operands):
    ids, filling = operands
    config = eqn.params["padding_config"]
    shape = out_shape(eqn)
    out = propagate.no_inputs(shape) if filling is None else np.full(shape, filling)
    shape_in = eqn.invars[0].aval.shape
    here, there = [], []
    for size, total, (low, _, inner) in zip(shape_in, shape, config, strict=True):
        places = low + np.arange(size) * (inner + 1)
        inside = (places >= 0) & (places < total)
        here.append(places[inside])
        there.append(np.flatnonzero(inside))
    if ids is None:
        ids = propagate.no_inputs(shape_in)
    out[np.ix_(*here)] = ids[np.ix_(*there)]
    return [out]


@rule("concatenate")
def concatenate(scope, eqn, operands):
    parts = map(or_empty, eqn.invars, operands)
    return [np.concatenate(list(parts), eqn.params["dimension"])]


@rule("stack")
def stack(scope, eqn, operands):
    parts = map(or_empty, eqn.invars, operands)
    return [np.stack(list(parts), eqn.params["axis"])]


@rule("unstack")
def unstack(scope, eqn, operands):
    return list(np.moveaxis(operands[0], eqn.params["axis"], 0))


@rule("split")
def split(scope, eqn, operands):
    ends = np.cumsum(eqn.params["sizes"])[:-1]
    return np.split(operands[0], ends, eqn.params["axis"])


@rule("tile")
def tile(scope, eqn, operands):
    return [np.tile(operands[0], eqn.params["reps"])]


# ---- sums ----


@rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
def reduce_axes(scope, eqn, operands):
    return [propagate.union_along(scope.sets, operands[0], eqn.params["axes"])]


@rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def cumulative(scope, eqn, operands):
    p = eqn.params
    return [propagate.cumulative_union(scope.sets, operands[0], p["axis"], p["reverse"])]


@rule("sort")
def sort(scope, eqn, operands):
    axis = eqn.params["dimension"]
    order = known_order(scope, eqn, operands)
    if order is not None:
        return [None if ids is None else np.take_along_axis(ids, order, axis) for ids in operands]
    keys = present(operands[: eqn.params["num_keys"]])
    together = [propagate.union(scope.sets, *present([ids, *keys])) for ids in operands]
    return [propagate.broadcast_union(scope.sets, ids, [axis]) for ids in together]


def known_order(scope, eqn, operands):
    """Return the order of a stable sort if its keys are known, else None."""
    count, axis = eqn.params["num_keys"], eqn.params["dimension"]
    if not eqn.params["is_stable"] or any(ids is not None for ids in operands[:count]):
        return None
    keys = [scope.value(atom) for atom in eqn.invars[:count]]
    if any(x is None for x in keys):
        return None
    places = np.broadcast_to(
        np.expand_dims(
            np.arange(keys[0].shape[axis]), [k for k in range(keys[0].ndim) if k != axis]
        ),
        keys[0].shape,
    )
    found = run_safely(lambda x: eqn.primitive.bind(*x, **eqn.params), [*keys, places])
    return None if found is None else np.asarray(found[-1])


@rule("top_k")
def top_k(scope, eqn, operands):
    shape = out_shape(eqn)
    merged = propagate.union_along(scope.sets, operands[0], (-1,), keepdims=True)
    return [np.broadcast_to(merged, shape), None]


@rule("fft")
def fft(scope, eqn, operands):
    shape, count = out_shape(eqn), len(eqn.params["fft_lengths"])
    axes = range(-count, 0)
    return [np.broadcast_to(propagate.union_along(scope.sets, operands[0], axes, True), shape)]
