"""Sparsity rules of products, and of dense linear algebra."""

import math
from functools import partial
from typing import Any

import numpy as np

from ..._sparsity import propagate
from .._rule_table import or_empty, out_shape, present, rule
from .._zeros import masks_of, zeros
from .._zeros import rule as zero_rule


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
    masks = [
        zeros(scope, atom) if ids is None else None
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
        as_matrix(masks[0], batch_a, free_a, contract_a),
        as_matrix(masks[1], batch_b, contract_b, free_b),
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
    forward = (p["lower"] != bool(p["transpose_a"])) == p["left_side"]
    mask = zeros(scope, eqn.invars[0])
    if mask is not None and (np.tril(mask) if p["lower"] else np.triu(mask)).any():
        return [substituted(scope, mask, b, p, forward)]
    return [
        propagate.cumulative_union(scope.sets, b, -2 if p["left_side"] else -1, reverse=not forward)
    ]


def substituted(scope, mask, b, p, forward):
    """Substitute through the entries of triangles that are not zero at every point."""
    A = turned_triangle(~mask, p, forward)
    lines = turned_lines(b, p, forward)
    out = np.empty(lines.shape, np.int32)
    for place in np.ndindex(*b.shape[:-2]):
        starts, members = propagate.row_lists(A[place])
        for k in range(lines.shape[-1]):
            column = propagate.flatten(lines[(*place, slice(None), k)])
            out[(*place, slice(None), k)] = scope.sets.substitute(starts, members, column)
    return turned_lines(out, p, forward, back=True)


def turned_triangle(A, p, forward):
    """Return what a triangular solve reads of matrices as strict lower triangles."""
    turn = slice(None, None, 1 if forward else -1)
    A = np.tril(A) if p["lower"] else np.triu(A)
    if bool(p["transpose_a"]) == p["left_side"]:
        A = A.swapaxes(-1, -2)
    return np.tril(A[..., turn, turn], -1)


def turned_lines(b, p, forward, back=False):
    """Return right-hand sides in the order in which rows are solved for, or turn them back."""
    turn = slice(None, None, 1 if forward else -1)
    b = b[..., turn, :] if back or p["left_side"] else b.swapaxes(-1, -2)[..., turn, :]
    return b.swapaxes(-1, -2) if back and not p["left_side"] else b


@zero_rule("triangular_solve")
def zeros_of_solution(scope, eqn, mask, b):
    """Return where a solution is zero: where no entry of the right-hand side reaches."""
    p = eqn.params
    if b is None:
        return None
    forward = (p["lower"] != bool(p["transpose_a"])) == p["left_side"]
    mask, b = masks_of(eqn, [mask, b])
    A, found = turned_triangle(~mask, p, forward), ~turned_lines(b, p, forward)
    for k in range(1, found.shape[-2]):
        found[..., k, :] |= (A[..., k, :k, None] & found[..., :k, :]).any(axis=-2)
    return turned_lines(~found, p, forward, back=True)


@rule("tridiagonal_solve")
def tridiagonal_solve(scope, eqn, operands):
    *matrix, b = operands
    merged = partial(propagate.union_along, scope.sets, keepdims=True)
    terms = [merged(x, (-1,))[..., None] for x in present(matrix)]
    if b is not None:
        terms.append(merged(b, (-2,)))
    return [propagate.union(scope.sets, *terms, shape=out_shape(eqn))]
