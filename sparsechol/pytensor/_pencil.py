"""log det(A + t B) for all t of an interval, in PyTensor: the series of `logdet_pencil`."""

from collections.abc import Sequence

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from .._scipy.null_space import NullSpaceLike
from .._scipy.pencil import PencilSeries
from .._typing import MatrixLike
from . import _ops as ops


class LogdetPencil(PencilSeries):
    """Hold log det(A + t B) as a function of t; `logdet_pencil` makes it.

    Attributes
    ----------
    interval, ends, coefficients, error
        See `sparsechol.LogdetPencil`.
    """

    def __call__(self, t: pt.TensorLike) -> TensorVariable:
        """Build the graph of log det(A + t B): arithmetic, and nothing of our own.

        Parameters
        ----------
        t : tensor variable or array_like

        Returns
        -------
        TensorVariable of the shape of `t`
            NaN outside of the interval, with a gradient of zero.
        """
        [x] = ops.as_floats(t)
        return self._evaluate(x.astype("float64"), pt).astype(x.type.dtype)


def logdet_pencil(
    A: MatrixLike,
    B: MatrixLike,
    interval: Sequence[float],
    *,
    atol: float = 1e-8,
    null_space: NullSpaceLike | None = None,
) -> LogdetPencil:
    """Compute log det(A + t B) for all t of an interval, as a function that costs next to nothing.

    Parameters
    ----------
    A, B : (n, n) SciPy sparse array or matrix, or dense array
        Known values. The matrices are factored when the function is made.
    interval, atol, null_space
        As for `sparsechol.logdet_pencil`.

    Returns
    -------
    LogdetPencil

    Raises
    ------
    NotPositiveDefiniteError, ValueError
        As for `sparsechol.logdet_pencil`.

    Notes
    -----
    Differentiable any number of times in t.

    Examples
    --------
    >>> import scipy.sparse as sp, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> f = scpt.logdet_pencil(sp.eye_array(3), sp.diags_array([1.0, 2.0, 3.0]), (0, 10))
    >>> t = pt.dscalar("t")
    >>> print(pt.grad(f(t), t).eval({t: 1.0}).round(6))  # 1/2 + 2/3 + 3/4
    1.916667
    """
    return LogdetPencil(A, B, interval, atol, null_space)
