"""The worker pool: orders, shared loops, many callers, nesting, forks, interrupts, exits."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsechol._core.parallel import pool
from sparsechol._core.parallel import threads as _threads
from sparsechol._core.parallel.threads import thread_count
from support.helpers import SETTINGS
from support.native_pool import DOWN, UP, Log, forest, run, share

THREADS = 4
CAN_FORK = hasattr(os, "fork")


@pytest.fixture(autouse=True, scope="module")
def some_workers():
    pool.start_workers(THREADS - 1)


def script(body, **environment):
    """Run a script in an interpreter of its own; its output."""
    head = "import sys\nsys.path.insert(0, sys.argv[1])\nfrom support.native_pool import *\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", head + body, str(Path(__file__).parents[2])],
        capture_output=True, text=True, timeout=60, env=os.environ | environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# ---- tasks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, THREADS, 64])
@pytest.mark.parametrize("order", [UP, DOWN])
@given(seed=st.integers(0, 2**32 - 1), tasks=st.integers(1, 60), ranked=st.booleans())
@SETTINGS
def test_a_forest_runs_once_and_in_order(threads, order, seed, tasks, ranked):
    rng = np.random.default_rng(seed)
    parent = forest(rng, tasks)
    log = Log()
    run(threads, tasks, log.task, parent, order, rng.permutation(tasks) if ranked else None)
    assert sorted(log.done) == list(range(tasks))
    assert log.clashes == 0
    for t in np.flatnonzero(parent >= 0):
        first, second = (t, parent[t]) if order == UP else (parent[t], t)
        assert log.done.index(first) < log.begun.index(second)


@pytest.mark.parametrize("threads", [1, 2, THREADS])
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("tasks", [0, 1, 2, 5000])
def test_independent_tasks_run_once(threads, tasks, ranked):
    log = Log()
    run(threads, tasks, log.task, rank=range(tasks) if ranked else None)
    assert sorted(log.done) == list(range(tasks))
    assert log.clashes == 0


@pytest.mark.parametrize("order", [UP, DOWN])
def test_one_thread_runs_in_the_order_of_the_numbers(order):
    log = Log()
    run(1, 6, log.task, [2, 2, 5, 4, 5, -1], order)
    assert log.done == (list(range(6)) if order == UP else list(range(6))[::-1])


def test_without_workers_the_least_rank_comes_first():
    up, down = script("""
from sparsechol._core.parallel.pool import workers
parent, rank = [3, 3, 4, 5, 5, -1], [9, 8, 1, 7, 2, 0]
up, down = Log(), Log()
run(4, 6, up.task, parent, UP, rank)
run(4, 6, down.task, parent, DOWN, rank)
assert workers() == 0
print(*("".join(map(str, log.done)) for log in (up, down)))
""")
    assert up == "241035"
    assert down == "542310"


def test_tasks_run_on_several_threads_at_once():
    together = threading.Barrier(2, timeout=30)
    for parent in (None, [2, 2, -1]):
        run(2, 3, lambda t, worker: together.wait() if t < 2 else None, parent)


@pytest.mark.parametrize("order", [UP, DOWN])
def test_workers_call_more_workers(order):
    together = threading.Barrier(THREADS, timeout=30)
    parent = [THREADS] * THREADS + [-1]
    run(THREADS, THREADS + 1, lambda t, worker: t == THREADS or together.wait(), parent, order)


# ---- shared loops --------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, THREADS])
@pytest.mark.parametrize("kind", ["forest", "independent", "single"])
def test_shared_loops_inside_tasks(threads, kind):
    rng = np.random.default_rng(5)
    tasks = 1 if kind == "single" else 30
    counts = rng.integers(0, 40, tasks)
    counts[0] = 200
    pieces = [[] for _ in range(tasks)]
    log = Log()

    def task(t, worker):
        log.begin(t, worker)
        share(worker, counts[t], lambda k, helper: pieces[t].append(k))
        assert len(pieces[t]) == counts[t]
        log.end(t, worker)

    run(threads, tasks, task, forest(rng, tasks) if kind == "forest" else None)
    assert log.clashes == 0
    assert sorted(log.done) == list(range(tasks))
    assert [sorted(p) for p in pieces] == [list(range(n)) for n in counts]


def test_a_shared_loop_has_its_own_number_on_every_thread():
    together = threading.Barrier(THREADS, timeout=30)
    numbers = []

    def piece(k, worker):
        together.wait()
        numbers.append(worker[0])

    run(THREADS, 1, lambda t, worker: share(worker, THREADS, piece))
    assert sorted(numbers) == list(range(THREADS))


def test_the_caller_helps_with_a_loop_of_a_worker():
    together = threading.Barrier(2, timeout=30)
    apart = threading.Barrier(2, timeout=30)

    def task(t, worker):
        apart.wait()
        if worker[0] != 0:
            share(worker, 2, lambda k, helper: together.wait())

    run(2, 2, task)


# ---- many jobs -----------------------------------------------------------------------------------


def test_many_callers():
    def caller(seed):
        rng = np.random.default_rng(seed)
        for _ in range(200):
            tasks = int(rng.integers(1, 8))
            log = Log()
            run(3, tasks, log.task, forest(rng, tasks), int(rng.integers(2)))
            assert sorted(log.done) == list(range(tasks))
            assert log.clashes == 0

    with ThreadPoolExecutor(8) as callers:
        for future in [callers.submit(caller, seed) for seed in range(8)]:
            future.result()


def test_callers_go_on_while_all_workers_are_busy():
    present = len(pool.threads)
    arrived = threading.Barrier(present + 2, timeout=30)
    leave = threading.Event()

    def wait(t, worker):
        arrived.wait()
        leave.wait(30)

    busy = threading.Thread(target=run, args=(present + 1, present + 1, wait))
    busy.start()
    arrived.wait()
    log = Log()
    run(THREADS, 50, log.task, forest(np.random.default_rng(1), 50))
    leave.set()
    busy.join()
    assert sorted(log.done) == list(range(50))


def test_nested_jobs():
    outer, inner = Log(), [Log() for _ in range(20)]

    def task(t, worker):
        outer.begin(t, worker)
        run(THREADS, 10, inner[t].task, [9] * 9 + [-1])
        outer.end(t, worker)

    run(THREADS, 20, task, forest(np.random.default_rng(2), 20))
    assert sorted(outer.done) == list(range(20))
    assert all(sorted(log.done) == list(range(10)) for log in inner)
    assert outer.clashes == sum(log.clashes for log in inner) == 0


# ---- the life of the workers ---------------------------------------------------------------------

BUSY = """
import os, threading, time
inside = threading.Event()
def task(t, worker):
    inside.set()
    time.sleep(0.001)
def check(workers=2):
    pool.start_workers(workers)
    for order in (UP, DOWN):
        log = Log()
        run(3, 40, log.task, forest(np.random.default_rng(3), 40), order)
        assert sorted(log.done) == list(range(40)) and not log.clashes
def busy():
    while True:
        run(3, 50, task)
"""

FORK = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
def child():
    assert pool.workers() == 0
    check()
    sys.stdout.write("child ")
"""


@pytest.mark.slow
@pytest.mark.skipif(not CAN_FORK, reason="no fork here")
@pytest.mark.parametrize("busy", [False, True])
def test_fork(busy):
    start = "threading.Thread(target=busy, daemon=True).start(); inside.wait()" if busy else ""
    out = script(f"""{BUSY}{FORK}
check()
{start}
for _ in range(5):
    process = os.fork()
    if process == 0:
        child()
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
    check()
""")
    assert out == ["child"] * 5


@pytest.mark.skipif(not CAN_FORK, reason="no fork here")
def test_multiprocessing_fork():
    out = script(f"""{BUSY}{FORK}
import multiprocessing
check()
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
check()
""")
    assert out == ["child"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["parked", "busy", "never"])
def test_exit_of_the_interpreter(how):
    start = {
        "parked": "check(); time.sleep(0.1)",
        "busy": "check(); threading.Thread(target=busy, daemon=True).start(); inside.wait()",
        "never": "",
    }
    assert script(f"{BUSY}\n{start[how]}\nprint('end')") == ["end"]


needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer here")


@needs_timer
def test_an_interrupt_leaves_the_pool_usable():
    """The tasks are no Python, so that the interrupt waits for the end of the job."""
    out = script(f"""{BUSY}
import ctypes as ct, signal
from support import native_pool
nap = TASK(("usleep", ct.CDLL(None)))
signal.signal(signal.SIGALRM, signal.default_int_handler)
workspace = (ct.c_int * 1000)()
caught = 0
check()
for _ in range(5):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        native_pool._run(3, 100, None, UP, None, nap, 1000, ct.addressof(workspace))
        time.sleep(10)
    except KeyboardInterrupt:
        caught += 1
    check()
print(caught)
""")
    assert out == ["5"]


@needs_timer
def test_interrupts_while_workers_start():
    out = script(f"""{BUSY}
import signal
caught = 0
signal.signal(signal.SIGALRM, signal.default_int_handler)
for count in range(1, 40):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
        pool.start_workers(count)
        time.sleep(0.01)
    except KeyboardInterrupt:
        caught += 1
check(40)
for _ in range(1000):
    if pool.workers() >= 40:
        break
    time.sleep(0.01)
print(caught, pool.workers() >= 40)
""")
    # Python drops an interrupt that falls into a finalizer.
    assert int(out[0]) > 30
    assert out[1] == "True"


# ---- how many threads ----------------------------------------------------------------------------


@pytest.fixture
def variable(monkeypatch):
    """Set the variable, and forget what was read before."""

    def put(text):
        monkeypatch.setenv(_threads.VARIABLE, text)
        _threads._default.cache_clear()

    monkeypatch.delenv(_threads.VARIABLE, raising=False)
    _threads._default.cache_clear()
    yield put
    _threads._default.cache_clear()


def test_the_default_is_one_thread_a_core(variable):
    assert thread_count() == _threads.cores() >= 1
    variable(" ")
    assert thread_count() == _threads.cores()


@pytest.mark.parametrize("text", ["1", "2", " 3 "])
def test_the_variable_gives_the_number(variable, text):
    variable(text)
    assert thread_count() == int(text)
    assert thread_count(2) == 2


@pytest.mark.parametrize("text", ["0", "-1", "two", "2.0", "1_0", "²"])
def test_bad_values_of_the_variable(variable, text):
    variable(text)
    with pytest.raises(ValueError, match="SPARSECHOL_NUM_THREADS"):
        thread_count()


@pytest.mark.parametrize("integer", [int, np.int8, np.int64, np.uint16])
def test_integers_of_any_type(integer):
    assert thread_count(integer(2)) == 2
    assert type(thread_count(integer(2))) is int


@pytest.mark.parametrize("bad", [True, np.True_, 2.0, "2", [2]])
def test_what_is_no_integer(bad):
    with pytest.raises(TypeError, match="threads must be an integer or None"):
        thread_count(bad)


@pytest.mark.parametrize("bad", [0, -1, np.int32(0)])
def test_less_than_one_thread(bad):
    with pytest.raises(ValueError, match="threads must be at least 1"):
        thread_count(bad)


def test_absurd_numbers_start_a_few_workers():
    most = 4 * _threads.cores()
    assert thread_count(10**30) == most + 1
    assert len(pool.threads) <= max(most, THREADS - 1)


def test_workers_are_started_when_asked_for():
    out = script("""
import time
from sparsechol._core.parallel.threads import thread_count
assert pool.workers() == 0 and thread_count(1) == 1 and pool.workers() == 0
thread_count(3)
while pool.workers() < 2:
    time.sleep(0.001)
thread_count(2)
print(pool.workers())
""")
    assert out == ["2"]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_the_quota_of_a_container(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _threads._quota(tmp_path) == cores
