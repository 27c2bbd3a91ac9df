"""The signed factorization in every mode, to the third order, against dense JAX."""

from functools import cache

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.replace import vectorize_graph

import sparsechol as sc
import sparsechol.pytensor as scpt
from support.pytensor_systems import CHANGE, COLUMN, A, B, N, P, differ, measure, run

a, da = pt.dvector("a"), pt.dvector("da")
PYTHON = "FAST_COMPILE"  # compiles fastest
SIGNS = np.where(np.arange(N) < N - 3, 1, -1)
INDEFINITE = np.where(np.equal.outer(SIGNS, SIGNS), SIGNS * A.toarray(), A.toarray())
VALUES = P.values(INDEFINITE)
POINT = (VALUES, CHANGE)


def factor(a):
    return scpt.ldl(scpt.SymmetricMatrix(P, a))


FUNCTIONS = {
    "logabsdet": lambda a: factor(a).logabsdet(),
    "solve": lambda a: factor(a).solve(pt.sin(B * a[0])),
    "refined": lambda a: factor(a).solve(pt.sin(B * a[0]), refine=1),
    "partial_inverse": lambda a: factor(a).partial_inverse(),
    "diag_inverse": lambda a: factor(a).diag_inverse(),
    "solve_triangular": lambda a: factor(a).solve_triangular(B * a[1]),
    "draw": lambda a: factor(a).solve_triangular(B[:, 0] * a[1], trans="T"),
}


def along(f):
    """Derivative of a scalar in the direction da."""
    return (pytensor.grad(f, a) * da).sum()


def derivatives(f):
    """Value, gradient, and derivatives of the gradient along da, once and twice."""
    return [f, *(pytensor.grad(g, a) for g in (f, along(f), along(along(f))))]


@cache
def expected(name):
    pytest.importorskip("jax")
    import jax.numpy as jnp
    from jax.scipy.linalg import solve_triangular

    from support import pytensor_dense as dense

    def matrix(a):
        lower = jnp.zeros((N, N)).at[P.indices, COLUMN].set(a)
        return lower + jnp.tril(lower, -1).T

    def triangle(a):
        C, columns = matrix(a)[P.perm][:, P.perm], []
        for j in range(N):
            x = jnp.where(jnp.arange(N) < j, 0, C[:, j]) / jnp.sqrt(abs(C[j, j]))
            C = C - jnp.sign(C[j, j]) * jnp.outer(x, x)
            columns.append(x)
        return jnp.stack(columns, axis=1)

    def draw(a):
        x = solve_triangular(triangle(a), B[:, 0] * a[1], lower=True, trans="T")
        return x[np.argsort(P.perm)]

    functions = {
        "logabsdet": lambda a: jnp.linalg.slogdet(matrix(a))[1],
        "solve": lambda a: jnp.linalg.solve(matrix(a), jnp.sin(B * a[0])),
        "refined": lambda a: jnp.linalg.solve(matrix(a), jnp.sin(B * a[0])),
        "partial_inverse": lambda a: jnp.linalg.inv(matrix(a))[P.indices, COLUMN],
        "diag_inverse": lambda a: jnp.diag(jnp.linalg.inv(matrix(a))),
        "solve_triangular": lambda a: solve_triangular(triangle(a), (B * a[1])[P.perm], lower=True),
        "draw": draw,
    }
    return dense.derivatives(lambda a: dense.measure(functions[name](a)), *POINT)


@pytest.mark.fast_cases(r"(logabsdet|solve|draw)-(JAX|FAST_COMPILE)")
@pytest.mark.parametrize("mode", [PYTHON, "JAX"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_to_the_third_order(name, mode):
    got = run([a, da], derivatives(measure(FUNCTIONS[name](a))), POINT, mode)
    for order, (x, y) in enumerate(zip(got, expected(name), strict=True)):
        assert differ(x, y) < 1e-11, order


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Cannot cache compiled function")  # of a graph, not of ours
def test_in_numba():
    f = [measure(function(a)) for function in FUNCTIONS.values()]
    got = run([a, da], [*f, *(pytensor.grad(g, a) for g in f)], POINT, "NUMBA")
    for k, name in enumerate(FUNCTIONS):
        value, gradient, *_ = expected(name)
        assert differ(got[k], value) < 1e-12, name
        assert differ(got[len(f) + k], gradient) < 1e-11, name


def test_jax_differentiates_the_compiled_function():
    """As samplers in JAX do: the log-determinant must know that its factor has signs."""
    jax = pytest.importorskip("jax")
    from pytensor.link.jax.dispatch import jax_funcify

    import sparsechol.pytensor._jax  # noqa: F401 - registers the Ops, as a compilation does

    graph = pytensor.graph.FunctionGraph([a], [measure(FUNCTIONS["logabsdet"](a))], clone=True)
    hessian = jax.hessian(lambda a: jax_funcify(graph)(a)[0])(VALUES) @ CHANGE
    assert differ(hessian, expected("logabsdet")[2]) < 1e-11


def test_batches_and_a_matrix_without_a_factor():
    many = pt.dmatrix("many")
    F = factor(a)
    outputs = [F.ok, F.logabsdet(), *F.slogdet(), *F.inertia, F.D, F.solve(B[:, 0])]
    batch = np.stack([VALUES, 0 * VALUES, 2 * VALUES])
    ok, logabsdet, sign, same, positive, negative, D, x = run(
        [many], vectorize_graph(outputs, {a: many}), [batch], PYTHON
    )
    G = P.ldl(INDEFINITE)
    assert ok.tolist() == [True, False, True]
    np.testing.assert_allclose(logabsdet[0], G.logabsdet(), rtol=1e-14)
    assert np.isnan([logabsdet[1], sign[1], same[1]]).all()
    assert sign[[0, 2]].tolist() == [G.slogdet().sign] * 2
    assert (positive.tolist(), negative.tolist()) == ([4, 0, 4], [3, 0, 3])
    np.testing.assert_array_equal(D[0], G.D.diagonal())
    np.testing.assert_allclose(x[2], G.solve(B[:, 0]) / 2, rtol=1e-12)
    assert repr(F).startswith("<LDLFactor of shape (7, 7)")
    np.testing.assert_allclose(F.rcond.eval({a: VALUES}), G.rcond, rtol=1e-14)
    assert isinstance(G, sc.LDLFactor)


@pytest.mark.fast_cases(f"{PYTHON}|JAX")
@pytest.mark.filterwarnings("ignore:Cannot cache compiled function")  # of a graph, not of ours
@pytest.mark.parametrize("mode", [PYTHON, "JAX", "NUMBA"])
def test_signs_and_regularization(mode):
    """Derivatives keep what is added constant, so they are those of another matrix."""
    last = P.perm[-1]
    wrong = np.where(np.arange(N) == last, -SIGNS, SIGNS)
    b = B[:, 0]
    refused = scpt.ldl(scpt.SymmetricMatrix(P, a), signs=wrong)
    cases = [(SIGNS, 0.25), (wrong, (0.0, 0.5))]
    outputs = [refused.ok]
    for signs, rule in cases:
        F = scpt.ldl(scpt.SymmetricMatrix(P, a), signs=signs, regularize=rule)
        f = F.logabsdet() + pt.sum(F.solve(b * a[0]))
        gradient = pytensor.grad(f, a)
        outputs += [F.regularized, F.solve(b), f, gradient, pytensor.grad((gradient * da).sum(), a)]
    ok, *got = run([a, da], outputs, POINT, mode)
    assert not ok
    v = pt.dvector("v")
    F = scpt.ldl(scpt.SymmetricMatrix(P, v))
    g = F.logabsdet() + pt.sum(F.solve(b * (v[0] - a[0])))
    for k, (signs, rule) in enumerate(cases):
        count, x, f, gradient, second = got[5 * k : 5 * k + 5]
        G = P.ldl(INDEFINITE, signs=signs, regularize=rule)
        assert count == len(G.regularized) == k
        np.testing.assert_allclose(x, G.solve(b, refine=0), rtol=1e-11)
        made = np.empty((N, N))
        made[np.ix_(P.perm, P.perm)] = (G.L @ G.D @ G.L.T).toarray()
        added = P.values(made) - VALUES
        # The same function of v = a + added, without rules; a[0] is v[0] - added[0].
        gv = pytensor.grad(g, v)
        want = run(
            [v, a, da],
            [g, gv, pytensor.grad((gv * da).sum(), v)],
            (VALUES + added, np.full_like(VALUES, added[0]), CHANGE),
            PYTHON,
        )
        for x, y in zip((f, gradient, second), want, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="needs signs="):
        scpt.ldl(scpt.SymmetricMatrix(P, a), regularize=0.1)
