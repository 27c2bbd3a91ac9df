"""Shapes of the operands that users pass, as far as they are known when the graph is built."""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from .._scipy.input import entry_numbers
from . import _ops as ops


def ends_in(x: Any, length: int) -> bool:
    """Say whether the last dimension may be of this length."""
    return x.type.ndim > 0 and x.type.shape[-1] in (None, length)


def is_one_each(x: Any) -> bool:
    """Say whether `x` is a number for each element of a batch."""
    return x.type.ndim > 0 and x.type.shape[-1] == 1


def leading(x: Any) -> list:
    """Return all dimensions but the last."""
    return [x.shape[axis] for axis in range(x.type.ndim - 1)]


def known_entries(rows: Any, columns: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of entries of a matrix of order n, broadcast against each other."""
    for name, numbers in (("rows", rows), ("columns", columns)):
        if isinstance(numbers, Variable):
            raise TypeError(
                f"{name} must be known when the graph is built: pass NumPy arrays or lists of int,"
                f" not {numbers!r}"
            )
    return entry_numbers(rows, columns, n)


def as_vectors(Q: Any, x: Any, name: str, ndim: int | None) -> tuple[pt.TensorVariable, bool]:
    """Make a tensor variable of shape (..., n) or (..., n, k), and say whether it is the first."""
    if ndim not in (None, 1, 2):
        raise ValueError(f"{name}_ndim must be 1 or 2, not {ndim!r}")
    [x] = ops.as_floats(x)
    rank = min(x.type.ndim, 2) if ndim is None else ndim
    if not 0 < rank <= x.type.ndim or x.type.shape[-rank] not in (None, Q.shape[0]):
        n = Q.shape[0]
        hint = rank == 2 and x.type.ndim > 1 and x.type.shape[-1] == n
        raise ValueError(
            f"the shapes of the matrix, {Q.shape}, and {name}, {x.type.shape}, do not fit: {name}"
            f" is ({n},) or ({n}, k)" + f"; of vectors (..., {n}) with {name}_ndim=1" * hint
        )
    return x, rank == 1
