"""CholeskyBatch: the factors of many matrices of one pattern."""

import numpy as np
from numpy.typing import ArrayLike

from .. import derivatives
from .._typing import WeakPivots
from .cholesky_factor import CholeskyFactor
from .draws import NormalDraws
from .factor_batch import FactorBatch
from .pivots import accepts_weak


class CholeskyBatch(FactorBatch, NormalDraws):
    """Hold the Cholesky factors of many symmetric (Hermitian) matrices of one pattern.

    `SymbolicFactor.factorize_batch` makes it. Each thread takes whole matrices, with a workspace of
    its own; nothing of Python runs for a single matrix. Of float64, a thread factors and inverts
    several matrices side by side where fronts are small, one in each lane of the processor's
    vectors. Every result has the same bits as that of a single factor. ``len(batch)`` is the number
    of matrices. ``batch[i]`` is an independent `CholeskyFactor` of one of them.

    Attributes
    ----------
    pattern : SymbolicFactor
        The analyzed pattern.
    shape : tuple of int
        Shape of each matrix.
    dtype : dtype
    perm : (n,) int32 ndarray
        ``L @ L.conj().T == A[perm][:, perm]`` for each matrix.
    nnz : int
        Entries of each L.
    """

    _single = CholeskyFactor

    def __repr__(self) -> str:
        return f"<CholeskyBatch of {len(self)} factors of shape {self.shape}, {self.dtype}>"

    def refactorize(
        self,
        values: ArrayLike,
        *,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> "CholeskyBatch":
        """Factor as many other matrices of the same pattern in place.

        If a matrix is not positive definite, or Ctrl-C stops the call, the batch raises LinAlgError
        from then on, until it is refactorized.

        Parameters
        ----------
        values : (len(self), len(pattern.indices)) array_like
            Packed values of each matrix.
        weak_pivots : {'refuse', 'accept'}, optional
            What becomes of a nearly singular matrix, see `cholesky`.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        CholeskyBatch
            This batch.

        Raises
        ------
        NotPositiveDefiniteError, ValueError, TypeError
            As for `SymbolicFactor.factorize_batch`.
        """
        self._refactorize(self._as_many(values), threads, accepts_weak(weak_pivots))
        return self

    def solve(self, b: ArrayLike, *, threads: int | None = None) -> np.ndarray:
        """Solve ``A_i x_i = b_i`` for every matrix.

        Parameters
        ----------
        b : (len(self), n) or (len(self), n, k) array_like
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
        >>> S = sc.analyze(np.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> batch = S.factorize_batch([[4.0, 2.0, 5.0], [1.0, 0.0, 2.0]])
        >>> batch.solve([[2.0, 9.0], [3.0, 8.0]])
        array([[-0.5,  2. ],
               [ 3. ,  4. ]])
        """
        return self._columnwise(b, threads)

    logdet_grad = derivatives.logdet_grad
