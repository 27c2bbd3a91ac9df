"""Sparsity rules of linear systems that are given by a function: those of JAX, and of lineax."""

from functools import partial
from itertools import accumulate

import jax
from jax.extend.core import Literal

from ..._sparsity import propagate
from .._compat import without_folding
from .._fold import attempt
from .._rule_table import dense, rule
from .._walk import UNKNOWN
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
    n = len(right)
    vector = [len(atoms) + k for k in range(n)]
    values = scope.later(atoms) + [UNKNOWN] * n
    local = JaxprPattern(scope, matvec, vector, values, atoms)
    labels = propagate.connected_components(local.block(range(n), vector))
    shapes = [var.aval.shape for var in outvars]
    flat = propagate.union_by_label(scope.sets, labels, gathered(right, range(n), shapes))
    return spread(flat, range(n), shapes)


# ---- lineax ----


@rule("linear_solve")
def linear_solve(scope, eqn, operands):
    """Follow the product of an operator of lineax instead of its solver."""
    found = attempt(parts_of, eqn)
    if found is None:
        return NotImplemented
    matvec, vector = found
    n = len(vector)
    numbers = {id(atom): k for k, atom in enumerate(eqn.invars) if not isinstance(atom, Literal)}
    places = [numbers.get(id(atom)) for atom in vector]
    others = [ids for k, ids in enumerate(operands) if k not in places]
    if any(ids is not None for ids in others) or None in places:
        return NotImplemented
    right = [operands[k] for k in places]
    solution = solved(scope, matvec, eqn.invars, eqn.outvars[:n], right)
    return [*solution, *[None] * (len(eqn.outvars) - n)]


def parts_of(eqn):
    """Return the product with an operator as a jaxpr, and the atoms of the right-hand side.

    equinox passes all arguments as one pytree: its arrays are the operands of the equation, and
    the other leaves are among the parameters, with a mark where there is an array.
    """
    p = eqn.params
    build = partial(rebuilt, p["treedef"], p["static"])
    vector = jax.tree.leaves(build(eqn.invars)[2])
    shapes = [x.aval.shape for x in vector]
    avals = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in eqn.invars]
    with without_folding():
        found = jax.make_jaxpr(lambda given, x: build(given)[0].mv(x))(avals, build(avals)[2])
    solution = [x.aval.shape for x in eqn.outvars[: len(vector)]]
    if solution != shapes or [x.shape for x in found.out_avals] != shapes:
        raise ValueError("not a square system")
    return found, vector


def rebuilt(treedef, static, arrays):
    """Return the arguments of a primitive of equinox with these arrays."""
    marks = [type(x) is object for x in static]
    numbers = accumulate(marks, initial=0)
    leaves = [arrays[k] if mark else x for mark, k, x in zip(marks, numbers, static, strict=False)]
    return jax.tree.unflatten(treedef, leaves)
