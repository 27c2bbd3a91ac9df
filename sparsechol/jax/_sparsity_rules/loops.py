"""Sparsity rules of branches, loops and other operations that hold jaxprs."""

from typing import Any, cast

import numpy as np
from jax.extend.core import ClosedJaxpr
from scipy.sparse import csr_array

from ..._sparsity import propagate
from .._compat import loop_of
from .._partial import shapes
from .._rule_table import present, rule
from .._walk import (
    UNKNOWN,
    VARIES,
    Doubtful,
    ReverseOnly,
    Scope,
    Varying,
    at_step,
    is_short,
    turns,
)
from .all_turns import follow_all_turns
from .nested import follow_nested

REPEATED = 200_000_000  # most entries of matrices that are applied in a loop


@rule("cond")
def cond(scope, eqn, operands):
    which, *operands = operands
    _, *atoms = eqn.invars
    branches = eqn.params["branches"]
    known = scope.value(eqn.invars[0]) if which is None else None
    if known is not None:
        branches = [branches[int(np.clip(known, 0, len(branches) - 1))]]
    results = [scope.call(branch, atoms, operands) for branch in branches]
    return [joined(scope.sets, ids) for ids in zip(*results, strict=True)]


def joined(sets, operands):
    """Return the union of what branches return, None if all of them depend on nothing."""
    found = present(operands)
    return propagate.union(sets, *found) if found else None


class JaxprPattern:
    """The dependence of a jaxpr's results on its operands, as a boolean matrix.

    Parameters
    ----------
    scope : Scope
        Where the jaxpr is called.
    jaxpr : Jaxpr or ClosedJaxpr
    dependent : list of int
        The operands to follow.
    values : list
        Values of the operands, see `Scope`.
    atoms : list
        The first operands in the scope of the call, of which more than values may be known.

    Attributes
    ----------
    inputs, outputs : list of int
        The operands and results that depend on something.
    matrix : csr_array
        The dependence of their elements: results by operands.
    """

    def __init__(self, scope, jaxpr, dependent, values, atoms):
        plain = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
        self.shapes_in, self.shapes_out = shapes(plain.invars), shapes(plain.outvars)
        self.inputs = dependent
        self.starts_in = ends([self.shapes_in[k] for k in dependent])
        inner = scope.detection.another(self.starts_in[-1])
        numbers = inner.sets.inputs(-1)
        operands: list = [None] * len(self.shapes_in)
        for q, k in enumerate(dependent):
            part = numbers[self.starts_in[q] : self.starts_in[q + 1]]
            operands[k] = part.reshape(self.shapes_in[k])
        body = Scope(inner, jaxpr)
        body.asked = {var: (scope, x) for var, x in zip(plain.invars, atoms, strict=False)}
        found = body.run(operands, values)
        self.outputs = [k for k, ids in enumerate(found) if ids is not None]
        self.starts_out = ends([self.shapes_out[k] for k in self.outputs])
        parts = [propagate.flatten(found[k]) for k in self.outputs]
        rows = np.concatenate(parts) if parts else propagate.no_inputs(0)
        self.matrix = propagate.to_matrix(inner.sets, rows)

    def block(self, outputs, inputs):
        """Return the rows of some results and the columns of some operands; others are empty."""
        rows = self._positions(outputs, self.outputs, self.starts_out, self.shapes_out)
        columns = self._positions(inputs, self.inputs, self.starts_in, self.shapes_in)
        padded = cast("Any", csr_array(self.matrix, copy=True))  # scipy-stubs: resize takes nothing
        padded.resize(self.matrix.shape[0] + 1, self.matrix.shape[1] + 1)
        return padded[rows][:, columns]

    @staticmethod
    def _positions(wanted, known, starts, shapes):
        """Return positions of elements in the matrix, one behind the last for those without any."""
        parts = [np.empty(0, np.int64)]
        for k in wanted:
            size = int(np.prod(shapes[k]))
            if k in known:
                q = known.index(k)
                parts.append(np.arange(starts[q], starts[q + 1]))
            else:
                parts.append(np.full(size, starts[-1]))
        return np.concatenate(parts)


def ends(shapes):
    """Return where each array ends in one flat array, after a zero."""
    return np.concatenate([[0], np.cumsum([int(np.prod(s)) for s in shapes], dtype=np.int64)])


@rule("while")
def while_(scope, eqn, operands):
    p = eqn.params
    skip, consts = p["cond_nconsts"], p["body_nconsts"]
    atoms, operands = eqn.invars[skip:], operands[skip:]
    fixed, carry = operands[:consts], operands[consts:]
    values = scope.later(atoms[:consts]) + [UNKNOWN] * len(carry)
    moving = {k for k, ids in enumerate(carry) if ids is not None}
    given = [k for k, ids in enumerate(fixed) if ids is not None]
    while True:
        dependent = [*given, *(consts + k for k in sorted(moving))]
        local = JaxprPattern(scope, p["body_jaxpr"], dependent, values, atoms[:consts])
        if moving.issuperset(local.outputs):
            break
        moving.update(local.outputs)
    kept = sorted(moving)
    start = propagate.union(
        scope.sets,
        gathered(carry, kept, local.shapes_out),
        propagate.apply_matrix(
            scope.sets, local.block(kept, given), gathered(fixed, given, local.shapes_in)
        ),
    )
    inner = local.block(kept, [consts + k for k in kept])
    return spread(propagate.closure(scope.sets, inner, start), kept, local.shapes_out)


def gathered(operands, chosen, shapes):
    """Put some operands into one flat array."""
    parts = [
        propagate.no_inputs(int(np.prod(shapes[k])))
        if operands[k] is None
        else propagate.flatten(operands[k])
        for k in chosen
    ]
    return np.concatenate(parts) if parts else propagate.no_inputs(0)


def spread(flat, chosen, shapes):
    """Split a flat array into chosen results; None for the others."""
    out: list = [None] * len(shapes)
    start = ends([shapes[k] for k in chosen])
    for q, k in enumerate(chosen):
        out[k] = flat[start[q] : start[q + 1]].reshape(shapes[k])
    return out


@rule("scan")
def scan(scope, eqn, operands):
    loop = loop_of(eqn)
    if not loop.length:
        return [*operands[loop.consts :][: loop.carry], *[None] * (len(eqn.outvars) - loop.carry)]
    try:
        return repeated(scope, eqn, operands, loop, VARIES)
    except Varying:
        found = follow_nested(scope, eqn, operands, loop)
    if found is None:
        found = follow_all_turns(scope, eqn, operands, loop)
    if found is not None:
        return found
    if scope.detection.flat:
        raise Doubtful
    if is_short(loop):
        return unrolled(scope, eqn, operands, loop)
    why = "is too long to be followed step by step, and an index changes from step to step"
    scope.detection.unknown("scan", eqn, why, "write it without the loop, as slices of arrays")
    return repeated(scope, eqn, operands, loop, UNKNOWN)


def repeated(scope, eqn, operands, loop, unknown):
    """Follow a loop whose steps all have the same pattern."""
    nc, nk = loop.consts, loop.carry
    fixed, carry, steps = operands[:nc], operands[nc : nc + nk], operands[nc + nk :]
    values = scope.later(eqn.invars[:nc]) + [unknown] * (nk + len(steps))
    moving = {k for k, ids in enumerate(carry) if ids is not None}
    given = [k for k, ids in enumerate(fixed) if ids is not None]
    coming = [nc + nk + k for k, ids in enumerate(steps) if ids is not None]
    while True:
        dependent = [*given, *(nc + k for k in sorted(moving)), *coming]
        local = JaxprPattern(scope, loop.jaxpr, dependent, values, eqn.invars[:nc])
        more = {k for k in local.outputs if k < nk}
        if moving >= more:
            break
        moving |= more
    kept = sorted(moving)
    leaving = [k for k in local.outputs if k >= nk]
    matrix = local.block([*kept, *leaving], [*(nc + k for k in kept), *given, *coming])
    parts = [propagate.no_inputs((loop.length, 0))]
    parts += [ids.reshape(loop.length, -1) for ids in steps if ids is not None]
    inputs = (
        gathered(carry, kept, local.shapes_out),
        gathered(fixed, given, local.shapes_in),
        np.ascontiguousarray(np.concatenate(parts, axis=1), np.int32),
    )
    if loop.length * matrix.nnz <= REPEATED:
        starts, members = propagate.row_lists(matrix)
        last, yields = scope.sets.repeat(starts, members, *inputs, loop.reverse)
    else:
        last, yields = propagate.repeat_to_closure(scope.sets, matrix, *inputs)
    out = spread(last, kept, local.shapes_out)
    begins = ends([local.shapes_out[k] for k in leaving])
    for q, k in enumerate(leaving):
        piece = yields[:, begins[q] : begins[q + 1]]
        out[k] = piece.reshape(loop.length, *local.shapes_out[k])
    return out


def unrolled(scope, eqn, operands, loop):
    """Follow a loop one step at a time."""
    nc, nk = loop.consts, loop.carry
    fixed, carry, steps = operands[:nc], operands[nc : nc + nk], operands[nc + nk :]
    known = scope.later(eqn.invars[:nc])
    state = [scope.lookup(atom) for atom in eqn.invars[nc : nc + nk]]
    inputs = [scope.lookup(atom) for atom in eqn.invars[nc + nk :]]
    yields: list = [None] * loop.length
    for t in turns(loop):
        here = [None if ids is None else ids[t] for ids in steps]
        body = Scope(scope.detection, loop.jaxpr)
        out = body.run([*fixed, *carry, *here], [*known, *state, *at_step(inputs, t)])
        atoms = body.jaxpr.outvars[:nk]
        state = [UNKNOWN if body.of(atom) is not None else body.lookup(atom) for atom in atoms]
        carry, yields[t] = out[:nk], out[nk:]
    joined = []
    for var, parts in zip(eqn.outvars[nk:], zip(*yields, strict=True), strict=True):
        nothing = propagate.no_inputs(var.aval.shape[1:])
        joined.append(np.stack([nothing if ids is None else ids for ids in parts]))
    return [*carry, *joined]


@rule("custom_lin")
def custom_lin(scope, eqn, operands):
    raise ReverseOnly("a function with a jax.custom_vjp rule has reverse derivatives only")
