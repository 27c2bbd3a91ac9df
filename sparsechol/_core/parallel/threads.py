"""The number of threads that a call uses."""

import os
from functools import cache
from math import ceil
from operator import index
from pathlib import Path

import numpy as np

from .pool import start_workers

VARIABLE = "SPARSECHOL_NUM_THREADS"
MOST_PER_CORE = 4  # more workers would only wait for each other


def thread_count(threads: int | None = None) -> int:
    """Return the number of threads that a call uses, and start the workers for them.

    Parameters
    ----------
    threads : int, optional
        By default the value of the variable SPARSECHOL_NUM_THREADS, which is read once. If the
        variable is not set, the number of cores that this process may use.

    Returns
    -------
    int
        At most four times the number of cores, and one more.

    Raises
    ------
    TypeError
        If `threads` is not an integer.
    ValueError
        If `threads` or the variable is not positive.
    """
    if threads is None:
        threads = _default()
    elif type(threads) is not int or threads < 1:
        threads = _checked(threads)
    threads = min(threads, _most())
    start_workers(threads - 1)
    return threads


def _checked(threads: int) -> int:
    """Return `threads` as an int; raise an error unless it is a positive integer."""
    if isinstance(threads, (bool, np.bool_)):
        raise TypeError(f"threads must be an integer or None, not {threads!r}")
    try:
        count = index(threads)
    except TypeError:
        raise TypeError(f"threads must be an integer or None, not {threads!r}") from None
    if count < 1:
        raise ValueError(f"threads must be at least 1, not {count}")
    return count


@cache
def _default() -> int:
    """Return the number of threads of a call that names none."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return cores()
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ValueError(f"{VARIABLE} must be a positive integer, not {text!r}")
    return int(text)


@cache
def _most() -> int:
    """Return the largest number of threads that a call may use."""
    return MOST_PER_CORE * cores() + 1


@cache
def cores() -> int:
    """Count the cores that this process may use, by its affinity and its container's quota."""
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count() or 1  # pyright: ignore[reportAttributeAccessIssue]  # 3.13
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else max(1, min(count, ceil(quota)))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the number of cores that Linux grants to a container; None if it sets no limit."""
    try:
        if (root / "cpu.max").exists():
            granted, period = (root / "cpu.max").read_text().split()
        else:
            granted = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        # No limit is "max" in version 2 of control groups, and -1 in version 1.
        share = int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None
