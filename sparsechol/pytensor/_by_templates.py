"""Evaluate scalar equations, or the terms of a sum, by templates: those of one form in one loop."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from ._detect import as_expression, as_inputs
from ._sparse_derivatives import Problem, checked, joined
from ._templates import Reader


def by_templates(
    expr: Variable | Sequence[Variable],
    wrt: Variable | Sequence[Variable],
    *,
    givens: dict[Variable, ArrayLike] | None = None,
) -> TensorVariable:
    """Build an expression anew, with one loop for all scalar equations of one form.

    The values are the same. A graph with a node for each operation of each equation compiles in a
    time that grows faster than their number, a loop in one that does not depend on it.

    Parameters
    ----------
    expr : tensor variable of floats, or sequence of them
        Scalar equations, in a list or joined by `pytensor.tensor.stack`; or one scalar, a sum of
        many terms.
    wrt : tensor variable of floats, or sequence of them
        What the equations are written in, as for `sparse_jacobian`.
    givens : dict, optional
        Examples of variables whose static shapes are not known; see `jacobian_pattern`.

    Returns
    -------
    tensor variable
        Of the shape of `expr`; a vector for a list. Without scalar equations, or where they share
        too much, it is `expr` itself. Rounding may differ: terms of long sums are added in another
        order.

    Raises
    ------
    TypeError
        If `expr` or `wrt` are not variables of floats.
    ValueError
        When the graph runs: if an array has another shape than that in `givens`.

    See Also
    --------
    sparse_jacobian : Derivatives, by the same templates.

    Notes
    -----
    The result can be differentiated any number of times, in all variables of the graph.

    Examples
    --------
    >>> import pytensor, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(100,))
    >>> equations = [x[k] ** 2 - x[k + 1] for k in range(99)]
    >>> residual = scpt.by_templates(equations, x)
    >>> residual.type.shape
    (99,)
    >>> import numpy as np
    >>> residual.eval({x: np.full(100, 3.0)}, mode="FAST_COMPILE")[:2]
    array([6., 6.])
    """
    inputs: Any = as_inputs(wrt)
    whole: Any = as_expression(expr)
    problem = Problem(whole, inputs, givens, None, "dense")
    reader = Reader(whole, inputs, givens)
    found = reader.apart(whole, split=not whole.type.ndim) if reader.scalars else None
    if found is None or found.still is None:
        return whole
    rows: Any = problem.builder(found).values(joined([source.array for source in found.inner]))
    rows = checked(rows.reshape(problem.rows), inputs, problem.columns)
    return rows.astype(whole.type.dtype)
