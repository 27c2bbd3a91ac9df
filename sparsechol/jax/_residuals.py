"""Residuals of nonlinear least squares as functions of vectors, with their sparse Jacobian."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.sparse import csc_array

from ..coloring._pattern import symmetrized
from ._compat import is_concrete
from ._gram import gram
from ._matrix import SymmetricMatrix
from ._parameters import Parameters, raveled_start
from ._sparse_derivatives import sparse_jacobian
from ._sparse_hessians import sparse_hessian

LOSSES: dict[str, Callable] = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * (jnp.sqrt(1 + z) - 1),
    "huber": lambda z: jnp.where(z <= 1, z, 2 * jnp.sqrt(jnp.maximum(z, 1)) - 1),
    "cauchy": jnp.log1p,
    "arctan": jnp.arctan,
}


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


def _check_point(found: Parameters, wanted: Parameters) -> None:
    """Refuse what a retraction returns if it is no point like x0."""
    if found.tree != wanted.tree or found.shapes != wanted.shapes:
        raise ValueError(
            "retract(x, d) must return a point like x0:"
            f" it has the structure {found.tree} with shapes {found.shapes},"
            f" and x0 has {wanted.tree} with {wanted.shapes}"
        )


def _check_loss(rho, r, f_scale) -> None:
    """Refuse a loss that does not act on each residual, and a scale that is not positive."""
    if getattr(rho, "shape", None) != r.shape:
        shape = getattr(rho, "shape", "no array")
        raise ValueError(f"loss(z) must have the shape of z, {r.shape}, not {shape}")
    if np.shape(f_scale):
        raise ValueError(f"f_scale has shape {np.shape(f_scale)}: one number is needed")
    if is_concrete(f_scale) and not 0 < float(f_scale) < np.inf:
        raise ValueError(f"f_scale is {f_scale}: a positive number is needed")


class Problem:
    """Residuals as a function of a change d of a point x, with their sparse Jacobian in d at zero.

    All functions are of vectors: points x and changes d are raveled.

    Attributes
    ----------
    zero : ndarray
        No change.
    flat : bool
        True if there is no retraction: points and changes have the same units.
    parameters : Parameters
        The layout of a change.
    """

    def __init__(self, residual, x0, args, loss, chart, ordering):
        (rho, f_scale), (retract, tangent) = loss, chart
        x, self.unravel = raveled_start(x0)
        point = Parameters.of(x0)
        self.parameters = point if tangent is None else Parameters.of(tangent)
        self.zero = np.zeros(self.parameters.size, x.dtype)
        self.flat = retract is None
        if retract is None and self.parameters.shapes != point.shapes:
            raise ValueError("tangent without retract must have the shapes of x0")

        def moved(x, d):
            if retract is None:
                return x + d
            there = retract(self.unravel(x), self.parameters.unravel(d))
            _check_point(Parameters.of(there), point)
            return ravel_pytree(there)[0].astype(x.dtype)

        def residuals(d, x, *args):
            r = ravel_pytree(residual(self.unravel(moved(x, d)), *args))[0]
            return r.astype(x.dtype) if jnp.issubdtype(r.dtype, jnp.floating) else r

        self._moved, of_moved = jax.closure_convert(moved, x, self.zero)
        residuals, consts = jax.closure_convert(residuals, self.zero, x, *args)
        self._residuals = jax.jit(residuals)
        r = jax.eval_shape(self._residuals, self.zero, x, *args, *consts)
        self._rho, of_rho = jax.closure_convert(rho, r)
        _check_loss(jax.eval_shape(self._rho, r, *of_rho), r, f_scale)
        f_scale = jnp.asarray(f_scale, x.dtype)
        values = ((*args, *consts), tuple(of_moved), tuple(of_rho), f_scale)
        self._values = jax.lax.stop_gradient(x), values
        self._jacobian = sparse_jacobian(self._residuals, self.zero, x, *args, *consts)
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

    def release(self) -> tuple[jax.Array, tuple]:
        """Return the first point and the arguments, and forget them: JAX may keep this object.

        The arguments are four: those of the residuals, with the variables of their closure; the
        variables of the closures of the retraction and of the loss; and `f_scale`.
        """
        return self.__dict__.pop("_values")

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
