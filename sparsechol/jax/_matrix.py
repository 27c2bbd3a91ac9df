"""SymmetricMatrix: values that JAX sees on a pattern that it does not; and the way in and out."""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO, BCSR

from .._scipy import symbolic_factor as _symbolic
from .._scipy.entry_map import EntryMap
from .._scipy.symbolic_factor import SymbolicFactor
from . import _primitives as primitives

DTYPES = tuple(map(np.dtype, "fdFD"))

MADE_OUTSIDE = (
    "a pattern is analyzed outside of jit, grad and vmap: call analyze (or from_bcoo, from_bcsr)"
    " on concrete arrays first and pass values, a SymmetricMatrix or the pattern, which is"
    " static, in"
)


def is_traced(x: Any) -> bool:
    return isinstance(x, jax.core.Tracer)


def analyze(A: Any, ordering: Any = "auto", lower: bool = True) -> SymbolicFactor:
    """Analyze a pattern, outside of any transformation.

    Parameters
    ----------
    A : (n, n) SciPy sparse array, BCOO, BCSR or dense array
        Only where it has entries counts. Of a BCOO or BCSR both triangles are read.
    ordering : optional
        As for `sparsechol.analyze`.
    lower : bool, optional
        Which triangle of a SciPy or dense array is read.

    Returns
    -------
    SymbolicFactor
        Immutable and equal by content: a static argument for `jax.jit`, and metadata of the
        pytrees here. Its method ``values(A)`` gives the packed values.

    Raises
    ------
    TypeError
        Inside a transformation, where the pattern is not known.

    Examples
    --------
    >>> import numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> P.values(np.array([[4.0, 1.0], [1.0, 5.0]]))
    array([4., 1., 5.])
    """
    if isinstance(A, (BCOO, BCSR)):
        return _map_of(A, ordering).pattern
    if is_traced(A):
        raise TypeError(MADE_OUTSIDE)
    return _symbolic.analyze(
        np.asarray(A) if isinstance(A, jax.Array) else A, ordering=ordering, lower=lower
    )


class Stored:
    """A pytree with one leaf, `values`, one for each index of a static `pattern`."""

    pattern: Any
    values: Any

    def tree_flatten_with_keys(self):
        return ((jax.tree_util.GetAttrKey("values"), self.values),), self.pattern

    @classmethod
    def tree_unflatten(cls, pattern, leaves):
        # Leaves are whatever a transformation puts there.
        matrix = object.__new__(cls)
        matrix.pattern, [matrix.values] = pattern, leaves
        return matrix

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @property
    def dtype(self):
        return self.values.dtype

    __array_ufunc__ = None  # a NumPy number on the left leaves the product to us

    def checked(self) -> jax.Array:
        """The values, if they are those of one matrix."""
        values = as_values(self.values)
        if values.shape != self.pattern.indices.shape:
            raise ValueError(
                f"the values of a matrix of shape {self.shape} have shape {values.shape}: the"
                f" pattern has {self.pattern.indices.shape}"
                + (" (for a batch use jax.vmap)" if values.ndim > 1 else "")
            )
        return values


@jax.tree_util.register_pytree_with_keys_class
class SymmetricMatrix(Stored):
    """Symmetric (Hermitian) positive definite matrix: packed values on an analyzed pattern.

    A pytree with one leaf, the values; the pattern is static.

    Parameters
    ----------
    pattern : SymbolicFactor
        From `analyze`.
    values : (len(pattern.indices),) array_like of float32, float64, complex64 or complex128
        The lower triangle by column, sorted, with the whole diagonal (``pattern.values(A)`` of a
        SciPy matrix). An off-diagonal value stands for two entries, and gradients in it for both.

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
    Matrices of one pattern can be added, subtracted and scaled. ``M @ x`` is differentiable any
    number of times, in both.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> A = np.array([[4.0, 1.0], [1.0, 5.0]])
    >>> M = scj.SymmetricMatrix(scj.analyze(A), jnp.array([4.0, 1.0, 5.0]))
    >>> print((2 * M) @ jnp.array([1.0, 0.0]))
    [8. 2.]
    """

    def __init__(self, pattern: SymbolicFactor, values: Any):
        if not isinstance(pattern, SymbolicFactor):
            raise TypeError(f"the pattern is what analyze returns, not {type(pattern).__name__}")
        self.pattern, self.values = pattern, values
        self.values = self.checked()

    @classmethod
    def from_full(cls, pattern: SymbolicFactor, data: Any) -> "SymmetricMatrix":
        """From the entries of both triangles, each of which counts half.

        Parameters
        ----------
        pattern : SymbolicFactor
        data : (2 len(pattern.indices) - n,) array_like
            By column, as a sorted SciPy csc_array with both triangles and the whole diagonal has
            them. The matrix is ``(A + A^H) / 2``, and gradients are those of each entry.
        """
        data, nnz, n = as_values(data), pattern.indices.shape[0], pattern.shape[0]
        if data.shape != (2 * nnz - n,):
            raise ValueError(
                f"full values have shape {data.shape}: the pattern, of a matrix of shape"
                f" {pattern.shape}, has {2 * nnz - n} entries in both triangles"
            )
        return cls(pattern, primitives.fold(pattern, data, 1.0, 0.5))

    @classmethod
    def identity(cls, pattern: SymbolicFactor, dtype: Any = None) -> "SymmetricMatrix":
        """The identity on a pattern, to add multiples of."""
        values = np.zeros(pattern.indices.shape[0], np.dtype(dtype or jnp.zeros(()).dtype))
        values[pattern.indptr[:-1]] = 1
        return cls(pattern, values)

    def __repr__(self) -> str:
        return f"<SymmetricMatrix of shape {self.shape}, values {jax.typeof(self.values)}>"

    def with_values(self, values: Any) -> "SymmetricMatrix":
        """Another matrix on the same pattern."""
        return SymmetricMatrix(self.pattern, values)

    def __matmul__(self, x: Any) -> jax.Array:
        """A x for x of shape (n,) or (n, k)."""
        values = self.checked()
        x = as_vectors(x, self.shape, "x")
        kind = jnp.result_type(values, x)
        columns = _columns(x.astype(kind))
        return primitives.product(self.pattern, values.astype(kind), columns).reshape(x.shape)

    def __add__(self, other: Any) -> "SymmetricMatrix":
        if not isinstance(other, SymmetricMatrix):
            return NotImplemented
        self._check_pattern(other)
        return self.with_values(self.values + other.values)

    def __sub__(self, other: Any) -> "SymmetricMatrix":
        if not isinstance(other, SymmetricMatrix):
            return NotImplemented
        self._check_pattern(other)
        return self.with_values(self.values - other.values)

    def __mul__(self, factor: Any) -> "SymmetricMatrix":
        if isinstance(factor, SymmetricMatrix) or jnp.ndim(factor) != 0:
            return NotImplemented
        return self.with_values(self.values * factor)

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> "SymmetricMatrix":
        if isinstance(factor, SymmetricMatrix) or jnp.ndim(factor) != 0:
            return NotImplemented
        return self.with_values(self.values / factor)

    def _check_pattern(self, other):
        if self.pattern != other.pattern:
            raise ValueError(
                f"the matrices have different patterns: {self.pattern} and {other.pattern}"
            )

    def diagonal(self) -> jax.Array:
        """The diagonal, real."""
        return self.values[self.pattern.indptr[:-1]].real

    def todense(self) -> jax.Array:
        """The matrix as a dense array."""
        P, n = self.pattern, self.shape[0]
        column = np.repeat(np.arange(n), np.diff(P.indptr))
        lower = (
            jnp.zeros(P.shape, self.dtype)
            .at[P.indices, column]
            .set(self.checked(), unique_indices=True)
        )
        strict = jnp.tril(lower, -1)
        return strict + strict.conj().T + jnp.diag(jnp.diag(lower).real).astype(self.dtype)


def as_values(values: Any) -> jax.Array:
    """An array of one of the types that can be factored."""
    values = jnp.asarray(values)
    if values.dtype not in DTYPES:
        raise TypeError(
            f"values of a matrix are float32, float64, complex64 or complex128, not {values.dtype}"
        )
    return values


def as_vectors(x: Any, shape: tuple[int, int], name: str) -> jax.Array:
    """An array of shape (n,) or (n, k)."""
    x = jnp.asarray(x)
    if x.ndim not in (1, 2) or x.shape[0] != shape[0]:
        raise ValueError(
            f"the shapes of the matrix, {shape}, and {name}, {x.shape}, do not fit: {name} is"
            f" ({shape[0]},) or ({shape[0]}, k)"
        )
    if x.dtype.kind == "b":
        raise TypeError(f"{name} holds {x.dtype}, not numbers")
    return x


def _columns(x):
    return x[:, None] if x.ndim == 1 else x


# ---- in and out of jax.experimental.sparse ----


def _packed(found, data):
    """Packed values from the data of an EntryMap, differentiable."""
    P = found.pattern
    if found.ordered:  # row by row is the conjugate of column by column
        return primitives.fold(P, jnp.conj(data), 1.0, 0.5)
    if np.dtype(data.dtype).kind == "c":
        data = jnp.where(found.above, jnp.conj(data), data)
    weighed = data * found.weight.astype(np.finfo(data.dtype).dtype)
    return jnp.zeros(P.indices.shape, data.dtype).at[found.place].add(weighed, mode="drop")


_MAPS: OrderedDict = OrderedDict()
_MAPS_KEPT = 16
_maps_lock = Lock()


def _map_of(A: Any, ordering: Any) -> EntryMap:
    """The map of a BCOO or BCSR, kept for the next one with the same indices."""
    if A.ndim != 2 or A.n_batch or A.n_dense or A.shape[0] != A.shape[1]:
        raise ValueError(
            f"a square matrix without batch or dense dimensions is needed, not shape {A.shape}"
            f" with n_batch={A.n_batch}, n_dense={A.n_dense}: use jax.vmap for a batch"
        )
    if is_traced(A.indices):
        raise TypeError(MADE_OUTSIDE)
    indices = np.asarray(A.indices)
    if isinstance(A, BCSR):
        row = np.repeat(np.arange(A.shape[0]), np.diff(np.asarray(A.indptr)))
        column = indices[: row.shape[0]].astype(np.int64)
        if row.shape[0] < indices.shape[0]:  # padding at the end
            padding = np.full(indices.shape[0] - row.shape[0], A.shape[0])
            row, column = np.append(row, padding), np.append(column, padding)
    else:
        row, column = indices.astype(np.int64).T
    digest = blake2b(repr((A.shape, _order_key(ordering))).encode())
    digest.update(np.ascontiguousarray(row))
    digest.update(np.ascontiguousarray(column))
    key = digest.digest()
    with _maps_lock:
        if key in _MAPS:
            _MAPS.move_to_end(key)
            return _MAPS[key]
    made = EntryMap(row, column, A.shape, ordering)
    with _maps_lock:
        _MAPS[key] = made
        while len(_MAPS) > _MAPS_KEPT:
            _MAPS.popitem(last=False)
    return made


def _order_key(ordering):
    if isinstance(ordering, SymbolicFactor):
        return ordering.digest
    return ordering if isinstance(ordering, str) else np.asarray(ordering).tolist()


def from_bcoo(
    A: BCOO, pattern: SymbolicFactor | None = None, ordering: Any = "auto"
) -> SymmetricMatrix:
    """SymmetricMatrix from a BCOO with concrete indices; its data may be traced.

    Parameters
    ----------
    A : (n, n) BCOO
        Both triangles, or one of them. Of both, each entry counts half, so that the matrix is
        ``(A + A^H) / 2``; repeated entries are summed and padding is left out.
    pattern : SymbolicFactor, optional
        An analyzed pattern that has all entries of `A`. By default it is analyzed here, once for
        the same indices.
    ordering : optional
        As for `analyze`.

    Returns
    -------
    SymmetricMatrix

    Raises
    ------
    TypeError
        If the indices are traced.
    ValueError
        If `A` is not square or has batch dimensions, or some entries are in one triangle only and
        others in both.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsechol.jax as scj
    >>> from jax.experimental.sparse import BCOO
    >>> A = BCOO.fromdense(jnp.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> print(scj.from_bcoo(A).values)
    [4. 1. 5.]
    """
    found = _map_of(A, ordering if pattern is None else pattern)
    return SymmetricMatrix(found.pattern, _packed(found, as_values(A.data)))


def from_bcsr(
    A: BCSR, pattern: SymbolicFactor | None = None, ordering: Any = "auto"
) -> SymmetricMatrix:
    """SymmetricMatrix from a BCSR with concrete indices, see `from_bcoo`.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsechol.jax as scj
    >>> from jax.experimental.sparse import BCSR
    >>> A = BCSR.fromdense(jnp.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> print(scj.from_bcsr(A).values)
    [4. 1. 5.]
    """
    found = _map_of(A, ordering if pattern is None else pattern)
    return SymmetricMatrix(found.pattern, _packed(found, as_values(A.data)))


def to_bcoo(M: SymmetricMatrix) -> BCOO:
    """Both triangles of a SymmetricMatrix as a BCOO, row by row; differentiable in the values.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> print(scj.to_bcoo(scj.SymmetricMatrix(P, jnp.array([4.0, 1.0, 5.0]))).todense())
    [[4. 1.]
     [1. 5.]]
    """
    P = M.pattern
    starts, members, _ = P._both_triangles
    major = np.repeat(np.arange(P.shape[0]), np.diff(starts))
    data = jnp.conj(primitives.unfold(P, M.checked()))
    indices = np.stack([major, members], axis=1).astype(np.int32)
    return BCOO((data, indices), shape=P.shape, indices_sorted=True, unique_indices=True)
