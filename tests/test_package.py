"""What the package shows and what importing it costs."""

import importlib.metadata
import inspect
import subprocess
import sys
from importlib.resources import files

import pytest

import sparsechol as sc


def test_all_names_everything_public():
    public = {
        name
        for name, value in vars(sc).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(sc.__all__) == public | {"coloring", "derivatives", "models"}
    assert sorted(sc.__all__) == list(sc.__all__)


OPERANDS = {
    "A", "B", "b", "x", "x_bar", "dA", "L_bar", "Z_bar", "v", "F", "y", "gradient", "pattern",
    "values", "rows", "columns", "size", "fun", "grad", "sparsity", "C", "e", "mu", "V", "dtype",
    "packed", "WV", "D", "row", "a",
}  # fmt: skip
FACE = [
    sc.analyze, sc.cholesky, sc.solve, sc.logdet, sc.partial_inverse, sc.solve_triangular,
    sc.approx_jacobian, sc.approx_hessian,
    *(getattr(sc.derivatives, name) for name in sc.derivatives.__all__),
    *(
        method
        for cls in (
            sc.SymbolicFactor, sc.CholeskyFactor, sc.CholeskyBatch, sc.SemidefiniteFactor,
            sc.SemidefiniteBatch, sc.Conditioned, sc.NullSpace,
        )
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    ),
]  # fmt: skip


@pytest.mark.parametrize("function", FACE, ids=lambda f: f.__qualname__)
def test_everything_after_the_operands_is_by_keyword(function):
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            assert name == "self" or name in OPERANDS


@pytest.mark.parametrize("name", sc.__all__)
def test_public_names_are_documented(name):
    assert inspect.getdoc(getattr(sc, name))


@pytest.mark.parametrize(
    "cls", [sc.CholeskyFactor, sc.CholeskyBatch, sc.SymbolicFactor, sc.coloring.Coloring]
)
def test_public_methods_are_documented(cls):
    for name, member in vars(cls).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            documented = inspect.getdoc(member) or name in inspect.getdoc(cls)
            assert documented, name


def test_py_typed_is_installed():
    assert files("sparsechol").joinpath("py.typed").is_file()


def test_version_is_that_of_the_distribution():
    assert importlib.metadata.version("sparsechol") == sc.__version__


def test_importing_loads_no_optional_package():
    code = (
        "import sys, sparsechol\n"
        "optional = {'jax', 'pytensor', 'rich', 'matplotlib', 'pymetis'}\n"
        "print(sorted(optional & {name.split('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip().splitlines()[-1] == "[]"
