"""Types that users meet in signatures."""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import sparray, spmatrix

SparseLike: TypeAlias = sparray | spmatrix
"""A SciPy sparse array or matrix of any format."""

MatrixLike: TypeAlias = SparseLike | ArrayLike
"""What is taken as a matrix: sparse of any format, or dense."""

Trans: TypeAlias = Literal[0, 1, 2, "N", "T", "C"]
"""Solve with a triangle (0 or 'N'), its transpose (1 or 'T') or its conjugate transpose."""

OrderingLike: TypeAlias = (
    Literal["auto", "best", "amd", "nested_dissection", "metis", "natural"] | ArrayLike
)
"""Name of a fill-reducing ordering, or a permutation."""

Entries: TypeAlias = Literal["matrix", "factor"]
"""Entries of an inverse: those on the pattern of A, or those on the pattern of L."""

Array: TypeAlias = NDArray[Any]
"""A NumPy array of any numeric type."""

RandomState: TypeAlias = int | np.random.Generator | np.random.SeedSequence | None
"""What `numpy.random.default_rng` takes."""
