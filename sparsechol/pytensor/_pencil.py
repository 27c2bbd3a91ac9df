"""log det(A + t B) and log det(A + s B + t C) in PyTensor: series of `logdet_pencil`."""

from collections.abc import Sequence

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from .._scipy.null_space import NullSpaceLike
from .._scipy.pencil import PencilSeries
from .._scipy.pencil_pair import PencilPairSeries
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


class LogdetPencilPair(PencilPairSeries):
    """Hold log det(A + s B + t C) as a function of s and t; `logdet_pencil_pair` makes it.

    Attributes
    ----------
    box, ends, coefficients, error
        See `sparsechol.LogdetPencilPair`.
    """

    def __call__(self, s: pt.TensorLike, t: pt.TensorLike) -> TensorVariable:
        """Build the graph of log det(A + s B + t C): arithmetic, and nothing of our own.

        Parameters
        ----------
        s, t : tensor variable or array_like
            Of shapes that broadcast.

        Returns
        -------
        TensorVariable
            NaN outside of the box, with a gradient of zero.
        """
        s, t = pt.broadcast_arrays(*ops.as_floats(s, t))
        value = self._evaluate(s.astype("float64"), t.astype("float64"), pt)
        return value.astype(s.type.dtype)


def logdet_pencil_pair(
    A: MatrixLike,
    B: MatrixLike,
    C: MatrixLike,
    box: Sequence[Sequence[float]],
    *,
    atol: float = 1e-8,
    null_space: NullSpaceLike | None = None,
) -> LogdetPencilPair:
    """Compute log det(A + s B + t C) for a box, as a function that costs next to nothing.

    Parameters
    ----------
    A, B, C : (n, n) SciPy sparse array or matrix, or dense array
        Known values. The matrices are factored when the function is made.
    box, atol, null_space
        As for `sparsechol.logdet_pencil_pair`.

    Returns
    -------
    LogdetPencilPair

    Raises
    ------
    NotPositiveDefiniteError, ValueError
        As for `sparsechol.logdet_pencil_pair`.

    Notes
    -----
    Differentiable any number of times in s and t.

    Examples
    --------
    >>> import scipy.sparse as sp, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> B, C = sp.diags_array([1.0, 2.0, 3.0]), sp.diags_array([1.0, 0.0, 1.0])
    >>> f = scpt.logdet_pencil_pair(sp.eye_array(3), B, C, ((0, 10), (0, 10)))
    >>> s, t = pt.dscalars("s", "t")
    >>> print(pt.grad(f(s, t), s).eval({s: 1.0, t: 1.0}).round(6))  # 1/3 + 2/3 + 3/5
    1.6
    """
    return LogdetPencilPair(A, B, C, box, atol, null_space)
