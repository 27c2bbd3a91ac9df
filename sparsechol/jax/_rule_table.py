"""Keep the sparsity rules of JAX's primitives by name.

A rule is called as ``rule(scope, eqn, operands)``, with an array of sets or None for each operand,
and returns one or None for each result; NotImplemented where it does not apply.
``scope.value(atom)`` is the array that an operand is known to be, or None. Most rules are in
`_sparsity_rules`.
"""

from collections.abc import Callable

from .._sparsity import propagate

RULES: dict[str, Callable] = {}


def rule(*names):
    """Register a rule for primitives with these names."""

    def add(function):
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def out_shape(eqn, k=0):
    """Return the shape of a result."""
    return eqn.outvars[k].aval.shape


def present(operands):
    """Return the sets of the operands that depend on something."""
    return [ids for ids in operands if ids is not None]


def or_empty(atom, ids):
    """Return the sets of an operand, empty ones if it depends on nothing."""
    return propagate.no_inputs(atom.aval.shape) if ids is None else ids


def dense(scope, eqn, operands, why="has no sparsity rule for such operands"):
    """Let each element of each result depend on all elements of all operands, with a warning."""
    scope.detection.unknown(eqn.primitive.name, eqn, why)
    found = present(operands)
    return [propagate.union_all(scope.sets, found, var.aval.shape) for var in eqn.outvars]
