"""What a factor and a batch of factors have in common: the panels of L, workspace, gradients."""

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor

KEPT = ("symbolic", "dtype", "_flat", "_values")


class Panels:
    """The panels of L, and the packed values of A, which are None while there is no valid factor.

    The workspace of the last factorization is kept for the next; updates take turns.
    """

    symbolic: "SymbolicFactor"
    dtype: np.dtype
    _flat: np.ndarray
    _values: np.ndarray | None

    def _start(self, symbolic: "SymbolicFactor", flat: np.ndarray) -> None:
        """Nothing is factored yet."""
        state = symbolic, flat.dtype, flat, None
        self.__setstate__(dict(zip(KEPT, state, strict=True)))

    def __getstate__(self):
        return {name: getattr(self, name) for name in KEPT}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._work = np.empty(0, dtype=self.dtype)
        self._lock = threading.Lock()

    @property
    def _l(self) -> np.ndarray:
        """Panels of L, if there is a valid factor."""
        if self._values is None:
            raise np.linalg.LinAlgError("there is no factor: the last factorization failed")
        return self._flat

    def _workspace(self, length: int) -> np.ndarray:
        """At least so many scalars, kept for the next time."""
        if self._work.size < length:
            self._work = np.empty(0, dtype=self.dtype)
            self._work = allocate(length, self.dtype, "the workspace")
        return self._work

    def logdet_grad(self, threads: int | None = None) -> np.ndarray:
        """Gradient of ``log det A``, see `sparsechol.derivatives.logdet_grad`."""
        from .. import derivatives

        return derivatives.logdet_grad(self, threads)

    def solve_vjp(
        self, x: ArrayLike, x_bar: ArrayLike, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradients in A and b of a solve, see `sparsechol.derivatives.solve_vjp`."""
        from .. import derivatives

        return derivatives.solve_vjp(self, x, x_bar, threads)

    def partial_inverse_vjp(
        self, Z_bar: Any, pattern: str = "matrix", threads: int | None = None
    ) -> np.ndarray:
        """Gradient of the partial inverse, see `sparsechol.derivatives.partial_inverse_vjp`."""
        from .. import derivatives

        return derivatives.partial_inverse_vjp(self, Z_bar, pattern, threads)


def allocate(entries: int, dtype, what: str) -> np.ndarray:
    try:
        return np.empty(entries, dtype=dtype)
    except MemoryError:
        gib = entries * np.dtype(dtype).itemsize / 2**30
        raise MemoryError(f"{what} needs {gib:.3g} GiB ({entries} entries of {dtype})") from None
