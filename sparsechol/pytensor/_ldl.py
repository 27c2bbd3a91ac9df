"""LDLFactor: a symbolic factor with pivots of both signs, and `ldl`, which makes it."""

import numpy as np
import pytensor.tensor as pt
from numpy.typing import ArrayLike

from .._cached import cached_property
from .._scipy.ldl_base import Inertia
from .._scipy.pivot_rule import PivotRule, pivot_rule
from .._typing import Regularize
from . import _ops as ops
from ._matrix import Factored, SymmetricMatrix, constant


class LDLFactor(Factored):
    """Signed factor of a `SymmetricMatrix`, ``P Q P^T = L D L^T``; made by `ldl`.

    D has the signs of the pivots on its diagonal, and so has the diagonal of L. All results are NaN
    where a pivot is zero or rounding, or the pivots are so unstable that no digit is right.

    Where pivots were replaced or the diagonal was shifted (``regularize=``), L is the factor of
    Q + E with a diagonal matrix E, and so is everything but `matrix` and ``solve(b, refine=k)``.
    Derivatives take E as a constant: they are those of Q + E at the values of Q.

    Attributes
    ----------
    pattern : SymbolicFactor
    values : TensorVariable
    shape : tuple of int
    dtype : str
        'float32' or 'float64'.
    """

    _solve = ops.SignedSolve

    def __init__(self, Q: SymmetricMatrix, rule: PivotRule):
        self.matrix = Q
        self._rule = rule
        self.pattern = Q.pattern
        self.values = Q.values

    def __repr__(self) -> str:
        return f"<LDLFactor of shape {self.shape}, values {self.values.type}>"

    @cached_property
    def _factor(self):
        """The factor L, as flat panels."""
        if self._rule.signs is None:
            return ops.SignedFactor(self.pattern)(self.values)
        return ops.FactorWithSigns(self.pattern, **self._limits)(*self._shifted)

    @property
    def _limits(self):
        """The rule of replacement, as operations take it."""
        return {"diagonal": self._rule.least, "below": self._rule.replacement}

    @cached_property
    def _shifted(self):
        """The values that are factored, and the signs."""
        rule, values = self._rule, pt.as_tensor_variable(self.values)
        signs = constant(np.asarray(rule.signs, dtype=values.type.dtype))
        if rule.shift:
            shift = np.zeros(self.pattern.indices.shape[0], values.type.dtype)
            shift[self.pattern.indptr[:-1]] = rule.shift * rule.signs
            values = values + constant(shift)
        return values, signs

    @property
    def regularized(self) -> pt.TensorVariable:
        """How many pivots were replaced, an integer; one for each matrix of a batch.

        Asking for it takes another factorization. `sparsechol.LDLFactor.regularized` has the rows.
        """
        if not self._rule.replacement:
            return pt.zeros_like(self._pivots[..., 0], dtype="int64")
        flags = ops.ReplacedPivots(self.pattern, **self._limits)(*self._shifted)
        return pt.sum(flags, axis=-1).astype("int64")

    @property
    def _pivots(self):
        """The diagonal of L, in the order of the matrix, without a derivative."""
        return pt.sign(ops.diagonal(self.pattern, self._factor))

    @property
    def ok(self) -> pt.TensorVariable:
        """True where the matrix has a factor; one boolean for each matrix of a batch."""
        return pt.all(~pt.isnan(self._pivots), axis=-1)

    @property
    def D(self) -> pt.TensorVariable:
        """Signs of the pivots, 1 or -1, in the order of ``pattern.perm``; NaN without a factor."""
        return self._pivots[..., constant(self.pattern.perm)]

    @property
    def inertia(self) -> Inertia[pt.TensorVariable]:
        """The numbers of positive and of negative eigenvalues; both are 0 where `ok` is False."""
        return Inertia((self._pivots > 0).sum(-1), (self._pivots < 0).sum(-1))

    def logabsdet(self) -> pt.TensorVariable:
        """Return log abs(det Q).

        Returns
        -------
        TensorVariable, a scalar or (...)
        """
        return ops.LogAbsDet(self.pattern)(self.values, self._factor)

    def slogdet(self) -> tuple[pt.TensorVariable, pt.TensorVariable]:
        """Return the sign of det Q and log abs(det Q).

        Returns
        -------
        sign, logabsdet : TensorVariable, scalars or (...)
        """
        return pt.prod(self._pivots, axis=-1), self.logabsdet()

    def solve(
        self, b: pt.TensorLike, *, refine: int = 0, b_ndim: int | None = None
    ) -> pt.TensorVariable:
        """Solve ``Q x = b``.

        Parameters
        ----------
        b : (n,) or (..., n, k) tensor variable or array_like
            Right-hand side, or one a column.
        refine : int, optional
            Steps of iterative refinement: a product with Q and a solve each. Of a regularized
            matrix Q + E they lead to the solution with Q itself.
        b_ndim : {None, 1, 2}, optional
            With 1 `b` is a batch of vectors, (..., n).

        Returns
        -------
        x : TensorVariable of the shape of `b`
        """
        x = super().solve(b, b_ndim=b_ndim)
        for _ in range(refine):
            residual = pt.as_tensor_variable(b) - self.matrix.matvec(x, x_ndim=b_ndim)
            x = x + super().solve(residual, b_ndim=b_ndim)
        return x


def ldl(
    Q: SymmetricMatrix, *, signs: ArrayLike | None = None, regularize: Regularize = None
) -> LDLFactor:
    """Factorize a symmetric matrix with pivots of both signs.

    For quasi-definite matrices, as the KKT matrices of quadratic programs, see `sparsechol.ldl`.
    There is no pivoting beyond the ordering of the pattern. All results are differentiable any
    number of times.

    Parameters
    ----------
    Q : SymmetricMatrix
    signs : (n,) array_like of 1 and -1, optional
        The sign of each pivot in the numbering of `Q`, a constant, the same for all matrices of a
        batch. A pivot of another sign is refused, or replaced by `regularize`.
    regularize : float or (float, float), optional
        ``delta``: factor ``Q + delta diag(signs)``. ``(eps, delta)``: a pivot that is not farther
        than eps on its side of zero becomes delta on that side; `LDLFactor.regularized` counts
        them. Needs `signs`. See `sparsechol.ldl`.

    Returns
    -------
    LDLFactor

    Raises
    ------
    ValueError
        If `signs` or `regularize` are not as above.

    Notes
    -----
    Of a regularized matrix Q + E the derivatives are those of the factor that was made, with E
    held constant: for ``delta`` that is exact, since E does not depend on Q. A replaced pivot does
    not move, while E would move with Q to keep it so; these derivatives move the pivot with Q
    instead, as they do for the pivots nearby that were not replaced.

    Examples
    --------
    >>> import numpy as np, sparsechol.pytensor as scpt
    >>> F = scpt.ldl(scpt.from_sparse(np.array([[4.0, 1.0], [1.0, -5.0]])))
    >>> print(F.solve(np.array([5.0, -4.0])).eval().round(6), F.inertia.negative.eval())
    [1. 1.] 1
    """
    return LDLFactor(Q, pivot_rule(Q.pattern.shape[0], signs, regularize, False))
