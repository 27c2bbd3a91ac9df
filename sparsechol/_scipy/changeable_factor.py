"""ChangeableFactor: low-rank changes of a factor in place, and rows that leave or come back."""

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, csc_matrix, issparse

from .._cached import cached_property
from .._core.numeric import row_changes as _rows
from .._core.numeric.factorize import REFUSED_ROUNDINGS
from .._core.numeric.update import Change, Changer, nonzeros
from .._core.symbolic.etree import inverse_permutation
from .._exceptions import PatternMismatchError
from .._typing import MatrixLike
from .input import dense_rhs, row_numbers, sparse_or_dense, sparse_rhs
from .pivots import EPS, warn_of_pivots
from .single_factor import SingleFactor

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor


# The kernels take up so many vectors at a time.
TOGETHER = 8

# What `update` says of vectors whose product overflows.
TOO_LARGE = -2

# And of those that fit the pattern of L.
FITS = -1


class Outcome(NamedTuple):
    """Tell what became of vectors, see `Changer.update`."""

    entry: int
    row: int
    pivot: float
    weakest: float


class ChangeableFactor(SingleFactor):
    """Change the matrix of a factor without factoring anew."""

    def _change_error(self, text: str, row: int, pivot: float) -> Exception:
        """Return the error of a change that a pivot forbids."""
        raise NotImplementedError

    def update(self, C: MatrixLike, *, downdate: bool = False) -> Self:
        """Make this the factor of ``A + C C^H``, or of ``A - C C^H``, in place.

        Parameters
        ----------
        C : (n,) or (n, k) array_like, or sparse array or matrix
            Vectors in the numbering of A. The rows of the nonzeros of each vector must fit the
            pattern of L: so they do wherever A has an entry for each two of them. Room for more is
            made by ``analyze(A, reserve=C)``.
        downdate : bool, optional
            Whether ``C C^H`` is taken away.

        Returns
        -------
        factor
            This factor.

        Raises
        ------
        NotPositiveDefiniteError
            If ``A - C C^H`` is not positive definite; of a signed factor `PivotError`, where a
            pivot vanishes or has another sign than `signs` says. The factor is as it was.
        PatternMismatchError
            If a vector does not fit the pattern of L. The factor is as it was.
        ValueError
            If the shape does not fit, or `C` holds NaN or infinity.
        TypeError
            If `C` is complex and the factor is real.
        OverflowError
            If ``C C^H`` has entries beyond the largest number.

        Warns
        -----
        scipy.linalg.LinAlgWarning
            If more than half of the digits of a pivot cancelled.

        Notes
        -----
        A vector changes the columns of L on one path of the elimination tree (Davis and Hager
        1999); eight vectors are taken up at a time (Davis and Hager 2001). An update is a sequence
        of rotations and as stable as a factorization. A downdate takes hyperbolic rotations, and
        loses as many digits as its pivots. No other thread may use the factor meanwhile.

        Derivatives, `solve` with `refine` and `rcond` refer to the changed matrix. Where ``C C^H``
        has an entry outside the pattern of A, refinement and `rcond` are not available until the
        next `refactorize`.

        References
        ----------
        Davis, T. A., Hager, W. W. (1999). Modifying a sparse Cholesky factorization. SIAM J. Matrix
        Anal. Appl. 20(3).
        Davis, T. A., Hager, W. W. (2001). Multiple-rank modifications of a sparse Cholesky
        factorization. SIAM J. Matrix Anal. Appl. 22(4).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.diag([1.0, 2.0, 4.0]))
        >>> F.update([0.0, np.sqrt(2.0), 0.0]).solve([1.0, 1.0, 1.0]).round(6)
        array([1.  , 0.25, 0.25])
        """
        change = by_first_row(self._read(C), self.pattern._place)
        sign = -1 if downdate else 1
        with self._turn:
            panels, values = self._writable_panels(), self._values
            self._require_entries(change)
            outcome = self._take_up(panels, values, change, sign)
            self._judge(change, sign, outcome)
            self._values = self._with_products(values, change, sign)
        warn_of_cancellation(outcome.weakest, self.dtype)
        return self

    @cached_property
    def _changer(self) -> Changer:
        """What changes this factor."""
        pattern = self.pattern
        starts, members, _ = pattern._both_triangles
        lower = pattern.indptr, pattern.indices
        return Changer(pattern._structure, pattern._place, starts, members, *lower)

    def _read(self, C: MatrixLike, name: str = "C") -> Change:
        """Read vectors in the numbering of A."""
        change = self._read_at_once(C)
        if change is not None:
            return change
        given, n = sparse_or_dense(C, name), self.shape[0]
        if given.dtype.kind == "c" != self.dtype.kind:
            raise TypeError(f"{name} is complex and the factor is real: factor A as complex")
        if issparse(given):
            columns = sparse_rhs(given, n, self.dtype, name)
            return Change(columns.indptr, columns.indices, columns.data, n)
        vectors, _ = dense_rhs(given, n, self.dtype, "F", name)
        return Change(*nonzeros(vectors, self.dtype), n)

    def _read_at_once(self, C: Any) -> Change | None:
        """Read sound vectors by column; None for all others, also those with mistakes."""
        if type(C) not in (csc_array, csc_matrix):
            return None
        n, data, shape = self.shape[0], C.data, C.shape
        if type(data) is not np.ndarray or data.dtype != self.dtype or shape[0] != n:
            return None
        try:
            change = Change(C.indptr, C.indices, data, n)
        except (ValueError, BufferError, TypeError):
            return None
        return change if change.count == shape[1] and change.is_finite() else None

    def _judge(self, change: Change, sign: int, outcome: Outcome) -> None:
        """Raise the error of a change that was refused."""
        if outcome.entry == TOO_LARGE:
            raise OverflowError("C C^H has entries beyond the largest number: scale A and C")
        if outcome.entry >= 0:
            self._refuse_entry(int(change.rows[outcome.entry]), outcome.row)
        if outcome.row >= 0:
            what = "A + C C^H" if sign > 0 else "A - C C^H"
            raise self._change_error(what, outcome.row, outcome.pivot)

    def _require_entries(self, change: Change) -> None:
        """Raise PatternMismatchError unless elimination leaves entries in L for vectors."""
        changer, pattern = self._changer, self.pattern
        entry, first = changer.misfit(change)
        if entry >= 0:  # outside of A
            place = inverse_permutation(pattern.perm)
            entry, first = changer.misfit(change, place, pattern.parent)
        if entry >= 0:
            self._refuse_entry(int(change.rows[entry]), first)

    def _refuse_entry(self, row: int, first: int) -> None:
        raise PatternMismatchError(
            f"a column of C has nonzeros in rows {row} and {first}, and L has no entry for"
            " these two rows: analyze(A, reserve=C) makes room for it",
            row,
            first,
        )

    def _take_up(
        self,
        panels: np.ndarray,
        values: np.ndarray,
        change: Change,
        sign: float,
        *,
        placed: bool = False,
    ) -> Outcome:
        """Take vectors into the panels; `placed` says whether they are in the order of the kernels.

        From here on there is no factor until the caller sets the changed values, so that a signal
        in between leaves none. Where the change is refused, the factor gets its `values` back.
        """
        self._values = None
        try:
            outcome = Outcome(
                *self._changer.update(
                    panels,
                    change,
                    sign,
                    self._signed,
                    REFUSED_ROUNDINGS * EPS[self.dtype],
                    self._work,
                    self._expected,
                    placed,
                )
            )
        except MemoryError:  # before the first change
            self._values = values
            raise
        failed = outcome.entry == FITS and outcome.row >= 0
        if failed and sign > 0 and not self._signed:  # nothing was saved
            raise OverflowError("the changed matrix has no factor in this precision: refactorize")
        if failed or outcome.entry != FITS:
            self._values = values
        return outcome

    def _writable_panels(self) -> np.ndarray:
        """Return the panels, writable."""
        panels = self._valid_panels
        if not panels.flags.writeable:  # unpickled from read-only memory
            self._use_panels(panels.copy())
        return self._panels[0]

    def _own(self, values: np.ndarray) -> np.ndarray:
        """Return packed values for changes: a copy where others may hold them.

        They become another object in any case, by which `Conditioned` and `LowRankFactor` see that
        the factor was changed.
        """
        own = values[:] if self._owns_values else values.copy()
        self._owns_values = True
        return own

    def _with_products(self, values: np.ndarray, change: Change, sign: int) -> np.ndarray:
        """Return the packed values with vectors added; none if they have no place for some."""
        own = self._own(values)
        known = self._changer.add_products(change, sign, own)
        return own if known else np.empty((1, 0), dtype=self.dtype)

    # ---- rows ----

    def delete_rows(self, rows: ArrayLike) -> Self:
        """Make rows and columns of the matrix those of the identity, in place.

        The factor, its solves and its determinant are then those of the system without these
        rows and columns: a solution has the right-hand side itself on deleted rows.

        Parameters
        ----------
        rows : int or array_like of int
            In the numbering of A; negative numbers count from the end.

        Returns
        -------
        factor
            This factor.

        Raises
        ------
        IndexError
            If a row lies outside the matrix.
        PivotError
            Of a signed factor, if a pivot vanishes without the row. The factor is then without the
            rows that come before it in `rows`.

        Notes
        -----
        The row of L becomes zero, and its column is an update of the columns to the right (Davis
        and Hager 2005).

        References
        ----------
        Davis, T. A., Hager, W. W. (2005). Row modifications of a sparse Cholesky factorization.
        SIAM J. Matrix Anal. Appl. 26(3).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.array([[4.0, 2.0, 0.0], [2.0, 4.0, 2.0], [0.0, 2.0, 4.0]]))
        >>> F.delete_rows(1).solve([8.0, 1.0, 8.0])
        array([2., 1., 2.])
        """
        with self._turn:
            for row in row_numbers(rows, self.shape[0]).ravel():
                self._delete_row(int(row))
        return self

    def _delete_row(self, row: int) -> None:
        structure = self.pattern._structure
        panels, packed = self._writable_panels(), self._values
        place, before, entries = row_of(self.pattern, row)
        below, values, diagonal = _rows.column_of(structure, panels, place)
        nonzero = values != 0
        column = one_column(below[nonzero], values[nonzero], self.shape[0])
        outcome = self._take_up(panels, packed, column, np.sign(diagonal), placed=True)
        if outcome.row >= 0:
            what = f"A without row and column {row}"
            raise self._change_error(what, outcome.row, outcome.pivot)
        nothing = np.zeros(self.shape[0], dtype=self.dtype)
        _rows.write_row_and_column(structure, panels, place, before, nothing, 1)
        self._values = self._with_row(packed, row, entries.places, 0, 1)

    def _with_row(
        self, packed: np.ndarray, row: int, places: np.ndarray, values: Any, diagonal: float
    ) -> np.ndarray:
        """Return the packed values with another row."""
        own = self._own(packed)
        if own.size:
            own[0, places] = values
            own[0, self.pattern.indptr[row]] = diagonal
        return own

    def add_row(self, row: int, a: MatrixLike) -> Self:
        """Put a row and column into the matrix in place of those of the identity.

        Parameters
        ----------
        row : int
            A row that `delete_rows` has deleted, or that is one of the identity.
        a : (n,) array_like or sparse array
            Column `row` of the new matrix, its diagonal entry included; nonzero only where the
            analyzed pattern has an entry, and on other deleted rows only if it is to be so.

        Returns
        -------
        factor
            This factor.

        Raises
        ------
        NotPositiveDefiniteError
            If the new matrix is not positive definite; of a signed factor `PivotError`. The factor
            is as it was.
        PatternMismatchError
            If `a` has a nonzero outside the analyzed pattern.
        ValueError
            If the row is not one of the identity, the shape does not fit, or `a` holds NaN or
            infinity.
        IndexError
            If `row` lies outside the matrix.

        References
        ----------
        Davis, T. A., Hager, W. W. (2005). Row modifications of a sparse Cholesky factorization.
        SIAM J. Matrix Anal. Appl. 26(3).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> A = np.array([[4.0, 2.0, 0.0], [2.0, 4.0, 2.0], [0.0, 2.0, 4.0]])
        >>> F = sc.cholesky(A).delete_rows(1).add_row(1, A[:, 1])
        >>> F.solve(A @ [1.0, 2.0, 3.0]).round(6)
        array([1., 2., 3.])
        """
        row = int(row_numbers(row, self.shape[0]))
        column = self._read(a, "a")
        if column.count != 1:
            raise ValueError("a must be one column of the matrix")
        with self._turn:
            self._add_row(row, column)
        return self

    def _add_row(self, row: int, column: Change) -> None:
        pattern, structure = self.pattern, self.pattern._structure
        panels, packed = self._writable_panels(), self._values
        place, before, entries = row_of(pattern, row)
        self._require_row_of_pattern(row, column)
        below, old, unit = _rows.column_of(structure, panels, place)
        if unit != 1 or old.any() or not _rows.is_zero_row(structure, panels, place, before):
            raise ValueError(f"row {row} is not one of the identity: delete_rows({row}) first")
        x = np.zeros(self.shape[0], dtype=self.dtype)
        np.add.at(x, pattern._place[column.rows], column.data)
        given = float(x[place].real)
        squares = _rows.solve_before(structure, panels, place, before, x)
        pivot, root = self._new_pivot(row, given, *squares)
        x[below] /= root
        nonzero = below[x[below] != 0]
        taken = one_column(nonzero, x[nonzero], self.shape[0])
        outcome = self._take_up(panels, packed, taken, -np.sign(pivot), placed=True)
        if outcome.row >= 0:
            what = f"A with row and column {row}"
            raise self._change_error(what, outcome.row, outcome.pivot)
        diagonal = float(np.sign(pivot)) * root
        _rows.write_row_and_column(structure, panels, place, before, x, diagonal)
        values = entries.values_of(column, self.shape[0])
        self._values = self._with_row(packed, row, entries.places, values, given)
        warn_of_cancellation(outcome.weakest, self.dtype)

    def _require_row_of_pattern(self, row: int, column: Change) -> None:
        """Raise PatternMismatchError unless A has room for each entry of a row."""
        starts, members, _ = self.pattern._both_triangles
        nonzero = column.rows
        inside = np.zeros(self.shape[0], dtype=bool)
        inside[members[starts[row] : starts[row + 1]]] = True
        outside = nonzero[~inside[nonzero]]
        if outside.size:
            other = int(outside.min())
            raise PatternMismatchError(
                f"a has a nonzero in row {other}, and the analyzed pattern has no entry"
                f" ({other}, {row}): analyze a pattern that has it",
                other,
                row,
            )

    def _new_pivot(
        self, row: int, given: float, taken: float, squares: float
    ) -> tuple[float, float]:
        """Return the pivot of a row that is added, and the root of its size.

        What the columns before take from the diagonal entry, and the sum of its terms, are known.
        """
        pivot = given - taken
        wrong = not self._signed and pivot < 0
        if wrong or not abs(pivot) > REFUSED_ROUNDINGS * EPS[self.dtype] * (abs(given) + squares):
            raise self._change_error(f"A with row and column {row}", row, pivot)
        return pivot, abs(pivot) ** 0.5


def warn_of_cancellation(weakest: float, dtype: np.dtype) -> None:
    """Warn where a change left less than the root of a rounding of some pivot."""
    if weakest < EPS[dtype] ** 0.5:
        warn_of_pivots(
            f"the change left only {weakest:.1g} of the terms of a pivot, and as much of the"
            " accuracy: refactorize where it matters"
        )


class RowEntries(NamedTuple):
    """Say where a row of a symmetric matrix lies in its packed values, without the diagonal.

    Attributes
    ----------
    columns : (m,) int32 ndarray
    places : (m,) int64 ndarray
        In the packed values.
    mirrored : (m,) bool ndarray
        Whether the packed values hold the entry of the row itself, not of the column.
    """

    columns: np.ndarray
    places: np.ndarray
    mirrored: np.ndarray

    def values_of(self, column: Change, n: int) -> np.ndarray:
        """Return the packed values of these entries from a column of the matrix."""
        data = column.data
        dense = np.zeros(n, dtype=data.dtype)
        np.add.at(dense, column.rows, data)
        values = dense[self.columns]
        return np.where(self.mirrored, values.conj(), values)


def row_of(pattern: "SymbolicFactor", row: int) -> tuple[int, np.ndarray, RowEntries]:
    """Find a row in the order of the kernels, the columns before it with an entry, all entries."""
    starts, members, sources = pattern._both_triangles
    here = slice(starts[row], starts[row + 1])
    columns, source = members[here], sources[here]
    off = columns != row
    columns, source = columns[off], source[off]
    place = int(pattern._place[row])
    others = pattern._place[columns]
    before = others[others < place].astype(np.int32)
    return place, before, RowEntries(columns, np.where(source < 0, ~source, source), columns < row)


def one_column(rows: np.ndarray, values: np.ndarray, n: int) -> Change:
    """Return one vector, with rows in the order of the kernels."""
    return Change(np.array([0, rows.size], dtype=rows.dtype), rows, values, n)


def by_first_row(change: Change, place: np.ndarray) -> Change:
    """Order many vectors by their first row, so that those taken up together share a path."""
    if change.count <= TOGETHER:
        return change
    start, rows = change.start, change.rows
    lengths = np.diff(start)
    first = np.full(lengths.size, np.iinfo(np.int32).max)
    filled = np.flatnonzero(lengths)
    if filled.size:
        first[filled] = np.minimum.reduceat(place[rows], start[filled])
    order = np.argsort(first, kind="stable")
    lengths = lengths[order]
    ends = np.cumsum(lengths)
    entries = np.arange(ends[-1]) + np.repeat(start[order] - ends + lengths, lengths)
    indptr, indices = np.append(0, ends), rows[entries].astype(np.int64)
    return Change(indptr, indices, change.data[entries], place.size)
