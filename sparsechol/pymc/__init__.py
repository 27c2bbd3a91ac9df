"""Gaussian Markov random fields as distributions of PyMC, with sparse precision matrices.

`GMRF` takes any precision matrix. `CAR`, `ICAR` and `BYM2` are for areas that have neighbors,
`RandomWalk` for values in a row, `Matern` for a mesh. Densities and draws are compiled, and
derivatives are analytic; all samplers of PyMC take them.
"""

try:
    import pymc  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sparsechol.pymc needs PyMC 6, and that Python 3.12: pip install 'sparsechol[pymc]'"
    ) from error

from ._gmrf import CAR, GMRF, Matern
from ._intrinsic import BYM2, ICAR, RandomWalk

__all__ = ["BYM2", "CAR", "GMRF", "ICAR", "Matern", "RandomWalk"]
