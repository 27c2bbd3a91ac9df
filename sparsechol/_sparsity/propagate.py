"""Pass the sets of inputs that operands depend on through operations.

An operand is an array of sets (see `sets`), of the shape of its values. Each function here serves a
family of operations, whatever a framework calls them. The rules of the frameworks are made of them.
"""

import math
from functools import reduce
from typing import Any, cast

import numpy as np
from scipy.sparse import coo_array, csc_array, csgraph, csr_array, issparse

from .sets import Sets


def no_inputs(shape):
    """Return the sets of values that depend on nothing."""
    return np.zeros(shape, np.int32)


def flatten(ids):
    """Return sets as a contiguous vector."""
    return np.ascontiguousarray(ids, np.int32).reshape(-1)


def union(sets: Sets, *operands, shape=None):
    """Return the union element by element, with broadcasting."""
    shape = np.broadcast_shapes(*(ids.shape for ids in operands)) if shape is None else shape
    operands = [ids for ids in operands if ids.any()]
    if not operands:
        return no_inputs(shape)
    operands = [x if x.shape == shape else np.broadcast_to(x, shape) for x in operands]
    return reduce(lambda a, b: sets.union(flatten(a), flatten(b)).reshape(shape), operands)


def keep_where(ids, mask):
    """Keep the sets where a mask, which is broadcast, is true; nothing elsewhere."""
    return np.where(mask, ids, np.int32(0))


def union_all(sets: Sets, operands, shape):
    """Let every element of the result depend on all elements of all operands."""
    ids = [flatten(x) for x in operands]
    together = np.unique(np.concatenate(ids)) if ids else no_inputs(0)
    return np.full(shape, sets.reduce(together[None])[0])


def take(ids, places):
    """Take the elements at places in the flat array, nothing where a place is negative."""
    places = np.asarray(places)
    if not ids.size:
        return no_inputs(places.shape)
    found = flatten(ids)[np.maximum(places, 0)]
    return np.where(places < 0, np.int32(0), found)


def union_along(sets: Sets, ids, axes, keepdims=False):
    """Return the union along axes."""
    axes = tuple(axis % ids.ndim for axis in axes)
    kept = tuple(axis for axis in range(ids.ndim) if axis not in axes)
    shape = [ids.shape[axis] for axis in kept]
    lines = ids.transpose(kept + axes).reshape(math.prod(shape), -1 if ids.size else 0)
    out = sets.reduce(np.ascontiguousarray(lines, np.int32))
    if keepdims:
        shape = [1 if axis in axes else size for axis, size in enumerate(ids.shape)]
    return out.reshape(shape)


def cumulative_union(sets: Sets, ids, axis, reverse=False):
    """Return for each element the union along an axis up to it, itself included."""
    lines = np.moveaxis(ids, axis, -1)
    if not lines.size:
        return ids
    if reverse:
        lines = lines[..., ::-1]
    out = sets.cumulative_union(np.ascontiguousarray(lines.reshape(-1, lines.shape[-1]), np.int32))
    out = out.reshape(lines.shape)
    return np.moveaxis(out[..., ::-1] if reverse else out, -1, axis)


def broadcast_union(sets: Sets, ids, axes):
    """Return the union along axes, for each element along them."""
    return np.broadcast_to(union_along(sets, ids, axes, keepdims=True), ids.shape)


def row_lists(matrix):
    """Return starts and members of the lists of nonzeros in the rows of a matrix."""
    given = cast("Any", matrix)
    A = csr_array(given, copy=True) if issparse(matrix) else csr_array(np.asarray(given) != 0)
    A.sum_duplicates()
    A.eliminate_zeros()
    return A.indptr.astype(np.int64), A.indices.astype(np.int32)


def apply_matrix(sets: Sets, matrix, ids):
    """Return the sets of ``matrix @ x`` for each line x of the last axis."""
    m, k = matrix.shape
    starts, members = row_lists(matrix)
    lines = np.ascontiguousarray(ids, np.int32).reshape(math.prod(ids.shape[:-1]), k)
    return sets.apply(starts, members, lines).reshape(*ids.shape[:-1], m)


def compose(sets: Sets, matrices, operands, shape):
    """Return the sets of a result that depends on each operand by a matrix.

    Parameters
    ----------
    matrices : list
        For each operand its (elements of the result, elements of the operand) matrix; None if the
        result does not depend on the operand, True if every element depends on all of it.
    operands : list of arrays of sets
    shape : tuple of int
        Shape of the result.
    """
    terms = [no_inputs(shape)]
    for matrix, ids in zip(matrices, operands, strict=True):
        if matrix is None or ids is None:
            continue
        if matrix is True:
            terms.append(union_all(sets, [ids], shape))
            continue
        if matrix.shape != (math.prod(shape), ids.size):
            raise ValueError(
                f"a sparsity rule returned a matrix of shape {matrix.shape} for {ids.size} elements"
                f" of an operand and {math.prod(shape)} of the result"
            )
        terms.append(apply_matrix(sets, matrix, flatten(ids)).reshape(shape))
    return union(sets, *terms)


def product_terms(sets: Sets, a, b, zeros_of_a=None, zeros_of_b=None):
    """Return terms of a product of matrices, ``a @ b``, whose union has the sets of the product.

    Parameters
    ----------
    a : (..., m, k) array of sets or None
    b : (..., k, n) array of sets or None
        None stands for values that depend on nothing.
    zeros_of_a, zeros_of_b : boolean arrays of the same shapes, optional
        True where the value of a factor is known to be zero.
    """
    terms = []
    if a is not None:
        terms.append(_times(sets, a, zeros_of_b))
    if b is not None:
        turned = None if zeros_of_a is None else np.swapaxes(zeros_of_a, -1, -2)
        terms.append(np.swapaxes(_times(sets, np.swapaxes(b, -1, -2), turned), -1, -2))
    return terms


def _times(sets, a, zeros):
    """Multiply the (..., m, k) sets of a by a known factor with (..., k, n) zeros."""
    if zeros is None or not zeros.any():
        return union_along(sets, a, (-1,), keepdims=True)
    lead = a.shape[:-2]
    zeros = np.broadcast_to(zeros, (*lead, *zeros.shape[-2:]))
    out = np.empty((*lead, a.shape[-2], zeros.shape[-1]), np.int32)
    for place in np.ndindex(*lead):
        out[place] = apply_matrix(sets, ~zeros[place].T, a[place])
    return out


def connected_components(matrix):
    """Return the connected component of each row of a square matrix."""
    return csgraph.connected_components(csr_array(matrix), directed=False)[1]


def union_by_label(sets: Sets, labels, ids):
    """Return the union of all elements with the same label, along the last axis."""
    n = len(labels)
    count = int(labels.max(initial=-1)) + 1
    members = csr_array((np.ones(n, np.int8), (labels, np.arange(n))), (count, n))
    return apply_matrix(sets, members, ids)[..., labels]


def closure(sets: Sets, matrix, ids):
    """Return the sets after a square matrix has been applied any number of times."""
    A = csr_array(matrix)
    count, labels = csgraph.connected_components(A, directed=True, connection="strong")
    n = len(labels)
    first = union_by_label(sets, labels, ids)
    if not count:
        return first
    representative = np.zeros(count, np.int64)
    representative[labels] = np.arange(n)
    edges = coo_array(A)
    between = labels[edges.row] != labels[edges.col]
    ones = np.ones(int(between.sum()), np.int8)
    D = csr_array((ones, (labels[edges.row[between]], labels[edges.col[between]])), (count, count))
    order = _sources_first(D)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    D = csr_array(D[order][:, order])
    starts, members = row_lists(D)
    out = sets.substitute(starts, members, flatten(first[representative[order]]))
    return out[rank][labels]


def repeat_to_closure(sets: Sets, matrix, carried, fixed, steps):
    """Return what ``Sets.repeat`` returns, for a loop of any length and steps in any order."""
    c, f = len(carried), len(fixed)
    entering = np.concatenate([carried, fixed, union_along(sets, steps, (0,))])
    start = union(sets, carried, apply_matrix(sets, matrix[:c], entering))
    last = closure(sets, matrix[:c, :c], start)
    before = apply_matrix(sets, matrix[c:, : c + f], np.concatenate([last, fixed]))
    here = apply_matrix(sets, matrix[c:, c + f :], steps)
    return last, union(sets, before[None], here)


def _sources_first(D):
    """Order the rows of an acyclic matrix so that each comes after its columns."""
    left = np.diff(D.indptr).astype(np.int64)
    users = csc_array(D)
    order, ready = [], list(np.flatnonzero(left == 0))
    while ready:
        k = ready.pop()
        order.append(k)
        for r in users.indices[users.indptr[k] : users.indptr[k + 1]]:
            left[r] -= 1
            if not left[r]:
                ready.append(r)
    return np.array(order, np.int64)


def to_matrix(sets: Sets, ids):
    """Return the members of the sets as an (elements, inputs) csr_array of int8, not sorted."""
    starts, members = sets.rows(flatten(ids))
    ones = np.ones(len(members), np.int8)
    return csr_array((ones, members, starts.astype(np.int32)), shape=(ids.size, sets.n))
