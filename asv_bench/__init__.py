"""Benchmarks: the asv suite in `benchmarks`, and tables beside other packages in `reports`."""
