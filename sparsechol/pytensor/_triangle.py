"""Plain sparse triangles of any pattern: solves."""

from typing import Any

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from .._scipy.input import as_scipy, check_order, compressed
from .._scipy.symmetry import refuse_empty_triangle
from .._scipy.triangle_pattern import TriangularPattern
from .._typing import MatrixLike, Trans
from . import _ops as ops
from ._matrix import constant, is_plain, on_columns
from ._sparse import terms_of


def solve_triangular(
    T: ps.variable.SparseVariable | MatrixLike,
    b: pt.TensorLike,
    *,
    lower: bool = True,
    trans: Trans = 0,
    unit_diagonal: bool = False,
    b_ndim: int | None = None,
) -> pt.TensorVariable:
    """Solve ``T x = b`` or ``T^T x = b`` with a sparse triangle.

    Parameters
    ----------
    T : (n, n) sparse variable, or SciPy sparse or dense array
        Only the triangle named by `lower` is read. The places of the entries of a variable must be
        known when the graph is built, as for `from_sparse`.
    b : (n,) or (..., n, k) tensor variable or array_like
    lower : bool, optional
        Whether the triangle is the lower one (default) or the upper one.
    trans : {0, 1, 2, 'N', 'T', 'C'}, optional
        0 or 'N' solves ``T x = b``. All others solve ``T^T x = b``, since T is real.
    unit_diagonal : bool, optional
        Take the diagonal as ones and do not read it.
    b_ndim : {None, 1, 2}, optional
        With 1 `b` is a batch of vectors, (..., n).

    Returns
    -------
    x : TensorVariable of the shape of `b`
        Differentiable any number of times, in T and b. Infinities or NaN where an entry of the
        diagonal is zero or missing; nothing is raised.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If `T` is a dense variable, or the places of its entries are not known.

    See Also
    --------
    SymmetricMatrix.solve_triangular : Solves with the Cholesky factor of a matrix.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> T = sp.csc_array([[2.0, 0.0], [1.0, 4.0]])
    >>> print(scpt.solve_triangular(T, np.array([2.0, 5.0])).eval())
    [1. 1.]
    """
    transposed = not is_plain(trans)
    read = symbolic_triangle if isinstance(T, Variable) else constant_triangle
    pattern, values = read(T, bool(lower))
    if unit_diagonal:
        values = pt.set_subtensor(values[constant(pattern.indptr[:-1])], 1)
    [values, b] = ops.as_floats(values, b)
    # The values are those of a lower triangle S, and T is S or, if it is upper, S^T.
    op = ops.PlainSolve(pattern, lower=transposed != pattern.lower)
    return on_columns(pattern, b, "b", lambda b: op(values, b), b_ndim)


def constant_triangle(T: Any, lower: bool):
    """Return the pattern and the values of a triangle of a SciPy or dense array."""
    T = as_scipy(compressed(T, np.float64, check_shape=check_order))  # refuses complex numbers
    pattern = TriangularPattern.of(T, lower)
    values = pattern.values(T)
    if not np.isfinite(values).all():
        raise ValueError("the triangle must not hold infinities or NaNs")
    return pattern, constant(values.astype(pytensor.config.floatX))


def symbolic_triangle(T: Any, lower: bool):
    """Return the pattern and the values of a triangle of a sparse variable."""
    terms = [(term, *places_inside(term, lower)) for term in terms_of(T)]
    shapes = {term.shape for term, *_ in terms}
    if len(shapes) > 1:
        raise ValueError(f"the terms of {T} have different shapes: {sorted(shapes)}")
    [(n, _)] = shapes
    rows, columns = (np.concatenate(parts) for parts in zip(*(t[2:] for t in terms), strict=True))
    outside = any(len(inside) < len(term.indices) for term, inside, *_ in terms)
    refuse_empty_triangle(
        2 * bool((rows != columns).any()), 2 * outside, lower, name="the triangle"
    )
    pattern = TriangularPattern.at(rows, columns, n, lower)
    values = pt.zeros(len(pattern.indices), T.type.dtype)
    for term, inside, row, column in terms:
        data = (term.coefficient * term.data)[constant(inside)]
        values = pt.inc_subtensor(values[constant(pattern.places(row, column))], data)
    return pattern, values


def places_inside(term, lower):
    """Find the entries of a term in a triangle, and their places, of an upper one transposed."""
    row, column = term.places()
    if not lower:
        row, column = column, row
    inside = np.flatnonzero(row >= column)
    return inside, row[inside], column[inside]
