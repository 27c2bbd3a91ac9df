"""Kronecker products and sums against dense ones; their null spaces."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsechol.models import (
    PrecisionFamily,
    adjacency,
    ar1,
    besag,
    iid,
    kron,
    kron_sum,
    leroux,
    rw1,
    rw2,
    spde_lattice,
)

GRAPH = adjacency([(0, 1), (1, 2), (3, 4)], 6)
PAIRS = [(iid(3), rw2(5)), (rw1(4), iid(3)), (rw2(5), besag(GRAPH)), (besag(GRAPH), rw1(3))]


def check_null_space(model):
    Q = model.Q.toarray()
    values = np.linalg.eigvalsh(Q)
    assert model.rank == np.count_nonzero(values > 1e-10 * values[-1])
    if model.null_space is not None:
        V = model.null_space.toarray()
        assert_allclose(Q @ V, 0, atol=1e-12)
        assert np.linalg.matrix_rank(V) == V.shape[1]
        assert_array_equal(model.constraint.toarray(), V.T)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_models(a, b):
    A, B = a.Q.toarray(), b.Q.toarray()
    product, total = kron(a, b), kron_sum(a, b)
    assert_allclose(product.Q.toarray(), np.kron(A, B))
    expected = np.kron(A, np.eye(len(B))) + np.kron(np.eye(len(A)), B)
    assert_allclose(total.Q.toarray(), expected)
    check_null_space(product)
    check_null_space(total)


def test_three():
    models = [rw1(3), iid(2), rw1(4)]
    dense = [model.Q.toarray() for model in models]
    product = kron(*models)
    assert_allclose(product.Q.toarray(), np.kron(np.kron(dense[0], dense[1]), dense[2]))
    check_null_space(product)
    check_null_space(kron_sum(*models))


@pytest.mark.parametrize("operation", [kron, kron_sum])
def test_families(operation):
    time, space = ar1(4), spde_lattice((3, 3))
    family = operation(time, space)
    assert isinstance(family, PrecisionFamily)
    values = {"rho": 0.4, "kappa": 1.3, "tau": 0.7}
    expected = operation(time(rho=0.4), space(kappa=1.3, tau=0.7))
    assert_allclose(family(**values).Q.toarray(), expected.Q.toarray(), rtol=1e-13)
    assert len(family.matrices) == (9 if operation is kron else 6)
    expected = operation(time(rho=0.4), space(kappa=1.3))
    assert_allclose(family(rho=0.4, kappa=1.3).Q.toarray(), expected.Q.toarray(), rtol=1e-13)
    half = operation(rw1(3), leroux(GRAPH))
    check_null_space(half(lambda_=0.3))


def test_refused():
    with pytest.raises(ValueError, match="have a parameter rho"):
        kron(ar1(3), ar1(4))
    with pytest.raises(TypeError, match=r"models\[1\] is a csc_array"):
        kron(ar1(3), iid(3).Q)
    with pytest.raises(ValueError, match="no models"):
        kron()
    with pytest.raises(ValueError, match="rho must lie between"):
        kron(ar1(3), rw1(4))(rho=2.0)
