"""Name the types that the annotations of this package share."""

from typing import Any, Literal

import numpy as np
from jax.experimental.sparse import BCOO, BCSR
from jax.typing import ArrayLike
from scipy.sparse import sparray, spmatrix

Trans = Literal["N", "T", "C", 0, 1, 2]
Ordering = Literal["auto", "best", "amd", "nested_dissection", "metis", "natural"]
OrderingLike = Ordering | np.ndarray
SparseLike = sparray | spmatrix | BCOO | BCSR
MatrixLike = SparseLike | ArrayLike
SparsityLike = sparray | spmatrix | ArrayLike
ComputeDtype = Literal["float64"] | None
Mode = Literal["auto", "forward", "reverse", "bidirectional"]
OnUnknown = Literal["dense", "raise"]
Pytree = Any  # nested containers of arrays
