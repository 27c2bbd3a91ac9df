"""The derivative sweeps on the arrays of a factor or a batch: what `derivatives` is made of."""

from typing import Any

import numpy as np
from scipy.sparse import csc_array, issparse

from .._core.numeric import packing, sampled
from .._core.numeric import solve as substitution
from .._core.numeric.operations import CODES
from .cholesky_batch import CholeskyBatch
from .cholesky_factor import NO_REACH, RHS_BLOCK, CholeskyFactor, _useful_threads
from .factor_base import allocate

Factor = CholeskyFactor | CholeskyBatch


class Sweeps:
    """A factor, or a batch of factors, with one row of every array for each of them.

    Vectors are (count, n, k) arrays, changes and gradients of A (count, nnz) ones, and what lies on
    the pattern of L flat panels, (count, size).
    """

    def __init__(self, F: Factor, threads: int | None = None):
        self.F = F
        self.symbolic = F.symbolic
        self.structure = F.symbolic._structure
        self.dtype = F.dtype
        self.many = isinstance(F, CholeskyBatch)
        self.count = len(F) if isinstance(F, CholeskyBatch) else 1
        self.asked = threads

    @property
    def threads(self) -> int:
        if isinstance(self.F, CholeskyBatch):
            return self.F._threads(self.asked)
        return _useful_threads(self.structure, self.asked)

    @property
    def factors(self) -> np.ndarray:
        """Flat panels of each L."""
        return np.atleast_2d(self.F._l)

    # ---- what comes from the user, and goes back ----

    def shape(self, *own: int) -> tuple[int, ...]:
        """The shape of an array that has `own` for a single factor."""
        return (self.count, *own) if self.many else own

    def changes(self, dA) -> np.ndarray:
        """Packed values of a change, NaN and all."""
        if self.many:
            return self.symbolic._packed_batch(dA, self.dtype, self.count, finite=False)
        return self.symbolic._packed(dA, True, self.dtype, finite=False)[None]

    def vectors(self, x, name: str) -> tuple[np.ndarray, tuple[int, ...]]:
        """A fresh array of vectors, and the shape they came in."""
        x = np.asarray(x)
        wanted = self.shape(self.symbolic.shape[0])
        if x.ndim not in (len(wanted), len(wanted) + 1) or x.shape[: len(wanted)] != wanted:
            shape = ", ".join(map(str, wanted))
            raise ValueError(f"{name} has shape {x.shape}: it is ({shape},) or ({shape}, k)")
        if x.dtype.kind not in "biufc":
            raise TypeError(f"{name} holds {x.dtype}, not numbers")
        kind = np.result_type(self.dtype, np.complex64) if x.dtype.kind == "c" else self.dtype
        k = 1 if x.ndim == len(wanted) else x.shape[-1]
        fresh = np.array(x, dtype=kind, order="C")
        return fresh.reshape(self.count, self.symbolic.shape[0], k), x.shape

    def like(self, y, shape, name: str) -> np.ndarray:
        """Vectors that have the shape of x."""
        if np.shape(y) != shape:
            raise ValueError(f"{name} has shape {np.shape(y)}, x has {shape}")
        return self.vectors(y, name)[0]

    def result(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.many else rows[0]

    def scalars(self, values: np.ndarray) -> Any:
        return values if self.many else float(values[0])

    def panels_of(self, matrix) -> np.ndarray:
        """Flat panels of a matrix in the order of `perm`; entries outside are left out."""
        row, column, data = self._entries(matrix)
        below, perm = row >= column, self.symbolic.perm
        return self._placed(perm[row[below]], perm[column[below]], data[below])

    def hermitian_part(self, matrix, pattern: str) -> tuple[np.ndarray, bool]:
        """Lower triangle of ``(matrix + matrix^H) / 2`` on a pattern, and whether on that of L."""
        if self.many:
            raise ValueError("a batch takes gradients of packed values")
        row, column, data = self._entries(matrix)
        flat = self._placed(row, column, data * np.where(row == column, 1, 0.5))
        if pattern == "factor":
            return flat, True
        return self.on_matrix(flat), False

    def _entries(self, matrix):
        if not issparse(matrix):
            matrix = np.asarray(matrix)
        if matrix.shape != self.symbolic.shape:
            raise ValueError(
                f"the gradient has shape {matrix.shape}, the matrix {self.symbolic.shape}"
            )
        entries = csc_array(matrix).tocoo()
        return *entries.coords, entries.data

    def _placed(self, row, column, data) -> np.ndarray:
        """Flat panels with entries of A's pattern added at (row, column); others are left out."""
        position = np.empty(row.shape[0], dtype=np.int64)
        packing.find_entries(
            self.structure, row.astype(np.int32), column.astype(np.int32), position
        )
        mirrored, there = position < 0, position != packing.ABSENT
        data = np.where(mirrored, np.conjugate(data), data).astype(self.dtype)
        out = np.zeros((1, self.structure.size), dtype=self.dtype)
        np.add.at(out[0], np.where(mirrored, ~position, position)[there], data[there])
        return out

    # ---- products ----

    def outer(self, x, y) -> np.ndarray:
        """Gradients of Re(x^H A y)."""
        values = sampled_outer(self.symbolic, *same_type(x, y))
        return values if self.dtype.kind == "c" else np.ascontiguousarray(values.real)

    def times(self, values, x) -> np.ndarray:
        """A x from packed values."""
        values, x = same_type(values, x)
        out = np.empty_like(x)
        symbolic = self.symbolic
        sampled.hermitian_product(symbolic.indptr, symbolic.indices, values, x, out)
        return out

    def solve(self, x, lower=True, upper=True, inward=None, outward=None) -> np.ndarray:
        """Solve for fresh vectors, which may be overwritten."""
        if x.dtype != self.dtype:
            # A real factor acts on the real and the imaginary part alike.
            k = x.shape[2]
            parts = np.concatenate([x.real, x.imag], axis=2)
            parts = self.solve(parts, lower, upper, inward, outward)
            return parts[:, :, :k] + 1j * parts[:, :, k:]
        order = self.symbolic._order
        threads, block = self.threads, max(1, min(RHS_BLOCK, x.shape[2]))
        work = np.empty(substitution.workspace(self.structure, block, threads), dtype=self.dtype)
        substitution.solve(
            self.structure,
            self.factors,
            x,
            work,
            lower,
            upper,
            order if inward is None else inward,
            order if outward is None else outward,
            NO_REACH,
            block,
            threads,
        )
        return x

    # ---- sweeps ----

    def _sweep(self, name: str, *arrays) -> np.ndarray:
        size = self.structure.size
        out = allocate(self.count * size, self.dtype, "the derivative").reshape(self.count, size)
        self.symbolic._handle.perform(CODES[name], arrays, out, self.threads)
        return out

    def tangent(self, change, on_panels=False) -> np.ndarray:
        """Change of L."""
        name = "tangent_panels" if on_panels else "tangent"
        return self._sweep(name, self.factors, change)

    def adjoint(self, c) -> np.ndarray:
        """Gradient in the entries of A, on the pattern of L, from one in those of L."""
        return self._sweep("adjoint", self.factors, c)

    def sandwich(self, M, on_panels=False) -> np.ndarray:
        """A^-1 M A^-1 on the pattern of L."""
        x = self.tangent(M, on_panels)
        return self._sweep("sandwich", self.factors, self.inverse(), x)

    def inverse(self) -> np.ndarray:
        """A^-1 on the pattern of L."""
        return np.atleast_2d(self.F._inverse(self.asked))

    def on_matrix(self, flat, diagonal=1, below=1) -> np.ndarray:
        """Entries of flat panels on the pattern of A, weighed."""
        out = np.empty((flat.shape[0], self.symbolic.indices.shape[0]), dtype=self.dtype)
        packing.gather_values(self.structure, flat, out, diagonal, below)
        return out


class Triangular:
    """One of the triangular systems L y = P b, L^H P x = b, L^T P x = b.

    `of_b` and `of_x` are the rows of b and x at each place of the structure; y and, without
    `permute`, x and b are in the order of ``F.perm``.
    """

    def __init__(self, on: Sweeps, trans, permute: bool):
        if trans not in ("N", "T", "C", 0, 1, 2):
            raise ValueError(f"trans must be 'N', 'T', 'C', 0, 1 or 2, not {trans!r}")
        order, post = on.symbolic._order, on.symbolic._post
        self.on = on
        self.lower = trans in ("N", 0)
        self.plain = trans in ("T", 1) and on.dtype.kind == "c"
        outside = order if permute else post
        self.of_b, self.of_x = (outside, post) if self.lower else (post, outside)

    def turned(self, x) -> np.ndarray:
        """Vectors of L^T as those of L^H, and back."""
        return x.conj() if self.plain else x

    def solve(self, b) -> np.ndarray:
        """b is overwritten."""
        return self.on.solve(b, self.lower, not self.lower, self.of_b, self.of_x)

    def solve_adjoint(self, x) -> np.ndarray:
        """With the adjoint of the triangle; x is overwritten."""
        return self.on.solve(x, not self.lower, self.lower, self.of_x, self.of_b)

    def product(self, dL, x) -> np.ndarray:
        """dL x, or dL^H x."""
        dL, x = same_type(dL, x)
        out = np.empty_like(x)
        structure = self.on.structure
        sampled.factor_product(structure, dL, x, not self.lower, self.of_x, self.of_b, out)
        return out

    def outer(self, w, x) -> np.ndarray:
        """Gradient in L from x and the adjoint's solution w."""
        w, x = same_type(w, x)
        out = np.empty((w.shape[0], self.on.structure.size), dtype=w.dtype)
        pair = (w, x, self.of_b, self.of_x) if self.lower else (x, w, self.of_x, self.of_b)
        sampled.factor_outer(self.on.structure, *pair, out)
        return -out if self.on.dtype.kind == "c" else np.negative(out.real)


def sampled_outer(symbolic, x, y) -> np.ndarray:
    """Gradients of Re(x^H A y) in stored values."""
    out = np.empty((x.shape[0], symbolic.indices.shape[0]), dtype=x.dtype)
    sampled.hermitian_outer(symbolic.indptr, symbolic.indices, x, y, out)
    return out


def same_type(x, y):
    kind = np.result_type(x, y)
    return x.astype(kind, copy=False), y.astype(kind, copy=False)


def dot(x, y) -> np.ndarray:
    """Re(x^H y) for each matrix, summed over the vectors."""
    return np.einsum("ijk,ijk->i", x.conj(), y).real


def weighed(symbolic, values, diagonal, below) -> np.ndarray:
    """Stored values with weights on and below the diagonal."""
    out = values * below
    out[..., symbolic.indptr[:-1]] = values[..., symbolic.indptr[:-1]] * diagonal
    return out
