"""Families of precision matrices in PyTensor: `combine` takes their terms."""

import numpy as np
import pytensor.tensor as pt
from numpy.testing import assert_allclose

import sparsechol.pytensor as scpt
from sparsechol.models import adjacency, ar1, arp, bym2, kron, leroux

GRAPH = adjacency([(0, 1), (1, 2), (2, 3), (3, 0)])


def dense(family, **parameters):
    symbols = {
        name: pt.as_tensor(np.asarray(value, float)).copy() for name, value in parameters.items()
    }
    return scpt.combine(family.terms(**symbols)).todense().eval(mode="FAST_COMPILE")


def test_terms_are_combined():
    cases = [
        (kron(ar1(3), leroux(GRAPH)), {"rho": 0.3, "lambda_": 0.6}),
        (bym2(GRAPH), {"tau": 2.0, "phi": 0.4}),
        (arp(6, 2), {"pacf": [0.4, -0.3]}),
        (arp(6, 3, by="phi"), {"phi": [0.4, -0.3, 0.1]}),
    ]
    for family, parameters in cases:
        expected = family(**parameters).Q.toarray()
        assert_allclose(dense(family, **parameters), expected, rtol=1e-12, atol=1e-14)
