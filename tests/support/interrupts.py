"""Ctrl-C each 50 milliseconds, for a long time, at whatever the process is doing.

A call that is interrupted has no result. What it changes must then hold the old matrix, or the new
one, or no factor, and say so; what goes through must be right. Run as a script, it prints a line a
minute:

    python tests/support/interrupts.py --seconds 600
"""

import argparse
import pickle
import signal
import sys
import time
import warnings

import numpy as np
import scipy.sparse as sp

import sparsechol as sc

EVERY = 0.05  # seconds
THREADS = 2


class Stopped:
    """Stand for the result of a call that was interrupted."""


class Interrupts:
    """Interrupt calls, and nothing else."""

    def __init__(self):
        self.armed, self.count = False, 0

    def __enter__(self):
        self.old = signal.signal(signal.SIGALRM, self.strike)
        signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
        return self

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.old)

    def strike(self, *_):
        if self.armed:
            self.armed = False
            self.count += 1
            raise KeyboardInterrupt

    def call(self, function):
        """Return the result of a call, or Stopped."""
        try:
            self.armed = True
            result = function()
        except KeyboardInterrupt:
            return Stopped
        finally:
            self.armed = False
        return result


def grid(*shape):
    """Return a Laplacian with a shift, of some thousand rows."""
    A = sp.csc_array((1, 1))
    for n in shape:
        path = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
        A = sp.kron(A, sp.eye_array(n)) + sp.kron(sp.eye_array(A.shape[0]), path)
    return sp.csc_array(A + sp.eye_array(A.shape[0]))


def dense(n):
    return sp.csc_array(np.ones((n, n)) + n * np.eye(n))


# ---- objects that change -------------------------------------------------------------------------


class Changed:
    """A factor that a call changes from one matrix to another."""

    def __init__(self, A, rng, factorize):
        self.rng, self.first, self.now = rng, A, A
        self.F = factorize(A)

    def next(self):
        """Return a function that changes the factor, and the matrix that it leads to."""
        A = self.now.copy()
        rows = self.rng.integers(A.shape[0], size=3)
        A.setdiag(A.diagonal() * self.rng.uniform(1.0, 1.2))
        kind = self.rng.integers(3)
        if kind == 0 or not isinstance(self.F, sc.CholeskyFactor):
            return lambda: self.F.refactorize(A, threads=THREADS), A
        B = self.now.copy()
        if kind == 1:
            C = sp.csc_array((np.ones(3), (rows, range(3))), shape=(A.shape[0], 3))
            return lambda: self.F.update(C), sp.csc_array(B + C @ C.T)
        row = int(rows[0])
        keep = sp.diags_array(np.where(np.arange(A.shape[0]) == row, 0.0, 1.0))
        B = sp.csc_array(keep @ B @ keep + sp.eye_array(A.shape[0]) - keep)
        return lambda: self.F.delete_rows(row), B

    def turn(self, interrupts):
        change, after = self.next()
        stopped = interrupts.call(change) is Stopped
        b = self.rng.standard_normal(self.now.shape[0])
        try:
            x = self.F.solve(b)
        except np.linalg.LinAlgError as error:
            if not stopped or "no factor" not in str(error):
                raise
            self.F.refactorize(self.now)
            self.expect(self.now, self.F.solve(b), b)
            return
        if stopped and self.residual(self.now, x, b) < 1e-10:
            after = self.now
        self.expect(after, x, b)
        self.now = after
        if self.rng.random() < 0.1:  # before few rows are left
            self.now = self.first
            self.F.refactorize(self.now)

    def expect(self, A, x, b):
        assert self.residual(A, x, b) < 1e-10, self.residual(A, x, b)
        # The packed values, which derivatives and estimates read, are those of the same matrix.
        assert abs(self.F.condest() / known_condition(A, self.F) - 1) < 1e-6

    @staticmethod
    def residual(A, x, b):
        return np.abs(A @ x - b).max() / (abs(A).max() * np.abs(x).max() + np.abs(b).max())


def known_condition(A, F):
    """Return the estimate of a fresh factor."""
    return F.pattern.factorize(A).condest()


class Semidefinite:
    """The Laplacian of a graph: the determinant of its factor takes a correction."""

    def __init__(self, m):
        L = grid(m, m) - sp.eye_array(m * m)
        self.L = sp.csc_array(L - sp.diags_array(np.asarray(L.sum(axis=0)).ravel()))
        self.F = sc.cholesky(self.L, null_space="components")
        self.size, self.scale = m * m - 1, 1.0
        self.logdet = self.F.logdet()

    def turn(self, interrupts):
        scale = self.scale * 2 if self.scale < 100 else 1.0
        A = self.L * scale
        stopped = interrupts.call(lambda: self.F.refactorize(A, threads=THREADS)) is Stopped
        try:
            found = self.F.logdet()
        except np.linalg.LinAlgError:
            assert stopped
            self.F.refactorize(A)
            found = self.F.logdet()
        possible = [self.logdet + self.size * np.log(s) for s in (self.scale, scale)]
        right = [abs(found - value) < 1e-8 * abs(value) for value in possible]
        assert right[1] or (stopped and right[0]), (found, possible)
        self.scale = scale if right[1] else self.scale


# ---- objects that stay ---------------------------------------------------------------------------


class Kept:
    """A factor that calls read: the same bits, or an interrupt."""

    def __init__(self, A):
        self.A, self.F = A, sc.cholesky(A)
        self.batch = np.repeat(self.F.pattern.values(A)[None], 5, axis=0)
        n = A.shape[0]
        b, C = np.ones((n, 40)), np.ones((2, n)) * [[1.0], [0.0]] + np.eye(2, n)
        F, S = self.F, self.F.pattern
        self.calls = {
            "solve": lambda: F.solve(b, threads=THREADS),
            "diag_inverse": lambda: F.diag_inverse(threads=THREADS),
            "partial_inverse": lambda: F.partial_inverse(threads=THREADS).data,
            "L": lambda: F.L.data,
            "condest": F.condest,
            "logdet_hvp": lambda: sc.derivatives.logdet_hvp(F, self.batch[0], threads=THREADS),
            "factor_jvp": lambda: sc.derivatives.factor_jvp(F, A, threads=THREADS).data,
            "inverse_quadratic": lambda: F.inverse_quadratic(C),
            "condition": lambda: F.condition(C).marginal_variances(),
            "with_low_rank": lambda: F.with_low_rank(C.T).solve(b),
            "batch": lambda: S.factorize_batch(self.batch, threads=THREADS).logdet(),
            "pickle": lambda: pickle.loads(pickle.dumps(F)).solve(b),
            "analyze": lambda: sc.analyze(A, ordering="best", threads=THREADS).perm,
            "solve_triangular": lambda: sc.solve_triangular(sp.tril(A), b),
            "ldl": lambda: sc.ldl(A).solve(b),
            "color": lambda: sc.coloring.color(A, "symmetric").colors,
        }
        self.results = {name: np.asarray(call()) for name, call in self.calls.items()}
        self.names = list(self.calls)

    def turn(self, interrupts):
        name = self.names.pop(0)
        self.names.append(name)
        result = interrupts.call(self.calls[name])
        if result is not Stopped:
            np.testing.assert_array_equal(result, self.results[name], err_msg=name)


def interrupt(seconds, report=None, every=60.0):
    """Interrupt calls for some seconds; return how many were interrupted, and how many not."""
    rng = np.random.default_rng(0)
    subjects = [
        Kept(grid(40, 40)), Changed(grid(9, 9, 9), rng, sc.cholesky), Semidefinite(50),
        Kept(grid(12, 12, 12)), Changed(dense(400), rng, sc.cholesky),
        Changed(grid(60, 60), rng, sc.ldl),
    ]  # fmt: skip
    begin = due = time.monotonic()
    turns = 0
    with Interrupts() as interrupts:
        while time.monotonic() < begin + seconds:
            subjects[turns % len(subjects)].turn(interrupts)
            turns += 1
            if report and time.monotonic() >= due:
                due += every
                report(time.monotonic() - begin, interrupts.count, turns)
    for subject in subjects:  # and all of them work
        subject.turn(interrupts)
    return interrupts.count, turns - interrupts.count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    seconds = parser.parse_args().seconds
    warnings.simplefilter("error", RuntimeWarning)

    def report(at, count, turns):
        print(f"{at:6.0f} s: {count} of {turns} calls interrupted", flush=True)

    count, through = interrupt(seconds, report)
    print(f"{count} calls interrupted, {through} went through")


if __name__ == "__main__":
    sys.exit(main())
