"""What goes wrong, in the user's own row numbers."""

from numpy.linalg import LinAlgError


class NotPositiveDefiniteError(LinAlgError):
    """The matrix is not positive definite, or not to working precision.

    Attributes
    ----------
    row : int or None
        Row and column of the matrix, in the user's numbering, at which the pivot failed; None
        where MUMPS factored it and does not tell.
    pivot : float
        The pivot there; it should be positive. NaN where MUMPS does not tell.
    item : int or None
        Which matrix of a batch it is.
    """

    def __init__(self, message: str, row: int | None, pivot: float, item: int | None = None):
        super().__init__(message)
        self.row = row
        self.pivot = pivot
        self.item = item

    def __reduce__(self):
        return type(self), (str(self), self.row, self.pivot, self.item)


class PatternMismatchError(ValueError):
    """A matrix has a nonzero outside the pattern that was analyzed.

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
    """Nothing is known about the sparsity of an operation, and it is taken to be dense."""
