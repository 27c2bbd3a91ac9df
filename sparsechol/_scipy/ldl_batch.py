"""LDLBatch: the signed factors of many matrices of one pattern."""

import numpy as np
from numpy.typing import ArrayLike

from .. import derivatives
from .factor_batch import FactorBatch
from .ldl_base import LDLBase
from .ldl_factor import LDLFactor


class LDLBatch(FactorBatch, LDLBase):
    """Hold the signed factors of many symmetric (Hermitian) matrices of one pattern.

    `SymbolicFactor.ldl_batch` makes it. Each thread takes whole matrices, with a workspace of its
    own. ``len(batch)`` is the number of matrices. ``batch[i]`` is an independent `LDLFactor` of one
    of them.

    Attributes
    ----------
    pattern : SymbolicFactor
        The analyzed pattern.
    shape : tuple of int
        Shape of each matrix.
    dtype : dtype
    perm : (n,) int32 ndarray
        ``L @ D @ L.conj().T == A[perm][:, perm]`` for each matrix.
    nnz : int
        Entries of each L.
    """

    _single = LDLFactor

    def __repr__(self) -> str:
        return f"<LDLBatch of {len(self)} factors of shape {self.shape}, {self.dtype}>"

    def refactorize(self, values: ArrayLike, *, threads: int | None = None) -> "LDLBatch":
        """Factor as many other matrices in place, with the same rule for pivots.

        If a pivot is refused, or Ctrl-C stops the call, the batch raises LinAlgError from then on,
        until it is refactorized.

        Parameters
        ----------
        values : (len(self), len(pattern.indices)) array_like
            Packed values of each matrix.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        LDLBatch
            This batch.

        Raises
        ------
        PivotError, ValueError, TypeError
            As for `SymbolicFactor.ldl_batch`.
        """
        self._refactorize(self._as_many(values), threads, self._rule)
        return self

    def solve(
        self, b: ArrayLike, *, refine: int | None = None, threads: int | None = None
    ) -> np.ndarray:
        """Solve ``A_i x_i = b_i`` for every matrix.

        Parameters
        ----------
        b : (len(self), n) or (len(self), n, k) array_like
        refine : int, optional
            Most steps of iterative refinement, see `LDLFactor.solve`.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of the shape of `b`

        Raises
        ------
        ValueError
            If the shape does not fit, or `b` holds NaN or infinity.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> S = sc.analyze(np.array([[1.0, 2.0], [2.0, 1.0]]))
        >>> S.ldl_batch([[1.0, 2.0, 1.0], [1.0, 0.0, -2.0]]).solve([[3.0, 3.0], [1.0, 2.0]])
        array([[ 1.,  1.],
               [ 1., -1.]])
        """
        return self._columnwise(b, threads, self._refining(refine))

    @property
    def regularized(self) -> list[np.ndarray]:
        """For each matrix the rows whose pivots were replaced, in ascending order."""
        self._valid_panels  # noqa: B018 - raises where there is no factor
        return [np.sort(self.pattern._order[row != 0]) for row in self._replaced]

    logabsdet_grad = derivatives.logdet_grad
