"""Residuals of nonlinear least squares as functions of vectors, with their sparse Jacobian."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.sparse import csc_array

from ..coloring._pattern import symmetrized
from ._gram import gram
from ._matrix import SymmetricMatrix
from ._sparse_derivatives import sparse_hessian, sparse_jacobian
from ._typing import Pytree

LOSSES: dict[str, Callable] = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * (jnp.sqrt(1 + z) - 1),
    "huber": lambda z: jnp.where(z <= 1, z, 2 * jnp.sqrt(jnp.maximum(z, 1)) - 1),
    "cauchy": jnp.log1p,
    "arctan": jnp.arctan,
}


@dataclass(frozen=True)
class Parameters:
    """The layout of a pytree of parameters in one vector, and their names for messages."""

    tree: Any
    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, x: Pytree) -> "Parameters":
        """Read the layout of a pytree of arrays."""
        found, tree = jax.tree_util.tree_flatten_with_path(x)
        paths = tuple(jax.tree_util.keystr(path) for path, _ in found)
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
                return f"x{path}[{at}]" if at else f"x{path}"
            k -= size
        raise IndexError(k)

    def named(self, numbers, most: int = 6) -> str:
        """Name the first of some elements."""
        numbers = sorted(map(int, numbers))
        names = ", ".join(self.name(k) for k in numbers[:most])
        return names + (f" and {len(numbers) - most} more" if len(numbers) > most else "")


class ColumnSums:
    """Sums of the entries of each column of a matrix, given by column.

    Columns of nearly one length are summed side by side: XLA adds at scattered places hundreds of
    times more slowly.
    """

    def __init__(self, indptr):
        counts = np.diff(indptr).astype(np.int64)
        classes = np.ceil(np.log2(np.maximum(counts, 1))).astype(int)
        order = np.argsort(classes, kind="stable")
        self._places = []
        for number in np.unique(classes):
            chosen = np.flatnonzero(classes == number)
            place = indptr[chosen][:, None] + np.arange(counts[chosen].max())
            place[place >= indptr[chosen + 1][:, None]] = indptr[-1]  # outside: zero
            self._places.append(place.astype(np.int32))
        self._back = np.argsort(order, kind="stable")

    def __call__(self, entries):
        """Return one sum for each column."""
        sums = [jnp.sum(entries.at[p].get(mode="fill", fill_value=0), 1) for p in self._places]
        return jnp.concatenate(sums)[self._back] if sums else entries[:0]


class Problem:
    """Residuals as a function of a change d of a point x, with their sparse Jacobian in d at zero.

    All functions are of vectors: points x and changes d are raveled.

    Attributes
    ----------
    start : jax.Array
        The first point.
    args : tuple
        Four: the arguments of the residuals, with the variables of their closure; the variables of
        the closures of the retraction and of the loss; and `f_scale`.
    zero : ndarray
        No change.
    parameters : Parameters
        The layout of a change.
    """

    def __init__(self, residual, x0, args, loss, chart, ordering):
        (rho, f_scale), (retract, tangent) = loss, chart
        x, self.unravel = ravel_pytree(x0)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"x0 has type {x.dtype}: real floating point numbers are needed")
        self.start = jax.lax.stop_gradient(x)
        self.parameters = Parameters.of(x0 if tangent is None else tangent)
        self.zero = np.zeros(self.parameters.size, x.dtype)
        if retract is None and self.zero.shape != x.shape:
            raise ValueError("tangent without retract must have the shapes of x0")

        def moved(x, d):
            if retract is None:
                return x + d
            return ravel_pytree(retract(self.unravel(x), self.parameters.unravel(d)))[0]

        def residuals(d, x, *args):
            return ravel_pytree(residual(self.unravel(moved(x, d)), *args))[0]

        self._moved, of_moved = jax.closure_convert(moved, x, self.zero)
        residuals, consts = jax.closure_convert(residuals, self.zero, x, *args)
        self._residuals = jax.jit(residuals)
        r = jax.eval_shape(self._residuals, self.zero, x, *args, *consts)
        self._rho, of_rho = jax.closure_convert(rho, r)
        f_scale = jnp.asarray(f_scale, x.dtype)
        self.args = ((*args, *consts), tuple(of_moved), tuple(of_rho), f_scale)
        self._jacobian = sparse_jacobian(self._residuals, self.zero, x, *self.args[0])
        self._check_columns()
        self.gram = gram(self._jacobian, ordering=ordering)
        self._column_sums = ColumnSums(self._jacobian.sparsity.indptr)

    def _check_columns(self):
        """Refuse parameters without residuals."""
        free = np.flatnonzero(np.diff(self._jacobian.sparsity.indptr) == 0)
        if free.size:
            raise ValueError(
                f"no residual depends on {self.parameters.named(free)}: leave these parameters out,"
                " or add residuals that say what is known of them"
            )

    def moved(self, x, d, args):
        """Return the point x moved by d."""
        return self._moved(x, d, *args[1])

    def cost(self, d, x, args):
        """Return the cost at a point x moved by d."""
        z = (self._residuals(d, x, *args[0]) / args[3]) ** 2
        return 0.5 * args[3] ** 2 * jnp.sum(self._rho(z, *args[2]))

    def gradient(self, x, args):
        """Return the gradient of the cost in d at zero."""
        return jax.grad(self.cost)(self.zero, x, args)

    def normal_equations(self, x, args) -> tuple[SymmetricMatrix, jax.Array]:
        """Return ``J^T W J`` and the gradient ``J^T W r`` at a point, with the weights ``rho'``."""
        r = self._residuals(self.zero, x, *args[0])
        z = (r / args[3]) ** 2
        _, pull = jax.vjp(lambda z: self._rho(z, *args[2]), z)
        [w] = pull(jnp.ones_like(z))
        a = self._jacobian.values(self.zero, x, *args[0])
        M = self.gram.values(self.gram.from_columns(a), w)
        return M, self._column_sums(a * (w * r)[self._jacobian.sparsity.indices])

    def hessian(self, x, args) -> SymmetricMatrix:
        """Return the Hessian of the cost in d at zero."""
        P = self.gram.pattern
        lower = csc_array((np.ones(len(P.indices), np.int8), P.indices, P.indptr), shape=P.shape)
        point = self.zero, x, args
        H = sparse_hessian(self.cost, *point, sparsity=symmetrized(lower), ordering=P.perm)
        return H.matrix(*point)
