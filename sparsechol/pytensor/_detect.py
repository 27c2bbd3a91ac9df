"""The sparsity pattern of a Jacobian or a Hessian, from the graph of the function."""

from functools import partial
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from scipy.sparse import csc_array

from .._sparsity import propagate
from .._sparsity.sets import Sets
from ..coloring._pattern import symmetrized
from ._sparsity_rules import elementwise, graphs, kernels, sparse  # noqa: F401  (they register rules)
from ._walk import REGISTERED, Source, Walk, from_matrices, size

ON_UNKNOWN = ("dense", "raise")


def jacobian_pattern(
    expr: Variable, wrt: Any, *, givens: dict | None = None, on_unknown: str = "dense"
) -> csc_array:
    """Where the Jacobian of an expression may have entries.

    The graph is walked once, with sets of inputs in the place of values; nothing is computed that
    depends on values that are not constants.

    Parameters
    ----------
    expr : tensor variable of floats
    wrt : tensor variable of floats, or sequence of them
        Inputs, or any other variables of the graph.
    givens : dict, optional
        Examples of variables whose static shapes are not known. Those of `wrt` and of shared
        variables only show their shapes; of all other variables they are taken for their values,
        so that an index, say, is known.
    on_unknown : {'dense', 'raise'}, optional
        What is done about an Op of which nothing is known, which has no pullback either: warn
        (`SparsityWarning`) and take its outputs to depend on all that its inputs depend on, or
        raise NotImplementedError. `register_sparsity_rule` teaches a new Op.

    Returns
    -------
    (m, n) csc_array of int8
        Ones where there may be an entry, for any values of the inputs. Rows are the elements of
        `expr`, columns those of `wrt`, in the order of ``ravel``; several `wrt` follow each other.

    Raises
    ------
    TypeError
        If `expr` or `wrt` are not variables of floats.
    ValueError
        If a shape is not known.

    Notes
    -----
    An index, a condition or a permutation that depends on values may be any. Where a value is
    constant, or made of constants and shapes, it counts: products with known zeros have no entries,
    and neither has the branch that is not taken. An Op that has a pullback of its own is what its
    pullback says.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(4,))
    >>> scpt.jacobian_pattern(x[1:] * x[:-1], x).toarray()
    array([[1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]], dtype=int8)
    """
    wrt = as_inputs(wrt)
    check_floats(expr, "expr")
    walk = start(wrt, givens, on_unknown)
    [ids] = walk.run([expr])
    if ids is None:
        shape = size(walk.shape(expr)), walk.sets.n
        return csc_array(shape, dtype=np.int8)
    found = csc_array(propagate.to_matrix(walk.sets, ids))
    found.sort_indices()
    return found


def hessian_pattern(
    cost: Variable, wrt: Any, *, givens: dict | None = None, on_unknown: str = "dense"
) -> csc_array:
    """Where the Hessian of a scalar may have entries: the Jacobian of its gradient.

    Parameters
    ----------
    cost : scalar variable of floats
    wrt, givens, on_unknown
        As for `jacobian_pattern`.

    Returns
    -------
    (n, n) csc_array of int8
        Symmetric.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(3,))
    >>> scpt.hessian_pattern(((x[1:] - x[:-1]) ** 2).sum(), x).toarray()
    array([[1, 1, 0],
           [1, 1, 1],
           [0, 1, 1]], dtype=int8)
    """
    wrt = as_inputs(wrt)
    g = gradient(cost, wrt)
    return symmetrized(jacobian_pattern(g, wrt, givens=givens, on_unknown=on_unknown))


def gradient(cost, wrt):
    """Gradient of a scalar in all of wrt, in one vector."""
    check_floats(cost, "cost")
    if cost.type.ndim:
        raise ValueError(
            f"cost must be a scalar, and {cost} has {cost.type.ndim} dimensions: take its sum, or"
            " sparse_jacobian"
        )
    parts = pytensor.grad(cost, wrt, disconnected_inputs="ignore")
    return pt.concatenate([g.ravel() for g in parts])


# ---- what the user passes ----


def as_inputs(wrt):
    """A list of variables of floats."""
    wrt = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    if not wrt:
        raise ValueError("wrt is empty: pass a variable, or a sequence of them")
    for x in wrt:
        check_floats(x, "wrt")
        if isinstance(x, Constant):
            raise TypeError(f"wrt must hold variables, and {x} is a constant")
    if len(set(wrt)) < len(wrt):
        raise ValueError("a variable is in wrt twice")
    return wrt


def check_floats(x, name):
    if not isinstance(x, Variable):
        raise TypeError(f"{name} must be a PyTensor variable, not a {type(x).__name__}")
    dtype = getattr(x.type, "dtype", "")
    if not isinstance(x.type, pt.TensorType) or not dtype.startswith("float"):
        raise TypeError(f"{name} must be a tensor of floats, and {x} is of type {x.type}")


def start(wrt, givens, on_unknown):
    """A walk with sets for the elements of wrt."""
    if on_unknown not in ON_UNKNOWN:
        raise ValueError(f"on_unknown must be one of {ON_UNKNOWN}, not {on_unknown!r}")
    givens = givens or {}
    shapes = [shape_of(x, givens) for x in wrt]
    ends = np.cumsum([0, *map(size, shapes)])
    sets = Sets(int(ends[-1]))
    places = sets.inputs(-1)
    ids = {
        x: places[begin:end].reshape(shape)
        for x, shape, begin, end in zip(wrt, shapes, ends, ends[1:], strict=False)
    }
    return Walk(sets, ids, sources_of(givens, wrt), on_unknown)


def sources_of(givens, wrt):
    """What the examples tell of other variables than wrt."""
    return {
        x: Source(partial(np.shape, value), partial(lambda value: value, value))
        for x, value in givens.items()
        if x not in wrt
    }


def shape_of(x, givens):
    """Static shape of a variable, or that of an example, or of a shared variable."""
    if x in givens:
        found = np.shape(givens[x])
        fits = len(found) == x.type.ndim and all(
            n is None or n == k for n, k in zip(x.type.shape, found, strict=True)
        )
        if not fits:
            raise ValueError(f"the example of {x} has shape {found}, and its type is {x.type}")
        return found
    return Walk(Sets(0), {}).shape(x)


# ---- rules of users ----


def register_sparsity_rule(op_class: type, rule: Any) -> None:
    """Tell how the outputs of an Op are connected to its inputs.

    Parameters
    ----------
    op_class : type
        Class of Ops; of the classes that are derived from it, too.
    rule : callable
        ``rule(op, node, shapes_in, shapes_out, values)`` returns a list with an element for each
        output, and that is a list with an element for each input: a SciPy sparse matrix of shape
        (size of the output, size of the input) with entries where an element of the output has a
        derivative in an element of the input, in the order of ``ravel``; None if there are none;
        or True if there may be all. `shapes_in` and `shapes_out` are lists of shapes; `values`
        holds for each input its value if that is known, or None.

    Notes
    -----
    Instead, the Op may have a method ``connectivity_pattern(node)`` that returns the same lists.

    Examples
    --------
    >>> import scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> def elementwise(op, node, shapes_in, shapes_out, values):
    ...     return [[sp.eye_array(shapes_in[0][0])]]
    >>> class MyOp: ...  # an Op with one input and one output
    >>> scpt.register_sparsity_rule(MyOp, elementwise)
    """
    if not isinstance(op_class, type) or not callable(rule):
        raise TypeError("a class of Ops and a function are needed")

    def apply(walk, op, node, operands):
        shapes_in = [walk.shape(x) for x in node.inputs]
        shapes_out = [walk.shape(x) for x in node.outputs]
        values = [walk.value(x) for x in node.inputs]
        return from_matrices(walk, node, operands, rule(op, node, shapes_in, shapes_out, values))

    REGISTERED[op_class] = apply
