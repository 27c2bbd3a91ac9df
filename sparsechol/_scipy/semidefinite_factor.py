"""SemidefiniteFactor: the factor of a positive semidefinite matrix with known null space."""

from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import LinearOperator

from .._typing import Entries, MatrixLike, SparseLike, WeakPivots
from .cholesky_factor import CholeskyFactor
from .conditioned import Conditioned
from .input import entry_numbers
from .null_space import NullSpace, low_rank_entries
from .semidefinite_base import Grounded, GroundedTrend, SemidefiniteBase, naming_the_null_space
from .single_factor import linear_operator
from .symmetry import blaming_asymmetry

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor


class GroundedFactor(Grounded, CholeskyFactor):
    """Hold the factor of one such matrix."""


class GroundedTrendFactor(GroundedTrend, CholeskyFactor):
    """Hold the factor of one such matrix."""


class SemidefiniteFactor(SemidefiniteBase):
    """Hold the factor of a positive semidefinite matrix with known null space.

    `cholesky` and `SymbolicFactor.factorize` make it, given ``null_space=``. Its inverse is the
    pseudo-inverse ``A^+``, its determinant the product of the nonzero eigenvalues. It has no L of
    its own: that of the attribute `grounded` belongs to ``A + E D E^H``, A with `rows` of the null
    space grounded.

    Attributes
    ----------
    grounded : CholeskyFactor
        The factor of the grounded matrix.
    null_space : NullSpace
    pattern : SymbolicFactor
    shape : tuple of int
    dtype : dtype
    rank : int
        n less the dimension of the null space.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    >>> F = sc.cholesky(Q, null_space="components")
    >>> round(F.logdet(), 6)  # the eigenvalues are 0, 1 and 3
    1.098612
    >>> F.solve([1.0, 0.0, -1.0])
    array([ 1.,  0., -1.])
    """

    grounded: CholeskyFactor
    _grounded = GroundedFactor
    _grounded_trend = GroundedTrendFactor

    def __repr__(self) -> str:
        return (
            f"<SemidefiniteFactor of shape {self.shape}, {self.dtype}, rank {self.rank}:"
            f" {self.grounded.nnz} entries in L>"
        )

    def copy(self) -> "SemidefiniteFactor":
        """Return an independent factor of the same matrix; pattern and null space are shared.

        Returns
        -------
        SemidefiniteFactor
        """
        return self.__copy__()

    def refactorize(
        self,
        A: MatrixLike,
        *,
        lower: bool = True,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> "SemidefiniteFactor":
        """Factor another matrix of the same pattern and null space in place.

        Parameters
        ----------
        A, lower, weak_pivots, threads
            As for `CholeskyFactor.refactorize`.

        Returns
        -------
        SemidefiniteFactor
            This factor.

        Raises
        ------
        NotPositiveDefiniteError, PatternMismatchError, ValueError, TypeError
            As for `cholesky`. If the null space does not fit, the old factor stays valid.
        """
        packed = self.pattern._packed(A, lower, self.dtype)
        self.null_space.require(packed[None])
        values = self.null_space.ground(packed)
        with naming_the_null_space(), blaming_asymmetry(self.pattern, A, lower, packed):
            self.grounded.refactorize(values, weak_pivots=weak_pivots, threads=threads)
        return self

    @overload
    def solve(self, b: SparseLike, *, threads: int | None = None) -> csc_array | coo_array: ...
    @overload
    def solve(self, b: ArrayLike, *, threads: int | None = None) -> np.ndarray: ...
    def solve(
        self, b: MatrixLike, *, threads: int | None = None
    ) -> np.ndarray | csc_array | coo_array:
        """Compute ``A^+ b``: the shortest of all x for which ``A x`` is nearest to b.

        ``A x = b`` holds if b is orthogonal to the null space; else for the projection of b,
        ``F.null_space.project(b)``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like, or sparse array or matrix
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of the shape of `b`, or sparse array if `b` is sparse
            Orthogonal to the null space.

        Raises
        ------
        ValueError
            If the shape does not fit, or `b` holds NaN or infinity.
        """
        F = self.grounded
        return F._columnwise(b, F._both_triangles(), threads, self._projected_solve)

    def partial_inverse(
        self, *, entries: Entries = "matrix", threads: int | None = None
    ) -> csc_array:
        """Compute the entries of ``A^+`` on the pattern of A, or of the grounded factor.

        Parameters
        ----------
        entries : {'matrix', 'factor'}, optional
            'matrix': every entry of A as analyzed. 'factor': every entry of ``L + L^T`` of the
            grounded factor, in the numbering of A.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        Z : (n, n) csc_array
            Symmetric (Hermitian), sorted.
        """
        V, X = self._low_rank(threads)
        Z = self.grounded.partial_inverse(entries=entries, threads=threads)
        columns = np.repeat(np.arange(self.shape[0]), np.diff(Z.indptr))
        Z.data -= low_rank_entries(V, X, Z.indices, columns)
        return Z

    def inverse_entries(
        self, rows: ArrayLike, columns: ArrayLike, *, threads: int | None = None
    ) -> np.ndarray:
        """Compute any entries of ``A^+``, also outside every pattern.

        Parameters
        ----------
        rows, columns, threads
            As for `CholeskyFactor.inverse_entries`.

        Returns
        -------
        ndarray of the broadcast shape

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.
        """
        rows, columns = entry_numbers(rows, columns, self.shape[0])
        out = self.grounded.inverse_entries(rows, columns, threads=threads)
        V, X = self._low_rank(threads)
        labels = self.null_space.labels
        return out - low_rank_entries(V, X, rows, columns) * (labels[rows] == labels[columns])

    def condition(
        self, C: MatrixLike, e: ArrayLike = 0.0, *, threads: int | None = None
    ) -> Conditioned:
        """Condition an intrinsic field with precision matrix A on constraints ``C x = e``.

        Parameters
        ----------
        C, e, threads
            As for `CholeskyFactor.condition`. There are at least as many constraints as the null
            space has dimensions, and they leave none of it free.

        Returns
        -------
        Conditioned
            Proper: its density is proportional to ``exp(-x^T A x / 2)`` on the plane.

        Raises
        ------
        ValueError
            As for `CholeskyFactor.condition`; also if a direction of the null space stays free.
        TypeError
            If A or C is complex.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
        >>> F = sc.cholesky(Q, null_space="components")
        >>> F.condition([1.0, 0.0, 0.0], 5.0).mean()
        array([5., 5., 5.])
        """
        F, logdet = self.grounded, self.logdet()  # raises if there is no factor
        values = self.null_space.unground(F._known_values[0])
        return Conditioned(F, values, logdet, self.null_space, C, e, threads)

    def to_linear_operator(self) -> LinearOperator:
        """Return ``A^+`` as a `scipy.sparse.linalg.LinearOperator`.

        Returns
        -------
        LinearOperator
        """
        return linear_operator(self)


def factor_of(
    pattern: "SymbolicFactor", packed: np.ndarray, null_space: Any, threads, weak_pivots
) -> CholeskyFactor | SemidefiniteFactor:
    """Factor packed values, with a null space if there is one.

    Parameters
    ----------
    pattern : SymbolicFactor
    packed : (len(pattern.indices),) ndarray
    null_space : NullSpace, (n, k) array_like, sparse matrix, 'components' or None
    threads, weak_pivots
        As for `cholesky`.

    Returns
    -------
    CholeskyFactor or SemidefiniteFactor
    """
    if null_space is None:
        return CholeskyFactor(pattern, packed[None], threads, weak_pivots)
    N = NullSpace.of(pattern, null_space)
    return SemidefiniteFactor(N, packed[None], threads, weak_pivots)
