"""Signatures of `patterns.pyx`."""

import numpy as np

def check_compressed(
    indptr: np.ndarray, indices: np.ndarray, n_minor: int, name: str = "A"
) -> None: ...
def lower_pattern(
    starts: np.ndarray, minors: np.ndarray, major_is_column: bool
) -> tuple[np.ndarray, np.ndarray]: ...
def symmetric_pattern(
    indptr: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
def factor_pattern(
    parent: np.ndarray, starts: np.ndarray, members: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]: ...
