"""Read sparse matrices of SciPy and of jax.experimental.sparse, and write the latter."""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO, BCSR
from scipy.sparse import coo_array, issparse

from .._scipy import symbolic_factor as _symbolic
from .._scipy.foreign_entries import EntryMap
from .._scipy.input import check_order, compressed
from .._scipy.symbolic_factor import SymbolicFactor
from .._scipy.symmetry import check_triangle, require_symmetric
from .._typing import OrderingLike
from . import _primitives as primitives
from ._compat import is_concrete
from ._matrix import SymmetricMatrix, as_values
from ._typing import MatrixLike, SparseLike

MADE_OUTSIDE = (
    "a pattern is analyzed outside of jit, grad and vmap: call analyze (or from_sparse) on concrete"
    " arrays first and pass values, a SymmetricMatrix or the pattern, which is static, in"
)


def analyze(
    A: MatrixLike,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = False,
) -> SymbolicFactor:
    """Analyze a pattern, outside of any transformation.

    Parameters
    ----------
    A : (n, n) SciPy sparse array, BCOO, BCSR or dense array
        Only the positions of the entries count. Of a BCOO or BCSR both triangles are read.
    ordering : optional
        See `sparsechol.analyze`.
    lower : bool, optional
        The triangle of a SciPy or dense array that is read.
    check_symmetric : bool, optional
        Where `A` holds both triangles, test that their values agree but for rounding, and raise
        ValueError where they do not. The values must be known.

    Returns
    -------
    SymbolicFactor
        Immutable and equal by content: a static argument for `jax.jit`, and metadata of the
        pytrees here. Its method ``values(A)`` gives the packed values.

    Raises
    ------
    TypeError
        Inside a transformation, where the pattern is not known.
    ValueError
        If `A` is not square, or not symmetric with ``check_symmetric=True``; if the triangle of a
        SciPy or dense array that is read is empty off the diagonal and the other one is not.

    Examples
    --------
    >>> import numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> P.values(np.array([[4.0, 1.0], [1.0, 5.0]]))
    array([4., 1., 5.])
    """
    if isinstance(A, (BCOO, BCSR)):
        row, column = _indices(A)
        if not check_symmetric:
            return _map_of(row, column, A.shape, ordering).pattern
        A = _to_scipy(A, row, column)
    if not is_concrete(A):
        raise TypeError(MADE_OUTSIDE)
    return _symbolic.analyze(
        np.asarray(A) if isinstance(A, jax.Array) else A,
        ordering=ordering,
        lower=lower,
        check_symmetric=check_symmetric,
    )


def from_sparse(
    A: SparseLike,
    *,
    pattern: SymbolicFactor | None = None,
    ordering: OrderingLike = "auto",
    check_symmetric: bool = True,
) -> SymmetricMatrix:
    """Make a SymmetricMatrix of a sparse matrix.

    Parameters
    ----------
    A : (n, n) BCOO, BCSR or SciPy sparse array
        A BCOO or BCSR holds both triangles, or one of them. Of both triangles each entry counts
        half, so that the matrix is ``(A + A^H) / 2``. Repeated entries are summed, and padding is
        left out. The data may be traced; the indices, too, if `pattern` is given. Of a SciPy array
        the lower triangle is read.
    pattern : SymbolicFactor, optional
        An analyzed pattern that has all entries of `A`. By default the entries of `A` are analyzed.
        The analysis of a BCOO or BCSR is kept for the next one with the same indices. Traced
        indices are looked up in `pattern`; where one of them is outside of it, or some entries are
        in one triangle only and others in both, all values are NaN.
    ordering : optional
        See `sparsechol.analyze`.
    check_symmetric : bool, optional
        Where `A` holds both triangles, test that they agree but for rounding, and raise ValueError
        where they do not (default). Traced data cannot be tested.

    Returns
    -------
    SymmetricMatrix

    Raises
    ------
    PatternMismatchError
        If an entry of `A` is outside `pattern`.
    TypeError
        If the indices are traced and `pattern` is not given.
    ValueError
        If `A` is not square, not symmetric (Hermitian) or has batch dimensions, or if some entries
        are in one triangle only and others in both; if a SciPy array has entries above the
        diagonal and none below it.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsechol.jax as scj
    >>> from jax.experimental.sparse import BCOO
    >>> A = BCOO.fromdense(jnp.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> print(scj.from_sparse(A).values)
    [4. 1. 5.]
    """
    if issparse(A):
        return _from_scipy(A, pattern, ordering, check_symmetric)
    if not isinstance(A, (BCOO, BCSR)):
        raise TypeError(
            f"from_sparse takes a BCOO, a BCSR or a SciPy sparse array, not {type(A).__name__}: for"
            " a dense array A use SymmetricMatrix(P, P.values(A)) with P = analyze(A)"
        )
    if pattern is not None and not is_concrete(A.indices):
        return SymmetricMatrix(pattern, _packed_by_search(A, pattern))
    row, column = _indices(A)
    found = _map_of(row, column, A.shape, ordering if pattern is None else pattern)
    if check_symmetric and is_concrete(A.data):
        arrays = compressed(_to_scipy(A, row, column))
        require_symmetric(arrays, unchecked="(A + A^H) / 2 is taken")
    return SymmetricMatrix(found.pattern, _packed(found, as_values(A.data)))


def _from_scipy(A, pattern, ordering, check_symmetric):
    """Make a SymmetricMatrix of the lower triangle of a SciPy array."""
    arrays = compressed(A, check_shape=check_order)
    check_triangle(arrays, True, remedy="pass its conjugate transpose, or both triangles")
    if check_symmetric:
        require_symmetric(arrays)
    P = analyze(A, ordering=ordering) if pattern is None else pattern
    return SymmetricMatrix(P, P.values(A))  # pyright: ignore[reportArgumentType]  # NumPy's


def to_bcoo(M: SymmetricMatrix) -> BCOO:
    """Return both triangles of a SymmetricMatrix as a BCOO, row by row.

    Parameters
    ----------
    M : SymmetricMatrix

    Returns
    -------
    BCOO
        Differentiable in the values of `M`.

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
    data = jnp.conj(primitives.unfold_call(P, M.checked()))
    indices = np.stack([major, members], axis=1).astype(np.int32)
    return BCOO(
        (data, cast("jax.Array", indices)), shape=P.shape, indices_sorted=True, unique_indices=True
    )


# ---- indices and data ----


def _require_plain(A):
    """Raise ValueError unless a BCOO or BCSR is a square matrix without batch dimensions."""
    if A.ndim != 2 or A.n_batch or A.n_dense or A.shape[0] != A.shape[1]:
        raise ValueError(
            f"a square matrix without batch or dense dimensions is needed, not shape {A.shape}"
            f" with n_batch={A.n_batch}, n_dense={A.n_dense}: use jax.vmap for a batch"
        )


def _indices(A):
    """Return row and column of each entry of a BCOO or BCSR; padding has the row n."""
    _require_plain(A)
    if not is_concrete(A.indices):
        raise TypeError(MADE_OUTSIDE)
    indices = np.asarray(A.indices).astype(np.int64)
    if isinstance(A, BCOO):
        return indices.T
    counts = cast("np.ndarray", np.diff(np.asarray(A.indptr)))
    row = np.repeat(np.arange(A.shape[0]), counts)
    padding = np.full(indices.shape[0] - row.shape[0], A.shape[0])
    return np.append(row, padding), np.append(indices[: row.shape[0]], padding)


def _to_scipy(A, row, column):
    """Return a BCOO or BCSR whose data is known as a SciPy array, without padding."""
    if not is_concrete(A.data):
        raise TypeError("check_symmetric=True needs values that are known, outside of jit and grad")
    inside = (row < A.shape[0]) & (column < A.shape[1])
    data = np.asarray(A.data)[inside]
    return coo_array((data, (row[inside], column[inside])), shape=A.shape)


def _packed(found, data):
    """Return the packed values for the data of an EntryMap, differentiable."""
    P = found.pattern
    if found.ordered:  # row by row is the conjugate of column by column
        return primitives.fold_call(P, jnp.conj(data), 1.0, 0.5)
    if np.dtype(data.dtype).kind == "c":
        data = jnp.where(found.above, jnp.conj(data), data)
    weighted = data * found.weight.astype(np.finfo(data.dtype).dtype)
    return jnp.zeros(P.indices.shape, data.dtype).at[found.place].add(weighted, mode="drop")


# ---- indices that are traced ----


def _packed_by_search(A, P):
    """Return the packed values of a BCOO or BCSR with traced indices; NaN if it does not fit."""
    _require_plain(A)
    if P.shape != A.shape:
        raise ValueError(f"the pattern has shape {P.shape}, and the matrix {A.shape}")
    data, n, size = as_values(A.data), P.shape[0], P.indices.shape[0]
    if not size:
        return data[:0]
    if isinstance(A, BCOO):
        row, column = A.indices.T
    else:  # padding, beyond the last row, gets row n
        row = jnp.searchsorted(A.indptr, jnp.arange(A.nse), side="right") - 1
        column = A.indices
    inside = (row < n) & (column < n)
    place, on_pattern = _search(P, jnp.maximum(row, column), jnp.minimum(row, column))
    place = jnp.where(inside & on_pattern, place, size)
    below, above = (
        jnp.zeros(size, bool).at[place].max(part, mode="drop")
        for part in (row > column, row < column)
    )
    both = below.any() & above.any()
    fits = (on_pattern | ~inside).all() & ~(both & (below != above).any())
    if np.dtype(data.dtype).kind == "c":
        data = jnp.where(row < column, jnp.conj(data), data)
    data = jnp.where((row != column) & both, data * 0.5, data)
    values = jnp.zeros(size, data.dtype).at[place].add(data, mode="drop")
    return jnp.where(fits, values, jnp.nan)


def _search(P, row, column):
    """Return packed positions of entries by bisection in their columns, and whether they exist."""
    starts, indices = jnp.asarray(P.indptr), jnp.asarray(P.indices)
    known = (column >= 0) & (row < P.shape[0])
    column = jnp.where(known, column, 0)
    end = starts[column + 1]

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        less = (low < high) & (indices[jnp.minimum(middle, end - 1)] < row)
        return jnp.where(less, middle + 1, low), jnp.where(less, high, middle)

    steps = int(np.diff(P.indptr).max(initial=0)).bit_length()
    place, _ = jax.lax.fori_loop(0, steps, halve, (starts[column], end))
    return place, known & (place < end) & (indices[jnp.minimum(place, end - 1)] == row)


# ---- maps of entries, kept ----


_MAPS: OrderedDict = OrderedDict()
_MAPS_KEPT = 16
_maps_lock = Lock()


def _map_of(row, column, shape, ordering: OrderingLike | SymbolicFactor) -> EntryMap:
    """Return the map of these entries, and keep it for the next matrix with the same indices."""
    digest = blake2b(repr((shape, _key(ordering))).encode())
    digest.update(np.ascontiguousarray(row).data)
    digest.update(np.ascontiguousarray(column).data)
    key = digest.digest()
    with _maps_lock:
        if key in _MAPS:
            _MAPS.move_to_end(key)
            return _MAPS[key]
    made = EntryMap(row, column, shape, ordering)
    with _maps_lock:
        _MAPS[key] = made
        while len(_MAPS) > _MAPS_KEPT:
            _MAPS.popitem(last=False)
    return made


def _key(ordering):
    if isinstance(ordering, SymbolicFactor):
        return ordering.digest
    return ordering if isinstance(ordering, str) else np.asarray(ordering).tolist()
