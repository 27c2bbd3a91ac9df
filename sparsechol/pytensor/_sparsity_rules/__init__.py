"""Sparsity rules of Ops: to import this package registers all of them."""

from . import elementwise, graphs, own_operations, sparse  # noqa: F401
