"""Use the SciPy face for a long time from many threads, in a process that forks now and then.

Every thread analyzes, factors, refactors, changes, solves and drops at random; analyses and some
factors are shared. Each result is checked by its residual, computed by SciPy. Children of the
process do the same for a moment, with a pool of their own. Memory must stay as it is. Run as a
script, it prints a line a minute:

    python tests/support/soak.py --seconds 3600 --threads 16
"""

import argparse
import faulthandler
import gc
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
import warnings

import numpy as np
import scipy.sparse as sp

import sparsechol as sc

TOLERANCE = {"f": 1e-3, "d": 1e-9, "F": 1e-3, "D": 1e-9}
CHILD_SECONDS = 120  # a child that has not ended by then hangs


class Problem:
    """Matrices of one pattern and type, their analysis, and a factor that threads share."""

    def __init__(self, lower, dtype):
        self.lower, self.dtype = sp.csc_array(lower), np.dtype(dtype)
        self.pattern = sc.analyze(self.lower)
        self.shared = self.matrix(np.random.default_rng(0))
        self.factor = self.pattern.factorize(self.shared)

    def matrix(self, rng):
        """Return a symmetric (Hermitian) matrix with a dominant diagonal."""
        below = sp.csc_array(sp.tril(self.lower, -1))
        below.data = rng.uniform(-1, 1, below.nnz)
        if self.dtype.kind == "c":
            below = below * (1 + 0.5j)
        rest = below + below.conj().T
        diagonal = abs(rest).sum(axis=0) + rng.uniform(1, 2, rest.shape[0])
        return sp.csc_array(rest + sp.diags_array(diagonal)).astype(self.dtype)


def problems():
    """Return patterns that become one front, many fronts and simplicial subtrees."""

    def path(n):
        return sp.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])

    def grid(*shape):
        pattern = sp.eye_array(1)
        for n in shape:
            pattern = sp.kron(pattern, path(n))
        return pattern

    arrow = sp.block_array([[sp.eye_array(900), None], [np.ones((8, 900)), np.ones((8, 8))]])
    random_rows = sp.random_array((400, 400), density=0.01, rng=np.random.default_rng(1))
    patterns = [
        np.ones((120, 120)), grid(40, 40), grid(9, 9, 9), path(3000), arrow,
        random_rows + sp.eye_array(400), np.ones((1, 1)), grid(70, 60),
    ]  # fmt: skip
    dtypes = ["d", "d", "D", "f", "d", "F", "d", "d"]
    return [Problem(sp.tril(p), d) for p, d in zip(patterns, dtypes, strict=True)]


# ---- what a thread does ------------------------------------------------------------------------


def check(problem, A, x, b):
    """Raise unless x solves A x = b to the accuracy of the type."""
    worst = np.abs(A @ x - b).max() / (abs(A).max() * np.abs(x).max() + np.abs(b).max())
    if not worst < TOLERANCE[problem.dtype.char]:
        raise AssertionError(f"residual {worst:.2g} of {A.shape}, {problem.dtype}")


def check_factor(problem, A, F, rng):
    threads, columns = rng.integers(1, 5), [(), (1,), (3,), (40,)][rng.integers(4)]
    b = rng.standard_normal((A.shape[0], *columns))
    check(problem, A, F.solve(b, threads=int(threads)), b)
    if rng.random() < 0.2:
        # (A Z)_ii needs all of Z; its diagonal is that of solutions for unit vectors.
        i = int(rng.integers(A.shape[0]))
        unit = np.eye(1, A.shape[0], i)[0]
        x = F.solve(unit)
        check(problem, A, x, unit)
        z = F.diag_inverse(threads=int(threads))[i]
        if not abs(z - x[i].real) < TOLERANCE[problem.dtype.char] * max(1, abs(z)):
            raise AssertionError(f"entry {i} of the diagonal of the inverse is {z}, not {x[i]}")


def analyze_and_factor(problem, rng):
    A = problem.matrix(rng)
    ordering = ["auto", "amd", "nested_dissection", "best", "natural"][rng.integers(5)]
    S = sc.analyze(A, ordering=ordering, threads=int(rng.integers(1, 5)))
    check_factor(problem, A, S.factorize(A, threads=int(rng.integers(1, 5))), rng)


def one_call(problem, rng):
    A = problem.matrix(rng)
    b = rng.standard_normal(A.shape[0])
    check(problem, A, sc.solve(A, b, threads=int(rng.integers(1, 5))), b)


def refactorize(problem, rng):
    F = problem.factor.copy()
    for _ in range(4):
        A = problem.matrix(rng)
        check_factor(problem, A, F.refactorize(A, threads=int(rng.integers(1, 5))), rng)


def refuse(problem, rng):
    A = problem.matrix(rng)
    F = problem.pattern.factorize(A)
    try:
        F.refactorize(-A)
    except sc.NotPositiveDefiniteError:
        check_factor(problem, A, F.refactorize(A), rng)
    else:
        raise AssertionError("a negative definite matrix was factored")


def signed(problem, rng):
    A = problem.matrix(rng)
    K = sp.csc_array(A * np.where(np.arange(A.shape[0]) % 3, 1, -1)[:, None])
    K = sp.csc_array(sp.tril(K) + sp.tril(K, -1).conj().T)
    check_factor(problem, K, problem.pattern.ldl(K, threads=int(rng.integers(1, 5))), rng)


def use_shared(problem, rng):
    check_factor(problem, problem.shared, problem.factor, rng)


def batch(problem, rng):
    S = problem.pattern
    matrices = [problem.matrix(rng) for _ in range(int(rng.integers(1, 6)))]
    values = np.stack([S.values(A) for A in matrices])
    F = S.factorize_batch(values, threads=int(rng.integers(1, 5)))
    b = rng.standard_normal((len(matrices), S.shape[0]))
    for A, x, right in zip(matrices, F.solve(b), b, strict=True):
        check(problem, A, x, right)


def update(problem, rng):
    A = problem.matrix(rng)
    F = problem.pattern.factorize(A)
    column = int(rng.integers(A.shape[0]))
    c = np.zeros(A.shape[0])
    c[column] = 2.0
    changed = A.copy()
    changed[column, column] += 4.0
    check_factor(problem, changed.astype(problem.dtype), F.update(c), rng)


def twin(problem, rng):
    F = pickle.loads(pickle.dumps(problem.factor))
    check_factor(problem, problem.shared, F, rng)


ACTIONS = [
    analyze_and_factor, one_call, refactorize, refuse, signed, use_shared, batch, update, twin
]  # fmt: skip


class Soak:
    """Threads at work, and what they found."""

    def __init__(self, seconds, threads, seed):
        self.problems = problems()
        self.end = time.monotonic() + seconds
        self.errors, self.calls, self.forks = [], [0] * threads, 0
        self.fork_lock, self.next_fork = threading.Lock(), time.monotonic() + 1
        self.threads = [
            threading.Thread(target=self.work, args=(k, seed * 1000 + k)) for k in range(threads)
        ]

    def act(self, rng):
        action = ACTIONS[rng.integers(len(ACTIONS))]
        action(self.problems[rng.integers(len(self.problems))], rng)

    def work(self, k, seed):
        rng = np.random.default_rng(seed)
        try:
            while time.monotonic() < self.end and not self.errors:
                self.act(rng)
                self.calls[k] += 1
                self.maybe_fork(rng)
        except BaseException:
            self.errors.append(traceback.format_exc())

    def maybe_fork(self, rng):
        """Fork from this thread if it is time to; the child must end by itself, and well."""
        with self.fork_lock:
            if time.monotonic() < self.next_fork:
                return
            self.next_fork = time.monotonic() + rng.uniform(1, 5)
        child = os.fork()
        if child == 0:
            self.be_child(rng)
        self.forks += 1
        _, status = os.waitpid(child, 0)
        if status:
            self.errors.append(f"a child ended with status {os.waitstatus_to_exitcode(status)}")

    def be_child(self, rng):
        code = 1
        try:
            faulthandler.dump_traceback_later(CHILD_SECONDS - 5)
            signal.alarm(CHILD_SECONDS)
            for _ in range(3):
                self.act(rng)
            if rng.random() < 0.2:  # a child of the child
                grandchild = os.fork()
                if grandchild == 0:
                    self.act(rng)
                    os._exit(0)
                if os.waitpid(grandchild, 0)[1]:
                    raise AssertionError("a grandchild failed")
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def run(self, report, every):
        """Run to the end; return the resident memory now and then, in MiB."""
        for thread in self.threads:
            thread.start()
        memory, due = [], time.monotonic()
        while any(thread.is_alive() for thread in self.threads):
            if time.monotonic() >= due:
                due += every
                memory.append(resident())
                report(f"{sum(self.calls)} calls, {self.forks} forks, {memory[-1]:.0f} MiB")
            time.sleep(0.2)
        gc.collect()
        memory.append(resident())
        report(f"{sum(self.calls)} calls, {self.forks} forks, {memory[-1]:.0f} MiB")
        return memory


def resident():
    """Return the resident memory of this process in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--every", type=float, default=60, help="seconds between two lines")
    options = parser.parse_args()
    warnings.simplefilter("error", sp.SparseEfficiencyWarning)
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    begin = time.monotonic()

    def report(text):
        print(f"{time.monotonic() - begin:6.0f} s: {text}", flush=True)

    soak = Soak(options.seconds, options.threads, options.seed)
    report(f"seed {options.seed}, {options.threads} threads")
    memory = soak.run(report, options.every)
    for error in soak.errors:
        print(error, file=sys.stderr)
    print(f"memory from {memory[len(memory) // 6]:.0f} to {memory[-1]:.0f} MiB")
    return bool(soak.errors)


if __name__ == "__main__":
    sys.exit(main())
