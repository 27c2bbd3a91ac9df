"""The substitution kernels called directly."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
from sparsechol._core.numeric.determinant import logdet
from sparsechol._core.numeric.solve import NO_REACH, solve, workspace
from support.helpers import eps


@pytest.fixture
def factor(system):
    A, S, structure, packed = system
    return A, structure, S.factorize(packed)._panels[0]


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
    work = np.full(workspace(structure, block, 1), np.nan, A.dtype)
    perm = structure.arrays["perm"]
    solve(structure, flat[None], x[None], work, True, True, perm, perm, NO_REACH, block, 1)
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
    work = np.empty(workspace(structure, 1, 1), A.dtype)
    solve(structure, flat[None], both[None], work, True, True, perm, perm, NO_REACH, 1, 1)
    solve(structure, flat[None], apart[None], work, True, False, perm, identity, NO_REACH, 1, 1)
    solve(structure, flat[None], apart[None], work, False, True, identity, perm, NO_REACH, 1, 1)
    assert np.array_equal(both, apart)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_vertices_with_several_unknowns(size, dtype):
    # A path of full blocks: all columns of a block but the last have the rows of the next one.
    rng, n = np.random.default_rng(size), 25 * size
    A = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
    A = A if np.dtype(dtype).kind == "c" else A.real
    A[abs(np.subtract.outer(np.arange(n) // size, np.arange(n) // size)) > 1] = 0
    A = (A + A.conj().T + 8 * size * np.eye(n)).astype(dtype)
    F = sc.cholesky(A, ordering="natural")
    root = F.pattern._structure.arrays["simplicial_root"]
    assert (root == root.size - 1).all()
    unit = sp.csc_array(([1.0], ([n // 2], [0])), shape=(n, 1)).astype(dtype)
    for b in (right_hand_sides(n, 1, A.dtype)[:, 0], unit.toarray()[:, 0]):
        np.testing.assert_allclose(A @ F.solve(b), b, atol=100 * eps(A.dtype))
    np.testing.assert_array_equal(F.solve(unit).toarray()[:, 0], F.solve(b))


def test_wrong_lengths_are_refused(factor):
    A, structure, flat = factor
    n = A.shape[0]
    identity = np.arange(n, dtype=np.int32)
    b = right_hand_sides(n, 2, A.dtype)
    work = np.empty(workspace(structure, 2, 1), A.dtype)
    good = {
        "structure": structure, "l": flat[None], "b": b[None], "work": work, "lower": True,
        "upper": True, "inward": identity, "outward": identity, "reached": NO_REACH,
        "block": 2, "threads": 1,
    }  # fmt: skip
    solve(**good)
    for name, wrong in [
        ("l", flat[None, :-1]),
        ("l", np.stack([flat, flat])),
        ("b", right_hand_sides(n + 1, 2, A.dtype)[None]),
        ("b", right_hand_sides(n - 1, 2, A.dtype)[None]),
        ("work", work[:-1]),
        ("inward", identity[:-1]),
        ("outward", identity[:-1]),
        ("reached", np.ones(1, np.uint8)),
        ("block", 3),
        ("block", 0),
        ("block", -1),
        ("threads", 0),
        ("threads", 2),
    ]:
        with pytest.raises(ValueError, match=r"do not belong|too small"):
            solve(**good | {name: wrong})


def test_logdet_sums_in_float64(factor):
    A, structure, flat = factor
    _, expected = np.linalg.slogdet(A.astype(complex))
    out = np.empty(1)
    logdet(structure, flat[None], out)
    assert out[0] == pytest.approx(expected, rel=50 * eps(A.dtype))
    with pytest.raises(ValueError, match="does not belong"):
        logdet(structure, flat[None, :-1], out)
