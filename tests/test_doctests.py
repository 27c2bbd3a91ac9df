"""The examples in the docstrings."""

import doctest
import importlib

import pytest

MODULES = ["_exceptions", "_factor", "_functions", "_symbolic", "_triangular", "ordering"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"sparsechol.{name}")).failed == 0


@pytest.mark.parametrize("name", ["_factor", "_functions", "_symbolic", "_triangular"])
def test_there_are_examples(name):
    assert doctest.testmod(importlib.import_module(f"sparsechol.{name}")).attempted > 0
