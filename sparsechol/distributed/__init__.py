"""Sparse Cholesky factorization beyond one machine, by MUMPS over MPI.

Every rank of a communicator of mpi4py calls the same functions, each with its part of the matrix.
"""

try:
    import mpi4py  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sparsechol.distributed needs mpi4py: pip install mpi4py, beside an MPI library (Debian:"
        " openmpi-bin libopenmpi-dev; conda: openmpi)"
    ) from error
try:
    from . import _mumps  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sparsechol.distributed needs MUMPS. It was missing when sparsechol was built, or its"
        " library cannot be loaded now. Install MUMPS (Debian: apt-get install libmumps-dev"
        " openmpi-bin libopenmpi-dev; conda: mumps-mpi) and pip install mpi4py. Then build"
        " sparsechol from source again: pip install --no-binary sparsechol --no-cache-dir"
        " --force-reinstall sparsechol, or pip install . in its repository"
    ) from error

from ._analysis import DistributedSymbolic
from ._factor import DistributedFactor
from ._functions import analyze, cholesky

__all__ = ["DistributedFactor", "DistributedSymbolic", "analyze", "cholesky"]
