"""SingleFactor: what the factors of one matrix have in common, of Cholesky and signed."""

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array, hstack, issparse
from scipy.sparse.linalg import LinearOperator

from .. import derivatives
from .._core.numeric import packing
from .._core.numeric.one_factor import KnownPlaces, VectorSolver, packed_copy
from .._core.numeric.solve import reach
from .._exceptions import PivotError
from .._typing import Entries, MatrixLike, SparseLike, Trans
from .factor_base import RHS_BLOCK, FactorBase, checked
from .input import as_scipy, dense_rhs, entry_numbers, sparse_or_dense, sparse_rhs
from .packed_values import known_places, sorted_csc
from .symmetry import blaming_asymmetry

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor

# A solve costs about this many times nnz(L) in units of the factorization's flops: memory bounds
# it, and there are two substitutions.
SOLVE_COST = 4


class SingleFactor(FactorBase):
    """Solve, invert and read the factor of one matrix."""

    _is_batch = False
    _solver: VectorSolver
    _known: KnownPlaces | None = None  # where the values of the last matrix were

    def _use_panels(self, panels: np.ndarray) -> None:
        pattern = self.pattern
        solver = VectorSolver(pattern._structure, panels, pattern._order, self._signed)
        self._panels, self._solver = panels, solver

    def _repack(self, A: MatrixLike, lower: bool) -> np.ndarray:
        """Return the packed values of another matrix, (1, nnz), always in a fresh array.

        Those of a matrix with the index arrays of the last one come from known places.
        """
        if type(A) is np.ndarray:
            packed = packed_copy(A, self.pattern.indices.shape[0], self.dtype)
        else:
            packed = self._known and self._known.packed(A, lower, self.dtype)
        if packed is None:
            packed = self.pattern._packed(A, lower, self.dtype)[None]
            if issparse(A):
                self._known = known_places(self.pattern, A, lower)
        return packed

    def _replace(self, A: MatrixLike, lower: bool, threads: int | None, rule: Any) -> None:
        """Factor another matrix in place."""
        packed = self._repack(A, lower)
        try:
            self._refactorize(packed, threads, rule)
        except PivotError:
            with blaming_asymmetry(self.pattern, A, lower, packed[0]):
                raise

    def copy(self) -> Self:
        """Return an independent factor of the same matrix; the analyzed pattern is shared.

        Returns
        -------
        factor of the same class
        """
        return self.__copy__()

    solve: Callable[..., Any]  # by the classes below

    @overload
    def solve_triangular(
        self,
        b: SparseLike,
        *,
        trans: Trans = "N",
        permute: bool = True,
        threads: int | None = None,
    ) -> csc_array | coo_array: ...
    @overload
    def solve_triangular(
        self,
        b: ArrayLike,
        *,
        trans: Trans = "N",
        permute: bool = True,
        threads: int | None = None,
    ) -> np.ndarray: ...
    def solve_triangular(
        self,
        b: MatrixLike,
        *,
        trans: Trans = "N",
        permute: bool = True,
        threads: int | None = None,
    ) -> np.ndarray | csc_array | coo_array:
        """Solve with the triangular factor, as for sampling and whitening.

        Parameters
        ----------
        b : (n,) or (n, k) array_like, or sparse array or matrix
        trans : {'N', 'T', 'C'} or {0, 1, 2}, optional
            'N': ``L y = P b``.  'T': ``x = P^T L^-T b``.  'C': ``x = P^T L^-H b``.
        permute : bool, optional
            If False, the permutation P is left out: ``L y = b``, ``L^T x = b``, ``L^H x = b``.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        ndarray of the shape of `b`, or sparse array if `b` is sparse

        Raises
        ------
        ValueError
            If the shape does not fit, `trans` is none of these, or `b` holds NaN or infinity.

        Examples
        --------
        ``A^-1 = (P^T L^-T) (L^-1 P)``:

        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> b = np.array([2.0, 9.0])
        >>> np.allclose(F.solve_triangular(F.solve_triangular(b), trans="T"), F.solve(b))
        True
        """
        return self._columnwise(b, self._one_triangle(trans, permute), threads)

    def _columnwise(self, b, system, threads, solve=None):
        """Solve for dense or sparse b; by `solve` where `_solve` is not enough."""
        solve = self._solve if solve is None else solve
        b = sparse_or_dense(b, "b")
        if issparse(b):
            return self._sparse_columns(b, system, threads, solve)
        kind = self._vector_dtype(np.iscomplexobj(b))
        columns, shape = dense_rhs(b, self.shape[0], kind, order="F")
        return checked(solve(columns[None], system, threads)[0]).reshape(shape)

    def _sparse_columns(self, b, system, threads, solve):
        """Solve for sparse right-hand sides, a block of dense columns at a time."""
        n = self.shape[0]
        kind = self._vector_dtype(b.dtype.kind == "c")
        B = as_scipy(sparse_rhs(b, n, kind))
        pieces = []
        for j in range(0, B.shape[1], RHS_BLOCK):
            block = B[:, j : j + RHS_BLOCK]
            dense = np.asfortranarray(block.toarray())
            rows = block.indices.astype(np.int32, copy=False)
            reached = reach(self.pattern._structure, system.inward, rows)
            pieces.append(csc_array(checked(solve(dense[None], system, threads, reached)[0])))
        x = _hstack(pieces, n, kind)
        return coo_array((x.data, (x.indices,)), shape=(n,)) if b.ndim == 1 else x

    def partial_inverse(
        self, *, entries: Entries = "matrix", threads: int | None = None
    ) -> csc_array:
        """Compute the entries of ``A^-1`` on the pattern of A, or of L and its transpose.

        Parameters
        ----------
        entries : {'matrix', 'factor'}, optional
            'matrix': every entry of A as analyzed. 'factor': every entry of ``L + L^T``, in the
            numbering of A; these are more entries for no more work.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        Z : (n, n) csc_array
            Symmetric (Hermitian), sorted.

        Notes
        -----
        Takahashi, Fagan and Chen (1973), in frontal form (Campbell and Davis 1995): about twice
        the arithmetic of the factorization. The gradient of ``log det A`` with respect to the
        entries of A is this matrix (its conjugate for complex A).

        Examples
        --------
        >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
        >>> A = sp.diags_array([[-1.0] * 3, [2.0] * 4, [-1.0] * 3], offsets=[-1, 0, 1])
        >>> sc.cholesky(A).partial_inverse().toarray().round(3)
        array([[0.8, 0.6, 0. , 0. ],
               [0.6, 1.2, 0.8, 0. ],
               [0. , 0.8, 1.2, 0.6],
               [0. , 0. , 0.6, 0.8]])
        """
        if entries == "matrix":
            return self.pattern._symmetric(checked(self._on_pattern(self._inverse(threads)))[0])
        if entries != "factor":
            raise ValueError(f"entries must be 'matrix' or 'factor', not {entries!r}")
        Z = self._on_factor(self._inverse(threads)[0])
        checked(Z.data)
        return Z

    def _on_factor(self, panels) -> csc_array:
        """Return the Hermitian matrix whose lower triangle panels are, in the numbering of A."""
        Z = self._factor_matrix(panels)
        row, column = self.perm[Z.indices], np.repeat(self.perm, np.diff(Z.indptr))
        strict = row != column
        rows = np.concatenate([row, column[strict]])
        columns = np.concatenate([column, row[strict]])
        data = np.concatenate([Z.data, Z.data[strict].conj()])
        return coo_array((data, (rows, columns)), shape=self.shape).tocsc()

    def inverse_entries(
        self, rows: ArrayLike, columns: ArrayLike, *, threads: int | None = None
    ) -> np.ndarray:
        """Compute any entries of ``A^-1``, also outside every pattern.

        Parameters
        ----------
        rows, columns : array_like of int
            Broadcast against each other; negative numbers count from the end.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        ndarray of the broadcast shape

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.

        Notes
        -----
        Each distinct column (or row, whichever are fewer) costs one solve. Entries on the pattern
        of L come from one partial inverse instead, if that is cheaper.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> F.inverse_entries([0, 0], [0, 1]).round(6)
        array([ 0.666667, -0.333333])
        """
        rows, columns = entry_numbers(rows, columns, self.shape[0])
        out = np.empty(rows.size, dtype=self.dtype)
        row, column = rows.ravel(), columns.ravel()
        position, inside = places_in_inverse(self.pattern, row, column)
        if inside.any():
            packing.read_entries(self._inverse(threads)[0], position, out)
            checked(out[inside])
        rest = np.flatnonzero(~inside)
        out[rest] = self._entries_by_solves(row[rest], column[rest], threads)
        return out.reshape(rows.shape)

    def _entries_by_solves(self, row, column, threads):
        """Compute entries of the inverse by one solve for each distinct column or row."""
        flip, row, distinct, which = fewest_columns(row, column)
        by_column = np.argsort(which, kind="stable")
        starts = np.arange(0, distinct.size + RHS_BLOCK, RHS_BLOCK)
        bounds = np.searchsorted(which[by_column], starts)
        out = np.empty(row.size, dtype=self.dtype)
        for start, (begin, end) in zip(starts[:-1], pairwise(bounds), strict=True):
            chosen = distinct[start : start + RHS_BLOCK]
            unit = np.zeros((self.shape[0], chosen.size), dtype=self.dtype, order="F")
            unit[chosen, np.arange(chosen.size)] = 1
            x = checked(self._solve(unit[None], self._both_triangles(), threads)[0])
            entries = by_column[begin:end]
            out[entries] = x[row[entries], which[entries] - start]
        return out.conj() if flip else out

    @property
    def L(self) -> csc_array:
        """The lower triangular factor, in the order of `perm`; made at each call."""
        return self._factor_matrix(self._valid_panels[0])

    def _factor_matrix(self, panels) -> csc_array:
        """Return panels as a lower triangle in the order of `perm`."""
        pattern = self.pattern
        indptr, indices = pattern.factor_pattern()
        data = np.empty(indices.shape[0], dtype=self.dtype)
        packing.gather_factor(pattern._structure, panels, pattern._post, indptr, indices, data)
        return sorted_csc(data, indices, indptr, self.shape)

    def to_linear_operator(self) -> LinearOperator:
        """Return ``A^-1`` as a `scipy.sparse.linalg.LinearOperator`, as preconditioners are.

        Returns
        -------
        LinearOperator
        """
        return linear_operator(self)

    solve_vjp = derivatives.solve_vjp
    partial_inverse_vjp = derivatives.partial_inverse_vjp


def linear_operator(F: Any) -> LinearOperator:
    """Return what a factor solves with as a linear operator.

    Parameters
    ----------
    F : factor of a symmetric (Hermitian) matrix

    Returns
    -------
    LinearOperator
    """
    x = F.solve
    return LinearOperator(F.shape, matvec=x, rmatvec=x, matmat=x, rmatmat=x, dtype=F.dtype)


def places_in_inverse(
    pattern: "SymbolicFactor", row: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decide which entries of the inverse come from a partial inverse, and find them there.

    Parameters
    ----------
    pattern : SymbolicFactor
    row, column : (k,) int32 ndarray

    Returns
    -------
    position : (k,) int64 ndarray
        Places in flat panels, complemented where the mirror image is stored.
    inside : (k,) bool ndarray
        True for these entries; the others are cheaper by solves.
    """
    position = np.empty(row.size, dtype=np.int64)
    packing.find_entries(pattern._structure, row, column, position)
    inside = position != packing.ABSENT
    solves = min(np.unique(row[inside]).size, np.unique(column[inside]).size)
    return position, inside & (solves * SOLVE_COST * pattern.nnz > pattern.flops)


def fewest_columns(
    row: np.ndarray, column: np.ndarray
) -> tuple[bool, np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns of a symmetric (Hermitian) matrix that hold entries, or their mirrors.

    Parameters
    ----------
    row, column : (k,) ndarray of int

    Returns
    -------
    mirrored : bool
        Whether the mirror images are in fewer columns.
    row : (k,) ndarray
        The row of each entry, or of its image.
    distinct : (m,) ndarray
        The columns, sorted.
    which : (k,) ndarray
        The place in `distinct` of each entry's column.
    """
    mirrored = np.unique(row).size < np.unique(column).size
    if mirrored:
        row, column = column, row
    return mirrored, row, *np.unique(column, return_inverse=True)


def _hstack(pieces: list[csc_array], n: int, dtype) -> csc_array:
    """Return blocks of columns as one matrix."""
    if not pieces:
        return csc_array((n, 0), dtype=dtype)
    return csc_array(hstack(pieces, format="csc"))
