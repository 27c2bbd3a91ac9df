"""Derivatives with respect to the entries of the matrix, without an autodiff framework.

Every function of a factor has a tangent and an adjoint. The tangent (``_jvp``) takes a change of
the inputs to the change of the result. The adjoint (``_vjp`` or ``_grad``) takes the gradient in
the result to the gradients in the inputs. Each costs a small multiple of a factorization, whatever
the number of entries.

Conventions
-----------
Stored values
    Changes and gradients of A are packed values: its lower triangle by column, as
    `SymbolicFactor.values` gives them and `SymbolicFactor.indices` names them. A change may also be
    given as a matrix. An entry below the diagonal stands for two entries of A, so that its gradient
    is twice that of one of them. `full_gradient` turns a gradient into a full symmetric matrix, in
    which each of the two entries gets half.
Inner product
    A gradient g of a real f means ``df = sum(g * da)``; of complex entries
    ``df = Re sum(conj(g) * da)``: the derivatives in the real and in the imaginary part are the
    parts of g. The diagonal of a Hermitian matrix is real, and so is its gradient.
Batches
    `F` is a `CholeskyFactor`, or a `CholeskyBatch` of k matrices: then every array has one more
    axis of length k in front, and scalars become arrays of length k.

NaN in a change or in a gradient spreads to the result. Second derivatives are tangents of
gradients: `logdet_hvp`, `partial_inverse_jvp`, `solve_jvp`. Derivatives of any order are sums of
five sweeps, which `sparsechol.jax` and `sparsechol.pytensor` compose; see the page on derivatives.

References
----------
* Takahashi, K., Fagan, J., Chen, M.-S. (1973). Formation of a sparse bus impedance matrix. 8th PICA
  Conference.
* Smith, S. P. (1995). Differentiation of the Cholesky algorithm. J. Comput. Graph. Stat. 4(2).
* Rue, H., Martino, S. (2007). Approximate Bayesian inference for hierarchical Gaussian Markov
  random field models. J. Stat. Plan. Inference 137.
* Giles, M. (2008). Collected matrix derivative results for forward and reverse mode algorithmic
  differentiation. Advances in Automatic Differentiation, 35-44.
* Vandenberghe, L., Andersen, M. S. (2015). Chordal graphs and semidefinite optimization.
  Foundations and Trends in Optimization 1(4).
* Murray, I. (2016). Differentiation of the Cholesky decomposition. arXiv:1602.07527.

Examples
--------
The gradient of a Gaussian log-density ``log det(A) / 2 - x^T A x / 2`` in the entries of A, here in
one parameter t of ``A = t I + R``:

>>> import numpy as np, scipy.sparse as sp, sparsechol as sc
>>> from sparsechol import derivatives
>>> R = sp.diags_array([[-1.0] * 3, [2.0] * 4, [-1.0] * 3], offsets=[-1, 0, 1])
>>> I, x = sp.eye_array(4), np.ones(4)
>>> F = sc.cholesky(R + 0.5 * I)
>>> gradient = F.logdet_grad() / 2 - derivatives.sampled_outer(F.pattern, x, x) / 2
>>> round(float(gradient @ F.pattern.values(I)), 6)
-0.88563
"""

from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, issparse

from ._scipy import sweeps as _sweeps
from ._scipy.input import numbers, sparse_or_dense
from ._scipy.sweeps import Sweeps
from ._typing import Entries, MatrixLike, Trans

if TYPE_CHECKING:
    from ._scipy.cholesky_batch import CholeskyBatch
    from ._scipy.cholesky_factor import CholeskyFactor
    from ._scipy.symbolic_factor import SymbolicFactor

Factor: TypeAlias = "CholeskyFactor | CholeskyBatch"

__all__ = [
    "diag_inverse_jvp",
    "diag_inverse_vjp",
    "factor_jvp",
    "factor_vjp",
    "full_gradient",
    "logdet_grad",
    "logdet_hvp",
    "logdet_jvp",
    "partial_inverse_jvp",
    "partial_inverse_vjp",
    "quadratic_form",
    "quadratic_form_grad",
    "quadratic_form_jvp",
    "sampled_outer",
    "solve_jvp",
    "solve_triangular_jvp",
    "solve_triangular_vjp",
    "solve_vjp",
]


def full_gradient(pattern: "SymbolicFactor", gradient: ArrayLike) -> csc_array:
    """Return the gradient in the entries of a full symmetric matrix.

    Parameters
    ----------
    pattern : SymbolicFactor
    gradient : (len(pattern.indices),) array_like
        Gradient in the stored values.

    Returns
    -------
    G : (n, n) csc_array
        Symmetric (Hermitian) with ``df = sum(G * dA)`` over all entries of A; its `data` is the
        gradient in the `data` of a full csc_array with sorted indices.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> sc.derivatives.full_gradient(F.pattern, F.logdet_grad()).toarray().round(6)
    array([[ 0.666667, -0.333333],
           [-0.333333,  0.666667]])
    """
    gradient = numbers(gradient, "the gradient")
    if gradient.shape != pattern.indices.shape:
        raise ValueError(
            f"the gradient has shape {gradient.shape}: the pattern has"
            f" {pattern.indices.shape[0]} stored values"
        )
    return pattern._symmetric(_sweeps.weighted(pattern, gradient, 1, 0.5))


def sampled_outer(pattern: "SymbolicFactor", x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Compute the gradient of ``Re(x^H A y)`` in the stored values of A.

    Parameters
    ----------
    pattern : SymbolicFactor
    x, y : (n,) or (n, k) array_like
        The gradient is summed over several columns.

    Returns
    -------
    (len(pattern.indices),) ndarray
        ``x_i conj(y_j) + y_i conj(x_j)`` at (i, j) below the diagonal, half of that on the
        diagonal. The cost is ``O(k nnz(A))``; nothing of the size of L is made.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> S = sc.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> sc.derivatives.sampled_outer(S, [1.0, 2.0], [3.0, 4.0])
    array([ 3., 10.,  8.])
    """
    n = pattern.shape[0]
    x, y = numbers(x, "x"), numbers(y, "y")
    if x.ndim not in (1, 2) or x.shape[0] != n or x.shape != y.shape:
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}: both are ({n},) or ({n}, k)"
        )
    kind = np.result_type(x, y, np.float32)
    k = 1 if x.ndim == 1 else x.shape[1]
    columns = (np.ascontiguousarray(v, dtype=kind).reshape(1, n, k) for v in (x, y))
    return _sweeps.sampled_outer(pattern, *columns, threads=1)[0]


# ---- log-determinant ----


@overload
def logdet_jvp(F: "CholeskyFactor", dA: MatrixLike, *, threads: int | None = None) -> float: ...
@overload
def logdet_jvp(F: "CholeskyBatch", dA: MatrixLike, *, threads: int | None = None) -> np.ndarray: ...
def logdet_jvp(F: Factor, dA: MatrixLike, *, threads: int | None = None) -> float | np.ndarray:
    """Compute the change of ``log det A``: ``trace(A^-1 dA)``.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    dA : packed values or matrix
        Change of A.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    float, or (k,) ndarray of a batch

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([2.0, 4.0]))
    >>> round(sc.derivatives.logdet_jvp(F, np.eye(2)), 6)
    0.75
    """
    sweeps = Sweeps(F, threads)
    gradient = sweeps.to_pattern(F._inverse(threads), 1, 2)
    return F._scalars(np.einsum("ij,ij->i", gradient.conj(), sweeps.changes(dA)).real)


def logdet_grad(F: Factor, *, threads: int | None = None) -> np.ndarray:
    """Compute the gradient of ``log det A`` in the stored values.

    The gradient is the partial inverse, doubled below the diagonal.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    (len(pattern.indices),) ndarray, or (k, len(pattern.indices)) of a batch

    Notes
    -----
    ``d log det A = trace(A^-1 dA)`` needs A^-1 on the pattern of A only: Takahashi, Fagan and Chen
    (1973), Rue and Martino (2007).

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> sc.derivatives.logdet_grad(sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))).round(6)
    array([ 0.666667, -0.666667,  0.666667])
    """
    sweeps = Sweeps(F, threads)
    return F._result(sweeps.to_pattern(F._inverse(threads), 1, 2))


def logdet_hvp(F: Factor, dA: MatrixLike, *, threads: int | None = None) -> np.ndarray:
    """Compute the change of `logdet_grad`, the product of the Hessian of ``log det A`` and dA.

    The change is ``-A^-1 dA A^-1`` on the pattern, doubled below the diagonal.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    dA : packed values or matrix
        Change of A.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    (len(pattern.indices),) ndarray, or (k, len(pattern.indices)) of a batch

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> sc.derivatives.logdet_hvp(sc.cholesky(np.diag([2.0, 4.0])), np.eye(2))
    array([-0.25  , -0.0625])
    """
    sweeps = Sweeps(F, threads)
    return F._result(sweeps.to_pattern(sweeps.sandwich(sweeps.changes(dA)), -1, -2))


# ---- the factor ----


def factor_jvp(F: "CholeskyFactor", dA: MatrixLike, *, threads: int | None = None) -> csc_array:
    """Compute the change of L, ``L Phi(L^-1 dA L^-H)``.

    Phi takes the lower triangle and halves its diagonal.

    Parameters
    ----------
    F : CholeskyFactor
    dA : packed values or matrix
        Change of A.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    dL : (n, n) csc_array
        On the pattern of ``F.L``, in the order of ``F.perm``.

    Notes
    -----
    Giles (2008), Murray (2016); by fronts, as the factorization itself.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> sc.derivatives.factor_jvp(sc.cholesky(np.diag([4.0, 9.0])), np.eye(2)).diagonal().round(6)
    array([0.25    , 0.166667])
    """
    sweeps = Sweeps(F, threads)
    return F._factor_matrix(sweeps.tangent(sweeps.changes(dA))[0])


def factor_vjp(F: "CholeskyFactor", L_bar: MatrixLike, *, threads: int | None = None) -> np.ndarray:
    """Compute the gradient in the stored values of A from the gradient in the entries of L.

    Parameters
    ----------
    F : CholeskyFactor
    L_bar : (n, n) sparse or dense matrix
        Gradient in the entries of ``F.L``; entries where L has none do not count.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    (len(pattern.indices),) ndarray

    Notes
    -----
    Smith (1995), Murray (2016), on the pattern of L. Functions of L that are functions of A
    (solves, determinants) have cheaper gradients of their own.

    Examples
    --------
    ``sum(log(diag(L))) = log(det(A)) / 2``:

    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> F = sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> L_bar = sp.diags_array(1 / F.L.diagonal())
    >>> np.allclose(sc.derivatives.factor_vjp(F, L_bar), F.logdet_grad() / 2)
    True
    """
    sweeps = Sweeps(F, threads)
    return F._result(sweeps.to_pattern(sweeps.adjoint(sweeps.panels_of(L_bar))))


# ---- solves ----


def solve_jvp(
    F: Factor,
    x: ArrayLike,
    *,
    dA: MatrixLike | None = None,
    db: ArrayLike | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Compute the change of ``x = F.solve(b)``: ``A^-1 (db - dA x)``.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    x : (n,) or (n, k) array_like
        The solution.
    dA : packed values or matrix, optional
        Change of A.
    db : array_like of the shape of `x`, optional
        Change of b.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    dx : ndarray of the shape of `x`

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([2.0, 4.0]))
    >>> sc.derivatives.solve_jvp(F, F.solve([2.0, 4.0]), dA=np.eye(2))
    array([-0.5 , -0.25])
    """
    sweeps = Sweeps(F, threads)
    x, shape = sweeps.vectors(x, "x")
    right = np.zeros_like(x) if db is None else sweeps.like(db, shape, "db")
    if dA is not None:
        right = right - sweeps.product(sweeps.changes(dA), x)
    return sweeps.solve(right).reshape(shape)


def solve_vjp(
    F: Factor, x: ArrayLike, x_bar: ArrayLike, *, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the gradients in A and b from the gradient in ``x = F.solve(b)``.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    x : (n,) or (n, k) array_like
        The solution.
    x_bar : array_like of the shape of `x`
        Gradient in `x`.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    A_bar : (len(pattern.indices),) ndarray, or (k, len(pattern.indices)) of a batch
        Gradient in the stored values: ``-sampled_outer(pattern, b_bar, x)``.
    b_bar : ndarray of the shape of `x`
        ``A^-1 x_bar``.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([2.0, 4.0]))
    >>> sc.derivatives.solve_vjp(F, F.solve([2.0, 4.0]), [1.0, 1.0])
    (array([-0.5 , -0.25]), array([0.5 , 0.25]))
    """
    sweeps = Sweeps(F, threads)
    x, shape = sweeps.vectors(x, "x")
    b_bar = sweeps.solve(sweeps.like(x_bar, shape, "x_bar"))
    return F._result(-sweeps.outer(b_bar, x)), b_bar.reshape(shape)


def solve_triangular_jvp(
    F: Factor,
    x: ArrayLike,
    *,
    dA: MatrixLike | None = None,
    db: ArrayLike | None = None,
    trans: Trans = "N",
    permute: bool = True,
    threads: int | None = None,
) -> np.ndarray:
    """Compute the change of ``x = F.solve_triangular(b, trans=trans, permute=permute)``.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    x : (n,) or (n, k) array_like
        The solution.
    dA : packed values or matrix, optional
        Change of A.
    db : array_like of the shape of `x`, optional
        Change of b.
    trans, permute : optional
        As for `CholeskyFactor.solve_triangular`.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    dx : ndarray of the shape of `x`
        ``L^-1 (P db - dL x)``, ``P^T L^-H (db - dL^H P x)`` or ``P^T L^-T (db - dL^T P x)``.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([4.0, 16.0]))
    >>> sc.derivatives.solve_triangular_jvp(F, F.solve_triangular([2.0, 4.0]), dA=np.eye(2))
    array([-0.125  , -0.03125])
    """
    sweeps = Sweeps(F, threads)
    triangle = _sweeps.Triangular(sweeps, trans, permute)
    x, shape = sweeps.vectors(x, "x")
    right = np.zeros_like(x) if db is None else triangle.turned(sweeps.like(db, shape, "db"))
    if dA is not None:
        dL = sweeps.tangent(sweeps.changes(dA))
        right = right - triangle.product(dL, triangle.turned(x))
    return triangle.turned(triangle.solve(right)).reshape(shape)


def solve_triangular_vjp(
    F: Factor,
    x: ArrayLike,
    x_bar: ArrayLike,
    *,
    trans: Trans = "N",
    permute: bool = True,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the gradients in A and b from that in a solution with the triangular factor.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    x : (n,) or (n, k) array_like
        The solution, ``F.solve_triangular(b, trans=trans, permute=permute)``.
    x_bar : array_like of the shape of `x`
        Gradient in `x`.
    trans, permute : optional
        As for `CholeskyFactor.solve_triangular`.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    A_bar : (len(pattern.indices),) ndarray, or (k, len(pattern.indices)) of a batch
    b_bar : ndarray of the shape of `x`

    Notes
    -----
    With ``w`` the other triangle's solution for `x_bar`, the gradient in L is ``-w x^H`` (for L^H
    ``-x w^H``) on the pattern of L; `factor_vjp` brings it to A.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([4.0, 16.0]))
    >>> sc.derivatives.solve_triangular_vjp(F, F.solve_triangular([2.0, 4.0]), [1.0, 0.0])
    (array([-0.125, -0.   ]), array([0.5, 0. ]))
    """
    sweeps = Sweeps(F, threads)
    triangle = _sweeps.Triangular(sweeps, trans, permute)
    x, shape = sweeps.vectors(x, "x")
    w = triangle.solve_adjoint(triangle.turned(sweeps.like(x_bar, shape, "x_bar")))
    A_bar = sweeps.to_pattern(sweeps.adjoint(triangle.outer(w, triangle.turned(x))))
    return F._result(A_bar), triangle.turned(w).reshape(shape)


@overload
def quadratic_form(F: "CholeskyFactor", b: ArrayLike, *, threads: int | None = None) -> float: ...
@overload
def quadratic_form(
    F: "CholeskyBatch", b: ArrayLike, *, threads: int | None = None
) -> np.ndarray: ...
def quadratic_form(F: Factor, b: ArrayLike, *, threads: int | None = None) -> Any:
    """Compute ``b^H A^-1 b``, summed over the columns of b.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    b : (n,) or (n, k) array_like
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    float, or (k,) ndarray of a batch

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> round(sc.derivatives.quadratic_form(sc.cholesky(np.diag([2.0, 4.0])), [2.0, 2.0]), 6)
    3.0
    """
    sweeps = Sweeps(F, threads)
    b, _ = sweeps.vectors(b, "b")
    return F._scalars(_sweeps.dot(b, sweeps.solve(b.copy())))


@overload
def quadratic_form_jvp(
    F: "CholeskyFactor",
    x: ArrayLike,
    *,
    dA: MatrixLike | None = None,
    db: ArrayLike | None = None,
) -> float: ...
@overload
def quadratic_form_jvp(
    F: "CholeskyBatch",
    x: ArrayLike,
    *,
    dA: MatrixLike | None = None,
    db: ArrayLike | None = None,
) -> np.ndarray: ...
def quadratic_form_jvp(
    F: Factor, x: ArrayLike, *, dA: MatrixLike | None = None, db: ArrayLike | None = None
) -> Any:
    """Compute the change of `quadratic_form`, ``2 Re(x^H db) - x^H dA x`` with ``x = F.solve(b)``.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    x : (n,) or (n, k) array_like
        The solution.
    dA : packed values or matrix, optional
        Change of A.
    db : array_like of the shape of `x`, optional
        Change of b.

    Returns
    -------
    float, or (k,) ndarray of a batch

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([2.0, 4.0]))
    >>> round(sc.derivatives.quadratic_form_jvp(F, F.solve([2.0, 2.0]), dA=np.eye(2)), 6)
    -1.25
    """
    sweeps = Sweeps(F)
    x, shape = sweeps.vectors(x, "x")
    slope = np.zeros(F._count)
    if db is not None:
        slope = slope + 2 * _sweeps.dot(x, sweeps.like(db, shape, "db"))
    if dA is not None:
        slope = slope - _sweeps.dot(x, sweeps.product(sweeps.changes(dA), x))
    return F._scalars(slope)


def quadratic_form_grad(F: Factor, x: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Compute the gradients of `quadratic_form` in A and b from ``x = F.solve(b)``.

    No solve is needed.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    x : (n,) or (n, k) array_like
        The solution.

    Returns
    -------
    A_bar : (len(pattern.indices),) ndarray, or (k, len(pattern.indices)) of a batch
        ``-sampled_outer(pattern, x, x)``.
    b_bar : ndarray of the shape of `x`
        ``2 x``.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([2.0, 4.0]))
    >>> sc.derivatives.quadratic_form_grad(F, F.solve([2.0, 2.0]))
    (array([-1.  , -0.25]), array([2., 1.]))
    """
    sweeps = Sweeps(F)
    x, shape = sweeps.vectors(x, "x")
    return F._result(-sweeps.outer(x, x)), 2 * x.reshape(shape)


# ---- entries of the inverse ----


@overload
def partial_inverse_jvp(
    F: "CholeskyFactor", dA: MatrixLike, *, entries: Entries = "matrix", threads: int | None = None
) -> csc_array: ...
@overload
def partial_inverse_jvp(
    F: "CholeskyBatch", dA: MatrixLike, *, entries: Entries = "matrix", threads: int | None = None
) -> np.ndarray: ...
def partial_inverse_jvp(
    F: Factor, dA: MatrixLike, *, entries: Entries = "matrix", threads: int | None = None
) -> Any:
    """Compute the change of the partial inverse: ``-A^-1 dA A^-1`` on the pattern.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    dA : packed values or matrix
        Change of A.
    entries : {'matrix', 'factor'}, optional
        As for `CholeskyFactor.partial_inverse`; a batch has 'matrix' only.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    dZ : (n, n) csc_array, or (k, len(pattern.indices)) ndarray of a batch
        Like ``F.partial_inverse(entries=entries)``.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([2.0, 4.0]))
    >>> sc.derivatives.partial_inverse_jvp(F, np.eye(2)).toarray()
    array([[-0.25  ,  0.    ],
           [ 0.    , -0.0625]])
    """
    sweeps = Sweeps(F, threads)
    _check_entries(F, entries)
    H = sweeps.sandwich(sweeps.changes(dA))
    if entries == "factor":
        return cast("CholeskyFactor", F)._on_factor(-H[0])  # a batch is refused above
    values = sweeps.to_pattern(H, -1, -1)
    return values if F._is_batch else F.pattern._symmetric(values[0])


def partial_inverse_vjp(
    F: Factor, Z_bar: MatrixLike, *, entries: Entries = "matrix", threads: int | None = None
) -> np.ndarray:
    """Compute the gradient in the stored values of A from that in the partial inverse.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    Z_bar : (n, n) sparse or dense matrix, or packed values
        Gradient in the entries of ``F.partial_inverse(entries=entries)``. A matrix: in each of its
        entries, ``df = sum(Z_bar * dZ)``, symmetric or not. Packed values: in the stored lower
        triangle, each entry of which stands for two. A batch takes packed values only.
    entries : {'matrix', 'factor'}, optional
        As for `CholeskyFactor.partial_inverse`.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    (len(pattern.indices),) ndarray, or (k, len(pattern.indices)) of a batch

    Notes
    -----
    ``M -> A^-1 M A^-1`` is its own adjoint (Vandenberghe and Andersen 2015, section 9).

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> F = sc.cholesky(np.diag([2.0, 4.0]))
    >>> sc.derivatives.partial_inverse_vjp(F, np.eye(2))
    array([-0.25  , -0.0625])
    """
    sweeps = Sweeps(F, threads)
    _check_entries(F, entries)
    given: Any = sparse_or_dense(Z_bar, "the gradient")
    packed = not issparse(given) and given.ndim == len(F._user_shape(0))
    if packed and entries == "matrix":
        M, stored = _sweeps.weighted(F.pattern, sweeps.changes(given), 1, 0.5), "values"
    else:
        M, stored = sweeps.hermitian_part(given, entries)
    return F._result(sweeps.to_pattern(sweeps.sandwich(M, stored), -1, -2))


def diag_inverse_jvp(F: Factor, dA: MatrixLike, *, threads: int | None = None) -> np.ndarray:
    """Compute the change of the diagonal of ``A^-1``.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    dA : packed values or matrix
        Change of A.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    (n,) real ndarray, or (k, n) of a batch

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> sc.derivatives.diag_inverse_jvp(sc.cholesky(np.diag([2.0, 4.0])), np.eye(2))
    array([-0.25  , -0.0625])
    """
    sweeps = Sweeps(F, threads)
    return F._result(-F._diagonal(sweeps.sandwich(sweeps.changes(dA))))


def diag_inverse_vjp(F: Factor, v: ArrayLike, *, threads: int | None = None) -> np.ndarray:
    """Compute the gradient in the stored values of A from that in the diagonal of ``A^-1``.

    Parameters
    ----------
    F : CholeskyFactor or CholeskyBatch
    v : (n,) array_like, or (k, n) for a batch
        Gradient in ``F.diag_inverse()``.
    threads : int, optional
        Most threads to use, see `cholesky`.

    Returns
    -------
    (len(pattern.indices),) ndarray, or (k, len(pattern.indices)) of a batch

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> sc.derivatives.diag_inverse_vjp(sc.cholesky(np.diag([2.0, 4.0])), [1.0, 1.0])
    array([-0.25  , -0.0625])
    """
    sweeps = Sweeps(F, threads)
    v, shape = numbers(v, "v"), F._user_shape(F.shape[0])
    if v.shape != shape:
        raise ValueError(f"the gradient in the diagonal has shape {v.shape}, not {shape}")
    M = np.zeros((F._count, F.pattern.indices.shape[0]), dtype=F.dtype)
    M[:, F.pattern.indptr[:-1]] = np.real(v)
    return F._result(sweeps.to_pattern(sweeps.sandwich(M), -1, -2))


def _check_entries(F: Factor, entries: str) -> None:
    """Raise ValueError unless `entries` is 'matrix', or 'factor' of a single factor."""
    if entries not in ("matrix", "factor"):
        raise ValueError(f"entries must be 'matrix' or 'factor', not {entries!r}")
    if entries == "factor" and F._is_batch:
        raise ValueError("a batch has the entries 'matrix' only")
