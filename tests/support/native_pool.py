"""The native functions of the worker pool, called from Python with tasks that are Python too."""

import ctypes as ct
import threading

import numpy as np

from sparsechol._core.parallel import pool

UP, DOWN = 0, 1
TASK = ct.CFUNCTYPE(None, ct.c_void_p, ct.c_int32, ct.POINTER(ct.c_int))


def _native(name, result, *arguments):
    capsule = pool.__pyx_capi__[name]
    get_name = ct.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ct.c_char_p, [ct.py_object]
    get_pointer = ct.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ct.c_void_p, [ct.py_object, ct.c_char_p]
    address = get_pointer(capsule, get_name(capsule))
    return ct.CFUNCTYPE(result, *arguments)(address)


_scratch = _native("pool_scratch", ct.c_size_t, ct.c_int32, ct.c_int)
_run = _native(
    "pool_run", None, ct.c_int, ct.c_int32, ct.c_void_p, ct.c_int, ct.c_void_p, TASK, ct.c_void_p,
    ct.c_void_p,
)  # fmt: skip
_share = _native("pool_share", None, ct.POINTER(ct.c_int), ct.c_int32, TASK, ct.c_void_p)


def run(threads, tasks, task, parent=None, order=UP, rank=None):
    """pool_run with task(t, worker)."""
    arrays = [
        None if a is None else np.ascontiguousarray(a, dtype=np.int32) for a in (parent, rank)
    ]
    parent, rank = (None if a is None else a.ctypes.data for a in arrays)
    workspace = np.empty(_scratch(tasks, threads) // 4, dtype=np.int32)
    _run(threads, tasks, parent, order, rank, TASK(lambda _, t, worker: task(t, worker)), None,
         workspace.ctypes.data)  # fmt: skip


def share(worker, count, piece):
    """pool_share with piece(k, worker)."""
    _share(worker, count, TASK(lambda _, k, worker: piece(k, worker)), None)


class Log:
    """What ran, in which order, and whether one number ever was with two threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun, self.done = [], []
        self.at_work = {}
        self.clashes = 0

    def begin(self, t, worker):
        with self.lock:
            self.begun.append(t)
            self.clashes += worker[0] in self.at_work
            self.at_work[worker[0]] = t

    def end(self, t, worker):
        with self.lock:
            self.done.append(t)
            del self.at_work[worker[0]]

    def task(self, t, worker):
        self.begin(t, worker)
        self.end(t, worker)


def forest(rng, n, roots=0.1):
    """A random forest, each parent with a larger number."""
    parent = np.full(n, -1)
    for t in range(n - 1):
        if rng.random() > roots:
            parent[t] = rng.integers(t + 1, n)
    return parent
