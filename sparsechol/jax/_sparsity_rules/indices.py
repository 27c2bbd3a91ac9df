"""Sparsity rules of slices, gathers and scatters, with indices that are known or may be any."""

import math
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ..._sparsity import propagate
from .._bounds import bounds
from .._rule_table import or_empty, out_shape, rule
from .._zeros import rule as zero_rule

CHOICES = 64  # most values of an index that is not known that are tried one by one
CHOOSE = {"sort", "top_k", "argmax", "argmin", "lu", "lu_pivots_to_permutation"}


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


def most_of(atom: Any) -> int:
    """Return the largest index of a type that XLA does not take for a negative one."""
    return np.iinfo(f"i{np.dtype(atom.aval.dtype).itemsize}").max


def ranges_of(scope, atom: Any, shape) -> list:
    """Return the least and the largest value of an index, elements along the last axis one by one.

    Elements without bounds are None.
    """
    value = index_of(scope, atom, shape)
    found = (value, value) if value is not None else bounds(scope, atom)
    last = len(atom.aval.shape) - 1
    if found is not None:
        most = most_of(atom)
        fits = max(shape, default=0) <= most and (found[1] <= most).all()
        return [
            tuple(x[..., k] for x in found) if fits else None for k in range(atom.aval.shape[-1])
        ]
    eqn = scope.maker.get(atom)  # a literal is known
    if eqn is not None and eqn.primitive.name == "concatenate" and eqn.params["dimension"] == last:
        return [column for part in eqn.invars for column in ranges_of(scope, part, shape)]
    return [None] * atom.aval.shape[-1]


class Places:
    """All that an index may be.

    Parameters
    ----------
    ranges : list
        Least and largest index, or None, for each axis that is indexed.
    room : list of int
        The largest index that is within the array, for each of these axes.
    lead : tuple of int
        Shape of the least and of the largest index of an axis.
    clip : bool
        Whether an index out of bounds is clipped; otherwise it is dropped.

    Attributes
    ----------
    moving : list of int
        Numbers of the axes along which the index may be any.
    every : list of ndarray
        Values that the index may have, (..., axes); along moving axes they are 0.
    """

    def __init__(self, ranges, room, lead, clip):
        self._lead = lead
        ends = [self._within(*pair, clip) for pair in zip(ranges, room, strict=True)]
        self.counts = [
            0 if pair is None else int(np.subtract(pair[1], pair[0]).max(initial=0)) + 1
            for pair in ends
        ]
        for k, last in enumerate(room):  # no more than the axis has
            self.counts[k] = 0 if self.counts[k] > last > 0 else self.counts[k]
        while math.prod(filter(None, self.counts)) > CHOICES:
            self.counts[int(np.argmax(self.counts))] = 0
        self.moving = [k for k, count in enumerate(self.counts) if not count]
        self.every = [
            self._chosen(ends, steps)
            for steps in np.ndindex(*(max(count, 1) for count in self.counts))
        ]

    @staticmethod
    def _within(found, last, clip):
        """Return bounds of an index that leave the array by one at most."""
        if not last and (clip or found is None):
            return (0, 0) if clip else (-1, 0)
        return None if found is None else np.clip(found, -1, last + 1)

    def _chosen(self, ends, steps):
        columns = [
            np.zeros(self._lead, np.int64)
            if not count
            else np.broadcast_to(np.minimum(np.add(pair[0], step), pair[1]), self._lead)
            for pair, step, count in zip(ends, steps, self.counts, strict=True)
        ]
        return np.stack(columns, -1) if columns else np.zeros((*self._lead, 0), np.int64)


def starts_of(scope, atoms, shape, sizes):
    """Return the places where a slice may begin."""
    found: list = []
    for atom in atoms:
        value = index_of(scope, atom, shape)
        ends = (value, value) if value is not None else bounds(scope, atom)
        found.append(ends if ends is None or (ends[1] <= most_of(atom)).all() else None)
    room = [total - size for total, size in zip(shape, sizes, strict=True)]
    return Places(found, room, (), True)


def pieces_of(starts, shape, sizes):
    """Return slices that begin at each place, within the array; whole axes where it is any."""
    last = np.subtract(shape, sizes)
    for start in starts.every:
        begin = np.clip(start, 0, last)
        yield tuple(map(slice, begin, begin + sizes))


def warn(scope, eqn, indices, shape, axes):
    """Warn of an index that may be any along axes, if these have many elements.

    No warning is given where elements of the point are chosen by their values: that a result, and
    its derivative, may then be that of any element is how a sort is defined.
    """
    size = math.prod(shape[axis] for axis in axes)
    if size > CHOICES:
        every = [scope.origins(atom) for atom in indices]
        if not any(names & CHOOSE and seen & scope.detection.point for names, seen in every):
            scope.detection.unknown_index(eqn, size)


def read_anywhere(scope, eqn, indices, ids, axes):
    """Return the sets of an array that is read anywhere along axes; warn if these are many sets."""
    if len(np.unique(ids[ids != 0])) > CHOICES:
        warn(scope, eqn, indices, ids.shape, axes)
    return propagate.broadcast_union(scope.sets, ids, axes)


@rule("dynamic_slice")
def dynamic_slice(scope, eqn, operands):
    ids, sizes = operands[0], eqn.params["slice_sizes"]
    if ids is None:
        return [None]
    starts = starts_of(scope, eqn.invars[1:], ids.shape, sizes)
    if starts.moving:
        ids = read_anywhere(scope, eqn, eqn.invars[1:], ids, starts.moving)
    every = [ids[piece] for piece in pieces_of(starts, ids.shape, sizes)]
    return [propagate.union(scope.sets, *every, shape=tuple(sizes)) if every[1:] else every[0]]


@rule("dynamic_update_slice")
def dynamic_update_slice(scope, eqn, operands):
    old, new = map(or_empty, eqn.invars[:2], operands[:2])
    starts = starts_of(scope, eqn.invars[2:], old.shape, new.shape)
    every = list(pieces_of(starts, old.shape, new.shape))
    out = old.copy()
    if starts.moving:
        if new.any():
            warn(scope, eqn, eqn.invars[2:], old.shape, starts.moving)
        new = propagate.union_along(scope.sets, new, starts.moving, keepdims=True)
        every = [
            tuple(slice(None) if k in starts.moving else part for k, part in enumerate(piece))
            for piece in every
        ]
    else:
        out[overwritten(old.shape, every)] = 0
    for piece in every:
        out[piece] = propagate.union(scope.sets, out[piece], new)
    return [out]


def overwritten(shape, every):
    """Return which elements of an array all pieces have."""
    count = np.zeros(shape, np.int32)
    for piece in every:
        count[piece] += 1
    return count == len(every)


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


def places_of(scope, atom, shape, sizes, index_map, clip):
    """Return all that the index of a gather or scatter may be."""
    room = [shape[axis] - sizes[axis] for axis in index_map]
    return Places(ranges_of(scope, atom, shape), room, atom.aval.shape[:-1], clip)


@rule("gather")
def gather(scope, eqn, operands):
    ids, p = operands[0], eqn.params
    if ids is None:
        return [None]
    d = p["dimension_numbers"]
    if not ids.size:
        return [None]
    sizes, clip = p["slice_sizes"], clipped(p["mode"])
    found = places_of(scope, eqn.invars[1], ids.shape, sizes, d.start_index_map, clip)
    moving = [d.start_index_map[k] for k in found.moving]
    if moving:
        ids = read_anywhere(scope, eqn, eqn.invars[1:], ids, moving)
    every = [
        propagate.take(ids, positions(
            ids.shape, indices, sizes, offset=d.offset_dims,
            collapsed=d.collapsed_slice_dims, index_map=d.start_index_map,
            batch=d.operand_batching_dims, index_batch=d.start_indices_batching_dims, clip=clip,
        ))
        for indices in found.every
    ]  # fmt: skip
    return [propagate.union(scope.sets, *every, shape=out_shape(eqn)) if every[1:] else every[0]]


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
    batch, index_map = getattr(d, "operand_batching_dims", ()), d.scatter_dims_to_operand_dims
    sizes, clip = window_sizes(d, shape, new.shape), clipped(p["mode"])
    found = places_of(scope, eqn.invars[1], shape, sizes, index_map, clip)
    every = [
        positions(
            shape, indices, sizes, offset=d.update_window_dims, collapsed=d.inserted_window_dims,
            index_map=index_map, batch=batch,
            index_batch=getattr(d, "scatter_indices_batching_dims", ()), clip=clip,
        )
        for indices in found.every
    ]  # fmt: skip
    target = np.concatenate([propagate.flatten(places) for places in every]).astype(np.int64)
    source = np.tile(propagate.flatten(new), len(every))
    target, source = target[target >= 0], source[target >= 0]
    if not found.moving and eqn.primitive.name == "scatter":
        # The last value written to a position replaces everything there.
        every = [np.unique(places[places >= 0]) for places in every]
        old = propagate.flatten(old).copy()
        old[overwritten(old.shape, every)] = 0
    members = csr_array(
        (np.ones(len(target), np.int8), (target, np.arange(len(target)))),
        shape=(math.prod(shape), len(target)),
    )
    added = propagate.apply_matrix(scope.sets, members, source).reshape(shape)
    if found.moving:
        axes = [index_map[k] for k in found.moving]
        if added.any():
            warn(scope, eqn, eqn.invars[1:2], shape, axes)
        added = propagate.broadcast_union(scope.sets, added, axes)
    return [propagate.union(scope.sets, old.reshape(shape), added)]


# ---- zeros ----


@zero_rule("dynamic_slice")
def zeros_of_slice(scope, eqn, mask, *_):
    shape, sizes = eqn.invars[0].aval.shape, eqn.params["slice_sizes"]
    starts = starts_of(scope, eqn.invars[1:], shape, sizes)
    every = [mask[piece] for piece in pieces_of(starts, shape, sizes)] if mask is not None else []
    return np.logical_and.reduce(every) if every and not starts.moving else None


@zero_rule("dynamic_update_slice")
def zeros_of_update(scope, eqn, old, new, *_):
    shape, sizes = (x.aval.shape for x in eqn.invars[:2])
    every = list(pieces_of(starts_of(scope, eqn.invars[2:], shape, sizes), shape, sizes))
    if len(every) > 1 or starts_of(scope, eqn.invars[2:], shape, sizes).moving:
        return None
    out = np.zeros(shape, bool) if old is None else old.copy()
    out[every[0]] = False if new is None else new
    return out


@zero_rule("gather")
def zeros_of_gather(scope, eqn, mask, _):
    p, shape = eqn.params, eqn.invars[0].aval.shape
    if mask is None or not mask.size:
        return None
    d, sizes, clip = p["dimension_numbers"], p["slice_sizes"], clipped(p["mode"])
    found = places_of(scope, eqn.invars[1], shape, sizes, d.start_index_map, clip)
    if found.moving:
        return None
    filled, out = p["fill_value"] is not None and p["fill_value"] == 0, True
    for indices in found.every:
        places = positions(
            shape, indices, sizes, offset=d.offset_dims, collapsed=d.collapsed_slice_dims,
            index_map=d.start_index_map, batch=d.operand_batching_dims,
            index_batch=d.start_indices_batching_dims, clip=clip,
        )  # fmt: skip
        out = out & np.where(places < 0, filled, mask.ravel()[np.maximum(places, 0)])
    return out


@zero_rule("scatter", "scatter-add", "scatter_add", "scatter-sub", "scatter_sub")
def zeros_of_scatter(scope, eqn, old, _, new):
    d, p, shape = eqn.params["dimension_numbers"], eqn.params, eqn.invars[0].aval.shape
    indices = index_of(scope, eqn.invars[1], shape)
    if old is None or indices is None:
        return None
    sizes = window_sizes(d, shape, eqn.invars[2].aval.shape)
    places = positions(
        shape, indices, sizes, offset=d.update_window_dims, collapsed=d.inserted_window_dims,
        index_map=d.scatter_dims_to_operand_dims, batch=getattr(d, "operand_batching_dims", ()),
        index_batch=getattr(d, "scatter_indices_batching_dims", ()), clip=clipped(p["mode"]),
    )  # fmt: skip
    out = old.copy().ravel()
    changed = places if new is None else places[~new]
    out[changed[changed >= 0]] = False
    return out.reshape(shape)
