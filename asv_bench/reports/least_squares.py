"""Pose graphs beside GTSAM: ``taskset -c 0 python -m asv_bench.reports.least_squares FOLDER``.

FOLDER has files of g2o. Residuals, the prior of pose 0, the start and the minimum are the same. The
time of an iteration is the processor time of the whole solution over its number of steps;
interleaved medians.
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import jax
import numpy as np

from ..benchmarks.pose_graphs import problem, read_g2o

jax.config.update("jax_enable_x64", True)

SOLUTIONS = 3  # of each package, in turn


def ours(graph):
    """Return the seconds of preparation, and a function that solves once."""
    import sparsechol.jax as scj

    residual, x0, tangent, retract = problem(graph)

    @jax.jit
    def solve(x, measured):
        return scj.least_squares(residual, x, measured, retract=retract, tangent=tangent)

    begin = perf_counter()
    compiled = solve.lower(x0, graph.measured).compile()
    seconds = perf_counter() - begin

    def once():
        found = jax.block_until_ready(compiled(x0, graph.measured))
        return float(found.cost), int(found.iterations)

    return seconds, once


def gtsam(graph):
    """Return a function that solves once by Levenberg and Marquardt."""
    import gtsam as package

    plane = graph.poses.shape[1] == 3
    kind = "2" if plane else "3"
    between = getattr(package, f"BetweenFactorPose{kind}")
    prior = getattr(package, f"PriorFactorPose{kind}")
    insert = getattr(package.Values, f"insert_pose{kind}", package.Values.insert)
    # GTSAM has the turn first in SE(3).
    order = np.arange(3) if plane else np.array([3, 4, 5, 0, 1, 2])

    def pose(x):
        if plane:
            return package.Pose2(*x)
        return package.Pose3(package.Rot3(x[6], x[3], x[4], x[5]), x[:3])

    factors, start = package.NonlinearFactorGraph(), package.Values()
    for (i, j), seen, information in zip(*graph[1:], strict=True):
        noise = package.noiseModel.Gaussian.Information(information[np.ix_(order, order)])
        factors.add(between(int(i), int(j), pose(seen), noise))
    factors.add(prior(0, pose(graph.poses[0]), package.noiseModel.Unit.Create(len(order))))
    for k, x in enumerate(graph.poses):
        insert(start, k, pose(x))
    parameters = package.LevenbergMarquardtParams()
    parameters.setRelativeErrorTol(1.5e-8)
    parameters.setAbsoluteErrorTol(0)
    parameters.setMaxIterations(100)

    def once():
        optimizer = package.LevenbergMarquardtOptimizer(factors, start, parameters)
        cost = factors.error(optimizer.optimize())
        return cost, optimizer.iterations()

    return once


def main(folder):
    print(
        "| graph | poses, edges | to prepare, s | ours: steps, ms a step | GTSAM | ratio | costs |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for path in sorted(Path(folder).glob("*.g2o*")):
        graph = read_g2o(path)
        seconds, once = ours(graph)
        solvers = {"ours": once, "theirs": gtsam(graph)}
        times = {name: [] for name in solvers}
        for _ in range(SOLUTIONS):
            for name, solve in solvers.items():
                begin = process_time()
                cost, steps = solve()
                times[name].append((process_time() - begin, steps, cost))
        found = {name: (median(t for t, *_ in rows), *rows[0][1:]) for name, rows in times.items()}
        (mine, steps, cost), (other, count, their_cost) = found["ours"], found["theirs"]
        a, b = 1000 * mine / max(steps, 1), 1000 * other / max(count, 1)
        print(
            f"| {path.name.split('.')[0]} | {len(graph.poses)}, {len(graph.edges)} |"
            f" {seconds:.1f} | {steps}, {a:.1f} | {count}, {b:.1f} | {b / a:.2f} |"
            f" {cost:.6g}, {their_cost:.6g} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    main(parser.parse_args().folder)
