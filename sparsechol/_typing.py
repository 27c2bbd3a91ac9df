"""Types that users meet in signatures."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import sparray, spmatrix

SparseLike: TypeAlias = sparray | spmatrix
"""A SciPy sparse array or matrix of any format."""

MatrixLike: TypeAlias = SparseLike | ArrayLike
"""What is taken as a matrix or as right-hand sides: sparse of any format, or dense."""

Trans: TypeAlias = Literal[0, 1, 2, "N", "T", "C"]
"""Solve with a triangle (0 or 'N'), its transpose (1 or 'T') or its conjugate transpose."""

OrderingLike: TypeAlias = (
    Literal["auto", "best", "amd", "nested_dissection", "metis", "natural"]
    | Sequence[int]
    | np.ndarray
)
"""Name of a fill-reducing ordering, or a permutation."""

Product: TypeAlias = Literal["AAt", "AtA"]
"""A product of a matrix and its transpose."""

WeakPivots: TypeAlias = Literal["refuse", "accept"]
"""What becomes of a matrix with a positive pivot that is within rounding of zero."""

Regularize: TypeAlias = float | tuple[float, float] | None
"""A shift of the diagonal, or (eps, delta): pivots up to eps are replaced by delta."""

Entries: TypeAlias = Literal["matrix", "factor"]
"""Entries of an inverse: those on the pattern of A, or those on the pattern of L."""

RandomState: TypeAlias = int | np.random.Generator | np.random.SeedSequence | None
"""What `numpy.random.default_rng` takes."""

Structure: TypeAlias = Literal["column", "row", "symmetric", "bidirectional"]
"""What a coloring colors."""

Method: TypeAlias = Literal["direct", "substitution"]
"""How a coloring gives the entries of a matrix."""

Order: TypeAlias = (
    Literal[
        "auto",
        "natural",
        "largest_first",
        "smallest_last",
        "incidence_degree",
        "dynamic_largest_first",
        "perfect_elimination",
        "random",
    ]
    | Sequence[int]
    | np.ndarray
)
"""Name of an order in which vertices take their colors, or a permutation."""

Differences: TypeAlias = Literal["2-point", "3-point", "cs"]
"""Kind of finite differences."""

Mode: TypeAlias = Literal["auto", "forward", "reverse", "bidirectional", "templates"]
"""Direction of the products that give a Jacobian."""

OnUnknown: TypeAlias = Literal["dense", "raise"]
"""What is done about an operation that the detection of sparsity does not know."""
