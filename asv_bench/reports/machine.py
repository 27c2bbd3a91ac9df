"""What a measurement ran on: processor, load, versions, threads."""

import os
import platform
from importlib import metadata
from pathlib import Path

from threadpoolctl import threadpool_info

PACKAGES = (
    "sparsechol",
    "numpy",
    "scipy",
    "cvxopt",
    "pymetis",
    "pypardiso",
    "mkl",
    "jax",
    "pytensor",
    "pymc",
    "sparsax",
    "klujax",
    "asdex",
    "sparsejac",
    "casadi",
)


def cpu():
    """Model of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return fields.get("model name", platform.machine())


def load_average():
    """Load average over 1, 5 and 15 minutes, where the system has one."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def versions():
    """Versions of Python and of the packages that are installed."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def libraries():
    """BLAS and OpenMP libraries loaded now, with their versions and threads."""
    return ", ".join(
        " ".join(str(library.get(key) or "") for key in ("internal_api", "version", "architecture"))
        + f" ({library['num_threads']} threads)"
        for library in threadpool_info()
        if library["user_api"] in ("blas", "openmp")
    )


def unequal_blas():
    """A warning where the copies of OpenBLAS, one in each wheel, chose different kernels."""
    chosen = {library.get("architecture") for library in threadpool_info()} - {None}
    if len(chosen) < 2:
        return []
    return [
        f"Note: copies of OpenBLAS run kernels of different processors ({', '.join(sorted(chosen))}"
        "); set OPENBLAS_CORETYPE to give all solvers the same"
    ]


def describe(load_before):
    """Lines that say where the figures come from."""
    return [
        f"Processor: {cpu()}, {os.cpu_count()} cores",
        f"Load average before: {load_before}; after: {load_average()}",
        f"Versions: {versions()}",
        f"Libraries: {libraries()}",
        *unequal_blas(),
    ]
