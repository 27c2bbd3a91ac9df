"""Simulate factorizations on more cores than there are: ``python -m asv_bench.reports.scaling``.

Run from the repository root, with the package installed. The plan of the scheduler is played event
by event: threads take the ready task with the longest way to the root, then pieces of the loops
that large fronts share. Work takes the times that the analysis predicts. Memory is taken to be as
fast for many cores as for one, and a thread to start at once; what two threads gain when measured
tells how far that carries.
"""

import argparse
import heapq
from collections import deque
from typing import NamedTuple

import numpy as np

from .solvers import forget_source_tree

# As in supernodes.pyx: nanoseconds of a front, an entry of its panel, of its update matrix, a flop;
# of a column of a simplicial subtree, a product there, and the subtree itself.
FRONT, PANEL_ENTRY, UPDATE_ENTRY, FLOP = 450.0, 0.7, 1.25, 0.024
COLUMN, PRODUCT, SUBTREE = 8.0, 1.0, 50.0
# As in dense.pyx and assembly.pyx: columns of panels, work that is worth sharing.
WIDTH, PANEL, SHARED, SHARED_ROWS = 8, 64, 1 << 21, 256


class Loop(NamedTuple):
    """Pieces of work that threads may share, or one piece that they may not."""

    pieces: tuple[float, ...]


def arguments():
    parser = argparse.ArgumentParser(prog="python -m asv_bench.reports.scaling",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--matrices", metavar="FOLDER", help="folder of .mtx.gz files to add")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these problems alone")
    parser.add_argument("--cores", nargs="+", type=int, default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--slowest", type=float, default=5.0, metavar="MS",
                        help="leave out what one thread does in less")  # fmt: skip
    parser.add_argument("--repeat", type=int, default=5, metavar="K", help="samples of each time")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def step_times(arrays):
    """Predicted nanoseconds of each front; those of a simplicial subtree are all its root's."""
    nc, m = np.diff(arrays["first"]).astype(float), np.diff(arrays["row_start"]).astype(float)
    root = arrays["simplicial_root"]
    of_front = FRONT + PANEL_ENTRY * nc * (nc + m) + UPDATE_ENTRY * 0.5 * m * m
    of_front += FLOP * nc * (nc * nc / 3 + nc * m + m * m)
    of_column = COLUMN + PRODUCT * m * (m + 1) / 2
    times = np.where(root == -1, of_front, 0.0)
    columns = np.flatnonzero(root != -1)
    np.add.at(times, root[columns], of_column[columns])
    roots = np.unique(root[columns])
    times[roots] += SUBTREE + UPDATE_ENTRY * 0.5 * m[roots] ** 2
    return times


# ---- what a front does, see dense.pyx ----


def product(m, n, k, threads):
    """Lower trapezoid of a product, (m, n) with k terms, in pieces of some rows."""
    height = max(96, min(384, (m // (3 * threads) + 23) // 24 * 24))
    if threads == 1 or m * n * k < SHARED:
        height = m
    starts = np.arange(0, m, height)
    ends = np.minimum(starts + height, m)

    def area(rows):
        low = np.minimum(rows, n)
        return low * (low + 1) / 2 + n * (rows - low)

    return Loop(tuple(2 * FLOP * k * (area(ends) - area(starts))))


def panel(rows, nc, threads):
    """Factor a panel, (rows, nc), by halves."""
    if nc <= WIDTH:
        return [Loop((FLOP * nc * nc * rows,))]
    if nc <= PANEL and rows > nc:
        below = rows - nc
        count = -(-below // PANEL) if threads > 1 and below * nc * nc >= SHARED else 1
        return [*panel(nc, nc, threads), Loop((FLOP * below * nc * nc / count,) * count)]
    h = (nc // 2 + WIDTH - 1) // WIDTH * WIDTH
    middle = product(rows - h, nc - h, h, threads)
    return [*panel(rows, h, threads), middle, *panel(rows - h, nc - h, threads)]


def front(nc, m, threads):
    """Everything a front does: it is assembled, its panel factored, its update matrix computed."""
    entries = PANEL_ENTRY * nc * (nc + m) + UPDATE_ENTRY * 0.5 * m * m
    count = 8 * (nc + m) // SHARED_ROWS if threads > 1 and nc + m >= SHARED_ROWS else 1
    start = [Loop((FRONT,)), Loop((entries / count,) * count)]
    update = [product(m, m, nc, threads)] if m else []
    return [*start, *panel(nc + m, nc, threads), *update]


def task_loops(structure, times, threads):
    """Loops of each task, one after the other."""
    plan, arrays = structure.parallel_plan, structure.arrays
    below, columns = np.diff(arrays["row_start"]), np.diff(arrays["first"])
    tasks = []
    for begin, end in zip(plan["task_start"][:-1], plan["task_start"][1:], strict=True):
        loops, alone = [], 0.0
        for s in plan["steps"][begin:end]:
            m, nc = int(below[s]), int(columns[s])
            if arrays["simplicial_root"][s] != -1 or nc * (nc + m) ** 2 < SHARED:
                alone += times[s]
                continue
            for loop in front(nc, m, threads):
                if len(loop.pieces) == 1:
                    alone += loop.pieces[0]
                else:
                    loops += [Loop((alone,)), loop]
                    alone = 0.0
        tasks.append([*loops, Loop((alone,))])
    return tasks


# ---- the scheduler ----


class Machine:
    """Threads that play a forest of tasks."""

    def __init__(self, parent, rank, tasks, threads):
        self.parent, self.rank, self.tasks = parent, rank, tasks
        self.children = np.bincount(parent[parent >= 0], minlength=len(parent))
        self.ready = [(rank[t], t) for t in np.flatnonzero(self.children == 0)]
        heapq.heapify(self.ready)
        self.idle = threads
        self.events = []  # (when, number, task)
        self.waiting = {}  # task: pieces of its loop that nobody has begun
        self.running = {}  # task: how many have
        self.at = [0] * len(tasks)
        self.now = 0.0
        self.busy = 0.0

    def begin_piece(self, task):
        self.idle -= 1
        self.running[task] += 1
        seconds = self.waiting[task].popleft()
        self.busy += seconds
        heapq.heappush(self.events, (self.now + seconds, len(self.events), task))
        if not self.waiting[task]:
            del self.waiting[task]

    def open_loop(self, task):
        self.waiting[task] = deque(self.tasks[task][self.at[task]].pieces)
        self.running[task] = 0
        self.begin_piece(task)  # its owner

    def hand_out(self):
        while self.idle and self.ready:
            self.open_loop(heapq.heappop(self.ready)[1])
        while self.idle and self.waiting:
            self.begin_piece(next(iter(self.waiting)))

    def end_piece(self, task):
        self.idle += 1
        self.running[task] -= 1
        if task in self.waiting or self.running[task]:
            return
        self.at[task] += 1
        if self.at[task] < len(self.tasks[task]):
            self.open_loop(task)
            return
        above = self.parent[task]
        if above != -1:
            self.children[above] -= 1
            if not self.children[above]:
                heapq.heappush(self.ready, (self.rank[above], above))

    def play(self):
        """Return how long it takes."""
        self.hand_out()
        while self.events:
            self.now, _, task = heapq.heappop(self.events)
            self.end_piece(task)
            self.hand_out()
        return self.now


def simulated(structure, times, threads):
    """Nanoseconds of a factorization as the analysis predicts them."""
    plan = structure.parallel_plan
    tasks = task_loops(structure, times, threads)
    return Machine(plan["task_parent"], plan["up_rank"], tasks, threads).play()


# ---- the report ----


def row_of(name, args):
    """Cells of one problem, or None if it is too small."""
    import sparsechol

    from ..benchmarks import problems
    from . import clock

    A = problems.load(name, args.matrices)
    pattern = sparsechol.analyze(A)
    structure = pattern._structure
    factor = pattern.factorize(A)

    work = {
        "one": lambda: factor.refactorize(A, threads=1),
        "two": lambda: factor.refactorize(A, threads=2),
    }
    seconds = clock.medians(work, args.repeat, threads=2)
    if 1e3 * seconds["one"] < args.slowest:
        return None
    arrays = structure.arrays
    times = step_times(arrays)
    alone = simulated(structure, times, 1)
    plan = structure.parallel_plan
    speedups = [alone / simulated(structure, times, cores) for cores in args.cores]
    workspace = [8e-6 * (plan["shared_size"] + cores * plan["updates"]) for cores in (1, 64)]
    return [
        name,
        f"{A.shape[0]}",
        f"{1e3 * seconds['one']:.1f}",
        f"{seconds['one'] / seconds['two']:.2f}",
        *(f"{ratio:.3g}" for ratio in speedups),
        *(f"{size:.3g}" for size in workspace),
    ]


def main():
    args = arguments()
    forget_source_tree()
    from ..benchmarks import problems
    from . import machine, tables

    before = machine.load_average()
    names = args.only or [*problems.MODELS,
                          *(problems.names_in(args.matrices) if args.matrices else [])]  # fmt: skip
    rows = [row_of(name, args) for name in names]
    header = ["problem", "n", "one thread ms", "two measured",
              *(f"{cores} cores" for cores in args.cores), "MB with 1", "with 64"]  # fmt: skip
    lines = tables.table(header, [row for row in rows if row], args.markdown)
    print("\n".join([*lines, "", *machine.describe(before)]))


if __name__ == "__main__":
    main()
