"""Every instruction set factors, solves and inverts fronts of every shape."""

import numpy as np
import pytest
import scipy.sparse as sp
from helpers import DTYPES, random_spd, tolerance

import sparsechol as sc
from sparsechol.numeric import dense


@pytest.fixture(params=["portable", "avx2", "avx512"])
def instruction_set(request):
    before = dense.instruction_set()
    try:
        dense.instruction_set(request.param)
    except ValueError:
        pytest.skip(f"no {request.param} here")
    yield request.param
    dense.instruction_set(before)


def check(A, dtype):
    F = sc.cholesky(A, order="natural")
    D = A.toarray()
    n = len(D)
    exact = np.linalg.cholesky(D)
    assert np.abs(F.L.toarray() - exact).max() <= tolerance(dtype) * np.abs(exact).max()
    b = np.random.default_rng(n).standard_normal((n, 7))
    for columns in (b[:, 0], b):
        x = F.solve(columns)
        assert np.abs(D @ x - columns).max() <= tolerance(dtype) * np.abs(b).max()
    Z = F.partial_inverse("factor").toarray()
    inverse = np.linalg.inv(D)
    assert np.abs((Z - inverse)[Z != 0]).max() <= tolerance(dtype) * np.abs(inverse).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [*range(1, 36), 47, 63, 64, 65, 71, 100, 129, 200])
def test_one_dense_front(instruction_set, n, dtype):
    check(random_spd("dense", n, dtype, np.random.default_rng(n)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8, 9, 16, 17, 66])
@pytest.mark.parametrize("height", [1, 2, 4, 7, 9, 16, 25, 33, 70])
def test_panels_of_every_shape(instruction_set, width, height, dtype):
    """Two blocks of `width` columns that share `height` rows."""
    n = 2 * width + height
    A = random_spd("dense", n, dtype, np.random.default_rng(width * 100 + height)).tolil()
    A[:width, width : 2 * width] = 0
    A[width : 2 * width, :width] = 0
    check(sp.csc_array(A), dtype)


def test_products_larger_than_a_cache_block(instruction_set):
    """A separator of 500 rows: blocked in depth, rows and columns."""
    check(random_spd("dense", 500, "d", np.random.default_rng(0)), "d")


def test_unknown_instruction_set():
    with pytest.raises(ValueError, match="not built or cannot run"):
        dense.instruction_set("abacus")
