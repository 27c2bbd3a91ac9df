"""Follow all turns of a loop at once, where its indices are known before it runs.

The body is traced once for all turns (`jax.vmap`), so that an index that moves with the counter is
one array of indices. What turns hand on needs an order. An array that is carried is a memory: turns
read some of its elements, and write some.

    turn t:   u[i] <- f(u[i - 1], x[i])        an element read is the last version of it before
    turn t+1:   u[i + 1] <- f(u[i], x[i + 1])  each element written is a new version

A version depends on other versions, which are older, and on what enters the loop. This is a
triangular system of sets, with as many rows as there are elements written: the arrays themselves
are never copied. A carried value that is used in any other way is read and written as a whole.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from ..._sparsity import propagate
from .._compat import bound, loop_of, without_folding
from .._fold import attempt, run_safely
from .._partial import KnownLoop, called
from .._rule_table import RULES
from .._walk import UNKNOWN, VARIES, Doubtful, Scope, Unknown
from .indices import clipped, index_of, positions, window_sizes

LARGEST = 100_000_000  # most elements of all turns together
READS = ("dynamic_slice", "gather", "slice")
SETS = ("dynamic_update_slice", "scatter")
ADDS = ("scatter-add", "scatter_add")


@dataclass
class Access:
    """A part of a carried array that each turn reads, or writes.

    Attributes
    ----------
    carry : int
        Number of the carried array.
    adds : bool
        Whether what was there before counts after a write.
    before : int
        How many writes to the array a turn makes earlier.
    eqn : JaxprEqn or None
        The operation that says which part; None for the whole array.
    value : Any
        The variable that is written, or the result of the read.
    """

    carry: int
    adds: bool
    before: int
    eqn: JaxprEqn | None
    value: Any


@dataclass(eq=False)
class Chain:
    """A carried array after some writes; without `carry`, zeros after some writes."""

    carry: Any
    writes: list = field(default_factory=list)


class Body:
    """The body of a loop, its calls inlined, with the accesses to the arrays that it carries.

    Parameters
    ----------
    closed : ClosedJaxpr
    moving : dict
        For each carried array that depends on inputs: its operand and its result.

    Attributes
    ----------
    reads, writes : list of Access
        In the order of a turn.
    whole : set
        The carried arrays that are read and written as a whole.
    """

    def __init__(self, closed: ClosedJaxpr, moving: dict[int, tuple]):
        self.closed, self.jaxpr, self.moving = closed, closed.jaxpr, moving
        self.whole: set[int] = set()
        while True:
            spoiled = self._find_accesses()
            if not spoiled:
                break
            self.whole |= spoiled
        for k in sorted(self.whole):
            operand, result = moving[k]
            self.reads.append(Access(k, False, 0, None, operand))
            self.writes.append(Access(k, False, 0, None, result))

    def _find_accesses(self):
        """List reads and writes; return the arrays that are used in another way."""
        self.reads, self.writes, self._spoiled = [], [], set()
        self._count = dict.fromkeys(self.moving, 0)
        self.chains = {
            self.moving[k][0]: Chain(k) for k in self.moving if k not in self.whole
        }  # of variables
        for eqn in self.jaxpr.eqns:
            self._follow(eqn)
        for atom in self.jaxpr.outvars:
            chain = self._chain(atom)
            if chain is not None and chain.carry is not None:
                own = self.moving[chain.carry][1] is atom
                if not own or len(chain.writes) != self._count[chain.carry]:
                    self._spoiled.add(chain.carry)
        for k in self.moving.keys() - self.whole:
            chain = self._chain(self.moving[k][1])
            if chain is None or chain.carry != k:
                self._spoiled.add(k)
        return self._spoiled

    def _chain(self, atom):
        return None if isinstance(atom, Literal) else self.chains.get(atom)

    def _follow(self, eqn):
        name, chains = eqn.primitive.name, [self._chain(atom) for atom in eqn.invars]
        of_carries = [c for c in chains if c is not None and c.carry is not None]
        if is_zero(eqn):
            self.chains[eqn.outvars[0]] = Chain(None)
        elif name in READS and of_carries == chains[:1]:
            [chain] = of_carries
            before = len(chain.writes)
            self.reads.append(Access(chain.carry, False, before, eqn, eqn.outvars[0]))
        elif name in (*SETS, *ADDS) and chains[0] and of_carries in ([], chains[:1]):
            value = eqn.invars[1] if name == "dynamic_update_slice" else eqn.invars[2]
            self._extend(chains[0], eqn, [(name in ADDS, eqn, value)])
        elif name in ("add", "add_any") and any(chains) and len(of_carries) <= 1:
            self._add(eqn, chains, of_carries)
        else:
            self._spoiled.update(c.carry for c in of_carries)

    def _add(self, eqn, chains, of_carries):
        """Add one array to another, either of them a chain."""
        chain = of_carries[0] if of_carries else next(c for c in chains if c is not None)
        side = 1 if chain is chains[0] else 0
        other, atom = chains[side], eqn.invars[side]
        if other is not None:
            self._extend(chain, eqn, [(True, *write[1:]) for write in other.writes])
        elif of_carries and atom.aval.shape == eqn.outvars[0].aval.shape:
            self._extend(chain, eqn, [(True, None, atom)])
        else:
            self._spoiled.update(c.carry for c in of_carries)

    def _extend(self, chain, eqn, writes):
        """Note writes after those of a chain."""
        k = chain.carry
        if k is not None:
            if len(chain.writes) != self._count[k]:  # two arrays are made from one
                self._spoiled.add(k)
            for adds, how, value in writes:
                self.writes.append(Access(k, adds, self._count[k], how, value))
                self._count[k] += 1
        self.chains[eqn.outvars[0]] = Chain(k, [*chain.writes, *writes])

    def is_of_carry(self, atom):
        """Tell whether a variable is a carried array, which has no value in `run`."""
        chain = self._chain(atom)
        return chain is not None and chain.carry is not None

    def run(self, others, slots, results):
        """Compute a turn from the values that it reads.

        Parameters
        ----------
        others : dict
            Values of the operands that are not carried arrays.
        slots : list
            Values that the reads give.
        results : list
            Variables that are wanted.

        Returns
        -------
        indices : list of list
            Indices of all reads and writes.
        written, results : list
            Values that are written, and those of the variables.
        """
        values = {**dict(zip(self.jaxpr.constvars, self.closed.consts, strict=True)), **others}
        values.update((access.value, x) for access, x in zip(self.reads, slots, strict=True))
        read_here = {access.eqn is not None and id(access.eqn) for access in self.reads}

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for eqn in self.jaxpr.eqns:
            if id(eqn) not in read_here and not self.is_of_carry(eqn.outvars[0]):
                values.update(zip(eqn.outvars, bound(eqn, [*map(read, eqn.invars)]), strict=True))
        indices = [[*map(read, indices_of(a.eqn))] for a in (*self.reads, *self.writes)]
        return indices, [read(a.value) for a in self.writes], [*map(read, results)]


def is_zero(eqn):
    """Tell whether an equation makes an array of zeros."""
    if eqn.primitive.name != "broadcast_in_dim" or not isinstance(eqn.invars[0], Literal):
        return False
    return bool(eqn.outvars[0].aval.ndim) and not np.any(eqn.invars[0].val)


def indices_of(eqn):
    """Return the variables that say which part of an array is read or written."""
    if eqn is None or eqn.primitive.name == "slice":
        return []
    if eqn.primitive.name in ("dynamic_slice", "gather"):
        return eqn.invars[1:]
    return eqn.invars[2:] if eqn.primitive.name == "dynamic_update_slice" else [eqn.invars[1]]


def inlined(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Return a jaxpr without calls, but for those with a rule of their own."""

    def run(jaxpr, consts, operands):
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *operands], strict=True))

        def read(atom):
            return atom.val if isinstance(atom, Literal) else values[atom]

        for eqn in jaxpr.eqns:
            inner = None if eqn.primitive.name in RULES else called(eqn)
            given = [*map(read, eqn.invars)]
            if inner is None:
                out = bound(eqn, given)
            elif isinstance(inner, ClosedJaxpr):
                out = run(inner.jaxpr, inner.consts, given)
            else:
                out = run(inner, (), given)
            values.update(zip(eqn.outvars, out, strict=True))
        return [*map(read, jaxpr.outvars)]

    def program(*operands):
        return run(closed.jaxpr, closed.consts, operands)

    with without_folding():
        return jax.make_jaxpr(program)(*map(like, closed.in_avals))


def like(aval, *lead):
    """Return the shape and type of an operand, with axes before its own."""
    return jax.ShapeDtypeStruct((*lead, *aval.shape), aval.dtype)


def reached(jaxpr, start):
    """Return the floating point variables that depend on some variables."""
    found = set(start)
    for eqn in jaxpr.eqns:
        flags = [not isinstance(atom, Literal) and atom in found for atom in eqn.invars]
        if any(flags):
            found.update(
                var
                for var, flag in zip(eqn.outvars, reached_results(eqn, flags), strict=True)
                if flag and jnp.issubdtype(var.aval.dtype, jnp.inexact)
            )
    return found


def reached_results(eqn, flags):
    """Tell which results of an equation depend on the operands with a flag.

    Branches and loops are looked into: they may hand on values and derivatives side by side.
    """
    name, p = eqn.primitive.name, eqn.params
    if name == "cond":
        branches = [reached_outputs(branch, flags[1:]) for branch in p["branches"]]
        return [any(each) for each in zip(*branches, strict=True)]
    if name == "while":
        consts = p["body_nconsts"]
        return reached_outputs(p["body_jaxpr"], flags[p["cond_nconsts"] :], consts, len(flags))
    if name == "scan":
        loop = loop_of(eqn)
        return reached_outputs(loop.jaxpr, flags, loop.consts, loop.carry)
    inner = None if name in RULES else called(eqn)
    if inner is not None:
        return reached_outputs(inner, flags)
    return [True] * len(eqn.outvars)


def reached_outputs(jaxpr, flags, consts=0, carry=0):
    """Tell which results of a jaxpr depend on the operands with a flag.

    After `consts` operands come `carry` ones that take the first results in the next turn.
    """
    plain = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    flags = [*flags]
    while True:
        start = {var for var, flag in zip(plain.invars, flags, strict=True) if flag}
        found = reached(plain, start)
        out = [not isinstance(atom, Literal) and atom in found for atom in plain.outvars]
        following = [a or b for a, b in zip(flags[consts:][:carry], out, strict=False)]
        if following == flags[consts:][:carry]:
            break
        flags[consts : consts + carry] = following
    return [a or b for a, b in zip(following, out, strict=False)] + out[len(following) :]


def moving_carries(closed, operands, loop):
    """Return the numbers of the carried values that depend on inputs in some turn."""
    given = [ids is not None for ids in operands]
    found = reached_outputs(closed, given, loop.consts, loop.carry)
    return [k for k, flag in enumerate(found[: loop.carry]) if flag]


def follow_all_turns(scope, eqn, operands, loop):
    """Return the sets of the results of a loop; None if an index is not known before it runs."""
    values = [scope.lookup(atom) for atom in eqn.invars]
    part = KnownLoop(loop, [not isinstance(x, Unknown) for x in values])
    states = run_safely(part.states, values)
    # Primitives of others may fail to be traced in any way: then the loop is not followed so.
    closed = attempt(inlined, loop.jaxpr)
    if states is None or closed is None:
        return None
    nc = loop.consts
    moving = {
        k: (closed.jaxpr.invars[nc + k], closed.jaxpr.outvars[k])
        for k in moving_carries(closed, operands, loop)
    }
    turns = AllTurns(scope, loop, Body(closed, moving), operands)
    traced = None if turns.is_too_large() else attempt(turns.trace)
    if traced is None or turns.size_of(traced) > LARGEST:
        return None
    varies = any(x is VARIES for x in values)
    doubt = VARIES if varies else UNKNOWN
    known = [*values[:nc], *(doubt if x is None else x for x in states), *values[nc + loop.carry :]]
    try:
        found = turns.follow(traced, known)
    except Doubtful:
        return None
    if found is not None:
        scope.detection.succeed(turns.put_off, eqn)
    return found


class AllTurns:
    """All turns of a loop: the traced body, and the system of the versions of what it writes."""

    def __init__(self, scope, loop, body, operands):
        self.scope, self.loop, self.body, self.operands = scope, loop, body, operands
        nc, invars = loop.consts, body.jaxpr.invars
        self.shape_of = {k: invars[nc + k].aval.shape for k in body.moving}
        moving = {operand for operand, _ in body.moving.values()}
        self.others = [(q, var) for q, var in enumerate(invars) if var not in moving]
        self.yields = body.jaxpr.outvars[loop.carry :]
        self.width = sum(math.prod(a.value.aval.shape) for a in body.writes)

    def is_too_large(self):
        """Tell whether there is too much to read or write."""
        read = sum(math.prod(a.value.aval.shape) for a in self.body.reads)
        return self.loop.length * (read + self.width) > LARGEST

    def size_of(self, traced):
        """Return the number of elements whose sets are found on the way."""
        start = [var for var, ids in zip(traced.jaxpr.invars, self.flags, strict=True) if ids]
        found = reached(traced.jaxpr, start)
        used = zip(traced.jaxpr.eqns, self.scope.detection.used(traced.jaxpr), strict=True)
        made = {var for eqn, flag in used if flag for var in eqn.outvars}
        return sum(math.prod(var.aval.shape) for var in found & made)

    def trace(self):
        """Return the jaxpr of all turns together; the turns are the first axis."""
        T, nc = self.loop.length, self.loop.consts
        avals = [like(var.aval, *() if q < nc else (T,)) for q, var in self.others]
        avals += [like(a.value.aval, T) for a in self.body.reads]
        count = len(self.others)
        axes = [None if q < nc else 0 for q, _ in self.others] + [0] * len(self.body.reads)
        self.flags = [self.operands[q] is not None for q, _ in self.others]
        self.flags += [True] * len(self.body.reads)

        def turn(*given):
            others = {var: x for (_, var), x in zip(self.others, given[:count], strict=True)}
            return self.body.run(others, given[count:], self.yields)

        every = jax.vmap(turn, in_axes=axes, out_axes=0, axis_size=T)
        with without_folding():
            return jax.make_jaxpr(every)(*avals)

    def follow(self, traced, known):
        """Return the sets of the results; None if an index is not known."""
        reads, writes = self.body.reads, self.body.writes
        entering = [self.operands[q] for q, _ in self.others if self.operands[q] is not None]
        shapes = [(self.loop.length, *a.value.aval.shape) for a in reads]
        shapes += [ids.shape for ids in entering]
        ends = np.cumsum([0, *map(math.prod, shapes)])
        inner = self.scope.detection.another(int(ends[-1]))
        numbers = np.split(inner.sets.inputs(-1), ends[1:-1])
        numbers = [x.reshape(shape) for x, shape in zip(numbers, shapes, strict=False)]
        inner.on_trial = True  # dense in all turns together: turns would depend on later ones
        turns = Scope(inner, traced)
        found = turns.run(*self.inputs(numbers, known))
        spots = self.spots(turns)
        if spots is None:
            return None
        carried = [propagate.flatten(ids) for ids in map(self.entering, self.body.moving)]
        outer = np.concatenate([no_sets(0), *carried, *map(propagate.flatten, entering)])
        versions = Versions(self, spots[len(reads) :])
        # Where each input of the inner detection stands among all versions and what enters.
        first = versions.count + versions.starts[-1]
        columns = [versions.before(*pair).ravel() for pair in zip(reads, spots, strict=False)]
        columns = np.concatenate([*columns, first + np.arange(ends[-1] - ends[len(reads)])])
        found = found[len(found) - len(writes) - len(self.yields) :]
        made = self.scope.sets.substitute_sets(
            inner.sets,
            self.values(found),
            columns,
            *versions.older(self.total),
            outer,
            versions.count,
        )
        every = np.concatenate([made[: versions.count], outer])
        out = list(self.operands[self.loop.consts :][: self.loop.carry])
        for k in self.body.moving:
            out[k] = every[versions.last(k)].reshape(self.shape_of[k])
        self.put_off = inner.put_off
        return out + self.yielded(found[len(writes) :], made[versions.count :])

    def entering(self, k):
        """Return the sets of a carried array before the first turn."""
        ids = self.operands[self.loop.consts + k]
        return no_sets(self.shape_of[k]) if ids is None else ids

    @property
    def order(self):
        """The turns in the order in which they run."""
        return slice(None, None, -1 if self.loop.reverse else 1)

    def inputs(self, numbers, known):
        """Return the sets and the known values of the operands of the traced body."""
        reads = len(self.body.reads)
        ids, values, given = [], [], iter(numbers[reads:])
        for q, _ in self.others:
            fixed, value = q < self.loop.consts, known[q]
            part = None if self.operands[q] is None else next(given)
            ids.append(part if fixed or part is None else part[self.order])
            values.append(value if fixed or isinstance(value, Unknown) else value[self.order])
        return [*ids, *numbers[:reads]], [*values, *[UNKNOWN] * reads]

    def spots(self, turns):
        """Return which elements each access concerns in each turn, -1 for none; None if unknown."""
        atoms, out = iter(turns.jaxpr.outvars), []
        for access in (*self.body.reads, *self.body.writes):
            shape = self.shape_of[access.carry]
            count = len(indices_of(access.eqn))
            indices = [index_of(turns, next(atoms), shape) for _ in range(count)]
            if any(x is None for x in indices):
                return None
            found = spots_of(access, shape, indices)
            out.append(
                np.broadcast_to(found.reshape(len(found), -1), (self.loop.length, found[0].size))
            )
        return out

    @property
    def total(self):
        """The number of values that turns make: what they write, and what they yield."""
        return self.loop.length * (self.width + sum(math.prod(x.aval.shape) for x in self.yields))

    def values(self, found):
        """Return the sets of what turns write, turn by turn, and then of what they yield."""
        atoms, T = [*(a.value for a in self.body.writes), *self.yields], self.loop.length
        flat = [
            no_sets((T, math.prod(x.aval.shape))) if ids is None else ids.reshape(T, -1)
            for x, ids in zip(atoms, found, strict=True)
        ]
        count = len(self.body.writes)
        written = np.concatenate([no_sets((T, 0)), *flat[:count]], axis=1)
        return np.concatenate([propagate.flatten(x) for x in (written, *flat[count:])])

    def yielded(self, found, made):
        """Return the sets of what turns yield, in the order of the loop's results."""
        out, begin = [], 0
        for atom, ids in zip(self.yields, found, strict=True):
            shape = (self.loop.length, *atom.aval.shape)
            end = begin + math.prod(shape)
            out.append(None if ids is None else made[begin:end].reshape(shape)[self.order])
            begin = end
        return out


class Versions:
    """The versions of the elements that turns write, in the order in which they are written.

    Attributes
    ----------
    count : int
        Number of versions. The carried arrays that enter the loop are counted behind them.
    starts : ndarray
        Where each carried array begins behind the versions.
    """

    def __init__(self, turns, spots):
        self.width, self.count = turns.width, turns.loop.length * turns.width
        self._carries = list(turns.body.moving)
        sizes = [math.prod(turns.shape_of[k]) for k in self._carries]
        self.starts = np.cumsum([0, *sizes])
        self._writes = turns.body.writes
        self._begins = np.cumsum([0, *(x.shape[1] for x in spots)])
        self._turn = self.width * np.arange(turns.loop.length)[:, None]
        self._spots = [self._among_all(*pair) for pair in zip(self._writes, spots, strict=True)]
        keys = [
            (spot * (self.count + 1) + self._times(w))[spot >= 0]
            for w, spot in enumerate(self._spots)
        ]
        self._keys = np.sort(np.concatenate([np.zeros(0, np.int64), *keys]))

    def _among_all(self, access, spot):
        """Return the places in all carried arrays together."""
        return np.where(spot < 0, -1, spot + self.starts[self._carries.index(access.carry)])

    def _times(self, w):
        """Return the number of each version that a write makes."""
        begin, end = map(int, self._begins[w : w + 2])
        return self._turn + np.arange(begin, end)

    def _latest(self, spot, time):
        """Return the last version of places before a time, or where they enter; -1 for none."""
        key = np.searchsorted(self._keys, spot * (self.count + 1) + time) - 1
        found = self._keys[np.maximum(key, 0)] if self._keys.size else np.full(key.shape, -1)
        place, version = np.divmod(found, self.count + 1)
        version = np.where((key >= 0) & (place == spot), version, self.count + spot)
        return np.where(spot < 0, -1, version)

    def before(self, access, spot):
        """Return the versions that a read finds."""
        own = [w for w, other in enumerate(self._writes) if other.carry == access.carry]
        begin = self._begins[own[access.before]] if access.before < len(own) else self.width
        return self._latest(self._among_all(access, spot), self._turn + begin)

    def older(self, total):
        """Return, as starts and members, the older version that each value contains if any."""
        out = np.full((len(self._turn), self.width), -1)
        for w, access in enumerate(self._writes):
            time = self._times(w)
            found = self._latest(self._spots[w], time)
            # Two elements of one write may go to the same place, in any order.
            counts = access.adds | (found >= time[:, :1]) & (found < time)
            out[:, self._begins[w] : self._begins[w + 1]] = np.where(counts, found, -1)
        starts = np.minimum(np.arange(total + 1), self.count)
        return starts, out.ravel()

    def last(self, k):
        """Return the last versions of all elements of a carried array."""
        begin, end = map(int, self.starts[self._carries.index(k) :][:2])
        return self._latest(np.arange(begin, end), self.count)


def no_sets(shape):
    """Return the sets of values that depend on nothing."""
    return propagate.no_inputs(shape)


def spots_of(access, shape, indices):
    """Return the places in a flat array that each turn uses; one row if all are alike."""
    eqn, every = access.eqn, np.arange(math.prod(shape)).reshape(shape)
    if eqn is None:
        return every[None]
    name, p = eqn.primitive.name, eqn.params
    if name == "slice":
        strides = p["strides"] or (1,) * len(shape)
        pieces = map(slice, p["start_indices"], p["limit_indices"], strides)
        return every[tuple(pieces)][None]
    if name in ("dynamic_slice", "dynamic_update_slice"):
        sizes = access.value.aval.shape
        last = np.array(shape) - np.array(sizes)
        starts = [np.clip(x, 0, n) for x, n in zip(indices, last, strict=True)]
        first = every[tuple(starts)]
        return first.reshape(-1, 1) + every[tuple(map(slice, sizes))].reshape(1, -1)
    return places_of_turns(eqn, shape, indices[0])


def places_of_turns(eqn, shape, indices):
    """Return the `positions` of a gather or scatter with one more axis of indices, the turns."""
    d, p = eqn.params["dimension_numbers"], eqn.params
    if eqn.primitive.name == "gather":
        names = ("offset_dims", "collapsed_slice_dims", "start_index_map", "operand_batching_dims",
                 "start_indices_batching_dims")  # fmt: skip
        sizes = p["slice_sizes"]
    else:
        names = ("update_window_dims", "inserted_window_dims", "scatter_dims_to_operand_dims",
                 "operand_batching_dims", "scatter_indices_batching_dims")  # fmt: skip
        sizes = window_sizes(d, shape, eqn.invars[2].aval.shape)
    offset, collapsed, index_map, batch, index_batch = (getattr(d, name, ()) for name in names)
    return positions(
        shape, indices, sizes, offset=[axis + 1 for axis in offset], collapsed=collapsed,
        index_map=index_map, batch=batch, index_batch=[axis + 1 for axis in index_batch],
        clip=clipped(p["mode"]),
    )  # fmt: skip
