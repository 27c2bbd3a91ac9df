"""The examples in the documentation and in the docstrings of the JAX face."""

import contextlib
import doctest
import importlib
import importlib.util
import io
import re
from pathlib import Path

import jax
import pytest
from jax_systems import x64

DOCUMENT = Path(__file__).parents[2] / "doc" / "jax.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODULES = ["_factor", "_functions", "_gaussian", "_matrix", "_triangle", "lineax_solver"]
HAVE_LINEAX = importlib.util.find_spec("lineax") is not None


def test_document():
    blocks = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
    if not HAVE_LINEAX:
        blocks = blocks[:-2]
    names, printed, checked = {}, "", 0
    for language, text in blocks:
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(text, names)
            printed = out.getvalue()
        elif language == "text":
            assert printed == text
            checked += 1
    assert checked >= 4
    assert jax.config.jax_enable_x64


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    if name == "lineax_solver" and not HAVE_LINEAX:
        pytest.skip("lineax is not installed")
    with x64(False):
        result = doctest.testmod(importlib.import_module(f"sparsechol.jax.{name}"))
    assert result.failed == 0
    assert result.attempted > 0
