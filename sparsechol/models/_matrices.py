"""Small matrices that models are made of."""

import operator
from typing import Any

import numpy as np
from scipy.linalg import qr
from scipy.sparse import csc_array, diags_array


def tidy(A) -> csc_array:
    """Return a sorted csc_array without repetitions and zeros, with 32-bit indices if they fit."""
    A = csc_array(A)
    A.sum_duplicates()
    A.eliminate_zeros()
    if A.nnz < 2**31:
        A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
    return A


def path(m: int) -> csc_array:
    """Build the adjacency matrix of m vertices in a row."""
    i = np.arange(m - 1)
    edges = (np.concatenate([i, i + 1]), np.concatenate([i + 1, i]))
    return csc_array((np.ones(2 * i.size), edges), shape=(m, m))


def differences(n: int, *, cyclic: bool = False) -> csc_array:
    """Build the rows ``x[i + 1] - x[i]``; a cycle has n of them, a line n - 1."""
    count = n if cyclic else n - 1
    i = np.arange(count)
    columns = np.concatenate([(i + 1) % n, i])
    signs = np.repeat([1.0, -1.0], count)
    return csc_array((signs, (np.tile(i, 2), columns)), shape=(count, n))


def banded(diagonals: Any, offsets: Any, shape: tuple[int, int]) -> csc_array:
    """Build a matrix from its diagonals."""
    return csc_array(diags_array(diagonals, offsets=offsets, shape=shape))


def weighted_square(D, weights) -> csc_array:
    """Return ``D^T diag(weights) D``."""
    return tidy(D.T @ (diags_array(weights) @ D))


def pivot_rows(V: Any) -> np.ndarray:
    """Return k rows on which a basis of k columns is an invertible matrix."""
    if not isinstance(V, np.ndarray):
        V = csc_array(V)
        if V.nnz == np.unique(V.indices).size:  # columns that share no row
            return np.array([V.indices[V.indptr[j]] for j in range(V.shape[1])], dtype=np.intp)
        V = V.toarray()
    _, _, order = qr(V.T, mode="economic", pivoting=True)
    return np.sort(order[: V.shape[1]])


def positive_integer(value, name, least=1) -> int:
    """Return a whole number that is at least `least`, or raise an error that names it."""
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value
