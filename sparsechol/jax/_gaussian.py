"""Compute densities, draws and variances of Gaussian Markov random fields."""

import math
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._scipy.null_space import NullSpaceLike
from ._factor import Factor, cholesky
from ._matrix import SymmetricMatrix
from ._semidefinite import SemidefiniteFactor

Precision: TypeAlias = SymmetricMatrix | Factor | SemidefiniteFactor


def gmrf_logpdf(
    x: ArrayLike, mu: ArrayLike, Q: Precision, *, null_space: NullSpaceLike | None = None
) -> jax.Array:
    """Compute the log-density of the normal distribution with mean `mu` and precision matrix `Q`.

    Parameters
    ----------
    x : (..., n) array_like
        Points.
    mu : array_like that broadcasts with `x`
        Mean.
    Q : SymmetricMatrix, Factor or SemidefiniteFactor
        Precision matrix, real.
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', static, optional
        Of a semidefinite `Q`, see `cholesky`: the density of an intrinsic field, in which the
        rank of `Q` stands for n.

    Returns
    -------
    (...) jax.Array
        NaN where the matrix is not positive definite. Differentiable any number of times in all
        operands.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> Q = scj.SymmetricMatrix(scj.analyze(np.eye(2)), jnp.ones(2))
    >>> round(float(scj.gmrf_logpdf(jnp.zeros(2), 0.0, Q)), 4)
    -1.8379
    """
    F = _factor_of(Q, null_space)
    n = F.shape[0]
    rank = F.rank if isinstance(F, SemidefiniteFactor) else n
    r = _residual(x, mu, n)
    rows = r.reshape(math.prod(r.shape[:-1]), n)
    squares = jnp.sum(rows * (F.matrix @ rows.T).T, axis=-1).reshape(r.shape[:-1])
    return 0.5 * (F.logdet() - rank * np.log(2 * np.pi) - squares)


def gmrf_sample(
    key: jax.Array,
    mu: ArrayLike,
    Q: Precision,
    *,
    shape: tuple[int, ...] | int = (),
    null_space: NullSpaceLike | None = None,
) -> jax.Array:
    """Draw from the normal distribution with mean `mu` and precision matrix `Q`.

    Parameters
    ----------
    key : random key
    mu : array_like that broadcasts with ``(*shape, n)``
    Q : SymmetricMatrix, Factor or SemidefiniteFactor
    shape : int or tuple of int, optional
        Shape of the draws.
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', static, optional
        Of a semidefinite `Q`, see `cholesky`: draws less `mu` are then orthogonal to the null
        space.

    Returns
    -------
    x : ``(*shape, n)`` jax.Array
        A smooth function of `mu` and of the values of `Q`, with pathwise derivatives.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> Q = scj.SymmetricMatrix(scj.analyze(np.eye(2)), jnp.array([1.0, 100.0]))
    >>> print(scj.gmrf_sample(jax.random.key(0), 0.0, Q, shape=1000).std(axis=0).round(1))
    [1.  0.1]
    """
    F = _factor_of(Q, null_space)
    draws = F.sample(key, shape=shape)
    return _residual(draws, -jnp.asarray(mu), F.shape[0])


def marginal_variances(Q: Precision, *, null_space: NullSpaceLike | None = None) -> jax.Array:
    """Compute the variance of each element of a field with precision matrix `Q`.

    This is the statisticians' name of `diag_inverse`, the diagonal of the inverse.

    Parameters
    ----------
    Q : SymmetricMatrix, Factor or SemidefiniteFactor
        Precision matrix, real.
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', static, optional
        Of a semidefinite `Q`, see `cholesky`: the variances of the field orthogonal to the null
        space.

    Returns
    -------
    (n,) jax.Array
        NaN where the matrix is not positive definite. Differentiable any number of times.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> print(scj.marginal_variances(scj.SymmetricMatrix(P, jnp.array([2.0, 1.0, 2.0]))).round(4))
    [0.6667 0.6667]
    """
    return _factor_of(Q, null_space).diag_inverse()


def _factor_of(Q, null_space) -> Factor | SemidefiniteFactor:
    """Return the factor of a precision matrix; raise TypeError if it is complex."""
    if isinstance(Q, Factor | SemidefiniteFactor):
        if null_space is not None:
            raise TypeError("a factor is given: pass null_space= to the call of cholesky")
        F = Q
    else:
        F = cholesky(Q, null_space=null_space)
    if F.dtype.kind == "c":
        raise TypeError(f"the precision matrix holds {F.dtype}: it must be real")
    return F


def _residual(x, mu, n) -> jax.Array:
    """Return ``x - mu``, of the shape of `x`; raise ValueError if shapes do not fit."""
    x = jnp.asarray(x)
    if x.ndim == 0 or x.shape[-1] != n:
        raise ValueError(f"x has shape {x.shape}: its last dimension must be {n}, as the matrix's")
    r = x - jnp.asarray(mu)
    if r.shape != x.shape:
        raise ValueError(f"the mean has shape {jnp.shape(mu)}, which does not fit x, {x.shape}")
    return r
