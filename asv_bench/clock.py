"""Interleaved medians."""

import gc
import math
import statistics
from time import perf_counter

# A sample repeats short work until it takes about this long, in seconds.
SAMPLE = 0.005


def medians(work, repeat):
    """Median time of each function; all take turns, so that none has the quiet moments."""
    calls = {key: max(1, math.ceil(SAMPLE / sample(function, 1))) for key, function in work.items()}
    samples = {key: [] for key in work}
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeat):
            for key, function in work.items():
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
