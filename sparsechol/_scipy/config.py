"""show_config: what this installation is made of, for a report of a problem."""

import platform
import sys
from importlib import metadata
from typing import Any

from .._core.numeric.dense import instruction_set
from .._core.parallel.threads import thread_count
from .._version import __version__

REQUIRED = ("numpy", "scipy")
OPTIONAL = ("jax", "pytensor", "pymc", "pymetis", "mpi4py", "rich", "matplotlib")


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """
    Print what this installation is made of: please put it into a report of a problem.

    The command ``sparsechol info`` does the same, ``sparsechol info --json`` for programs.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, optional
        Whether to print it, or to return it.

    Returns
    -------
    dict or None
        The version, the instruction set of the kernels that were chosen for this processor, the
        threads of a call without ``threads=``, and the versions of packages, None where one is not
        installed.

    Raises
    ------
    ValueError
        If `mode` is neither of the two.

    See Also
    --------
    scipy.show_config : The same of SciPy.

    Examples
    --------
    >>> import sparsechol as sc
    >>> config = sc.show_config(mode="dicts")
    >>> config["version"] == sc.__version__, config["threads"] >= 1
    (True, True)
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', not {mode!r}")
    config = {
        "version": __version__,
        "kernels": instruction_set(),
        "threads": thread_count(),
        "python": platform.python_version(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "platform": platform.platform(),
        **{package: version(package) for package in REQUIRED + OPTIONAL},
    }
    if mode == "dicts":
        return config
    for name, value in config.items():
        print(f"{name:12}{'not installed' if value is None else value}")
    return None


def version(package: str) -> str | None:
    """Return the version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
