"""The derivative sweeps on the arrays of a factor or a batch: what `derivatives` is made of."""

import numpy as np

from .._core.numeric import packing
from .._core.numeric.operations import CODES, LOWER, PERMUTE
from .factor_base import FactorBase
from .input import as_scipy, compressed, numbers, unmasked


class Sweeps:
    """View a factor as a batch of one, so that every derivative is written once.

    Arrays have the batch as first axis: vectors (count, n, k), changes and gradients of A
    (count, nnz), panels (count, size).
    """

    def __init__(self, F: FactorBase, threads: int | None = None):
        if not isinstance(F, FactorBase):
            raise TypeError(
                f"derivatives are those of a factor with an L of its own, not {type(F).__name__}"
            )
        self.F = F
        self.pattern = F.pattern
        self.threads = threads

    # ---- what comes from the user ----

    def changes(self, dA) -> np.ndarray:
        """Return the packed values of a change, NaN and all."""
        F = self.F
        if F._is_batch:
            return self.pattern._packed_batch(dA, F.dtype, F._count, finite=False)
        remedy = "pass its conjugate transpose, or both triangles"
        return self.pattern._packed(dA, True, F.dtype, finite=False, remedy=remedy)[None]

    def vectors(self, x, name: str) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return a fresh array of vectors, and the shape in which they came."""
        x = numbers(x, name)
        wanted = self.F._user_shape(self.pattern.shape[0])
        if x.ndim not in (len(wanted), len(wanted) + 1) or x.shape[: len(wanted)] != wanted:
            shape = ", ".join(map(str, wanted))
            raise ValueError(f"{name} has shape {x.shape}: it is ({shape},) or ({shape}, k)")
        k = 1 if x.ndim == len(wanted) else x.shape[-1]
        fresh = np.array(x, dtype=self.F._vector_dtype(x.dtype.kind == "c"), order="C")
        return fresh.reshape(self.F._count, self.pattern.shape[0], k), x.shape

    def like(self, y, shape, name: str) -> np.ndarray:
        """Return vectors that must have the shape of x."""
        y = unmasked(y, name)
        if y.shape != shape:
            raise ValueError(f"{name} has shape {y.shape}, x has {shape}")
        return self.vectors(y, name)[0]

    def panels_of(self, matrix) -> np.ndarray:
        """Return the panels of a matrix in the order of `perm`; entries outside are left out."""
        row, column, data = self._entries(matrix)
        below, perm = row >= column, self.pattern.perm
        return self._scattered(perm[row[below]], perm[column[below]], data[below])

    def hermitian_part(self, matrix, entries: str) -> tuple[np.ndarray, str]:
        """Return the lower triangle of ``(matrix + matrix^H) / 2``, and how it is stored.

        It is stored as packed values, 'values', or where entries of the factor count, 'panels'.
        """
        if self.F._is_batch:
            raise ValueError("a batch takes gradients of packed values")
        row, column, data = self._entries(matrix)
        panels = self._scattered(row, column, data * np.where(row == column, 1, 0.5))
        return (panels, "panels") if entries == "factor" else (self.to_pattern(panels), "values")

    def _entries(self, matrix):
        arrays = compressed(matrix, self.F.dtype, "gradient", self._check_shape)
        entries = as_scipy(arrays).tocoo()
        return *entries.coords, entries.data

    def _check_shape(self, shape) -> None:
        if shape != self.pattern.shape:
            raise ValueError(f"the gradient has shape {shape}, the matrix {self.pattern.shape}")

    def _scattered(self, row, column, data) -> np.ndarray:
        """Return panels with entries added at (row, column) of A; those outside are left out."""
        structure, dtype = self.pattern._structure, self.F.dtype
        position = np.empty(row.shape[0], dtype=np.int64)
        packing.find_entries(structure, row.astype(np.int32), column.astype(np.int32), position)
        mirrored, there = position < 0, position != packing.ABSENT
        data = np.where(mirrored, np.conjugate(data), data).astype(dtype)
        out = np.zeros((1, structure.size), dtype=dtype)
        np.add.at(out[0], np.where(mirrored, ~position, position)[there], data[there])
        return out

    # ---- operations ----

    def perform(self, name: str, operands, out: np.ndarray, *, flags: int = 0) -> np.ndarray:
        """Carry out an operation of the table on every matrix, and return `out`."""
        threads = self.F._threads(self.threads)
        operands = tuple(np.ascontiguousarray(operand, dtype=out.dtype) for operand in operands)
        self.pattern._handle.perform(CODES[name], operands, out, threads, flags)
        return out

    def tangent(self, change, stored: str = "values") -> np.ndarray:
        """Compute the change of L from a change of A, given as 'values' or 'panels'."""
        name = "tangent" if stored == "values" else "tangent_panels"
        out = self.F._new_panels("the derivative")
        return self._turned(self.perform(name, (self.F._valid_panels, change), out))

    def _turned(self, panels) -> np.ndarray:
        """Return X S, with the signs of the pivots (see numeric.derivative_sweeps)."""
        if not self.F._signed:
            return panels
        out = self.F._new_panels("the derivative")
        return self.perform("turn", (self.F._valid_panels, panels), out)

    def adjoint(self, L_bar) -> np.ndarray:
        """Compute the gradient in A on the pattern of L from the gradient in L."""
        out = self.F._new_panels("the derivative")
        return self.perform("adjoint", (self.F._valid_panels, self._turned(L_bar)), out)

    def sandwich(self, M, stored: str = "values") -> np.ndarray:
        """Compute A^-1 M A^-1 on the pattern of L."""
        X, inverse = self.tangent(M, stored), self.F._inverse(self.threads)
        out = self.F._new_panels("the derivative")
        return self.perform("sandwich", (self.F._valid_panels, inverse, X), out)

    def to_pattern(self, panels, diagonal: float = 1, below: float = 1) -> np.ndarray:
        """Return the entries of panels on the pattern of A, with weights."""
        return self.F._on_pattern(panels, diagonal, below)

    def product(self, values, x) -> np.ndarray:
        """Compute A x from packed values."""
        out = np.empty(x.shape, np.result_type(values, x))
        return self.perform("product", (values, x), out)

    def outer(self, x, y) -> np.ndarray:
        """Compute the gradients of Re(x^H A y) in the values of A."""
        values = sampled_outer(self.pattern, x, y, self.F._threads(self.threads))
        return values if self.F.dtype.kind == "c" else np.ascontiguousarray(np.real(values))

    def solve(self, x, system=None) -> np.ndarray:
        """Solve with A, or with a triangle, for fresh vectors, which are overwritten."""
        F = self.F
        return F._solve(x, F._both_triangles() if system is None else system, self.threads)


class Triangular:
    """Solve one of the triangular systems L y = P b, L^H P x = b, L^T P x = b, and differentiate.

    Without `permute` P is left out. Vectors of the system with L^T are conjugated on their way in
    and out, so that only L and L^H are left.
    """

    def __init__(self, sweeps: Sweeps, trans, permute: bool):
        self.sweeps = sweeps
        system = sweeps.F._one_triangle(trans, permute)
        self.conjugate = system.conjugate and sweeps.F.dtype.kind == "c"
        self.system = system._replace(conjugate=False)
        self.flags = LOWER * system.forward + PERMUTE * permute

    def turned(self, x) -> np.ndarray:
        """Return vectors of L^T as vectors of L^H, and back."""
        return x.conj() if self.conjugate else x

    def solve(self, b) -> np.ndarray:
        """Solve the system; b is overwritten."""
        return self.sweeps.solve(b, self.system)

    def solve_adjoint(self, x) -> np.ndarray:
        """Solve with the adjoint of the triangle; x is overwritten."""
        return self.sweeps.solve(x, self.system.adjoint())

    def product(self, dL, x) -> np.ndarray:
        """Compute dL x, or dL^H x."""
        out = np.empty(x.shape, np.result_type(dL, x))
        return self.sweeps.perform("factor_product", (dL, x), out, flags=self.flags)

    def outer(self, w, x) -> np.ndarray:
        """Compute the gradient in L from x and the solution w of the adjoint system."""
        F = self.sweeps.F
        out = np.empty(F._panels.shape, np.result_type(w, x))
        self.sweeps.perform("factor_outer", (w, x), out, flags=self.flags)
        return -out if F.dtype.kind == "c" else np.negative(np.real(out))


def sampled_outer(pattern, x, y, threads: int) -> np.ndarray:
    """Compute the gradients of Re(x^H A y) in packed values."""
    kind = np.result_type(x, y)
    out = np.empty((x.shape[0], pattern.indices.shape[0]), kind)
    operands = (x.astype(kind, copy=False), y.astype(kind, copy=False))
    pattern._handle.perform(CODES["sampled_outer"], operands, out, threads)
    return out


def dot(x, y) -> np.ndarray:
    """Compute Re(x^H y) for each matrix, summed over the vectors."""
    return np.einsum("ijk,ijk->i", x.conj(), y).real


def weighted(pattern, values, diagonal, below) -> np.ndarray:
    """Return packed values with weights on and below the diagonal."""
    out = values * below
    out[..., pattern.indptr[:-1]] = values[..., pattern.indptr[:-1]] * diagonal
    return out
