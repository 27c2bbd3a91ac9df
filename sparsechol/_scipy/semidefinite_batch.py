"""SemidefiniteBatch: the factors of many semidefinite matrices of one pattern and null space."""

import numpy as np
from numpy.typing import ArrayLike

from .._typing import WeakPivots
from .cholesky_batch import CholeskyBatch
from .factor_base import checked
from .null_space import low_rank_entries
from .semidefinite_base import Grounded, GroundedTrend, SemidefiniteBase, naming_the_null_space
from .semidefinite_factor import GroundedFactor, GroundedTrendFactor, SemidefiniteFactor


class GroundedBatch(Grounded, CholeskyBatch):
    """Hold the factors of many such matrices."""

    _single = GroundedFactor


class GroundedTrendBatch(GroundedTrend, CholeskyBatch):
    """Hold the factors of many such matrices."""

    _single = GroundedTrendFactor


class SemidefiniteBatch(SemidefiniteBase):
    """Hold the factors of many positive semidefinite matrices of one pattern and null space.

    `SymbolicFactor.factorize_batch` makes it, given ``null_space=``. Inverses are pseudo-inverses,
    and determinants products of the nonzero eigenvalues. ``len(batch)`` is the number of matrices.
    ``batch[i]`` is an independent `SemidefiniteFactor` of one of them.

    Attributes
    ----------
    grounded : CholeskyBatch
        The factors of the grounded matrices.
    null_space : NullSpace
    pattern : SymbolicFactor
    shape : tuple of int
        Shape of each matrix.
    dtype : dtype
    rank : int
        n less the dimension of the null space.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    >>> S = sc.analyze(Q)
    >>> batch = S.factorize_batch(np.outer([1.0, 4.0], S.values(Q)), null_space="components")
    >>> batch.logdet().round(6)  # the eigenvalues are 0, 1 and 3, and 0, 4 and 12
    array([1.098612, 3.871201])
    """

    grounded: CholeskyBatch
    _grounded = GroundedBatch
    _grounded_trend = GroundedTrendBatch

    def __repr__(self) -> str:
        return (
            f"<SemidefiniteBatch of {len(self)} factors of shape {self.shape}, {self.dtype},"
            f" rank {self.rank}>"
        )

    def __len__(self) -> int:
        return len(self.grounded)

    def __getitem__(self, item: int) -> SemidefiniteFactor:
        factor = object.__new__(SemidefiniteFactor)
        factor.null_space = self.null_space
        factor.grounded = self.grounded[item]
        return factor

    def refactorize(
        self,
        values: ArrayLike,
        *,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> "SemidefiniteBatch":
        """Factor as many other matrices of the same pattern and null space in place.

        Parameters
        ----------
        values, weak_pivots, threads
            As for `CholeskyBatch.refactorize`.

        Returns
        -------
        SemidefiniteBatch
            This batch.

        Raises
        ------
        NotPositiveDefiniteError, ValueError, TypeError
            As for `SymbolicFactor.factorize_batch`. If the null space does not fit, the old factors
            stay valid.
        """
        packed = self.grounded._as_many(values)
        self.null_space.require(packed, is_batch=True)
        with naming_the_null_space():
            grounded = self.null_space.ground(packed)
            self.grounded.refactorize(grounded, weak_pivots=weak_pivots, threads=threads)
        return self

    def solve(self, b: ArrayLike, *, threads: int | None = None) -> np.ndarray:
        """Compute ``A_i^+ b_i`` for every matrix, see `SemidefiniteFactor.solve`.

        Parameters
        ----------
        b : (len(self), n) or (len(self), n, k) array_like
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of the shape of `b`
            Orthogonal to the null space.

        Raises
        ------
        ValueError
            If the shape does not fit, or `b` holds NaN or infinity.
        """
        return self.grounded._columnwise(b, threads, self._projected_solve)

    def partial_inverse(self, *, threads: int | None = None) -> np.ndarray:
        """Compute the entries of every ``A_i^+`` on the pattern of A.

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        values : (len(self), len(pattern.indices)) ndarray
            The lower triangles, packed as the values of the matrices are.
        """
        V, X = self._low_rank(threads)
        indptr, rows = self.pattern.indptr, self.pattern.indices
        columns = np.repeat(np.arange(self.shape[0]), np.diff(indptr))
        Z = self.grounded.partial_inverse(threads=threads)
        return checked(Z - low_rank_entries(V, X, rows, columns))
