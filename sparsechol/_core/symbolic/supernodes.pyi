"""Signatures of `supernodes.pyx`."""

import numpy as np

def order_supernodes(
    parent: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...
def merged_supernodes(
    parent: np.ndarray, count: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
