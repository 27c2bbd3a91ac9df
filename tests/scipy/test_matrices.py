"""The shared matrices, in every order, against SciPy's LU and against identities."""

import warnings
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import LinAlgWarning

import sparsechol as sc
from support.helpers import matrices_folder, matrix_names, shared_matrix

EPS = np.finfo(float).eps
SINGULAR = "unit_square"

pytestmark = pytest.mark.skipif(
    not matrix_names(), reason=f"no matrices in {matrices_folder()} (set SPARSECHOL_MATRICES)"
)


CASES = [
    pytest.param(name, order, id=f"{name}-{order}")
    for name in matrix_names()
    if name != SINGULAR
    for order in ("natural", "amd", "nested_dissection")
]


@cache
def factor(name, order):
    A = shared_matrix(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)  # some are ill-conditioned
        return sc.cholesky(A, ordering=order)


def reason_to_skip(name, order):
    if order == "natural" and shared_matrix(name).shape[0] > 5000:
        return "too much fill without an ordering"
    return None


@pytest.fixture
def A(name, order):
    reason = reason_to_skip(name, order)
    if reason:
        pytest.skip(reason)
    return shared_matrix(name)


@pytest.fixture
def F(A, name, order):
    return factor(name, order)


def norm1(A):
    return abs(A).sum(axis=0).max()


def rows_of_factor(F):
    """Entries in the fullest row of L: the length of the longest sum in the factorization."""
    return np.bincount(F.L.indices).max()


@cache
def logdet_by_lu(name):
    """sum(log |diag U|) by SuperLU, whose rounding error is of the order of n eps cond."""
    A = shared_matrix(name)
    lu = sp.linalg.splu(
        A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return np.sort(np.log(abs(lu.U.diagonal()))).sum()


@pytest.mark.fast_cases(r"(1138_bus|inla_germany|bcsstk01|lap2D_5pt_n100|bar)-.*")
@pytest.mark.parametrize(("name", "order"), CASES)
def test_product_of_the_factor_is_the_permuted_matrix(A, F):
    product = F.L @ F.L.T
    difference = (product - A[F.perm][:, F.perm]).tocoo()
    # Higham, Accuracy and Stability, theorem 10.3: |A - L L^T| <= gamma_(k+1) |L||L^T| with k the
    # entries of a row of L, and (|L||L^T|)_ij <= sqrt(a_ii a_jj) up to the same factor. The bound
    # is entry by entry, which is sharper than one by the norm of A.
    row, column = difference.coords
    scale = np.sqrt(A.diagonal())[F.perm]
    allowed = 2 * (rows_of_factor(F) + 2) * EPS * scale[row] * scale[column]
    assert (abs(difference.data) <= allowed).all()


@pytest.mark.fast_cases(r"(1138_bus|inla_germany|bcsstk01|lap2D_5pt_n100|bar)-.*")
@pytest.mark.parametrize(("name", "order"), CASES)
def test_solutions_are_backward_stable(A, F):
    n = A.shape[0]
    rng = np.random.default_rng(0)
    b = np.column_stack([rng.standard_normal(n), A @ rng.standard_normal(n), np.ones(n)])
    for B in (b[:, 0], b):
        X = F.solve(B)
        residual = A @ X - B
        for x, r, c in zip(*(M.reshape(n, -1).T for M in (X, residual, B)), strict=True):
            backward = abs(r).max() / (norm1(A) * abs(x).max() + abs(c).max())
            # Backward stable whatever the conditioning: a few dozen roundings at most.
            assert backward <= 1e-14
            # |r| <= backward (|A||x| + |b|) and |A||x| <= cond |b|, in the Euclidean norm with a
            # factor sqrt(n) for the change of norms, so that the relative residual is 1e-12 where
            # the conditioning allows it.
            relative = np.linalg.norm(r) / np.linalg.norm(c)
            assert relative <= max(1e-12, 4 * EPS * np.sqrt(n) * F.condest())


@pytest.mark.fast_cases(r"(1138_bus|inla_germany|bcsstk01|lap2D_5pt_n100|bar)-.*")
@pytest.mark.parametrize(("name", "order"), CASES)
def test_logdet_agrees_with_lu(A, F, name):
    expected = logdet_by_lu(name)
    # A backward error E = delta |A| changes log det by trace(A^-1 E): the logarithm of the smallest
    # eigenvalue by up to delta cond. Both sides commit it, with delta a few eps.
    allowed = max(1e-12 * max(1, abs(expected)), 20 * EPS * F.condest())
    assert abs(F.logdet() - expected) <= allowed


@pytest.mark.fast_cases(r"(1138_bus|inla_germany|bcsstk01|lap2D_5pt_n100|bar)-.*")
@pytest.mark.parametrize(("name", "order"), CASES)
def test_partial_inverse_agrees_with_solves_of_unit_vectors(A, F):
    n = A.shape[0]
    # Relative to the largest entry of the inverse, each side errs by a few eps cond.
    columns = np.random.default_rng(0).choice(n, min(n, 12), replace=False)
    Z = F.partial_inverse()
    assert np.array_equal(Z.indptr, A.indptr)
    assert np.array_equal(Z.indices, A.indices)
    unit = np.zeros((n, len(columns)))
    unit[columns, np.arange(len(columns))] = 1
    X = F.solve(unit)
    d = F.diag_inverse()
    assert (d > 0).all()
    assert np.array_equal(Z.diagonal(), d)
    # (A^-1)_ij <= sqrt((A^-1)_ii (A^-1)_jj): the scale on which each entry is compared.
    relative = max(1e-12, 10 * EPS * F.condest())
    for k, j in enumerate(columns):
        rows = Z.indices[Z.indptr[j] : Z.indptr[j + 1]]
        values = Z.data[Z.indptr[j] : Z.indptr[j + 1]]
        assert (abs(values - X[rows, k]) <= relative * np.sqrt(d[rows] * d[j]).max()).all()
    entries = F.inverse_entries(columns, columns[::-1])
    assert np.allclose(
        entries, X[columns, np.arange(len(columns))[::-1]], atol=relative * d.max(), rtol=0
    )


@pytest.mark.fast_cases(r"(1138_bus|inla_germany|bcsstk01|lap2D_5pt_n100|bar)-.*")
@pytest.mark.parametrize(("name", "order"), CASES)
def test_partial_inverse_agrees_with_the_dense_inverse(A, F):
    if A.shape[0] > 600:
        pytest.skip("the dense inverse is for small matrices")
    inverse = np.linalg.inv(A.toarray())
    relative = max(1e-12, 10 * EPS * F.condest())
    Z = F.partial_inverse()
    expected = np.where(A.toarray() != 0, inverse, 0)
    np.testing.assert_allclose(Z.toarray(), expected, rtol=0, atol=relative * abs(inverse).max())
    full = F.partial_inverse(entries="factor")
    row, column = full.nonzero()
    np.testing.assert_allclose(
        full[row, column], inverse[row, column], rtol=0, atol=relative * abs(inverse).max()
    )


@pytest.mark.parametrize("order", ["natural", "amd", "nested_dissection", "auto"])
def test_matrix_singular_to_working_precision_is_refused_or_warned_of(order):
    if SINGULAR not in matrix_names():
        pytest.skip(f"no {SINGULAR}")
    with pytest.raises((sc.NotPositiveDefiniteError, LinAlgWarning)):
        sc.cholesky(shared_matrix(SINGULAR), ordering=order)
