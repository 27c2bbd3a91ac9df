"""What families of operations make of the sets of inputs that their operands depend on.

An operand is an array of sets (see `sets`), of the shape of its values. Each function here is one
family, whatever a framework calls its members: data is moved by moving the numbers of the sets.
"""

import math
from functools import reduce

import numpy as np
from scipy.sparse import coo_array, csc_array, csgraph, csr_array, issparse

from .sets import Sets


def none(shape):
    """Values that depend on nothing."""
    return np.zeros(shape, np.int32)


def flat(ids):
    return np.ascontiguousarray(ids, np.int32).reshape(-1)


def union(sets: Sets, *operands, shape=None):
    """Element by element, with broadcasting."""
    shape = np.broadcast_shapes(*(ids.shape for ids in operands)) if shape is None else shape
    operands = [ids for ids in operands if ids.any()]
    if not operands:
        return none(shape)
    operands = [x if x.shape == shape else np.broadcast_to(x, shape) for x in operands]
    return reduce(lambda a, b: sets.union(flat(a), flat(b)).reshape(shape), operands)


def only(ids, mask):
    """Where a mask that broadcasts is true, and nothing elsewhere."""
    return np.where(mask, ids, np.int32(0))


def everything(sets: Sets, operands, shape):
    """All elements of all operands, for every element of the result."""
    ids = [flat(x) for x in operands]
    together = np.unique(np.concatenate(ids)) if ids else none(0)
    return np.full(shape, sets.reduce(together[None])[0])


def taken(ids, places):
    """The elements at places in the flat array, nothing where they are negative."""
    places = np.asarray(places)
    if not ids.size:
        return none(places.shape)
    found = flat(ids)[np.maximum(places, 0)]
    return np.where(places < 0, np.int32(0), found)


def merged(sets: Sets, ids, axes, keepdims=False):
    """The union along axes."""
    axes = tuple(axis % ids.ndim for axis in axes)
    kept = tuple(axis for axis in range(ids.ndim) if axis not in axes)
    shape = [ids.shape[axis] for axis in kept]
    lines = ids.transpose(kept + axes).reshape(math.prod(shape), -1 if ids.size else 0)
    out = sets.reduce(np.ascontiguousarray(lines, np.int32))
    if keepdims:
        shape = [1 if axis in axes else size for axis, size in enumerate(ids.shape)]
    return out.reshape(shape)


def running(sets: Sets, ids, axis, reverse=False):
    """The union of all before each element along an axis, and of itself."""
    lines = np.moveaxis(ids, axis, -1)
    if not lines.size:
        return ids
    if reverse:
        lines = lines[..., ::-1]
    out = sets.running(np.ascontiguousarray(lines.reshape(-1, lines.shape[-1]), np.int32))
    out = out.reshape(lines.shape)
    return np.moveaxis(out[..., ::-1] if reverse else out, -1, axis)


def along(sets: Sets, ids, axes):
    """The union along axes, for each element along them."""
    return np.broadcast_to(merged(sets, ids, axes, keepdims=True), ids.shape)


def rows_of(matrix):
    """Starts and members of the rows of a sparse or dense matrix: where it is not zero."""
    A = csr_array(matrix, copy=True) if issparse(matrix) else csr_array(np.asarray(matrix) != 0)
    A.sum_duplicates()
    A.eliminate_zeros()
    return A.indptr.astype(np.int64), A.indices.astype(np.int32)


def applied(sets: Sets, matrix, ids):
    """``matrix @ x`` for each line x of the last axis; where the matrix is not zero counts."""
    m, k = matrix.shape
    starts, members = rows_of(matrix)
    lines = np.ascontiguousarray(ids, np.int32).reshape(math.prod(ids.shape[:-1]), k)
    return sets.apply(starts, members, lines).reshape(*ids.shape[:-1], m)


def connected(sets: Sets, matrices, operands, shape):
    """By one matrix for each operand: (elements of the result, elements of the operand).

    None is for an operand that the result does not depend on, True for one that all of it depends
    on, as it is for an operand of which nothing is known.
    """
    terms = [none(shape)]
    for matrix, ids in zip(matrices, operands, strict=True):
        if matrix is None or ids is None:
            continue
        if matrix is True:
            terms.append(everything(sets, [ids], shape))
            continue
        if matrix.shape != (math.prod(shape), ids.size):
            raise ValueError(
                f"a sparsity rule returned a matrix of shape {matrix.shape} for {ids.size} elements"
                f" of an operand and {math.prod(shape)} of the result"
            )
        terms.append(applied(sets, matrix, flat(ids)).reshape(shape))
    return union(sets, *terms)


def multiplied(sets: Sets, a, b, zeros_of_a=None, zeros_of_b=None):
    """Terms of a product of matrices, ``a @ b``, that broadcast to its shape; to be united.

    Parameters
    ----------
    a : (..., m, k) array of sets or None
    b : (..., k, n) array of sets or None
        None depends on nothing.
    zeros_of_a, zeros_of_b : boolean arrays of the same shapes, optional
        Where the values of a factor are known to be zero.
    """
    terms = []
    if a is not None:
        terms.append(_times(sets, a, zeros_of_b))
    if b is not None:
        turned = None if zeros_of_a is None else np.swapaxes(zeros_of_a, -1, -2)
        terms.append(np.swapaxes(_times(sets, np.swapaxes(b, -1, -2), turned), -1, -2))
    return terms


def _times(sets, a, zeros):
    """(..., m, n) from the (..., m, k) sets of a and the (..., k, n) zeros of a known factor."""
    if zeros is None or not zeros.any():
        return merged(sets, a, (-1,), keepdims=True)
    lead = a.shape[:-2]
    zeros = np.broadcast_to(zeros, (*lead, *zeros.shape[-2:]))
    out = np.empty((*lead, a.shape[-2], zeros.shape[-1]), np.int32)
    for place in np.ndindex(*lead):
        out[place] = applied(sets, ~zeros[place].T, a[place])
    return out


def components(matrix):
    """The components that the entries of a square matrix join its rows and columns to."""
    return csgraph.connected_components(csr_array(matrix), directed=False)[1]


def within(sets: Sets, labels, ids):
    """The union of all elements with the same label, along the last axis."""
    n = len(labels)
    count = int(labels.max(initial=-1)) + 1
    members = csr_array((np.ones(n, np.int8), (labels, np.arange(n))), (count, n))
    return applied(sets, members, ids)[..., labels]


def closure(sets: Sets, matrix, ids):
    """What is reached by applying a square matrix any number of times."""
    A = csr_array(matrix)
    count, labels = csgraph.connected_components(A, directed=True, connection="strong")
    n = len(labels)
    first = within(sets, labels, ids)
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
    starts, members = rows_of(D)
    out = sets.substitute(starts, members, flat(first[representative[order]]))
    return out[rank][labels]


def settled(sets: Sets, matrix, carried, fixed, steps):
    """The same as ``Sets.repeat`` for a loop of any length: steps may come in any order."""
    c, f = len(carried), len(fixed)
    entering = np.concatenate([carried, fixed, merged(sets, steps, (0,))])
    start = union(sets, carried, applied(sets, matrix[:c], entering))
    last = closure(sets, matrix[:c, :c], start)
    before = applied(sets, matrix[c:, : c + f], np.concatenate([last, fixed]))
    here = applied(sets, matrix[c:, c + f :], steps)
    return last, union(sets, before[None], here)


def _sources_first(D):
    """An order of the rows of an acyclic matrix in which each comes after its columns."""
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


def pattern(sets: Sets, ids):
    """The sets written out: (elements, inputs) csr_array of int8, not sorted."""
    starts, members = sets.rows(flat(ids))
    ones = np.ones(len(members), np.int8)
    return csr_array((ones, members, starts.astype(np.int32)), shape=(ids.size, sets.n))
