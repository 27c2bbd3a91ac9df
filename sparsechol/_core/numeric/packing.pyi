"""Signatures of `packing.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

ABSENT: int

def pack(
    indptr: np.ndarray,
    indices: np.ndarray,
    starts: np.ndarray,
    minors: np.ndarray,
    data: np.ndarray,
    major_is_column: bool,
    conjugated: bool,
    packed: np.ndarray,
) -> tuple[int, int]: ...
def off_diagonal(
    starts: np.ndarray, minors: np.ndarray, data: np.ndarray, major_is_column: bool
) -> tuple[int, int]: ...
def mirrored(
    indptr: np.ndarray,
    indices: np.ndarray,
    packed: np.ndarray,
    starts: np.ndarray,
    minors: np.ndarray,
    data: np.ndarray,
    major_is_column: bool,
    conjugated: bool,
    relative: float,
    absolute: float,
) -> bool: ...
def first_nonfinite(values: np.ndarray) -> int: ...
def gather_values(
    structure: Structure,
    flat: np.ndarray,
    packed: np.ndarray,
    diagonal: float = 1,
    below: float = 1,
) -> None: ...
def expand(packed: np.ndarray, sources: np.ndarray, out: np.ndarray) -> None: ...
def gather_factor(
    structure: Structure,
    flat: np.ndarray,
    post: np.ndarray,
    starts: np.ndarray,
    members: np.ndarray,
    out: np.ndarray,
) -> None: ...
def gather_diagonal(structure: Structure, flat: np.ndarray, out: np.ndarray) -> None: ...
def find_entries(
    structure: Structure, row: np.ndarray, column: np.ndarray, position: np.ndarray
) -> None: ...
def read_entries(flat: np.ndarray, position: np.ndarray, out: np.ndarray) -> None: ...
