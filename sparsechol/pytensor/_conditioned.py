"""Fields under linear constraints C x = e; the formulas are in `sparsechol._scipy.constraints`."""

from math import log, pi
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import ArrayLike

from .._cached import cached_property
from .._scipy.constraints import fix_null_space, orthonormal_rows, rows_of
from .._scipy.null_space import NullSpace, low_rank_entries
from .._typing import MatrixLike
from . import _ops as ops
from ._rows import low_rank_quadratic
from ._shapes import ends_in, known_entries, leading


class Conditioned:
    """The distribution of a Gaussian field x with precision Q, given ``C x = e``.

    `SymmetricMatrix.condition` and `SemidefiniteFactor.condition` make it. The mean of the field
    before the constraints is an argument of the methods, by default zero. What depends on a Q
    without a factor is NaN.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        'float32' or 'float64'.
    constraints : int
        m, the number of constraints.

    Examples
    --------
    >>> import numpy as np, sparsechol.pytensor as scpt
    >>> fixed = scpt.from_sparse(np.diag([1.0, 2.0, 4.0])).condition(np.ones(3), 7.0)
    >>> print(fixed.mean().eval().round(6))
    [4. 2. 1.]
    >>> print(fixed.marginal_variances().eval().round(6))
    [0.428571 0.357143 0.214286]
    """

    def __init__(
        self,
        field: Any,
        definite: Any,
        null_space: NullSpace | None,
        C: MatrixLike,
        e: pt.TensorLike,
    ):
        self._field, self._definite = field, definite
        self._rows, change = orthonormal_rows(rows_of(C, field.shape[0]))
        m = self.constraints
        [e] = ops.as_floats(e)
        if e.type.ndim and not ends_in(e, m):
            raise ValueError(
                f"e has shape {e.type.shape}: there are {m} constraints, it is () or (..., {m})"
            )
        self._e = (e + pt.zeros(m, e.type.dtype)) @ change.T.astype(self.dtype)
        self._V = fix_null_space(self._rows, null_space)

    def __repr__(self) -> str:
        return f"<Conditioned of shape {self.shape}, {self.constraints} constraints>"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the precision matrix."""
        return self._field.shape

    @property
    def dtype(self) -> str:
        """'float32' or 'float64'."""
        return self._field.dtype

    @property
    def constraints(self) -> int:
        """Number of constraints."""
        return self._rows.shape[0]

    @property
    def _C(self):
        return pt.constant(self._rows.astype(self.dtype))

    @cached_property
    def _WC(self):
        """W C^T, (..., n, m): a solve for each constraint."""
        return self._definite.solve(self._C.T)

    @cached_property
    def _solved(self):
        """M, (..., n, m), and log |det K|."""
        CV = (self._rows @ self._V).astype(self.dtype)
        m, k = CV.shape
        if m == k:
            M = self._V.astype(self.dtype) @ np.linalg.inv(CV)
            batch = pt.zeros((*leading(self._definite.values), 1, 1), self.dtype)
            return batch + M, 2 * float(np.linalg.slogdet(CV)[1])
        G = self._C @ self._WC
        scale = pt.max(G, axis=(-2, -1), keepdims=True)
        K, right = G / scale, self._WC / scale
        if k:
            spread = pt.ones_like(scale)
            beside = pt.concatenate([K, spread * CV], axis=-1)
            below = pt.concatenate([spread * CV.T, spread * np.zeros((k, k), CV.dtype)], axis=-1)
            K = pt.concatenate([beside, below], axis=-2)
            V = self._V.astype(self.dtype)
            right = pt.concatenate([right, spread * V], axis=-1)
        M = pt.linalg.solve(K, right.mT, b_ndim=2, check_finite=False).mT[..., :m]
        logdet = pt.linalg.slogdet(K)[1] + (m - k) * pt.log(scale[..., 0, 0])
        return M, logdet

    def _corrected(self, x):
        """Return the point with C x = e that kriging makes of x."""
        M, _ = self._solved
        missing = self._e - x @ self._C.T
        return x + (M * missing[..., None, :]).sum(axis=-1)

    def mean(self, mu: pt.TensorLike = 0.0) -> pt.TensorVariable:
        """Return the mean.

        Parameters
        ----------
        mu : () or (..., n) tensor variable or array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        TensorVariable, (..., n)
            ``C mean = e``.
        """
        [mu] = ops.as_floats(mu)
        return self._corrected(mu + pt.zeros(self.shape[0], self.dtype))

    def gmrf_logp(self, x: pt.TensorLike, mu: pt.TensorLike = 0.0) -> pt.TensorVariable:
        """Return the log density at `x`.

        Parameters
        ----------
        x : (..., n) tensor variable or array_like
            Points with ``C x = e``; that it holds is not tested.
        mu : () or (..., n) tensor variable or array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        TensorVariable, a scalar or (...)
            The density on the plane of all x with ``C x = e``.
        """
        Q, dimension = self._field, self.shape[0] - self.constraints
        [x] = ops.as_floats(x)
        squares = Q.quad_form(x - self.mean(mu), x_ndim=1)
        return 0.5 * (Q.logdet() + self._solved[1] - dimension * log(2 * pi) - squares)

    def sample(self, z: pt.TensorLike, mu: pt.TensorLike = 0.0) -> pt.TensorVariable:
        """Make a draw of white noise.

        Parameters
        ----------
        z : (..., n) tensor variable or array_like
            Independent standard normal numbers.
        mu : () or (..., n) tensor variable or array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        TensorVariable, (..., n)
            A smooth function of the values of Q, of the mean and of e.
        """
        return self._corrected(mu + self._definite.sample(z))

    def marginal_variances(self) -> pt.TensorVariable:
        """Return the variance of each element.

        Returns
        -------
        TensorVariable, (..., n)
        """
        M, X = self._low_rank
        return self._definite.diag_inverse() - 2 * (M * X).sum(axis=-1)

    def covariance_entries(self, rows: ArrayLike, columns: ArrayLike) -> pt.TensorVariable:
        """Return any entries of the covariance matrix.

        Parameters
        ----------
        rows, columns : array_like of int
            As for `SymmetricMatrix.inverse_entries`.

        Returns
        -------
        TensorVariable of the broadcast shape, behind the dimensions of a batch

        Raises
        ------
        IndexError, TypeError
            As for `SymmetricMatrix.inverse_entries`.
        """
        rows, columns = known_entries(rows, columns, self.shape[0])
        found = self._definite.inverse_entries(rows, columns)
        return found - low_rank_entries(*self._low_rank, rows, columns)

    @cached_property
    def _low_rank(self):
        """M and X of the covariance ``W - M X^T - X M^T``."""
        M, _ = self._solved
        return M, self._WC - M @ (self._C @ self._WC) / 2

    def quadratic_variance(self, B: Any) -> pt.TensorVariable:
        """Return the variance of each row of ``B x``.

        Parameters
        ----------
        B : (n,) or (m, n) array_like, SciPy sparse array or matrix, or tensor variable
            As for `SymmetricMatrix.inverse_quadratic`.

        Returns
        -------
        TensorVariable, (...) or (..., m)
        """
        term = low_rank_quadratic(*self._low_rank, B)
        return self._definite.inverse_quadratic(B) - term
