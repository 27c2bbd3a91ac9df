"""Congruences A^H W A + B, against dense algebra."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsechol as sc
from sparsechol._core.symbolic import congruence
from sparsechol._scipy import gram_pattern
from support.helpers import DTYPES, SETTINGS, eps

REAL = {np.float32: np.float32, np.float64: np.float64, np.complex64: np.float32,
        np.complex128: np.float64}  # fmt: skip


def numbers(rng, shape, dtype=np.float64):
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def hermitian(x):
    return x + np.conj(np.swapaxes(x, -1, -2))


def pattern(rng, m, n, groups=False):
    """Rows, some of which are empty or alike, with a long one now and then."""
    dense = rng.random((m, n)) < rng.random((m, 1)) * rng.random()
    if m and rng.random() < 0.3:
        dense[rng.integers(m)] = True
    if groups and m:
        dense = dense[rng.integers(0, min(m, 3), m)]
    return sp.csr_array(dense.astype(float))


def dense_a(G, a):
    return sp.csr_array((a, G.indices, G.indptr), shape=G.shape).toarray()


def dense_w(G, w):
    if G.block == 1:
        return np.diag(w)
    return sp.block_diag(list(w)).toarray() if len(w) else np.zeros((0, 0))


def packed(G, dense):
    P = G.pattern
    return dense[P.indices, np.repeat(np.arange(P.shape[0]), np.diff(P.indptr))]


def weights(rng, G, dtype):
    if G.block == 1:
        return numbers(rng, G.shape[:1], REAL[dtype])
    return hermitian(numbers(rng, G.weight_shape, dtype))


def close(x, y, dtype, scale=1.0):
    bound = 200 * eps(dtype) * max(scale, np.abs(y).max(initial=0))
    return x.shape == y.shape and np.abs(x - y).max(initial=0) <= bound


@SETTINGS
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1, 1, 2, 3, 6]), st.booleans(),
    st.sampled_from(DTYPES), st.booleans(),
)  # fmt: skip
def test_against_dense(seed, block, groups, dtype, with_b):
    rng = np.random.default_rng(seed)
    m, n = block * int(rng.integers(0, 9)), int(rng.integers(0, 12))
    A = pattern(rng, m, n, groups)
    B = hermitian(np.where(rng.random((n, n)) < 0.2, numbers(rng, (n, n), dtype), 0))
    G = sc.gram(A, B if with_b else None, block=block)
    a, w = numbers(rng, G.indices.size, dtype), weights(rng, G, dtype)
    D, W = dense_a(G, a), dense_w(G, w)
    wanted = D.conj().T @ W @ D + (B if with_b else 0)
    b = sp.csc_array(B) if with_b else None
    assert close(G.values(a, w, b), packed(G, wanted), dtype)
    off = np.ones((n, n), bool)
    P = G.pattern
    off[P.indices, np.repeat(np.arange(n), np.diff(P.indptr))] = False
    assert not wanted[off & np.tril(off)].any()

    # The tangent, and the adjoint by its definition.
    da, dw = numbers(rng, a.shape, dtype), weights(rng, G, dtype)
    x = numbers(rng, P.indices.size, dtype)
    E, V = dense_a(G, da), dense_w(G, dw)
    change = E.conj().T @ W @ D + D.conj().T @ W @ E + D.conj().T @ V @ D
    tangent = G.tangent(a, w, da=da, dw=dw)
    assert close(tangent, packed(G, change), dtype)
    of_a, of_w, of_b = G.adjoint(x, a, w)
    assert of_a.shape == a.shape
    assert of_w.shape == w.shape
    assert of_w.dtype == w.dtype
    left = np.sum(np.conj(x) * tangent).real
    right = np.sum(np.conj(of_a) * da).real + np.sum(np.conj(of_w) * dw).real
    scale = np.sum(np.abs(x)) * (1 + np.abs(change).max(initial=0))
    assert abs(left - right) <= 100 * eps(dtype) * scale
    assert (of_b is None) != with_b
    if with_b:
        db = numbers(rng, of_b.shape, dtype)
        left = np.sum(np.conj(x) * G.tangent(a, w, db=db)).real
        assert abs(left - np.sum(np.conj(of_b) * db).real) <= 100 * eps(dtype) * scale


@pytest.mark.parametrize("block", [1, 3])
def test_same_bits_for_any_number_of_threads(block, monkeypatch):
    rng = np.random.default_rng(0)
    rows = sp.random_array((1200, 300), density=0.02, random_state=rng, format="csr")
    A = sp.vstack([rows, sp.csr_array(np.ones((3000, 12))) @ sp.eye_array(12, 300), rows])
    A = sp.csr_array(A)
    monkeypatch.setattr(congruence, "PIECE", 3000)
    G = sc.gram(A, block=block)
    assert len(G._plan.unit_task) > 3
    assert len(G._plan.column_task) > 3
    a, x = numbers(rng, G.indices.size), numbers(rng, G.pattern.indices.size)
    w = weights(rng, G, np.float64)
    values, adjoint = G.values(a, w, threads=1), G.adjoint(x, a, w, threads=1)
    D = dense_a(G, a)
    assert close(values, packed(G, D.T @ dense_w(G, w) @ D), np.float64)
    for threads in (2, 3, 8):
        assert np.array_equal(G.values(a, w, threads=threads), values)
        for one, many in zip(adjoint[:2], G.adjoint(x, a, w, threads=threads)[:2], strict=True):
            assert np.array_equal(one, many)


def test_order_of_the_entries():
    """By row, columns ascending, repetitions summed, stored zeros kept."""
    row, column = [2, 0, 0, 2, 2], [1, 2, 0, 0, 1]
    A = sp.coo_array(([1.0, 2.0, 0.0, 4.0, 5.0], (row, column)), shape=(3, 3))
    G = sc.gram(A)
    assert G.indptr.tolist() == [0, 2, 2, 4]
    assert G.indices.tolist() == [0, 2, 0, 1]
    for M in (A, A.tocsr(), A.tocsc(), A.tolil(), A.todok()):
        assert G.entries(M).tolist() == [0, 2, 4, 6]
    unsorted = sp.csr_array(([2.0, 0.0, 6.0, 4.0], [2, 0, 1, 0], [0, 2, 2, 4]), shape=(3, 3))
    assert G.entries(unsorted).tolist() == [0, 2, 4, 6]
    assert unsorted.indices.tolist() == [2, 0, 1, 0]
    less = sp.csr_array(([7.0], ([2], [0])), shape=(3, 3))
    assert G.entries(less).tolist() == [0, 0, 7, 0]
    assert np.array_equal(G.values(A), packed(G, (A.T @ A).toarray()))


def test_batches_broadcast():
    rng = np.random.default_rng(1)
    G = sc.gram(pattern(rng, 9, 6), np.eye(6))
    a, w = numbers(rng, (4, 1, G.indices.size)), numbers(rng, (3, 9))
    b = numbers(rng, (4, 1, 6))
    x = numbers(rng, (3, G.pattern.indices.size))
    values, of_a, of_w = G.values(a, w, b), *G.adjoint(x, a, w)[:2]
    assert values.shape == (4, 3, G.pattern.indices.size)
    assert of_a.shape == (4, 3, G.indices.size)
    assert of_w.shape == (4, 3, 9)
    for i, j in np.ndindex(4, 3):
        assert np.array_equal(values[i, j], G.values(a[i, 0], w[j], b[i, 0]))
        alone = G.adjoint(x[j], a[i, 0], w[j])
        assert np.array_equal(of_a[i, j], alone[0])
        assert np.array_equal(of_w[i, j], alone[1])
    assert G.values(a[:0], w, b[:0]).shape == (0, 3, G.pattern.indices.size)
    batch = G.pattern.factorize_batch(G.values(a[:, 0], np.abs(w[0]), np.abs(b[:, 0]) + 1))
    assert np.isfinite(batch.logdet()).all()


def test_in_place():
    G = sc.gram(np.array([[1.0, 2.0], [0.0, 3.0]]))
    a, out = np.array([1.0, 2.0, 3.0]), np.empty(3)
    assert G.values(a, out=out) is out
    assert out.tolist() == [1, 2, 13]
    for wrong in (np.empty(4), np.empty(3, np.float32), np.empty(6)[::2], [0.0] * 3, a):
        with pytest.raises(ValueError, match="out must"):
            G.values(a, out=wrong)


def test_factors_and_matrices_of_the_same_pattern():
    rng = np.random.default_rng(2)
    J = sp.random_array((40, 15), density=0.2, random_state=rng, format="csr")
    Q = sp.diags_array(np.ones(15), format="csc")
    G = sc.gram(J, Q)
    w = rng.random(40)
    F = G.pattern.factorize(G.values(J, w, Q))
    M = (J.T @ (w[:, None] * J.toarray())) + np.eye(15)
    np.testing.assert_allclose(F.solve(np.ones(15)), np.linalg.solve(M, np.ones(15)))
    S = sc.analyze(Q)
    H = sc.gram(J, S)
    assert H.pattern == G.pattern
    assert np.array_equal(H.values(J, w, S.values(Q)), G.values(J, w, Q))
    jacobian = sc.approx_jacobian(lambda x: J @ np.sin(x), np.zeros(15), sparsity=J)
    np.testing.assert_allclose(G.values(jacobian, w, Q), G.values(J, w, Q), rtol=1e-6)
    L = sp.csc_array(np.tril(rng.random((5, 5))))  # B D B^T
    d = rng.random(5)
    K = sc.gram(L.T)
    wanted = packed(K, (L @ np.diag(d) @ L.T.toarray()))
    np.testing.assert_allclose(K.values(L.T, d), wanted)


def test_compared_and_pickled_by_content():
    A = sp.csr_array(np.array([[1.0, 2.0], [0.0, 3.0]]))
    G, H = sc.gram(A), sc.gram(5 * A)
    assert G == H
    assert hash(G) == hash(H)
    assert sc.gram(A, block=2) != G
    assert sc.gram(A, np.eye(2)) != G
    assert G != 1
    again = pickle.loads(pickle.dumps(sc.gram(A, np.eye(2))))
    assert again == sc.gram(A, np.eye(2))
    assert again.values(A, b=np.ones(2)).tolist() == [2, 2, 14]
    assert "3 entries" in repr(G)
    assert "blocks of 2" in repr(sc.gram(A, block=2))
    with pytest.raises(ValueError, match="read-only"):
        G.indices[0] = 1


def test_memory_does_not_grow_with_the_square_of_a_row():
    """Rows of one length, all different, and rows that are alike."""
    rng = np.random.default_rng(3)
    column = np.concatenate([np.sort(rng.permutation(400)[:200]) for _ in range(300)])
    A = sp.csr_array((np.ones(60_000), column, np.arange(301) * 200), shape=(300, 400))
    G = sc.gram(A, ordering="natural")
    assert G._plan.square_start[-1] == 0
    assert G.memory < 32 * 60_000 + 24 * G.pattern.indices.size
    same = sc.gram(np.ones((3000, 40)), ordering="natural")
    assert same.memory < 6 * same.indices.size
    assert same._plan.square_start[-1] == 1600


def test_a_row_that_makes_the_product_dense_is_refused(monkeypatch):
    monkeypatch.setattr(gram_pattern, "LARGE", 1000)
    A = sp.eye_array(200, format="lil")
    A[7] = 1
    with pytest.raises(ValueError, match=r"row 7 of A: 200 columns.*leave.*low rank"):
        sc.gram(A)
    with pytest.raises(ValueError, match="row 7 of A"):
        sc.gram(A, block=2)
    A[3] = 1
    with pytest.raises(ValueError, match="rows 3, 7 of A"):
        sc.gram(A)
    monkeypatch.setattr(gram_pattern, "SHARE", 1)
    with pytest.raises(ValueError, match="root of W"):
        sc.gram(np.eye(300, 30) + np.eye(300, 30, -150) + np.eye(300, 30, -13), block=30)
    assert sc.gram(np.ones((200, 60))).shape == (200, 60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0],), r"a has shape \(2,\)"),
        ((np.ones((2, 2)),), r"a has shape \(2, 2\).*G.entries"),
        (([1.0, 2.0, np.nan],), r"a\[2\], the entry \(1, 1\) of A, is nan"),
        (([1.0, 2.0, 3.0], [1.0, np.inf]), r"w\[1\] is inf"),
        (([1.0, 2.0, 3.0], [1.0]), r"w has shape \(1,\)"),
        (([1.0, 2.0, 3.0], None, [1.0]), "without its pattern"),
        ((sp.eye_array(3),), "A has shape"),
        ((np.ones((4, 3)), np.ones((3, 2))), "broadcast"),
    ],
)
def test_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        sc.gram(np.array([[1.0, 2.0], [0.0, 3.0]])).values(*arguments)


def test_other_mistakes():
    A = np.array([[1.0, 2.0], [0.0, 3.0]])
    G = sc.gram(A)
    with pytest.raises(sc.PatternMismatchError, match=r"entry \(1, 0\)"):
        G.values(sp.csr_array(np.ones((2, 2))))
    with pytest.raises(TypeError, match="complex"):
        G.values([1.0, 2.0, 3.0], [1j, 1.0])
    with pytest.raises(TypeError, match="not numbers"):
        G.values(["x", "y", "z"])
    with pytest.raises(TypeError, match="not a sparse"):
        G.values([1.0, 2.0, 3.0], sp.eye_array(2))
    with pytest.raises(ValueError, match="not symmetric"):
        sc.gram(A, block=2).values([1.0, 2.0, 3.0], [[[1.0, 2.0], [0.0, 1.0]]])
    for block in (0, 3, True, 1.5):
        with pytest.raises(ValueError, match="block"):
            sc.gram(A, block=block)
    with pytest.raises(ValueError, match="B has shape"):
        sc.gram(A, np.eye(3))
    with pytest.raises(ValueError, match="must be a square"):
        sc.gram(A, np.ones((2, 3)))
    with pytest.raises(ValueError, match="must be a matrix"):
        sc.gram(np.ones(3))
    with pytest.raises(OverflowError, match="largest float64"):
        G.values([1e200, 1.0, 1.0])
    with pytest.raises(OverflowError, match="largest float32"):
        G.values(np.array([1e20, 1.0, 1.0], np.float32))
    assert G.values([1, 2, 3]).dtype == np.float64
    assert G.values(np.array([1, 2, 3], np.float32)).dtype == np.float32
