"""DistributedSymbolic: the analyzed pattern of a matrix whose entries lie on many ranks."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any
from zlib import crc32

import numpy as np
from scipy.sparse import coo_array, csc_array

from .._cached import cached_property
from .._core.ordering.choose import Ordering, find_ordering
from .._core.parallel.threads import thread_count
from .._core.symbolic.patterns import lower_pattern
from .._exceptions import NotPositiveDefiniteError
from .._scipy import symmetry
from .._scipy.input import as_scipy, check_square, compressed
from .._scipy.packed_values import PackedPattern
from .._scipy.pivots import external_stacklevel
from .._scipy.symmetry import refuse_empty_triangle, triangles
from ._context import ROOT, Context, broadcast, common, everywhere, to_root
from ._factor import DistributedFactor
from ._substructure import Substructure

NO_PART = "A is None on all ranks: at least one of them must have a part of the matrix"


class DistributedSymbolic(PackedPattern):
    """Hold the analysis of a symmetric pattern, each rank with its own part.

    `sparsechol.distributed.analyze` makes it. Rank 0 orders the whole pattern, without values.
    Afterwards each rank keeps its own part and the permutation.

    Attributes
    ----------
    shape : tuple of int
        Shape of the whole matrix.
    indptr, indices : ndarray
        The pattern of this rank's packed values: the lower triangle of its part by column,
        sorted, with the whole diagonal (int64 and int32). Empty on a rank without a part.
    perm : (n,) int32 ndarray
        The fill-reducing permutation: rows in the order of their elimination.
    nnz : int
        Entries of L.
    flops : float
        Sum of the squared column counts of L.
    ordering : Ordering
        The ordering that was chosen, why, and the counts of those tried.
    """

    def __init__(
        self,
        context: Context,
        pattern: tuple[np.ndarray, np.ndarray],
        perm: np.ndarray,
        counts: tuple[int, float, Ordering],
        tree: tuple[np.ndarray, np.ndarray] | None,
    ):
        self._context = context
        self.indptr, self.indices = pattern
        self.perm = perm
        self.nnz, self.flops, self.ordering = counts
        self._tree = tree  # parents and column counts in the order of `perm`, on the root

    @cached_property
    def _substructure(self) -> Substructure:
        """The division of the work on the inverse among the ranks; collective the first time."""
        pattern = self.indptr, self.indices
        return Substructure(self._context.comm, pattern, self.perm, self._tree)

    def __repr__(self) -> str:
        return (
            f"<DistributedSymbolic of shape {self.shape} on {self._context.comm.size} ranks:"
            f" {self.nnz} entries in L, {self.flops:.3g} flops, ordering {self.ordering.method!r}>"
        )

    def __reduce__(self):
        raise TypeError("a DistributedSymbolic cannot be pickled: it lives on a communicator")

    def factorize(self, A: Any, *, lower: bool = True) -> DistributedFactor:
        """Factor a matrix of the analyzed pattern; collective.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, or (len(indices),) ndarray of packed values, or None
            This rank's part, as for `sparsechol.distributed.cholesky`.
        lower : bool, optional
            Which triangle of a matrix is read; packed values are always the lower one.

        Returns
        -------
        DistributedFactor

        Raises
        ------
        NotPositiveDefiniteError, PatternMismatchError, ValueError, TypeError, MemoryError
            As for `sparsechol.distributed.cholesky`.
        """
        packed = self._part(A, lower)
        with blaming_asymmetry(self._context.comm, A, self.shape[0]):
            return self._factorize(packed)

    def _refactorize(self, factor: DistributedFactor, A: Any, lower: bool) -> None:
        """Factor another matrix in place; collective."""
        packed = self._part(A, lower, factor.dtype)
        with blaming_asymmetry(self._context.comm, A, self.shape[0]):
            factor._set(packed)

    def _factorize(self, packed: np.ndarray) -> DistributedFactor:
        """Factor this rank's packed values; collective."""
        sums = self._context.comm.allgather(crc32(packed.data))
        if len(sums) > 1 and packed.any() and len(set(sums)) == 1:
            warnings.warn(
                "all ranks have the same part: parts are added, so this is the matrix times"
                f" {len(sums)}. Pass the matrix on one rank, and None on the others",
                stacklevel=external_stacklevel(),
            )
        return DistributedFactor(self, packed)

    def _part(self, A, lower, dtype=None) -> np.ndarray:
        """Pack this rank's part, in the one dtype that all ranks have; collective."""
        comm = self._context.comm
        common(comm, "lower", bool(lower))
        arrays = everywhere(comm, lambda: compressed(A) if is_matrix(A) else None)
        check_triangles(comm, arrays, lower, values=True)
        return self._agreed(lambda: None if A is None else self._packed(A, lower, dtype))

    def _check_triangle(self, arrays, lower, remedy) -> None:
        """Let a part hold what it likes: `check_triangles` looks at all of them."""

    def _agreed(self, pack: Callable[[], np.ndarray | None]) -> np.ndarray:
        """Return the packed values of this rank's part, zeros where there is none; collective."""
        comm = self._context.comm
        packed = everywhere(comm, pack)
        name = common(comm, "dtype", None if packed is None else packed.dtype.str, TypeError)
        if name is None:
            raise ValueError(NO_PART)
        return np.zeros(self.indices.size, dtype=name) if packed is None else packed


def check_order(shape, width):
    """Raise unless `shape` is that of a square matrix whose rows MUMPS can count."""
    check_square(shape)
    if width * shape[0] >= 2**31 - 1:
        raise OverflowError(f"MUMPS cannot count {width} x {shape[0]} rows")


def read_part(comm, A, lower, check_symmetric):
    """Return this rank's part, read and checked, and the order of the whole matrix; collective."""
    common(comm, "lower", bool(lower))
    common(comm, "check_symmetric", bool(check_symmetric))

    def read():
        if A is None:
            return None
        width = 2 if np.iscomplexobj(A) else 1
        return compressed(A, check_shape=lambda shape: check_order(shape, width))

    arrays = everywhere(comm, read)
    shape = common(comm, "the shape of A", None if arrays is None else arrays.shape)
    if shape is None:
        raise ValueError(NO_PART)
    check_triangles(comm, arrays, lower, values=False)
    if check_symmetric:
        require_symmetric(comm, arrays, shape[0])
    return arrays, shape[0]


def analyze_parts(context, arrays, n, method, lower, reuse) -> DistributedSymbolic:
    """Analyze parts that have been read, for many factorizations or for one; collective."""
    if arrays is None:
        pattern = np.zeros(n + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    else:
        starts = arrays.starts
        pattern = lower_pattern(starts, arrays.indices, (arrays.format == "csc") == lower)
    return DistributedSymbolic(context, pattern, *find_order(context.comm, pattern, method, reuse))


def find_order(comm, pattern, method, reuse):
    """Order the union of all parts on the root; return permutation, counts and the root's tree."""
    n = pattern[0].size - 1
    starts, members = to_root(comm, pattern[0]), to_root(comm, pattern[1])

    def ordered():
        if comm.rank != ROOT:
            return np.empty(n, dtype=np.int32), None, None
        tree, ordering = find_ordering(*union(starts, members), method, reuse, thread_count())
        return tree.perm, (tree.nnz, tree.flops, ordering), (tree.parent, tree.counts)

    perm, counts, tree = everywhere(comm, ordered)
    return broadcast(comm, np.ascontiguousarray(perm)), comm.bcast(counts, ROOT), tree


def union(starts, members):
    """Return the lower pattern of the sum of matrices with these lower patterns."""
    n = starts[0].size - 1
    parts = [
        csc_array((np.ones(m.size, dtype=bool), m, s), shape=(n, n))
        for s, m in zip(starts, members, strict=True)
        if m.size
    ]
    if len(parts) == 1:
        [place] = [k for k, m in enumerate(members) if m.size]
        return starts[place], members[place]
    if not parts:  # of order zero
        return starts[0], members[0]
    whole = reduce(add, parts)
    return whole.indptr.astype(np.int64), whole.indices.astype(np.int32)


def check_triangles(comm, arrays, lower, values) -> None:
    """Refuse parts that together are the triangle that is not read; collective."""
    found = everywhere(comm, lambda: (0, 0) if arrays is None else triangles(arrays, lower))
    read, other = map(max, zip(*comm.allgather(found), strict=True))
    refuse_empty_triangle(read, other, lower, values)


def require_symmetric(comm, arrays, n) -> None:
    """Raise ValueError naming an entry of the sum of all parts that differs from its mirror image.

    Collective.
    """
    reason = asymmetry(comm, arrays, n)
    if reason is not None:
        raise ValueError(f"{reason} (with check_symmetric=False one triangle is read alone)")


def asymmetry(comm, arrays, n) -> str | None:
    """Return in what the sum of all parts is not symmetric, if it is not; collective.

    Each rank looks at a share of the rows of the lower triangle, and at the columns above it.
    """
    row = column = np.empty(0, dtype=np.int64)
    data = diagonal = np.empty(0)
    if arrays is not None:
        A = as_scipy(arrays).tocoo()
        (row, column), data, diagonal = A.coords, A.data, A.diagonal()
    both = any(comm.allgather(bool((row > column).any())))
    both &= any(comm.allgather(bool((row < column).any())))
    diagonal = np.sum([part for part in comm.allgather(diagonal) if part.size], axis=0)
    share = np.maximum(row, column).astype(np.int64) * comm.size // max(n, 1)
    pieces = [(row[at], column[at], data[at]) for at in map(share.__eq__, range(comm.size))]
    rows, columns, values = map(np.concatenate, zip(*comm.alltoall(pieces), strict=True))
    A = compressed(coo_array((values, (rows, columns)), shape=(n, n)))
    reasons = comm.allgather(symmetry.asymmetry(A, whole=(both, diagonal)))
    return next(filter(None, reasons), None)


@contextmanager
def blaming_asymmetry(comm, A, n) -> Iterator[None]:
    """Let a NotPositiveDefiniteError say that the triangles of A, unchecked, differ; collective."""
    try:
        yield
    except NotPositiveDefiniteError as error:
        reason = asymmetry(comm, compressed(A) if is_matrix(A) else None, n)
        if reason is None:
            raise
        message = f"{error}. Only one triangle was read, and {reason}"
        raise NotPositiveDefiniteError(message, error.row, error.pivot) from None


def is_matrix(A) -> bool:
    """Return whether a part is a matrix: neither None nor packed values."""
    return A is not None and np.ndim(A) == 2
