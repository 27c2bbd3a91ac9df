"""Measure the PyTensor face, beside PyMC where it is: ``python -m asv_bench.reports.pytensor``.

Run from the repository root, with the package installed. PyTensor's cache is empty at first, and
functions of each kind are compiled for a small matrix before any time is taken: times to compile
are those for a new matrix.
"""

import argparse
import atexit
import math
import os
import sys
from contextlib import suppress
from tempfile import TemporaryDirectory

from .solvers import forget_source_tree


def arguments():
    parser = argparse.ArgumentParser(prog="python -m asv_bench.reports.pytensor",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--matrices", metavar="FOLDER", help="folder of .mtx.gz files to add")
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="samples of each time")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library")
    parser.add_argument("--largest", type=int, default=2500, metavar="N",
                        help="nodes of a graph at most, for pm.CAR")  # fmt: skip
    parser.add_argument("--largest-dense", type=int, default=2500, metavar="N",
                        help="the same for pm.MvNormal")  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these problems and graphs alone")
    parser.add_argument("--smallest", type=int, default=1, metavar="N", help="rows at least")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def densities(args):
    """Value and gradient of a log density, against our kernels themselves."""
    from ..benchmarks import problems
    from ..benchmarks import pytensor_face as face
    from . import clock, tables

    names = [*problems.GENERATED, *(problems.names_in(args.matrices) if args.matrices else [])]
    rows, ratios = [], []
    face.compile_seconds(face.small())
    for name in args.only or names:
        if name in face.LATTICES:
            continue
        A = problems.load(name, args.matrices)
        if A.shape[0] < args.smallest:
            continue
        seconds = face.compile_seconds(A)
        work = {"ours": face.value_and_gradient(A), "kernels": face.direct(A)}
        times = clock.medians(work, args.repeat, args.threads)
        ratios.append(times["ours"] / times["kernels"])
        rows.append([name, str(A.shape[0]), f"{seconds:.2f}", f"{1e3 * times['ours']:.3f}",
                     f"{ratios[-1]:.2f}"])  # fmt: skip
        print(" ".join(rows[-1]), file=sys.stderr)
    header = ["problem", "n", "compile s", "density ms", "ours / kernels"]
    mean = math.exp(sum(map(math.log, ratios)) / max(len(ratios), 1))
    heading = tables.title("Value and gradient of a density, compiled", args.markdown)
    lines = [heading, "", *tables.table(header, rows, args.markdown)]
    return [*lines, "", f"ours / kernels, geometric mean: {mean:.2f}"]


def autoregressions(args):
    """Value and gradient of conditional autoregressions, against PyMC's distributions."""
    from ..benchmarks import pytensor_face as face
    from . import clock, tables

    rows = []
    for model in face.MODELS:
        compiled(face, face.lattice(10), model, args)
        for name in args.only or face.GRAPHS:
            try:
                W = face.adjacency(name, args.matrices)
            except NotImplementedError:
                continue
            functions = compiled(face, W, model, args)
            work = {solver: function for solver, (function, _) in functions.items()}
            seconds = {solver: taken for solver, (_, taken) in functions.items()}
            times = clock.medians(work, args.repeat, args.threads)
            rows.append([name, str(W.shape[0]), model])
            for solver in face.SOLVERS:
                rows[-1].append(cell(seconds.get(solver), 1))
                rows[-1].append(cell(times.get(solver), 3, 1e3))
            for solver in face.SOLVERS[1:]:
                rows[-1].append(cell(times.get(solver), 1, 1 / times["sparsechol"]))
            print(" ".join(rows[-1]), file=sys.stderr)
    header = ["graph", "n", "W", "compile s", "ours ms"]
    for solver in face.SOLVERS[1:]:
        header += ["compile s", f"{solver} ms"]
    header += [f"{solver} / ours" for solver in face.SOLVERS[1:]]
    heading = tables.title("Conditional autoregression: value and gradient", args.markdown)
    return [heading, "", *tables.table(header, rows, args.markdown)]


def compiled(face, W, model, args):
    """A function for each solver that has one, with the seconds to compile it."""
    functions = {}
    for solver in face.MODELS[model]:
        largest = args.largest_dense if solver == "pm.MvNormal" else args.largest
        with suppress(NotImplementedError):
            functions[solver] = face.autoregression(W, model, solver, largest)
    return functions


def cell(value, digits, unit=1.0):
    return "-" if value is None else f"{unit * value:.{digits}f}"


def calls(args):
    """What a call, a start and the example take."""
    from ..benchmarks import pytensor_face as face
    from . import clock, tables

    times = clock.medians(face.overhead_parts(face.small()), args.repeat, args.threads)
    over = times["function"] - times["kernels"]
    rows = [["call, n = 100", f"{1e6 * times['function']:.1f} us"],
            ["its kernels alone", f"{1e6 * times['kernels']:.1f} us"],
            ["overhead (goal: 15 us)", f"{1e6 * over:.1f} us"],
            ["the same by NumPy's functions", f"{1e6 * times['public']:.1f} us"],
            ["an empty function", f"{1e6 * times['empty']:.1f} us"]]  # fmt: skip
    cold, warm = zip(*(face.starts(name) for name in face.STARTS), strict=True)
    rows += [["start of sum and gradient: cold, warm", f"{cold[0]:.2f} s, {warm[0]:.2f} s"],
             ["start of logdet and gradient: cold, warm", f"{cold[1]:.2f} s, {warm[1]:.2f} s"],
             ["difference, warm (goal: 0.5 s)", f"{warm[1] - warm[0]:.2f} s"]]  # fmt: skip
    try:
        laplace = {"laplace": face.nested_laplace()}
        seconds = clock.medians(laplace, args.repeat, args.threads)["laplace"]
        rows.append(["nested Laplace, 10^4 latent values", f"{1e3 * seconds:.0f} ms"])
    except NotImplementedError as reason:
        rows.append(["nested Laplace", str(reason)])
    heading = tables.title("Calls and starts", args.markdown)
    return [heading, "", *tables.table(["what", "time"], rows, args.markdown)]


def main():
    args = arguments()
    os.environ["SPARSECHOL_BENCH_THREADS"] = str(args.threads)
    forget_source_tree()
    from ..benchmarks import pytensor_face
    from . import machine

    load = machine.load_average()
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)  # before PyTensor registers what still reads from there
    os.environ["PYTENSOR_FLAGS"] = pytensor_face.flags(folder.name)
    lines = [*densities(args), "", *autoregressions(args)]
    if not args.only:
        lines += ["", *calls(args)]
    print("\n".join([*lines, "", *machine.describe(load)]))


if __name__ == "__main__":
    sys.exit(main())
