"""log det(A + s B + t C) for all s and t of a box, as a short product of Chebyshev series.

Both variables are those of `pencil`, (a, b) and (c, d) being their ends. With e^u and e^w in the
place of s and t the matrix is, but for a factor, a sum of the four at the corners of the larger
box, all of which are positive definite,

    M(a, c) + e^u M(b, c) + e^w M(a, d) + e^(u + w) M(b, d).

For each real w it is a pencil in e^u, and for each real u one in e^w. So the bound of the error in
one variable holds for each, and that of interpolation in both is their sum, the second times the
Lebesgue constant of the first.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike

from .._typing import MatrixLike
from .input import unmasked
from .null_space import NullSpaceLike
from .pencil import Matrices, Variable, ascending, ends_around, require_error, useful

LEBESGUE = 8  # above one and the Lebesgue constant of 10^4 Chebyshev points
CORNERS = "A + s B + t C must be positive definite at the corners of the box, (s, t)"


class PencilPairSeries:
    """What these pencils of all faces have in common: the series, and how it was found.

    Attributes
    ----------
    box : ((float, float), (float, float))
    ends : ((float, float), (float, float))
        Beyond the box; A + s B + t C is positive definite in between.
    coefficients : (m, k) ndarray
    error : float
        Largest error found at points between those that were interpolated.
    """

    box: tuple[tuple[float, float], tuple[float, float]]
    ends: tuple[tuple[float, float], tuple[float, float]]
    coefficients: np.ndarray
    error: float

    def __init__(
        self,
        A: MatrixLike,
        B: MatrixLike,
        C: MatrixLike,
        box: Sequence[Sequence[float]],
        atol: float,
        null_space: NullSpaceLike | None,
    ):
        M = self._matrices = Matrices({"A": A, "B": B, "C": C}, null_space)
        self.box = _box(box)
        corners = [(s, t) for s in self.box[0] for t in self.box[1]]
        for corner in corners:
            M.require(CORNERS, *corner)
        self.ends = _ends(self.box, M.holds)
        self._variables = tuple(map(Variable, self.box, self.ends))
        size = max(1.0, *(abs(M.logdet(*corner)) for corner in corners))
        ratio = LEBESGUE * max(M.n, 1) / (size * np.finfo(float).eps)
        (x, s), (y, t) = (v.nodes(v.count(ratio)) for v in self._variables)
        values = np.array([[M.logdet(i, j) for j in t] for i in s])
        c = chebyshev.chebfit(x, values, x.size - 1)
        c = chebyshev.chebfit(y, c.T, y.size - 1).T
        c = c[: useful(abs(c).max(axis=1)), : useful(abs(c).max(axis=0))]
        self.coefficients = np.ascontiguousarray(c)  # numba cannot keep a view on disk
        points = [(i, j) for i in self._variables[0].checks() for j in self._variables[1].checks()]
        found = np.array([M.logdet(*point) for point in points])
        s, t = np.array(points).T
        self.error = float(abs(self._evaluate(s, t, np) - found).max())
        require_error(self.error, atol, "log det(A + s B + t C)", f"the box {self.box} ends")

    def _evaluate(self, s, t, xp: Any):
        """Evaluate the series by the functions of a framework; NaN outside of the box."""
        of_s, of_t = self._variables
        (in_s, s), (in_t, t) = of_s.inside(s, xp), of_t.inside(t, xp)
        m, k = self.coefficients.shape
        left, right = of_s.polynomials(s, m, xp), of_t.polynomials(t, k, xp)
        value = (left[..., None] * self.coefficients).sum(-2) * right
        return xp.where(in_s & in_t, value.sum(-1), np.nan)

    def __repr__(self) -> str:
        (a, b), (c, d) = self.box
        m, k = self.coefficients.shape
        return (
            f"<LogdetPencilPair of order {self._matrices.n} on [{a:g}, {b:g}] x [{c:g}, {d:g}]:"
            f" {m} x {k} terms, error {self.error:.0e}>"
        )


class LogdetPencilPair(PencilPairSeries):
    """Hold log det(A + s B + t C) as a function of s and t; `logdet_pencil_pair` makes it.

    Attributes
    ----------
    box : ((float, float), (float, float))
        Where the series holds; elsewhere a matrix is factored.
    ends : ((float, float), (float, float))
        Between them A + s B + t C is positive definite.
    coefficients : (m, k) ndarray
    error : float
        Largest error found at points between those that were interpolated.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> B, C = sp.diags_array([1.0, 2.0, 3.0]), sp.diags_array([1.0, 0.0, 1.0])
    >>> f = sc.logdet_pencil_pair(sp.eye_array(3), B, C, ((0, 10), (0, 10)))
    >>> print(f(1.0, 1.0).round(8), np.log(3 * 3 * 5).round(8))
    3.80666249 3.80666249
    """

    def __call__(self, s: ArrayLike, t: ArrayLike) -> Any:
        """Evaluate log det(A + s B + t C).

        Parameters
        ----------
        s, t : float or array_like
            Of shapes that broadcast. Outside of the box the matrix is factored.

        Returns
        -------
        float, or ndarray

        Raises
        ------
        NotPositiveDefiniteError
            If the matrix is not positive definite at a point outside of the box.
        """
        s, t = _floats(s, t)
        value = self._evaluate(s, t, np)
        outside = np.isnan(value) & ~np.isnan(s + t)
        if outside.any():
            value, points = np.array(value), zip(s[outside], t[outside], strict=True)
            value[outside] = [self._matrices.factor(*point).logdet() for point in points]
        return value[()]

    def derivative(self, s: ArrayLike, t: ArrayLike, order: tuple[int, int]) -> Any:
        """Evaluate a partial derivative of log det(A + s B + t C).

        Parameters
        ----------
        s, t : float or array_like
            In the box, of shapes that broadcast.
        order : (int, int)
            Orders of the derivative in s and in t.

        Returns
        -------
        float, or ndarray
            NaN outside of the box.

        Examples
        --------
        >>> import scipy.sparse as sp, sparsechol as sc
        >>> B, C = sp.diags_array([1.0, 2.0, 3.0]), sp.diags_array([1.0, 0.0, 1.0])
        >>> f = sc.logdet_pencil_pair(sp.eye_array(3), B, C, ((0, 10), (0, 10)))
        >>> float(f.derivative(1.0, 1.0, (1, 0)).round(6))  # 1/3 + 2/3 + 3/5
        1.6
        """
        s, t = _floats(s, t)
        of_s, of_t = self._variables
        (in_s, s), (in_t, t) = of_s.inside(s, np), of_t.inside(t, np)
        shape, (i, j) = s.shape, order
        # Points on one axis: a series in t for each of them.
        c = of_s.taylor(self.coefficients, s.ravel(), i)
        value = np.array([of_t.taylor(c[:, k], z, j) for k, z in enumerate(t.ravel())])
        value = math.factorial(i) * math.factorial(j) * value.reshape(shape)
        return np.where(in_s & in_t, value, np.nan)[()]


def logdet_pencil_pair(
    A: MatrixLike,
    B: MatrixLike,
    C: MatrixLike,
    box: Sequence[Sequence[float]],
    *,
    atol: float = 1e-8,
    null_space: NullSpaceLike | None = None,
) -> LogdetPencilPair:
    """Compute log det(A + s B + t C) for a box, as a function that costs next to nothing.

    Parameters
    ----------
    A, B, C : (n, n) sparse array or matrix of any format, or dense array
        Symmetric (Hermitian); A + s B + t C must be positive definite at the corners of the box.
    box : ((low, high), (low, high))
        The values of s, and those of t.
    atol, null_space : optional
        As for `logdet_pencil`.

    Returns
    -------
    LogdetPencilPair

    Raises
    ------
    NotPositiveDefiniteError
        If the matrix is not positive definite at a corner of the box.
    ValueError
        As for `logdet_pencil`.

    See Also
    --------
    logdet_pencil : The same with one parameter.

    Notes
    -----
    The matrix is analyzed once, and factored for each pair of points of two intervals: a thousand
    times or so, some thousands where the box ends near to a singular matrix. Derivatives of every
    order are those of the product of two series. A, B and C are constants.

    Examples
    --------
    A conditional autoregression with independent noise, D - alpha W + t I:

    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> W = sp.diags_array([np.ones(29), np.ones(29)], offsets=[-1, 1])
    >>> D, unit = sp.diags_array(W.sum(axis=0)), sp.eye_array(30)
    >>> f = sc.logdet_pencil_pair(D, -W, unit, ((0.0, 0.9), (0.0, 2.0)))
    >>> abs(f(0.8, 0.5) - sc.logdet(D - 0.8 * W + 0.5 * unit)) < 1e-10
    np.True_
    """
    return LogdetPencilPair(A, B, C, box, atol, null_space)


def _box(box):
    try:
        s, t = box
    except (TypeError, ValueError):
        raise ValueError(f"the box is a pair of intervals, not {box!r}") from None
    return ascending(s), ascending(t)


def _ends(box, holds):
    """Return how far the matrix stays positive definite beyond each side of the box.

    Of the way in s a half is taken, or little of it may be left in t.
    """
    a, b = ends_around(box[0], lambda s: all(holds(s, t) for t in box[1]))
    ends = (a + box[0][0]) / 2, (b + box[0][1]) / 2
    return ends, ends_around(box[1], lambda t: all(holds(s, t) for s in ends))


def _floats(s, t):
    return np.broadcast_arrays(
        *(unmasked(z, name).astype(float) for z, name in ((s, "s"), (t, "t")))
    )
