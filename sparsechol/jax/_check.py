"""Whether a sparsity pattern has all entries of a Jacobian: by products with random directions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..coloring import color
from ..coloring._pattern import entries_of
from ._detect import Flat, jacobian_pattern
from ._sparse_derivatives import jacobian_shape, require_shape

LINES = 32  # rows that are looked at one by one, most


def check_pattern(
    f: Any,
    *args: Any,
    pattern: Any = None,
    argnums: int | tuple = 0,
    probes: int = 3,
    seed: int = 0,
) -> np.ndarray:
    """Entries of a Jacobian that a sparsity pattern lacks, as far as random directions find them.

    Parameters
    ----------
    f : callable
        ``f(*args)``; for the pattern of a Hessian its gradient, ``jax.grad(f)``.
    *args : pytrees of arrays
        The point. An entry that is zero there is not missed.
    pattern : (m, n) sparse or dense array, optional
        By default the one that `jacobian_pattern` finds.
    argnums : int or tuple of int, optional
        The arguments to differentiate.
    probes : int, optional
        Number of random directions.
    seed : int, optional
        Of the directions.

    Returns
    -------
    missed : (k, 2) ndarray of int
        Rows and columns; empty if nothing is missed. If entries are missed in more than 32 rows,
        those of 32 of them.

    Notes
    -----
    The matrix that the compressed products give with this pattern is multiplied with directions
    that `seed` chooses, and the products are compared with those of the Jacobian itself: they
    differ in each row that misses an entry, but for a set of directions of measure zero. Such rows
    are then computed in full.

    Examples
    --------
    >>> import numpy as np, jax.numpy as jnp, sparsechol.jax as scj
    >>> scj.check_pattern(lambda x: x * x[0], jnp.array([1.0, 2.0, 3.0]), pattern=np.eye(3))
    array([[1, 0],
           [2, 0]])
    """
    flat = Flat(f, args, argnums)
    if pattern is None:
        pattern = jacobian_pattern(f, *args, argnums=argnums)
    P = entries_of(pattern)
    require_shape(P.shape, jacobian_shape(flat, args))
    forward, backward = products(*flat.split(args))
    rng = np.random.default_rng(seed)
    if forward is not None:
        return missed_rows(P, forward, backward, rng, probes)
    return missed_rows(P.T.tocsc(), backward, None, rng, probes)[:, ::-1]


def products(vector, f):
    """Products with the Jacobian and with its transpose, None where they are not possible."""
    forward = backward = None
    try:
        push = jax.linearize(f, vector)[1]
        push(jnp.zeros_like(vector))
        forward = push
    except TypeError:  # a custom rule for reverse mode
        pass
    try:
        out, pull = jax.vjp(f, vector)
        pull(jnp.zeros_like(out))
        backward = lambda ct: pull(ct)[0]  # noqa: E731
    except ValueError:  # a loop of unknown length
        pass
    return forward, backward


def missed_rows(P, multiply, transposed, rng, probes):
    """Missed entries of a matrix, given products with it and perhaps with its transpose."""
    m, n = P.shape
    coloring = color(P, order="natural")
    apply = jax.jit(jax.vmap(multiply))
    J = coloring.decompress(np.asarray(apply(jnp.asarray(coloring.seed().T))).T)
    V = rng.standard_normal((probes, n))
    wanted = np.asarray(apply(jnp.asarray(V))).T
    size = abs(J) @ abs(V.T) + abs(wanted)
    eps = np.finfo(wanted.dtype).eps
    suspects = np.flatnonzero((abs(J @ V.T - wanted) > np.sqrt(eps) * size).any(axis=1))[:LINES]
    rows = full_rows(suspects, (m, n), apply, transposed)
    missed = (rows != 0) & ~P.tocsr()[suspects].toarray().astype(bool)
    k, j = np.nonzero(missed)
    return np.stack([suspects[k], j], axis=1)


def full_rows(rows, shape, apply, transposed):
    """Some rows of a matrix, (len(rows), n): by one product each, or by all columns."""
    m, n = shape
    if transposed is not None and len(rows):
        units = jnp.asarray(rows[:, None] == np.arange(m), float)
        return np.asarray(jax.vmap(transposed)(units)).reshape(len(rows), n)
    if not len(rows):
        return np.empty((0, n))
    parts = []
    for start in range(0, n, LINES):
        units = np.arange(start, min(start + LINES, n))[:, None] == np.arange(n)
        parts.append(np.asarray(apply(jnp.asarray(units, float)))[:, rows].T)
    return np.concatenate(parts, axis=1)
