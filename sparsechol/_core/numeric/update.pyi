"""Signatures of `update.pyx`."""

import numpy as np

from sparsechol._core.symbolic.structure import Structure

class Change:
    count: int
    start: np.ndarray
    rows: np.ndarray
    data: np.ndarray
    def __init__(
        self, indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, n: int
    ) -> None: ...
    def is_finite(self) -> bool: ...

class Changer:
    def __init__(
        self,
        structure: Structure,
        place: np.ndarray,
        starts: np.ndarray,
        members: np.ndarray,
        indptr: np.ndarray,
        indices: np.ndarray,
    ) -> None: ...
    def misfit(
        self,
        change: Change,
        place: np.ndarray | None = None,
        parent: np.ndarray | None = None,
    ) -> tuple[int, int]: ...
    def update(
        self,
        panels: np.ndarray,
        change: Change,
        sign: float,
        any_sign: bool,
        least: float,
        work: np.ndarray,
        expected: np.ndarray | None = None,
        placed: bool = False,
    ) -> tuple[int, int, float, float]: ...
    def add_products(self, change: Change, sign: float, packed: np.ndarray) -> bool: ...

def nonzeros(vectors: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
