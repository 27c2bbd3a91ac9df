"""Positive semidefinite matrices with known null space: a grounded matrix and low-rank terms.

The formulas are in `sparsechol._scipy.null_space`; here they are compositions of the Ops.
"""

from functools import cached_property
from typing import Any, Literal

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant

from .._scipy.null_space import NullSpace
from .._typing import MatrixLike
from . import _ops as ops
from ._functions import Matrix
from ._matrix import SymmetricMatrix, as_vectors, log_normal
from ._sparse import from_sparse


class SemidefiniteFactor:
    """Factor of a positive semidefinite `SymmetricMatrix` with known null space; see `cholesky`.

    Its inverse is the pseudo-inverse, and its determinant the product of the nonzero eigenvalues.
    All results are NaN where the matrix with `rows` of the null space grounded is not positive
    definite.

    Attributes
    ----------
    matrix : SymmetricMatrix
    grounded : SymmetricMatrix
        The positive definite matrix that is factorized.
    null_space : NullSpace
    pattern : SymbolicFactor
    shape : tuple of int
    dtype : str
        'float32' or 'float64'.
    rank : int
        n less the dimension of the null space.

    Examples
    --------
    >>> import numpy as np, sparsechol.pytensor as scpt
    >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    >>> F = scpt.cholesky(Q, null_space="components")
    >>> print(F.logdet().eval().round(6))  # the eigenvalues are 0, 1 and 3
    1.098612
    >>> print(F.solve(np.array([1.0, 0.0, -1.0])).eval().round(6))
    [ 1.  0. -1.]
    """

    def __init__(self, Q: SymmetricMatrix, null_space: NullSpace):
        self.matrix = Q
        self.null_space = null_space
        if isinstance(Q.values, Constant):
            for packed in np.atleast_2d(Q.values.data):
                null_space.require(packed)
        self.grounded = Q.with_values(null_space.ground(Q.values))

    def __repr__(self) -> str:
        return f"<SemidefiniteFactor of shape {self.shape}, rank {self.rank}>"

    @property
    def pattern(self):
        """The analyzed pattern."""
        return self.matrix.pattern

    @property
    def values(self) -> pt.TensorVariable:
        """Packed values of the matrix."""
        return self.matrix.values

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.matrix.shape

    @property
    def dtype(self) -> str:
        """'float32' or 'float64'."""
        return self.matrix.dtype

    @property
    def rank(self) -> int:
        """The order of the matrix less the dimension of its null space."""
        return self.shape[0] - self.null_space.dimension

    def with_values(self, values: pt.TensorLike) -> "SemidefiniteFactor":
        """Make the factor of another matrix with the same pattern and null space.

        Parameters
        ----------
        values : (..., len(pattern.indices)) tensor variable or array_like, real

        Returns
        -------
        SemidefiniteFactor
        """
        return SemidefiniteFactor(self.matrix.with_values(values), self.null_space)

    def logdet(self) -> pt.TensorVariable:
        """Return the logarithm of the product of the nonzero eigenvalues.

        Returns
        -------
        TensorVariable, a scalar or (...)
        """
        taken = pt.log(self.values[..., self.null_space.scaled]).sum(axis=-1)
        return self.grounded.logdet() - taken - self.null_space.log_volume

    def solve(self, b: pt.TensorLike, *, b_ndim: int | None = None) -> pt.TensorVariable:
        """Return ``Q^+ b``, of all x for which Q x is nearest to b the shortest.

        Parameters
        ----------
        b : (n,) or (..., n, k) tensor variable or array_like
            Right-hand side, or one a column.
        b_ndim : {None, 1, 2}, optional
            With 1 `b` is a batch of vectors, (..., n).

        Returns
        -------
        x : TensorVariable of the shape of `b`
            Orthogonal to the null space.
        """
        b, is_vector = as_vectors(self, b, "b", b_ndim)
        if is_vector:
            return self.project(self.grounded.solve(self.project(b), b_ndim=1))
        inside = self.project(b.mT).mT
        return self.project(self.grounded.solve(inside).mT).mT

    def quad_form(self, x: pt.TensorLike, *, x_ndim: int | None = None) -> pt.TensorVariable:
        """Return ``x^T Q x``, see `SymmetricMatrix.quad_form`.

        Parameters
        ----------
        x : (n,) or (..., n, k) tensor variable or array_like
        x_ndim : {None, 1, 2}, optional
            With 1 `x` is a batch of vectors, (..., n).

        Returns
        -------
        TensorVariable, () or (..., k), or (...) with ``x_ndim=1``
        """
        return self.matrix.quad_form(x, x_ndim=x_ndim)

    def gmrf_logp(self, x: pt.TensorLike, mu: pt.TensorLike = 0.0) -> pt.TensorVariable:
        """Return the log density of the intrinsic field with precision Q at `x`.

        Parameters
        ----------
        x : (..., n) tensor variable or array_like
            The point, or a batch of points.
        mu : () or (..., n) tensor variable or array_like
            The mean.

        Returns
        -------
        TensorVariable, a scalar or (...)
            The density on the points with ``V^T (x - mu) = 0``, V the null space. What x has
            along V does not matter: the field is improper there.
        """
        return log_normal(self, self.rank, x, mu)

    def sample(self, z: pt.TensorLike) -> pt.TensorVariable:
        """Make of white noise a draw with mean zero and covariance ``Q^+``.

        Parameters
        ----------
        z : (..., n) tensor variable or array_like
            Independent standard normal numbers.

        Returns
        -------
        TensorVariable, (..., n)
            Orthogonal to the null space. A smooth function of the values of Q.
        """
        return self.project(self.grounded.solve_triangular(z, trans="T", b_ndim=1))

    def diag_inverse(self) -> pt.TensorVariable:
        """Return the diagonal of ``Q^+``: the variances of the field with ``V^T x = 0``.

        Returns
        -------
        TensorVariable, (..., n)
        """
        V, X = self._low_rank
        return self.grounded.diag_inverse() - 2 * (V * X).sum(axis=-1)

    def partial_inverse(self) -> pt.TensorVariable:
        """Return the entries of ``Q^+`` on the pattern, packed as the values of Q are.

        Returns
        -------
        TensorVariable, (..., len(pattern.indices))
        """
        row = self.pattern.indices
        column = np.repeat(np.arange(self.shape[0]), np.diff(self.pattern.indptr))
        V, X = self._low_rank
        low_rank = V[row] * X[..., column, :] + X[..., row, :] * V[column]
        return self.grounded.partial_inverse() - low_rank.sum(axis=-1)

    @cached_property
    def _low_rank(self):
        """V and X of ``Q^+ = W - V X^T - X V^T`` in blocks."""
        V = self.null_space.basis_as(self.dtype)
        WV = self.grounded.solve(pt.constant(V)).mT
        return V, (WV - self._expand(self._coordinates(WV)) / 2).mT

    # ---- the projection ----

    def _coordinates(self, x):
        """Return ``V^T x`` of (..., n) in blocks, (..., blocks, w)."""
        N, basis = self.null_space, self.null_space.basis_as(self.dtype)
        if N.blocks == 1:
            return (x @ basis)[..., None, :]
        terms = x[..., None] * basis
        shape = [x.shape[axis] for axis in range(x.type.ndim - 1)]
        zeros = pt.zeros((*shape, N.blocks, basis.shape[1]), self.dtype)
        return pt.inc_subtensor(zeros[..., N.labels, :], terms)

    def _expand(self, y):
        """Return ``V y`` of coordinates in blocks, (..., n)."""
        N, basis = self.null_space, self.null_space.basis_as(self.dtype)
        if N.blocks == 1:
            return y[..., 0, :] @ basis.T
        return (y[..., N.labels, :] * basis).sum(axis=-1)

    def project(self, x: pt.TensorLike) -> pt.TensorVariable:
        """Return the part of x that is orthogonal to the null space.

        Parameters
        ----------
        x : (..., n) tensor variable or array_like

        Returns
        -------
        TensorVariable, (..., n)
        """
        [x] = ops.as_floats(x)
        return x - self._expand(self._coordinates(x))


def cholesky(
    Q: Matrix, *, null_space: NullSpace | MatrixLike | Literal["components"]
) -> SemidefiniteFactor:
    """Factorize a positive semidefinite matrix with known null space.

    A positive definite matrix needs no such call: the methods of `SymmetricMatrix` share its
    factor.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    null_space : (n, k) array_like, sparse matrix, `sparsechol.NullSpace` or 'components'
        Its columns span the null space of Q; 'components': the indicators of the connected
        components of the pattern, as of the Laplacian of a graph.

    Returns
    -------
    SemidefiniteFactor

    Raises
    ------
    ValueError
        If the values of Q are known and the null space is not that of Q.

    Notes
    -----
    Of symbolic values it is not known when the graph is built whether the null space is theirs.
    All results are differentiable any number of times, in directions that keep the null space.

    Examples
    --------
    >>> import numpy as np, sparsechol.pytensor as scpt
    >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    >>> F = scpt.cholesky(Q, null_space=np.ones((3, 1)))
    >>> print((9 * F.diag_inverse()).eval().round(6))
    [5. 2. 5.]
    """
    Q = from_sparse(Q)
    return SemidefiniteFactor(Q, NullSpace.of(Q.pattern, null_space))
