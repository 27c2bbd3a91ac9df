"""Draw the speed of the solvers: ``python -m asv_bench.reports.chart TIMES.json OUT.svg``.

TIMES.json is what ``python -m asv_bench.reports.solvers --save`` writes. The bars are geometric
means over its problems of the time of the other divided by ours. They leave out the large models.
"""

import argparse
import json
import statistics
from pathlib import Path

import matplotlib.pyplot as plt

from ..benchmarks.problems import LARGE

WORK = {
    "refactorize": "new values, same pattern",
    "solve": "solve",
    "once": "everything once",
}
PEERS = {"CHOLMOD": "cholmod", "MKL PARDISO": "pardiso"}
COLORS = {"CHOLMOD": "#4878a8", "MKL PARDISO": "#d9a441"}


def ratios(times, work, prefix):
    """The shortest time of a peer in any of its settings, divided by ours, for each problem."""
    return [
        min(t for key, t in seconds.items() if key.startswith(f"{work}, {prefix}"))
        / seconds[f"{work}, sparsechol"]
        for name, seconds in times["seconds"].items()
        if name not in LARGE
    ]


def draw(times, out):
    """Save one bar for each work and peer."""
    plt.rcParams["svg.hashsalt"] = "speed"
    figure, axes = plt.subplots(figsize=(7.2, 2.6), layout="constrained")
    for k, (peer, prefix) in enumerate(PEERS.items()):
        means = [statistics.geometric_mean(ratios(times, work, prefix)) for work in WORK]
        places = [place + 0.38 * (k - 0.5) for place in range(len(WORK))]
        bars = axes.barh(places, means, 0.36, label=f"{peer}, best setting", color=COLORS[peer])
        axes.bar_label(bars, fmt=" %.1f", color="#555")
    axes.axvline(1, color="#555", linewidth=1)
    axes.set_yticks(range(len(WORK)), WORK.values())
    axes.invert_yaxis()
    axes.set_xlabel("their time / ours, geometric mean of "
                    f"{len(ratios(times, 'solve', 'cholmod'))} problems, one thread")  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m asv_bench.reports.chart", description=__doc__)
    parser.add_argument("times", type=Path, metavar="TIMES.json")
    parser.add_argument("out", type=Path, metavar="OUT.svg")
    arguments = parser.parse_args()
    draw(json.loads(arguments.times.read_text(encoding="utf-8")), arguments.out)
