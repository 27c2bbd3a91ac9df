"""asv suite of sparsechol, one file per capability, peers beside it. Importing it pins threads."""

import os

THREADS = int(os.environ.setdefault("SPARSECHOL_BENCH_THREADS", "1"))

# BLAS libraries read these once, when they are loaded: they must be set before NumPy is imported.
for _variable in (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "SPARSECHOL_NUM_THREADS",
):
    os.environ[_variable] = str(THREADS)
os.environ["MKL_DYNAMIC"] = "FALSE"
