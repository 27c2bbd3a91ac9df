"""Constraints: the equations C x = e, with orthonormal rows.

Let x have the precision Q, with an orthonormal basis V of its null space (none, if Q is definite),
and let W be the inverse of Q or of Q with rows grounded. With orthonormal rows of C,

    K = [ C W C^T   C V ]        M = [W C^T  V] K^-1 [ I ]
        [ (C V)^T    0  ]                            [ 0 ]

give C M = I and M C V = V. Then x given C x = e has

    mean            mu + M (e - C mu)
    covariance      (I - M C) W (I - M C)^T
    log density     -((n - m) log 2 pi - log pdet(Q) - log |det K| + d^T Q d) / 2,   d = x - mean.

For definite Q this is kriging, and the formula of Rue and Held (2005), 2.3.3, whose Jacobian term
-log det(C C^T) / 2 is zero here. For semidefinite Q the density is proportional to that of the
intrinsic field on the plane C x = e, where it is proper if C V has independent columns. With as
many constraints as V has columns M is V (C V)^-1, whatever Q is.

References
----------
Rue, H., Held, L. (2005). Gaussian Markov Random Fields. Chapman and Hall.
"""

from typing import Any

import numpy as np
import scipy.linalg

from .input import check_finite, dense_of, real_numbers, scalar_dtype
from .null_space import DEPENDENT, NullSpace
from .pivots import named

# C V of orthonormal C and V is singular to working precision below so many rounding errors.
FREE_ROUNDINGS = 1000


def rows_of(C: Any, n: int) -> np.ndarray:
    """Read the constraints as an (m, n) array; raise ValueError for what is none.

    Parameters
    ----------
    C : (n,) or (m, n) array_like, or (m, n) sparse array or matrix
    n : int

    Returns
    -------
    (m, n) float64 ndarray
    """
    C = dense_of(C, "C")
    C = C[None] if C.ndim == 1 else C
    if C.ndim != 2 or C.shape[1] != n or C.shape[0] == 0:
        raise ValueError(
            f"C has shape {C.shape}: it is ({n},) or (m, {n}), a row for each constraint"
        )
    if scalar_dtype(C.dtype).kind == "c":
        raise TypeError(f"C holds {C.dtype}: it must be real")
    C = C.astype(np.float64)
    check_finite(C, "C")
    return C


def orthonormal_rows(C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make rows orthonormal.

    Parameters
    ----------
    C : (m, n) ndarray

    Returns
    -------
    rows : (m, n) ndarray
    change : (m, m) ndarray
        ``rows = change @ C``.
    """
    norm = np.linalg.norm(C, axis=1)
    if not norm.all():
        raise ValueError(f"row {np.argmin(norm)} of C is zero")
    Q, R, order = scipy.linalg.qr((C / norm[:, None]).T, mode="economic", pivoting=True)
    size = np.zeros(len(order))
    size[: min(R.shape)] = np.abs(np.diag(R))
    dependent = np.flatnonzero(size <= DEPENDENT)
    if dependent.size:
        raise ValueError(
            f"the constraints are linearly dependent: row {order[dependent[0]]} of C is a"
            " combination of others; leave it out"
        )
    change = np.zeros((len(order), len(order)))
    change[:, order] = scipy.linalg.solve_triangular(R, np.eye(len(order)), trans="T")
    return Q.T, change / norm


def fix_null_space(rows: np.ndarray, null_space: NullSpace | None) -> np.ndarray:
    """Return V as a dense array; raise ValueError if the constraints leave some of it free.

    Parameters
    ----------
    rows : (m, n) ndarray
        Orthonormal.
    null_space : NullSpace or None

    Returns
    -------
    V : (n, k) ndarray
    """
    require_enough(len(rows), null_space)
    if null_space is None:
        return np.zeros((rows.shape[1], 0))
    V = null_space.dense()
    _, size, directions = np.linalg.svd(rows @ V)
    free = np.flatnonzero(size <= FREE_ROUNDINGS * np.finfo(float).eps)
    if free.size:
        direction = np.abs(V @ directions[free[0]])
        moved = np.argsort(-direction.round(6), kind="stable")
        moved = moved[direction[moved] > DEPENDENT * direction.max()]
        raise ValueError(
            f"the constraints leave {free.size} of {null_space.dimension} directions of the null"
            f" space free, and the field improper: {named(moved.tolist())} can move together"
        )
    return V


def require_enough(m: int, null_space: NullSpace | None) -> None:
    """Raise ValueError if m constraints cannot fix the null space.

    Parameters
    ----------
    m : int
    null_space : NullSpace or None
    """
    if null_space is not None and m < null_space.dimension:
        raise ValueError(
            f"the field stays improper: there are fewer constraints, {m}, than dimensions of the"
            f" null space, {null_space.dimension}"
        )


def right_side(e: Any, m: int) -> np.ndarray:
    """Read e as an (m,) array; raise ValueError for another shape or NaN.

    Parameters
    ----------
    e : () or (m,) array_like
        A number stands for all constraints.
    m : int

    Returns
    -------
    (m,) float64 ndarray
    """
    e = real_numbers(e, "e")
    if e.shape not in ((), (m,)):
        raise ValueError(f"e has shape {e.shape}: there are {m} constraints, it is ({m},)")
    e = np.broadcast_to(e, (m,))
    check_finite(e, "e")
    return e


def bordered(G: Any, CV: Any, scale: Any, xp: Any) -> Any:
    """Return K with ``C W C^T`` divided by a scale.

    Parameters
    ----------
    G : (m, m) array
        ``C W C^T``.
    CV : (m, k) array
    scale : scalar
    xp : module
        NumPy or one with the same names.

    Returns
    -------
    (m + k, m + k) array
    """
    k = CV.shape[1]
    return xp.concatenate(
        [
            xp.concatenate([G / scale, CV], axis=1),
            xp.concatenate([CV.T, xp.zeros((k, k), CV.dtype)], axis=1),
        ]
    )
