"""Approximate minimum degree."""
