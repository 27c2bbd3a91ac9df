"""Signatures of `determinant.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

def logdet(structure: Structure, l: np.ndarray, out: np.ndarray) -> None: ...
