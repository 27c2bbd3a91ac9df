"""Sparse Jacobians and Hessians: a few products by colors, and their entries by one index."""

from typing import Any

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.gradient import pullback, pushforward
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import upcast
from scipy.sparse import csc_array

from .._scipy.symbolic_factor import analyze
from ..coloring import Coloring, color
from ..coloring._modes import BUDGET, MODES, STRUCTURES, cheapest_first
from ..coloring._pattern import count, entries_of, symmetrized
from ._detect import (
    as_inputs,
    check_floats,
    gradient,
    jacobian_pattern,
    shape_of,
    start,
)
from ._graphs import at_all, dependents, rebuilt
from ._matrix import SymmetricMatrix, constant
from ._walk import is_sparse, size

BATCHES = ("vectorize", "scan")


def sparse_jacobian(
    expr: Variable,
    wrt: Any,
    *,
    sparsity: Any = None,
    mode: str = "auto",
    givens: dict | None = None,
    batch: str = "vectorize",
    returns: str = "sparse",
    on_unknown: str = "dense",
) -> Any:
    """The Jacobian of an expression, from as few products with it as its sparsity allows.

    Parameters
    ----------
    expr : tensor variable of floats
        Of any rank; rows are its elements in the order of ``ravel``.
    wrt : tensor variable of floats, or sequence of them
        Of any rank; columns are their elements in the order of ``ravel``.
    sparsity : (m, n) sparse or dense array, or Coloring, optional
        Where there may be entries; by default `jacobian_pattern` finds it. A `Coloring` must be
        direct.
    mode : {'auto', 'forward', 'reverse', 'bidirectional'}, optional
        Products with columns, by pushforwards, with rows, by pullbacks, or with some of both.
        'auto' takes the cheapest that PyTensor can differentiate.
    givens : dict, optional
        Examples of variables whose static shapes are not known; see `jacobian_pattern`.
    batch : {'vectorize', 'scan'}, optional
        All products at once, or one after the other in a loop, with less memory. A graph that
        PyTensor cannot vectorize takes the loop in any case.
    returns : {'sparse', 'data'}, optional
        A sparse variable in format 'csc', or a pair: the vector of its values, in the order of
        ``coloring.sparsity``, and the `Coloring`. JAX has no sparse variables: take 'data' there.
    on_unknown : {'dense', 'raise'}, optional
        See `jacobian_pattern`.

    Returns
    -------
    sparse variable, or (vector, Coloring)

    Raises
    ------
    TypeError
        If `expr` or `wrt` are not variables of floats.
    ValueError
        If an option is unknown, a shape is not known, or `sparsity` does not fit. When the graph
        runs: if an array has another shape than the pattern is for.

    Notes
    -----
    The result can be differentiated like any other variable. A pattern that lacks an entry gives
    wrong values without notice: see `check_pattern`.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(4,))
    >>> data, coloring = scpt.sparse_jacobian(x[1:] * x[:-1], x, returns="data")
    >>> coloring.num_colors
    2
    >>> data.eval({x: [1.0, 2.0, 3.0, 4.0]}, mode="FAST_COMPILE")
    array([2., 1., 3., 2., 4., 3.])
    """
    wrt = as_inputs(wrt)
    check_floats(expr, "expr")
    check_option("mode", mode, MODES)
    check_option("batch", batch, BATCHES)
    check_option("returns", returns, ("sparse", "data"))
    if sparsity is None:
        sparsity = jacobian_pattern(expr, wrt, givens=givens, on_unknown=on_unknown)
    problem = Problem(expr, wrt, givens, batch)
    data, coloring = problem.jacobian(colorings(sparsity, mode, problem.shape))
    data = checked(data, wrt, problem.columns)
    return (data, coloring) if returns == "data" else as_sparse(data, coloring.sparsity)


def sparse_hessian(
    cost: Variable,
    wrt: Any,
    *,
    sparsity: Any = None,
    givens: dict | None = None,
    batch: str = "vectorize",
    returns: str = "sparse",
    ordering: Any = "auto",
    on_unknown: str = "dense",
) -> Any:
    """The Hessian of a scalar, from as few products with it as its sparsity allows.

    Parameters
    ----------
    cost : scalar variable of floats
    wrt, givens, batch, on_unknown
        As for `sparse_jacobian`.
    sparsity : (n, n) sparse or dense array, or Coloring, optional
        Where there may be entries, symmetric; by default `hessian_pattern` finds it. A `Coloring`
        must be symmetric and direct.
    returns : {'sparse', 'data', 'spd'}, optional
        A sparse variable in format 'csc'; a pair of the vector of its values, in the order of
        ``coloring.sparsity``, and the `Coloring`; or a `SymmetricMatrix`, whose pattern is analyzed
        here, once, for `solve` and `logdet`.
    ordering : optional
        Of the analysis, as for `sparsechol.analyze`.

    Returns
    -------
    sparse variable, or (vector, Coloring), or SymmetricMatrix

    Raises
    ------
    TypeError, ValueError
        As `sparse_jacobian`, and if `cost` is not a scalar or `sparsity` is not symmetric.

    Notes
    -----
    Star coloring, and pullbacks of the gradient.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(3,))
    >>> cost = (x**4).sum() + ((x[1:] - x[:-1]) ** 2).sum()
    >>> H = scpt.sparse_hessian(cost, x, returns="spd")
    >>> H.values.eval({x: [1.0, 1.0, 1.0]}, mode="FAST_COMPILE")
    array([14., -2., 16., -2., 14.])
    """
    wrt = as_inputs(wrt)
    check_option("batch", batch, BATCHES)
    check_option("returns", returns, ("sparse", "data", "spd"))
    g = gradient(cost, wrt)
    if sparsity is None:
        sparsity = symmetrized(jacobian_pattern(g, wrt, givens=givens, on_unknown=on_unknown))
    problem = Problem(cost, wrt, givens, batch)
    n = problem.shape[1]
    [coloring] = colorings(sparsity, "symmetric", (n, n))
    flat = problem.hessian_products(coloring)
    places = places_in(coloring)
    if returns == "spd":
        pattern = analyze(csc_array(coloring.sparsity, dtype=np.float64), ordering=ordering)
        places = packed(coloring, places, pattern, n * coloring.num_colors)
        flat = pt.concatenate([flat, pt.zeros(1, flat.type.dtype)])
    data = checked(taken(flat, places), wrt, problem.columns)
    if returns == "spd":
        return SymmetricMatrix(pattern, data)
    return (data, coloring) if returns == "data" else as_sparse(data, coloring.sparsity)


# ---- products ----


class Problem:
    """An expression to be differentiated.

    Attributes
    ----------
    rows : tuple of int
        Shape of the expression.
    columns : list of tuples
        Shapes of what it is differentiated in.
    """

    def __init__(self, expr, wrt, givens, batch):
        self.expr, self.wrt, self.batch = expr, wrt, batch
        self.columns = [shape_of(x, givens or {}) for x in wrt]
        self.rows = shape_of_expression(expr, wrt, givens)

    @property
    def shape(self):
        return size(self.rows), sum(map(size, self.columns))

    @property
    def dtype(self):
        return upcast(self.expr.type.dtype, *(x.type.dtype for x in self.wrt))

    def jacobian(self, candidates):
        """Entries by the first coloring that PyTensor can differentiate for."""
        failed = []
        for coloring in candidates:
            try:
                flat = self.products(coloring)
            except Exception as error:  # whatever an Op raises
                failed.append(error)
            else:
                return taken(flat, places_in(coloring)).astype(self.dtype), coloring
        raise failed[0]

    def products(self, coloring):
        """All products in one vector, those with columns first."""
        if not coloring.sparsity.nnz:
            return pt.zeros(0, self.dtype)
        [expr] = rebuilt([self.expr], {x: x for x in self.wrt})
        both = coloring._both
        if coloring.structure == "row":
            parts = [self.with_rows(expr, both[0])]
        else:
            parts = [self.with_columns(expr, both[0])]
            parts += [self.with_rows(expr, colors) for colors in both[1:]]
        parts = [part for part in parts if part is not None]
        return parts[0] if len(parts) == 1 else pt.concatenate(parts)

    def with_columns(self, expr, colors):
        """Those of the Jacobian with the sum of all columns of a color; color by color."""
        if not count(colors):
            return None
        _, moving = dependents([expr], self.wrt)
        if any(map(is_sparse, moving)):
            raise NotImplementedError(
                "PyTensor's pushforwards through sparse variables are wrong: take mode='reverse'"
            )
        tangents = [x.type() for x in self.wrt]
        product = pushforward(
            expr, self.wrt, tangents, disconnected_outputs="ignore", return_disconnected="zero"
        )
        return self.flat([product], tangents, self.seeds(colors), count(colors))

    def with_rows(self, expr, colors):
        """The sums of all rows of a color; color by color."""
        if not count(colors):
            return None
        cotangent = expr.type()
        products = pullback(expr, self.wrt, cotangent, disconnected_inputs="ignore")
        seeds = [directions(colors, self.rows, expr.type.dtype)]
        return self.flat(products, [cotangent], seeds, count(colors))

    def hessian_products(self, coloring):
        """Of the Hessian with the sum of all columns of a color, in one vector."""
        if not coloring.sparsity.nnz:
            return pt.zeros(coloring.sparsity.shape[0] * coloring.num_colors, self.dtype)
        [cost] = rebuilt([self.expr], {x: x for x in self.wrt})
        g = pytensor.grad(cost, self.wrt, disconnected_inputs="ignore")
        tangents = [x.type() for x in self.wrt]
        products = pullback(g, self.wrt, tangents, disconnected_inputs="ignore")
        seeds = self.seeds(coloring.colors)
        return self.flat(products, tangents, seeds, coloring.num_colors)

    def seeds(self, colors):
        """The directions, in arrays of the shapes of wrt."""
        ends = np.cumsum([size(shape) for shape in self.columns])[:-1]
        parts = zip(np.split(colors, ends), self.columns, self.wrt, strict=True)
        k = count(colors)
        return [directions(part, shape, x.type.dtype, k) for part, shape, x in parts]

    def flat(self, products, variables, seeds, k):
        """Products for all seeds, in one vector, color by color."""
        found = at_all(products, variables, seeds, self.batch)
        found = [x.reshape((k, -1)) if x.type.ndim != 2 else x for x in found]
        together = found[0] if len(found) == 1 else pt.concatenate(found, axis=1)
        return together.ravel()


def directions(colors, shape, dtype, k=None):
    """One array for each color, ones where it is."""
    k = count(colors) if k is None else k
    seeds = (colors == np.arange(k)[:, None]).astype(dtype)
    return constant(seeds.reshape(k, *shape))


def shape_of_expression(expr, wrt, givens):
    if None not in expr.type.shape:
        return expr.type.shape
    walk = start(wrt, givens, "dense")
    walk.run([expr])
    return walk.shape(expr)


# ---- colors ----


def colorings(sparsity, mode, shape):
    """Colorings to try, best first."""
    if isinstance(sparsity, Coloring):
        return [fitting(sparsity, mode, shape)]
    if np.shape(sparsity) != shape:
        raise ValueError(
            f"sparsity has shape {np.shape(sparsity)}, and the matrix of derivatives {shape}"
        )
    if mode != "auto":
        return [color(sparsity, STRUCTURES.get(mode, mode), budget=BUDGET)]
    return cheapest_first(entries_of(sparsity))


def fitting(coloring, mode, shape):
    """The coloring of the user, if it can be used."""
    wanted = [STRUCTURES.get(mode, mode)] if mode != "auto" else list(STRUCTURES.values())
    if coloring.sparsity.shape != shape:
        raise ValueError(
            f"sparsity is a Coloring of shape {coloring.sparsity.shape}, and the matrix of"
            f" derivatives has shape {shape}"
        )
    if coloring.method != "direct" or coloring.structure not in wanted:
        raise ValueError(
            f"sparsity is a {coloring!r}: a direct one of structure {' or '.join(wanted)} is needed"
        )
    return coloring


def places_in(coloring):
    """Where each entry of the pattern is among the products, color by color."""
    place = coloring._recovery.place
    if coloring.structure == "row":
        return place
    m = coloring.sparsity.shape[0]
    k = count(coloring._both[0])
    return np.where(place < m * k, place % max(k, 1) * m + place // max(k, 1), place)


def packed(coloring, places, pattern, zero):
    """Where each stored value of an analyzed pattern is; at `zero` if the Hessian has no entry."""
    lower, place = coloring._places_in(pattern)
    out = np.full(len(pattern.indices), zero)
    out[place] = places[lower]
    return out


def taken(flat, places):
    return flat[constant(places.astype(np.int64))]


# ---- results ----


def as_sparse(data, A):
    """A sparse variable on a known pattern."""
    parts = (A.indices, A.indptr, np.array(A.shape))
    return ps.CSC(data, *(pt.constant(part.astype(np.int32)) for part in parts))


def checked(data, variables, shapes):
    """Data, if the arrays have the shapes that the pattern was found for."""
    unknown = [
        (x, pt.eq(x.shape[axis], n))
        for x, shape in zip(variables, shapes, strict=True)
        for axis, (known, n) in enumerate(zip(x.type.shape, shape, strict=True))
        if known is None
    ]
    if not unknown:
        return data
    check = CheckAndRaise(ValueError, f"the sparsity was found for arrays of shapes {shapes}")
    conditions = [condition for _, condition in unknown]
    [data] = rebuilt([data], {x: check(x, *conditions) for x, _ in unknown})
    return check(data, *conditions)


def check_option(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, not {value!r}")


# ---- a test ----


def check_pattern(
    expr: Variable,
    wrt: Any,
    point: Any,
    pattern: Any = None,
    *,
    probes: int = 3,
    seed: int = 0,
    givens: dict | None = None,
) -> np.ndarray:
    """Entries of the Jacobian that a pattern lacks, found with random directions at a point.

    Parameters
    ----------
    expr, wrt
        As for `sparse_jacobian`; for a Hessian, `expr` is the gradient.
    point : array_like, or sequence of them
        Values of `wrt`.
    pattern : (m, n) sparse or dense array, optional
        By default what `jacobian_pattern` finds.
    probes : int, optional
        Number of directions.
    seed : int, optional
    givens : dict, optional
        Values of all other inputs.

    Returns
    -------
    (k, 2) ndarray of int
        Rows and columns; none if the pattern is right at this point.

    Notes
    -----
    A row in which the Jacobian and its compressed evaluation differ in a direction is computed
    whole.

    Examples
    --------
    >>> import numpy as np, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(3,))
    >>> scpt.check_pattern(x * x[0], x, [1.0, 2.0, 3.0])
    array([], shape=(0, 2), dtype=int64)
    >>> scpt.check_pattern(x * x[0], x, [1.0, 2.0, 3.0], np.eye(3))
    array([[1, 0],
           [2, 0]])
    """
    wrt = as_inputs(wrt)
    check_floats(expr, "expr")
    points = [np.asarray(p, x.type.dtype) for p, x in zip(one_each(point, wrt), wrt, strict=True)]
    givens = {**(givens or {}), **dict(zip(wrt, points, strict=True))}
    if pattern is None:
        pattern = jacobian_pattern(expr, wrt, givens=givens)
    probe = Probe(expr, wrt, givens)
    data, coloring = sparse_jacobian(expr, wrt, sparsity=pattern, givens=givens, returns="data")
    A = coloring.sparsity
    J = csc_array((probe.function([], data)(), A.indices, A.indptr), A.shape)
    suspects = probe.differing(J, probes, np.random.default_rng(seed))
    found = [(i, j) for i in suspects for j in np.flatnonzero(probe.row(i))]
    known = set(zip(*(part.tolist() for part in A.nonzero()), strict=True))
    missing = [(int(i), int(j)) for i, j in found if (i, j) not in known]
    return np.array(missing, np.int64).reshape(-1, 2)


def one_each(point, wrt):
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
        """Of some variables, everything else given."""
        f = pytensor.function(
            [*variables, *self.inputs], outputs, mode=Mode(linker="py", optimizer=None),
            on_unused_input="ignore",
        )  # fmt: skip
        return lambda *arrays: f(*arrays, *self.values)

    def row(self, i):
        cotangent = np.zeros(self.rows, self.expr.type.dtype)
        cotangent.reshape(-1)[i] = 1
        return np.concatenate([np.ravel(part) for part in self._row(cotangent)])

    def differing(self, J, probes, rng):
        """Rows in which products with random vectors are not those with J, or all."""
        try:
            tangents = [x.type() for x in self.wrt]
            product = self.function(
                tangents, pushforward(self.expr, self.wrt, tangents, disconnected_outputs="ignore")
            )
        except Exception:  # whatever an Op raises that has no second derivatives
            return range(J.shape[0])
        differ = np.zeros(J.shape[0], bool)
        for _ in range(probes):
            parts = [rng.standard_normal(shape) for shape in self.shapes]
            v = np.concatenate([np.ravel(part) for part in parts])
            arrays = [part.astype(x.type.dtype) for part, x in zip(parts, self.wrt, strict=True)]
            error = np.abs(np.ravel(product(*arrays)) - J @ v)
            tolerance = 1e4 * np.finfo(self.expr.type.dtype).eps
            differ |= ~(error <= tolerance * (abs(J) @ np.abs(v)))
        return np.flatnonzero(differ)
