"""Signatures of `row_changes.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

def column_of(
    structure: Structure, l: np.ndarray, column: int
) -> tuple[np.ndarray, np.ndarray, float]: ...
def solve_before(
    structure: Structure, l: np.ndarray, row: int, before: np.ndarray, x: np.ndarray
) -> tuple[float, float]: ...
def is_zero_row(structure: Structure, l: np.ndarray, row: int, before: np.ndarray) -> bool: ...
def write_row_and_column(
    structure: Structure,
    l: np.ndarray,
    row: int,
    before: np.ndarray,
    x: np.ndarray,
    diagonal: float,
) -> None: ...
