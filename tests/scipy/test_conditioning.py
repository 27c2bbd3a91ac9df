"""Ill-conditioned matrices against arithmetic of fifty digits."""

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
from support.helpers import laplacian

EPS = np.finfo(float).eps


def exact(A):
    """Inverse and log-determinant of the float64 matrix, in fifty digits."""
    with mpmath.workdps(50):
        M = mpmath.matrix(A.tolist())
        inverse = np.array((M**-1).tolist(), dtype=float)
        return inverse, float(mpmath.log(mpmath.det(M)))


def hilbert(n):
    i = np.arange(n)
    return 1.0 / (i[:, None] + i + 1)


CASES = {
    "hilbert": hilbert(7),  # condition number 5e8
    "nearly intrinsic field": laplacian(5, 5, shift=1e-9).toarray(),  # 8e9
    "biharmonic": (laplacian(20, shift=1e-3) @ laplacian(20, shift=1e-3)).toarray(),  # 2e7
    "graded": np.diag(10.0 ** np.arange(0, -12, -1)) + 1e-13 * np.ones((12, 12)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("order", ["natural", "amd"])
def test_errors_stay_within_the_conditioning(name, order):
    A = CASES[name]
    inverse, logdet = exact(A)
    condition = np.linalg.norm(A, 1) * np.linalg.norm(inverse, 1)
    F = sc.cholesky(sp.csc_array(A), ordering=order)
    # Backward error of a few dozen roundings, times the condition number.
    bound = 30 * EPS * condition
    assert abs(F.logdet() - logdet) <= bound
    Z = F.partial_inverse().toarray()
    pattern = A != 0
    assert np.abs(Z - inverse)[pattern].max() <= bound * np.abs(inverse).max()
    x = F.solve(np.ones(len(A)))
    assert np.abs(x - inverse.sum(axis=1)).max() <= bound * np.abs(inverse).sum(axis=1).max()
    assert condition / 4 <= F.condest() <= condition * (1 + bound)
