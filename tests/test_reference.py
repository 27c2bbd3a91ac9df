"""Every public object has a page in the reference."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"currentmodule:: (\S+)\n.*?\n\n((?:   \w+\n)+)", re.DOTALL)
PACKAGES = ["", "coloring", "models", "jax", "pytensor", "pymc", "distributed"]
SUBMODULES = {"coloring", "derivatives", "models"}  # have sections of their own
ELSEWHERE = {"SparsityWarning"}  # one class, whose page is that of the top level


def listed():
    """Return the names of each section of the page."""
    text = (ROOT / "doc/api.md").read_text(encoding="utf-8")
    return {module: set(names.split()) for module, names in SECTION.findall(text)}


def public(path):
    """Return `__all__` of a source file, without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"{path} has no __all__")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages(package):
    names = public(ROOT / "sparsechol" / package / "__init__.py")
    wanted = names - (ELSEWHERE if package else SUBMODULES)
    assert listed()[".".join(filter(None, ["sparsechol", package]))] == wanted


def test_derivatives():
    tree = ast.parse((ROOT / "sparsechol/derivatives.py").read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert listed()["sparsechol.derivatives"] == {n for n in names if not n.startswith("_")}
