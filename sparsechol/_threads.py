"""How many threads a call may use, and BLAS kept at one thread while the kernels run.

Threaded BLAS on small fronts costs more than it gains. The first caller to enter lowers the
number of threads, the last to leave restores it, so that concurrent calls do not undo each other.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import ceil
from operator import index
from pathlib import Path

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  (loads the BLAS library that the controller looks for)
from threadpoolctl import ThreadpoolController

from .numeric.pool import start_workers

VARIABLE = "SPARSECHOL_NUM_THREADS"
MOST_PER_CORE = 4  # more workers than that would only wait for each other

_lock = threading.Lock()
_libraries: list | None = None
_inside = 0
_saved: list[int] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold every loaded BLAS library at one thread; reentrant and safe from many threads."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _libraries
    with _lock:
        if _libraries is None:
            _libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        if _inside == 0:
            _saved[:] = [library.get_num_threads() for library in _libraries]
            _set([1] * len(_libraries))
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _set(_saved)


def _set(counts: list[int]) -> None:
    for library, count in zip(_libraries or [], counts, strict=True):
        if library.get_num_threads() != count:
            _forget_controlling_thread(library)
            library.set_num_threads(count)
            _forget_controlling_thread(library)


def _forget_controlling_thread(library) -> None:
    """Let any thread set the number of threads.

    Newer releases of threadpoolctl ignore all threads but the first that set it, so that what one
    of our callers lowered another could not restore. The lock here does that work.
    """
    forget = getattr(library, "clear_controlling_thread", None)
    if forget is not None:
        forget(force=True)


def thread_count(threads: int | None = None) -> int:
    """Threads that a call uses, with the workers for them started.

    None stands for the variable SPARSECHOL_NUM_THREADS, read once, and without it for every core
    that this process may use. Far more threads than cores are as good as fewer: the number is cut.
    """
    if threads is None:
        threads = _default()
    elif type(threads) is not int or threads < 1:
        threads = _checked(threads)
    threads = min(threads, _most())
    start_workers(threads - 1)
    return threads


def _checked(threads: int) -> int:
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
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return cores()
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ValueError(f"{VARIABLE} must be a positive integer, not {text!r}")
    return int(text)


@cache
def _most() -> int:
    return MOST_PER_CORE * cores() + 1


@cache
def cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else max(1, min(count, ceil(quota)))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Processor time per time that Linux grants to a container; None where it sets no limit."""
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
