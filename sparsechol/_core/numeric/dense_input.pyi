"""Signatures of `dense_input.pyx`."""

import numpy as np

def nonzeros(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
