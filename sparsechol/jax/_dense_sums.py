"""Split off what makes a Hessian dense: sums over many unknowns in which a function is not linear.

A soft constraint on the sum of all unknowns, a mean that is subtracted, and the logarithm of a sum
of exponentials are such terms. Let s be the sums, each a function h(x, s) of the unknowns and of
sums before it, f(x) = F(x, s), and p the derivatives of f in s. With G(x, s) = F(x, s) + p h(x, s),
J = ds/dx, c = d^2G/ds dx and d = d^2G/ds^2 the Hessian of f is

    d^2G/dx^2 + J^T d J + J^T c + c^T J,

a sparse matrix and C D C^T with C = (J^T, c^T) and D = ((d, I), (I, 0)).
"""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from .._sparsity import linear_maps as choice
from .._typing import OrderingLike
from ._compat import bound, line_of
from ._detect import RaveledFunction, detect
from ._linear_maps import is_in, is_linear, types_of
from ._low_rank import LowRankMatrix
from ._sparse_derivatives import InnerFunction
from ._templates import Program

SUMS = {"reduce_sum", "dot_general", "bcoo_dot_general", "bcsr_dot_general", "sparsechol_product"}


def nonlinear_sums(program):
    """Return the equations of the few sums in which the result is not linear."""
    used: set = set()  # by what is not linear
    for eqn in reversed(program.equations):
        if not is_linear(eqn, program.moving) or not used.isdisjoint(eqn.outvars):
            used.update(a for a in eqn.invars if is_in(a, program.moving))
    dtype = program.output.aval.dtype
    return [
        eqn
        for eqn in program.equations
        if eqn.primitive.name in SUMS
        and eqn.outvars[0] in used
        and eqn.outvars[0].aval.size <= choice.MOST
        and eqn.outvars[0].aval.dtype == dtype
    ]


class SplitProgram:
    """A program with some of its sums as inputs of their own.

    Parameters
    ----------
    program : Program
    numbers : list of int, optional
        Which of its sums; by default all.
    anchors : ndarray of int, optional
        See `sparsechol._sparsity.linear_maps.anchors`.
    """

    def __init__(self, program, numbers=None, anchors=None):
        self.anchors = anchors
        found = nonlinear_sums(program)
        self.program = program
        self.numbers = list(range(len(found))) if numbers is None else numbers
        self.equations = [found[k] for k in self.numbers]
        self.sums = [eqn.outvars[0] for eqn in self.equations]
        self.sizes = [var.aval.size for var in self.sums]

    def values(self, leaves, vector):
        """Return the sums, one after the other."""
        found = self.program.run(self.sums, vector, leaves)
        return jnp.concatenate([jnp.ravel(x) for x in found])

    def outer(self, leaves, vector, values):
        """Return F and h, where sums before have these values."""
        parts = jnp.split(values, np.cumsum(self.sizes)[:-1])
        given = {v: x.reshape(v.aval.shape) for v, x in zip(self.sums, parts, strict=True)}
        read = {a: None for eqn in self.equations for a in eqn.invars if not isinstance(a, Literal)}
        found = self.program.run([self.program.output, *read], vector, leaves, given)
        read = dict(zip(read, found[1:], strict=True))
        sums = []
        for eqn in self.equations:
            operands = [a.val if isinstance(a, Literal) else read[a] for a in eqn.invars]
            sums.append(jnp.ravel(bound(eqn, operands)[0]))
        return found[0].reshape(()), jnp.concatenate(sums)


def dense_sums(raveled, program, args, on_unknown):
    """Find the sums that make a Hessian dense, those of more unknowns than a sparse one has.

    Returns
    -------
    SplitProgram or None
    """
    split = SplitProgram(program)
    if not split.sums:
        return None
    programs = SplitPrograms(raveled, args, split)
    sums = cast("Any", InnerFunction(raveled, programs, "values"))
    A = detect(sums, args, "forward", on_unknown)
    long = [not flag for flag in choice.short(A, split.sizes)]
    anchors = choice.anchors(A[np.repeat(long, split.sizes)])
    split = SplitProgram(program, choice.choose(split.numbers, long), anchors)
    return split if 0 < sum(split.sizes) <= choice.MOST else None


class SplitPrograms:
    """Programs that are split at the same sums, one for each list of types of arguments."""

    def __init__(self, raveled, args, split):
        self.raveled, self.split = raveled, split
        self._found = {types_of(args): split}

    def of(self, args):
        """Return the program for arguments."""
        types = types_of(args)
        if types not in self._found:
            self._found[types] = SplitProgram(Program(self.raveled, args), self.split.numbers)
        return self._found[types]


def why_dense(split):
    """Say which lines of the program make a Hessian dense."""
    lines = [line_of(eqn) for eqn in split.equations]
    places = ", ".join(dict.fromkeys(line for line in lines if line))
    return (
        "the function is not linear in a sum over many unknowns"
        + (f" (at {places})" if places else "")
        + ", which makes its Hessian dense"
    )


class SplitHessian:
    """A Hessian as a sparse matrix and one of low rank; like a `SparseHessian`.

    Parameters
    ----------
    sparse_hessian : callable
        Prepares the Hessian of G.
    """

    def __init__(self, sparse_hessian, split, raveled, args, ordering: OrderingLike):
        self._programs = SplitPrograms(raveled, args, split)
        self.anchors = split.anchors
        x, *others, _ = args
        sums = jax.ShapeDtypeStruct((sum(split.sizes),), x.dtype)
        self.sparse = sparse_hessian(self._held, x, sums, sums, *others, ordering=ordering)

    def _held(self, x, values, p, *args):
        """Return G, of the unknowns, the sums, and p."""
        leaves = jax.tree.leaves((x, *args))
        result, sums = self._programs.of((x, *args, {})).outer(leaves, x, values)
        return result + p @ sums

    def matrix(self, x, *args):
        """Compute the matrix.

        What the anchors add to the diagonal of the sparse part is taken away by columns of C.

        Returns
        -------
        LowRankMatrix
        """
        split, leaves = self._programs.of((x, *args, {})), jax.tree.leaves((x, *args))
        values = split.values(leaves, x)
        J = jax.jacrev(partial(split.values, leaves))(x)
        slope, through = jax.jacrev(partial(split.outer, leaves), argnums=1)(x, values)
        unit = jnp.eye(values.size, dtype=x.dtype)
        p = jnp.linalg.solve(unit - through.T, slope)

        def held(x, values):
            return self._held(x, values, p, *args)

        c = jax.jacfwd(jax.grad(held), argnums=1)(x, values)
        d = jax.hessian(held, argnums=1)(x, values)
        sparse = self.sparse.matrix(x, values, p, *args)
        place = sparse.pattern.indptr[self.anchors]  # of diagonal entries
        diagonal = jax.lax.stop_gradient(sparse.diagonal())
        sizes, there = jnp.abs(diagonal), diagonal[self.anchors]
        added = jnp.abs(there) + jnp.where(there > 0, 0, jnp.mean(sizes))
        columns = jnp.zeros((x.size, place.size), x.dtype)
        columns = columns.at[self.anchors, np.arange(place.size)].set(1)
        D = jnp.block([[d, unit], [unit, jnp.zeros_like(unit)]])
        D = jax.scipy.linalg.block_diag(D, -jnp.diag(added))
        C = jnp.concatenate([J.T, c, columns], axis=1)
        return LowRankMatrix(sparse.with_values(sparse.values.at[place].add(added)), C, D)


def split_hessian(sparse_hessian, f, x, args, ordering):
    """Prepare the Hessian of f(x, *args) in a vector, split where sums make it dense.

    Returns
    -------
    SparseHessian or SplitHessian
    """
    raveled = RaveledFunction(f, (x, *args), 0)
    if raveled.size > choice.SHORT:
        split = dense_sums(raveled, Program(raveled, raveled.examples), raveled.examples, "dense")
        if split is not None:
            return SplitHessian(sparse_hessian, split, raveled, raveled.examples, ordering)
    return sparse_hessian(f, x, *args, ordering=ordering)
