"""Signatures of `dissection.pyx`."""

import numpy as np

from sparsechol._core.ordering.compressed import Compressed

def nested_dissection(graph: Compressed, threads: int = 1, seed: int = 0) -> np.ndarray: ...
