"""The layers of the package: which may import which, and no cycle among modules.

All imports count, also those inside of functions; those for annotations alone do not.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "sparsechol"  # the sources: a wheel has no .pyx

# The layers, each with the layers that it may import; so are the layers below them.
BOTTOM = ["_cached", "_exceptions", "_status", "_typing", "_version"]
ALLOWED = {
    **{name: [] for name in BOTTOM},
    "_damping": ["_status"],
    "_core.parallel": BOTTOM,
    "_core.symbolic": ["_core.parallel"],
    "_core.ordering": ["_core.symbolic"],
    "_core.numeric": ["_core.symbolic"],
    "_scipy": ["_core.ordering", "_core.numeric"],  # and derivatives.py
    "models": ["_scipy"],
    "coloring": ["_scipy"],
    "_sparsity": ["_scipy"],
    "jax": ["coloring", "_sparsity", "_damping"],
    "pytensor": ["coloring", "_sparsity", "_damping"],
    "pymc": ["pytensor", "models"],
    "distributed": ["_scipy"],
    "_cli": ["models"],
    "__main__": ["_cli"],
}
EXCEPTIONS = {("pytensor._jax", "jax")}  # JAX compiles PyTensor graphs

CYTHON = re.compile(r"^\s*(?:from\s+(\S+)\s+c?import\s+(.*)|c?import\s+(.*))$", re.MULTILINE)
IN_PARENTHESES = re.compile(r"\([^()]*\)")


def one_line(match):
    return match[0].replace("\n", " ")


def modules():
    """Return the source files of each module, by its name within the package."""
    found = {}
    for path in ROOT.rglob("*.py*"):
        if path.suffix in (".py", ".pyx", ".pxd"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
            found.setdefault(name, []).append(path)
    return found


MODULES = modules()


def statements(path):
    """Yield the module and the names of each import of a file, dots in front for relative ones."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        for source, names, plain in CYTHON.findall(IN_PARENTHESES.sub(one_line, text)):
            if source:
                yield source, re.findall(r"\w+", names)
            yield from ((name, []) for name in re.findall(r"[\w.]+", plain))
        return
    nodes = [ast.parse(text)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif not isinstance(node, ast.expr):
            nodes += ast.iter_child_nodes(node)


def imports(name, path):
    """Return the modules of the package that a file of a module imports."""
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    package = [] if name == "__init__" else package
    found = set()
    for source, names in statements(path):
        dots = len(source) - len(source.lstrip("."))
        if dots:
            base = package[: len(package) - dots + 1] + list(filter(None, source[dots:].split(".")))
        elif source.split(".")[0] == "sparsechol":
            base = source.split(".")[1:]
        else:
            continue
        inside = {".".join([*base, inner]) for inner in names} & MODULES.keys()
        found |= inside
        if len(inside) < len(names) or not names:
            found.add(".".join(base) or "__init__")
    return found & MODULES.keys() - {name}


GRAPH = {name: set().union(*(imports(name, p) for p in paths)) for name, paths in MODULES.items()}


def layer(name):
    """Return the layer of a module."""
    if name == "derivatives":
        return "_scipy"
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "_core" and len(parts) > 1 else parts[0]


def below(name):
    """Return the layers that a layer may import."""
    direct = ALLOWED[name]
    return set(direct).union(*(below(other) for other in direct))


def test_layers_point_one_way():
    wrong = []
    for name, targets in GRAPH.items():
        if name in ("__init__", "_core"):
            continue
        own = layer(name)
        for target in targets:
            other = layer(target)
            if own != other and other not in below(own) and (name, other) not in EXCEPTIONS:
                wrong.append(f"{name} imports {target}")
    assert not sorted(wrong)


def test_modules_import_each_other_in_no_cycle():
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_imports_are_seen():
    assert "_core.numeric.solve" in GRAPH["_scipy.factor_base"]
    assert "_core.symbolic.structure" in GRAPH["_core.numeric.sweep_driver"]
    assert "_scipy.symbolic_factor" not in GRAPH["_scipy.factor_base"]  # for annotations
