"""Compare the JAX face with other solvers for JAX: ``python -m asv_bench.reports.jax``.

Run from the repository root, with the package installed. Prints times in milliseconds, and ratios.
"""

import argparse
import math
import os
import sys

from .solvers import forget_source_tree


def arguments():
    parser = argparse.ArgumentParser(prog="python -m asv_bench.reports.jax", description=__doc__)
    parser.add_argument("--matrices", metavar="FOLDER", help="folder of .mtx.gz files to add")
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="samples of each time")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these problems alone")
    parser.add_argument("--smallest", type=int, default=1, metavar="N", help="rows at least")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def likelihoods(args):
    """Value and gradient of a likelihood, against sparsax and against our kernels themselves."""
    from ..benchmarks import jax_face, problems
    from . import clock, tables

    names = [*problems.GENERATED, *(problems.names_in(args.matrices) if args.matrices else [])]
    rows, ratios = [], []
    for name in args.only or names:
        A = problems.load(name, args.matrices)
        if A.shape[0] < args.smallest:
            continue
        work = {"kernels": jax_face.direct(A)}
        for solver in filter(jax_face.available, jax_face.LIKELIHOODS):
            work[solver] = jax_face.value_and_gradient(A, solver)
        for solver in filter(jax_face.available, jax_face.SOLVERS):
            if A.shape[0] <= 20_000:
                work["solve " + solver] = jax_face.value_and_gradient(A, solver, False)
        times = clock.medians(work, args.repeat, args.threads)
        ours = times["sparsechol"]
        ratios.append(times.get("sparsax", math.nan) / ours)
        rows.append([name, str(A.shape[0]), f"{jax_face.compile_seconds(A):.2f}",
                     f"{1e3 * ours:.3f}", f"{ours / times['kernels']:.2f}", f"{ratios[-1]:.1f}",
                     *(f"{times.get('solve ' + s, math.nan) / times.get('solve sparsechol', 1):.1f}"
                       for s in ("sparsax", "klujax", "spsolve"))])  # fmt: skip
        print(" ".join(rows[-1]), file=sys.stderr)
    header = ["problem", "n", "compile s", "likelihood ms", "ours / kernels", "sparsax / ours",
              "solve: sparsax / ours", "klujax / ours", "spsolve / ours"]  # fmt: skip
    mean = math.exp(sum(map(math.log, ratios)) / max(len(ratios), 1))
    heading = tables.title("Value and gradient, compiled", args.markdown)
    lines = [heading, "", *tables.table(header, rows, args.markdown)]
    return [*lines, "", f"sparsax / ours, geometric mean: {mean:.1f}"]


def batches(args):
    """Value and gradient for a batch, against a loop over sparsax."""
    import scipy.sparse as sp

    from ..benchmarks import jax_face
    from . import clock, tables

    rows = []
    for name, model in jax_face.BATCHES.items():
        solvers = filter(jax_face.available, jax_face.LIKELIHOODS)
        work = {solver: jax_face.batch(sp.csc_array(model()), solver) for solver in solvers}
        times = clock.medians(work, args.repeat, args.threads)
        ours = times["sparsechol"]
        rows.append([name, f"{1e3 * ours:.2f}", f"{times.get('sparsax', math.nan) / ours:.1f}"])
    heading = tables.title(f"Batch of {jax_face.COUNT}: value and gradient", args.markdown)
    return [heading, "", *tables.table(["model", "vmap ms", "loop over sparsax / ours"], rows,
                                       args.markdown)]  # fmt: skip


def main():
    args = arguments()
    os.environ["SPARSECHOL_BENCH_THREADS"] = str(args.threads)
    forget_source_tree()
    from . import machine

    load = machine.load_average()
    lines = likelihoods(args)
    if not args.only:
        lines += ["", *batches(args)]
    print("\n".join([*lines, "", *machine.describe(load)]))


if __name__ == "__main__":
    sys.exit(main())
