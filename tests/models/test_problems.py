"""Model problems: symmetry, definiteness and the identities that define them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array

import sparsechol as sc
from sparsechol.models import (
    block_arrow,
    finite_elements,
    grid_laplacian,
    matern_spde,
    mixed_model,
    space_time,
    triangulation,
)

PROBLEMS = {
    "grid 1-D": lambda: grid_laplacian((7,)),
    "grid 2-D": lambda: grid_laplacian((4, 5), shift=0.1),
    "grid 3-D": lambda: grid_laplacian((3, 4, 5)),
    "matern": lambda: matern_spde(8, 6),
    "matern, moved vertices": lambda: matern_spde(8, 6, seed=3),
    "matern, smoother": lambda: matern_spde(6, nu=2),
    "space-time": lambda: space_time(4, 5, 6, seed=0),
    "one time": lambda: space_time(4, 4, 1),
    "mixed model": lambda: mixed_model(30, 20, 5),
    "arrow": lambda: block_arrow(5, 4, 3),
    "arrow without border": lambda: block_arrow(5, 4, 0),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_symmetric_positive_definite_and_deterministic(name):
    A, again = PROBLEMS[name](), PROBLEMS[name]()
    assert isinstance(A, csc_array)
    assert A.dtype == np.float64
    assert A.indices.dtype == A.indptr.dtype == np.int32
    assert A.has_canonical_format
    assert np.all(A.data != 0)
    dense = A.toarray()
    assert_array_equal(dense, dense.T)
    np.linalg.cholesky(dense)
    assert_array_equal(dense, again.toarray())


@pytest.mark.parametrize("shape", [(6,), (3, 5), (3, 4, 2)])
def test_grid_eigenvalues(shape):
    lines = [4 * np.sin(np.pi * np.arange(1, m + 1) / (2 * (m + 1))) ** 2 for m in shape]
    expected = 0.25 + sum(np.meshgrid(*lines, indexing="ij"))
    found = np.linalg.eigvalsh(grid_laplacian(shape, shift=0.25).toarray())
    assert_allclose(found, np.sort(expected.ravel()), rtol=1e-13)


@pytest.mark.parametrize("seed", [None, 5])
def test_finite_elements(seed):
    points, triangles = triangulation(9, 5, seed=seed)
    mass, G = finite_elements(points, triangles)
    assert np.all(mass > 0)
    assert_allclose(mass.sum(), 0.5, rtol=1e-14)  # the rectangle is 1 x 4/8
    assert_allclose(G.sum(axis=0), 0, atol=1e-14)
    assert_allclose(G.sum(axis=1), 0, atol=1e-14)
    # The energy of a linear function is its squared slope times the area, on any mesh.
    u = points @ [3.0, -2.0]
    assert_allclose(u @ (G @ u), 13 * 0.5, rtol=1e-13)


def test_triangles_stay_anticlockwise():
    points, triangles = triangulation(40, 30, seed=0)
    a, b, c = (points[triangles[:, k]] for k in range(3))
    turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert turn.min() > 0


def test_matern_is_the_expanded_formula():
    mass, G = finite_elements(*triangulation(7, 6, seed=1))
    C, G = np.diag(mass), G.toarray()
    kappa2 = 8 / 0.3**2
    tau2 = 1 / (4 * np.pi * kappa2 * 1.5**2)
    expected = tau2 * (kappa2**2 * C + 2 * kappa2 * G + G @ np.linalg.inv(C) @ G)
    found = matern_spde(7, 6, range_=0.3, sigma=1.5, seed=1)
    assert_allclose(found.toarray(), expected, rtol=1e-12, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize("nu", [1, 2])
def test_marginal_variance_inside(nu):
    Q = matern_spde(80, range_=0.2, sigma=2.0, nu=nu, seed=0)
    variance = sc.cholesky(Q).diag_inverse().reshape(80, 80)
    # Two ranges from the boundary; what is left is the discretization, 16 steps a range.
    assert_allclose(variance[32:48, 32:48], 4.0, rtol=0.04)
    assert variance[0, 0] > 5


def test_space_time_covariance_is_a_product():
    rho, nt = 0.7, 4
    lag = abs(np.subtract.outer(np.arange(nt), np.arange(nt)))
    space = np.linalg.inv(matern_spde(4, 3).toarray())
    found = np.linalg.inv(space_time(4, 3, nt, rho=rho).toarray())
    assert_allclose(found, np.kron(rho**lag, space), rtol=1e-10, atol=1e-12)


def test_mixed_model_counts_observations():
    A = (mixed_model(12, 7, 3, observations=200, seed=4)).toarray() - np.eye(22)
    blocks = np.split(A, [12, 19])
    for rows, (begin, end) in zip(blocks, [(0, 12), (12, 19), (19, 22)], strict=True):
        own = rows[:, begin:end]
        assert_array_equal(own, np.diag(np.diag(own)))
        assert own.sum() == 200
    assert A.sum() == 9 * 200


def test_block_arrow_pattern():
    A = block_arrow(6, 4, 3).toarray() != 0
    assert A[-3:].all()
    assert_array_equal(A[:-3, :-3], np.kron(np.eye(6), np.ones((4, 4))) != 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: matern_spde(1, 5), "two vertices"),
        (lambda: matern_spde(5, nu=0), "nu must be a positive integer"),
        (lambda: matern_spde(5, nu=1.5), "nu must be a positive integer"),
        (lambda: space_time(3, 3, 3, rho=1.0), "rho must lie between"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
