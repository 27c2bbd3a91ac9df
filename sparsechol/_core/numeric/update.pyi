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
def misfit_of_tree(
    starts: np.ndarray,
    members: np.ndarray,
    place: np.ndarray,
    parent: np.ndarray | None,
    start: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
) -> tuple[int, int]: ...
def nonzeros(vectors: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
def add_products(
    indptr: np.ndarray,
    indices: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    sign: float,
    packed: np.ndarray,
) -> bool: ...
