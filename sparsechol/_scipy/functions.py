"""Functions that analyze, factor and use a matrix in one call."""

from typing import overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array

from .._typing import MatrixLike, OrderingLike, Regularize, SparseLike, WeakPivots
from .cholesky_factor import CholeskyFactor
from .input import check_order, compressed
from .ldl_factor import LDLFactor
from .null_space import NullSpaceLike
from .pivot_rule import pivot_rule
from .pivots import accepts_weak
from .semidefinite_factor import SemidefiniteFactor, factor_of
from .symbolic_factor import analyze_for
from .symmetry import blaming_asymmetry, check_mirrored


@overload
def cholesky(
    A: MatrixLike,
    *,
    null_space: None = None,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> CholeskyFactor: ...
@overload
def cholesky(
    A: MatrixLike,
    *,
    null_space: NullSpaceLike,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> SemidefiniteFactor: ...
def cholesky(
    A: MatrixLike,
    *,
    null_space: NullSpaceLike | None = None,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> CholeskyFactor | SemidefiniteFactor:
    """Factor a sparse symmetric (Hermitian) positive definite matrix, ``P A P^T = L L^H``.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, or dense array
        float32, float64, complex64 or complex128; integers become float64. Only the triangle
        named by `lower` is read. Unsorted indices are accepted, repeated entries summed. `A` is
        not modified.
    null_space : (n, k) array_like, sparse matrix, 'components' or NullSpace, optional
        For a positive semidefinite `A`: its columns span the null space. 'components': the
        indicators of the connected components, as for the Laplacian of a graph. The factor then
        stands for the pseudo-inverse and the product of the nonzero eigenvalues, see
        `SemidefiniteFactor`.
    ordering : str or (n,) array_like of int, optional
        Fill-reducing ordering, see `analyze`. Here 'auto' optimizes for a single factorization;
        call `analyze` first if you will factorize many matrices of this pattern.
    lower : bool, optional
        Whether the lower triangle is read (default) or the upper one.
    check_symmetric : bool, optional
        Where `A` holds both triangles, test that they agree but for rounding, and raise ValueError
        where they do not (default). If False, the other triangle is never looked at.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a matrix with a positive pivot that is at most 16 rounding errors of its
        diagonal entry. By default it is refused as singular. With 'accept' it is factored, with a
        warning.
    threads : int, optional
        Most threads to use. By default the number in the environment variable
        SPARSECHOL_NUM_THREADS, else the cores that this process may use. Small problems always use
        one thread. The result has the same bits for any number. The threads are native and share
        no lock with Python; BLAS's own threads are left alone.

    Returns
    -------
    CholeskyFactor, or SemidefiniteFactor with a null space

    Raises
    ------
    NotPositiveDefiniteError
        If a pivot is not positive, or is rounding: singular to working precision. Its attributes
        ``row`` and ``pivot`` say where, in the numbering of `A`, and ``rows`` which rows are
        linearly dependent. With `null_space` also if there is a null direction beyond it.
    ValueError
        If ``A V`` is not zero for a null space V: more than the root of eps times the size of its
        terms. If V has another number of rows, dependent columns, NaN or infinity.
        If `A` is not square, not symmetric (Hermitian), holds NaN or infinity, or its index arrays
        are corrupt; if the triangle that is read is empty off the diagonal and the other one is
        not.
    TypeError
        If `A` is not numeric.

    Warns
    -----
    scipy.linalg.LinAlgWarning
        If the matrix is nearly singular: its reciprocal condition number is at most 16
        rounding errors, see `CholeskyFactor.rcond`.

    See Also
    --------
    analyze : Do the symbolic part alone, for many matrices of one pattern.

    Notes
    -----
    Multifrontal (Duff and Reid 1983; Liu 1992) over relaxed supernodes.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> A = sp.csc_array([[4.0, 2.0, 0.0], [2.0, 5.0, 2.0], [0.0, 2.0, 5.0]])
    >>> F = sc.cholesky(A, ordering="natural")
    >>> F.L.toarray()
    array([[2., 0., 0.],
           [1., 2., 0.],
           [0., 1., 2.]])
    >>> F.solve(np.array([6.0, 9.0, 7.0]))
    array([1., 1., 1.])
    """
    arrays = compressed(A, check_shape=check_order)
    pattern = analyze_for(arrays, ordering, lower, False, reuse=False, threads=threads)
    packed = pattern._pack(arrays, lower, finite=True)
    if check_symmetric:
        check_mirrored(pattern, arrays, lower, packed)
    with blaming_asymmetry(pattern, A, lower, packed):
        return factor_of(pattern, packed, null_space, threads, weak_pivots)


def ldl(
    A: MatrixLike,
    *,
    signs: ArrayLike | None = None,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    regularize: Regularize = None,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> LDLFactor:
    """Factor a symmetric (Hermitian) matrix with pivots of both signs, ``P A P^T = L D L^H``.

    For quasi-definite matrices ``[[H, G^H], [G, -C]]`` with positive definite H and C, as the KKT
    matrices of interior-point and ADMM methods: they have this factor in every order. Other
    matrices, as those shifted into the spectrum, mostly have one. There is no pivoting beyond the
    ordering: growth of the entries is watched, and told.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, or dense array
        As for `cholesky`.
    signs : (n,) array_like of 1 and -1, optional
        The sign that the pivot of each row must have, in the numbering of A. With them an
        ill-conditioned matrix, as they are near the end of an interior-point method, is nothing to
        warn of, unless a pivot is rounding.
    ordering, lower, check_symmetric : optional
        As for `cholesky`.
    regularize : float or (eps, delta), optional
        A number delta: ``A + delta diag(signs)`` is factored, so that zero blocks on the diagonal
        get pivots. A pair: a pivot that is not farther than eps on its side of zero is replaced by
        delta on that side, as QDLDL, OSQP and Clarabel do; `LDLFactor.regularized` names the rows.
        Either needs `signs`, and either way `LDLFactor.solve` refines its result to that of A.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a matrix with a pivot that is at most 16 rounding errors of what it is the
        sum of. By default it is refused as singular. With 'accept' it is factored, with a warning.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    LDLFactor

    Raises
    ------
    PivotError
        If a pivot is zero, has the wrong sign, or is rounding; if pivots are so unstable that no
        digit is right. Its attributes ``row`` and ``pivot`` say where.
    ValueError, TypeError
        As for `cholesky`; ValueError also if `signs` or `regularize` are not as above.

    Warns
    -----
    scipy.linalg.LinAlgWarning
        If the matrix is nearly singular, or the pivots are unstable: abs(L) abs(L)^H has entries
        more than 1 / sqrt(eps) times as large as A. Of a regularized matrix `LDLFactor.solve` warns
        where refinement did not reach a backward error of sqrt(eps).

    See Also
    --------
    cholesky : Factor a positive definite matrix.

    Notes
    -----
    Vanderbei (1995). The error is that of abs(L) abs(L)^H (Gill, Saunders and Shinnerl 1996).

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> K = np.array([[4.0, 2.0], [2.0, -3.0]])
    >>> F = sc.ldl(K, ordering="natural")
    >>> F.L.toarray()
    array([[ 2.,  0.],
           [ 1., -2.]])
    >>> F.inertia
    Inertia(positive=1, negative=1)
    >>> F.solve([6.0, -1.0])
    array([1., 1.])
    """
    arrays = compressed(A, check_shape=check_order)
    pattern = analyze_for(arrays, ordering, lower, False, reuse=False, threads=threads)
    rule = pivot_rule(pattern.shape[0], signs, regularize, accepts_weak(weak_pivots))
    packed = pattern._pack(arrays, lower, finite=True)
    if check_symmetric:
        check_mirrored(pattern, arrays, lower, packed)
    with blaming_asymmetry(pattern, A, lower, packed):
        return LDLFactor(pattern, packed[None], threads, rule)


@overload
def solve(
    A: MatrixLike,
    b: SparseLike,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> csc_array | coo_array: ...
@overload
def solve(
    A: MatrixLike,
    b: ArrayLike,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> np.ndarray: ...
def solve(
    A: MatrixLike,
    b: MatrixLike,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> np.ndarray | csc_array | coo_array:
    """Solve ``A x = b`` with a sparse symmetric (Hermitian) positive definite matrix.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, or dense array
        As for `cholesky`.
    b : (n,) or (n, k) array_like, or sparse array or matrix
        Right-hand side, or one a column.
    ordering, lower, check_symmetric, weak_pivots, threads
        As for `cholesky`.

    Returns
    -------
    x : ndarray of the shape of `b`, or sparse array if `b` is sparse

    Raises
    ------
    NotPositiveDefiniteError, ValueError, TypeError
        As for `cholesky`; ValueError also if the shapes do not fit.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> sc.solve(np.array([[4.0, 2.0], [2.0, 5.0]]), [2.0, 9.0])
    array([-0.5,  2. ])
    """
    F = cholesky(
        A,
        ordering=ordering,
        lower=lower,
        check_symmetric=check_symmetric,
        weak_pivots=weak_pivots,
        threads=threads,
    )
    return F.solve(b, threads=threads)


def logdet(
    A: MatrixLike,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> float:
    """Compute the logarithm of the determinant of a sparse symmetric positive definite matrix.

    Parameters
    ----------
    A, ordering, lower, check_symmetric, weak_pivots, threads
        As for `cholesky`.

    Returns
    -------
    float

    Raises
    ------
    NotPositiveDefiniteError, ValueError, TypeError
        As for `cholesky`.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> round(sc.logdet(np.array([[4.0, 2.0], [2.0, 5.0]])), 12)
    2.77258872224
    """
    F = cholesky(
        A,
        ordering=ordering,
        lower=lower,
        check_symmetric=check_symmetric,
        weak_pivots=weak_pivots,
        threads=threads,
    )
    return F.logdet()


def partial_inverse(
    A: MatrixLike,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = True,
    weak_pivots: WeakPivots = "refuse",
    threads: int | None = None,
) -> csc_array:
    """Compute the entries of ``A^-1`` on the pattern of A (Takahashi, Fagan and Chen 1973).

    Parameters
    ----------
    A, ordering, lower, check_symmetric, weak_pivots, threads
        As for `cholesky`.

    Returns
    -------
    Z : (n, n) csc_array
        Symmetric (Hermitian), sorted.

    Raises
    ------
    NotPositiveDefiniteError, ValueError, TypeError
        As for `cholesky`.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> sc.partial_inverse(np.array([[2.0, 1.0], [1.0, 2.0]])).toarray().round(6)
    array([[ 0.666667, -0.333333],
           [-0.333333,  0.666667]])
    """
    F = cholesky(
        A,
        ordering=ordering,
        lower=lower,
        check_symmetric=check_symmetric,
        weak_pivots=weak_pivots,
        threads=threads,
    )
    return F.partial_inverse(threads=threads)
