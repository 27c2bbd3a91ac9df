"""Matern fields as solutions of stochastic differential equations: sparse precision matrices.

``(kappa^2 - Laplacian)^(alpha / 2) (tau u) = white noise`` with finite elements and the natural
boundary condition (Lindgren, Rue and Lindstrom 2011).
"""

import math
from functools import reduce
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, diags_array
from scipy.sparse import kron as kronecker

from ._elements import finite_elements, mass_matrix, triangulation
from ._matrices import banded, positive_integer, tidy
from ._temporal import ar1
from ._types import PrecisionFamily

Mass = Literal["lumped", "consistent"]


def spde_mesh(
    points: ArrayLike, triangles: ArrayLike, *, alpha: int = 2, mass: Mass = "lumped"
) -> PrecisionFamily:
    """Build the precision matrices of a Matern field at the vertices of a triangle mesh.

    Parameters
    ----------
    points : (n, 2) or (n, 3) array_like
        Vertices; in three dimensions the triangles are a surface, a sphere say.
    triangles : (m, 3) array_like of int
    alpha : int, optional
        Order of the equation; the smoothness of the field is ``nu = alpha - 1``.
    mass : {'lumped', 'consistent'}, optional
        The masses C of ``K = kappa^2 C + G``. Lumped masses (default) have the smaller pattern.

    Returns
    -------
    PrecisionFamily
        With the parameters ``kappa`` and ``tau`` (one by default), both positive, which
        `spde_parameters` computes from a range and a standard deviation.

    Raises
    ------
    ValueError
        As for `finite_elements`.

    See Also
    --------
    barycentric : Interpolate the field to other points.

    Notes
    -----
    ``Q = tau^2 K (C^-1 K)^(alpha - 1)``, where C^-1 is that of the lumped masses. With these it is
    ``tau^2 (kappa^2 C + G)``, ``tau^2 (kappa^4 C + 2 kappa^2 G + G C^-1 G)`` and so on: the
    matrices of the family are those that stand with the powers of kappa. Near the boundary the
    variance is larger.

    References
    ----------
    Lindgren, F., Rue, H. and Lindstrom, J. (2011). An explicit link between Gaussian fields and
    Gaussian Markov random fields. J. R. Stat. Soc. B 73(4), equations (2), (4) and (10).

    Examples
    --------
    >>> from sparsechol.models import spde_mesh, spde_parameters, triangulation
    >>> family = spde_mesh(*triangulation(20, 30))
    >>> kappa, tau = spde_parameters(range_=0.3, sigma=2.0)
    >>> family(kappa=kappa, tau=tau)
    <PrecisionModel of shape (600, 600), rank 600>
    """
    masses, G = finite_elements(points, triangles)
    C = diags_array(masses) if _is_lumped(mass) else mass_matrix(points, triangles)
    return _spde(C, masses, G, alpha)


def spde_lattice(
    shape: tuple[int, ...],
    *,
    spacing: float | tuple[float, ...] = 1.0,
    alpha: int = 2,
    mass: Mass = "lumped",
) -> PrecisionFamily:
    """Build the precision matrices of a Matern field on a lattice of any dimension.

    Parameters
    ----------
    shape : tuple of int
        Vertices in each direction, at least 2; the last direction is the fastest.
    spacing : float or tuple of float, optional
        Distance of neighbors, of each direction or of all.
    alpha : int, optional
        Order of the equation; the smoothness is ``nu = alpha - d / 2`` in d dimensions.
    mass : {'lumped', 'consistent'}, optional
        As for `spde_mesh`.

    Returns
    -------
    PrecisionFamily
        As for `spde_mesh`. The elements are products of linear elements in each direction; with
        lumped masses these are finite differences.

    Raises
    ------
    ValueError
        If a direction has less than two vertices, or a spacing is not positive.

    Examples
    --------
    >>> from sparsechol.models import spde_lattice
    >>> spde_lattice((20, 30), spacing=0.1)(kappa=5.0).Q.shape
    (600, 600)
    """
    shape = tuple(positive_integer(m, "a number of vertices", 2) for m in shape)
    steps = np.broadcast_to(np.asarray(spacing, dtype=float), (len(shape),))
    for k, step in enumerate(steps):
        if not 0 < step < np.inf:
            raise ValueError(f"the spacing in direction {k} must be positive, not {step}")
    lines = [_line(m, step) for m, step in zip(shape, steps, strict=True)]
    masses = reduce(np.kron, [lumped for lumped, _, _ in lines])
    pick = 0 if _is_lumped(mass) else 1
    C = [(diags_array(line[0]), line[1])[pick] for line in lines]
    G = csc_array((masses.size, masses.size))
    for k, (_, _, stiffness) in enumerate(lines):
        G = G + csc_array(reduce(kronecker, [*C[:k], stiffness, *C[k + 1 :]]))
    return _spde(csc_array(reduce(kronecker, C)), masses, G, alpha)


def spde_parameters(
    *, range_: Any, sigma: Any = 1.0, alpha: int = 2, dim: int = 2
) -> tuple[Any, Any]:
    """Compute kappa and tau from the range and the standard deviation of a Matern field.

    Parameters
    ----------
    range_ : float or variable of a framework
        Distance at which the correlation has fallen to about 0.14.
    sigma : float or variable of a framework, optional
        Standard deviation, far from the boundary.
    alpha : int, optional
        As for `spde_mesh`.
    dim : int, optional
        Dimension of the space.

    Returns
    -------
    kappa, tau
        ``kappa = sqrt(8 nu) / range`` with ``nu = alpha - dim / 2``, and
        ``tau^2 = gamma(nu) / (gamma(alpha) (4 pi)^(dim / 2) kappa^(2 nu) sigma^2)``.

    Raises
    ------
    ValueError
        If the smoothness nu is not positive: such a field has no variance. If a range or standard
        deviation is a number and not positive.

    References
    ----------
    Lindgren, F. and Rue, H. (2015). Bayesian spatial modelling with R-INLA. J. Stat. Softw. 63(19).

    Examples
    --------
    >>> from sparsechol.models import spde_parameters
    >>> kappa, tau = spde_parameters(range_=0.5, sigma=2.0)
    >>> round(kappa, 6), round(tau, 6)
    (5.656854, 0.024934)
    """
    nu = alpha - dim / 2
    if nu <= 0:
        raise ValueError(f"with alpha {alpha} in {dim} dimensions the field has no variance")
    for name, value in (("range_", range_), ("sigma", sigma)):
        if isinstance(value, Real) and not 0 < float(value) < math.inf:
            raise ValueError(f"{name} must be positive, not {value}")
    kappa = math.sqrt(8 * nu) / range_
    constant = math.gamma(nu) / (math.gamma(alpha) * (4 * math.pi) ** (dim / 2))
    return kappa, math.sqrt(constant) / (kappa**nu * sigma)


def _line(m, step):
    """Return lumped and consistent masses and the stiffness of linear elements on a line."""
    lumped = np.full(m, step)
    lumped[[0, -1]] /= 2
    beside = np.full(m - 1, step / 6)
    inverse = np.full(m - 1, -1 / step)
    consistent = banded([beside, lumped * (2 / 3), beside], [-1, 0, 1], (m, m))
    stiffness = banded([inverse, lumped * (2 / step**2), inverse], [-1, 0, 1], (m, m))
    return lumped, consistent, stiffness


def _is_lumped(mass):
    if mass not in ("lumped", "consistent"):
        raise ValueError(f"mass must be 'lumped' or 'consistent', not {mass!r}")
    return mass == "lumped"


def _spde(C, masses, G, alpha):
    """Expand ``K (M^-1 K)^(alpha - 1)``, ``K = kappa^2 C + G``, in powers of kappa^2."""
    alpha = positive_integer(alpha, "alpha")
    C, G = csc_array(C), csc_array(G)
    inverse = diags_array(1 / masses)
    powers = [G, C]  # of kappa^0, kappa^2
    for _ in range(alpha - 1):
        higher = [csc_array(G.shape), *(P @ (inverse @ C) for P in powers)]
        powers = [P @ (inverse @ G) for P in powers] + [csc_array(G.shape)]
        powers = [P + H for P, H in zip(powers, higher, strict=True)]
    binomials = [math.comb(alpha, k) for k in range(alpha + 1)]
    matrices = [tidy((P + P.T) / (2 * c)) for c, P in zip(binomials, powers, strict=True)]

    def coefficients(kappa, tau):
        return tuple(tau**2 * (c * kappa ** (2 * k)) for k, c in enumerate(binomials))

    positive = (0.0, np.inf)
    return PrecisionFamily(
        tuple(matrices),
        coefficients,
        {"kappa": positive, "tau": positive},
        defaults={"tau": 1.0},
    )


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
    It is that of `spde_mesh` with lumped masses and ``alpha = nu + 1``. Near the boundary the
    variance is larger.

    Examples
    --------
    >>> from sparsechol.models import matern_spde
    >>> matern_spde(20, 30).shape
    (600, 600)
    """
    if nu < 1 or nu != int(nu):
        raise ValueError(f"nu must be a positive integer, not {nu}")
    points, triangles = triangulation(nx, nx if ny is None else ny, seed=seed)
    alpha = int(nu) + 1
    kappa, tau = spde_parameters(range_=range_, sigma=sigma, alpha=alpha)
    return spde_mesh(points, triangles, alpha=alpha)(kappa=kappa, tau=tau).Q


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
    space = matern_spde(nx, ny, range_=range_, sigma=sigma, seed=seed)
    return tidy(kronecker(ar1(nt)(rho=rho).Q, space))
