"""Derivatives of programs that are made of scalar equations: read them, and run templates.

`_sparsity.templates` says what a template is. What two equations must share to be of one template:
the primitives, with the same parameters, applied to leaves of the same types in the same places,
and the same leaves where one leaf is used twice. Leaves are elements of arguments and constants.
Constants are data, but constants of integers and booleans, zeros and exponents count by their
values.
"""

import math
from functools import partial, reduce
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from .._sparsity.expressions import (
    CONSTANT,
    FIXED,
    INNER,
    NOTHING,
    VARIABLE,
    Expressions,
    Leaf,
    NotMovedError,
    Operation,
    Places,
    Source,
)
from .._sparsity.template_derivatives import (
    rest_value,
    row_values,
    twice_differentiable,
)
from .._sparsity.templates import (
    take_apart,
)
from ..coloring._modes import do_templates_pay
from ._compat import bound
from ._detect import abstract, hessian_pattern, jacobian_pattern
from ._rule_table import RULES
from ._walk import Detection, Scope, Varying, called

MOVES = {
    *("slice", "squeeze", "expand_dims", "reshape", "broadcast_in_dim", "transpose", "rev", "copy"),
    *("concatenate", "stack", "unstack", "split", "tile", "gather", "dynamic_slice", "scatter"),
    "dynamic_update_slice",
}
CALLS = {"jit", "pjit", "closed_call", "core_call"}
SIGNS = {"add": (1, 1), "add_any": (1, 1), "sub": (1, -1), "neg": (-1,)}
SCALES = {"mul": "mul", "div": "div"}
WITH_INNER_PROGRAM = {"custom_jvp_call"}  # that can be a part of a template


class Variable:
    """A variable of a program into which another was put."""

    __slots__ = ("aval",)

    def __init__(self, aval):
        self.aval = aval


def inlined(closed):
    """Return the equations of a program, with those of the programs that it calls, and constants.

    The variables of what is called are new ones.
    """
    constants = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    found = []

    def visit(jaxpr, new):
        def renamed(atom):
            return atom if isinstance(atom, Literal) else new.get(atom, atom)

        for eqn in jaxpr.eqns:
            inputs = [renamed(atom) for atom in eqn.invars]
            inner = called(eqn) if eqn.primitive.name in CALLS else None
            if inner is None:
                if new is not top:
                    new.update((var, Variable(var.aval)) for var in eqn.outvars)
                outputs = [renamed(var) for var in eqn.outvars]
                found.append(eqn.replace(invars=inputs, outvars=outputs))
                continue
            plain = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
            names = dict(zip(plain.invars, inputs, strict=True))
            for var, value in zip(plain.constvars, getattr(inner, "consts", ()), strict=True):
                names[var] = Variable(var.aval)
                constants[names[var]] = value
            visit(plain, names)
            for var, out in zip(eqn.outvars, plain.outvars, strict=True):
                new[var] = out if isinstance(out, Literal) else names.get(out, out)
        return [renamed(atom) for atom in jaxpr.outvars]

    top: dict = {}
    outputs = visit(closed.jaxpr, top)
    return found, constants, outputs


def once_each(equations, outputs):
    """Leave out the equations that compute again what another has computed."""
    first: dict = {}
    same: dict = {}
    kept = []
    for eqn in equations:
        inputs = [a if isinstance(a, Literal) else same.get(a, a) for a in eqn.invars]
        names = [
            (np.asarray(a.val).item(), str(a.aval)) if isinstance(a, Literal) else a
            for a in inputs
        ]  # fmt: skip
        key = (eqn.primitive, parameters_of(eqn), *names)
        if not eqn.effects and key in first:
            same.update(zip(eqn.outvars, first[key], strict=True))
            continue
        first[key] = eqn.outvars
        kept.append(eqn.replace(invars=inputs))
    return kept, [x if isinstance(x, Literal) else same.get(x, x) for x in outputs]


class Program:
    """The program of a function of one vector, read into a table of scalar expressions.

    Attributes
    ----------
    table : Expressions
    moving : set
        Variables that depend on the vector.
    count : int
        Number of equations that were taken apart.
    """

    table: Expressions
    count: int
    ids: dict[Any, Any]
    output: Any
    inputs: list[Any]

    def __init__(self, raveled, args):
        examples = abstract(args)
        leaves = jax.tree.leaves(examples)
        dtypes = [leaves[k].dtype for k in raveled.chosen]
        vector = jax.eval_shape(lambda args: raveled.split(args)[0], examples)

        def function(vector, leaves):
            return raveled.at(leaves, dtypes, vector)

        closed = jax.make_jaxpr(function)(vector, leaves)
        self.inputs = closed.jaxpr.invars
        equations, self.constants, [output] = inlined(closed)
        self.equations, [self.output] = once_each(equations, [output])
        self.columns = raveled.size
        self.moving = {self.inputs[0]}
        for eqn in self.equations:
            if any(not isinstance(a, Literal) and a in self.moving for a in eqn.invars):
                self.moving.update(eqn.outvars)
        self.maker = {var: eqn for eqn in self.equations for var in eqn.outvars}

    @property
    def scalars(self):
        """Number of equations that apply an operation to scalars."""
        return sum(map(is_scalar_operation, self.equations))

    # ---- reading ----

    def read(self):
        """Return the expressions of the results."""
        self.table, self.count = Expressions(), 0
        self.examples: dict = {}
        self._operations: dict = {}
        self.scope = Scope(Detection(0), ClosedJaxpr(_empty(), []))
        self.scope.sets = cast("Any", Places())
        self.scope.values.update(self.constants)
        self.scope.maker.update(self.maker)
        source = Source(Leaf(VARIABLE, str(self.inputs[0].aval.dtype)), self.inputs[0])
        self.ids = {self.inputs[0]: self.table.leaves(source, self.columns)}
        for eqn in self.needed([self.output]):
            self.follow(eqn)
        return np.ravel(self.of(self.output))

    def needed(self, variables, given=()):
        """Return the equations that variables need, in order, beside some that are given."""
        wanted, found = set(variables) - set(given), []
        for eqn in reversed(self.equations):
            if not wanted.isdisjoint(eqn.outvars):
                found.append(eqn)
                wanted.update(a for a in eqn.invars if not isinstance(a, Literal))
                wanted.difference_update(given)
        return found[::-1]

    def follow(self, eqn):
        """Read an equation, if it can be taken apart."""
        try:
            found = self.taken_apart(eqn)
        except (NotMovedError, Varying, ValueError, IndexError, TypeError, NotImplementedError):
            return
        if found is not None:
            self.count += not self.moving.isdisjoint(eqn.outvars)
            self.ids.update(zip(eqn.outvars, found, strict=True))

    def taken_apart(self, eqn):
        """Return the expressions of the results of an equation; None if it is no part of any."""
        name = eqn.primitive.name
        if name in MOVES:
            return self.moved(eqn)
        if is_scalar_operation(eqn):
            operands = [int(self.of(atom)) for atom in eqn.invars]
            return [np.int32(x) for x in self.applied(eqn, operands)]
        if name == "reduce_sum" and self.is_of_scalars(eqn.invars[0]):
            return [self.summed(eqn)]
        if is_elementwise(eqn) and any(map(self.is_of_scalars, eqn.invars)):
            parts = [np.ravel(self.of(atom)) for atom in eqn.invars]
            shape = eqn.outvars[0].aval.shape
            lines = zip(*(part.tolist() for part in parts), strict=True)
            found = [self.applied(eqn, operands)[0] for operands in lines]
            return [np.array(found, np.int32).reshape(shape)]
        return None

    def is_of_scalars(self, atom):
        """Tell whether the elements of an operand are mostly scalar expressions."""
        ids = None if isinstance(atom, Literal) else self.ids.get(atom)
        if ids is None or not np.size(ids):
            return False
        return 2 * sum(x in self.table.operations for x in np.ravel(ids).tolist()) >= np.size(ids)

    def moved(self, eqn):
        """Move the expressions of the operands."""
        count = {"gather": 1, "dynamic_slice": 1, "dynamic_update_slice": 2}.get(eqn.primitive.name)
        operands = [
            self.of(atom) if count is None or k < count else None
            for k, atom in enumerate(eqn.invars)
        ]
        if eqn.primitive.name == "scatter":
            operands[1] = None
        return RULES[eqn.primitive.name](self.scope, eqn, operands)

    def applied(self, eqn, operands):
        """Apply the primitive of an equation to one expression each."""
        if NOTHING in operands:
            raise NotMovedError
        dtypes = tuple(str(atom.aval.dtype) for atom in eqn.invars)
        key = parameters_of(eqn)
        if eqn.primitive.name == "pow" and isinstance(eqn.invars[1], Literal):
            operands = [operands[0], self.literal(eqn.invars[1].val, dtypes[1])]
        found = []
        for k, var in enumerate(eqn.outvars):
            signs = SIGNS.get(eqn.primitive.name, ())
            op = (eqn.primitive, key, k)
            scales = SCALES.get(eqn.primitive.name, "")
            operation = Operation(op, dtypes, str(var.aval.dtype), signs, scales)
            number = self.table.number(operation)
            self.examples.setdefault(number, (eqn, k))
            found.append(self.table.apply(number, operands))
        return found

    def summed(self, eqn):
        """Sum over axes."""
        ids, axes = np.asarray(self.of(eqn.invars[0])), eqn.params["axes"]
        dtype = str(eqn.outvars[0].aval.dtype)
        if (ids == NOTHING).any():
            raise NotMovedError
        kept = [axis for axis in range(ids.ndim) if axis not in axes]
        lines = ids.transpose(*kept, *axes).reshape(*(ids.shape[axis] for axis in kept), -1)
        count = lines.shape[-1]
        number = self.table.number(Operation("sum", (dtype,) * count, dtype, (1,) * count))
        found = [self.table.apply(number, line) for line in lines.reshape(-1, count).tolist()]
        return np.array(found, np.int32).reshape(lines.shape[:-1])

    def of(self, atom: Any):
        """Return the expressions of an atom, which is a leaf if it has none yet."""
        if isinstance(atom, Literal):
            return np.int32(self.known(atom.val, cast("Any", atom.aval).dtype))
        if atom not in self.ids:
            self.ids[atom] = self.leaf(atom)
        return self.ids[atom]

    def leaf(self, var):
        """Make leaves of the elements of a variable."""
        shape, dtype = var.aval.shape, var.aval.dtype
        value = self.constants.get(var)
        if value is not None and not shape:
            return np.int32(self.known(value, dtype))
        if var in self.moving and jnp.issubdtype(dtype, jnp.inexact):
            leaf = Leaf(INNER, str(dtype))
        else:
            leaf = Leaf(FIXED, str(dtype), var if shape else None)
        return self.table.leaves(Source(leaf, var), math.prod(shape)).reshape(shape)

    def known(self, value, dtype):
        """Return the expression of a constant."""
        if not jnp.issubdtype(dtype, jnp.inexact) or value == 0:
            return self.literal(value, str(dtype))
        return self.table.constant(value, str(dtype))

    def literal(self, value, dtype):
        """Return the expression of a constant that counts by its value."""
        number = self.table.number(Operation(("literal", np.asarray(value).item()), (), dtype))
        return self.table.apply(number, ())

    # ---- running ----

    def apply(self, number, operands):
        """Apply an operation of the table."""
        operation = self.table.keys[number]
        if operation.op == "sum":
            return reduce(jnp.add, operands)
        if operation.op[0] == "literal":
            return jnp.asarray(operation.op[1], operation.dtype)
        eqn, k = self.examples[number]
        return bound(eqn, operands)[k]

    def run(self, variables, vector, leaves, given=None):
        """Compute variables of the program; some others may be given."""
        given = given or {}
        values = dict(zip(self.inputs, [vector, *leaves], strict=True)) | self.constants | given

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for eqn in self.needed(variables, given):
            out = bound(eqn, [*map(read, eqn.invars)])
            values.update({v: y for v, y in zip(eqn.outvars, out, strict=True) if v not in given})
        return [read(var) for var in variables]


def _empty():
    """Return a program without equations."""
    return jax.make_jaxpr(lambda: ())().jaxpr


def is_scalar_operation(eqn):
    """Tell whether an equation applies one operation to scalars."""
    return (
        eqn.primitive.name not in MOVES
        and not eqn.effects
        and all(atom.aval.shape == () for atom in (*eqn.invars, *eqn.outvars))
        and (eqn.primitive.name in WITH_INNER_PROGRAM or not has_inner_program(eqn))
    )


def is_elementwise(eqn):
    """Tell whether an equation applies one operation to each element of arrays of one shape."""
    if eqn.primitive.name not in {"add", "sub", "mul", "div", "neg", "exp", "log", "integer_pow"}:
        return False
    return len({atom.aval.shape for atom in (*eqn.invars, *eqn.outvars)}) == 1


def has_inner_program(eqn):
    """Tell whether a parameter of an equation is a program."""
    values = list(eqn.params.values())
    values += [x for value in values if isinstance(value, tuple | list) for x in value]
    return any(isinstance(x, ClosedJaxpr | Jaxpr) for x in values)


def parameters_of(eqn):
    """Return a key that is the same for equal parameters of equations."""
    key = tuple(sorted(eqn.params.items()))
    try:
        hash(key)
    except TypeError:
        return id(eqn)
    return key


class TemplateProgram:
    """A program taken apart, and its Jacobian: a backend of `jacobian_values`."""

    def __init__(self, program, apart, on_unknown):
        self.program, self.apart, self.on_unknown = program, apart, on_unknown
        self.inner = [source.array for source in apart.inner]
        fixed = {
            program.table.source(x).array: None
            for t in (*apart.templates, *(apart.still or ()))
            for k, leaf in enumerate(t.slots)
            if leaf.kind == FIXED
            for x in np.unique(t.leaves[:, k]).tolist()
        }
        self.fixed = list(fixed)

    def find_live(self):
        """Find the slots in which templates have a derivative."""
        for template in self.apart.templates:
            template.live = self.live(template)

    def find_pairs(self):
        """Find the pairs of slots in which templates have a second derivative."""
        for template in self.apart.templates:
            if twice_differentiable(template):
                template.pairs = self.pairs(template)

    def pairs(self, template):
        """Return the pairs of slots in which a template has a second derivative."""
        slots = [jax.ShapeDtypeStruct((), leaf.dtype) for leaf in template.slots]
        moving = template.moving
        if not moving:
            return []
        options = {"argnums": tuple(moving), "on_unknown": self.on_unknown}
        pattern = hessian_pattern(partial(self.body, template), *slots, **options)
        i, j = pattern.tocoo().coords
        found = sorted(zip(i.tolist(), j.tolist(), strict=True))
        return [(moving[a], moving[b]) for a, b in found if a >= b]

    def live(self, template):
        """Return the slots in which a template has a derivative."""
        slots = [jax.ShapeDtypeStruct((), leaf.dtype) for leaf in template.slots]
        body, moving = partial(self.body, template), template.moving
        if not moving or not jnp.issubdtype(jax.eval_shape(body, *slots).dtype, jnp.floating):
            return []
        options = {"argnums": tuple(moving), "on_unknown": self.on_unknown}
        pattern = jacobian_pattern(body, *slots, **options)
        return [moving[q] for q in pattern.tocoo().coords[1].tolist()]

    def body(self, template, *slots):
        """Compute one member of a template."""
        return jnp.asarray(template.evaluate(slots, self.program.apply))

    def inner_values(self, leaves, vector):
        """Return the arrays that were not taken apart, in one vector."""
        found = self.program.run(self.inner, vector, leaves)
        return jnp.concatenate([jnp.ravel(x) for x in found])

    def at(self, vector, leaves):
        """Return the templates at a point."""
        found = self.program.run(self.fixed, vector, leaves) if self.fixed else []
        return Point(self, vector, dict(zip(self.fixed, found, strict=True)))

    def results(self, leaves, vector):
        """Return the results of the program in one vector."""
        inner = self.inner_values(leaves, vector) if self.inner else None
        return row_values(self.apart, self.at(vector, leaves), inner)

    def rest(self, leaves, vector):
        """Return the sum of what gets no second derivatives pair by pair."""
        inner = self.inner_values(leaves, vector) if self.inner else None
        return rest_value(self.apart, self.at(vector, leaves), inner)


class Point:
    """Templates at one point: the backend of `jacobian_values`."""

    def __init__(self, owner, vector, fixed):
        self.owner, self.vector, self.fixed = owner, vector, fixed
        self.apart, self.table = owner.apart, owner.apart.table
        self.dtype = owner.program.output.aval.dtype

    def slot(self, template, k, blocks):
        """Return the values that a slot takes: a vector, or a scalar if they are all the same."""
        leaf, leaves = template.slots[k], template.leaves[:, k]
        same = len(leaves) == 1 or (leaf.kind in (FIXED, CONSTANT) and len(np.unique(leaves)) == 1)
        if leaf.kind in (VARIABLE, INNER):
            vector = self.vector if leaf.kind == VARIABLE else blocks[leaf.block]
            places = self.apart.positions(template, k)
            return vector[places[0] if same else places].astype(leaf.dtype)
        if leaf.kind == CONSTANT:
            values = np.array([self.table.source(x).array for x in leaves.tolist()], leaf.dtype)
            return jnp.asarray(values[0] if (values == values[0]).all() else values)
        if leaf.array is None:
            distinct, which = np.unique(leaves, return_inverse=True)
            found = [self.fixed[self.table.source(x).array] for x in distinct.tolist()]
            return found[0] if same else jnp.stack(found)[which]
        places = self.apart.positions(template, k)
        return jnp.ravel(self.fixed[leaf.array])[places[0] if same else places]

    def take(self, vector, places):
        """Take the elements at constant places."""
        return jnp.atleast_1d(vector)[places]

    def derivatives(self, template, slots):
        """Compute the value of a template, and its derivatives in live slots."""
        body = partial(self.owner.body, template)
        function = body
        if template.live:
            function = jax.value_and_grad(body, argnums=tuple(template.live))
        out = mapped(function, slots, len(template))
        value, found = out if template.live else (out, ())
        return self.full(value, template), [self.full(g, template) for g in found]

    def second_derivatives(self, template, slots):
        """Compute the derivatives in pairs of slots."""
        wanted = sorted({k for pair in template.pairs for k in pair})
        function = jax.hessian(partial(self.owner.body, template), argnums=tuple(wanted))
        found = mapped(function, slots, len(template))
        return [
            self.full(found[wanted.index(k)][wanted.index(q)], template)
            for k, q in template.pairs
        ]  # fmt: skip

    def value(self, template, slots):
        """Compute the value of a template."""
        body = partial(self.owner.body, template)
        return self.full(mapped(body, slots, len(template)), template)

    def full(self, x, template):
        """Return a vector with an element for each member."""
        x = jnp.broadcast_to(jnp.asarray(x, self.dtype), (len(template),))
        weights = template.weights.astype(self.dtype)
        return x if (weights == 1).all() else x * weights

    def sums(self, parts, places, size):
        """Sum the elements of vectors that go to the same place."""
        if not parts:
            return jnp.zeros(size, self.dtype)
        flat = jnp.concatenate(parts)
        if len(places) == size and len(np.unique(places)) == size:
            return flat[np.argsort(places)]
        return jnp.zeros(size, self.dtype).at[places].add(flat)


def mapped(function, slots, count):
    """Apply a function to each element of the vectors among its arguments."""
    axes = [0 if jnp.ndim(x) else None for x in slots]
    if count == 1 or not any(axis == 0 for axis in axes):
        return function(*slots)
    return jax.vmap(function, axes)(*slots)


def equations(raveled, args, on_unknown, forced=False):
    """Take a function apart into templates; return None if colors are cheaper."""
    program = Program(raveled, args)
    if not forced and not program.scalars:
        return None
    rows = program.read()
    apart = take_apart(program.table, rows)
    if forced and apart is None:
        raise ValueError("the equations share too much to be taken apart: take another mode")
    if apart is None:
        return None
    if not (forced or do_templates_pay(apart.work, program.count, bool(apart.inner))):
        return None
    found = TemplateProgram(program, apart, on_unknown)
    found.find_live()
    return found


def terms(raveled, args, on_unknown, forced=False, program=None):
    """Take a function that returns a number apart into terms; None if colors are cheaper."""
    program = Program(raveled, args) if program is None else program
    if not forced and (not program.scalars or math.prod(program.output.aval.shape) != 1):
        return None
    rows = program.read()
    apart = take_apart(program.table, rows, split=True)
    if apart is None or len(apart.levels) > 1:
        return None
    products = not all(map(twice_differentiable, apart.templates))
    if not (forced or do_templates_pay(apart.work_of_seconds, program.count, products)):
        return None
    found = TemplateProgram(program, apart, on_unknown)
    found.find_pairs()
    return found
