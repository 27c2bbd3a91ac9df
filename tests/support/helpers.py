"""Matrices, patterns and naive reference algorithms that the tests share."""

import importlib.util
import os
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from hypothesis import settings
from hypothesis import strategies as st
from scipy.io import mmread

# Every run sees the same examples, and a busy machine is no failure.
SETTINGS = settings(derandomize=True, deadline=None, max_examples=60, database=None)

HAVE_METIS = importlib.util.find_spec("pymetis") is not None
ORDERS = ["natural", "amd", "nested_dissection", *(["metis"] if HAVE_METIS else [])]
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
KINDS = ["random", "disconnected", "diagonal", "dense", "arrow", "reversed arrow", "banded",
         "block", "tree"]  # fmt: skip


def eps(dtype):
    """Machine precision of a real or complex type."""
    return float(np.finfo(dtype).eps)


# ---- patterns and matrices ---------------------------------------------------------------------


def random_pattern(rng, n, kind="random", density=0.15):
    """Symmetric boolean (n, n) array with a full diagonal."""
    row, column = np.indices((n, n))
    if kind == "random":
        B = rng.random((n, n)) < density
    elif kind == "disconnected":
        part = rng.integers(0, 4, n)
        B = (rng.random((n, n)) < 0.4) & (part[:, None] == part)
    elif kind == "diagonal":
        B = np.zeros((n, n), dtype=bool)
    elif kind == "dense":
        B = np.ones((n, n), dtype=bool)
    elif kind == "arrow":
        B = row >= n - 1 - n // 8
    elif kind == "reversed arrow":
        B = column <= n // 8
    elif kind == "banded":
        B = abs(row - column) <= int(rng.integers(0, 5))
    elif kind == "block":
        width = int(rng.integers(2, 9))
        coarse = rng.random((n // width + 1,) * 2) < 0.3
        B = coarse[row // width, column // width] | (row // width == column // width)
    elif kind == "tree":
        B = np.zeros((n, n), dtype=bool)
        for i in range(1, n):
            B[i, rng.integers(0, i)] = True
    else:
        raise ValueError(kind)
    B = np.tril(B)
    return B | B.T | np.eye(n, dtype=bool)


def random_values(rng, pattern, dtype=np.float64):
    """Dense SPD (Hermitian) matrix on a pattern: dominant diagonal, condition number below 100."""
    n = pattern.shape[0]
    dtype = np.dtype(dtype)
    A = rng.standard_normal((n, n))
    if dtype.kind == "c":
        A = A + 1j * rng.standard_normal((n, n))
    A = np.tril(np.where(pattern, A, 0), -1)
    A = A + A.conj().T
    A[np.diag_indices(n)] = 1.05 * abs(A).sum(axis=1) + 0.5 + rng.random(n)
    return A.astype(dtype)


def random_spd(rng, n, kind="random", dtype=np.float64):
    """Dense SPD (Hermitian) matrix with a sparse pattern."""
    return random_values(rng, random_pattern(rng, n, kind), dtype)


@st.composite
def patterns(draw, max_n=40):
    """Random symmetric boolean patterns of every kind, small orders included."""
    n = draw(st.integers(0, max_n))
    kind = draw(st.sampled_from(KINDS))
    seed = draw(st.integers(0, 2**20))
    density = draw(st.sampled_from([0.02, 0.1, 0.3]))
    return random_pattern(np.random.default_rng(seed), n, kind, density)


@st.composite
def spd_matrices(draw, max_n=40, min_n=1, dtypes=tuple(DTYPES)):
    """Dense SPD matrices of all dtypes on random patterns."""
    n = draw(st.integers(min_n, max_n))
    kind = draw(st.sampled_from(KINDS))
    dtype = draw(st.sampled_from(dtypes))
    seed = draw(st.integers(0, 2**20))
    return random_spd(np.random.default_rng(seed), n, kind, dtype)


@st.composite
def orders(draw, n):
    """An ordering's name or a random permutation of n."""
    name = draw(st.sampled_from([*ORDERS, "permutation"]))
    if name != "permutation":
        return name
    return np.random.default_rng(draw(st.integers(0, 2**20))).permutation(n)


def laplacian(*shape, shift=0.1, dtype=np.float64):
    """Shifted Laplacian of a grid, by Kronecker products."""
    A = sp.csc_array((1, 1))
    for k in shape:
        path = sp.diags_array([np.full(k - 1, -1.0)] * 2, offsets=[-1, 1], shape=(k, k))
        A = sp.kron(A, sp.eye_array(k)) + sp.kron(sp.eye_array(A.shape[0]), path)
    degree = -np.asarray(A.sum(axis=0)).ravel()
    return sp.csc_array(A + sp.diags_array(degree + shift)).astype(dtype)


# ---- naive elimination -------------------------------------------------------------------------


def packed_pattern(B):
    """Lower triangle by column of a boolean array: (indptr int64, indices int32)."""
    L = np.tril(B)
    indptr = np.concatenate([[0], np.cumsum(L.sum(axis=0))]).astype(np.int64)
    indices = np.nonzero(L.T)[1].astype(np.int32)
    return indptr, indices


def eliminate(B):
    """Pattern of L by elimination on a dense boolean array, column after column."""
    F = B.copy()
    for k in range(F.shape[0]):
        rows = np.flatnonzero(F[:, k])
        rows = rows[rows > k]
        F[np.ix_(rows, rows)] = True
    return np.tril(F)


def naive_etree(L):
    """Parent of each column: the first row below its diagonal in the pattern of L; -1 for none."""
    n = L.shape[0]
    parent = np.full(n, -1)
    for j in range(n):
        below = np.flatnonzero(L[j + 1 :, j])
        if below.size:
            parent[j] = j + 1 + below[0]
    return parent


def lists(starts, members):
    """The sets that (starts, members) list."""
    return [members[starts[j] : starts[j + 1]].tolist() for j in range(len(starts) - 1)]


# ---- the examples ------------------------------------------------------------------------------

HAVE_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def example(name):
    """The script of that name in the folder of examples, as a module."""
    path = Path(__file__).resolve().parents[2] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def figure_in(folder):
    """Where an example is to draw; None where matplotlib is not installed."""
    return folder / "figure.png" if HAVE_MATPLOTLIB else None


def assert_drawn(figure):
    """An image in several colors was written, if one was asked for."""
    if figure is not None:
        from matplotlib.image import imread

        image = imread(figure)
        assert min(image.shape[:2]) > 400
        assert len(np.unique(image[::5, ::5, 0])) > 20


# ---- the shared folder of matrices -------------------------------------------------------------


def matrices_folder():
    """Folder of the shared matrices; it may be absent."""
    named = os.environ.get("SPARSECHOL_MATRICES")
    return Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared/matrices"


def kkt_files():
    """Quasi-definite matrices, whose negative pivots are where the diagonal is; none if absent."""
    named = os.environ.get("SPARSECHOL_KKT")
    folder = Path(named) if named else matrices_folder().parent / "kkt"
    return sorted(folder.glob("*.mtx.gz"))


def matrix_names():
    return sorted(path.name.removesuffix(".mtx.gz") for path in matrices_folder().glob("*.mtx.gz"))


@cache
def shared_matrix(name):
    """A matrix of the shared folder, both triangles, as csc_array of float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the class that mmread returns
        A = sp.csc_array(mmread(matrices_folder() / f"{name}.mtx.gz")).astype(np.float64)
    A.sort_indices()
    return A
