"""Errors and warnings, in the user's own row numbers."""

from numpy.linalg import LinAlgError


class PivotError(LinAlgError):
    """Tell that a matrix has no factor, or none to working precision.

    `ldl` raises it; where all pivots are to be positive, it is a `NotPositiveDefiniteError`.

    Attributes
    ----------
    row : int or None
        Row and column of the matrix, in the user's numbering, at which the pivot failed. None
        where MUMPS factored the matrix: MUMPS does not tell.
    pivot : float
        The pivot at that row. NaN where MUMPS does not tell.
    item : int or None
        The number of the matrix in a batch.
    rows : tuple of int
        Where the matrix is singular to working precision, the rows that are linearly dependent,
        those with the largest weights first; empty where this is not known.
    """

    def __init__(
        self,
        message: str,
        row: int | None,
        pivot: float,
        item: int | None = None,
        rows: tuple[int, ...] = (),
    ):
        super().__init__(message)
        self.row = row
        self.pivot = pivot
        self.item = item
        self.rows = rows

    def __reduce__(self):
        return type(self), (str(self), self.row, self.pivot, self.item, self.rows)


class NotPositiveDefiniteError(PivotError):
    """Tell that a matrix is not positive definite, or not to working precision.

    Attributes
    ----------
    row, pivot, item, rows
        As for `PivotError`; a positive pivot is needed.
    """


class PatternMismatchError(ValueError):
    """Tell that a matrix has a nonzero outside the pattern that was analyzed.

    Attributes
    ----------
    row, column : int or None
        The first such entry, in the user's numbering; None where a compiled function of PyTensor
        does not tell.
    """

    def __init__(self, message: str, row: int | None = None, column: int | None = None):
        super().__init__(message)
        self.row = row
        self.column = column

    def __reduce__(self):
        return type(self), (str(self), self.row, self.column)


class SparsityWarning(UserWarning):
    """Warn of an operation without a sparsity rule: its results are taken to be dense."""
