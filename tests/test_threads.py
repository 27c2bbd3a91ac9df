"""one_blas_thread: nesting, exceptions, concurrency."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sparsechol._threads import one_blas_thread


def blas():
    return {i["filepath"]: i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}


with threadpool_limits(2, user_api="blas"):
    # Other packages may bring a BLAS of their own that has only one thread.
    CAPABLE = [path for path, count in blas().items() if count == 2]

pytestmark = pytest.mark.skipif(not CAPABLE, reason="no BLAS here runs two threads")


def blas_threads():
    now = blas()
    return [now[path] for path in CAPABLE]


@pytest.fixture(autouse=True)
def two_blas_threads():
    """A number other than one, so that a change can be seen."""
    with threadpool_limits(2, user_api="blas"):
        yield


def test_one_thread_inside_and_the_old_number_after():
    with one_blas_thread():
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


def test_nesting_restores_only_at_the_end():
    with one_blas_thread():
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


@pytest.mark.parametrize("depth", [1, 3])
def test_exceptions_restore_and_pass(depth):
    def dive(k):
        with one_blas_thread():
            if k == 1:
                raise KeyError("bottom")
            dive(k - 1)

    with pytest.raises(KeyError, match="bottom"):
        dive(depth)
    assert set(blas_threads()) == {2}
    with one_blas_thread():
        assert set(blas_threads()) == {1}


def test_a_number_changed_in_between_is_kept():
    with one_blas_thread():
        pass
    with threadpool_limits(1, user_api="blas"):
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


def test_the_last_thread_to_leave_restores():
    inside, leave = threading.Event(), threading.Event()

    def long_stay():
        with one_blas_thread():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=long_stay)
    thread.start()
    assert inside.wait(10)
    with one_blas_thread():
        pass
    assert set(blas_threads()) == {1}
    leave.set()
    thread.join()
    assert set(blas_threads()) == {2}


def test_many_threads_always_see_one():
    def work(k):
        for _ in range(30):
            with one_blas_thread():
                assert set(blas_threads()) == {1}
                time.sleep(0)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, k) for k in range(4)]:
            future.result()
    assert set(blas_threads()) == {2}


def test_the_number_is_restored_when_another_thread_leaves_last():
    """threadpoolctl 3.8 ignores all threads but the first that set the number."""
    inside, leave = threading.Event(), threading.Event()

    def overlap():
        with one_blas_thread():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=overlap)
    with one_blas_thread():
        thread.start()
        assert inside.wait(10)
    assert set(blas_threads()) == {1}
    leave.set()
    thread.join()
    assert set(blas_threads()) == {2}


def test_the_users_own_limits_still_work_from_any_thread_afterwards():
    def enter_and_leave():
        with one_blas_thread():
            pass

    thread = threading.Thread(target=enter_and_leave)
    thread.start()
    thread.join()
    with threadpool_limits(1, user_api="blas"):
        assert set(blas_threads()) == {1}
