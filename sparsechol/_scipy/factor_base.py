"""FactorBase: what a factor and a batch of factors have in common. A factor is a batch of one."""

import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeVar, overload

import numpy as np

from .._core.numeric import determinant, packing, partial_inverse, solve
from .._core.numeric import factorize as _factorize
from .._core.numeric.operations import UNSCALED
from .._core.numeric.solve import NO_REACH, RHS_BLOCK
from .._core.parallel.threads import thread_count
from .._typing import MatrixLike, Trans, WeakPivots
from .pickling import FORMAT, check_format, restored_factor
from .pivots import accepts_weak, check_pivots, rcond, warn_of_pivots
from .quadratic import TRIANGLE_COST, pairs_of, pieces, read_rows, rows_in_inverse

if TYPE_CHECKING:
    from .cholesky_batch import CholeskyBatch
    from .cholesky_factor import CholeskyFactor
    from .factor_batch import FactorBatch
    from .single_factor import SingleFactor
    from .symbolic_factor import SymbolicFactor

KEPT = ("pattern", "dtype", "_panels", "_values")


T = TypeVar("T")


class Slogdet(NamedTuple, Generic[T]):
    """Sign and logarithm of a determinant, named as by `numpy.linalg.slogdet`."""

    sign: T
    logabsdet: T


class Substitution(NamedTuple):
    """Which triangles a solve goes through, and where the rows of its vectors are.

    Attributes
    ----------
    forward, backward : bool
        Whether L is solved with, and then L^H.
    inward, outward : (n,) int32 ndarray
        The row of b, and of x, at each row of L in the order of the kernels.
    conjugate : bool
        Whether the conjugate of the system is solved: L^T in place of L^H.
    """

    forward: bool
    backward: bool
    inward: np.ndarray
    outward: np.ndarray
    conjugate: bool = False

    def adjoint(self) -> "Substitution":
        """Return the system with the adjoint matrix."""
        return Substitution(self.backward, self.forward, self.outward, self.inward, self.conjugate)


class FactorBase:
    """Hold the panels of L for each of `count` matrices of one pattern.

    Arrays have a row for each matrix: panels (count, size), packed values (count, nnz), vectors
    (count, n, k). The packed values are None while there is no valid factor. The workspace of the
    last factorization is kept for the next one; refactorizations take turns.
    """

    pattern: "SymbolicFactor"
    dtype: np.dtype
    _panels: np.ndarray
    _values: Any  # packed values, None while there is no valid factor; (1, 0): see `_known_values`
    _owns_values: bool  # whether nothing else holds the packed values
    _ready: bool  # whether the next factorization takes one thread, and all that it needs is there
    _is_batch: ClassVar[bool]
    _signed: ClassVar[bool] = False  # whether pivots have signs, L S L^H
    _expected: Any = None  # the sign that each pivot is to have, in the kernels' order; None: any
    _kept: ClassVar[tuple[str, ...]] = KEPT
    _rows: ClassVar[tuple[str, ...]] = ("_panels", "_values")  # one of each for each matrix

    def _start(
        self, pattern: "SymbolicFactor", packed: np.ndarray, threads: int | None, rule: Any
    ) -> None:
        """Make the panels and factor packed values; `rule` says which pivots are taken."""
        structure, count = pattern._structure, len(packed)
        threads = useful_threads(structure, count, threads)
        panels = count * structure.size
        # One block, for which large pages are worth while.
        block = allocate(
            panels + _factorize.workspace(structure, count, threads),
            packed.dtype,
            f"{count} factors and their workspace"
            if self._is_batch
            else "the factor and its workspace",
        )
        state = pattern, packed.dtype, block[:panels].reshape(count, structure.size), None
        self._set_state(dict(zip(KEPT, state, strict=True)))
        self._work = block[panels:]
        self._factorize(packed, threads, rule)

    def _factorize(self, packed: np.ndarray, threads: int, rule: Any) -> None:
        """Factor packed values; the factor is unusable if that fails."""
        raise NotImplementedError

    def _refactorize(self, packed: np.ndarray, threads: int | None, rule: Any) -> None:
        """Factor other packed values, which take the place of the old ones."""
        with self._turn:
            if self._ready and (threads is None or (type(threads) is int and threads > 0)):
                threads = 1
            else:
                threads = self._make_ready(threads)
            self._factorize(packed, threads, rule)

    def _make_ready(self, asked: int | None) -> int:
        """Have memory for a factorization; return the number of threads."""
        structure, count = self.pattern._structure, self._count
        threads = useful_threads(structure, count, asked)
        length = _factorize.workspace(structure, count, threads)
        panels = self._panels
        if not panels.flags.writeable:  # unpickled from read-only memory
            panels = self._new_panels("the factor")
        if self._work.size < length:
            self._work = np.empty(0, dtype=self.dtype)
            self._work = allocate(length, self.dtype, "the workspace")
        if panels is not self._panels:
            self._values = None  # before panels that hold no factor are used
            self._use_panels(panels)
        self._ready = self._count == 1 and solve.most_threads(structure, 1) <= 1
        return threads

    def __getstate__(self):
        return {name: getattr(self, name) for name in self._kept}

    def __setstate__(self, _):
        check_format("0")  # of pickles from before they had a number

    def __reduce__(self):
        return restored_factor, (type(self), FORMAT, self.__getstate__())

    def __copy__(self) -> Self:
        self._owns_values = False  # from now on both have them
        other = object.__new__(type(self))
        other._set_state(self.__getstate__() | {"_panels": self._panels.copy()})
        return other

    def _set_state(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._work = np.empty(0, dtype=self.dtype)
        self._locks = {}
        self._owns_values = False
        self._ready = False
        self._use_panels(self._panels)

    @property
    def _turn(self) -> threading.Lock:
        """The lock of this factor in this process: in a child nobody would release the parent's."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _use_panels(self, panels: np.ndarray) -> None:
        """Hold these panels from now on."""
        self._panels = panels

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.pattern.shape

    @property
    def perm(self) -> np.ndarray:
        """The fill-reducing permutation: L is a factor of ``A[perm][:, perm]``."""
        return self.pattern.perm

    @property
    def nnz(self) -> int:
        """Entries of L."""
        return self.pattern.nnz

    @property
    def _count(self) -> int:
        """Number of matrices."""
        return self._panels.shape[0]

    @property
    def _valid_panels(self) -> np.ndarray:
        """Panels of each L, if there is a valid factor."""
        if self._values is None:
            raise np.linalg.LinAlgError("there is no factor: the last factorization failed")
        return self._panels

    @property
    def _known_values(self) -> np.ndarray:
        """Packed values of each matrix, unless an update has left the pattern of A."""
        self._valid_panels  # noqa: B018 - raises where there is no factor
        if self._values.shape[1] != self.pattern.indices.shape[0]:
            raise np.linalg.LinAlgError(
                "an update has put entries outside the analyzed pattern, so that the values of the"
                " matrix are not known: analyze(A, reserve=C) makes room for them"
            )
        return self._values

    def _new_panels(self, what: str) -> np.ndarray:
        """Return uninitialized panels for each matrix."""
        return allocate(self._panels.size, self.dtype, what).reshape(self._panels.shape)

    def _user_shape(self, *shape: int) -> tuple[int, ...]:
        """Return the shape of an array that has `shape` for each matrix."""
        return (self._count, *shape) if self._is_batch else shape

    def _result(self, rows: np.ndarray) -> np.ndarray:
        """Return an array with a row for each matrix as the user wants it."""
        return rows if self._is_batch else rows[0]

    def _scalars(self, values: np.ndarray) -> Any:
        """Return a number for each matrix as the user wants it."""
        return values if self._is_batch else float(values[0])

    def _vector_dtype(self, is_complex: bool) -> np.dtype:
        """Return the dtype of solutions for real or complex right-hand sides."""
        return np.result_type(self.dtype, np.complex64) if is_complex else self.dtype

    def _threads(self, asked: int | None) -> int:
        """Return the number of threads for a sweep of every matrix."""
        return useful_threads(self.pattern._structure, self._count, asked)

    # ---- solves ----

    def _both_triangles(self) -> Substitution:
        """Return the system A x = b."""
        order = self.pattern._order
        return Substitution(True, True, order, order)

    def _one_triangle(self, trans: Trans, permute: bool) -> Substitution:
        """Return the system L y = P b, L^T P x = b or L^H P x = b."""
        order, post = self.pattern._order, self.pattern._post
        outside = order if permute else post
        if trans in ("N", 0):
            return Substitution(True, False, outside, post)
        if trans not in ("T", "C", 1, 2):
            raise ValueError(f"trans must be 'N', 'T', 'C', 0, 1 or 2, not {trans!r}")
        return Substitution(False, True, post, outside, conjugate=trans in ("T", 1))

    def _solve(
        self,
        columns: np.ndarray,
        system: Substitution,
        threads: int | None,
        reached: np.ndarray = NO_REACH,
    ) -> np.ndarray:
        """Solve for a fresh (count, n, k) array of any layout, and overwrite it."""
        if columns.dtype != self.dtype:
            # A real factor acts on the real and the imaginary part alike.
            k = columns.shape[2]
            parts = np.concatenate([np.real(columns), np.imag(columns)], axis=2)
            parts = self._solve(parts, system, threads, reached)
            columns.real, columns.imag = parts[:, :, :k], parts[:, :, k:]
            return columns
        structure, k = self.pattern._structure, columns.shape[2]
        threads = useful_threads(structure, len(columns), threads, k)
        block = max(1, min(RHS_BLOCK, k))
        work = np.empty(solve.workspace(structure, block, threads), dtype=self.dtype)
        forward, backward, inward, outward, conjugate = system
        conjugate = conjugate and self.dtype.kind == "c"
        if conjugate:
            np.conjugate(columns, out=columns)
        solve.solve(
            structure,
            self._valid_panels,
            columns,
            work,
            forward,
            backward,
            inward,
            outward,
            reached,
            block,
            threads,
            self._signed,
        )
        if conjugate:
            np.conjugate(columns, out=columns)
        return columns

    # ---- determinants ----

    def _logdet(self) -> Any:
        """Compute log |det A| of each matrix."""
        out = np.empty(self._count)
        determinant.logdet(self.pattern._structure, self._valid_panels, out)
        return self._scalars(out)

    # ---- condition ----

    def _rcond(self, flags: int = 0) -> Any:
        """Estimate a number for each matrix."""
        panels = self._valid_panels
        values = self._known_values
        return self._scalars(rcond(self.pattern, panels, values, self._threads(None), flags))

    @property
    def rcond(self) -> Any:
        """Reciprocal condition number in the 1-norm, after scaling to a unit diagonal; estimated.

        A float, or an ndarray with one for each matrix of a batch. Rows and columns in other units
        do not change it. It is rarely off by more than a factor of three. The relative error of a
        solution is about ``eps / rcond``: at about eps no digit is sure. Each access takes a few
        solves.

        Notes
        -----
        Of ``H = D^-1/2 A D^-1/2`` with the diagonal D of A (van der Sluis 1969; Demmel 1989), after
        Hager (1984) and Higham (1988).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> sc.cholesky(np.diag([1.0, 1e-6, 1e30])).rcond
        1.0
        >>> round(sc.cholesky(np.array([[1.0, 0.5], [0.5, 1.0]])).rcond, 6)
        0.333333
        """
        return self._rcond()

    @overload
    def condest(self: "SingleFactor") -> float: ...
    @overload
    def condest(self: "FactorBatch") -> np.ndarray: ...
    def condest(self) -> Any:
        """Estimate the condition number of A in the 1-norm, ``|A| |A^-1|``.

        The estimate is a lower bound but for rounding, rarely off by more than a factor of three.
        It takes a few solves. `rcond` tells more about the accuracy of results: it is the
        reciprocal after scaling.

        Returns
        -------
        float, or (len(self),) ndarray of a batch
            Infinite where it is beyond the largest number.

        References
        ----------
        Higham, N. J. (1988). FORTRAN codes for estimating the one-norm of a real or complex
        matrix. ACM Trans. Math. Softw. 14(4), algorithm SONEST.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> round(sc.cholesky(np.diag([1.0, 10.0, 1000.0])).condest(), 6)
        1000.0
        """
        if self.shape[0] == 0:
            raise np.linalg.LinAlgError("an empty matrix has no condition number")
        with np.errstate(divide="ignore"):
            return self._scalars(np.atleast_1d(1 / np.asarray(self._rcond(UNSCALED), float)))

    # ---- entries of the inverse ----

    def _inverse(self, threads: int | None) -> np.ndarray:
        """Compute the panels of each partial inverse."""
        structure, panels = self.pattern._structure, self._valid_panels
        threads = self._threads(threads)
        out = self._new_panels("the partial inverse")
        length = partial_inverse.workspace(structure, self._count, threads)
        work = allocate(length, self.dtype, "the workspace")
        partial_inverse.partial_inverse(structure, panels, out, work, threads)
        return out

    def _on_pattern(self, panels: np.ndarray, diagonal: float = 1, below: float = 1) -> np.ndarray:
        """Return the entries of panels on the pattern of A, with weights, as packed values."""
        out = np.empty((len(panels), self.pattern.indices.shape[0]), dtype=self.dtype)
        packing.gather_values(self.pattern._structure, panels, out, diagonal, below)
        return out

    def _diagonal(self, panels: np.ndarray) -> np.ndarray:
        """Return the diagonals of the matrices whose lower triangles panels are."""
        out = np.empty((len(panels), self.shape[0]), dtype=np.finfo(self.dtype).dtype)
        packing.gather_diagonal(self.pattern._structure, panels, out)
        return out

    def diag_inverse(self, *, threads: int | None = None) -> np.ndarray:
        """Compute the diagonal of ``A^-1``: the marginal variances of N(0, A^-1).

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        (n,) real ndarray, or (len(self), n) of a batch

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]])).diag_inverse().round(6)
        array([0.666667, 0.666667])
        """
        return self._result(checked(self._diagonal(self._inverse(threads))))

    def inverse_quadratic(self, B: MatrixLike, *, threads: int | None = None) -> Any:
        """Compute ``b A^-1 b^H`` for each row b of B: the variances of B x, x of N(0, A^-1).

        Parameters
        ----------
        B : (n,) or (m, n) array_like, or (m, n) sparse array or matrix
            The same for all matrices of a batch.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        float, or (m,) real ndarray; a row of them for each matrix of a batch
            Exact up to rounding, however they are computed.

        Raises
        ------
        ValueError
            If the shape does not fit, or `B` holds NaN or infinity.

        Notes
        -----
        Rows whose columns are a clique of the pattern of L, as those that interpolate on a mesh or
        pick the effects of a mixed model, come from one partial inverse, if that is cheaper. Others
        take a solve each. The effective degrees of freedom of a fit to ``y = B x`` with weights w
        are ``w @ F.inverse_quadratic(B)``, A being the precision matrix after the data: the trace
        of the matrix that makes fitted values of data.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> F.inverse_quadratic([[1.0, 0.0], [1.0, -1.0]]).round(6)
        array([0.666667, 2.      ])
        """
        rows, shape = read_rows(B, self.shape[0])
        cost = TRIANGLE_COST * (1 + self._signed) * self.pattern.nnz
        inside = rows_in_inverse(self.pattern, rows, cost)
        out = np.zeros((self._count, rows.shape[0]), np.finfo(self.dtype).dtype)
        if rows[inside].nnz:
            inverse = self._inverse(threads)
            for some in pieces(rows, np.flatnonzero(inside)):
                self._add_from_inverse(inverse, rows, some, out)
        rest = np.flatnonzero(~inside)
        for start in range(0, rest.size, RHS_BLOCK):
            some = rest[start : start + RHS_BLOCK]
            out[:, some] = self._quadratic_by_solves(rows[some], threads)
        return self._result(checked(out).reshape(len(out), *shape))[()]

    def _add_from_inverse(self, inverse, B, some, out) -> None:
        """Add the quadratic forms of some rows, given the panels of each partial inverse."""
        pairs = pairs_of(self.pattern, B, some)
        weight = pairs.weight * B.data[pairs.left] * B.data[pairs.right].conj()
        entries = np.empty(pairs.row.size, self.dtype)
        for panels, total in zip(inverse, out, strict=True):
            packing.read_entries(panels, pairs.place, entries)
            total += np.bincount(pairs.row, (weight * entries).real, B.shape[0])

    def _quadratic_by_solves(self, B, threads) -> np.ndarray:
        """Compute the quadratic forms of the rows of B by a solve for each."""
        kind = self._vector_dtype(B.dtype.kind == "c")
        dense = np.asfortranarray(B.toarray().conj().T, kind)
        columns = np.repeat(dense[None], self._count, axis=0)
        system = self._both_triangles() if self._signed else self._one_triangle("N", True)
        reached = NO_REACH
        if not self._is_batch:
            reached = solve.reach(
                self.pattern._structure, system.inward, B.indices.astype(np.int32, copy=False)
            )
        x = self._solve(columns, system, threads, reached)
        other = dense[None] if self._signed else x
        return np.real(other.conj() * x).sum(axis=1)


class CholeskyBase(FactorBase):
    """Factor positive definite matrices, ``P A P^T = L L^H``."""

    # See `check_pivots`.
    _least_rcond: ClassVar[float] = 0
    _always_estimated: ClassVar[bool] = False

    def __init__(
        self,
        pattern: "SymbolicFactor",
        packed: np.ndarray,
        threads: int | None = None,
        weak_pivots: WeakPivots = "refuse",
    ):
        self._start(pattern, packed, threads, accepts_weak(weak_pivots))

    def _factorize(self, packed: np.ndarray, threads: int, rule: bool) -> None:
        """Factor packed values; `rule` says whether weak pivots are accepted."""
        self._values = None
        outcome = _factorize.factorize(
            self.pattern._structure,
            packed,
            self._panels,
            self._work,
            threads,
            brief=not self._always_estimated,
        )
        doubt = None
        if outcome is not None:
            doubt = check_pivots(
                self.pattern,
                packed,
                self._panels,
                outcome,
                self._is_batch,
                rule,
                threads,
                least_rcond=self._least_rcond,
                always=self._always_estimated,
            )
        self._values = packed
        warn_of_pivots(doubt)

    @overload
    def logdet(self: "CholeskyFactor") -> float: ...
    @overload
    def logdet(self: "CholeskyBatch") -> np.ndarray: ...
    def logdet(self) -> Any:
        """Compute the logarithm of the determinant of A, in float64.

        Returns
        -------
        float, or (len(self),) float64 ndarray of a batch

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.diag([1.0, 2.0, 3.0]))
        >>> round(F.logdet(), 12)
        1.791759469228
        """
        return self._logdet()

    @overload
    def slogdet(self: "CholeskyFactor") -> Slogdet[float]: ...
    @overload
    def slogdet(self: "CholeskyBatch") -> Slogdet[np.ndarray]: ...
    def slogdet(self) -> Slogdet[Any]:
        """Compute the sign and the logarithm of the determinant, as `numpy.linalg.slogdet` does.

        Returns
        -------
        sign : float, or (len(self),) ndarray of a batch
            One: the matrix is positive definite.
        logabsdet : float, or (len(self),) ndarray of a batch
            The same as `logdet`.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> sign, logabsdet = sc.cholesky(np.diag([1.0, 2.0, 3.0])).slogdet()
        >>> sign, round(logabsdet, 12)
        (1.0, 1.791759469228)
        """
        logabsdet = self._logdet()
        return Slogdet(np.ones_like(logabsdet) if self._is_batch else 1.0, logabsdet)


def checked(array: np.ndarray) -> np.ndarray:
    """Return a result, or raise OverflowError if it is beyond the largest number."""
    if packing.first_nonfinite(array.ravel(order="K")) >= 0:
        raise OverflowError(
            f"the result is beyond the largest {array.dtype}: multiply the matrix by a large number"
        )
    return array


def useful_threads(structure, count: int, asked: int | None, columns: int = 1) -> int:
    """Return the number of threads for `count` matrices and so many right-hand sides of each.

    One matrix of a kind that more threads would not speed up gets one thread. Several matrices
    are shared out whole.
    """
    most = solve.most_threads(structure, columns) if count == 1 else count
    if most <= 1:
        if asked is not None:
            thread_count(asked)  # refuses what is no number of threads
        return 1
    return min(thread_count(asked), most)


def allocate(entries: int, dtype, what: str) -> np.ndarray:
    """Return an uninitialized array, or raise MemoryError saying how large it would be."""
    try:
        return np.empty(entries, dtype=dtype)
    except MemoryError:
        gib = entries * np.dtype(dtype).itemsize / 2**30
        raise MemoryError(f"{what} needs {gib:.3g} GiB ({entries} entries of {dtype})") from None
