"""Signatures of `_distance2.pyx`."""

import numpy as np

def distance2_coloring(
    starts: np.ndarray,
    members: np.ndarray,
    back: np.ndarray,
    vertices: np.ndarray,
    order: np.ndarray,
    max_colors: int,
) -> np.ndarray | None: ...
def is_lattice_valid(
    back: np.ndarray,
    vertices: np.ndarray,
    modulus: int,
    first: int,
    step: int,
    second: int,
    leap: int,
) -> bool: ...
