"""The examples in the documentation and in the docstrings of the PyTensor face."""

import doctest
import importlib
import importlib.util

import pytensor
import pytest

from support import documents

pytestmark = pytest.mark.slow

MODULES = [
    *("_check", "_detect", "_functions", "_gaussian", "_gram", "_laplace", "_ldl", "_matrix"),
    *("_conditioned", "_null_space", "_pencil", "_sparse", "_sparse_derivatives", "_superlu"),
    "_triangle",
]
HAVE_PYMC = importlib.util.find_spec("pymc") is not None


def blocks_that_run(name):
    """Blocks of a document; where PyMC is missing, without its program and what that prints."""
    blocks = documents.blocks_of(name)
    if not HAVE_PYMC:
        [place] = [k for k, (_, text) in enumerate(blocks) if "import pymc" in text]
        del blocks[place : place + 2]
    return blocks


@pytest.mark.filterwarnings("ignore:Numba will use object mode to run CustomDist")
def test_document():
    assert documents.run(blocks_that_run("pytensor.md")) >= 4


def test_readme():
    assert documents.run(blocks_that_run("../README.md")) == 3 + HAVE_PYMC


def test_sparse_derivatives():
    blocks = documents.blocks_of("sparse_derivatives.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import sparsechol.pytensor" in text]
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        assert documents.run(blocks[place:]) == 5


def test_least_squares():
    blocks = documents.blocks_of("least_squares.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import sparsechol.pytensor" in text]
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        assert documents.run([("python", "import numpy as np"), *blocks[place:]]) == 1


def test_laplace():
    blocks = documents.blocks_of("laplace.md")
    [place] = [k for k, (_, text) in enumerate(blocks) if "import sparsechol.pytensor" in text]
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        assert documents.run(blocks[place:]) == 1


def test_upstream():
    """The patch that the page writes out gives PyTensor's dense Jacobian."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        assert documents.run(documents.blocks_of("upstream.md")) == 1


def test_background():
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        assert documents.run(documents.blocks_of("background.md")) == 1


@pytest.mark.skipif(not HAVE_PYMC, reason="PyMC is not installed (Python 3.12)")
@pytest.mark.filterwarnings("ignore")  # of PyMC and ArviZ
@pytest.mark.parametrize("name", ["_gmrf", "_intrinsic"])
def test_docstrings_of_distributions(name):
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        result = doctest.testmod(importlib.import_module(f"sparsechol.pymc.{name}"))
    assert result.failed == 0
    assert result.attempted > 0


@pytest.mark.skipif(not HAVE_PYMC, reason="PyMC is not installed (Python 3.12)")
@pytest.mark.filterwarnings("ignore")  # of PyMC, ArviZ and nutpie
def test_distributions():
    assert documents.run(documents.blocks_of("pymc.md")) >= 4


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"sparsechol.pytensor.{name}"))
    assert result.failed == 0
    assert result.attempted > 0
