"""Model problems: matrices that solvers are tried on."""

import numpy as np
from scipy.sparse import (
    block_diag,
    coo_array,
    csc_array,
    csr_array,
    diags_array,
    eye_array,
    kron,
    tril,
)

from ._matrices import path, tidy


def grid_laplacian(shape: tuple[int, ...], *, shift: float = 0.0) -> csc_array:
    """Build the finite-difference Laplacian of a grid of any dimension, zero on the boundary.

    Parameters
    ----------
    shape : tuple of int
        Vertices in each direction: ``(500, 500)`` or ``(30, 30, 30)``.
    shift : float, optional
        Number added to the diagonal.

    Returns
    -------
    (n, n) csc_array
        ``2 d + shift`` on the diagonal, -1 for each neighbor. Its eigenvalues are
        ``shift + sum_k 4 sin(pi j_k / (2 (m_k + 1)))^2`` with ``1 <= j_k <= m_k``.

    Examples
    --------
    >>> from sparsechol.models import grid_laplacian
    >>> grid_laplacian((2, 2)).toarray()
    array([[ 4., -1., -1.,  0.],
           [-1.,  4.,  0., -1.],
           [-1.,  0.,  4., -1.],
           [ 0., -1., -1.,  4.]])
    """
    A = csc_array((1, 1))
    for m in shape:
        line = 2 * eye_array(m) - path(m)
        A = kron(A, eye_array(m)) + kron(eye_array(A.shape[0]), line)
    return tidy(A + shift * eye_array(A.shape[0]))


def mixed_model(*n_levels: int, observations: int | None = None, seed: int = 0) -> csc_array:
    """Build the penalized normal equations ``Z^T Z + I`` of crossed random effects.

    Parameters
    ----------
    *n_levels : int
        Number of levels of each factor: ``mixed_model(3000, 1000, 14)`` for students, teachers,
        schools.
    observations : int, optional
        Rows of Z, each with one level of every factor, drawn at random; by default five for each
        level.
    seed : int, optional

    Returns
    -------
    A : (n, n) csc_array
        ``n = sum(n_levels)``.

    Examples
    --------
    >>> from sparsechol.models import mixed_model
    >>> A = mixed_model(300, 100, 14, observations=5000)
    >>> A.shape, float(A.diagonal().sum())  # each observation has one level of every factor
    ((414, 414), 15414.0)
    """
    m = 5 * sum(n_levels) if observations is None else observations
    rng = np.random.default_rng(seed)
    starts = np.cumsum((0, *n_levels[:-1]))
    levels = np.stack([rng.integers(k, size=m) for k in n_levels], axis=1) + starts
    row_starts = np.arange(0, levels.size + 1, len(n_levels))
    Z = csr_array((np.ones(levels.size), levels.ravel(), row_starts), shape=(m, sum(n_levels)))
    return tidy(Z.T @ Z + eye_array(Z.shape[1]))


def block_arrow(blocks: int, size: int, border: int, *, seed: int = 0) -> csc_array:
    """Build dense diagonal blocks tied together by a dense border: a hierarchical model.

    Parameters
    ----------
    blocks, size : int
        Number and order of the diagonal blocks.
    border : int
        Dense rows and columns, the last ones.
    seed : int, optional

    Returns
    -------
    A : (n, n) csc_array
        ``n = blocks * size + border``; diagonally dominant, hence positive definite.

    Examples
    --------
    >>> from sparsechol.models import block_arrow
    >>> (block_arrow(2, 2, 1).toarray() != 0).astype(int)
    array([[1, 1, 0, 0, 1],
           [1, 1, 0, 0, 1],
           [0, 0, 1, 1, 1],
           [0, 0, 1, 1, 1],
           [1, 1, 1, 1, 1]])
    """
    rng = np.random.default_rng(seed)
    inner = blocks * size
    orders = [size] * blocks + [border]
    diagonal = block_diag([coo_array(np.ones((order, order))) for order in orders])
    rows, columns = np.indices((border, inner))
    arrow = coo_array(
        (np.ones(rows.size), (rows.ravel() + inner, columns.ravel())), shape=diagonal.shape
    )
    lower = csc_array(tril(diagonal + arrow, -1))
    lower.data = rng.uniform(-1, 1, lower.nnz)
    A = lower + lower.T
    return tidy(A + diags_array(1 + abs(A).sum(axis=0)))
