"""Quadratic forms with the inverse, against dense algebra, in all kinds of factors."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol._scipy.quadratic import rows_in_inverse
from sparsechol.models import grid_laplacian
from support.helpers import random_spd

pytensor.config.blas__ldflags = ""  # without one to link to PyTensor warns

N = 40
A = random_spd(np.random.default_rng(0), N, "banded")
P = sc.analyze(A)


@pytest.fixture(autouse=True)
def in_python():
    """What compiles fastest."""
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


def some_rows(A):
    """Differences of neighbors, and rows with elements anywhere, one of them empty."""
    rng, n = np.random.default_rng(1), len(A)
    i, j = np.triu(A, 1).nonzero()
    near = np.eye(n)[i] - 2 * np.eye(n)[j]
    far = rng.standard_normal((9, n)) * (rng.random((9, n)) < 0.1)
    far[4] = 0
    return sp.csr_array(np.vstack([near, far]))


def test_known_rows_and_variables():
    rng = np.random.default_rng(3)
    dense = random_spd(rng, N, "banded")
    B = some_rows(dense)
    Q = scpt.SymmetricMatrix(sc.analyze(dense), pt.vector("a"))
    inside = rows_in_inverse(Q.pattern, B, 4 * Q.pattern.nnz)
    assert inside.any()
    assert not inside.all()
    rows = pt.matrix("rows")
    results = [
        Q.inverse_quadratic(B),
        Q.inverse_quadratic(B.toarray()),
        Q.inverse_quadratic(rows),
        scpt.ldl(Q).inverse_quadratic(B),
    ]
    f = pytensor.function([Q.values, rows], [*results, Q.inverse_quadratic(rows[0])])
    *found, first = f(Q.pattern.values(dense), B.toarray())
    wanted = np.einsum("ri,ij,rj->r", B.toarray(), np.linalg.inv(dense), B.toarray())
    for part in found:
        np.testing.assert_allclose(part, wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(first, wanted[0], rtol=1e-10)
    with pytest.raises(ValueError, match=r"\(2, 3\): it is \(40,\) or \(m, 40\)"):
        Q.inverse_quadratic(np.ones((2, 3)))
    with pytest.raises(TypeError, match="real"):
        Q.inverse_quadratic(1j * np.ones(N))


def test_gradient_and_batches():
    """In the values of Q, for two matrices at once."""
    B, a = some_rows(A), pt.matrix("a")
    weights = np.random.default_rng(2).standard_normal(B.shape[0])
    forms = scpt.SymmetricMatrix(P, a).inverse_quadratic(B)
    total = (forms * weights).sum()
    f = pytensor.function([a], [forms, pt.grad(total, a)])
    at = P.values(A) * np.array([[1.0], [2.0]])
    found, slope = f(at)
    inverse = np.linalg.inv(A)
    wanted = np.einsum("ri,ij,rj->r", B.toarray(), inverse, B.toarray())
    np.testing.assert_allclose(found, [wanted, wanted / 2], rtol=1e-10, atol=1e-12)
    x = B.toarray() @ inverse
    outer = -np.einsum("r,ri,rj->ij", weights, x, x)
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    packed = outer[P.indices, column] * np.where(P.indices == column, 1, 2)
    np.testing.assert_allclose(slope, [packed, packed / 4], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["sparse", "variable"])
def test_other_factors(kind):
    """Semidefinite ones of two components, constraints and corrections."""
    path = sp.diags_array([-np.ones(7), [1, *[2.0] * 6, 1], -np.ones(7)], offsets=[-1, 0, 1])
    intrinsic = sp.csc_array(sp.block_diag([path, 3 * path]))
    B = np.zeros((4, 16))
    B[0, [1, 2]], B[1, [0, 7]], B[2, [3, 12]] = [1, -1], [2, 1], [1, 5]
    rows, given = pt.matrix("rows"), {}
    if kind == "variable":
        argument, given = rows, {rows: B}
    else:
        argument = sp.csr_array(B)
    F = scpt.cholesky(scpt.from_sparse(intrinsic), null_space="components")
    pinv = np.linalg.pinv(intrinsic.toarray())
    found = F.inverse_quadratic(argument).eval(given)
    np.testing.assert_allclose(found, np.diag(B @ pinv @ B.T), rtol=1e-10, atol=1e-12)
    definite = grid_laplacian((4, 4))
    covariance = np.linalg.inv(definite.toarray())
    Q, C = scpt.from_sparse(definite), np.ones((1, 16))
    fixed = covariance - covariance @ C.T @ C @ covariance / (C @ covariance @ C.T)
    found = Q.condition(C, 1.0).quadratic_variance(argument).eval(given)
    np.testing.assert_allclose(found, np.diag(B @ fixed @ B.T), rtol=1e-10, atol=1e-12)
    more = np.linalg.inv(definite.toarray() + 2 * C.T @ C)
    found = Q.with_low_rank(C.T, [2.0]).inverse_quadratic(argument).eval(given)
    np.testing.assert_allclose(found, np.diag(B @ more @ B.T), rtol=1e-10, atol=1e-12)
