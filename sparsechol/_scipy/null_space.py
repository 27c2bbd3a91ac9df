"""NullSpace: a known null space of the matrices of a pattern, and what makes them definite.

Let Q be positive semidefinite and the orthonormal columns of V span its null space. Rows J, one for
each column, are grounded:

    Q+ = Q + E D E^H,    E the columns J of the identity, D = diag(Q_jj).

Q+ is positive definite with the pattern of Q. From Q V = 0 follows Q+ V = E D V_J, and from this

    log pdet(Q) = log det(Q+) - log det(D) - 2 log |det(V_J)|     the product of nonzero eigenvalues
    pinv(Q)     = P (Q+)^-1 P,    P = I - V V^H.

Entries of the pseudo-inverse are those of W = (Q+)^-1 less a term of low rank:

    P W P = W - V X^H - X V^H,    X = W V - V (V^H W V) / 2.

The basis is stored in blocks. A row belongs to one block, and has one number for each vector of its
block: `basis` is (n, w), w the most vectors of a block, others are padded with zeros. A dense V is
one block. Where each column of a sparse V lies within a connected component of the pattern, each
component is a block, so that any number of them takes O(n); the components are decoupled in Q, too,
and W V takes w solves for all.
"""

import hashlib
import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import scipy.linalg
from scipy.sparse import csc_array, csr_array, issparse
from scipy.sparse.csgraph import connected_components

from .._cached import cached_property
from .._core.numeric.packing import expand
from .._typing import MatrixLike
from .input import as_scipy, check_finite, compressed, not_finite, scalar_dtype, unmasked
from .pickling import reduced
from .pivots import EPS
from .symmetry import ROUNDINGS

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor

# Columns that are nearer to dependent than this have no basis with half of the digits.
DEPENDENT = float(np.finfo(np.float64).eps) ** 0.5


class NullSpace:
    """Hold the null space of the semidefinite matrices of one pattern.

    It is made once for a pattern, and serves all of its matrices; where ``null_space=`` is asked
    for, it saves the work. It is immutable, and compared, hashed and pickled by content.

    Parameters
    ----------
    pattern : SymbolicFactor
        The result of `analyze`.
    V : (n,) or (n, k) array_like, sparse array or matrix, or 'components'
        Its columns span the null space; they need not be orthogonal. 'components': the indicators
        of the connected components of the pattern, as for the Laplacian of a graph. A sparse V
        with columns that lie within components takes O(n), however many columns there are.

    Attributes
    ----------
    pattern : SymbolicFactor
    dimension : int
        k, the number of columns.
    rows : (k,) int64 ndarray
        The rows that are grounded.
    basis : (n, w) ndarray
        An orthonormal basis in blocks: the numbers of each row for the vectors of its block.
    labels : (n,) int64 ndarray
        The block of each row.
    blocks : int
        Number of blocks; one for a dense V.
    log_volume : float
        ``2 log |det V_J|`` of the orthonormal V, J the grounded rows.

    Raises
    ------
    ValueError
        If V has another number of rows than the matrix, no columns, dependent columns, NaN or
        infinity.

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    >>> N = sc.NullSpace(sc.analyze(Q), np.ones(3))
    >>> N.project(np.array([1.0, 2.0, 6.0]))
    array([-2., -1.,  3.])
    """

    pattern: "SymbolicFactor"
    dimension: int
    rows: np.ndarray
    basis: np.ndarray
    labels: np.ndarray
    blocks: int
    log_volume: float
    scaled: np.ndarray  # packed places of the diagonal entries Q_jj that D takes
    shifted: np.ndarray  # and of those that are zero, where D is one

    def __init__(self, pattern: "SymbolicFactor", V: MatrixLike | Literal["components"]):
        self.pattern = pattern
        self.labels, self.basis, slots = _blocks(pattern, V)
        self.blocks = slots.shape[0]
        self.dimension = int(slots.sum())
        self.rows, self.log_volume = _grounded(pattern, self.labels, self.basis, slots)
        # A row that spans a direction of its own is zero in every such matrix.
        alone = np.linalg.norm(self.basis[self.rows], axis=1) > 1 - DEPENDENT
        places = pattern.indptr[self.rows]
        self.scaled, self.shifted = places[~alone], places[alone]
        self._freeze()

    def _freeze(self) -> None:
        for array in (self.labels, self.basis, self.rows, self.scaled, self.shifted):
            array.setflags(write=False)

    @classmethod
    def _with(cls, *content: Any) -> "NullSpace":
        """Make a null space of its attributes."""
        made = object.__new__(cls)
        made.__dict__.update(zip(NullSpace.__annotations__, content, strict=True))
        made._freeze()
        return made

    def __reduce__(self):
        content = (getattr(self, name) for name in NullSpace.__annotations__)
        return reduced(self._with, *content)

    @classmethod
    def of(cls, pattern: "SymbolicFactor", V: Any) -> "NullSpace":
        """Return V if it is the null space of a pattern already, else make one.

        Parameters
        ----------
        pattern : SymbolicFactor
        V : NullSpace, or what the class takes

        Returns
        -------
        NullSpace
        """
        if not isinstance(V, NullSpace):
            return cls(pattern, V)
        if V.pattern != pattern:
            raise ValueError(
                f"the null space is of another pattern, {V.pattern}, than the matrix, {pattern}:"
                " make one NullSpace for each pattern"
            )
        return V

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of the content. Equal null spaces have equal digests."""
        content = hashlib.blake2b(self.pattern.digest.encode(), digest_size=16)
        for array in (self.labels, self.basis):
            content.update(str((array.shape, array.dtype.str)).encode())
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NullSpace):
            return NotImplemented
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<NullSpace of dimension {self.dimension} in {self.pattern.shape[0]}>"

    # ---- what is added to a matrix ----

    def ground(self, values: Any) -> Any:
        """Return the packed values of Q+ from those of Q: ``values * m + c``, m and c constant.

        Parameters
        ----------
        values : (..., len(pattern.indices)) array of any framework

        Returns
        -------
        array of the same type
        """
        factor = np.ones(self.pattern.indices.shape[0], dtype=values.dtype)
        factor[self.scaled] = 2
        grounded = values * factor
        if self.shifted.size:
            term = np.zeros_like(factor)
            term[self.shifted] = 1
            grounded = grounded + term
        return grounded

    def unground(self, values: np.ndarray) -> np.ndarray:
        """Return the packed values of Q from those of Q+, exactly.

        Parameters
        ----------
        values : (..., len(pattern.indices)) ndarray

        Returns
        -------
        ndarray of the same shape
        """
        values = values.copy()
        values[..., self.scaled] /= 2
        values[..., self.shifted] = 0
        return values

    def log_correction(self, values: np.ndarray) -> np.ndarray:
        """Return ``log pdet(Q) - log det(Q+)`` from the packed values of Q.

        Parameters
        ----------
        values : (..., len(pattern.indices)) ndarray

        Returns
        -------
        (...) float64 ndarray
        """
        diagonal = np.real(values[..., self.scaled]).astype(np.float64)
        return -np.log(diagonal).sum(axis=-1) - self.log_volume

    # ---- the projection ----

    def coordinates(self, x: np.ndarray) -> np.ndarray:
        """Return ``V^H x`` in blocks.

        Parameters
        ----------
        x : (n, ...) ndarray

        Returns
        -------
        (blocks, w, ...) ndarray
        """
        basis = self.basis_as(x.dtype)
        if self.blocks == 1:
            return np.tensordot(basis.conj(), x, axes=(0, 0))[None]
        terms = basis.conj().reshape(*basis.shape, *(1,) * (x.ndim - 1)) * x[:, None]
        flat = terms.reshape(len(x), math.prod(terms.shape[1:]))
        sums = self._membership.astype(terms.dtype) @ flat
        return sums.reshape(self.blocks, *terms.shape[1:])

    def expand(self, y: np.ndarray) -> np.ndarray:
        """Return ``V y`` of coordinates in blocks.

        Parameters
        ----------
        y : (blocks, w, ...) ndarray

        Returns
        -------
        (n, ...) ndarray
        """
        basis = self.basis_as(y.dtype)
        if self.blocks == 1:
            return np.tensordot(basis, y[0], axes=(1, 0))
        return np.einsum("iw,iw...->i...", basis, y[self.labels])

    def project(self, x: np.ndarray) -> np.ndarray:
        """Return ``x - V V^H x``, the part of x that is orthogonal to the null space.

        Parameters
        ----------
        x : (n, ...) ndarray

        Returns
        -------
        ndarray of the same shape
        """
        x = unmasked(x, "x")
        scalar_dtype(x.dtype)
        return x - self.expand(self.coordinates(x))

    def dense(self) -> np.ndarray:
        """Return the orthonormal basis as a dense (n, k) array, block by block.

        Returns
        -------
        (n, k) ndarray
        """
        if self.blocks == 1:
            return self.basis.copy()
        rows, slots = np.nonzero(self.basis)
        columns = self.labels[rows] * self.basis.shape[1] + slots
        _, columns = np.unique(columns, return_inverse=True)
        V = np.zeros((self.basis.shape[0], self.dimension), self.basis.dtype)
        V[rows, columns] = self.basis[rows, slots]
        return V

    def basis_as(self, dtype: Any) -> np.ndarray:
        """Return the basis in the precision of a type; complex where the basis is.

        Parameters
        ----------
        dtype : dtype

        Returns
        -------
        (n, w) ndarray
        """
        single = np.finfo(np.dtype(dtype)).dtype == np.float32
        kind = {"f": np.float32, "c": np.complex64}[self.basis.dtype.kind]
        return self.basis.astype(kind) if single else self.basis

    @cached_property
    def _membership(self) -> csr_array:
        """The matrix that sums over the rows of each block."""
        n = self.labels.shape[0]
        return csr_array((np.ones(n), (self.labels, np.arange(n))), shape=(self.blocks, n))

    def half_correction(self, WV: np.ndarray) -> np.ndarray:
        """Return X with ``P W P = W - V X^H - X V^H`` in blocks, from ``W V``.

        Parameters
        ----------
        WV : (n, ..., w) ndarray

        Returns
        -------
        ndarray of the same shape
        """
        return WV - self.expand(self.coordinates(WV)) / 2

    # ---- does it fit ----

    def require(self, packed: np.ndarray, *, is_batch: bool = False) -> None:
        """Raise ValueError naming a row where Q V is not zero but for rounding.

        Parameters
        ----------
        packed : (count, len(pattern.indices)) ndarray
        is_batch : bool, optional
            Whether the error names the matrix.
        """
        packed, length = unmasked(packed, "packed"), len(self.pattern.indices)
        scalar_dtype(packed.dtype)
        if packed.ndim != 2 or packed.shape[1] != length:
            raise ValueError(f"packed is (count, {length}), but its shape is {packed.shape}")
        packed = packed.astype(scalar_dtype(packed.dtype), copy=False)
        if self.basis.dtype.kind == "c" and packed.dtype.kind != "c":
            raise TypeError("null_space= is complex and the matrix is real: pass a real basis")
        starts, members, sources = self.pattern._both_triangles
        wide = packed.astype(np.result_type(packed.dtype, np.float64), copy=False)
        wide = np.ascontiguousarray(wide)
        data = np.empty((len(wide), sources.size), wide.dtype)
        for matrix, out in zip(wide, data, strict=True):
            expand(matrix, sources, out)

        def of_columns(terms):
            return np.add.reduceat(terms, starts[:-1], axis=-1)

        # A row of Q is a column of its conjugate.
        terms = data.conj()[:, None] * self.basis.T[:, members]
        product, size = np.abs(of_columns(terms)), of_columns(np.abs(terms))
        span = np.abs(self.basis).max(axis=0, initial=0)[:, None]
        eps = EPS[packed.dtype]
        allowed = ROUNDINGS * eps * of_columns(np.abs(data))[:, None] * span + eps**0.5 * size
        wrong = ~(product <= allowed) | ~np.isfinite(product)  # infinity is not below itself
        if wrong.any():
            at = np.unravel_index(np.argmax(product * wrong), product.shape)
            item, _, row = at
            raise ValueError(
                f"null_space= is not in the null space of"
                f" {f'matrix {item} of the batch' if is_batch else 'the matrix'}: in row {row} the"
                f" product with an orthonormal basis is {product[at]:.3g}, and its terms are of the"
                f" size {size[at]:.3g}"
            )


NullSpaceLike: TypeAlias = NullSpace | MatrixLike | Literal["components"]


def _blocks(pattern, V) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the block of each row, the orthonormal basis in blocks, and which slots are used."""
    n = pattern.shape[0]
    if isinstance(V, str):
        if V != "components":
            raise ValueError(f"null_space= is a matrix or 'components', not {V!r}")
        count, labels = components(pattern)
        sizes = np.bincount(labels, minlength=count)
        return labels, 1 / np.sqrt(sizes[labels])[:, None], np.ones((count, 1), bool)
    if issparse(V):
        V = _read_sparse(V, n)
        blocks = _within_components(pattern, V)
        if blocks is not None:
            return blocks
        V = V.toarray()
    V = _read_dense(V, n)
    basis = _orthonormal(V, np.arange(V.shape[1]))
    return np.zeros(n, np.int64), basis, np.ones((1, V.shape[1]), bool)


def components(pattern: "SymbolicFactor") -> tuple[int, np.ndarray]:
    """Return the number of connected components of a pattern, and the one of each row.

    Parameters
    ----------
    pattern : SymbolicFactor

    Returns
    -------
    count : int
    labels : (n,) int64 ndarray
    """
    n = pattern.shape[0]
    if n == 0:
        return 0, np.zeros(0, np.int64)
    ones = np.ones(pattern.indices.shape[0], np.int8)
    graph = csc_array((ones, pattern.indices, pattern.indptr), shape=(n, n))
    count, labels = connected_components(graph, directed=False)
    return count, labels.astype(np.int64)


def _check_shape(shape, n) -> None:
    if len(shape) != 2 or shape[0] != n or shape[1] == 0:
        raise ValueError(
            f"null_space= has shape {tuple(shape)}: it is ({n},) or ({n}, k), a column for each"
            " direction of the null space"
        )


def _read_dense(V, n) -> np.ndarray:
    """Return a dense V in double precision; raise an error if it cannot be a basis."""
    V = unmasked(V, "null_space")
    V = V[:, None] if V.ndim == 1 else V
    _check_shape(V.shape, n)
    V = V.astype(np.result_type(scalar_dtype(V.dtype), np.float64))
    check_finite(V, "null_space")
    return V


def _read_sparse(V, n) -> csc_array:
    """Return a sparse V in double precision; raise an error if it cannot be a basis."""
    arrays = compressed(V, name="null_space", check_shape=lambda shape: _check_shape(shape, n))
    row, column = not_finite(arrays)
    if row.size:
        raise ValueError(
            f"null_space must not hold infinities or NaNs: null_space[{row[0]}, {column[0]}] does"
        )
    A = as_scipy(arrays)
    A = csc_array(A.astype(np.result_type(A.dtype, np.float64)))
    A.sum_duplicates()
    A.eliminate_zeros()
    return A


def _within_components(pattern, V):
    """Return the blocks of a sparse V, or None if a column lies in several components."""
    (n, k), (count, labels) = V.shape, components(pattern)
    entries = np.diff(V.indptr)
    if not entries.all():
        raise ValueError(f"column {np.argmin(entries)} of null_space= is zero")
    column = np.repeat(np.arange(k), entries)
    block = labels[V.indices[V.indptr[:-1]]]
    if (labels[V.indices] != block[column]).any():
        return None
    # The place of each column among those of its block.
    order = np.argsort(block, kind="stable")
    first = np.searchsorted(block[order], block[order])
    slot = np.empty(k, np.int64)
    slot[order] = np.arange(k) - first
    slots = np.zeros((count, slot.max() + 1), bool)
    slots[block, slot] = True
    basis = np.zeros((n, slots.shape[1]), V.dtype)
    basis[V.indices, slot[column]] = V.data
    if slots.shape[1] == 1:
        square = np.bincount(labels, (basis[:, 0] * basis[:, 0].conj()).real, minlength=count)
        norm = np.sqrt(square)
        norm[~slots[:, 0]] = 1
        return labels, basis / norm[labels][:, None], slots
    names = np.full(slots.shape, -1)
    names[block, slot] = np.arange(k)
    for rows, used, name in zip(_members(labels, count), slots, names, strict=True):
        if used.any():
            part = np.ix_(rows, np.flatnonzero(used))
            basis[part] = _orthonormal(basis[part], name[used])
    return labels, basis, slots


def _members(labels, count) -> list[np.ndarray]:
    """Return the rows of each block."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))


def _orthonormal(V, names) -> np.ndarray:
    """Return an orthonormal basis of the columns of V; `names` are their numbers in messages."""
    norm = np.linalg.norm(V, axis=0)
    if not norm.all():
        raise ValueError(f"column {names[np.argmin(norm)]} of null_space= is zero")
    Q, R, order = scipy.linalg.qr(V / norm, mode="economic", pivoting=True)
    size = np.zeros(len(order))
    size[: min(R.shape)] = np.abs(np.diag(R))
    dependent = np.flatnonzero(size <= DEPENDENT)
    if dependent.size:
        raise ValueError(
            f"the columns of null_space= are linearly dependent: column"
            f" {names[order[dependent[0]]]} is a combination of others"
        )
    return Q


def _grounded(pattern, labels, basis, slots) -> tuple[np.ndarray, float]:
    """Return the rows to ground, and ``2 log |det V_J|``.

    Of a single vector it is the row with the largest number, and of several such rows one with
    most neighbors; else the rows that QR with pivoting takes first.
    """
    count, width = slots.shape
    if width == 1:
        weight = np.abs(basis[:, 0])
        most = np.zeros(count)
        np.maximum.at(most, labels, weight)
        most[most == 0] = 1
        nearly = (weight / most[labels]).round(6)
        order = np.lexsort((-_degrees(pattern), -nearly, labels))
        first = order[np.searchsorted(labels[order], np.arange(count))]
        rows = first[slots[:, 0]]
        return rows, float(2 * np.log(weight[rows]).sum())
    rows, log_volume = [], 0.0
    for members, used in zip(_members(labels, count), slots, strict=True):
        k = int(used.sum())
        if k:
            V = basis[members][:, used]
            R, order = scipy.linalg.qr(V.conj().T, mode="r", pivoting=True)
            rows.append(members[order[:k]])
            log_volume += float(2 * np.log(np.abs(np.diag(R))).sum())
    return np.concatenate(rows), log_volume


def _degrees(pattern) -> np.ndarray:
    """Count the entries of each row off the diagonal."""
    n = pattern.shape[0]
    return np.bincount(pattern.indices, minlength=n) + np.diff(pattern.indptr) - 2


def low_rank_entries(V: Any, X: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
    """Return entries of ``V X^H + X V^H``.

    Parameters
    ----------
    V, X : (..., n, k) array of any framework
    rows, columns : ndarray of int, of one shape

    Returns
    -------
    array of that shape, behind the leading dimensions
    """
    left = V[..., rows, :] * X[..., columns, :].conj()
    right = X[..., rows, :] * V[..., columns, :].conj()
    return (left + right).sum(axis=-1)
