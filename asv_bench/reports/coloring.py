"""Compare colorings with those of other libraries: ``python -m asv_bench.reports.coloring``.

Run from the repository root, with the package installed. Prints numbers of colors, times in
milliseconds, and ratios; 'auto' has its second.
"""

import argparse
import os
import statistics
import sys
from contextlib import suppress
from functools import partial

from .solvers import forget_source_tree

OURS = ("natural", "largest_first", "auto")
SHOWN = {
    "column": "Columns",
    "star": "Symmetric, direct (star)",
    "acyclic": "Symmetric, substitution (acyclic)",
    "bidirectional": "Both directions",
}

# Pattern, kind, and the number of colors to reach; None where the time is what counts.
GOALS = (
    ("bratu_100", "column", 5),
    ("brusselator_70", "column", 7),
    ("seven_point_22", "column", 8),
    ("nine_point_100", "column", 9),
    ("band_10", "star", 11),
    ("band_10", "acyclic", 6),
    ("band_20", "star", 21),
    ("band_20", "acyclic", 11),
    ("border_100000", "star", 16),
    ("cross_10x20", "bidirectional", 4),
    ("arrow_200", "bidirectional", 3),
    ("bratu_450", "column", None),
    ("bratu_450", "star", None),
    ("bratu_450", "acyclic", None),
    ("random_200000", "column", None),
)


def arguments():
    parser = argparse.ArgumentParser(prog="python -m asv_bench.reports.coloring",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--matrices", metavar="FOLDER", help="folder of .mtx.gz files to add")
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="samples of each time")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these patterns alone")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def measured(A, kind, repeat, orders=OURS, peers=()):
    """Lower bound, numbers of colors, and times: ours by order, and those of the others."""
    from ..benchmarks import coloring
    from . import clock

    work = {order: partial(coloring.coloring, A, kind, order) for order in orders}
    for name in peers:
        with suppress(NotImplementedError):
            work[name] = coloring.peer(A, kind, name)
    results = {}
    times = clock.medians({key: remembering(results, key, work[key]) for key in work}, repeat)
    bound = results["natural"].lower_bound
    return bound, {key: getattr(x, "num_colors", x) for key, x in results.items()}, times


def remembering(results, key, run):
    def call():
        results[key] = run()

    return call


def warm_up():
    """Compile what compiles at its first call."""
    from ..benchmarks import coloring

    for kind in coloring.KINDS:
        measured(coloring.load("arrow_200"), kind, 1, peers=coloring.PEERS.get(kind, ()))


def comparison(names, kind, args, what=""):
    """Table of one kind of coloring, and means of ratios."""
    from ..benchmarks import coloring
    from . import tables

    peers, found = list(coloring.PEERS.get(kind, ())), []
    for name in names:
        A = coloring.load(name, args.matrices)
        if kind in ("star", "acyclic") and not coloring.is_symmetric(A):
            continue
        bound, numbers, times = measured(A, kind, args.repeat, peers=peers)
        found.append((name, A, bound, numbers, times))
        print(kind, name, numbers, *(f"{t:.4f}" for t in times.values()), file=sys.stderr)
    peers = [p for p in peers if any(p in numbers for *_, numbers, _ in found)]
    header = ["pattern", "columns", "entries", "bound", *map(words, OURS), *peers, "natural ms",
              "auto ms", *(f"{p} / {o}" for p in peers for o in ("natural", "auto"))]  # fmt: skip
    rows = []
    for name, A, bound, numbers, times in found:
        ratios = (quotient(times, p, o) for p in peers for o in ("natural", "auto"))
        rows.append([name, str(A.shape[1]), str(A.nnz), str(bound),
                     *(str(numbers.get(key, "-")) for key in (*OURS, *peers)),
                     f"{1e3 * times['natural']:.2f}", f"{1e3 * times['auto']:.1f}",
                     *ratios])  # fmt: skip
    lines = [tables.title(SHOWN[kind] + what, args.markdown), ""]
    lines += tables.table(header, rows, args.markdown)
    return [*lines, "", *means(found, peers)] if peers else lines


def words(order):
    return order.replace("_", " ")


def quotient(times, peer, order):
    return f"{times[peer] / times[order]:.2f}" if peer in times else "-"


def means(found, peers):
    """Geometric means over the patterns that a library colors."""
    lines = []
    both = [numbers for *_, numbers, _ in found if set(numbers) & set(peers)]
    for order in OURS if both else ():
        fewer = [n[order] / min(n[p] for p in peers if p in n) for n in both]
        lines.append(f"colors, {words(order)} / best of the others: {mean(fewer)}"
                     f" (from {min(fewer):.2f} to {max(fewer):.2f})")  # fmt: skip
    for peer in peers:
        times = [times for *_, times in found if peer in times]
        ratios = (f"{mean([t[peer] / t[o] for t in times])} / {words(o)}" for o in OURS)
        lines.append(f"time, {peer} over ours: {', '.join(ratios)}; {len(times)} patterns")
    return lines


def mean(ratios):
    return f"{statistics.geometric_mean(ratios):.2f}"


def goals(args):
    """What was promised, and what there is."""
    from ..benchmarks import coloring
    from . import tables

    rows = []
    for name, kind, goal in GOALS:
        A = coloring.load(name)
        bound, numbers, times = measured(A, kind, args.repeat, ("natural", "auto"))
        reached = "-" if goal is None else "yes" if numbers["auto"] <= goal else "NO"
        rows.append([f"{name}, {kind}", str(A.nnz), str(bound), str(numbers["natural"]),
                     str(numbers["auto"]), str(goal or "-"), reached,
                     f"{1e3 * times['natural']:.1f}", f"{1e3 * times['auto']:.1f}"])  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    header = ["pattern", "entries", "bound", "natural", "auto", "goal", "reached", "natural ms",
              "auto ms"]  # fmt: skip
    heading = tables.title("Goals", args.markdown)
    return [heading, "", *tables.table(header, rows, args.markdown)]


def decompression(names, args):
    """Times to decompress, in products with a vector."""
    from ..benchmarks import coloring
    from . import clock, tables

    rows = []
    for name in names:
        A, row = coloring.load(name, args.matrices), [name]
        for kind in coloring.KINDS:
            try:
                if kind in ("star", "acyclic") and not coloring.is_symmetric(A):
                    raise NotImplementedError
                run, product = coloring.decompression(A, kind)
            except NotImplementedError:
                row += ["-", "-"]
                continue
            times = clock.medians({"run": run, "product": product}, args.repeat)
            row += [f"{1e3 * times['run']:.3f}", f"{times['run'] / times['product']:.2f}"]
        rows.append(row)
        print(*row, file=sys.stderr)
    header = ["pattern", *(h for kind in coloring.KINDS for h in (f"{kind} ms", "/ J @ v"))]
    heading = tables.title("Decompression", args.markdown)
    return [heading, "", *tables.table(header, rows, args.markdown)]


def main():
    args = arguments()
    os.environ["SPARSECHOL_BENCH_THREADS"] = "1"
    forget_source_tree()
    from ..benchmarks import coloring, problems
    from . import machine

    load = machine.load_average()
    warm_up()
    names = [*coloring.PATTERNS, "border_4000", *problems.GENERATED,
             *(problems.names_in(args.matrices) if args.matrices else [])]  # fmt: skip
    lines = [] if args.only else [*goals(args), ""]
    for kind in coloring.KINDS:
        lines += [*comparison(args.only or names, kind, args), ""]
    if not args.only:
        for kind in coloring.KINDS:
            lines += [*comparison(coloring.RANDOM, kind, args, ": random patterns"), ""]
    lines += decompression(args.only or names, args)
    print("\n".join([*lines, "", *machine.describe(load)]))


if __name__ == "__main__":
    sys.exit(main())
