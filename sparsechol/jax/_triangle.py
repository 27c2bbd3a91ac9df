"""Plain sparse triangles of any pattern: solves and products."""

import hashlib
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csc_array

from .._core.numeric.handle import PatternHandle, handle_of
from .._scipy.input import as_scipy, check_square, compressed
from . import _primitives as primitives
from ._matrix import MADE_OUTSIDE, Stored, as_vectors, is_traced


class TriangularPattern:
    """Pattern of a sparse triangle; made by `analyze_triangle`. Immutable, equal by content.

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
    def _handle(self) -> PatternHandle:
        return handle_of(self)

    def values(self, T: Any) -> np.ndarray:
        """Values of a SciPy or dense triangle in the order of `indices`.

        Raises
        ------
        ValueError
            If the shape differs, or an entry of this triangle is outside the pattern.
        """
        row, column, data = _entries(T, self.lower)
        n = self.shape[0]
        if _shape(T) != self.shape:
            raise ValueError(f"the matrix has shape {_shape(T)}, the pattern {self.shape}")
        keys = np.repeat(np.arange(n), np.diff(self.indptr)) * n + self.indices
        place = np.searchsorted(keys, column * n + row)
        stray = np.append(keys, -1)[place] != column * n + row
        if stray.any():
            i, j = row[stray][0], column[stray][0]
            i, j = (i, j) if self.lower else (j, i)
            raise ValueError(f"entry ({i}, {j}) of the matrix is outside the pattern")
        values = np.zeros(keys.shape[0], dtype=data.dtype)
        values[place] = data
        return values


def _shape(T):
    return tuple(np.shape(T)) if not hasattr(T, "shape") else tuple(T.shape)


def _entries(T, lower):
    """Row, column and value of the entries of the triangle, of an upper one transposed."""
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


def analyze_triangle(T: Any, lower: bool = True) -> TriangularPattern:
    """Pattern of a triangle, outside of any transformation.

    Parameters
    ----------
    T : (n, n) SciPy sparse array or dense array
        Only where it has entries counts.
    lower : bool, optional
        Which triangle is read.

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
    if is_traced(T):
        raise TypeError(MADE_OUTSIDE)
    row, column, _ = _entries(T, lower)
    n = _shape(T)[0]
    keys = np.unique(np.concatenate([column * n + row, np.arange(n) * (n + 1)]))
    column, row = np.divmod(keys, max(n, 1))
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(column, minlength=n), out=indptr[1:])
    return TriangularPattern(indptr, row, bool(lower))


@jax.tree_util.register_pytree_with_keys_class
class TriangularMatrix(Stored):
    """Sparse triangle: values on a static pattern. A pytree with one leaf.

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

    def __init__(self, pattern: TriangularPattern, values: Any):
        if not isinstance(pattern, TriangularPattern):
            raise TypeError(
                f"the pattern is what analyze_triangle returns, not {type(pattern).__name__}"
            )
        self.pattern, self.values = pattern, values
        self.values = self.checked()

    def __repr__(self) -> str:
        side = "lower" if self.pattern.lower else "upper"
        return f"<TriangularMatrix of shape {self.shape}, {side}, {jax.typeof(self.values)}>"

    def __matmul__(self, x: Any) -> jax.Array:
        """T x for x of shape (n,) or (n, k)."""
        return self._apply(primitives.csc_triangle_product, self.checked(), x, "N", "x")

    def _apply(self, operation, values, x, trans, name) -> jax.Array:
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
    T: TriangularMatrix, b: Any, trans: Any = 0, unit_diagonal: bool = False
) -> jax.Array:
    """Solve ``T x = b``, ``T^T x = b`` or ``T^H x = b`` with a sparse triangle.

    Parameters
    ----------
    T : TriangularMatrix
    b : (n,) or (n, k) array_like
    trans : {0, 1, 2, 'N', 'T', 'C'}, optional
        Which of the three.
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
    return T._apply(primitives.csc_triangle_solve, values, b, trans, "b")
