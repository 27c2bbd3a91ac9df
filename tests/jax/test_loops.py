"""Loops that index by their counter: exact patterns, however many turns they make."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sparsechol.jax as scj
from sparsechol.jax._compat import loop_of
from sparsechol.jax._sparsity_rules import loops
from sparsechol.jax._sparsity_rules.nested import Nest

N = 8
ORDER = jnp.array([3, 1, 4, 1, 5, 7, 2, 6])
PAIRS = np.array([[0, 3], [5, 5], [2, 7], [6, 1]])

KEY = jax.random.key(0)


def turns(body, x, count=N - 1, start=0):
    return lax.fori_loop(start, count, body, x)


def two_arrays(x):
    def body(i, state):
        a, b = state
        a = a.at[i].set(b[i + 1] * x[i])
        return a, b.at[i + 1].add(a[i] * a[i - 1])

    return turns(body, (x, 2 * x), start=1)


def nested(x):
    y = x.reshape(2, 4)
    inner = lambda i: lambda j, s: s.at[i, j].set(s[i, j - 1] * y[1 - i, j])  # noqa: E731
    return turns(lambda i, s: lax.fori_loop(1, 4, inner(i), s), y, 2)


def nested_sum(x):
    inner = lambda i: lambda j, s: s + x[i] * x[i + j] ** 2  # noqa: E731
    return turns(lambda i, s: lax.fori_loop(0, 2, inner(i), s), 0.0, N - 2)[None]


def grid(x):
    """Carry an array through both loops."""
    y = x.reshape(2, 4)
    inner = lambda i: lambda j, s: s.at[i, j].set(y[i, j] * y[1 - i, j - 1])  # noqa: E731
    return turns(lambda i, s: lax.fori_loop(1, 4, inner(i), s), jnp.zeros((2, 4)), 2)


def grid_and_sums(x):
    def outer(i, c):
        def inner(j, c):
            s, a = c
            a = a + x[2 * i + j]
            return s.at[i, j].set(a * s[i - 1, j]), a

        s, a = lax.fori_loop(0, 2, inner, (c[0], 0.0))
        return s, c[1].at[i].set(a)

    return lax.fori_loop(0, 4, outer, (x.reshape(4, 2), jnp.zeros(4)))


def grid_with_results(x):
    y = x.reshape(2, 4)

    def outer(s, i):
        def inner(s, j):
            v = s[i, j - 1] * y[i, j]
            return s.at[i, j].set(v), v + y[1 - i, 3 - j]

        return lax.scan(inner, s, jnp.arange(4), reverse=True)

    return lax.scan(outer, y, jnp.arange(2), reverse=True)


def three_loops(x):
    y = x.reshape(2, 4)

    def innermost(i, j):
        return lambda k, s: s.at[i, j].add(s[i, j - 1] * y[(i + k) % 2, j])

    def inner(i):
        return lambda j, s: lax.fori_loop(0, 2, innermost(i, j), s)

    return lax.fori_loop(0, 2, lambda i, s: lax.fori_loop(1, 4, inner(i), s), y)


def swapped(x):
    return turns(lambda i, c: (c[1], c[0].at[i].set(x[i + 1] * c[1][i])), (x, x**2), 4)


def by_parity(x):
    def body(i, y):
        return lax.cond(i % 2 == 0, lambda y: y.at[i].mul(2 * x[i + 1]), lambda y: y, y)

    return turns(body, x)


def with_a_step(x):
    def body(c, _):
        k, y = c
        return ((3 * k + 1) % 7, y.at[k].add(x[k] * x[k + 1])), x[k] ** 2

    (_, y), squares = lax.scan(body, (0, jnp.zeros(N)), None, length=5)
    return y, squares


def state_and_index(x):
    def body(c, i):
        s, y = c
        s = s * 0.5 + x[i]
        return (s, y.at[i].set(s * y[i])), s

    return lax.scan(body, (1.0, x), jnp.arange(4))


LOOPS = {
    "sum": lambda x: turns(lambda i, s: s + (x[i] * x[i + 1]) ** 2, 0.0)[None],
    "set": lambda x: turns(lambda i, y: y.at[i].set(x[i] * x[i + 1]), x),
    "set of zeros": lambda x: turns(lambda i, y: y.at[i].set(x[i] * x[i + 1]), jnp.zeros(N)),
    "one after the other": lambda x: turns(lambda i, y: y.at[i].set(y[i - 1] * x[i]), x, start=1),
    "backwards": lambda x: turns(lambda i, y: y.at[6 - i].add(y[7 - i] * x[i]), x, 5),
    "add": lambda x: turns(lambda i, y: y.at[i + 1].add(x[i] ** 2), jnp.zeros(N)),
    "add twice": lambda x: turns(lambda i, y: y.at[i].add(x[i]).at[i + 1].add(x[i] * y[i]), x),
    "multiply": lambda x: turns(lambda i, y: y.at[i].multiply(x[i + 1]), x),
    "write and read": lambda x: turns(
        lambda i, y: y.at[i].set(x[i] ** 2).at[i + 1].set(y[i] * x[i]), x
    ),
    "overwritten": lambda x: turns(lambda i, y: y.at[i // 2].set(x[i]), x),
    "map": lambda x: lax.map(lambda i: x[i] * x[(i + 2) % N], jnp.arange(N)),
    "map of rows": lambda x: lax.map(lambda i: x.reshape(4, 2)[i] * x[i], jnp.arange(4)),
    "table": lambda x: turns(lambda i, y: y.at[ORDER[i]].add(x[ORDER[i + 1]] * y[i]), x),
    "table of the program": lambda x: turns(
        lambda i, y: y.at[(jnp.arange(N) * 3 % N)[i]].set(x[i] ** 2), x
    ),
    "tables": lambda x: lax.scan(
        lambda y, p: (y.at[p].add(x[p[::-1]] ** 2), x[p] * y[p]), x, jnp.asarray(PAIRS)
    ),
    "reverse": lambda x: lax.scan(
        lambda y, i: (y.at[i].set(y[i + 1] * x[i]), y[i]), x, jnp.arange(N - 1), reverse=True
    ),
    "windows": lambda x: turns(
        lambda i, y: lax.dynamic_update_slice(y, lax.dynamic_slice(y, (i,), (3,)) * x[i], (i + 2,)),
        x,
    ),
    "rows": lambda x: turns(lambda i, y: y.at[i].set(y[i - 1] ** 2), x.reshape(4, 2), 4, 1),
    "columns": lambda x: turns(
        lambda i, y: y.at[:, i].add(y[:, i - 1] ** 2), x.reshape(2, 4), 4, 1
    ),
    "dropped": lambda x: turns(lambda i, y: y.at[2 * i].set(x[i], mode="drop"), x),
    "filled": lambda x: turns(
        lambda i, y: y + x.at[3 * i].get(mode="fill", fill_value=0.0) * x[i], 0.0
    )[None],
    "from the end": lambda x: turns(lambda i, y: y.at[-i].set(x[-i - 1] ** 2), x),
    "checkpoint": lambda x: turns(jax.checkpoint(lambda i, s: s + jnp.sin(x[i] * x[i + 1])), 0.0)[
        None
    ],
    "jit": lambda x: turns(jax.jit(lambda i, y: y.at[i].set(jnp.roll(y, 1)[i] * x[i])), x),
    "whole": lambda x: turns(lambda i, y: (0.5 * y).at[i].add(x[i + 1] * x[i]), x, 4),
    "constants": lambda x: turns(lambda i, y: y.at[i].set(3.0), x**2, 4),
    "batch": lambda x: jax.vmap(lambda z: turns(lambda i, y: y.at[i].set(z[i] * y[i + 1]), z, 3))(
        x.reshape(2, 4)
    ),
    "batch of indices": lambda x: jax.vmap(lambda k: turns(lambda i, s: s + x[i + k] ** 2, 0.0, 3))(
        jnp.arange(3)
    ),
    "two arrays": two_arrays,
    "nested": nested,
    "nested sum": nested_sum,
    "grid": grid,
    "grid and sums": grid_and_sums,
    "grid with results": grid_with_results,
    "three loops": three_loops,
    "swapped": swapped,
    "by parity": by_parity,
    "with a step": with_a_step,
    "state and index": state_and_index,
    "random keys": lambda x: turns(
        lambda i, y: y.at[i].set(x[jax.random.randint(jax.random.fold_in(KEY, i), (), 0, N)]), x
    ),
    "short": lambda x: turns(lambda i, y: y.at[i].set(x[i + 1]), x, 1),
}


def flat(f):
    return lambda x: jnp.concatenate([jnp.ravel(y) for y in jax.tree.leaves(f(x))])


def points():
    rng = np.random.default_rng(3)
    return [jnp.asarray(rng.uniform(0.5, 1.5, N)) for _ in range(2)]


def found(f):
    """Find both patterns, and make sure that nothing has become dense."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", scj.SparsityWarning)
        return (
            scj.jacobian_pattern(f, jnp.ones(N), mode="forward").toarray(),
            scj.jacobian_pattern(f, jnp.ones(N), mode="reverse").toarray(),
            scj.hessian_pattern(lambda x: jnp.sum(flat(f)(x) ** 2), jnp.ones(N)).toarray(),
        )


@pytest.mark.fast_cases(r"^(sum|tables|reverse|nested|grid and sums)$")
@pytest.mark.parametrize("name", LOOPS)
def test_nothing_is_missed_and_no_more_found(name, monkeypatch):
    f = LOOPS[name]
    at_once = found(f)
    jacobian = jax.jit(jax.jacfwd(flat(f)))
    J = np.any([np.asarray(jacobian(x)) != 0 for x in points()], axis=0)
    squares = lambda x: jnp.sum(flat(f)(x) ** 2)  # noqa: E731
    hessian = jax.jit(jax.hessian(squares))
    H = np.any([np.asarray(hessian(x)) != 0 for x in points()], axis=0)
    for P, nonzero in zip(at_once, (J, J, H), strict=True):
        missed = nonzero & (P == 0)
        assert not missed.any(), np.argwhere(missed)
    monkeypatch.setattr(loops, "follow_all_turns", lambda *_: None)
    for P, by_step in zip(at_once, found(f), strict=True):
        np.testing.assert_array_equal(P, by_step)


@pytest.mark.fast_cases(r"^(sum|table|windows|batch|with a step|swapped|random keys)$")
@pytest.mark.parametrize("name", LOOPS)
def test_all_turns_at_once(name, monkeypatch):
    """No loop is followed turn by turn."""
    monkeypatch.setattr(loops, "is_short", lambda loop: False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", scj.SparsityWarning)
        scj.jacobian_pattern(LOOPS[name], jnp.ones(N))


@pytest.mark.parametrize("f", [grid, grid_and_sums, grid_with_results])
def test_two_loops_as_one(f):
    """The program that is followed in place of a loop in a loop computes the same."""
    x = points()[0]
    [eqn] = [e for e in jax.make_jaxpr(f)(x).eqns if e.primitive.name == "scan"]
    nest = Nest(loop_of(eqn))
    assert nest.shared
    rng = np.random.default_rng(4)
    operands = [
        jnp.asarray(rng.uniform(0.5, 1.5, a.aval.shape))
        if a.aval.dtype.kind == "f"
        else jnp.arange(math.prod(a.aval.shape)).reshape(a.aval.shape)
        for a in eqn.invars
    ]
    for y, wanted in zip(nest(*operands), eqn.primitive.bind(*operands, **eqn.params), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-14)


def test_the_counter_after_a_loop():
    """A loop that only carries has the shapes of its body, and is more than one turn."""

    def f(x):
        turn = lambda c, _: ((c[0] + 1, c[1] * x[0]), None)  # noqa: E731
        return x[lax.scan(turn, (0, 1.0), None, length=5)[0][0]]

    P = scj.jacobian_pattern(f, jnp.ones(N), mode="forward")
    np.testing.assert_array_equal(P.toarray(), np.eye(1, N, 5))


def chain(x):
    return lax.fori_loop(0, len(x) - 1, lambda i, s: s + (x[i] * x[i + 1]) ** 2, 0.0)


def test_long_loops():
    n = 50_000
    assert scj.hessian_pattern(chain, jnp.ones(n)).nnz == 3 * n - 2
    recurrent = lambda x: turns(lambda i, y: y.at[i].set(x[i] + y[0] * x[i - 1]), x, n, 1)  # noqa: E731
    assert scj.jacobian_pattern(recurrent, jnp.ones(n)).nnz == 3 * n - 3


def test_long_loops_in_loops():
    m = 100

    def f(x):
        y = x.reshape(m, m)
        inner = lambda i: lambda j, s: s.at[i, j].set(y[i, j] * y[i - 1, j] * y[i, j - 1])  # noqa: E731
        outer = lambda i, s: lax.fori_loop(1, m, inner(i), s)  # noqa: E731
        return lax.fori_loop(1, m, outer, jnp.zeros((m, m)))

    for mode in ("forward", "reverse"):
        assert scj.jacobian_pattern(f, jnp.ones(m * m), mode=mode).nnz == 3 * (m - 1) ** 2


def test_a_loop_that_is_not_known_before_it_runs(monkeypatch):
    """An index depends on the point: dense with a warning that names the line."""
    x = jnp.ones(N)
    f = lambda x: turns(lambda i, y: y.at[jnp.int32(y[i]) % N].set(x[i]), x)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error", scj.SparsityWarning)
        scj.jacobian_pattern(f, x)
    monkeypatch.setattr(loops, "is_short", lambda loop: False)
    with pytest.warns(scj.SparsityWarning, match=r"'scan' is too long.*test_loops\.py:\d+"):
        P = scj.jacobian_pattern(f, x)
    assert P.nnz == N * N
    with pytest.raises(NotImplementedError, match=r"test_loops\.py:\d+"):
        scj.jacobian_pattern(f, x, on_unknown="raise")


def test_unknown_operations_in_a_loop():
    """What becomes dense in one turn does not depend on others."""

    @jax.custom_jvp
    def doubled(x):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda x: 2 * np.asarray(x), like, x, vmap_method="sequential")

    doubled.defjvp(lambda p, t: (doubled(*p), doubled(*t)))
    f = lambda x: lax.map(lambda i: doubled(lax.dynamic_slice(x, (i,), (2,))), jnp.arange(N - 1))  # noqa: E731
    with pytest.warns(scj.SparsityWarning, match=r"'pure_callback' has no .*test_loops\.py:\d+"):
        P = scj.jacobian_pattern(f, jnp.ones(N))
    assert P.nnz == 4 * (N - 1)


def test_lineax_and_equinox():
    lx = pytest.importorskip("lineax")

    def f(x):
        operator = lx.DiagonalLinearOperator(2 + x)
        return lx.linear_solve(operator, x**2).value

    for mode in ("forward", "reverse"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", scj.SparsityWarning)
            assert scj.jacobian_pattern(f, jnp.ones(N), mode=mode).nnz == N


@pytest.mark.slow
def test_optimistix():
    """Implicit derivatives solve with operators that are functions."""
    optx = pytest.importorskip("optimistix")

    def f(x):
        solver = optx.Newton(1e-6, 1e-6)
        return optx.root_find(lambda y, a: y**2 - a, solver, jnp.ones(N), x).value

    for mode in ("forward", "reverse"):
        np.testing.assert_array_equal(
            scj.jacobian_pattern(f, jnp.ones(N), mode=mode).toarray(), np.eye(N)
        )


@pytest.mark.slow
def test_diffrax():
    dfx = pytest.importorskip("diffrax")

    def f(x, adjoint):
        term = dfx.ODETerm(lambda t, y, a: -(y**2))
        return dfx.diffeqsolve(
            term, dfx.Tsit5(), 0.0, 1.0, 0.1, x, max_steps=16, adjoint=adjoint
        ).ys[0]

    for adjoint in (dfx.RecursiveCheckpointAdjoint(), dfx.DirectAdjoint(), dfx.ForwardMode()):
        P = scj.jacobian_pattern(lambda x, a=adjoint: f(x, a), jnp.ones(N))
        np.testing.assert_array_equal(P.toarray(), np.eye(N))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_diffrax_implicit(mode):
    """Each turn solves systems, whose matrix is carried through the loop."""
    dfx = pytest.importorskip("diffrax")

    def f(x):
        term = dfx.ODETerm(lambda t, y, a: -(y**2) + jnp.concatenate([y[:1] * y[1:2], y[1:] * 0]))
        return dfx.diffeqsolve(
            term, dfx.Kvaerno3(), 0.0, 0.5, 0.1, x, max_steps=16, adjoint=dfx.DirectAdjoint(),
            stepsize_controller=dfx.PIDController(rtol=1e-3, atol=1e-4),
        ).ys[0]  # fmt: skip

    P = scj.jacobian_pattern(f, jnp.ones(N), mode=mode)
    J = np.asarray(jax.jit(jax.jacrev(f))(jnp.linspace(0.5, 1.5, N)))
    assert not ((J != 0) & (P.toarray() == 0)).any()
    assert P.nnz == N + 2  # the two equations that are coupled are one block
