"""LDLFactor: the signed factor that a user holds."""

from typing import overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array, dia_array, diags_array

from .. import derivatives
from .._exceptions import PivotError
from .._typing import MatrixLike, SparseLike
from .changeable_factor import ChangeableFactor
from .ldl_base import LDLBase


class LDLFactor(ChangeableFactor, LDLBase):
    """Hold the signed factor of a symmetric (Hermitian) matrix with pivots of both signs.

    `ldl` and `SymbolicFactor.ldl` make it: ``P A P^T = L D L^H``, where D has the signs of the
    pivots, 1 or -1, on its diagonal, and so has the diagonal of L. Of a positive definite matrix L
    is the Cholesky factor. Any number of threads may use one factor at the same time, except while
    one of them runs `refactorize`. A factor can be pickled. All methods release the GIL.

    Where pivots were replaced or the diagonal was shifted (``regularize=``), `solve` refines its
    result to that of A itself. Everything else is that of the matrix that was factored.

    Attributes
    ----------
    pattern : SymbolicFactor
        The analyzed pattern, shared by all factors of the same pattern.
    shape : tuple of int
    dtype : dtype
    perm : (n,) int32 ndarray
        ``L @ D @ L.conj().T == A[perm][:, perm]``.
    nnz : int
        Entries of L.
    """

    def __repr__(self) -> str:
        return f"<LDLFactor of shape {self.shape}, {self.dtype}: {self.nnz} entries in L>"

    def refactorize(
        self, A: MatrixLike, *, lower: bool = True, threads: int | None = None
    ) -> "LDLFactor":
        """Factor another matrix of the same pattern in place, with the same rule for pivots.

        The memory of the factor is reused. If a pivot is refused, or Ctrl-C stops the call, the
        factor cannot be used until the next successful call. If A has the wrong shape, a nonzero
        outside the pattern, NaN or infinity, an error is raised and the old factor stays valid.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, or ndarray of packed values
            As for `SymbolicFactor.ldl`; converted to the dtype of this factor.
        lower : bool, optional
            Which triangle of a matrix is read; packed values are always the lower one.
        threads : int, optional
            Most threads to use, see `cholesky`. More threads than before take more workspace.

        Returns
        -------
        LDLFactor
            This factor.

        Raises
        ------
        PivotError, PatternMismatchError, ValueError, TypeError
            As for `ldl`. TypeError also if a complex matrix meets a real factor.
        """
        self._replace(A, lower, threads, self._rule)
        return self

    def _change_error(self, text: str, row: int, pivot: float) -> PivotError:
        return PivotError(
            f"{text} has no signed factor in this order: the pivot at row and column {row} is"
            f" {pivot:.6g}, nothing of its terms or of another sign than signs= says; the factor is"
            " as it was",
            row,
            pivot,
        )

    @overload
    def solve(
        self, b: SparseLike, *, refine: int | None = None, threads: int | None = None
    ) -> csc_array | coo_array: ...
    @overload
    def solve(
        self, b: ArrayLike, *, refine: int | None = None, threads: int | None = None
    ) -> np.ndarray: ...
    def solve(
        self, b: MatrixLike, *, refine: int | None = None, threads: int | None = None
    ) -> np.ndarray | csc_array | coo_array:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like, or sparse array or matrix
            Any layout; not modified. A real factor takes complex right-hand sides too.
        refine : int, optional
            Most steps of iterative refinement: a product with A and a solve each. They end where
            the backward error no longer halves. By default none for a factor of A, and up to 20
            where pivots were replaced or the diagonal was shifted.
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

        Warns
        -----
        scipy.linalg.LinAlgWarning
            If the backward error after refinement is above the root of a rounding.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> K = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0], [1.0, 1.0, 0.0]])
        >>> sc.ldl(K, signs=[1, 1, -1], regularize=1e-8).solve([0.0, 0.0, 1.0]).round(12)
        array([ 0.5,  0.5, -1. ])
        """
        if refine is None and self._values is not None and self._exact:
            x = self._solver.solve(b, threads)
            if x is not None:
                return x
        system = self._both_triangles()
        return self._columnwise(b, system, threads, self._refining(refine))

    @property
    def D(self) -> dia_array:
        """The signs of the pivots on the diagonal of a matrix, in the order of `perm`."""
        negative = np.real(self.L.diagonal()) < 0
        return diags_array(np.where(negative, -1, 1).astype(np.finfo(self.dtype).dtype))

    @property
    def regularized(self) -> np.ndarray:
        """Rows of A whose pivots were replaced, in ascending order."""
        self._valid_panels  # noqa: B018 - raises where there is no factor
        return np.sort(self.pattern._order[self._replaced[0] != 0])

    logabsdet_grad = derivatives.logdet_grad
