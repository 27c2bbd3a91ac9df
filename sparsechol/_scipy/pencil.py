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
from .input import as_scipy, canonical, check_order, compressed, real_numbers
from .null_space import NullSpace, NullSpaceLike
from .symbolic_factor import analyze
from .symmetry import require_symmetric

STRIP = 0.9 * math.pi  # y above: nearer to pi the rate is better and the bound is worse
FAR = 64.0  # times the length of the interval: ends at such a distance cost nothing
ROUNDINGS = 4 * np.finfo(float).eps  # of t: an end that is so near is none
INSIDE = 0.9  # the interval is that part of [-1, 1]: beyond it derivatives grow, and their noise
SHORT = 2.0  # half of the shortest interval of u: derivatives on a shorter one would be noise
BOTH_ENDS = "A + t B must be positive definite at both ends of the interval"
CHECKS = np.array([-0.999, -0.71, -0.13, 0.42, 0.87, 0.999])  # of the interval of u


class Variable:
    """A parameter t in an interval, and x in [-1, 1], the variable of the Chebyshev polynomials.

    Parameters
    ----------
    interval : (float, float)
    ends : (float, float)
        Beyond the interval; x is linear in ``u = log((t - ends[0]) / (ends[1] - t))``.
    """

    def __init__(self, interval: tuple[float, float], ends: tuple[float, float]):
        self.interval, self.ends = interval, ends
        low, high = (self._u(t) for t in interval)
        self._center = (low + high) / 2
        self._half = max((high - low) / (2 * INSIDE), SHORT)
        self._part = (high - low) / (2 * self._half)  # of [-1, 1] that is the interval

    def _u(self, t, log: Callable[..., Any] = math.log):
        a, b = self.ends
        return log((t - a) / (b - t))

    def _t(self, x):
        a, b = self.ends
        e = np.exp(-(self._center + self._half * x))
        return (a * e + b) / (e + 1)

    def count(self, ratio: float) -> int:
        """Return how many terms bring the truncation down, `ratio` being that of bound and error.

        The bound is that of a single term, see the head of this file.
        """
        s = STRIP / self._half
        rho = s + math.hypot(s, 1)
        reach = abs(self._center) + self._half * math.hypot(s, 1)
        term = reach + math.log(2 / math.cos(STRIP / 2)) + math.pi
        return max(2, math.ceil(math.log(4 * ratio * term / (rho - 1)) / math.log(rho)))

    def nodes(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the points of interpolation: x and t."""
        x = np.cos(np.pi * (np.arange(count) + 0.5) / count)
        return x, self._t(x)

    def checks(self) -> np.ndarray:
        """Return some other points of the interval."""
        return self._t(CHECKS * self._part)

    def inside(self, t, xp: Any):
        """Say where t is in the interval; and t there, the middle elsewhere."""
        low, high = self.interval
        inside = (t >= low) & (t <= high)
        return inside, xp.where(inside, t, (low + high) / 2)

    def polynomials(self, t, count: int, xp: Any):
        """Evaluate Chebyshev polynomials by the functions of a framework, on a last axis."""
        angle = xp.arccos((self._u(t, xp.log) - self._center) / self._half)
        return xp.cos(np.arange(count) * angle[..., None])

    def taylor(self, c: np.ndarray, t: np.ndarray, order: int) -> np.ndarray:
        """Return the coefficient of ``h^order`` of a series with coefficients c, at t + h.

        It is that of x(t + h) - x(t), put into the Taylor series in x. Further axes of c are the
        leading ones of the result.
        """
        a, b = self.ends
        x = (self._u(t, np.log) - self._center) / self._half
        step = [np.zeros_like(t)]
        for k in range(1, order + 1):
            step.append(((-1) ** (k - 1) / (t - a) ** k + 1 / (b - t) ** k) / (k * self._half))
        result: list[Any] = [np.zeros_like(t) for _ in range(order + 1)]
        for k in range(order, -1, -1):
            result = _product(result, step)
            values: Any = chebyshev.chebval(x, chebyshev.chebder(c, k))
            result[0] = result[0] + values / math.factorial(k)
        return result[order]


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
        self._matrices = Matrices({"A": A, "B": B}, null_space)
        self.interval = ascending(interval)
        for t in self.interval:
            self._matrices.require(BOTH_ENDS, t)
        self.ends = ends_around(self.interval, self._matrices.holds)
        self._variable = Variable(self.interval, self.ends)
        size = max(1.0, *(abs(self._matrices.logdet(t)) for t in self.interval))
        count = self._variable.count(max(self._matrices.n, 1) / (size * np.finfo(float).eps))
        x, nodes = self._variable.nodes(count)
        values = np.array([self._matrices.logdet(t) for t in nodes])
        coefficients = chebyshev.chebfit(x, values, count - 1)
        self.coefficients = coefficients[: useful(coefficients)]
        t = self._variable.checks()
        found = np.array([self._matrices.logdet(s) for s in t])
        self.error = float(abs(self._evaluate(t, np) - found).max())
        require_error(self.error, atol, "log det(A + t B)", f"the interval {self.interval} ends")

    def _evaluate(self, t, xp: Any):
        """Evaluate the series by the functions of a framework; NaN outside of the interval."""
        inside, t = self._variable.inside(t, xp)
        terms = self.coefficients * self._variable.polynomials(t, self.coefficients.size, xp)
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
        t = real_numbers(t, "t")
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
        inside, t = self._variable.inside(real_numbers(t, "t"), np)
        value = math.factorial(order) * self._variable.taylor(self.coefficients, t, order)
        return np.where(inside, value, np.nan)[()]


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

    See Also
    --------
    logdet_pencil_pair : The same with two parameters.

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


class Matrices:
    """A + t B, or with more parameters A + s B + t C, on one analyzed pattern."""

    def __init__(self, matrices, null_space):
        parts = []
        for name, matrix in matrices.items():
            arrays = compressed(matrix, name=name, check_shape=check_order)
            require_symmetric(arrays, name)
            parts.append(canonical(as_scipy(arrays)))
            if parts[-1].shape != parts[0].shape:
                shapes = f"{parts[0].shape}, {parts[-1].shape}"
                raise ValueError(f"A and {name} have different shapes: {shapes}")
        dtype = np.result_type(*(part.dtype for part in parts), np.float64)
        self.n = parts[0].shape[0]
        self.pattern = analyze(sum(abs(part) for part in parts[1:]) + abs(parts[0]))
        self.values = np.array([self.pattern.values(part, dtype=dtype) for part in parts])
        self.null_space = None if null_space is None else NullSpace.of(self.pattern, null_space)

    def factor(self, *t):
        """Return a factor for these parameters."""
        values = self.values[0] + np.tensordot(t, self.values[1:], 1)
        return self.pattern.factorize(values, null_space=self.null_space)

    def tried(self, *t):
        """Return a factor; that the matrix is nearly singular is nothing to warn of."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)  # the series is checked as a whole
            return self.factor(*t)

    def logdet(self, *t):
        return self.tried(*t).logdet()

    def require(self, rule, *t):
        """Raise NotPositiveDefiniteError, which names the rule, if the matrix is not."""
        try:
            self.tried(*t)
        except NotPositiveDefiniteError as error:
            error.add_note(f"{rule}: t = {t[0] if len(t) == 1 else t}")
            raise

    def holds(self, *t):
        """Say whether the matrix is positive definite."""
        try:
            self.tried(*t)
        except NotPositiveDefiniteError:
            return False
        return True


def ends_around(interval, holds):
    """Return how far a condition on t holds beyond an interval, within a fifth of the distance."""
    low, high = interval
    return _end(low, low - high, holds), _end(high, high - low, holds)


def _end(t, step, holds):
    if holds(t + FAR * step):
        return _apart(t, t + FAR * step)
    distance = FAR / 16
    while not holds(t + distance * step):
        distance /= 16
    low, high = math.log(distance), math.log(16 * distance)
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(t + math.exp(middle) * step) else (low, middle)
    return _apart(t, t + math.exp(low) * step)


def _apart(t, end):
    if abs(end - t) <= ROUNDINGS * abs(t):
        raise ValueError(f"the interval ends within rounding of a singular matrix, at t = {t}")
    return end


def ascending(interval):
    """Read an interval."""
    try:
        low, high = (float(t) for t in interval)
    except (TypeError, ValueError):
        raise ValueError(f"the interval is a pair of numbers, not {interval!r}") from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"the interval must be finite and ascend, not ({low}, {high})")
    return low, high


def require_error(error, atol, what, where):
    """Raise ValueError if an error is larger than is allowed."""
    if not error <= atol:
        raise ValueError(
            f"{what} is known to {error:.1e} only, which is more than atol = {atol:.1e}: {where} so"
            " near to a singular matrix that rounding shows; shorten it, or raise atol"
        )


def useful(c):
    """Count coefficients before the end, where they are noise of the size of the last ones."""
    noise = abs(c[-max(c.size // 10, 1) :]).max()
    return 1 + int(np.flatnonzero(abs(c) >= 2 * noise).max(initial=0))


def _product(p, q):
    """Multiply power series, cut off at their length."""
    return [sum(p[j] * q[k - j] for j in range(k + 1)) for k in range(len(p))]
