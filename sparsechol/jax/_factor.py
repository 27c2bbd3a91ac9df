"""Define Factor, a Cholesky factorization as a pytree, and `cholesky`, which makes it."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._scipy.null_space import NullSpace, NullSpaceLike
from .._scipy.pivots import EPS, accepts_weak
from .._scipy.quadratic import TRIANGLE_COST, pairs_of, rows_in_inverse
from .._scipy.single_factor import fewest_columns, places_in_inverse
from .._scipy.symbolic_factor import SymbolicFactor
from .._typing import Entries, Trans, WeakPivots
from . import _primitives as primitives
from ._compat import is_concrete
from ._conditioned import Conditioned
from ._low_rank import LowRankFactor, LowRankMatrix, read_correction
from ._matrix import SymmetricMatrix, as_vectors, static_entries
from ._rows import StaticRows, read_static_rows
from ._semidefinite import SemidefiniteFactor, annihilates


class FactorBase:
    """What the factors of both kinds have in common: a pytree of the values of A and the factor."""

    _signed: ClassVar[bool]  # whether pivots have signs

    def __init__(self, pattern: SymbolicFactor, values: jax.Array, factor: jax.Array):
        # The factor has no derivative of its own: `_l` stops it, `attach` gives it one through A.
        self.pattern = pattern
        self._a = values
        self._leaf = factor

    def tree_flatten_with_keys(self):
        """Return the leaves with their names, and the pattern, as JAX asks for them."""
        keys = map(jax.tree_util.GetAttrKey, ("values", "factor"))
        return tuple(zip(keys, (self._a, self._leaf), strict=True)), self.pattern

    @classmethod
    def tree_unflatten(cls, pattern, leaves):
        """Make an object from what `tree_flatten_with_keys` returns."""
        return cls(pattern, *leaves)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.pattern.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self._a.dtype

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of shape {self.shape}, values {jax.typeof(self._a)}>"

    @property
    def matrix(self) -> SymmetricMatrix:
        """The matrix that was factored."""
        return SymmetricMatrix(self.pattern, self._a)

    @property
    def ok(self) -> jax.Array:
        """True where the matrix has a factor; one boolean for each matrix of a batch."""
        if self.shape[0] == 0:
            return jnp.ones(self._l.shape[:-1], bool)
        return jnp.isfinite(self._l[..., 0])

    @property
    def rcond(self) -> jax.Array:
        """Reciprocal condition number in the 1-norm, after scaling to a unit diagonal; estimated.

        A real scalar, one for each matrix of a batch; NaN where `ok` is False. The relative error
        of a solution is about ``eps / rcond``: where it is at most 16 eps the SciPy face warns. It
        takes a few solves. It has no derivative: it is a constant, as `jax.lax.stop_gradient` makes
        one. See `sparsechol.CholeskyFactor.rcond`.
        """
        return primitives.rcond_call(self.pattern, self._leaf, self._a)

    @property
    def _l(self) -> jax.Array:
        """The flat panels of L, as a constant."""
        return jax.lax.stop_gradient(self._leaf)

    @property
    def _attached(self) -> jax.Array:
        """The flat panels of L, as a function of A."""
        return primitives.attach_call(self.pattern, self._checked(), self._l, self._signed)

    def _checked(self) -> jax.Array:
        """Return the values of A, or raise ValueError if this is a batch."""
        if self._a.ndim != 1:
            raise ValueError(
                f"the factor is a batch of shape {self._a.shape[:-1]}: use its methods under"
                " jax.vmap"
            )
        return self._a

    def solve(self, b: ArrayLike) -> jax.Array:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like
            Real or complex. The solution has the precision of the factor.

        Returns
        -------
        x : jax.Array of the shape of `b`
        """
        a, l = self._checked(), self._l
        P, signed = self.pattern, self._signed
        return on_columns(b, self, lambda x: primitives.solve_call(P, a, l, x, signed))

    def solve_triangular(
        self, b: ArrayLike, *, trans: Trans = "N", permute: bool = True
    ) -> jax.Array:
        """Solve with the factor L, its transpose L^T or its adjoint L^H.

        Parameters
        ----------
        b : (n,) or (n, k) array_like
        trans : {'N', 'T', 'C', 0, 1, 2}, optional
            The system: ``L y = P b`` (default), ``L^T P x = b``, or ``L^H P x = b``.
        permute : bool, optional
            Apply the permutation P. Without it vectors are in the order of ``pattern.perm``.

        Returns
        -------
        jax.Array of the shape of `b`
        """
        if trans not in ("N", "T", "C", 0, 1, 2):
            raise ValueError(f"trans must be 'N', 'T', 'C', 0, 1 or 2, not {trans!r}")
        lower, plain = trans in ("N", 0), trans in ("T", 1)
        l = self._attached

        def apply(x):
            if plain:
                x = jnp.conj(x)
            x = primitives.solve_triangular_call(self.pattern, l, x, lower, bool(permute))
            return jnp.conj(x) if plain else x

        return on_columns(b, self, apply)

    def partial_inverse(self, *, entries: Entries = "matrix") -> jax.Array:
        """Compute entries of A^-1 where A, or L, has entries.

        Parameters
        ----------
        entries : {'matrix', 'factor'}, optional
            The entries to return, those of A or those of L.

        Returns
        -------
        values : jax.Array
            'matrix': the lower triangle, packed like the values of A. 'factor': the entries in the
            order of ``pattern.factor_pattern()``, with rows and columns permuted like those of L.
        """
        if entries not in ("matrix", "factor"):
            raise ValueError(f"entries must be 'matrix' or 'factor', not {entries!r}")
        if entries == "matrix":
            return primitives.gathered_inverse_call(self.pattern, self._attached)
        s = primitives.partial_inverse_call(self.pattern, self._attached)
        return primitives.entries_call(self.pattern, s)

    def diag_inverse(self) -> jax.Array:
        """Compute the diagonal of A^-1, (n,) and real.

        Returns
        -------
        (n,) jax.Array
        """
        s = primitives.partial_inverse_call(self.pattern, self._attached)
        return primitives.diagonal_call(self.pattern, s)

    def inverse_entries(self, rows: ArrayLike, columns: ArrayLike) -> jax.Array:
        """Compute any entries of A^-1, also outside every pattern.

        Parameters
        ----------
        rows, columns : array_like of int, static
            Broadcast against each other; negative numbers count from the end.

        Returns
        -------
        jax.Array of the broadcast shape

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.

        Notes
        -----
        See `sparsechol.CholeskyFactor.inverse_entries`: entries on the pattern of L come from one
        partial inverse if that is cheaper than one solve for each distinct column or row.
        """
        P = self.pattern
        rows, columns = static_entries(rows, columns, self.shape[0])
        shape, row, column = rows.shape, rows.ravel(), columns.ravel()
        place, inside = places_in_inverse(P, row, column)
        out = jnp.zeros(row.size, self.dtype)
        if inside.any():
            s = primitives.partial_inverse_call(P, self._attached)
            out = out.at[inside].set(read_places(s, place[inside]))
        if not inside.all():
            out = out.at[~inside].set(self._entries_by_solves(row[~inside], column[~inside]))
        return out.reshape(shape)

    def _entries_by_solves(self, row, column):
        """Compute entries of the inverse by one solve for each distinct column or row."""
        mirrored, row, distinct, which = fewest_columns(row, column)
        unit = jnp.zeros((self.shape[0], distinct.size), self.dtype)
        x = self.solve(unit.at[distinct, np.arange(distinct.size)].set(1))[row, which]
        return x.conj() if mirrored else x

    def inverse_quadratic(self, B: Any) -> jax.Array:
        """Compute ``b A^-1 b^H`` for each row b of B: the variances of B x, x of N(0, A^-1).

        Parameters
        ----------
        B : (n,) or (m, n) array_like, SciPy sparse array or matrix, BCOO or BCSR
            Places that a sparse array lacks, and zeros in an array that is known, cost nothing. So
            a `sparse_jacobian` of the format 'bcsr' is used as it is, also under `jax.jit`.

        Returns
        -------
        () or (m,) real jax.Array
            Differentiable in the values of A and in the numbers of B.

        Raises
        ------
        ValueError
            If the shape does not fit.

        Notes
        -----
        See `sparsechol.CholeskyFactor.inverse_quadratic`. All rows of a traced array, and of a
        sparse one with traced indices, are solved for.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
        >>> P = scj.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> F = scj.cholesky(scj.SymmetricMatrix(P, jnp.array([2.0, 1.0, 2.0])))
        >>> print(F.inverse_quadratic([[1.0, 0.0], [1.0, -1.0]]).round(4))
        [0.6667 2.    ]
        """
        rows, shape = read_static_rows(B, self.shape[0])
        if not isinstance(rows, StaticRows):
            columns = rows.conj().T
            return (columns.conj() * self.solve(columns)).real.sum(axis=0).reshape(shape)
        P, pattern = self.pattern, rows.pattern
        b = rows.values.astype(jnp.result_type(rows.values, self.dtype))
        inside = rows_in_inverse(P, pattern, 2 * TRIANGLE_COST * P.nnz)
        out = jnp.zeros(pattern.shape[0], b.real.dtype)
        if pattern[inside].nnz:
            pairs = pairs_of(P, pattern, np.flatnonzero(inside))
            s = primitives.partial_inverse_call(P, self._attached)
            entries = read_places(s, pairs.place)
            terms = (b[pairs.left] * entries * b[pairs.right].conj()).real
            out = out.at[pairs.row].add(pairs.weight * terms)
        rest = np.flatnonzero(~inside)
        if rest.size:
            columns = rows.dense(b, rest).conj().T
            terms = columns.conj() * self.solve(columns)
            out = out.at[rest].set(terms.real.sum(axis=0))
        return out.reshape(shape)

    @property
    def L(self) -> jax.Array:
        """Entries of L by column, in the order of ``pattern.factor_pattern()``."""
        return primitives.entries_call(self.pattern, self._attached)


@jax.tree_util.register_pytree_with_keys_class
class Factor(FactorBase):
    """Cholesky factor of a `SymmetricMatrix`, ``P A P^T = L L^H``; made by `cholesky`.

    It is a pytree with two leaves, the values of A and the factor; the pattern is static. Every
    method is differentiable any number of times in the values of A (and in b), in both modes, and
    `jax.vmap` batches it. No derivative factors a matrix again.

    Attributes
    ----------
    pattern : SymbolicFactor
    shape : tuple of int
    dtype : dtype
    """

    _signed = False

    def logdet(self) -> jax.Array:
        """Return log det A, a real scalar.

        Returns
        -------
        jax.Array, a scalar
        """
        return primitives.logdet_call(self.pattern, self._checked(), self._l)

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """Return the sign of det A and log abs(det A).

        Returns
        -------
        sign : jax.Array
            One, of the type of A; NaN where A is not positive definite.
        logabsdet : jax.Array
            A real scalar.
        """
        return with_sign(self.logdet(), self.dtype)

    def sample(self, key: jax.Array, *, shape: tuple[int, ...] | int = ()) -> jax.Array:
        """Draw from the normal distribution with mean zero and precision matrix A.

        Parameters
        ----------
        key : random key
        shape : int or tuple of int, optional
            Shape of the draws.

        Returns
        -------
        x : jax.Array of shape ``(*shape, n)``
            ``P^T L^-H z`` with standard normal z, a smooth function of the values of A.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        n = self.shape[0]
        z = jax.random.normal(key, (math.prod(shape), n), self.dtype)
        return self.solve_triangular(z.T, trans="C").T.reshape(*shape, n)

    def condition(self, C: ArrayLike, e: ArrayLike = 0.0) -> Conditioned:
        """Condition a field with precision matrix A on linear constraints ``C x = e``.

        Parameters
        ----------
        C : (n,) or (m, n) array_like or SciPy sparse matrix
            A row for each constraint.
        e : () or (m,) array_like, optional

        Returns
        -------
        Conditioned

        Raises
        ------
        ValueError, TypeError
            As for `sparsechol.CholeskyFactor.condition`, where `C` is not traced; dependent rows of
            a traced `C` give NaN.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
        >>> Q = scj.SymmetricMatrix(scj.analyze(np.eye(2)), jnp.ones(2))
        >>> print(scj.cholesky(Q).condition(jnp.ones(2), 4.0).mean())
        [2. 2.]
        """
        return Conditioned.of(self, self._checked(), self.logdet(), None, C, e)

    def with_low_rank(self, C: ArrayLike, D: ArrayLike | None = None) -> LowRankFactor:
        """Return ``A + C D C^H`` as this factor and a correction beside it.

        Parameters
        ----------
        C : (n,) or (n, k) array_like
        D : (k,) or (k, k) array_like, optional
            Weights, one for each column, or a symmetric (Hermitian) matrix; of any sign. By default
            the identity.

        Returns
        -------
        LowRankFactor

        Raises
        ------
        ValueError, TypeError
            If shapes or types do not fit.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
        >>> F = scj.cholesky(scj.SymmetricMatrix(scj.analyze(np.eye(4)), jnp.ones(4)))
        >>> print(F.with_low_rank(jnp.ones(4)).solve(jnp.array([5.0, 0.0, 0.0, 0.0])).round(4))
        [ 4. -1. -1. -1.]
        """
        self._checked()
        return LowRankFactor(self, *read_correction(self, C, D))


def read_places(panels: jax.Array, place: np.ndarray) -> jax.Array:
    """Read entries at places in flat panels, complemented where the mirror image is stored."""
    found = panels[np.where(place < 0, ~place, place)]
    return jnp.where(place < 0, found.conj(), found)


def require_known(values: jax.Array, factor: str) -> None:
    """Raise ValueError if ``check=True`` cannot be had: the values are traced."""
    if not is_concrete(values):
        raise ValueError(
            f"check=True needs values that are known: inside jit, grad or vmap look at {factor}.ok"
        )


@overload
def cholesky(
    M: SymmetricMatrix,
    *,
    null_space: None = None,
    check: bool = False,
    weak_pivots: WeakPivots = "refuse",
) -> Factor: ...
@overload
def cholesky(
    M: SymmetricMatrix,
    *,
    null_space: NullSpaceLike,
    check: bool = False,
    weak_pivots: WeakPivots = "refuse",
) -> SemidefiniteFactor: ...
@overload
def cholesky(
    M: LowRankMatrix,
    *,
    null_space: None = None,
    check: bool = False,
    weak_pivots: WeakPivots = "refuse",
) -> LowRankFactor: ...
def cholesky(
    M: SymmetricMatrix | LowRankMatrix,
    *,
    null_space: NullSpaceLike | None = None,
    check: bool = False,
    weak_pivots: WeakPivots = "refuse",
) -> Factor | SemidefiniteFactor | LowRankFactor:
    """Factorize a symmetric (Hermitian) positive definite matrix.

    Parameters
    ----------
    M : SymmetricMatrix, or the LowRankMatrix that `laplace` may return
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', static, optional
        The null space of a positive semidefinite matrix, see `sparsechol.cholesky`. The result is
        NaN where the values do not vanish on it, or vanish on more. Make a `sparsechol.NullSpace`
        once where the function is traced or called many times.
    check : bool, optional
        Raise if `M` is not positive definite; possible outside of transformations. By default the
        factor of such a matrix is NaN, everything computed from it is NaN, and ``Factor.ok`` is
        False.
    weak_pivots : {'refuse', 'accept'}, optional
        What becomes of a matrix with a positive pivot that is at most 16 rounding errors of its
        diagonal entry. By default it counts as not positive definite. With 'accept' it is factored;
        ``Factor.rcond`` tells how near to singular it is.

    Returns
    -------
    Factor, or SemidefiniteFactor with a null space, or LowRankFactor of a LowRankMatrix

    Raises
    ------
    NotPositiveDefiniteError
        With ``check=True``; the error names the row and column of the matrix.
    ValueError, TypeError
        If the values do not fit the pattern, or ``check=True`` inside a transformation; if the null
        space does not fit the pattern.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> F = scj.cholesky(scj.SymmetricMatrix(P, jnp.array([4.0, 1.0, 5.0])))
    >>> print(F.solve(jnp.array([5.0, 6.0])).round(4), F.ok)
    [1. 1.] True
    """
    if isinstance(M, LowRankMatrix):
        if null_space is not None:
            raise ValueError("a null space is given with a SymmetricMatrix, not a LowRankMatrix")
        F = cholesky(M.matrix, check=check, weak_pivots=weak_pivots)
        return F.with_low_rank(M.C, M.D)
    a, P, accept = M.checked(), M.pattern, accepts_weak(weak_pivots)
    if check:
        require_known(a, "Factor")
    N = None if null_space is None else NullSpace.of(P, null_space)
    if N is None:
        F = Factor(P, a, primitives.cholesky_call(P, jax.lax.stop_gradient(a), accept))
    else:
        grounded = N.ground(a)
        fits = jnp.where(annihilates(N, a), jax.lax.stop_gradient(grounded), jnp.nan)
        F = SemidefiniteFactor(N, a, Factor(P, grounded, primitives.cholesky_call(P, fits, accept)))
    if check and not (F.ok and (N is None or F.rcond > EPS[F.dtype])):
        # Raises, and says what and where.
        P.factorize(np.asarray(a), null_space=N, weak_pivots=weak_pivots)
    return F


def with_sign(logdet: jax.Array, dtype: np.dtype) -> tuple[jax.Array, jax.Array]:
    """Return the sign of a determinant beside its logarithm: one, or NaN where that is NaN."""
    sign = jnp.where(jnp.isnan(logdet), jnp.nan, 1.0).astype(dtype)
    return jax.lax.stop_gradient(sign), logdet


def on_columns(
    b: ArrayLike, A: SymmetricMatrix | FactorBase, apply: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """Apply a linear map of (n, k) arrays of A's type to b of shape (n,) or (n, k)."""
    b = as_vectors(b, A.shape, "b")
    columns = b[:, None] if b.ndim == 1 else b
    if columns.dtype.kind == "c" and A.dtype.kind != "c":
        # A real matrix acts on the real and the imaginary part alike.
        parts = jnp.concatenate([columns.real, columns.imag], axis=1).astype(A.dtype)
        real, imaginary = jnp.split(apply(parts), 2, axis=1)
        return jax.lax.complex(real, imaginary).reshape(b.shape)
    return apply(columns.astype(A.dtype)).reshape(b.shape)
