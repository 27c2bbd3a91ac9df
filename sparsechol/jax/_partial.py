"""Compute what is known of the results of a jaxpr when only some of its operands are known.

Calls and loops are taken apart: the counter of a loop is known, whatever else the loop carries.
"""

import math
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from ._compat import Loop, bound, is_concrete, loop_of, without_folding
from ._fold import run_all

LARGEST = 20_000_000  # most elements of a carried value in all turns together


class KnownPart:
    """The equations of a jaxpr whose operands are known.

    Attributes
    ----------
    results : list of bool
        Which results are known.
    """

    def __init__(self, jaxpr: ClosedJaxpr | Jaxpr, known: list[bool]):
        closed = isinstance(jaxpr, ClosedJaxpr)
        self.jaxpr: Any = jaxpr.jaxpr if closed else jaxpr
        consts = zip(self.jaxpr.constvars, jaxpr.consts if closed else (), strict=True)
        self._consts = {var: const for var, const in consts if is_concrete(const)}
        self._known = {var for var, flag in zip(self.jaxpr.invars, known, strict=True) if flag}
        self._known.update(self._consts)
        self._steps: list[tuple[JaxprEqn, Any]] = []
        for eqn in self.jaxpr.eqns:
            run, flags = self._part_of(eqn)
            if any(flags):
                self._steps.append((eqn, run))
                outs = zip(eqn.outvars, flags, strict=True)
                self._known.update(var for var, flag in outs if flag)
        self.results = [self._is_known(atom) for atom in self.jaxpr.outvars]
        self._keep_used()

    def _keep_used(self):
        """Drop the equations that no known result needs."""
        wanted = {
            atom
            for atom, flag in zip(self.jaxpr.outvars, self.results, strict=True)
            if flag and not isinstance(atom, Literal)
        }
        kept = []
        for eqn, run in reversed(self._steps):
            if not wanted.isdisjoint(eqn.outvars):
                kept.append((eqn, run))
                wanted.update(x for x in eqn.invars if not isinstance(x, Literal))
        self._steps = kept[::-1]

    def step_of(self, k: int, result: int) -> int | None:
        """Return by what constant whole number a result differs from an operand, else None."""
        operand, atom = self.jaxpr.invars[k], self.jaxpr.outvars[result]
        if atom is operand:
            return 0
        eqn = next((eqn for eqn, _ in self._steps if atom in eqn.outvars), None)
        if eqn is None or eqn.primitive.name != "add" or operand.aval.dtype.kind not in "iu":
            return None
        steps = [x.val for x in eqn.invars if isinstance(x, Literal)]
        return int(steps[0]) if len(steps) == 1 and operand in eqn.invars else None

    def _is_known(self, atom):
        return isinstance(atom, Literal) or atom in self._known

    def _part_of(self, eqn):
        """Return what computes the known results of an equation, and which they are."""
        flags = [self._is_known(atom) for atom in eqn.invars]
        if all(flags):
            return (lambda operands: bound(eqn, operands)), [True] * len(eqn.outvars)
        inner = called(eqn)
        if inner is not None:
            part: KnownPart | KnownLoop = KnownPart(inner, flags)
        elif eqn.primitive.name == "scan":
            part = KnownLoop(loop_of(eqn), flags)
        else:
            return None, [False] * len(eqn.outvars)
        return part, part.results

    def __call__(self, operands: list) -> list:
        """Return the results, None for one that is not known."""
        values = {**self._consts, **dict(zip(self.jaxpr.invars, operands, strict=True))}

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values.get(atom)

        for eqn, run in self._steps:
            values.update(zip(eqn.outvars, run([*map(read, eqn.invars)]), strict=True))
        return [
            read(atom) if flag else None
            for atom, flag in zip(self.jaxpr.outvars, self.results, strict=True)
        ]


class KnownLoop:
    """The part of a loop that is known.

    Attributes
    ----------
    carry : list of bool
        Which carried values are known in every turn.
    results : list of bool
        Which results are known.
    """

    def __init__(self, loop: Loop, known: list[bool]):
        nc, nk = loop.consts, loop.carry
        self._loop = loop
        sizes = [loop.length * math.prod(x.aval.shape) for x in loop.jaxpr.jaxpr.invars[nc:]]
        self.carry = [
            flag and size <= LARGEST for flag, size in zip(known[nc:], sizes, strict=True)
        ]
        self.carry = self.carry[:nk]
        while True:
            self._body = KnownPart(loop.jaxpr, [*known[:nc], *self.carry, *known[nc + nk :]])
            both = zip(self.carry, self._body.results[:nk], strict=True)
            following = [a and b for a, b in both]
            if following == self.carry:
                break
            self.carry = following
        self.results = [*self.carry, *self._body.results[nk:]]
        self._known = [*known[:nc], *self.carry, *known[nc + nk :]]

    def states(self, operands: list) -> list:
        """Return what each turn is given of the carried values, None where it is not known."""
        return self._counted(operands)[1] or self._run(operands)[1]

    def __call__(self, operands: list) -> list:
        """Return the results, None for one that is not known."""
        traced = not all(map(is_concrete, operands))  # within another loop
        last, states = ([], None) if traced else self._counted(operands)
        if states is None:
            return self._run(operands)[0]
        nc, nk = self._loop.consts, self._loop.carry
        given = [*operands[:nc], *states, *operands[nc + nk :]]
        known = [k for k, flag in enumerate(self._known) if flag]
        wanted = [k for k, flag in enumerate(self.results) if flag and k >= nk]
        out: list = [*last, *[None] * (len(self.results) - nk)]
        if not wanted:
            return out

        def turn(*values):
            every: list = [None] * len(given)
            for k, value in zip(known, values, strict=True):
                every[k] = value
            found = self._body(every)
            return [found[k] for k in wanted]

        axes = [None if k < nc else 0 for k in known]
        values = [given[k] for k in known]
        every = jax.vmap(turn, in_axes=axes, axis_size=self._loop.length)
        avals = [jax.ShapeDtypeStruct(np.shape(x), x.dtype) for x in values]
        with without_folding():
            closed = jax.make_jaxpr(every)(*avals)
        for k, value in zip(wanted, run_all(closed, values), strict=True):
            out[k] = value
        return out

    def _counted(self, operands) -> Any:
        """Return the last carried values, and those of all turns, if all that are known count."""
        loop, nc = self._loop, self._loop.consts
        last: list = [None] * loop.carry
        states: list = [None] * loop.carry
        turns = np.arange(loop.length)[:: -1 if loop.reverse else 1]
        for k in (k for k, flag in enumerate(self.carry) if flag):
            step, aval = self._body.step_of(nc + k, k), self._body.jaxpr.invars[nc + k].aval
            if step is None or aval.ndim or not isinstance(aval.dtype, np.dtype):
                return None, None
            start = np.asarray(operands[nc + k], aval.dtype)
            states[k] = start + (step * turns).astype(aval.dtype)
            last[k] = start + np.array(step * loop.length).astype(aval.dtype)
        return last, states

    def _run(self, operands):
        """Return the results, and what each turn is given of the carried values."""
        loop, nc, nk = self._loop, self._loop.consts, self._loop.carry
        given = [x if flag else None for x, flag in zip(operands, self._known, strict=True)]

        def turn(state, steps):
            out = self._body([*given[:nc], *state, *steps])
            kept = [x if flag else None for x, flag in zip(out[:nk], self.carry, strict=True)]
            return kept, (out[nk:], state)

        last, (yields, states) = jax.lax.scan(
            turn, given[nc : nc + nk], given[nc + nk :], loop.length, loop.reverse
        )
        return [*last, *yields], states


def called(eqn: JaxprEqn) -> ClosedJaxpr | Jaxpr | None:
    """Return the jaxpr if an equation does nothing but call one, else None."""
    if eqn.primitive.name == "scan":  # a loop that only carries has the shapes of its body
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr", "callee"):
        inner = eqn.params.get(name)
        if isinstance(inner, ClosedJaxpr | Jaxpr):
            plain = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
            if (shapes(plain.invars), shapes(plain.outvars)) == (
                shapes(eqn.invars),
                shapes(eqn.outvars),
            ):
                return inner
    return None


def shapes(atoms) -> list[tuple[int, ...]]:
    """Return the shapes of atoms."""
    return [atom.aval.shape for atom in atoms]


def implementation(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Return the jaxpr of a primitive that is made of others, as those of equinox and lineax are.

    Such a primitive has a Python function that computes it, and derivatives of its own.
    """
    function = eqn.primitive.impl
    if not getattr(function, "__module__", "").startswith("equinox."):
        return None
    run = partial(function, **eqn.params)
    atoms: Any = eqn.invars
    avals = [jax.ShapeDtypeStruct(x.aval.shape, x.aval.dtype) for x in atoms]
    with without_folding():
        found = jax.make_jaxpr(run)(*avals)
    return found if shapes(found.jaxpr.outvars) == shapes(eqn.outvars) else None
