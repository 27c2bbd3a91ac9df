"""Collective steps: agree on errors and arguments, move arrays, free dropped factors.

A collective call must be entered by every rank or by none. So whatever can fail on one rank alone
runs in `everywhere`, which raises on all ranks what one of them raised.
"""

import pickle
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from mpi4py import MPI

from ._mumps import START, Instance

ROOT = 0  # MUMPS's host
CHUNK = 2**29  # elements in a message: counts of MPI are 32-bit

T = TypeVar("T")


class Context:
    """Hold a duplicate of a user's communicator, and the instances of MUMPS that live on it.

    The last phase of MUMPS is collective, but the factor that owns an instance may be collected
    at any time, on one rank before the other. It is only noted as dropped then. At the next
    `start` or `sweep`, which are collective, the ranks compare notes, and finish in order of age
    the instances that all of them have dropped. To free the user's communicator, which is
    collective too, finishes all of them.
    """

    def __init__(self, comm: MPI.Comm):
        self.comm = comm.Dup()
        self._born = 0
        self._instances: dict[int, Instance] = {}
        self._dropped: set[int] = set()

    def start(self, owner: Any, single: bool) -> tuple[Instance, weakref.finalize]:
        """Return an instance that lives as long as its owner, and its finalizer; collective."""
        self.sweep()
        instance = Instance(self.comm.py2f(), single)
        if instance.run(START) < 0:
            raise RuntimeError(f"MUMPS does not start: INFOG(1) = {instance.infog(1)}")
        self._instances[self._born] = instance
        drop = weakref.finalize(owner, self._dropped.add, self._born)
        drop.atexit = False
        self._born += 1
        return instance, drop

    def sweep(self) -> None:
        """Finish the instances that all ranks have dropped; collective."""
        dropped = self.comm.allgather(frozenset(self._dropped))
        self._finish(frozenset.intersection(*dropped))

    def _finish(self, ages) -> None:
        for age in sorted(ages):
            self._dropped.discard(age)
            self._instances.pop(age).finish()

    def close(self) -> None:
        """Finish all instances; collective."""
        self._finish(list(self._instances))
        self.comm.Free()


# Our context goes with the user's communicator.
_KEY = MPI.Comm.Create_keyval(delete_fn=lambda comm, key, context: context.close())


def context_of(comm: MPI.Comm) -> Context:
    """Return the context of a user's communicator; collective."""
    if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
        raise TypeError(f"comm must be an intracommunicator of mpi4py, not {comm!r}")
    context = cast("Context | None", comm.Get_attr(_KEY))
    if context is None:
        context = Context(comm)
        comm.Set_attr(_KEY, context)
    return context


def everywhere(comm: MPI.Comm, task: Callable[[], T]) -> T:
    """Run a task on every rank alone; raise on all ranks the error of one of them."""
    result, error = None, None
    try:
        result = task()
    except Exception as raised:
        error = raised
    if comm.allreduce(error is not None, MPI.LOR):
        _raise_first(comm, error)
    return cast("T", result)


def _raise_first(comm, error):
    for rank, message in enumerate(comm.allgather(_portable(error))):
        if message is not None:
            error = pickle.loads(message)
            if comm.size > 1:
                error.add_note(f"raised on rank {rank} of {comm.size}")
            raise error


def _portable(error):
    """Pickle an exception, or a RuntimeError with its message if it does not unpickle."""
    if error is None:
        return None
    try:
        message = pickle.dumps(error)
        pickle.loads(message)
    except Exception:
        message = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return message


def common(comm: MPI.Comm, name: str, value: Any, error: type = ValueError) -> Any:
    """Return the one value of all ranks that have a value; raise `error` if values differ."""
    values = comm.allgather(value)
    given = [(rank, v) for rank, v in enumerate(values) if v is not None]
    for rank, v in given:
        if v != given[0][1]:
            raise error(
                f"{name} differs between ranks: {given[0][1]} on rank {given[0][0]}, {v} on"
                f" rank {rank}"
            )
    return given[0][1] if given else None


def broadcast(comm: MPI.Comm, array: np.ndarray, root: int = ROOT) -> np.ndarray:
    """Fill a contiguous array on all ranks with the array of `root`."""
    flat = array.reshape(-1, order="A")
    for i in range(0, flat.size, CHUNK):
        comm.Bcast(flat[i : i + CHUNK], root)
    return array


def to_root(comm: MPI.Comm, array: np.ndarray) -> list[np.ndarray]:
    """Return the one-dimensional arrays of all ranks on the root; an empty list elsewhere."""
    sizes = cast("list[int]", comm.gather(array.size, ROOT))
    if comm.rank != ROOT:
        _send(comm, array, ROOT)
        return []
    arrays = [array]
    for rank in range(1, comm.size):
        arrays.append(_receive(comm, np.empty(sizes[rank], dtype=array.dtype), rank))
    return arrays


def from_root(comm: MPI.Comm, pieces: list[np.ndarray], size: int, dtype) -> np.ndarray:
    """Return the piece, of known size, that the root has for this rank."""
    if comm.rank != ROOT:
        return _receive(comm, np.empty(size, dtype=dtype), ROOT)
    for rank in range(1, comm.size):
        _send(comm, pieces[rank], rank)
    return pieces[ROOT]


def move(comm: MPI.Comm, array: np.ndarray, source: int, target: int) -> np.ndarray:
    """Fill the array of one rank with the array of another."""
    if source != target and comm.rank == source:
        _send(comm, array.reshape(-1, order="A"), target)
    if source != target and comm.rank == target:
        _receive(comm, array.reshape(-1, order="A"), source)
    return array


def _send(comm, array, rank):
    for i in range(0, array.size, CHUNK):
        comm.Send(array[i : i + CHUNK], rank)


def _receive(comm, array, rank):
    for i in range(0, array.size, CHUNK):
        comm.Recv(array[i : i + CHUNK], rank)
    return array
