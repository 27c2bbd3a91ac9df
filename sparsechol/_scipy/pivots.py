"""The pivots of a factorization: which are refused, which are warned of, and what to say."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgWarning

from .._core.numeric.factorize import REFUSED_ROUNDINGS, dependence
from .._core.numeric.operations import CODES, QUICK
from .._core.numeric.packing import gather_diagonal
from .._exceptions import NotPositiveDefiniteError, PivotError
from .._typing import WeakPivots
from .pivot_rule import PivotRule

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor

# Warn of a matrix whose reciprocal condition number is at most so many rounding errors: hardly a
# digit of a solution is sure. Singular matrices that rounding makes definite have at most 0.2.
WARNED_ROUNDINGS = 16

# Rows that a message names.
NAMED_ROWS = 8

EPS = {dtype: float(np.finfo(dtype).eps) for dtype in map(np.dtype, "fdFD")}

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def accepts_weak(weak_pivots: WeakPivots) -> bool:
    """Tell whether weak pivots are accepted, or raise ValueError."""
    if weak_pivots not in ("refuse", "accept"):
        raise ValueError(f"weak_pivots must be 'refuse' or 'accept', not {weak_pivots!r}")
    return weak_pivots == "accept"


def rcond(pattern: "SymbolicFactor", panels, packed, threads: int, flags: int = 0) -> np.ndarray:
    """Estimate the reciprocal condition number of each matrix of a batch.

    Parameters
    ----------
    pattern : SymbolicFactor
    panels, packed : (count, size) and (count, nnz) ndarray
        The factors and the packed values.
    threads : int
    flags : int, optional
        `UNSCALED` for the matrices as they are; by default rows and columns are scaled to a unit
        diagonal. `QUICK` for a first estimate where it is far from a rounding.

    Returns
    -------
    (count,) real ndarray
    """
    out = np.empty(len(packed), np.finfo(packed.dtype).dtype)
    pattern._handle.perform(CODES["rcond"], (panels, packed), out, threads, flags)
    return out


def check_pivots(
    pattern: "SymbolicFactor",
    packed,
    panels,
    outcome,
    batch: bool,
    accept: bool,
    threads: int,
    rule: PivotRule | None = None,
    least_rcond: float = 0,
    always: bool = False,
) -> str | None:
    """Raise an error for the first matrix that has no factor.

    Parameters
    ----------
    pattern : SymbolicFactor
    packed : (count, nnz) ndarray
        Packed values of the matrices.
    panels : (count, size) ndarray
        Their factors.
    outcome : five (count,) ndarrays
        The answer of `numeric.factorize`: failed row, row of the weakest pivot, its value,
        whether a condition estimate is worth while, and the growth if it was signed, else None.
    batch : bool
        Whether messages name the matrix by its number in a batch.
    accept : bool
        Whether weak pivots are accepted.
    threads : int
    rule : PivotRule, optional
        Of a signed factorization.
    least_rcond : float, optional
        A matrix whose reciprocal condition number is at most so many rounding errors is refused,
        unless weak pivots are accepted.
    always : bool, optional
        Whether the condition number is estimated where pivots leave no doubt, too.

    Returns
    -------
    str or None
        The warning that the user should get, see `warn_of_pivots`.
    """
    failed, row, value, doubt, growth = outcome
    refused = REFUSED_ROUNDINGS * EPS[packed.dtype]
    if rule is not None and rule.signs is not None:
        doubt = value <= refused  # quasi-definite, as the user says, however ill-conditioned
    if always:
        doubt, row = np.ones_like(doubt), np.where(row < 0, pattern.perm[-1], row)
    weak = value <= refused
    bad = (failed >= 0) | (weak & (not accept))
    doubts: list[str] = []
    if rule is not None:
        bad |= ~(growth * refused < 1)
        if not rule.regularizes:  # else `solve` refines, and watches the error itself
            unstable = np.flatnonzero(growth > EPS[packed.dtype] ** -0.5)
            doubts += [_growth_warning(k if batch else None, growth[k]) for k in unstable]
    if bad.any():
        k = int(bad.argmax())
        item = k if batch else None
        if rule is not None:
            arrays = pattern, packed[k], panels[k]
            raise _signed_error(*arrays, failed[k], row[k], value[k], growth[k], item, rule)
        raise _error(pattern, packed[k], panels[k], failed[k], row[k], value[k], item)
    for k in np.flatnonzero(doubt):
        found = rcond(pattern, panels[k : k + 1], packed[k : k + 1], threads, QUICK)[0]
        if weak[k] or not found > WARNED_ROUNDINGS * EPS[packed.dtype]:
            signed = rule is not None
            rows, _ = dependent_rows(pattern, packed[k], panels[k], row[k], signed)
            name = f"matrix {k} of the batch" if batch else "matrix"
            text = _warning(name, found, rows)
            if found <= least_rcond * EPS[packed.dtype] and not accept:
                pivot = float(value[k] * packed[k, pattern.indptr[row[k]]].real)
                raise NotPositiveDefiniteError(text, int(row[k]), pivot, rows=rows)
            doubts.append(text)
    if not doubts:
        return None
    return doubts[0] + (f" (and {len(doubts) - 1} more matrices)" if len(doubts) > 1 else "")


def _error(pattern, packed, panels, failed, row, value, item) -> NotPositiveDefiniteError:
    """Return the error for one matrix with a pivot that is refused."""
    name = "the matrix" if item is None else f"matrix {item} of the batch"
    at = int(failed if failed >= 0 else row)
    entry, normal = float(packed[pattern.indptr[at]].real), float(np.finfo(packed.dtype).tiny)
    pivot = float(value) if failed >= 0 else float(value * max(entry, normal))
    rows, size = dependent_rows(pattern, packed, panels, at)
    # The pivot is the quadratic form of the null vector. Roundings of A change it by so much.
    if not (entry > 0 and abs(pivot) <= REFUSED_ROUNDINGS * EPS[packed.dtype] * size**2):
        return NotPositiveDefiniteError(
            f"{name} is not positive definite: the pivot at row and column {at} is {pivot:.6g}",
            at,
            pivot,
            item,
        )
    text = (
        f"{name} is singular to working precision: of the diagonal entry at row and column {at}"
        f" elimination left the pivot {pivot:.3g}, which is rounding"
    )
    if len(rows) > 1:
        text += f"; {named(rows)} are linearly dependent"
    if entry < normal:
        text += f" (the entry, {entry:.3g}, is subnormal: multiply the matrix by a large number)"
    return NotPositiveDefiniteError(text, at, pivot, item, rows)


def _signed_error(pattern, packed, panels, failed, row, value, growth, item, rule) -> PivotError:
    """Return the error for one matrix without a signed factor."""
    name = "the matrix" if item is None else f"matrix {item} of the batch"
    at = int(failed if failed >= 0 else row)
    remedy = "another ordering, or signs= and regularize=, may help"
    if failed >= 0:
        pivot, expected = float(value), None if rule.signs is None else rule.signs[at]
        text = f"the pivot at row and column {at} is {pivot:.6g}"
        if expected is not None and np.isfinite(pivot):
            side = "positive" if expected > 0 else "negative"
            text += f", and signs= says that it is {side}"
            remedy = "regularize=(eps, delta) replaces such pivots"
        text = f"{name} has no signed factor in this order: {text}; {remedy}"
        return PivotError(text, at, pivot, item)
    if value <= REFUSED_ROUNDINGS * EPS[packed.dtype]:
        rows, _ = dependent_rows(pattern, packed, panels, at, True)
        diagonal = np.empty((1, pattern.shape[0]), np.finfo(packed.dtype).dtype)
        gather_diagonal(pattern._structure, panels[None], diagonal)
        pivot = float(diagonal[0, at] * abs(diagonal[0, at]))
        text = (
            f"{name} is singular to working precision: at row and column {at} elimination left the"
            f" pivot {pivot:.3g}, which is rounding"
        )
        if len(rows) > 1:
            text += f"; {named(rows)} are linearly dependent"
        return PivotError(text, at, pivot, item, rows)
    return PivotError(
        f"the pivots of {name} are unstable: what was eliminated is {growth:.2g} times as large as"
        f" the matrix; {remedy}",
        at if row >= 0 else None,
        np.nan,
        item,
    )


def _growth_warning(item, growth) -> str:
    name = "the pivots" if item is None else f"the pivots of matrix {item} of the batch"
    return (
        f"{name} are unstable: what was eliminated is {growth:.1g} times as large as the matrix,"
        " and so are its roundings; solve with refine=, regularize, or try another ordering"
    )


def _warning(name: str, found: float, rows: tuple[int, ...]) -> str:
    text = f"ill-conditioned {name}: the reciprocal condition number is about {found:.1g}"
    if len(rows) > 1:
        text += f", {named(rows)} are nearly dependent"
    return f"{text}; results may not be accurate"


def named(rows: Sequence[int]) -> str:
    """Name the first rows in ascending order.

    Parameters
    ----------
    rows : sequence of int

    Returns
    -------
    str
    """
    names = ", ".join(str(row) for row in sorted(rows[:NAMED_ROWS]))
    return f"rows {names}" + (f" and {len(rows) - NAMED_ROWS} more" if rows[NAMED_ROWS:] else "")


def dependent_rows(
    pattern: "SymbolicFactor", packed, panels, row, signed: bool = False
) -> tuple[tuple[int, ...], float]:
    """Return the rows that add up to nothing where elimination left nothing of `row`.

    Weights are those of rows scaled to a unit diagonal; with pivots of both signs, as they are.

    Returns
    -------
    rows : tuple of int
        Those with the largest weights first, without weights that are rounding.
    size : float
        The sum of the weights, times the root of the diagonal entry of `row`.
    """
    diagonal = packed[pattern.indptr[:-1]].real.astype(float)
    normal = float(np.finfo(packed.dtype).tiny)
    with np.errstate(all="ignore"):
        x = np.abs(dependence(pattern._structure, panels, row)).astype(float)
        if not signed:
            x *= np.sqrt(np.maximum(diagonal, normal))
        size = float(x.sum())
        if not np.isfinite(size):
            return (int(row),), float(np.sqrt(max(diagonal[row], normal)))
        x /= x.max()
    x[x <= EPS[packed.dtype] ** 0.5] = 0
    (kept,) = x.nonzero()
    # Weights that differ by rounding alone are equal, and then rows are in order.
    return tuple(kept[np.argsort(-x[kept].round(6), kind="stable")].tolist()), size


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
