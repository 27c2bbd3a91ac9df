"""One call each: for a single use of a matrix. Under jit equal factorisations are merged."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._factor import cholesky
from ._matrix import SPDMatrix


def solve(M: SPDMatrix, b: Any) -> jax.Array:
    """Solve ``A x = b``.

    Parameters
    ----------
    M : SPDMatrix
    b : (n,) or (n, k) array_like

    Returns
    -------
    x : jax.Array of the shape of `b`
        NaN where A is not positive definite. Differentiable any number of times in the values of
        A, at the cost of a solve each time, and in b.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> f = lambda a: scj.solve(scj.SPDMatrix(P, a), jnp.array([5.0, 6.0])).sum()
    >>> print(jax.grad(f)(jnp.array([4.0, 1.0, 5.0])).round(6))
    [-0.210526 -0.368421 -0.157895]
    """
    return cholesky(M).solve(b)


def logdet(M: SPDMatrix) -> jax.Array:
    """log det A.

    Parameters
    ----------
    M : SPDMatrix

    Returns
    -------
    jax.Array
        A real scalar, NaN where A is not positive definite. Its gradient is the partial inverse.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> print(jax.grad(lambda a: scj.logdet(scj.SPDMatrix(P, a)))(jnp.array([4.0, 1.0, 5.0])))
    [ 0.26315793 -0.10526317  0.21052633]
    """
    return cholesky(M).logdet()


def partial_inverse(M: SPDMatrix) -> jax.Array:
    """Entries of A^-1 on the pattern of A.

    Parameters
    ----------
    M : SPDMatrix

    Returns
    -------
    values : (len(M.pattern.indices),) jax.Array
        The lower triangle, packed as the values of A are; NaN where A is not positive definite.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> print(scj.partial_inverse(scj.SPDMatrix(P, jnp.array([2.0, 1.0, 2.0]))).round(6))
    [ 0.666667 -0.333333  0.666667]
    """
    return cholesky(M).partial_inverse()
