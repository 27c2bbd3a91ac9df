"""Signatures of `supernodes.pyx`."""

import numpy as np

def fundamental_supernodes(parent: np.ndarray, count: np.ndarray) -> np.ndarray: ...
def step_times(
    first: np.ndarray, row_start: np.ndarray, simplicial_root: np.ndarray
) -> np.ndarray: ...
def amalgamate(
    first: np.ndarray, parent: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray]: ...
def simplicial_subtrees(
    first: np.ndarray, into: np.ndarray, above: np.ndarray, count: np.ndarray
) -> np.ndarray: ...
def visiting_order(
    first: np.ndarray,
    into: np.ndarray,
    above: np.ndarray,
    count: np.ndarray,
    simplicial: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
