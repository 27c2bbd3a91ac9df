"""One call each: for a single use of a matrix. Under jit equal factorizations are merged."""

from typing import Any

import jax
import jax.numpy as jnp

from . import _primitives as primitives
from ._factor import cholesky, on_columns
from ._matrix import SymmetricMatrix


def solve(M: SymmetricMatrix, b: Any, compute_dtype: Any = None) -> jax.Array:
    """Solve ``A x = b``.

    Parameters
    ----------
    M : SymmetricMatrix
    b : (n,) or (n, k) array_like
    compute_dtype : {None, 'float64'}, optional
        Precision of the work on values in single precision: their own, or double precision,
        whether JAX has its 64-bit types enabled or not. What comes out is in single precision.

    Returns
    -------
    x : jax.Array of the shape of `b`
        NaN where A is not positive definite. Differentiable any number of times in the values of
        A, at the cost of a solve each time, and in b.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> f = lambda a: scj.solve(scj.SymmetricMatrix(P, a), jnp.array([5.0, 6.0])).sum()
    >>> print(np.asarray(jax.grad(f)(jnp.array([4.0, 1.0, 5.0]))).round(4))
    [-0.2105 -0.3684 -0.1579]
    """
    if not _wide(M, compute_dtype):
        return cholesky(M).solve(b)
    a = M.checked()
    return on_columns(b, M, lambda x: primitives.promoted_solve(M.pattern, a, x))


def logdet(M: SymmetricMatrix, compute_dtype: Any = None) -> jax.Array:
    """log det A.

    Parameters
    ----------
    M : SymmetricMatrix
    compute_dtype : {None, 'float64'}, optional
        See `solve`. First and second derivatives are computed in this precision too.

    Returns
    -------
    jax.Array
        A real scalar, NaN where A is not positive definite. Its gradient is the partial inverse.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> f = lambda a: scj.logdet(scj.SymmetricMatrix(P, a))
    >>> print(np.asarray(jax.grad(f)(jnp.array([4.0, 1.0, 5.0]))).round(4))
    [ 0.2632 -0.1053  0.2105]
    """
    if not _wide(M, compute_dtype):
        return cholesky(M).logdet()
    return primitives.promoted_logdet(M.pattern, M.checked())


def partial_inverse(M: SymmetricMatrix, compute_dtype: Any = None) -> jax.Array:
    """Entries of A^-1 on the pattern of A.

    Parameters
    ----------
    M : SymmetricMatrix
    compute_dtype : {None, 'float64'}, optional
        See `solve`. First derivatives are computed in this precision too.

    Returns
    -------
    values : (len(M.pattern.indices),) jax.Array
        The lower triangle, packed as the values of A are; NaN where A is not positive definite.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> print(scj.partial_inverse(scj.SymmetricMatrix(P, jnp.array([2.0, 1.0, 2.0]))).round(4))
    [ 0.6667 -0.3333  0.6667]
    """
    if not _wide(M, compute_dtype):
        return cholesky(M).partial_inverse()
    return primitives.promoted_partial_inverse(M.pattern, M.checked())


def _wide(M: SymmetricMatrix, compute_dtype: Any) -> bool:
    """Whether values are in single precision and the work is to be in double precision."""
    if compute_dtype is not None and jnp.dtype(compute_dtype) != "float64":
        raise ValueError(f"compute_dtype must be None or 'float64', not {compute_dtype!r}")
    return compute_dtype is not None and M.dtype in ("float32", "complex64")
