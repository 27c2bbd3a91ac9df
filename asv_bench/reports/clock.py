"""Interleaved medians."""

import gc
import math
import statistics
from time import perf_counter, sleep

# A sample repeats short work until it takes about this long, in seconds.
SAMPLE = 0.005
# All samples of one function together take about this long at most, in seconds.
BUDGET = 2.0
# Idle threads of OpenMP spin for this long, in seconds, on a core that the next function needs.
SPIN = 0.25


def medians(work, repeat, threads=1):
    """Median time of each function; all take turns, so that none has the quiet moments."""
    first = {key: sample(function, 1) for key, function in work.items()}
    calls = {key: max(1, math.ceil(SAMPLE / seconds)) for key, seconds in first.items()}
    rounds = {key: max(1, min(repeat, round(BUDGET / s))) for key, s in first.items()}
    samples = {key: [] for key in work}
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeat):
            for key, function in work.items():
                if turn < rounds[key]:
                    if threads > 1:
                        sleep(SPIN)
                        function()  # from cold caches and parked threads, which is not timed
                    samples[key].append(sample(function, calls[key]))
    finally:
        gc.enable()
    return {key: statistics.median(values) for key, values in samples.items()}


def sample(function, number):
    """Seconds a call takes."""
    start = perf_counter()
    for _ in range(number):
        function()
    return (perf_counter() - start) / number
