"""Model problems: sparse symmetric positive definite matrices from applications.

`grid_laplacian`
    Finite differences on a grid.
`matern_spde`, `space_time`
    Gaussian Markov random fields, in space and in space and time.
`mixed_model`, `block_arrow`
    Crossed and hierarchical random effects.
`triangulation`, `finite_elements`
    A mesh and the matrices of linear finite elements on it.

Examples
--------
>>> import sparsechol as sc
>>> Q = sc.models.matern_spde(40, 30, range_=0.3)
>>> sc.cholesky(Q)
<CholeskyFactor of shape (1200, 1200), float64: 41984 entries in L>
"""

import math

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

__all__ = [
    "block_arrow",
    "finite_elements",
    "grid_laplacian",
    "matern_spde",
    "mixed_model",
    "space_time",
    "triangulation",
]

# Interior vertices move by at most this part of a mesh step in each direction: triangles keep a
# fifth of a cell at least, so no triangle turns over.
JITTER = 0.2


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
        line = 2 * eye_array(m) - _path(m)
        A = kron(A, eye_array(m)) + kron(eye_array(A.shape[0]), line)
    return _tidy(A + shift * eye_array(A.shape[0]))


def triangulation(nx: int, ny: int, *, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate a rectangle of ``nx`` by ``ny`` vertices; its x side has length one.

    Parameters
    ----------
    nx, ny : int
        At least 2.
    seed : int, optional
        Seed of random moves of the interior vertices; by default cells are squares cut in two.

    Returns
    -------
    points : (nx * ny, 2) ndarray
    triangles : (2 * (nx - 1) * (ny - 1), 3) ndarray of int
        Vertices of each triangle, counterclockwise.

    Examples
    --------
    >>> from sparsechol.models import triangulation
    >>> points, triangles = triangulation(2, 2)
    >>> points.tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    >>> triangles.tolist()
    [[0, 1, 2], [3, 2, 1]]
    """
    if nx < 2 or ny < 2:
        raise ValueError(f"a mesh needs two vertices in each direction, not {nx} x {ny}")
    step = 1 / (nx - 1)
    points = np.stack(np.meshgrid(np.arange(nx), np.arange(ny)), axis=2) * step
    if seed is not None:
        rng = np.random.default_rng(seed)
        move = rng.uniform(-JITTER, JITTER, (ny - 2, nx - 2, 2))
        points[1:-1, 1:-1] += move * step
    vertex = np.arange(nx * ny).reshape(ny, nx)
    a, b, c, d = vertex[:-1, :-1], vertex[:-1, 1:], vertex[1:, :-1], vertex[1:, 1:]
    triangles = np.concatenate([np.stack([a, b, c], axis=2), np.stack([d, c, b], axis=2)])
    return points.reshape(-1, 2), triangles.reshape(-1, 3)


def finite_elements(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, csc_array]:
    """Compute lumped masses and the stiffness matrix of linear finite elements.

    Parameters
    ----------
    points : (n, 2) ndarray
    triangles : (m, 3) ndarray of int

    Returns
    -------
    mass : (n,) ndarray
        A third of the area of the triangles at each vertex.
    G : (n, n) csc_array
        ``G[i, j]`` is the integral of ``grad phi_i . grad phi_j``; the rows of G sum to zero.

    Examples
    --------
    >>> from sparsechol.models import finite_elements, triangulation
    >>> mass, G = finite_elements(*triangulation(2, 2))
    >>> mass.round(4)
    array([0.1667, 0.3333, 0.3333, 0.1667])
    >>> G.toarray().diagonal()
    array([1., 1., 1., 1.])
    """
    corners = points[triangles]
    # The side facing each corner; the gradient of phi_i is that side turned by 90 degrees and
    # divided by twice the area.
    sides = np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)
    x, y = sides[..., 0], sides[..., 1]
    area = (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]) / 2
    n = points.shape[0]
    mass = np.bincount(triangles.ravel(), np.repeat(area / 3, 3), minlength=n)
    local = np.einsum("tic,tjc->tij", sides, sides) / (4 * area[:, np.newaxis, np.newaxis])
    rows = np.repeat(triangles, 3, axis=1)
    columns = np.tile(triangles, (1, 3))
    G = coo_array((local.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n))
    return mass, _tidy(G)


def matern_spde(
    nx: int,
    ny: int | None = None,
    *,
    range_: float = 0.2,
    sigma: float = 1.0,
    nu: int = 1,
    seed: int | None = None,
) -> csc_array:
    """Build the precision matrix of a Matern field on a triangulated rectangle.

    Parameters
    ----------
    nx, ny : int
        Vertices in each direction (`ny` is `nx` by default); the x side has length one.
    range_ : float, optional
        Distance at which the correlation has fallen to about 0.14, on the scale of the x side.
    sigma : float, optional
        Marginal standard deviation away from the boundary.
    nu : int, optional
        Smoothness, at least 1; each unit more widens the pattern by one ring of neighbors.
    seed : int, optional
        Seed of random moves of the vertices, see `triangulation`; by default the mesh is regular.

    Returns
    -------
    Q : (nx * ny, nx * ny) csc_array

    Notes
    -----
    ``(kappa^2 - Laplacian)^(alpha / 2) (tau u) = white noise`` with ``alpha = nu + 1``, linear
    finite elements with lumped mass C, and the natural boundary condition:
    ``Q = tau^2 K (C^-1 K)^nu``, ``K = kappa^2 C + G``; for ``nu = 1`` this is
    ``tau^2 (kappa^4 C + 2 kappa^2 G + G C^-1 G)``. ``kappa = sqrt(8 nu) / range`` and
    ``tau^2 = 1 / (4 pi nu kappa^(2 nu) sigma^2)``. Near the boundary the variance is larger.

    References
    ----------
    Lindgren, F., Rue, H. and Lindstrom, J. (2011). An explicit link between Gaussian fields and
    Gaussian Markov random fields. J. R. Stat. Soc. B 73(4), equations (2), (4) and (10).

    Examples
    --------
    >>> from sparsechol.models import matern_spde
    >>> matern_spde(20, 30).shape
    (600, 600)
    """
    if nu < 1 or nu != int(nu):
        raise ValueError(f"nu must be a positive integer, not {nu}")
    mass, G = finite_elements(*triangulation(nx, nx if ny is None else ny, seed=seed))
    kappa = math.sqrt(8 * nu) / range_
    K = diags_array(kappa**2 * mass) + G
    step = diags_array(1 / mass) @ K
    Q = K
    for _ in range(int(nu)):
        Q = Q @ step
    tau2 = 1 / (4 * math.pi * nu * kappa ** (2 * nu) * sigma**2)
    return _tidy(tau2 / 2 * (Q + Q.T))


def space_time(
    nx: int,
    ny: int,
    nt: int,
    *,
    rho: float = 0.9,
    range_: float = 0.2,
    sigma: float = 1.0,
    seed: int | None = None,
) -> csc_array:
    """Build the precision matrix of a Matern field that follows an AR(1) process in time.

    Parameters
    ----------
    nx, ny, range_, sigma, seed
        Parameters of the field, see `matern_spde`.
    nt : int
        Number of times.
    rho : float, optional
        Correlation of successive times, between -1 and 1.

    Returns
    -------
    Q : (nt * nx * ny, nt * nx * ny) csc_array
        Kronecker product of the precisions in time and space, one time after another.

    Examples
    --------
    >>> from sparsechol.models import space_time
    >>> space_time(20, 10, 5, rho=0.8).shape
    (1000, 1000)
    """
    if not -1 < rho < 1:
        raise ValueError(f"rho must lie between -1 and 1, not {rho}")
    diagonal = np.full(nt, 1 + rho**2)
    diagonal[[0, -1]] = 1 if nt > 1 else 1 - rho**2
    time = diags_array(diagonal) - rho * _path(nt)
    space = matern_spde(nx, ny, range_=range_, sigma=sigma, seed=seed)
    return _tidy(kron(time / (1 - rho**2), space))


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
    return _tidy(Z.T @ Z + eye_array(Z.shape[1]))


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
    return _tidy(A + diags_array(1 + abs(A).sum(axis=0)))


def _path(m: int) -> csc_array:
    """Build the adjacency matrix of m vertices in a row."""
    i = np.arange(m - 1)
    edges = (np.concatenate([i, i + 1]), np.concatenate([i + 1, i]))
    return csc_array((np.ones(2 * i.size), edges), shape=(m, m))


def _tidy(A) -> csc_array:
    """Return a sorted csc_array without repetitions and zeros, with 32-bit indices if they fit."""
    A = csc_array(A)
    A.sum_duplicates()
    A.eliminate_zeros()
    if A.nnz < 2**31:
        A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
    return A
