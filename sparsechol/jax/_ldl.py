"""Define LDLFactor, a signed factorization as a pytree, and `ldl`, which makes it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing
from jax.typing import ArrayLike

from .._scipy.ldl_base import Inertia
from .._scipy.pivot_rule import pivot_rule
from .._scipy.symbolic_factor import SymbolicFactor
from .._typing import Regularize
from . import _primitives as primitives
from ._factor import FactorBase, require_known
from ._matrix import SymmetricMatrix


class SignRule(NamedTuple):
    """Which pivots are taken, hashable: as `PivotRule`, with the signs as bytes."""

    signs: bytes | None
    least: float
    replacement: float
    shift: float

    @classmethod
    def read(cls, n: int, signs: Any, regularize: Regularize) -> "SignRule":
        """Read the options of `ldl`, or raise ValueError."""
        rule = pivot_rule(n, signs, regularize, False)
        stored = None if rule.signs is None else rule.signs.tobytes()
        return cls(stored, rule.least, rule.replacement, rule.shift)

    def _operands(self, pattern, a):
        """Return what is factored and the signs, as constants."""
        a = jax.lax.stop_gradient(a)
        signs = np.frombuffer(self.signs or b"", np.int8).astype(np.finfo(a.dtype).dtype)
        if self.shift:
            a = a.at[..., pattern.indptr[:-1]].add((self.shift * signs).astype(a.dtype))
        return a, jnp.broadcast_to(signs, (*(1,) * (a.ndim - 1), len(signs)))

    def factor(self, pattern: SymbolicFactor, a: jax.Array) -> jax.Array:
        """Return the flat panels of L."""
        if self.signs is None:
            return primitives.ldl_call(pattern, jax.lax.stop_gradient(a))
        a, signs = self._operands(pattern, a)
        return primitives.ldl_signs_call(pattern, a, signs, self.least, self.replacement)

    def replaced(self, pattern: SymbolicFactor, a: jax.Array) -> jax.Array:
        """Return 1 for each row whose pivot was replaced, 0 for the others."""
        if not self.replacement:
            return jnp.zeros((*a.shape[:-1], pattern.shape[0]))
        a, signs = self._operands(pattern, a)
        return primitives.replaced_pivots_call(pattern, a, signs, self.least, self.replacement)


@jax.tree_util.register_pytree_with_keys_class
class LDLFactor(FactorBase):
    """Signed factor of a `SymmetricMatrix`, ``P A P^T = L D L^H``; made by `ldl`.

    D has the signs of the pivots on its diagonal, and so has the diagonal of L. It is a pytree with
    two leaves, the values of A and the factor; the pattern is static. Every method is
    differentiable any number of times in the values of A (and in b), in both modes, and `jax.vmap`
    batches it. No derivative factors a matrix again.

    Where pivots were replaced or the diagonal was shifted (``regularize=``), L is the factor of
    A + E with a diagonal matrix E, and so is everything but `matrix` and ``solve(b, refine=k)``.
    Derivatives take E as a constant: they are those of A + E at the values of A.

    Attributes
    ----------
    pattern : SymbolicFactor
    shape : tuple of int
    dtype : dtype
    """

    _signed = True

    def __init__(
        self, pattern: SymbolicFactor, values: jax.Array, factor: jax.Array, rule: SignRule
    ):
        super().__init__(pattern, values, factor)
        self._rule = rule

    def tree_flatten_with_keys(self):
        """Return the leaves with their names, and what is static, as JAX asks for them."""
        leaves, pattern = super().tree_flatten_with_keys()
        return leaves, (pattern, self._rule)

    @classmethod
    def tree_unflatten(cls, static, leaves):
        """Make an object from what `tree_flatten_with_keys` returns."""
        pattern, rule = static
        values, factor = leaves
        return cls(pattern, values, factor, rule)

    @property
    def regularized(self) -> jax.Array:
        """How many pivots were replaced: an integer, without a derivative.

        Asking for it takes another factorization. `sparsechol.LDLFactor.regularized` has the rows.
        """
        return self._rule.replaced(self.pattern, self._a).sum(-1).astype(int)

    def solve(self, b: ArrayLike, *, refine: int = 0) -> jax.Array:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like
            Real or complex. The solution has the precision of the factor.
        refine : int, optional
            Steps of iterative refinement: a product with A and a solve each. Of a regularized
            matrix A + E they lead to the solution with A itself.

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


def ldl(
    M: SymmetricMatrix,
    *,
    signs: np.typing.ArrayLike | None = None,
    regularize: Regularize = None,
    check: bool = False,
) -> LDLFactor:
    """Factorize a symmetric (Hermitian) matrix with pivots of both signs.

    For quasi-definite matrices, as the KKT matrices of quadratic programs, see `sparsechol.ldl`.
    There is no pivoting beyond the ordering of the pattern.

    Parameters
    ----------
    M : SymmetricMatrix
    signs : (n,) array_like of 1 and -1, optional
        The sign of each pivot in the numbering of `M`, known when the program is traced: the same
        for all matrices of a batch. A pivot of another sign is refused, or replaced by
        `regularize`.
    regularize : float or (float, float), optional
        ``delta``: factor ``A + delta diag(signs)``. ``(eps, delta)``: a pivot that is not farther
        than eps on its side of zero becomes delta on that side; `LDLFactor.regularized` counts
        them. Needs `signs`. See `sparsechol.ldl`.
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
        If the values do not fit the pattern, `signs` or `regularize` are not as above, or
        ``check=True`` inside a transformation.

    Notes
    -----
    Of a regularized matrix A + E the derivatives are those of the factor that was made, with E
    held constant: for ``delta`` that is exact, since E does not depend on A. A replaced pivot does
    not move, while E would move with A to keep it so; these derivatives move the pivot with A
    instead, as they do for the pivots nearby that were not replaced.

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
    rule = SignRule.read(P.shape[0], signs, regularize)
    F = LDLFactor(P, a, rule.factor(P, a), rule)
    if check and not F.ok:
        P.ldl(np.asarray(a), signs=signs, regularize=regularize)  # raises, and says what and where
    return F
