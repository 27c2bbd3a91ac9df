"""Measure sparse Jacobians and Hessians: ``python -m asv_bench.reports.sparse``.

Run from the repository root, with the package installed. Prints times in milliseconds, and ratios.
"""

import argparse
import os
import sys
from contextlib import suppress
from time import perf_counter

from .solvers import forget_source_tree


def arguments():
    parser = argparse.ArgumentParser(prog="python -m asv_bench.reports.sparse", description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, metavar="K", help="samples of each time")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def detection(args):
    """Patterns: ours and asdex's, and ours of large problems and of those that are dense."""
    from ..benchmarks import sparse_derivatives as bench
    from . import clock, tables

    rows = []
    for name in [*bench.DETECTED, *bench.LARGE, *bench.CLIFFS]:
        work = {"sparsechol": bench.detection(name)}
        if name in bench.DETECTED:
            with suppress(NotImplementedError):
                work["asdex"] = bench.detection(name, "asdex")
        begin = perf_counter()
        count = work["sparsechol"]()
        first = perf_counter() - begin
        times = clock.medians(work, args.repeat)
        ratio = times["asdex"] / times["sparsechol"] if "asdex" in times else None
        rows.append([name, str(count), f"{1e3 * first:.1f}", f"{1e3 * times['sparsechol']:.1f}",
                     "-" if ratio is None else f"{ratio:.1f}"])  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    header = ["function", "entries", "first ms", "ms", "asdex / ours"]
    return [tables.title("Detection", args.markdown), "",
            *tables.table(header, rows, args.markdown)]  # fmt: skip


def evaluation(args):
    """Entries, compiled: against single products and other libraries."""
    from ..benchmarks import sparse_derivatives as bench
    from . import clock, tables

    rows = []
    for name in [*bench.DETECTED, bench.GRID]:
        run, colors = bench.evaluation(name)
        work = {"sparsechol": run, "product": bench.one_product(name)}
        others = {}
        for library in bench.PEERS:
            with suppress(NotImplementedError):
                work[library], others[library] = bench.evaluation(name, library)
        times = clock.medians(work, args.repeat)
        mine = times["sparsechol"]
        ratios = [f"{times[p] / mine:.2f}" if p in times else "-" for p in bench.PEERS]
        rows.append([name, str(colors), str(others.get("asdex", "-")), f"{1e3 * mine:.3f}",
                     f"{mine / (colors * times['product']):.2f}", *ratios])  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    header = ["function", "colors", "asdex's", "ms", "/ (colors products)",
              *(f"{p} / ours" for p in bench.PEERS)]  # fmt: skip
    return [tables.title("Evaluation in JAX, compiled", args.markdown), "",
            *tables.table(header, rows, args.markdown)]  # fmt: skip


def bands(args):
    """In PyTensor, against its dense Jacobian."""
    from ..benchmarks import sparse_derivatives as bench
    from . import clock, tables

    rows = []
    for name in bench.BANDS:
        run, colors = bench.banded_jacobian(name)
        dense, _ = bench.banded_jacobian(name, "pytensor")
        times = clock.medians({"sparsechol": run, "pytensor": dense}, args.repeat)
        rows.append([name, str(colors), f"{1e3 * times['sparsechol']:.4f}",
                     f"{1e3 * times['pytensor']:.2f}",
                     f"{times['pytensor'] / times['sparsechol']:.0f}"])  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    header = ["function", "colors", "ms", "dense ms", "dense / ours"]
    return [tables.title("PyTensor, compiled by numba", args.markdown), "",
            *tables.table(header, rows, args.markdown)]  # fmt: skip


def laplace(args):
    """Marginal density of counts on a grid, 10^4 latent values."""
    import jax
    import numpy as np

    from ..benchmarks import sparse_derivatives as bench
    from . import clock, tables

    rows = []
    makers = {"JAX": bench.laplace_in_jax, "PyTensor": bench.laplace_in_pytensor}
    for name, make in makers.items():
        begin = perf_counter()
        value, both, theta = make()
        _, gradient = both(theta)
        ready = perf_counter() - begin
        error = relative_error(value, np.asarray(gradient), np.asarray(theta))
        work = {"value": lambda f=value, t=theta: jax.block_until_ready(f(t)),
                "both": lambda f=both, t=theta: jax.block_until_ready(f(t))}  # fmt: skip
        times = clock.medians(work, args.repeat)
        rows.append([name, f"{ready:.1f}", f"{1e3 * times['value']:.1f}",
                     f"{1e3 * times['both']:.1f}", f"{error:.0e}"])  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    header = ["framework", "prepared and compiled s", "value ms", "value and gradient ms",
              "gradient's error"]  # fmt: skip
    return [tables.title("Laplace's approximation", args.markdown), "",
            *tables.table(header, rows, args.markdown)]  # fmt: skip


def relative_error(f, gradient, theta, h=1e-4):
    """Largest, against central differences of fourth order."""
    import numpy as np

    steps = h * np.eye(len(theta))
    at = lambda t: float(f(t))  # noqa: E731
    wanted = np.array([
        (8 * (at(theta + e) - at(theta - e)) - (at(theta + 2 * e) - at(theta - 2 * e))) / (12 * h)
        for e in steps
    ])  # fmt: skip
    return np.max(np.abs(gradient - wanted) / np.abs(wanted))


def main():
    args = arguments()
    os.environ["SPARSECHOL_BENCH_THREADS"] = "1"
    os.environ.setdefault("SPARSECHOL_NUM_THREADS", "1")
    forget_source_tree()
    from ..benchmarks.jax_face import start_jax
    from . import machine

    load = machine.load_average()
    start_jax()
    lines = []
    for part in (detection, evaluation, bands, laplace):
        lines += [*part(args), ""]
    print("\n".join([*lines, *machine.describe(load)]))


if __name__ == "__main__":
    sys.exit(main())
