"""Congruences A^H W A + B under transformations, against dense ones."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental.sparse import BCOO, BCSR

import sparsechol as sc
import sparsechol.jax as scj
from support.jax_systems import differ

RNG = np.random.default_rng(3)
M, N = 12, 6
ROWS = np.where(RNG.random((M // 2, N)) < 0.5, 1.0, 0)
A = sp.csr_array(np.vstack([ROWS, ROWS[::-1]]))  # rows that are alike, and some that are not
A = sp.csr_array(sp.vstack([A[:10], sp.csr_array(np.eye(2, N))]))
B = np.eye(N) + np.eye(N, k=3) + np.eye(N, k=-3)


def numbers(shape, dtype=float):
    x = RNG.standard_normal(shape)
    return jnp.asarray(x + 1j * RNG.standard_normal(shape) if dtype is complex else x)


class Case:
    """Operands, and the packed values of the same matrix by dense algebra."""

    def __init__(self, block, dtype=float):
        self.G = scj.gram(A, B, block=block)
        self.a = numbers(self.G.indices.size, dtype)
        self.w = numbers(M) if block == 1 else numbers((M // block, block, block), dtype)
        self.b = numbers(2 * N - 3, dtype)

    @property
    def operands(self):
        return self.a, self.w, self.b

    def sparse(self, a, w, b):
        return self.G.values(a, w, b).values

    def dense(self, a, w, b):
        G, P, k = self.G, self.G.pattern, self.G.block
        row = np.repeat(np.arange(M), np.diff(G.indptr))
        D = jnp.zeros((M, N), a.dtype).at[row, G.indices].set(a)
        blocks = w[:, None, None] if k == 1 else (w + jnp.conj(jnp.swapaxes(w, 1, 2))) / 2
        W = jnp.einsum("rs,rij->risj", jnp.eye(M // k), blocks).reshape(M, M)
        column = np.repeat(np.arange(N), np.diff(P.indptr))
        return (D.conj().T @ W @ D)[P.indices, column].at[G._places_of_b].add(b)


def energy(f):
    """A number with derivatives of every order in all operands."""
    return lambda *z: jnp.sum(jnp.abs(f(*z)) ** 2) + jnp.sum(jnp.cos(jnp.real(f(*z))))


@pytest.mark.fast_cases(r"ffi-1-float")
@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_against_dense(backend, block, dtype):
    case = Case(block, dtype)
    changes = tuple(numbers(x.shape, complex if x.dtype == complex else float)
                    for x in case.operands)  # fmt: skip
    weights = jnp.stack([case.w, 2 * case.w, -case.w])

    def transformed(f):
        g = energy(f)
        yield jax.jit(f)(*case.operands)
        yield jax.jvp(f, case.operands, changes)
        yield jax.jit(jax.grad(g, (0, 1, 2)))(*case.operands)
        yield jax.vmap(f, (None, 0, None))(case.a, weights, case.b)
        yield jax.vmap(jax.grad(g, (0, 1)), (None, 0, None))(case.a, weights, case.b)
        yield jax.grad(
            lambda a: jnp.sum(jnp.abs(jax.vmap(f, (None, 0, None))(a, weights, case.b)) ** 2)
        )(case.a)

    for ours, theirs in zip(transformed(case.sparse), transformed(case.dense), strict=True):
        assert differ(ours, theirs) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 2])
def test_second_and_third_derivatives(block):
    case = Case(block)
    changes = tuple(numbers(x.shape) for x in case.operands)

    def transformed(f):
        g = energy(f)
        gradient = jax.grad(g, (0, 1, 2))
        yield jax.jvp(gradient, case.operands, changes)[1]

        def along(*z):
            return sum(jnp.sum(x * y) for x, y in zip(gradient(*z), changes, strict=True))

        yield jax.grad(along, (0, 1, 2))(*case.operands)
        yield jax.jvp(jax.grad(along, (0, 1, 2)), case.operands, changes)[1]

    for ours, theirs in zip(transformed(case.sparse), transformed(case.dense), strict=True):
        assert differ(ours, theirs) < 1e-11


@pytest.mark.slow
def test_newton_step_of_residuals():
    """Residuals to a step in one program: J by coloring, J^T W J + D, a factor, a gradient."""

    def residual(x, t):
        return jnp.concatenate([x[1:] - jnp.sin(x[:-1]), t * x**2])

    x = jnp.linspace(0.5, 1.5, 9)
    J = scj.sparse_jacobian(lambda x: residual(x, 2.0), x)
    G = scj.gram(J, sp.eye_array(9))

    def step(x, damping):
        r = residual(x, 2.0)
        values = G.from_columns(J.values(x))
        H = G.values(values, jnp.arange(1.0, 18.0), damping * jnp.ones(9))
        right = jax.vjp(lambda x: residual(x, 2.0), x)[1](jnp.arange(1.0, 18.0) * r)[0]
        return scj.solve(H, right)

    def dense_step(x, damping):
        D = jax.jacobian(lambda x: residual(x, 2.0))(x)
        W = jnp.diag(jnp.arange(1.0, 18.0))
        return jnp.linalg.solve(D.T @ W @ D + damping * jnp.eye(9), D.T @ W @ residual(x, 2.0))

    for f in (lambda g: jax.jit(g)(x, 0.3), lambda g: jax.jacobian(g, (0, 1))(x, 0.3)):
        assert differ(f(step), f(dense_step)) < 1e-10


def test_forms_of_a():
    case = Case(1)
    G, D = case.G, sp.csr_array((np.asarray(case.a), case.G.indices, case.G.indptr), (M, N))
    wanted = G.values(case.a, case.w).values
    rows, columns = D.tocoo().coords
    shuffled = RNG.permutation(len(rows))
    bcoo = BCOO((case.a, jnp.asarray(np.stack([rows, columns], 1))), shape=(M, N))
    mixed = BCOO((case.a[shuffled], bcoo.indices[shuffled]), shape=(M, N))
    padded = BCOO.fromdense(bcoo.todense(), nse=case.a.size + 3)
    for form in (D, D.tocsc(), bcoo, BCSR.from_bcoo(bcoo), mixed, padded):
        assert differ(G.values(form, case.w).values, wanted) == 0
        pattern = form if sp.issparse(form) else type(form)
        assert scj.gram(form, B) == G, pattern
    assert differ(jax.jit(lambda a: G.values(BCOO((a, bcoo.indices), shape=(M, N)), case.w).values)(
        case.a), wanted) == 0  # fmt: skip
    by_column = D.tocsc().data
    assert differ(G.from_columns(by_column), case.a) == 0
    Q = scj.from_sparse(sp.csc_array(B))
    assert scj.gram(A, Q) == scj.gram(A, Q.pattern) == G
    summed = G.values(case.a, case.w, Q).values
    assert differ(summed, G.values(case.a, case.w, Q.values).values) == 0
    assert differ(summed, sc.gram(A, B).values(np.asarray(case.a), np.asarray(case.w),
                                               np.asarray(Q.values))) < 1e-14  # fmt: skip
    assert differ(G.values(case.a).values, G.values(case.a, jnp.ones(M)).values) == 0


def test_static_argument_and_pickle():
    G = scj.gram(A, B)
    f = jax.jit(lambda G, a: G.values(a).values, static_argnums=0)
    a = numbers(G.indices.size)
    assert differ(f(G, a), f(pickle.loads(pickle.dumps(G)), a)) == 0
    assert f._cache_size() == 1
    assert jax.tree.leaves(G) == []


def test_single_precision():
    G = scj.gram(A)
    a = jnp.ones(G.indices.size, jnp.float32)
    assert G.values(a).values.dtype == jnp.float32
    assert G.values(a, jnp.ones(M, jnp.float32)).values.dtype == jnp.float32


def test_mistakes():
    G = scj.gram(A)
    a = numbers(G.indices.size)
    with pytest.raises(ValueError, match=r"a has shape \(2,\)"):
        G.values(jnp.ones(2))
    with pytest.raises(ValueError, match="w has shape"):
        G.values(a, jnp.ones(3))
    with pytest.raises(ValueError, match="vmap"):
        G.values(a, jnp.ones((2, M)))
    with pytest.raises(TypeError, match="complex"):
        G.values(a, 1j * jnp.ones(M))
    with pytest.raises(ValueError, match="without its pattern"):
        G.values(a, b=jnp.ones(N))
    with pytest.raises(TypeError, match="float32"):
        G.values(np.ones(G.indices.size, int))
    with pytest.raises(ValueError, match="another pattern"):
        scj.gram(A, B).values(a, b=scj.from_sparse(sp.eye_array(N)))
    with pytest.raises(sc.PatternMismatchError, match=r"entry \(\d+, \d+\)"):
        G.values(BCOO.fromdense(jnp.ones((M, N))))
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda A: scj.gram(A).values(a))(jnp.ones((M, N)))
    with pytest.raises(ValueError, match="batch"):
        scj.gram(BCOO.fromdense(jnp.ones((2, 3, 3)), n_batch=1))
