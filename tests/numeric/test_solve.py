"""The substitution kernels called directly."""

import numpy as np
import pytest
from helpers import eps

from sparsechol.numeric.solve import logdet, solve, workspace


@pytest.fixture
def factor(system):
    A, S, structure, packed = system
    return A, structure, S.factorize(packed)._flat


def right_hand_sides(n, k, dtype):
    rng = np.random.default_rng(k)
    b = rng.standard_normal((n, k))
    if dtype.kind == "c":
        b = b + 1j * rng.standard_normal((n, k))
    return np.asfortranarray(b.astype(dtype))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7, 8, 31, 32, 33])
@pytest.mark.parametrize("block", [1, 2, 5, 32])
def test_every_block_size_solves_every_number_of_columns(factor, k, block):
    A, structure, flat = factor
    n = A.shape[0]
    b = right_hand_sides(n, k, A.dtype)
    x = b.copy(order="F")
    flat.setflags(write=False)
    work = np.full(workspace(structure, block), np.nan, A.dtype)
    perm = structure.arrays["perm"]
    solve(structure, flat, x, work, True, True, perm, perm, block)
    expected = np.linalg.solve(A.astype(complex), b)
    # Diagonally dominant: the condition number is below 100.
    bound = 1000 * eps(A.dtype) * abs(expected).max()
    np.testing.assert_allclose(x, expected, atol=bound)


def test_only_lower_then_only_upper_is_the_whole_solution(factor):
    A, structure, flat = factor
    n = A.shape[0]
    identity = np.arange(n, dtype=np.int32)
    perm = structure.arrays["perm"]
    b = right_hand_sides(n, 1, A.dtype)
    both, apart = b.copy(order="F"), b.copy(order="F")
    work = np.empty(workspace(structure, 1), A.dtype)
    solve(structure, flat, both, work, True, True, perm, perm, 1)
    solve(structure, flat, apart, work, True, False, perm, identity, 1)
    solve(structure, flat, apart, work, False, True, identity, perm, 1)
    assert np.array_equal(both, apart)


def test_wrong_lengths_are_refused(factor):
    A, structure, flat = factor
    n = A.shape[0]
    identity = np.arange(n, dtype=np.int32)
    b = right_hand_sides(n, 2, A.dtype)
    work = np.empty(workspace(structure, 2), A.dtype)
    good = [structure, flat, b, work, True, True, identity, identity, 2]
    solve(*good)
    for place, wrong in [
        (1, flat[:-1]),
        (2, right_hand_sides(n + 1, 2, A.dtype)),
        (2, right_hand_sides(n - 1, 2, A.dtype)),
        (3, work[:-1]),
        (6, identity[:-1]),
        (7, identity[:-1]),
        (8, 3),
        (8, 0),
        (8, -1),
    ]:
        arguments = good.copy()
        arguments[place] = wrong
        with pytest.raises(ValueError, match=r"do not belong|too small"):
            solve(*arguments)


def test_logdet_sums_in_float64(factor):
    A, structure, flat = factor
    _, expected = np.linalg.slogdet(A.astype(complex))
    assert logdet(structure, flat) == pytest.approx(expected, rel=50 * eps(A.dtype))
    with pytest.raises(ValueError, match="does not belong"):
        logdet(structure, flat[:-1])
