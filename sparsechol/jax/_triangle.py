"""Solve and multiply with plain sparse triangles of any pattern."""

import hashlib
from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.sparse import csc_array

from .._core.numeric.operations import Frame, frame_of
from .._exceptions import PatternMismatchError
from .._scipy.input import as_scipy, check_square, compressed
from . import _primitives as primitives
from ._compat import is_concrete
from ._matrix import PackedMatrix, as_vectors
from ._sparse import MADE_OUTSIDE
from ._typing import SparsityLike, Trans


class TriangularPattern:
    """Pattern of a sparse triangle; made by `analyze_triangle`.

    It is immutable, and equal by content.

    Attributes
    ----------
    shape : tuple of int
    lower : bool
    indptr, indices : int64 ndarray
        The lower triangle by column, or the upper one by row, sorted, with the whole diagonal.
    """

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, lower: bool):
        self.indptr, self.indices, self.lower = indptr, indices, lower
        for array in (indptr, indices):
            array.setflags(write=False)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.indptr.shape[0] - 1,) * 2

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of the content; equal patterns have equal digests."""
        content = hashlib.blake2b(b"sparsechol triangle 1", digest_size=16)
        content.update(bytes([self.lower]))
        for array in (self.indptr, self.indices):
            content.update(np.int64(array.shape[0]).tobytes())
            content.update(array.tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TriangularPattern):
            return NotImplemented
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        side = "lower" if self.lower else "upper"
        return f"<TriangularPattern of shape {self.shape}: {self.indices.shape[0]} {side} entries>"

    @cached_property
    def _frame(self) -> Frame:
        """The handle by which kernels know the pattern."""
        return frame_of(self)

    def values(self, T: SparsityLike) -> np.ndarray:
        """Return the values of a SciPy or dense triangle in the order of `indices`.

        Parameters
        ----------
        T : (n, n) SciPy sparse array or dense array
            Entries of the other triangle are left out. Entries of the pattern that `T` lacks are
            zero.

        Returns
        -------
        values : (len(indices),) ndarray

        Raises
        ------
        PatternMismatchError
            If an entry of this triangle is outside the pattern.
        ValueError
            If the shape differs.
        """
        row, column, data = _entries(T, self.lower)
        n = self.shape[0]
        if _shape(T) != self.shape:
            raise ValueError(f"the matrix has shape {_shape(T)}, the pattern {self.shape}")
        keys = np.repeat(np.arange(n), np.diff(self.indptr)) * n + self.indices
        position = np.searchsorted(keys, column * n + row)
        stray = np.append(keys, -1)[position] != column * n + row
        if stray.any():
            i, j = int(row[stray][0]), int(column[stray][0])
            i, j = (i, j) if self.lower else (j, i)
            raise PatternMismatchError(
                f"entry ({i}, {j}) of the matrix is outside the pattern: analyze a pattern that"
                " has it",
                i,
                j,
            )
        values = np.zeros(keys.shape[0], dtype=data.dtype)
        values[position] = data
        return values


def _shape(T):
    return tuple(np.shape(T)) if not hasattr(T, "shape") else tuple(T.shape)


def _entries(T, lower):
    """Return row, column and value of the entries of a triangle; an upper one is transposed."""
    arrays = compressed(T)
    check_square(arrays.shape)
    entries = csc_array(as_scipy(arrays))
    entries.sum_duplicates()
    entries = entries.tocoo()
    row, column = (c.astype(np.int64) for c in entries.coords)
    if not lower:
        row, column = column, row
    inside = row >= column
    return row[inside], column[inside], entries.data[inside]


def analyze_triangle(T: SparsityLike, *, lower: bool = True) -> TriangularPattern:
    """Analyze the pattern of a triangle, outside of any transformation.

    Parameters
    ----------
    T : (n, n) SciPy sparse array or dense array
        Only the positions of the entries count.
    lower : bool, optional
        The triangle that is read: the lower one by default.

    Returns
    -------
    TriangularPattern
        A static argument; its method ``values(T)`` gives the values.

    Examples
    --------
    >>> import numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze_triangle(np.array([[2.0, 0.0], [1.0, 4.0]]))
    >>> P.values(np.array([[2.0, 0.0], [1.0, 4.0]]))
    array([2., 1., 4.])
    """
    if not is_concrete(T):
        raise TypeError(MADE_OUTSIDE)
    row, column, _ = _entries(T, lower)
    n = _shape(T)[0]
    keys = np.unique(np.concatenate([column * n + row, np.arange(n) * (n + 1)]))
    column, row = np.divmod(keys, max(n, 1))
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(column, minlength=n), out=indptr[1:])
    return TriangularPattern(indptr, row, bool(lower))


@jax.tree_util.register_pytree_with_keys_class
class TriangularMatrix(PackedMatrix):
    """Sparse triangle: values on a static pattern.

    It is a pytree with one leaf, the values.

    Parameters
    ----------
    pattern : TriangularPattern
    values : (len(pattern.indices),) array_like
        In the order of ``pattern.values(T)``.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze_triangle(np.array([[2.0, 0.0], [1.0, 4.0]]))
    >>> print(scj.TriangularMatrix(P, jnp.array([2.0, 1.0, 4.0])) @ jnp.ones(2))
    [2. 5.]
    """

    def __init__(self, pattern: TriangularPattern, values: ArrayLike):
        if not isinstance(pattern, TriangularPattern):
            raise TypeError(
                f"the pattern is what analyze_triangle returns, not {type(pattern).__name__}"
            )
        self.pattern, self.values = pattern, values
        self.values = self.checked()

    def __repr__(self) -> str:
        side = "lower" if self.pattern.lower else "upper"
        return f"<TriangularMatrix of shape {self.shape}, {side}, {jax.typeof(self.values)}>"

    def __matmul__(self, x: ArrayLike) -> jax.Array:
        """Return T x for x of shape (n,) or (n, k)."""
        return self._apply(primitives.plain_product_call, self.checked(), x, "N", "x")

    def _apply(
        self, operation: Callable, values: jax.Array, x: ArrayLike, trans: Trans, name: str
    ) -> jax.Array:
        """Apply the kernel of a product or of a solve to T, its transpose or its adjoint."""
        x = as_vectors(x, self.shape, name)
        kind = jnp.result_type(values, x)
        columns = (x[:, None] if x.ndim == 1 else x).astype(kind)
        # The values are those of a lower triangle S, of which T may be the transpose; the kernels
        # know S and S^H.
        transposed = (trans not in ("N", 0)) == self.pattern.lower
        conjugated = (trans in ("C", 2)) != transposed
        if conjugated:
            columns = jnp.conj(columns)
        out = operation(self.pattern, values.astype(kind), columns, not transposed)
        return (jnp.conj(out) if conjugated else out).reshape(x.shape)


def solve_triangular(
    T: TriangularMatrix, b: ArrayLike, *, trans: Trans = "N", unit_diagonal: bool = False
) -> jax.Array:
    """Solve a sparse triangular system ``T x = b``, ``T^T x = b`` or ``T^H x = b``.

    Parameters
    ----------
    T : TriangularMatrix
    b : (n,) or (n, k) array_like
    trans : {'N', 'T', 'C', 0, 1, 2}, optional
        The system: ``T x = b`` (default), ``T^T x = b`` or ``T^H x = b``.
    unit_diagonal : bool, optional
        Take the diagonal as ones.

    Returns
    -------
    x : jax.Array of the shape of `b`
        Differentiable any number of times in the values of T, at the cost of a solve each time,
        and in b.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze_triangle(np.array([[2.0, 0.0], [1.0, 4.0]]))
    >>> T = scj.TriangularMatrix(P, jnp.array([2.0, 1.0, 4.0]))
    >>> print(scj.solve_triangular(T, jnp.array([2.0, 5.0])))
    [1. 1.]
    """
    if trans not in ("N", "T", "C", 0, 1, 2):
        raise ValueError(f"trans must be 'N', 'T', 'C', 0, 1 or 2, not {trans!r}")
    values = T.checked()
    if unit_diagonal:
        values = values.at[T.pattern.indptr[:-1]].set(1)
    return T._apply(primitives.plain_solve_call, values, b, trans, "b")
