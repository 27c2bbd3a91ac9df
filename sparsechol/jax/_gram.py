"""A^H W A + B with a fixed pattern."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO, BCSR
from jax.typing import ArrayLike
from scipy.sparse import coo_array, issparse

from .._scipy.gram_pattern import GramPattern, analyze_gram
from .._typing import OrderingLike
from . import _primitives as primitives
from ._compat import is_concrete
from ._matrix import SymmetricMatrix, as_values
from ._sparse import MADE_OUTSIDE
from ._sparse_derivatives import SparseJacobian
from ._typing import MatrixLike


@jax.tree_util.register_static
class Gram(GramPattern):
    """Analysis of ``A^H W A + B``, and its values; made by `gram`. Static, and equal by content."""

    def values(
        self,
        a: Any,
        w: ArrayLike | None = None,
        b: ArrayLike | SymmetricMatrix | None = None,
    ) -> SymmetricMatrix:
        """Return ``A^H W A + B``.

        Parameters
        ----------
        a : (len(indices),) array_like, or (m, n) BCOO, BCSR or SciPy sparse array
            The entries of A, by row with columns ascending; or A itself, whose places must be
            known. Values by column go through `from_columns`.
        w : (m,) or (m / k, k, k) array_like, optional
            The diagonal of W, real, or its blocks, of which the symmetric (Hermitian) part counts.
            Ones by default.
        b : (len of B's packed values,) array_like, or SymmetricMatrix, optional
            Packed values of B. Zero by default.

        Returns
        -------
        SymmetricMatrix
            On the pattern `pattern`. Differentiable any number of times in a, w and b, at the cost
            of a product each time; `jax.vmap` makes batches.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, or a diagonal W is complex.
        PatternMismatchError
            If a matrix has an entry outside of the analyzed pattern.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
        >>> G = scj.gram(np.array([[1.0, 2.0], [0.0, 3.0]]))
        >>> print(G.values(jnp.array([1.0, 2.0, 3.0]), w=jnp.array([1.0, 10.0])).values)
        [ 1.  2. 94.]
        """
        a = as_values(self._entries_of(a))
        self._check_length("a", a.shape)
        w = self._weights(w, a.dtype)
        kind = jnp.result_type(a, w)
        if b is not None:
            b = self._values_of_b(b)
            kind = jnp.result_type(kind, b)
        a = a.astype(kind)
        out = primitives.gram_call(self, a, w.astype(kind), a)
        if b is not None:
            out = out.at[self._places_of_b].add(b.astype(kind), unique_indices=True)
        return SymmetricMatrix(self.pattern, out)

    def from_columns(self, values: ArrayLike) -> jax.Array:
        """Bring the entries of A from the order by column to the order by row.

        Parameters
        ----------
        values : (len(indices),) array_like
            By column, rows ascending, as ``SparseJacobian.values`` gives them.

        Returns
        -------
        (len(indices),) jax.Array

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
        >>> G = scj.gram(np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> print(G.from_columns(jnp.array([1.0, 3.0, 2.0, 4.0])))
        [1. 2. 3. 4.]
        """
        values = jnp.asarray(values)
        self._check_length("a", values.shape)
        return values[self._by_column_places]

    def _entries_of(self, a: Any) -> Any:
        """Return the entries of A from themselves or from A."""
        if issparse(a):
            return self.entries(cast("Any", a))
        if not isinstance(a, (BCOO, BCSR)):
            return a
        row, column = coordinates(a)
        own_row = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        self._check_shape(a.shape)
        if np.array_equal(row, own_row) and np.array_equal(column, self.indices):
            return a.data
        places = self._places(row, column)
        return jnp.zeros(self.indices.shape, a.data.dtype).at[places].add(a.data, mode="drop")

    def _weights(self, w, dtype):
        """Return w, flat."""
        if w is None:
            return jnp.asarray(self._unit_weights(dtype).ravel())
        w = as_values(w)
        self._check_length("w", w.shape)
        if w.ndim != len(self.weight_shape):
            raise ValueError(f"w has shape {w.shape}: for a batch use jax.vmap")
        if self.block == 1 and w.dtype.kind == "c":
            raise TypeError("w is complex: the weights of a diagonal W are real")
        return w.ravel()

    def _values_of_b(self, b: Any) -> jax.Array:
        """Return the packed values of B."""
        if isinstance(b, SymmetricMatrix):
            self._check_pattern_of_b(b.pattern)
            b = b.values
        elif issparse(b) and self._of_b is not None:
            b = self._of_b.values(cast("Any", b))
        b = as_values(cast("Any", b))
        self._check_length("b", b.shape)
        return b


def coordinates(A: BCOO | BCSR) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of each entry of a BCOO or BCSR; padding has the row m.

    Parameters
    ----------
    A : BCOO or BCSR

    Returns
    -------
    row, column : ndarray of int

    Raises
    ------
    TypeError
        If the places are traced.
    ValueError
        If there are batch or dense dimensions.
    """
    if A.ndim != 2 or A.n_batch or A.n_dense:
        raise ValueError(
            f"a matrix without batch or dense dimensions is needed, not shape {A.shape} with"
            f" n_batch={A.n_batch}, n_dense={A.n_dense}: use jax.vmap for a batch"
        )
    if not is_concrete(A.indices):
        raise TypeError(MADE_OUTSIDE)
    indices = np.asarray(A.indices).astype(np.int64)
    if isinstance(A, BCOO):
        return indices[:, 0], indices[:, 1]
    counts = np.diff(np.asarray(A.indptr))
    row = np.repeat(np.arange(A.shape[0]), counts)
    return np.append(row, np.full(indices.size - row.size, A.shape[0])), indices


def gram(
    A: MatrixLike | SparseJacobian,
    B: Any = None,
    *,
    block: int = 1,
    ordering: OrderingLike = "auto",
) -> Gram:
    """Analyze the normal equations ``A^H W A + B``, outside of any transformation.

    Parameters
    ----------
    A : (m, n) SciPy sparse array, BCOO, BCSR, dense array, or SparseJacobian
        Only its pattern counts.
    B : (n, n) SciPy sparse array, dense array, SymbolicFactor or SymmetricMatrix, optional
        Only its pattern counts, of which the lower triangle is read.
    block : int, optional
        With ``block=k`` W is block diagonal: a block belongs to k rows of A that follow one
        another. It is diagonal by default.
    ordering : optional
        Fill-reducing ordering, see `sparsechol.analyze`.

    Returns
    -------
    Gram
        A static argument; its `pattern` is the SymbolicFactor of the product, its method `values`
        computes the product.

    Raises
    ------
    TypeError
        Inside a transformation, where the pattern is not known.
    ValueError
        If shapes do not fit, or rows of A have so many entries that they would make the product
        dense.

    Examples
    --------
    Gradient of log det (A^T W A + B) in the weights:

    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> A = np.array([[1.0, -1.0], [0.0, 2.0]])
    >>> G = scj.gram(A, np.eye(2))
    >>> a, b = jnp.array(G.entries(A)), jnp.ones(2)
    >>> logdet = lambda w: scj.logdet(G.values(a, w, b))
    >>> print(jax.grad(logdet)(jnp.array([1.0, 0.5])).round(4))
    [0.5714 1.1429]
    """
    if isinstance(A, SparseJacobian):
        A = A.sparsity
    elif isinstance(A, (BCOO, BCSR)):
        row, column = coordinates(A)
        inside = (row < A.shape[0]) & (column < A.shape[1])
        ones = np.ones(int(inside.sum()), np.float32)
        A = coo_array((ones, (row[inside], column[inside])), shape=cast("Any", A.shape))
    elif not is_concrete(A):
        raise TypeError(MADE_OUTSIDE)
    elif isinstance(A, jax.Array):
        A = np.asarray(A)
    if isinstance(B, SymmetricMatrix):
        B = B.pattern
    elif not is_concrete(B):
        raise TypeError(MADE_OUTSIDE)
    elif isinstance(B, jax.Array):
        B = np.asarray(B)
    return analyze_gram(Gram, A, B, block, ordering, None)
