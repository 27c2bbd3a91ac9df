"""Signatures of `solve.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

RHS_BLOCK: int
NO_REACH: np.ndarray

def most_threads(structure: Structure, columns: int) -> int: ...
def workspace(structure: Structure, block: int, threads: int) -> int: ...
def solve(
    structure: Structure,
    l: np.ndarray,
    b: np.ndarray,
    work: np.ndarray,
    lower: bool,
    upper: bool,
    inward: np.ndarray,
    outward: np.ndarray,
    reached: np.ndarray,
    block: int,
    threads: int,
    signs: bool = False,
) -> None: ...
def reach(structure: Structure, inward: np.ndarray, rows: np.ndarray) -> np.ndarray: ...
