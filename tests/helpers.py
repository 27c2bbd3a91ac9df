"""What several test files share: matrices, and how exact an answer can be."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

FOLDER = Path(
    os.environ.get("SPARSECHOL_MATRICES")
    or Path(__file__).resolve().parents[2] / "shared" / "matrices"
)
NAMES = sorted(path.name.removesuffix(".mtx.gz") for path in FOLDER.glob("*.mtx.gz"))
DTYPES = ["f", "d", "F", "D"]


@cache
def load_matrix(name):
    """A real matrix, both triangles; the test is skipped where the folder is not there."""
    path = FOLDER / f"{name}.mtx.gz"
    if not path.is_file():
        pytest.skip(f"no {name} in a folder of test matrices (SPARSECHOL_MATRICES)")
    return sp.csc_array(scipy.io.mmread(path))


def random_pattern(kind, n, rng):
    """A random real matrix (not symmetric) of a kind of pattern."""
    if kind == "empty":
        return sp.csc_array((n, n))
    if kind == "dense":
        return sp.csc_array(rng.standard_normal((n, n)))
    if kind == "band":
        width = int(rng.integers(1, 6))
        diagonals = [rng.standard_normal(max(n - k, 0)) for k in range(1, width)]
        offsets = list(range(1, width))
        if not offsets or n <= width:
            return sp.csc_array((n, n))
        return sp.csc_array(sp.diags_array(diagonals, offsets=offsets, shape=(n, n)))
    A = sp.random_array((n, n), density=min(1, 2.5 / max(n, 1)), rng=rng).tolil()
    if kind == "arrow" and n:
        A[int(rng.integers(n)), :] = 1.0
    if kind == "blocks":
        half = n // 2
        A[:half, half:] = 0
        A[half:, :half] = 0
    return sp.csc_array(A)


PATTERNS = ["random", "empty", "dense", "band", "arrow", "blocks"]


def random_spd(kind, n, dtype, rng):
    """A well-conditioned random SPD (Hermitian) csc_array: diagonally dominant."""
    A = random_pattern(kind, n, rng)
    if np.dtype(dtype).kind == "c":
        A = A + 1j * A.multiply(rng.standard_normal((n, n)))
    A = sp.csc_array(A)
    A.setdiag(0)
    A = A + A.conj().T
    A = A + sp.diags_array(abs(A).sum(axis=0) + rng.uniform(1, 2, n), shape=(n, n))
    return sp.csc_array(A.astype(dtype))


def tolerance(dtype, factor=1e4):
    """Relative error allowed on well-conditioned problems: some thousand roundings."""
    return factor * np.finfo(np.dtype(dtype)).eps
