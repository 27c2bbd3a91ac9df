"""Signatures of `_star.pyx`."""

import numpy as np

def star_coloring(
    starts: np.ndarray,
    members: np.ndarray,
    order: np.ndarray,
    side: np.ndarray,
    sides: int,
    max_colors: int,
    distance2: bool,
) -> np.ndarray | None: ...
