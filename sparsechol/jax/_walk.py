"""Find which elements of the results of a jaxpr depend on which elements of its operands.

The jaxpr is one that differentiation has made, linear in the operands that are followed. It is the
program that the chosen mode runs, so that no custom derivative rule is missed. Values that depend
on none of the followed operands are known if they are constants of the program. They are computed
when a rule asks for an index or a zero, and not before. A value that depends on the point is never
known.
"""

import warnings
from collections.abc import Callable

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from .._exceptions import SparsityWarning
from .._sparsity import propagate
from .._sparsity.sets import Sets
from ._compat import is_concrete, line_of, loop_of
from ._fold import attempt, run_eagerly, run_safely
from ._partial import KnownLoop, called, implementation
from ._rule_table import RULES, dense

UNROLLED = 500_000  # most equations of a loop that is followed step by step
MUTABLE = {"new_ref", "empty_ref", "get", "swap", "addupdate", "run_state", "freeze", "new_box"}


HINT = "see sparsechol.jax.register_sparsity_rule"
INDEX_HINT = (
    "make the index of constants, which the function closes over, not of arguments, or pass"
    " sparsity="
)


class ReverseOnly(TypeError):
    """A program has no forward derivatives."""


class Varying(Exception):
    """A rule asked for a value that changes from step to step of a loop."""


class Doubtful(Exception):
    """A result becomes dense in a detection on trial."""


class Unknown:
    """A mark in place of a value that is not known."""


UNKNOWN = Unknown()
VARIES = Unknown()  # known only if the loop is followed step by step


class Detection:
    """One detection: its sets, and its policy for operations without a rule."""

    def __init__(self, n, on_unknown="dense"):
        if on_unknown not in ("dense", "raise"):
            raise ValueError(f"on_unknown must be 'dense' or 'raise', not {on_unknown!r}")
        self.sets = Sets(n)
        self.on_unknown = on_unknown
        self.named: set[str] = set()
        self.on_trial = False  # whether a dense result ends the detection
        self.flat = False  # whether a loop must be followed in all turns at once
        self.put_off: list = []  # warnings of a trial, given if it succeeds
        self.point: set = set()  # variables of the program that are differentiated
        self._used: dict = {}

    def another(self, n):
        """Return a detection for other inputs with the same policy."""
        other = Detection(n, self.on_unknown)
        other.named, other.on_trial, other._used = self.named, self.on_trial, self._used
        other.flat, other.point = self.flat, self.point
        return other

    def unknown(self, name, eqn=None, why="has no sparsity rule", hint=HINT):
        """Warn once for a line, or raise NotImplementedError, where a result becomes dense."""
        if self.on_trial:
            raise Doubtful
        line = line_of(eqn) if eqn is not None else ""
        text = f"the JAX primitive '{name}' {why}{f', at {line}' if line else ''}"
        if self.on_unknown == "raise":
            raise NotImplementedError(f"{text}: {hint}")
        if text not in self.named:
            self.named.add(text)
            warnings.warn(
                f"{text}: its results are taken to depend on all its operands; {hint}",
                SparsityWarning,
                stacklevel=2,
            )

    def unknown_index(self, eqn, size, place=None):
        """Warn where an index that is not known may be any of many elements.

        The line of the program is that of the equation, or of another one in its place.
        """
        if self.on_trial:
            self.put_off.append((eqn, size))
        else:
            why = f"has an index that is not known into {size} elements"
            self.unknown(eqn.primitive.name, place or eqn, why, INDEX_HINT)

    def succeed(self, put_off, loop):
        """Give the warnings that the trial of a loop has put off."""
        for eqn, size in put_off:
            self.unknown_index(eqn, size, eqn if line_of(eqn) else loop)

    def used(self, jaxpr):
        """Tell for each equation of a jaxpr whether a result needs it."""
        if jaxpr not in self._used:
            wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
            used = []
            for eqn in reversed(jaxpr.eqns):
                used.append(not wanted.isdisjoint(eqn.outvars))
                if used[-1]:
                    wanted.update(atom for atom in eqn.invars if not isinstance(atom, Literal))
            self._used[jaxpr] = used[::-1]
        return self._used[jaxpr]

    def follow(self, jaxpr, operands):
        """Return the sets of the results of a jaxpr; None for one that depends on nothing."""
        changing = sorted(MUTABLE & names_in(jaxpr))
        if changing:  # arrays that are written to are not followed
            self.unknown(changing[0])
            found = [ids for ids in operands if ids is not None]
            return [propagate.union_all(self.sets, found, aval.shape) for aval in jaxpr.out_avals]
        return Scope(self, jaxpr).run(operands, [UNKNOWN] * len(operands))


class Scope:
    """The variables of one jaxpr: their sets, and the values that are known."""

    def __init__(self, detection: Detection, jaxpr: ClosedJaxpr | Jaxpr):
        self.detection = detection
        self.sets = detection.sets
        closed = isinstance(jaxpr, ClosedJaxpr)
        self.jaxpr = jaxpr.jaxpr if closed else jaxpr
        self.ids: dict = {}
        self.maker: dict = {}  # the equation that makes a variable without sets
        self.bounds: dict = {}  # of whole numbers, see _bounds
        self.zeros: dict = {}  # of values that depend on the point, see _zeros
        self.asked: dict = {}  # the scope and the atom that an operand comes from
        # Arrays, Unknown, or a function that returns one of them.
        self.values: dict = {
            var: const if is_concrete(const) else UNKNOWN
            for var, const in zip(self.jaxpr.constvars, jaxpr.consts if closed else (), strict=True)
        }

    def run(self, operands, values):
        """Return the sets of the results."""
        for var, ids, value in zip(self.jaxpr.invars, operands, values, strict=True):
            self.values[var] = value if ids is None else UNKNOWN
            if ids is not None:
                self.ids[var] = ids
        for eqn, used in zip(self.jaxpr.eqns, self.detection.used(self.jaxpr), strict=True):
            operands = [self.of(atom) for atom in eqn.invars]
            if all(ids is None for ids in operands):
                self.maker.update(dict.fromkeys(eqn.outvars, eqn))
                continue
            self.values.update(dict.fromkeys(eqn.outvars, UNKNOWN))
            if used:
                for var, ids in zip(eqn.outvars, self.apply(eqn, operands), strict=True):
                    if ids is not None and ids.any():
                        self.ids[var] = ids
                    elif eqn.primitive.name in PARTLY_KNOWN or called(eqn) is not None:
                        del self.values[var]  # it may be known, as the counter of a loop is
                        self.maker[var] = eqn
        return [self.of(atom) for atom in self.jaxpr.outvars]

    def of(self, atom):
        """Return the sets of an atom; None if it depends on nothing."""
        return None if isinstance(atom, Literal) else self.ids.get(atom)

    def apply(self, eqn, operands):
        """Return the sets of the results of an equation."""
        found = RULES.get(eqn.primitive.name)
        out = NotImplemented if found is None else found(self, eqn, operands)
        if out is not NotImplemented:
            return out
        inner = called(eqn) or attempt(implementation, eqn)
        if inner is not None:
            return self.call(inner, eqn.invars, operands)
        return dense(self, eqn, operands, "has no sparsity rule")

    def call(self, jaxpr, atoms, operands):
        """Return the sets of the results of a jaxpr that is called with these atoms."""
        return self._inner(jaxpr, atoms).run(operands, self.later(atoms))

    def _inner(self, jaxpr, atoms):
        inner = Scope(self.detection, jaxpr)
        inner.asked = {var: (self, x) for var, x in zip(inner.jaxpr.invars, atoms, strict=True)}
        return inner

    def inside(self, jaxpr, atoms):
        """Return the scope of a jaxpr that is called with atoms that depend on nothing."""
        inner = self._inner(jaxpr, atoms)
        inner.run([None] * len(atoms), self.later(atoms))
        return inner

    def later(self, atoms) -> list[Callable]:
        """Return functions that look up the values of atoms."""
        return [lambda atom=atom: self.lookup(atom) for atom in atoms]

    def origins(self, atom):
        """Return the primitives and the variables that a value without sets is made of."""
        names, seen, pending = set(), set(), [(self, atom)]
        while pending:
            scope, var = pending.pop()
            if isinstance(var, Literal) or var in seen:
                continue
            seen.add(var)
            if var in scope.maker:
                eqn = scope.maker[var]
                names |= names_of(eqn)
                pending += [(scope, x) for x in eqn.invars]
            elif var in scope.asked:
                pending.append(scope.asked[var])
        return names, seen

    # ---- values ----

    def known(self, values):
        """Return the values of the results, where no operand depends on anything."""
        self.run([None] * len(values), values)
        return [self.lookup(atom) for atom in self.jaxpr.outvars]

    def value(self, atom, within_loops=True) -> np.ndarray | None:
        """Return the array that an atom is known to be, or None.

        If the value changes in a loop, raise Varying to have the loop followed step by step, or
        return None with ``within_loops=False``.
        """
        found = self.lookup(atom)
        if found is VARIES and within_loops:
            raise Varying
        return None if isinstance(found, Unknown) else np.asarray(found)

    def lookup(self, atom):
        """Return the array that an atom is known to be, or UNKNOWN or VARIES."""
        if isinstance(atom, Literal):
            return atom.val
        pending = [atom]
        while pending:
            var = pending[-1]
            if not self.is_settled(var):
                if var in self.values:
                    self.values[var] = self.values[var]()
                elif var not in self.maker:
                    self.values[var] = UNKNOWN
                else:
                    eqn = self.maker[var]
                    missing = [a for a in eqn.invars if not self.is_settled(a)]
                    if missing:
                        pending += missing
                        continue
                    self.compute(eqn)
            pending.pop()
        return self.values[atom]

    def is_settled(self, atom):
        """Tell whether `lookup` can return at once."""
        if isinstance(atom, Literal):
            return True
        return atom in self.values and not callable(self.values[atom])

    def compute(self, eqn):
        """Compute the results of an equation with settled operands."""
        inputs = [a.val if isinstance(a, Literal) else self.values[a] for a in eqn.invars]
        doubts = [x for x in inputs if isinstance(x, Unknown)]
        # Some results of a call or a loop may be known although some operands are not.
        inner = called(eqn) if doubts else None
        if inner is not None:
            results = Scope(self.detection, inner).known(inputs)
        elif doubts:
            rest = UNKNOWN if UNKNOWN in doubts else VARIES
            find = PARTLY_KNOWN.get(eqn.primitive.name)
            found = (find and find(eqn, inputs)) or [None] * len(eqn.outvars)
            results = [rest if x is None else x for x in found]
        else:
            results = run_eagerly(eqn, inputs) or [UNKNOWN] * len(eqn.outvars)
        self.values.update(zip(eqn.outvars, results, strict=True))


def names_in(jaxpr):
    """Return the names of all primitives, those of inner jaxprs too."""
    plain = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    return set().union(*map(names_of, plain.eqns))


def names_of(eqn):
    """Return the names of the primitive of an equation, and of those of its inner jaxprs."""
    inner = (x for value in eqn.params.values() for x in as_tuple(value))
    found = (names_in(x) for x in inner if isinstance(x, ClosedJaxpr | Jaxpr))
    return {eqn.primitive.name}.union(*found)


def as_tuple(value):
    """Return a value as a tuple or list."""
    return value if isinstance(value, tuple | list) else (value,)


# ---- values in loops ----


def is_short(loop):
    """Tell whether a loop can be followed step by step."""
    return loop.length * len(loop.jaxpr.jaxpr.eqns) <= UNROLLED


def turns(loop):
    """Return the steps of a loop in the order in which they run."""
    return range(loop.length)[:: -1 if loop.reverse else 1]


def at_step(values, t):
    """Return the known inputs of one step of a loop."""
    return [x if isinstance(x, Unknown) else x[t] for x in values]


def known_of_loop(eqn, inputs):
    """Return the results of a loop, None for one that is not known."""
    part = KnownLoop(loop_of(eqn), [not isinstance(x, Unknown) for x in inputs])
    return run_safely(part, inputs) if any(part.results) else None


def known_of_sort(eqn, inputs):
    """Return the results of a sort, None for one that is not known: known keys say the order."""
    known = [k for k, x in enumerate(inputs) if not isinstance(x, Unknown)]
    keys = eqn.params["num_keys"]
    if not eqn.params["is_stable"] or known[:keys] != [*range(keys)]:
        return None
    found = run_safely(lambda x: eqn.primitive.bind(*x, **eqn.params), [inputs[k] for k in known])
    out: list = [None] * len(inputs)
    for k, x in zip(known, found or [None] * len(known), strict=True):
        out[k] = x
    return out


# Some results of these may be known where others are not.
PARTLY_KNOWN = {"scan": known_of_loop, "sort": known_of_sort}
