"""The sparsity pattern of a Jacobian or a Hessian, from the graph of the function."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from scipy.sparse import csc_array

from .._sparsity import propagate
from .._sparsity.sets import Sets
from .._typing import OnUnknown
from ..coloring._pattern import symmetrized
from . import _sparsity_rules  # noqa: F401  (registers the rules)
from ._ops import refuse_named
from ._rule_table import REGISTERED
from ._walk import Source, Walk, from_matrices, size

ON_UNKNOWN = ("dense", "raise")


def jacobian_pattern(
    expr: Variable | Sequence[Variable],
    wrt: Variable | Sequence[Variable],
    *,
    givens: dict[Variable, ArrayLike] | None = None,
    on_unknown: OnUnknown = "dense",
) -> csc_array:
    """Find where the Jacobian of an expression may have entries.

    The graph is walked once, with sets of inputs in the place of values. Only values that follow
    from constants, shapes and `givens` are computed.

    Parameters
    ----------
    expr : tensor variable of floats, or sequence of them
        See `sparse_jacobian`.
    wrt : tensor variable of floats, or sequence of them
        Inputs, or any other variables of the graph.
    givens : dict, optional
        Examples of variables whose static shapes are not known. An example of a variable in `wrt`
        only shows its shape. An example of any other variable is taken for its value, so that an
        index, say, is known.
    on_unknown : {'dense', 'raise'}, optional
        What is done about an Op that has neither a rule nor a pullback, and about an index or
        another value that is not known and chooses from more than 64 elements. 'dense' warns
        (`SparsityWarning`) and takes the outputs of the Op to depend on all that its inputs, or
        these elements, depend on; 'raise' raises NotImplementedError. `register_sparsity_rule`
        teaches a new Op; a value is known if it is made of constants or in `givens`.

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
    An index, a condition or a permutation that depends on values may be any. A value that is
    constant, or made of constants and shapes, is known: products with known zeros have no entries,
    and a branch that is not taken has none. A shared variable (`pm.Data`) is not known, since it
    may change. There is no warning where elements of the inputs are chosen by their values, as by
    `argsort` and `argmax`. The pullback of an Op of the user tells how the Op
    connects its outputs with its inputs.

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
    expr = as_expression(expr)
    walk = start(wrt, givens, on_unknown)
    [ids] = walk.run([expr])
    if ids is None:
        shape = size(walk.shape(expr)), walk.sets.n
        return csc_array(shape, dtype=np.int8)
    found = csc_array(propagate.to_matrix(walk.sets, ids))
    found.sort_indices()
    return found


def hessian_pattern(
    cost: Variable,
    wrt: Variable | Sequence[Variable],
    *,
    givens: dict[Variable, ArrayLike] | None = None,
    on_unknown: OnUnknown = "dense",
) -> csc_array:
    """Find where the Hessian of a scalar may have entries: the Jacobian of the gradient.

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
    """Return the gradient of a scalar in all of wrt, in one vector."""
    check_cost(cost)
    parts = pytensor.grad(cost, wrt, disconnected_inputs="ignore")
    return pt.concatenate([g.ravel() for g in parts])


def positions(
    variables: Sequence[Variable], *, givens: dict[Variable, ArrayLike] | None = None
) -> dict[str, slice]:
    """Map the names of variables to their places among the rows or columns of a Jacobian.

    Parameters
    ----------
    variables : sequence of tensor variables
        The list of equations, or of variables, that was passed to `sparse_jacobian`.
    givens : dict, optional
        Examples of variables whose static shapes are not known.

    Returns
    -------
    dict of str to slice

    Raises
    ------
    ValueError
        If a variable has no name, or two have the same.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> scpt.positions([pt.scalar("a"), pt.vector("b", shape=(3,)), pt.scalar("c")])
    {'a': slice(0, 1, None), 'b': slice(1, 4, None), 'c': slice(4, 5, None)}
    """
    found: dict[str, slice] = {}
    end = 0
    for x in as_inputs(variables):
        if x.name is None or x.name in found:
            wrong = "has no name" if x.name is None else f"is the second one named {x.name!r}"
            raise ValueError(f"the variable at place {len(found)} {wrong}")
        begin, end = end, end + size(shape_of(x, givens or {}))
        found[x.name] = slice(begin, end)
    return found


# ---- what the user passes ----


def check_cost(cost):
    """Refuse what is not a scalar of floats."""
    check_floats(cost, "cost")
    if cost.type.ndim:
        raise ValueError(
            f"cost must be a scalar, and {cost} has {cost.type.ndim} dimensions: take its sum, or"
            " sparse_jacobian"
        )


def as_inputs(wrt):
    """Return a list of variables of floats."""
    wrt = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    if not wrt:
        raise ValueError("wrt is empty: pass a variable, or a sequence of them")
    for x in wrt:
        check_floats(x, "wrt")
        if isinstance(x, Constant):
            raise TypeError(f"wrt must hold variables, and {x} is a constant")
    if len(set(wrt)) < len(wrt):
        raise ValueError("a variable is in wrt twice")
    for x in wrt:
        others = set(wrt) - {x}
        below = others.intersection(ancestors([x]) if x.owner is not None and others else ())
        if below:
            raise ValueError(
                f"{x} in wrt depends on {below.pop()}, which is in wrt too: take one of them, or"
                " build the expression of a new variable in the place of the first"
            )
    return wrt


def as_expression(expr):
    """Return one variable of floats; scalars of a sequence are stacked, other arrays are joined."""
    if isinstance(expr, list | tuple) and expr:
        for part in expr:
            check_floats(part, "expr")
        if all(part.type.ndim == 0 for part in expr):
            return pt.stack(list(expr))
        return pt.concatenate([part.ravel() for part in expr])
    check_floats(expr, "expr")
    return expr


def check_floats(x, name):
    """Refuse what is not a tensor variable of floats."""
    if not isinstance(x, Variable):
        raise TypeError(f"{name} must be a PyTensor variable, not a {type(x).__name__}")
    refuse_named(x)
    dtype = getattr(x.type, "dtype", "")
    if not isinstance(x.type, pt.TensorType) or not dtype.startswith("float"):
        raise TypeError(f"{name} must be a tensor of floats, and {x} is of type {x.type}")


def start(wrt, givens, on_unknown):
    """Make a walk with a set for each element of wrt."""
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
    """Return what the examples tell of variables that are not in wrt."""
    return {
        x: Source(partial(np.shape, value), partial(lambda value: value, value))
        for x, value in givens.items()
        if x not in wrt
    }


def shape_of(x, givens):
    """Return the shape of a variable: of an example, the static one, or that of a shared value."""
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


def register_sparsity_rule(op_class: type, rule: Callable) -> None:
    """Tell how the outputs of an Op are connected to its inputs.

    Parameters
    ----------
    op_class : type
        Class of Ops. The rule holds for derived classes, too.
    rule : callable
        ``rule(op, node, shapes_in, shapes_out, values)`` returns a list for each output, with an
        element for each input. The element is a SciPy sparse matrix of shape (size of the output,
        size of the input), with entries where an element of the output has a derivative in an
        element of the input, in the order of ``ravel``. The element is None if there are no
        entries, and True if there may be all. `shapes_in` and `shapes_out` are lists of shapes.
        `values` holds the value of each input, or None if the value is not known.

    Raises
    ------
    TypeError
        If `op_class` is no class, or `rule` cannot be called.

    Notes
    -----
    Instead of a rule, the Op may have a method ``connectivity_pattern(node)`` that returns the same
    lists.

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
