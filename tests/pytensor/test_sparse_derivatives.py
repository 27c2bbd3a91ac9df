"""Sparse Jacobians and Hessians: values, options, backends, and what PyTensor stumbles over."""

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from pytensor.gradient import disconnected_grad, hessian, jacobian
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.traversal import applys_between
from pytensor.scan.op import Scan
from pytensor.scan.utils import until

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol.coloring import color
from sparsechol.pytensor import (
    SparsityWarning,
    check_pattern,
    hessian_pattern,
    jacobian_pattern,
    register_sparsity_rule,
    sparse_hessian,
    sparse_jacobian,
)
from sparsechol.pytensor._rule_table import REGISTERED
from sparsechol.pytensor._sparsity_rules import graphs
from support.pytensor_sparsity_battery import HESSIANS, JACOBIANS, PYTHON, N, ifelse

MODES = ("auto", "forward", "reverse", "bidirectional")
POINT = np.random.default_rng(2).uniform(0.5, 1.5, N)
x = pt.vector("x", shape=(N,))


def run(inputs, outputs, points, mode=PYTHON):
    return pytensor.function(inputs, outputs, mode=mode, on_unused_input="ignore")(*points)


def dense_of(result, values):
    """The matrix from the values of a pair (vector, Coloring)."""
    A = result[1].sparsity
    return sp.csc_array((values, A.indices, A.indptr), A.shape).toarray()


def dense_jacobian(expr, at=POINT):
    return run([x], jacobian(expr.ravel(), x), [at])


def arrow(x):
    """A dense row and a dense column."""
    return pt.concatenate([(x**2).sum()[None], x[0] * x[1:] ** 2])


def banded(x):
    """Offsets -1, 0 and 2."""
    zero = pt.zeros(2)
    before, behind = pt.concatenate([zero[:1], x[:-1]]), pt.concatenate([x[2:], zero])
    return pt.sin(x) * before + pt.exp(-behind)


FUNCTIONS = {
    "banded": banded,
    "arrow": arrow,
    "matrix": lambda x: pt.outer(x[:3], x[3:6]),
    "scalar": lambda x: (x[:3] ** 2).sum(),
    "tall": lambda x: pt.concatenate([x, x**2, x[1:] * x[:-1]]),
    "wide": lambda x: x.reshape((2, 4)).sum(axis=1) ** 2,
    "nothing": lambda x: pt.floor(x),
    "constant": lambda x: pt.constant(np.ones(3)),
    "loop": lambda x: pytensor.scan(
        lambda u: pt.sin(u[::-1]), outputs_info=[x], n_steps=3, return_updates=False
    )[-1],
}


# ---- values ----


# In chunks each product is made once more: forward, reverse, and both together.
CHUNKS = [*((mode, None) for mode in MODES), ("forward", 1), ("reverse", 1), ("bidirectional", 3)]


@pytest.mark.fast_cases(
    r"auto-None-banded|forward-1-(nothing|constant)|bidirectional-None-arrow",
    r"reverse-None-scalar",
)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("mode", "chunk_size"), CHUNKS)
def test_jacobian(name, mode, chunk_size):
    expr = FUNCTIONS[name](x)
    wanted = np.zeros((3, N)) if name == "constant" else dense_jacobian(expr)
    J = run([x], sparse_jacobian(expr, x, mode=mode, chunk_size=chunk_size), [POINT])
    assert J.shape == (wanted.shape if wanted.ndim == 2 else (1, N))
    np.testing.assert_allclose(J.toarray(), np.atleast_2d(wanted), rtol=1e-12, atol=1e-14)


@pytest.mark.fast_cases(r"kernels.*")
@pytest.mark.parametrize(
    "name",
    [
        *("elementwise: switch, unknown", "movement: pad", "indices: set, value-dependent"),
        *("reductions: product", "products: batched matmul", "linear algebra: solve, blocks"),
        *("loops: two taps", "loops: until", "inner graphs: reversed by its pullback"),
        *("inner graphs: if, unknown", "sparse: both sides", "sparse: times a dense matrix"),
        *("kernels: log density", "kernels: draw, of the matrix", "kernels: as sparse"),
    ],
)
def test_jacobian_of_the_battery(name):
    expr = JACOBIANS[name][0](x)
    wanted = dense_jacobian(expr)
    result = sparse_jacobian(expr, x, format="values")
    got = dense_of(result, run([x], result[0], [POINT]))
    np.testing.assert_allclose(got, np.atleast_2d(wanted), rtol=1e-10, atol=1e-12)


@pytest.mark.fast_cases(r"(arrow|log determinant)-None")
@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize(
    "name", ["rosenbrock", "arrow", "log determinant", "poisson", "linear", "recurrence"]
)
def test_hessian(name, chunk_size):
    cost = HESSIANS[name][0](x)
    g = pytensor.grad(cost, x)
    wanted = dense_jacobian(g) if name != "linear" else np.zeros((N, N))
    result = sparse_hessian(cost, x, chunk_size=chunk_size, format="values")
    spd = sparse_hessian(cost, x, chunk_size=chunk_size, format="symmetric")
    data, H, values = run([x], [result[0], sparse_hessian(cost, x), spd.values], [POINT])
    np.testing.assert_allclose(H.toarray(), wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dense_of(result, data), wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(values, spd.pattern.values(sp.csc_array(H)))
    assert len(values) == N + (result[1].sparsity.nnz - (H.toarray() != 0).trace()) // 2


@pytest.mark.slow
def test_formats():
    expr, cost = banded(x), HESSIANS["rosenbrock"][0](x)
    for build, of, wanted in (
        (sparse_jacobian, expr, dense_jacobian(expr)),
        (sparse_hessian, cost, dense_jacobian(pytensor.grad(cost, x))),
    ):
        csc, csr, dense = (build(of, x, format=name) for name in ("csc", "csr", "dense"))
        got = run([x], [csc, csr, dense], [POINT])
        assert (
            [csc.type.format, csr.type.format] == [got[0].format, got[1].format] == ["csc", "csr"]
        )
        for matrix in (got[0].toarray(), got[1].toarray(), got[2]):
            np.testing.assert_allclose(matrix, wanted, rtol=1e-11, atol=1e-12)
        slope = pytensor.grad((dense**2).sum(), x)
        values, _ = build(of, x, format="values")
        wanted = pytensor.grad((values**2).sum(), x)
        np.testing.assert_allclose(*run([x], [slope, wanted], [POINT]), rtol=1e-12)


def test_chunks_are_vectorized():
    """Six products in loops of six, three and two steps, and in no loop."""
    expr = pt.outer(x[:3], x[3:6]).ravel()[:6]
    lengths = []
    for chunk_size in (1, 2, 4, None):
        values, coloring = sparse_jacobian(
            pt.cumsum(expr), x, mode="reverse", chunk_size=chunk_size, format="values"
        )
        assert coloring.num_colors == 6
        loops = [node for node in applys_between([x], [values]) if isinstance(node.op, Scan)]
        lengths.append([int(node.inputs[0].eval()) for node in loops])
    assert lengths == [[6], [3], [2], []]


def test_few_colors():
    """Counts that are known to be the least."""
    many = pt.vector(shape=(1000,))
    _, coloring = sparse_jacobian(banded(many), many, format="values")
    assert coloring.num_colors == 4
    many = pt.vector(shape=(1500,))
    cost = ((many[1:] - many[:-1]) ** 4).sum()
    _, coloring = sparse_jacobian(pytensor.grad(cost, many), many, format="values")
    assert coloring.num_colors == coloring.lower_bound == 3
    _, coloring = sparse_hessian(cost, many, format="values")
    assert coloring.num_colors == 3
    _, coloring = sparse_jacobian(arrow(many), many, mode="bidirectional", format="values")
    assert coloring.num_colors <= 4


def test_fewer_colors_win():
    assert sparse_jacobian(x.sum(), x, format="values")[1].structure == "row"
    tall = pt.concatenate([x[:1] * k for k in range(1, 4)])
    assert sparse_jacobian(tall, x, format="values")[1].structure == "column"
    assert sparse_jacobian(x**2, x, format="values")[1].structure == "column"


def test_known_sparsity():
    expr = banded(x)
    A = jacobian_pattern(expr, x)
    wanted = dense_jacobian(expr)
    for structure in ("column", "row", "bidirectional"):
        coloring = color(A, structure)
        result = sparse_jacobian(expr, x, sparsity=coloring, format="values")
        assert result[1] is coloring
        np.testing.assert_allclose(dense_of(result, run([x], result[0], [POINT])), wanted)
    more = sparse_jacobian(expr, x, sparsity=np.ones((N, N)), format="values")
    np.testing.assert_allclose(dense_of(more, run([x], more[0], [POINT])), wanted, atol=1e-15)
    cost = (x**3).sum()
    coloring = color(np.eye(N), "symmetric")
    assert sparse_hessian(cost, x, sparsity=coloring, format="values")[1] is coloring


def test_several_variables_of_any_rank():
    a, b = pt.matrix("a", shape=(2, 3)), pt.scalar("b")
    expr = (a**2 * b).T
    values = np.arange(1.0, 7).reshape(2, 3), 3.0
    wanted = np.hstack([
        run([a, b], jacobian(expr.ravel(), part), values).reshape(6, -1) for part in (a, b)
    ])  # fmt: skip
    for mode in MODES:
        J = run([a, b], sparse_jacobian(expr, [a, b], mode=mode), values)
        np.testing.assert_allclose(J.toarray(), wanted)
        assert J.nnz == 12
    cost = (a**3).sum() * b
    H = run([a, b], sparse_hessian(cost, (a, b)), values)
    np.testing.assert_allclose(H.toarray()[:6, :6], np.diag(18 * values[0].ravel()))
    np.testing.assert_allclose(H.toarray()[6, :6], 3 * values[0].ravel() ** 2)


def test_gradients_that_are_parts_of_each_other():
    """PyTensor's own pushforwards in several variables are wrong then."""
    a, b = (pt.vector(name, shape=(4,)) for name in "ab")
    values = POINT[:4], POINT[4:]
    Q = scpt.combine([(a, sp.eye_array(4))])
    for expr in (a + b, a - b, pt.exp(a + b) * a, Q.solve(b), Q.solve_triangular(b)):
        wanted = np.hstack(run([a, b], [jacobian(expr, part) for part in (a, b)], values))
        for mode in MODES:
            J = run([a, b], sparse_jacobian(expr, [a, b], mode=mode), values)
            np.testing.assert_allclose(J.toarray(), wanted, rtol=1e-12, atol=1e-14)
        assert check_pattern(expr, [a, b], values).shape == (0, 2)
    cost = ((a + b) ** 4).sum() + a[0] * b[1]
    H = run([a, b], sparse_hessian(cost, [a, b]), values)
    g = pt.concatenate(pytensor.grad(cost, [a, b]))
    wanted = np.hstack(run([a, b], [jacobian(g, part) for part in (a, b)], values))
    np.testing.assert_allclose(H.toarray(), wanted, rtol=1e-12)


def test_a_variable_inside_of_the_graph():
    """Random variables of PyMC, for example; what does not depend on it is not copied."""
    theta = pt.vector("theta", shape=(N,))
    inner = pt.exp(theta)
    data, _ = sparse_jacobian(inner**2 * theta.sum(), inner, format="values")
    np.testing.assert_allclose(
        run([theta], data, [POINT]), 2 * np.exp(POINT) * POINT.sum(), rtol=1e-12
    )
    assert theta in pytensor.graph.traversal.graph_inputs([data])


def test_single_precision():
    y = pt.vector("y", dtype="float32", shape=(N,))
    J, H = sparse_jacobian(banded(y).astype("float32"), y), sparse_hessian((y**3).sum(), y)
    got = run([y], [J, H], [POINT.astype("f")])
    assert got[0].dtype == got[1].dtype == np.float32
    wanted = dense_jacobian(banded(x))
    np.testing.assert_allclose(got[0].toarray(), wanted, rtol=1e-5, atol=1e-6)


# ---- derivatives of them ----


@pytest.mark.fast_cases(r".*-None")
@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian_is_differentiable(mode, chunk_size):
    data, _ = sparse_jacobian(banded(x), x, mode=mode, chunk_size=chunk_size, format="values")
    dense = jacobian(banded(x), x, vectorize=True)
    got, wanted = (pytensor.grad((J**2).sum(), x) for J in (data, dense))
    np.testing.assert_allclose(*run([x], [got, wanted], [POINT]), rtol=1e-12)
    J = sparse_jacobian(banded(x), x, mode=mode, chunk_size=chunk_size)
    product = pytensor.grad((ps.structured_dot(J, x[:, None]) ** 2).sum(), x)
    wanted = pytensor.grad(((dense @ x) ** 2).sum(), x)
    np.testing.assert_allclose(*run([x], [product, wanted], [POINT]), rtol=1e-12)


def test_hessian_is_a_matrix():
    cost = (x**4).sum() + pt.exp(x[1:] - x[:-1]).sum()
    H, dense = sparse_hessian(cost, x, format="symmetric"), hessian(cost, x)
    got = [scpt.logdet(H), pytensor.grad(scpt.logdet(H), x), scpt.solve(H, x)]
    of_dense = pt.linalg.slogdet(dense)[1]
    wanted = [of_dense, pytensor.grad(of_dense, x), pt.linalg.solve(dense, x)]
    for a, b in zip(run([x], got, [POINT]), run([x], wanted, [POINT]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


# ---- backends ----


pytestmark = pytest.mark.filterwarnings("ignore:.*Cannot cache compiled function")


def outputs():
    cost = (x**4).sum() + pt.exp(x[1:] - x[:-1]).sum()
    data, _ = sparse_jacobian(banded(x), x, format="values")
    H = sparse_hessian(cost, x, format="symmetric")
    return [data, H.values, scpt.solve(H, x), pytensor.grad((data**2).sum(), x)]


@pytest.mark.fast_cases(r"JAX")
@pytest.mark.parametrize("mode", ["NUMBA", "CVM", "JAX"])
def test_backend(mode):
    if mode == "JAX":
        pytest.importorskip("jax")
    found = outputs() if mode != "CVM" else outputs()[:1]
    got, wanted = run([x], found, [POINT], mode), run([x], found, [POINT])
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


@pytest.mark.slow
def test_sparse_variables_in_numba():
    J, H = sparse_jacobian(banded(x), x, mode="reverse"), sparse_hessian((x[1:] * x[:-1]).sum(), x)
    got, wanted = run([x], [J, H], [POINT], "NUMBA"), run([x], [J, H], [POINT])
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a.toarray(), b.toarray(), rtol=1e-13)


# ---- what PyTensor stumbles over ----


@pytest.mark.slow
def test_a_loop_is_left_as_it_was():
    """PyTensor 3.0 rewrites the graphs inside of loops that it shares between graphs."""
    expr = FUNCTIONS["loop"](x)
    wanted = run([x], [expr, pytensor.grad(expr.sum(), x)], [POINT])
    for _ in range(2):
        run([x], sparse_jacobian(expr, x), [POINT])
    again = run([x], [expr, pytensor.grad(expr.sum(), x)], [POINT])
    for a, b in zip(wanted, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_constant_sparse_matrix():
    """Its transpose, in pullbacks, is not to be stacked."""
    S = sp.csc_matrix(np.diag(np.full(N, 2.0)) + np.diag(np.ones(N - 1), 1))
    expr = ps.structured_dot(S, (x**2)[:, None])[:, 0]
    for mode in MODES:
        J = run([x], sparse_jacobian(expr, x, mode=mode), [POINT])
        np.testing.assert_allclose(J.toarray(), S.toarray() * 2 * POINT)


@pytest.mark.slow
def test_no_second_derivatives():
    """Then only pullbacks can be taken, and 'auto' takes them."""
    expr = x.reshape((4, 2)).prod(axis=1)
    J = run([x], sparse_jacobian(expr, x), [POINT])
    np.testing.assert_allclose(J.toarray(), dense_jacobian(expr))
    with pytest.raises(TypeError, match="2nd derivatives"):
        sparse_jacobian(expr, x, mode="forward")
    column = x[:1] * pt.concatenate([expr, expr])[:, None]  # fewer colors forward
    J = run([x], sparse_jacobian(column, x), [POINT])
    np.testing.assert_allclose(J.toarray(), dense_jacobian(column))


def test_pushforwards_of_sparse_variables_are_wrong():
    expr = (ps.as_sparse_variable(sp.csc_matrix(np.eye(N))) * pt.outer(x, x)).toarray()
    J = run([x], sparse_jacobian(expr, x), [POINT])
    np.testing.assert_allclose(J.toarray(), dense_jacobian(expr))
    with pytest.raises(NotImplementedError, match="sparse variables"):
        sparse_jacobian(expr, x, mode="forward")


def test_a_condition():
    expr = ifelse(x[0] > 1, x, x[::-1] ** 2)
    for at in (POINT - POINT[0] + 0.5, POINT - POINT[0] + 1.5):
        J = run([x], sparse_jacobian(expr, x), [at])
        wanted = np.diag(2 * at)[::-1] if at[0] < 1 else np.eye(N)
        np.testing.assert_allclose(J.toarray(), wanted)


# ---- patterns ----


class Twice(Op):
    """An Op of which nothing is known but its values and its pullback."""

    __props__ = ()

    def make_node(self, x):
        x = pt.as_tensor_variable(x)
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = 2 * inputs[0]

    def pullback(self, inputs, outputs, cotangents):
        return [2 * cotangents[0]]


class Hidden(Twice):
    """Its pullback is an Op that has none."""

    def pullback(self, inputs, outputs, cotangents):
        return [Opaque()(cotangents[0])]


class Opaque(Twice):
    def pullback(self, inputs, outputs, cotangents):
        raise NotImplementedError


class Connected(Opaque):
    def connectivity_pattern(self, node):
        return [[sp.eye_array(N)]]


def test_one_class_of_warnings():
    assert SparsityWarning is sc._exceptions.SparsityWarning


def test_an_unknown_op():
    assert jacobian_pattern(Twice()(x[::-1]), x, on_unknown="raise").nnz == N
    for op in (Opaque(), Hidden()):
        with pytest.warns(SparsityWarning, match="Opaque"):
            assert jacobian_pattern(op(x[:4]), x).nnz == 16
        with pytest.raises(NotImplementedError, match=r"Opaque.*register_sparsity_rule"):
            jacobian_pattern(op(x), x, on_unknown="raise")
    assert jacobian_pattern(Connected()(x), x, on_unknown="raise").nnz == N


def test_a_rule_of_the_user():
    def rule(op, node, shapes_in, shapes_out, values):
        assert shapes_in == shapes_out == [(N,)]
        assert values == [None]
        return [[sp.eye_array(N, k=1)]]

    class Own(Opaque):
        pass

    class Derived(Own):
        pass

    try:
        register_sparsity_rule(Own, rule)
        wanted = np.eye(N, k=1)
        for op in (Own(), Derived()):
            np.testing.assert_array_equal(jacobian_pattern(op(x), x).toarray(), wanted)
        register_sparsity_rule(Own, lambda *args: [[True]])
        assert jacobian_pattern(Own()(x), x).nnz == N * N
        register_sparsity_rule(Own, lambda *args: [[None]])
        assert jacobian_pattern(Own()(x), x).nnz == 0
        register_sparsity_rule(Own, lambda *args: [[sp.eye_array(3)]])
        with pytest.raises(ValueError, match="shape"):
            jacobian_pattern(Own()(x), x)
    finally:
        REGISTERED.pop(Own)
    with pytest.raises(TypeError, match="class of Ops"):
        register_sparsity_rule(Opaque(), rule)


LONG = pt.vector("long", shape=(100,))
GROUP = pytensor.shared(np.arange(100) % 7, name="group")


@pytest.mark.parametrize(
    ("expr", "entries", "named"),
    [
        (LONG[GROUP] * 2, 100 * 100, "'group'"),
        (pt.zeros(100)[GROUP].inc(LONG), 100 * 100, "'group'"),
        (LONG[pt.cast(LONG[0], "int64")][None], 100, "'long'|Subtensor"),
        (LONG[LONG > 0].set(0.0), 100 * 100, "Gt"),
    ],
    ids=["read", "written", "value", "mask"],
)
def test_an_index_that_is_not_known(expr, entries, named):
    """A pattern with too many entries names the index and the line; few elements are no matter."""
    with pytest.warns(SparsityWarning, match=rf"({named}).*test_sparse_derivatives\.py:\d+"):
        assert jacobian_pattern(expr, LONG, givens={}).nnz == entries
    with pytest.raises(NotImplementedError, match="givens="):
        jacobian_pattern(expr, LONG, on_unknown="raise")


def test_indices_without_a_warning():
    index = np.arange(100) % 7
    assert jacobian_pattern(LONG[GROUP], LONG, givens={GROUP: index}, on_unknown="raise").nnz == 100
    for expr in (LONG[pt.argsort(LONG)], LONG[pt.argmax(LONG)][None], LONG[:50][GROUP[:3]]):
        assert jacobian_pattern(expr, LONG, on_unknown="raise").nnz


def test_indices_in_loops(monkeypatch):
    """An index that follows from the step is known, unless the loop is too long to be followed."""

    y = pytensor.scan(
        lambda k, v: v[k] * v[0],
        sequences=[pt.arange(20)],
        non_sequences=[LONG],
        return_updates=False,
    )
    assert jacobian_pattern(y, LONG, on_unknown="raise").nnz == 39
    monkeypatch.setattr(graphs, "STEPS", 10)
    with pytest.warns(SparsityWarning, match="the loop is not followed step by step"):
        assert jacobian_pattern(y, LONG).nnz == 2000


def test_a_loop_that_ends_early_and_carries_nothing():
    y = pytensor.scan(
        lambda v: (v**2, until(v > 3)), sequences=[x], n_steps=N, return_updates=False
    )
    assert jacobian_pattern(y, x, givens={x: np.ones(N)}).nnz == N * N


def test_a_random_variable():
    rng = pytensor.shared(np.random.default_rng(0))

    def normal(mean):
        return pt.random.normal(mean, 1.0, size=(4,), rng=rng, return_next_rng=True)[1]

    with pytest.warns(SparsityWarning, match="normal"):
        assert jacobian_pattern(normal(x[:4]), x).nnz == 16
    assert jacobian_pattern(normal(0.0) * x[:4], x, on_unknown="raise").nnz == 4


def test_unknown_shapes():
    y = pt.vector("y")
    with pytest.raises(ValueError, match="givens"):
        jacobian_pattern(y**2, y)
    assert jacobian_pattern(y**2, y, givens={y: np.zeros(5)}).shape == (5, 5)
    theta = pt.vector("theta")
    with pytest.raises(ValueError, match="theta"):
        jacobian_pattern(pt.concatenate([x, theta]), x)
    expr = pt.concatenate([x, pt.exp(theta)])
    assert jacobian_pattern(expr, x, givens={theta: np.zeros(3)}).shape == (N + 3, N)
    shared = pytensor.shared(np.ones((2, N)))
    assert jacobian_pattern(shared @ x, x).shape == (2, N)
    with pytest.raises(ValueError, match="example"):
        jacobian_pattern(y, y, givens={y: np.zeros((2, 2))})


def test_values_of_givens():
    """Those of other variables count; those of shared ones do if they are passed."""
    index, mask = pt.lvector("index"), pytensor.shared(np.arange(N) % 2.0, shape=(N,))
    assert jacobian_pattern(x[index], x, givens={index: np.array([1, 1, 3])}).nnz == 3
    assert jacobian_pattern(mask * x, x).nnz == N
    assert jacobian_pattern(mask * x, x, givens={mask: mask.get_value()}).nnz == N // 2
    assert jacobian_pattern(x[pt.argmax(x)], x, givens={x: POINT}).nnz == N


def test_arrays_of_another_length():
    y = pt.vector("y")
    J = sparse_jacobian(y * 2, y, givens={y: np.zeros(5)})
    assert run([y], J, [np.ones(5)]).nnz == 5
    H = sparse_hessian((y**2).sum(), y, givens={y: np.zeros(5)})
    for result in (J, H):
        with pytest.raises(ValueError, match="found for arrays"):
            run([y], result, [np.ones(6)])


def test_stopped_gradients():
    assert jacobian_pattern(disconnected_grad(x[::-1]) * x, x).nnz == N
    assert sparse_jacobian(disconnected_grad(x), x, format="values")[1].sparsity.nnz == 0


@pytest.mark.slow
def test_a_long_graph():
    """Thousands of nodes in a row are no recursion."""
    y = x
    for k in range(3000):
        y = pt.sin(y) * (k + 1.0)
    assert jacobian_pattern(y, x).nnz == N
    factor = pt.ones(())
    for _ in range(3000):
        factor = factor + 0.0
    assert jacobian_pattern(x * (factor - 1.0), x).nnz == 0


def test_known_zeros_are_found_late():
    """By graphs of constants, and of shapes."""
    ones = pt.ones((x.shape[0], x.shape[0]))
    assert jacobian_pattern(pt.tril(ones) @ x, x).nnz == N * (N + 1) // 2
    assert jacobian_pattern((pt.eye(N) * 2.0) @ x, x).nnz == N


# ---- checks ----


def test_check_pattern():
    expr = banded(x)
    assert check_pattern(expr, x, POINT).shape == (0, 2)
    A = jacobian_pattern(expr, x).toarray()
    A[3, 3] = A[2, 4] = 0
    np.testing.assert_array_equal(check_pattern(expr, x, POINT, sparsity=A), [[2, 4], [3, 3]])
    g = pytensor.grad((x[1:] * x[:-1]).sum(), x)
    missing = check_pattern(g, x, POINT, sparsity=np.eye(N))
    assert len(missing) == 2 * (N - 1)
    a, b = pt.scalar("a"), pt.vector("b", shape=(2,))
    found = check_pattern(a * b, [a, b], [2.0, np.ones(2)], sparsity=np.eye(2, 3))
    np.testing.assert_array_equal(found, [[0, 1], [1, 0], [1, 2]])
    product = x.reshape((4, 2)).prod(axis=1)
    assert len(check_pattern(product, x, POINT, sparsity=np.eye(4, N))) == 7
    scale = pt.scalar("scale")
    assert len(check_pattern(scale * x, x, POINT, givens={scale: 2.0})) == 0


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "expr", lambda: sparse_jacobian(pt.cast(x, "int64"), x)),
        (TypeError, "wrt", lambda: sparse_jacobian(x, pt.lvector("i"))),
        (TypeError, "wrt", lambda: sparse_jacobian(x, np.ones(3))),
        (TypeError, "constant", lambda: sparse_jacobian(x, pt.constant(np.ones(3)))),
        (TypeError, "expr", lambda: jacobian_pattern(2.0, x)),
        (TypeError, "cost", lambda: sparse_hessian(pt.lscalar("i"), x)),
        (ValueError, "scalar", lambda: sparse_hessian(x**2, x)),
        (ValueError, "scalar", lambda: hessian_pattern(x**2, x)),
        (ValueError, "twice", lambda: sparse_jacobian(x, [x, x])),
        (ValueError, "empty", lambda: sparse_jacobian(x, [])),
        (ValueError, "mode", lambda: sparse_jacobian(x, x, mode="backward")),
        (ValueError, "chunk_size", lambda: sparse_jacobian(x, x, chunk_size=0)),
        (ValueError, "format", lambda: sparse_jacobian(x, x, format="symmetric")),
        (ValueError, "format", lambda: sparse_hessian((x**2).sum(), x, format="bcoo")),
        (ValueError, "on_unknown", lambda: jacobian_pattern(x, x, on_unknown="ignore")),
        (ValueError, "shape", lambda: sparse_jacobian(x, x, sparsity=np.eye(3))),
        (ValueError, "shape", lambda: sparse_jacobian(x, x, sparsity=color(np.eye(3)))),
        (ValueError, "shape", lambda: sparse_hessian((x**2).sum(), x, sparsity=np.eye(3))),
        (
            ValueError,
            "not symmetric",
            lambda: sparse_hessian((x**2).sum(), x, sparsity=np.eye(N) + np.eye(N, k=1)),
        ),
        (
            ValueError,
            "direct",
            lambda: sparse_hessian(
                (x**2).sum(), x, sparsity=color(np.eye(N), "symmetric", method="substitution")
            ),
        ),
        (
            ValueError,
            "column",
            lambda: sparse_jacobian(x, x, sparsity=color(np.eye(N), "row"), mode="forward"),
        ),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call()


def test_the_pattern_is_analyzed_as_it_is_asked():
    cost = ((x[1:] - x[:-1]) ** 2).sum()
    natural = sparse_hessian(cost, x, format="symmetric", ordering="natural")
    assert natural.pattern == sc.analyze(sp.csc_array(hessian_pattern(cost, x)), ordering="natural")
