"""Signatures of `_acyclic.pyx`."""

import numpy as np

def acyclic_coloring(
    starts: np.ndarray,
    members: np.ndarray,
    order: np.ndarray,
    side: np.ndarray,
    sides: int,
    max_colors: int,
    distance2: bool,
) -> np.ndarray | None: ...
def elimination(
    starts: np.ndarray, members: np.ndarray, twin: np.ndarray, color: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
def substitute(
    compressed: np.ndarray,
    place: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
    found: np.ndarray,
    sums: np.ndarray,
) -> None: ...
