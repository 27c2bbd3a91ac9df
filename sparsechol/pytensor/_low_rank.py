"""LowRankFactor: Q + C D C^T by the formula of Woodbury and the matrix determinant lemma.

The formulas are those of `sparsechol.jax._low_rank`: X = Q^-1 C, K = I + D C^T X.
"""

from math import log, pi
from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.gradient import disconnected_grad

from .._cached import cached_property
from . import _ops as ops
from ._rows import low_rank_quadratic
from ._shapes import as_vectors, ends_in, known_entries


class LowRankFactor:
    """``Q + C D C^T`` as a `SymmetricMatrix` and a correction; made by its method `with_low_rank`.

    All results are differentiable any number of times in the values of Q, in C and in D, and NaN
    where the sum is not positive definite.

    Attributes
    ----------
    matrix : SymmetricMatrix
        Q.
    shape : tuple of int
    dtype : str
        'float32' or 'float64'.
    """

    def __init__(self, Q: Any, C: pt.TensorVariable, D: pt.TensorVariable):
        self.matrix = Q
        self.shape: tuple[int, int] = Q.shape
        self.dtype: str = Q.dtype
        self._C = C
        self._D = D

    def __repr__(self) -> str:
        return f"<LowRankFactor of shape {self.shape}: {self.matrix}>"

    def __matmul__(self, x: pt.TensorLike) -> pt.TensorVariable:
        return self.matrix @ x + self._C @ (self._D @ (self._C.T @ pt.as_tensor_variable(x)))

    def diagonal(self) -> pt.TensorVariable:
        """Return the diagonal.

        Returns
        -------
        TensorVariable, (n,)
        """
        return self.matrix.diagonal() + ((self._C @ self._D) * self._C).sum(axis=1)

    def todense(self) -> pt.TensorVariable:
        """Return the matrix as a dense variable.

        Returns
        -------
        TensorVariable, (n, n)
        """
        return self.matrix.todense() + self._C @ self._D @ self._C.T

    def add_diagonal(self, h: pt.TensorLike) -> "LowRankFactor":
        """Add to the diagonal of Q.

        Parameters
        ----------
        h : () or (n,) tensor variable or array_like

        Returns
        -------
        LowRankFactor
        """
        return LowRankFactor(self.matrix.add_diagonal(h), self._C, self._D)

    @cached_property
    def ok(self) -> pt.TensorVariable:
        """True where the sum is positive definite."""
        V = disconnected_grad(self.matrix.solve_triangular(self._C))
        exists = pt.all(pt.isfinite(V))
        # The mode "r" gives another shape in numba than PyTensor says.
        R = pt.linalg.qr(pt.switch(exists, V, 0), mode="economic")[1]
        core = R @ disconnected_grad(self._D) @ R.T
        w = pt.linalg.eigvalsh((core + core.T) / 2, None)
        least = pt.concatenate([1 + w, [1.0]]).min()
        size = pt.concatenate([pt.abs(w), [1.0]]).max()
        return exists & (least > 16 * np.finfo(self.dtype).eps * size)

    @cached_property
    def _X(self) -> pt.TensorVariable:
        return self.matrix.solve(self._C)

    @cached_property
    def _K(self) -> pt.TensorVariable:
        """K, and the identity where the sum is not positive definite: solvers refuse NaN."""
        one = pt.eye(self._C.shape[1], dtype=self.dtype)
        return pt.switch(self.ok, one + self._D @ (self._C.T @ self._X), one)

    @property
    def _mark(self) -> pt.TensorVariable:
        """Zero, and NaN where the sum is not positive definite."""
        return pt.switch(self.ok, 0, np.nan).astype(self.dtype)

    @cached_property
    def _weights(self) -> pt.TensorVariable:
        """K^-1 D, symmetric."""
        return pt.linalg.solve(self._K, self._D) + self._mark

    def logdet(self) -> pt.TensorVariable:
        """Return the logarithm of the determinant.

        Returns
        -------
        TensorVariable, a scalar
        """
        return self.matrix.logdet() + pt.linalg.slogdet(self._K)[1] + self._mark

    def solve(self, b: pt.TensorLike) -> pt.TensorVariable:
        """Solve ``(Q + C D C^T) x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) tensor variable or array_like

        Returns
        -------
        x : TensorVariable of the shape of `b`
        """
        b, _ = as_vectors(self, b, "b", None)
        return self.matrix.solve(b) - self._X @ (self._weights @ (self._X.T @ b))

    def diag_inverse(self) -> pt.TensorVariable:
        """Return the diagonal of the inverse: the marginal variances.

        Returns
        -------
        TensorVariable, (n,)
        """
        return self.matrix.diag_inverse() - ((self._X @ self._weights) * self._X).sum(axis=1)

    def inverse_quadratic(self, B: Any) -> pt.TensorVariable:
        """Return ``b (Q + C D C^T)^-1 b^T`` of each row b of B.

        Parameters
        ----------
        B : (n,) or (m, n) array_like, SciPy sparse array or matrix, or tensor variable
            As for `SymmetricMatrix.inverse_quadratic`.

        Returns
        -------
        TensorVariable, (...) or (..., m)
        """
        term = low_rank_quadratic(self._X @ self._weights, self._X, B) / 2
        return self.matrix.inverse_quadratic(B) - term

    def inverse_entries(self, rows: ArrayLike, columns: ArrayLike) -> pt.TensorVariable:
        """Return any entries of the inverse.

        Parameters
        ----------
        rows, columns : array_like of int
            As for `SymmetricMatrix.inverse_entries`.

        Returns
        -------
        TensorVariable of the broadcast shape

        Raises
        ------
        IndexError, TypeError
            As for `SymmetricMatrix.inverse_entries`.
        """
        rows, columns = known_entries(rows, columns, self.shape[0])
        X, row, column = self._X, rows.ravel(), columns.ravel()
        term = ((X @ self._weights)[row] * X[column]).sum(axis=-1)
        return self.matrix.inverse_entries(rows, columns) - term.reshape(rows.shape)

    def quad_form(self, x: pt.TensorLike) -> pt.TensorVariable:
        """Return ``x^T (Q + C D C^T) x``.

        Parameters
        ----------
        x : (n,) tensor variable or array_like

        Returns
        -------
        TensorVariable, a scalar
        """
        y = self._C.T @ pt.as_tensor_variable(x)
        return self.matrix.quad_form(x) + y @ (self._D @ y)

    def gmrf_logp(self, x: pt.TensorLike, mu: pt.TensorLike = 0.0) -> pt.TensorVariable:
        """Return the log density of the normal distribution with this precision matrix.

        Parameters
        ----------
        x : (n,) tensor variable or array_like
        mu : () or (n,) tensor variable or array_like, optional
            Mean.

        Returns
        -------
        TensorVariable, a scalar
        """
        x, mu = ops.as_floats(x, mu)
        difference, n = x - mu, self.shape[0]
        if not ends_in(difference, n) or difference.type.ndim != 1:
            raise ValueError(f"x and mu give a difference of {difference.type}: ({n},) is needed")
        return 0.5 * (self.logdet() - n * log(2 * pi) - self.quad_form(difference))


def read_correction(Q: Any, C: Any, D: Any) -> tuple[pt.TensorVariable, pt.TensorVariable]:
    """Return the columns and weights of a low-rank correction, (n, k) and (k, k)."""
    C, is_vector = as_vectors(Q, C, "C", None)
    C = C[:, None] if is_vector else C
    if C.type.ndim != 2 or Q.values.type.ndim != 1:
        raise ValueError("with_low_rank takes one matrix and (n,) or (n, k) columns, no batch")
    k = C.shape[1] if C.type.shape[1] is None else C.type.shape[1]
    D = pt.ones(k) if D is None else pt.as_tensor_variable(D)
    if D.type.ndim not in (1, 2) or any(
        known is not None and C.type.shape[1] is not None and known != C.type.shape[1]
        for known in D.type.shape
    ):
        raise ValueError(f"D has type {D.type}: for {k} columns of C it is (k,) or (k, k)")
    D = pt.diag(D) if D.type.ndim == 1 else D
    return C.astype(Q.dtype), D.astype(Q.dtype)
