"""Rows to multiply with, and quadratic forms of them: the rows of a known pattern, or any."""

from typing import Any, NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from scipy.sparse import csr_array

from .._scipy import quadratic
from . import _ops as ops
from ._shapes import ends_in, leading


class Rows(NamedTuple):
    """A matrix with a pattern that is known, and symbolic numbers.

    Attributes
    ----------
    pattern : (m, n) csr_array
        Sorted; its numbers do not count.
    values : (pattern.nnz,) tensor variable
    """

    pattern: csr_array
    values: pt.TensorVariable

    def dense(self, rows: np.ndarray) -> pt.TensorVariable:
        """Return some of the rows as the columns of a matrix."""
        part = self._numbered()[rows]
        column = np.repeat(np.arange(rows.size), np.diff(part.indptr))
        out = pt.zeros((part.shape[1], rows.size), self.values.type.dtype)
        return pt.set_subtensor(out[part.indices, column], self.values[part.data])

    def product(self, V: Any, labels: np.ndarray | None = None) -> pt.TensorVariable:
        """Return ``B V``; with labels, a row for each pair of a row and a label of its columns."""
        B = self._numbered()
        if labels is not None:
            B, _ = quadratic.split_by(B, labels)
        row = np.repeat(np.arange(B.shape[0]), np.diff(B.indptr))
        terms = self.values[B.data][:, None] * pt.as_tensor_variable(V)[..., B.indices, :]
        return sums(terms.mT, row, B.shape[0]).mT

    def _numbered(self) -> csr_array:
        """Return the pattern with the numbers of its elements."""
        B = self.pattern
        return csr_array((np.arange(B.nnz), B.indices, B.indptr), shape=B.shape)


def sums(terms: pt.TensorVariable, row: np.ndarray, count: int) -> pt.TensorVariable:
    """Add up elements of the last axis that are of one row."""
    zeros = pt.zeros((*leading(terms), count), terms.type.dtype)
    return pt.inc_subtensor(zeros[..., row], terms)


def read_rows(B: Any, n: int) -> tuple[Rows | pt.TensorVariable, bool]:
    """Read rows to multiply with, and whether it is a single one.

    Parameters
    ----------
    B : (n,) or (m, n) array_like, SciPy sparse array or matrix, tensor variable, or Rows
    n : int

    Returns
    -------
    rows : Rows, or (m, n) tensor variable whose numbers are not known
    single : bool
    """
    if isinstance(B, Rows):
        return B, False
    if isinstance(B, Constant):
        B = B.data
    if not isinstance(B, Variable):
        known, shape = quadratic.read_rows(B, n)
        if known.dtype.kind == "c":
            raise TypeError(f"B holds {known.dtype}: it must be real")
        return Rows(known, pt.constant(known.data)), not shape
    [B] = ops.as_floats(B)
    if B.type.ndim not in (1, 2) or not ends_in(B, n):
        raise ValueError(f"B has shape {B.type.shape}: it is ({n},) or (m, {n})")
    return (B[None] if B.type.ndim == 1 else B), B.type.ndim == 1


def inverse_quadratic(Q: Any, B: Any) -> pt.TensorVariable:
    """Return ``b Q^-1 b^T`` of each row b, of a matrix or a signed factor of one."""
    rows, single = read_rows(B, Q.shape[0])
    if not isinstance(rows, Rows):
        out = (rows.T * Q.solve(rows.T)).sum(axis=-2)
        return out[..., 0] if single else out
    P, pattern, b = Q.pattern, rows.pattern, rows.values.astype(Q.dtype)
    m, rows = pattern.shape[0], rows._replace(values=b)
    inside = quadratic.rows_in_inverse(P, pattern, 2 * quadratic.TRIANGLE_COST * P.nnz)
    out = pt.zeros((*leading(Q.values), m), Q.dtype)
    if pattern[inside].nnz:
        pairs = quadratic.pairs_of(P, pattern, np.flatnonzero(inside))
        entries = Q._panels_of_inverse[..., np.where(pairs.place < 0, ~pairs.place, pairs.place)]
        weight = pairs.weight.astype(Q.dtype) * b[pairs.left] * b[pairs.right]
        out = out + sums(weight * entries, pairs.row, m)
    rest = np.flatnonzero(~inside)
    if rest.size:
        columns = rows.dense(rest)
        out = out + sums((columns * Q.solve(columns)).sum(axis=-2), rest, m)
    return out[..., 0] if single else out


def low_rank_quadratic(V: Any, X: Any, B: Any, labels: np.ndarray | None = None) -> Any:
    """Return ``b (V X^T + X V^T) b^T`` of each row b; of blocks, where rows have labels.

    See `sparsechol._scipy.quadratic.low_rank_quadratic`.
    """
    rows, single = read_rows(B, X.type.shape[-2])
    if isinstance(rows, Rows):
        m = rows.pattern.shape[0]
        row = np.arange(m) if labels is None else quadratic.split_by(rows.pattern, labels)[1]
        terms = (rows.product(V, labels) * rows.product(X, labels)).sum(axis=-1)
        out = 2 * sums(terms, row, m)
    elif labels is None:
        out = 2 * ((rows @ V) * (rows @ X)).sum(axis=-1)
    else:
        blocks = np.arange(labels.max(initial=0) + 1)[:, None] == labels
        split = rows[:, None, :] * blocks
        right = (split[..., None] * X[..., None, None, :, :]).sum(axis=-2)
        out = 2 * ((split @ V) * right).sum(axis=(-2, -1))
    return out[..., 0] if single else out
