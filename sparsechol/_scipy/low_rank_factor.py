"""LowRankFactor: a Cholesky factor and a correction of low rank beside it.

With A = L L^H and V = L^-1 C, so that C D C^H = L (V D V^H) L^H, an orthonormal basis U of the
columns of V in which V D V^H is diagonal gives everything:

    A + C D C^H = L (I + U diag(w) U^H) L^H
    inverse       L^-H (I - U diag(w / (1 + w)) U^H) L^-1
    determinant   det A  prod(1 + w)
    root          L^-H (I + U diag((1 + w)^-1/2 - 1) U^H)      times its adjoint is the inverse

These are the formula of Woodbury and the matrix determinant lemma, in a form that inverts nothing
but the numbers 1 + w.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse

from .._exceptions import NotPositiveDefiniteError
from .._typing import MatrixLike, RandomState
from .factor_base import Slogdet, checked
from .input import (
    check_rhs_shape,
    dense_of,
    dense_rhs,
    draws_shape,
    entry_numbers,
    numbers,
    sparse_or_dense,
)
from .pivots import EPS
from .quadratic import read_rows

if TYPE_CHECKING:
    from .cholesky_factor import CholeskyFactor


class LowRankFactor:
    """Hold ``A + C D C^H`` as a factor of A and a correction.

    `CholeskyFactor.with_low_rank` makes it. Any number of threads may use it. After its factor was
    refactorized or changed it raises ValueError.

    Attributes
    ----------
    factor : CholeskyFactor
        That of A.
    shape : tuple of int
    dtype : dtype
    rank : int
        Number of columns of C.
    """

    def __init__(self, factor: "CholeskyFactor", C: np.ndarray, D: np.ndarray):
        self.factor, self._factored = factor, factor._values
        V = factor.solve_triangular(C)
        Q, R = np.linalg.qr(V)
        core = R @ D @ R.conj().T
        self._w, Z = np.linalg.eigh((core + core.conj().T) / 2)
        self._basis = Q @ Z
        self.rank: int = C.shape[1]
        self._require_definite()

    def _require_definite(self) -> None:
        """Raise NotPositiveDefiniteError unless all 1 + w are positive."""
        least = float((1 + self._w).min(initial=1))
        size = float(np.abs(self._w).max(initial=1))
        if not least > 16 * EPS[self.dtype] * size:
            worst = int(np.argmin(self._w))
            row = int(np.argmax(np.abs(self._directions[:, worst])))
            raise NotPositiveDefiniteError(
                "A + C D C^H is not positive definite, or not to working precision: relative to A"
                f" its least eigenvalue is {least:.3g}, with the largest part in row {row}",
                row,
                least,
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.factor.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.factor.dtype

    @property
    def _current(self) -> "CholeskyFactor":
        """The factor of A, unless it was changed since."""
        if self.factor._values is not self._factored:
            raise ValueError("the factor was changed: call its method with_low_rank again")
        return self.factor

    def __repr__(self) -> str:
        return (
            f"<LowRankFactor of shape {self.shape}, {self.dtype}: {self.factor}, rank {self.rank}>"
        )

    @property
    def condition(self) -> float:
        """Condition number of the correction, ``(1 + max w) / (1 + min w)``, relative to A.

        Results lose about as many digits as it has, besides those that A itself costs.
        """
        return float((1 + self._w).max(initial=1) / (1 + self._w).min(initial=1))

    @property
    def _directions(self) -> np.ndarray:
        """L^-H U, in the numbering of A."""
        return self._current.solve_triangular(self._basis, trans="C")

    def _corrected(self, y: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return y + U diag(scale) U^H y."""
        return y + self._basis @ ((scale * (self._basis.conj().T @ y).T).T)

    def solve(self, b: ArrayLike) -> np.ndarray:
        """Solve ``(A + C D C^H) x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like

        Returns
        -------
        x : ndarray of the shape of `b`

        Raises
        ------
        ValueError
            If the shape does not fit, or `b` holds NaN or infinity.
        """
        if issparse(b):
            raise TypeError("b must be dense: the solution of a low-rank correction is")
        y = self._current.solve_triangular(b)
        return self._current.solve_triangular(
            self._corrected(y, -self._w / (1 + self._w)), trans="C"
        )

    def logdet(self) -> float:
        """Compute the logarithm of the determinant, in float64.

        Returns
        -------
        float
        """
        return self._current.logdet() + float(np.log1p(self._w.astype(float)).sum())

    def slogdet(self) -> Slogdet[float]:
        """Compute the sign, 1, and the logarithm of the determinant.

        Returns
        -------
        sign, logabsdet : float
        """
        return Slogdet(1.0, self.logdet())

    def diag_inverse(self, *, threads: int | None = None) -> np.ndarray:
        """Compute the diagonal of the inverse: the marginal variances.

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        (n,) real ndarray
        """
        squares = np.abs(self._directions) ** 2
        return self._current.diag_inverse(threads=threads) - squares @ (self._w / (1 + self._w))

    def inverse_entries(
        self, rows: ArrayLike, columns: ArrayLike, *, threads: int | None = None
    ) -> np.ndarray:
        """Compute any entries of the inverse.

        Parameters
        ----------
        rows, columns : array_like of int
            Broadcast against each other; negative numbers count from the end.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        ndarray of the broadcast shape
        """
        rows, columns = entry_numbers(rows, columns, self.shape[0])
        found = self._current.inverse_entries(rows, columns, threads=threads)
        X, weights = self._directions, self._w / (1 + self._w)
        return found - (X[rows] * X[columns].conj()) @ weights

    def inverse_quadratic(self, B: MatrixLike, *, threads: int | None = None) -> Any:
        """Compute ``b (A + C D C^H)^-1 b^H`` for each row b of B.

        Parameters
        ----------
        B, threads
            As for `CholeskyFactor.inverse_quadratic`.

        Returns
        -------
        float, or (m,) real ndarray
        """
        rows, shape = read_rows(B, self.shape[0])
        found = self._current.inverse_quadratic(rows, threads=threads)
        squares = np.abs(rows @ self._directions) ** 2
        return (found - squares @ (self._w / (1 + self._w))).astype(found.dtype).reshape(shape)[()]

    def sample(
        self, size: int | tuple[int, ...] | None = None, *, rng: RandomState = None
    ) -> np.ndarray:
        """Draw from the normal distribution with mean zero and this precision matrix.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the draws; by default a single draw.
        rng : numpy.random.Generator or seed, optional

        Returns
        -------
        x : ndarray of shape ``(*size, n)``
        """
        shape = draws_shape(size)
        [z] = self._current._normal_draws(math.prod(shape), rng)
        root = self._corrected(z, (1 + self._w) ** -0.5 - 1)
        x = checked(self._current.solve_triangular(root, trans="C"))
        return np.ascontiguousarray(x.T).reshape(*shape, self.shape[0])


def read_correction(
    factor: "CholeskyFactor", C: MatrixLike, D: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the columns and the weights of a low-rank correction.

    Returns
    -------
    C : (n, k) ndarray
    D : (k, k) ndarray
        Hermitian.

    Raises
    ------
    ValueError, TypeError
        If shapes or types do not fit, a number is not finite, or D is not Hermitian.
    """
    given = sparse_or_dense(C, "C")
    if given.dtype.kind == "c" != factor.dtype.kind:
        raise TypeError("C is complex and the factor is real: factor A as complex")
    check_rhs_shape(given.shape, factor.shape[0], "C")
    columns, _ = dense_rhs(dense_of(given, "C"), factor.shape[0], factor.dtype, "F", "C")
    k = columns.shape[1]
    if D is None:
        return columns, np.eye(k, dtype=factor.dtype)
    weights = numbers(D, "D")
    if weights.shape not in ((k,), (k, k)):
        raise ValueError(f"D has shape {weights.shape}: for {k} columns of C it is (k,) or (k, k)")
    weights, _ = dense_rhs(weights, k, np.result_type(weights.dtype, factor.dtype), "F", "D")
    if np.ndim(D) == 1:
        weights = np.diag(weights[:, 0])
    if weights.dtype.kind == "c" != factor.dtype.kind:
        raise TypeError("D is complex and the factor is real: factor A as complex")
    skew = np.abs(weights - weights.conj().T)
    if not skew.max(initial=0) <= 100 * EPS[factor.dtype] * np.abs(weights).max(initial=0):
        row, column = np.unravel_index(np.argmax(skew), skew.shape)
        raise ValueError(f"D must be symmetric (Hermitian): entries ({row}, {column}) differ")
    return columns, weights.astype(factor.dtype)
