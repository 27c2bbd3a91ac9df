"""The examples in the docstrings."""

import doctest
import importlib

import pytest

WITH_EXAMPLES = [
    "_batch",
    "_differences",
    "_factor",
    "_functions",
    "_packed",
    "_symbolic",
    "_triangular",
    "coloring._color",
    "coloring._coloring",
    "derivatives",
]
MODULES = [*WITH_EXAMPLES, "_exceptions", "ordering"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"sparsechol.{name}")).failed == 0


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_there_are_examples(name):
    assert doctest.testmod(importlib.import_module(f"sparsechol.{name}")).attempted > 0
