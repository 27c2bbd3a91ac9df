"""Find where values that depend on the point are zero at every point.

A matrix that is made by `jnp.diag`, `jnp.pad` or ``jnp.zeros(...).at[...]`` has zeros wherever it
is evaluated. Products with it, and solves, do not depend on what these zeros are multiplied by.
Zeros are followed through operations that keep some of them.
"""

from typing import Any

import numpy as np
from jax.extend.core import Literal

from .._sparsity import propagate
from ._fold import MOVES
from ._partial import called

LARGEST = 2_000_000_000  # most products of numbers in a product of matrices that is followed

KEPT = """
    neg abs sign sqrt cbrt square sin tan asin atan sinh tanh asinh atanh erf expm1 log1p floor ceil
    round real imag conj copy convert_element_type reduce_precision stop_gradient
    optimization_barrier
"""


def zeros(scope, atom) -> np.ndarray | None:
    """Return where a value is zero at every point, None if nothing is known.

    No loop is followed step by step for these zeros.
    """
    pending = [atom]
    while pending:
        var = pending[-1]
        if isinstance(var, Literal) or var in scope.zeros:
            pending.pop()
            continue
        eqn = scope.maker.get(var)
        needed = [] if eqn is None or eqn.primitive.name not in RULES else eqn.invars
        missing = [x for x in needed if not isinstance(x, Literal) and x not in scope.zeros]
        if missing and scope.value(var, within_loops=False) is None:
            pending += missing
            continue
        scope.zeros[var] = _found(scope, var, eqn)
        pending.pop()
    return _constant(atom.val) if isinstance(atom, Literal) else scope.zeros[atom]


def _constant(value):
    value = np.asarray(value)
    return None if value.dtype.kind == "V" or (value != 0).all() else value == 0


def _found(scope, var, eqn):
    value = scope.value(var, within_loops=False)
    if value is not None:
        return _constant(value)
    if eqn is None:
        asked = scope.asked.get(var)
        return zeros(*asked) if asked is not None else None
    inner = called(eqn)
    if inner is not None:
        body = scope.inside(inner, eqn.invars)
        return zeros(body, body.jaxpr.outvars[eqn.outvars.index(var)])
    if eqn.primitive.name not in RULES:
        return None
    found = [_constant(x.val) if isinstance(x, Literal) else scope.zeros[x] for x in eqn.invars]
    out = RULES[eqn.primitive.name](scope, eqn, *found) if some(found) else None
    if isinstance(out, tuple):  # of a primitive with more than one result
        out = out[eqn.outvars.index(var)]
    if out is None or not out.any():
        return None
    return np.broadcast_to(out, var.aval.shape)


def some(masks):
    """Tell whether there is any zero."""
    return any(x is not None for x in masks)


def every(masks):
    """Return where all operands are zero."""
    return None if any(x is None for x in masks) else np.logical_and.reduce([*masks])


def either(masks):
    """Return where an operand is zero."""
    found = [x for x in masks if x is not None]
    return np.logical_or.reduce(np.broadcast_arrays(*found)) if found else None


def masks_of(eqn, masks):
    """Return the zeros of operands as arrays."""
    return [
        np.zeros(x.aval.shape, bool) if mask is None else mask
        for x, mask in zip(eqn.invars, masks, strict=True)
    ]


# ---- rules ----


def moved(scope, eqn, *masks):
    return MOVES[eqn.primitive.name](*masks_of(eqn, masks), **eqn.params)


def chosen(scope, eqn, which, *cases):
    known = scope.value(eqn.invars[0], within_loops=False)
    if known is None:
        return every(cases)
    return MOVES["select_n"](known, *masks_of(eqn, [which, *cases])[1:])


def padded(scope, eqn, mask, filling):
    config = eqn.params["padding_config"]
    out = np.full(eqn.outvars[0].aval.shape, filling is not None)
    places = [
        low + np.arange(size) * (inner + 1)
        for size, (low, _, inner) in zip(eqn.invars[0].aval.shape, config, strict=True)
    ]
    inside = [(x >= 0) & (x < n) for x, n in zip(places, out.shape, strict=True)]
    [mask, _] = masks_of(eqn, [mask, None])
    here = [x[ok] for x, ok in zip(places, inside, strict=True)]
    out[np.ix_(*here)] = mask[np.ix_(*map(np.flatnonzero, inside))]
    return out


def product(scope, eqn, a, b):
    (contract_a, contract_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    shape = eqn.outvars[0].aval.shape
    depth = int(np.prod([eqn.invars[0].aval.shape[k] for k in contract_a]))
    if int(np.prod(shape)) * depth > LARGEST:
        return None
    a, b = masks_of(eqn, [a, b])
    letters = iter(range(a.ndim + b.ndim))
    of_a = [next(letters) for _ in range(a.ndim)]
    of_b = [next(letters) for _ in range(b.ndim)]
    for k, q in zip((*contract_a, *batch_a), (*contract_b, *batch_b), strict=True):
        of_b[q] = of_a[k]
    free_a = [of_a[k] for k in range(a.ndim) if k not in (*contract_a, *batch_a)]
    free_b = [of_b[k] for k in range(b.ndim) if k not in (*contract_b, *batch_b)]
    result = [*(of_a[k] for k in batch_a), *free_a, *free_b]
    ones = [(~x).astype(np.float32) for x in (a, b)]
    einsum: Any = np.einsum
    return einsum(ones[0], of_a, ones[1], of_b, result, optimize=True) == 0


def summed(scope, eqn, mask):
    return mask.all(axis=tuple(eqn.params["axes"]))


def accumulated(scope, eqn, mask):
    p = eqn.params
    turned = np.flip(mask, p["axis"]) if p["reverse"] else mask
    out = np.logical_and.accumulate(turned, p["axis"])
    return np.flip(out, p["axis"]) if p["reverse"] else out


def factor(scope, eqn, mask):
    """Return the zeros of a Cholesky factor: of the upper triangle, and below by elimination."""
    n = mask.shape[-1]
    out = np.empty(mask.shape, bool)
    for place in np.ndindex(*mask.shape[:-2]):
        L = np.tril(~mask[place] | ~mask[place].T)
        for k in range(n):
            L[k, k] = True
            below = k + 1 + np.flatnonzero(L[k + 1 :, k])
            L[np.ix_(below, below)] = True
        out[place] = ~np.tril(L)
    return out


def lu_blocks(scope, eqn):
    """Return the block of each row and column that pivots cannot leave; None if all is one block.

    A column is eliminated by rows that its block has: its pivot is among them, so that each place
    of the diagonal keeps a row of its block.
    """
    mask = zeros(scope, eqn.invars[0])
    if mask is None:
        return None
    size = max(mask.shape[-2:])
    labels = np.empty((*mask.shape[:-2], size), np.int64)
    for place in np.ndindex(*mask.shape[:-2]):
        A = np.zeros((size, size), bool)
        A[: mask.shape[-2], : mask.shape[-1]] = ~mask[place]
        labels[place] = propagate.connected_components(A)
    return labels


def lu(scope, eqn, mask):
    """Return the zeros of triangular factors: outside of the blocks that pivots cannot leave."""
    m, n = mask.shape[-2:]
    labels = lu_blocks(scope, eqn)
    apart = None if labels is None else labels[..., :m, None] != labels[..., None, :n]
    return apart, None, None


def qr(scope, eqn, mask):
    """Return the zeros of both factors, by the reflections that are not the identity.

    The reflection of column k mixes row k and the rows below in which the column has entries.
    """
    if eqn.params.get("pivoting"):
        return None
    m, n = mask.shape[-2:]
    shapes = [var.aval.shape for var in eqn.outvars]
    orthogonal, upper = (np.empty(shape, bool) for shape in shapes)
    for place in np.ndindex(*mask.shape[:-2]):
        R, Q = ~mask[place], np.eye(m, shapes[0][-1], dtype=bool)
        mixed = []
        for k in range(min(m, n)):
            rows = np.union1d(k, k + np.flatnonzero(R[k:, k]))
            mixed.append(rows)
            R[rows] = R[rows].any(axis=0)
        for rows in reversed(mixed):
            Q[rows] = Q[rows].any(axis=0)
        orthogonal[place], upper[place] = ~Q, ~np.triu(R)[: shapes[1][-2]]
    return orthogonal, upper


RULES = {
    **dict.fromkeys(MOVES, moved),
    **dict.fromkeys(KEPT.split(), lambda scope, eqn, mask: mask),
    "select_n": chosen,
    "pad": padded,
    "rev": lambda scope, eqn, mask: np.flip(mask, eqn.params["dimensions"]),
    "mul": lambda scope, eqn, *masks: either(masks),
    "div": lambda scope, eqn, a, b: a,
    "integer_pow": lambda scope, eqn, mask: mask if eqn.params["y"] > 0 else None,
    **dict.fromkeys(("add", "add_any", "sub", "max", "min"), lambda scope, eqn, *x: every(x)),
    "dot_general": product,
    "reduce_sum": summed,
    "cumsum": accumulated,
    "cholesky": factor,
    "lu": lu,
    "qr": qr,
}


def rule(*names):
    """Register how zeros pass through primitives with these names."""

    def add(function):
        RULES.update(dict.fromkeys(names, function))
        return function

    return add
