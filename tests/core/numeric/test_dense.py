"""The dense kernels of every instruction set, through whole factorizations, against LAPACK."""

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._core.numeric import dense, factorize, partial_inverse, solve
from support.helpers import DTYPES, KINDS, eps, random_spd


def dense_spd(rng, n, dtype):
    """Hermitian, eigenvalues about 1 to 5, whatever n is."""
    A = rng.standard_normal((n, n))
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((n, n))
    A = A @ A.conj().T / max(n, 1) + np.eye(n)
    return ((A + A.conj().T) / 2).astype(dtype)


def assert_factors(A, order="natural"):
    """L, solve and inverse of A are LAPACK's, up to a few n roundings."""
    n = A.shape[0]
    double = A.astype(np.result_type(A.dtype, np.float64))
    # Condition number about 10, so that errors are a small multiple of n eps.
    bound = 20 * (n + 10) * eps(A.dtype)
    F = sc.cholesky(A, ordering=order)
    L = np.linalg.cholesky(double)
    assert F.dtype == A.dtype
    np.testing.assert_allclose(F.L.toarray(), L, rtol=0, atol=bound * abs(L).max(initial=1))
    inverse = np.linalg.inv(double)
    scale = bound * abs(inverse).max(initial=1)
    np.testing.assert_allclose(F.partial_inverse().toarray(), inverse * (A != 0), atol=scale)
    for k in (1, 2, 3, 9):
        # One right-hand side has its own kernels.
        b = np.eye(n, k, dtype=A.dtype) + 0.5
        np.testing.assert_allclose(F.solve(b), inverse @ b, atol=scale * n)


@pytest.mark.fast_cases(r".*float64")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "orders", [range(1, 21), range(21, 41), [41, 48, 63, 64, 65, 71], [96, 127, 129, 200]]
)
def test_dense_matrices_of_every_order(instruction_set, dtype, orders):
    rng = np.random.default_rng(5)
    for n in orders:
        assert_factors(dense_spd(rng, n, dtype))


@pytest.mark.fast_cases(r".*-(3|8|17)-complex128|.*-(1|4|9)-float32")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nc", [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 24, 31])
def test_panels_of_every_width_and_height(instruction_set, dtype, nc):
    """[A11 . ; A21 A22] with A22 diagonal apart from its own block: a wide panel over m rows."""
    rng = np.random.default_rng(nc)
    for m in [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 23, 24, 25, 33, 48, 49, 65]:
        # Two blocks of nc columns, each joined to all of the same m last rows, which are dense.
        n = 2 * nc + m
        A = dense_spd(rng, n, dtype)
        A[:nc, nc : 2 * nc] = 0
        A[nc : 2 * nc, :nc] = 0
        A[np.diag_indices(n)] += 2  # the cut leaves it positive definite
        assert_factors(A)


@pytest.mark.parametrize("dtype", DTYPES)
def test_update_matrices_scattered_with_gaps(instruction_set, dtype):
    """Children whose rows are scattered over the parent: nothing to add as vectors."""
    rng = np.random.default_rng(1)
    root = 61
    parts = [(5, 2), (9, 3), (3, 7), (12, 5)]
    n = root + sum(width for width, _ in parts)
    A = np.zeros((n, n), dtype=dtype)
    A[-root:, -root:] = dense_spd(rng, root, dtype)
    begin = 0
    for width, step in parts:
        end = begin + width
        A[begin:end, begin:end] = dense_spd(rng, width, dtype)
        rows = np.arange(n - root + step, n, step)
        A[rows[:, None], np.arange(begin, end)] = (
            0.1 * dense_spd(rng, 61, dtype)[: rows.size, :width]
        )
        begin = end
    A = np.tril(A)
    A = A + np.tril(A, -1).conj().T
    A[np.diag_indices(n)] = A.diagonal().real + 3
    assert_factors(A)


GUARD = 64


def guarded(length, dtype):
    """An array with a marked margin on both sides, and the whole of it."""
    whole = np.full(length + 2 * GUARD, 7, dtype)
    return whole[GUARD : GUARD + length], whole


def assert_guards_untouched(*wholes):
    for whole in wholes:
        assert (whole[:GUARD] == 7).all()
        assert (whole[-GUARD:] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3, 17, 50])
def test_kernels_write_inside_their_arrays_only(instruction_set, dtype, kind, n):
    A = random_spd(np.random.default_rng(n), n, kind, dtype)
    S = sc.analyze(A, ordering="amd")
    structure = S._structure
    factor, whole_factor = guarded(structure.size, dtype)
    work, whole_work = guarded(factorize.workspace(structure, 1, 1), dtype)
    factorize.factorize(structure, S.values(A)[None], factor[None], work, 1)
    inverse, whole_inverse = guarded(structure.size, dtype)
    work2, whole_work2 = guarded(partial_inverse.workspace(structure, 1, 1), dtype)
    partial_inverse.partial_inverse(structure, factor[None], inverse[None], work2, 1)
    perm = structure.arrays["perm"]
    for k in (1, 2, 5, 32):
        b, whole_b = guarded(n * k, dtype)
        work3, whole_work3 = guarded(solve.workspace(structure, k, 1), dtype)
        columns = b.reshape(1, k, n).transpose(0, 2, 1)
        everything = np.empty(0, np.uint8)
        solve.solve(
            structure, factor[None], columns, work3, True, True, perm, perm, everything, k, 1
        )
        assert_guards_untouched(whole_b, whole_work3)
    assert_guards_untouched(whole_factor, whole_work, whole_inverse, whole_work2)


# The last one is packed by every instruction set.
PRODUCTS = [(1, 1, 1), (7, 5, 3), (50, 33, 20), (97, 48, 48), (200, 100, 300), (601, 420, 600)]


def random_product(m, n, k, op, dtype):
    """A, B as `op` takes it, op(B) and C."""
    rng = np.random.default_rng(m)

    def entries(*shape):
        x = rng.standard_normal(shape)
        if np.dtype(dtype).kind == "c":
            x = x + 1j * rng.standard_normal(shape)
        return np.asfortranarray(x.astype(dtype))

    B = entries(k, n) if op == 0 else entries(n, k)
    return entries(m, k), B, (B, B.T, B.conj().T)[op], entries(m, n)


def subtracted(A, B, C, op, lower=False):
    target = C.copy(order="F")
    dense.subtract_product(A, B, target, np.empty(dense.workspace, C.dtype), op, lower)
    return target


@pytest.mark.fast_cases(r".*-1-float64|.*-2-complex64")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [0, 1, 2])
@pytest.mark.parametrize(("m", "n", "k"), PRODUCTS)
def test_products(instruction_set, dtype, op, m, n, k):
    A, B, opB, C = random_product(m, n, k, op, dtype)
    wide = np.result_type(dtype, np.float64)
    expected = C.astype(wide) - A.astype(wide) @ opB.astype(wide)
    atol = 10 * (k + 10) ** 0.5 * eps(dtype) * max(1, k**0.5)
    whole = subtracted(A, B, C, op)
    np.testing.assert_allclose(whole, expected, rtol=0, atol=atol)
    lower = subtracted(A, B, C, op, lower=True)
    assert np.array_equal(np.tril(lower), np.tril(whole))


@pytest.mark.fast_cases(r"(?!.*601).*-[01]-float64")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [0, 1, 2])
@pytest.mark.parametrize(("m", "n", "k"), PRODUCTS)
def test_an_entry_of_a_product_has_the_same_bits_whatever_surrounds_it(
    instruction_set, dtype, op, m, n, k
):
    """The whole of C at once, and in blocks of odd sizes: packed or not, whole tiles or edges."""
    A, B, _, C = random_product(m, n, k, op, dtype)
    whole = subtracted(A, B, C, op)
    pack = np.empty(dense.workspace, dtype)
    for height, width in [(1, 1), (13, 9), (64, 7), (150, 99), (m, 50)]:
        if m * n > 100 * 60 * height * width:
            continue
        pieces = C.copy(order="F")
        for i in range(0, m, height):
            Ai = np.asfortranarray(A[i : i + height])
            for j in range(0, n, width):
                columns = B[:, j : j + width] if op == 0 else B[j : j + width]
                block = pieces[i : i + height, j : j + width]
                dense.subtract_product(Ai, np.asfortranarray(columns), block, pack, op)
        assert np.array_equal(pieces, whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_stay_inside_their_arrays(instruction_set, dtype):
    """Also the workspace, and what lies well above the diagonal."""
    for m, n, k in PRODUCTS:
        A, B, _, C = random_product(m, n, k, 2, dtype)
        target, whole_target = guarded(m * n, dtype)
        pack, whole_pack = guarded(dense.workspace, dtype)
        for lower in (False, True):
            target[:] = C.ravel(order="F")
            dense.subtract_product(A, B, target.reshape(n, m).T, pack, 2, lower)
        i, j = np.indices(C.shape)
        above = j > i + 64
        assert np.array_equal(target.reshape(n, m).T[above], C[above])
        assert_guards_untouched(whole_target, whole_pack)


def test_each_instruction_set_reports_its_name(instruction_set):
    assert dense.instruction_set() == instruction_set


@pytest.mark.parametrize("name", ["", "sse9", "AVX2"])
def test_unknown_instruction_set_is_refused(name):
    before = dense.instruction_set()
    with pytest.raises(ValueError, match="not built or cannot run"):
        dense.instruction_set(name)
    assert dense.instruction_set() == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 8, 9, 40, 130])
def test_the_failing_pivot_is_found_in_every_block(instruction_set, dtype, n):
    rng = np.random.default_rng(n)
    for row in {0, n // 2, n - 1}:
        A = dense_spd(rng, n, dtype)
        A[row, row] = -1
        with pytest.raises(sc.NotPositiveDefiniteError) as caught:
            sc.cholesky(A, ordering="natural")
        # Leading blocks before `row` are positive definite, the one that holds it is not.
        assert caught.value.row == row
        assert caught.value.pivot <= -1
