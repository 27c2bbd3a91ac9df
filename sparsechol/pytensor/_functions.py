"""What is computed from a SymmetricMatrix."""

from math import log, pi
from typing import Any

import pytensor.tensor as pt

from . import _ops as ops
from ._matrix import SymmetricMatrix, as_vectors, on_columns
from ._sparse import from_sparse


def as_matrix(Q: Any) -> SymmetricMatrix:
    """What the functions here take."""
    return Q if isinstance(Q, SymmetricMatrix) else from_sparse(Q)


def logdet(Q: Any) -> pt.TensorVariable:
    """log det Q.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes

    Returns
    -------
    TensorVariable, a scalar
        NaN where Q is not positive definite. Differentiable any number of times.

    Notes
    -----
    The gradient is the partial inverse of Takahashi, Fagan and Chin (1973), from the same factor.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print(scpt.logdet(A).eval().round(6))
    2.944439
    """
    Q = as_matrix(Q)
    return ops.LogDet(Q.pattern)(Q.values, Q._factor)


def solve(Q: Any, b: Any) -> pt.TensorVariable:
    """Solve ``Q x = b``.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    b : (n,) or (n, k) tensor variable or array_like

    Returns
    -------
    x : TensorVariable of the shape of `b`
        NaN where Q is not positive definite. Differentiable any number of times, in both.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print(scpt.solve(A, np.array([5.0, 6.0])).eval().round(6))
    [1. 1.]
    """
    Q = as_matrix(Q)
    op = ops.Solve(Q.pattern)
    return on_columns(Q, b, "b", lambda b: op(Q.values, Q._factor, b))


def solve_triangular(Q: Any, b: Any, trans: Any = "N", permute: bool = True) -> pt.TensorVariable:
    """Solve with the Cholesky factor, ``P Q P^T = L L^T``.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    b : (n,) or (n, k) tensor variable or array_like
    trans : {'N', 'T', 0, 1}, optional
        ``L y = P b`` (default), or ``L^T P x = b``: of white noise b the latter is a draw with
        precision Q, a smooth function of its values (a non-centered parametrization).
    permute : bool, optional
        Whether P is applied; without it all is in the order of ``Q.pattern.perm``.

    Returns
    -------
    TensorVariable of the shape of `b`
        NaN where Q is not positive definite. Differentiable any number of times, in both.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.diags_array([4.0, 25.0])
    >>> print(scpt.solve_triangular(A, np.array([2.0, 5.0]), trans="T").eval().round(6))
    [1. 1.]
    """
    if trans not in ("N", "T", 0, 1):
        raise ValueError(f"trans must be 'N', 'T', 0 or 1, not {trans!r}")
    Q = as_matrix(Q)
    op = ops.SolveTriangular(Q.pattern, trans in ("N", 0), permute)
    return on_columns(Q, b, "b", lambda b: op(Q._factor, b))


def partial_inverse(Q: Any) -> pt.TensorVariable:
    """Entries of Q^-1 where Q has some.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes

    Returns
    -------
    TensorVariable, (len(Q.pattern.indices),)
        The lower triangle, packed as the values of Q are. NaN where Q is not positive definite.
        Differentiable any number of times.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print((19 * scpt.partial_inverse(A)).eval().round(6))
    [ 5. -1.  4.]
    """
    Q = as_matrix(Q)
    return ops.gather(Q.pattern, Q._panels_of_inverse)


def marginal_variances(Q: Any) -> pt.TensorVariable:
    """Diagonal of Q^-1, (n,): variances of the normal distribution with precision Q.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes

    Returns
    -------
    TensorVariable, (n,)
        As for `partial_inverse`.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print((19 * scpt.marginal_variances(A)).eval().round(6))
    [5. 4.]
    """
    Q = as_matrix(Q)
    return ops.diagonal(Q.pattern, Q._panels_of_inverse)


def gmrf_logp(Q: Any, x: Any, mu: Any = 0.0) -> pt.TensorVariable:
    """Log density of a Gaussian Markov random field.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
        The precision matrix.
    x : (n,) tensor variable or array_like
    mu : () or (n,) tensor variable or array_like, optional
        The mean.

    Returns
    -------
    TensorVariable, a scalar
        Log density of N(mu, Q^-1) at `x`, NaN where Q is not positive definite. Differentiable any
        number of times, in all of them.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> print(scpt.gmrf_logp(sp.eye_array(2), np.zeros(2)).eval().round(6))
    -1.837877
    """
    Q = as_matrix(Q)
    difference = as_vectors(Q, ops.as_floats(x)[0] - mu, "x - mu")
    if difference.type.ndim != 1:
        raise ValueError(
            f"x and mu give a difference of shape {difference.type.shape}: ({Q.shape[0]},) is"
            " needed (for a batch use vectorize_graph)"
        )
    constant = Q.shape[0] * log(2 * pi)
    return 0.5 * (logdet(Q) - constant - Q.quad_form(difference))
