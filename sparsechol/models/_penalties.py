"""Penalties of roughness: P-splines and thin plates."""

from itertools import combinations
from math import prod

import numpy as np
from numpy.polynomial.legendre import legvander
from scipy.sparse import csc_array, eye_array
from scipy.sparse import kron as kronecker

from ._matrices import differences, positive_integer, tidy
from ._types import PrecisionModel, intrinsic


def pspline(m: int, *, order: int = 2) -> PrecisionModel:
    """Build the penalty of a P-spline: squared differences of the coefficients of B-splines.

    Parameters
    ----------
    m : int
        Number of B-splines with knots at equal distances, more than `order`.
    order : int, optional
        Order of the differences.

    Returns
    -------
    PrecisionModel
        ``D^T D`` of the differences D of that order. The null space is that of polynomials of
        degree less than `order`.

    References
    ----------
    Eilers, P. and Marx, B. (1996). Flexible smoothing with B-splines and penalties. Statistical
    Science 11(2).

    Examples
    --------
    >>> from sparsechol.models import pspline
    >>> pspline(4, order=3).Q.toarray()
    array([[ 1., -3.,  3., -1.],
           [-3.,  9., -9.,  3.],
           [ 3., -9.,  9., -3.],
           [-1.,  3., -3.,  1.]])
    """
    order = positive_integer(order, "order")
    m = positive_integer(m, "m", order + 1)
    D = _repeated_differences(m, order)
    return intrinsic(tidy(D.T @ D), legvander(np.linspace(-1, 1, m), order - 1))


def thin_plate(shape: tuple[int, ...]) -> PrecisionModel:
    """Build the bending energy of a plate on a lattice with steps of one.

    Parameters
    ----------
    shape : tuple of int
        Vertices in each direction, at least 2.

    Returns
    -------
    PrecisionModel
        ``x^T Q x`` sums ``x_uu^2 + 2 x_uv^2 + x_vv^2`` over the lattice, with second differences
        for derivatives; in more dimensions all pairs of directions. Vertices are numbered with
        the last direction fastest. The null space is that of linear functions.

    References
    ----------
    * Wahba, G. (1990). Spline Models for Observational Data. SIAM.
    * Rue, H. and Held, L. (2005). Gaussian Markov Random Fields, section 3.4.2.

    Examples
    --------
    >>> from sparsechol.models import thin_plate
    >>> model = thin_plate((20, 30))
    >>> model
    <PrecisionModel of shape (600, 600), rank 597>
    """
    shape = tuple(positive_integer(m, "a number of vertices", 2) for m in shape)
    energies = [(1, {k: 2}) for k in range(len(shape))]
    energies += [(2, {i: 1, j: 1}) for i, j in combinations(range(len(shape)), 2)]
    n = prod(shape)
    Q = csc_array((n, n))
    for weight, orders in energies:
        D = eye_array(1)
        for k, m in enumerate(shape):
            D = kronecker(D, _repeated_differences(m, orders.get(k, 0)), format="csc")
        Q = Q + weight * (D.T @ D)
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, m) for m in shape), indexing="ij"), axis=-1)
    linear = np.column_stack([np.ones(n), places.reshape(n, len(shape))])
    return intrinsic(tidy(Q), linear)


def _repeated_differences(m, order):
    D = csc_array(eye_array(m))
    for k in range(min(order, m)):
        D = differences(m - k) @ D if m - k > 1 else csc_array((0, m))
    return D
