"""Keep the sparsity rules of JAX's primitives by name, and let users add their own.

A rule is called as ``rule(scope, eqn, operands)``, with an array of sets or None for each operand,
and returns one or None for each result. ``scope.value(atom)`` is the array that an operand is known
to be, or None. Most rules are in `_sparsity_rules`.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive

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
    return propagate.none(atom.aval.shape) if ids is None else ids


def dense(scope, eqn, operands):
    """Let each element of each result depend on all elements of all operands."""
    found = present(operands)
    return [propagate.everything(scope.sets, found, var.aval.shape) for var in eqn.outvars]


def register_sparsity_rule(
    primitive: Primitive | str, rule: Callable[[list, list, dict[str, Any]], list]
) -> None:
    """Register the sparsity of a JAX primitive: which results depend on which operands.

    Parameters
    ----------
    primitive : jax.extend.core.Primitive or str
        The primitive, or its name.
    rule : callable
        ``rule(operands, results, params)`` is called with the shapes and types of the operands and
        of the results (`jax.ShapeDtypeStruct`), and with the parameters of the equation. It returns
        a list with one element for each result. Each element is a list with one element for each
        operand: a sparse matrix of shape (elements of the result, elements of the operand) with
        entries where there may be a dependence, None where there is none, or True if everything may
        depend on everything.

    Notes
    -----
    A rule replaces an earlier one of the same primitive. Detection follows programs that
    differentiation has made. It therefore asks for the rule of a linear primitive itself; of
    another primitive it sees the primitives in the derivative rules.

    Examples
    --------
    >>> import scipy.sparse as sp, sparsechol.jax as scj
    >>> def mirror(operands, results, params):
    ...     n = operands[0].size
    ...     return [[sp.eye_array(n).tocsr()[::-1]]]
    >>> scj.register_sparsity_rule("my_mirror", mirror)
    """
    name = primitive if isinstance(primitive, str) else primitive.name

    def apply(scope, eqn, operands):
        wanted = rule(_described(eqn.invars), _described(eqn.outvars), eqn.params)
        if len(wanted) != len(eqn.outvars):
            raise ValueError(
                f"the sparsity rule of '{name}' returned {len(wanted)} lists for"
                f" {len(eqn.outvars)} results"
            )
        return [
            propagate.connected(scope.sets, matrices, operands, var.aval.shape)
            for matrices, var in zip(wanted, eqn.outvars, strict=True)
        ]

    RULES[name] = apply


def _described(atoms):
    """Return the shapes and types of atoms."""
    return [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in atoms]
