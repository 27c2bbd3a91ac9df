"""Sparsity rules of JAX's primitives, family by family: sets of the results from those of operands.

Each rule is called as ``rule(scope, eqn, operands)``, with an array of sets or None for each
operand, and returns one or None for each result; ``scope.value(atom)`` is the array that an operand
is known to be, or None.
"""

import math
from functools import partial

import numpy as np
from scipy.sparse import csr_array

from ..numeric.operations import NAMES
from ..sparsity import _families as families
from ..sparsity import _kernels as kernels

RULES: dict = {}
UNUSED = {"solve": "a", "logdet": "a"}  # operands that our primitives move with but do not read


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


def rule(*names):
    """Register a rule for primitives with these names."""

    def add(function):
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def out_shape(eqn, k=0):
    return eqn.outvars[k].aval.shape


def present(operands):
    return [ids for ids in operands if ids is not None]


def dense(scope, eqn, operands):
    """Each result on all of all operands."""
    found = present(operands)
    return [families.everything(scope.sets, found, var.aval.shape) for var in eqn.outvars]


# ---- element by element ----


@rule(*ELEMENTWISE.split())
def elementwise(scope, eqn, operands):
    return [families.union(scope.sets, *present(operands), shape=out_shape(eqn))]


@rule(*WITHOUT_DERIVATIVE.split())
def constant(scope, eqn, operands):
    """What has no derivative."""
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
    out = families.union(scope.sets, *present(operands), shape=shape)
    for atom, ids in zip(eqn.invars, operands, strict=True):
        zeros = zeros_of(scope, atom) if ids is None else None
        if zeros is not None:
            out = families.only(out, ~zeros)
    return [out]


@rule("select_n")
def select(scope, eqn, operands):
    which, *cases = operands
    shape = out_shape(eqn)
    known = scope.value(eqn.invars[0]) if which is None else None
    if known is None:
        return [families.union(scope.sets, *present(cases), shape=shape)]
    out = families.none(shape)
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
    out = families.none(shape) if filling is None else np.full(shape, filling)
    shape_in = eqn.invars[0].aval.shape
    here, there = [], []
    for size, total, (low, _, inner) in zip(shape_in, shape, config, strict=True):
        places = low + np.arange(size) * (inner + 1)
        inside = (places >= 0) & (places < total)
        here.append(places[inside])
        there.append(np.flatnonzero(inside))
    if ids is None:
        ids = families.none(shape_in)
    out[np.ix_(*here)] = ids[np.ix_(*there)]
    return [out]


@rule("concatenate")
def concatenate(scope, eqn, operands):
    parts = [
        families.none(atom.aval.shape) if ids is None else ids
        for atom, ids in zip(eqn.invars, operands, strict=True)
    ]
    return [np.concatenate(parts, eqn.params["dimension"])]


@rule("stack")
def stack(scope, eqn, operands):
    parts = [
        families.none(atom.aval.shape) if ids is None else ids
        for atom, ids in zip(eqn.invars, operands, strict=True)
    ]
    return [np.stack(parts, eqn.params["axis"])]


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


def starts_of(scope, atoms, shape, sizes):
    """Where a slice begins, None along an axis where that is not known."""
    out: list = []
    for atom, total, size in zip(atoms, shape, sizes, strict=True):
        value = 0 if total == size else scope.value(atom)
        out.append(None if value is None else int(np.clip(value, 0, total - size)))
    return out


@rule("dynamic_slice")
def dynamic_slice(scope, eqn, operands):
    ids, sizes = operands[0], eqn.params["slice_sizes"]
    if ids is None:
        return [None]
    starts = starts_of(scope, eqn.invars[1:], ids.shape, sizes)
    moving = [axis for axis, start in enumerate(starts) if start is None]
    if moving:
        ids = families.along(scope.sets, ids, moving)
    pieces = (slice(s or 0, (s or 0) + size) for s, size in zip(starts, sizes, strict=True))
    return [ids[tuple(pieces)]]


@rule("dynamic_update_slice")
def dynamic_update_slice(scope, eqn, operands):
    old, new = (
        families.none(atom.aval.shape) if ids is None else ids
        for atom, ids in zip(eqn.invars[:2], operands[:2], strict=True)
    )
    starts = starts_of(scope, eqn.invars[2:], old.shape, new.shape)
    moving = [axis for axis, start in enumerate(starts) if start is None]
    places = tuple(
        slice(None) if s is None else slice(s, s + size)
        for s, size in zip(starts, new.shape, strict=True)
    )
    out = old.copy()
    if moving:
        new = families.merged(scope.sets, new, moving, keepdims=True)
        out[places] = families.union(scope.sets, out[places], new)
    else:
        out[places] = new
    return [out]


# ---- gather and scatter ----


def clipped(mode):
    """Whether indices out of bounds are moved into them; they are dropped otherwise."""
    return "FILL" not in str(getattr(mode, "name", mode)).upper()


def positions(shape, indices, sizes, *, offset, collapsed, index_map, batch, index_batch, clip):
    """For each element of what a gather returns its place in the flat operand, -1 for none."""
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
    indices, clip = scope.value(eqn.invars[1]), clipped(p["mode"])
    if indices is None:
        # Any place along the axes that are indexed.
        ids = families.along(scope.sets, ids, d.start_index_map)
        indices, clip = np.zeros(eqn.invars[1].aval.shape, int), True
    if not ids.size:
        return [None]
    places = positions(
        ids.shape, indices, p["slice_sizes"], offset=d.offset_dims,
        collapsed=d.collapsed_slice_dims, index_map=d.start_index_map,
        batch=d.operand_batching_dims, index_batch=d.start_indices_batching_dims, clip=clip,
    )  # fmt: skip
    return [families.taken(ids, places)]


@rule("scatter", "scatter-add", "scatter_add", "scatter-sub", "scatter_sub", "scatter_mul",
      "scatter_min", "scatter_max", "scatter-mul", "scatter-min", "scatter-max")  # fmt: skip
def scatter(scope, eqn, operands):
    p = eqn.params
    old, _, new = (
        families.none(atom.aval.shape) if ids is None else ids
        for atom, ids in zip(eqn.invars, operands, strict=True)
    )
    if not old.size:
        return [None]
    d, shape = p["dimension_numbers"], old.shape
    indices = scope.value(eqn.invars[1])
    batch = getattr(d, "operand_batching_dims", ())
    sizes, window = [1] * len(shape), iter(d.update_window_dims)
    for axis in range(len(shape)):
        if axis not in d.inserted_window_dims and axis not in batch:
            sizes[axis] = new.shape[next(window)]
    known = indices is not None
    places = positions(
        shape, indices if known else np.zeros(eqn.invars[1].aval.shape, int), sizes,
        offset=d.update_window_dims, collapsed=d.inserted_window_dims,
        index_map=d.scatter_dims_to_operand_dims, batch=batch,
        index_batch=getattr(d, "scatter_indices_batching_dims", ()),
        clip=clipped(p["mode"]) or not known,
    )  # fmt: skip
    target, source = families.flat(places), families.flat(new)
    target, source = target[target >= 0].astype(np.int64), source[target >= 0]
    if known and eqn.primitive.name == "scatter":
        # One of those that write to a place stays, and nothing else.
        old = families.flat(old).copy()
        old[target] = 0
    members = csr_array(
        (np.ones(len(target), np.int8), (target, np.arange(len(target)))),
        shape=(math.prod(shape), len(target)),
    )
    added = families.applied(scope.sets, members, source).reshape(shape)
    if not known:
        added = families.along(scope.sets, added, d.scatter_dims_to_operand_dims)
    return [families.union(scope.sets, old.reshape(shape), added)]


# ---- sums ----


@rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
def reduce_axes(scope, eqn, operands):
    return [families.merged(scope.sets, operands[0], eqn.params["axes"])]


@rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def cumulative(scope, eqn, operands):
    p = eqn.params
    return [families.running(scope.sets, operands[0], p["axis"], p["reverse"])]


@rule("sort")
def sort(scope, eqn, operands):
    axis = eqn.params["dimension"]
    keys = present(operands[: eqn.params["num_keys"]])
    together = [families.union(scope.sets, *present([ids, *keys])) for ids in operands]
    return [families.along(scope.sets, ids, [axis]) for ids in together]


@rule("top_k")
def top_k(scope, eqn, operands):
    shape = out_shape(eqn)
    merged = families.merged(scope.sets, operands[0], (-1,), keepdims=True)
    return [np.broadcast_to(merged, shape), None]


@rule("fft")
def fft(scope, eqn, operands):
    shape, count = out_shape(eqn), len(eqn.params["fft_lengths"])
    axes = range(-count, 0)
    return [np.broadcast_to(families.merged(scope.sets, operands[0], axes, True), shape)]


# ---- products ----


def zeros_of(scope, atom):
    """Where a factor is known to be zero, None if it is nowhere.

    A loop is not followed step by step for that.
    """
    value = scope.value(atom, within_loops=False)
    return None if value is None or value.all() else value == 0


def as_matrix(x, batch, first, second):
    """(batch, first, second), each of them several axes put together."""
    if x is None:
        return None
    groups = (batch, first, second)
    shape = [math.prod(x.shape[axis] for axis in group) for group in groups]
    return x.transpose([axis for group in groups for axis in group]).reshape(shape)


@rule("dot_general")
def dot_general(scope, eqn, operands):
    (contract_a, contract_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    atoms, shape = eqn.invars, out_shape(eqn)
    a, b = operands
    zeros = [
        zeros_of(scope, atom) if ids is None else None
        for atom, ids in zip(atoms, operands, strict=True)
    ]
    free_a, free_b = (
        [axis for axis in range(len(atom.aval.shape)) if axis not in (*batch, *contract)]
        for atom, batch, contract in zip(
            atoms, (batch_a, batch_b), (contract_a, contract_b), strict=True
        )
    )
    terms = families.multiplied(
        scope.sets,
        as_matrix(a, batch_a, free_a, contract_a),
        as_matrix(b, batch_b, contract_b, free_b),
        as_matrix(zeros[0], batch_a, free_a, contract_a),
        as_matrix(zeros[1], batch_b, contract_b, free_b),
    )
    sizes_a, sizes_b = atoms[0].aval.shape, atoms[1].aval.shape
    core = (
        math.prod(sizes_a[axis] for axis in batch_a),
        math.prod(sizes_a[axis] for axis in free_a),
        math.prod(sizes_b[axis] for axis in free_b),
    )
    return [families.union(scope.sets, *terms, shape=core).reshape(shape)]


def window_places(size, window, stride, low, base, dilation, count):
    """(count, window) places that each window covers along an axis, -1 outside."""
    places = np.arange(count)[:, None] * stride + np.arange(window) * dilation - low
    inside = (places >= 0) & (places % base == 0) & (places // base < size)
    return np.where(inside, places // base, -1)


def windows(ids, places):
    """Elements of the last axes that windows cover: (..., *counts, *windows)."""
    k = len(places)
    lead = ids.shape[: ids.ndim - k]
    for axis, covered in enumerate(places):
        along = len(lead) + axis
        taken = np.take(ids, np.maximum(covered, 0).reshape(-1), along)
        taken = taken.reshape(*ids.shape[:along], *covered.shape, *ids.shape[along + 1 :])
        mask = (covered >= 0).reshape(*covered.shape, *[1] * (ids.ndim - along - 1))
        # The window's own axis goes to the end, so that the next axis stands where this one did.
        ids = np.moveaxis(families.only(taken, mask), along + 1, -1)
    return ids


def places_of(shape, out, window, strides, padding, base, dilation):
    """`window_places` of each axis."""
    return [
        window_places(size, w, s, low, b, d, count)
        for size, count, w, s, (low, _), b, d in zip(
            shape, out, window, strides, padding, base, dilation, strict=True
        )
    ]


@rule("conv_general_dilated")
def convolution(scope, eqn, operands):
    p = eqn.params
    spec, groups = p["dimension_numbers"], p["feature_group_count"]
    if p["batch_group_count"] != 1:
        return dense(scope, eqn, operands)
    image, kernel = operands
    shape_in = [eqn.invars[0].aval.shape[axis] for axis in spec.lhs_spec]
    shape_of_kernel = [eqn.invars[1].aval.shape[axis] for axis in spec.rhs_spec]
    shape = [out_shape(eqn)[axis] for axis in spec.out_spec]
    k, features = len(shape) - 2, shape_of_kernel[0]
    places = places_of(
        shape_in[2:], shape[2:], shape_of_kernel[2:], p["window_strides"], p["padding"],
        p["lhs_dilation"], p["rhs_dilation"],
    )  # fmt: skip
    terms = []
    last = range(-k, 0)
    if image is not None:
        covered = windows(image.transpose(spec.lhs_spec), places)
        covered = covered.reshape(shape_in[0], groups, -1, *covered.shape[2:])
        # (batch, groups, channels, places, window): what each group sees.
        each = families.merged(scope.sets, covered, (2, *last))
        terms.append(np.repeat(each, features // groups, axis=1))
    if kernel is not None:
        inside = np.ones(1, bool)
        for covered in places:
            inside = np.multiply.outer(inside, covered >= 0)
        order = [1 + 2 * q for q in range(k)] + [2 + 2 * q for q in range(k)]
        inside = inside[0].transpose([axis - 1 for axis in order])
        weights = kernel.transpose(spec.rhs_spec)
        weights = weights.reshape(*weights.shape[:2], *[1] * k, *weights.shape[2:])
        used = families.only(weights, inside)
        terms.append(families.merged(scope.sets, used, (1, *last))[None])
    out = families.union(scope.sets, *terms, shape=tuple(shape))
    return [out.transpose(np.argsort(spec.out_spec))]


def reduced_windows(scope, ids, p, shape):
    places = places_of(
        ids.shape, shape, p["window_dimensions"], p["window_strides"], p["padding"],
        p.get("base_dilation", (1,) * ids.ndim), p.get("window_dilation", (1,) * ids.ndim),
    )  # fmt: skip
    return windows(ids, places)


@rule("reduce_window_sum", "reduce_window_max", "reduce_window_min", "select_and_gather_add")
def reduce_window(scope, eqn, operands):
    if operands[0] is None or any(ids is not None for ids in operands[1:]):
        return dense(scope, eqn, operands)
    covered = reduced_windows(scope, operands[0], eqn.params, out_shape(eqn))
    return [families.merged(scope.sets, covered, range(-operands[0].ndim, 0))]


@rule("select_and_scatter_add")
def select_and_scatter(scope, eqn, operands):
    source, _ = operands
    if source is None:
        return dense(scope, eqn, operands)
    shape = out_shape(eqn)
    numbers = np.arange(1, math.prod(shape) + 1).reshape(shape)
    covered = reduced_windows(scope, numbers, eqn.params, source.shape)
    covered = covered.reshape(source.size, -1)
    window, place = np.nonzero(covered)
    members = csr_array(
        (np.ones(len(window), np.int8), (covered[window, place] - 1, window)),
        shape=(math.prod(shape), source.size),
    )
    return [families.applied(scope.sets, members, families.flat(source)).reshape(shape)]


# ---- linear algebra ----


@rule("triangular_solve")
def triangular_solve(scope, eqn, operands):
    a, b = operands
    p = eqn.params
    if a is not None:
        # Each matrix of a batch is taken as a whole.
        b = families.none(eqn.invars[1].aval.shape) if b is None else b
        together = families.merged(scope.sets, a, (-2, -1), keepdims=True)
        whole = families.merged(scope.sets, b, (-2, -1), keepdims=True)
        return [families.union(scope.sets, together, whole, shape=out_shape(eqn))]
    forward = p["lower"] != bool(p["transpose_a"])
    if not p["left_side"]:
        forward = not forward
    return [families.running(scope.sets, b, -2 if p["left_side"] else -1, reverse=not forward)]


@rule("tridiagonal_solve")
def tridiagonal_solve(scope, eqn, operands):
    *matrix, b = operands
    merged = partial(families.merged, scope.sets, keepdims=True)
    terms = [merged(x, (-1,))[..., None] for x in present(matrix)]
    if b is not None:
        terms.append(merged(b, (-2,)))
    return [families.union(scope.sets, *terms, shape=out_shape(eqn))]


# ---- sparse matrices of jax.experimental.sparse ----


def bcoo_matrix(indices, shape, contract, count):
    """Rows (free axes), columns (axes that are summed over) and numbers of the entries."""
    inside = (indices < np.array(shape)).all(axis=1)
    number = np.flatnonzero(inside)
    free = [axis for axis in range(len(shape)) if axis not in contract]
    rows, columns = (
        np.ravel_multi_index(tuple(indices[inside][:, axis] for axis in axes),
                             [shape[axis] for axis in axes]) if axes
        else np.zeros(len(number), np.int64)
        for axes in (free, list(contract))
    )  # fmt: skip
    return rows, columns, number


def sparse_product(scope, eqn, rows, columns, number, data, rhs, contract):
    """A sparse matrix, whose entries may depend, times a dense array that may."""
    shape_rhs = eqn.invars[-1].aval.shape
    shape = out_shape(eqn)
    free = [axis for axis in range(len(shape_rhs)) if axis not in contract]
    width = math.prod(shape_rhs[axis] for axis in free)
    depth = math.prod(shape_rhs[axis] for axis in contract)
    height = math.prod(shape) // max(width, 1)
    terms = [families.none((height, width))]
    ones = np.ones(len(number), np.int8)
    if data is not None:
        members = csr_array((ones, (rows, number)), shape=(height, data.size))
        terms.append(families.applied(scope.sets, members, families.flat(data))[:, None])
    if rhs is not None:
        A = csr_array((ones, (rows, columns)), shape=(height, depth))
        lines = as_matrix(rhs, (), free, contract)[0]
        terms.append(families.applied(scope.sets, A, lines).T)
    return [families.union(scope.sets, *terms, shape=(height, width)).reshape(shape)]


@rule("bcoo_dot_general")
def bcoo_dot_general(scope, eqn, operands):
    data, _, rhs = operands
    (contract, contract_rhs), (batch, _) = eqn.params["dimension_numbers"]
    indices, shape = scope.value(eqn.invars[1]), eqn.params["lhs_spinfo"].shape
    if indices is None or batch or indices.ndim != 2 or indices.shape[1] != len(shape):
        return dense(scope, eqn, operands)
    found = bcoo_matrix(indices, shape, contract, len(indices))
    return sparse_product(scope, eqn, *found, data, rhs, contract_rhs)


@rule("bcsr_dot_general")
def bcsr_dot_general(scope, eqn, operands):
    data, _, _, rhs = operands
    (contract, contract_rhs), (batch, _) = eqn.params["dimension_numbers"]
    columns, starts = scope.value(eqn.invars[1]), scope.value(eqn.invars[2])
    shape = eqn.params["lhs_spinfo"].shape
    if columns is None or starts is None or batch or columns.ndim != 1 or len(shape) != 2:
        return dense(scope, eqn, operands)
    rows = np.repeat(np.arange(shape[0]), np.diff(starts))
    indices = np.stack([rows, columns[: len(rows)]], axis=1)
    found = bcoo_matrix(indices, shape, contract, len(indices))
    return sparse_product(scope, eqn, *found, data, rhs, contract_rhs)


@rule("bcoo_todense")
def bcoo_todense(scope, eqn, operands):
    indices, shape = scope.value(eqn.invars[1]), out_shape(eqn)
    if indices is None or indices.ndim != 2 or indices.shape[1] != len(shape):
        return dense(scope, eqn, operands)
    rows, _, number = bcoo_matrix(indices, shape, (), len(indices))
    size = math.prod(shape)
    members = csr_array((np.ones(len(rows), np.int8), (rows, number)), (size, operands[0].size))
    return [families.applied(scope.sets, members, families.flat(operands[0])).reshape(shape)]


@rule("bcoo_dot_general_sampled")
def bcoo_dot_general_sampled(scope, eqn, operands):
    """Elements of a product of dense arrays: each from a row of one and a column of the other."""
    a, b, _ = operands
    (contract_a, contract_b), (batch, _) = eqn.params["dimension_numbers"]
    indices = scope.value(eqn.invars[2])
    shapes = [atom.aval.shape for atom in eqn.invars[:2]]
    free = [
        [axis for axis in range(len(shape)) if axis not in contract]
        for shape, contract in zip(shapes, (contract_a, contract_b), strict=True)
    ]
    size = [shape[axis] for shape, axes in zip(shapes, free, strict=True) for axis in axes]
    if indices is None or batch or indices.ndim != 2 or indices.shape[1] != len(size):
        return dense(scope, eqn, operands)
    inside = (indices < np.array(size)).all(axis=1)
    indices = np.where(inside[:, None], indices, 0)
    columns = np.split(indices, [len(free[0])], axis=1)
    terms = [families.none(len(indices))]
    for ids, contract, places in zip((a, b), (contract_a, contract_b), columns, strict=True):
        if ids is not None:
            terms.append(families.merged(scope.sets, ids, contract)[tuple(places.T)])
    return [families.only(families.union(scope.sets, *terms), inside)]


@rule("bcoo_transpose")
def bcoo_transpose(scope, eqn, operands):
    plain = eqn.invars[1].aval.ndim == 2 and eqn.invars[0].aval.ndim == 1
    return [operands[0], None] if plain else dense(scope, eqn, operands)


@rule("bcoo_extract")
def bcoo_extract(scope, eqn, operands):
    indices, dense_operand = scope.value(eqn.invars[0]), operands[1]
    shape = eqn.invars[1].aval.shape
    if indices is None or indices.ndim != 2 or indices.shape[1] != len(shape):
        return dense(scope, eqn, operands)
    inside = (indices < np.array(shape)).all(axis=1)
    places = np.ravel_multi_index(tuple(np.where(inside[:, None], indices, 0).T), shape)
    return [families.taken(dense_operand, np.where(inside, places, -1))]


# ---- our own ----


def kernel(operation, scope, eqn, operands):
    p = eqn.params
    options = {name: p[name] for name in ("lower", "permute") if name in p}
    return [
        kernels.connect(scope.sets, operation, p["pattern"], operands, out_shape(eqn), **options)
    ]


for _name in NAMES:
    RULES[f"sparsechol_{_name}"] = partial(kernel, _name)


@rule("sparsechol_attach")
def attach(scope, eqn, operands):
    shape = out_shape(eqn)
    return [kernels.connect(scope.sets, "cholesky", eqn.params["pattern"], operands[:1], shape)]
