"""Types of JAX's own; the others are in `sparsechol._typing`."""

from typing import Any, Literal, TypeAlias

from jax.experimental.sparse import BCOO, BCSR
from jax.typing import ArrayLike

from .. import _typing

SparseLike: TypeAlias = _typing.SparseLike | BCOO | BCSR
"""A sparse array of SciPy, of any format, or of JAX."""

MatrixLike: TypeAlias = SparseLike | ArrayLike
"""What is taken as a matrix: sparse, of SciPy or JAX, or dense."""

ComputeDtype: TypeAlias = Literal["float64"] | None
"""Precision of the factorization of a float32 matrix, if it is another."""

Pytree: TypeAlias = Any
"""Nested containers of arrays."""
