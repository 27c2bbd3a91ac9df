"""Signatures of `_orders.pyx`."""

import numpy as np

SMALLEST_LAST: int
INCIDENCE_DEGREE: int
DYNAMIC_LARGEST_FIRST: int

def degrees(
    starts: np.ndarray, members: np.ndarray, back: np.ndarray, vertices: np.ndarray
) -> np.ndarray: ...
def dynamic_order(
    starts: np.ndarray,
    members: np.ndarray,
    back: np.ndarray,
    vertices: np.ndarray,
    degree: np.ndarray,
    kind: int,
) -> np.ndarray: ...
