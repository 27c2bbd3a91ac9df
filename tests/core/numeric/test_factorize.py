"""The factorization kernel called directly."""

import numpy as np
import pytest

from sparsechol._core.numeric.factorize import factorize, workspace
from support.helpers import eps


def arrays(structure, dtype):
    lengths = structure.size, workspace(structure, 1, 1)
    return tuple(np.full(length, np.nan, dtype) for length in lengths)


def factor(structure, packed, flat, work):
    """One matrix on one thread."""
    outcome = factorize(structure, packed[None], flat[None], work, 1)
    return tuple(array[0] for array in outcome)


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
    failed, _, ratio = factor(structure, packed, flat, work)
    assert failed == -1
    assert 0 < ratio <= 1
    perm = structure.arrays["perm"]
    L = panels_to_dense(structure, flat)
    bound = 50 * eps(A.dtype) * abs(A).max()
    np.testing.assert_allclose(L @ L.conj().T, A[np.ix_(perm, perm)], atol=bound)


def test_weakest_pivot_is_the_smallest_ratio_to_its_diagonal_entry(system):
    A, _, structure, packed = system
    flat, work = arrays(structure, A.dtype)
    _, row, ratio = factor(structure, packed, flat, work)
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
    failed, _, value = factor(structure, packed, flat, work)
    assert failed == row
    assert value <= -3


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_leaves_the_other_matrices_of_a_batch_alone(system, threads):
    A, S, structure, packed = system
    batch = np.stack([packed, packed, 2 * packed])
    batch[1, S.indptr[17]] = -3
    flat = np.full((3, structure.size), np.nan, A.dtype)
    work = np.full(workspace(structure, 3, threads), np.nan, A.dtype)
    failed, _, _ = factorize(structure, batch, flat, work, threads)
    np.testing.assert_array_equal(failed, [-1, 17, -1])
    for k in (0, 2):
        single, own = arrays(structure, A.dtype)
        factor(structure, batch[k].copy(), single, own)
        np.testing.assert_array_equal(flat[k], single)
