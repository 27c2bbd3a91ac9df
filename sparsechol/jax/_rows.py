"""Rows to multiply with: a pattern that is known, with numbers that may be traced."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO, BCSR
from scipy.sparse import csr_array, issparse

from .._scipy.quadratic import read_rows, split_by
from ._compat import is_concrete


class StaticRows(NamedTuple):
    """A sparse matrix whose pattern is known.

    Attributes
    ----------
    pattern : (m, n) csr_array
        Sorted; its numbers do not count.
    values : (pattern.nnz,) jax.Array
    """

    pattern: csr_array
    values: jax.Array

    def dense(self, values: jax.Array, rows: np.ndarray) -> jax.Array:
        """Return some of the rows as an array, with these numbers in the place of all values."""
        part = self._numbered()[rows]
        row = np.repeat(np.arange(rows.size), np.diff(part.indptr))
        out = jnp.zeros(part.shape, values.dtype)
        return out.at[row, part.indices].set(values[part.data])

    def product(self, V: jax.Array, labels: np.ndarray | None = None) -> jax.Array:
        """Return ``B V``; with labels, a row for each pair of a row and a label of its columns."""
        B = self._numbered()
        if labels is not None:
            B, _ = split_by(B, labels)
        row = np.repeat(np.arange(B.shape[0]), np.diff(B.indptr))
        terms = self.values[B.data, None] * V[B.indices]
        return jnp.zeros((B.shape[0], V.shape[1]), terms.dtype).at[row].add(terms)

    def _numbered(self) -> csr_array:
        """Return the pattern with the numbers of its elements."""
        B = self.pattern
        return csr_array((np.arange(B.nnz), B.indices, B.indptr), shape=B.shape)


def read_static_rows(B: Any, n: int) -> tuple[StaticRows | jax.Array, tuple[int, ...]]:
    """Read rows to multiply with, and the shape of a result that has a number for each.

    Parameters
    ----------
    B : (n,) or (m, n) array_like, SciPy sparse array or matrix, BCOO or BCSR
    n : int

    Returns
    -------
    rows : StaticRows, or (m, n) jax.Array where the places of numbers are traced
    shape : tuple of int
    """
    shape = np.shape(B)
    if len(shape) not in (1, 2) or shape[-1] != n:
        raise ValueError(f"B has shape {shape}: it is ({n},) or (m, {n})")
    if isinstance(B, (BCOO, BCSR)):
        if B.n_batch or B.n_dense:
            raise ValueError("B has batch or dense dimensions: use jax.vmap, or B.todense()")
        arrays = [B.indices] if isinstance(B, BCOO) else [B.indices, B.indptr]
        if all(map(is_concrete, arrays)):
            return _from_places(B.data, *_places(B), (*shape[:-1], n)), shape[:-1]
        B = B.todense()
    if not is_concrete(B):
        return jnp.asarray(B).reshape(math.prod(shape[:-1]), n), shape[:-1]
    known, shape = read_rows(B if issparse(B) else np.asarray(B), n)
    return StaticRows(known, jnp.asarray(known.data)), shape


def _places(B: BCOO | BCSR) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the numbers of a sparse array of JAX."""
    indices = np.asarray(B.indices)
    if isinstance(B, BCSR):
        return np.repeat(np.arange(B.shape[0]), np.diff(np.asarray(B.indptr))), indices
    return (indices[:, 0] if B.ndim == 2 else np.zeros(len(indices), int)), indices[:, -1]


def _from_places(data, row, column, shape) -> StaticRows:
    """Add up numbers at equal places; those outside of the shape are padding."""
    m, n = shape if len(shape) == 2 else (1, *shape)
    inside = np.flatnonzero((row < m) & (column < n))
    key, which = np.unique(row[inside] * np.int64(n) + column[inside], return_inverse=True)
    starts = np.searchsorted(key, np.arange(m + 1) * np.int64(n))
    pattern = csr_array((np.ones(key.size), key % n, starts), shape=(m, n))
    return StaticRows(pattern, jnp.zeros(key.size, data.dtype).at[which].add(data[inside]))


def low_rank_quadratic(
    V: jax.Array, X: jax.Array, rows: StaticRows | jax.Array, labels: np.ndarray | None = None
) -> jax.Array:
    """Compute ``b (V X^H + X V^H) b^H`` of each row b; of blocks, where rows have labels.

    See `sparsechol._scipy.quadratic.low_rank_quadratic`.
    """
    if not isinstance(rows, StaticRows):
        if labels is None:
            return 2 * ((rows @ V) * (rows @ X).conj()).real.sum(axis=1)
        blocks = np.arange(labels.max(initial=0) + 1)[:, None] == labels
        split = rows[:, None, :] * blocks
        return 2 * ((split @ V) * (split @ X).conj()).real.sum(axis=(1, 2))
    m = rows.pattern.shape[0]
    row = np.arange(m) if labels is None else split_by(rows.pattern, labels)[1]
    products = rows.product(V, labels) * rows.product(X, labels).conj()
    return 2 * jnp.zeros(m, products.real.dtype).at[row].add(products.real.sum(axis=1))
