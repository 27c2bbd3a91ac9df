"""Sparsity rules of JAX's primitives, one family a module; importing them registers the rules."""

from . import elementwise, indices, kernels, loops, products, sparse, windows

__all__ = ["elementwise", "indices", "kernels", "loops", "products", "sparse", "windows"]
