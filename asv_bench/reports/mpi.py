"""Measure `sparsechol.distributed` on grids: ``mpirun -n 2 python -m asv_bench.reports.mpi``.

Run from the repository root, with the package installed. Prints seconds (the slowest rank, medians)
and memory: ours beside the same instance of MUMPS called directly, and beside the serial engine
with as many threads as there are ranks.
"""

import argparse
import resource
import statistics
import sys
from time import perf_counter, sleep

from .solvers import forget_source_tree

MEBI = 2**20

HEADER = ["grid", "entries of L", "MUMPS factorizes s", "our update / that", "MUMPS solves s",
          "our solve / that", "partial inverse / factorize", "its worst rank MiB",
          "ICNTL(30) / factorize", "MUMPS MiB a rank", "serial factorizes s",
          "serial partial inverse s", "serial L MiB"]  # fmt: skip


def arguments():
    parser = argparse.ArgumentParser(prog="mpirun -n RANKS python -m asv_bench.reports.mpi",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--sides", nargs="+", type=int, default=[20, 30, 40], metavar="M",
                        help="vertices in each direction")  # fmt: skip
    parser.add_argument("--dimensions", type=int, default=3, metavar="D", help="of the grid")
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="samples of each time")
    parser.add_argument("--columns", type=int, default=8000, metavar="N",
                        help="all of the pattern from ICNTL(30) up to this many rows")  # fmt: skip
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def medians(comm, work, repeat):
    """Median seconds of each function on the slowest rank; all take turns."""
    from mpi4py import MPI

    samples = {key: [] for key in work}
    for turn in range(repeat + 1):
        for key, function in work.items():
            comm.Barrier()
            start = perf_counter()
            function()
            seconds = comm.allreduce(perf_counter() - start, MPI.MAX)
            if turn:
                samples[key].append(seconds)
    return {key: statistics.median(values) for key, values in samples.items()}


def wait(comm):
    """Until all are here, without taking a core from those who work."""
    barrier = comm.Ibarrier()
    while not barrier.Test():
        sleep(0.01)


def rows_of(A, comm):
    """Consecutive rows of a matrix, which each rank has for itself."""
    import numpy as np
    import scipy.sparse as sp

    starts = np.linspace(0, A.shape[0], comm.size + 1).astype(int)
    own = sp.coo_array(A)
    keep = (own.coords[0] >= starts[comm.rank]) & (own.coords[0] < starts[comm.rank + 1])
    entries = own.data[keep], (own.coords[0][keep], own.coords[1][keep])
    return sp.csr_array(entries, shape=A.shape)


def direct(F, packed, b):
    """Factorization and solve of the same instance of MUMPS without our layer."""
    import numpy as np

    from sparsechol.distributed._engine import FACTORIZE, SOLVE

    instance, root = F._mumps, F._comm.rank == 0

    def solve():
        if root:
            instance.set_columns(np.array(b[:, None], order="F"))
        instance.run(SOLVE)

    return {"MUMPS factorizes": lambda: instance.run(FACTORIZE), "MUMPS solves": solve,
            "update": lambda: F.refactorize(packed), "solve": lambda: F.solve(b)}  # fmt: skip


def measured(comm, shape, args):
    """A row of the table."""
    import numpy as np
    from mpi4py import MPI

    import sparsechol as sc
    import sparsechol.distributed as scd
    from sparsechol.models import grid_laplacian

    def resident():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBI

    A = grid_laplacian(shape)
    n = A.shape[0]
    part = rows_of(A, comm)
    S = scd.analyze(part, comm)
    b = np.ones(n)
    with S.factorize(part) as F:
        times = medians(comm, direct(F, S.values(part), b), args.repeat)
        memory = comm.allreduce(F._mumps.infog(21), MPI.MAX)
        before = resident()
        times |= medians(comm, {"inverse": F.diag_inverse}, max(1, args.repeat // 2))
        worst = comm.allreduce(max(0, resident() - before), MPI.MAX)
        if n <= args.columns:
            column = np.repeat(np.arange(n), np.diff(S.indptr))
            work = {"columns": lambda: F.inverse_entries(S.indices, column)}
            times |= medians(comm, work, 1)
    if comm.rank == 0:
        S = sc.analyze(A)
        F = S.factorize(A, threads=comm.size)
        work = {"serial factorizes": lambda: F.refactorize(A, threads=comm.size),
                "serial inverse": lambda: F.diag_inverse(threads=comm.size)}  # fmt: skip
        times |= medians(MPI.COMM_SELF, work, args.repeat)
        serial = S.memory.factor / MEBI
    wait(comm)
    if comm.rank:
        return None
    factorize = times["MUMPS factorizes"]
    return [" x ".join(map(str, shape)), f"{S.nnz:.3g}", f"{factorize:.3g}",
            f"{times['update'] / factorize:.2f}", f"{times['MUMPS solves']:.3g}",
            f"{times['solve'] / times['MUMPS solves']:.2f}", f"{times['inverse'] / factorize:.2f}",
            f"{worst:.0f}", f"{times['columns'] / factorize:.0f}" if "columns" in times else "-",
            str(memory), f"{times['serial factorizes']:.3g}", f"{times['serial inverse']:.3g}",
            f"{serial:.0f}"]  # fmt: skip


def main():
    args = arguments()
    forget_source_tree()
    from mpi4py import MPI

    from . import machine, tables

    comm = MPI.COMM_WORLD
    before = machine.load_average()
    rows = [measured(comm, (side,) * args.dimensions, args) for side in args.sides]
    if comm.rank == 0:
        lines = [tables.title(f"{comm.size} ranks", args.markdown), "",
                 *tables.table(HEADER, rows, args.markdown), "",
                 *machine.describe(before)]  # fmt: skip
        print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
