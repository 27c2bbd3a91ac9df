"""Real matrices, each in every order that is available.

Bounds follow from backward error analysis (Higham 2002, chapter 10): the computed solution solves
a system whose matrix differs by a small multiple of eps |A|, so that residuals are small without
regard to conditioning, and errors of the inverse and of the determinant grow with the condition
number, which `condest` estimates.
"""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg
from helpers import HAVE_METIS, matrix_names, shared_matrix
from scipy.linalg import LinAlgWarning

import sparsechol as sc

EPS = np.finfo(float).eps
ORDERS = ["amd", "natural", "auto", *(["metis"] if HAVE_METIS else [])]
NAMES = matrix_names()
SINGULAR = "unit_square"

pytestmark = [
    pytest.mark.skipif(not NAMES, reason="no folder of shared matrices"),
    # bloweybq and s3rmt3m3 may be reported as ill-conditioned: they are.
    pytest.mark.filterwarnings("default::scipy.linalg.LinAlgWarning"),
]


@pytest.fixture(params=ORDERS, scope="module")
def order(request):
    return request.param


@pytest.fixture(params=[name for name in NAMES if name != SINGULAR], scope="module")
def matrix(request):
    return shared_matrix(request.param)


@pytest.fixture(scope="module")
def factor(matrix, order):
    if order == "natural" and matrix.shape[0] > 5000:
        pytest.skip("the natural order fills in")
    return sc.cholesky(matrix, order=order)


def test_residual(matrix, factor):
    x = np.random.default_rng(0).standard_normal(matrix.shape[0])
    b = matrix @ x
    y = factor.solve(b)
    norm = abs(matrix).sum(axis=0).max()
    residual = np.abs(matrix @ y - b).max()
    assert residual <= 50 * EPS * (norm * np.abs(y).max() + np.abs(b).max())
    assert np.linalg.norm(matrix @ y - b) <= 1e-12 * factor.condest() * np.linalg.norm(b)


def test_factor_times_its_transpose(matrix, factor):
    L, p = factor.L, factor.perm
    permuted = matrix[p][:, p]
    assert abs(L @ L.T - permuted).max() <= 100 * EPS * abs(permuted).max()
    assert L.nnz == factor.nnz
    assert sp.triu(L, 1).nnz == 0


@pytest.fixture(scope="module")
def logdet_by_lu(matrix):
    """SuperLU's; the signs of U follow its permutations and are dropped."""
    lu = scipy.sparse.linalg.splu(
        matrix,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return np.log(np.abs(lu.U.diagonal())).sum()


def test_logdet(matrix, factor, logdet_by_lu):
    expected = logdet_by_lu
    # A relative change of eps in A changes log det by at most n eps cond; both sides have it.
    bound = 1e-12 * max(1.0, abs(expected)) + EPS * factor.condest()
    assert abs(factor.logdet() - expected) <= bound


def test_partial_inverse(matrix, factor):
    n = matrix.shape[0]
    Z = factor.partial_inverse()
    columns = np.unique(np.random.default_rng(0).integers(0, n, 12))
    unit = np.zeros((n, columns.size))
    unit[columns, np.arange(columns.size)] = 1
    X = factor.solve(unit)
    # Both carry the forward error of a solve.
    bound = 1e-12 + 10 * EPS * factor.condest()
    for k, j in enumerate(columns):
        rows = Z.indices[Z.indptr[j] : Z.indptr[j + 1]]
        values = Z.data[Z.indptr[j] : Z.indptr[j + 1]]
        assert np.array_equal(rows, matrix.indices[matrix.indptr[j] : matrix.indptr[j + 1]])
        assert np.abs(values - X[rows, k]).max() <= bound * np.abs(X[:, k]).max()
    if n <= 600:
        inverse = np.linalg.inv(matrix.toarray())
        pattern = matrix.toarray() != 0
        error = np.abs(Z.toarray() - inverse * pattern).max()
        assert error <= bound * np.abs(inverse).max()


@pytest.mark.parametrize("seed", range(6))
def test_singular_matrix_is_not_factored_silently(seed):
    """The Laplacian of a square with nothing that fixes its level."""
    A = shared_matrix(SINGULAR)
    perm = np.random.default_rng(seed).permutation(A.shape[0])
    for order in [*ORDERS, perm]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                sc.cholesky(A, order=order)
                told = [warning.category for warning in caught]
            except sc.NotPositiveDefiniteError as error:
                told = type(error)
        assert told in ([LinAlgWarning], sc.NotPositiveDefiniteError)
