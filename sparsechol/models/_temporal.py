"""Models of values in a row: random walks, autoregressions, seasons."""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import diags_array, eye_array

from .._scipy.input import check_finite, real_numbers, unmasked
from ._matrices import banded, differences, positive_integer, tidy, weighted_square
from ._types import PrecisionFamily, PrecisionModel, intrinsic


def iid(n: int) -> PrecisionModel:
    """Build the precision matrix of independent values with variance one.

    Parameters
    ----------
    n : int

    Returns
    -------
    PrecisionModel
        The identity.

    Examples
    --------
    >>> from sparsechol.models import iid
    >>> iid(3)
    <PrecisionModel of shape (3, 3), rank 3>
    """
    return PrecisionModel(tidy(eye_array(positive_integer(n, "n"))))


def rw1(t: int | ArrayLike, *, period: float | None = None) -> PrecisionModel:
    """Build the precision matrix of a random walk of first order.

    Parameters
    ----------
    t : int or (n,) array_like
        Number of values at distance one, or where the values lie, ascending.
    period : float, optional
        With it the walk is closed: the first value follows the last one. ``rw1(12, period=12)`` is
        a cycle of months.

    Returns
    -------
    PrecisionModel
        ``x[i + 1] - x[i] ~ N(0, t[i + 1] - t[i])``. The null space is that of constants.

    Raises
    ------
    ValueError
        If there are less than two values, `t` does not ascend, or the period is not longer than
        the distance of the first and the last value.

    References
    ----------
    Rue, H. and Held, L. (2005). Gaussian Markov Random Fields, section 3.3.

    Examples
    --------
    >>> from sparsechol.models import rw1
    >>> rw1(4).Q.toarray()
    array([[ 1., -1.,  0.,  0.],
           [-1.,  2., -1.,  0.],
           [ 0., -1.,  2., -1.],
           [ 0.,  0., -1.,  1.]])
    """
    t, gaps = _gaps(t, period, 2)
    D = differences(t.size, cyclic=period is not None)
    return intrinsic(weighted_square(D, 1 / gaps), np.ones((t.size, 1)))


def rw2(t: int | ArrayLike, *, period: float | None = None) -> PrecisionModel:
    """Build the precision matrix of a random walk of second order.

    Parameters
    ----------
    t : int or (n,) array_like
        Number of values at distance one, or where the values lie, ascending.
    period : float, optional
        With it the walk is closed, see `rw1`.

    Returns
    -------
    PrecisionModel
        The change of slope at ``t[i]`` is ``N(0, (t[i + 1] - t[i - 1]) / 2)``. The null space is
        that of straight lines; of constants, where the walk is closed.

    Raises
    ------
    ValueError
        As for `rw1`; three values are needed.

    Notes
    -----
    With distances h the matrix is that of distances one, divided by h^3: it approximates the
    integral of the squared second derivative. R-INLA's default constraint is the first row of
    ours: it leaves the slope free.

    References
    ----------
    Lindgren, F. and Rue, H. (2008). On the second-order random walk model for irregular locations.
    Scand. J. Stat. 35(4), 691-700.

    Examples
    --------
    >>> from sparsechol.models import rw2
    >>> rw2(5).Q.toarray()
    array([[ 1., -2.,  1.,  0.,  0.],
           [-2.,  5., -4.,  1.,  0.],
           [ 1., -4.,  6., -4.,  1.],
           [ 0.,  1., -4.,  5., -2.],
           [ 0.,  0.,  1., -2.,  1.]])
    """
    t, gaps = _gaps(t, period, 3)
    cyclic = period is not None
    slopes = diags_array(1 / gaps) @ differences(t.size, cyclic=cyclic)
    changes = differences(gaps.size, cyclic=cyclic) @ slopes
    widths = (gaps + np.roll(gaps, -1)) / 2
    Q = weighted_square(changes, 1 / widths[: changes.shape[0]])
    constant, line = np.ones(t.size), (t - t.mean()) / np.ptp(t)
    return intrinsic(Q, np.stack([constant] if cyclic else [constant, line], axis=1))


def seasonal(n: int, period: int) -> PrecisionModel:
    """Build the precision matrix of a seasonal pattern that changes slowly.

    Parameters
    ----------
    n : int
        Number of values, at least `period`.
    period : int
        Values a season, at least 2.

    Returns
    -------
    PrecisionModel
        Sums of `period` values in a row are ``N(0, 1)``. The null space, of dimension
        ``period - 1``, is that of periodic values that sum to zero.

    References
    ----------
    Rue, H. and Held, L. (2005). Gaussian Markov Random Fields, section 3.4.3.

    Examples
    --------
    >>> from sparsechol.models import seasonal
    >>> seasonal(4, 2).Q.toarray()
    array([[1., 1., 0., 0.],
           [1., 2., 1., 0.],
           [0., 1., 2., 1.],
           [0., 0., 1., 1.]])
    """
    period = positive_integer(period, "period", 2)
    n = positive_integer(n, "n", period)
    sums = n - period + 1
    D = banded([np.ones(sums)] * period, range(period), (sums, n))
    season = np.arange(n) % period
    basis = np.eye(period)[:, 1:] - np.eye(period)[:, :-1]
    return intrinsic(tidy(D.T @ D), basis[season])


def ar1(n: int) -> PrecisionFamily:
    """Build the precision matrices of stationary autoregressions of first order.

    Parameters
    ----------
    n : int

    Returns
    -------
    PrecisionFamily
        With the parameter ``rho``, the correlation of neighbors, between -1 and 1. All values have
        variance one.

    Notes
    -----
    ``Q = (I - rho W + rho^2 J) / (1 - rho^2)`` with the adjacency W of a path, and J the identity
    without its first and last entry.

    Examples
    --------
    >>> from sparsechol.models import ar1
    >>> ar1(3)(rho=0.5).Q.toarray() * 3
    array([[ 4., -2.,  0.],
           [-2.,  5., -2.],
           [ 0., -2.,  4.]])
    """
    matrices = _products(positive_integer(n, "n"), 1)

    def coefficients(rho):
        return _weights([rho], [rho])

    return PrecisionFamily(matrices, coefficients, {"rho": (-1.0, 1.0)})


def arp(n: int, order: int, *, by: Literal["pacf", "phi"] = "pacf") -> PrecisionFamily:
    """Build the precision matrices of stationary autoregressions of any order.

    Parameters
    ----------
    n : int
        Number of values, more than `order`.
    order : int
    by : {'pacf', 'phi'}, optional
        The parameter, see below.

    Returns
    -------
    PrecisionFamily
        With the parameter ``pacf``, a sequence of `order` partial autocorrelations, each between
        -1 and 1: every such sequence is a stationary process, and each process has one. Or with
        ``phi``, the coefficients themselves: ``x_t = phi_1 x_{t-1} + ... + phi_p x_{t-p}`` and an
        innovation. All values have variance one. Numbers phi without a stationary process are an
        error; of other variables the precision matrix is then not positive definite.

    Notes
    -----
    With ``a = (1, -phi_1, ..., -phi_p)`` of the coefficients phi, and the variance ``s2 = prod(1 -
    pacf^2)`` of the innovations, ``Q = sum_ij a_i a_j B_ij / s2`` with matrices B of zeros and
    ones. One of phi and pacf follows from the other by the recursion of Durbin and Levinson.

    References
    ----------
    * Siddiqui, M. M. (1958). On the inversion of the sample covariance matrix in a stationary
      autoregressive process. Ann. Math. Stat. 29(2).
    * Barndorff-Nielsen, O. and Schou, G. (1973). On the parametrization of autoregressive models by
      partial autocorrelations. J. Multivar. Anal. 3(4).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsechol.models import arp
    >>> Q = arp(50, 2)(pacf=[0.5, -0.3]).Q
    >>> np.linalg.inv(Q.toarray())[0, :3].round(6)  # the second is 0.5
    array([1.   , 0.5  , 0.025])
    >>> same = arp(50, 2, by="phi")(phi=[0.65, -0.3]).Q
    >>> bool(abs(same - Q).max() < 1e-12)
    True
    """
    order = positive_integer(order, "order")
    n = positive_integer(n, "n", order + 1)

    def members(sequence, name):
        length = len(sequence) if hasattr(type(sequence), "__len__") else order
        if length != order:
            raise ValueError(f"{name} must hold {order} numbers, not {length}")
        return [sequence[k] for k in range(order)]

    def of_pacf(pacf):
        pacf = members(pacf, "the partial autocorrelations pacf")
        return _weights(_durbin_levinson(pacf), pacf)

    def of_phi(phi):
        phi = members(phi, "the coefficients phi")
        return _weights(phi, _partial_autocorrelations(phi))

    if by == "pacf":
        return PrecisionFamily(_products(n, order), of_pacf, {"pacf": (-1.0, 1.0)})
    if by != "phi":
        raise ValueError(f"by must be 'pacf' or 'phi', not {by!r}")
    return PrecisionFamily(_products(n, order), of_phi, {"phi": (-math.inf, math.inf)})


def _gaps(t, period, least):
    """Return where values lie, and the distances of neighbors."""
    t = unmasked(t, "t")
    if t.ndim == 0:
        t = np.arange(positive_integer(t[()], "the number of values", least), dtype=float)
    if t.ndim != 1 or t.size < least:
        raise ValueError(f"t must hold {least} locations at least, not {t.shape}")
    t = real_numbers(t, "t")
    check_finite(t, "t")
    gaps = np.diff(t)
    if not (gaps > 0).all():
        i = int(np.argmax(gaps <= 0))
        raise ValueError(f"t must ascend, but t[{i + 1}] = {t[i + 1]} follows t[{i}] = {t[i]}")
    if period is not None:
        if not period > t[-1] - t[0]:
            raise ValueError(
                f"the period must be longer than the distance {t[-1] - t[0]} of the first and the"
                f" last location, not {period}"
            )
        gaps = np.append(gaps, period - (t[-1] - t[0]))
    return t, gaps


def _products(n, order):
    """Build the matrices B_ij, i <= j, that stand with the products a_i a_j of coefficients."""
    matrices = []
    for i in range(order + 1):
        for j in range(i, order + 1):
            column = np.arange(n - j + i)
            ones = (column >= i).astype(float) - (column >= n - j)
            below = banded([ones], [i - j], (n, n))
            matrices.append(tidy(below if i == j else below + below.T))
    return tuple(matrices)


def _durbin_levinson(pacf: list[Any]) -> list[Any]:
    """Return the coefficients phi that have these partial autocorrelations."""
    phi = []
    for r in pacf:
        phi = [a - r * b for a, b in zip(phi, reversed(phi), strict=True)] + [r]
    return phi


def _partial_autocorrelations(phi: list[Any]) -> list[Any]:
    """Return the partial autocorrelations of a process with these coefficients."""
    pacf = []
    for order in range(len(phi), 0, -1):
        *rest, r = phi
        if isinstance(r, float | int | np.number) and not -1 < r < 1:
            raise ValueError(
                f"the coefficients phi have no stationary process: the partial autocorrelation of"
                f" lag {order} is {r:.6g}"
            )
        pacf.insert(0, r)
        phi = [(a + r * b) / (1 - r * r) for a, b in zip(rest, reversed(rest), strict=True)]
    return pacf


def _weights(phi: list[Any], pacf: list[Any]) -> tuple[Any, ...]:
    """Return the products a_i a_j / s2, i <= j, of the coefficients."""
    s2 = math.prod(1 - r * r for r in pacf)
    a = [1.0, *(-x for x in phi)]
    return tuple(a[i] * a[j] / s2 for i in range(len(a)) for j in range(i, len(a)))
