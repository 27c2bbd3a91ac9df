"""The factorization kernel called directly."""

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._core.numeric.factorize import dependence, factorize, workspace
from support.helpers import DTYPES, eps, laplacian


def arrays(structure, dtype):
    lengths = structure.size, workspace(structure, 1, 1)
    return tuple(np.full(length, np.nan, dtype) for length in lengths)


def factor(structure, packed, flat, work):
    """One matrix on one thread."""
    outcome = factorize(structure, packed[None], flat[None], work, 1)
    return tuple(array[0] for array in outcome[:4])


def panels_to_dense(structure, flat):
    """Flat panels as a dense lower triangle, column by column."""
    a = structure.arrays
    n = len(a["perm"])
    L = np.zeros((n, n), dtype=flat.dtype)
    for s in range(len(a["parent"])):
        columns = np.arange(a["first"][s], a["first"][s + 1])
        rows = np.concatenate([columns, a["rows"][a["row_start"][s] : a["row_start"][s + 1]]])
        panel = flat[a["panel"][s] : a["panel"][s + 1]].reshape(len(columns), len(rows)).T
        L[np.ix_(rows, columns)] = np.tril(panel)
    return L


def test_product_of_the_panels_is_the_permuted_matrix(system):
    A, _, structure, packed = system
    flat, work = arrays(structure, A.dtype)
    packed.setflags(write=False)
    failed, _, ratio, doubt = factor(structure, packed, flat, work)
    assert failed == -1
    assert 0 < ratio <= 1
    assert not doubt
    perm = structure.arrays["perm"]
    L = panels_to_dense(structure, flat)
    bound = 50 * eps(A.dtype) * abs(A).max()
    np.testing.assert_allclose(L @ L.conj().T, A[np.ix_(perm, perm)], atol=bound)


def test_weakest_pivot_is_the_smallest_ratio_to_its_diagonal_entry(system):
    A, _, structure, packed = system
    flat, work = arrays(structure, A.dtype)
    _, row, ratio, _ = factor(structure, packed, flat, work)
    perm = structure.arrays["perm"]
    L = np.linalg.cholesky(A[np.ix_(perm, perm)].astype(complex))
    kept = abs(L.diagonal()) ** 2 / A.diagonal()[perm].real
    assert row == perm[np.argmin(kept)]
    assert ratio == pytest.approx(kept.min(), rel=100 * eps(A.dtype))


def test_garbage_in_factor_and_workspace_does_not_matter(system):
    A, _, structure, packed = system
    results = []
    for fill in (np.nan, 0, 1e30):
        flat = np.full(structure.size, fill, A.dtype)
        factor(structure, packed, flat, np.full(workspace(structure, 1, 1), fill, A.dtype))
        results.append(panels_to_dense(structure, flat))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("which", "change"),  # a longer workspace serves as well
    [("values", -1), ("values", 1), ("factor", -1), ("factor", 1), ("workspace", -1)],
)
def test_wrong_lengths_are_refused(system, which, change):
    A, _, structure, _ = system
    lengths = {
        "values": structure.nnz,
        "factor": structure.size,
        "workspace": workspace(structure, 1, 1),
    }
    lengths[which] += change
    with pytest.raises(ValueError, match="do not belong"):
        factor(structure, *(np.zeros(k, A.dtype) for k in lengths.values()))


def test_mixed_dtypes_are_refused(system):
    A, _, structure, packed = system
    other = np.float32 if A.dtype != np.float32 else np.float64
    flat, work = arrays(structure, other)
    with pytest.raises((TypeError, ValueError)):
        factor(structure, packed, flat, work)


def test_read_only_target_is_refused(system):
    A, _, structure, packed = system
    flat, work = arrays(structure, A.dtype)
    flat.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        factor(structure, packed, flat, work)


def test_failing_pivot_is_reported_by_its_original_row(system):
    A, S, structure, packed = system
    row = 17
    packed[S.indptr[row]] = -3
    flat, work = arrays(structure, A.dtype)
    failed, _, value, _ = factor(structure, packed, flat, work)
    assert failed == row
    assert value <= -3


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_leaves_the_other_matrices_of_a_batch_alone(system, threads):
    A, S, structure, packed = system
    batch = np.stack([packed, packed, 2 * packed])
    batch[1, S.indptr[17]] = -3
    flat = np.full((3, structure.size), np.nan, A.dtype)
    work = np.full(workspace(structure, 3, threads), np.nan, A.dtype)
    failed, *_ = factorize(structure, batch, flat, work, threads)
    np.testing.assert_array_equal(failed, [-1, 17, -1])
    for k in (0, 2):
        single, own = arrays(structure, A.dtype)
        factor(structure, batch[k].copy(), single, own)
        np.testing.assert_array_equal(flat[k], single)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_outcome_is_the_same_for_any_number_of_threads(threads):
    """Bits lost on a tree of several tasks, a little below and above what counts as doubt."""
    A = laplacian(60, 60)
    S = sc.analyze(A)
    for shift in (1e-6, 1e-9, 1e-12, 1e-14):
        packed = S.values(laplacian(60, 60, shift=shift))[None]
        outcomes = []
        for count in (1, threads):
            flat = np.empty((1, S._structure.size))
            work = np.empty(workspace(S._structure, 1, count))
            outcomes.append(factorize(S._structure, packed, flat, work, count)[:4])
        np.testing.assert_array_equal(*map(np.ravel, outcomes))


@pytest.mark.parametrize("row", [0, 17, 39])
def test_dependence_is_the_null_vector_of_the_leading_block(system, row):
    """One at the row, minus the solution with the rows before it, zero after it."""
    A, _, structure, packed = system
    flat, work = arrays(structure, A.dtype)
    row %= len(A)
    factor(structure, packed, flat, work)
    perm = structure.arrays["perm"]
    at = int(np.flatnonzero(perm == row)[0])
    P = A[np.ix_(perm, perm)].astype(complex)
    expected = np.zeros(len(A), complex)
    expected[perm[:at]] = -np.linalg.solve(P[:at, :at], P[:at, at])
    expected[row] = 1
    found = dependence(structure, flat, row)
    assert found.dtype == A.dtype
    np.testing.assert_allclose(found, expected, atol=1000 * eps(A.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dependence_reads_only_what_was_computed(dtype):
    """The factor fails in a column in the middle; NaN stand where nothing was written."""
    A = laplacian(12, 12, dtype=dtype).toarray()
    A[:, 70] = A[70] = A[:, 71]
    A[70, 70] = A[71, 71] = A[70, 71] = A[71, 70] = 9
    S = sc.analyze(A)
    flat, work = arrays(S._structure, S.values(A).dtype)
    failed, row, _, _ = factor(S._structure, S.values(A), flat, work)
    found = dependence(S._structure, flat, failed if failed >= 0 else row)
    expected = np.zeros(144)
    expected[[70, 71]] = 1
    np.testing.assert_allclose(abs(found), expected, atol=1e4 * eps(dtype))


def test_dependence_of_a_row_that_is_not_there(system):
    A, _, structure, _ = system
    flat, _ = arrays(structure, A.dtype)
    for wrong in (-1, len(A)):
        with pytest.raises(ValueError, match="does not belong"):
            dependence(structure, flat, wrong)
