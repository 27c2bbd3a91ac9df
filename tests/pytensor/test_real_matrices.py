"""Real matrices, against SciPy and against directional differences."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import sparsechol as sc
import sparsechol.pytensor as scpt
from support.helpers import matrix_names, shared_matrix

pytestmark = pytest.mark.slow

LARGEST = 3000
SMALL = [name for name in matrix_names() if shared_matrix(name).shape[0] <= LARGEST]


def logdet_of_lu(A):
    factors = splu(sp.csc_matrix(A), permc_spec="COLAMD")
    return np.log(abs(factors.U.diagonal())).sum()


@pytest.mark.parametrize("name", SMALL)
def test_likelihood(name):
    A = shared_matrix(name)
    scale = 1 / np.sqrt(A.diagonal())
    A = sp.csc_array(A * scale[:, None] * scale)
    A = sp.csc_array(A + 0.01 * sp.eye_array(A.shape[0]))
    P, rng = sc.analyze(A), np.random.default_rng(0)
    values, b = P.values(A), rng.standard_normal(A.shape[0])

    a = pt.dvector("a")
    Q = scpt.SymmetricMatrix(P, a)
    x = scpt.solve(Q, b)
    f = 0.5 * (scpt.logdet(Q) - (b * x).sum())
    mode = "NUMBA" if name in SMALL[:2] else "CVM"  # numba compiles for seconds
    outputs = [f, x, pytensor.grad(f, a), scpt.partial_inverse(Q)]
    function = pytensor.function([a], outputs, mode=mode)
    value, solution, gradient, inverse = function(values)

    wanted = splu(sp.csc_matrix(A)).solve(b)
    assert np.linalg.norm(solution - wanted) < 1e-9 * np.linalg.norm(wanted)
    np.testing.assert_allclose(value, 0.5 * (logdet_of_lu(A) - b @ wanted), rtol=1e-9)
    weights = np.full(len(values), 2.0)
    weights[P.indptr[:-1]] = 1.0
    np.testing.assert_allclose(inverse @ (weights * values), A.shape[0], rtol=1e-9)  # a trace
    change = values * rng.uniform(-1, 1, len(values))
    h = 1e-6
    difference = (function(values + h * change)[0] - function(values - h * change)[0]) / (2 * h)
    assert abs(gradient @ change - difference) < 1e-5 * np.linalg.norm(gradient * change)
