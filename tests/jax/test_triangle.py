"""Plain sparse triangles."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
import sparsechol.jax as scj
from support.jax_systems import differ

# All lowerings are called by the same rules: the slower ones take fewer cases.
CASES = [("ffi", *case) for case in itertools.product((True, False), (float, complex), "NTC")]
CASES += itertools.product(["buffer", "callback"], (True,), (float, complex), "NC")
CASES += itertools.product(["buffer", "callback"], (False,), (complex,), "T")


def draw(lower, dtype, n=7):
    rng = np.random.default_rng(0)
    T = np.where(rng.random((n, n)) < 0.4, rng.standard_normal((n, n)), 0).astype(dtype)
    T = (np.tril(T, -1) if lower else np.triu(T, 1)) + np.diag(1 + rng.random(n))
    b, dt = rng.standard_normal((n, 3)).astype(dtype), rng.standard_normal(40)
    if dtype is complex:
        T, b = T + 1j * np.where(T == 0, 0, rng.standard_normal((n, n))), b + 1j * b[::-1]
        dt = dt + 1j * rng.standard_normal(40)
    return T, b, dt


def op(T, trans):
    return {"N": T, "T": T.T, "C": T.conj().T}[trans]


@pytest.mark.fast_cases(r"ffi-True-float-N")
@pytest.mark.parametrize(("backend", "lower", "dtype", "trans"), CASES, indirect=["backend"])
def test_against_dense(backend, lower, dtype, trans):
    T, b, dt = draw(lower, dtype)
    pattern = scj.analyze_triangle(sp.csr_array(T), lower=lower)
    t = jnp.asarray(pattern.values(T))
    dt = jnp.asarray(dt[: len(t)])
    column = np.repeat(np.arange(7), np.diff(pattern.indptr))
    where = (pattern.indices, column) if lower else (column, pattern.indices)

    def sparse(t):
        return scj.solve_triangular(scj.TriangularMatrix(pattern, t), b * t[0], trans=trans)

    def dense(t):
        return jnp.linalg.solve(op(jnp.zeros((7, 7), t.dtype).at[where].set(t), trans), b * t[0])

    assert differ(sparse(t), dense(t)) < 1e-12
    assert differ(scj.TriangularMatrix(pattern, t) @ b[:, 0], T @ b[:, 0]) < 1e-13

    def transformed(f):
        def g(t):
            return jnp.sum(jnp.sin(jnp.abs(f(t))))

        def along(t):
            return jax.jvp(jax.grad(g), (t,), (dt,))

        yield jax.jit(jax.grad(g))(t)
        yield jax.jit(along)(t)
        yield jax.jit(jax.vmap(jax.grad(g)))(jnp.stack([t, 2 * t]))
        yield jax.jit(jax.grad(lambda t: jnp.sum(along(t)[1].real)))(t)

    for got, wanted in zip(transformed(sparse), transformed(dense), strict=True):
        assert differ(got, wanted) < 1e-10


def test_many_right_hand_sides_of_one_triangle():
    T, b, _ = draw(True, float)
    pattern = scj.analyze_triangle(T)
    M = scj.TriangularMatrix(pattern, pattern.values(T))
    x = jax.vmap(lambda b: scj.solve_triangular(M, b), in_axes=1, out_axes=1)(b)
    np.testing.assert_allclose(T @ x, b, atol=1e-12)
    unit = np.tril(T, -1) + np.eye(7)
    x = scj.solve_triangular(M, b, unit_diagonal=True)
    np.testing.assert_allclose(unit @ x, b, atol=1e-12)


def test_patterns():
    T, _, _ = draw(True, float)
    pattern = scj.analyze_triangle(T)
    assert (
        pattern == scj.analyze_triangle(sp.coo_array(T)) != scj.analyze_triangle(T.T, lower=False)
    )
    assert hash(pattern) == hash(scj.analyze_triangle(sp.csc_array(T)))
    assert pattern != 3
    assert "lower" in repr(pattern)
    M = scj.TriangularMatrix(pattern, pattern.values(T))
    assert "float64" in repr(jax.tree.map(lambda x: 2 * x, M))
    empty = scj.analyze_triangle(np.zeros((0, 0)))
    assert scj.solve_triangular(scj.TriangularMatrix(empty, np.zeros(0)), np.zeros(0)).shape == (0,)


def test_wrong_input():
    T, b, _ = draw(True, float)
    pattern = scj.analyze_triangle(T)
    M = scj.TriangularMatrix(pattern, pattern.values(T))
    outside = r"entry \(\d, \d\) of the matrix is outside the pattern"
    with pytest.raises(sc.PatternMismatchError, match=outside) as caught:
        pattern.values(np.ones((7, 7)))
    assert T[caught.value.row, caught.value.column] == 0
    with pytest.raises(ValueError, match="the matrix has shape"):
        pattern.values(np.ones((3, 3)))
    with pytest.raises(ValueError, match="square"):
        scj.analyze_triangle(np.ones((3, 4)))
    with pytest.raises(ValueError, match="have shape"):
        scj.TriangularMatrix(pattern, np.ones(3))
    with pytest.raises(TypeError, match="not int64"):
        scj.TriangularMatrix(pattern, np.ones(len(M.values), int))
    with pytest.raises(TypeError, match="analyze_triangle returns"):
        scj.TriangularMatrix(T, M.values)
    with pytest.raises(ValueError, match="trans must be"):
        scj.solve_triangular(M, b, trans=3)
    with pytest.raises(ValueError, match="do not fit"):
        scj.solve_triangular(M, b[:-1])
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), M)
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        scj.solve_triangular(batch, b)


def test_the_other_triangle_is_refused():
    T = np.array([[2.0, 0.0], [1.0, 4.0]])
    P = scj.analyze_triangle(T)
    for form in (np.asarray, sp.csc_array, sp.csr_array):
        for function in (scj.analyze_triangle, P.values):
            with pytest.raises(ValueError, match="pass lower=False"):
                function(form(T.T))
        with pytest.raises(ValueError, match="pass lower=True"):
            scj.analyze_triangle(form(T), lower=False)
    np.testing.assert_array_equal(P.values(np.eye(2)), [1, 0, 1])
