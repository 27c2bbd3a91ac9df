"""Validate the docstrings of everything public, as [tool.numpydoc_validation] says."""

import inspect
import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path

from numpydoc.validate import get_validation_checks, validate

MODULES = (
    "sparsechol",
    "sparsechol.coloring",
    "sparsechol.derivatives",
    "sparsechol.models",
    "sparsechol.jax",
    "sparsechol.pytensor",
    "sparsechol.pymc",
    "sparsechol.distributed",
)


def public_names():
    """Yield the name of every public function and class, and of the methods of these classes."""
    for module in MODULES:
        try:
            found = import_module(module)
        except ImportError as error:  # a framework that is not installed
            print(f"{module} is left out: {error}", file=sys.stderr)
            continue
        for name in found.__all__:
            thing = getattr(found, name)
            if inspect.ismodule(thing):
                continue
            yield f"{module}.{name}"
            if inspect.isclass(thing):
                yield from (f"{module}.{name}.{method}" for method in methods(thing))


def methods(cls):
    """Return the public methods and properties of a class that are defined in this package."""
    own = [base for base in cls.__mro__ if base.__module__.startswith("sparsechol")]
    names = {name for base in own for name in vars(base) if not name.startswith("_")}
    kinds = (property, classmethod, staticmethod)
    return sorted(
        name
        for name in names
        if inspect.isroutine(getattr(cls, name))
        or isinstance(inspect.getattr_static(cls, name), kinds)
    )


def findings(name, checks):
    """Yield the code and the text of each finding about an object."""
    found = validate(name)
    is_class = found["type"] == "type"
    documented = "Parameters\n" in (found["docstring"] or "")
    for code, text in found["errors"]:
        # A class that others make has attributes, and its constructor is not documented.
        made_by_others = code == "PR01" and is_class and not documented
        if code in checks and not made_by_others:
            yield code, text


def main():
    """Print all findings; return their number."""
    with open(Path(__file__).parents[1] / "pyproject.toml", "rb") as file:
        asked = tomllib.load(file)["tool"]["numpydoc_validation"]
    checks = get_validation_checks(set(asked["checks"]))
    excluded = re.compile("|".join(asked["exclude"]))
    count = 0
    for name in dict.fromkeys(public_names()):
        if excluded.search(name):
            continue
        for code, text in findings(name, checks):
            print(f"{name}: {code} {text}")
            count += 1
    return count


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
