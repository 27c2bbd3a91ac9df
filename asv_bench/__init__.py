"""Benchmarks: the asv suite in `benchmarks` and the comparison printed by `asv_bench.report`."""
