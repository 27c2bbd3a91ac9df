"""Scaling to variances of about one, so that priors of precisions mean the same in all models."""

import numpy as np
from scipy.linalg import orth
from scipy.sparse import csc_array, diags_array, issparse
from scipy.sparse.csgraph import connected_components

from .._scipy.functions import cholesky
from ._matrices import pivot_rows, tidy
from ._types import PrecisionModel

ROUNDING = 1e-8  # of entries of Q times those of its null space


def generalized_variances(model: PrecisionModel) -> np.ndarray:
    """Compute the generalized variance of each connected component of a model.

    Parameters
    ----------
    model : PrecisionModel

    Returns
    -------
    (n,) ndarray
        For each row the generalized variance of the component that it is in: the geometric mean of
        the variances under the constraint, which are the diagonal of the pseudo-inverse of Q. It is
        infinite where a row is empty.

    Raises
    ------
    ValueError
        If ``Q V`` is not zero for the null space V.
    NotPositiveDefiniteError
        If the null space is larger than V, or Q has a negative eigenvalue.

    See Also
    --------
    scale : Scale a model to generalized variance one.

    Notes
    -----
    This is the scaling factor of BYM2. Of a component that is singular, k rows are left out, the
    rest is factored, and the null space is projected out of its inverse.

    References
    ----------
    Sorbye, S. and Rue, H. (2014). Scaling intrinsic Gaussian Markov random field priors in spatial
    modelling. Spatial Statistics 8.

    Examples
    --------
    >>> from sparsechol.models import generalized_variances, rw1
    >>> generalized_variances(rw1(3)).round(6)  # variances 5/9, 2/9 and 5/9
    array([0.409337, 0.409337, 0.409337])
    """
    Q, V = model.Q, model.null_space
    V = None if V is None else csc_array(V)
    _check_null_space(Q, V)
    result = np.empty(Q.shape[0])
    for rows in _components(Q):
        if rows.size == 1:
            [q] = Q[rows, rows]
            result[rows] = 1 / q if q else np.inf
            continue
        basis = None if V is None else _own_columns(V[rows])
        diagonal = _diagonal_of_pseudo_inverse(csc_array(Q[rows][:, rows]), basis)
        result[rows] = np.exp(np.log(diagonal).mean())
    return result


def scale(model: PrecisionModel) -> PrecisionModel:
    """Scale each connected component of a model to generalized variance one.

    Parameters
    ----------
    model : PrecisionModel

    Returns
    -------
    PrecisionModel
        The geometric mean of the variances under the constraint, the diagonal of the
        pseudo-inverse of Q, is one in each component. An isolated vertex with an empty row becomes
        independent with variance one; its column of the null space and its constraint are dropped.

    Raises
    ------
    ValueError, NotPositiveDefiniteError
        As for `generalized_variances`.

    References
    ----------
    * Sorbye, S. and Rue, H. (2014). Scaling intrinsic Gaussian Markov random field priors in
      spatial modelling. Spatial Statistics 8.
    * Freni-Sterrantino, A., Ventrucci, M. and Rue, H. (2018). A note on intrinsic conditional
      autoregressive models for disconnected graphs. Spat. Spatio-temporal Epidemiol. 26.

    Examples
    --------
    >>> from sparsechol.models import rw1, scale
    >>> scale(rw1(3)).Q.toarray().round(6)
    array([[ 0.409337, -0.409337,  0.      ],
           [-0.409337,  0.818674, -0.409337],
           [ 0.      , -0.409337,  0.409337]])
    """
    variances = generalized_variances(model)
    isolated = np.isinf(variances)
    factors = np.sqrt(np.where(isolated, 0.0, variances))
    Q = diags_array(factors) @ model.Q @ diags_array(factors) + diags_array(isolated.astype(float))
    null_space, constraint = model.null_space, model.constraint
    if isolated.any():
        null_space = _without(null_space, isolated)
        constraint = None if constraint is None else _without(constraint.T, isolated)
        constraint = None if constraint is None else constraint.T
    return PrecisionModel(tidy(Q), null_space, constraint)


def _components(Q):
    """Return the rows of each connected component."""
    count, label = connected_components(Q, directed=False)
    order = np.argsort(label, kind="stable")
    return np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1])


def _own_columns(V):
    """Return an orthonormal basis of what the columns span on the rows of a component."""
    used = np.diff(csc_array(V).indptr) > 0
    basis = orth(csc_array(V)[:, used].toarray()) if used.any() else np.empty((V.shape[0], 0))
    return basis if basis.shape[1] else None


def _diagonal_of_pseudo_inverse(Q, V):
    """Return the diagonal of the pseudo-inverse; V is an orthonormal basis of the null space.

    With W, the inverse of Q without k rows on which V is invertible, it is ``diag(P W P)``, and
    ``P = I - V V^T``.
    """
    if V is None:
        return cholesky(Q).diag_inverse()
    rest = np.setdiff1d(np.arange(Q.shape[0]), pivot_rows(V))
    F = cholesky(csc_array(Q[rest][:, rest]))
    diagonal, WV = np.zeros(Q.shape[0]), np.zeros(V.shape)
    diagonal[rest], WV[rest] = F.diag_inverse(), F.solve(V[rest])
    return diagonal - 2 * (WV * V).sum(axis=1) + (V @ (V.T @ WV) * V).sum(axis=1)


def _check_null_space(Q, V):
    """Raise ValueError unless Q V is zero but for rounding."""
    if V is None:
        return
    if V.shape[0] != Q.shape[0]:
        raise ValueError(f"the null space of a matrix of shape {Q.shape} has shape {V.shape}")
    product, size = abs(Q @ V), abs(Q) @ abs(V)
    wrong = (product > ROUNDING * size).tocoo()
    if wrong.nnz:
        row, column = (index[0] for index in wrong.coords)
        raise ValueError(
            f"column {column} of the null space is not in the null space of Q: row {row} of their"
            f" product is {(Q @ V)[row, column]:g}"
        )


def _without(basis, rows):
    """Drop columns that live on some rows alone."""
    sparse = csc_array(basis)
    inside = np.asarray((abs(sparse[rows]) > 0).sum(axis=0)).ravel()
    total = np.asarray((abs(sparse) > 0).sum(axis=0)).ravel()
    mixed = np.flatnonzero((inside > 0) & (inside < total))
    if mixed.size:
        raise ValueError(
            f"column {mixed[0]} of the null space or constraint mixes isolated vertices with"
            " others: give these vertices columns of their own"
        )
    kept = np.flatnonzero(inside == 0)
    if not kept.size:
        return None
    return csc_array(sparse[:, kept]) if issparse(basis) else basis[:, kept]
