"""The examples in the documentation and in the docstrings of the JAX face."""

import doctest
import importlib
import importlib.util

import jax
import pytest

from support import documents
from support.jax_systems import x64

pytestmark = pytest.mark.slow

MODULES = [
    "_check",
    "_sparse_derivatives",
    "_sparse_hessians",
    "_conditioned",
    "_factor",
    "_functions",
    "_gaussian",
    "_gram",
    "_laplace",
    "_least_squares",
    "_ldl",
    "_matrix",
    "_newton",
    "_pencil",
    "_semidefinite",
    "_detect",
    "_sparse",
    "_triangle",
    "lineax_solver",
]
HAVE_LINEAX = importlib.util.find_spec("lineax") is not None


def test_document():
    blocks = documents.blocks_of("jax.md")
    assert documents.run(blocks if HAVE_LINEAX else blocks[:-2]) >= 4
    assert jax.config.jax_enable_x64


def test_least_squares():
    blocks = documents.blocks_of("least_squares.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import sparsechol.pytensor" in text]
    assert documents.run(blocks[:place]) == 4


def test_indefinite_matrices():
    blocks = documents.blocks_of("indefinite.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import cvxopt" in text]
    assert documents.run(blocks[:place]) == 5


def test_intrinsic_fields():
    assert documents.run(documents.blocks_of("intrinsic.md")) == 7


def test_sparse_derivatives():
    blocks = documents.blocks_of("sparse_derivatives.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import sparsechol.pytensor" in text]
    assert documents.run(blocks[:place]) == 9


def test_laplace():
    blocks = documents.blocks_of("laplace.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import sparsechol.pytensor" in text]
    assert documents.run(blocks[:place]) == 7


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    if name == "lineax_solver" and not HAVE_LINEAX:
        pytest.skip("lineax is not installed")
    with x64(False):
        result = doctest.testmod(importlib.import_module(f"sparsechol.jax.{name}"))
    assert result.failed == 0
    assert result.attempted > 0
