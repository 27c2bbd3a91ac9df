"""Sparsity rules for the Ops on dense tensors, one for each family."""

import math
from functools import cache, reduce

import numpy as np
import pytensor.tensor.basic as tb
import pytensor.tensor.blas as blas
import pytensor.tensor.extra_ops as extra
import pytensor.tensor.linalg as linalg
import pytensor.tensor.signal.conv as conv
import pytensor.tensor.subtensor as sub
from pytensor import scalar as aes
from pytensor.compile.ops import DeepCopyOp, TypeCastingOp, ViewOp
from pytensor.gradient import (
    DisconnectedGrad,
    DisconnectedType,
    GradClip,
    GradScale,
    UndefinedGrad,
    ZeroGrad,
)
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import toposort
from pytensor.printing import Print
from pytensor.raise_op import Assert, CheckAndRaise
from pytensor.scalar.basic import ScalarInnerGraphOp
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.fft import IRFFTOp, RFFTOp
from pytensor.tensor.math import All, Any, Argmax, Dot, Max, Min, Prod, ProdWithoutZeros, Sum
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.sort import ArgSortOp, SortOp
from scipy.sparse import csr_array, diags_array, kron

from ..._sparsity import propagate
from .._rule_table import rule
from .._walk import CHOICES, NotKnownError, assumed_dense, described, factors, number_of_sets

# ---- nothing, and the same ----


@rule(
    *(ZeroGrad, DisconnectedGrad, UndefinedGrad, Shape, Shape_i),
    *(tb.ARange, tb.Eye, tb.AllocEmpty, tb.Nonzero, Argmax, ArgSortOp, All, Any),
    *(extra.SearchsortedOp, extra.UnravelIndex, extra.RavelMultiIndex, extra.Bartlett),
)
def no_derivative(walk, op, node, operands):
    return [None] * len(node.outputs)


@rule(
    *(ViewOp, TypeCastingOp, DeepCopyOp, GradClip, GradScale, Print, CheckAndRaise, Assert),
    *(SpecifyShape, tb.TensorFromScalar, tb.ScalarFromTensor, extra.CpuContiguous),
)
def identity(walk, op, node, operands):
    return [operands[0]]


rule(RandomVariable)(assumed_dense)


# ---- moving data ----


def moved(walk, op, node, operands, which):
    """Run the Op on the numbers of the sets, in the place of values."""
    inputs = [walk.or_none(x) if q in which else walk.needed(x) for q, x in enumerate(node.inputs)]
    storage = [[None] for _ in node.outputs]
    op.perform(node, inputs, storage)
    return [np.asarray(out, np.int32) for [out] in storage]


@rule(
    *(DimShuffle, tb.ExtractDiag, tb.Split, JoinDims, SplitDims, extra.Repeat),
    tb.PermuteRowElements,
)
def first_moved(walk, op, node, operands):
    return moved(walk, op, node, operands, (0,))


@rule(Reshape)
def reshape(walk, op, node, operands):
    shape = walk.value(node.inputs[1])
    if shape is None:
        shape = walk.shape(node.outputs[0])
    return [operands[0].reshape(shape)]


@rule(tb.Alloc)
def alloc(walk, op, node, operands):
    return [np.broadcast_to(operands[0], walk.shape(node.outputs[0]))]


@rule(tb.Join)
def join(walk, op, node, operands):
    if hasattr(op, "axis"):  # from PyTensor 3.1 on
        axis, parts = op.axis, node.inputs
    else:
        axis, parts = int(walk.needed(node.inputs[0])), node.inputs[1:]
    return [np.concatenate([walk.or_none(x) for x in parts], axis)]


@rule(tb.MakeVector)
def make_vector(walk, op, node, operands):
    return [np.array([walk.or_none(x) for x in node.inputs], np.int32)]


@rule(extra.FillDiagonal)
def fill_diagonal(walk, op, node, operands):
    ids = walk.or_none(node.inputs[0]).copy()
    np.fill_diagonal(ids, walk.or_none(node.inputs[1]))
    return [ids]


@rule(extra.FillDiagonalOffset)
def fill_diagonal_offset(walk, op, node, operands):
    ids = walk.or_none(node.inputs[0]).copy()
    offset = int(walk.needed(node.inputs[2]))
    i, j = np.indices(ids.shape)
    ids[j - i == offset] = walk.or_none(node.inputs[1])
    return [ids]


# ---- element by element ----


@rule(Elemwise)
def elemwise(walk, op, node, operands):
    shape = np.broadcast_shapes(*map(walk.shape, node.inputs))
    return scalars(walk, op.scalar_op, node.inputs, operands, shape)


def scalars(walk, op, inputs, operands, shape):
    """Apply a scalar Op to arrays of sets."""
    if isinstance(op, ScalarInnerGraphOp):
        return inner_scalars(walk, op, operands, shape)
    if isinstance(op, aes.Switch):
        condition = walk.value(inputs[0])
        if condition is not None:
            chosen = [none_or(ids, shape) for ids in operands[1:]]
            return [np.where(np.broadcast_to(condition, shape), *chosen)]
    moving = nonzero_derivatives(op, tuple(x.type.dtype for x in inputs))
    parts = [ids for ids, moves in zip(operands, moving, strict=True) if moves and ids is not None]
    ids = propagate.union(walk.sets, *parts, shape=shape)
    for factor in factors(op, inputs) if parts else ():
        zeros = walk.zeros(factor)
        if zeros is not None:
            ids = propagate.keep_where(ids, ~zeros)
    return [ids] * op.nout


def none_or(ids, shape):
    return propagate.no_inputs(shape) if ids is None else np.broadcast_to(ids, shape)


def inner_scalars(walk, op, operands, shape):
    """Follow the graph inside of a scalar Op; in a loop every output depends on every input."""
    if not isinstance(op, aes.Composite):
        parts = [ids for ids in operands if ids is not None]
        return [propagate.union(walk.sets, *parts, shape=shape)] * op.nout
    found = dict(zip(op.inputs, operands, strict=True))
    for node in toposort(op.outputs):
        inner = [found.get(x) for x in node.inputs]
        if any(ids is not None for ids in inner):
            out = scalars(walk, node.op, node.inputs, inner, shape)
            found.update(zip(node.outputs, out, strict=True))
    return [found.get(x) for x in op.outputs]


STEPS = (
    *(aes.Floor, aes.Ceil, aes.Sign, aes.Trunc, aes.RoundHalfToEven, aes.RoundHalfAwayFromZero),
    *(aes.IntDiv, aes.LogicalComparison, aes.FixedLogicalComparison),
)


@cache
def nonzero_derivatives(op, dtypes):
    """Say for each operand whether the Op's pullback gives a derivative that may not be zero."""
    if isinstance(op, STEPS):
        return [False] * len(dtypes)
    if isinstance(op, aes.Second):
        return [False, True]
    inputs = [aes.get_scalar_type(dtype)() for dtype in dtypes]
    try:
        outputs = op.make_node(*inputs).outputs
        gradients = op.pullback(inputs, outputs, [x.type() for x in outputs])
    except Exception:  # whatever an Op raises: then all of them may be
        return [True] * len(dtypes)
    return [not is_zero(g) for g in gradients]


def is_zero(x):
    """Say whether a scalar is zero whatever its inputs are."""
    if isinstance(x.type, DisconnectedType):
        return True
    if isinstance(x, Constant):
        return bool(np.all(x.data == 0))
    if x.owner is None:
        return False
    op, inputs = x.owner.op, x.owner.inputs
    if isinstance(op, aes.Second):
        return is_zero(inputs[1])
    if isinstance(op, aes.Cast | aes.Identity | aes.Neg):
        return is_zero(inputs[0])
    return isinstance(op, aes.Mul) and any(map(is_zero, inputs))


# ---- along axes ----


@rule(CAReduce, Sum, Prod, ProdWithoutZeros, Max, Min)
def reduction(walk, op, node, operands):
    [ids] = operands
    axes = range(ids.ndim) if op.axis is None else op.axis
    return [propagate.union_along(walk.sets, ids, tuple(axes))]


@rule(extra.CumOp)
def cumulative(walk, op, node, operands):
    [ids] = operands
    if op.axis is None:
        return [propagate.cumulative_union(walk.sets, ids.reshape(-1), 0)]
    return [propagate.cumulative_union(walk.sets, ids, op.axis)]


@rule(SortOp)
def sort(walk, op, node, operands):
    ids = operands[0]
    # From PyTensor 3.1 on it is no input.
    axis = op.axis if hasattr(op, "axis") else walk.value(node.inputs[1])
    axes = range(ids.ndim) if axis is None else [int(axis)]
    return [propagate.broadcast_union(walk.sets, ids, tuple(axes))]


@rule(RFFTOp, IRFFTOp)
def fourier(walk, op, node, operands):
    """Let the transform of each element of the first axis depend on that element."""
    lines, length = operands[0], walk.needed(node.inputs[1])
    lengths = [int(n) for n in np.atleast_1d(length)]
    merged = propagate.union_along(walk.sets, lines, tuple(range(1, lines.ndim)))
    if isinstance(op, RFFTOp):  # half of them, and their real and imaginary parts
        lengths = [*lengths[:-1], lengths[-1] // 2 + 1, 2]
    return [np.broadcast_to(merged.reshape(-1, *(1,) * len(lengths)), (len(merged), *lengths))]


# ---- products ----


def product(walk, a, b):
    """Return terms, to be united, of ``a @ b`` for matrices and stacks of matrices."""
    of_a, of_b = walk.ids.get(a), walk.ids.get(b)
    zeros_of_a = walk.zeros(a) if of_b is not None else None
    zeros_of_b = walk.zeros(b) if of_a is not None else None
    if of_a is not None and zeros_of_b is not None:
        of_a = stacked_alike(of_a, zeros_of_b)
    if of_b is not None and zeros_of_a is not None:
        of_b = stacked_alike(of_b, zeros_of_a)
    return propagate.product_terms(walk.sets, of_a, of_b, zeros_of_a, zeros_of_b)


def stacked_alike(ids, zeros):
    """Broadcast the leading axes of both."""
    lead = np.broadcast_shapes(ids.shape[:-2], zeros.shape[:-2])
    return np.broadcast_to(ids, lead + ids.shape[-2:])


def dot_core(walk, op, node, operands, batch=0):
    a, b = node.inputs
    shape = walk.shape(node.outputs[0])
    if a.type.ndim - batch == 2 and b.type.ndim - batch == 2:
        return [propagate.union(walk.sets, *product(walk, a, b), shape=shape)]
    return dense_core(walk, op, node, operands, batch)


@rule(Dot, blas.Dot22, blas.BatchedDot)
def dot(walk, op, node, operands):
    return dot_core(walk, op, node, operands, int(isinstance(op, blas.BatchedDot)))


@rule(blas.Dot22Scalar)
def scaled_dot(walk, op, node, operands):
    a, b, _ = node.inputs
    return united(walk, node, [operands[2], *product(walk, a, b)])


@rule(blas.Gemm)
def gemm(walk, op, node, operands):
    _, _, a, b, _ = node.inputs
    return united(walk, node, [operands[0], operands[1], operands[4], *product(walk, a, b)])


@rule(blas.Gemv)
def gemv(walk, op, node, operands):
    y, alpha, A, x, beta = operands
    rows = None if A is None else propagate.union_along(walk.sets, A, (1,))
    of_x = None
    if x is not None:
        zeros = walk.zeros(node.inputs[2])
        shape = walk.shape(node.inputs[2])
        full = np.ones(shape, bool) if zeros is None else ~zeros
        of_x = propagate.apply_matrix(walk.sets, full, x)
    return united(walk, node, [y, alpha, beta, rows, of_x])


@rule(getattr(blas, "Ger", None))
def ger(walk, op, node, operands):
    A, alpha, x, y = operands
    return united(walk, node, [A, alpha, None if x is None else x[:, None], y])


def united(walk, node, terms):
    """Unite terms that broadcast to the result; a term may be None."""
    terms = [ids for ids in terms if ids is not None]
    return [propagate.union(walk.sets, *terms, shape=walk.shape(node.outputs[0]))]


# ---- indices ----


def index_of(walk, op, inputs):
    """Return an index for NumPy, and the variables that are not known, by the axis that they index.

    The places along those axes are zeros, where any would do.
    """
    index, unknown, axis = [], {}, 0
    for entry in op.idx_list:
        if isinstance(entry, slice):
            index.append(known_slice(walk, entry, inputs))
            axis += 1
            continue
        x = inputs[entry]
        value = walk.value(x)
        if value is None:
            if x.type.dtype == "bool":
                raise NotKnownError(x)
            value = np.zeros(walk.shape(x), np.int64)
            unknown[axis] = x
        value = np.asarray(value)
        index.append(value if value.ndim else value[()])
        axis += value.ndim if value.dtype == bool else 1
    return tuple(index), unknown


def known_slice(walk, entry, inputs):
    parts = (entry.start, entry.stop, entry.step)
    values = [None if q is None else walk.needed(inputs[q]) for q in parts]
    return slice(*(None if v is None else int(v) for v in values))


@rule(sub.Subtensor, sub.AdvancedSubtensor, getattr(sub, "AdvancedSubtensor1", None))
def subtensor(walk, op, node, operands):
    ids = operands[0]
    index, unknown = index_of(walk, op, node.inputs[1:])
    if unknown:
        if not ids.size:
            return [None]
        count = number_of_sets([ids])
        ids = propagate.broadcast_union(walk.sets, ids, tuple(unknown))
        doubt_index(walk, node, unknown, count)
    return [np.asarray(ids[index])]


def doubt_index(walk, node, unknown, count):
    """Warn of indices that are not known and may be any of many elements."""
    for x in unknown.values() if count > CHOICES else ():
        what = f"an index into {count} elements is not known, {described(x)}"
        walk.doubt_value(x, node, f"{what}: it may be any")


@rule(sub.IncSubtensor, sub.AdvancedIncSubtensor, getattr(sub, "AdvancedIncSubtensor1", None))
def inc_subtensor(walk, op, node, operands):
    x, y = (walk.or_none(v) for v in node.inputs[:2])
    index, unknown = index_of(walk, op, node.inputs[2:])
    target = np.arange(x.size).reshape(x.shape)[index]
    put = propagate.flatten(np.broadcast_to(y, target.shape))
    target = target.reshape(-1)
    if op.set_instead_of_inc and not unknown:
        x = x.copy()
        x.reshape(-1)[target] = 0
    # What is set to one place twice has derivatives in both, as pullbacks go.
    placed = added(walk.sets, x.size, target, put).reshape(x.shape)
    if unknown:
        moves = placed.any()
        placed = propagate.broadcast_union(walk.sets, placed, tuple(unknown))
        if moves:
            doubt_index(walk, node, unknown, math.prod(x.shape[axis] for axis in unknown))
    return [propagate.union(walk.sets, x, placed)]


def added(sets, length, target, ids):
    """Unite the sets that go to each place of an array."""
    out = propagate.no_inputs(length)
    if not np.bincount(target, minlength=1).max() > 1:
        out[target] = ids
        return out
    ones = np.ones(len(target), np.int8)
    A = csr_array((ones, (target, np.arange(len(target)))), (length, len(target)))
    return propagate.apply_matrix(sets, A, ids)


# ---- linear algebra: cores, and stacks of them ----


def axes_behind(ids, batch):
    return tuple(range(batch, ids.ndim))


def dense_core(walk, op, node, operands, batch=0):
    """Let each result depend on all of the operands at its place in the stack."""
    parts = [ids for ids in operands if ids is not None]
    merged = [propagate.union_along(walk.sets, ids, axes_behind(ids, batch)) for ids in parts]
    together = propagate.union(walk.sets, *merged)
    out = []
    for x in node.outputs:
        shape = walk.shape(x)
        lead = np.reshape(together, together.shape + (1,) * (len(shape) - batch))
        out.append(np.broadcast_to(lead, shape))
    return out


def triangular_core(walk, op, node, operands, batch=0):
    """Let each element of a triangle depend on the whole matrix."""
    [ids] = dense_core(walk, op, node, operands, batch)
    return [np.tril(ids) if op.lower else np.triu(ids)]


def solve_core(walk, op, node, operands, batch=0):
    """Let a column of the solution depend on the matrix and on that column of the right-hand side.

    Of a known matrix only the components that its entries join count.
    """
    of_A, of_b = operands
    A, shape = node.inputs[0], walk.shape(node.outputs[0])
    rows = batch if op.b_ndim == 1 else -2
    terms = []
    if of_A is not None:
        merged = propagate.union_along(walk.sets, of_A, (-1, -2))
        terms.append(merged.reshape(merged.shape + (1,) * op.b_ndim))
    if of_b is not None:
        zeros = walk.zeros(A) if batch == 0 else None
        if zeros is None:
            terms.append(propagate.broadcast_union(walk.sets, of_b, (rows,)))
        else:
            labels = propagate.connected_components(~zeros)
            within = propagate.union_by_label(walk.sets, labels, np.moveaxis(of_b, rows, -1))
            terms.append(np.moveaxis(within, -1, rows))
    return [propagate.union(walk.sets, *terms, shape=shape)]


def substitution_core(walk, op, node, operands, batch=0):
    """Let each row of the solution of a triangular system depend on the rows before it."""
    of_A, of_b = operands
    shape = walk.shape(node.outputs[0])
    rows = batch if op.b_ndim == 1 else len(shape) - 2
    terms = []
    if of_A is not None:
        triangle = np.tril(of_A) if op.lower else np.triu(of_A)
        of_rows = propagate.union_along(walk.sets, triangle, (-1,))
        of_rows = propagate.cumulative_union(walk.sets, of_rows, -1, reverse=not op.lower)
        terms.append(of_rows if op.b_ndim == 1 else of_rows[..., None])
    if of_b is not None:
        zeros = walk.zeros(node.inputs[0]) if batch == 0 else None
        if zeros is None:
            terms.append(propagate.cumulative_union(walk.sets, of_b, rows, reverse=not op.lower))
        else:
            terms.append(substituted(walk.sets, ~zeros, op.lower, of_b, rows))
    return [propagate.union(walk.sets, *terms, shape=shape)]


def substituted(sets, A, lower, ids, axis):
    """Solve with a known triangular matrix."""
    step = 1 if lower else -1
    A = np.tril(A[::step, ::step], -1)
    starts, members = propagate.row_lists(A)
    lines = np.moveaxis(ids, axis, -1)[..., ::step]
    flat = np.ascontiguousarray(lines).reshape(-1, lines.shape[-1])
    out = [sets.substitute(starts, members, line) for line in flat]
    out = np.array(out, np.int32).reshape(lines.shape)
    return np.moveaxis(out[..., ::step], -1, axis)


def convolution_core(walk, op, node, operands, batch=0):
    """Let each element depend on those that the other operand reaches over."""
    full = walk.value(node.inputs[2])
    if batch or full is None:
        raise NotKnownError
    sizes = [walk.shape(x) for x in node.inputs[:2]]
    shape = walk.shape(node.outputs[0])
    matrices = [
        reduce(kron, (reach(*lengths, bool(full)) for lengths in zip(*pair, strict=True)))
        for pair in (sizes, sizes[::-1])
    ]
    return [propagate.compose(walk.sets, matrices, operands[:2], shape)]


def reach(n, k, full):
    """Make the band of the elements that a kernel of length k takes from n elements."""
    out = n + k - 1
    A = diags_array([np.ones(n)] * k, offsets=-np.arange(k), shape=(out, n)).tocsr()
    trim = 0 if full else min(n, k) - 1
    return A[trim : out - trim]


CORES = {Dot: dot_core}  # rules that take the number of leading axes that are a stack


def core(function, *classes):
    CORES.update((cls, function) for cls in classes)
    rule(*classes)(function)


def classes_in(module, *names):
    """Return the classes that this PyTensor has."""
    return [getattr(module, name) for name in names if hasattr(module, name)]


core(triangular_core, linalg.Cholesky)
core(solve_core, linalg.Solve, linalg.CholeskySolve)
core(substitution_core, linalg.SolveTriangular)
core(convolution_core, *classes_in(conv, "Convolve1d", "Convolve2d"))
core(
    dense_core,
    *classes_in(
        linalg,
        *("MatrixInverse", "MatrixPinv", "Det", "SLogDet", "SVD", "QR", "LU", "LUFactor", "Eig"),
        *("Eigh", "Eigvalsh", "Schur", "QZ", "Expm", "Lstsq", "TRSYL", "LUFactorTridiagonal"),
        *("SolveLUFactorTridiagonal", "TensorInv", "TensorSolve", "PivotToPermutations"),
    ),
)
