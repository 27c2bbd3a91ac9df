"""Symbolic analysis: everything that the pattern alone decides, once.

Elimination tree and counts, supernodes, the places of all entries in the fronts, tasks for threads.
"""
