"""DistributedSymbolic: the pattern of a matrix whose entries may lie on many ranks, ordered."""

import warnings
from functools import cached_property, reduce
from operator import add
from typing import Any
from zlib import crc32

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array

from .._core.ordering import Ordering, find_ordering
from .._core.parallel.threads import thread_count
from .._core.symbolic.patterns import lower_pattern
from .._scipy import symbolic_factor as serial
from .._scipy.cholesky_factor import callers_level
from .._scipy.input import as_scipy, check_square, compressed
from .._scipy.packed_values import PackedPattern
from . import _factor
from ._context import ROOT, Context, broadcast, common, context_of, everywhere, to_root
from ._substructure import Substructure


class DistributedSymbolic(PackedPattern):
    """Analysis of a symmetric pattern, each rank with its own part of it.

    Made by `sparsechol.distributed.analyze`. The whole pattern, without values, was on rank 0 for
    a moment to be ordered; what stays on each rank is its own part and the permutation.

    Attributes
    ----------
    shape : tuple of int
        Shape of the whole matrix.
    indptr, indices : ndarray
        The pattern of this rank's packed values: the lower triangle of its part by column,
        sorted, with the whole diagonal (int64 and int32). Empty on a rank that handed no part.
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
        self.shape = (perm.size, perm.size)
        self._tree = tree  # parents and column counts in the order of `perm`, on the root

    @cached_property
    def _substructure(self) -> Substructure:
        """Who works on what for the inverse on the pattern; the first time collective."""
        pattern = self.indptr, self.indices
        return Substructure(self._context.comm, pattern, self.perm, self._tree)

    def __repr__(self) -> str:
        return (
            f"<DistributedSymbolic of shape {self.shape} on {self._context.comm.size} ranks:"
            f" {self.nnz} entries in L, {self.flops:.3g} flops, order {self.ordering.method!r}>"
        )

    def __reduce__(self):
        raise TypeError("what lives on a communicator cannot be pickled")

    def factorize(self, A: Any, lower: bool = True) -> "_factor.DistributedFactor":
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
        sums = self._context.comm.allgather(crc32(packed))
        if len(sums) > 1 and packed.any() and len(set(sums)) == 1:
            warnings.warn(
                "all ranks hand the same matrix: parts are added, so this is the matrix times"
                f" {len(sums)}. Hand it on one rank, and None on the others",
                stacklevel=callers_level(),
            )
        return _factor.DistributedFactor(self, packed)

    def _part(self, A, lower, dtype=None) -> np.ndarray:
        """Packed values of this rank's part, of the one type that all ranks have; collective."""
        comm = self._context.comm

        def pack():
            return None if A is None else self._packed(A, lower, dtype)

        common(comm, "lower", bool(lower))
        packed = everywhere(comm, pack)
        name = common(comm, "dtype", None if packed is None else packed.dtype.str, TypeError)
        if name is None:
            raise ValueError("no rank handed a matrix: all parts are None")
        return np.zeros(self.indices.size, dtype=name) if packed is None else packed


def analyze(
    A: Any,
    comm: MPI.Intracomm,
    ordering: str | ArrayLike = "auto",
    lower: bool = True,
    check_symmetric: bool = False,
) -> DistributedSymbolic:
    """Analyze the pattern of a symmetric matrix for repeated factorization; collective.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, dense array, or None
        This rank's part of the matrix, as for `sparsechol.distributed.cholesky`.
    comm : mpi4py.MPI.Intracomm
        A duplicate of it is used and kept with it.
    ordering : str or (n,) array_like of int, optional
        Fill-reducing ordering, see `sparsechol.analyze`; that of rank 0 counts.
    lower : bool, optional
        Whether the lower triangle is read (default) or the upper one; the same on all ranks.
    check_symmetric : bool, optional
        Test that the sum of all parts is symmetric and raise ValueError where it is not.

    Returns
    -------
    DistributedSymbolic

    Raises
    ------
    ValueError
        On every rank, if a part is not square, shapes or options differ between ranks, all parts
        are None, the matrix is not symmetric with ``check_symmetric=True``, or index arrays are
        corrupt.
    OverflowError
        If rows cannot be counted by MUMPS's integers.
    """
    return analyze_for(A, comm, ordering, lower, check_symmetric, reuse=True)


def analyze_for(A, comm, method, lower, check_symmetric, reuse) -> DistributedSymbolic:
    """`analyze`, for many factorizations or for one."""
    context = context_of(comm)
    comm = context.comm
    common(comm, "lower", bool(lower))
    common(comm, "check_symmetric", bool(check_symmetric))

    def read():
        if A is None:
            return None
        arrays = compressed(A)
        check_square(arrays.shape)
        width = 2 if arrays.data.dtype.kind == "c" else 1
        if width * arrays.shape[0] >= 2**31 - 1:
            raise OverflowError(f"MUMPS cannot count {width} x {arrays.shape[0]} rows")
        return arrays

    arrays = everywhere(comm, read)
    shape = common(comm, "the shape of A", None if arrays is None else arrays.shape)
    if shape is None:
        raise ValueError("no rank handed a matrix: all parts are None")
    if check_symmetric:
        require_symmetric(comm, arrays, shape[0])
    if arrays is None:
        pattern = np.zeros(shape[0] + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    else:
        starts = np.asarray(arrays.indptr, dtype=np.int64)
        pattern = lower_pattern(starts, arrays.indices, (arrays.format == "csc") == lower)
    return DistributedSymbolic(context, pattern, *find_order(comm, pattern, method, reuse))


def find_order(comm, pattern, method, reuse):
    """Permutation, counts and tree (on the root) of the union of all parts; the root orders."""
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
    """Lower pattern of the sum of matrices with these lower patterns."""
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


def require_symmetric(comm, arrays, n) -> None:
    """ValueError naming an entry of the sum of all parts that is not the conjugate of its mirror.

    Each rank looks at a share of the rows of the lower triangle, and at the columns above it.
    """
    row = column = np.empty(0, dtype=np.int64)
    data = np.empty(0)
    if arrays is not None:
        A = as_scipy(arrays).tocoo()
        (row, column), data = A.coords, A.data
    share = np.maximum(row, column).astype(np.int64) * comm.size // max(n, 1)
    pieces = [(row[at], column[at], data[at]) for at in map(share.__eq__, range(comm.size))]
    rows, columns, values = map(np.concatenate, zip(*comm.alltoall(pieces), strict=True))
    A = compressed(coo_array((values, (rows, columns)), shape=(n, n)))
    everywhere(comm, lambda: serial.require_symmetric(A))
