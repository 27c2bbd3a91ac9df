"""CholeskyFactor: the numeric factor that a user holds."""

import math
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, cast, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array, hstack, issparse
from scipy.sparse.linalg import LinearOperator

from .. import derivatives
from .._core.numeric import packing, solve
from .._typing import Entries, MatrixLike, RandomState, SparseLike, Trans, WeakPivots
from .factor_base import RHS_BLOCK, FactorBase, checked
from .input import as_scipy, dense_rhs, row_numbers, sparse_rhs
from .packed_values import sorted_csc
from .symmetry import blaming_asymmetry

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor

# A solve costs about this many times nnz(L) in units of the factorization's flops: memory bounds
# it, and there are two substitutions.
SOLVE_COST = 4


class CholeskyFactor(FactorBase):
    """Hold the Cholesky factor of a symmetric (Hermitian) positive definite matrix.

    `cholesky` and `SymbolicFactor.factorize` make it: ``P A P^T = L L^H``. Any number of threads
    may use one factor at the same time, except while one of them runs `refactorize`. A factor can
    be pickled. All methods release the GIL.

    Results have the precision of the factor: with a float32 factor they are float32, or complex64
    for complex right-hand sides.

    Attributes
    ----------
    pattern : SymbolicFactor
        The analyzed pattern, shared by all factors of the same pattern.
    shape : tuple of int
    dtype : dtype
    perm : (n,) int32 ndarray
        ``L @ L.conj().T == A[perm][:, perm]``.
    nnz : int
        Entries of L.
    """

    _is_batch = False

    def __repr__(self) -> str:
        return f"<CholeskyFactor of shape {self.shape}, {self.dtype}: {self.nnz} entries in L>"

    def refactorize(
        self,
        A: MatrixLike,
        *,
        lower: bool = True,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> "CholeskyFactor":
        """Factor another matrix of the same pattern in place.

        The memory of the factor is reused. If A is not positive definite, or Ctrl-C stops the call,
        the factor cannot be used until the next successful call. If A has the wrong shape, a
        nonzero outside the pattern, NaN or infinity, an error is raised and the old factor stays
        valid.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, or ndarray of packed values
            As for `SymbolicFactor.factorize`; converted to the dtype of this factor.
        lower : bool, optional
            Which triangle of a matrix is read; packed values are always the lower one.
        weak_pivots : {'refuse', 'accept'}, optional
            What becomes of a nearly singular matrix, see `cholesky`.
        threads : int, optional
            Most threads to use, see `cholesky`. More threads than before take more workspace.

        Returns
        -------
        CholeskyFactor
            This factor.

        Raises
        ------
        NotPositiveDefiniteError, PatternMismatchError, ValueError, TypeError
            As for `cholesky`. TypeError also if a complex matrix meets a real factor.
        """
        packed = self.pattern._packed(A, lower, self.dtype)
        with blaming_asymmetry(self.pattern, A, lower, packed):
            self._refactorize(packed[None], threads, weak_pivots)
        return self

    def copy(self) -> "CholeskyFactor":
        """Return an independent factor of the same matrix; the analyzed pattern is shared.

        Returns
        -------
        CholeskyFactor
        """
        other = object.__new__(type(self))
        other.__setstate__(self.__getstate__() | {"_panels": self._panels.copy()})
        return other

    __copy__ = copy

    @overload
    def solve(self, b: SparseLike, *, threads: int | None = None) -> csc_array | coo_array: ...
    @overload
    def solve(self, b: ArrayLike, *, threads: int | None = None) -> np.ndarray: ...
    def solve(
        self, b: MatrixLike, *, threads: int | None = None
    ) -> np.ndarray | csc_array | coo_array:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like, or sparse array or matrix
            Any layout; not modified. A real factor takes complex right-hand sides too.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of the shape of `b`, or csc_array (coo_array if one-dimensional) if `b` is
            sparse; exact zeros are not stored in it.

        Raises
        ------
        ValueError
            If the shape does not fit, or `b` holds NaN or infinity.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> F.solve([2.0, 9.0])
        array([-0.5,  2. ])
        """
        return self._columnwise(b, self._both_triangles(), threads)

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

    def _columnwise(self, b, system, threads):
        """Solve for dense or sparse b."""
        if issparse(b):
            return self._sparse_columns(b, system, threads)
        kind = self._vector_dtype(np.iscomplexobj(b))
        columns, shape = dense_rhs(b, self.shape[0], kind, order="F")
        return checked(self._solve(columns[None], system, threads)[0]).reshape(shape)

    def _sparse_columns(self, b, system, threads):
        """Solve for sparse right-hand sides, a block of dense columns at a time."""
        n = self.shape[0]
        kind = self._vector_dtype(b.dtype.kind == "c")
        B = as_scipy(sparse_rhs(b, n, kind))
        pieces = []
        for j in range(0, B.shape[1], RHS_BLOCK):
            block = B[:, j : j + RHS_BLOCK]
            dense = np.asfortranarray(block.toarray())
            rows = block.indices.astype(np.int32, copy=False)
            reached = solve.reach(self.pattern._structure, system.inward, rows)
            pieces.append(csc_array(checked(self._solve(dense[None], system, threads, reached)[0])))
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
        n = self.shape[0]
        rows, columns = np.broadcast_arrays(row_numbers(rows, n), row_numbers(columns, n))
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
        flip = np.unique(row).size < np.unique(column).size
        if flip:
            row, column = column, row
        distinct, which = np.unique(column, return_inverse=True)
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

    def sample(
        self,
        size: int | tuple[int, ...] | None = None,
        *,
        rng: RandomState = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Draw from the normal distribution with mean zero and precision matrix A.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the draws; by default a single draw.
        rng : numpy.random.Generator or seed, optional
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of shape ``(*size, n)``
            Draws from N(0, A^-1): ``x = P^T L^-H z`` with standard normal z; for complex A
            circular, so that ``E[x x^H] = A^-1``.

        References
        ----------
        Rue, H. (2001). Fast sampling of Gaussian Markov random fields. J. R. Stat. Soc. B 63(2).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.diag([1.0, 4.0, 100.0]))
        >>> F.sample(10_000, rng=0).std(axis=0).round(1)
        array([1. , 0.5, 0.1])
        """
        rng = np.random.default_rng(rng)
        n = self.shape[0]
        shape = (
            ()
            if size is None
            else (size,)
            if isinstance(size, Integral)
            else tuple(cast("tuple[int, ...]", size))
        )
        count = math.prod(shape)
        z = rng.standard_normal((count, n))
        if self.dtype.kind == "c":
            z = (z + 1j * rng.standard_normal((count, n))) * np.sqrt(0.5)
        columns = np.asfortranarray(z.T.astype(self.dtype))
        x = checked(self._solve(columns[None], self._one_triangle("C", permute=True), threads)[0])
        return np.ascontiguousarray(x.T).reshape(*shape, n)

    @property
    def L(self) -> csc_array:
        """Lower triangular factor, ``L @ L.conj().T == A[perm][:, perm]``; made at each call."""
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
        return LinearOperator(
            self.shape,
            matvec=self.solve,
            rmatvec=self.solve,
            matmat=self.solve,
            rmatmat=self.solve,
            dtype=self.dtype,
        )

    logdet_grad = derivatives.logdet_grad
    solve_vjp = derivatives.solve_vjp
    partial_inverse_vjp = derivatives.partial_inverse_vjp


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


def _hstack(pieces: list[csc_array], n: int, dtype) -> csc_array:
    """Return blocks of columns as one matrix."""
    if not pieces:
        return csc_array((n, 0), dtype=dtype)
    return csc_array(hstack(pieces, format="csc"))
