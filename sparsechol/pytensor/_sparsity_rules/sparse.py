"""Sparsity rules for the Ops on PyTensor's sparse variables."""

import numpy as np
import pytensor.sparse.basic as psb
import pytensor.sparse.math as psm
from scipy.sparse import coo_array, csr_array, issparse

from ..._sparsity import propagate
from .._rule_table import rule
from .._walk import dense, format_of, is_sparse


def named(*names):
    """Find classes of Ops by the names that versions of PyTensor give them."""
    return [getattr(psm, name) for name in names if hasattr(psm, name)]


def with_sets(A, ids):
    """Make a matrix with the same places and other sets."""
    out = A.copy()
    out.data = np.ascontiguousarray(ids, np.int32)
    return out


def coordinates(A):
    """Return rows and columns of the stored entries, in their order."""
    other = np.repeat(np.arange(len(A.indptr) - 1), np.diff(A.indptr))
    return (A.indices, other) if A.format == "csc" else (other, A.indices)


def of_entries(x, entries, shape):
    """Make the matrix of a sparse variable from rows, columns and sets; each place comes once."""
    row, column, ids = entries
    return format_of(x)((ids, (row, column)), shape=shape, dtype=np.int32)


def united(walk, x, matrices):
    """Unite matrices, for a sparse variable."""
    shape = matrices[0].shape
    keys = [rows.astype(np.int64) * shape[1] + columns
            for rows, columns in map(coordinates, matrices)]  # fmt: skip
    places, which = np.unique(np.concatenate(keys), return_inverse=True)
    ids = np.concatenate([A.data for A in matrices])
    ones = np.ones(len(ids), np.int8)
    A = csr_array((ones, (which.reshape(-1), np.arange(len(ids)))), (len(places), len(ids)))
    out = propagate.apply_matrix(walk.sets, A, ids)
    return of_entries(x, (places // shape[1], places % shape[1], out), shape)


def to_dense(A):
    out = propagate.no_inputs(A.shape)
    out[coordinates(A)] = A.data
    return out


def operand(walk, x):
    return walk.matrix(x) if is_sparse(x) else walk.or_none(x)


# ---- from vectors, and to them ----


@rule(psb.CSM)
def csm(walk, op, node, operands):
    indices, indptr, shape = (walk.needed(x) for x in node.inputs[1:])
    x = node.outputs[0]
    arrays = walk.or_none(node.inputs[0]), np.array(indices), np.array(indptr)
    return [format_of(x)(arrays, shape=tuple(map(int, shape)))]


@rule(psb.CSMProperties)
def csm_properties(walk, op, node, operands):
    A = walk.matrix(node.inputs[0])
    parts = A.indices, A.indptr, np.array(A.shape)
    for x, value in zip(node.outputs[1:], parts, strict=True):
        walk.give(x, value.astype(np.int32))
    return [A.data, None, None, None]


@rule(psb.CSMGrad)
def csm_grad(walk, op, node, operands):
    """Return the values of a matrix at the places of another."""
    x_indices, x_indptr, shape = (walk.needed(x) for x in node.inputs[1:4])
    g_indices, g_indptr, _ = (walk.needed(x) for x in node.inputs[5:])
    other = int(max(shape)) + 1
    here, there = (
        np.repeat(np.arange(len(p) - 1), np.diff(p)).astype(np.int64) * other + k
        for k, p in ((x_indices, x_indptr), (g_indices, g_indptr))
    )
    A = places_in(here, there)
    return [propagate.apply_matrix(walk.sets, A, walk.or_none(node.inputs[4]))]


def places_in(here, there):
    """Make the matrix with a row for each key here, and ones in the columns of equal keys there."""
    _, number = np.unique(np.concatenate([here, there]), return_inverse=True)
    number = number.reshape(-1)
    count = int(number.max(initial=-1)) + 1

    def rows(part):
        return csr_array((np.ones(len(part), np.int8), (np.arange(len(part)), part)),
                         (len(part), count))  # fmt: skip

    return csr_array(rows(number[: len(here)]) @ rows(number[len(here) :]).T)


@rule(psb.DenseFromSparse)
def dense_from_sparse(walk, op, node, operands):
    return [to_dense(walk.matrix(node.inputs[0]))]


@rule(psb.SparseFromDense)
def sparse_from_dense(walk, op, node, operands):
    """Store every element: any may be there."""
    x = node.outputs[0]
    ids = walk.or_none(node.inputs[0])
    row, column = np.indices(ids.shape).reshape(2, -1)
    return [of_entries(x, (row, column, ids.reshape(-1)), ids.shape)]


# ---- moving entries ----


@rule(
    *(psb.Transpose, psb.EnsureSortedIndices, psb.GetItemList, psb.GetItem2Lists, psb.GetItem2d),
    *(psb.GetItemScalar, psb.Diag, psb.HStack, psb.VStack, psb.Remove0, psb.Cast),
)
def moved(walk, op, node, operands):
    """Run the Op on the numbers of the sets, in the place of values."""
    inputs = [walk.matrix(x) if is_sparse(x) else walk.needed(x) for x in node.inputs]
    if isinstance(op, psb.Remove0 | psb.Cast):
        return inputs
    if isinstance(op, psb.HStack | psb.VStack):
        op = type(op)(op.format, "int32")
    storage = [[None]]
    op.perform(node, inputs, storage)
    out = storage[0][0]
    if issparse(out):
        return [with_sets(out, out.data)]
    return [np.asarray(out, np.int32)]


@rule(psb.ColScaleCSC, psb.RowScaleCSC)
def scaled(walk, op, node, operands):
    A = walk.matrix(node.inputs[0])
    place = coordinates(A)[isinstance(op, psb.ColScaleCSC)]
    scale = walk.or_none(node.inputs[1])
    return [with_sets(A, propagate.union(walk.sets, A.data, scale[place]))]


@rule(psm.SpSum)
def sparse_sum(walk, op, node, operands):
    A = walk.matrix(node.inputs[0])
    if op.axis is None:
        return [propagate.union_all(walk.sets, [A.data], ())]
    place, length = coordinates(A)[1 - op.axis], A.shape[1 - op.axis]
    ones = np.ones(A.nnz, np.int8)
    return [propagate.apply_matrix(walk.sets, csr_array((ones, (place, np.arange(A.nnz))),
                                                  (length, A.nnz)), A.data)]  # fmt: skip


# ---- sums and products, entry by entry ----


@rule(*named("AddSS", "AddSparseSparse"))
def add_sparse(walk, op, node, operands):
    return [united(walk, node.outputs[0], [walk.matrix(x) for x in node.inputs])]


@rule(*named("AddSSData", "AddSparseSparseData"))
def add_data(walk, op, node, operands):
    A, B = (walk.matrix(x) for x in node.inputs)
    return [with_sets(A, propagate.union(walk.sets, A.data, B.data))]


@rule(*named("AddSD", "AddSparseDense"))
def add_dense(walk, op, node, operands):
    A, y = walk.matrix(node.inputs[0]), walk.or_none(node.inputs[1])
    return [propagate.union(walk.sets, to_dense(A), y)]


@rule(
    *named("SparseDenseMultiply", "MultiplySparseDense"),
    *named("SparseDenseVectorMultiply", "MultiplySparseDenseVector"),
    *named("StructuredAddSV", "StructuredAddSparseDenseVector"),
)
def at_entries(walk, op, node, operands):
    """Unite what is stored with a dense array that broadcasts."""
    A, y = walk.matrix(node.inputs[0]), walk.or_none(node.inputs[1])
    y = np.broadcast_to(y, A.shape)[coordinates(A)]
    return [with_sets(A, propagate.union(walk.sets, A.data, y))]


@rule(*named("SparseSparseMultiply", "MultiplySparseSparse"))
def multiply_sparse(walk, op, node, operands):
    """Keep the places where both matrices have entries."""
    A, B = (walk.matrix(x) for x in node.inputs)
    here, there = (
        rows.astype(np.int64) * A.shape[1] + columns for rows, columns in map(coordinates, (A, B))
    )
    both, of_a, of_b = np.intersect1d(here, there, return_indices=True)
    ids = propagate.union(walk.sets, A.data[of_a], B.data[of_b])
    return [of_entries(node.outputs[0], (both // A.shape[1], both % A.shape[1], ids), A.shape)]


# ---- products of matrices ----


@rule(psm.StructuredDot, psm.Dot, psm.TrueDot)
def sparse_dot(walk, op, node, operands):
    a, b = node.inputs
    if is_sparse(a) and is_sparse(b):
        return [sparse_times_sparse(walk, node.outputs[0], walk.matrix(a), walk.matrix(b))]
    if is_sparse(a):
        out = sparse_times_dense(walk, walk.matrix(a), b)
    else:
        out = sparse_times_dense(walk, transposed(walk.matrix(b)), a, turned=True).T
    shape = walk.shape(node.outputs[0])
    return [out.reshape(shape)]


def transposed(A):
    """Convert to the format that a transpose has, entries in their order."""
    return A.transpose()


def sparse_times_dense(walk, A, b, turned=False):
    """Multiply A by b, or by the transpose of b."""
    ids = walk.or_none(b)
    ids = ids[:, None] if ids.ndim == 1 else (ids.T if turned else ids)
    pattern = with_ones(A)
    terms = [propagate.apply_matrix(walk.sets, pattern, ids.T).T] if ids.any() else []
    if A.data.any():
        row, _ = coordinates(A)
        gathered = csr_array((np.ones(A.nnz, np.int8), (row, np.arange(A.nnz))),
                             (A.shape[0], A.nnz))  # fmt: skip
        terms.append(propagate.apply_matrix(walk.sets, gathered, A.data)[:, None])
    return propagate.union(walk.sets, *terms, shape=(A.shape[0], ids.shape[1]))


def with_ones(A):
    return csr_array((np.ones(A.nnz, np.int8), coordinates(A)), A.shape)


def sparse_times_sparse(walk, x, A, B):
    """Store an entry wherever a chain of two entries leads."""
    P, Q = with_ones(A).astype(np.int32), with_ones(B).astype(np.int32)
    C = coo_array(P @ Q)
    C.sum_duplicates()
    number = csr_array((np.arange(1, C.nnz + 1), (C.row, C.col)), C.shape)
    (i, k), (h, j) = coordinates(A), coordinates(B)
    by_row = csr_array((np.arange(1, B.nnz + 1), (h, j)), B.shape)
    counts = np.diff(by_row.indptr)[k]
    left = np.repeat(np.arange(A.nnz), counts)
    offset = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = by_row.data[by_row.indptr[k[left]] + offset] - 1
    target = np.asarray(number[i[left], j[right]]).reshape(-1) - 1
    ids = propagate.union(walk.sets, A.data[left], B.data[right])
    gathered = csr_array((np.ones(len(ids), np.int8), (target, np.arange(len(ids)))),
                         (C.nnz, len(ids)))  # fmt: skip
    out = propagate.apply_matrix(walk.sets, gathered, ids)
    return of_entries(x, (C.row, C.col, out), C.shape)


@rule(psm.StructuredDotGradCSC, psm.StructuredDotGradCSR)
def structured_dot_grad(walk, op, node, operands):
    """Unite, for each entry of A, a row of one matrix with a row of another."""
    indices, indptr = (walk.needed(x) for x in node.inputs[:2])
    other = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    row, column = (indices, other) if isinstance(op, psm.StructuredDotGradCSC) else (other, indices)
    b, g = (propagate.union_along(walk.sets, walk.or_none(x), (1,)) for x in node.inputs[2:])
    return [propagate.union(walk.sets, b[column], g[row])]


@rule(psm.SamplingDot)
def sampling_dot(walk, op, node, operands):
    x, y = (propagate.union_along(walk.sets, walk.or_none(v), (1,)) for v in node.inputs[:2])
    P = walk.matrix(node.inputs[2])
    row, column = coordinates(P)
    return [with_sets(P, propagate.union(walk.sets, P.data, x[row], y[column]))]


@rule(
    *(psb.GetItemListGrad, psb.GetItem2ListsGrad, psb.ConstructSparseFromList, psm.Usmm),
)
def all_of_it(walk, op, node, operands):
    return dense(walk, op, node, operands)
