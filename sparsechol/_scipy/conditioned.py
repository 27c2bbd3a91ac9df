"""Conditioned: a Gaussian field under linear constraints."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._cached import cached_property
from .._typing import MatrixLike, RandomState
from .constraints import bordered, fix_null_space, orthonormal_rows, right_side, rows_of
from .factor_base import checked
from .input import check_finite, entry_numbers, real_numbers
from .null_space import NullSpace, low_rank_entries
from .pivots import EPS
from .quadratic import low_rank_quadratic, read_rows
from .sweeps import Sweeps

if TYPE_CHECKING:
    from .cholesky_factor import CholeskyFactor


class Conditioned:
    """Hold the distribution of a Gaussian field x with precision Q, given ``C x = e``.

    `CholeskyFactor.condition` and `SemidefiniteFactor.condition` make it. It uses the factor of Q
    and a solve for each constraint; nothing is factored again. The mean of the field before the
    constraints is an argument of the methods, by default zero.

    Attributes
    ----------
    shape : tuple of int
        Shape of Q.
    constraints : int
        m, the number of constraints.

    Notes
    -----
    Rue and Held (2005), 2.3.3. The density is that on the plane of all x with ``C x = e``, of n - m
    dimensions. It does not depend on how the constraints are written. If Q is semidefinite, it is
    proportional to ``exp(-(x - mu)^T Q (x - mu) / 2)`` on the plane. The object cannot be used
    after `refactorize` of its factor.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([1.0, 2.0, 4.0]))
    >>> fixed = F.condition(np.ones(3), 7.0)
    >>> fixed.mean()
    array([4., 2., 1.])
    >>> fixed.marginal_variances().round(6)
    array([0.428571, 0.357143, 0.214286])
    """

    def __init__(
        self,
        F: "CholeskyFactor",
        values: np.ndarray,
        logdet: float,
        null_space: NullSpace | None,
        C: MatrixLike,
        e: ArrayLike,
        threads: int | None,
    ):
        if F.dtype.kind == "c":
            raise TypeError(f"the precision matrix holds {F.dtype}: it must be real")
        self._F, self._factored = F, F._values
        self._values, self._logdet, self._threads = values, logdet, threads
        C = rows_of(C, F.shape[0])
        self._C, change = orthonormal_rows(C)
        self._e = change @ right_side(e, len(C))
        self._V = fix_null_space(self._C, null_space)
        self._CV = self._C @ self._V

    def __repr__(self) -> str:
        return f"<Conditioned of shape {self.shape}, {self.constraints} constraints>"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the precision matrix."""
        return self._F.shape

    @property
    def constraints(self) -> int:
        """Number of constraints."""
        return len(self._e)

    @property
    def _factor(self) -> "CholeskyFactor":
        """The factor of Q, or of Q with rows grounded."""
        if self._F._values is not self._factored:
            raise ValueError("the factor was refactorized: call its method condition again")
        return self._F

    @cached_property
    def _WC(self) -> np.ndarray:
        """W C^T: a solve for each constraint."""
        F = self._factor
        return F.solve(self._C.T.astype(F.dtype), threads=self._threads).astype(np.float64)

    @cached_property
    def _solved(self) -> tuple[np.ndarray, float]:
        """M and log |det K|, see `constraints`."""
        m, k = self._CV.shape
        if m == k:
            return self._V @ np.linalg.inv(self._CV), 2 * np.linalg.slogdet(self._CV)[1]
        G = self._C @ self._WC
        scale = G.diagonal().max()
        K = bordered(G, self._CV, scale, np)
        M = np.linalg.solve(K, np.hstack([self._WC / scale, self._V]).T)[:m].T
        return M, np.linalg.slogdet(K)[1] + (m - k) * np.log(scale)

    @cached_property
    def _low_rank(self) -> tuple[np.ndarray, np.ndarray]:
        """M and X of the covariance ``W - M X^T - X M^T``."""
        M = self._solved[0]
        return M, self._WC - M @ (self._C @ self._WC) / 2

    def mean(self, mu: ArrayLike = 0.0) -> np.ndarray:
        """Compute the mean.

        Parameters
        ----------
        mu : () or (n,) array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        (n,) ndarray
            ``C mean = e``.
        """
        return self._corrected(self._mean(mu)).astype(self._factor.dtype)

    def logpdf(self, x: ArrayLike, mu: ArrayLike = 0.0) -> Any:
        """Compute the logarithm of the density, in float64.

        Parameters
        ----------
        x : (..., n) array_like
            Points with ``C x = e``.
        mu : () or (n,) array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        (...) float64 ndarray
            ``-inf`` where ``C x = e`` does not hold to half of the digits.
        """
        n, m = self.shape[0], self.constraints
        x = real_numbers(x, "x")
        if x.ndim == 0 or x.shape[-1] != n:
            raise ValueError(f"x has shape {x.shape}: its last dimension is {n}, as the matrix's")
        check_finite(x, "x")
        rows = x.reshape(math.prod(x.shape[:-1]), n)
        missed = np.abs(rows @ self._C.T - self._e)
        size = np.abs(rows) @ np.abs(self._C.T) + np.abs(self._e)
        on_plane = (missed <= EPS[self._factor.dtype] ** 0.5 * size).all(axis=1)
        d = np.ascontiguousarray((rows - self._corrected(self._mean(mu))).T)[None]
        Qd = Sweeps(self._factor, self._threads).product(self._values[None].astype(np.float64), d)
        squares = (d[0] * Qd[0]).sum(axis=0)
        logdet = self._logdet + self._solved[1]
        density = (logdet - (n - m) * np.log(2 * np.pi) - squares) / 2
        return np.where(on_plane, density, -np.inf).reshape(x.shape[:-1])[()]

    def sample(
        self,
        size: int | tuple[int, ...] | None = None,
        *,
        mu: ArrayLike = 0.0,
        rng: RandomState = None,
    ) -> np.ndarray:
        """Draw from the distribution: a draw without constraints, corrected by kriging.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the draws; by default a single draw.
        mu : () or (n,) array_like, optional
            The mean of the field without constraints.
        rng : numpy.random.Generator or seed, optional

        Returns
        -------
        x : ndarray of shape ``(*size, n)``
        """
        F = self._factor
        x = F.sample(size, rng=rng, threads=self._threads)
        return self._corrected(self._mean(mu) + x).astype(F.dtype)

    def marginal_variances(self) -> np.ndarray:
        """Compute the variance of each element.

        Returns
        -------
        (n,) ndarray
        """
        F = self._factor
        M, X = self._low_rank
        variances = F.diag_inverse(threads=self._threads) - 2 * (M * X).sum(axis=1)
        return checked(np.maximum(variances, 0).astype(F.dtype))

    def covariance_entries(self, rows: ArrayLike, columns: ArrayLike) -> np.ndarray:
        """Compute any entries of the covariance matrix.

        Parameters
        ----------
        rows, columns : array_like of int
            Broadcast against each other; negative numbers count from the end.

        Returns
        -------
        ndarray of the broadcast shape

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.
        """
        F = self._factor
        rows, columns = entry_numbers(rows, columns, self.shape[0])
        out = F.inverse_entries(rows, columns, threads=self._threads)
        return (out - low_rank_entries(*self._low_rank, rows, columns)).astype(F.dtype)

    def quadratic_variance(self, B: MatrixLike) -> Any:
        """Compute the variance of each row of ``B x``.

        Parameters
        ----------
        B : (n,) or (m, n) array_like, or (m, n) sparse array or matrix
            Real.

        Returns
        -------
        float, or (m,) ndarray

        Raises
        ------
        ValueError, TypeError
            If the shape does not fit, or `B` is complex or not finite.

        Notes
        -----
        See `CholeskyFactor.inverse_quadratic`.
        """
        F = self._factor
        rows, shape = read_rows(B, self.shape[0])
        if rows.dtype.kind == "c":
            raise TypeError(f"B holds {rows.dtype}: it must be real")
        out = F.inverse_quadratic(rows, threads=self._threads)
        out = np.maximum(out - low_rank_quadratic(*self._low_rank, rows), 0)
        return out.astype(F.dtype).reshape(shape)[()]

    def _mean(self, mu) -> np.ndarray:
        """Read a mean; a number stands for all elements."""
        n, mu = self.shape[0], real_numbers(mu, "mu")
        if mu.shape not in ((), (n,)):
            raise ValueError(f"mu has shape {mu.shape}: it is a number, or ({n},)")
        mu = np.broadcast_to(mu, (n,))
        check_finite(mu, "mu")
        return mu

    def _corrected(self, x: np.ndarray) -> np.ndarray:
        """Return ``x + M (e - C x)`` of the points in the rows of an array."""
        return x + (self._e - x @ self._C.T) @ self._solved[0].T
