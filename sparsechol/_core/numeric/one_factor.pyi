"""Signatures of `one_factor.pyx`."""

from typing import Any

import numpy as np

from sparsechol._core.symbolic.structure import Structure

class VectorSolver:
    def __init__(
        self, structure: Structure, panels: np.ndarray, order: np.ndarray, signs: bool
    ) -> None: ...
    def solve(self, b: Any, threads: int | None) -> np.ndarray | None: ...

class KnownPlaces:
    def __init__(
        self,
        A: Any,
        lower: bool,
        places: np.ndarray,
        indptr: np.ndarray,
        conjugated: bool,
        one_sided: bool,
    ) -> None: ...
    def packed(self, A: Any, lower: bool, dtype: np.dtype) -> np.ndarray | None: ...

def packed_copy(values: Any, nnz: int, dtype: np.dtype) -> np.ndarray | None: ...
