"""Scalar equations by template: values, patterns, what one template is, and when it is chosen."""

import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from pytensor.compile.mode import Mode
from pytensor.gradient import disconnected_grad
from pytensor.graph.replace import clone_replace, vectorize_graph

from sparsechol.coloring import Coloring, Templates
from sparsechol.pytensor import (
    by_templates,
    hessian_pattern,
    jacobian_pattern,
    positions,
    sparse_hessian,
    sparse_jacobian,
)
from support.equation_systems import (
    SYSTEMS,
    random_system,
    separable_hessian,
    separable_terms,
    three_forms,
)
from support.pytensor_sparsity_battery import PYTHON

N = 12
x = pt.vector("x", shape=(N,))
POINT = np.random.default_rng(5).uniform(0.5, 1.5, N)


PLAIN = Mode(linker="py", optimizer=None)  # the Python of an Op takes at most 32 operands


def run(inputs, outputs, points, mode=PYTHON):
    return pytensor.function(inputs, outputs, mode=mode, on_unused_input="ignore")(*points)


def dense(expr, wrt=x):
    """The Jacobian, from a gradient for each row."""
    rows = [expr.ravel()[k] for k in range(int(np.prod(expr.type.shape)))]
    return pt.stack([pytensor.grad(row, wrt, disconnected_inputs="ignore") for row in rows])


def matrix(values, how):
    A = how.sparsity
    return sp.csc_array((values, A.indices, A.indptr), A.shape).toarray()


def check(expr, wrt=x, point=POINT, wanted=None, mode="templates"):
    """Compare with a dense Jacobian and with the pattern that is found otherwise."""
    values, how = sparse_jacobian(expr, wrt, mode=mode, format="values")
    if wanted is None:
        wanted = run([wrt], dense(expr, wrt), [point])
    got = run([wrt], values, [point])
    np.testing.assert_allclose(matrix(got, how), wanted, rtol=1e-12, atol=1e-13)
    wider = jacobian_pattern(expr, wrt).toarray()
    assert not ((how.sparsity.toarray() != 0) & (wider == 0)).any()
    assert how.sparsity.has_sorted_indices
    check_values(expr, wrt, point)
    return how


def check_values(expr, wrt, point, same=None):
    """Compare the values by templates, and their gradient, with those of the same expression."""
    found = by_templates(expr, wrt)
    assert found.type.shape == expr.type.shape
    assert found.type.dtype == expr.type.dtype
    weights = np.cos(np.arange(int(np.prod(expr.type.shape))))
    results = []
    for y in (found, expr if same is None else same):
        weighted = (y.ravel() * weights).sum()
        results += [y, pytensor.grad(weighted, wrt, disconnected_inputs="ignore")]
    got, slope, wanted, wanted_slope = run([wrt], results, [point], PLAIN)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(slope, wanted_slope, rtol=1e-11, atol=1e-12)


def complex_steps(system, point):
    """The Jacobian of a system of analytic functions in NumPy, to rounding."""
    columns = []
    for k in range(len(point)):
        z = point.astype(complex)
        z[k] += 1e-30j
        columns.append(np.imag(np.array(system(np, list(z)), complex)) / 1e-30)
    return np.stack(columns, axis=1)


# ---- systems ----


@pytest.mark.fast_cases("power.*|pollution")
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_of_the_literature(name):
    system, n = SYSTEMS[name]
    z = pt.vector("z", shape=(n,))
    point = np.random.default_rng(1).uniform(0.9, 1.2, n)
    point[2:40:13] = 0.3  # capital, of which habits are a part
    expr = pt.stack(system(pt, [z[k] for k in range(n)]))
    check(expr, z, point, complex_steps(system, point))


@pytest.mark.fast_cases("1")
@pytest.mark.parametrize("seed", range(8))
def test_random_systems(seed):
    rng = np.random.default_rng(seed)
    expr = pt.stack(random_system(pt, [x[k] for k in range(N)], rng))
    check(expr)


def test_a_loop_makes_as_many_templates_as_forms():
    n = 90
    z = pt.vector("z", shape=(n,))
    expr = pt.stack(three_forms(pt, [z[k] for k in range(n)], n))
    point = np.random.default_rng(0).uniform(0.5, 1.5, n)
    wanted = complex_steps(lambda m, v: three_forms(m, v, n), point)
    how = check(expr, z, point, wanted, "auto")
    assert how.equations == (30, 30, 30)  # also where two of the unknowns are the same
    assert how.num_colors == 0


# ---- ways to join ----

S = [x[k] * pt.exp(x[(k + 1) % N]) for k in range(6)]
JOINS = {
    "stack": lambda: pt.stack(S),
    "concatenate": lambda: pt.concatenate([s[None] for s in S]),
    "matrix": lambda: pt.stack([pt.stack(S[:3]), pt.stack(S[3:])], axis=1).T,
    "reshape": lambda: pt.stack(S).reshape((2, 3))[::-1],
    "index": lambda: pt.stack(S)[np.array([4, 4, 0])],
    "writes": lambda: pt.zeros(8)[1].set(S[0])[5].set(S[1])[1].set(S[2]),
    "writes of a slice": lambda: pt.zeros(8)[2:4].set(pt.stack(S[:2])),
    "leaves": lambda: pt.stack([x[0], x[3], pt.constant(2.0), S[0], -x[1]]),
    "elementwise": lambda: 2 * pt.stack(S) - pt.stack(S[::-1]) * np.arange(6.0),
    "row sums": lambda: pt.stack([pt.stack(S[:3]), pt.stack(S[3:])]).sum(axis=1),
    "scalar": lambda: S[0] + S[1],
    "twice": lambda: pt.stack([S[0], S[0], 2 * S[0]]),
    "mixed": lambda: pt.concatenate([pt.stack(S[:2]), x[1:] ** 2 * x[:-1], S[2][None]]),
    "element of a vectorized part": lambda: pt.stack([(x**2)[3] * x[0], pt.exp(x)[2], S[1]]),
    "all of it": lambda: pt.stack([s / x.sum() for s in S]),
    "sum in a loop": lambda: pt.stack([s / sum(x[k] for k in range(4)) for s in S[:3]]),
    "a product": lambda: pt.stack([pt.dot(x, np.arange(N)) * S[0], S[1]]),
}


@pytest.mark.fast_cases(
    "stack|matrix|index|writes.*|leaves|row sums|scalar|twice|element of .*|a product"
)
@pytest.mark.parametrize("name", JOINS)
def test_joins(name):
    check(JOINS[name]())


def test_a_long_sum_that_many_use_is_computed_once():
    n = 80
    z = pt.vector("z", shape=(n,))
    total = sum(z[k] ** 2 for k in range(n))
    expr = pt.stack([z[k] / total for k in range(n)])
    point = np.linspace(0.5, 1, n)
    s = (point**2).sum()
    how = check(expr, z, point, np.eye(n) / s - 2 * np.outer(point, point) / s**2)
    assert how.equations == (n,)


def test_steps_that_share_everything_are_not_taken_apart():
    y, found = x[0], []
    for k in range(400):
        y = pt.sin(y) * x[k % N] + x[(k + 1) % N] * y
        found.append(y)
    with pytest.raises(ValueError, match="share too much"):
        sparse_jacobian(pt.stack(found), x, mode="templates")


# ---- what one template is ----


def forms(*equations):
    return sparse_jacobian(pt.stack(equations), x, mode="templates", format="values")[1].equations


def test_what_one_template_is():
    p, q = pt.vector("p", shape=(4,)), pt.vector("q")
    a, b = pt.scalars("ab")
    sin = pt.sin
    one = (
        (x[0] * 2.5, x[3] * -1.5),  # constants are data
        (p[1] * x[0], p[2] * x[1]),
        (q[1] * x[0], q[2] * x[1]),
        (a * x[0], b * x[1]),
        (x[0] * 2.5 + x[1] * 2.5, x[0] * 2.5 + x[1] * 3.5),
        (x[0] * x[1], x[1] * x[0]),
    )
    for pair in one:
        assert forms(*(sin(e) for e in pair)) == (2,), pair
    two = (
        (x[0] ** 2.5, x[1] ** 3.5),  # exponents count by value
        (x[0] ** 2, x[1] ** 3),
        (x[0] * 0.0 + x[1], x[0] * 1.5 + x[1]),  # and zeros
        (p[1] * x[0], q[1] * x[0]),
        (x[0] * x[0], x[0] * x[1]),
        (a * x[0], x[1] * x[0]),
        (x[0].astype("float32") * x[1], x[0] * x[1]),
        (sin(x[0]), pt.cos(x[0])),
    )
    for pair in two:
        assert forms(*(sin(e) for e in pair)) == (1, 1), pair


@pytest.mark.parametrize("name", ["mixed", "all of it", "a product"])
def test_second_derivatives_through_what_is_not_taken_apart(name):
    """Loops read arrays that depend on the unknowns, which they read as well."""
    expr = JOINS[name]()
    values, how = sparse_jacobian(expr, x, mode="templates", format="values")
    weights = np.cos(np.arange(how.sparsity.nnz))
    entries = dense(expr)[how.sparsity.tocoo().coords]
    found = [pytensor.grad((y * weights).sum(), x) for y in (values, entries)]
    got, wanted = run([x], found, [POINT], PLAIN)
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.slow
def test_parameters():
    p, q, m = pt.vector("p", shape=(4,)), pt.vector("q"), pt.matrix("m")
    a, b = pt.scalars("ab")
    c = np.linspace(1, 2, N)
    equations = [
        p[k % 4] * x[k] + q[k % 3] * x[k - 1] ** 2 + (a, b)[k % 2] * pt.exp(m[k % 2, 1] * x[k])
        + pt.constant(c)[k] * x[k - 5] + pt.exp(p)[1] * x[k - 7]
        for k in range(N)
    ]  # fmt: skip
    values, how = sparse_jacobian(pt.stack(equations), x, mode="templates", format="values")
    assert len(how.equations) < N
    others = [p, q, m, a, b]
    at = [np.arange(4.0), np.arange(3.0), np.arange(4.0).reshape(2, 2), 0.5, -0.7]
    wanted = dense(pt.stack(equations))
    got, wanted = run([x, *others], [values, wanted], [POINT, *at], PLAIN)
    np.testing.assert_allclose(matrix(got, how), wanted, rtol=1e-12)
    # Parameters have derivatives.
    gradients = pytensor.grad((values**2).sum(), others)
    wanted = pytensor.grad((dense(pt.stack(equations)) ** 2).sum(), others)
    found = run([x, *others], [*gradients, *wanted], [POINT, *at], PLAIN)
    for g, w in zip(found[:5], found[5:], strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-12)


def test_derivatives_that_are_cut_off():
    frozen = pt.stack([disconnected_grad(x[k] ** 2) * x[k + 1] for k in range(4)])
    how = check(frozen)
    assert how.sparsity.nnz == 4
    steps = pt.stack(
        [pt.floor(x[k]) * x[k + 1] + pt.switch(x[k] > 1, x[k + 2], 3.0) for k in range(4)]
    )
    assert check(steps).sparsity.nnz == 8


def test_types():
    z = pt.vector("z", shape=(4,), dtype="float32")
    expr = pt.stack([z[k] * x[k] + z[k - 1] ** 2 for k in range(4)])
    values, how = sparse_jacobian(expr, [z, x], mode="templates", format="values")
    assert values.type.dtype == "float64"
    only = sparse_jacobian(pt.stack([z[0] ** 2, z[1] ** 2]), z, mode="templates", format="values")
    assert only[0].type.dtype == "float32"
    point = POINT[:4].astype(np.float32)
    got = matrix(run([z, x], values, [point, POINT]), how)
    wanted = np.zeros((4, 4 + N))
    for k in range(4):
        wanted[k, k] += POINT[k]
        wanted[k, k - 1 if k else 3] += 2 * point[k - 1]
        wanted[k, 4 + k] += point[k]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


# ---- results ----


@pytest.mark.slow
def test_derivatives_of_every_order():
    expr = pt.stack(three_forms(pt, [x[k] for k in range(N)], N)[:4])
    values, how = sparse_jacobian(expr, x, mode="templates", format="values")
    J = pt.zeros(how.sparsity.shape)[how.sparsity.tocoo().coords].set(values)
    weights = np.cos(np.arange(4 * N)).reshape(4, N)
    costs = [pt.sin(M * weights).sum() for M in (J, dense(expr))]
    g, g_true = (pytensor.grad(cost, x) for cost in costs)
    h, h_true = (pytensor.grad(pt.sin(y).sum(), x) for y in (g, g_true))
    got, wanted, got2, wanted2 = run([x], [g, g_true, h, h_true], [POINT])
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got2, wanted2, rtol=1e-9, atol=1e-11)


@pytest.mark.fast_cases("csr-templates|csc-auto")
@pytest.mark.parametrize("mode", ["templates", "auto"])
@pytest.mark.parametrize("name", ["csc", "csr", "dense"])
def test_formats_and_static_shapes(name, mode):
    expr = pt.stack(S)
    J = sparse_jacobian(expr, x, mode=mode, format=name)
    assert J.type.shape == (6, N)
    found = run([x], J, [POINT])
    found = found if name == "dense" else found.toarray()
    np.testing.assert_allclose(found, run([x], dense(expr), [POINT]), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
# Numba said once that it cannot keep the program on disk, why is not known. Values count here.
@pytest.mark.filterwarnings("ignore:Cannot cache compiled function")
@pytest.mark.parametrize("mode", ["CVM", "NUMBA", "JAX"])
def test_backends(mode):
    values, _ = sparse_jacobian(JOINS["mixed"](), x, mode="templates", format="values")
    got, wanted = (run([x], values, [POINT], m) for m in (mode, PYTHON))
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def varied(x, p, a):
    """Equations of many kinds: often and once, with parameters of all members and of each."""
    often = [p[k % 4] * x[k] ** 2 - pt.exp(a * x[k - 1]) + 0.5 * k * x[k - 2] for k in range(N)]
    rare = [pt.sin(x[0] * a) / x[1], x[2] * x[3] + 2.5, 3.0 * x[4] - p[0], pt.log1p(x[0]) ** 3]
    long = sum((-1.0) ** k * 1.5 * x[k] ** 3 for k in range(2, N)) + x[0] * x[1]
    return [*often, *rare, long, 2 * long]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Cannot cache compiled function")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_loops_of_numba(dtype):
    """Loops are compiled; for other backends they are written out as a graph of vectors."""
    z, p = pt.vector("z", dtype=dtype, shape=(N,)), pt.vector("p", dtype=dtype)
    a = pt.scalar("a", dtype=dtype)
    expr = pt.stack(varied(z, p, a)).astype(dtype)
    values, how = sparse_jacobian(expr, z, mode="templates", format="values")
    hessian, _ = sparse_hessian(expr.sum(), z, format="values")
    inputs = [z, p, a]
    at = [POINT.astype(dtype), np.arange(1, 5, dtype=dtype), np.asarray(0.7, dtype)]
    f = pytensor.function(inputs, [values, hessian], mode="NUMBA")
    kinds = [type(node.op).__name__ for node in f.maker.fgraph.toposort()]
    assert kinds.count("Loops") == 2
    rtol = 1e-12 if dtype == "float64" else 2e-5
    for got, wanted in zip(f(*at), run(inputs, [values, hessian], at, PLAIN), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=rtol)
    wanted = dense(expr, z)
    np.testing.assert_allclose(
        matrix(f(*at)[0], how), run(inputs, wanted, at, PLAIN), rtol=rtol, atol=rtol / 100
    )


@pytest.mark.parametrize(
    "mode", ["FAST_COMPILE", pytest.param("NUMBA", marks=pytest.mark.slow)]
)  # fmt: skip
def test_in_a_loop_and_for_batches(mode):
    """A graph with templates in a scan, stacked, copied and pickled."""
    values, how = sparse_jacobian(pt.stack(S), x, mode="templates", format="values")
    total = (values**2).sum()

    def step(y, *others):
        return y + 0.1 * clone_replace(total, {x: y})

    last = pytensor.scan(step, outputs_info=[x], n_steps=2, return_updates=False)[-1]
    ys = pt.matrix("ys", shape=(2, N))
    stacked = vectorize_graph(values, {x: ys})
    _, last, stacked, z, ys = pickle.loads(pickle.dumps((how, last, stacked, x, ys)))
    found, both = pytensor.function([z, ys], [last, stacked], mode=mode)(POINT, [POINT, POINT + 1])
    at = lambda y: run([x], values, [y])  # noqa: E731
    y = POINT + 0.1 * (at(POINT) ** 2).sum()
    np.testing.assert_allclose(found, y + 0.1 * (at(y) ** 2).sum(), rtol=1e-12)
    np.testing.assert_allclose(both, [at(POINT), at(POINT + 1)], rtol=1e-12)


@pytest.mark.slow
def test_loops_of_numba_do_not_read_behind_an_array():
    y = pt.vector("y")
    values, _ = sparse_jacobian(pt.stack(S), x, mode="templates", format="values")
    other = clone_replace(values, {x: y}, rebuild_strict=False)
    f = pytensor.function([y], other, mode="NUMBA")
    np.testing.assert_allclose(f(POINT), run([x], values, [POINT]))
    with pytest.raises(ValueError, match="shorter"):
        f(POINT[:3])


def test_lists_of_equations_and_named_variables():
    names = "abcd"
    v = [pt.scalar(name) for name in names]
    a, b, c, d = v
    equations = [a * b - 1, pt.exp(c) + d, a + b + c + d**2]
    J = sparse_jacobian(equations, v)
    assert J.type.shape == (3, 4)
    at = [0.5, 1.5, 0.2, 0.7]
    wanted = [[1.5, 0.5, 0, 0], [0, 0, np.exp(0.2), 1], [1, 1, 1, 1.4]]
    np.testing.assert_allclose(run(v, J, at).toarray(), wanted)
    for mode in ("templates", "forward", "reverse"):
        J = sparse_jacobian(equations, v, mode=mode, format="dense")
        np.testing.assert_allclose(run(v, J, at), wanted)
    np.testing.assert_array_equal(jacobian_pattern(equations, v).toarray(), np.array(wanted) != 0)


# ---- the choice ----


def test_what_is_vectorized_keeps_its_colors():
    for expr in (x[1:] * x[:-1], pt.concatenate([x[:1] - 1, x[1:] * x[:-1], (x[-1] ** 2)[None]])):
        _, how = sparse_jacobian(expr, x, format="values")
        assert isinstance(how, Coloring)
        assert how.num_colors == 2
        assert how.how == "2 products with columns"


def test_few_equations_are_templates_unless_products_are_needed_anyway():
    few = three_forms(pt, [x[k] for k in range(N)], N)[:5]
    for beside, kind in (([], Templates), ([x[1:] * x[:-1]], Coloring)):
        expr = pt.concatenate([pt.stack(few), *beside])
        assert isinstance(sparse_jacobian(expr, x, format="values")[1], kind)
    for beside, kind in ((0, Templates), ((x[1:] ** 2 * x[:-1]).sum(), Coloring)):
        assert isinstance(sparse_hessian(sum(few) + beside, x, format="values")[1], kind)


def test_how():
    n = 40
    z = pt.vector("z", shape=(n,))
    expr = pt.stack(three_forms(pt, [z[k] for k in range(n)], n))
    _, how = sparse_jacobian(pt.concatenate([expr, z[1:] * z[:-1]]), z, format="values")
    assert isinstance(how, Templates)
    assert how.num_colors == 2
    assert "templates of" in how.how
    assert how.how.endswith("2 products with columns")
    assert repr(how).startswith(f"<Templates of shape ({2 * n - 1}, {n})")


def test_a_sparsity_is_for_colors():
    with pytest.raises(ValueError, match="pass no sparsity"):
        sparse_jacobian(x**2, x, sparsity=np.eye(N), mode="templates")


# ---- Hessians ----

COUNT = 60
PLACES = np.array([[k % N, (3 * k + 1) % N, (7 * k + 5) % N] for k in range(COUNT)])


def term(kind, k, a, b, c):
    if kind == 0:
        return (a - b) ** 2
    if kind == 1:
        return pt.exp(a * c * 0.1)
    return pt.log(1 + a**2 + b**2) if kind == 2 else k * a * pt.sin(b - c)


def one_by_one(x):
    return [term(k % 4, float(k), *(x[q] for q in PLACES[k].tolist())) for k in range(COUNT)]


def at_once(x):
    k = np.arange(0.0, COUNT, 4)
    return pt.stack([term(q, k + q, *(x[i] for i in PLACES[q::4].T)) for q in range(4)]).T.ravel()


COSTS = {
    "sum": lambda x, terms: pt.add(*terms(x)),
    "nested": lambda x, terms: sum(terms(x)[k] for k in range(COUNT)),
    "stack": lambda x, terms: pt.stack(list(terms(x))).sum(),
    "mean": lambda x, terms: -0.5 * pt.stack(list(terms(x))).sum() / 60,
    "mixed": lambda x, terms: (
        pt.stack(list(terms(x))).sum() / 2 + (x[1:] ** 2 * x[:-1]).sum() + pt.exp(x.mean())
    ),
    "of inner values": lambda x, terms: pt.stack([t * pt.exp(x)[2] for t in terms(x)]).sum(),
}


@pytest.mark.fast_cases("mean")
@pytest.mark.parametrize("name", COSTS)
def test_hessians_of_sums(name):
    cost = COSTS[name](x, one_by_one)
    values, how = sparse_hessian(cost, x, format="values")
    assert isinstance(how, Templates)
    other = at_once(x)
    smooth = COSTS["stack" if name in ("sum", "nested") else name](x, lambda x: [other.sum()])
    if name == "of inner values":
        smooth = other.sum() * pt.exp(x)[2]
    check_values(cost, x, POINT, smooth)
    truth = dense(pytensor.grad(smooth, x))
    got, wanted = run([x], [values, truth], [POINT])
    np.testing.assert_allclose(matrix(got, how), wanted, rtol=1e-10, atol=1e-11)
    M = sparse_hessian(cost, x, format="symmetric")
    packed = run([x], M.values, [POINT])
    np.testing.assert_allclose(
        packed, M.pattern.values(sp.csc_array(wanted)), rtol=1e-10, atol=1e-11
    )
    if name == "stack":
        change = np.cos(np.arange(how.sparsity.nnz))
        i, j = how.sparsity.tocoo().coords
        found = [pytensor.grad((v * change).sum(), x) for v in (values, truth[i, j])]
        got, wanted = run([x], found, [POINT], PLAIN)
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)
        wider = hessian_pattern(cost, x).toarray()
        assert not ((how.sparsity.toarray() != 0) & (wider == 0)).any()


def test_hessian_of_a_partially_separable_cost():
    """Values and pattern: no entry that is not one."""
    terms, n = 150, 40
    z = pt.vector("z", shape=(n,))
    cost = pt.stack(separable_terms(pt, [z[k] for k in range(n)], terms)).sum()
    values, how = sparse_hessian(cost, z, format="values")
    assert how.equations == (terms // 5,) * 5
    point = np.random.default_rng(0).uniform(0.2, 1.2, n)
    wanted = separable_hessian(point, terms)
    got = matrix(run([z], values, [point], PLAIN), how)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(how.sparsity.toarray() != 0, wanted != 0)


def test_positions():
    a, b, c = pt.scalar("a"), pt.vector("b", shape=(3,)), pt.matrix("c")
    found = positions([a, b, c], givens={c: np.zeros((2, 2))})
    assert found == {"a": slice(0, 1), "b": slice(1, 4), "c": slice(4, 8)}
    for wrong in ([a, pt.scalar("a")], [a, pt.scalar()]):
        with pytest.raises(ValueError, match="place 1"):
            positions(wrong)
