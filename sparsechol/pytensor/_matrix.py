"""SymmetricMatrix: symbolic values on a pattern that is analyzed when the graph is built."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log, pi
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from scipy.sparse import issparse, tril

from .. import _typing
from .._cached import cached_property
from .._core.numeric.operations import CODES
from .._core.parallel.threads import thread_count
from .._exceptions import PatternMismatchError
from .._scipy.foreign_entries import EntryMap, pattern_of
from .._scipy.input import as_scipy, check_order, check_square, compressed
from .._scipy.pivots import accepts_weak
from .._scipy.single_factor import fewest_columns, places_in_inverse
from .._scipy.symbolic_factor import SymbolicFactor
from .._scipy.symmetry import check_triangle, require_symmetric
from .._typing import OrderingLike, Trans, WeakPivots
from . import _ops as ops
from ._conditioned import Conditioned
from ._rewrites import meet_pymc
from ._rows import inverse_quadratic
from ._shapes import as_vectors, ends_in, is_one_each, known_entries, leading


class Factored:
    """What a matrix and its signed factor have in common: `pattern`, `values` and a factor."""

    pattern: SymbolicFactor
    values: pt.TensorVariable
    _factor: pt.TensorVariable  # the flat panels of L
    _solve: type[ops.Kernel] = ops.Solve

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.pattern.shape

    @property
    def dtype(self) -> str:
        """'float32' or 'float64'."""
        return self.values.type.dtype

    @cached_property
    def _panels_of_inverse(self):
        return ops.partial_inverse(self.pattern, self._factor)

    @property
    def rcond(self) -> pt.TensorVariable:
        """Reciprocal condition number in the 1-norm, after scaling to a unit diagonal; estimated.

        A scalar, NaN where Q has no factor. The relative error of a solution is about
        ``eps / rcond``: where it is at most 16 eps the SciPy face warns. It takes a few solves. It
        has no derivative. See `sparsechol.CholeskyFactor.rcond`.
        """
        return ops.RCond(self.pattern)(self._factor, self.values)

    def solve(self, b: pt.TensorLike, *, b_ndim: int | None = None) -> pt.TensorVariable:
        """Solve ``Q x = b``; see `sparsechol.pytensor.solve`.

        Parameters
        ----------
        b : (n,) or (..., n, k) tensor variable or array_like
            Right-hand side, or one a column.
        b_ndim : {None, 1, 2}, optional
            With 1 `b` is a batch of vectors, (..., n).

        Returns
        -------
        x : TensorVariable of the shape of `b`
        """
        op = self._solve(self.pattern)
        return on_columns(self, b, "b", lambda b: op(self.values, self._factor, b), b_ndim)

    def solve_triangular(
        self,
        b: pt.TensorLike,
        *,
        trans: Trans = "N",
        permute: bool = True,
        b_ndim: int | None = None,
    ) -> pt.TensorVariable:
        """Solve with the factor L of ``P Q P^T = L L^T``, or with its transpose.

        Parameters
        ----------
        b : (n,) or (..., n, k) tensor variable or array_like
        trans : {'N', 'T', 'C', 0, 1, 2}, optional
            ``L y = P b`` (default), or ``L^T P x = b``; Q is real, and 'C' is 'T'. If b is white
            noise, then x is a draw from the normal distribution with precision Q, a smooth
            function of the values of Q (a non-centered parametrization).
        permute : bool, optional
            Whether P is applied; without P all is in the order of ``Q.pattern.perm``.
        b_ndim : {None, 1, 2}, optional
            With 1 `b` is a batch of vectors, (..., n).

        Returns
        -------
        TensorVariable of the shape of `b`
            NaN where Q has no factor. Differentiable any number of times, in Q and b.

        Examples
        --------
        >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
        >>> Q = scpt.from_sparse(sp.diags_array([4.0, 25.0]))
        >>> print(Q.solve_triangular(np.array([2.0, 5.0]), trans="T").eval().round(6))
        [1. 1.]
        """
        op = ops.SolveTriangular(self.pattern, is_plain(trans), permute)
        return on_columns(self, b, "b", lambda b: op(self._factor, b), b_ndim)

    def partial_inverse(self) -> pt.TensorVariable:
        """Return entries of Q^-1; see `sparsechol.pytensor.partial_inverse`.

        Returns
        -------
        TensorVariable, (..., len(pattern.indices))
        """
        return ops.gather(self.pattern, self._panels_of_inverse)

    def diag_inverse(self) -> pt.TensorVariable:
        """Return the diagonal of Q^-1; see `sparsechol.pytensor.diag_inverse`.

        Returns
        -------
        TensorVariable, (..., n)
        """
        return ops.diagonal(self.pattern, self._panels_of_inverse)

    def inverse_quadratic(self, B: Any) -> pt.TensorVariable:
        """Return ``b Q^-1 b^T`` of each row b of B: the variances of B x, x of N(0, Q^-1).

        Parameters
        ----------
        B : (n,) or (m, n) array_like, SciPy sparse array or matrix, or tensor variable
            Zeros in an array that is known, and places that a sparse one lacks, cost nothing.

        Returns
        -------
        TensorVariable, (...) or (..., m)
            Differentiable any number of times, in Q and in B.

        Notes
        -----
        See `sparsechol.CholeskyFactor.inverse_quadratic`. All rows of a variable are solved for.

        Examples
        --------
        >>> import numpy as np, sparsechol.pytensor as scpt
        >>> Q = scpt.from_sparse(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> print(Q.inverse_quadratic([[1.0, 0.0], [1.0, -1.0]]).eval().round(6))
        [0.666667 2.      ]
        """
        return inverse_quadratic(self, B)

    def inverse_entries(self, rows: ArrayLike, columns: ArrayLike) -> pt.TensorVariable:
        """Return any entries of Q^-1, also outside every pattern.

        Parameters
        ----------
        rows, columns : array_like of int
            Known when the graph is built; broadcast against each other. Negative numbers count from
            the end.

        Returns
        -------
        TensorVariable of the broadcast shape, behind the dimensions of a batch

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.
        TypeError
            If a row or column is symbolic.

        Notes
        -----
        See `sparsechol.CholeskyFactor.inverse_entries`: entries on the pattern of L come from one
        partial inverse if that is cheaper than one solve for each distinct column or row.

        Examples
        --------
        >>> import numpy as np, sparsechol.pytensor as scpt
        >>> Q = scpt.from_sparse(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> print(Q.inverse_entries([0, 0], [0, 1]).eval().round(6))
        [ 0.666667 -0.333333]
        """
        rows, columns = known_entries(rows, columns, self.shape[0])
        row, column = rows.ravel(), columns.ravel()
        place, inside = places_in_inverse(self.pattern, row, column)
        pieces = []
        if inside.any() or not row.size:
            place = np.where(place < 0, ~place, place)[inside]
            pieces.append(self._panels_of_inverse[..., constant(place)])
        if not inside.all():
            pieces.append(self._entries_by_solves(row[~inside], column[~inside]))
        order = np.argsort(np.concatenate([np.flatnonzero(inside), np.flatnonzero(~inside)]))
        return pt.concatenate(pieces, axis=-1)[..., constant(order.reshape(rows.shape))]

    def _entries_by_solves(self, row: np.ndarray, column: np.ndarray) -> pt.TensorVariable:
        """Return entries of the inverse by one solve for each distinct column or row."""
        _, row, distinct, which = fewest_columns(row, column)
        unit = np.zeros((self.shape[0], distinct.size), self.dtype)
        unit[distinct, np.arange(distinct.size)] = 1
        return self.solve(constant(unit))[..., constant(row), constant(which)]


class SymmetricMatrix(Factored):
    """Symmetric positive definite matrix: packed values on an analyzed pattern.

    `combine`, `from_sparse` and `SymmetricMatrix.from_full` make matrices, too.

    Parameters
    ----------
    pattern : SymbolicFactor
        The pattern, as `sparsechol.analyze` returns it.
    values : (..., len(pattern.indices)) tensor variable or array_like, real
        The lower triangle by column, sorted, with the whole diagonal; ``pattern.values(A)`` packs
        a SciPy matrix so. An off-diagonal value stands for two entries of the matrix, and the
        gradient in that value is the sum over both entries. Leading dimensions make a batch of
        matrices, and all results have these dimensions in front.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a matrix with a positive pivot that is at most 16 rounding errors of its
        diagonal entry. By default it counts as not positive definite. With 'accept' it is factored;
        `rcond` tells how near to singular it is. Matrices made of this one do the same.

    Attributes
    ----------
    pattern : SymbolicFactor
    values : TensorVariable
    shape : tuple of int
    dtype : str
        'float32' or 'float64'.

    Raises
    ------
    ValueError
        If the values have another shape than the pattern.
    TypeError
        If the values are not real numbers.

    Notes
    -----
    The factorization is one node of the graph. All results, all gradients, and other matrices of
    the same pattern and values share that node. Where the matrix is not positive definite all
    results are NaN, and nothing is raised.

    Matrices can be added, subtracted, negated, scaled and divided by a scalar. A symbolic scalar
    stands on the right of the matrix that it scales. ``Q @ x`` is ``Q.matvec(x)``.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc, sparsechol.pytensor as scpt
    >>> Q = scpt.SymmetricMatrix(sc.analyze(np.array([[4.0, 1.0], [1.0, 5.0]])), [4.0, 1.0, 5.0])
    >>> Q.matvec([1.0, 0.0]).eval()
    array([4., 1.])
    >>> print(Q.logdet().eval().round(6))
    2.944439
    """

    def __init__(
        self,
        pattern: SymbolicFactor,
        values: pt.TensorLike,
        *,
        weak_pivots: WeakPivots = "refuse",
    ):
        if not isinstance(pattern, SymbolicFactor):
            raise TypeError(
                f"the pattern must be a SymbolicFactor, not {type(pattern).__name__}: call"
                " sparsechol.analyze on a matrix"
            )
        [self.values] = ops.as_floats(values)
        self.pattern = pattern
        self._accept_weak = accepts_weak(weak_pivots)
        length = pattern.indices.shape[0]
        if not ends_in(self.values, length):
            raise ValueError(
                f"the values of a matrix of shape {self.shape} have shape"
                f" {self.values.type.shape}: the pattern has ({length},), or (..., {length}) for a"
                " batch of matrices"
            )

    __array_ufunc__ = None  # a NumPy number on the left leaves the product to us

    @classmethod
    def from_full(cls, pattern: SymbolicFactor, data: pt.TensorLike) -> "SymmetricMatrix":
        """Make a matrix from the entries of both triangles, each of which counts half.

        Parameters
        ----------
        pattern : SymbolicFactor
        data : (..., 2 len(pattern.indices) - n) tensor variable or array_like, real
            By column, as a sorted SciPy csc_array with both triangles and the whole diagonal has
            them. The matrix is ``(A + A^T) / 2``, and gradients are those of each entry.

        Returns
        -------
        SymmetricMatrix

        Raises
        ------
        ValueError
            If `data` has another length than both triangles.

        Examples
        --------
        >>> import scipy.sparse as sp, sparsechol as sc, sparsechol.pytensor as scpt
        >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
        >>> Q = scpt.SymmetricMatrix.from_full(sc.analyze(A), A.data)
        >>> Q.values.eval()
        array([4., 1., 5.])
        """
        [data] = ops.as_floats(data)
        nnz, n = pattern.indices.shape[0], pattern.shape[0]
        if not ends_in(data, 2 * nnz - n):
            raise ValueError(
                f"full values have shape {data.type.shape}: the pattern, of a matrix of shape"
                f" {pattern.shape}, has {2 * nnz - n} entries in both triangles"
            )
        return cls(pattern, ops.fold(pattern, data, 1.0, 0.5))

    @property
    def _batch(self):
        """The leading dimensions, as symbolic numbers."""
        return leading(self.values)

    def __repr__(self) -> str:
        return f"<SymmetricMatrix of shape {self.shape}, values {self.values.type}>"

    @cached_property
    def _factor(self):
        """The factor L, as flat panels."""
        return ops.Factor(self.pattern, accept_weak=self._accept_weak)(self.values)

    # ---- other matrices ----

    def with_values(self, values: pt.TensorLike) -> "SymmetricMatrix":
        """Make another matrix on the same pattern.

        Parameters
        ----------
        values : (..., len(pattern.indices)) tensor variable or array_like, real
            The lower triangle, packed as the values of this matrix are.

        Returns
        -------
        SymmetricMatrix
        """
        weak_pivots = "accept" if self._accept_weak else "refuse"
        return SymmetricMatrix(self.pattern, values, weak_pivots=weak_pivots)

    def with_weak_pivots(self, weak_pivots: WeakPivots) -> "SymmetricMatrix":
        """Make the same matrix, with another choice of what becomes of weak pivots.

        Parameters
        ----------
        weak_pivots : {'refuse', 'accept'}
            See `SymmetricMatrix`.

        Returns
        -------
        SymmetricMatrix
        """
        return SymmetricMatrix(self.pattern, self.values, weak_pivots=weak_pivots)

    def add_diagonal(self, h: pt.TensorLike) -> "SymmetricMatrix":
        """Add `h`, of shape () or (..., n), to the diagonal.

        Parameters
        ----------
        h : () or (..., n) tensor variable or array_like
            What is added to each diagonal entry; (..., 1) is a number for each matrix of a batch.

        Returns
        -------
        SymmetricMatrix
        """
        [h, values] = ops.as_floats(h, self.values)
        if h.type.ndim and not ends_in(h, self.shape[0]) and not is_one_each(h):
            raise ValueError(
                f"h has shape {h.type.shape}: the diagonal of a matrix of shape {self.shape} needs"
                f" () or ({self.shape[0]},), with leading dimensions for a batch"
            )
        if h.type.ndim > 1:
            values = values + pt.zeros_like(h[..., 0])[..., None]
        places = constant(self.pattern.indptr[:-1])
        return self.with_values(pt.inc_subtensor(values[..., places], h))

    # ---- products and entries ----

    def diagonal(self) -> pt.TensorVariable:
        """Return the diagonal, (..., n).

        Returns
        -------
        TensorVariable, (..., n)
        """
        return self.values[..., constant(self.pattern.indptr[:-1])]

    def sample(self, z: pt.TensorLike) -> pt.TensorVariable:
        """Make of white noise a draw with mean zero and precision Q.

        Parameters
        ----------
        z : (..., n) tensor variable or array_like
            Independent standard normal numbers.

        Returns
        -------
        TensorVariable, (..., n)
            ``Q.solve_triangular(z, trans="T", b_ndim=1)``, a smooth function of the values of Q.
        """
        return self.solve_triangular(z, trans="T", b_ndim=1)

    def matvec(self, x: pt.TensorLike, *, x_ndim: int | None = None) -> pt.TensorVariable:
        """Return ``Q x`` for `x` of shape (n,) or (..., n, k).

        Parameters
        ----------
        x : (n,) or (..., n, k) tensor variable or array_like
            Vector, or one a column.
        x_ndim : {None, 1, 2}, optional
            With 1 `x` is a batch of vectors, (..., n).

        Returns
        -------
        TensorVariable of the shape of `x`
        """
        return on_columns(self, x, "x", lambda x: ops.matvec(self.pattern, self.values, x), x_ndim)

    def quad_form(self, x: pt.TensorLike, *, x_ndim: int | None = None) -> pt.TensorVariable:
        """Return ``x^T Q x``: a scalar for `x` of shape (n,), a vector (k,) for (n, k).

        Parameters
        ----------
        x : (n,) or (..., n, k) tensor variable or array_like
            Vector, or one a column.
        x_ndim : {None, 1, 2}, optional
            With 1 `x` is a batch of vectors, (..., n).

        Returns
        -------
        TensorVariable, () or (..., k), or (...) with ``x_ndim=1``
        """
        x, is_vector = as_vectors(self, x, "x", x_ndim)
        columns = x[..., None] if is_vector else x
        y = ops.matvec(self.pattern, self.values, columns)
        out = ops.QuadForm(self.pattern)(self.values, columns, y)
        return out.squeeze(-1) if is_vector else out

    def to_sparse(self) -> ps.variable.SparseVariable:
        """Return both triangles as a PyTensor sparse variable in format 'csc'.

        Returns
        -------
        SparseVariable
        """
        if self.values.type.ndim > 1:
            raise ValueError(
                f"a batch of matrices, with values of shape {self.values.type.shape}, has no sparse"
                " variable: take one of them, Q.with_values(Q.values[i])"
            )
        starts, members, _ = self.pattern._both_triangles
        data = ops.unfold(self.pattern, self.values)
        return ps.CSC(data, members, starts.astype(np.int32), np.array(self.shape, np.int32))

    def todense(self) -> pt.TensorVariable:
        """Return the matrix as a dense tensor variable, (..., n, n).

        Returns
        -------
        TensorVariable, (..., n, n)
        """
        starts, members, _ = self.pattern._both_triangles
        column = np.repeat(np.arange(self.shape[0]), np.diff(starts))
        data = ops.unfold(self.pattern, self.values)
        flat = pt.zeros((*self._batch, self.shape[0] ** 2), self.dtype)
        places = constant(column * self.shape[0] + members)
        return pt.set_subtensor(flat[..., places], data).reshape((*self._batch, *self.shape))

    # ---- what the factor gives ----

    def logdet(self) -> pt.TensorVariable:
        """Return log det Q; see `sparsechol.pytensor.logdet`.

        Returns
        -------
        TensorVariable, a scalar or (...)
        """
        return ops.LogDet(self.pattern)(self.values, self._factor)

    def slogdet(self) -> tuple[pt.TensorVariable, pt.TensorVariable]:
        """Return sign and logarithm of det Q; see `sparsechol.pytensor.slogdet`.

        Returns
        -------
        sign, logabsdet : TensorVariable, scalars
        """
        logdet = self.logdet()
        return pt.switch(pt.isnan(logdet), np.nan, 1.0).astype(self.dtype), logdet

    def gmrf_logp(self, x: pt.TensorLike, mu: pt.TensorLike = 0.0) -> pt.TensorVariable:
        """Return the log density of N(mu, Q^-1) at `x`; see `sparsechol.pytensor.gmrf_logp`.

        Parameters
        ----------
        x : (..., n) tensor variable or array_like
            The point, or a batch of points.
        mu : () or (..., n) tensor variable or array_like
            The mean.

        Returns
        -------
        TensorVariable, a scalar or (...)
        """
        return log_normal(self, self.shape[0], x, mu)

    def with_low_rank(self, C: pt.TensorLike, D: pt.TensorLike | None = None) -> Any:
        """Return ``Q + C D C^T`` as this matrix and a correction beside it.

        Parameters
        ----------
        C : (n,) or (n, k) tensor variable or array_like
        D : (k,) or (k, k) tensor variable or array_like, optional
            Weights, one for each column, or a symmetric matrix; of any sign. By default the
            identity.

        Returns
        -------
        LowRankFactor

        Raises
        ------
        ValueError
            If shapes do not fit, or this is a batch of matrices.

        Examples
        --------
        >>> import numpy as np, sparsechol.pytensor as scpt
        >>> G = scpt.from_sparse(np.eye(4)).with_low_rank(np.ones(4))
        >>> print(G.solve(np.array([5.0, 0.0, 0.0, 0.0])).eval().round(6))
        [ 4. -1. -1. -1.]
        """
        from ._low_rank import LowRankFactor, read_correction

        return LowRankFactor(self, *read_correction(self, C, D))

    def condition(self, C: _typing.MatrixLike, e: pt.TensorLike = 0.0) -> Conditioned:
        """Condition a field with precision matrix Q on linear constraints ``C x = e``.

        Parameters
        ----------
        C : (n,) or (m, n) array_like, or (m, n) sparse array or matrix
            A row for each constraint; they are made dense.
        e : () or (..., m) tensor variable or array_like, optional

        Returns
        -------
        Conditioned

        Raises
        ------
        ValueError
            If the rows are linearly dependent, shapes do not fit, or for NaN or infinity in C.

        Notes
        -----
        A solve for each constraint; nothing is factored again. Rue and Held (2005), 2.3.3.

        Examples
        --------
        >>> import numpy as np, sparsechol.pytensor as scpt
        >>> fixed = scpt.from_sparse(np.eye(2)).condition([1.0, 1.0], 4.0)
        >>> print(fixed.mean().eval().round(6))
        [2. 2.]
        """
        return Conditioned(self, self, None, C, e)

    def random(
        self,
        mu: ArrayLike,
        values: ArrayLike,
        *,
        rng: np.random.Generator | None = None,
        size: Sequence[int] | int | None = None,
    ) -> np.ndarray:
        """Draw from normal distributions with precision matrices on this pattern.

        The arguments are those that `pm.CustomDist` passes to its ``random=``.

        Parameters
        ----------
        mu : (..., n) array_like
            Means.
        values : (..., len(pattern.indices)) array_like
            Values of the precision matrix.
        rng : numpy.random.Generator, optional
        size : tuple of int, optional
            Shape of the draws, by default that of the parameters.

        Returns
        -------
        (..., n) ndarray
            NaN where a precision matrix is not positive definite.
        """
        rng = np.random.default_rng() if rng is None else rng
        mu, values = np.asarray(mu, float), np.array(values, float, ndmin=1, order="C")
        batch = np.broadcast_shapes(mu.shape[:-1], values.shape[:-1])
        lead = batch if size is None else tuple(np.atleast_1d(size).tolist())
        values = values.reshape((1,) * (len(lead) + 1 - values.ndim) + values.shape)
        z = rng.standard_normal((*lead, self.shape[0], 1))
        x, handle = np.empty_like(z), self.pattern._handle
        panels = np.empty((*values.shape[:-1], handle.length("l")))
        handle.perform(CODES["cholesky"], (values,), panels, thread_count())
        handle.perform(CODES["solve_triangular"], (panels, z), x, thread_count(), ops.PERMUTE)
        return x[..., 0] + mu

    def __matmul__(self, x: pt.TensorLike) -> pt.TensorVariable:
        return self.matvec(x)

    def __add__(self, other: Any) -> "SymmetricMatrix":
        if is_zero(other):
            return self
        return combine([(1.0, self), (1.0, other)]) if is_matrix(other) else NotImplemented

    __radd__ = __add__

    def __neg__(self) -> "SymmetricMatrix":
        return self.with_values(-self.values)

    def __sub__(self, other: Any) -> "SymmetricMatrix":
        if is_zero(other):
            return self
        return combine([(1.0, self), (-1.0, other)]) if is_matrix(other) else NotImplemented

    def __rsub__(self, other: Any) -> "SymmetricMatrix":
        return -self + other

    def __mul__(self, factor: Any) -> "SymmetricMatrix":
        factor = as_factor(factor)
        return factor if factor is NotImplemented else self.with_values(self.values * factor)

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> "SymmetricMatrix":
        factor = as_factor(factor)
        return factor if factor is NotImplemented else self.with_values(self.values / factor)


def is_matrix(x: Any) -> bool:
    """Say whether `x` can be a term of `combine`."""
    return isinstance(x, SymmetricMatrix) or issparse(x)


def is_zero(x: Any) -> bool:
    """Say whether `x` is the number with which `sum` begins."""
    return isinstance(x, int | float | np.number) and x == 0


def as_factor(x: Any) -> Any:
    """Make a scalar variable; NotImplemented of anything else."""
    if is_matrix(x):
        return NotImplemented
    ops.refuse_named(x)
    x = pt.as_tensor_variable(x)
    return NotImplemented if x.type.ndim else x


def on_columns(Q: Any, x: Any, name: str, apply: Callable, ndim: int | None) -> pt.TensorVariable:
    """Apply a linear map of (..., n, k) arrays to `x` of shape (..., n) or (..., n, k)."""
    meet_pymc()
    x, is_vector = as_vectors(Q, x, name, ndim)
    return apply(x[..., None]).squeeze(-1) if is_vector else apply(x)


def log_normal(Q: Any, rank: int, x: Any, mu: Any) -> pt.TensorVariable:
    """Return the log density of the normal distribution with precision Q of this rank."""
    x, mu = ops.as_floats(x, mu)
    difference = x - mu
    if not ends_in(difference, Q.shape[0]):
        raise ValueError(
            f"x and mu give a difference of shape {difference.type.shape}: ({Q.shape[0]},)"
            f" is needed, or (..., {Q.shape[0]}) for a batch"
        )
    return 0.5 * (Q.logdet() - rank * log(2 * pi) - Q.quad_form(difference, x_ndim=1))


def is_plain(trans: Any) -> bool:
    """Say whether `trans` asks for the triangle itself, and not for its transpose."""
    if trans not in ("N", "T", "C", 0, 1, 2):
        raise ValueError(f"trans must be 'N', 'T', 'C', 0, 1 or 2, not {trans!r}")
    return trans in ("N", 0)


# ---- combinations ----


MatrixLike = SymmetricMatrix | _typing.MatrixLike


def combine(
    terms: Sequence[tuple[pt.TensorLike, MatrixLike]],
    *,
    pattern: SymbolicFactor | None = None,
    ordering: OrderingLike = "auto",
    check_symmetric: bool = True,
) -> SymmetricMatrix:
    """Form a linear combination of matrices, on the union of their patterns, analyzed once.

    Parameters
    ----------
    terms : sequence of (coefficient, matrix)
        A coefficient is a number, a symbolic scalar, or a vector. A vector has an element for each
        stored entry of the lower triangle of its matrix, by column. For a diagonal matrix these
        are the entries of the diagonal. Leading dimensions make a batch of matrices; of scalars
        the last dimension is then one, as in ``tau[:, None]``. A matrix is a `SymmetricMatrix`, or
        an (n, n) sparse or dense array, of which the lower triangle is read. With `pattern` it may
        be a dense variable, `pm.Data` say.
    pattern : SymbolicFactor, optional
        An analyzed pattern that has all entries; by default the union is analyzed.
    ordering : optional
        The ordering of the analysis, as for `sparsechol.analyze`.
    check_symmetric : bool, optional
        Where an array holds both triangles, test that they agree but for rounding, and raise
        ValueError where they do not (default).

    Returns
    -------
    SymmetricMatrix

    Raises
    ------
    ValueError
        If the shapes differ, or a vector of coefficients has another length than its matrix has
        entries. If an array is not symmetric, or has entries above the diagonal and none below it.
    PatternMismatchError
        If an entry is not on the given pattern; of a dense variable, when the graph runs.

    Examples
    --------
    A conditional autoregression on a path of three regions:

    >>> import numpy as np, scipy.sparse as sp, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> W = sp.diags_array([np.ones(2), np.ones(2)], offsets=[-1, 1])
    >>> D = sp.diags_array(W.sum(axis=0))
    >>> tau, alpha = pt.dscalars("tau", "alpha")
    >>> Q = scpt.combine([(tau, D), (-tau * alpha, W)])
    >>> print(scpt.logdet(Q).eval({tau: 2.0, alpha: 0.5}).round(6))
    2.484907
    """
    if not terms:
        raise ValueError("combine: there are no terms")
    parts = [
        Entries.of(
            A,
            f"the matrix of terms[{k}]" if len(terms) > 1 else "the matrix",
            check_symmetric,
            pattern,
        )
        for k, (_, A) in enumerate(terms)
    ]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"combine: the matrices have different shapes: {sorted(shapes)}")
    [shape] = shapes
    check_square(shape)
    coefficients = [as_coefficient(c, part) for (c, _), part in zip(terms, parts, strict=True)]
    row = np.concatenate([part.row for part in parts])
    column = np.concatenate([part.column for part in parts])
    P = pattern_of(row, column, shape, ordering if pattern is None else pattern)
    values = [part.packed(P, c) for c, part in zip(coefficients, parts, strict=True)]
    accept = any(isinstance(A, SymmetricMatrix) and A._accept_weak for _, A in terms)
    return SymmetricMatrix(P, ops.total(values), weak_pivots="accept" if accept else "refuse")


def as_coefficient(c, part):
    """Check that a coefficient is a scalar, or a vector with an element for each entry."""
    [c] = ops.as_floats(c)
    count = part.row.shape[0]
    if c.type.ndim and not ends_in(c, count) and not is_one_each(c):
        raise ValueError(
            f"combine: a coefficient of shape {c.type.shape} for a matrix of which {count} entries"
            f" are read: () or ({count},) is needed, for a batch (..., 1) or (..., {count})"
        )
    return c


@dataclass
class Entries:
    """Entries of a symmetric matrix, of one triangle or both.

    Attributes
    ----------
    shape : tuple of int
    row, column : ndarray of int64
    data : ndarray or TensorVariable
    """

    shape: tuple[int, int]
    row: np.ndarray
    column: np.ndarray
    data: Any

    @classmethod
    def of(cls, A, name, check_symmetric, pattern):
        """Take the lower triangle of a matrix, by column."""
        if isinstance(A, Entries):
            return A
        if isinstance(A, Variable):
            return cls.of_variable(A, name, pattern)
        if isinstance(A, SymmetricMatrix):
            return cls.by_column(A.shape, A.pattern.indptr, A.pattern.indices, A.values)
        arrays = compressed(A, np.float64, check_shape=check_order)
        check_triangle(arrays, True, name=name, remedy="pass its transpose, or both triangles")
        if check_symmetric:
            require_symmetric(arrays, name)
        L = tril(as_scipy(arrays)).tocsc()
        L.sum_duplicates()
        if not np.isfinite(L.data).all():
            raise ValueError("the matrices must not hold infinities or NaNs")
        return cls.by_column(L.shape, L.indptr, L.indices, L.data.astype(pytensor.config.floatX))

    @classmethod
    def of_variable(cls, A, name, pattern):
        """Take the entries of a dense variable that are on a given pattern."""
        if isinstance(A.type, ps.SparseTensorType):
            raise TypeError(f"combine: {name} is the sparse variable {A}: pass from_sparse(A)")
        ops.refuse_named(A)
        if pattern is None or A.type.ndim != 2:
            raise TypeError(
                f"combine: {name} is the variable {A}, {A.type}, and the places of its entries are"
                " not known before it is computed: pass pattern=, of sparsechol.analyze (for"
                " pm.Data of A.get_value()), or a SciPy matrix"
            )
        n = pattern.shape[0]
        if any(size not in (None, n) for size in A.type.shape):
            raise ValueError(
                f"combine: {name} has shape {A.type.shape}, and the pattern {pattern.shape}"
            )
        part = cls.by_column(pattern.shape, pattern.indptr, pattern.indices, None)
        outside = np.tri(n, dtype=bool)
        outside[part.row, part.column] = False
        [A] = ops.as_floats(A)
        A = check_square_size(A, pt.eq(A.shape[0], n), pt.eq(A.shape[1], n))
        lost = pt.any(pt.neq(A, 0) & constant(outside))
        part.data = check_places(A, ~lost)[constant(part.row), constant(part.column)]
        return part

    @classmethod
    def by_column(cls, shape, indptr, indices, data):
        """Take what a matrix stores by column."""
        column = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        return cls(shape, np.asarray(indices, np.int64), column, data)

    def packed(self, pattern, coefficient):
        """Pack the entries, times a coefficient, on a pattern."""
        # Sorted by column, the other way round they are sorted by row.
        found = EntryMap(self.column, self.row, self.shape, pattern)
        length = pattern.indices.shape[0]
        is_scalar = coefficient.type.ndim == 0 or is_one_each(coefficient)
        if isinstance(self.data, np.ndarray) and is_scalar:
            data = np.bincount(found.place, found.weight * self.data, length)
            return coefficient * constant(data.astype(self.data.dtype))
        data = self.data if isinstance(self.data, Variable) else constant(self.data)
        data = coefficient * data
        if found.ordered:
            return ops.fold(pattern, data, 1.0, 0.5)
        if np.array_equal(found.place, np.arange(length)):
            return data
        data = constant(found.weight.astype(data.type.dtype)) * data
        zeros = pt.zeros((*leading(data), length), data.type.dtype)
        return pt.inc_subtensor(zeros[..., constant(found.place)], data)


check_square_size = CheckAndRaise(
    ValueError, "combine: a matrix is not of the shape of the given pattern"
)
check_places = CheckAndRaise(
    PatternMismatchError, "combine: a matrix has entries that are not on the given pattern"
)

LARGE = 100_000  # bytes from which on a constant is shared between compiled functions
_large: WeakValueDictionary = WeakValueDictionary()


def constant(array: np.ndarray) -> pt.TensorVariable:
    """Make a constant; a large one is a shared variable, the same one for the same content."""
    if array.nbytes <= LARGE:
        return pt.constant(array)
    digest = blake2b(array.dtype.str.encode() + array.tobytes()).digest()
    known = _large.get(digest)
    if known is None:
        known = _large[digest] = pytensor.shared(array, name="values", shape=array.shape)
    return known
