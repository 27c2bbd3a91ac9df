"""Sparsity rules of convolutions and pooling."""

import math

import numpy as np
from scipy.sparse import csr_array

from ..._sparsity import propagate
from .._rule_table import dense, out_shape, rule


def window_places(size, window, stride, low, base, dilation, count):
    """Return the (count, window) positions that windows cover along an axis, -1 outside."""
    places = np.arange(count)[:, None] * stride + np.arange(window) * dilation - low
    inside = (places >= 0) & (places % base == 0) & (places // base < size)
    return np.where(inside, places // base, -1)


def windows(ids, places):
    """Take the elements of the last axes that windows cover: (..., *counts, *windows)."""
    k = len(places)
    lead = ids.shape[: ids.ndim - k]
    for axis, covered in enumerate(places):
        along = len(lead) + axis
        taken = np.take(ids, np.maximum(covered, 0).reshape(-1), along)
        taken = taken.reshape(*ids.shape[:along], *covered.shape, *ids.shape[along + 1 :])
        mask = (covered >= 0).reshape(*covered.shape, *[1] * (ids.ndim - along - 1))
        # The window's own axis goes to the end, so that the next axis stands where this one did.
        ids = np.moveaxis(propagate.keep_where(taken, mask), along + 1, -1)
    return ids


def places_of(shape, out, window, strides, padding, base, dilation):
    """Return the `window_places` of each axis."""
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
    batches = p["batch_group_count"]
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
        each = propagate.union_along(scope.sets, covered, (2, *last))
        if batches > 1:  # the features of a group see its part of the batch
            each = each.reshape(batches, -1, *each.shape[2:]).swapaxes(0, 1)
        terms.append(np.repeat(each, features // each.shape[1], axis=1))
    if kernel is not None:
        inside = np.ones(1, bool)
        for covered in places:
            inside = np.multiply.outer(inside, covered >= 0)
        order = [1 + 2 * q for q in range(k)] + [2 + 2 * q for q in range(k)]
        inside = inside[0].transpose([axis - 1 for axis in order])
        weights = kernel.transpose(spec.rhs_spec)
        weights = weights.reshape(*weights.shape[:2], *[1] * k, *weights.shape[2:])
        used = propagate.keep_where(weights, inside)
        terms.append(propagate.union_along(scope.sets, used, (1, *last))[None])
    out = propagate.union(scope.sets, *terms, shape=tuple(shape))
    return [out.transpose(np.argsort(spec.out_spec))]


def reduced_windows(scope, ids, p, shape):
    """Take the elements that the windows of a reduction cover."""
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
    return [propagate.union_along(scope.sets, covered, range(-operands[0].ndim, 0))]


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
    return [propagate.apply_matrix(scope.sets, members, propagate.flatten(source)).reshape(shape)]
