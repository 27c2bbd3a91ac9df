"""Numeric kernels: pure functions of an analyzed pattern and flat arrays, without the GIL.

A file for each sweep over the fronts, all driven by `sweep`; `operations` is the table by which all
faces call them.
"""
