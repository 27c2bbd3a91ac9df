"""Compare orderings with AMD and METIS: ``python -m asv_bench.reports.ordering``.

Run from the repository root, with the package installed. Prints flops (sums of squared column
counts), times in milliseconds and ratios.
"""

import argparse
import os
import statistics
import sys
from contextlib import suppress
from functools import partial

from .solvers import forget_source_tree


def arguments():
    parser = argparse.ArgumentParser(prog="python -m asv_bench.reports.ordering",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--matrices", metavar="FOLDER", help="folder of .mtx.gz files to add")
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="samples of each time")
    parser.add_argument("--smallest", type=int, default=1000, metavar="N", help="rows at least")
    parser.add_argument("--threads", type=int, default=1, help="threads of nested dissection")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these problems alone")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def mean(ratios):
    ratios = list(ratios)
    return f"{statistics.geometric_mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def measured(name, args):
    """Rows, trees and times of one problem by ordering; the last also of what 'auto' takes."""
    import sparsechol

    from ..benchmarks import orderings, problems
    from . import clock

    A = problems.load(name, args.matrices)
    work = {}
    for method in (*orderings.OURS, *orderings.PACKAGES):
        with suppress(NotImplementedError):
            work[method] = orderings.ordering(A, method, args.threads)
    times = clock.medians(work, args.repeat)
    trees = {method: orderings.tree(A, run()) for method, run in work.items()}
    print(name, *(f"{m} {1e3 * t:.2f}" for m, t in times.items()), file=sys.stderr)
    return A.shape[0], trees, times, sparsechol.analyze(A).ordering


def comparison(names, args):
    """Table of all orderings, and means of ratios."""
    from . import tables

    header = ["matrix", "n", "AMD fill / SuiteSparse's", "time", "dissection flops / METIS", "time",
              "dissection ms", "flops / AMD", "auto", "auto / best"]  # fmt: skip
    rows, ratios, near = [], {key: [] for key in header}, []
    for name in names:
        n, trees, times, auto = measured(name, args)
        if n < args.smallest:
            continue
        least = min(tree.flops for tree in trees.values())
        cells = {"matrix": name, "n": str(n), "auto": auto.method.replace("_", " ")}
        numbers = {"flops / AMD": trees["nested_dissection"].flops / trees["amd"].flops,
                   "auto / best": auto.tried[auto.method][1] / least}  # fmt: skip
        if "suitesparse-amd" in trees:
            numbers[header[2]] = trees["amd"].nnz / trees["suitesparse-amd"].nnz
            numbers["AMD time"] = times["amd"] / times["suitesparse-amd"]
        if "metis" in trees:
            numbers[header[4]] = trees["nested_dissection"].flops / trees["metis"].flops
            numbers["dissection time"] = times["nested_dissection"] / times["metis"]
        for key, value in numbers.items():
            ratios.setdefault(key, []).append(value)
        near.append(numbers["auto / best"] <= 1.1)
        shown = {key: f"{value:.2f}" for key, value in numbers.items()} | cells
        shown["dissection ms"] = f"{1e3 * times['nested_dissection']:.2f}"
        keys = [*header[:3], "AMD time", header[4], "dissection time", *header[6:]]
        rows.append([shown.get(key, "-") for key in keys])
    lines = [tables.title("Orderings", args.markdown), "",
             *tables.table(header, rows, args.markdown), ""]  # fmt: skip
    lines += [f"{key}: {mean(values)}" for key, values in ratios.items() if values]
    return [*lines, f"auto within 10 % of the best: {sum(near)} of {len(near)}"]


def growth(args):
    """Times of the parts of an analysis by size."""
    from ..benchmarks import orderings
    from . import clock, tables

    rows = []
    for n in orderings.SIZES:
        one = orderings.Growth()
        one.setup(n)
        parts = (one.time_amd, one.time_nested_dissection, one.time_after_ordering)
        work = {part.__name__: partial(part, n) for part in parts}
        times = clock.medians(work, args.repeat)
        rows.append([str(n), *(f"{1e9 * t / n:.0f}" for t in times.values())])
    header = ["n", "AMD", "nested dissection", "all after the ordering"]
    return [tables.title("Nanoseconds a row on square grids", args.markdown), "",
            *tables.table(header, rows, args.markdown)]  # fmt: skip


def main():
    args = arguments()
    os.environ["SPARSECHOL_BENCH_THREADS"] = str(args.threads)
    forget_source_tree()
    from ..benchmarks import problems
    from . import machine

    before = machine.load_average()
    names = args.only or [*problems.MODELS,
                          *(problems.names_in(args.matrices) if args.matrices else [])]  # fmt: skip
    lines = comparison(names, args)
    if not args.only:
        lines += ["", *growth(args)]
    print("\n".join([*lines, "", *machine.describe(before)]))


if __name__ == "__main__":
    sys.exit(main())
