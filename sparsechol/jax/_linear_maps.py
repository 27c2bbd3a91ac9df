"""Find the linear maps by which a function depends on its vector, and put others in their place."""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from .._sparsity import linear_maps as choice
from ._compat import is_concrete
from ._detect import detect
from ._matrix import DTYPES
from ._sparse_derivatives import InnerFunction
from ._templates import Program

# Linear in all operands together.
SUMS = {
    *("add", "add_any", "sub", "neg", "reduce_sum", "cumsum", "concatenate", "pad", "copy"),
    *("reshape", "transpose", "broadcast_in_dim", "squeeze", "expand_dims", "slice", "rev"),
    *("split", "stack", "unstack", "tile", "convert_element_type", "select_n", "gather"),
    *("scatter", "scatter-add", "dynamic_slice", "dynamic_update_slice"),
}
# Operands of these in which nothing is linear.
FIXED = {"select_n": [0], "gather": [1], "scatter": [1], "scatter-add": [1]}
FIRST = {"dynamic_slice": 1, "dynamic_update_slice": 2}  # so many are linear
# Linear in each operand.
PRODUCTS = {
    *("mul", "dot_general", "bcoo_dot_general", "bcsr_dot_general", "sparsechol_product"),
    *("sparsechol_factor_product", "sparsechol_triangle_product"),
}


def is_linear(eqn, moving):
    """Tell whether an equation is linear in the operands that move."""
    name, flags = eqn.primitive.name, [is_in(atom, moving) for atom in eqn.invars]
    if name in PRODUCTS:
        return sum(flags) == 1
    if name == "div":
        return not flags[1]
    fixed = [*FIXED.get(name, []), *range(FIRST.get(name, len(flags)), len(flags))]
    return name in SUMS and not any(flags[k] for k in fixed)


def is_in(atom, variables):
    """Tell whether an atom is one of some variables."""
    return not isinstance(atom, Literal) and atom in variables


def linear_maps(program):
    """Return the variables that are linear in the vector, and of which something is not."""
    dtype, vector = program.output.aval.dtype, program.inputs[0]
    if dtype not in DTYPES:
        return []
    linear, found = {vector}, {}
    for eqn in program.equations:
        moving = [a for a in eqn.invars if is_in(a, program.moving)]
        if not moving:
            continue
        if not is_linear(eqn, program.moving):
            found.update(dict.fromkeys(a for a in moving if a in linear))
        elif all(a in linear for a in moving):
            linear.update(eqn.outvars)
    return [v for v in found if v is not vector and v.aval.size and v.aval.dtype == dtype]


class CutProgram:
    """A program with some of its linear maps as inputs of their own.

    Parameters
    ----------
    program : Program
    numbers : list of int, optional
        Which of its linear maps; by default all.
    """

    def __init__(self, program, numbers=None):
        found = linear_maps(program)
        self.program = program
        self.numbers = list(range(len(found))) if numbers is None else numbers
        self.maps = [found[k] for k in self.numbers]
        self.sizes = [var.aval.size for var in self.maps]

    def part(self, chosen):
        """Leave out maps that are not chosen."""
        return CutProgram(self.program, choice.choose(self.numbers, chosen))

    def values(self, leaves, vector):
        """Return the maps of a vector, one after the other."""
        found = self.program.run(self.maps, vector, leaves)
        return jnp.concatenate([jnp.ravel(x) for x in found])

    def outer(self, leaves, values, vector):
        """Return the function where the maps have these values."""
        parts = jnp.split(values, np.cumsum(self.sizes)[:-1])
        given = {v: x.reshape(v.aval.shape) for v, x in zip(self.maps, parts, strict=True)}
        return self.program.run([self.program.output], vector, leaves, given)[0].reshape(())

    def curvature(self, leaves, values, vector, blocks):
        """Return the second derivatives in each block of rows."""
        slope = jax.grad(partial(self.outer, leaves), argnums=0)
        _, push = jax.linearize(lambda x: slope(x, vector), values)
        if blocks.shape[1] == 1:
            return push(jnp.ones_like(values))
        seeds = np.zeros((blocks.shape[1], values.size), values.dtype)
        for j, rows in enumerate(blocks.T):
            seeds[j, rows[rows >= 0]] = 1
        found = jax.vmap(push)(jnp.asarray(seeds))[:, np.maximum(blocks, 0)]
        return jnp.where(blocks < 0, 0, found).transpose(1, 2, 0)

    @property
    def constant(self):
        """Whether the maps are made of the vector and of constants alone."""
        needed = self.program.needed(self.maps)
        read = {a for eqn in needed for a in eqn.invars if not isinstance(a, Literal)}
        constants = self.program.constants
        return read.isdisjoint(self.program.inputs[1:]) and all(
            is_concrete(constants[a]) for a in read if a in constants
        )


class CutPrograms:
    """Programs that are cut at the same maps, one for each list of types of arguments."""

    def __init__(self, raveled, args, cut):
        self.raveled, self.cut = raveled, cut
        self._found = {types_of(args): cut}

    def of(self, args):
        """Return the program for arguments."""
        types = types_of(args)
        if types not in self._found:
            other = CutProgram(Program(self.raveled, args), self.cut.numbers)
            if other.sizes != self.cut.sizes:
                raise ValueError("arguments of other types need a derivative of their own")
            self._found[types] = other
        return self._found[types]


def types_of(args):
    """Return the types of arguments."""
    return tuple(jnp.result_type(x) for x in jax.tree.leaves(args))


class OuterFunction:
    """A function in which the maps are held or, in `joint`, unknowns; like a `RaveledFunction`."""

    def __init__(self, raveled, programs, joint=False):
        self.raveled, self.programs, self.joint = raveled, programs, joint
        self.chosen, self.size = raveled.chosen, raveled.size

    def split(self, args):
        """Return the vector of unknowns, and the function of this vector."""
        vector, _ = self.raveled.split(args)
        leaves = jax.tree.leaves(args)
        cut = self.programs.of(args)
        values = cut.values(leaves, vector)
        if not self.joint:
            return vector, partial(self.at, partial(cut.outer, leaves, values))

        def of_both(both):
            return cut.outer(leaves, both[vector.size :], both[: vector.size])

        return jnp.concatenate([vector, values]), partial(self.at, of_both)

    def at(self, function, vector):
        """Return the result in a vector."""
        return function(vector)[None]

    def gradient(self, function, vector):
        """Return the gradient of the result."""
        return jax.grad(function)(vector)


def separable_maps(raveled, program, args, on_unknown):
    """Find the linear maps of which a function is a sum of functions of few elements each.

    Returns
    -------
    (CutProgram, ndarray) or None
        The second part lists the rows of each block of second derivatives in the maps.
    """
    n, cut, chosen = raveled.size, CutProgram(program), [False]
    if cut.maps:
        cut = cut.part(choice.short(map_pattern(raveled, cut, args, on_unknown), cut.sizes))
    while cut.maps and not all(chosen):
        H = joint_pattern(raveled, cut, args, on_unknown)
        chosen = choice.separable(H, n, cut.sizes)
        cut = cut.part(chosen)
    if cut.maps:
        A = map_pattern(raveled, cut, args, on_unknown)
        useful = choice.worth_taking(A, H[n:, n:], cut.sizes)
        rows = np.repeat(useful, cut.sizes)
        cut, G = cut.part(useful), H[n:, n:][rows][:, rows]
    return (cut, choice.blocks_of(G)) if cut.maps else None


def map_pattern(raveled, cut, args, on_unknown):
    """Find the pattern of the maps."""
    maps = cast("Any", InnerFunction(raveled, CutPrograms(raveled, args, cut), "values"))
    return detect(maps, args, "forward", on_unknown)


def joint_pattern(raveled, cut, args, on_unknown):
    """Find the pattern of the Hessian in the vector and in the maps."""
    both = cast("Any", OuterFunction(raveled, CutPrograms(raveled, args, cut), joint=True))
    return detect(both, args, "forward", on_unknown, gradient=True)
