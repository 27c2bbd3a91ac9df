"""Scaling to variances of about one, so that priors of precisions mean the same in all models."""

import numpy as np
from scipy.sparse import csc_array, diags_array, issparse
from scipy.sparse.csgraph import connected_components

from .._scipy.functions import cholesky
from .._scipy.input import canonical
from ._matrices import tidy
from ._types import PrecisionModel


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
    This is the scaling factor of BYM2. The cost is that of one factorization and the diagonal of
    its inverse.

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
    Q = model.Q
    variances = cholesky(Q, null_space=model.null_space).diag_inverse()
    empty = abs(canonical(Q)).sum(axis=0) == 0
    logs = np.log(variances, where=~empty, out=np.full(Q.shape[0], np.inf))
    _, label = connected_components(Q, directed=False)
    return np.exp(np.bincount(label, logs) / np.bincount(label))[label]


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


def _without(basis, rows):
    """Drop columns that live on some rows alone."""
    sparse = canonical(csc_array(basis))
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
