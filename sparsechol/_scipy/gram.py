"""A^H W A + B with a fixed pattern, for SciPy users."""

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse

from .._core.numeric.operations import CODES, NAMES
from .._core.numeric.packing import first_nonfinite
from .._core.parallel.threads import thread_count
from .._typing import MatrixLike, OrderingLike
from .gram_pattern import GramPattern, analyze_gram
from .input import numbers, scalar_dtype


class Gram(GramPattern):
    """Analysis of ``A^H W A + B``, and its values; made by `gram`."""

    def values(
        self,
        a: ArrayLike | MatrixLike,
        w: ArrayLike | None = None,
        b: ArrayLike | MatrixLike | None = None,
        *,
        out: np.ndarray | None = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Return the packed values of ``A^H W A + B``.

        Parameters
        ----------
        a : (..., len(indices)) array_like, or (m, n) SciPy sparse array
            The entries of A, by row with columns ascending, as `entries` gives them; or A itself.
            An array is never taken as a dense matrix.
        w : (..., m) or (..., m / k, k, k) array_like, optional
            The diagonal of W, real, or its blocks, symmetric (Hermitian). Ones by default.
        b : (..., len of B's packed values) array_like, or (n, n) SciPy sparse array, optional
            Values of B: its lower triangle by column, sorted, with the whole diagonal, as
            ``analyze(B).values(B)`` gives them; or B itself. Zero by default.
        out : (..., len(pattern.indices)) ndarray, optional
            Where the result is written, of its shape and type and C-contiguous.
        threads : int, optional
            Most threads to use, see `cholesky`. The result has the same bits for any number.

        Returns
        -------
        (..., len(pattern.indices)) ndarray
            Packed values, for ``pattern.factorize`` or, with one leading dimension,
            ``pattern.factorize_batch``. Leading dimensions of the operands broadcast.

        Raises
        ------
        ValueError, TypeError
            If a shape does not fit, a value is NaN, infinite or no number, a diagonal W is complex,
            or a block of W is not symmetric. What is in `out` then is of no use.
        OverflowError
            If a result is beyond the largest number of its type.
        PatternMismatchError
            If a matrix has an entry outside of its analyzed pattern.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> A = np.array([[1.0, 2.0], [0.0, 3.0]])
        >>> G = sc.gram(A)
        >>> G.values([1.0, 2.0, 3.0], w=[1.0, 10.0])
        array([ 1.,  2., 94.])
        >>> A.T @ np.diag([1.0, 10.0]) @ A
        array([[ 1.,  2.],
               [ 2., 94.]])
        """
        arrays = {"a": self._entries_of(a, finite=False), "w": self._weights(w)}
        if b is not None:
            arrays["b"] = self._values_of_b(b)
        out = self._run("gram", ("a", "w", "a"), arrays, out, threads)
        if b is not None:
            out[..., self._places_of_b] += arrays["b"]
        if first_nonfinite(out.ravel()) >= 0:  # each entry of A is in the diagonal
            self._finite(arrays["a"], "a")
            raise OverflowError(f"an entry of the product is beyond the largest {out.dtype}")
        return out

    def tangent(
        self,
        a: ArrayLike | MatrixLike,
        w: ArrayLike | None = None,
        *,
        da: ArrayLike | MatrixLike | None = None,
        dw: ArrayLike | None = None,
        db: ArrayLike | MatrixLike | None = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Return the change of the values that changes of a, w and b make.

        Parameters
        ----------
        a, w : array_like
            As for `values`.
        da, dw, db : array_like, optional
            Changes, in the shapes of what changes.
        threads : int, optional
            Most threads to use.

        Returns
        -------
        (..., len(pattern.indices)) ndarray

        Raises
        ------
        ValueError, TypeError
            As for `values`.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> G = sc.gram(np.array([[1.0, 2.0], [0.0, 3.0]]))
        >>> G.tangent([1.0, 2.0, 3.0], dw=[0.0, 1.0])
        array([0., 0., 9.])
        """
        a, w = self._entries_of(a), self._weights(w)
        terms = []
        if da is not None:
            arrays = {"a": a, "w": w, "da": self._entries_of(da)}
            terms.append(2 * self._run("gram", ("a", "w", "da"), arrays, None, threads))
        if dw is not None:
            arrays = {"a": a, "w": self._weights(dw)}
            terms.append(self._run("gram", ("a", "w", "a"), arrays, None, threads))
        if db is not None:
            db = self._values_of_b(db)
            full = np.zeros((*db.shape[:-1], self.pattern.indices.size), db.dtype)
            full[..., self._places_of_b] = db
            terms.append(full)
        return sum(terms[1:], terms[0]) if terms else np.zeros(self.pattern.indices.size)

    def adjoint(
        self,
        x: ArrayLike,
        a: ArrayLike | MatrixLike,
        w: ArrayLike | None = None,
        *,
        threads: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the gradients in a, w and b from the gradient in the packed values.

        Parameters
        ----------
        x : (..., len(pattern.indices)) array_like
            Gradient of a number in the packed values: an off-diagonal one stands for two entries.
        a, w : array_like
            As for `values`.
        threads : int, optional
            Most threads to use.

        Returns
        -------
        of_a, of_w, of_b : ndarray
            In the shapes of the operands of `values`, with the leading dimensions of all. `of_b` is
            None without B. Complex ones are gradients for the inner product
            ``Re sum(conj(u) * v)``.

        Raises
        ------
        ValueError, TypeError
            As for `values`.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> G = sc.gram(np.array([[1.0, 2.0], [0.0, 3.0]]))
        >>> of_a, of_w, _ = G.adjoint([0.0, 0.0, 1.0], [1.0, 2.0, 3.0])
        >>> of_a, of_w
        (array([0., 4., 6.]), array([4., 9.]))
        """
        x = _numbers(x, "x")
        self._check_length("x", x.shape)
        arrays = {"a": self._entries_of(a), "w": self._weights(w), "x": x}
        of_a = self._run("gram_rows", ("w", "a", "x"), arrays, None, threads)
        of_a *= 2
        of_w: Any = self._run("gram_weights", ("a", "a", "x"), arrays, None, threads)
        of_w = of_w.reshape(*of_w.shape[:-1], *self.weight_shape)
        of_w = of_w.real if self.block == 1 else of_w
        return of_a, of_w, None if self._of_b is None else x[..., self._places_of_b]

    def _entries_of(self, a: Any, finite: bool = True) -> np.ndarray:
        """Return the entries of A from themselves or from A."""
        a = self.entries(cast("Any", a)) if issparse(a) else _numbers(a, "a")
        self._check_length("a", a.shape)
        return self._finite(a, "a") if finite else a

    def _weights(self, w: Any) -> np.ndarray:
        """Return w, flat: (..., m k)."""
        if w is None:
            return self._unit_weights().ravel()
        w = _numbers(w, "w")
        self._check_length("w", w.shape)
        self._finite(w, "w")
        if self.block == 1:
            if w.dtype.kind == "c":
                raise TypeError("w is complex: the weights of a diagonal W are real")
            return w
        self._check_hermitian(w)
        return w.reshape(*w.shape[:-3], self.shape[0] * self.block)

    def _check_hermitian(self, w: np.ndarray) -> None:
        """Raise ValueError for a block that is not symmetric but for rounding."""
        bound = 1e3 * float(np.finfo(cast("Any", scalar_dtype(w.dtype))).eps)
        for i in range(self.block):
            for j in range(i + (w.dtype.kind == "c")):  # the diagonal need only be real
                x, y = w[..., i, j], w[..., j, i].conj()
                if (x == y).all():
                    continue
                scale = np.abs(x) + np.abs(w[..., i, i]) + np.abs(w[..., j, j])
                wrong = np.abs(x - y) > bound * scale
                if wrong.any():
                    place = int(np.unravel_index(int(np.argmax(wrong)), wrong.shape)[-1])
                    raise ValueError(
                        f"block {place} of w is not symmetric (Hermitian): its entries ({i}, {j})"
                        f" and ({j}, {i}) differ"
                    )

    def _values_of_b(self, b: Any) -> np.ndarray:
        """Return the packed values of B from themselves or from B."""
        if issparse(b) and self._of_b is not None:
            return self._of_b.values(cast("Any", b))
        b = _numbers(b, "b")
        self._check_length("b", b.shape)
        return self._finite(b, "b")

    def _finite(self, values: np.ndarray, name: str) -> np.ndarray:
        """Raise ValueError for NaN and infinity, naming the place."""
        flat = np.ascontiguousarray(values, scalar_dtype(values.dtype)).ravel()
        p = first_nonfinite(flat)
        if p >= 0:
            place = tuple(map(int, np.unravel_index(p, values.shape)))
            where = ""
            if name == "a":
                row = int(np.searchsorted(self.indptr, place[-1], side="right")) - 1
                where = f", the entry ({row}, {self.indices[place[-1]]}) of A,"
            raise ValueError(
                f"{name} must not hold infinities or NaNs: {name}[{str(place)[1:-1].rstrip(',')}]"
                f"{where} is {flat[p]}"
            )
        return values

    def _run(self, operation, names, arrays, out, threads) -> np.ndarray:
        """Carry out an operation on a batch; all arrays count for its shape and type."""
        dtype = scalar_dtype(*(x.dtype for x in arrays.values()))
        lead = np.broadcast_shapes(*(x.shape[:-1] for x in arrays.values()))
        shape = (*lead, self._handle.length(NAMES[operation].split(">")[1]))
        if out is None:
            out = np.empty(shape, dtype)
        elif (
            not isinstance(out, np.ndarray)
            or out.shape != shape
            or out.dtype != dtype
            or not out.flags.carray
        ):
            raise ValueError(f"out must be a writable C-contiguous array of {dtype}, {shape}")
        ready = {
            name: np.ascontiguousarray(x, dtype).reshape(*(1,) * (len(lead) + 1 - x.ndim), *x.shape)
            for name, x in arrays.items()
        }
        if any(np.may_share_memory(out, x) for x in ready.values()):
            raise ValueError("out must not share memory with an operand")
        operands = tuple(ready[name] for name in names)
        self._handle.perform(CODES[operation], operands, out, thread_count(threads))
        return out


def _numbers(x: Any, name: str) -> np.ndarray:
    """Return an array of numbers."""
    if issparse(x):
        raise TypeError(f"{name} is an array of values here, not a sparse matrix")
    return numbers(x, name)


def gram(
    A: MatrixLike,
    B: "MatrixLike | Any | None" = None,
    *,
    block: int = 1,
    ordering: OrderingLike = "auto",
    threads: int | None = None,
) -> Gram:
    """Analyze the normal equations ``A^H W A + B``, to compute and to factor them many times.

    Parameters
    ----------
    A : (m, n) sparse array or matrix of any format, or dense array
        Only its pattern counts; stored zeros are entries like any other. ``B D B^T`` is the same
        with ``A = B.T``.
    B : (n, n) sparse array or matrix, dense array, or SymbolicFactor, optional
        The pattern of a symmetric (Hermitian) matrix, of which the lower triangle is read.
    block : int, optional
        W is diagonal by default; with ``block=k`` it is block diagonal, and a block belongs to k
        rows of A that follow one another.
    ordering : str or (n,) array_like of int, optional
        Fill-reducing ordering, see `analyze`.
    threads : int, optional
        Most threads that nested dissection uses, see `cholesky`.

    Returns
    -------
    Gram
        Its `pattern` is the SymbolicFactor of the product, its method `values` computes the packed
        values.

    Raises
    ------
    ValueError
        If shapes do not fit, index arrays are corrupt, or rows of A have so many entries that they
        would make the product dense.
    OverflowError
        If there are more rows, columns or entries than 32 or 64 bits can number.

    See Also
    --------
    analyze : With ``product="AtA"`` for the pattern alone.

    Notes
    -----
    Columns of the product are added up one by one (Gustavson 1978) over the rows that have an entry
    there. Rows with the same columns, wherever they stand, are multiplied as dense matrices.

    References
    ----------
    Gustavson, F. G. (1978). Two fast algorithms for sparse matrices: multiplication and permuted
    transposition. ACM Trans. Math. Softw. 4(3).

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol as sc
    >>> A = sp.csr_array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
    >>> G = sc.gram(A, sp.eye_array(3))
    >>> F = G.pattern.factorize(G.values(A, w=[2.0, 4.0], b=np.ones(3)))
    >>> F.solve(np.array([1.0, 0.0, 0.0])).round(4)
    array([0.5085, 0.2712, 0.2203])
    """
    return analyze_gram(Gram, A, B, block, ordering, threads)
