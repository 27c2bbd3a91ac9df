"""Sparsity rules of linear systems that are given by a function: those of JAX, and of lineax."""

from functools import partial
from itertools import accumulate

import jax
import numpy as np
from jax.extend.core import Literal

from ..._sparsity import propagate
from .._compat import without_folding
from .._fold import attempt
from .._rule_table import dense, rule
from .._walk import UNKNOWN, Doubtful, Varying
from .._zeros import masks_of
from .._zeros import rule as zero_rule
from .loops import JaxprPattern, gathered, spread


@rule("custom_linear_solve")
def custom_linear_solve(scope, eqn, operands):
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    count = sum(lengths)
    consts, right = operands[:count], operands[count:]
    if any(ids is not None for ids in consts) or len(eqn.outvars) != len(right):
        return dense(scope, eqn, operands)
    return solved(scope, jaxprs.matvec, eqn.invars[: lengths.matvec], eqn.outvars, right)


def solved(scope, matvec, atoms, outvars, right):
    """Return the sets of solutions: the unions of the right-hand sides of each component.

    Parameters
    ----------
    matvec : ClosedJaxpr
        The product with a vector, whose arrays are the last operands.
    atoms : list
        The first operands, of which the matrix is made.
    outvars : list
        The arrays of the solution.
    right : list
        Sets of the right-hand side, in arrays of the same shapes.
    """
    labels = components(scope, matvec, atoms, len(right))
    shapes = [var.aval.shape for var in outvars]
    flat = propagate.union_by_label(scope.sets, labels, gathered(right, range(len(right)), shapes))
    return spread(flat, range(len(right)), shapes)


def components(scope, matvec, atoms, n):
    """Return the component of each element of a vector of `n` arrays, see `solved`."""
    vector = [len(atoms) + k for k in range(n)]
    values = scope.later(atoms) + [UNKNOWN] * n
    local = JaxprPattern(scope, matvec, vector, values, atoms)
    return propagate.connected_components(local.block(range(n), vector))


@zero_rule("custom_linear_solve")
def zeros_of_solution(scope, eqn, *masks):
    """Return the components in which the right-hand side has no entry."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    right = masks_of(eqn, masks)[sum(lengths) :]
    if len(eqn.outvars) != len(right):
        return None
    detection = scope.detection
    before, detection.on_trial = detection.on_trial, True
    try:
        labels = components(scope, jaxprs.matvec, eqn.invars[: lengths.matvec], len(right))
    except (Doubtful, Varying):
        return None
    finally:
        detection.on_trial = before
    filled = np.zeros(labels.max(initial=-1) + 1, bool)
    filled[labels[~np.concatenate([x.ravel() for x in right])]] = True
    empty = np.split(~filled[labels], np.cumsum([x.size for x in right])[:-1])
    return tuple(x.reshape(mask.shape) for x, mask in zip(empty, right, strict=True))


# ---- lineax ----


@rule("linear_solve", "vprim")
def linear_solve(scope, eqn, operands):
    """Follow the product of an operator of lineax instead of its solver."""
    found = attempt(LinearSolve, eqn)
    if found is None:
        return NotImplemented
    others = [ids for k, ids in enumerate(operands) if k not in found.vector]
    if any(ids is not None for ids in others):
        return NotImplemented
    n = len(found.vector)
    right = [found.arranged(operands[k], k) for k in found.vector]
    solution = solved(scope, found.matvec, eqn.invars, eqn.outvars[:n], right)
    return [*solution, *[None] * (len(eqn.outvars) - n)]


class LinearSolve:
    """A solve of lineax, or a batch of them: a primitive ``vprim`` of equinox for each `jax.vmap`.

    Attributes
    ----------
    layers : list of pair
        From the outermost `jax.vmap`: number of its elements, and for each operand its axis, or
        None if all elements share it. Results have the axes in this order before their own.
    vector : list of int
        The operands that are the right-hand side.
    matvec : ClosedJaxpr
        The product of the operator and a vector, whose arrays are the last operands.
    """

    def __init__(self, eqn):
        primitive, p, self.layers = eqn.primitive, eqn.params, []
        while primitive.name == "vprim":
            self.layers.append((p["__axis_size"], p["__batch_axes"]))
            primitive, p = p["prim"], dict(p["params"])
        if primitive.name != "linear_solve":
            raise ValueError(f"no linear solve: {primitive}")
        build = partial(rebuilt, p["treedef"], p["static"])
        atoms = jax.tree.leaves(build(eqn.invars)[2])
        numbers = {id(x): k for k, x in enumerate(eqn.invars) if not isinstance(x, Literal)}
        self.vector = [numbers[id(x)] for x in atoms]

        def product(given, leaves):
            structure = jax.tree.structure(build(given)[2])
            return jax.tree.leaves(build(given)[0].mv(jax.tree.unflatten(structure, leaves)))

        for size, axes in reversed(self.layers):
            product = jax.vmap(product, in_axes=([*axes], 0), out_axes=0, axis_size=size)
        given = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in eqn.invars]
        solution = eqn.outvars[: len(atoms)]
        leaves = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in solution]
        with without_folding():
            self.matvec = jax.make_jaxpr(product)(given, leaves)
        if [x.shape for x in self.matvec.out_avals] != [x.shape for x in leaves]:
            raise ValueError("not a square system")

    def arranged(self, ids, k):
        """Return the sets of an operand, or None, with the axes of a result."""
        if ids is None:
            return None
        for depth, (size, axes) in enumerate(self.layers):
            if axes[k] is None:
                ids = np.repeat(np.expand_dims(ids, depth), size, depth)
            else:
                ids = np.moveaxis(ids, depth + axes[k], depth)
        return ids


def rebuilt(treedef, static, arrays):
    """Return the arguments of a primitive of equinox with these arrays.

    equinox passes all arguments as one pytree: its arrays are the operands of the equation, and
    the other leaves are among the parameters, with a mark where there is an array.
    """
    marks = [type(x) is object for x in static]
    numbers = accumulate(marks, initial=0)
    leaves = [arrays[k] if mark else x for mark, k, x in zip(marks, numbers, static, strict=False)]
    return jax.tree.unflatten(treedef, leaves)
