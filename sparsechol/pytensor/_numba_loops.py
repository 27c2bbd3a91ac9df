"""The Op `Loops` in numba: one function for each loop, written out as source text.

def loop(at, n, index, out, x0, x1):            for one template
    for i in range(n):
        v0 = x0[index[at]]                      a gather for each slot
        v1 = x1[index[at + 1]]
        v2 = f0(v0, v1)                         an operation for each node
        out[index[at + 2]] += v2                a scatter for each result
        at += 3
    return at
"""

from hashlib import sha256

import numpy as np
from pytensor import config
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import toposort
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import (
    numba_funcify_and_cache_key,
    numba_njit,
    register_funcify_and_cache_key,
)
from pytensor.scalar import get_scalar_type

from ._loops import Loops

VERSION = 1  # of the code below

_scalar = {}  # functions of numba for operations with scalars, each of which it compiles once


class Source:
    """The source text of functions, and what it names.

    Attributes
    ----------
    names : dict
        Functions of operations, and constants.
    keys : list of str
        What tells two of them apart for a cache; None for a function that cannot be cached.
    """

    def __init__(self):
        self.names, self.keys = {}, []
        self._functions = {}

    def function(self, op, inputs, outputs):
        """Return the name of the function of numba for an operation with scalars like these."""
        dtypes = [x.type.dtype for x in (*inputs, *outputs)]
        known = (op, *dtypes)
        if known not in self._functions:
            scalar = op.make_node(*(get_scalar_type(x.type.dtype)() for x in inputs))
            function, key = numba_funcify_and_cache_key(op, node=scalar)
            self._functions[known] = name = f"f{len(self._functions)}"
            if key is not None:
                kept = key, *dtypes, bool(config.numba__fastmath)
                function = _scalar.setdefault(kept, function)
            self.names[name] = function
            self.keys.append(None if key is None else f"{name} {key} {dtypes}")
        return self._functions[known]

    def constant(self, value):
        """Return the name of a constant."""
        value = np.asarray(value)[()]
        name = f"c{len(self.names)}"
        self.names[name] = value
        self.keys.append(f"{name} {value.dtype} {value.tobytes().hex()}")
        return name

    def loop(self, name, loop, add):
        """Write a loop."""
        lines = [f"def {name}({', '.join(['at', 'n', 'index', 'out', *read_by(loop)])}):"]
        lines.append("    for i in range(n):")
        names, width = {}, 0

        def write(text):
            lines.append(f"        {text}")

        def entry():
            nonlocal width
            width += 1
            return f"index[at + {width - 1}]"

        def name_of(x):
            if x not in names:
                names[x] = self.constant(x.data) if isinstance(x, Constant) else f"v{len(names)}"
            return names[x]

        for slot in loop.slots:
            place = "()" if slot.positions is None else entry()
            write(f"{name_of(slot.operand)} = x{slot.number}[{place}]")
        for node in toposort(loop.results, blockers=[slot.operand for slot in loop.slots]):
            operands = ", ".join(map(name_of, node.inputs))
            function = self.function(node.op.scalar_op, node.inputs, node.outputs)
            write(f"{name_of(node.outputs[0])} = {function}({operands})")
        for result in loop.results:
            write(f"out[{entry()}] {'+=' if add else '='} {name_of(result)}")
        write(f"at += {width}")
        return "\n".join([*lines, "    return at", ""])


def read_by(loop):
    """Name the inputs that a loop reads."""
    return [f"x{k}" for k in sorted({slot.number for slot in loop.slots})]


def main(loops, inputs, add):
    """Write the function that runs all loops."""
    count = len(loops)
    names = [f"x{k}" for k in range(len(inputs))]
    lines = [f"def entries({', '.join(['index', 'counts', *names])}):"]
    for k, x in enumerate(inputs):
        if x.type.ndim:
            lines.append(f"    if x{k}.size < counts[{count + k}]:")
            lines.append("        raise ValueError(short)")
    lines.append(
        f"    out = np.{'zeros' if add else 'empty'}(counts[{count + len(inputs)}], dtype)"
    )
    lines.append("    at = 0")
    for k, loop in enumerate(loops):
        operands = ["at", f"counts[{k}]", "index", "out", *read_by(loop)]
        lines.append(f"    at = loop{k}({', '.join(operands)})")
    return "\n".join([*lines, "    return out", ""])


SHORT = "sparsechol: an array is shorter than it was when the sparsity of the derivative was found"


@register_funcify_and_cache_key(Loops)
def numba_funcify_loops(op, node, **kwargs):
    source, functions = Source(), {}
    texts = [source.loop(f"loop{k}", loop, op.add) for k, loop in enumerate(op.loops)]
    for k, text in enumerate(texts):
        function = compile_numba_function_src(text, f"loop{k}", dict(source.names))
        functions[f"loop{k}"] = numba_njit(function)
    text = main(op.loops, node.inputs[2:], op.add)
    names = {**functions, "np": np, "dtype": np.dtype(op.dtype), "short": SHORT}
    function = numba_njit(compile_numba_function_src(text, "entries", names))
    if None in source.keys:
        return function, None
    key = repr((VERSION, texts, text, source.keys, op.dtype))
    return function, sha256(key.encode()).hexdigest()
