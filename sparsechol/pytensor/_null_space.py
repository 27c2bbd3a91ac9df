"""Positive semidefinite matrices with known null space: a grounded matrix and low-rank terms.

The formulas are in `sparsechol._scipy.null_space`; here they are compositions of the Ops.
"""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.gradient import disconnected_grad
from pytensor.graph.basic import Variable

from .._cached import cached_property
from .._scipy.null_space import NullSpace, NullSpaceLike, low_rank_entries
from .._scipy.pivots import EPS
from .._scipy.symmetry import ROUNDINGS
from .._typing import MatrixLike
from . import _ops as ops
from ._conditioned import Conditioned
from ._functions import Matrix
from ._matrix import SymmetricMatrix, as_vectors, log_normal
from ._rows import low_rank_quadratic
from ._shapes import known_entries, leading
from ._sparse import from_sparse


class SemidefiniteFactor:
    """Factor of a positive semidefinite `SymmetricMatrix` with known null space; see `cholesky`.

    Its inverse is the pseudo-inverse, and its determinant the product of the nonzero eigenvalues.
    All results are NaN where the matrix with `rows` of the null space grounded is not positive
    definite, or Q does not vanish on the null space.

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
        fits = annihilates(null_space, Q)[..., None]
        grounded = pt.switch(fits, null_space.ground(Q.values), np.nan)
        self.grounded = Q.with_values(grounded.astype(Q.dtype))

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

    def condition(self, C: MatrixLike, e: pt.TensorLike = 0.0) -> Conditioned:
        """Condition an intrinsic field with precision matrix Q on constraints ``C x = e``.

        Parameters
        ----------
        C, e
            As for `SymmetricMatrix.condition`. The constraints leave none of the null space free.

        Returns
        -------
        Conditioned
            Proper: its density is proportional to ``exp(-x^T Q x / 2)`` on the plane.

        Raises
        ------
        ValueError
            As for `SymmetricMatrix.condition`; also if a direction of the null space stays free.
        """
        return Conditioned(self, self.grounded, self.null_space, C, e)

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
        return self.grounded.partial_inverse() - low_rank_entries(*self._low_rank, row, column)

    def inverse_entries(self, rows: ArrayLike, columns: ArrayLike) -> pt.TensorVariable:
        """Return any entries of ``Q^+``, also outside every pattern.

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
        labels = self.null_space.labels
        term = low_rank_entries(*self._low_rank, rows, columns)
        term = pt.switch(labels[rows] == labels[columns], term, 0).astype(self.dtype)
        return self.grounded.inverse_entries(rows, columns) - term

    def inverse_quadratic(self, B: Any) -> pt.TensorVariable:
        """Return ``b Q^+ b^T`` of each row b of B: variances of B x, x the intrinsic field.

        Parameters
        ----------
        B : (n,) or (m, n) array_like, SciPy sparse array or matrix, or tensor variable
            As for `SymmetricMatrix.inverse_quadratic`.

        Returns
        -------
        TensorVariable, (...) or (..., m)
        """
        term = low_rank_quadratic(*self._low_rank, B, self.null_space.labels)
        return self.grounded.inverse_quadratic(B) - term

    @cached_property
    def _low_rank(self):
        """V and X of ``Q^+ = W - V X^T - X V^T`` in blocks."""
        V = self.null_space.basis_as(self.dtype)
        WV = self.grounded.solve(pt.constant(V)).mT
        N = self.null_space
        return V, (WV - expand(N, coordinates(N, WV)) / 2).mT

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
        return project(self.null_space, x)


def annihilates(N: NullSpace, Q: SymmetricMatrix) -> pt.TensorVariable:
    """Tell whether Q V is zero but for rounding, as `NullSpace.require` does; without a derivative.

    Parameters
    ----------
    N : NullSpace
    Q : SymmetricMatrix

    Returns
    -------
    TensorVariable of bool, (...)
    """
    V = N.basis_as(Q.dtype)
    values = disconnected_grad(Q.values)
    product = abs(Q.with_values(values).matvec(pt.constant(V)))
    sizes = pt.constant(np.column_stack([abs(V), np.ones(len(V), V.dtype)]))
    sums = Q.with_values(abs(values)).matvec(sizes)
    eps, span = EPS[np.dtype(Q.dtype)], abs(V).max(axis=0)
    allowed = eps**0.5 * sums[..., :-1] + ROUNDINGS * eps * sums[..., -1:] * span
    return (product <= allowed.astype(Q.dtype)).all(axis=(-2, -1))


def project(N: NullSpace, x: pt.TensorVariable) -> pt.TensorVariable:
    """Return ``x - V V^T x`` for x of shape (..., n)."""
    return x - expand(N, coordinates(N, x))


def coordinates(N: NullSpace, x: pt.TensorVariable) -> pt.TensorVariable:
    """Return ``V^T x`` of x (..., n) in blocks, (..., blocks, w)."""
    basis = N.basis_as(x.type.dtype)
    if N.blocks == 1:
        return (x @ basis)[..., None, :]
    terms = x[..., None] * basis
    zeros = pt.zeros((*leading(x), N.blocks, basis.shape[1]), x.type.dtype)
    return pt.inc_subtensor(zeros[..., N.labels, :], terms)


def expand(N: NullSpace, y: pt.TensorVariable) -> pt.TensorVariable:
    """Return ``V y``, (..., n), of coordinates in blocks."""
    basis = N.basis_as(y.type.dtype)
    if N.blocks == 1:
        return y[..., 0, :] @ basis.T
    return (y[..., N.labels, :] * basis).sum(axis=-1)


def cholesky(Q: Matrix, *, null_space: NullSpaceLike) -> SemidefiniteFactor:
    """Factorize a positive semidefinite matrix with known null space.

    A positive definite matrix needs no such call: the methods of `SymmetricMatrix` share its
    factor.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components'
        The null space of Q, see `sparsechol.cholesky`.

    Returns
    -------
    SemidefiniteFactor

    Raises
    ------
    ValueError
        If the null space does not fit the pattern; if the values are known and do not vanish on it.

    Notes
    -----
    Where symbolic values do not vanish on the null space, or vanish on more, results are NaN. All
    results are differentiable any number of times, along changes of Q that keep the null space.

    Examples
    --------
    >>> import numpy as np, sparsechol.pytensor as scpt
    >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    >>> F = scpt.cholesky(Q, null_space=np.ones((3, 1)))
    >>> print((9 * F.diag_inverse()).eval().round(6))
    [5. 2. 5.]
    """
    M = from_sparse(Q)
    N = NullSpace.of(M.pattern, null_space)
    if not isinstance(Q, SymmetricMatrix | Variable):
        N.require(M.pattern.values(Q)[None])
    return SemidefiniteFactor(M, N)
