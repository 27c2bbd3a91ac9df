"""Solve and multiply with plain sparse triangles of any pattern."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._scipy.triangle_pattern import TriangularPattern
from .._typing import MatrixLike, Trans
from . import _primitives as primitives
from ._compat import is_concrete
from ._matrix import PackedMatrix, as_vectors
from ._sparse import MADE_OUTSIDE


def analyze_triangle(T: MatrixLike, *, lower: bool = True) -> TriangularPattern:
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
    return TriangularPattern.of(T, lower)


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
        return self._apply(primitives.csc_triangle_product_call, self.checked(), x, "N", "x")

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
    return T._apply(primitives.csc_triangle_solve_call, values, b, trans, "b")
