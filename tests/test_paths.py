"""Pages for contributors name files that are there."""

import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"`([^`\n]+)`")
BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
ENDINGS = "build c h json md options pxd py pyx toml yml"
PATH = re.compile(rf"([\w.]+/)+|([\w.]+/)*[\w*-]+\.({'|'.join(ENDINGS.split())})")
MADE = "build/"  # by a command


def alternatives(text):
    """`a_{b,c}.py` as `a_b.py` and `a_c.py`."""
    parts = [part.split(",") if k % 2 else [part] for k, part in enumerate(BRACES.split(text))]
    return ["".join(choice) for choice in itertools.product(*parts)]


def paths_in(page):
    """What a page puts into backticks that is a path, with wildcards or without."""
    for text in CODE.findall((ROOT / page).read_text(encoding="utf-8")):
        for path in alternatives(text):
            if PATH.fullmatch(path) and not path.startswith(MADE):
                yield path


def is_there(path):
    """From the root, or from any folder of the package."""
    pattern = path.rstrip("/")
    places = itertools.chain(ROOT.glob(pattern), (ROOT / "sparsechol").rglob(pattern))
    return next(places, None) is not None


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "doc/internals.md"])
def test_paths_exist(page):
    found = list(paths_in(page))
    assert len(found) > 10
    assert [path for path in found if not is_there(path)] == []


def test_what_is_taken_for_a_path():
    assert alternatives("a_{b,c}.py") == ["a_b.py", "a_c.py"]
    assert PATH.fullmatch("sparsechol/numeric/solve.pyx")
    assert PATH.fullmatch("tests/")
    assert not PATH.fullmatch("F.solve")
    assert not is_there("sparsechol/nowhere/")
