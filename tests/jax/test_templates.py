"""Scalar equations by template: values, patterns, what one template is, and when it is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsechol.coloring import Coloring, Templates
from sparsechol.jax import hessian_pattern, jacobian_pattern, sparse_hessian, sparse_jacobian
from support.equation_systems import (
    SYSTEMS,
    random_system,
    separable_hessian,
    separable_terms,
    three_forms,
)
from support.jax_systems import x64

N = 12
POINT = np.random.default_rng(5).uniform(0.5, 1.5, N)


@pytest.fixture(autouse=True)
def in_64_bits():
    with x64(True):
        yield


def check(f, *args, mode="templates", **options):
    """Compare with the dense Jacobian and with the pattern that is found otherwise."""
    args = jax.tree.map(jnp.asarray, args)
    J = sparse_jacobian(f, *args, mode=mode, **options)
    dense = jax.jacfwd(f, **options)(*args)
    dense = dense.reshape(-1, J.shape[1])
    np.testing.assert_allclose(J(*args).toarray(), dense, rtol=1e-12, atol=1e-13)
    wider = jacobian_pattern(f, *args, **options).toarray()
    assert not ((J.sparsity.toarray() != 0) & (wider == 0)).any()
    assert J.sparsity.has_sorted_indices
    check_values(f, J.value_and_jacobian, args)
    return J


def check_values(f, value_and_derivative, args):
    """Compare the values that are computed beside a derivative with those of the function."""
    found, wanted = value_and_derivative(*args)[0], f(*args)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-14)


# ---- systems ----


@pytest.mark.fast_cases("pollution")
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_of_the_literature(name):
    system, n = SYSTEMS[name]
    point = np.random.default_rng(1).uniform(0.9, 1.2, n)
    point[2:40:13] = 0.3
    check(lambda x: jnp.stack(system(jnp, [x[k] for k in range(n)])), point)


@pytest.mark.fast_cases("2")
@pytest.mark.parametrize("seed", range(8))
def test_random_systems(seed):
    def f(x):
        return jnp.stack(random_system(jnp, list(x), np.random.default_rng(seed)))

    check(f, POINT)


def test_a_loop_makes_as_many_templates_as_forms():
    n = 90
    f = lambda x: jnp.stack(three_forms(jnp, [x[k] for k in range(n)], n))  # noqa: E731
    J = check(f, np.random.default_rng(0).uniform(0.5, 1.5, n), mode="auto")
    assert J.mode == "templates"
    assert J.coloring.equations == (30, 30, 30)  # also where two of the unknowns are the same
    assert J.coloring.num_colors == 0
    assert "templates of 30" in J.how
    assert J.how in repr(J)


# ---- ways to join ----


def parts(x):
    return [x[k] * jnp.exp(x[(k + 1) % N]) for k in range(6)]


@jax.jit
def called(a, b):
    return jnp.where(a > 1, a * b, jnp.sin(b))


JOINS = {
    "stack": lambda x: jnp.stack(parts(x)),
    "array": lambda x: jnp.array(parts(x)),
    "concatenate": lambda x: jnp.concatenate([s[None] for s in parts(x)]),
    "matrix": lambda x: jnp.array([parts(x)[:3], parts(x)[3:]]).T[::-1],
    "index": lambda x: jnp.stack(parts(x))[np.array([4, 4, 0])],
    "writes": lambda x: jnp.zeros(8).at[1].set(parts(x)[0]).at[5].set(x[3]).at[1].set(parts(x)[2]),
    "leaves": lambda x: jnp.stack([x[0], x[3], jnp.float64(2.0), -x[1]]),
    "elementwise": lambda x: -jnp.stack(parts(x)) * jnp.stack(parts(x)[::-1]),
    "row sums": lambda x: jnp.array([parts(x)[:3], parts(x)[3:]]).sum(axis=1),
    "scalar": lambda x: parts(x)[0] + parts(x)[1],
    "mixed": lambda x: jnp.concatenate([jnp.stack(parts(x)[:2]), x[1:] ** 2 * x[:-1]]),
    "element of a vectorized part": lambda x: jnp.stack([(x**2)[3] * x[0], jnp.exp(x)[2]]),
    "all of it": lambda x: jnp.stack([s / x.sum() for s in parts(x)]),
    "sum in a loop": lambda x: jnp.stack([s / sum(x[k] for k in range(N)) for s in parts(x)]),
    "calls": lambda x: jnp.stack([called(x[k], x[k + 1]) for k in range(6)]),
    "own derivative": lambda x: jnp.stack([jax.nn.relu(x[k] - 1) * x[k + 1] for k in range(6)]),
    "steps": lambda x: jnp.stack([jnp.floor(x[k]) * x[k + 1] for k in range(6)]),
    "cut off": lambda x: jnp.stack([jax.lax.stop_gradient(x[k]) * x[k + 1] for k in range(6)]),
    "loop": lambda x: jnp.stack(
        [jax.lax.fori_loop(0, 3, lambda i, y: y * x[1], s) for s in parts(x)]
    ),
}  # fmt: skip


@pytest.mark.fast_cases(
    "stack|matrix|index|writes|leaves|row sums|scalar|element of .*|calls|own derivative|loop"
)
@pytest.mark.parametrize("name", JOINS)
def test_joins(name):
    check(JOINS[name], POINT)


def test_a_long_sum_that_many_use_is_computed_once():
    n = 80

    def f(x):
        total = sum(x[k] ** 2 for k in range(n))
        return jnp.stack([x[k] / total for k in range(n)])

    assert check(f, np.linspace(0.5, 1, n)).coloring.equations == (n,)


def test_steps_that_share_everything_are_not_taken_apart():
    def f(x):
        y, found = x[0], []
        for k in range(400):
            y = jnp.sin(y) * x[k % N] + x[(k + 1) % N] * y
            found.append(y)
        return jnp.stack(found)

    with pytest.raises(ValueError, match="share too much"):
        sparse_jacobian(f, POINT, mode="templates")


def test_what_one_template_is():
    p, a, b = np.arange(4.0), 0.5, 0.7

    def forms(*functions):
        def f(x, p, a, b):
            return jnp.stack([jnp.sin(g(x, p, a, b)) for g in functions])

        return sparse_jacobian(f, POINT, p, a, b, mode="templates").coloring.equations

    assert forms(lambda x, p, a, b: x[0] * 2.5, lambda x, p, a, b: x[3] * -1.5) == (2,)
    assert forms(lambda x, p, a, b: p[1] * x[0], lambda x, p, a, b: p[2] * x[1]) == (2,)
    assert forms(lambda x, p, a, b: a * x[0], lambda x, p, a, b: b * x[1]) == (2,)
    assert forms(lambda x, p, a, b: x[0] ** 2.5, lambda x, p, a, b: x[1] ** 3.5) == (1, 1)
    assert forms(lambda x, p, a, b: x[0] ** 2, lambda x, p, a, b: x[1] ** 3) == (1, 1)
    assert forms(lambda x, p, a, b: x[0] * 0.0 + x[1], lambda x, p, a, b: x[0] * 1.5 + x[1]) == (
        1,
        1,
    )
    assert forms(lambda x, p, a, b: x[0] * x[0], lambda x, p, a, b: x[0] * x[1]) == (1, 1)


# ---- arguments and results ----


@pytest.mark.slow
def test_trees_and_parameters():
    def f(x, p):
        a, b = x["a"], x["b"]
        return {
            "one": [p["q"][k] * a * b[k] + jnp.exp(p["q"])[2] * b[k - 1] for k in range(4)],
            "two": jnp.array([a**2, p["r"] * b[0]]),
        }

    x = {"a": jnp.asarray(0.3), "b": jnp.arange(1.0, 5.0)}
    p = {"q": jnp.arange(4.0), "r": jnp.asarray(2.0)}
    J = sparse_jacobian(f, x, p, mode="templates")
    wanted = sparse_jacobian(f, x, p, mode="reverse")
    np.testing.assert_allclose(J(x, p).toarray(), wanted(x, p).toarray(), rtol=1e-12)
    for argument in (0, 1):
        gradients = [
            jax.grad(lambda *args, M=M: jnp.sum(M.values(*args) ** 2), argnums=argument)(x, p)
            for M in (J, wanted)
        ]
        jax.tree.map(np.testing.assert_allclose, *gradients)


@pytest.mark.slow
def test_transformations():
    f = JOINS["mixed"]
    J, wanted = (sparse_jacobian(f, POINT, mode=mode) for mode in ("templates", "forward"))
    many = jnp.stack([jnp.asarray(POINT) * s for s in (0.5, 1.0, 1.5)])
    np.testing.assert_array_equal(J.sparsity.toarray(), wanted.sparsity.toarray())
    for change in (jax.jit, jax.vmap, lambda g: jax.jit(jax.vmap(g)), jax.jacfwd, jax.jacrev):
        at = many if change is not jax.jacfwd and change is not jax.jacrev else many[0]
        at = many[0] if change is jax.jit else at
        got, truth = change(J.values)(at), change(wanted.values)(at)
        np.testing.assert_allclose(got, truth, rtol=1e-12, atol=1e-12)
    assert jax.jit(lambda J, x: J.values(x))(J, many[0]).shape == (J.sparsity.nnz,)


@pytest.mark.parametrize("format", ["csr", "coo", "bcoo", "bcsr", "dense"])
def test_formats(format):
    f = JOINS["stack"]
    found = sparse_jacobian(f, POINT, mode="templates", format=format)(POINT)
    found = found.todense() if hasattr(found, "todense") else found
    np.testing.assert_allclose(found, jax.jacfwd(f)(jnp.asarray(POINT)), rtol=1e-12)


def test_types():
    f = JOINS["mixed"]
    J = sparse_jacobian(f, POINT.astype(np.float32), mode="templates")
    assert J.values(jnp.asarray(POINT, np.float32)).dtype == np.float32
    got = J(jnp.asarray(POINT))  # other types than those of the example
    assert got.dtype == np.float64
    np.testing.assert_allclose(got.toarray(), jax.jacfwd(f)(jnp.asarray(POINT)), rtol=1e-12)


# ---- the choice ----


def test_what_is_vectorized_keeps_its_colors():
    def ends(x):
        return jnp.concatenate([x[:1] - 1, x[1:] * x[:-1], (x[-1] ** 2)[None]])

    for f in (lambda x: x[1:] * x[:-1], ends):
        J = sparse_jacobian(f, POINT)
        assert isinstance(J.coloring, Coloring)
        assert J.how == "2 products with columns"


def test_how():
    n = 40

    def f(x):
        equations = three_forms(jnp, [x[k] for k in range(n)], n)
        return jnp.concatenate([jnp.stack(equations), x[1:] * x[:-1]])

    J = sparse_jacobian(f, np.linspace(0.5, 1, n))
    assert isinstance(J.coloring, Templates)
    assert J.coloring.num_colors == 2
    assert J.how.endswith("2 products with columns")


def test_a_sparsity_is_for_colors():
    with pytest.raises(ValueError, match="pass no sparsity"):
        sparse_jacobian(lambda x: x**2, POINT, sparsity=np.eye(N), mode="templates")


# ---- Hessians ----


COUNT = 120
PLACES = np.array([[k % N, (3 * k + 1) % N, (7 * k + 5) % N] for k in range(COUNT)])


def term(kind, k, a, b, c):
    if kind == 0:
        return (a - b) ** 2
    if kind == 1:
        return jnp.exp(a * c * 0.1)
    return jnp.log(1 + a**2 + b**2) if kind == 2 else k * a * jnp.sin(b - c)


def one_by_one(x):
    return [term(k % 4, float(k), *(x[q] for q in PLACES[k].tolist())) for k in range(COUNT)]


def at_once(x):
    k = np.arange(0.0, COUNT, 4)
    kinds = [term(q, k + q, *x[PLACES[q::4]].T) for q in range(4)]
    return jnp.stack(kinds, axis=1).ravel()


COSTS = {
    "sum": lambda x, terms: sum(terms(x)),
    "stack": lambda x, terms: jnp.array(terms(x)).sum(),
    "mean": lambda x, terms: -0.5 * jnp.array(terms(x)).mean(),
    "mixed": lambda x, terms: sum(terms(x)) / 2 + (x[1:] ** 2 * x[:-1]).sum() + jnp.exp(x.mean()),
    "of inner values": lambda x, terms: sum(t * jnp.exp(x)[2] for t in terms(x)),
}


@pytest.mark.fast_cases("mean")
@pytest.mark.parametrize("name", COSTS)
def test_hessians_of_sums(name):
    x = jnp.asarray(POINT)
    f = lambda x: COSTS[name](x, one_by_one)  # noqa: E731
    H = sparse_hessian(f, x)
    assert isinstance(H.coloring, Templates)
    check_values(f, H.value_and_hessian, (x,))
    truth = jax.jit(jax.hessian(lambda x: COSTS[name](x, at_once)))
    np.testing.assert_allclose(H(x).toarray(), truth(x), rtol=1e-10, atol=1e-11)
    M = sparse_hessian(f, x, format="symmetric")(x)
    np.testing.assert_allclose(M.todense(), truth(x), rtol=1e-10, atol=1e-11)
    if name == "mixed":
        change = jnp.cos(jnp.arange(N))
        _, got = jax.jvp(lambda x: H.values(x), (x,), (change,))
        _, wanted = jax.jvp(truth, (x,), (change,))
        np.testing.assert_allclose(got, wanted[H.sparsity.tocoo().coords], rtol=1e-9, atol=1e-9)
        assert not ((H.sparsity.toarray() != 0) & (hessian_pattern(f, x).toarray() == 0)).any()
    if name == "sum":
        assert H(x.astype(np.float32)).dtype == np.float32


def test_hessian_of_a_partially_separable_cost():
    """Values and pattern: no entry that is not one."""
    terms, n = 150, 40
    point = np.random.default_rng(0).uniform(0.2, 1.2, n)
    H = sparse_hessian(lambda x: jnp.stack(separable_terms(jnp, list(x), terms)).sum(), point)
    assert H.coloring.equations == (terms // 5,) * 5
    wanted = separable_hessian(point, terms)
    np.testing.assert_allclose(H(point).toarray(), wanted, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(H.sparsity.toarray() != 0, wanted != 0)


def test_few_equations_are_templates_unless_products_are_needed_anyway():
    def few(x):
        return three_forms(jnp, list(x), N)[:5]

    J = sparse_jacobian(lambda x: jnp.stack(few(x)), POINT)
    assert isinstance(J.coloring, Templates)
    J = sparse_jacobian(lambda x: jnp.concatenate([jnp.stack(few(x)), x[1:] * x[:-1]]), POINT)
    assert isinstance(J.coloring, Coloring)
    assert isinstance(sparse_hessian(lambda x: sum(few(x)), POINT).coloring, Templates)
    H = sparse_hessian(lambda x: sum(few(x)) + jnp.sum(x[1:] ** 2 * x[:-1]), POINT)
    assert isinstance(H.coloring, Coloring)
