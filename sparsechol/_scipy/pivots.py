"""The pivots of a factorization: which are refused, which are warned of, and from where."""

import os
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgWarning

from .._core.numeric.factorize import REFUSED_ROUNDINGS
from .._exceptions import NotPositiveDefiniteError

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor

# Warn of a pivot that is at most n rounding errors of its diagonal entry. More roundings than
# these are not counted, or every large float32 problem would warn.
MOST_ROUNDINGS = 10_000

EPS = {dtype: float(np.finfo(dtype).eps) for dtype in map(np.dtype, "fdFD")}

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def warn_threshold(n: int, dtype) -> float:
    """Return the ratio of pivot to diagonal entry up to which a pivot is refused or warned of."""
    return max(REFUSED_ROUNDINGS, min(n, MOST_ROUNDINGS)) * EPS[dtype]


def check_pivots(pattern: "SymbolicFactor", packed: np.ndarray, outcome, batch: bool) -> str | None:
    """Raise an error for the first matrix that is not positive definite.

    Parameters
    ----------
    pattern : SymbolicFactor
    packed : (count, nnz) ndarray
        Packed values of the matrices.
    outcome : three (count,) ndarrays
        The answer of `numeric.factorize`: failed row, row of the weakest pivot, its value.
    batch : bool
        Whether messages name the matrix by its number in a batch.

    Returns
    -------
    str or None
        The warning that the user should get, see `warn_of_pivots`.
    """
    failed, row, value = outcome
    threshold = warn_threshold(pattern.shape[0], packed.dtype)
    (weak,) = ((failed >= 0) | (value <= threshold)).nonzero()
    if not weak.size:
        return None
    doubts = [
        _check_matrix(pattern, packed[k], failed[k], row[k], value[k], int(k) if batch else None)
        for k in weak
    ]
    return doubts[0] + (f" (and {len(doubts) - 1} more matrices)" if len(doubts) > 1 else "")


def _check_matrix(pattern, packed, failed, row, value, item: int | None) -> str:
    """Raise an error for one matrix with a weak pivot, or return the warning that it deserves."""
    name = "the matrix" if item is None else f"matrix {item} of the batch"
    if failed >= 0:
        raise NotPositiveDefiniteError(
            f"{name} is not positive definite: the pivot at row and column {failed} is {value:.6g}",
            int(failed),
            float(value),
            item,
        )
    if value <= REFUSED_ROUNDINGS * EPS[packed.dtype]:
        pivot = float(value * abs(packed[pattern.indptr[row]]))
        raise NotPositiveDefiniteError(
            f"{name} is singular to working precision: of the diagonal entry at row and"
            f" column {row} elimination left the pivot {pivot:.3g}, which is rounding",
            int(row),
            pivot,
            item,
        )
    return (
        f"ill-conditioned {name.removeprefix('the ')}: elimination left {value:.3g} of the"
        f" diagonal entry at row and column {row}; results may not be accurate"
    )


def warn_of_pivots(doubt: str | None) -> None:
    """Warn the user of an ill-conditioned matrix, if there is one."""
    if doubt is not None:
        warnings.warn(doubt, LinAlgWarning, stacklevel=external_stacklevel())


def external_stacklevel() -> int:
    """Return the `stacklevel` of the first frame outside the package, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
