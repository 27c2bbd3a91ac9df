"""Signatures of `factorize.pyx`."""

from typing import Any

import numpy as np

from sparsechol._core.symbolic.structure import Structure

REFUSED_ROUNDINGS: int

def workspace(structure: Structure, batch: int, threads: int) -> int: ...
def factorize(
    structure: Structure,
    a: np.ndarray,
    factor: np.ndarray,
    work: np.ndarray,
    threads: int,
    any_sign: bool = False,
    expected: np.ndarray | None = None,
    least: float = 0,
    replacement: float = 0,
    replaced: np.ndarray | None = None,
    brief: bool = False,
) -> Any: ...
def dependence(structure: Structure, l: np.ndarray, row: int) -> np.ndarray: ...
