"""Copies of graphs: with other variables in the place of some, for one point or for many."""

from inspect import signature

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.gradient import pullback
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.replace import _vectorize_node
from pytensor.graph.traversal import toposort
from pytensor.scalar import ScalarType
from pytensor.tensor.basic import Join, Split

from ._ops import Kernel

try:
    from pytensor.conditional.op import IfElse
except ImportError:  # before PyTensor 3.3
    from pytensor.ifelse import IfElse

_parameter = signature(Apply.clone_with_new_inputs).parameters.get("clone_inner_graph")
FEW = 4  # pullbacks that are built one by one
COPY_INNER = {"clone_inner_graph": True} if _parameter and _parameter.default is False else {}


def dependents(outputs, variables):
    """Find the nodes that depend on some variables, in order, and all that depends on them."""
    moving, nodes = set(variables), []
    for node in toposort(outputs, blockers=variables):
        if any(x in moving for x in node.inputs):
            nodes.append(node)
            moving.update(node.outputs)
    return nodes, moving


def frontier(outputs, variables):
    """Find what dependents of some variables read that does not depend on these variables."""
    nodes, moving = dependents(outputs, variables)
    found = {x: None for node in nodes for x in node.inputs if x not in moving}
    return [x for x in found if not isinstance(x, Constant)]


def rebuilt(outputs, replacements):
    """Replace variables in the graph of outputs; only what depends on the variables is copied.

    Graphs inside of Ops are copied, because PyTensor's rewrites change inner graphs that Ops share
    (from PyTensor 3.3 on inner graphs cannot be changed).
    """
    nodes, _ = dependents(outputs, list(replacements))
    new = dict(replacements)
    for node in nodes:
        inputs = [new.get(x, x) for x in node.inputs]
        copy = node.clone_with_new_inputs(inputs, strict=False, **COPY_INNER)
        for x, y in zip(node.outputs, copy.outputs, strict=True):
            new.setdefault(x, y)
    return [new.get(x, x) for x in outputs]


# ---- in loops ----


class Fixed:
    """What a loop reads and does not change: its ``non_sequences``.

    Attributes
    ----------
    variables : list
        In the graph that is to be rebuilt inside of the loop.
    passed : list
        What is passed to the loop for them: tensors.
    """

    def __init__(self, outputs, variables):
        found = frontier(outputs, variables)
        self.variables = [x for x in found if isinstance(x.type, pt.TensorType | ScalarType)]
        self.passed = [pt.tensor_from_scalar(x) if is_scalar(x) else x for x in self.variables]

    def received(self, inner):
        """Return replacements for the variables, from what the loop passes on."""
        return {
            x: pt.scalar_from_tensor(y) if is_scalar(x) else y
            for x, y in zip(self.variables, inner, strict=True)
        }


def is_scalar(x):
    return isinstance(x.type, ScalarType)


# ---- for many values ----


def at_all(outputs, variables, values, count, chunk_size=None):
    """Evaluate outputs for `count` values of some variables, stacked on a first axis.

    At most `chunk_size` of them are evaluated at once, in a loop; by default all of them. Where an
    Op has no rule for stacks, they are evaluated one by one.
    """
    _, moving = dependents(outputs, variables)
    moved = [x for x in outputs if x in moving]
    found = iter(stacks(moved, variables, values, count, chunk_size or count) if moved else ())
    return [next(found) if x in moving else repeated(x, count) for x in outputs]


def stacks(outputs, variables, values, count, chunk_size):
    """Evaluate outputs that depend on the variables."""
    if chunk_size > 1 or count == 1:
        try:
            if chunk_size >= count:
                return all_at_once(outputs, variables, values, {})
            return by_chunks(outputs, variables, values, count, chunk_size)
        except Exception:  # whatever the rule of an Op raises
            pass
    return looped(one_of_them, outputs, variables, values)


def repeated(x, count):
    """Stack copies of a variable."""
    return pt.broadcast_to(x, (count, *x.shape))


def by_chunks(outputs, variables, values, count, size):
    """Evaluate outputs in a loop over stacks of `size` values; zeros fill the last stack."""
    steps = -(-count // size)
    chunks = [in_chunks(x, count, steps, size) for x in values]
    found = looped(all_at_once, outputs, variables, chunks)
    return [x.reshape((steps * size, *tuple(x.shape)[2:]))[:count] for x in found]


def in_chunks(values, count, steps, size):
    """Split the first axis in two."""
    element = values.type.shape[1:]
    missing = steps * size - count
    if missing:
        values = pt.concatenate([values, pt.zeros((missing, *element), values.type.dtype)])
    return values.reshape((steps, size, *element))


def looped(evaluate, outputs, variables, values):
    """Evaluate outputs in a loop over the first axis of the values."""
    fixed, k = Fixed(outputs, variables), len(variables)

    def step(*inner):
        return evaluate(outputs, variables, inner[:k], fixed.received(inner[k:]))

    found = pytensor.scan(step, sequences=values, non_sequences=fixed.passed, return_updates=False)
    return found if isinstance(found, list) else [found]


def one_of_them(outputs, variables, values, others):
    """Evaluate outputs for one value of each variable."""
    return rebuilt(outputs, {**dict(zip(variables, values, strict=True)), **others})


def all_at_once(outputs, variables, values, others):
    """Evaluate outputs for stacks of values, by PyTensor's rules for stacks.

    Unlike by ``vectorize_graph``, no rule is needed for what does not depend on the variables.
    """
    nodes, _ = dependents(outputs, variables)
    new = {**dict(zip(variables, values, strict=True)), **others}
    for node in nodes:
        inputs = [new.get(x, x) for x in node.inputs]
        new.update(zip(node.outputs, stacked(node, inputs, values[0].shape[0]), strict=True))
    return [new[x] for x in outputs]


def stacked(node, inputs, count):
    """Return the outputs of a node for stacks of inputs."""
    op = node.op
    if isinstance(op, IfElse):
        raise NotImplementedError  # its stacks do not run
    if isinstance(op, Kernel) and has_columns(op, node, inputs):
        return [stacked_columns(op, inputs)]
    if isinstance(op, Join):
        return [stacked_join(node, inputs, count)]
    if isinstance(op, Split) and inputs[1:] == node.inputs[1:]:
        return stacked_split(op, *inputs)
    found = _vectorize_node(op, node, *inputs)
    return getattr(found, "outputs", found)


def has_columns(op, node, inputs):
    """Say whether a linear map of vectors is applied to a stack of single vectors."""
    return (
        op.result == op.letters[-1] == "x"
        and inputs[-1].type.ndim == 3
        and inputs[-1].type.shape[-1] == 1
        and all(x.type.ndim == y.type.ndim for x, y in zip(inputs[:-1], node.inputs, strict=False))
    )


def stacked_columns(op, inputs):
    """Apply a linear map once: the stack becomes the columns."""
    *others, x = inputs
    return op(*others, x.squeeze(-1).T).T[..., None]


def stacked_join(node, inputs, count):
    """Join along the next axis; operands without a stack are repeated."""
    op, rank = node.op, node.outputs[0].type.ndim
    axis = op.axis if hasattr(op, "axis") else node.inputs[0].data
    parts = inputs if hasattr(op, "axis") else inputs[1:]
    parts = [x if x.type.ndim > rank else repeated(x, count) for x in parts]
    return pt.join(int(axis) % rank + 1, *parts)


def stacked_split(op, x, *others):
    """Split along the next axis."""
    rank = x.type.ndim - 1
    if hasattr(op, "axis"):  # from PyTensor 3.1 on
        return type(op)(op.len_splits, axis=op.axis % rank + 1)(x, *others, return_list=True)
    axis, sizes = others
    return op(x, int(axis.data) % rank + 1, sizes, return_list=True)


# ---- of derivatives ----


def joined(variables):
    """Ravel and join variables; None if there are none."""
    parts = [x.ravel() for x in variables]
    return pt.concatenate(parts) if len(parts) > 1 else parts[0] if parts else None


def rows_of_jacobian(expr, wrt, count):
    """Return the Jacobian of a vector of `count` elements, by a pullback for each.

    Numba compiles a few of them sooner than a stack: they share their kernels, and zeros in the
    seeds leave parts out.
    """
    options = {"disconnected_inputs": "ignore", "return_disconnected": "zero"}
    seeds = np.eye(count, dtype=expr.type.dtype)
    if count <= FEW:
        rows = [joined(pullback(expr, wrt, pt.constant(seed), **options)) for seed in seeds]
        return pt.stack(rows)
    weights = expr.type()
    products = pullback(expr, wrt, weights, **options)
    found = at_all(products, [weights], [pt.constant(seeds)], count)
    return pt.concatenate([part.reshape((count, -1)) for part in found], axis=1)
