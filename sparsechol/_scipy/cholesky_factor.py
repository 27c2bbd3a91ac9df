"""CholeskyFactor: the numeric factor that a user holds."""

import math
import os
import sys
import warnings
from itertools import pairwise
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgWarning
from scipy.sparse import coo_array, csc_array, hstack, issparse
from scipy.sparse.linalg import LinearOperator

from .._core.numeric import factorize as _factorize
from .._core.numeric import packing, partial_inverse, solve
from .._core.numeric.factorize import REFUSED_ROUNDINGS
from .._core.numeric.solve import NO_REACH, RHS_BLOCK
from .._core.parallel.threads import thread_count
from .._exceptions import NotPositiveDefiniteError
from . import symbolic_factor as _symbolic
from .factor_base import Panels, allocate
from .input import as_scipy, dense_rhs, sparse_rhs
from .packed_values import sorted_csc

# A pivot is warned of below the most that rounding can leave of a zero pivot (n roundings, but no
# more than this, or large float32 problems would always warn).
DOUBTFUL_ROUNDINGS = 10_000

# No right-hand side is known to be zero anywhere (see numeric.solve.forward).

EPS = {dtype: float(np.finfo(dtype).eps) for dtype in map(np.dtype, "fdFD")}


def doubtful(n: int, dtype) -> float:
    """Part of a diagonal entry that rounding may have left where elimination leaves no more."""
    return min(n, DOUBTFUL_ROUNDINGS) * EPS[dtype]


# A solve costs about this many times nnz(L) in units of the factorization's flops: it is bound by
# memory, and there are two sweeps.
SOLVE_COST = 4


class CholeskyFactor(Panels):
    """Cholesky factor of a symmetric (Hermitian) positive definite matrix, ``P A P^T = L L^H``.

    Made by `cholesky` or `SymbolicFactor.factorize`. Any number of threads may use one factor at
    the same time, except while one of them runs `refactorize`. Picklable. All methods release the
    GIL.

    The precision of the factor is the precision of everything computed from it: with a float32
    factor results are float32 (complex64 for complex right-hand sides).

    Attributes
    ----------
    symbolic : SymbolicFactor
        The analysis, shared by all factors of the same pattern.
    shape : tuple of int
    dtype : dtype
    perm : (n,) int32 ndarray
        ``L @ L.conj().T == A[perm][:, perm]``.
    nnz : int
        Entries of L.
    """

    def __init__(
        self, symbolic: "_symbolic.SymbolicFactor", packed: np.ndarray, threads: int | None = None
    ):
        structure = symbolic._structure
        length = _factorize.workspace(structure, 1, _useful_threads(structure, threads))
        # One block, for which large pages are worth while.
        block = allocate(structure.size + length, packed.dtype, "the factor and its workspace")
        self._start(symbolic, block[: structure.size])
        self._work = block[structure.size :]
        self._set(packed, threads)

    def _set(self, packed, threads) -> None:
        """Factor packed values; the factor is unusable if that fails."""
        structure = self.symbolic._structure
        threads = _useful_threads(structure, threads)
        self._values = None
        work = self._workspace(_factorize.workspace(structure, 1, threads))
        [failed], [row], [value] = _factorize.factorize(
            structure, packed[None], self._flat[None], work, threads
        )
        weakest = judge(self.symbolic, packed, failed, row, value)
        self._values = packed
        if weakest is not None:
            warnings.warn(weakest, LinAlgWarning, stacklevel=callers_level())

    @property
    def shape(self) -> tuple[int, int]:
        return self.symbolic.shape

    @property
    def perm(self) -> np.ndarray:
        return self.symbolic.perm

    @property
    def nnz(self) -> int:
        return self.symbolic.nnz

    def __repr__(self) -> str:
        return f"<CholeskyFactor of shape {self.shape}, {self.dtype}: {self.nnz} entries in L>"

    def refactorize(
        self, A: Any, lower: bool = True, threads: int | None = None
    ) -> "CholeskyFactor":
        """Factor another matrix of the same pattern in place.

        Nothing of the size of the factor is allocated, unless more threads are used than before.
        If the matrix is refused, this factor is
        unusable until `refactorize` succeeds; a matrix whose pattern, shape or values are refused
        before the factorization leaves it as it was.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, or ndarray of packed values
            As for `SymbolicFactor.factorize`; converted to the dtype of this factor.
        lower : bool, optional
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        CholeskyFactor
            This factor.

        Raises
        ------
        NotPositiveDefiniteError, PatternMismatchError, ValueError, TypeError
            As for `cholesky`. TypeError also if a complex matrix meets a real factor.
        """
        packed = self.symbolic._packed(A, lower, self.dtype)
        with self._lock:
            if not self._flat.flags.writeable:  # unpickled from read-only memory
                self._flat = allocate(self._flat.size, self.dtype, "the factor")
            self._set(packed, threads)
        return self

    def copy(self) -> "CholeskyFactor":
        """An independent factor of the same matrix; the analysis is shared."""
        other = object.__new__(type(self))
        other.__setstate__(self.__getstate__() | {"_flat": self._flat.copy()})
        return other

    __copy__ = copy

    def solve(self, b: Any, threads: int | None = None) -> Any:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like, or sparse array or matrix
            Any layout; not modified. Complex right-hand sides are allowed with a real factor.
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
        order = self.symbolic._order
        return self._columnwise(b, True, True, order, order, threads=threads)

    def solve_triangular(
        self,
        b: Any,
        trans: Literal["N", "T", "C", 0, 1, 2] = "N",
        permute: bool = True,
        threads: int | None = None,
    ) -> Any:
        """Solve with the triangular factor, as sampling and whitening need it.

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
        order, post = self.symbolic._order, self.symbolic._post
        if trans in ("N", 0):
            inward = order if permute else post
            return self._columnwise(b, True, False, inward, post, threads=threads)
        if trans not in ("T", "C", 1, 2):
            raise ValueError(f"trans must be 'N', 'T', 'C', 0, 1 or 2, not {trans!r}")
        plain = trans in ("T", 1)
        outward = order if permute else post
        return self._columnwise(b, False, True, post, outward, plain, threads)

    def _columnwise(self, b, lower, upper, inward, outward, conjugate=False, threads=None):
        """Solve with L and/or L^H for dense or sparse b (`conjugate`: conj(solve(conj(b))))."""
        if issparse(b):
            return self._sparse_columns(b, lower, upper, inward, outward, conjugate, threads)
        kind = np.result_type(self.dtype, np.complex64) if np.iscomplexobj(b) else self.dtype
        columns, shape = dense_rhs(b, self.shape[0], kind, order="F")
        x = self._solve(columns, lower, upper, inward, outward, conjugate, threads)
        return x.reshape(shape)

    def _solve(
        self,
        columns,
        lower,
        upper,
        inward,
        outward,
        conjugate=False,
        threads=None,
        reached=NO_REACH,
    ):
        """The same for a fresh (n, k) array in Fortran order, which is overwritten."""
        if columns.dtype != self.dtype:
            # A real factor acts on the real and the imaginary part alike.
            parts = np.asfortranarray(np.hstack([columns.real, columns.imag]))
            parts = self._solve(
                parts, lower, upper, inward, outward, threads=threads, reached=reached
            )
            k = columns.shape[1]
            columns.real, columns.imag = parts[:, :k], parts[:, k:]
            return columns
        structure = self.symbolic._structure
        block = max(1, min(RHS_BLOCK, columns.shape[1]))
        threads = _useful_threads(structure, threads, columns.shape[1])
        work = np.empty(solve.workspace(structure, block, threads), dtype=self.dtype)
        complex_conjugate = conjugate and self.dtype.kind == "c"
        if complex_conjugate:
            np.conjugate(columns, out=columns)
        solve.solve(
            structure,
            self._l[None],
            columns[None],
            work,
            lower,
            upper,
            inward,
            outward,
            reached,
            block,
            threads,
        )
        if complex_conjugate:
            np.conjugate(columns, out=columns)
        return columns

    def _sparse_columns(self, b, lower, upper, inward, outward, conjugate, threads):
        """Sparse right-hand sides, a block of dense columns at a time."""
        n = self.shape[0]
        kind = np.result_type(self.dtype, np.complex64) if b.dtype.kind == "c" else self.dtype
        B = as_scipy(sparse_rhs(b, n, kind))
        pieces = []
        for j in range(0, B.shape[1], RHS_BLOCK):
            block = B[:, j : j + RHS_BLOCK]
            dense = np.asfortranarray(block.toarray())
            reached = solve.reach(
                self.symbolic._structure, inward, block.indices.astype(np.int32, copy=False)
            )
            x = self._solve(dense, lower, upper, inward, outward, conjugate, threads, reached)
            pieces.append(csc_array(x))
        x = _hstack(pieces, n, kind)
        return coo_array((x.data, (x.indices,)), shape=(n,)) if b.ndim == 1 else x

    def logdet(self) -> float:
        """Logarithm of the determinant of A, in float64.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.diag([1.0, 2.0, 3.0]))
        >>> round(F.logdet(), 12)
        1.791759469228
        """
        out = np.empty(1)
        solve.logdet(self.symbolic._structure, self._l[None], out)
        return float(out[0])

    def partial_inverse(
        self, pattern: Literal["matrix", "factor"] = "matrix", threads: int | None = None
    ) -> csc_array:
        """Entries of ``A^-1`` on the pattern of A, or on that of L and its transpose.

        Parameters
        ----------
        pattern : {'matrix', 'factor'}, optional
            'matrix': every entry of A as analyzed. 'factor': every entry of ``L + L^T``, brought
            to the numbering of A; more entries for no more work.
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
        symbolic = self.symbolic
        if pattern == "matrix":
            packed = np.empty(symbolic.indices.shape[0], dtype=self.dtype)
            packing.gather_values(symbolic._structure, self._inverse(threads)[None], packed[None])
            return symbolic._symmetric(packed)
        if pattern != "factor":
            raise ValueError(f"pattern must be 'matrix' or 'factor', not {pattern!r}")
        return self._on_factor(self._inverse(threads))

    def _on_factor(self, flat) -> csc_array:
        """The Hermitian matrix whose lower triangle flat panels are, in the numbering of A."""
        Z = self._factor_matrix(flat)
        row, column = self.perm[Z.indices], np.repeat(self.perm, np.diff(Z.indptr))
        strict = row != column
        rows = np.concatenate([row, column[strict]])
        columns = np.concatenate([column, row[strict]])
        data = np.concatenate([Z.data, Z.data[strict].conj()])
        return coo_array((data, (rows, columns)), shape=self.shape).tocsc()

    def diag_inverse(self, threads: int | None = None) -> np.ndarray:
        """Diagonal of ``A^-1``: the marginal variances of N(0, A^-1).

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        (n,) real ndarray

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]])).diag_inverse().round(6)
        array([0.666667, 0.666667])
        """
        out = np.empty(self.shape[0], dtype=np.finfo(self.dtype).dtype)
        packing.gather_diagonal(self.symbolic._structure, self._inverse(threads)[None], out[None])
        return out

    def _inverse(self, threads) -> np.ndarray:
        """Panels of the partial inverse."""
        structure = self.symbolic._structure
        threads = _useful_threads(structure, threads)
        flat = allocate(structure.size, self.dtype, "the partial inverse")
        work = allocate(
            partial_inverse.workspace(structure, 1, threads), self.dtype, "the workspace"
        )
        partial_inverse.partial_inverse(structure, self._l[None], flat[None], work, threads)
        return flat

    def inverse_entries(
        self, rows: ArrayLike, cols: ArrayLike, threads: int | None = None
    ) -> np.ndarray:
        """Any entries of ``A^-1``, also outside every pattern.

        Parameters
        ----------
        rows, cols : array_like of int
            Broadcast against each other; negative ones count from the end.
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
        Entries on the pattern of L come from one partial inverse where they stand in so many
        columns that it is cheaper; all others from one solve for each distinct column (or row,
        whichever are fewer).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> F.inverse_entries([0, 0], [0, 1]).round(6)
        array([ 0.666667, -0.333333])
        """
        n = self.shape[0]
        rows, cols = np.broadcast_arrays(row_numbers(rows, n), row_numbers(cols, n))
        out = np.empty(rows.size, dtype=self.dtype)
        row, col = rows.ravel(), cols.ravel()
        structure, symbolic = self.symbolic._structure, self.symbolic
        position = np.empty(row.size, dtype=np.int64)
        packing.find_entries(structure, row, col, position)
        inside = position != packing.ABSENT
        columns = min(np.unique(row[inside]).size, np.unique(col[inside]).size)
        if columns * SOLVE_COST * symbolic.nnz > symbolic.flops:
            packing.read_entries(self._inverse(threads), position, out)
        else:
            inside[:] = False
        rest = np.flatnonzero(~inside)
        out[rest] = self._entries_by_solves(row[rest], col[rest], threads)
        return out.reshape(rows.shape)

    def _entries_by_solves(self, row, col, threads):
        """Entries of the inverse by one solve for each distinct column or row."""
        flip = np.unique(row).size < np.unique(col).size
        if flip:
            row, col = col, row
        distinct, which = np.unique(col, return_inverse=True)
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(0, distinct.size + RHS_BLOCK, RHS_BLOCK))
        out = np.empty(row.size, dtype=self.dtype)
        for j, (begin, end) in enumerate(pairwise(bounds)):
            chosen = distinct[j * RHS_BLOCK : (j + 1) * RHS_BLOCK]
            unit = np.zeros((self.shape[0], chosen.size), dtype=self.dtype, order="F")
            unit[chosen, np.arange(chosen.size)] = 1
            places = self.symbolic._order
            x = self._solve(unit, True, True, places, places, threads=threads)
            entries = order[begin:end]
            out[entries] = x[row[entries], which[entries] - j * RHS_BLOCK]
        return out.conj() if flip else out

    def sample(
        self,
        size: int | tuple[int, ...] | None = None,
        rng: Any = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Draw from the normal distribution with mean zero and precision matrix A.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the draws; by default a single one.
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
        shape = () if size is None else (size,) if isinstance(size, Integral) else tuple(size)
        count = math.prod(shape)
        z = rng.standard_normal((count, n))
        if self.dtype.kind == "c":
            z = (z + 1j * rng.standard_normal((count, n))) * np.sqrt(0.5)
        columns = np.asfortranarray(z.T.astype(self.dtype))
        symbolic = self.symbolic
        x = self._solve(columns, False, True, symbolic._post, symbolic._order, threads=threads)
        return np.ascontiguousarray(x.T).reshape(*shape, n)

    @property
    def L(self) -> csc_array:
        """Lower triangular factor, ``L @ L.conj().T == A[perm][:, perm]``; made at each call."""
        return self._factor_matrix(self._l)

    def _factor_matrix(self, flat) -> csc_array:
        """Flat panels as a lower triangle in the order of `perm`."""
        symbolic = self.symbolic
        indptr, indices = symbolic.factor_pattern()
        data = np.empty(indices.shape[0], dtype=self.dtype)
        packing.gather_factor(symbolic._structure, flat, symbolic._post, indptr, indices, data)
        return sorted_csc(data, indices, indptr, self.shape)

    def to_linear_operator(self) -> LinearOperator:
        """``A^-1`` as a `scipy.sparse.linalg.LinearOperator`: a preconditioner, for instance."""
        return LinearOperator(
            self.shape,
            matvec=self.solve,
            rmatvec=self.solve,
            matmat=self.solve,
            rmatmat=self.solve,
            dtype=self.dtype,
        )

    def condest(self) -> float:
        """Estimate of the condition number of A in the 1-norm, ``|A| |A^-1|``.

        A lower bound, rarely off by more than a factor of three; a few solves.

        References
        ----------
        Higham, N. J. (1988). FORTRAN codes for estimating the one-norm of a real or complex
        matrix. ACM Trans. Math. Softw. 14(4), algorithm SONEST.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> round(sc.cholesky(np.diag([1.0, 10.0, 1000.0])).condest(), 6)
        1000.0
        """
        n = self.shape[0]
        if n == 0:
            raise np.linalg.LinAlgError("an empty matrix has no condition number")
        values, diagonal = self._checked_values(), self.symbolic.indptr[:-1]
        sizes = np.abs(values)
        sizes[diagonal] = np.abs(values[diagonal].real)  # all that was read of the diagonal
        A = self.symbolic._symmetric(sizes)
        norm = float(np.max(A.sum(axis=0)))
        estimate, x = 0.0, np.full(n, 1 / n)
        for _ in range(5):
            y = self.solve(x)
            size = float(np.abs(y).sum())
            if size <= estimate:
                break
            estimate = size
            with np.errstate(invalid="ignore"):
                direction = np.where(y == 0, 1, y / np.abs(y))
            gradient = np.abs(self.solve(direction))
            j = int(np.argmax(gradient))
            x = np.zeros(n)
            x[j] = 1
        alternating = (1 + np.arange(n) / max(n - 1, 1)) * (-1.0) ** np.arange(n)
        other = 2 * float(np.abs(self.solve(alternating)).sum()) / (3 * n)
        return norm * max(estimate, other)

    def _checked_values(self) -> np.ndarray:
        """Packed values of A, if there is a valid factor."""
        self._l  # noqa: B018
        return self._values


def row_numbers(index, n) -> np.ndarray:
    """Rows or columns of a matrix of order n; negative ones count from the end."""
    index = np.asarray(index)
    if index.dtype.kind not in "iu" and index.size:
        raise IndexError(f"rows and columns are integers, not {index.dtype}")
    outside = (index < -n) | (index >= n)
    if outside.any():
        raise IndexError(
            f"row or column {index[outside].flat[0]} is outside a matrix of shape {(n, n)}"
        )
    index = index.astype(np.int64)  # shorter types may not hold n
    return np.where(index < 0, index + n, index).astype(np.int32)


def judge(symbolic, packed, failed, row, value, item: int | None = None) -> str | None:
    """What the kernel reports of one matrix (see numeric.factorize): an error, a warning or None.

    `item` is its number in a batch.
    """
    name = "the matrix" if item is None else f"matrix {item} of the batch"
    if failed >= 0:
        raise NotPositiveDefiniteError(
            f"{name} is not positive definite: the pivot at row and column {failed} is {value:.6g}",
            int(failed),
            float(value),
            item,
        )
    if value <= REFUSED_ROUNDINGS * EPS[packed.dtype]:
        pivot = float(value * abs(packed[symbolic.indptr[row]]))
        raise NotPositiveDefiniteError(
            f"{name} is singular to working precision: of the diagonal entry at row and"
            f" column {row} elimination left the pivot {pivot:.3g}, which is rounding",
            int(row),
            pivot,
            item,
        )
    if value <= doubtful(symbolic.shape[0], packed.dtype):
        return (
            f"ill-conditioned {name.removeprefix('the ')}: elimination left {value:.3g} of the"
            f" diagonal entry at row and column {row}; results may not be accurate"
        )
    return None


_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def callers_level() -> int:
    """The `stacklevel` with which our caller warns of the first frame outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def _useful_threads(structure, threads: int | None, columns: int = 1) -> int:
    """Threads for one matrix and so many right-hand sides: one where more would not gain."""
    most = solve.most_threads(structure, columns)
    if most == 1:
        if threads is not None:
            thread_count(threads)  # refuses what is no number of threads
        return 1
    return min(thread_count(threads), most)


def _hstack(pieces: list[csc_array], n: int, dtype) -> csc_array:
    if not pieces:
        return csc_array((n, 0), dtype=dtype)
    return csc_array(hstack(pieces, format="csc"))
