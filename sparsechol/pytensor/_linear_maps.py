"""Find the linear maps by which a graph depends on variables, and put others in their place."""

import numpy as np
import pytensor.tensor as pt
import pytensor.tensor.blas as blas
from pytensor.scalar import Add, Cast, Identity, Mul, Neg, Sub, Switch, TrueDiv
from pytensor.sparse import math as psm
from pytensor.tensor.basic import ScalarFromTensor, TensorFromScalar
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.extra_ops import CumOp
from pytensor.tensor.math import Dot, Sum
from scipy.sparse import csc_array

from .._sparsity import linear_maps as choice
from ._detect import hessian_pattern, jacobian_pattern
from ._graphs import dependents, rebuilt
from ._ops import Kernel
from ._templates import moved_inputs
from ._walk import has_derivatives

PRODUCTS = (Dot, blas.Dot22, blas.BatchedDot, psm.StructuredDot, psm.Dot, psm.TrueDot)
KERNELS = ("product", "factor_product", "triangle_product")  # linear in each operand


def is_linear(node, moving):
    """Say whether a node is linear in the inputs that move."""
    op, flags = node.op, [x in moving for x in node.inputs]
    if isinstance(op, Elemwise):
        return is_linear_scalar(op.scalar_op, flags)
    if isinstance(op, Sum | TensorFromScalar | ScalarFromTensor):
        return True
    if isinstance(op, CumOp):
        return op.mode == "add"
    core = op.core_op if isinstance(op, Blockwise) else op
    if isinstance(core, PRODUCTS) or (isinstance(core, Kernel) and core.operation in KERNELS):
        return sum(flags) == 1
    moved = moved_inputs(node)
    return moved is not None and all(x in moved for x in node.inputs if x in moving)


def is_linear_scalar(op, flags):
    """Say whether an operation on scalars is linear in the operands that move."""
    if isinstance(op, Mul):
        return sum(flags) == 1
    if isinstance(op, TrueDiv):
        return not flags[1]
    if isinstance(op, Switch):
        return not flags[0]
    return isinstance(op, Add | Sub | Neg | Identity | Cast)


def moving_part(expr, wrt):
    """Return the nodes, in order, with outputs that have a derivative, and all such variables.

    Shapes, indices and conditions have none.
    """
    moving, nodes = set(wrt), []
    for node in dependents([expr], wrt)[0]:
        if any(x in moving for x in node.inputs):
            moving.update(x for x in node.outputs if has_derivatives(x))
            nodes.append(node)
    return nodes, moving


def linear_maps(expr, wrt):
    """Return the variables that are linear in others, and of which something is not."""
    if expr.type.dtype not in ("float32", "float64"):
        return []
    nodes, moving = moving_part(expr, wrt)
    linear, found = set(wrt), {}
    for node in nodes:
        inputs = [x for x in node.inputs if x in moving]
        if not is_linear(node, moving):
            found.update(dict.fromkeys(x for x in inputs if x in linear))
        elif all(x in linear for x in inputs):
            linear.update(node.outputs)
    return [
        x
        for x in found
        if x not in wrt and isinstance(x.type, pt.TensorType) and x.type.dtype == expr.type.dtype
    ]


class Cut:
    """A scalar as a function of variables and of linear maps of them.

    Attributes
    ----------
    maps : list of variables
    placeholders : list of variables
        What is in the place of the maps in `outer`, the scalar.
    """

    def __init__(self, expr, maps, shapes):
        self.expr, self.maps, self.shapes = expr, maps, shapes
        self.placeholders = [x.type.clone(shape=s)() for x, s in zip(maps, shapes, strict=True)]
        [self.outer] = rebuilt([expr], dict(zip(maps, self.placeholders, strict=True)))

    @property
    def sizes(self):
        """Number of elements of each map."""
        return [int(np.prod(shape)) for shape in self.shapes]

    @property
    def joined(self):
        """All maps in one vector."""
        return pt.concatenate([x.ravel() for x in self.maps])

    def part(self, chosen):
        """Leave out maps that are not chosen."""
        maps, shapes = (choice.choose(x, chosen) for x in (self.maps, self.shapes))
        return Cut(self.expr, maps, shapes)

    def put_back(self, variables):
        """Put the maps in the place of their placeholders."""
        return rebuilt(variables, dict(zip(self.placeholders, self.maps, strict=True)))


def separable_maps(problem, shape_of):
    """Find the linear maps of which a scalar is a sum of functions of few elements each.

    Parameters
    ----------
    problem : Problem
    shape_of : callable
        ``shape_of(variable)`` finds the shape of a variable.

    Returns
    -------
    (Cut, csc_array) or None
        The second part is the pattern of the second derivatives in the maps.
    """
    options = {"givens": problem.givens, "on_unknown": problem.on_unknown}
    maps = linear_maps(problem.expr, problem.wrt)
    cut, chosen, n = Cut(problem.expr, maps, [*map(shape_of, maps)]), [False], problem.shape[1]
    if cut.maps:
        A = jacobian_pattern(cut.joined, problem.wrt, **options)
        cut = cut.part(choice.short(A, cut.sizes))
    while cut.maps and not all(chosen):
        H = hessian_pattern(cut.outer, [*problem.wrt, *cut.placeholders], **options)
        chosen = choice.separable(H, n, cut.sizes)
        cut = cut.part(chosen)
    if cut.maps:
        A = jacobian_pattern(cut.joined, problem.wrt, **options)
        useful = choice.worth_taking(A, H[n:, n:], cut.sizes)
        rows = np.repeat(useful, cut.sizes)
        cut, G = cut.part(useful), H[n:, n:][rows][:, rows]
    return (cut, csc_array(G)) if cut.maps else None
