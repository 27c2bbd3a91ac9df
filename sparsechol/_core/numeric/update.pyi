"""Signatures of `update.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

def update(
    structure: Structure,
    place: np.ndarray | None,
    l: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    sign: float,
    any_sign: bool,
    least: float,
    work: np.ndarray,
    expected: np.ndarray | None = None,
) -> tuple[int, int, float, float]: ...
def add_products(
    indptr: np.ndarray,
    indices: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    sign: float,
    packed: np.ndarray,
) -> bool: ...
def column_of(
    structure: Structure, l: np.ndarray, column: int
) -> tuple[np.ndarray, np.ndarray, float]: ...
def solve_before(
    structure: Structure, l: np.ndarray, row: int, before: np.ndarray, x: np.ndarray
) -> None: ...
def is_zero_row(structure: Structure, l: np.ndarray, row: int, before: np.ndarray) -> bool: ...
def write_row_and_column(
    structure: Structure,
    l: np.ndarray,
    row: int,
    before: np.ndarray,
    x: np.ndarray,
    diagonal: float,
) -> None: ...
