"""CholeskyBatch: the factors of many matrices of one pattern."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgWarning

from .._core.numeric import factorize as _factorize
from .._core.numeric import packing, partial_inverse, solve
from .._core.parallel.threads import thread_count
from . import symbolic_factor as _symbolic
from .cholesky_factor import NO_REACH, RHS_BLOCK, CholeskyFactor, callers_level, doubtful, judge
from .factor_base import Panels, allocate
from .input import dense_rhs


class CholeskyBatch(Panels):
    """Cholesky factors of many symmetric (Hermitian) positive definite matrices of one pattern.

    Made by `SymbolicFactor.factorize_batch`. Threads take whole matrices, each with a workspace of
    its own; nothing of Python runs for a single matrix. Every result has the same bits as that of
    a single factor. ``len(batch)`` is the number of matrices, ``batch[i]`` an independent
    `CholeskyFactor` of one of them.

    Attributes
    ----------
    symbolic : SymbolicFactor
    dtype : dtype
    """

    def __init__(
        self, symbolic: "_symbolic.SymbolicFactor", packed: np.ndarray, threads: int | None = None
    ):
        size = symbolic._structure.size
        flat = allocate(len(packed) * size, packed.dtype, f"{len(packed)} factors")
        flat = flat.reshape(len(packed), size)
        self._start(symbolic, flat)
        self._set(packed, threads)

    def _set(self, packed, threads) -> None:
        """Factor packed values; the batch is unusable if that fails."""
        structure = self.symbolic._structure
        threads = self._threads(threads)
        self._values = None
        work = self._workspace(_factorize.workspace(structure, len(packed), threads))
        failed, row, value = _factorize.factorize(structure, packed, self._flat, work, threads)
        suspects = (failed >= 0) | (value <= doubtful(self.symbolic.shape[0], self.dtype))
        doubts = [
            judge(self.symbolic, packed[item], failed[item], row[item], value[item], int(item))
            for item in np.flatnonzero(suspects)
        ]
        self._values = packed
        if doubts:
            more = f" (and {len(doubts) - 1} more matrices)" if len(doubts) > 1 else ""
            warnings.warn(doubts[0] + more, LinAlgWarning, stacklevel=callers_level())

    def _threads(self, threads: int | None) -> int:
        return max(1, min(thread_count(threads), len(self)))

    def __len__(self) -> int:
        return self._flat.shape[0]

    def __getitem__(self, item: int) -> CholeskyFactor:
        factor = object.__new__(CholeskyFactor)
        own = {"_flat": self._l[item].copy(), "_values": self._values[item].copy()}
        factor.__setstate__(self.__getstate__() | own)
        return factor

    def __repr__(self) -> str:
        return (
            f"<CholeskyBatch of {len(self)} factors of shape {self.symbolic.shape}, {self.dtype}>"
        )

    def refactorize(self, values: ArrayLike, threads: int | None = None) -> "CholeskyBatch":
        """Factor as many other matrices of the same pattern in place.

        Parameters
        ----------
        values : (len(self), len(symbolic.indices)) array_like
            Packed values of each matrix.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        CholeskyBatch
            This one.

        Raises
        ------
        NotPositiveDefiniteError, ValueError, TypeError
            As for `SymbolicFactor.factorize_batch`.
        """
        packed = self.symbolic._packed_batch(values, self.dtype)
        if len(packed) != len(self):
            raise ValueError(f"{len(packed)} matrices do not fit a batch of {len(self)}")
        with self._lock:
            if not self._flat.flags.writeable:  # unpickled from read-only memory
                self._flat = np.empty_like(self._flat)
            self._set(packed, threads)
        return self

    def solve(self, b: Any, threads: int | None = None) -> np.ndarray:
        """Solve ``A_i x_i = b_i`` for every matrix.

        Parameters
        ----------
        b : (len(self), n) or (len(self), n, k) array_like
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of the shape of `b`

        Raises
        ------
        ValueError
            If the shape does not fit, or `b` holds NaN or infinity.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> S = sc.analyze(np.array([[4.0, 2.0], [2.0, 5.0]]))
        >>> batch = S.factorize_batch([[4.0, 2.0, 5.0], [1.0, 0.0, 2.0]])
        >>> batch.solve([[2.0, 9.0], [3.0, 8.0]])
        array([[-0.5,  2. ],
               [ 3. ,  4. ]])
        """
        b = np.asarray(b)
        count, n = len(self), self.symbolic.shape[0]
        if b.ndim not in (2, 3) or b.shape[:2] != (count, n):
            raise ValueError(
                f"the shapes of the batch, {count} matrices of {(n, n)}, and b, {b.shape}, do not"
                f" fit: b is ({count}, {n}) or ({count}, {n}, k)"
            )
        kind = np.result_type(self.dtype, np.complex64) if b.dtype.kind == "c" else self.dtype
        rows = b.reshape(count * n, *b.shape[2:])
        columns, _ = dense_rhs(rows, count * n, kind)
        columns = columns.reshape(count, n, b.shape[2] if b.ndim == 3 else 1)
        return self._solve(columns, threads).reshape(b.shape)

    def _solve(self, columns, threads):
        """The same for a fresh (len(self), n, k) array, which is overwritten."""
        if columns.dtype != self.dtype:
            # A real factor acts on the real and the imaginary part alike.
            k = columns.shape[2]
            parts = self._solve(np.concatenate([columns.real, columns.imag], axis=2), threads)
            columns.real, columns.imag = parts[:, :, :k], parts[:, :, k:]
            return columns
        structure, order = self.symbolic._structure, self.symbolic._order
        threads = self._threads(threads)
        block = max(1, min(RHS_BLOCK, columns.shape[2]))
        work = np.empty(solve.workspace(structure, block, threads), dtype=self.dtype)
        solve.solve(
            structure,
            self._l,
            columns,
            work,
            True,
            True,
            order,
            order,
            NO_REACH,
            block,
            threads,
        )
        return columns

    def logdet(self) -> np.ndarray:
        """Logarithms of the determinants, (len(self),) float64 ndarray."""
        out = np.empty(len(self))
        solve.logdet(self.symbolic._structure, self._l, out)
        return out

    def partial_inverse(self, threads: int | None = None) -> np.ndarray:
        """Entries of every ``A_i^-1`` on the pattern of A.

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        values : (len(self), len(symbolic.indices)) ndarray
            The lower triangles, packed as the values of the matrices are.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> S = sc.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> S.factorize_batch([[2.0, 1.0, 2.0], [1.0, 0.0, 4.0]]).partial_inverse().round(6)
        array([[ 0.666667, -0.333333,  0.666667],
               [ 1.      , -0.      ,  0.25    ]])
        """
        out = np.empty((len(self), self.symbolic.indices.shape[0]), dtype=self.dtype)
        packing.gather_values(self.symbolic._structure, self._inverse(threads), out)
        return out

    def diag_inverse(self, threads: int | None = None) -> np.ndarray:
        """Diagonals of every ``A_i^-1``, (len(self), n) real ndarray.

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.
        """
        out = np.empty((len(self), self.symbolic.shape[0]), dtype=np.finfo(self.dtype).dtype)
        packing.gather_diagonal(self.symbolic._structure, self._inverse(threads), out)
        return out

    def _inverse(self, threads) -> np.ndarray:
        """Panels of the partial inverses."""
        structure = self.symbolic._structure
        threads = self._threads(threads)
        flat = allocate(self._flat.size, self.dtype, "the partial inverse")
        flat = flat.reshape(self._flat.shape)
        length = partial_inverse.workspace(structure, len(self), threads)
        work = allocate(length, self.dtype, "the workspace")
        partial_inverse.partial_inverse(structure, self._l, flat, work, threads)
        return flat
