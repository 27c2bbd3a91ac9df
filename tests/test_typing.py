"""What editors and type checkers see: stubs, annotations, docstrings, overloads."""

import ast
import importlib
import inspect
import typing
from functools import cache
from pathlib import Path

import pytest

import sparsechol as sc

ROOT = Path(sc.__file__).parent
STUBS = sorted(ROOT.rglob("*.pyi"))
MODULES = [
    "sparsechol",
    "sparsechol.coloring",
    "sparsechol.derivatives",
    "sparsechol.models",
    "sparsechol.jax",
    "sparsechol.pytensor",
    "sparsechol.distributed",
]
FACES = ("sparsechol.jax", "sparsechol.pytensor")
# What the frameworks and Python itself call, without annotations.
PROTOCOLS = {"tree_flatten_with_keys", "tree_unflatten"}


def import_or_skip(name):
    """Import a module; what needs MPI and MUMPS may be missing, and the face of no framework."""
    framework = name.split(".")[1] if name.startswith(FACES) else None
    if framework and sc.show_config(mode="dicts")[framework] is None:
        pytest.skip(f"{framework} is not installed")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if not name.startswith("sparsechol.distributed"):
            raise
        pytest.skip(str(error))


def module_of(stub):
    return ".".join(["sparsechol", *stub.relative_to(ROOT).with_suffix("").parts])


def declared(body):
    """Yield the names that a stub, or a class in it, declares, and the declarations."""
    for node in body:
        if isinstance(node, ast.AnnAssign):
            yield node.target.id, node
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node


def test_stubs_are_installed():
    assert len(STUBS) > 15


@pytest.mark.parametrize("stub", STUBS, ids=module_of)
def test_stub_names_what_the_module_has(stub):
    module = import_or_skip(module_of(stub))
    names = dict(declared(ast.parse(stub.read_text()).body))
    assert names
    for name, node in names.items():
        assert hasattr(module, name), name
        if isinstance(node, ast.ClassDef):
            for member, _ in declared(node.body):
                assert hasattr(getattr(module, name), member), f"{name}.{member}"


@cache
def imports():
    """Return (path, module, names) of each `from module import names` in the package."""
    found = []
    for path in ROOT.rglob("*.py"):
        parts = ["sparsechol", *path.relative_to(ROOT).with_suffix("").parts]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                base = parts[: len(parts) - node.level] if node.level else []
                module = ".".join([*base, *filter(None, [node.module])])
                found.append((path, module, {alias.name for alias in node.names}))
    return found


@pytest.mark.parametrize("stub", STUBS, ids=module_of)
def test_stub_has_what_the_package_uses(stub):
    declares = dict(declared(ast.parse(stub.read_text()).body)).keys()
    for path, module, names in imports():
        if module == module_of(stub):
            assert names <= declares, path


def arguments(node):
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument.arg for argument in every]


@pytest.mark.parametrize("stub", STUBS, ids=module_of)
def test_stub_signatures_are_those_of_the_source(stub):
    module = import_or_skip(module_of(stub))
    for name, node in declared(ast.parse(stub.read_text()).body):
        if isinstance(node, ast.FunctionDef):
            function = getattr(module, name)
            if hasattr(function, "__signatures__"):  # one of each type: no signature of its own
                function = next(iter(function.__signatures__.values()))
            assert list(inspect.signature(function).parameters) == arguments(node), name


def public(name):
    module = import_or_skip(name)
    return [getattr(module, thing) for thing in module.__all__]


def callables(name):
    """Yield every public function, and the constructor and methods of every public class."""
    for thing in public(name):
        if inspect.isclass(thing):
            for cls in thing.__mro__:
                if cls.__module__.startswith("sparsechol"):
                    for member, function in vars(cls).items():
                        function = getattr(function, "__func__", function)
                        if inspect.isfunction(function) and not member.startswith("_"):
                            yield function
        elif inspect.isroutine(thing):
            yield thing


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name):
    assert import_or_skip(name).__doc__
    for thing in public(name):
        assert inspect.getdoc(thing), thing


@pytest.mark.parametrize("name", MODULES)
def test_every_argument_and_result_has_an_annotation(name):
    missing = []
    for function in callables(name):
        if function.__name__ in PROTOCOLS:
            continue
        signature = inspect.signature(function)
        if signature.return_annotation is signature.empty:
            missing.append(f"{function.__qualname__} ->")
        for parameter in signature.parameters.values():
            if parameter.name not in ("self", "cls") and parameter.annotation is signature.empty:
                missing.append(f"{function.__qualname__}({parameter.name})")
    assert not missing


@pytest.mark.parametrize(
    "function",
    [
        sc.solve,
        sc.solve_triangular,
        sc.CholeskyFactor.solve,
        sc.CholeskyFactor.solve_triangular,
        sc.CholeskyFactor.logdet,
        sc.CholeskyFactor.slogdet,
        sc.derivatives.logdet_jvp,
        sc.derivatives.quadratic_form,
        sc.derivatives.quadratic_form_jvp,
        sc.derivatives.partial_inverse_jvp,
    ],
    ids=lambda f: f.__qualname__,
)
def test_overloads_have_the_arguments_of_the_function(function):
    own = inspect.signature(function)
    overloads = typing.get_overloads(function)
    assert len(overloads) == 2
    for overload in overloads:
        signature = inspect.signature(overload)
        for parameter, wanted in zip(
            signature.parameters.values(), own.parameters.values(), strict=True
        ):
            assert (parameter.name, parameter.kind, parameter.default) == (
                wanted.name,
                wanted.kind,
                wanted.default,
            )
