"""Compute what is known of the results of a jaxpr when only some of its operands are known.

Calls and loops are taken apart: the counter of a loop is known, whatever else the loop carries.
"""

from collections.abc import Callable

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from ._compat import Loop, bind_arguments, is_concrete, loop_of


class KnownPart:
    """The equations of a jaxpr whose operands are known.

    Attributes
    ----------
    results : list of bool
        Which results are known.
    """

    def __init__(self, jaxpr: ClosedJaxpr | Jaxpr, known: list[bool]):
        closed = isinstance(jaxpr, ClosedJaxpr)
        self.jaxpr = jaxpr.jaxpr if closed else jaxpr
        consts = zip(self.jaxpr.constvars, jaxpr.consts if closed else (), strict=True)
        self._consts = {var: const for var, const in consts if is_concrete(const)}
        self._known = {var for var, flag in zip(self.jaxpr.invars, known, strict=True) if flag}
        self._known.update(self._consts)
        self._steps: list[tuple[JaxprEqn, Callable]] = []
        for eqn in self.jaxpr.eqns:
            run, flags = self._part_of(eqn)
            if any(flags):
                self._steps.append((eqn, run))
                outs = zip(eqn.outvars, flags, strict=True)
                self._known.update(var for var, flag in outs if flag)
        self.results = [self._is_known(atom) for atom in self.jaxpr.outvars]

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
        self.carry = list(known[nc : nc + nk])
        while True:
            self._body = KnownPart(loop.jaxpr, [*known[:nc], *self.carry, *known[nc + nk :]])
            both = zip(self.carry, self._body.results[:nk], strict=True)
            following = [a and b for a, b in both]
            if following == self.carry:
                break
            self.carry = following
        self.results = [*self.carry, *self._body.results[nk:]]
        self._known = [*known[:nc], *self.carry, *known[nc + nk :]]

    def run(self, operands: list) -> tuple[list, list]:
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

    def __call__(self, operands: list) -> list:
        """Return the results, None for one that is not known."""
        return self.run(operands)[0]


def bound(eqn: JaxprEqn, operands: list) -> list:
    """Return the results of an equation."""
    functions, params = bind_arguments(eqn)
    out = eqn.primitive.bind(*functions, *operands, **params)
    return list(out) if eqn.primitive.multiple_results else [out]


def called(eqn: JaxprEqn) -> ClosedJaxpr | Jaxpr | None:
    """Return the jaxpr if an equation does nothing but call one, else None."""
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
