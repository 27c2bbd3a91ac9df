"""log det(A + t B) for all t of an interval, as a short Chebyshev series.

Let ``A + a B`` and ``A + b B`` be positive semidefinite, and ``e^u = (t - a) / (b - t)``. Then

    A + t B = ((b - t) / (b - a)) ((A + a B) + e^u (A + b B)),

and with the generalized eigenvalues p_i + r_i = 1 of the two matrices, p_i, r_i >= 0,

    log det(A + t B) = constant + sum_i log((p_i + e^u r_i) / (1 + e^u)),

which is analytic for ``|Im u| < pi``, whatever the spectrum. So its Chebyshev series in u
converges geometrically, at a rate that follows from the length of the interval of u alone. (In t
the rate would be that of the nearest eigenvalue.) Where ``|Im u| <= y < pi`` no term is larger than
``|Re u| + log(2 / cos(y / 2)) + pi``. This bounds the error of the series before any matrix is
factored (Trefethen 2013, theorem 8.2).

The ends a and b are found by trying: as far outside of the interval as A + t B is positive
definite, within a fifth of the distance. A factor of two there costs four terms or so.

References
----------
Trefethen, L. N. (2013). Approximation Theory and Approximation Practice. SIAM.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgWarning

from .._exceptions import NotPositiveDefiniteError
from .._typing import MatrixLike
from .input import as_scipy, check_order, compressed, unmasked
from .null_space import NullSpace, NullSpaceLike
from .symbolic_factor import analyze
from .symmetry import require_symmetric

STRIP = 0.9 * math.pi  # y above: nearer to pi the rate is better and the bound is worse
FAR = 64.0  # times the length of the interval: ends at such a distance cost nothing
ROUNDINGS = 4 * np.finfo(float).eps  # of t: an end that is so near is none
INSIDE = 0.9  # the interval is that part of [-1, 1]: beyond it derivatives grow, and their noise
SHORT = 2.0  # half of the shortest interval of u: derivatives on a shorter one would be noise
CHECKS = np.array([-0.999, -0.71, -0.13, 0.42, 0.87, 0.999])  # of the interval of u


class PencilSeries:
    """What the pencils of all faces have in common: the series, and how it was found.

    Attributes
    ----------
    interval : (float, float)
    ends : (float, float)
        Where the variable of the series is infinite: beyond the interval, A + t B being positive
        definite in between.
    coefficients : (m,) ndarray
    error : float
        Largest error found at points between those that were interpolated.
    """

    interval: tuple[float, float]
    ends: tuple[float, float]
    coefficients: np.ndarray
    error: float

    def __init__(
        self,
        A: MatrixLike,
        B: MatrixLike,
        interval: Sequence[float],
        atol: float,
        null_space: NullSpaceLike | None,
    ):
        self._matrices = _Matrices(A, B, null_space)
        self.interval = _ascending(interval)
        low, high = self.interval
        for t in self.interval:
            self._matrices.require(t)
        end, length = self._matrices.end, high - low
        self.ends = end(low, -length), end(high, length)
        u_low, u_high = (self._u(t) for t in self.interval)
        self._center = (u_low + u_high) / 2
        self._half = max((u_high - u_low) / (2 * INSIDE), SHORT)
        count = self._count()
        x = np.cos(np.pi * (np.arange(count) + 0.5) / count)
        values = np.array([self._matrices.logdet(t) for t in self._t(x)])
        self.coefficients = _trimmed(chebyshev.chebfit(x, values, count - 1))
        t = self._t(CHECKS * (u_high - u_low) / (2 * self._half))
        found = np.array([self._matrices.logdet(s) for s in t])
        self.error = float(abs(self._evaluate(t, np) - found).max())
        if not self.error <= atol:
            raise ValueError(
                f"log det(A + t B) is known to {self.error:.1e} only, which is more than atol ="
                f" {atol:.1e}: the interval {self.interval} ends so near to a singular matrix"
                " that rounding shows; shorten it, or raise atol"
            )

    def _u(self, t, log: Callable[..., Any] = math.log):
        a, b = self.ends
        return log((t - a) / (b - t))

    def _t(self, x):
        """Return t where the variable of the Chebyshev polynomials is x."""
        a, b = self.ends
        e = np.exp(-(self._center + self._half * x))
        return (a * e + b) / (e + 1)

    def _count(self):
        """Return how many terms bring the truncation down to rounding."""
        s = STRIP / self._half
        rho = s + math.hypot(s, 1)
        reach = abs(self._center) + self._half * math.hypot(s, 1)
        term = reach + math.log(2 / math.cos(STRIP / 2)) + math.pi
        size = max(1.0, *(abs(self._matrices.logdet(t)) for t in self.interval))
        ratio = max(self._matrices.n, 1) * term / (size * np.finfo(float).eps)
        return max(2, math.ceil(math.log(4 * ratio / (rho - 1)) / math.log(rho)))

    def _evaluate(self, t, xp: Any):
        """Evaluate the series by the functions of a framework; NaN outside of the interval."""
        low, high = self.interval
        inside = (t >= low) & (t <= high)
        t = xp.where(inside, t, (low + high) / 2)
        angle = xp.arccos((self._u(t, xp.log) - self._center) / self._half)
        terms = self.coefficients * xp.cos(np.arange(self.coefficients.size) * angle[..., None])
        return xp.where(inside, terms.sum(-1), np.nan)

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"<LogdetPencil of order {self._matrices.n} on [{low:g}, {high:g}]:"
            f" {self.coefficients.size} terms, error {self.error:.0e}>"
        )


class LogdetPencil(PencilSeries):
    """Hold log det(A + t B) as a function of t; `logdet_pencil` makes it.

    Attributes
    ----------
    interval : (float, float)
        Where the series holds; elsewhere a matrix is factored.
    ends : (float, float)
        Between them A + t B is positive definite; the series is one in
        ``log((t - ends[0]) / (ends[1] - t))``.
    coefficients : (m,) ndarray
    error : float
        Largest error found at points between those that were interpolated.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> f = sc.logdet_pencil(sp.eye_array(3), sp.diags_array([1.0, 2.0, 3.0]), (0, 10))
    >>> print(f(1.0).round(8), np.log(2 * 3 * 4).round(8))
    3.17805383 3.17805383
    """

    def __call__(self, t: ArrayLike) -> Any:
        """Evaluate log det(A + t B).

        Parameters
        ----------
        t : float or array_like
            Outside of the interval A + t B is factored.

        Returns
        -------
        float, or ndarray of the shape of `t`

        Raises
        ------
        NotPositiveDefiniteError
            If A + t B is not positive definite at a t outside of the interval.
        """
        t = unmasked(t, "t").astype(float)
        value = self._evaluate(t, np)
        outside = np.isnan(value) & ~np.isnan(t)
        if outside.any():
            value = np.array(value)
            value[outside] = [self._matrices.factor(s).logdet() for s in t[outside]]
        return value[()]

    def derivative(self, t: ArrayLike, order: int = 1) -> Any:
        """Evaluate a derivative of log det(A + t B) in t.

        Parameters
        ----------
        t : float or array_like
            In the interval.
        order : int, optional
            Order of the derivative.

        Returns
        -------
        float, or ndarray of the shape of `t`
            NaN outside of the interval.

        Examples
        --------
        >>> import scipy.sparse as sp, sparsechol as sc
        >>> f = sc.logdet_pencil(sp.eye_array(3), sp.diags_array([1.0, 2.0, 3.0]), (0, 10))
        >>> float(f.derivative(1.0).round(6))  # 1/2 + 2/3 + 3/4
        1.916667
        """
        t = unmasked(t, "t").astype(float)
        low, high = self.interval
        inside = (t >= low) & (t <= high)
        s = np.where(inside, t, (low + high) / 2)
        value = math.factorial(order) * self._taylor(s, order)[order]
        return np.where(inside, value, np.nan)[()]

    def _taylor(self, t, order):
        """Return Taylor coefficients of the function at t, by those of x(t) put into the series."""
        a, b = self.ends
        x = (self._u(t, np.log) - self._center) / self._half
        step = [np.zeros_like(t)]  # of x(t + h) - x(t)
        for k in range(1, order + 1):
            step.append(((-1) ** (k - 1) / (t - a) ** k + 1 / (b - t) ** k) / (k * self._half))
        result = [np.zeros_like(t) for _ in range(order + 1)]
        for k in range(order, -1, -1):
            result = _product(result, step)
            c = chebyshev.chebder(self.coefficients, k)
            result[0] = result[0] + chebyshev.chebval(x, c) / math.factorial(k)
        return result


def logdet_pencil(
    A: MatrixLike,
    B: MatrixLike,
    interval: Sequence[float],
    *,
    atol: float = 1e-8,
    null_space: NullSpaceLike | None = None,
) -> LogdetPencil:
    """Compute log det(A + t B) for all t of an interval, as a function that costs next to nothing.

    Parameters
    ----------
    A, B : (n, n) sparse array or matrix of any format, or dense array
        Symmetric (Hermitian); A + t B must be positive definite at both ends of the interval.
    interval : (low, high)
        The values of t.
    atol : float, optional
        Error that is allowed. Truncation is less than rounding; but rounding grows where the
        interval ends near to a singular matrix.
    null_space : optional
        As for `cholesky`, where both matrices have this null space: the determinant is then the
        product of the nonzero eigenvalues.

    Returns
    -------
    LogdetPencil

    Raises
    ------
    NotPositiveDefiniteError
        If A + t B is not positive definite at an end of the interval.
    ValueError
        If the matrices do not fit or are not symmetric, the interval is none, or the error is
        larger than `atol` at points where the result is checked.

    Notes
    -----
    The matrix is analyzed once and factored some dozens of times. Chebyshev interpolation in
    ``log((t - a) / (b - t))``, where a and b are the ends of the range in which A + t B is
    positive definite, converges geometrically for every spectrum: its length follows from
    the interval alone. All derivatives in t are those of the series. A and B are constants.

    The two ends need not be known, and may be infinite; the nearer the interval comes to them, the
    more terms there are: 55 for ``D - alpha W`` with alpha from 0 to 1 - 1e-6, say.

    Examples
    --------
    A conditional autoregression:

    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> path = sp.diags_array([np.ones(29), np.ones(29)], offsets=[-1, 1])
    >>> W = sp.kronsum(path, path)
    >>> D = sp.diags_array(W.sum(axis=0))
    >>> f = sc.logdet_pencil(D, -W, (0.0, 0.999))
    >>> abs(f(0.8) - sc.logdet(D - 0.8 * W)) < 1e-9
    np.True_
    """
    return LogdetPencil(A, B, interval, atol, null_space)


class _Matrices:
    """A + t B on one analyzed pattern."""

    def __init__(self, A, B, null_space):
        parts = []
        for name, matrix in (("A", A), ("B", B)):
            arrays = compressed(matrix, name=name, check_shape=check_order)
            require_symmetric(arrays, name)
            parts.append(as_scipy(arrays))
        dtype = np.result_type(*(part.dtype for part in parts), np.float64)
        if parts[0].shape != parts[1].shape:
            raise ValueError(f"A and B have different shapes: {parts[0].shape}, {parts[1].shape}")
        self.n = parts[0].shape[0]
        self.pattern = analyze(abs(parts[0]) + abs(parts[1]))
        self.values = [self.pattern.values(part, dtype=dtype) for part in parts]
        self.null_space = None if null_space is None else NullSpace.of(self.pattern, null_space)

    def factor(self, t):
        """Return a factor of A + t B."""
        values = self.values[0] + t * self.values[1]
        return self.pattern.factorize(values, null_space=self.null_space)

    def tried(self, t):
        """Return a factor of A + t B; that it is nearly singular is nothing to warn of."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)  # the series is checked as a whole
            return self.factor(t)

    def logdet(self, t):
        return self.tried(t).logdet()

    def require(self, t):
        """Raise NotPositiveDefiniteError if A + t B is not positive definite."""
        try:
            self.tried(t)
        except NotPositiveDefiniteError as error:
            error.add_note(
                f"A + t B must be positive definite at both ends of the interval: t = {t}"
            )
            raise

    def holds(self, t):
        try:
            self.tried(t)
        except NotPositiveDefiniteError:
            return False
        return True

    def end(self, t, step):
        """Return how far A + t B is positive definite beyond t, within a fifth of the distance."""
        if self.holds(t + FAR * step):
            return _apart(t, t + FAR * step)
        distance = FAR / 16
        while not self.holds(t + distance * step):
            distance /= 16
        low, high = math.log(distance), math.log(16 * distance)
        for _ in range(4):
            middle = (low + high) / 2
            low, high = (middle, high) if self.holds(t + math.exp(middle) * step) else (low, middle)
        return _apart(t, t + math.exp(low) * step)


def _apart(t, end):
    if abs(end - t) <= ROUNDINGS * abs(t):
        raise ValueError(f"the interval ends within rounding of a singular matrix, at t = {t}")
    return end


def _ascending(interval):
    try:
        low, high = (float(t) for t in interval)
    except (TypeError, ValueError):
        raise ValueError(f"the interval is a pair of numbers, not {interval!r}") from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"the interval must be finite and ascend, not ({low}, {high})")
    return low, high


def _trimmed(c):
    """Drop the end of a series, where the coefficients are noise of the size of the last ones."""
    noise = abs(c[-max(c.size // 10, 1) :]).max()
    return c[: 1 + int(np.flatnonzero(abs(c) >= 2 * noise).max(initial=0))]


def _product(p, q):
    """Multiply power series, cut off at their length."""
    return [sum(p[j] * q[k - j] for j in range(k + 1)) for k in range(len(p))]
