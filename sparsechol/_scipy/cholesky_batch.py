"""CholeskyBatch: the factors of many matrices of one pattern."""

import numpy as np
from numpy.typing import ArrayLike

from .. import derivatives
from .._typing import WeakPivots
from .cholesky_factor import CholeskyFactor
from .factor_base import FactorBase, checked
from .input import dense_rhs, unmasked


class CholeskyBatch(FactorBase):
    """Hold the Cholesky factors of many symmetric (Hermitian) matrices of one pattern.

    `SymbolicFactor.factorize_batch` makes it. Each thread takes whole matrices, with a workspace of
    its own; nothing of Python runs for a single matrix. Every result has the same bits as that of
    a single factor. ``len(batch)`` is the number of matrices. ``batch[i]`` is an independent
    `CholeskyFactor` of one of them.

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

    _is_batch = True

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, item: int) -> CholeskyFactor:
        factor = object.__new__(CholeskyFactor)
        own = {
            "_panels": self._valid_panels[item][None].copy(),
            "_values": self._values[item][None].copy(),
        }
        factor.__setstate__(self.__getstate__() | own)
        return factor

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
        packed = self.pattern._packed_batch(values, self.dtype)
        if len(packed) != len(self):
            raise ValueError(f"{len(packed)} matrices do not fit a batch of {len(self)}")
        self._refactorize(packed, threads, weak_pivots)
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
        b = unmasked(b, "b")
        count, n = len(self), self.shape[0]
        if b.ndim not in (2, 3) or b.shape[:2] != (count, n):
            raise ValueError(
                f"the shapes of the batch, {count} matrices of {(n, n)}, and b, {b.shape}, do not"
                f" fit: b is ({count}, {n}) or ({count}, {n}, k)"
            )
        rows = b.reshape(count * n, *b.shape[2:])
        columns, _ = dense_rhs(rows, count * n, self._vector_dtype(b.dtype.kind == "c"))
        columns = columns.reshape(count, n, b.shape[2] if b.ndim == 3 else 1)
        return checked(self._solve(columns, self._both_triangles(), threads)).reshape(b.shape)

    def partial_inverse(self, *, threads: int | None = None) -> np.ndarray:
        """Compute the entries of every ``A_i^-1`` on the pattern of A.

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        values : (len(self), len(pattern.indices)) ndarray
            The lower triangles, packed as the values of the matrices are.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> S = sc.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> S.factorize_batch([[2.0, 1.0, 2.0], [1.0, 0.0, 4.0]]).partial_inverse().round(6)
        array([[ 0.666667, -0.333333,  0.666667],
               [ 1.      , -0.      ,  0.25    ]])
        """
        return checked(self._on_pattern(self._inverse(threads)))

    logdet_grad = derivatives.logdet_grad
    solve_vjp = derivatives.solve_vjp
    partial_inverse_vjp = derivatives.partial_inverse_vjp
