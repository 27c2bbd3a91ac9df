"""Sparsity rules of Ops: to import this package registers all of them."""

from . import elementwise, graphs, kernels, sparse  # noqa: F401
