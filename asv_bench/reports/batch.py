"""Batches of matrices of one pattern against loops over the peers."""

import scipy.sparse as sp

from ..benchmarks import THREADS, peers
from ..benchmarks.batch import COUNT, LOOPS, MODELS, work_of
from . import clock, tables


def table(repeat, markdown):
    """Times of a batch and of loops, in milliseconds, and their ratios."""
    loops = [name for name in LOOPS if peers.installed(name)]
    header = ["model", "batch ms", *(f"{name} loop / batch" for name in loops)]
    rows = []
    for name, model in MODELS.items():
        times = clock.medians(work_of(sp.csc_array(model()), loops), repeat, THREADS)
        ratios = [f"{times[loop] / times['batch']:.2f}" for loop in loops]
        rows.append([name, f"{1e3 * times['batch']:.3f}", *ratios])
    heading = tables.title(f"Batch of {COUNT}: factorize, solve, log-determinant", markdown)
    return [heading, "", *tables.table(header, rows, markdown)]
