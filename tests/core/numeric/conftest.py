"""A small analyzed matrix and its flat arrays."""

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._core.numeric import dense
from support.helpers import random_spd

INSTRUCTION_SETS = ["portable", "avx2", "avx512"]


@pytest.fixture(params=[np.float32, np.float64, np.complex64, np.complex128])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def system(dtype):
    """(A dense, SymbolicFactor, its Structure, packed values)."""
    A = random_spd(np.random.default_rng(3), 30, "random", dtype)
    S = sc.analyze(A, ordering="amd")
    return A, S, S._structure, S.values(A)


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request):
    """Switch to one instruction set, if this build and processor have it, and back again."""
    before = dense.instruction_set()
    try:
        dense.instruction_set(request.param)
    except ValueError:
        pytest.skip(f"no {request.param} here")
    yield request.param
    dense.instruction_set(before)
