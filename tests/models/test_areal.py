"""Conditional autoregressions: their definitions in dense algebra, and graphs that are refused."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import null_space
from scipy.spatial import Delaunay

from sparsechol.models import adjacency, besag, bym2, car, leroux, scale


def districts(n, seed=0):
    """Weighted neighbors in a triangulation of random points, and two islands."""
    rng = np.random.default_rng(seed)
    triangles = Delaunay(rng.random((n, 2))).simplices
    edges = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    edges = np.concatenate([edges, [(n, n + 1)]])  # vertex n + 2 has no neighbor
    return adjacency(edges, n + 3, weights=rng.uniform(0.5, 2, len(edges)))


def test_adjacency_of_edges():
    edges = [(0, 2), (2, 0), (3, 1)]
    W = adjacency(edges, 5, weights=[2.0, 2.0, 0.5])
    expected = np.zeros((5, 5))
    expected[0, 2] = expected[2, 0] = 2
    expected[1, 3] = expected[3, 1] = 0.5
    assert_array_equal(W.toarray(), expected)
    assert adjacency([], 3).shape == (3, 3)


def test_besag():
    W = districts(12)
    model, dense = besag(W), W.toarray()
    x = np.random.default_rng(1).standard_normal(15)
    energy = sum(dense[i, j] * (x[i] - x[j]) ** 2 for i in range(15) for j in range(i))
    assert_allclose(x @ (model.Q @ x), energy)
    assert model.rank == 12
    assert_array_equal((model.Q @ model.null_space).toarray().round(12), 0)
    assert_array_equal(model.constraint.sum(axis=1), [12, 2, 1])
    assert_array_equal(besag(dense).Q.toarray(), model.Q.toarray())
    assert_array_equal(besag(sp.coo_matrix(dense)).Q.toarray(), model.Q.toarray())


def test_proper_ones():
    W = districts(12)
    dense = W.toarray()
    R = np.diag(dense.sum(axis=0)) - dense
    assert_allclose(leroux(W)(lambda_=0.3).Q.toarray(), 0.7 * np.eye(15) + 0.3 * R)
    W = W[:14, :14]
    dense = W.toarray()
    Q = car(W)(alpha=-0.4).Q.toarray()
    assert_allclose(Q, np.diag(dense.sum(axis=0)) + 0.4 * dense)
    np.linalg.cholesky(Q)


def test_bym2_is_the_sum_of_riebler_et_al():
    W = districts(12)
    tau, phi, n = 2.5, 0.3, 15
    family = bym2(W)
    model = family(tau=tau, phi=phi)
    C = model.constraint.toarray()
    Z = null_space(C)
    Q = model.Q.toarray()
    covariance = Z @ np.linalg.inv(Z.T @ Q @ Z) @ Z.T
    u = np.linalg.pinv(scale(besag(W)).Q.toarray(), hermitian=True)
    x, w = slice(0, n), slice(n, None)
    assert_allclose(covariance[x, x], ((1 - phi) * np.eye(n) + phi * u) / tau, atol=1e-12)
    assert_allclose(covariance[w, w], phi / tau * u, atol=1e-12)
    assert_allclose(covariance[x, w], phi / tau * u, atol=1e-12)
    assert_allclose(Q @ model.null_space.toarray(), 0, atol=1e-12)
    assert model.rank == np.linalg.matrix_rank(Q) == 2 * n - 2
    assert_allclose(family(phi=phi).Q.toarray() * tau, Q)


BAD = np.array([[0.0, 1, 0], [1, 0, 2], [0, 3, 0]])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: besag(BAD), ValueError, r"entry \(2, 1\) is 3, entry \(1, 2\) is 2"),
        (lambda: besag(np.triu(np.ones((3, 3)), 1)), ValueError, "must be symmetric"),
        (lambda: besag(np.eye(3)), ValueError, r"entry \(0, 0\) .* joins a vertex to itself"),
        (lambda: besag(-BAD), ValueError, r"entry \(1, 0\) .* is negative"),
        (lambda: besag(np.where(BAD > 0, np.inf, 0)), ValueError, "must not hold infinities"),
        (lambda: besag(BAD[:2]), ValueError, "square"),
        (lambda: besag(1j * BAD), TypeError, "must be real"),
        (lambda: adjacency([(0, 3)], 3), ValueError, r"edges\[0, 1\] = 3 is not a vertex, 0 to 2"),
        (lambda: adjacency([(0, -1)]), ValueError, r"edges\[0, 1\] = -1"),
        (lambda: adjacency([(0, 1), (1, 1)]), ValueError, r"edges\[1\] joins vertex 1 to itself"),
        (lambda: adjacency([0, 1]), ValueError, "pairs of vertices"),
        (lambda: adjacency([(0, 1.5)]), TypeError, "whole numbers"),
        (lambda: adjacency([(0, 1)], weights=[-1]), ValueError, r"\(1, 0\) .* is negative"),
        (lambda: adjacency([(0, 1)], weights=[1, 2]), ValueError, "there are 1 edges"),
        (lambda: adjacency([(0, 1), (1, 0)], weights=[1, 2]), ValueError, r"edges\[1\] and edges"),
        (lambda: car(adjacency([(0, 1)], 3)), ValueError, "vertex 2 has no neighbor"),
        (lambda: leroux(adjacency([(0, 1)]))(lambda_=1), ValueError, "lambda_ must lie between"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_too_many_vertices_are_refused_at_once():
    for last in (2**31 - 2, 2**40):
        with pytest.raises(OverflowError, match="32-bit row numbers"):
            adjacency([(0, last)])
