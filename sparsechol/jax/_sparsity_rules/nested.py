"""Write a loop in a loop as one loop, where the inner one carries arrays of the outer one.

    for i in range(m):                       for t in range(m * n):
        for j in range(n):           ->          i, j = divmod(t, n)
            y[i, j] = f(y[i, j - 1])             y[i, j] = f(y[i, j - 1])

What the outer body does before the inner loop is done in each turn, and what it does after counts
in the last one. Values that only the inner loop carries begin anew in the first one. The sparsity
of the new program is that of the old one; `all_turns` follows it.
"""

import jax
import jax.numpy as jnp
from jax.core import eval_jaxpr
from jax.extend.core import Literal

from .._compat import bound, loop_of, without_folding
from .._fold import attempt
from .._walk import Doubtful
from .all_turns import ADDS, inlined, like


def follow_nested(scope, eqn, operands, loop):
    """Return the sets of the results of a loop in a loop; None if it cannot be written as one."""
    nest = attempt(Nest, loop)
    if nest is None or not (nest.shared or nest.added):
        return None
    with without_folding():
        program = attempt(jax.make_jaxpr(nest), *(like(atom.aval) for atom in eqn.invars))
    if program is None:
        return None
    detection = scope.detection
    before = detection.on_trial, detection.flat
    detection.on_trial, detection.flat = True, True
    outer, detection.put_off = detection.put_off, []
    try:
        found = scope.call(program, eqn.invars, operands)
    except Doubtful:
        return None
    finally:
        detection.on_trial, detection.flat = before
        put_off, detection.put_off = detection.put_off, outer
    detection.succeed(put_off, eqn)
    return found


class Nest:
    """A loop whose body has one inner loop, as a function that runs both as one.

    Attributes
    ----------
    shared : dict
        Values that the inner loop carries, and the values of the outer loop that they are.
    added : dict
        Values that begin with zero in the inner loop, and the values of the outer loop that they
        are added to behind it.
    """

    def __init__(self, loop):
        closed = inlined(loop.jaxpr)
        self.outer, self.jaxpr, self.consts = loop, closed.jaxpr, closed.consts
        [place] = [k for k, eqn in enumerate(self.jaxpr.eqns) if eqn.primitive.name == "scan"]
        self.before, self.eqn = self.jaxpr.eqns[:place], self.jaxpr.eqns[place]
        self.after = self.jaxpr.eqns[place + 1 :]
        self.inner = loop_of(self.eqn)
        self.body = inlined(self.inner.jaxpr)
        nc, nk = loop.consts, loop.carry
        self.carried = self.jaxpr.invars[nc : nc + nk]
        self.results = self.jaxpr.outvars[:nk]
        begin = self.inner.consts
        self.starts = self.eqn.invars[begin : begin + self.inner.carry]
        self.shared, self.added = {}, {}
        for k, start in enumerate(self.starts):
            for q, (atom, result) in enumerate(zip(self.carried, self.results, strict=True)):
                if start is atom and result is self.eqn.outvars[k] and self._uses(atom) == 1:
                    self.shared[k] = q
                elif self._is_added(k, atom, result):
                    self.added[k] = q
        sums = [self.results[q] for q in self.added.values()]
        self.after = [eqn for eqn in self.after if not any(x in sums for x in eqn.outvars)]

    def _uses(self, atom):
        """Return how often the outer body uses a variable."""
        every = [x for eqn in self.jaxpr.eqns for x in eqn.invars] + self.jaxpr.outvars
        return sum(x is atom for x in every)

    def _is_added(self, k, atom, result):
        """Tell whether a value is a sum that begins with zero, and is added to a carried one."""
        own, start = self.eqn.outvars[k], self.starts[k]
        sums = [e for e in self.after if e.primitive.name in ("add", "add_any")]
        if not any(
            {*eqn.invars} == {atom, own} and eqn.outvars[0] is result
            for eqn in sums
            if not any(isinstance(x, Literal) for x in eqn.invars)
        ):
            return False
        zero = any(
            eqn.outvars[0] is start
            and eqn.primitive.name == "broadcast_in_dim"
            and isinstance(eqn.invars[0], Literal)
            and eqn.invars[0].val == 0
            for eqn in self.before
            if eqn.outvars
        ) or (isinstance(start, Literal) and start.val == 0)
        return zero and self._uses(own) == 1 and self._uses(atom) == 1 and self._only_adds(k)

    def _only_adds(self, k):
        """Tell whether the inner body does nothing but add to a value that it carries."""
        plain = self.body.jaxpr
        start, atom = plain.invars[self.inner.consts + k], plain.outvars[k]
        uses = [eqn for eqn in plain.eqns if any(x is start for x in eqn.invars)]
        makers = {var: eqn for eqn in plain.eqns for var in eqn.outvars}
        if len(uses) > 1 or sum(x is start for x in plain.outvars) + len(uses) > 1:
            return False
        while atom is not start:
            eqn = None if isinstance(atom, Literal) else makers.get(atom)
            if eqn is None:
                return False
            if eqn.primitive.name in ADDS:
                atom = eqn.invars[0]
            elif eqn.primitive.name in ("add", "add_any"):
                a, b = eqn.invars
                atom = a if self._leads_to(a, start, makers) else b
            else:
                return False
        return True

    @staticmethod
    def _leads_to(atom, start, makers):
        """Tell whether a value is made of another one by sums."""
        while not isinstance(atom, Literal) and atom is not start:
            eqn = makers.get(atom)
            if eqn is None or eqn.primitive.name not in ("add", "add_any", *ADDS):
                return False
            atom = eqn.invars[0]
        return atom is start

    # ---- the program ----

    def __call__(self, *operands):
        """Run both loops as one."""
        loop, inner = self.outer, self.inner
        nc, nk, T = loop.consts, loop.carry, inner.length
        self.fixed, state, self.steps = operands[:nc], operands[nc : nc + nk], operands[nc + nk :]
        own = [jnp.zeros(x.aval.shape, x.aval.dtype) for x in self.starts]
        made = [jnp.zeros(x.aval.shape, x.aval.dtype) for x in self.eqn.outvars[inner.carry :]]
        through = [self._turned(self.steps[q]) for q in self._through.values()]
        turns = loop.length * T
        (_, state, _, _), yields = jax.lax.scan(
            self._turn, (0, list(state), own, made), through, turns
        )
        out = []
        for y, direct in zip(yields, self._yields_of_inner, strict=True):
            y = y.reshape(loop.length, T, *y.shape[1:])
            y = y[::-1] if loop.reverse else y
            if direct is None:
                y = y[:, -1]
            elif inner.reverse:
                y = y[:, ::-1]
            out.append(y)
        return [*state, *out]

    @property
    def _through(self):
        """Inputs of the inner loop that are inputs of the outer one, and used for nothing else."""
        nc, nk = self.outer.consts, self.outer.carry
        first = self.inner.consts + self.inner.carry
        inputs = {var: q for q, var in enumerate(self.jaxpr.invars[nc + nk :])}
        return {
            k: inputs[atom]
            for k, atom in enumerate(self.eqn.invars[first:])
            if not isinstance(atom, Literal) and atom in inputs
        }

    @property
    def _yields_of_inner(self):
        """For each result that the outer loop stacks: which one of the inner loop it is, if any."""
        own = {var: k for k, var in enumerate(self.eqn.outvars[self.inner.carry :])}
        rest = self.jaxpr.outvars[self.outer.carry :]
        return [None if isinstance(x, Literal) else own.get(x) for x in rest]

    def _turned(self, x):
        """Return the inputs of all turns in the order in which they run."""
        x = x[::-1] if self.outer.reverse else x
        x = x[:, ::-1] if self.inner.reverse else x
        return x.reshape(-1, *x.shape[2:])

    def _turn(self, carry, through):
        t, state, own, made = carry
        loop, inner = self.outer, self.inner
        i, j = t // inner.length, t % inner.length
        first, last = j == 0, j == inner.length - 1
        i = loop.length - 1 - i if loop.reverse else i
        j = inner.length - 1 - j if inner.reverse else j
        values = dict(zip(self.jaxpr.constvars, self.consts, strict=True))
        given = [*self.fixed, *state, *(x[i] for x in self.steps)]
        values.update(zip(self.jaxpr.invars, given, strict=True))
        self._evaluate(self.before, values)
        every = [*map(values_of(values), self.eqn.invars)]
        fixed, start = every[: inner.consts], every[inner.consts :][: inner.carry]
        ordered = dict(zip(self._through, through, strict=True))
        here = [
            ordered[k] if k in ordered else x[j]
            for k, x in enumerate(every[inner.consts + inner.carry :])
        ]
        outer = {**self.shared, **self.added}
        begin = [
            state[outer[k]] if k in outer else jnp.where(first, x, own[k])
            for k, x in enumerate(start)
        ]
        out = eval_jaxpr(self.body.jaxpr, self.body.consts, *fixed, *begin, *here)
        own, yields = out[: inner.carry], out[inner.carry :]
        used = [self._uses(x) > (k in self._yields_of_inner)
                for k, x in enumerate(self.eqn.outvars[inner.carry :])]  # fmt: skip
        made = [
            b.at[j].set(y) if flag else b for b, y, flag in zip(made, yields, used, strict=True)
        ]
        values.update(zip(self.eqn.outvars, [*own, *made], strict=True))
        values.update((self.results[q], own[k]) for k, q in outer.items())
        self._evaluate(self.after, values)
        results = [*map(values_of(values), self.jaxpr.outvars)]
        kept = {*outer.values(), *(q for q, x in enumerate(self.carried) if self.results[q] is x)}
        following = [
            results[q] if q in kept else jnp.where(last, results[q], state[q])
            for q in range(loop.carry)
        ]
        stacked = [
            y if k is None else yields[k]
            for y, k in zip(results[loop.carry :], self._yields_of_inner, strict=True)
        ]
        own = [jnp.zeros_like(x) if k in outer else x for k, x in enumerate(own)]
        return (t + 1, following, own, made), stacked

    @staticmethod
    def _evaluate(eqns, values):
        for eqn in eqns:
            out = bound(eqn, [*map(values_of(values), eqn.invars)])
            values.update(zip(eqn.outvars, out, strict=True))


def values_of(values):
    """Return a function that reads variables and literals."""
    return lambda atom: atom.val if isinstance(atom, Literal) else values[atom]
