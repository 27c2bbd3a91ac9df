"""The examples in the docstrings."""

import doctest
import importlib

import pytest

WITH_EXAMPLES = [
    "_scipy.cholesky_batch",
    "coloring._differences",
    "_scipy.cholesky_factor",
    "_scipy.conditioned",
    "_scipy.draws",
    "_scipy.factor_base",
    "_scipy.factor_batch",
    "_scipy.functions",
    "_scipy.ldl_base",
    "_scipy.ldl_batch",
    "_scipy.ldl_factor",
    "_scipy.null_space",
    "_scipy.packed_values",
    "_scipy.pencil",
    "_scipy.pencil_pair",
    "_scipy.semidefinite_factor",
    "_scipy.single_factor",
    "_scipy.symbolic_factor",
    "_scipy.triangle",
    "coloring._search",
    "coloring._result",
    "derivatives",
    "models",
    "models._areal",
    "models._elements",
    "models._kron",
    "models._matern",
    "models._penalties",
    "models._problems",
    "models._scaling",
    "models._temporal",
    "models._types",
]
MODULES = [*WITH_EXAMPLES, "_exceptions", "_core.ordering.choose"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"sparsechol.{name}")).failed == 0


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_there_are_examples(name):
    assert doctest.testmod(importlib.import_module(f"sparsechol.{name}")).attempted > 0
