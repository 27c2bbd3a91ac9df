"""Pytrees of parameters as one vector, and the names of its elements."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ._typing import Pytree


def raveled_start(x0: Pytree) -> tuple[jax.Array, Callable[[jax.Array], Pytree]]:
    """Return a starting point as one vector, and the function that makes the pytree of a vector.

    Raises
    ------
    TypeError
        If a leaf is not real floating point. An integer would be rounded after each step.
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(x0)[0]:
        dtype = jnp.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            name = jax.tree_util.keystr(path)
            raise TypeError(f"x0{name} has type {dtype}: real floating point numbers are needed")
    return ravel_pytree(x0)


@dataclass(frozen=True)
class Parameters:
    """The layout of a pytree of parameters in one vector, and their names for messages."""

    tree: Any
    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, x: Pytree, name: str = "x") -> "Parameters":
        """Read the layout of a pytree of arrays."""
        found, tree = jax.tree_util.tree_flatten_with_path(x)
        paths = tuple(name + jax.tree_util.keystr(path) for path, _ in found)
        return cls(tree, paths, tuple(np.shape(leaf) for _, leaf in found))

    @property
    def size(self) -> int:
        """Number of elements of the vector."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def unravel(self, vector: jax.Array) -> Pytree:
        """Return the pytree of a vector."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = jnp.split(vector, ends[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return jax.tree.unflatten(self.tree, leaves)

    def name(self, k: int) -> str:
        """Return the name of element k of the vector, such as ``x['poses'][3, 0]``."""
        for path, shape in zip(self.paths, self.shapes, strict=True):
            size = int(np.prod(shape))
            if k < size:
                at = ", ".join(map(str, np.unravel_index(k, shape)))
                return f"{path}[{at}]" if at else path
            k -= size
        raise IndexError(k)

    def named(self, numbers, most: int = 6) -> str:
        """Name the first of some elements."""
        numbers = sorted(map(int, numbers))
        names = ", ".join(self.name(k) for k in numbers[:most])
        return names + (f" and {len(numbers) - most} more" if len(numbers) > most else "")
