"""Test matrices: generated ones, and real ones where their folder is present."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.io import mmread

SUFFIX = ".mtx.gz"


def grid_laplacian(*sizes, shift=0.01):
    """Laplacian of a rectangular grid in any dimension, plus ``shift * I``."""
    A = sp.csc_array((1, 1))
    for m in sizes:
        line = sp.diags_array([[-1.0] * (m - 1), [2.0] * m, [-1.0] * (m - 1)], offsets=[-1, 0, 1])
        A = sp.kron(A, sp.eye_array(m)) + sp.kron(sp.eye_array(A.shape[0]), line)
    return sp.csc_array(A + shift * sp.eye_array(A.shape[0]))


def spde(m, kappa2=0.1):
    """Precision of a Matern field on an m x m grid, ``(kappa^2 I + G)^2`` (Lindgren 2011)."""
    K = grid_laplacian(m, m, shift=kappa2)
    return sp.csc_array(K @ K)


def crossed(n_first, n_second, n_observations, seed=0):
    """Normal equations of two crossed random effects, ``Z^T Z + I``."""
    rng = np.random.default_rng(seed)
    rows = np.arange(n_observations)
    ones = np.ones(n_observations)
    Z = sp.hstack(
        [
            sp.csc_array((ones, (rows, rng.integers(0, n, n_observations))), (n_observations, n))
            for n in (n_first, n_second)
        ]
    )
    return sp.csc_array(Z.T @ Z + sp.eye_array(n_first + n_second))


GENERATED = {
    "grid2d_200": lambda: grid_laplacian(200, 200),
    "grid3d_20": lambda: grid_laplacian(20, 20, 20),
    "spde_100": lambda: spde(100),
    "crossed_2000x400": lambda: crossed(2000, 400, 20_000),
}

# Real matrices of the asv suite, one of each kind. asv wants the same parameters on every
# machine, so they are named here and skipped where they are missing.
REAL = (
    "bcsstk16",
    "g_delaunay_n15",
    "grid_case9241pegase",
    "inla_germany",
    "lme4_InstEval",
    "mesh_nefertiti",
    "slam_city10000",
    "slam_torus3D",
)

NAMES = [*GENERATED, *REAL]


def matrix_folder():
    """Folder of the real matrices: $SPARSECHOL_MATRICES, or shared/matrices beside the checkout.

    asv takes the benchmarks from the checkout in which it is run, also where it installs the
    package from a clone, so this file tells where the checkout lies.
    """
    named = os.environ.get("SPARSECHOL_MATRICES")
    if named:
        return Path(named)
    return Path(__file__).resolve().parents[3] / "shared" / "matrices"


def names_in(folder):
    """Names of the matrices in a folder, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in Path(folder).glob("*" + SUFFIX))


def available(name, folder=None):
    """Whether `load` can give this matrix."""
    return name in GENERATED or _path(name, folder).is_file()


@cache
def load(name, folder=None):
    """A matrix by name: csc_array of float64, both triangles, sorted."""
    A = GENERATED[name]() if name in GENERATED else mmread(_path(name, folder))
    A = sp.csc_array(A, dtype=np.float64)
    A.sum_duplicates()
    return A


def right_hand_side(A, k=1):
    """Reproducible right-hand sides: (n,) for one, else (n, k) in Fortran order."""
    b = np.random.default_rng(0).standard_normal((k, A.shape[0])).T
    return b[:, 0].copy() if k == 1 else b


def _path(name, folder):
    return (matrix_folder() if folder is None else Path(folder)) / (name + SUFFIX)
