"""Ctrl-C during long kernels: they end early, and the same objects work again."""

import pickle
import signal
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
from support import interrupts

# The signal of these tests comes from an interval timer, which Windows does not have.
pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="Windows has no interval timer to send the signal"
)

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
    B = np.repeat(b[:, None], 300, axis=1)  # few: NumPy copies them, and cannot be stopped

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


@pytest.mark.parametrize("threads", THREADS)
def test_orderings(interrupt, threads):
    A = many_fronts(40)
    for ordering in ["nested_dissection", "amd"]:
        small = many_fronts(8)
        before = sc.analyze(small, ordering=ordering).perm
        late = interrupt(
            lambda o=ordering: [sc.analyze(A, ordering=o, threads=threads) for _ in range(50)]
        )
        assert late < LATE
        np.testing.assert_array_equal(sc.analyze(small, ordering=ordering).perm, before)


@pytest.mark.parametrize("threads", THREADS)
def test_derivatives_and_batches(interrupt, threads):
    A = many_fronts(24)
    F = sc.cholesky(A, ordering="amd")
    dL = sc.derivatives.factor_jvp(F, A, threads=threads)
    late = interrupt(lambda: [sc.derivatives.factor_jvp(F, A, threads=threads) for _ in range(200)])
    assert late < LATE
    np.testing.assert_array_equal(sc.derivatives.factor_jvp(F, A).data, dL.data)
    values = np.repeat(F.pattern.values(A)[None], 40, axis=0)
    late = interrupt(
        lambda: [F.pattern.factorize_batch(values, threads=threads) for _ in range(20)]
    )
    assert late < LATE


def test_a_stopped_factor_is_unusable_until_the_next_factorization(interrupt):
    A = dense(700)
    F = sc.cholesky(A)
    packed, logdet = F.pattern.values(A), F.logdet()

    def forever():
        while True:
            F.refactorize(packed, threads=1)

    assert interrupt(forever) < LATE
    if F._values is None:  # stopped within the kernel, as nearly always
        with pytest.raises(np.linalg.LinAlgError, match="no factor"):
            F.logdet()
    assert F.refactorize(packed).logdet() == logdet


def test_a_handler_that_raises_nothing_changes_nothing():
    calls = []
    A = dense(900)
    F = sc.cholesky(A)
    logdet = F.logdet()
    old = signal.signal(signal.SIGALRM, lambda *_: calls.append(sc.cholesky(dense(9)).logdet()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        for threads in THREADS:
            for _ in range(10):
                assert F.refactorize(A, threads=threads).logdet() == logdet
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(set(calls)) == 1


def test_another_thread_goes_on_to_its_end(interrupt):
    A = dense(700)
    F = sc.cholesky(A)
    packed, found = F.pattern.values(A), []
    done, ended = threading.Event(), threading.Event()

    def work():
        while not (found and done.is_set()):
            found.append(F.pattern.factorize(packed, threads=2).logdet())
        ended.set()

    other = threading.Thread(target=work)
    other.start()
    try:
        assert interrupt(lambda: other.join(60)) < LATE
    finally:
        done.set()
        # In Python 3.11 a thread counts as ended once a call of `join` was interrupt.
        assert ended.wait(60)
    assert set(found) == {F.logdet()}


# ---- between two steps of a change -------------------------------------------------------------

CHANGES = {
    "update": lambda F: F.update([1.0, 0.0, 0.0]),
    "delete_rows": lambda F: F.delete_rows([0]),
    "add_row": lambda F: F.add_row(2, [0.0, 0.0, 3.0]),
}


@pytest.mark.parametrize("factorize", [sc.cholesky, sc.ldl])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_stopped_halfway_leaves_no_factor(monkeypatch, factorize, change):
    A = np.array([[4.0, 1.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    F = factorize(A)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(F, "_own", stop)  # L has changed, the packed values have not
    with pytest.raises(KeyboardInterrupt):
        CHANGES[change](F)
    monkeypatch.undo()
    with pytest.raises(np.linalg.LinAlgError, match="no factor"):
        F.solve(np.ones(3))
    np.testing.assert_allclose(A @ F.refactorize(A).solve(np.ones(3)), np.ones(3))


@pytest.mark.parametrize("factorize", [sc.cholesky, sc.ldl])
def test_a_change_without_memory_changes_nothing(monkeypatch, factorize):
    A = np.array([[4.0, 1.0], [1.0, 4.0]])
    F = factorize(A)

    class Changer:
        misfit = F._changer.misfit

        def update(self, *_):
            raise MemoryError

    monkeypatch.setattr(F, "_changer", Changer())
    for change in (lambda: F.update([1.0, 1.0]), lambda: F.delete_rows(1)):
        with pytest.raises(MemoryError):
            change()
        np.testing.assert_allclose(A @ F.solve([1.0, 2.0]), [1.0, 2.0])


@pytest.mark.parametrize("factorize", [sc.cholesky, sc.ldl])
def test_a_read_only_factor_without_memory_for_another_stays(monkeypatch, factorize):
    A = np.array([[4.0, 1.0], [1.0, 4.0]])
    buffers = []
    frozen = pickle.dumps(factorize(A), protocol=5, buffer_callback=buffers.append)
    F = pickle.loads(frozen, buffers=[bytes(buffer) for buffer in buffers])

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("sparsechol._scipy.factor_base.allocate", fail)
    with pytest.raises(MemoryError):
        F.refactorize(2 * A)
    np.testing.assert_allclose(A @ F.solve([1.0, 2.0]), [1.0, 2.0])
    monkeypatch.undo()
    np.testing.assert_allclose(2 * A @ F.refactorize(2 * A).solve([1.0, 2.0]), [1.0, 2.0])


def test_the_determinant_of_a_semidefinite_matrix_is_that_of_its_factor():
    """As after a signal that comes when the new factor stands."""
    L = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    F = sc.cholesky(L, null_space="components")
    F.grounded.refactorize(F.null_space.ground(F.pattern.values(5 * L)))
    assert F.logdet() == pytest.approx(np.log(5 * 1) + np.log(5 * 3))


@pytest.mark.slow
def test_interrupts_one_after_another():
    stopped, through = interrupts.interrupt(seconds=8)
    assert stopped > 5
    assert through > 5
