"""Bound whole numbers that are not known: remainders, clipped numbers, positions of a maximum.

Bounds are two arrays of int64, the least and the largest value of each element. Only operations of
integers and booleans are followed, and only where no number can leave its type. A choice by a
comparison bounds what it compares: ``jnp.where(k < 0, k + n, k)`` is not negative for k >= -n.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jax.extend.core import Literal

from ._fold import ARITHMETIC, MOVES
from ._partial import called
from ._zeros import lu_blocks

DEEP = 100  # most operations one after the other that are followed
MOST = 2**62  # bounds are smaller, so that sums of them fit int64

Interval = tuple[np.ndarray, np.ndarray]


def bounds(scope, atom, memory=None, depth=0) -> Interval | None:
    """Return the least and the largest value of each element of an integer; None if unknown.

    Parameters
    ----------
    scope : Scope
    atom : Var or Literal
    memory : dict, optional
        Bounds that have been found, those that a branch supposes among them; by default those that
        hold everywhere.
    depth : int, optional
        How many operations have been followed.
    """
    memory = scope.bounds if memory is None else memory
    if _is_var(atom) and atom in memory:
        return memory[atom]
    if atom.aval.dtype.kind not in "biu" or depth > DEEP:
        return None
    known = scope.value(atom, within_loops=False)
    if known is not None:
        return _fitting(atom, known, known)
    found = _found(scope, atom, memory, depth + 1)
    if found is not None:
        found = _fitting(atom, *found)
    if found is None and atom.aval.dtype.kind == "b":
        found = _fitting(atom, 0, 1)
    memory[atom] = found
    return found


def _fitting(atom, low, high) -> Any:
    """Return bounds with the shape of an atom, None if a number may not fit its type."""
    least, most = _limits(atom)
    low, high = np.asarray(low), np.asarray(high)
    if (low < least).any() or (high > most).any():
        return None
    shape = atom.aval.shape
    return tuple(np.broadcast_to(x.astype(np.int64), shape) for x in (low, high))


def _limits(atom):
    """Return the bounds of the type of an integer, or smaller ones that can be added."""
    if atom.aval.dtype.kind == "b":
        return 0, 1
    info = np.iinfo(atom.aval.dtype)
    return max(int(info.min), -MOST), min(int(info.max), MOST)


def _found(scope, atom, memory, depth) -> Any:
    eqn = scope.maker.get(atom)
    if eqn is None:
        asked = scope.asked.get(atom)
        return bounds(*asked, depth=depth) if asked is not None else None
    name, ask = eqn.primitive.name, partial(bounds, scope, memory=memory, depth=depth)
    inner = called(eqn)
    choice = _choice(eqn, inner)
    if choice:
        return _chosen(scope, *choice, memory, depth)
    if inner is not None:
        body = scope.inside(inner, eqn.invars)
        return bounds(body, body.jaxpr.outvars[eqn.outvars.index(atom)], depth=depth)
    if name in ("argmax", "argmin"):
        [axis] = eqn.params["axes"]
        return 0, eqn.invars[0].aval.shape[axis] - 1
    if name == "lu":
        return _pivots(scope, eqn, atom)
    if name == "lu_pivots_to_permutation":
        return _permutation(ask(eqn.invars[0]), atom.aval.shape)
    if name in ("gather", "dynamic_slice"):
        return _read(eqn, ask)
    if name in LIMITED:
        return _monotone(LIMITED[name], eqn, ask)
    if name not in (*RULES, *MOVES, "integer_pow"):
        return None
    if name in ("and", "or", "not") and atom.aval.dtype.kind != "b":
        return None
    operands: list[Any] = [ask(x) for x in eqn.invars]
    if name == "rem" and operands[0] is None:  # bounded by the divisor
        operands[0] = _limits(eqn.invars[0]) if atom.aval.dtype.kind in "iu" else None
    if any(x is None for x in operands):
        return None
    if name == "integer_pow":
        return _power(*operands, y=eqn.params["y"])
    if name in MOVES:
        lows, highs = zip(*operands, strict=True)
        return MOVES[name](*lows, **eqn.params), MOVES[name](*highs, **eqn.params)
    return RULES[name](*operands)


def _read(eqn, ask):
    """Return the bounds of a table of integers where it is read, if no index leaves it."""
    if "FILL" in str(eqn.params.get("mode")).upper():
        room = np.subtract(eqn.invars[0].aval.shape, eqn.params["slice_sizes"])
        place = ask(eqn.invars[1])
        last = room[list(eqn.params["dimension_numbers"].start_index_map)]
        if place is None or (place[0] < 0).any() or (place[1] > last).any():
            return None
    table = ask(eqn.invars[0])
    return table if table is None or not table[0].size else (table[0].min(), table[1].max())


def _pivots(scope, eqn, atom):
    """Return the bounds of the pivots of an LU factorization, and of the permutation they make."""
    labels = lu_blocks(scope, eqn)
    shape, m = atom.aval.shape, eqn.invars[0].aval.shape[-2]
    here, least, most = np.arange(shape[-1]), np.zeros(shape, np.int64), np.full(shape, m - 1)
    if labels is not None:
        for place in np.ndindex(*shape[:-1]):
            rows = labels[place][:m]
            least[place] = [np.flatnonzero(rows == k)[0] for k in rows[here]]
            most[place] = [np.flatnonzero(rows == k)[-1] for k in rows[here]]
    return (np.maximum(least, here), most) if atom is eqn.outvars[1] else (least, most)


def _permutation(pivots, shape):
    """Return the bounds of a permutation that exchanges each element with one that is bounded."""
    if pivots is None:
        return 0, max(shape[-1] - 1, 0)
    least, most = (np.broadcast_to(np.arange(shape[-1]), shape).copy() for _ in range(2))
    for place in np.ndindex(*shape[:-1]):
        for k, (low, high) in enumerate(zip(pivots[0][place], pivots[1][place], strict=True)):
            some = [k, *range(low, high + 1)]
            least[(*place, some)] = least[(*place, some)].min()
            most[(*place, some)] = most[(*place, some)].max()
    return least, most


def _monotone(function, eqn, ask):
    """Return the bounds of a function that grows with each operand, any of which may be unknown."""
    ends = [ask(x) for x in eqn.invars]
    if all(x is None for x in ends):
        return None
    limits = [
        _limits(x) if found is None else found for x, found in zip(eqn.invars, ends, strict=True)
    ]
    low, high = (function(*side) for side in zip(*limits, strict=True))
    return (low, high) if _are_certain(low, high) else None


def _are_certain(low, high):
    """Tell whether bounds hold for numbers of 64 bits too, which may be larger than MOST."""
    return bool((low > -MOST).all() and (high < MOST).all())


# ---- choices ----


def _choice(eqn, inner):
    """Return the operands of ``jnp.where``, which may be a jaxpr that does only this; else None."""
    if eqn.primitive.name == "select_n":
        return eqn.invars
    plain = getattr(inner, "jaxpr", inner)
    if plain is None or [x.primitive.name for x in plain.eqns] != ["select_n"]:
        return None
    given = dict(zip(plain.invars, eqn.invars, strict=True))
    atoms = plain.eqns[0].invars
    if plain.outvars != plain.eqns[0].outvars or any(x not in given for x in atoms if _is_var(x)):
        return None
    return [given[x] if _is_var(x) else x for x in atoms]


def _is_var(atom):
    return not isinstance(atom, Literal)


def _chosen(scope, which, *rest):
    """Return the bounds of a choice, each case under what it supposes."""
    *cases, memory, depth = rest
    ask = partial(bounds, scope, depth=depth)
    chosen = ask(which, memory)
    everywhere = memory is scope.bounds  # a branch supposes no more
    if chosen is None or len(cases) != 2 or which.aval.shape != cases[0].aval.shape:
        found = [ask(x, memory) for x in cases]
        return None if any(x is None for x in found) else _hull(*found[:2]) if found[1:] else None
    branches = []
    for truth, case in enumerate(cases):
        possible = (chosen[0] <= truth) & (truth <= chosen[1])
        supposed = memory
        if everywhere and possible.any():
            supposed = _supposed(scope, which, bool(truth), depth)
            again: Any = ask(which, _first_causes(scope, supposed))
            possible &= (again[0] <= truth) & (truth <= again[1])
        found = ask(case, supposed) if possible.any() else None
        if found is None and possible.any():
            return None
        branches.append((possible, found))
    (first, no), (second, yes) = branches
    if no is None or yes is None:
        return yes if no is None else no
    low = np.where(first & second, np.minimum(no[0], yes[0]), np.where(first, no[0], yes[0]))
    high = np.where(first & second, np.maximum(no[1], yes[1]), np.where(first, no[1], yes[1]))
    return low, high


def _first_causes(scope, supposed):
    """Drop the variables that are made of others that are bounded too."""
    made = {x: scope.maker.get(x) for x in supposed}
    return {
        x: found
        for x, found in supposed.items()
        if made[x] is None or not any(y in supposed for y in made[x].invars if _is_var(y))
    }


def _supposed(scope, atom, truth, depth) -> dict[Any, Interval]:
    """Return the bounds of variables where a condition is true, or where it is false."""
    eqn = scope.maker.get(atom) if _is_var(atom) else None
    if eqn is None or depth > DEEP:
        return {}
    name, suppose = eqn.primitive.name, partial(_supposed, scope, depth=depth + 1)
    if name == "not" and atom.aval.dtype.kind == "b":
        return suppose(eqn.invars[0], not truth)
    if name in ("and", "or") and atom.aval.dtype.kind == "b":
        parts = [suppose(x, truth) for x in eqn.invars]
        if truth == (name == "and"):
            return _joined(_common, *parts)
        both = parts[0].keys() & parts[1].keys()
        return {x: _hull(parts[0][x], parts[1][x]) for x in both}
    if name not in COMPARED:
        return {}
    a, b = eqn.invars
    ends = [bounds(scope, x, depth=depth + 1) for x in (a, b)]
    if name in ("eq", "ne") and a.aval.dtype.kind == "b":
        return _equal(suppose, (a, b), ends, truth == (name == "eq"))
    out: dict = {}
    for x, own, other, sign in ((a, *ends, name), (b, *ends[::-1], MIRRORED[name])):
        if not _is_var(x) or x.aval.shape != atom.aval.shape or other is None:
            continue
        limits = _limits(x) if own is None else own
        found = _common(limits, COMPARED[sign if truth else OPPOSITE[sign]](*other, *limits))
        if _are_certain(*found):
            out[x] = found
            out.update(_of_sign(scope, x, found, depth))
    return out


def _of_sign(scope, atom, found, depth):
    """Bound a number whose sign is bounded."""
    eqn = scope.maker.get(atom)
    if eqn is None or eqn.primitive.name != "sign":
        return {}
    own = bounds(scope, eqn.invars[0], depth=depth)
    if own is None or not _is_var(eqn.invars[0]):
        return {}
    low = np.where(found[0] < 0, -MOST, found[0])
    high = np.where(found[1] > 0, MOST, found[1])
    return {eqn.invars[0]: _common(own, (low, high))}


def _equal(suppose, atoms, ends, truth):
    """Suppose that two booleans are the same or not, one of which is known."""
    for x, other in (atoms, ends[1]), (atoms[::-1], ends[0]):
        if other is not None and (other[0] == other[1]).all() and np.ptp(other[0]) == 0:
            return suppose(x[0], bool(other[0].flat[0]) == truth) if other[0].size else {}
    return {}


def _joined(join, first, second):
    """Return a dict of both, values of the same key joined."""
    both = {x: join(first[x], second[x]) for x in first.keys() & second.keys()}
    return {**first, **second, **both}


def _hull(a, b) -> Interval:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])


def _common(a, b) -> Interval:
    """Return what two bounds have in common; where there is nothing, the value cannot occur."""
    low, high = np.maximum(a[0], b[0]), np.minimum(a[1], b[1])
    return low, np.maximum(low, high)


def _other_than(low, high, least, most):
    """Bound a number between two others that differs from one."""
    one = low == high
    return least + (one & (low == least)), most - (one & (low == most))


# Bounds of a number that is compared with one between low and high, from its own bounds.
COMPARED: dict[str, Callable] = {
    "lt": lambda low, high, *_: (-MOST, high - 1),
    "le": lambda low, high, *_: (-MOST, high),
    "gt": lambda low, high, *_: (low + 1, MOST),
    "ge": lambda low, high, *_: (low, MOST),
    "eq": lambda low, high, *_: (low, high),
    "ne": _other_than,
}
MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
OPPOSITE = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt", "eq": "ne", "ne": "eq"}


# ---- arithmetic ----


def _small(*ends):
    """Tell whether no bound is so large that a product of two does not fit."""
    return all(np.abs(x).max(initial=0) < 2**31 for end in ends for x in end)


def _product(a, b):
    if not _small(a, b):
        return None
    corners = [x * y for x in a for y in b]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _power(a, *, y):
    """Bound a power with a constant exponent."""
    if y < 0 or (y and max(int(np.abs(x).max(initial=0)) for x in a) ** y >= MOST):
        return None
    low, high = np.minimum(a[0] ** y, a[1] ** y), np.maximum(a[0] ** y, a[1] ** y)
    return np.where((a[0] < 0) & (a[1] > 0) & (y % 2 == 0), int(y == 0), low), high


def _remainder(a, b):
    """Bound a remainder, which has the sign of the dividend."""
    if not _small(b) or ((b[0] <= 0) & (b[1] >= 0)).any():
        return None
    most = np.maximum(np.abs(b[0]), np.abs(b[1])) - 1
    return np.maximum(np.minimum(a[0], 0), -most), np.minimum(np.maximum(a[1], 0), most)


def _quotient(a, b):
    if not _small(a, b) or (b[0] <= 0).any():
        return None
    corners = [np.sign(x) * (np.abs(x) // y) for x in a for y in b]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _comparison(name):
    """Return the rule of a comparison: 0 where it fails, 1 where it holds, else 0 to 1."""

    def rule(a, b):
        never, always = {
            "lt": (a[0] >= b[1], a[1] < b[0]),
            "le": (a[0] > b[1], a[1] <= b[0]),
            "gt": (a[1] <= b[0], a[0] > b[1]),
            "ge": (a[1] < b[0], a[0] >= b[1]),
            "eq": ((a[1] < b[0]) | (a[0] > b[1]), (a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0])),
            "ne": ((a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0]), (a[1] < b[0]) | (a[0] > b[1])),
        }[name]
        return np.where(always, 1, 0), np.where(never, 0, 1)

    return rule


LIMITED = {  # functions that grow with each operand
    "max": np.maximum,
    "min": np.minimum,
    "clamp": lambda least, x, most: np.minimum(np.maximum(x, least), most),
}
RULES: dict[str, Callable] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "mul": _product,
    "neg": lambda a: (-a[1], -a[0]),
    "abs": lambda a: (np.maximum(np.maximum(a[0], -a[1]), 0), np.maximum(-a[0], a[1])),
    "square": lambda a: _power(a, y=2),
    "sign": lambda a: (np.sign(a[0]), np.sign(a[1])),
    "rem": _remainder,
    "div": _quotient,
    "and": lambda a, b: (np.minimum(a[0], b[0]), np.minimum(a[1], b[1])),  # of booleans
    "or": lambda a, b: (np.maximum(a[0], b[0]), np.maximum(a[1], b[1])),
    "not": lambda a: (1 - a[1], 1 - a[0]),
    "convert_element_type": lambda a: a,
    "copy": lambda a: a,
    "stop_gradient": lambda a: a,
    **{name: _comparison(name) for name in COMPARED if name in ARITHMETIC},
}
