"""Sparse Jacobians and Hessians by finite differences, all columns of a color at once."""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array

from .._scipy.input import numbers
from .._typing import Differences, MatrixLike
from ._pattern import coordinates
from ._result import Coloring
from ._search import color

# Exponents of the rounding unit: with these steps, relative to max(1, |x|), rounding and truncation
# balance.
STEPS = {"2-point": 1 / 2, "3-point": 1 / 3, "cs": 1 / 2}


def approx_jacobian(
    fun: Callable[..., ArrayLike],
    x: ArrayLike,
    sparsity: MatrixLike | Coloring,
    *,
    method: Differences = "2-point",
    rel_step: ArrayLike | None = None,
    abs_step: ArrayLike | None = None,
    f0: ArrayLike | None = None,
    args: tuple = (),
) -> csc_array:
    """Approximate the sparse Jacobian of a vector function by finite differences.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` returns an array of shape (m,).
    x : (n,) array_like, real
        Point at which to differentiate.
    sparsity : (m, n) sparse or dense array, or Coloring
        Possible nonzeros of the Jacobian, which are colored by columns. For repeated calls pass a
        `sparsechol.coloring.Coloring` of structure 'column', so that they are colored once.
    method : {'2-point', '3-point', 'cs'}, optional
        Forward differences, central differences, or the complex step. The complex step is exact but
        for rounding; it needs an analytic `fun` that takes complex arguments.
    rel_step : float or (n,) array_like, optional
        Steps relative to ``max(1, abs(x))`` with the sign of x. By default the square root of the
        rounding unit, for '3-point' its third root.
    abs_step : float or (n,) array_like, optional
        Absolute steps, instead of `rel_step`.
    f0 : (m,) array_like, optional
        ``fun(x)``, if it is known.
    args : tuple, optional
        Further arguments of `fun`.

    Returns
    -------
    (m, n) csc_array of float64
        The Jacobian, with all entries of `sparsity`.

    Raises
    ------
    ValueError
        If shapes do not fit, a step is zero, or `fun` returns an array that is not (m,).

    Notes
    -----
    `fun` is called once for each color ('3-point': twice), and once more for '2-point', whatever n
    is. `sparsity` must contain every possible nonzero; a missing entry corrupts other entries.
    Curtis, A. R., Powell, M. J. D., Reid, J. K. (1974). On the estimation of sparse Jacobian
    matrices. IMA J. Appl. Math. 13(1), 117-119.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> sparsity = sp.diags_array([np.ones(3), np.ones(2)], offsets=[0, 1])
    >>> f = lambda x: x**2 - np.append(x[1:], 0.0)
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> print(sc.approx_jacobian(f, x, sparsity, method="cs").toarray())
    [[ 2. -1.  0.]
     [ 0.  4. -1.]
     [ 0.  0.  6.]]
    """
    x, coloring = point(x), colored(sparsity, "column")
    m, n = coloring.sparsity.shape
    check_point(x, n)
    h = steps(x, method, rel_step, abs_step)
    products = differences(lambda y: value(fun, y, args, m), x, h, coloring, method, f0)
    _, columns = coordinates(coloring.sparsity)
    J = cast("csc_array", coloring.decompress(products))
    J.data /= h[columns]
    return J


def approx_hessian(
    grad: Callable[..., ArrayLike],
    x: ArrayLike,
    sparsity: MatrixLike | Coloring,
    *,
    method: Differences = "2-point",
    rel_step: ArrayLike | None = None,
    abs_step: ArrayLike | None = None,
    f0: ArrayLike | None = None,
    args: tuple = (),
) -> csc_array:
    """Approximate a sparse Hessian by finite differences of a gradient.

    Parameters
    ----------
    grad : callable
        ``grad(x, *args)`` returns the gradient, (n,).
    x : (n,) array_like, real
        Point at which to differentiate.
    sparsity : (n, n) sparse or dense array, or Coloring
        Possible nonzeros of the Hessian, both triangles, which get a star coloring. A Coloring must
        have structure 'symmetric' and method 'direct'.
    method, rel_step, abs_step : optional
        As for `approx_jacobian`.
    f0 : (n,) array_like, optional
        The gradient at x, if it is known.
    args : tuple, optional
        Further arguments of `grad`.

    Returns
    -------
    (n, n) csc_array of float64, symmetric
        The Hessian, with all entries of `sparsity`. Each entry off the diagonal is computed once.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> from scipy.optimize import rosen_der, rosen_hess
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> H = sc.approx_hessian(rosen_der, x, rosen_hess(x), method="cs")
    >>> bool(abs(H - rosen_hess(x)).max() < 1e-9)
    True
    """
    x, coloring = point(x), colored(sparsity, "symmetric")
    n = coloring.sparsity.shape[0]
    check_point(x, n)
    h = steps(x, method, rel_step, abs_step)
    products = differences(lambda y: value(grad, y, args, n), x, h, coloring, method, f0)
    rows, columns = coordinates(coloring.sparsity)
    H = cast("csc_array", coloring.decompress(products))
    # The column in whose difference an entry was found.
    H.data /= h[np.where(coloring._recovery.mirrored, rows, columns)]
    return H


def differences(fun, x, h, coloring, method, f0):
    """Return ``J @ diag(h) @ S``, a column for each color."""
    colors = coloring.colors
    products = np.empty((coloring.sparsity.shape[0], coloring.num_colors))
    if method == "2-point" and coloring.num_colors:
        f0 = fun(x) if f0 is None else np.asarray(f0, float)
        if f0.shape != products.shape[:1]:
            raise ValueError(f"f0 has shape {f0.shape}, and the sparsity {coloring.sparsity.shape}")
    for k in range(coloring.num_colors):
        step = np.where(colors == k, h, 0.0)
        if method == "2-point":
            products[:, k] = fun(x + step) - f0
        elif method == "3-point":
            products[:, k] = (fun(x + step) - fun(x - step)) / 2
        else:
            products[:, k] = fun(x + 1j * step).imag
    return products


def point(x):
    """Return x as a real array of floats."""
    x = numbers(x, "x")
    if x.dtype.kind == "c":
        raise ValueError("x must be real")
    return x.astype(float)


def check_point(x, n):
    """Raise ValueError unless x is a finite array of shape (n,)."""
    if x.shape != (n,):
        raise ValueError(f"x has shape {x.shape}, and the sparsity {n} columns: ({n},) is needed")
    if not np.isfinite(x).all():
        raise ValueError("x must not hold infinities or NaNs")


def colored(sparsity, structure):
    """Return a direct Coloring of this structure."""
    if not isinstance(sparsity, Coloring):
        return color(sparsity, structure)
    if sparsity.structure != structure or sparsity.method != "direct":
        raise ValueError(
            f"a direct coloring of structure {structure!r} is needed, not one of structure"
            f" {sparsity.structure!r} by {sparsity.method!r}"
        )
    return sparsity


def steps(x, method, rel_step, abs_step):
    """Return the step in each variable, rounded so that ``(x + h) - x == h``."""
    if method not in STEPS:
        raise ValueError(f"method must be one of {tuple(STEPS)}, not {method!r}")
    sign = np.where(x >= 0, 1.0, -1.0)
    if abs_step is not None:
        h = np.broadcast_to(np.asarray(abs_step, float), x.shape) * 1.0
    else:
        rel_step = np.finfo(float).eps ** STEPS[method] if rel_step is None else rel_step
        h = np.asarray(rel_step, float) * sign * np.maximum(1.0, abs(x))
    if method != "cs":
        h = (x + h) - x
    if not (np.isfinite(h) & (h != 0)).all():
        raise ValueError(f"the step in x[{np.argmin(np.isfinite(h) & (h != 0))}] vanishes")
    return h


def value(fun, x, args, m):
    """Return ``fun(x)``; raise ValueError unless it has m elements."""
    f = np.atleast_1d(np.asarray(fun(x, *args)))
    if f.shape != (m,):
        raise ValueError(f"the function returns the shape {f.shape}, and the sparsity has {m} rows")
    return f
