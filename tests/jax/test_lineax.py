"""The lineax solver, tested by properties as lineax tests its own."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsechol.jax as scj
from support.jax_systems import System, differ

if importlib.util.find_spec("lineax") is None:
    pytest.skip("lineax is not installed", allow_module_level=True)

import lineax

from sparsechol.jax.lineax_solver import Cholesky, SPDLinearOperator

DTYPES = [np.float64, np.complex128]


def operator(system, a=None):
    return SPDLinearOperator(system.matrix(system.a if a is None else a))


@pytest.fixture(params=DTYPES)
def system(request):
    return System(request.param)


def test_operator_is_that_of_its_matrix(system):
    A, x = operator(system), system.b[:, 0]
    dense = lineax.MatrixLinearOperator(jnp.asarray(system.A))
    for f in (
        lambda o: o.as_matrix(),
        lambda o: o.mv(x),
        lambda o: o.T.mv(x),
        lambda o: lineax.conj(o).mv(x),
        lineax.diagonal,
        lineax.tridiagonal,
        lambda o: lineax.materialise(o).as_matrix(),
        lambda o: lineax.linearise(o).mv(x),
        lambda o: (2.0 * o + o).mv(x),
    ):
        assert differ(f(A), f(dense)) < 1e-12
    assert A.in_structure() == dense.in_structure()
    assert lineax.is_positive_semidefinite(A)
    assert lineax.is_symmetric(A) == (system.dtype.kind != "c")
    for question in ("is_diagonal", "is_lower_triangular", "has_unit_diagonal"):
        assert not getattr(lineax, question)(A)


def test_multiples_and_sums(system):
    A, b = operator(system), system.b[:, 0]
    for op, factor in (
        (2 * A, 2),
        (A / 4, 0.25),
        (A + 2 * A, 3),
        (2 * A + (-A), 1),
        (3 * A - A, 2),
    ):
        tagged = lineax.TaggedLinearOperator(op, lineax.positive_semidefinite_tag)
        for given in (op, tagged):
            x = lineax.linear_solve(given, b, Cholesky()).value
            np.testing.assert_allclose(factor * system.A @ x, b, atol=1e-12)
    with pytest.raises(ValueError, match="complex multiple"):
        Cholesky().init(1j * A, {})


def test_well_posed(system):
    A, b, solver = operator(system), system.b[:, 0], Cholesky()
    state = solver.init(A, {})
    for given in ({}, {"state": state}):
        x = lineax.linear_solve(A, b, solver, **given).value
        np.testing.assert_allclose(system.A @ x, b, atol=1e-12)
    x = lineax.linear_solve(A.T, b, solver).value
    np.testing.assert_allclose(system.A.T @ x, b, atol=1e-12)
    tagged = lineax.TaggedLinearOperator(A, lineax.symmetric_tag)
    if system.dtype.kind != "c":
        x = lineax.linear_solve(tagged, b, solver).value
        np.testing.assert_allclose(system.A @ x, b, atol=1e-12)


@pytest.mark.slow
def test_transformations(system):
    def sparse(a, b):
        return lineax.linear_solve(operator(system, a), b, Cholesky()).value

    def dense(a, b):
        return jnp.linalg.solve(system.dense(a), b)

    a, b = system.a, system.b[:, 0]
    da, db = system.da, system.b[:, 1]

    def check(f):
        assert differ(f(sparse), f(dense)) < 1e-11

    def real(f):
        return lambda a, b: jnp.sum(jnp.abs(f(a, b)) ** 2)

    check(lambda f: jax.jvp(f, (a, b), (da, db)))
    check(lambda f: jax.jvp(lambda *t: jax.jvp(f, t, (da, db))[1], (a, b), (da, db)))
    check(lambda f: jax.jit(jax.grad(real(f), (0, 1)))(a, b))
    check(lambda f: jax.jvp(jax.grad(real(f), (0, 1)), (a, b), (da, db)))
    check(lambda f: jax.vmap(f)(jnp.stack([a, 2 * a]), jnp.stack([b, db])))
    check(lambda f: jax.vmap(f, (None, 0))(a, jnp.stack([b, db])))
    check(
        lambda f: jax.vmap(jax.vmap(f, (None, 0)), (0, None))(
            jnp.stack([a, 2 * a]), jnp.stack([b, db, b])
        )
    )


def test_failures(system):
    solution = lineax.linear_solve(
        operator(system, -system.a), system.b[:, 0], Cholesky(), throw=False
    )
    assert solution.result == lineax.RESULTS.singular
    with pytest.raises(ValueError, match="takes an SPDLinearOperator"):
        Cholesky().init(lineax.MatrixLinearOperator(jnp.eye(7)), {})
    with pytest.raises(ValueError, match="do not match"):
        lineax.linear_solve(operator(system), jnp.ones(3), Cholesky())


def test_the_state_is_a_factor(system):
    state = Cholesky().init(operator(system), {})
    assert isinstance(state, scj.Factor)
