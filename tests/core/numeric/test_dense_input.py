"""The nonzeros of dense arrays against NumPy's."""

import numpy as np
import pytest

from sparsechol._core.numeric.dense_input import nonzeros

SHAPES = [(0, 0), (3, 0), (0, 3), (1, 1), (2, 7), (5, 8), (17, 33), (3, 200)]


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
def test_nonzeros_are_found_in_arrays_of_any_strides(dtype, shape, density):
    rng = np.random.default_rng(3)
    A = (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(dtype)
    A[:, ::5] *= -1  # zeros of either sign
    A[1:2, -1:] = np.nan
    if dtype in "FD":
        A[2:3, :1] = 1j  # the real part is zero
    wide = np.zeros((shape[0], 3 * shape[1]), dtype)
    wide[:, ::3] = A
    before = A.copy()
    for lines in (A, np.asfortranarray(A), wide[:, ::3], A[::-1], A[:, ::-1]):
        starts, minors, values = nonzeros(lines)
        row, column = np.nonzero(lines)
        assert starts.tolist() == np.searchsorted(row, np.arange(shape[0] + 1)).tolist()
        assert minors.tolist() == column.tolist()
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, lines[row, column])
    np.testing.assert_array_equal(A, before)


def test_smallest_numbers_are_no_zeros():
    for dtype in (np.float32, np.float64):
        A = np.zeros((1, 16), dtype)
        A[0, 5] = -np.finfo(dtype).smallest_subnormal
        assert nonzeros(A)[1].tolist() == [5]
