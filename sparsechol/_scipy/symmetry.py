"""Which triangles a matrix holds, and whether they agree.

One triangle is read. A matrix may hold it alone, or both. What is refused, by the functions here:

* a triangle that is empty off the diagonal, where the other one is not (`check_triangle`);
* two triangles that differ by more than rounding (`check_mirrored`, `require_symmetric`).

Rounding is what a factorization cannot tell from its own. With pivots on the diagonal its backward
error is a small multiple of eps times sqrt(a_ii a_jj) in the entry (i, j) (Demmel 1989). By the
inequality of Cauchy and Schwarz the rounding of assembled elements and of products A^H A is of the
same kind, whatever cancels: ROUNDINGS of these are allowed. Two entries that agree to half of their
digits are taken for one number computed twice, too. A row that was replaced by that of the
identity, beside a stiffness of size s, differs by about sqrt(s): it is found for s above
1e-26 in double and 1e-9 in single precision.

References
----------
Demmel, J. W. (1989). On floating point errors in Cholesky. LAPACK Working Note 14.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csc_matrix

from .._core.numeric.packing import mirrored, off_diagonal
from .._exceptions import PivotError
from .input import Compressed, as_scipy, compressed, not_finite
from .pivots import EPS

if TYPE_CHECKING:
    from .packed_values import PackedPattern

ROUNDINGS = 100


def triangles(arrays: Compressed, lower: bool) -> tuple[int, int]:
    """Return what the triangle that is read, and the other, hold off the diagonal.

    0 stands for nothing, 1 for stored zeros, 2 for a nonzero.
    """
    by_column = (arrays.format == "csc") == lower
    return off_diagonal(arrays.starts, arrays.indices, arrays.data, by_column)


def check_triangle(
    arrays: Compressed,
    lower: bool,
    *,
    values: bool = True,
    name: str = "the matrix",
    remedy: str | None = None,
) -> None:
    """Raise ValueError if the triangle that is read is empty and the other one is not.

    Without `values` stored zeros are entries like any other. `remedy` is what to do, for faces
    without the option `lower`.
    """
    refuse_empty_triangle(*triangles(arrays, lower), lower, values, name, remedy)


def refuse_empty_triangle(read, other, lower, values=True, name="the matrix", remedy=None) -> None:
    """Raise ValueError for what `triangles` returned."""
    if (other == 2 > read) if values else (other > read == 0):
        side, mirror = ("lower", "upper") if lower else ("upper", "lower")
        raise ValueError(
            f"{name} has entries in its {mirror} triangle, but none off the diagonal in the {side}"
            f" one, which is read: {remedy or f'pass lower={not lower}'}"
        )


def check_mirrored(
    pattern: "PackedPattern", arrays: Compressed, lower: bool, packed: np.ndarray
) -> None:
    """Raise ValueError if a matrix holds two triangles that differ; `packed` is the one read."""
    if not _agrees(pattern, arrays, lower, packed):
        require_symmetric(arrays)


def _agrees(pattern, arrays, lower, packed) -> bool:
    """Compare the two triangles in one pass; where that does not suffice, the answer is False."""
    eps = EPS[packed.dtype]
    if packed.dtype.kind == "c":
        diagonal = packed[pattern.indptr[:-1]]
        if (abs(diagonal.imag) > np.sqrt(eps) * abs(diagonal.real)).any():
            return False
    return mirrored(
        pattern.indptr,
        pattern.indices,
        packed,
        arrays.starts,
        arrays.indices,
        arrays.data,
        (arrays.format == "csc") == lower,
        lower,
        math.sqrt(eps),
        ROUNDINGS * eps,
    )


def require_symmetric(
    arrays: Compressed,
    name: str = "the matrix",
    unchecked: str = "one triangle is read alone",
    whole: tuple[bool, np.ndarray] | None = None,
) -> None:
    """Raise ValueError naming the first entry that is not the conjugate of its mirror image.

    `unchecked` says what is done with ``check_symmetric=False``, `whole` what a matrix of which
    this is a part holds, see `asymmetry`.
    """
    reason = asymmetry(arrays, name, whole)
    if reason is not None:
        raise ValueError(f"{reason} (with check_symmetric=False {unchecked})")


def asymmetry(
    arrays: Compressed,
    name: str = "the matrix",
    whole: tuple[bool, np.ndarray] | None = None,
) -> str | None:
    """Return in what a matrix is not symmetric (Hermitian); None if it is, or is one triangle.

    `whole` says whether there are entries on both sides of the diagonal, and holds the diagonal; by
    default those of the matrix itself.
    """
    row, column = not_finite(arrays)
    if row.size:
        value = arrays.data[np.argmin(np.isfinite(arrays.data))]
        return f"{name} must not hold infinities or NaNs: entry ({row[0]}, {column[0]}) is {value}"
    both, diagonal = whole or (all(sides(arrays)), as_scipy(arrays).diagonal())
    row, column, entry, mirror = _unlike(arrays, both, diagonal)
    if not row.size:
        return None
    hermitian, off = entry.dtype.kind == "c", row != column
    difference = abs(entry - mirror.conj())
    alike = abs(entry - mirror) <= np.sqrt(EPS[entry.dtype]) * difference
    p = int(np.argmax(off)) if off.any() and alike[off].all() else 0
    i, j, a, b = row[p], column[p], entry[p], mirror[p]
    if i == j:
        return f"{name} is not Hermitian: entry ({i}, {i}), on the diagonal, is {a:.6g}, not real"
    if alike[p]:
        return (
            f"{name} is complex symmetric, not Hermitian: entries ({i}, {j}) and ({j}, {i}) are"
            f" both {a:.6g}, not conjugates of each other"
        )
    return (
        f"{name} is not {'Hermitian' if hermitian else 'symmetric'}: entries ({i}, {j}) and"
        f" ({j}, {i}) differ by {difference[p]:.3g}, they are {a:.6g} and {b:.6g}"
    )


def _unlike(arrays, both, diagonal):
    """Return rows, columns, entries and mirror images of what differs by more than rounding."""
    A = as_scipy(arrays)
    eps = EPS[A.dtype]
    with np.errstate(all="ignore"):
        difference = (A - A.conj().T).tocoo()
        wanted = ~(difference.data == 0)
        row, column = difference.coords
        if not both:
            wanted &= row == column
        row, column, size = row[wanted], column[wanted], abs(difference.data[wanted])
        entry, mirror = _entries(A, row, column), _entries(A, column, row)
        scale = np.sqrt(abs(diagonal), dtype=np.float64)
        bad = ~(
            (size <= np.sqrt(eps) * np.maximum(abs(entry), abs(mirror)))
            | (size <= ROUNDINGS * eps * scale[row] * scale[column])
        )
    return row[bad], column[bad], entry[bad], mirror[bad]


def _entries(A, row, column) -> np.ndarray:
    """Return entries of a matrix, repeated ones summed."""
    if not row.size:
        return np.empty(0, dtype=A.dtype)
    return np.asarray(csc_matrix(A)[row, column]).ravel()


def sides(arrays: Compressed) -> tuple[bool, bool]:
    """Return whether there are nonzeros on each side of the diagonal."""
    major = np.repeat(np.arange(len(arrays.indptr) - 1), np.diff(arrays.indptr))
    side = np.sign(arrays.indices - major)[arrays.data != 0]
    return bool((side > 0).any()), bool((side < 0).any())


class blaming_asymmetry:
    """Let a PivotError say that the triangles of A, unchecked, differ."""

    def __init__(self, pattern: "PackedPattern", A: Any, lower: bool, packed: np.ndarray):
        self.arguments = pattern, A, lower, packed

    def __enter__(self) -> None:
        """Do nothing: a class, because a generator costs as much as a small factorization."""

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        """Raise the error that says more, if there is more to say."""
        if not isinstance(error, PivotError):
            return
        pattern, A, lower, packed = self.arguments
        arrays = compressed(A, packed.dtype) if np.ndim(A) == 2 else None
        if arrays is None or _agrees(pattern, arrays, lower, packed):
            return
        reason = asymmetry(arrays)
        if reason is not None:
            message = f"{error}. Only one triangle was read, and {reason}"
            raise type(error)(message, error.row, error.pivot, error.item, error.rows) from None
