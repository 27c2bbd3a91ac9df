"""CholeskyFactor: the numeric factor that a user holds."""

from typing import overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array

from .. import derivatives
from .._exceptions import NotPositiveDefiniteError
from .._typing import MatrixLike, SparseLike, WeakPivots
from .changeable_factor import ChangeableFactor
from .conditioned import Conditioned
from .draws import NormalDraws
from .low_rank_factor import LowRankFactor, read_correction
from .pivots import accepts_weak


class CholeskyFactor(ChangeableFactor, NormalDraws):
    """Hold the Cholesky factor of a symmetric (Hermitian) positive definite matrix.

    `cholesky` and `SymbolicFactor.factorize` make it: ``P A P^T = L L^H``. Any number of threads
    may use one factor at the same time, except while one of them runs `refactorize`. A factor can
    be pickled. All methods release the GIL.

    Results have the precision of the factor: with a float32 factor they are float32, or complex64
    for complex right-hand sides.

    Attributes
    ----------
    pattern : SymbolicFactor
        The analyzed pattern, shared by all factors of the same pattern.
    shape : tuple of int
    dtype : dtype
    perm : (n,) int32 ndarray
        ``L @ L.conj().T == A[perm][:, perm]``.
    nnz : int
        Entries of L.
    """

    def __repr__(self) -> str:
        return f"<CholeskyFactor of shape {self.shape}, {self.dtype}: {self.nnz} entries in L>"

    def refactorize(
        self,
        A: MatrixLike,
        *,
        lower: bool = True,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> "CholeskyFactor":
        """Factor another matrix of the same pattern in place.

        The memory of the factor is reused. If A is not positive definite, or Ctrl-C stops the call,
        the factor cannot be used until the next successful call. If A has the wrong shape, a
        nonzero outside the pattern, NaN or infinity, an error is raised and the old factor stays
        valid.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, or ndarray of packed values
            As for `SymbolicFactor.factorize`; converted to the dtype of this factor.
        lower : bool, optional
            Which triangle of a matrix is read; packed values are always the lower one.
        weak_pivots : {'refuse', 'accept'}, optional
            What becomes of a nearly singular matrix, see `cholesky`.
        threads : int, optional
            Most threads to use, see `cholesky`. More threads than before take more workspace.

        Returns
        -------
        CholeskyFactor
            This factor.

        Raises
        ------
        NotPositiveDefiniteError, PatternMismatchError, ValueError, TypeError
            As for `cholesky`. TypeError also if a complex matrix meets a real factor.
        """
        self._replace(A, lower, threads, accepts_weak(weak_pivots))
        return self

    def _change_error(self, text: str, row: int, pivot: float) -> NotPositiveDefiniteError:
        return NotPositiveDefiniteError(
            f"{text} is not positive definite, or not to working precision: the pivot at row and"
            f" column {row} is {pivot:.6g}; the factor is as it was",
            row,
            pivot,
        )

    @overload
    def solve(self, b: SparseLike, *, threads: int | None = None) -> csc_array | coo_array: ...
    @overload
    def solve(self, b: ArrayLike, *, threads: int | None = None) -> np.ndarray: ...
    def solve(
        self, b: MatrixLike, *, threads: int | None = None
    ) -> np.ndarray | csc_array | coo_array:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like, or sparse array or matrix
            Any layout; not modified. A real factor takes complex right-hand sides too.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of the shape of `b`, or csc_array (coo_array if one-dimensional) if `b` is
            sparse; exact zeros are not stored in it.

        Raises
        ------
        ValueError
            If the shape does not fit, or `b` holds NaN or infinity.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> F.solve([2.0, 9.0])
        array([-0.5,  2. ])
        """
        x = None if self._values is None else self._solver.solve(b, threads)
        return self._columnwise(b, self._both_triangles(), threads) if x is None else x

    def with_low_rank(self, C: MatrixLike, D: ArrayLike | None = None) -> LowRankFactor:
        """Return ``A + C D C^H`` as this factor and a correction beside it; A stays as it is.

        For columns that do not fit the pattern of L: dense rows, global effects. Where they fit,
        `update` is cheaper.

        Parameters
        ----------
        C : (n,) or (n, k) array_like, or sparse array or matrix
            To some hundreds of columns.
        D : (k,) or (k, k) array_like, optional
            Weights, one for each column, or a symmetric (Hermitian) matrix; of any sign. By default
            the identity.

        Returns
        -------
        LowRankFactor

        Raises
        ------
        NotPositiveDefiniteError
            If ``A + C D C^H`` is not positive definite.
        ValueError, TypeError
            If shapes or types do not fit, or `C` or `D` holds NaN or infinity.

        Notes
        -----
        One solve with L for each column, and a QR decomposition of an n x k matrix; every solve
        then takes two products with such a matrix more.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.eye(4)).with_low_rank(np.ones(4))
        >>> F.solve([5.0, 0.0, 0.0, 0.0]).round(6)
        array([ 4., -1., -1., -1.])
        >>> round(F.logdet(), 6)
        1.609438
        """
        return LowRankFactor(self, *read_correction(self, C, D))

    def condition(
        self, C: MatrixLike, e: ArrayLike = 0.0, *, threads: int | None = None
    ) -> Conditioned:
        """Condition a field with precision matrix A on linear constraints ``C x = e``.

        Parameters
        ----------
        C : (n,) or (m, n) array_like, or (m, n) sparse array or matrix
            A row for each constraint; they are made dense.
        e : () or (m,) array_like, optional
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        Conditioned

        Raises
        ------
        ValueError
            If the rows are linearly dependent, shapes do not fit, or for NaN or infinity.
        TypeError
            If A or C is complex.

        Notes
        -----
        Rue and Held (2005), 2.3.3. For observations with noise, ``y = B x + noise``, see `gram`
        and the page on intrinsic fields.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.diag([1.0, 1.0]))
        >>> F.condition([1.0, 1.0], 4.0).mean()
        array([2., 2.])
        """
        logdet = self.logdet()  # raises if there is no factor
        return Conditioned(self, self._known_values[0], logdet, None, C, e, threads)

    logdet_grad = derivatives.logdet_grad
