"""Generalized variances against the dense pseudo-inverse and closed forms."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import sparsechol as sc
from sparsechol.models import (
    PrecisionModel,
    adjacency,
    besag,
    generalized_variances,
    iid,
    kron,
    leroux,
    pspline,
    rw1,
    rw2,
    scale,
    seasonal,
    thin_plate,
)
from support.helpers import SETTINGS


def dense(model):
    """The diagonal of the pseudo-inverse, of known rank."""
    eigenvalues, U = np.linalg.eigh(model.Q.toarray())
    skipped = model.shape[0] - model.rank
    return (U[:, skipped:] ** 2 / eigenvalues[skipped:]).sum(axis=1)


MODELS = {
    "rw1": lambda: rw1(20),
    "rw2": lambda: rw2(30),
    "rw2, unequal": lambda: rw2(np.cumsum(np.random.default_rng(0).uniform(0.1, 1, 25))),
    "cyclic": lambda: rw2(15, period=15),
    "seasonal": lambda: seasonal(20, 4),
    "P-spline": lambda: pspline(18, order=3),
    "thin plate": lambda: thin_plate((5, 6)),
    "space and time": lambda: kron(rw1(4), besag(ring(5))),
    "white noise": lambda: iid(3),
    "proper": lambda: leroux(ring(6))(lambda_=0.4),
}


def ring(n):
    return adjacency([(i, (i + 1) % n) for i in range(n)])


@pytest.mark.parametrize("name", MODELS)
def test_geometric_mean_is_one(name):
    model = MODELS[name]()
    expected = np.exp(np.log(dense(model)).mean())
    found = generalized_variances(model)
    if name == "white noise":  # every value is a component
        expected = np.ones(3)
    assert_allclose(found, expected, rtol=1e-8)
    assert_allclose(np.log(dense(scale(model))).mean(), 0, atol=1e-8)


def test_closed_forms():
    # Of a ring the eigenvalues are known, of a complete graph the inverse.
    assert_allclose(generalized_variances(besag(ring(12))), (12**2 - 1) / (12 * 12))
    full = besag(np.ones((7, 7)) - np.eye(7))
    assert_allclose(generalized_variances(full), 6 / 49)


def test_components_and_isolated_vertices():
    W = sp.block_diag([ring(5), sp.csc_array((1, 1)), 3 * ring(8), sp.csc_array((1, 1))])
    model = besag(W)
    assert_array_equal(np.isinf(generalized_variances(model)), [0] * 5 + [1] + [0] * 8 + [1])
    scaled = scale(model)
    assert scaled.rank == 13
    variances = dense(scaled)
    for rows in (slice(0, 5), slice(6, 14)):
        assert_allclose(np.log(variances[rows]).mean(), 0, atol=1e-12)
    assert_allclose(variances[[5, 14]], 1)
    assert_array_equal(scaled.constraint.sum(axis=1), [5, 8])
    alone = scale(besag(sp.csc_array((3, 3))))
    assert_array_equal(alone.Q.toarray(), np.eye(3))
    assert alone.null_space is alone.constraint is None


@given(st.integers(1, 25), st.integers(0, 40), st.integers(0, 2**32 - 1))
@SETTINGS
def test_any_graph(n, edges, seed):
    rng = np.random.default_rng(seed)
    pairs = rng.integers(n, size=(edges, 2))
    model = scale(besag(adjacency(pairs[pairs[:, 0] != pairs[:, 1]], n)))
    _, label = sp.csgraph.connected_components(model.Q, directed=False)
    logs = np.log(dense(model))
    assert_allclose(np.bincount(label, logs), 0, atol=1e-7)


def test_refused():
    wrong = np.array([[1.0, 1], [1, 2], [1, 3]])
    with pytest.raises(ValueError, match="not in the null space"):
        scale(PrecisionModel(rw1(3).Q, wrong))
    with pytest.raises(ValueError, match="has shape"):
        scale(PrecisionModel(rw1(3).Q, np.ones((4, 1))))
    with pytest.raises(sc.NotPositiveDefiniteError):
        scale(PrecisionModel(rw2(9).Q, np.ones((9, 1))))
    Q = sp.block_diag([rw1(3).Q, sp.csc_array((1, 1))], format="csc")
    mixed = np.array([[1.0, 1], [1, 1], [1, 1], [1, -1]])
    with pytest.raises(ValueError, match="mixes isolated vertices"):
        scale(PrecisionModel(sp.csc_array(Q), mixed))
