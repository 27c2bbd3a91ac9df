"""Test matrices: generated ones, and real ones where their folder is present."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.io import mmread

SUFFIX = ".mtx.gz"


def model(name, *args, **options):
    """A model problem of the package, imported late: see peers.py."""
    from sparsechol import models as _models

    return getattr(_models, name)(*args, **options)


GENERATED = {
    "grid2d_200": lambda: model("grid_laplacian", (200, 200)),
    "grid3d_20": lambda: model("grid_laplacian", (20, 20, 20)),
    "spde_100": lambda: model("matern_spde", 100),
    "crossed_2000x400": lambda: model("mixed_model", 2000, 400, observations=20_000),
}

# The same families at the sizes that take a second: in the report and the asv suite, not in CI.
LARGE = {
    "grid2d_1000": lambda: model("grid_laplacian", (1000, 1000)),
    "grid3d_40": lambda: model("grid_laplacian", (40, 40, 40)),
    "spacetime_40x40x20": lambda: model("space_time", 40, 40, 20),
    "blockarrow_2000": lambda: model("block_arrow", 2000, 12, 60),
}

MODELS = GENERATED | LARGE

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

NAMES = [*MODELS, *REAL]


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
    return name in MODELS or _path(name, folder).is_file()


@cache
def load(name, folder=None):
    """A matrix by name: csc_array of float64, both triangles, sorted."""
    A = MODELS[name]() if name in MODELS else mmread(_path(name, folder))
    A = sp.csc_array(A, dtype=np.float64)
    A.sum_duplicates()
    return A


def right_hand_side(A, k=1):
    """Reproducible right-hand sides: (n,) for one, else (n, k) in Fortran order."""
    b = np.random.default_rng(0).standard_normal((k, A.shape[0])).T
    return b[:, 0].copy() if k == 1 else b


def _path(name, folder):
    return (matrix_folder() if folder is None else Path(folder)) / (name + SUFFIX)
