"""Define SymmetricMatrix, a pytree: the values are its leaf, the analyzed pattern is static."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from scipy.sparse import issparse

from .._exceptions import PatternMismatchError
from .._scipy.input import entry_numbers
from .._scipy.symbolic_factor import SymbolicFactor
from . import _primitives as primitives

DTYPES = tuple(map(np.dtype, "fdFD"))


class PackedMatrix:
    """A pytree with one leaf, `values`: one value for each index of a static `pattern`."""

    pattern: Any
    values: Any

    def tree_flatten_with_keys(self):
        """Return the leaves with their names, and the pattern, as JAX asks for them."""
        return ((jax.tree_util.GetAttrKey("values"), self.values),), self.pattern

    @classmethod
    def tree_unflatten(cls, pattern, leaves):
        # Leaves are whatever a transformation puts there.
        """Make an object from what `tree_flatten_with_keys` returns."""
        matrix = object.__new__(cls)
        matrix.pattern, [matrix.values] = pattern, leaves
        return matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.pattern.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.values.dtype

    __array_ufunc__ = None  # NumPy then leaves products from the left to __rmul__, __rmatmul__

    def checked(self) -> jax.Array:
        """Return the values, or raise ValueError if they are not those of one matrix.

        Returns
        -------
        jax.Array
        """
        values = as_values(self.values)
        if values.shape != self.pattern.indices.shape:
            raise ValueError(
                f"the values of a matrix of shape {self.shape} have shape {values.shape}: the"
                f" pattern has {self.pattern.indices.shape}"
                + (" (for a batch use jax.vmap)" if values.ndim > 1 else "")
            )
        return values


@jax.tree_util.register_pytree_with_keys_class
class SymmetricMatrix(PackedMatrix):
    """Symmetric (Hermitian) matrix: packed values on an analyzed pattern.

    It is a pytree with one leaf, the values; the pattern is static.

    Parameters
    ----------
    pattern : SymbolicFactor
        The result of `analyze`.
    values : (len(pattern.indices),) array_like of float32, float64, complex64 or complex128
        The lower triangle by column, sorted, with the whole diagonal; ``pattern.values(A)`` gives
        them for a SciPy matrix. An off-diagonal value stands for two entries, and its gradient is
        the sum over both.

    Attributes
    ----------
    pattern : SymbolicFactor
    values : jax.Array
    shape : tuple of int
    dtype : dtype

    Raises
    ------
    ValueError, TypeError
        If the values have another shape than the pattern, or are no floating point numbers.

    Notes
    -----
    Matrices of one pattern can be added, subtracted and scaled; a SciPy sparse matrix with entries
    on the pattern can be a term. Products, ``M @ x`` and ``x @ M``, are differentiable any number
    of times, in M and in x.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> A = np.array([[4.0, 1.0], [1.0, 5.0]])
    >>> M = scj.SymmetricMatrix(scj.analyze(A), jnp.array([4.0, 1.0, 5.0]))
    >>> print((2 * M) @ jnp.array([1.0, 0.0]))
    [8. 2.]
    """

    def __init__(self, pattern: SymbolicFactor, values: ArrayLike):
        if not isinstance(pattern, SymbolicFactor):
            raise TypeError(f"the pattern is what analyze returns, not {type(pattern).__name__}")
        self.pattern, self.values = pattern, values
        self.values = self.checked()

    @classmethod
    def from_full(cls, pattern: SymbolicFactor, data: ArrayLike) -> "SymmetricMatrix":
        """Make a matrix of the entries of both triangles, each of which counts half.

        Parameters
        ----------
        pattern : SymbolicFactor
        data : (2 len(pattern.indices) - n,) array_like
            The entries by column, in the order of a sorted SciPy csc_array with both triangles and
            the whole diagonal. The matrix is ``(A + A^H) / 2``; each entry has its own gradient.
        """
        data, nnz, n = as_values(data), pattern.indices.shape[0], pattern.shape[0]
        if data.shape != (2 * nnz - n,):
            raise ValueError(
                f"full values have shape {data.shape}: the pattern, of a matrix of shape"
                f" {pattern.shape}, has {2 * nnz - n} entries in both triangles"
            )
        return cls(pattern, primitives.fold_call(pattern, data, 1.0, 0.5))

    @classmethod
    def identity(
        cls, pattern: SymbolicFactor, *, dtype: DTypeLike | None = None
    ) -> "SymmetricMatrix":
        """Return the identity on a pattern.

        Parameters
        ----------
        pattern : SymbolicFactor
            The pattern, whose other entries are zero.
        dtype : dtype, optional
            Type of the values.
        """
        values = np.zeros(pattern.indices.shape[0], np.dtype(dtype or jnp.zeros(()).dtype))
        values[pattern.indptr[:-1]] = 1
        return cls(pattern, values)

    def __repr__(self) -> str:
        return f"<SymmetricMatrix of shape {self.shape}, values {jax.typeof(self.values)}>"

    def with_values(self, values: ArrayLike) -> "SymmetricMatrix":
        """Return a matrix with these values on the same pattern.

        Parameters
        ----------
        values : (len(pattern.indices),) array_like
            The lower triangle, packed as the values of this matrix are.

        Returns
        -------
        SymmetricMatrix
        """
        return SymmetricMatrix(self.pattern, values)

    def __matmul__(self, x: ArrayLike) -> jax.Array:
        """Return A x for x of shape (n,) or (n, k)."""
        values = self.checked()
        x = as_vectors(x, self.shape, "x")
        kind = jnp.result_type(values, x)
        columns = _columns(x.astype(kind))
        return primitives.product_call(self.pattern, values.astype(kind), columns).reshape(x.shape)

    def __rmatmul__(self, x: ArrayLike) -> jax.Array:
        """Return x A for x of shape (n,) or (k, n)."""
        x = jnp.asarray(x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.shape[0]:
            raise ValueError(
                f"the shapes of x, {x.shape}, and the matrix, {self.shape}, do not fit: x is"
                f" ({self.shape[0]},) or (k, {self.shape[0]})"
            )
        return (self.T @ x.T).T

    @property
    def T(self) -> "SymmetricMatrix":
        """The transpose: the matrix itself, or the conjugate of a Hermitian one."""
        return self.with_values(jnp.conj(self.values)) if self.dtype.kind == "c" else self

    def astype(self, dtype: DTypeLike) -> "SymmetricMatrix":
        """Return the matrix with values of another type.

        Parameters
        ----------
        dtype : dtype
            float32, float64, complex64 or complex128.

        Returns
        -------
        SymmetricMatrix
        """
        return self.with_values(self.values.astype(dtype))

    def __add__(self, other: Any) -> "SymmetricMatrix":
        values = self._values_of(other)
        return values if values is NotImplemented else self.with_values(self.values + values)

    __radd__ = __add__

    def __neg__(self) -> "SymmetricMatrix":
        return self.with_values(-self.values)

    def __sub__(self, other: Any) -> "SymmetricMatrix":
        values = self._values_of(other)
        return values if values is NotImplemented else self.with_values(self.values - values)

    def __rsub__(self, other: Any) -> "SymmetricMatrix":
        return -self + other

    def __mul__(self, factor: ArrayLike) -> "SymmetricMatrix":
        if isinstance(factor, SymmetricMatrix) or jnp.ndim(factor) != 0:
            return NotImplemented
        return self.with_values(self.values * factor)

    __rmul__ = __mul__

    def __truediv__(self, factor: ArrayLike) -> "SymmetricMatrix":
        if isinstance(factor, SymmetricMatrix) or jnp.ndim(factor) != 0:
            return NotImplemented
        return self.with_values(self.values / factor)

    def _values_of(self, other):
        """Return what a term adds to the values: a matrix, or the 0 with which `sum` begins."""
        if isinstance(other, SymmetricMatrix):
            self._check_pattern(other)
            return other.values
        if issparse(other):
            return self.pattern.values(other)
        is_zero = isinstance(other, int | float | np.number) and other == 0
        return 0 if is_zero else NotImplemented

    def _check_pattern(self, other):
        """Raise PatternMismatchError if another matrix has another pattern."""
        P, Q = self.pattern, other.pattern
        if P == Q:
            return
        text = f"the matrices have different patterns: {P} and {Q}"
        alone = np.setxor1d(_keys(P), _keys(Q)) if P.shape == Q.shape else np.empty(0)
        if not alone.size:
            raise PatternMismatchError(f"{text}: analyze one pattern for both")
        column, row = divmod(int(alone[0]), P.shape[0])
        raise PatternMismatchError(
            f"{text}; entry ({row}, {column}) is in one of them only: analyze one pattern that has"
            " the entries of both matrices",
            row,
            column,
        )

    def diagonal(self) -> jax.Array:
        """Return the diagonal, real.

        Returns
        -------
        (n,) jax.Array
        """
        return self.values[self.pattern.indptr[:-1]].real

    def todense(self) -> jax.Array:
        """Return the matrix as a dense array.

        Returns
        -------
        (n, n) jax.Array
        """
        P, n = self.pattern, self.shape[0]
        column = np.repeat(np.arange(n), np.diff(P.indptr))
        lower = (
            jnp.zeros(P.shape, self.dtype)
            .at[P.indices, column]
            .set(self.checked(), unique_indices=True)
        )
        strict = jnp.tril(lower, -1)
        return strict + strict.conj().T + jnp.diag(jnp.diag(lower).real).astype(self.dtype)


def _keys(P):
    """Return one number for each entry of a pattern."""
    n = P.shape[0]
    return P.indices + n * np.repeat(np.arange(n), np.diff(P.indptr))


def as_values(values: ArrayLike) -> jax.Array:
    """Return an array of one of the types that can be factored."""
    values = jnp.asarray(values)
    if values.dtype not in DTYPES:
        raise TypeError(
            f"values of a matrix are float32, float64, complex64 or complex128, not {values.dtype}"
        )
    return values


def as_vectors(x: ArrayLike, shape: tuple[int, int], name: str) -> jax.Array:
    """Return `x` as an array of shape (n,) or (n, k)."""
    x = jnp.asarray(x)
    if x.ndim not in (1, 2) or x.shape[0] != shape[0]:
        raise ValueError(
            f"the shapes of the matrix, {shape}, and {name}, {x.shape}, do not fit: {name} is"
            f" ({shape[0]},) or ({shape[0]}, k)"
        )
    if x.dtype.kind == "b":
        raise TypeError(f"{name} holds {x.dtype}, not numbers")
    return x


def static_numbers(numbers: ArrayLike, name: str) -> np.ndarray:
    """Return numbers of rows as an array; refuse those that a transformation traces."""
    try:
        return np.asarray(numbers)
    except jax.errors.TracerArrayConversionError:
        raise TypeError(
            f"{name} must be known when the function is traced: pass NumPy arrays or lists of int,"
            " or make the argument static (static_argnums)"
        ) from None


def static_entries(rows: ArrayLike, columns: ArrayLike, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of entries of a matrix of order n, broadcast against each other."""
    return entry_numbers(static_numbers(rows, "rows"), static_numbers(columns, "columns"), n)


def _columns(x):
    """Return vectors as the columns of a matrix."""
    return x[:, None] if x.ndim == 1 else x
