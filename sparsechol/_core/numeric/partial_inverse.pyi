"""Signatures of `partial_inverse.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

def workspace(structure: Structure, batch: int, threads: int) -> int: ...
def partial_inverse(
    structure: Structure, l: np.ndarray, z: np.ndarray, work: np.ndarray, threads: int
) -> None: ...
