"""Finite elements against integration, and covariances against the Matern function."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial import Delaunay
from scipy.special import gamma, kv

import sparsechol as sc
from sparsechol.models import (
    barycentric,
    finite_elements,
    mass_matrix,
    matern_spde,
    spde_lattice,
    spde_mesh,
    spde_parameters,
    triangulation,
)
from support.helpers import SETTINGS


def matern(r, kappa, nu):
    with np.errstate(invalid="ignore"):
        values = 2 ** (1 - nu) / gamma(nu) * (kappa * r) ** nu * kv(nu, kappa * r)
    return np.where(r == 0, 1.0, values)


def dense_elements(points, triangles):
    """Masses and stiffness by the midpoint rule, exact for quadratic functions."""
    n = len(points)
    C, G = np.zeros((n, n)), np.zeros((n, n))
    for corners in triangles:
        plane = np.column_stack([np.ones(3), points[corners]])
        shapes = np.linalg.inv(plane)  # a column of coefficients for each function
        area = abs(np.linalg.det(plane)) / 2
        middles = (points[corners] + points[np.roll(corners, 1)]) / 2
        values = np.column_stack([np.ones(3), middles]) @ shapes
        place = np.ix_(corners, corners)
        C[place] += area / 3 * values.T @ values
        G[place] += area * shapes[1:].T @ shapes[1:]
    return C, G


def random_mesh(n=12, seed=0):
    points = np.random.default_rng(seed).random((n, 2))
    triangles = Delaunay(points).simplices
    triangles[::2] = triangles[::2, ::-1]  # turned either way
    return points, triangles


def test_elements_by_integration():
    points, triangles = random_mesh()
    C, G = dense_elements(points, triangles)
    mass, stiffness = finite_elements(points, triangles)
    assert_allclose(stiffness.toarray(), G, atol=1e-12)
    assert_allclose(mass_matrix(points, triangles).toarray(), C, atol=1e-14)
    assert_allclose(mass, C.sum(axis=0))


def test_elements_of_a_surface():
    points, triangles = random_mesh()
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    turned = np.column_stack([points, np.zeros(len(points))]) @ rotation
    for flat, curved in zip(
        finite_elements(points, triangles), finite_elements(turned, triangles), strict=True
    ):
        assert_allclose(np.asarray(abs(flat - curved).max()), 0, atol=1e-12)


@pytest.mark.parametrize("mass", ["lumped", "consistent"])
@pytest.mark.parametrize("alpha", [1, 2, 3])
def test_powers(alpha, mass):
    points, triangles = random_mesh()
    C, G = dense_elements(points, triangles)
    lumped = np.diag(C.sum(axis=0))
    K = 1.7**2 * (lumped if mass == "lumped" else C) + G
    expected = 0.4**2 * K @ np.linalg.matrix_power(np.linalg.inv(lumped) @ K, alpha - 1)
    family = spde_mesh(points, triangles, alpha=alpha, mass=mass)
    Q = family(kappa=1.7, tau=0.4).Q.toarray()
    assert_allclose(Q, expected, rtol=1e-10, atol=1e-10 * abs(expected).max())
    assert len(family.matrices) == alpha + 1


def test_lattice_is_a_mesh_of_right_triangles():
    step = 1 / 6
    lattice = spde_lattice((5, 7), spacing=step)(kappa=3.0).Q
    mesh = spde_mesh(*triangulation(7, 5))(kappa=3.0).Q
    inside = np.arange(35).reshape(5, 7)[2:-2, 2:-2].ravel()  # corners have other lumped masses
    assert_allclose(lattice.toarray()[inside], mesh.toarray()[inside], atol=1e-11)


@pytest.mark.parametrize("mass", ["lumped", "consistent"])
def test_lattice_elements(mass):
    """In two directions they are products of integrals over lines."""
    h = 0.5, 0.25
    family = spde_lattice((3, 4), spacing=h, alpha=1, mass=mass)
    lines = []
    for m, step in zip((3, 4), h, strict=True):
        cell = step / 6 * np.array([[2, 1], [1, 2]])
        slope = np.array([[1, -1], [-1, 1]]) / step
        C, G = np.zeros((m, m)), np.zeros((m, m))
        for i in range(m - 1):
            C[i : i + 2, i : i + 2] += cell
            G[i : i + 2, i : i + 2] += slope
        lines.append((np.diag(C.sum(axis=0)) if mass == "lumped" else C, G))
    (C0, G0), (C1, G1) = lines
    assert_allclose(family.matrices[0].toarray(), np.kron(G0, C1) + np.kron(C0, G1), atol=1e-14)
    assert_allclose(family.matrices[1].toarray(), np.kron(C0, C1), atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "alpha", "mass", "rtol"),
    [
        ((801,), 1, "lumped", 2e-3),
        ((801,), 2, "lumped", 2e-3),
        ((801,), 3, "consistent", 2e-3),
        ((121, 121), 2, "lumped", 0.03),
        ((91, 91), 3, "consistent", 0.02),
    ],
)
def test_covariance_is_that_of_matern(shape, alpha, mass, rtol):
    """At the middle of a domain of several ranges. What is left is the discretization."""
    dim = len(shape)
    step = 0.05 if dim == 2 else 0.02
    kappa, tau = spde_parameters(range_=1.0, sigma=1.5, alpha=alpha, dim=dim)
    Q = spde_lattice(shape, spacing=step, alpha=alpha, mass=mass)(kappa=kappa, tau=tau).Q
    middle = Q.shape[0] // 2
    e = np.zeros(Q.shape[0])
    e[middle] = 1
    found = sc.solve(Q, e)[middle : middle + 1 + round(1 / step)]
    r = step * np.arange(found.size)
    expected = 1.5**2 * matern(r, kappa, alpha - dim / 2)
    assert_allclose(found, expected, atol=rtol * expected[0])


def test_parameters_of_the_field():
    assert_allclose(
        matern_spde(9, 6, range_=0.3, sigma=1.5, seed=1).toarray(),
        spde_mesh(*triangulation(9, 6, seed=1))(
            kappa=math.sqrt(8) / 0.3, tau=0.3 / (1.5 * math.sqrt(8 * 4 * math.pi))
        ).Q.toarray(),
    )


@given(st.integers(4, 40), st.integers(0, 2**32 - 1))
@SETTINGS
def test_interpolation_of_linear_functions(n, seed):
    points, triangles = random_mesh(n, seed)
    rng = np.random.default_rng(seed)
    corners = points[triangles[rng.integers(len(triangles), size=20)]]
    inside = np.einsum("kc,kcd->kd", rng.dirichlet(np.ones(3), 20), corners)
    edges = corners[:, 0] * 0.3 + corners[:, 1] * 0.7
    at = np.concatenate([inside, edges, corners[:, 0]])
    A = barycentric(points, triangles, at)
    assert_allclose(A @ points, at, atol=1e-8)
    assert_allclose(A.sum(axis=1), 1)
    assert A.data.min() >= 0
    assert np.diff(A.tocsr().indptr).max() <= 3


def test_vertices_interpolate_themselves():
    points, triangles = triangulation(5, 4, seed=0)
    assert_allclose(barycentric(points, triangles, points).toarray(), np.eye(20), atol=1e-14)
    assert barycentric(points, triangles, np.empty((0, 2))).shape == (0, 20)


SQUARE = triangulation(2, 2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: barycentric(*SQUARE, [(0.5, 0.5), (1.1, 0)]), ValueError, r"at\[1\] = \(1.1, 0\)"),
        (lambda: barycentric(*SQUARE, [(9, 9)]), ValueError, "1 of 1 points are outside"),
        (lambda: barycentric(*SQUARE, [(np.nan, 0)]), ValueError, r"at\[0, 0\]"),
        (lambda: barycentric(*SQUARE, [0, 1]), ValueError, r"must be \(n, 2\)"),
        (lambda: finite_elements(SQUARE[0], [(0, 1, 4)]), ValueError, r"triangles\[0, 2\] = 4"),
        (lambda: finite_elements(SQUARE[0], [(0, 1, 1)]), ValueError, r"triangles\[0\] has no are"),
        (lambda: finite_elements(SQUARE[0], [(0, 1.0, 2)]), TypeError, "whole numbers"),
        (lambda: finite_elements([0, 1], [(0, 1, 2)]), ValueError, "points must be"),
        (lambda: spde_mesh(*SQUARE, mass="both"), ValueError, "'lumped' or 'consistent'"),
        (lambda: spde_mesh(*SQUARE, alpha=0), ValueError, "alpha must be at least 1"),
        (lambda: spde_mesh(*SQUARE, alpha=1.5), TypeError, "alpha must be a whole number"),
        (lambda: spde_mesh(*SQUARE)(kappa=-1), ValueError, "kappa must lie between 0 and inf"),
        (lambda: spde_lattice((3, 3), spacing=(1, 0)), ValueError, "in direction 1 .* not 0.0"),
        (lambda: spde_lattice((3, 1)), ValueError, "number of vertices must be at least 2"),
        (lambda: spde_parameters(range_=1, alpha=1), ValueError, "no variance"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
