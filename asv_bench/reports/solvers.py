"""Compare sparsechol with its peers in one process: ``python -m asv_bench.reports.solvers``.

Run from the repository root, with the package installed. Prints a table for each kind of work,
with geometric means of the ratios, and what it ran on.
"""

import argparse
import os
import sys
from pathlib import Path


def forget_source_tree():
    """Let ``import sparsechol`` find the installed package.

    ``python -m`` puts the current directory first on sys.path, and there lies the source folder
    of the same name, without the compiled modules.
    """
    root = Path(__file__).resolve().parents[2]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root]


def arguments():
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.reports.solvers", description=__doc__
    )
    parser.add_argument("--matrices", metavar="FOLDER", help="folder of .mtx.gz files to add")
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="samples of each time")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library")
    parser.add_argument("--order", default="auto", help="order of sparsechol (default: auto)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these problems alone")
    parser.add_argument("--smallest", type=int, default=1, metavar="N", help="rows at least")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--save", metavar="FILE.json", help="keep the times, for a chart")
    args = parser.parse_args()
    if args.repeat < 1 or args.threads < 1:
        parser.error("--repeat and --threads must be at least 1")
    return args


def main():
    args = arguments()
    os.environ["SPARSECHOL_BENCH_THREADS"] = str(args.threads)
    forget_source_tree()
    # NumPy reads the number of threads when it is loaded, hence not before.
    from . import comparison

    return comparison.run(args)


if __name__ == "__main__":
    sys.exit(main())
