"""Numeric kernels: pure functions of an analysed pattern and flat arrays, without the GIL."""
