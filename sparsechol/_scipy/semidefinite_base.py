"""SemidefiniteBase: what a factor of a semidefinite matrix and a batch of them have in common."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

import numpy as np

from .._exceptions import NotPositiveDefiniteError
from .._typing import MatrixLike, RandomState, WeakPivots
from .factor_base import CholeskyBase, Slogdet, checked
from .null_space import NullSpace
from .quadratic import low_rank_quadratic, read_rows

if TYPE_CHECKING:
    from .semidefinite_batch import SemidefiniteBatch
    from .semidefinite_factor import SemidefiniteFactor
    from .symbolic_factor import SymbolicFactor


class Grounded(CholeskyBase):
    """Factor matrices that are singular only where their null space is not all known."""

    # Singular matrices that go through have at most 0.2 rounding errors.
    _least_rcond = 1


class GroundedTrend(Grounded):
    """Factor matrices with two null directions in one component, or more.

    Operators of higher order are like that. They may be nearly singular without a weak pivot.
    """

    _always_estimated = True


class SemidefiniteBase:
    """Hold the factor of each of `count` semidefinite matrices with one null space.

    Arrays have a row for each matrix, as in `FactorBase`.
    """

    null_space: NullSpace
    grounded: Any
    _grounded: ClassVar[type[Any]]
    _grounded_trend: ClassVar[type[Any]]

    def __init__(
        self,
        null_space: NullSpace,
        packed: np.ndarray,
        threads: int | None = None,
        weak_pivots: WeakPivots = "refuse",
    ):
        self.null_space = null_space
        kind = self._grounded_trend if null_space.basis.shape[1] > 1 else self._grounded
        null_space.require(packed, is_batch=kind._is_batch)
        with naming_the_null_space():
            self.grounded = kind(
                null_space.pattern, null_space.ground(packed), threads, weak_pivots
            )

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.null_space, other.grounded = self.null_space, copy.copy(self.grounded)
        return other

    @property
    def _log_correction(self) -> Any:
        """Return what the determinants lack."""
        N = self.null_space
        values = N.unground(self.grounded._known_values)
        return self.grounded._scalars(N.log_correction(values))

    @property
    def pattern(self) -> "SymbolicFactor":
        """The analyzed pattern."""
        return self.grounded.pattern

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.grounded.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.grounded.dtype

    @property
    def rank(self) -> int:
        """The order of the matrix less the dimension of its null space."""
        return self.shape[0] - self.null_space.dimension

    @property
    def rcond(self) -> Any:
        """Reciprocal condition number of the grounded matrix, see `CholeskyFactor.rcond`."""
        return self.grounded.rcond

    @overload
    def logdet(self: "SemidefiniteFactor") -> float: ...
    @overload
    def logdet(self: "SemidefiniteBatch") -> np.ndarray: ...
    def logdet(self) -> Any:
        """Compute the logarithm of the product of the nonzero eigenvalues of A, in float64.

        Returns
        -------
        float, or (len(self),) float64 ndarray of a batch
        """
        return self.grounded.logdet() + self._log_correction

    @overload
    def slogdet(self: "SemidefiniteFactor") -> Slogdet[float]: ...
    @overload
    def slogdet(self: "SemidefiniteBatch") -> Slogdet[np.ndarray]: ...
    def slogdet(self) -> Slogdet[Any]:
        """Compute the sign and the logarithm of the product of the nonzero eigenvalues.

        Returns
        -------
        sign : float, or (len(self),) ndarray of a batch
            One.
        logabsdet : float, or (len(self),) ndarray of a batch
            The same as `logdet`.
        """
        sign, logabsdet = self.grounded.slogdet()
        return Slogdet(sign, logabsdet + self._log_correction)

    def diag_inverse(self, *, threads: int | None = None) -> np.ndarray:
        """Compute the diagonal of ``A^+``: the variances of an intrinsic field with ``V^H x = 0``.

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        (n,) real ndarray, or (len(self), n) of a batch
        """
        V, X = self._low_rank(threads)
        diagonal = self.grounded.diag_inverse(threads=threads)
        return checked(diagonal - 2 * np.real(V * X.conj()).sum(axis=-1))

    def sample(
        self,
        size: int | tuple[int, ...] | None = None,
        *,
        rng: RandomState = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Draw from the normal distribution with mean zero and covariance ``A^+``.

        Parameters
        ----------
        size, rng, threads : optional
            As for `CholeskyFactor.sample`.

        Returns
        -------
        x : ndarray of shape ``(*size, n)``, or ``(len(self), *size, n)`` of a batch
            Orthogonal to the null space: the intrinsic field with precision A under the
            constraints ``V^H x = 0``.
        """
        x = self.grounded.sample(size, rng=rng, threads=threads)
        rows = x.reshape(math.prod(x.shape[:-1]), self.shape[0]).T
        return np.ascontiguousarray(self.null_space.project(rows).T, x.dtype).reshape(x.shape)

    def inverse_quadratic(self, B: MatrixLike, *, threads: int | None = None) -> Any:
        """Compute ``b A^+ b^H`` for each row b of B: variances of B x, x an intrinsic field.

        Parameters
        ----------
        B, threads
            As for `CholeskyFactor.inverse_quadratic`.

        Returns
        -------
        float, or (m,) real ndarray; a row of them for each matrix of a batch
        """
        rows, shape = read_rows(B, self.shape[0])
        out = self.grounded.inverse_quadratic(rows, threads=threads)
        V, X = self._low_rank(threads)
        labels, blocks = self.null_space.labels, X.reshape(-1, *V.shape)
        terms = np.array([low_rank_quadratic(V, block, rows, labels) for block in blocks])
        result = (out - terms.reshape(out.shape)).astype(out.dtype)
        return result.reshape((*out.shape[:-1], *shape))[()]

    def _projected_solve(self, columns, system, threads, _reached=None) -> np.ndarray:
        """Solve for a (count, n, k) array between two projections."""
        inside = self._projected(columns)
        return self._projected(self.grounded._solve(inside, system, threads))

    def _projected(self, columns: np.ndarray) -> np.ndarray:
        """Return the part of (count, n, k) columns that is orthogonal to the null space."""
        inside = self.null_space.project(np.moveaxis(columns, 1, 0))
        # Each column in one piece.
        rows = np.ascontiguousarray(np.moveaxis(inside, 0, 2), columns.dtype)
        return rows.swapaxes(1, 2)

    def _low_rank(self, threads) -> tuple[np.ndarray, np.ndarray]:
        """Return V and X of ``A^+ = W - V X^H - X V^H`` in blocks, by a solve for each column."""
        F, V = self.grounded, self.null_space.basis_as(self.dtype)
        columns = np.empty((F._count, *V.shape), F._vector_dtype(V.dtype.kind == "c"))
        columns[:] = V
        WV = checked(F._solve(columns, F._both_triangles(), threads))
        X = self.null_space.half_correction(np.moveaxis(WV, 1, 0))
        return V, F._result(np.moveaxis(X, 0, 1))


@contextmanager
def naming_the_null_space() -> Iterator[None]:
    """Say of a grounded matrix without factor what that means for the null space."""
    try:
        yield
    except NotPositiveDefiniteError as error:
        reason = (
            "null_space= lacks a null direction, or one is hidden by rounding"
            if error.rows or error.pivot == 0
            else "it is not positive semidefinite"
        )
        raise NotPositiveDefiniteError(
            f"{error} (with rows of the null space grounded: {reason})",
            error.row,
            error.pivot,
            error.item,
            error.rows,
        ) from None
