"""Check by products with random directions that a pattern has all entries of a Jacobian."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .._typing import MatrixLike
from ..coloring import color
from ..coloring._pattern import entries_of
from ._detect import RaveledFunction, jacobian_pattern
from ._sparse_derivatives import jacobian_shape, require_shape
from ._typing import Pytree

LINES = 32  # most rows that are computed in full


def check_pattern(
    f: Callable[..., Pytree],
    *args: Pytree,
    sparsity: MatrixLike | None = None,
    argnums: int | Sequence[int] = 0,
    probes: int = 3,
    seed: int = 0,
    kwargs: dict[str, Pytree] | None = None,
    has_aux: bool = False,
) -> np.ndarray:
    """Find entries of a Jacobian that a sparsity pattern lacks, by products with random directions.

    Parameters
    ----------
    f : callable
        ``f(*args)``. To check the pattern of a Hessian pass the gradient, ``jax.grad(f)``.
    *args : pytrees of arrays
        The point of evaluation. An entry that is zero at this point is not reported.
    sparsity : (m, n) sparse or dense array, optional
        The pattern to check. By default the one that `jacobian_pattern` finds.
    argnums : int or tuple of int, optional
        The arguments to differentiate.
    probes : int, optional
        Number of random directions.
    seed : int, optional
        Seed of the random directions.
    kwargs, has_aux
        See `jacobian_pattern`.

    Returns
    -------
    missed : (k, 2) ndarray of int
        Rows and columns of the missing entries. At most 32 rows are reported.

    Notes
    -----
    The matrix that compressed products give with this pattern is multiplied by the random
    directions, and so is the Jacobian itself. The two products differ in every row with a missing
    entry, unless the directions are in a set of measure zero. These rows are computed in full.

    Examples
    --------
    >>> import numpy as np, jax.numpy as jnp, sparsechol.jax as scj
    >>> scj.check_pattern(lambda x: x * x[0], jnp.array([1.0, 2.0, 3.0]), sparsity=np.eye(3))
    array([[1, 0],
           [2, 0]])
    """
    raveled = RaveledFunction(f, args, argnums, kwargs, has_aux)
    if sparsity is None:
        sparsity = jacobian_pattern(f, *args, argnums=argnums, kwargs=kwargs, has_aux=has_aux)
    P = entries_of(sparsity)
    require_shape(P.shape, jacobian_shape(raveled))
    forward, backward = products(*raveled.split((*args, dict(kwargs or {}))))
    rng = np.random.default_rng(seed)
    if forward is not None:
        return missed_entries(P, forward, backward, rng, probes)
    return missed_entries(P.T.tocsc(), backward, None, rng, probes)[:, ::-1]


def products(vector, f):
    """Return products with the Jacobian and with its transpose; None for an impossible one."""
    forward = backward = None
    try:
        push = jax.linearize(f, vector)[1]
        push(jnp.zeros_like(vector))
        forward = push
    except TypeError:  # f has a custom rule for reverse mode
        pass
    try:
        out, pull = jax.vjp(f, vector)
        pull(jnp.zeros_like(out))
        backward = lambda ct: pull(ct)[0]  # noqa: E731
    except ValueError:  # f has a loop of unknown length
        pass
    return forward, backward


def missed_entries(P, multiply, transposed, rng, probes):
    """Find the missing entries of a matrix, given products with it and perhaps its transpose."""
    m, n = P.shape
    coloring = color(P, order="natural")
    apply = jax.jit(jax.vmap(multiply))
    J = coloring.decompress(np.asarray(apply(jnp.asarray(np.asarray(coloring.seed()).T))).T)
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
    """Compute rows of a matrix, (len(rows), n), by one product each or by all columns."""
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
