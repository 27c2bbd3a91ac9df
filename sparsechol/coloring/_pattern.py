"""Sparsity patterns as sorted csc_arrays of ones, and the colors of their columns or rows."""

from typing import Any, cast

import numpy as np
from scipy.sparse import csc_array, issparse

from .._scipy.input import as_scipy, compressed, sparse_or_dense, unmasked

STRUCTURES = ("column", "row", "symmetric", "bidirectional")
METHODS = ("direct", "substitution")


def entries_of(sparsity: Any) -> csc_array:
    """Return a sparsity pattern as a csc_array of ones, sorted, each entry once.

    Parameters
    ----------
    sparsity : (m, n) sparse or dense array
        The entries are what a sparse array stores, explicit zeros too, or where a dense array is
        not zero.
    """
    if issparse(sparsity):
        kind = cast("Any", sparse_or_dense(sparsity, "A")).dtype.kind
        A = compressed(sparsity, np.complex128 if kind == "c" else np.float64)
        A = as_scipy(A).tocsc(copy=True)
        A.data = np.ones(A.data.shape, np.int8)
    else:
        dense = unmasked(sparsity, "the sparsity pattern")
        if dense.ndim != 2:
            raise ValueError(f"a sparsity pattern has two dimensions, not {dense.ndim}")
        A = csc_array(dense != 0)
    A.sum_duplicates()
    A.data = np.ones(A.data.shape, np.int8)
    return A


def symmetrized(A: csc_array) -> csc_array:
    """Return the union of a square pattern and its transpose, sorted."""
    both = csc_array(A + A.T)
    both.data = np.ones(both.data.shape, np.int8)
    both.sort_indices()
    return both


def coordinates(A: csc_array) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the columns of the entries, by column."""
    return A.indices.astype(np.int64), np.repeat(np.arange(A.shape[1]), np.diff(A.indptr))


def count(colors: np.ndarray) -> int:
    """Return the number of colors; negative colors do not count."""
    return int(colors.max(initial=-1)) + 1
