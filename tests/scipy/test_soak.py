"""Many threads, forks, and a process that is used for long (`support.soak`)."""

import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._cached import cached_property

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@forks
@pytest.mark.slow
def test_threads_and_forks():
    script = Path(__file__).parents[1] / "support" / "soak.py"
    command = [sys.executable, script, "--seconds", "10", "--threads", "16", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


# The thresholds of malloc are those of the C library of GNU; sanitizers have a malloc of their own.
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or "LD_PRELOAD" in os.environ, reason="another malloc"
)
def test_repeated_calls_take_no_fresh_memory():
    script = """
import resource, numpy as np, sparsechol as sc
from sparsechol.models import grid_laplacian
A, b = grid_laplacian((100, 100)).tocsc(), np.ones(10_000)
def faults():
    for _ in range(10):
        sc.solve(A, b, threads=1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(-faults() + faults())
"""
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert int(done.stdout) < 1000  # one call touches about 1500 pages


def exit_code_of_child(work):
    """Fork; the child does some work, in which it must not hang."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            threading.Timer(30, os._exit, [2]).start()
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Python (from 3.12 on) and JAX warn of a fork while there are other threads.
@forks
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_computes_properties_that_threads_were_computing():
    begun, end = threading.Event(), threading.Event()

    class Slow:
        @cached_property
        def value(self):
            begun.set()
            return end.wait(60)

    parent = Slow()
    thread = threading.Thread(target=lambda: parent.value)
    thread.start()
    try:
        assert begun.wait(60)
        assert exit_code_of_child(lambda: (end.set(), Slow().value)) == 0
    finally:
        end.set()
        thread.join()
    assert parent.value is True


def test_a_property_keeps_what_it_computed_first():
    class Once:
        @cached_property
        def value(self):
            """Explain."""
            if "value" not in self.__dict__ and not self.entered:
                self.entered = True
                assert self.value == [2]
                return [1]
            return [2]

    once = Once()
    once.entered = False
    if sys.version_info < (3, 12):
        assert once.value == [2]
    assert once.value is once.value
    assert Once.value.__doc__ == "Explain."


@forks
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_child_refactorizes_what_a_thread_was_refactorizing():
    A = np.array([[4.0, 1.0], [1.0, 4.0]])
    F = sc.cholesky(A)

    def work():
        np.testing.assert_allclose(2 * A @ F.refactorize(2 * A).solve([1.0, 2.0]), [1.0, 2.0])
        np.testing.assert_allclose(F.update([1.0, 0.0]).logdet(), np.log(9 * 8 - 4))

    with F._turn:  # as by a thread that is not there in the child
        assert exit_code_of_child(work) == 0
