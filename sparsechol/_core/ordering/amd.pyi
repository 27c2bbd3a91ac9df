"""Signatures of `amd.pyx`."""

import numpy as np

from sparsechol._core.ordering.compressed import Compressed

def amd(graph: Compressed) -> np.ndarray: ...
