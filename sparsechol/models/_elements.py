"""Linear finite elements on triangles: meshes, their matrices, and interpolation."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array
from scipy.spatial import cKDTree

from .._scipy.input import check_finite, real_numbers, unmasked
from ._matrices import tidy

# Interior vertices move by at most this part of a mesh step in each direction: triangles keep a
# fifth of a cell at least, so no triangle turns over.
JITTER = 0.2
# A point so far outside, in barycentric coordinates, is on the boundary.
ON_BOUNDARY = 1e-9
# A triangle is flat where its area is so small beside the square of its longest side.
FLAT = 1e-14


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


def finite_elements(points: ArrayLike, triangles: ArrayLike) -> tuple[np.ndarray, csc_array]:
    """Compute lumped masses and the stiffness matrix of linear finite elements.

    Parameters
    ----------
    points : (n, 2) or (n, 3) array_like
        In three dimensions the triangles are a surface.
    triangles : (m, 3) array_like of int

    Returns
    -------
    mass : (n,) ndarray
        A third of the area of the triangles at each vertex.
    G : (n, n) csc_array
        ``G[i, j]`` is the integral of ``grad phi_i . grad phi_j``; the rows of G sum to zero.

    Raises
    ------
    ValueError
        If a triangle has a vertex that is none of the points, or no area.

    See Also
    --------
    mass_matrix : The masses that are not lumped.

    Examples
    --------
    >>> from sparsechol.models import finite_elements, triangulation
    >>> mass, G = finite_elements(*triangulation(2, 2))
    >>> mass.round(4)
    array([0.1667, 0.3333, 0.3333, 0.1667])
    >>> G.toarray().diagonal()
    array([1., 1., 1., 1.])
    """
    points, triangles = _mesh(points, triangles)
    sides = _sides(points, triangles)
    area = _areas(sides)
    mass = np.bincount(triangles.ravel(), np.repeat(area / 3, 3), minlength=len(points))
    # The gradient of phi_i is the side that faces corner i, turned by 90 degrees and divided by
    # twice the area.
    local = np.einsum("tic,tjc->tij", sides, sides) / (4 * area[:, np.newaxis, np.newaxis])
    return mass, _assembled(triangles, local, len(points))


def mass_matrix(points: ArrayLike, triangles: ArrayLike) -> csc_array:
    """Compute the consistent mass matrix of linear finite elements.

    Parameters
    ----------
    points : (n, 2) or (n, 3) array_like
    triangles : (m, 3) array_like of int

    Returns
    -------
    C : (n, n) csc_array
        ``C[i, j]`` is the integral of ``phi_i phi_j``; the sums of its rows are the lumped masses.

    Raises
    ------
    ValueError
        As for `finite_elements`.

    Examples
    --------
    >>> from sparsechol.models import mass_matrix
    >>> 24 * mass_matrix([(0, 0), (1, 0), (0, 1)], [(0, 1, 2)]).toarray()
    array([[2., 1., 1.],
           [1., 2., 1.],
           [1., 1., 2.]])
    """
    points, triangles = _mesh(points, triangles)
    area = _areas(_sides(points, triangles))
    local = (np.ones((3, 3)) + np.eye(3)) * (area / 12)[:, np.newaxis, np.newaxis]
    return _assembled(triangles, local, len(points))


def barycentric(points: ArrayLike, triangles: ArrayLike, at: ArrayLike) -> csc_array:
    """Build the matrix that interpolates values at the vertices of a mesh to other points.

    Parameters
    ----------
    points : (n, 2) array_like
        Vertices of the mesh.
    triangles : (m, 3) array_like of int
    at : (k, 2) array_like
        Where values are wanted; each must be in a triangle.

    Returns
    -------
    (k, n) csc_array
        Each row has the barycentric coordinates of a point in its triangle: at most three entries,
        that sum to one.

    Raises
    ------
    ValueError
        If a point is outside the mesh, or the mesh is not as for `finite_elements`.

    Examples
    --------
    >>> from sparsechol.models import barycentric, triangulation
    >>> barycentric(*triangulation(2, 2), [(0.25, 0.25), (1.0, 0.5)]).toarray()
    array([[0.5 , 0.25, 0.25, 0.  ],
           [0.  , 0.5 , 0.  , 0.5 ]])
    """
    points, triangles = _mesh(points, triangles)
    at = real_numbers(at, "at")
    if points.shape[1] != 2 or at.ndim != 2 or at.shape[1] != 2:
        raise ValueError(f"points and at must be (n, 2), not {points.shape} and {at.shape}")
    check_finite(at, "at")
    which, triangle = _candidates(points[triangles], at)
    a, b, c = np.moveaxis(points[triangles[triangle]], 1, 0)
    x = at[which]
    weights = np.stack([_cross(c - b, x - b), _cross(a - c, x - c), _cross(b - a, x - a)], axis=1)
    weights /= _cross(b - a, c - a)[:, np.newaxis]
    inside = weights.min(axis=1)
    order = np.lexsort((-inside, which))  # of each point the triangle that it is deepest in
    _, first = np.unique(which[order], return_index=True)
    best = order[first]
    best = best[inside[best] >= -ON_BOUNDARY]
    missing = np.setdiff1d(np.arange(len(at)), which[best])
    if missing.size:
        k = missing[0]
        raise ValueError(
            f"{missing.size} of {len(at)} points are outside the mesh, the first at[{k}] ="
            f" ({at[k, 0]:g}, {at[k, 1]:g})"
        )
    w = np.maximum(weights[best], 0)
    w /= w.sum(axis=1, keepdims=True)
    rows = np.repeat(which[best], 3)
    columns = triangles[triangle[best]].ravel()
    return tidy(coo_array((w.ravel(), (rows, columns)), shape=(len(at), len(points))))


def _candidates(corners, at):
    """Return pairs of points and triangles: those in the circle about the middle of a triangle."""
    middle = corners.mean(axis=1)
    radius = np.linalg.norm(corners - middle[:, np.newaxis], axis=2).max(axis=1)
    if not len(at):
        return np.empty((2, 0), dtype=np.intp)
    found = cKDTree(at).query_ball_point(middle, radius * (1 + 1e-6))
    triangle = np.repeat(np.arange(len(middle)), [len(points) for points in found])
    which = np.fromiter((k for points in found for k in points), np.intp, count=triangle.size)
    return which, triangle


def _cross(u, v):
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


def _sides(points, triangles):
    """Return the side that faces each corner, (m, 3, d)."""
    corners = points[triangles]
    return np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)


def _areas(sides):
    u, v = sides[:, 0], sides[:, 1]
    across = _cross(u, v) if u.shape[1] == 2 else np.linalg.norm(np.cross(u, v), axis=1)
    area = abs(across) / 2
    flat = area <= FLAT * (sides**2).sum(axis=2).max(axis=1, initial=0)
    if flat.any():
        raise ValueError(f"triangles[{np.argmax(flat)}] has no area")
    return area


def _assembled(triangles, local, n):
    rows = np.repeat(triangles, 3, axis=1)
    columns = np.tile(triangles, (1, 3))
    return tidy(coo_array((local.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n)))


def _mesh(points, triangles):
    """Return a mesh as arrays, checked."""
    points = real_numbers(points, "points")
    triangles = unmasked(triangles, "triangles")
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ValueError(f"points must be (n, 2) or (n, 3), not {points.shape}")
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"triangles must be (m, 3), not {triangles.shape}")
    if triangles.dtype.kind not in "iu":
        raise TypeError(f"vertices are whole numbers, not {triangles.dtype}")
    check_finite(points, "points")
    outside = np.argwhere((triangles < 0) | (triangles >= len(points)))
    if outside.size:
        k, corner = outside[0]
        raise ValueError(
            f"triangles[{k}, {corner}] = {triangles[k, corner]} is none of the {len(points)} points"
        )
    return points, triangles.astype(np.intp)
