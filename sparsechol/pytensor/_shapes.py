"""Shapes of the operands that users pass, as far as they are known when the graph is built."""

from typing import Any


def ends_in(x: Any, length: int) -> bool:
    """Say whether the last dimension may be of this length."""
    return x.type.ndim > 0 and x.type.shape[-1] in (None, length)


def is_one_each(x: Any) -> bool:
    """Say whether `x` is a number for each element of a batch."""
    return x.type.ndim > 0 and x.type.shape[-1] == 1


def leading(x: Any) -> list:
    """Return all dimensions but the last."""
    return [x.shape[axis] for axis in range(x.type.ndim - 1)]
