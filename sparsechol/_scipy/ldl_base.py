"""LDLBase: what a signed factor and a batch of them have in common."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

import numpy as np

from .._cached import cached_property
from .._core.numeric import factorize as _factorize
from .._core.numeric.operations import CODES
from .._core.numeric.solve import NO_REACH
from .factor_base import KEPT, FactorBase, Slogdet, Substitution
from .pivot_rule import PivotRule
from .pivots import EPS, check_pivots, warn_of_pivots

if TYPE_CHECKING:
    from .factor_batch import FactorBatch
    from .single_factor import SingleFactor
    from .symbolic_factor import SymbolicFactor

# Refinement ends when it no longer halves the error, and after so many steps.
MOST_STEPS = 20

T = TypeVar("T")


class Inertia(NamedTuple, Generic[T]):
    """Count the eigenvalues of each sign."""

    positive: T
    negative: T


class LDLBase(FactorBase):
    """Factor symmetric (Hermitian) matrices with pivots of both signs, ``P A P^T = L S L^H``.

    The diagonal of L is negative where the pivot is, S has its signs.
    """

    _kept = (*KEPT, "_rule", "_replaced")
    _rows = ("_panels", "_values", "_replaced")
    _signed = True
    _rule: PivotRule
    _replaced: Any = None  # (count, n) uint8: whether a pivot was replaced, in the kernels' order

    def __init__(
        self, pattern: "SymbolicFactor", packed: np.ndarray, threads: int | None, rule: PivotRule
    ):
        self._start(pattern, packed, threads, rule)

    def _factorize(self, packed: np.ndarray, threads: int, rule: PivotRule) -> None:
        """Factor packed values, with what `rule` adds to the diagonal."""
        pattern, signs = self.pattern, rule.signs
        self._values, self._rule = None, rule
        if rule.replacement or self._replaced is None:
            self._replaced = np.zeros((len(packed), self.shape[0]), dtype=np.uint8)
        shifted = packed
        if signs is not None and rule.shift:
            shifted = packed.copy()
            shifted[:, pattern.indptr[:-1]] += (rule.shift * signs).astype(packed.dtype)
        outcome = _factorize.factorize(
            pattern._structure,
            shifted,
            self._panels,
            self._work,
            threads,
            True,
            self._expected,
            rule.least,
            rule.replacement,
            self._replaced,
            True,
        )
        doubt = None
        if outcome is not None:
            doubt = check_pivots(
                pattern, shifted, self._panels, outcome, self._is_batch, rule.accept, threads, rule
            )
        self._values = packed
        warn_of_pivots(doubt)

    @property
    def _exact(self) -> bool:
        """Whether the factor is that of A, not of a regularized matrix."""
        rule = self._rule
        return not (rule.shift or (rule.replacement and self._replaced.any()))

    @cached_property
    def _expected(self) -> np.ndarray | None:
        """The sign of each pivot in the kernels' order; the rule stays that of the first call."""
        signs = self._rule.signs
        return None if signs is None else signs[self.pattern._order]

    # ---- solves ----

    def _refining(self, refine: int | None) -> Callable[..., np.ndarray]:
        """Return the function that solves and refines."""
        if refine is None:
            steps = 0 if self._exact else MOST_STEPS
        elif isinstance(refine, (int, np.integer)) and refine >= 0:
            steps = int(refine)
        else:
            raise ValueError(f"refine is a number of steps or None, not {refine!r}")

        def solve(columns, system, threads, reached=NO_REACH):
            if not steps:
                return self._solve(columns, system, threads, reached)
            return self._refined(columns, system, threads, steps)

        return solve

    def _refined(
        self, b: np.ndarray, system: Substitution, threads: int | None, steps: int
    ) -> np.ndarray:
        """Solve, and correct by solves for the residual while that halves the backward error."""
        x = self._solve(b.copy(order="K"), system, threads)
        residual, error = self._residual(b, x)
        for _ in range(steps):
            if not (error > EPS[self.dtype] / 2).any():
                break
            better = x + self._solve(residual, system, threads)
            residual, reached = self._residual(b, better)
            gain = reached < error
            x = np.where(gain, better, x)
            halved = bool((reached[gain] < error[gain] / 2).any())
            error = np.where(gain, reached, error)
            if not halved:
                break
        worst = float(error.max(initial=0))
        if not worst <= EPS[self.dtype] ** 0.5:
            warn_of_pivots(
                f"the backward error of the solution is {worst:.1g} after refinement: the factor is"
                " not near enough to the matrix; regularize less, or try another ordering"
            )
        return x

    def _residual(self, b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return b - A x, and its largest entry over ``|A| |x| + |b|``, for each vector."""
        values = self._known_values
        product = np.empty(x.shape, np.result_type(values, x))
        operands = values.astype(product.dtype, copy=False), np.ascontiguousarray(x)
        self.pattern._handle.perform(CODES["product"], operands, product, self._threads(None))
        residual = b - product
        size = self._norms[:, None, None] * largest(x) + largest(b)
        return residual, largest(residual) / np.where(size == 0, 1, size)

    @property
    def _norms(self) -> np.ndarray:
        """The largest sum of absolute values in a row of each matrix."""
        indptr, rows = self.pattern.indptr, self.pattern.indices
        columns = np.repeat(np.arange(self.shape[0]), np.diff(indptr))
        below, n = rows != columns, self.shape[0]
        sizes = np.abs(self._known_values).astype(float)
        sums = [
            np.bincount(rows, size, n) + np.bincount(columns[below], size[below], n)
            for size in sizes
        ]
        return np.array([row.max(initial=0) for row in sums])

    # ---- what the pivots tell ----

    def _negative(self) -> np.ndarray:
        """Count the negative pivots of each matrix."""
        return (self._diagonal(self._valid_panels) < 0).sum(axis=1)

    @property
    def inertia(self) -> Inertia[Any]:
        """The numbers of positive and of negative eigenvalues (Sylvester's law).

        Integers, or an ndarray with one for each matrix of a batch. Of a matrix with replaced
        pivots or a shifted diagonal they are those of the matrix that was factored.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> sc.ldl(np.array([[1.0, 2.0], [2.0, 1.0]])).inertia
        Inertia(positive=1, negative=1)
        """
        negative = self._negative()
        if not self._is_batch:
            negative = int(negative[0])
        return Inertia(self.shape[0] - negative, negative)

    @overload
    def logabsdet(self: "SingleFactor") -> float: ...
    @overload
    def logabsdet(self: "FactorBatch") -> np.ndarray: ...
    def logabsdet(self) -> Any:
        """Compute the logarithm of the absolute value of the determinant of A, in float64.

        Returns
        -------
        float, or (len(self),) float64 ndarray of a batch

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> round(sc.ldl(np.diag([1.0, -2.0, 3.0])).logabsdet(), 12)
        1.791759469228
        """
        return self._logdet()

    @overload
    def slogdet(self: "SingleFactor") -> Slogdet[float]: ...
    @overload
    def slogdet(self: "FactorBatch") -> Slogdet[np.ndarray]: ...
    def slogdet(self) -> Slogdet[Any]:
        """Compute the sign and the logarithm of the determinant, as `numpy.linalg.slogdet` does.

        Returns
        -------
        sign : float, or (len(self),) ndarray of a batch
            1 or -1.
        logabsdet : float, or (len(self),) ndarray of a batch
            The same as `logabsdet`.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> sign, logabsdet = sc.ldl(np.diag([1.0, -2.0, 3.0])).slogdet()
        >>> sign, round(logabsdet, 12)
        (-1.0, 1.791759469228)
        """
        return Slogdet(self._scalars(1.0 - 2.0 * (self._negative() % 2)), self._logdet())


def largest(x: np.ndarray) -> np.ndarray:
    """Return the largest absolute value of each vector of (count, n, k), as (count, 1, k)."""
    return np.abs(x).max(axis=1, keepdims=True, initial=0)
