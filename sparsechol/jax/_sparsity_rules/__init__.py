"""Sparsity rules of JAX's primitives, one family a module; importing them registers the rules."""

from . import elementwise, indices, loops, own_operations, products, solves, sparse, windows

__all__ = [
    "elementwise",
    "indices",
    "loops",
    "own_operations",
    "products",
    "solves",
    "sparse",
    "windows",
]
