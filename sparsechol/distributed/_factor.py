"""DistributedFactor: the factor of a matrix that lies in MUMPS, on all ranks of a communicator."""

from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, issparse

from .._exceptions import NotPositiveDefiniteError
from .._scipy.factor_base import Slogdet
from .._scipy.input import dense_rhs, entry_numbers
from . import _engine
from ._context import ROOT, broadcast, common, everywhere, from_root, move, to_root
from ._layout import Hermitian, Real

if TYPE_CHECKING:
    from ._analysis import DistributedSymbolic

# Numbers that are handed to MUMPS in one call at most: it counts them in 32 bits.
MOST_NUMBERS = 2**29


class DistributedFactor:
    """Hold the Cholesky factor of a symmetric (Hermitian) positive definite matrix on many ranks.

    `sparsechol.distributed.cholesky` and `DistributedSymbolic.factorize` make it. The methods have
    the names and the meaning of those of `sparsechol.CholeskyFactor`. All methods but `logdet` and
    `slogdet` are collective: every rank calls them, in the same order, or all ranks wait forever.
    An error is raised on every rank, with the same type and message.

    A factor that all ranks have dropped frees its memory at the next collective call that makes
    or finalizes a factor on the same communicator.

    Attributes
    ----------
    pattern : DistributedSymbolic
        The analyzed pattern.
    shape : tuple of int
    dtype : dtype
    perm : (n,) int32 ndarray
        Rows in the order of their elimination.
    nnz : int
        Entries of L.
    """

    def __init__(self, pattern: "DistributedSymbolic", packed: np.ndarray):
        self.pattern = pattern
        self.dtype = packed.dtype
        self._logdet: float | None = None
        self._workspace = _engine.FIRST_WORKSPACE
        self._layout = Hermitian() if packed.dtype.kind == "c" else Real()
        self._comm = pattern._context.comm
        self._mumps: Any = None  # an empty matrix needs no MUMPS
        if self.shape[0] == 0:
            self._set(packed)
            return
        if self._layout.width * self.shape[0] >= 2**31 - 1:
            raise OverflowError(f"MUMPS cannot count {self._layout.width} x {self.shape[0]} rows")
        self._mumps, self._drop = _engine.start(pattern._context, self, packed.dtype)
        self._places()
        self._set(packed)

    def _places(self) -> None:
        """Hand the pattern and the ordering to MUMPS."""
        row, column = self._coordinates()
        self._rows, self._columns = self._layout.entries(row, column)
        self._values = np.zeros(self._rows.size, dtype=self._mumps.dtype)
        m = self._layout.width * self.shape[0]
        self._mumps.set_entries(m, self._rows, self._columns, self._values)
        if self._comm.rank == ROOT:
            self._mumps.set_places(self._layout.places(self.perm))
        _engine.analyze(self._mumps)

    def _coordinates(self):
        """Return row and column of each packed value of this rank."""
        pattern = self.pattern
        column = np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(pattern.indptr))
        return pattern.indices, column

    def _set(self, packed: np.ndarray) -> None:
        """Factor this rank's packed values; the factor is unusable if that fails."""
        if self.shape[0] == 0:
            self._logdet = 0.0
            return
        self._logdet = None
        exponent = self._exponents(packed)
        scale = np.exp2(exponent)
        row, column = self._coordinates()
        with np.errstate(over="ignore", invalid="ignore"):  # never where A is positive definite
            packed *= scale[row]
            packed *= scale[column]
        self._scaled = packed
        self._values[...] = self._layout.values(row, column, packed)
        self._workspace = _engine.factorize(self._mumps, self._workspace)
        _engine.check_factor(self._mumps, self.shape[0], self.dtype)
        logdet = _engine.logdet(self._mumps) / self._layout.width
        self._logdet = float(logdet - 2 * np.log(2.0) * exponent.sum())
        self._scale = scale

    def _exponents(self, packed: np.ndarray) -> np.ndarray:
        """Return the powers of two that bring the diagonal of A between 1/2 and 2."""
        n = self.shape[0]
        own = np.zeros(n)
        if packed.size:
            own = np.real(packed[self.pattern.indptr[:-1]]).astype(np.float64)
        diagonal = np.empty(n)
        self._comm.Reduce(own, diagonal, MPI.SUM, ROOT)
        broadcast(self._comm, diagonal)
        failed = np.flatnonzero(~((diagonal > 0) & (diagonal < np.inf)))
        if failed.size:
            row, value = int(failed[0]), float(diagonal[failed[0]])
            raise NotPositiveDefiniteError(
                "the matrix is not positive definite: the diagonal entry at row and column"
                f" {row} is {value:.6g}",
                row,
                value,
            )
        return -(np.frexp(diagonal)[1] // 2).astype(np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.pattern.shape

    @property
    def perm(self) -> np.ndarray:
        """Rows in the order of their elimination."""
        return self.pattern.perm

    @property
    def nnz(self) -> int:
        """Entries of L."""
        return self.pattern.nnz

    def __repr__(self) -> str:
        return (
            f"<DistributedFactor of shape {self.shape}, {self.dtype}, on {self._comm.size} ranks:"
            f" {self.nnz} entries in L>"
        )

    def __reduce__(self):
        raise TypeError("what lives on a communicator cannot be pickled")

    def __enter__(self) -> "DistributedFactor":
        return self

    def __exit__(self, *raised) -> None:
        self.finalize()

    def finalize(self) -> None:
        """Free the memory of the factor on all ranks now; collective. Do nothing if it is free."""
        if self._mumps is not None and not self._mumps.finished:
            self._drop()
            self.pattern._context.sweep()

    def refactorize(self, A: Any, *, lower: bool = True) -> "DistributedFactor":
        """Factor another matrix of the same pattern in place; collective.

        If A is not positive definite, the factor cannot be used until the next successful call.
        If A has the wrong shape, a nonzero outside the pattern, NaN or infinity, an error is raised
        and the old factor stays valid.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, ndarray of packed values, or None
            This rank's part, within the pattern of the part that it handed to the analysis;
            converted to the dtype of this factor.
        lower : bool, optional
            Which triangle of a matrix is read; packed values are always the lower one.

        Returns
        -------
        DistributedFactor
            This factor.

        Raises
        ------
        NotPositiveDefiniteError, PatternMismatchError, ValueError, TypeError, MemoryError
            As for `sparsechol.distributed.cholesky`. TypeError also if a complex matrix meets a
            real factor, ValueError if the factor is finalized.
        """
        self._require_alive()
        self.pattern._refactorize(self, A, lower)
        return self

    def _require_alive(self):
        if self._mumps is not None and self._mumps.finished:
            raise ValueError("this factor is finalized: factor again")

    def _require_factor(self) -> float:
        """Return the log-determinant of a valid factor; raise an error if there is none."""
        self._require_alive()
        if self._logdet is None:
            raise np.linalg.LinAlgError("there is no factor: the last factorization failed")
        return self._logdet

    def logdet(self) -> float:
        """Return the logarithm of the determinant of A, on every rank; not collective.

        Returns
        -------
        float
        """
        return self._require_factor()

    def slogdet(self) -> Slogdet[float]:
        """Return the sign and the logarithm of the determinant; not collective.

        Returns
        -------
        sign : float
            One: the matrix is positive definite.
        logabsdet : float
            The same as `logdet`.
        """
        return Slogdet(1.0, self.logdet())

    def solve(self, b: Any) -> np.ndarray:
        """Solve ``A x = b``; collective.

        Parameters
        ----------
        b : (n,) or (n, k) array_like, or None
            The whole right-hand sides; not modified. The lowest rank that has some decides; the
            others may pass the same or None. A real factor takes complex right-hand sides too.

        Returns
        -------
        x : ndarray of the shape of `b`
            The whole solution, on every rank.

        Raises
        ------
        ValueError
            If the shape does not fit or differs between ranks, `b` holds NaN or infinity, or is
            None on all ranks.
        TypeError
            If `b` is sparse or not numeric.

        Notes
        -----
        MUMPS takes the right-hand sides on rank 0 and leaves the solutions there: that rank needs
        memory for all of them.
        """
        self._require_factor()
        n = self.shape[0]
        columns, shape, kind = everywhere(self._comm, lambda: self._rhs(b))
        shape = common(self._comm, "the shape of b", shape)
        if shape is None:
            raise ValueError("b is None on all ranks: one of them must have the right-hand sides")
        kinds = self._comm.allgather(kind)
        [source, *_] = [rank for rank, kind in enumerate(kinds) if kind is not None]
        count = 1 if len(shape) == 1 else shape[1]
        if self._comm.rank != source:
            columns = np.empty((n, count), dtype=kinds[source], order="F")
        if n and count:
            move(self._comm, columns, source, ROOT)
            self._solve(columns)
            broadcast(self._comm, columns)
        return columns.reshape(shape)

    def _rhs(self, b) -> tuple[Any, Any, str | None]:
        """Return a fresh array, the shape of the solution and its dtype; three None for None."""
        if b is None:
            return None, None, None
        if issparse(b):
            raise TypeError("sparse right-hand sides are not supported: pass b.toarray()")
        kind = np.result_type(self.dtype, np.complex64) if np.iscomplexobj(b) else self.dtype
        columns, shape = dense_rhs(b, self.shape[0], kind, order="F")
        return columns, shape, columns.dtype.str

    def _solve(self, columns) -> None:
        """Solve for columns in Fortran order on the root, in place."""
        root = self._comm.rank == ROOT
        m, count = self._layout.width * self.shape[0], columns.shape[1]
        parted = columns.dtype != self.dtype  # a real factor acts on both parts alike
        count *= 2 if parted else 1
        real: Any = None
        if root:
            columns *= self._scale[:, None]
            real = np.hstack([columns.real, columns.imag]) if parted else columns
            real = np.asfortranarray(real).T.view(self._mumps.dtype).T
        _engine.solve(self._mumps, real, count, max(1, MOST_NUMBERS // m))
        if root:
            if parted:
                columns.real, columns.imag = real[:, : count // 2], real[:, count // 2 :]
            columns *= self._scale[:, None]

    def inverse_entries(self, rows: ArrayLike, columns: ArrayLike) -> np.ndarray:
        """Compute any entries of ``A^-1``, also outside every pattern; collective.

        Parameters
        ----------
        rows, columns : array_like of int
            Broadcast against each other; negative numbers count from the end. Each rank asks for
            entries of its own, or for none.

        Returns
        -------
        ndarray of the broadcast shape
            What this rank asked for.

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.

        Notes
        -----
        Selected inversion by pruned elimination trees (Amestoy, Duff, Robert, Rouet and Ucar
        2012), MUMPS's ICNTL(30). A column of the inverse costs two sweeps along its path to the
        root of the tree. Neighboring columns share most of their paths. All requests pass through
        rank 0.
        """
        self._require_factor()
        n = self.shape[0]

        def read():
            return entry_numbers(rows, columns, n)

        rows, columns = everywhere(self._comm, read)
        return self._entries(rows.ravel(), columns.ravel()).reshape(rows.shape)

    def _entries(self, row, column) -> np.ndarray:
        """Compute entries of the inverse, different ones on each rank."""
        comm, n = self._comm, self.shape[0]
        if n == 0:
            return np.empty(0, dtype=self.dtype)
        keys = to_root(comm, column.astype(np.int64) * n + row)
        pieces, wanted = [], []
        if comm.rank == ROOT:
            distinct, places = np.unique(np.concatenate(keys), return_inverse=True)
            wanted, values = self._requests(distinct)
        _engine.inverse(self._mumps, comm.bcast(len(wanted), ROOT), wanted)
        if comm.rank == ROOT:
            found = values[places]
            pieces = np.split(found, np.cumsum([k.size for k in keys])[:-1])
        out = from_root(comm, pieces, row.size, self.dtype)
        return out * (self._scale[row] * self._scale[column]).astype(np.real(out).dtype)

    def _requests(self, keys):
        """Return the requests to MUMPS, in blocks that 32 bits count, and the array they fill."""
        n, width = self.shape[0], self._layout.width
        values = np.empty(keys.size, dtype=self.dtype)
        block = MOST_NUMBERS // width
        wanted = []
        for begin in range(0, keys.size, block):
            column, row = np.divmod(keys[begin : begin + block], n)
            starts = np.searchsorted(column, np.arange(n + 1))
            real = values[begin : begin + block].view(self._mumps.dtype)
            wanted.append((*self._layout.requests(starts, row), real))
        return wanted, values

    def partial_inverse(self) -> csc_array:
        """Compute the entries of ``A^-1`` on the pattern of this rank's part of A; collective.

        Returns
        -------
        Z : (n, n) csc_array
            Symmetric (Hermitian), sorted; empty on a rank that handed no part.
        """
        return self.pattern._symmetric(self._packed_inverse())

    def _packed_inverse(self) -> np.ndarray:
        """Compute the entries of ``A^-1`` on the pattern of this part, as packed values."""
        self._require_factor()
        if self.shape[0] == 0:
            return np.empty(0, dtype=self.dtype)
        inverse = self.pattern._substructure.inverse(self._scaled)
        row, column = self._coordinates()
        inverse *= self._scale[row]
        inverse *= self._scale[column]
        return inverse

    def diag_inverse(self) -> np.ndarray:
        """Compute the diagonal of ``A^-1``, the marginal variances of N(0, A^-1); collective.

        Returns
        -------
        (n,) real ndarray
            The whole diagonal, on every rank.
        """
        inverse = self._packed_inverse()  # every part has the whole diagonal
        diagonal = np.empty(self.shape[0], dtype=np.finfo(self.dtype).dtype)
        if inverse.size:
            diagonal[:] = np.real(inverse[self.pattern.indptr[:-1]])
        first = self._comm.allreduce(self._comm.rank if inverse.size else self._comm.size, MPI.MIN)
        return broadcast(self._comm, diagonal, first % self._comm.size)

    def logdet_grad(self) -> np.ndarray:
        """Compute the gradient of ``log det A`` in this rank's stored values; collective.

        Returns
        -------
        (len(pattern.indices),) ndarray
            The partial inverse on the lower triangle of this rank's part, doubled below the
            diagonal; see `sparsechol.derivatives.logdet_grad`.
        """
        gradient = self._packed_inverse()
        row, column = self._coordinates()
        gradient[row != column] *= 2
        return gradient
