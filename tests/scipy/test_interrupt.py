"""Ctrl-C during long kernels: they end early, and the same objects work again."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
from sparsechol import models

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer")

DELAY = 0.1  # seconds until the signal
LATE = 1.5  # seconds after it: generous for slow machines
THREADS = [1, 2]


@pytest.fixture
def interrupt():
    """Call a function that a signal interrupts after DELAY; return how long it went on."""
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)

    def call(function):
        signal.setitimer(signal.ITIMER_REAL, DELAY)
        begin = time.perf_counter()
        try:
            with pytest.raises(KeyboardInterrupt):
                function()
                time.sleep(10)  # too short a call is no failure, but tests nothing
            return time.perf_counter() - begin - DELAY
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    yield call
    signal.signal(signal.SIGALRM, old)


def dense(n, dtype=np.float64):
    """One large front."""
    A = np.ones((n, n), dtype)
    A[np.arange(n), np.arange(n)] = n
    return A


def many_fronts(m):
    """Grid with three dimensions."""
    A = sp.csc_array(sp.diags_array([-1.0, -1.0], offsets=[-1, 1], shape=(m, m)))
    one = sp.eye_array(m)
    grid = sp.kron(sp.kron(A, one), one) + sp.kron(sp.kron(one, A), one)
    return sp.csc_array(grid + sp.kron(sp.kron(one, one), A) + 7 * sp.eye_array(m**3))


@pytest.mark.slow
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("kind", ["one front", "many fronts"])
def test_factorization_partial_inverse_and_solve(interrupt, kind, threads):
    small = dense(2500) if kind == "one front" else many_fronts(30)
    symbolic = sc.analyze(small, ordering="amd")
    packed = symbolic.values(small)
    F = symbolic.factorize(packed, threads=threads)
    n = F.shape[0]
    b = np.random.default_rng(0).standard_normal(n)
    x, logdet = F.solve(b), F.logdet()
    diagonal = F.diag_inverse(threads=threads)
    B = np.repeat(b[:, None], 3000, axis=1)

    for _ in range(2):
        late = interrupt(lambda: [F.solve(B, threads=threads) for _ in range(9)])
        assert late < LATE
        late = interrupt(lambda: [F.diag_inverse(threads=threads) for _ in range(9)])
        assert late < LATE
    np.testing.assert_array_equal(F.solve(b), x)
    np.testing.assert_array_equal(F.diag_inverse(threads=threads), diagonal)

    late = interrupt(lambda: [F.refactorize(packed, threads=threads) for _ in range(9)])
    assert late < LATE
    if F._values is None:  # interrupted within the kernel
        with pytest.raises(np.linalg.LinAlgError, match="no factor"):
            F.solve(b)
    F.refactorize(packed, threads=threads)
    np.testing.assert_array_equal(F.solve(b), x)
    assert F.logdet() == logdet
