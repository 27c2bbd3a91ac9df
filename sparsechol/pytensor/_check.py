"""Whether a sparsity pattern has all entries of a Jacobian: by products with random directions."""

from collections.abc import Sequence

import numpy as np
import pytensor
from numpy.typing import ArrayLike
from pytensor.compile.mode import Mode
from pytensor.gradient import pullback, pushforward
from pytensor.graph.basic import Variable
from scipy.sparse import csc_array, sparray, spmatrix

from ._detect import as_expression, as_inputs, jacobian_pattern
from ._graphs import rebuilt
from ._sparse_derivatives import in_one_variable, shape_of_expression, sparse_jacobian


def check_pattern(
    expr: Variable,
    wrt: Variable | Sequence[Variable],
    point: ArrayLike | Sequence[ArrayLike],
    *,
    sparsity: sparray | spmatrix | ArrayLike | None = None,
    probes: int = 3,
    seed: int = 0,
    givens: dict[Variable, ArrayLike] | None = None,
) -> np.ndarray:
    """Find entries of the Jacobian that a sparsity pattern lacks, by random directions at a point.

    Parameters
    ----------
    expr, wrt
        As for `sparse_jacobian`; for a Hessian, `expr` is the gradient.
    point : array_like, or sequence of them
        Values of `wrt`. An entry that is zero there is not missed.
    sparsity : (m, n) sparse or dense array, optional
        By default the pattern that `jacobian_pattern` finds.
    probes : int, optional
        Number of random directions.
    seed : int, optional
        Seed of the directions.
    givens : dict, optional
        Values of all other inputs.

    Returns
    -------
    missed : (k, 2) ndarray of int
        Rows and columns; empty if nothing is missed.

    Notes
    -----
    The products of the Jacobian with the directions are compared with those of the matrix that
    this pattern gives. A row in which they differ is computed in full.

    Examples
    --------
    >>> import numpy as np, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(3,))
    >>> scpt.check_pattern(x * x[0], x, [1.0, 2.0, 3.0])
    array([], shape=(0, 2), dtype=int64)
    >>> scpt.check_pattern(x * x[0], x, [1.0, 2.0, 3.0], sparsity=np.eye(3))
    array([[1, 0],
           [2, 0]])
    """
    wrt = as_inputs(wrt)
    expr = as_expression(expr)
    points = [np.asarray(p, x.type.dtype) for p, x in zip(one_each(point, wrt), wrt, strict=True)]
    givens = {**(givens or {}), **dict(zip(wrt, points, strict=True))}
    probe = Probe(expr, wrt, givens)
    if sparsity is None:
        sparsity = jacobian_pattern(expr, wrt, givens=givens)
    values, coloring = sparse_jacobian(expr, wrt, sparsity=sparsity, givens=givens, format="values")
    A = coloring.sparsity
    J = csc_array((probe.function([], values)(), A.indices, A.indptr), A.shape)
    suspects = probe.differing(J, probes, np.random.default_rng(seed))
    found = [(i, j) for i in suspects for j in np.flatnonzero(probe.row(i))]
    known = set(zip(*(part.tolist() for part in A.nonzero()), strict=True))
    missing = [(int(i), int(j)) for i, j in found if (i, j) not in known]
    return np.array(missing, np.int64).reshape(-1, 2)


def one_each(point, wrt):
    """Return a point for each variable."""
    several = isinstance(point, list | tuple) and len(wrt) > 1
    return list(point) if several else [point]


class Probe:
    """Products of a Jacobian with vectors, at a point."""

    def __init__(self, expr, wrt, values):
        self.inputs = [x for x in values if not hasattr(x, "get_value")]
        self.values = [values[x] for x in self.inputs]
        self.wrt, self.shapes = wrt, [np.shape(values[x]) for x in wrt]
        [self.expr] = rebuilt([expr], {x: x for x in wrt})
        cotangent = expr.type()
        gradients = pullback(self.expr, wrt, cotangent, disconnected_inputs="ignore")
        self.rows = shape_of_expression(expr, wrt, values)
        self._row = self.function([cotangent], gradients)

    def function(self, variables, outputs):
        """Compile a function of some variables, everything else given."""
        f = pytensor.function(
            [*variables, *self.inputs], outputs, mode=Mode(linker="py", optimizer=None),
            on_unused_input="ignore",
        )  # fmt: skip
        return lambda *arrays: f(*arrays, *self.values)

    def row(self, i):
        """Compute a row of the Jacobian."""
        cotangent = np.zeros(self.rows, self.expr.type.dtype)
        cotangent.reshape(-1)[i] = 1
        return np.concatenate([np.ravel(part) for part in self._row(cotangent)])

    def differing(self, J, probes, rng):
        """Find rows in which products with random vectors are not those with J; all if unknown."""
        try:
            expr, z = in_one_variable(self.expr, self.wrt, self.shapes)
            tangent = z.type()
            product = self.function(
                [tangent], pushforward(expr, z, tangent, disconnected_outputs="ignore")
            )
        except Exception:  # whatever an Op raises that has no second derivatives
            return range(J.shape[0])
        differ = np.zeros(J.shape[0], bool)
        for _ in range(probes):
            v = rng.standard_normal(J.shape[1]).astype(z.type.dtype)
            shape = self.shapes[0] if len(self.shapes) == 1 else v.shape
            error = np.abs(np.ravel(product(v.reshape(shape))) - J @ v)
            tolerance = 1e4 * np.finfo(self.expr.type.dtype).eps
            differ |= ~(error <= tolerance * (abs(J) @ np.abs(v)))
        return np.flatnonzero(differ)
