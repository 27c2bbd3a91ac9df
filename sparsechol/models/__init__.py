"""Precision matrices from structure, and model problems.

Values in a row
    `iid`, `rw1`, `rw2`, `seasonal`, `ar1`, `arp`.
Areas with neighbors
    `adjacency`, `besag`, `car`, `leroux`, `bym2`.
Fields in space
    `spde_mesh`, `spde_lattice`, `spde_parameters`, `barycentric`, `triangulation`,
    `finite_elements`, `mass_matrix`.
Penalties
    `pspline`, `thin_plate`.
Several things at a time
    `kron`, `kron_sum`.
Scaling
    `scale`, `generalized_variances`.
Model problems
    `grid_laplacian`, `matern_spde`, `space_time`, `mixed_model`, `block_arrow`.

Models without parameters are a `PrecisionModel`: the matrix Q, its null space and its default
constraint. Models with parameters are a `PrecisionFamily`.

Examples
--------
>>> import sparsechol as sc
>>> Q = sc.models.matern_spde(40, 30, range_=0.3)
>>> sc.cholesky(Q)
<CholeskyFactor of shape (1200, 1200), float64: 41984 entries in L>
>>> sc.models.scale(sc.models.rw2(100))
<PrecisionModel of shape (100, 100), rank 98>
"""

from ._areal import adjacency, besag, bym2, car, leroux
from ._elements import barycentric, finite_elements, mass_matrix, triangulation
from ._kron import kron, kron_sum
from ._matern import matern_spde, space_time, spde_lattice, spde_mesh, spde_parameters
from ._penalties import pspline, thin_plate
from ._problems import block_arrow, grid_laplacian, mixed_model
from ._scaling import generalized_variances, scale
from ._temporal import ar1, arp, iid, rw1, rw2, seasonal
from ._types import PrecisionFamily, PrecisionModel

__all__ = [
    "PrecisionFamily",
    "PrecisionModel",
    "adjacency",
    "ar1",
    "arp",
    "barycentric",
    "besag",
    "block_arrow",
    "bym2",
    "car",
    "finite_elements",
    "generalized_variances",
    "grid_laplacian",
    "iid",
    "kron",
    "kron_sum",
    "leroux",
    "mass_matrix",
    "matern_spde",
    "mixed_model",
    "pspline",
    "rw1",
    "rw2",
    "scale",
    "seasonal",
    "space_time",
    "spde_lattice",
    "spde_mesh",
    "spde_parameters",
    "thin_plate",
    "triangulation",
]
