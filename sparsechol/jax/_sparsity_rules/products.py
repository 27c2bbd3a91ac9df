"""Sparsity rules of products, and of dense linear algebra."""

import math
from functools import partial
from typing import Any

from ..._sparsity import propagate
from .._rule_table import or_empty, out_shape, present, rule
from .elementwise import zeros_of


def as_matrix(x, batch, first, second) -> Any:
    """Return (batch, first, second), each of them several axes put together."""
    if x is None:
        return None
    groups = (batch, first, second)
    shape = [math.prod(x.shape[axis] for axis in group) for group in groups]
    return x.transpose([axis for group in groups for axis in group]).reshape(shape)


@rule("dot_general")
def dot_general(scope, eqn, operands):
    (contract_a, contract_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    atoms, shape = eqn.invars, out_shape(eqn)
    a, b = operands
    zeros = [
        zeros_of(scope, atom) if ids is None else None
        for atom, ids in zip(atoms, operands, strict=True)
    ]
    free_a, free_b = (
        [axis for axis in range(len(atom.aval.shape)) if axis not in (*batch, *contract)]
        for atom, batch, contract in zip(
            atoms, (batch_a, batch_b), (contract_a, contract_b), strict=True
        )
    )
    terms = propagate.product_terms(
        scope.sets,
        as_matrix(a, batch_a, free_a, contract_a),
        as_matrix(b, batch_b, contract_b, free_b),
        as_matrix(zeros[0], batch_a, free_a, contract_a),
        as_matrix(zeros[1], batch_b, contract_b, free_b),
    )
    sizes_a, sizes_b = atoms[0].aval.shape, atoms[1].aval.shape
    core = (
        math.prod(sizes_a[axis] for axis in batch_a),
        math.prod(sizes_a[axis] for axis in free_a),
        math.prod(sizes_b[axis] for axis in free_b),
    )
    return [propagate.union(scope.sets, *terms, shape=core).reshape(shape)]


# ---- linear algebra ----


@rule("triangular_solve")
def triangular_solve(scope, eqn, operands):
    a, b = operands
    p = eqn.params
    if a is not None:
        # Each matrix of a batch is taken as a whole.
        b = or_empty(eqn.invars[1], b)
        together = propagate.union_along(scope.sets, a, (-2, -1), keepdims=True)
        whole = propagate.union_along(scope.sets, b, (-2, -1), keepdims=True)
        return [propagate.union(scope.sets, together, whole, shape=out_shape(eqn))]
    forward = p["lower"] != bool(p["transpose_a"])
    if not p["left_side"]:
        forward = not forward
    return [
        propagate.cumulative_union(scope.sets, b, -2 if p["left_side"] else -1, reverse=not forward)
    ]


@rule("tridiagonal_solve")
def tridiagonal_solve(scope, eqn, operands):
    *matrix, b = operands
    merged = partial(propagate.union_along, scope.sets, keepdims=True)
    terms = [merged(x, (-1,))[..., None] for x in present(matrix)]
    if b is not None:
        terms.append(merged(b, (-2,)))
    return [propagate.union(scope.sets, *terms, shape=out_shape(eqn))]
