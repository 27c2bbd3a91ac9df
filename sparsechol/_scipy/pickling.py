"""Pickles: what wrote them is told by a number, and index arrays by a checksum.

Kernels trust the index arrays of an analysis. So an analysis is made from a pickle only if its
arrays are those that were written. The numbers of a factor carry no checksum, as those of an array.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

# To be raised whenever the content of a pickle, or its meaning, changes.
FORMAT = 1


def reduced(make: Callable[..., Any], *content: Any) -> tuple[Callable[..., Any], tuple]:
    """Return what ``__reduce__`` is to return for ``make(*content)``."""
    return restored, (make, FORMAT, checksum(content), content)


def restored(make: Callable[..., Any], form: int, seal: int, content: tuple) -> Any:
    """Return ``make(*content)``; raise ValueError if the content is not that of `reduced`."""
    check_format(form)
    if checksum(content) != seal:
        raise ValueError("the pickle is damaged: it does not hold what was written; make it anew")
    return make(*content)


def restored_factor(kind: type[Any], form: int, state: dict[str, Any]) -> Any:
    """Return a factor of a class with this state; raise ValueError if it does not fit together."""
    check_format(form)
    pattern, dtype, panels, values = (state.get(name) for name in kind._kept[:4])
    structure = getattr(pattern, "_structure", None)
    count = len(panels) if kind._is_batch and isinstance(panels, np.ndarray) else 1
    if (
        structure is None
        or not is_array(panels, dtype, (count, structure.size))
        or not (
            values is None
            or is_array(values, dtype, (count, structure.nnz))
            or is_array(values, dtype, (count, 0))
        )
    ):
        raise ValueError("the pickle is damaged: its parts do not fit; factor the matrix anew")
    factor = object.__new__(kind)
    factor._set_state(state)
    return factor


def is_array(array: Any, dtype: Any, shape: tuple[int, int]) -> bool:
    """Return whether this is such an array, in C order."""
    known = isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == shape
    return known and array.dtype.char in "fdFD" and array.flags.c_contiguous


def check_format(form: Any) -> None:
    """Raise ValueError for a pickle that another version wrote in another form."""
    if form != FORMAT:
        raise ValueError(
            f"the pickle has format {form}, and this version of sparsechol reads format {FORMAT}:"
            " analyze or factor the matrix anew"
        )


def checksum(part: Any, before: int = 0) -> int:
    """Return a checksum of arrays, numbers, strings, and tuples and dictionaries of them.

    What has a digest, as an analysis, stands for itself.
    """
    if isinstance(part, dict):
        part = tuple(part.items())
    if isinstance(part, tuple):
        for one in part:
            before = checksum(one, before)
        return zlib.crc32(str(len(part)).encode(), before)
    if isinstance(part, np.ndarray):
        before = zlib.crc32(f"{part.dtype.str}{part.shape}".encode(), before)
        return zlib.crc32(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data, before)
    return zlib.crc32(repr(getattr(part, "digest", part)).encode(), before)
