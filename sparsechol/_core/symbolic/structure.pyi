"""Signatures of `structure.pyx`."""

import numpy as np

class Structure:
    def __init__(
        self,
        indptr: np.ndarray,
        indices: np.ndarray,
        perm: np.ndarray,
        first: np.ndarray,
        simplicial_root: np.ndarray,
        rows_below: np.ndarray,
    ) -> None: ...
    @property
    def arrays(self) -> dict[str, np.ndarray]: ...
    @property
    def nnz(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def tallest(self) -> int: ...
    @property
    def tasks(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
