"""Signatures of `triangle.pyx`."""

import numpy as np

def sum_diagonal(
    indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, diagonal: np.ndarray
) -> None: ...
def solve_dense(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    diagonal: np.ndarray,
    x: np.ndarray,
    by_columns: bool,
    forward: bool,
    conjugate: bool,
) -> None: ...
def solve_sparse(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    diagonal: np.ndarray,
    b_indptr: np.ndarray,
    b_indices: np.ndarray,
    b_data: np.ndarray,
    x_indptr: np.ndarray,
    x_indices: np.ndarray,
    x_data: np.ndarray,
    found: np.ndarray,
    mark: np.ndarray,
    x: np.ndarray,
    first: int,
    forward: bool,
    conjugate: bool,
) -> int: ...
