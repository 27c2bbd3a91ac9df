"""One call each: the methods of a SymmetricMatrix, for all that `from_sparse` takes."""

import pytensor.tensor as pt
from pytensor.sparse.variable import SparseVariable
from pytensor.tensor.variable import TensorVariable

from .._typing import WeakPivots
from ._matrix import MatrixLike, SymmetricMatrix
from ._sparse import from_sparse

Matrix = MatrixLike | SparseVariable


def logdet(Q: Matrix, *, weak_pivots: WeakPivots | None = None) -> TensorVariable:
    """Return log det Q.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `SymmetricMatrix`; by default what Q says.

    Returns
    -------
    TensorVariable, a scalar, or (...) of a batch
        NaN where Q is not positive definite. Differentiable any number of times.

    Notes
    -----
    The gradient is the partial inverse of Takahashi, Fagan and Chen (1973), from the same factor.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print(scpt.logdet(A).eval().round(6))
    2.944439
    """
    return _matrix(Q, weak_pivots).logdet()


def slogdet(
    Q: Matrix, *, weak_pivots: WeakPivots | None = None
) -> tuple[TensorVariable, TensorVariable]:
    """Return the sign and the logarithm of det Q, as `numpy.linalg.slogdet` does.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `SymmetricMatrix`; by default what Q says.

    Returns
    -------
    sign : TensorVariable, a scalar, or (...) of a batch
        One where Q is positive definite, NaN elsewhere.
    logabsdet : TensorVariable, a scalar, or (...) of a batch
        The same as `logdet`: NaN where Q is not positive definite.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> sign, logabsdet = scpt.slogdet(sp.csc_array([[4.0, 1.0], [1.0, 5.0]]))
    >>> print(sign.eval(), logabsdet.eval().round(6))
    1.0 2.944439
    """
    return _matrix(Q, weak_pivots).slogdet()


def solve(
    Q: Matrix,
    b: pt.TensorLike,
    *,
    b_ndim: int | None = None,
    weak_pivots: WeakPivots | None = None,
) -> TensorVariable:
    """Solve ``Q x = b``.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    b : (n,) or (..., n, k) tensor variable or array_like
    b_ndim : {None, 1, 2}, optional
        With 1 `b` is a batch of vectors, (..., n).
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `SymmetricMatrix`; by default what Q says.

    Returns
    -------
    x : TensorVariable of the shape of `b`
        NaN where Q is not positive definite. Differentiable any number of times, in Q and b.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print(scpt.solve(A, np.array([5.0, 6.0])).eval().round(6))
    [1. 1.]
    """
    return _matrix(Q, weak_pivots).solve(b, b_ndim=b_ndim)


def partial_inverse(Q: Matrix, *, weak_pivots: WeakPivots | None = None) -> TensorVariable:
    """Return the entries of Q^-1 on the pattern of Q.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `SymmetricMatrix`; by default what Q says.

    Returns
    -------
    TensorVariable, (..., len(Q.pattern.indices))
        The lower triangle, packed as the values of Q are. NaN where Q is not positive definite.
        Differentiable any number of times.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print((19 * scpt.partial_inverse(A)).eval().round(6))
    [ 5. -1.  4.]
    """
    return _matrix(Q, weak_pivots).partial_inverse()


def diag_inverse(Q: Matrix, *, weak_pivots: WeakPivots | None = None) -> TensorVariable:
    """Return the diagonal of Q^-1.

    Parameters
    ----------
    Q : SymmetricMatrix, or what `from_sparse` takes
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a nearly singular matrix, see `SymmetricMatrix`; by default what Q says.

    Returns
    -------
    TensorVariable, (..., n)
        NaN where Q is not positive definite. Differentiable any number of times.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> print((19 * scpt.diag_inverse(A)).eval().round(6))
    [5. 4.]
    """
    return _matrix(Q, weak_pivots).diag_inverse()


def _matrix(Q: Matrix, weak_pivots: WeakPivots | None) -> SymmetricMatrix:
    """Return Q as a matrix that does this with weak pivots."""
    Q = from_sparse(Q)
    return Q if weak_pivots is None else Q.with_weak_pivots(weak_pivots)
