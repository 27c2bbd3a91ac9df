"""Model problems are what they say: symmetric positive definite, with the known identities."""

import numpy as np
import pytest

import sparsechol as sc
from sparsechol import _models

SMALL = {
    "grid": lambda: _models.grid_laplacian((4, 5, 3)),
    "spde": lambda: _models.matern_spde(7, 6, range_=0.4, seed=1),
    "space-time": lambda: _models.space_time(4, 3, 5),
    "mixed": lambda: _models.mixed_model(12, 7, seed=0),
    "arrow": lambda: _models.block_arrow(4, 3, 2, seed=0),
}


@pytest.mark.parametrize("name", SMALL)
def test_symmetric_positive_definite_and_reproducible(name):
    A = SMALL[name]()
    D = A.toarray()
    assert A.format == "csc"
    assert A.has_canonical_format
    assert np.abs(D - D.T).max() <= 1e-13 * np.abs(D).max()
    assert np.linalg.eigvalsh(D).min() > 0
    assert (SMALL[name]() != A).nnz == 0


def test_grid_eigenvalues():
    shape, shift = (4, 3), 0.5
    one = [4 * np.sin(np.pi * np.arange(1, m + 1) / (2 * (m + 1))) ** 2 for m in shape]
    expected = np.sort((one[0][:, None] + one[1]).ravel() + shift)
    got = np.linalg.eigvalsh(_models.grid_laplacian(shape, shift).toarray())
    np.testing.assert_allclose(got, expected, atol=1e-13)


def test_matern_variance_in_the_middle():
    """Far from the boundary the field has the marginal variance asked for (Lindgren et al. 2011).

    What is left is the discretisation: a dozen vertices in the range, and the boundary.
    """
    Q = _models.matern_spde(61, 61, range_=0.2, sigma=2.0)
    variance = sc.cholesky(Q).diag_inverse().reshape(61, 61)[25:36, 25:36]
    np.testing.assert_allclose(variance, 4.0, rtol=0.05)
