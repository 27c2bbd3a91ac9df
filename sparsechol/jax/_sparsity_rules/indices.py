"""Sparsity rules of slices, gathers and scatters, with indices that are known or may be any."""

import math

import numpy as np
from scipy.sparse import csr_array

from ..._sparsity import propagate
from .._rule_table import or_empty, rule


def index_of(scope, atom, shape):
    """Return the value of an index into an array of a shape if it is known, else None.

    XLA reads large unsigned numbers as negative ones, and clips badly where a size does not fit the
    type: these are taken for not known.
    """
    value, kind = scope.value(atom), np.dtype(atom.aval.dtype)
    most = np.iinfo(f"i{kind.itemsize}").max
    if value is None or max(shape, default=0) > most or (value > most).any():
        return None
    return value.astype(np.int64)


def starts_of(scope, atoms, shape, sizes):
    """Return where a slice begins, None along an axis where the start is not known."""
    out: list = []
    for atom, total, size in zip(atoms, shape, sizes, strict=True):
        value = 0 if total == size else index_of(scope, atom, shape)
        out.append(None if value is None else min(max(int(value), 0), total - size))
    return out


@rule("dynamic_slice")
def dynamic_slice(scope, eqn, operands):
    ids, sizes = operands[0], eqn.params["slice_sizes"]
    if ids is None:
        return [None]
    starts = starts_of(scope, eqn.invars[1:], ids.shape, sizes)
    moving = [axis for axis, start in enumerate(starts) if start is None]
    if moving:
        ids = propagate.broadcast_union(scope.sets, ids, moving)
    pieces = (slice(s or 0, (s or 0) + size) for s, size in zip(starts, sizes, strict=True))
    return [ids[tuple(pieces)]]


@rule("dynamic_update_slice")
def dynamic_update_slice(scope, eqn, operands):
    old, new = map(or_empty, eqn.invars[:2], operands[:2])
    starts = starts_of(scope, eqn.invars[2:], old.shape, new.shape)
    moving = [axis for axis, start in enumerate(starts) if start is None]
    places = tuple(
        slice(None) if s is None else slice(s, s + size)
        for s, size in zip(starts, new.shape, strict=True)
    )
    out = old.copy()
    if moving:
        new = propagate.union_along(scope.sets, new, moving, keepdims=True)
        out[places] = propagate.union(scope.sets, out[places], new)
    else:
        out[places] = new
    return [out]


# ---- gather and scatter ----


def clipped(mode):
    """Tell whether indices out of bounds are clipped; otherwise they are dropped."""
    return "FILL" not in str(getattr(mode, "name", mode)).upper()


def positions(shape, indices, sizes, *, offset, collapsed, index_map, batch, index_batch, clip):
    """Return for each element of a gather its position in the flat operand, -1 for none."""
    rank, batch_shape = len(shape), indices.shape[:-1]
    start = np.zeros((rank, *batch_shape), np.int64)
    for k, axis in enumerate(index_map):
        start[axis] = indices[..., k]
    for axis, k in zip(batch, index_batch, strict=True):
        turned = [1] * len(batch_shape)
        turned[k] = batch_shape[k]
        start[axis] = np.arange(batch_shape[k]).reshape(turned)
    last = np.array(shape) - np.array(sizes)
    last = last.reshape(rank, *[1] * len(batch_shape))
    outside = ((start < 0) | (start > last)).any(axis=0)
    start = np.clip(start, 0, np.maximum(last, 0))
    window = [axis for axis in range(rank) if axis not in collapsed and axis not in batch]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(rank)]
    flat = sum((start[axis] * strides[axis] for axis in range(rank)), np.zeros(batch_shape, int))
    if not clip:
        flat = np.where(outside, -1, flat)
    flat = np.reshape(flat, (*batch_shape, *[1] * len(window)))
    step = np.zeros((1,) * flat.ndim, np.int64)
    for k, axis in enumerate(window):
        turned = [1] * flat.ndim
        turned[len(batch_shape) + k] = sizes[axis]
        step = step + (np.arange(sizes[axis]) * strides[axis]).reshape(turned)
    out = np.where(flat < 0, -1, flat + step)
    return np.moveaxis(out, range(len(batch_shape), out.ndim), offset)


@rule("gather")
def gather(scope, eqn, operands):
    ids, p = operands[0], eqn.params
    if ids is None:
        return [None]
    d = p["dimension_numbers"]
    indices, clip = index_of(scope, eqn.invars[1], ids.shape), clipped(p["mode"])
    if indices is None:
        # Any position along the axes that are indexed.
        ids = propagate.broadcast_union(scope.sets, ids, d.start_index_map)
        indices, clip = np.zeros(eqn.invars[1].aval.shape, int), True
    if not ids.size:
        return [None]
    places = positions(
        ids.shape, indices, p["slice_sizes"], offset=d.offset_dims,
        collapsed=d.collapsed_slice_dims, index_map=d.start_index_map,
        batch=d.operand_batching_dims, index_batch=d.start_indices_batching_dims, clip=clip,
    )  # fmt: skip
    return [propagate.take(ids, places)]


def window_sizes(d, shape, updates):
    """Return the size along each axis of what a scatter writes at each index."""
    batch = getattr(d, "operand_batching_dims", ())
    sizes, window = [1] * len(shape), iter(d.update_window_dims)
    for axis in range(len(shape)):
        if axis not in d.inserted_window_dims and axis not in batch:
            sizes[axis] = updates[next(window)]
    return sizes


@rule("scatter", "scatter-add", "scatter_add", "scatter-sub", "scatter_sub", "scatter_mul",
      "scatter_min", "scatter_max", "scatter-mul", "scatter-min", "scatter-max")  # fmt: skip
def scatter(scope, eqn, operands):
    p = eqn.params
    old, _, new = map(or_empty, eqn.invars, operands)
    if not old.size:
        return [None]
    d, shape = p["dimension_numbers"], old.shape
    indices = index_of(scope, eqn.invars[1], shape)
    batch = getattr(d, "operand_batching_dims", ())
    sizes = window_sizes(d, shape, new.shape)
    known = indices is not None
    places = positions(
        shape, indices if known else np.zeros(eqn.invars[1].aval.shape, int), sizes,
        offset=d.update_window_dims, collapsed=d.inserted_window_dims,
        index_map=d.scatter_dims_to_operand_dims, batch=batch,
        index_batch=getattr(d, "scatter_indices_batching_dims", ()),
        clip=clipped(p["mode"]) or not known,
    )  # fmt: skip
    target, source = propagate.flatten(places), propagate.flatten(new)
    target, source = target[target >= 0].astype(np.int64), source[target >= 0]
    if known and eqn.primitive.name == "scatter":
        # The last value written to a position replaces everything there.
        old = propagate.flatten(old).copy()
        old[target] = 0
    members = csr_array(
        (np.ones(len(target), np.int8), (target, np.arange(len(target)))),
        shape=(math.prod(shape), len(target)),
    )
    added = propagate.apply_matrix(scope.sets, members, source).reshape(shape)
    if not known:
        added = propagate.broadcast_union(scope.sets, added, d.scatter_dims_to_operand_dims)
    return [propagate.union(scope.sets, old.reshape(shape), added)]
