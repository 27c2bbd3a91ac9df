"""Copies of graphs: with other variables in the place of some, for one point or for many."""

from inspect import signature

import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.replace import _vectorize_node
from pytensor.graph.traversal import toposort
from pytensor.scalar import ScalarType
from pytensor.tensor.basic import Join, Split

try:
    from pytensor.conditional.op import IfElse
except ImportError:  # before PyTensor 3.3
    from pytensor.ifelse import IfElse

_parameter = signature(Apply.clone_with_new_inputs).parameters.get("clone_inner_graph")
COPY_INNER = {"clone_inner_graph": True} if _parameter and _parameter.default is False else {}


def dependents(outputs, variables):
    """Nodes that depend on some variables, in order, and all that depends on them."""
    moving, nodes = set(variables), []
    for node in toposort(outputs, blockers=variables):
        if any(x in moving for x in node.inputs):
            nodes.append(node)
            moving.update(node.outputs)
    return nodes, moving


def frontier(outputs, variables):
    """What the dependents of some variables read that does not depend on them."""
    nodes, moving = dependents(outputs, variables)
    found = {x: None for node in nodes for x in node.inputs if x not in moving}
    return [x for x in found if not isinstance(x, Constant)]


def rebuilt(outputs, replacements):
    """Outputs with variables replaced; what does not depend on them is not copied.

    Graphs inside of Ops are copied, because PyTensor's rewrites change those that it shares (from
    3.3 on they cannot be changed).
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
    """What a loop reads that does not change in it: its ``non_sequences``.

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
        """Replacements for the variables, from what the loop passes on."""
        return {
            x: pt.scalar_from_tensor(y) if is_scalar(x) else y
            for x, y in zip(self.variables, inner, strict=True)
        }


def is_scalar(x):
    return isinstance(x.type, ScalarType)


# ---- for many values ----


def at_all(outputs, variables, values, batch):
    """Outputs for many values of some variables, stacked on a first axis.

    At once, or one after the other by a loop, where that is wanted, or where an Op has no rule for
    stacks.
    """
    _, moving = dependents(outputs, variables)
    moved = [x for x in outputs if x in moving]
    found = iter(())
    if moved:
        found = None if batch == "scan" else all_at_once(moved, variables, values)
        found = iter(found or one_by_one(moved, variables, values))
    count = values[0].shape[0]
    return [next(found) if x in moving else repeated(x, count) for x in outputs]


def repeated(x, count):
    return pt.broadcast_to(x, (count, *x.shape))


def one_by_one(outputs, variables, values):
    fixed = Fixed(outputs, variables)

    def step(*inner):
        k = len(variables)
        new = dict(zip(variables, inner[:k], strict=True))
        return rebuilt(outputs, {**new, **fixed.received(inner[k:])})

    found = pytensor.scan(step, sequences=values, non_sequences=fixed.passed, return_updates=False)
    return found if isinstance(found, list) else [found]


def all_at_once(outputs, variables, values):
    """By PyTensor's rules for stacks; None if one does not work.

    Unlike by ``vectorize_graph``, no rule is needed for what does not depend on the variables.
    """
    nodes, _ = dependents(outputs, variables)
    new = dict(zip(variables, values, strict=True))
    try:
        for node in nodes:
            inputs = [new.get(x, x) for x in node.inputs]
            new.update(zip(node.outputs, stacked(node, inputs, values[0].shape[0]), strict=True))
    except Exception:  # whatever the rule of an Op raises
        return None
    return [new[x] for x in outputs]


def stacked(node, inputs, count):
    """Outputs of a node for stacks of inputs."""
    op = node.op
    if isinstance(op, IfElse):
        raise NotImplementedError  # its stacks do not run
    if isinstance(op, Join):
        return [stacked_join(node, inputs, count)]
    if isinstance(op, Split) and inputs[1:] == node.inputs[1:]:
        return stacked_split(op, *inputs)
    found = _vectorize_node(op, node, *inputs)
    return getattr(found, "outputs", found)


def stacked_join(node, inputs, count):
    """Along the axis behind; what does not change is repeated."""
    op, rank = node.op, node.outputs[0].type.ndim
    axis = op.axis if hasattr(op, "axis") else node.inputs[0].data
    parts = inputs if hasattr(op, "axis") else inputs[1:]
    parts = [x if x.type.ndim > rank else repeated(x, count) for x in parts]
    return pt.join(int(axis) % rank + 1, *parts)


def stacked_split(op, x, *others):
    rank = x.type.ndim - 1
    if hasattr(op, "axis"):  # from PyTensor 3.1 on
        return type(op)(op.len_splits, axis=op.axis % rank + 1)(x, *others, return_list=True)
    axis, sizes = others
    return op(x, int(axis.data) % rank + 1, sizes, return_list=True)
