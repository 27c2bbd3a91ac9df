"""Gaussian Markov random fields: the density and its marginal variances."""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from ._functions import Matrix, diag_inverse
from ._sparse import from_sparse


def gmrf_logp(x: pt.TensorLike, mu: pt.TensorLike, Q: Matrix) -> TensorVariable:
    """Return the log density of the normal distribution with mean `mu` and precision matrix `Q`.

    Parameters
    ----------
    x : (..., n) tensor variable or array_like
        The point, or a batch of points.
    mu : () or (..., n) tensor variable or array_like
        The mean.
    Q : SymmetricMatrix, or what `from_sparse` takes
        The precision matrix.

    Returns
    -------
    TensorVariable, a scalar, or (...) of a batch
        NaN where Q is not positive definite. Differentiable any number of times, in `x`, `mu` and
        `Q`.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> print(scpt.gmrf_logp(np.zeros(2), 0.0, sp.eye_array(2)).eval().round(6))
    -1.837877
    """
    return from_sparse(Q).gmrf_logp(x, mu)


def marginal_variances(Q: Matrix) -> TensorVariable:
    """Return the variances of a normal distribution with precision matrix `Q`.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes

    Returns
    -------
    TensorVariable, (..., n)
        The same as `diag_inverse`: NaN where Q is not positive definite.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print((19 * scpt.marginal_variances(A)).eval().round(6))
    [5. 4.]
    """
    return diag_inverse(Q)
