"""Gaussian Markov random fields: the density and draws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._factor import Factor, cholesky
from ._matrix import SymmetricMatrix


def gmrf_logpdf(x: Any, mu: Any, M: SymmetricMatrix | Factor) -> jax.Array:
    """Log-density of the normal distribution with mean `mu` and precision matrix `M`.

    Parameters
    ----------
    x : (..., n) array_like
        Points.
    mu : array_like that broadcasts with `x`
        Mean.
    M : SymmetricMatrix or Factor
        Precision matrix, real.

    Returns
    -------
    (...) jax.Array
        NaN where the matrix is not positive definite. Differentiable any number of times in
        everything.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> M = scj.SymmetricMatrix(scj.analyze(np.eye(2)), jnp.ones(2))
    >>> round(float(scj.gmrf_logpdf(jnp.zeros(2), 0.0, M)), 4)
    -1.8379
    """
    F = _factor_of(M)
    n = F.shape[0]
    r = _residual(x, mu, n)
    rows = r.reshape(-1, n)
    squares = jnp.sum(rows * (F.matrix @ rows.T).T, axis=-1).reshape(r.shape[:-1])
    return 0.5 * (F.logdet() - n * np.log(2 * np.pi) - squares)


def gmrf_sample(
    key: jax.Array, mu: Any, M: SymmetricMatrix | Factor, shape: tuple[int, ...] | int = ()
) -> jax.Array:
    """Draw from the normal distribution with mean `mu` and precision matrix `M`.

    Parameters
    ----------
    key : random key
    mu : array_like that broadcasts with ``(*shape, n)``
    M : SymmetricMatrix or Factor
    shape : tuple of int, optional
        Shape of the draws.

    Returns
    -------
    x : ``(*shape, n)`` jax.Array
        With pathwise derivatives: a smooth function of `mu` and of the values of `M`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> M = scj.SymmetricMatrix(scj.analyze(np.eye(2)), jnp.array([1.0, 100.0]))
    >>> print(scj.gmrf_sample(jax.random.key(0), 0.0, M, (1000,)).std(axis=0).round(1))
    [1.  0.1]
    """
    F = _factor_of(M)
    draws = F.sample(key, shape)
    return _residual(draws, -jnp.asarray(mu), F.shape[0])


def _factor_of(M) -> Factor:
    F = M if isinstance(M, Factor) else cholesky(M)
    if F.dtype.kind == "c":
        raise TypeError(f"the precision matrix holds {F.dtype}: it must be real")
    return F


def _residual(x, mu, n) -> jax.Array:
    x = jnp.asarray(x)
    if x.ndim == 0 or x.shape[-1] != n:
        raise ValueError(f"x has shape {x.shape}: its last dimension must be {n}, as the matrix's")
    r = x - jnp.asarray(mu)
    if r.shape != x.shape:
        raise ValueError(f"the mean has shape {jnp.shape(mu)}, which does not fit x, {x.shape}")
    return r
