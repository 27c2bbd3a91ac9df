"""SymbolicFactor: everything about a factorization that the pattern alone decides."""

import hashlib
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from .._cached import cached_property
from .._core.numeric.factorize import workspace
from .._core.numeric.handle import PatternHandle, handle_of
from .._core.numeric.packing import first_nonfinite
from .._core.ordering.choose import Ordering, find_ordering
from .._core.parallel.threads import thread_count
from .._core.symbolic.analysis import pattern_of_factor, supernodal_order, tree_in_order
from .._core.symbolic.etree import inverse_permutation
from .._core.symbolic.structure import Structure
from .._typing import MatrixLike, OrderingLike, Product, Regularize, WeakPivots
from .cholesky_batch import CholeskyBatch
from .cholesky_factor import CholeskyFactor
from .elimination import pattern_of_product, triangle_of, with_products
from .input import Compressed, check_order, compressed, scalar_dtype, unmasked
from .ldl_batch import LDLBatch
from .ldl_factor import LDLFactor
from .null_space import NullSpace, NullSpaceLike
from .packed_values import PackedPattern
from .pickling import reduced
from .pivot_rule import pivot_rule
from .pivots import accepts_weak
from .semidefinite_batch import SemidefiniteBatch
from .semidefinite_factor import SemidefiniteFactor, factor_of
from .symmetry import blaming_asymmetry, require_symmetric


class Memory(NamedTuple):
    """Count the bytes that a float64 factorization takes.

    Attributes
    ----------
    factor : int
        The stored factor. Each supernode stores whole columns, with the zeros above the diagonal
        and those of merged supernodes: a large dense matrix of order n takes ``n**2`` entries,
        about twice the `nnz` of its L.
    workspace : int
        Update matrices alive at the same time on one thread. A factor keeps them for its next
        refactorization.
    symbolic : int
        The analysis itself.
    """

    factor: int
    workspace: int
    symbolic: int


class SymbolicFactor(PackedPattern):
    """Hold the analysis of a symmetric pattern: ordering, supernodes, indices of numeric work.

    `analyze` makes it. It is immutable, and safe to share between threads. It is compared, hashed
    and pickled by content.

    Attributes
    ----------
    shape : tuple of int
        Shape of the matrix.
    perm : (n,) int32 ndarray
        The fill-reducing permutation: ``L @ L.T == A[perm][:, perm]``.
    indptr, indices : ndarray
        The pattern of the packed values: lower triangle by column, sorted, with the whole
        diagonal (int64 and int32).
    nnz : int
        Entries of L.
    flops : float
        Sum of the squared column counts of L.
    ordering : Ordering
        The ordering that was chosen, why, and the counts of those tried.
    parent, postorder, column_counts : (n,) ndarray
        The elimination tree (-1 is the parent of a root), its postorder, and the entries in each
        column of L. Columns are numbered as those of L: in the order of `perm`.
    """

    perm: np.ndarray
    nnz: int
    flops: float
    ordering: Ordering
    _order: np.ndarray
    _first: np.ndarray
    _region: np.ndarray
    _below: np.ndarray
    _structure: Structure

    def __init__(
        self, indptr, indices, perm, order, first, simplicial_root, below, nnz, flops, ordering
    ):
        for array in (indptr, indices, perm, order, first, simplicial_root, below):
            array.setflags(write=False)
        self.__dict__.update(
            indptr=indptr,
            indices=indices,
            perm=perm,
            nnz=nnz,
            flops=flops,
            ordering=ordering,
            # Numeric work runs in its own order, a postorder of the user's permutation.
            _order=order,
            _first=first,
            _region=simplicial_root,
            _below=below,
            _structure=Structure(indptr, indices, order, first, simplicial_root, below),
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a SymbolicFactor is immutable: {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a SymbolicFactor is immutable: {name!r} cannot be deleted")

    @property
    def memory(self) -> Memory:
        """Bytes that a float64 factorization takes."""
        structure = self._structure
        symbolic = structure.nbytes + self.indptr.nbytes + self.indices.nbytes
        return Memory(8 * structure.size, 8 * workspace(structure, 1, 1), symbolic)

    @cached_property
    def _post(self) -> np.ndarray:
        """The position in `perm` of each row in the order of the kernels."""
        return _frozen(inverse_permutation(self.perm)[self._order])

    @cached_property
    def _place(self) -> np.ndarray:
        """Where each row of A is in the order of the kernels."""
        return inverse_permutation(self._order)

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of the content. Equal analyses have equal digests."""
        content = hashlib.blake2b(b"sparsechol 1", digest_size=16)
        for array in (
            self.indptr,
            self.indices,
            self.perm,
            self._order,
            self._first,
            self._region,
        ):
            content.update(np.int64(array.shape[0]).tobytes())
            content.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SymbolicFactor):
            return NotImplemented
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self):
        return reduced(
            SymbolicFactor,
            self.indptr,
            self.indices,
            self.perm,
            self._order,
            self._first,
            self._region,
            self._below,
            self.nnz,
            self.flops,
            self.ordering,
        )

    def __repr__(self) -> str:
        n = self.shape[0]
        return (
            f"<SymbolicFactor of shape {(n, n)}: {self.nnz} entries in L, {self.flops:.3g} flops,"
            f" {self._first.shape[0] - 1} supernodes, ordering {self.ordering.method!r}>"
        )

    @overload
    def factorize(
        self,
        A: MatrixLike,
        *,
        null_space: None = None,
        lower: bool = True,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> CholeskyFactor: ...
    @overload
    def factorize(
        self,
        A: MatrixLike,
        *,
        null_space: NullSpaceLike,
        lower: bool = True,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> SemidefiniteFactor: ...
    def factorize(
        self,
        A: MatrixLike,
        *,
        null_space: NullSpaceLike | None = None,
        lower: bool = True,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> CholeskyFactor | SemidefiniteFactor:
        """Factor a matrix of the analyzed pattern.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, or (len(indices),) ndarray of packed values
        null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', optional
            The null space of a positive semidefinite matrix, see `cholesky`. For many matrices
            make a `NullSpace` once.
        lower : bool, optional
            Which triangle of a matrix is read; packed values are always the lower one.
        weak_pivots : {'refuse', 'accept'}, optional
            What becomes of a nearly singular matrix, see `cholesky`.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        CholeskyFactor, or SemidefiniteFactor with a null space

        Raises
        ------
        NotPositiveDefiniteError, PatternMismatchError, ValueError, TypeError
            As for `cholesky`.
        """
        packed = self._packed(A, lower)
        with blaming_asymmetry(self, A, lower, packed):
            return factor_of(self, packed, null_space, threads, weak_pivots)

    @overload
    def factorize_batch(
        self,
        values: ArrayLike,
        *,
        null_space: None = None,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> CholeskyBatch: ...
    @overload
    def factorize_batch(
        self,
        values: ArrayLike,
        *,
        null_space: NullSpaceLike,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> SemidefiniteBatch: ...
    def factorize_batch(
        self,
        values: ArrayLike,
        *,
        null_space: NullSpaceLike | None = None,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> CholeskyBatch | SemidefiniteBatch:
        """Factor many matrices of the analyzed pattern at once.

        Parameters
        ----------
        values : (k, len(indices)) array_like
            Packed values of each matrix (see `values`).
        null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', optional
            The null space of all of these positive semidefinite matrices, see `cholesky`.
        weak_pivots : {'refuse', 'accept'}, optional
            What becomes of a nearly singular matrix, see `cholesky`.
        threads : int, optional
            Most threads to use, see `cholesky`. Each of them takes whole matrices.

        Returns
        -------
        CholeskyBatch, or SemidefiniteBatch with a null space

        Raises
        ------
        NotPositiveDefiniteError
            If one of the matrices is not positive definite; its attribute ``item`` says which is
            the first.
        ValueError, TypeError
            If the shape does not fit, a value is NaN, infinite or no number, or the null space is
            not that of all matrices.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> S = sc.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
        >>> S.factorize_batch([[4.0, 1.0, 5.0], [2.0, 0.0, 2.0]]).logdet().round(6)
        array([2.944439, 1.386294])
        """
        packed = self._packed_batch(values)
        if null_space is None:
            return CholeskyBatch(self, packed, threads, weak_pivots)
        N = NullSpace.of(self, null_space)
        return SemidefiniteBatch(N, packed, threads, weak_pivots)

    def ldl(
        self,
        A: MatrixLike,
        *,
        signs: ArrayLike | None = None,
        lower: bool = True,
        regularize: Regularize = None,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> LDLFactor:
        """Factor a matrix of the analyzed pattern with pivots of both signs.

        Parameters
        ----------
        A : (n, n) sparse or dense matrix, or (len(indices),) ndarray of packed values
        signs, regularize, weak_pivots : optional
            The rule for pivots, see `ldl`.
        lower : bool, optional
            Which triangle of a matrix is read; packed values are always the lower one.
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        LDLFactor

        Raises
        ------
        PivotError, PatternMismatchError, ValueError, TypeError
            As for `ldl`.
        """
        rule = pivot_rule(self.shape[0], signs, regularize, accepts_weak(weak_pivots))
        packed = self._packed(A, lower)
        with blaming_asymmetry(self, A, lower, packed):
            return LDLFactor(self, packed[None], threads, rule)

    def ldl_batch(
        self,
        values: ArrayLike,
        *,
        signs: ArrayLike | None = None,
        regularize: Regularize = None,
        weak_pivots: WeakPivots = "refuse",
        threads: int | None = None,
    ) -> LDLBatch:
        """Factor many matrices of the analyzed pattern at once, with pivots of both signs.

        Parameters
        ----------
        values : (k, len(indices)) array_like
            Packed values of each matrix (see `values`).
        signs, regularize, weak_pivots : optional
            The rule for pivots of all matrices, see `ldl`.
        threads : int, optional
            Most threads to use, see `cholesky`. Each of them takes whole matrices.

        Returns
        -------
        LDLBatch

        Raises
        ------
        PivotError
            If a pivot of one of the matrices is refused; its attribute ``item`` says of which.
        ValueError, TypeError
            If the shape does not fit, or a value is NaN, infinite or no number.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> S = sc.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
        >>> S.ldl_batch([[4.0, 1.0, -5.0], [2.0, 0.0, 2.0]]).inertia
        Inertia(positive=array([1, 2]), negative=array([1, 0]))
        """
        rule = pivot_rule(self.shape[0], signs, regularize, accepts_weak(weak_pivots))
        return LDLBatch(self, self._packed_batch(values), threads, rule)

    def _packed_batch(self, values, dtype=None, count=None, finite=True) -> np.ndarray:
        """Return a fresh array of packed values, one row for each matrix."""
        array = unmasked(values, "the array of packed values")
        fits = array.ndim == 2 and array.shape[1] == self.indices.shape[0]
        if not fits or count not in (None, array.shape[0]):
            raise ValueError(
                f"the packed values of a batch have shape {array.shape}:"
                f" ({'k' if count is None else count}, {self.indices.shape[0]}) is needed, a row"
                " for each matrix"
            )
        kind = scalar_dtype(array.dtype if dtype is None else dtype)
        scalar_dtype(array.dtype)
        with np.errstate(over="ignore"):  # what overflows is refused below
            packed = np.array(array.astype(kind, casting="same_kind"), order="C")
        p = first_nonfinite(packed.ravel()) if finite else -1
        if p >= 0:
            item, place = divmod(p, self.indices.shape[0])
            raise ValueError(
                "the matrices must not hold infinities or NaNs: value"
                f" {place} of matrix {item} of the batch is {packed[item, place]}"
            )
        return packed

    @cached_property
    def _handle(self) -> PatternHandle:
        """The entry to the table of operations, see `numeric.operations`."""
        return handle_of(self)

    @cached_property
    def _tree(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Parents, postorder and column counts, in the order of `perm`."""
        parent, post, counts = tree_in_order(self.indptr, self.indices, self.perm)
        return _frozen(parent), _frozen(post), _frozen(counts)

    @property
    def parent(self) -> np.ndarray:
        """Elimination tree: the parent of each column of L in the order of `perm`, or -1."""
        return self._tree[0]

    @property
    def postorder(self) -> np.ndarray:
        """Postorder of the elimination tree: column ``postorder[k]`` of L is at place k."""
        return self._tree[1]

    @property
    def column_counts(self) -> np.ndarray:
        """Entries in each column of L in the order of `perm`, the diagonal included."""
        return self._tree[2]

    def factor_pattern(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact pattern of L by column, in the order of `perm`.

        Returns
        -------
        indptr, indices : ndarray
            Those of ``F.L``; sorted (int64 and int32).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> sc.analyze(np.array([[4.0, 1.0], [1.0, 5.0]])).factor_pattern()
        (array([0, 2, 3]), array([0, 1, 1], dtype=int32))
        """
        return pattern_of_factor(self.indptr, self.indices, self.perm)


def analyze(
    A: MatrixLike,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = False,
    product: Product | None = None,
    reserve: MatrixLike | None = None,
    threads: int | None = None,
) -> SymbolicFactor:
    """Analyze the pattern of a symmetric matrix for repeated factorization.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, or dense array
        Only the pattern of the triangle named by `lower` counts; every stored entry belongs to
        it (of a dense array every nonzero), and the whole diagonal always does.
    ordering : str or (n,) array_like of int, optional
        Fill-reducing ordering: 'amd', approximate minimum degree; 'nested_dissection'; 'metis',
        nested dissection by METIS (package pymetis); 'natural', none; or a permutation, which is
        kept as it is. 'auto' runs minimum degree; if its flop count suggests that nested dissection
        would pay off over about 500 factorizations, 'auto' runs that too and keeps the ordering
        with fewer flops. 'best' runs all and keeps the ordering with the fewest flops.
    lower : bool, optional
        Whether the lower triangle is read (default) or the upper one.
    check_symmetric : bool, optional
        Where `A` holds both triangles, test that their values agree but for rounding, and raise
        ValueError where they do not. Off by default, since only the pattern counts.
    product : {None, 'AAt', 'AtA'}, optional
        Analyze ``A @ A.T`` or ``A.T @ A`` for an (m, n) matrix `A`, of which all entries count:
        `lower` and `check_symmetric` do not. No values are formed, and nothing cancels.
    reserve : (n, k) sparse or dense matrix, or (n,) array, optional
        Make room for later updates: the pattern becomes that of ``A + C C^H`` for this C, see
        `CholeskyFactor.update`.
    threads : int, optional
        Most threads that nested dissection uses, see `cholesky`. The result does not depend on it.

    Returns
    -------
    SymbolicFactor

    Raises
    ------
    ValueError
        If `A` is not square, not symmetric with ``check_symmetric=True``, or its index arrays
        are corrupt; if the triangle that is read is empty off the diagonal and the other one is
        not.
    ImportError
        If ``ordering='metis'`` and pymetis is not installed.
    OverflowError
        If the factor is beyond 64-bit addressing.

    Notes
    -----
    Elimination tree after Liu (1990), column counts after Gilbert, Ng and Peyton (1994),
    supernodes relaxed after Ashcraft and Grimes (1989), AMD after Amestoy, Davis and Duff (1996),
    nested dissection by multilevel vertex separators (Karypis and Kumar 1998; Pellegrini, Roman
    and Amestoy 2000).

    Examples
    --------
    One analysis serves any number of matrices with the same pattern:

    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> A = sp.diags_array([[-1.0] * 4, [4.0] * 5, [-1.0] * 4], offsets=[-1, 0, 1])
    >>> S = sc.analyze(A)
    >>> S.nnz
    9
    >>> [round(S.factorize(t * A).logdet(), 6) for t in (1.0, 2.0)]
    [6.659294, 10.12503]
    """
    arrays = compressed(A, check_shape=None if product else check_order)
    if product is not None:
        arrays, check_symmetric = pattern_of_product(arrays, product), False
    return analyze_for(arrays, ordering, lower, check_symmetric, True, threads, reserve)


def analyze_for(
    arrays: Compressed,
    ordering: OrderingLike,
    lower: bool,
    check_symmetric: bool,
    reuse: bool,
    threads: int | None,
    reserve: MatrixLike | None = None,
) -> SymbolicFactor:
    """Analyze a matrix that has been read, for many factorizations (`reuse`) or for one."""
    indptr, indices = triangle_of(arrays, lower, values=not reuse)
    if check_symmetric:
        require_symmetric(arrays)
    if reserve is not None:
        indptr, indices = with_products(indptr, indices, reserve)
    return analyze_pattern(indptr, indices, ordering, reuse, thread_count(threads))


def analyze_pattern(indptr, indices, method, reuse, threads) -> SymbolicFactor:
    """Analyze a sorted lower pattern by column with the whole diagonal."""
    tree, ordering = find_ordering(indptr, indices, method, reuse, threads)
    places, first, simplicial_root, below = supernodal_order(tree)
    if ordering.method == "natural":
        perm = np.arange(places.shape[0], dtype=np.int32)
    elif ordering.method == "given":
        perm = np.asarray(method).astype(np.int32)
    else:
        perm = places
    return SymbolicFactor(
        indptr, indices, perm, places, first, simplicial_root, below, tree.nnz, tree.flops, ordering
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    """Make an array read-only."""
    array.setflags(write=False)
    return array
