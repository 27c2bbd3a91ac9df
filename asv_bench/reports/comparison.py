"""The measurements behind `reports.solvers`: every solver on one matrix, interleaved, medians."""

import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ..benchmarks import THREADS, peers, problems
from . import batch, clock, machine, tables

OURS = "sparsechol"
RIVALS = {
    "CHOLMOD": [name for name in peers.SOLVERS if name.startswith("cholmod")],
    "PARDISO": [name for name in peers.SOLVERS if name.startswith("pardiso")],
}
if THREADS > 1:
    RIVALS["one thread"] = ["sparsechol-one-thread"]
WORK = ("refactorize", "solve", "once", "partial inverse")

# Residuals may be this many times n roundings: enough for any backward stable factorization.
ROUNDINGS = 10


class Result(NamedTuple):
    """Medians in seconds of one matrix, by work and solver, and what describes the matrix."""

    name: str
    n: int
    symbolic: object
    orders: dict
    times: dict


class WrongAnswer(Exception):
    """A solver whose answer is not the solution."""


def run(args):
    """Measure and print; the exit status, 1 if an answer was wrong."""
    load_before = machine.load_average()
    solvers = [OURS, *(name for names in RIVALS.values() for name in names)]
    missing = [name for name in solvers if not peers.installed(name)]
    solvers = [name for name in solvers if name not in missing]
    results, failures, refused = [], [], []
    for name in chosen(args):
        if problems.load(name, args.matrices).shape[0] < args.smallest:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            results.append(measure(name, args, solvers))
        except np.linalg.LinAlgError as error:  # singular to working precision, for instance
            refused.append(f"Refused: {name}: {error}")
        except Exception as error:  # one bad matrix or solver must not lose the other results
            failures.append(f"{name}: {type(error).__name__}: {error}")
            print(failures[-1], file=sys.stderr, flush=True)
    for work in WORK:
        print(*tables.work_table(work, results, OURS, RIVALS, args.markdown), sep="\n", end="\n\n")
    if not args.only:
        print(*batch.table(args.repeat, args.markdown), sep="\n", end="\n\n")
    print(*tables.matrix_table(results, OURS, args.markdown), sep="\n", end="\n\n")
    print(*machine.describe(load_before), sep="\n")
    if args.save:
        save(results, args)
    if results:
        print("Orders:", ", ".join(f"{solver} {order}" for solver, order in settings(results)))
    print(f"Threads: {THREADS}. Medians of {args.repeat} interleaved samples.")
    print(f"Not installed: {', '.join(missing) or 'none'}. Failed: {len(failures)}")
    for line in failures + refused:
        print(line)
    return 1 if failures else 0


def save(results, args):
    """Write what `reports.chart` draws: the times of each problem, by work and solver."""
    problems = {
        result.name: {f"{work}, {solver}": time for (work, solver), time in result.times.items()}
        for result in results
    }
    found = {"processor": machine.cpu(), "threads": args.threads, "seconds": problems}
    Path(args.save).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def chosen(args):
    """Names of the problems to measure."""
    folder = args.matrices or problems.matrix_folder()
    names = [*problems.MODELS, *problems.names_in(folder)]
    unknown = set(args.only or ()) - set(names)
    if unknown:
        sys.exit(f"no such problem: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return args.only or names


def settings(results):
    """The order of each solver; ours may differ from matrix to matrix."""
    for solver in results[0].orders:
        orders = sorted({result.orders[solver] for result in results})
        yield solver, " or ".join(orders)


def measure(name, args, solvers):
    """Verify and time all solvers on one matrix."""
    A = problems.load(name, args.matrices)
    b = problems.right_hand_side(A)
    made = {solver: make(solver, A, args.order) for solver in solvers}
    threadpool_limits(THREADS)  # for libraries that were loaded before the variables were set
    try:
        for solver, one in made.items():
            verify(solver, one, A, b)
        verify_partial_inverse(made[OURS], A)
        times = clock.medians(work_of(made, b), args.repeat, THREADS)
    finally:
        for one in made.values():
            one.release()
    problems.load.cache_clear()
    orders = {solver: one.order for solver, one in made.items()}
    return Result(name, A.shape[0], made[OURS].symbolic, orders, times)


def make(solver, A, order):
    """A solver by name, ours with the order asked for."""
    return peers.Sparsechol(A, order) if solver == OURS else peers.make(solver, A)


def verify(solver, one, A, b):
    """Residuals with changing values: a solver that kept old ones would be found out."""
    one.analyze()
    for M in (2 * A, A):
        one.load(M)
        one.factorize()
        x = one.array(one.solve(one.right_hand_side(b)))
        error = np.abs(M @ x - b).max()
        scale = abs(M).sum(axis=0).max() * np.abs(x).max() + np.abs(b).max()
        if not error <= tolerance(M) * scale:
            raise WrongAnswer(f"{solver}: the residual is {error / scale:.2g}")


def verify_partial_inverse(one, A):
    """Three columns of the partial inverse against solves for them."""
    Z = one.factor.partial_inverse()
    n = A.shape[0]
    for j in {0, n // 2, n - 1}:
        unit = np.zeros(n)
        unit[j] = 1.0
        x = one.array(one.solve(one.right_hand_side(unit)))
        rows, values = (array[Z.indptr[j] : Z.indptr[j + 1]] for array in (Z.indices, Z.data))
        # Both are rounded, and the condition number comes in: ask for the square root only.
        if not np.allclose(values, x[rows], rtol=0, atol=math.sqrt(tolerance(A)) * abs(x).max()):
            raise WrongAnswer(f"{OURS}: column {j} of the partial inverse")


def tolerance(A):
    return ROUNDINGS * A.shape[0] * np.finfo(float).eps


def work_of(made, b):
    """The functions to be timed, by work and solver."""
    work = {name: {} for name in WORK}
    for solver, one in made.items():
        rhs = one.right_hand_side(b)
        work["once"][solver] = lambda one=one, rhs=rhs: one.once(rhs)
        work["refactorize"][solver] = one.factorize
        work["solve"][solver] = lambda one=one, rhs=rhs: one.solve(rhs)
    ours = made[OURS]
    work["partial inverse"][OURS] = lambda: ours.factor.partial_inverse()
    return {(name, solver): f for name, fs in work.items() for solver, f in fs.items()}
