"""Symbolic analysis: everything that the pattern alone decides."""
