"""Penalties: differences written by NumPy, and the functions that they leave alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsechol.models import pspline, rw2, thin_plate


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_pspline(order):
    model = pspline(11, order=order)
    D = np.diff(np.eye(11), order, axis=0)
    assert_array_equal(model.Q.toarray(), D.T @ D)
    assert model.rank == np.linalg.matrix_rank(D) == 11 - order
    assert_allclose(model.Q @ model.null_space, 0, atol=1e-12)
    assert np.linalg.matrix_rank(model.null_space) == order


def test_pspline_of_second_order_is_a_random_walk():
    assert_array_equal(pspline(9).Q.toarray(), rw2(9).Q.toarray())


@pytest.mark.parametrize("shape", [(4, 5), (2, 6), (2, 2), (3, 3, 4), (7,)])
def test_thin_plate(shape):
    model = thin_plate(shape)
    x = np.random.default_rng(0).standard_normal(shape)
    energy = sum((np.diff(x, 2, axis=k) ** 2).sum() for k in range(x.ndim))
    for i in range(x.ndim):
        for j in range(i):
            energy += 2 * (np.diff(np.diff(x, axis=i), axis=j) ** 2).sum()
    assert_allclose(x.ravel() @ (model.Q @ x.ravel()), energy)
    assert_allclose(model.Q @ model.null_space, 0, atol=1e-12)
    assert model.null_space.shape[1] == 1 + x.ndim
    assert model.rank == np.linalg.matrix_rank(model.Q.toarray())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pspline(3, order=3), "m must be at least 4, not 3"),
        (lambda: pspline(3, order=0), "order must be at least 1"),
        (lambda: thin_plate((1, 5)), "number of vertices must be at least 2"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
