"""Semidefinite matrices with known null space, against dense pseudo-inverses and eigenvalues."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import LinAlgWarning

import sparsechol as sc
from sparsechol.models import grid_laplacian
from support.fields import laplacian, pseudo_inverse, random_graph, second_order
from support.helpers import SETTINGS, eps

graphs = st.tuples(st.integers(0, 2**20), st.integers(1, 30), st.integers(1, 4), st.integers(0, 3))


def graph_of(case):
    """Return the Laplacian of a random weighted graph, and the indicators of its components."""
    seed, n, parts, isolated = case
    rng = np.random.default_rng(seed)
    isolated = min(isolated, n - 1)
    parts = min(parts, n - isolated)
    i, j = random_graph(rng, n, parts, isolated)
    Q = laplacian(n, i, j, rng.lognormal(sigma=1.5, size=len(i)))
    count, label = sp.csgraph.connected_components(Q, directed=False)
    assert count == parts + isolated
    return rng, Q, np.eye(count)[label]


def agrees(F, Q, V, rng, tol=1e-10):
    """Compare everything that a factor gives with dense algebra."""
    n, dtype = Q.shape[0], F.dtype
    W, logdet = pseudo_inverse(Q.toarray().astype(np.result_type(dtype, np.float64)), V)
    size = 1 + abs(W).max()
    assert F.rank == n - V.shape[1]
    assert abs(F.logdet() - logdet) <= tol * (1 + abs(logdet))
    assert F.slogdet() == (1.0, F.logdet())
    b = rng.standard_normal((n, 3)).astype(dtype)
    assert abs(F.solve(b) - W @ b).max() <= tol * size * n
    assert abs(F.solve(b[:, 0]) - W @ b[:, 0]).max() <= tol * size * n
    assert abs(F.solve(sp.csc_array(b[:, :1])).toarray() - W @ b[:, :1]).max() <= tol * size * n
    assert F.solve(b).dtype == F.sample().dtype == dtype
    assert F.diag_inverse().dtype == dtype.type(0).real.dtype
    assert abs(F.diag_inverse() - W.diagonal().real).max() <= tol * size
    for entries in ("matrix", "factor"):
        Z = F.partial_inverse(entries=entries).tocoo()
        assert Z.dtype == dtype
        assert abs(Z.data - W[Z.coords]).max() <= tol * size
    i, j = rng.integers(-n, n, (4, 1)), rng.integers(n, size=7)
    assert abs(F.inverse_entries(i, j) - W[i, j]).max() <= tol * size
    B = rng.standard_normal((6, n)) * (rng.random((6, n)) < 0.3)
    expected = np.einsum("ri,ij,rj->r", B, W, B).real
    assert abs(F.inverse_quadratic(sp.csr_array(B)) - expected).max() <= tol * size * n
    assert F.inverse_quadratic(B[0]).dtype == F.diag_inverse().dtype


@SETTINGS
@given(graphs)
def test_graphs(case):
    rng, Q, V = graph_of(case)
    k = V.shape[1]
    for null_space in ("components", V, V @ rng.standard_normal((k, k)), sp.coo_array(V)):
        agrees(sc.cholesky(Q, null_space=null_space), Q, V, rng)
    N = sc.NullSpace(sc.analyze(Q), "components")
    assert N.dimension == len(N.rows) == k
    np.testing.assert_allclose(N.dense() @ N.dense().T, V / V.sum(axis=0) @ V.T, atol=1e-14)


@pytest.mark.parametrize("n", [3, 4, 60])
@pytest.mark.parametrize("origin", [0, 1950])
def test_second_order(n, origin):
    rng = np.random.default_rng(n)
    Q, V = second_order(n, rng.uniform(0.5, 2, n - 2))
    agrees(sc.cholesky(Q, null_space=V + np.array([0, origin])), Q, V, rng, 1e-10 * n**2)


def test_blocks_of_several_kinds():
    """Components with null spaces of dimension 2, 0, 1, given sparse, dense and mixed."""
    rng = np.random.default_rng(0)
    line, L = second_order(9)
    ring = laplacian(6, np.arange(6), (np.arange(6) + 1) % 6, rng.uniform(1, 2, 6))
    Q = sp.block_diag([line, 3 * sp.eye_array(4), ring, sp.csc_array((1, 1))], format="csc")
    V = np.zeros((20, 4))
    V[:9, [3, 1]] = L
    V[13:19, 0] = 7
    V[19, 2] = -1
    p = rng.permutation(20)
    Q, V = Q[p][:, p].tocsc(), V[p]
    sparse = sc.cholesky(Q, null_space=sp.csr_array(V))
    assert sparse.null_space.basis.shape == (20, 2)
    assert sparse.null_space.blocks == 7
    mixed = sc.cholesky(Q, null_space=sp.csr_array(V @ rng.standard_normal((4, 4))))
    assert mixed.null_space.basis.shape == (20, 4)
    assert mixed.null_space.blocks == 1
    for F in (sparse, mixed, sc.cholesky(Q, null_space=V)):
        agrees(F, Q, V, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("sparse", [False, True])
def test_types(dtype, sparse):
    rng = np.random.default_rng(1)
    i, j = random_graph(rng, 12, 2, 1)
    Q = laplacian(12, i, j, rng.integers(1, 5, len(i)).astype(float)).toarray()
    V = np.eye(3)[sp.csgraph.connected_components(Q, directed=False)[1]]
    if np.dtype(dtype).kind == "c":
        u = np.exp(1j * rng.uniform(0, 6, 12))
        Q, V = u[:, None] * Q * u.conj(), u[:, None] * V
    Q = sp.csc_array(Q.astype(dtype))
    F = sc.cholesky(Q, null_space=sp.csc_array(V) if sparse else V)
    agrees(F, Q, V, rng, 1000 * eps(dtype))
    assert F.sample(rng=0).dtype == dtype


def test_draws():
    rng = np.random.default_rng(2)
    i, j = random_graph(rng, 8, 2, 1)
    Q = laplacian(8, i, j, np.ones(len(i)))
    F = sc.cholesky(Q, null_space="components")
    assert F.sample().shape == (8,)
    assert F.sample((2, 3)).shape == (2, 3, 8)
    np.testing.assert_array_equal(F.sample(5, rng=3), F.sample(5, rng=3))
    x = F.sample(20_000, rng=4)
    V = F.null_space.dense()
    assert abs(x @ V).max() < 1e-12
    W = pseudo_inverse(Q.toarray(), V)[0]
    assert abs(np.cov(x.T) - W).max() < 0.06 * abs(W).max()


def test_the_scale_of_a_matrix_changes_nothing():
    """Grounding takes its weights from the diagonal: powers of two change no bit."""
    Q = laplacian(40, np.arange(39), np.arange(1, 40), np.linspace(1, 2, 39))
    F, G = (sc.cholesky(t * Q, null_space="components") for t in (1.0, 2.0**-60))
    assert F.rcond == G.rcond
    np.testing.assert_array_equal(F.diag_inverse(), G.diag_inverse() * 2.0**-60)
    assert abs(F.logdet() - G.logdet() - 39 * 60 * np.log(2)) < 1e-9


def test_grounding_is_better_than_a_row_removed():
    """The grounded matrix is conditioned as well as what is left without the grounded row."""
    Q = grid_laplacian((15, 15))
    Q = sp.csc_array(Q - sp.diags_array(Q.sum(axis=1)))
    F = sc.cholesky(Q, null_space="components")
    keep = np.delete(np.arange(225), F.null_space.rows)
    assert F.rcond > 0.3 * sc.cholesky(Q[keep][:, keep]).rcond


def test_refactorize_copy_and_pickle():
    rng = np.random.default_rng(5)
    i, j = random_graph(rng, 12, 2, 1)
    Q, R = (laplacian(12, i, j, rng.uniform(1, 2, len(i))) for _ in range(2))
    S = sc.analyze(Q)
    N = sc.NullSpace(S, "components")
    F = S.factorize(Q, null_space=N)
    assert F.null_space is N
    wanted = S.factorize(S.values(R), null_space=N)
    G, H = F.copy(), copy.copy(F)
    old = F.logdet()
    assert F.refactorize(R) is F
    assert F.logdet() == wanted.logdet()
    assert G.logdet() == old
    np.testing.assert_array_equal(F.diag_inverse(), wanted.diag_inverse())
    assert G.refactorize(S.values(R)).logdet() == wanted.logdet()
    assert H.logdet() == old
    for copied in (pickle.loads(pickle.dumps(F)), copy.deepcopy(F)):
        assert copied.logdet() == F.logdet()
        assert copied.null_space == N
        assert hash(copied.null_space) == hash(N)
        np.testing.assert_array_equal(copied.solve(np.arange(12.0)), F.solve(np.arange(12.0)))
    assert sc.NullSpace(S, N.dense() * 3) != N
    with pytest.raises(ValueError, match="row"):
        F.refactorize(sp.csc_array(Q + sp.eye_array(12)))
    assert F.logdet() == wanted.logdet()  # the old factor stays
    with pytest.raises(sc.NotPositiveDefiniteError, match="not positive semidefinite"):
        F.refactorize(-Q)
    with pytest.raises(np.linalg.LinAlgError, match="no factor"):
        F.logdet()
    with pytest.raises(np.linalg.LinAlgError, match="no factor"):
        F.condition(np.ones(12))
    assert F.refactorize(Q).logdet() == old
    b = rng.standard_normal((12, 2))
    np.testing.assert_array_equal(F.to_linear_operator() @ b, F.solve(b))
    assert "rank 9" in repr(F)
    assert "dimension 3" in repr(N)


def batch_of(kind):
    """Dense matrices of one pattern and null space, and a basis."""
    rng = np.random.default_rng(6)
    if kind == "lines":
        matrices = [second_order(9, rng.uniform(1, 2, 7))[0] for _ in range(3)]
        return [Q.toarray() for Q in matrices], second_order(9)[1]
    i, j = random_graph(rng, 12, 2, 1)
    matrices = [laplacian(12, i, j, rng.uniform(1, 2, len(i))).toarray() for _ in range(3)]
    V = np.eye(3)[sp.csgraph.connected_components(matrices[0], directed=False)[1]]
    if kind == "complex":
        u = np.exp(1j * rng.uniform(0, 6, 12))
        return [u[:, None] * Q * u.conj() for Q in matrices], u[:, None] * V
    return matrices, V


@pytest.mark.parametrize("kind", ["graphs", "sparse", "lines", "complex"])
@pytest.mark.parametrize("threads", [1, 2])
def test_batches(kind, threads):
    rng = np.random.default_rng(7)
    matrices, V = batch_of(kind)
    n, S = len(V), sc.analyze(sum(abs(Q) for Q in matrices))
    values = np.array([S.values(Q) for Q in matrices])
    null_space = sp.csc_array(V) if kind == "sparse" else V
    batch = S.factorize_batch(values, null_space=null_space, threads=threads)
    assert len(batch) == 3
    assert f"3 factors of shape {(n, n)}, {values.dtype}, rank {n - V.shape[1]}" in repr(batch)
    np.testing.assert_array_equal(batch.slogdet(), [np.ones(3), batch.logdet()])
    b = rng.standard_normal((3, n, 2)).astype(values.dtype)
    x, y = batch.solve(b, threads=threads), batch.solve(b[:, :, 0])
    Z, diagonal = batch.partial_inverse(threads=threads), batch.diag_inverse(threads=threads)
    B = rng.standard_normal((4, n)) * (rng.random((4, n)) < 0.5)
    variances, draws = batch.inverse_quadratic(B, threads=threads), batch.sample(20_000, rng=8)
    columns = np.repeat(np.arange(n), np.diff(S.indptr))
    for k, Q in enumerate(matrices):
        W, logdet = pseudo_inverse(Q, V)
        np.testing.assert_allclose(variances[k], np.diag(B @ W @ B.T).real, rtol=1e-10)
        assert abs(draws[k] @ V.conj()).max() < 1e-10
        covariance = draws[k].T @ draws[k].conj() / 20_000
        assert abs(covariance - W).max() < 0.05 * abs(W).max()
        assert abs(batch.logdet()[k] - logdet) < 1e-11
        assert abs(x[k] - W @ b[k]).max() < 1e-11 * (1 + abs(W).max())
        np.testing.assert_allclose(y[k], x[k, :, 0], rtol=1e-12, atol=1e-12)
        assert abs(Z[k] - W[S.indices, columns]).max() < 1e-12 * (1 + abs(W).max())
        assert abs(diagonal[k] - W.diagonal()).max() < 1e-12 * (1 + abs(W).max())
        F = S.factorize(values[k], null_space=batch.null_space)
        assert batch.rcond[k] == F.rcond == batch[k].rcond
        assert batch.logdet()[k] == F.logdet() == batch[k].logdet()
        for G in (F, batch[k]):
            near = {"rtol": 1e-12, "atol": 1e-13}
            np.testing.assert_allclose(x[k], G.solve(b[k]), **near)
            np.testing.assert_allclose(diagonal[k], G.diag_inverse(), **near)
            np.testing.assert_allclose(Z[k], S.values(G.partial_inverse()), **near)
            np.testing.assert_allclose(variances[k], G.inverse_quadratic(B), **near)
    assert batch.inverse_quadratic(B[0]).shape == (3,)
    assert batch.sample().shape == (3, n)
    again = pickle.loads(pickle.dumps(batch))
    assert again.refactorize(values[::-1]) is again
    np.testing.assert_array_equal(again.logdet(), batch.logdet()[::-1])
    np.testing.assert_allclose(again.diag_inverse(), diagonal[::-1], rtol=1e-12, atol=1e-13)


def test_what_is_refused_in_a_batch():
    matrices, V = batch_of("graphs")
    S = sc.analyze(matrices[0])
    values = np.array([S.values(Q) for Q in matrices])
    batch = S.factorize_batch(values, null_space=V)
    old = batch.logdet()
    wrong = values.copy()
    wrong[1, S.indptr[4]] += 1
    for call in (lambda a: S.factorize_batch(a, null_space=V), batch.refactorize):
        with pytest.raises(ValueError, match=r"matrix 1 of the batch: in row 4"):
            call(wrong)
    np.testing.assert_array_equal(batch.logdet(), old)  # the old factors stay
    with pytest.raises(ValueError, match="do not fit a batch of 3"):
        batch.refactorize(values[:2])
    with pytest.raises(ValueError, match="the shapes of the batch"):
        batch.solve(np.ones(12))
    for call in (lambda a: S.factorize_batch(a, null_space="components"), batch.refactorize):
        with pytest.raises(sc.NotPositiveDefiniteError, match="not positive semidefinite") as e:
            call(np.array([values[0], values[1], -values[2]]))
        assert e.value.item == 2
    with pytest.raises(np.linalg.LinAlgError, match="no factor"):
        batch.logdet()
    with pytest.raises(sc.NotPositiveDefiniteError, match="lacks a null direction") as error:
        S.factorize_batch(values, null_space=V[:, 1:])
    assert error.value.item == 0
    empty = S.factorize_batch(np.empty((0, len(S.indices))), null_space=V)
    assert len(empty) == 0
    assert empty.logdet().shape == (0,)
    assert empty.diag_inverse().shape == (0, 12)


def test_ten_thousand_components_take_linear_time_and_memory():
    one = laplacian(6, np.arange(5), np.arange(1, 6), np.arange(1.0, 6.0))
    Q = sp.kron(sp.eye_array(10_000), one, format="csc")
    F = sc.cholesky(Q, null_space="components")
    N = F.null_space
    assert N.dimension == N.blocks == 10_000
    assert N.basis.shape == (60_000, 1)
    W, logdet = pseudo_inverse(one.toarray(), np.ones((6, 1)))
    assert abs(F.logdet() / 10_000 - logdet) < 1e-12
    assert abs(F.diag_inverse().reshape(-1, 6) - W.diagonal()).max() < 1e-13
    b = np.random.default_rng(0).standard_normal((60_000, 2))
    wanted = np.einsum("ij,cjk->cik", W, b.reshape(-1, 6, 2))
    assert abs(F.solve(b).reshape(-1, 6, 2) - wanted).max() < 1e-12
    np.testing.assert_allclose(F.inverse_entries([7, 7], [8, 13]), [W[1, 2], 0], atol=1e-14)


def test_what_no_null_space_is():
    Q = laplacian(5, [0, 1, 3], [1, 2, 4], [1.0, 2.0, 3.0])
    V = np.array([[1.0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]).T
    nan = V.copy()
    nan[3, 1] = np.nan
    wrong = V.copy()
    wrong[2, 0] = 2
    S = sc.analyze(Q)
    for bad, message in [
        (np.ones((4, 2)), r"shape \(4, 2\).*\(5, k\)"),
        (np.ones((5, 0)), r"shape \(5, 0\)"),
        (sp.csc_array((5, 0)), r"shape \(5, 0\)"),
        (np.ones((5, 1, 1)), "shape"),
        ("component", "'components', not 'component'"),
        (nan, r"null_space\[3, 1\]"),
        (sp.csc_array(nan), r"null_space\[3, 1\]"),
        (V @ [[1, 2, 0], [0, 0, 1]], "dependent: column 0|dependent: column 1"),
        (np.ones((5, 6)), "dependent"),
        (V * [1, 0], "column 1 of null_space= is zero"),
        (sp.csc_array(V * [1, 0]), "column 1 of null_space= is zero"),
        (sp.csc_array(V[:, [0, 0]]), "dependent: column"),
        (sc.NullSpace(sc.analyze(np.eye(5)), "components"), "of another pattern"),
        (wrong, r"row [12] "),
        (sp.csc_array(wrong), r"row [12] "),
    ]:
        with pytest.raises(ValueError, match=message):
            S.factorize(Q, null_space=bad)
    with pytest.raises(TypeError, match="complex"):
        sc.cholesky(Q, null_space=1j * V)
    with pytest.raises(TypeError, match="not supported"):
        sc.cholesky(Q, null_space=np.array([["a"]] * 5))


def test_a_row_beyond_the_null_space_is_named():
    Q = laplacian(4, [0, 1, 2], [1, 2, 3], [1.0, 1.0, 1.0]).toarray()
    Q[2, 2] += 1e-3
    with pytest.raises(ValueError, match="in row 2 the product"):
        sc.cholesky(Q, null_space="components")
    Q[2, 2] -= 1e-3 * (1 - 1e-10)  # rounding, in a matrix of another precision
    assert sc.cholesky(Q, null_space="components").rank == 3


@pytest.mark.parametrize("seed", range(6))
def test_a_null_direction_that_is_missing_is_refused(seed):
    """Pivots of large graphs are not always rounding; the condition number tells, too."""
    rng = np.random.default_rng(seed)
    i, j = random_graph(rng, 300, 2, 0)
    Q = laplacian(300, i, j, rng.lognormal(sigma=2, size=len(i)))
    label = sp.csgraph.connected_components(Q, directed=False)[1]
    with pytest.raises(
        sc.NotPositiveDefiniteError, match="null_space= lacks a null direction"
    ) as caught:
        sc.cholesky(Q, null_space=np.ones(300))
    assert len({label[row] for row in caught.value.rows}) == 1
    assert len(caught.value.rows) == 150
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.cholesky(Q, null_space=np.eye(2)[label])
    line, V = second_order(20)
    with pytest.raises(sc.NotPositiveDefiniteError, match="null_space= lacks a null direction"):
        sc.cholesky(line, null_space=V[:, :1])


def test_long_trends_are_warned_of_and_refused():
    """Their pivots are never weak, and their condition number grows as n^4."""

    def walk(n):
        D = sp.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(n - 2, n))
        exact = np.log(n**2 * (n**2 - 1.0) / 12)
        return sp.csc_array(D.T @ D), np.c_[np.ones(n), np.arange(n)], exact

    Q, V, exact = walk(1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert abs(sc.cholesky(Q, null_space=V).logdet() - exact) < 1e-6
    Q, V, exact = walk(10_000)
    with pytest.warns(LinAlgWarning, match="ill-conditioned"):
        F = sc.cholesky(Q, null_space=V)
    assert abs(F.logdet() - exact) < 0.01
    with pytest.warns(LinAlgWarning, match="ill-conditioned"):
        F.copy().refactorize(2 * Q)
    Q, V, _ = walk(30_000)
    with pytest.raises(sc.NotPositiveDefiniteError, match="hidden by rounding"):
        sc.cholesky(Q, null_space=V)
    with pytest.warns(LinAlgWarning, match="ill-conditioned"):
        sc.cholesky(Q, null_space=V, weak_pivots="accept")


def test_empty_and_zero_matrices():
    F = sc.cholesky(np.zeros((3, 3)), null_space="components")
    assert F.rank == 0
    assert F.logdet() == 0
    np.testing.assert_array_equal(F.solve(np.ones(3)), 0)
    np.testing.assert_array_equal(F.diag_inverse(), 0)
    np.testing.assert_array_equal(F.sample(2), 0)
    F = sc.cholesky(np.zeros((0, 0)), null_space="components")
    assert F.rank == 0
    assert F.logdet() == 0
    assert F.solve(np.zeros(0)).shape == (0,)


def test_gradient_along_changes_that_keep_the_null_space():
    """The gradient of log pdet is the pseudo-inverse on the pattern."""
    rng = np.random.default_rng(7)
    i, j = random_graph(rng, 12, 2, 1)
    w, dw = rng.uniform(1, 2, (2, len(i)))
    F = sc.cholesky(laplacian(12, i, j, w), null_space="components")
    slope = F.partial_inverse().multiply(laplacian(12, i, j, dw)).sum()
    h = 1e-5
    ends = [sc.cholesky(laplacian(12, i, j, w + s * dw), null_space="components").logdet()
            for s in (h, -h)]  # fmt: skip
    assert abs((ends[0] - ends[1]) / (2 * h) - slope) < 1e-7
    with pytest.raises(TypeError, match="not SemidefiniteFactor"):
        sc.derivatives.logdet_grad(F)
