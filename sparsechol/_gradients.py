"""Gradients as methods of a factor and of a batch."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class Gradients:
    """What `sparsechol.derivatives`, which stands on the classes, offers as their methods."""

    def logdet_grad(self, threads: int | None = None) -> np.ndarray:
        """Gradient of ``log det A``, see `sparsechol.derivatives.logdet_grad`."""
        from . import derivatives

        return derivatives.logdet_grad(self, threads)

    def solve_vjp(
        self, x: ArrayLike, x_bar: ArrayLike, threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradients in A and b of a solve, see `sparsechol.derivatives.solve_vjp`."""
        from . import derivatives

        return derivatives.solve_vjp(self, x, x_bar, threads)

    def partial_inverse_vjp(
        self, Z_bar: Any, pattern: str = "matrix", threads: int | None = None
    ) -> np.ndarray:
        """Gradient of the partial inverse, see `sparsechol.derivatives.partial_inverse_vjp`."""
        from . import derivatives

        return derivatives.partial_inverse_vjp(self, Z_bar, pattern, threads)
