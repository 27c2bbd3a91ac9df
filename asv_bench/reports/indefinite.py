"""Signed factorizations of KKT matrices beside QDLDL and PARDISO, one thread."""

import argparse
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.io import mmread
from threadpoolctl import threadpool_limits

from ..benchmarks import THREADS, peers, quadratic_programs
from . import clock, machine, tables

OURS, QDLDL = "sparsechol-ldl", "qdldl"
SUFFIX = ".mtx.gz"


def matrices(folder, only):
    """Names and matrices: those of a folder, and the generated problems."""
    paths = sorted(Path(folder).glob("*" + SUFFIX)) if folder else []
    real = {path.name.removesuffix(SUFFIX): lambda path=path: mmread(path) for path in paths}
    made = {name: lambda name=name: quadratic_programs.load(name)
            for name in quadratic_programs.PROBLEMS}  # fmt: skip
    for name, make in (real | made).items():
        if not only or name in only:
            yield name, sp.csc_array(make())


def measure(A, names, repeat):
    """Seconds by work and solver."""
    solvers = {name: peers.make(name, A) for name in names}
    b = np.cos(np.arange(A.shape[0]))
    work = {"refactorize": {}, "solve": {}}
    for name, solver in solvers.items():
        threadpool_limits(THREADS)
        solver.analyze()
        solver.factorize()
        right = solver.right_hand_side(b)
        x = solver.array(solver.solve(right))
        size = abs(A).sum(axis=1).max() * abs(x).max() + abs(b).max()
        if not abs(A @ x - b).max() < 1e-6 * size:  # QDLDL does not refine, either
            print(f"{name}: the residual is {abs(A @ x - b).max() / size:.1g}", file=sys.stderr)
        work["refactorize"][name] = solver.factorize
        work["solve"][name] = lambda solver=solver, right=right: solver.solve(right)
    times = {kind: clock.medians(calls, repeat, THREADS) for kind, calls in work.items()}
    for solver in solvers.values():
        solver.release()
    return times


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kkt", help="folder of NAME.mtx.gz")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    before = machine.load_average()
    names = [name for name in peers.INDEFINITE if peers.installed(name)]
    rivals = names[1:]
    kinds = ("refactorize", "solve")
    header = ["matrix", "order"]
    for kind in kinds:
        header += [f"{kind} ms", *(f"{rival} / ours" for rival in rivals)]
    rows, ratios = [], []
    for name, A in matrices(args.kkt, args.only):
        print(f"{name} ...", file=sys.stderr, flush=True)
        times = measure(A, names, args.repeat)
        own = [[times[kind][rival] / times[kind][OURS] for rival in rivals] for kind in kinds]
        ratios.append(np.ravel(own))
        cells = [name, str(A.shape[0])]
        for kind, quotients in zip(kinds, own, strict=True):
            cells += [f"{1e3 * times[kind][OURS]:.3g}", *(f"{q:.2f}" for q in quotients)]
        rows.append(cells)
    means = iter(np.exp(np.log(ratios).mean(axis=0)))
    last = ["geometric mean", ""]
    for _ in kinds:
        last += ["", *(f"{next(means):.2f}" for _ in rivals)]
    print(*tables.table(header, [*rows, last], args.markdown), sep="\n", end="\n\n")
    print(*machine.describe(before), sep="\n")


if __name__ == "__main__":
    main()
