"""Signatures of `update.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

def update(
    structure: Structure,
    l: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    signs: np.ndarray,
    any_sign: bool,
    least: float,
    expected: np.ndarray | None = None,
) -> tuple[int, float, float]: ...
def misfit(structure: Structure, start: np.ndarray, rows: np.ndarray) -> tuple[int, int]: ...
def add_products(
    indptr: np.ndarray,
    indices: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    sign: float,
    packed: np.ndarray,
) -> bool: ...
