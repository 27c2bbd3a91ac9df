"""Gaussian Markov random fields: the density and its marginal variances."""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from .._scipy.null_space import NullSpaceLike
from ._functions import Matrix
from ._matrix import SymmetricMatrix
from ._null_space import SemidefiniteFactor, cholesky
from ._sparse import from_sparse

Precision = Matrix | SemidefiniteFactor


def gmrf_logp(
    x: pt.TensorLike,
    mu: pt.TensorLike,
    Q: Precision,
    *,
    null_space: NullSpaceLike | None = None,
) -> TensorVariable:
    """Return the log density of the normal distribution with mean `mu` and precision matrix `Q`.

    Parameters
    ----------
    x : (..., n) tensor variable or array_like
        The point, or a batch of points.
    mu : () or (..., n) tensor variable or array_like
        The mean.
    Q : SymmetricMatrix, SemidefiniteFactor, or what `from_sparse` takes
        The precision matrix.
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', optional
        Of a semidefinite `Q`, see `cholesky`: the density of an intrinsic field, in which the
        rank of `Q` stands for n.

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
    return _field(Q, null_space).gmrf_logp(x, mu)


def marginal_variances(Q: Precision, *, null_space: NullSpaceLike | None = None) -> TensorVariable:
    """Return the variances of a normal distribution with precision matrix `Q`.

    Parameters
    ----------
    Q : SymmetricMatrix, SemidefiniteFactor, or what `from_sparse` takes
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', optional
        Of a semidefinite `Q`, see `cholesky`: the variances of the field orthogonal to the null
        space.

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
    return _field(Q, null_space).diag_inverse()


def _field(Q: Precision, null_space: NullSpaceLike | None) -> SymmetricMatrix | SemidefiniteFactor:
    """Return a matrix, or a factor of a semidefinite one."""
    if isinstance(Q, SemidefiniteFactor):
        if null_space is not None:
            raise TypeError("a factor is given: pass null_space= to the call of cholesky")
        return Q
    return from_sparse(Q) if null_space is None else cholesky(Q, null_space=null_space)
