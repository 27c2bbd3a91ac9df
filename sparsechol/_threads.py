"""BLAS kept at one thread while the kernels run.

Threaded BLAS on small fronts costs more than it gains. The first caller to enter lowers the
number of threads, the last to leave restores it, so that concurrent calls do not undo each other.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import scipy.linalg.cython_blas  # noqa: F401  (loads the BLAS library that the controller looks for)
from threadpoolctl import ThreadpoolController

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
