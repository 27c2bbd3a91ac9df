"""SymmetricMatrix, Factor, and the conversions from and to other sparse matrices."""

import copy
import pickle
from functools import partial

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st
from jax.experimental.sparse import BCOO, BCSR

import sparsechol as sc
import sparsechol.jax as scj
from support.jax_systems import System, differ, measure, x64

SYSTEM = System()
P, a = SYSTEM.P, SYSTEM.a


def bcoo(A):
    """Return a dense array as a BCOO matrix; `fromdense` compiles a program for each operation."""
    return BCOO.from_scipy_sparse(sp.coo_array(A))


def bcsr(A):
    return BCSR.from_scipy_sparse(sp.csr_array(A))


# ---- matrices ----


@pytest.mark.fast_cases(r"complex64")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_products_and_dense(dtype):
    system = System(dtype)
    M = system.matrix(system.a)
    tolerance = 100 * np.finfo(dtype).eps
    assert M.dtype == dtype
    assert M.shape == (7, 7)
    np.testing.assert_allclose(M.todense(), system.A, atol=tolerance)
    np.testing.assert_allclose(M @ system.b, system.A @ system.b, atol=20 * tolerance)
    np.testing.assert_allclose(M @ system.b[:, 0], system.A @ system.b[:, 0], atol=20 * tolerance)
    np.testing.assert_allclose(M.diagonal(), system.A.diagonal().real)


def test_real_matrix_times_complex_vector():
    x = SYSTEM.b + 1j * SYSTEM.b[::-1]
    np.testing.assert_allclose(SYSTEM.matrix(a) @ x, SYSTEM.A @ np.asarray(x), atol=1e-12)


def test_sums_and_multiples():
    M, eye = SYSTEM.matrix(a), scj.SymmetricMatrix.identity(P)
    N = 2 * M + np.float64(3) * eye - eye * jnp.float64(0.5) + M / 4
    np.testing.assert_allclose(N.todense(), 2.25 * SYSTEM.A + 2.5 * np.eye(7), atol=1e-13)
    np.testing.assert_allclose(M.with_values(2 * a).todense(), 2 * SYSTEM.A, atol=1e-13)
    assert scj.SymmetricMatrix.identity(P, dtype=np.float32).dtype == np.float32
    with pytest.raises(TypeError):
        M + 1
    with pytest.raises(TypeError):
        M * M
    with pytest.raises(TypeError):
        M / np.ones(3)
    with pytest.raises(TypeError):
        M - 1
    other = scj.SymmetricMatrix(scj.analyze(np.eye(3)), np.ones(3))
    with pytest.raises(ValueError, match="different patterns"):
        M + other


def test_arithmetic():
    """Zero and SciPy matrices are terms, too."""
    A = sp.csc_array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])
    P = sc.analyze(A)
    M, full, eye = scj.SymmetricMatrix(P, P.values(A)), A.toarray(), sp.eye_array(3, format="csc")
    for got, wanted in (
        (-M, -full),
        (M / 2, full / 2),
        (sum([M, 2 * M, eye]), 3 * full + np.eye(3)),
        (M - 0, full),
        (0 - M, -full),
        (eye + M, full + np.eye(3)),
        (eye - M, np.eye(3) - full),
        (M - A, np.zeros((3, 3))),
    ):
        np.testing.assert_allclose(got.todense(), wanted)
    x = np.array([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]])
    for left in (x, jnp.asarray(x), x[0]):
        np.testing.assert_allclose(left @ M, left @ full)
    assert M.T is M
    assert M.astype(np.float32).dtype == np.float32
    for wrong in (lambda: M + 1, lambda: 1 - M, lambda: M + np.ones(3)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(sc.PatternMismatchError):
        M + sp.csc_array(np.ones((3, 3)))


def test_transposed_hermitian_matrix():
    A = np.array([[4.0, 1.0 - 2j], [1.0 + 2j, 5.0]])
    P = sc.analyze(A)
    M, x = scj.SymmetricMatrix(P, P.values(A)), np.array([1.0, 2j])
    np.testing.assert_allclose(M.T.todense(), A.T)
    np.testing.assert_allclose(x @ M, x @ A)
    with pytest.raises(ValueError, match=r"x, \(3,\), and the matrix, \(2, 2\), do not fit"):
        np.ones(3) @ M


def test_matrices_of_different_patterns():
    M = scj.SymmetricMatrix(scj.analyze(np.eye(3)), np.ones(3))
    corner = np.eye(3)
    corner[2, 0] = corner[0, 2] = 0.5
    N = scj.SymmetricMatrix(scj.analyze(corner), np.ones(4))
    with pytest.raises(sc.PatternMismatchError, match=r"entry \(2, 0\) is in one") as caught:
        M - N
    assert (caught.value.row, caught.value.column) == (2, 0)
    turned = scj.analyze(np.eye(3), ordering=np.array([2, 0, 1]))
    with pytest.raises(sc.PatternMismatchError, match="analyze one pattern for both"):
        M + scj.SymmetricMatrix(turned, np.ones(3))


def test_matrices_are_pytrees():
    M = SYSTEM.matrix(a)
    [leaf], tree = jax.tree.flatten(M)
    assert leaf is M.values
    assert jax.tree.structure(SYSTEM.matrix(2 * a)) == tree
    doubled = jax.jit(lambda M: jax.tree.map(lambda x: 2 * x, M))(M)
    np.testing.assert_allclose(doubled.todense(), 2 * SYSTEM.A, atol=1e-13)
    assert "float64" in repr(M)
    carried, _ = jax.lax.scan(lambda M, t: (t * M, None), M, jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(carried.values, 6 * a)
    assert [str(path[0]) for path, _ in jax.tree_util.tree_leaves_with_path(M)] == [".values"]


def test_equal_patterns_do_not_trace_again():
    traces = []

    @jax.jit
    def f(M):
        traces.append(M)
        return scj.logdet(M) + scj.to_bcoo(M).data.sum()

    first = f(SYSTEM.matrix(a))
    again = pickle.loads(pickle.dumps(P))
    assert f(scj.SymmetricMatrix(again, a)) == first
    assert f(scj.SymmetricMatrix(copy.deepcopy(P), a)) == first
    assert len(traces) == 1


def test_gradients_of_packed_and_of_full_values():
    """Check that the gradient in an entry of the full matrix is half of that in the stored one."""
    full = sp.csc_array(SYSTEM.A)
    M = scj.SymmetricMatrix.from_full(P, full.data)
    np.testing.assert_allclose(M.values, a)

    def dense(data):
        A = (
            jnp.zeros((7, 7))
            .at[full.indices, np.repeat(np.arange(7), np.diff(full.indptr))]
            .set(data)
        )
        return jnp.linalg.slogdet((A + A.T) / 2)[1]

    gradient = jax.grad(lambda d: scj.logdet(scj.SymmetricMatrix.from_full(P, d)))(full.data)
    assert differ(gradient, jax.jit(jax.grad(dense))(jnp.asarray(full.data))) < 1e-12
    uneven = full.data + 0.01 * np.arange(full.nnz)
    value = scj.logdet(scj.SymmetricMatrix.from_full(P, uneven))
    np.testing.assert_allclose(value, dense(jnp.asarray(uneven)))


def test_complex_full_values():
    system = System(np.complex128)
    M = scj.SymmetricMatrix.from_full(system.P, sp.csc_array(system.A).data)
    np.testing.assert_allclose(M.todense(), system.A)


# ---- in and out ----


@pytest.mark.fast_cases(r"repeated-float64|padded-complex128")
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("kind", ["ordered", "shuffled", "lower", "upper", "repeated", "padded"])
def test_bcoo(dtype, kind):
    system = System(dtype)
    entries = {"lower": np.tril, "upper": np.triu}.get(kind, np.asarray)(system.A)
    row, column = np.nonzero(entries)
    data = entries[row, column]
    if kind == "shuffled":
        order = np.random.default_rng(0).permutation(len(row))
        row, column, data = row[order], column[order], data[order]
    if kind == "repeated":
        row, column, data = np.tile(row, 2), np.tile(column, 2), np.tile(data / 2, 2)
    if kind == "padded":
        row, column, data = np.append(row, 7), np.append(column, 7), np.append(data, 9)
    indices = np.stack([row, column], axis=1)
    B = BCOO((jnp.asarray(data), jnp.asarray(indices)), shape=(7, 7))
    for given in (None, system.P):
        M = scj.from_sparse(B, pattern=given)
        np.testing.assert_allclose(M.todense(), system.A, atol=1e-14)
        if kind == "padded":
            assert M.pattern.indices.shape == system.P.indices.shape
    if kind in ("lower", "upper"):
        return

    def dense(d):
        A = jnp.zeros((7, 7), d.dtype).at[row, column].add(d, mode="drop")
        return jnp.linalg.slogdet((A + A.conj().T) / 2)[1]

    def sparse(d):
        return scj.logdet(scj.from_sparse(BCOO((d, B.indices), shape=(7, 7)), pattern=system.P))

    wanted = jax.jit(jax.grad(dense))(B.data)
    assert differ(jax.grad(sparse)(B.data), wanted) < 1e-12
    assert differ(jax.jit(jax.grad(sparse))(B.data), wanted) < 1e-12


@pytest.mark.fast_cases(r"complex128")
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_bcsr_and_back(dtype):
    system = System(dtype)
    B = bcsr(system.A)
    M = scj.from_sparse(B)
    np.testing.assert_allclose(M.todense(), system.A)
    back = scj.to_bcoo(M)
    np.testing.assert_allclose(back.todense(), system.A)
    assert back.indices_sorted
    with pytest.raises(ValueError, match="square matrix without batch"):
        scj.from_sparse(bcsr(np.ones((2, 3))))
    g = jax.jit(jax.grad(lambda v: measure(scj.to_bcoo(system.matrix(v)).data)))(system.a)
    d = jax.jit(
        jax.grad(lambda v: measure(system.dense(v)[back.indices[:, 0], back.indices[:, 1]]))
    )(system.a)
    assert differ(g, d) < 1e-12


@pytest.mark.slow
def test_padded_bcsr():
    padded = BCSR.fromdense(jnp.asarray(SYSTEM.A), nse=np.count_nonzero(SYSTEM.A) + 2)
    np.testing.assert_allclose(scj.from_sparse(padded).todense(), SYSTEM.A)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("form", [sp.csc_array, sp.csr_array, sp.coo_array, sp.csc_matrix])
def test_scipy_matrices(dtype, form):
    system = System(dtype)
    for given in (None, system.P):
        M = scj.from_sparse(form(system.A), pattern=given)
        np.testing.assert_allclose(M.todense(), system.A, atol=1e-14)
    assert scj.from_sparse(form(np.tril(system.A)), ordering="natural").pattern == scj.analyze(
        system.A, ordering="natural"
    )
    with pytest.raises(sc.PatternMismatchError):
        scj.from_sparse(form(system.A), pattern=scj.analyze(np.eye(7)))


def test_other_matrices_are_refused():
    with pytest.raises(TypeError, match="not ndarray: for a dense array A"):
        scj.from_sparse(np.eye(3))


@pytest.mark.parametrize("form", [sp.csc_array, bcoo, bcsr, jnp.asarray])
def test_symmetry_is_checked(form):
    A = SYSTEM.A.copy()
    assert scj.analyze(form(A), check_symmetric=True) == scj.analyze(A)
    row, column = np.argwhere(np.tril(A, -1))[0]
    A[row, column] += 1
    scj.analyze(form(A))
    with pytest.raises(ValueError, match="not symmetric"):
        scj.analyze(form(A), check_symmetric=True)


SPARSE_FORMS = [sp.csc_array, sp.csr_array, bcoo, bcsr]


@pytest.mark.parametrize("form", SPARSE_FORMS)
def test_matrices_that_are_not_symmetric_are_refused(form):
    A = SYSTEM.A.copy()
    row, column = np.argwhere(np.tril(A, -1))[0]
    A[row, column] += 1
    for given in (None, SYSTEM.P):
        with pytest.raises(ValueError, match="not symmetric"):
            scj.from_sparse(form(A), pattern=given)
    M = scj.from_sparse(form(A), check_symmetric=False).todense()
    read = np.tril(A) + np.tril(A, -1).T if sp.issparse(form(A)) else (A + A.T) / 2
    np.testing.assert_allclose(M, read)
    with pytest.raises(ValueError, match="complex symmetric, not Hermitian"):
        scj.from_sparse(form(np.array([[2, 1j], [1j, 2]])))
    with pytest.raises(ValueError, match=r"on the diagonal, is 2[+]1j, not real"):
        scj.from_sparse(form(np.array([[2 + 1j, 1j], [-1j, 2]])))


@pytest.mark.parametrize("form", SPARSE_FORMS)
def test_an_upper_triangle_is_refused_or_stands_for_both(form):
    U = form(np.triu(SYSTEM.A))
    if not sp.issparse(U):
        np.testing.assert_allclose(scj.from_sparse(U).todense(), SYSTEM.A, atol=1e-14)
        return
    for given in (None, SYSTEM.P):
        with pytest.raises(ValueError, match="pass its conjugate transpose"):
            scj.from_sparse(U, pattern=given)
    with pytest.raises(ValueError, match="pass lower=False"):
        scj.analyze(U)
    assert scj.analyze(U, lower=False) == SYSTEM.P


def test_traced_values_are_not_checked():
    A = SYSTEM.A.copy()
    A[np.tril_indices_from(A, -1)] *= 2
    B = bcoo(A)
    f = jax.jit(lambda data: scj.from_sparse(BCOO((data, B.indices), shape=B.shape)).todense())
    np.testing.assert_allclose(f(B.data), (A + A.T) / 2)


def test_symmetry_of_traced_values():
    B = bcoo(SYSTEM.A)

    def f(data):
        A = BCOO((data, B.indices), shape=B.shape)
        return scj.logdet(scj.SymmetricMatrix(scj.analyze(A, check_symmetric=True), a))

    with pytest.raises(TypeError, match="values that are known"):
        jax.jit(f)(B.data)


def test_patterns_of_jax_matrices():
    assert scj.analyze(bcoo(SYSTEM.A)) == scj.analyze(jnp.asarray(SYSTEM.A))
    assert scj.analyze(bcsr(SYSTEM.A), ordering="natural") == scj.analyze(
        SYSTEM.A, ordering="natural"
    )
    assert scj.analyze(bcoo(SYSTEM.A), ordering=np.arange(7)).perm.tolist() == list(range(7))


def test_one_sided_entries_are_refused():
    A = np.array([[4.0, 1.0, 0.5], [1.0, 4.0, 0.0], [0.0, 0.0, 4.0]])
    with pytest.raises(ValueError, match=r"entries \(2, 0\) and \(0, 2\) are not both there"):
        scj.from_sparse(bcoo(A))


def test_entries_outside_a_given_pattern_are_refused():
    with pytest.raises(sc.PatternMismatchError):
        scj.from_sparse(bcoo(np.ones((7, 7))), pattern=scj.analyze(np.eye(7)))


@pytest.mark.slow
@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(
    n=st.integers(0, 9),
    dtype=st.sampled_from(["f4", "f8", "c8", "c16"]),
    triangle=st.sampled_from(["both", "lower", "upper"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_traced_indices_are_looked_up(n, dtype, triangle, seed):
    rng = np.random.default_rng(seed)
    i, j = np.nonzero(np.tri(n, k=-1) * (rng.random((n, n)) < 0.4))
    P = scj.analyze(sp.coo_array((np.ones(len(i)), (i, j)), shape=(n, n)))
    lower, upper = np.append(np.stack([i, j]), np.tile(np.arange(n), (2, 1)), axis=1), (j, i)
    indices = {
        "both": np.append(lower, upper, axis=1),
        "lower": lower,
        "upper": lower[::-1],
    }[triangle]
    indices = np.append(indices, np.full((2, 2), n), axis=1)  # padding
    indices = rng.permutation(indices.T).astype(np.int32)
    data = rng.standard_normal(len(indices)).astype(dtype)
    if np.dtype(dtype).kind == "c":
        data += 1j * rng.standard_normal(len(indices))
    B = BCOO((jnp.asarray(data), jnp.asarray(indices)), shape=(n, n))
    read = partial(scj.from_sparse, pattern=P, check_symmetric=False)
    np.testing.assert_allclose(jax.jit(read)(B).values, read(B).values, rtol=1e-6)
    again = BCOO((jnp.tile(B.data, 2), jnp.tile(B.indices, (2, 1))), shape=(n, n))
    np.testing.assert_allclose(jax.jit(read)(again).values, 2 * read(B).values, rtol=1e-6)


@pytest.mark.parametrize("make", [bcoo, bcsr])
def test_traced_indices_of_each_format(make):
    B, read = make(SYSTEM.A), partial(scj.from_sparse, pattern=SYSTEM.P)
    np.testing.assert_allclose(jax.jit(read)(B).values, a)

    def f(B):
        return scj.logdet(read(B))

    found, wanted = jax.grad(f, allow_int=True)(B), jax.jit(jax.grad(f, allow_int=True))(B)
    np.testing.assert_allclose(found.data, wanted.data)
    for wrong in (np.ones((7, 7)), np.triu(SYSTEM.A) + np.diag(np.diag(SYSTEM.A, -1), -1)):
        assert np.isnan(jax.jit(read)(make(wrong)).values).all()
    with pytest.raises(ValueError, match=r"shape \(7, 7\), and the matrix \(8, 8\)"):
        jax.jit(read)(make(np.eye(8)))


# ---- wrong input ----


def test_patterns_are_made_outside():
    B = bcsr(SYSTEM.A)
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda B: scj.logdet(scj.from_sparse(B)))(B)
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda B: scj.logdet(scj.from_sparse(B)))(bcoo(SYSTEM.A))
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda A: scj.analyze(A))(SYSTEM.A)
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda A: scj.analyze_triangle(A))(SYSTEM.A)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_wrong_values(transform):
    def make(values):
        return scj.logdet(scj.SymmetricMatrix(P, values))

    count = len(a)
    with pytest.raises(ValueError, match=rf"\(7, 7\) have shape \({count - 1},\).*\({count},\)"):
        transform(make)(a[:-1])
    with pytest.raises(ValueError, match=r"use jax.vmap"):
        transform(make)(a[None])
    with pytest.raises(TypeError, match="not int64"):
        transform(make)(jnp.ones(count, int))
    with pytest.raises(TypeError, match="not float16"):
        transform(make)(a.astype(np.float16))
    with pytest.raises(ValueError, match="full values have shape"):
        transform(lambda d: scj.SymmetricMatrix.from_full(P, d).values)(a)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
@pytest.mark.parametrize("shape", [(6,), (8, 2), (), (7, 1, 1)])
def test_wrong_vectors(transform, shape):
    b = jnp.ones(shape)
    F, M = SYSTEM.factor(a), SYSTEM.matrix(a)
    for f in (F.solve, F.solve_triangular, lambda b: M @ b, lambda b: scj.solve(M, b)):
        with pytest.raises(ValueError, match=r"\(7, 7\), and \w, \(.*do not fit"):
            transform(f)(b)


def test_wrong_options():
    F = SYSTEM.factor(a)
    with pytest.raises(ValueError, match="trans must be"):
        F.solve_triangular(SYSTEM.b, trans="X")
    with pytest.raises(ValueError, match="entries must be"):
        F.partial_inverse(entries="all")
    with pytest.raises(TypeError, match="bool"):
        F.solve(np.ones(7, bool))
    with pytest.raises(TypeError, match="what analyze returns"):
        scj.SymmetricMatrix(SYSTEM.A, a)
    with pytest.raises(ValueError, match="compute_dtype"):
        scj.logdet(SYSTEM.matrix(a), compute_dtype="float16")


def test_batches_want_vmap():
    F = jax.vmap(lambda t: scj.cholesky(t * SYSTEM.matrix(a)))(jnp.array([1.0, 2.0]))
    assert F.ok.shape == (2,)
    for f in (F.logdet, F.diag_inverse, lambda: F.solve(SYSTEM.b), lambda: F.L):
        with pytest.raises(ValueError, match=r"jax\.vmap"):
            f()
    M = jax.vmap(lambda t: t * SYSTEM.matrix(a))(jnp.array([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        scj.logdet(M)
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        M @ SYSTEM.b
    logs = jax.vmap(lambda F: F.logdet())(F)
    np.testing.assert_allclose(logs[1] - logs[0], 7 * np.log(2))


# ---- factors ----


@pytest.mark.fast_cases(r"float64")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_factor_like_that_of_numpy(dtype):
    system = System(dtype, n=30)
    F, G = system.factor(system.a), system.P.factorize(system.A)
    tolerance = {"rtol": 1e3 * np.finfo(dtype).eps, "atol": 1e3 * np.finfo(dtype).eps}
    assert F.dtype == dtype
    assert F.logdet().dtype == np.finfo(dtype).dtype
    np.testing.assert_allclose(F.L, G.L.data, **tolerance)
    np.testing.assert_allclose(F.logdet(), G.logdet(), **tolerance)
    np.testing.assert_allclose(F.diag_inverse(), G.diag_inverse(), **tolerance)
    inverse = np.linalg.inv(system.A)
    indptr, indices = system.P.factor_pattern()
    column = np.repeat(np.arange(30), np.diff(indptr))
    wanted = inverse[system.P.perm][:, system.P.perm][indices, column]
    np.testing.assert_allclose(F.partial_inverse(entries="factor"), wanted, **tolerance)
    for b in (system.b, system.b[:, 0]):
        np.testing.assert_allclose(F.solve(b), G.solve(b), **tolerance)
        for trans in ("N", "T", "C"):
            for permute in (True, False):
                np.testing.assert_allclose(
                    F.solve_triangular(b, trans=trans, permute=permute),
                    G.solve_triangular(np.asarray(b), trans=trans, permute=permute),
                    **tolerance,
                )
    np.testing.assert_allclose(F.matrix.todense(), system.A, **tolerance)
    assert F.shape == (30, 30)
    assert repr(F).startswith("<Factor")


def test_solutions_of_other_types():
    F, inverse = SYSTEM.factor(a), np.linalg.inv(SYSTEM.A)
    b = np.asarray(SYSTEM.b)
    for right in (b + 1j * b[::-1], (10 * b).astype(int), b.astype(np.float32)):
        np.testing.assert_allclose(F.solve(right), inverse @ right, rtol=1e-10)
        kind = complex if right.dtype.kind == "c" else float
        assert F.solve(right).dtype == kind
    assert F.solve(np.ones((7, 0))).shape == (7, 0)


def test_gradients_go_through_the_values_of_a_factor():
    F = SYSTEM.factor(a)
    G = jax.grad(lambda F: F.logdet())(F)
    expected = jax.grad(lambda v: jnp.linalg.slogdet(SYSTEM.dense(v))[1])(a)
    assert differ(G.matrix.values, expected) < 1e-12
    np.testing.assert_array_equal(jax.tree.leaves(G)[1], 0)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 1])
def test_tiny(backend, n):
    tiny = scj.analyze(4 * np.eye(n))
    M = scj.SymmetricMatrix(tiny, 4 * np.ones(n))
    F = jax.jit(scj.cholesky)(M)
    assert F.ok
    np.testing.assert_allclose(F.logdet(), n * np.log(4))
    np.testing.assert_allclose(F.solve(np.ones((n, 2))), 0.25 * np.ones((n, 2)))
    np.testing.assert_allclose(F.solve_triangular(np.ones(n)), 0.5 * np.ones(n))
    np.testing.assert_allclose(F.diag_inverse(), 0.25 * np.ones(n))
    np.testing.assert_allclose(F.partial_inverse(entries="factor"), 0.25 * np.ones(n))
    np.testing.assert_allclose(F.L, 2 * np.ones(n))
    g = jax.vmap(jax.grad(lambda v: scj.logdet(scj.SymmetricMatrix(tiny, v))))(4 * np.ones((3, n)))
    np.testing.assert_allclose(g, 0.25 * np.ones((3, n)))
    assert F.sample(jax.random.key(0), shape=(2, 3)).shape == (2, 3, n)
    x = jax.vmap(F.solve)(np.ones((3, n)))
    np.testing.assert_allclose(x, 0.25 * np.ones((3, n)))
    assert jax.vmap(F.solve)(np.ones((0, n))).shape == (0, n)
    np.testing.assert_allclose(scj.to_bcoo(M).todense(), 4 * np.eye(n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_configuration_is_left_alone(dtype):
    """Check that all works in single precision without 64-bit types."""
    with x64(False):
        system = System(np.float32)
        value, gradient = jax.jit(jax.value_and_grad(lambda v: scj.logdet(system.matrix(v))))(
            np.asarray(system.a, dtype)
        )
        assert value.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(value, np.linalg.slogdet(system.A)[1], rtol=1e-5)
