"""Solve, take determinants or invert with one call, for a single use of a matrix.

Under `jax.jit` equal factorizations are merged into one.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._scipy.pivots import accepts_weak
from .._typing import WeakPivots
from . import _primitives as primitives
from ._factor import cholesky, on_columns, with_sign
from ._matrix import SymmetricMatrix
from ._typing import ComputeDtype


def solve(
    M: SymmetricMatrix,
    b: ArrayLike,
    *,
    compute_dtype: ComputeDtype = None,
    weak_pivots: WeakPivots = "refuse",
) -> jax.Array:
    """Solve ``A x = b``.

    Parameters
    ----------
    M : SymmetricMatrix
    b : (n,) or (n, k) array_like
    compute_dtype : {None, 'float64'}, optional
        With 'float64' values in single precision are factored in double precision, and the result
        is rounded. It does not matter whether JAX has its 64-bit types enabled.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `cholesky`.

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
    if not _promoted(M, compute_dtype):
        return cholesky(M, weak_pivots=weak_pivots).solve(b)
    a, accept = M.checked(), accepts_weak(weak_pivots)
    return on_columns(
        b, M, lambda x: primitives.promoted_solve_call(M.pattern, a, x, accept_weak=accept)
    )


def logdet(
    M: SymmetricMatrix,
    *,
    compute_dtype: ComputeDtype = None,
    weak_pivots: WeakPivots = "refuse",
) -> jax.Array:
    """Compute log det A.

    Parameters
    ----------
    M : SymmetricMatrix
    compute_dtype : {None, 'float64'}, optional
        See `solve`. First and second derivatives are computed in this precision too.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `cholesky`.

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
    if not _promoted(M, compute_dtype):
        return cholesky(M, weak_pivots=weak_pivots).logdet()
    accept = accepts_weak(weak_pivots)
    return primitives.promoted_logdet_call(M.pattern, M.checked(), accept_weak=accept)


def slogdet(
    M: SymmetricMatrix,
    *,
    compute_dtype: ComputeDtype = None,
    weak_pivots: WeakPivots = "refuse",
) -> tuple[jax.Array, jax.Array]:
    """Compute the sign of det A and log abs(det A).

    Parameters
    ----------
    M : SymmetricMatrix
    compute_dtype : {None, 'float64'}, optional
        See `solve`.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `cholesky`.

    Returns
    -------
    sign : jax.Array
        One, of the type of A; NaN where A is not positive definite.
    logabsdet : jax.Array
        See `logdet`.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> sign, logabsdet = scj.slogdet(scj.SymmetricMatrix(P, jnp.array([4.0, 1.0, 5.0])))
    >>> print(f"{sign:.0f} {logabsdet:.4f}")
    1 2.9444
    """
    return with_sign(logdet(M, compute_dtype=compute_dtype, weak_pivots=weak_pivots), M.dtype)


def partial_inverse(
    M: SymmetricMatrix,
    *,
    compute_dtype: ComputeDtype = None,
    weak_pivots: WeakPivots = "refuse",
) -> jax.Array:
    """Compute the entries of A^-1 on the pattern of A.

    Parameters
    ----------
    M : SymmetricMatrix
    compute_dtype : {None, 'float64'}, optional
        See `solve`. First derivatives are computed in this precision too.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `cholesky`.

    Returns
    -------
    values : (len(M.pattern.indices),) jax.Array
        The lower triangle, packed like the values of A; NaN where A is not positive definite.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> print(scj.partial_inverse(scj.SymmetricMatrix(P, jnp.array([2.0, 1.0, 2.0]))).round(4))
    [ 0.6667 -0.3333  0.6667]
    """
    if not _promoted(M, compute_dtype):
        return cholesky(M, weak_pivots=weak_pivots).partial_inverse()
    accept = accepts_weak(weak_pivots)
    return primitives.promoted_partial_inverse_call(M.pattern, M.checked(), accept_weak=accept)


def diag_inverse(
    M: SymmetricMatrix,
    *,
    compute_dtype: ComputeDtype = None,
    weak_pivots: WeakPivots = "refuse",
) -> jax.Array:
    """Compute the diagonal of A^-1; see `marginal_variances` for a precision matrix.

    Parameters
    ----------
    M : SymmetricMatrix
    compute_dtype : {None, 'float64'}, optional
        See `solve`. First derivatives are computed in this precision too.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `cholesky`.

    Returns
    -------
    (n,) jax.Array
        Real; NaN where A is not positive definite.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> print(scj.diag_inverse(scj.SymmetricMatrix(P, jnp.array([2.0, 1.0, 2.0]))).round(4))
    [0.6667 0.6667]
    """
    if not _promoted(M, compute_dtype):
        return cholesky(M, weak_pivots=weak_pivots).diag_inverse()
    values = partial_inverse(M, compute_dtype=compute_dtype, weak_pivots=weak_pivots)
    return values[M.pattern.indptr[:-1]].real


def _promoted(M: SymmetricMatrix, compute_dtype: ComputeDtype) -> bool:
    """Tell whether values in single precision are to be factored in double precision."""
    if compute_dtype is not None and jnp.dtype(compute_dtype) != "float64":
        raise ValueError(f"compute_dtype must be None or 'float64', not {compute_dtype!r}")
    return compute_dtype is not None and M.dtype in ("float32", "complex64")
