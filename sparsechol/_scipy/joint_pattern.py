"""The pattern of a matrix with dense rows and columns beside it."""

import numpy as np
from scipy.sparse import csc_array, tril

from .symbolic_factor import SymbolicFactor, analyze


def joint_pattern(pattern: SymbolicFactor, p: int) -> tuple[SymbolicFactor, np.ndarray]:
    """Analyze the pattern of ``[[H, B^T], [B, D]]`` with dense B and D, and find its values.

    Parameters
    ----------
    pattern : SymbolicFactor
        That of H, of order n.
    p : int
        The order of D.

    Returns
    -------
    joint : SymbolicFactor
    places : int ndarray
        Which of the values of H, the p n elements of B^T by row, and the lower triangle of D by row
        each packed value is.
    """
    n = pattern.shape[0]
    row, column = pattern.indices, np.repeat(np.arange(n), np.diff(pattern.indptr))
    a, b = np.tril_indices(p)
    rows = np.concatenate([row, np.tile(np.arange(n, n + p), n), n + a])
    columns = np.concatenate([column, np.repeat(np.arange(n), p), n + b])
    number = np.arange(1.0, rows.size + 1)
    lower = csc_array((number, (rows, columns)), shape=(n + p, n + p))
    joint = analyze(lower + tril(lower, -1).T)
    return joint, joint.values(lower).astype(int) - 1
