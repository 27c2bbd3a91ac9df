"""SymmetricMatrix: values that PyTensor sees on a pattern that it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from scipy.sparse import issparse, tril

from .._core.numeric.operations import CODES
from .._core.parallel.threads import thread_count
from .._scipy.entry_map import EntryMap, pattern_of
from .._scipy.input import as_scipy, check_square, compressed
from .._scipy.symbolic_factor import SymbolicFactor, analyze
from . import _ops as ops


class SymmetricMatrix:
    """Symmetric positive definite matrix: packed values on an analyzed pattern.

    Made by `combine`, `from_values` and `from_sparse`.

    Parameters
    ----------
    pattern : SymbolicFactor
        From `sparsechol.analyze`.
    values : (len(pattern.indices),) tensor variable or array_like, real
        The lower triangle by column, sorted, with the whole diagonal (``pattern.values(A)`` of a
        SciPy matrix). An off-diagonal value stands for two entries, and gradients in it for both.

    Attributes
    ----------
    pattern : SymbolicFactor
    values : TensorVariable
    shape : tuple of int
    dtype : str
        'float32' or 'float64'.

    Raises
    ------
    ValueError, TypeError
        If the values have another shape than the pattern, or are no real numbers.

    Notes
    -----
    The factorization is one node of the graph, shared by all that is computed from the matrix, by
    all gradients, and by other matrices of the same pattern and values. Where the matrix is not
    positive definite all of it is NaN, and nothing is raised.

    Matrices can be added, subtracted and scaled, also by symbolic scalars on the right; ``Q @ x``
    is `matvec`.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc, sparsechol.pytensor as scpt
    >>> Q = scpt.SymmetricMatrix(sc.analyze(np.array([[4.0, 1.0], [1.0, 5.0]])), [4.0, 1.0, 5.0])
    >>> Q.matvec([1.0, 0.0]).eval()
    array([4., 1.])
    """

    def __init__(self, pattern: SymbolicFactor, values: Any):
        if not isinstance(pattern, SymbolicFactor):
            raise TypeError(f"the pattern is what analyze returns, not {type(pattern).__name__}")
        [self.values] = ops.as_floats(values)
        self.pattern = pattern
        length = pattern.indices.shape[0]
        if self.values.type.ndim != 1 or self.values.type.shape[0] not in (None, length):
            raise ValueError(
                f"the values of a matrix of shape {self.shape} have shape"
                f" {self.values.type.shape}: the pattern has ({length},)"
                + (" (for a batch use vectorize_graph)" if self.values.type.ndim > 1 else "")
            )

    __array_ufunc__ = None  # a NumPy number on the left leaves the product to us

    def __repr__(self) -> str:
        return f"<SymmetricMatrix of shape {self.shape}, values {self.values.type}>"

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @property
    def dtype(self) -> str:
        return self.values.type.dtype

    @cached_property
    def _factor(self):
        """Flat panels of L."""
        return ops.Factor(self.pattern)(self.values)

    @cached_property
    def _panels_of_inverse(self):
        return ops.partial_inverse(self.pattern, self._factor)

    def with_values(self, values: Any) -> "SymmetricMatrix":
        """Another matrix on the same pattern."""
        return SymmetricMatrix(self.pattern, values)

    def diagonal(self) -> pt.TensorVariable:
        """The diagonal, (n,)."""
        return self.values[constant(self.pattern.indptr[:-1])]

    def add_diagonal(self, h: Any) -> "SymmetricMatrix":
        """This matrix with `h`, of shape () or (n,), added to its diagonal."""
        [h, values] = ops.as_floats(h, self.values)
        if h.type.ndim > 1 or (h.type.ndim == 1 and h.type.shape[0] not in (None, self.shape[0])):
            raise ValueError(
                f"what is added to the diagonal of a matrix of shape {self.shape} has shape"
                f" {h.type.shape}, not () or ({self.shape[0]},)"
            )
        places = constant(self.pattern.indptr[:-1])
        return self.with_values(pt.inc_subtensor(values[places], h))

    def matvec(self, x: Any) -> pt.TensorVariable:
        """``Q x`` for x of shape (n,) or (n, k)."""
        return on_columns(self, x, "x", lambda x: ops.matvec(self.pattern, self.values, x))

    def quad_form(self, x: Any) -> pt.TensorVariable:
        """``x^T Q x``, a scalar for x of shape (n,), (k,) for (n, k)."""
        x = as_vectors(self, x, "x")
        columns = x if x.type.ndim == 2 else x[:, None]
        y = ops.matvec(self.pattern, self.values, columns)
        out = ops.QuadForm(self.pattern)(self.values, columns, y)
        return out if x.type.ndim == 2 else out.squeeze(0)

    def as_sparse(self) -> ps.variable.SparseVariable:
        """A PyTensor sparse variable with both triangles, in format 'csc'."""
        starts, members, _ = self.pattern._both_triangles
        data = ops.unfold(self.pattern, self.values)
        return ps.CSC(data, members, starts.astype(np.int32), np.array(self.shape, np.int32))

    def gmrf_logp(self, x: Any, mu: Any = 0.0) -> pt.TensorVariable:
        """See `gmrf_logp`."""
        from ._functions import gmrf_logp

        return gmrf_logp(self, x, mu)

    def random(self, mu: Any, values: Any, rng: Any = None, size: Any = None) -> np.ndarray:
        """Draw from normal distributions with this precision pattern: for `pm.CustomDist`.

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
            Where a precision matrix is not positive definite, NaN.
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

    def __matmul__(self, x: Any) -> pt.TensorVariable:
        return self.matvec(x)

    def __add__(self, other: Any) -> "SymmetricMatrix":
        return combine([(1.0, self), (1.0, other)]) if is_matrix(other) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Any) -> "SymmetricMatrix":
        return combine([(1.0, self), (-1.0, other)]) if is_matrix(other) else NotImplemented

    def __mul__(self, factor: Any) -> "SymmetricMatrix":
        if is_matrix(factor):
            return NotImplemented
        factor = pt.as_tensor_variable(factor)
        return NotImplemented if factor.type.ndim else self.with_values(self.values * factor)

    __rmul__ = __mul__


def is_matrix(x: Any) -> bool:
    """Whether this can be a term of `combine`."""
    return isinstance(x, SymmetricMatrix) or issparse(x)


def as_vectors(Q: SymmetricMatrix, x: Any, name: str) -> pt.TensorVariable:
    """A tensor variable of shape (n,) or (n, k)."""
    [x] = ops.as_floats(x)
    if x.type.ndim not in (1, 2) or x.type.shape[0] not in (None, Q.shape[0]):
        raise ValueError(
            f"the shapes of the matrix, {Q.shape}, and {name}, {x.type.shape}, do not fit: {name}"
            f" is ({Q.shape[0]},) or ({Q.shape[0]}, k)"
        )
    return x


def on_columns(Q: SymmetricMatrix, x: Any, name: str, apply: Any) -> pt.TensorVariable:
    """A linear map of (n, k) arrays on x of shape (n,) or (n, k)."""
    x = as_vectors(Q, x, name)
    return apply(x) if x.type.ndim == 2 else apply(x[:, None]).squeeze(1)


# ---- making them ----


def from_values(
    values: Any, pattern: Any, full: bool = False, ordering: Any = "auto"
) -> SymmetricMatrix:
    """A matrix from its values on a known pattern.

    Parameters
    ----------
    values : tensor variable or array_like, real
        The lower triangle by column, as `SymmetricMatrix` has it; with `full` both.
    pattern : SymbolicFactor, or (n, n) sparse or dense array
        A matrix is analyzed; where it has entries in its lower triangle counts, and the diagonal.
    full : bool, optional
        Whether `values` are the entries of both triangles by column, as a sorted SciPy csc_array
        with the whole diagonal has them. The matrix is ``(A + A^T) / 2``, and gradients are those
        of each entry.
    ordering : optional
        As for `sparsechol.analyze`.

    Returns
    -------
    SymmetricMatrix

    Examples
    --------
    >>> import scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> Q = scpt.from_values([4.0, 1.0, 1.0, 5.0], A, full=True)
    >>> Q.values.eval()
    array([4., 1., 5.])
    """
    P = pattern if isinstance(pattern, SymbolicFactor) else analyze(pattern, ordering=ordering)
    if not full:
        return SymmetricMatrix(P, values)
    [values] = ops.as_floats(values)
    nnz, n = P.indices.shape[0], P.shape[0]
    if values.type.ndim != 1 or values.type.shape[0] not in (None, 2 * nnz - n):
        raise ValueError(
            f"full values have shape {values.type.shape}: the pattern, of a matrix of shape"
            f" {P.shape}, has {2 * nnz - n} entries in both triangles"
        )
    return SymmetricMatrix(P, ops.fold(P, values, 1.0, 0.5))


def combine(
    terms: Sequence[tuple[Any, Any]], pattern: SymbolicFactor | None = None, ordering: Any = "auto"
) -> SymmetricMatrix:
    """A linear combination of matrices, on the union of their patterns, analyzed once.

    Parameters
    ----------
    terms : sequence of (coefficient, matrix)
        A coefficient is a number or symbolic scalar, or a vector with one for each stored entry
        of the lower triangle of its matrix, by column: for a diagonal matrix, of its diagonal. A
        matrix is an (n, n) sparse or dense array, of which the lower triangle is read, or an
        `SymmetricMatrix`.
    pattern : SymbolicFactor, optional
        An analyzed pattern that has all entries.
    ordering : optional
        As for `sparsechol.analyze`.

    Returns
    -------
    SymmetricMatrix

    Raises
    ------
    ValueError
        If the shapes differ, or a vector of coefficients has another length than its matrix has
        entries.
    PatternMismatchError
        If an entry is not on the given pattern.

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
    parts = [Entries.of(A) for _, A in terms]
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
    return SymmetricMatrix(P, ops.total(values))


def as_coefficient(c, part):
    """A scalar, or a vector with an element for each entry of a part."""
    [c] = ops.as_floats(c)
    count = part.row.shape[0]
    if c.type.ndim > 1 or (c.type.ndim == 1 and c.type.shape[0] not in (None, count)):
        raise ValueError(
            f"combine: a coefficient of shape {c.type.shape} for a matrix of which {count} entries"
            f" are read: () or ({count},) is needed"
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
    def of(cls, A):
        """Of the lower triangle of a matrix, by column."""
        if isinstance(A, Entries):
            return A
        if isinstance(A, SymmetricMatrix):
            return cls.by_column(A.shape, A.pattern.indptr, A.pattern.indices, A.values)
        L = tril(as_scipy(compressed(A, np.float64))).tocsc()
        L.sum_duplicates()
        if not np.isfinite(L.data).all():
            raise ValueError("the matrices must not hold infinities or NaNs")
        return cls.by_column(L.shape, L.indptr, L.indices, L.data.astype(pytensor.config.floatX))

    @classmethod
    def by_column(cls, shape, indptr, indices, data):
        column = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        return cls(shape, np.asarray(indices, np.int64), column, data)

    def packed(self, pattern, coefficient):
        """Values on a pattern."""
        # Sorted by column, the other way round they are sorted by row.
        found = EntryMap(self.column, self.row, self.shape, pattern)
        length = pattern.indices.shape[0]
        if isinstance(self.data, np.ndarray) and coefficient.type.ndim == 0:
            data = np.bincount(found.place, found.weight * self.data, length)
            return coefficient * constant(data.astype(self.data.dtype))
        data = self.data if isinstance(self.data, Variable) else constant(self.data)
        data = coefficient * data
        if found.ordered:
            return ops.fold(pattern, data, 1.0, 0.5)
        if np.array_equal(found.place, np.arange(length)):
            return data
        data = constant(found.weight.astype(data.type.dtype)) * data
        return pt.inc_subtensor(pt.zeros(length, data.type.dtype)[constant(found.place)], data)


LARGE = 100_000  # bytes that are better not repeated in every compiled function
_large: WeakValueDictionary = WeakValueDictionary()


def constant(array: np.ndarray) -> pt.TensorVariable:
    """A constant; a large one is a shared variable, the same one for the same content."""
    if array.nbytes <= LARGE:
        return pt.constant(array)
    digest = blake2b(array.dtype.str.encode() + array.tobytes()).digest()
    known = _large.get(digest)
    if known is None:
        known = _large[digest] = pytensor.shared(array, name="values", shape=array.shape)
    return known
