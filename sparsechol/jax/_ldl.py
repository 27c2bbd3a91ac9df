"""Define LDLFactor, a signed factorization as a pytree, and `ldl`, which makes it."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._scipy.ldl_base import Inertia
from . import _primitives as primitives
from ._factor import FactorBase, require_known
from ._matrix import SymmetricMatrix


@jax.tree_util.register_pytree_with_keys_class
class LDLFactor(FactorBase):
    """Signed factor of a `SymmetricMatrix`, ``P A P^T = L D L^H``; made by `ldl`.

    D has the signs of the pivots on its diagonal, and so has the diagonal of L. It is a pytree with
    two leaves, the values of A and the factor; the pattern is static. Every method is
    differentiable any number of times in the values of A (and in b), in both modes, and `jax.vmap`
    batches it. No derivative factors a matrix again.

    Attributes
    ----------
    pattern : SymbolicFactor
    shape : tuple of int
    dtype : dtype
    """

    _signed = True

    def solve(self, b: ArrayLike, *, refine: int = 0) -> jax.Array:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like
            Real or complex. The solution has the precision of the factor.
        refine : int, optional
            Steps of iterative refinement: a product with A and a solve each.

        Returns
        -------
        x : jax.Array of the shape of `b`
        """
        x, A = super().solve(b), self.matrix
        for _ in range(refine):
            x = x + super().solve(jnp.asarray(b) - A @ x)
        return x

    @property
    def _pivots(self) -> jax.Array:
        """The diagonal of L in the order of A."""
        return primitives.diagonal_call(self.pattern, self._l)

    @property
    def D(self) -> jax.Array:
        """Signs of the pivots, 1 or -1, in the order of ``pattern.perm``; NaN without a factor."""
        return jnp.sign(self._pivots)[..., self.pattern.perm]

    @property
    def inertia(self) -> Inertia[jax.Array]:
        """The numbers of positive and of negative eigenvalues; both are 0 where `ok` is False."""
        pivots = self._pivots
        return Inertia((pivots > 0).sum(-1), (pivots < 0).sum(-1))

    def logabsdet(self) -> jax.Array:
        """Return log abs(det A), a real scalar.

        Returns
        -------
        jax.Array, a scalar
        """
        return primitives.logdet_call(self.pattern, self._checked(), self._l, signed=True)

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """Return the sign of det A and log abs(det A).

        Returns
        -------
        sign : jax.Array
            1 or -1, of the type of A; NaN where there is no factor.
        logabsdet : jax.Array
            A real scalar.
        """
        return jnp.prod(jnp.sign(self._pivots), axis=-1).astype(self.dtype), self.logabsdet()


def ldl(M: SymmetricMatrix, *, check: bool = False) -> LDLFactor:
    """Factorize a symmetric (Hermitian) matrix with pivots of both signs.

    For quasi-definite matrices, as the KKT matrices of quadratic programs, see `sparsechol.ldl`.
    There is no pivoting beyond the ordering of the pattern.

    Parameters
    ----------
    M : SymmetricMatrix
    check : bool, optional
        Raise if `M` has no factor; possible outside of transformations. By default the factor is
        NaN where a pivot is zero or rounding, or the pivots are so unstable that no digit is right;
        everything computed from it is NaN, and ``LDLFactor.ok`` is False.

    Returns
    -------
    LDLFactor

    Raises
    ------
    PivotError
        With ``check=True``; the error names the row and column of the matrix.
    ValueError, TypeError
        If the values do not fit the pattern, or ``check=True`` inside a transformation.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, -5.0]]))
    >>> F = scj.ldl(scj.SymmetricMatrix(P, jnp.array([4.0, 1.0, -5.0])))
    >>> print(F.solve(jnp.array([5.0, -4.0])).round(4), F.ok, F.inertia.negative)
    [1. 1.] True 1
    """
    a, P = M.checked(), M.pattern
    if check:
        require_known(a, "LDLFactor")
    F = LDLFactor(P, a, primitives.ldl_call(P, jax.lax.stop_gradient(a)))
    if check and not F.ok:
        P.ldl(np.asarray(a))  # raises, and says what and where
    return F
