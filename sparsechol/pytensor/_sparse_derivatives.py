"""Sparse Jacobians and Hessians: a product for each color, and the entries by one index."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.gradient import pullback, pushforward
from pytensor.graph.basic import Variable
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar import upcast
from scipy.sparse import csc_array

from .._scipy.symbolic_factor import analyze
from .._sparsity import linear_maps as choice
from .._sparsity.template_derivatives import (
    plan_hessian,
    plan_jacobian,
    rest_value,
    twice_differentiable,
)
from .._typing import MatrixLike, Mode, OnUnknown, OrderingLike
from ..coloring import Coloring, Templates, color
from ..coloring._modes import BUDGET, MODES, STRUCTURES, cheapest_first
from ..coloring._pattern import coordinates, count, entries_of
from ..coloring._templates import LinearMaps
from ._dense_sums import warn_of_dense_sums
from ._detect import (
    as_expression,
    as_inputs,
    check_cost,
    hessian_pattern,
    jacobian_pattern,
    shape_of,
    start,
)
from ._gram import gram
from ._graphs import at_all, dependents, joined, rebuilt
from ._linear_maps import separable_maps
from ._matrix import SymmetricMatrix, constant
from ._templates import Builder, equations, terms
from ._walk import is_sparse, size

FORMATS = ("csc", "csr", "dense", "values")
Sparsity = MatrixLike | Coloring


def sparse_jacobian(
    expr: Variable | Sequence[Variable],
    wrt: Variable | Sequence[Variable],
    *,
    sparsity: Sparsity | None = None,
    mode: Mode = "auto",
    givens: dict[Variable, ArrayLike] | None = None,
    chunk_size: int | None = None,
    format: Literal["csc", "csr", "dense", "values"] = "csc",
    on_unknown: OnUnknown = "dense",
) -> Any:
    """Build the Jacobian of an expression, from as few products as its sparsity allows.

    Parameters
    ----------
    expr : tensor variable of floats, or sequence of them
        Of any rank; rows are its elements in the order of ``ravel``. A sequence is a list of
        equations: scalars, or arrays that are raveled and joined.
    wrt : tensor variable of floats, or sequence of them
        Of any rank; columns are their elements in the order of ``ravel``.
    sparsity : (m, n) sparse or dense array, or Coloring, optional
        Where there may be entries; by default `jacobian_pattern` finds it. A `Coloring` must be
        direct.
    mode : {'auto', 'forward', 'reverse', 'bidirectional', 'templates'}, optional
        'forward' takes products with columns, by pushforwards. 'reverse' takes products with rows,
        by pullbacks. 'bidirectional' takes some of both. 'templates' takes the expression apart
        into scalar equations, and differentiates those of one form together; what is vectorized
        gets products. 'auto' takes the cheapest that PyTensor can differentiate.
    givens : dict, optional
        Examples of variables whose static shapes are not known; see `jacobian_pattern`.
    chunk_size : int, optional
        Most products to be made at the same time, in a loop that needs less memory; by default
        all. If PyTensor cannot vectorize the graph, products are made one by one.
    format : {'csc', 'csr', 'dense', 'values'}, optional
        A sparse variable in this format, a dense one, or 'values': a pair of the vector of the
        values, in the order of ``coloring.sparsity``, and the `Coloring`, or `Templates` if
        there are no colors; its attribute ``how`` says what is computed. JAX has no sparse
        variables of PyTensor: there take 'dense' or 'values'.
    on_unknown : {'dense', 'raise'}, optional
        See `jacobian_pattern`.

    Returns
    -------
    sparse variable, or tensor variable, or (vector, Coloring or Templates)

    Raises
    ------
    TypeError
        If `expr` or `wrt` are not variables of floats.
    ValueError
        If an option is unknown, a shape is not known, or `sparsity` does not fit. When the graph
        runs: if an array has another shape than the pattern was found for.

    Notes
    -----
    The result can be differentiated like any other variable. A pattern that lacks an entry gives
    wrong values without notice: see `check_pattern`.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(4,))
    >>> values, coloring = scpt.sparse_jacobian(x[1:] * x[:-1], x, format="values")
    >>> coloring.num_colors
    2
    >>> values.eval({x: [1.0, 2.0, 3.0, 4.0]}, mode="FAST_COMPILE")
    array([2., 1., 3., 2., 4., 3.])
    """
    wrt = as_inputs(wrt)
    expr = as_expression(expr)
    check_option("mode", mode, MODES)
    check_option("format", format, FORMATS)
    problem = Problem(expr, wrt, givens, chunk_size, on_unknown)
    found = None
    if sparsity is None and mode in ("auto", "templates"):
        found = problem.by_templates(mode)
    elif mode == "templates":
        raise ValueError("mode='templates' finds the sparsity itself: pass no sparsity")
    values, coloring = found or problem.by_colors(sparsity, mode)
    values = checked(values, wrt, problem.columns)
    return formatted(values, coloring, format)


def sparse_hessian(
    cost: Variable,
    wrt: Variable | Sequence[Variable],
    *,
    sparsity: Sparsity | None = None,
    givens: dict[Variable, ArrayLike] | None = None,
    chunk_size: int | None = None,
    format: Literal["csc", "csr", "dense", "values", "symmetric"] = "csc",
    ordering: OrderingLike = "auto",
    on_unknown: OnUnknown = "dense",
) -> Any:
    """Build the Hessian of a scalar, from as few products as its sparsity allows.

    Parameters
    ----------
    cost : scalar variable of floats
    wrt, givens, chunk_size, on_unknown
        As for `sparse_jacobian`.
    sparsity : (n, n) sparse or dense array, or Coloring, optional
        Where there may be entries, symmetric; by default `hessian_pattern` finds it. A `Coloring`
        must be symmetric and direct.
    format : {'csc', 'csr', 'dense', 'values', 'symmetric'}, optional
        As for `sparse_jacobian`, or 'symmetric': a `SymmetricMatrix`, whose pattern is analyzed
        when the graph is built, for `solve` and `logdet`.
    ordering : optional
        The ordering of the analysis, as for `sparsechol.analyze`.

    Returns
    -------
    sparse variable, or tensor variable, or (vector, Coloring), or SymmetricMatrix

    Raises
    ------
    TypeError, ValueError
        As `sparse_jacobian`, and if `cost` is not a scalar or `sparsity` is not symmetric.

    Notes
    -----
    The columns get a star coloring, and the products are pullbacks of the gradient. Where the
    variables enter by linear maps A x, and that takes fewer products, the Hessian is
    ``A^T W A + R`` with the few products of W and R; ``coloring.how`` of the format 'values' tells.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(3,))
    >>> cost = (x**4).sum() + ((x[1:] - x[:-1]) ** 2).sum()
    >>> H = scpt.sparse_hessian(cost, x, format="symmetric")
    >>> H.values.eval({x: [1.0, 1.0, 1.0]}, mode="FAST_COMPILE")
    array([14., -2., 16., -2., 14.])
    """
    wrt = as_inputs(wrt)
    check_option("format", format, (*FORMATS, "symmetric"))
    check_cost(cost)
    problem = Problem(cost, wrt, givens, chunk_size, on_unknown)
    found = pattern = None
    if sparsity is None:
        found = problem.hessian_by_templates()
    if found is None:
        if sparsity is None:
            warn_of_dense_sums(problem)
        coloring = problem.hessian_coloring(sparsity)
        if sparsity is None and coloring.num_colors > choice.FEW:
            found, pattern = problem.hessian_by_maps(coloring.num_colors, ordering)
        found = found or problem.hessian_by(coloring)
    values, coloring = found
    if format == "symmetric":
        if pattern is None:
            pattern = analyze(csc_array(coloring.sparsity, dtype=np.float64), ordering=ordering)
        zero = coloring.sparsity.nnz
        places = packed(coloring, np.arange(zero), pattern, zero)
        if (places == zero).any():
            values = pt.concatenate([values, pt.zeros(1, values.type.dtype)])
        return SymmetricMatrix(pattern, checked(taken(values, places), wrt, problem.columns))
    return formatted(checked(values, wrt, problem.columns), coloring, format)


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

    def __init__(self, expr, wrt, givens, chunk_size, on_unknown):
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be positive, not {chunk_size}")
        self.expr, self.wrt, self.chunk_size = expr, wrt, chunk_size
        self.givens, self.on_unknown = givens, on_unknown
        self.columns = [shape_of(x, givens or {}) for x in wrt]
        self.rows = shape_of_expression(expr, wrt, givens)

    @property
    def shape(self):
        return size(self.rows), sum(map(size, self.columns))

    @property
    def dtype(self):
        return upcast(self.expr.type.dtype, *(x.type.dtype for x in self.wrt))

    def by_templates(self, mode):
        """Compute the entries by templates, and say how; None if colors are better."""
        apart = equations(self.expr, self.wrt, self.givens, mode == "templates")
        if apart is None:
            return None
        builder = self.builder(apart)
        for template in apart.templates:
            template.live = builder.find_live(template)
        inner, below, coloring = joined([source.array for source in apart.inner]), None, None
        if inner is not None:
            rest = Problem(inner, self.wrt, self.givens, self.chunk_size, self.on_unknown)
            values, coloring = rest.by_colors(None, "auto")
            below = inner, values
        sparsity = plan_jacobian(apart, self.shape[1], coloring and coloring.sparsity)
        return builder.jacobian(below), described(apart, sparsity, coloring)

    def hessian_by_templates(self):
        """Compute the entries of the Hessian by templates, and say how; None if colors are."""
        apart = terms(self.expr, self.wrt, self.givens)
        if apart is None:
            return None
        builder = self.builder(apart)
        for template in apart.templates:
            if twice_differentiable(template):
                template.pairs = builder.find_pairs(template)
        inner = joined([source.array for source in apart.inner])
        rest, values, coloring = rest_value(apart, builder, inner), None, None
        if rest is not None:
            problem = Problem(rest, self.wrt, self.givens, self.chunk_size, self.on_unknown)
            values, coloring = problem.hessian(None)
        sparsity = plan_hessian(apart, self.shape[1], coloring and coloring.sparsity)
        return builder.hessian(values), described(apart, sparsity, coloring)

    def builder(self, apart):
        """Make what builds the graphs of templates."""
        return Builder(apart, joined(self.wrt), self.dtype, self.on_unknown)

    def hessian(self, sparsity):
        """Compute the entries of the Hessian by products, and return them and the coloring."""
        return self.hessian_by(self.hessian_coloring(sparsity))

    def hessian_coloring(self, sparsity):
        """Find the pattern of the Hessian, and color it."""
        if sparsity is None:
            sparsity = hessian_pattern(
                self.expr, self.wrt, givens=self.givens, on_unknown=self.on_unknown
            )
        n = self.shape[1]
        [coloring] = colorings(sparsity, "symmetric", (n, n))
        return coloring

    def hessian_by(self, coloring):
        """Compute the entries of the Hessian by the products of a coloring."""
        return taken(self.hessian_products(coloring), places_in(coloring)), coloring

    def hessian_by_maps(self, most, ordering):
        """Compute the entries of the Hessian as A^T W A + R, where the variables enter by A x.

        Returns
        -------
        found : (entries, LinearMaps) or None
            None if there are no such maps, or more products than half of `most`.
        pattern : SymbolicFactor or None
        """
        options = self.givens, self.chunk_size, self.on_unknown
        found = separable_maps(self, lambda x: shape_of_expression(x, self.wrt, self.givens))
        if found is None:
            return None, None
        cut, pattern_of_w = found
        rest = Problem(cut.outer, self.wrt, *options)
        rest_coloring = rest.hessian_coloring(None)
        weights = Problem(cut.outer, cut.placeholders, *options)
        weight_coloring = weights.hessian_coloring(pattern_of_w)
        if 2 * (rest_coloring.num_colors + weight_coloring.num_colors) >= most:
            return None, None
        blocks = choice.blocks_of(pattern_of_w)
        try:
            a, by_column = Problem(cut.joined, self.wrt, *options).by_colors(None, "auto")
            A, place = choice.rows_of(by_column.sparsity, blocks.ravel())
            G = gram(A, rest_coloring.sparsity, block=blocks.shape[1], ordering=ordering)
        except (ValueError, OverflowError, NotImplementedError):
            return None, None  # no products with columns, or blocks that make the product dense
        (r, _), (w, _) = rest.hessian_by(rest_coloring), weights.hessian_by(weight_coloring)
        r, w = cut.put_back([r, w])
        r = with_zeros(r, packed_places(rest_coloring, G._of_b))
        w = with_zeros(w, choice.places_of_blocks(weight_coloring.sparsity, blocks))
        values = G.values(taken(a, place), w, r).values
        whole, place = choice.both_triangles(G.pattern.indptr, G.pattern.indices)
        words = LinearMaps(whole, tuple(cut.sizes), rest_coloring)
        return (taken(values, place), words), G.pattern

    def by_colors(self, sparsity, mode):
        """Compute the entries by products, and return them and the coloring."""
        if sparsity is None:
            sparsity = jacobian_pattern(
                self.expr, self.wrt, givens=self.givens, on_unknown=self.on_unknown
            )
        return self.jacobian(colorings(sparsity, mode, self.shape))

    def jacobian(self, candidates):
        """Compute the entries by the first coloring whose products PyTensor can build."""
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
        """Build all products in one vector, those with columns first."""
        if not coloring.sparsity.nnz:
            return pt.zeros(0, self.dtype)
        both = coloring._both
        if coloring.structure == "row":
            parts = [self.with_rows(both[0])]
        else:
            parts = [self.with_columns(both[0]), *map(self.with_rows, both[1:])]
        parts = [part for part in parts if part is not None]
        return parts[0] if len(parts) == 1 else pt.concatenate(parts)

    def with_columns(self, colors):
        """Build products with the sum of the columns of each color; None if there are no colors."""
        if not count(colors):
            return None
        expr, z = in_one_variable(self.expr, self.wrt, self.columns)
        _, moving = dependents([expr], [z])
        if any(map(is_sparse, moving)):
            raise NotImplementedError(
                "PyTensor's pushforwards through sparse variables are wrong: pass mode='reverse'"
            )
        tangent = z.type()
        product = pushforward(
            expr, z, tangent, disconnected_outputs="ignore", return_disconnected="zero"
        )
        return self.flat([product], tangent, self.seeds(colors, z), count(colors))

    def with_rows(self, colors):
        """Build products with the sum of the rows of each color; None if there are no colors."""
        if not count(colors):
            return None
        [expr] = rebuilt([self.expr], {x: x for x in self.wrt})
        cotangent = expr.type()
        products = pullback(expr, self.wrt, cotangent, disconnected_inputs="ignore")
        seeds = directions(colors, self.rows, expr.type.dtype)
        return self.flat(products, cotangent, seeds, count(colors))

    def hessian_products(self, coloring):
        """Build products of the Hessian with the sum of the columns of each color."""
        if not coloring.sparsity.nnz:
            return pt.zeros(coloring.sparsity.shape[0] * coloring.num_colors, self.dtype)
        cost, z = in_one_variable(self.expr, self.wrt, self.columns)
        g = pytensor.grad(cost, z, disconnected_inputs="ignore")
        tangent = z.type()
        product = pullback(g, z, tangent, disconnected_inputs="ignore")
        seeds = self.seeds(coloring.colors, z)
        return self.flat([product], tangent, seeds, coloring.num_colors)

    def seeds(self, colors, z):
        """Make the direction of each color, in arrays of the shape of z."""
        [shape] = self.columns if len(self.columns) == 1 else [(self.shape[1],)]
        return directions(colors, shape, z.type.dtype)

    def flat(self, products, variable, seeds, k):
        """Stack the products for all seeds in one vector, color by color."""
        found = at_all(products, [variable], [seeds], k, self.chunk_size)
        found = [x.reshape((k, -1)) if x.type.ndim != 2 else x for x in found]
        together = found[0] if len(found) == 1 else pt.concatenate(found, axis=1)
        return together.ravel()


def described(apart, sparsity, coloring):
    """Say how a matrix is made by templates."""
    counts = tuple(len(t) for t in apart.levels[-1].templates if t.live or t.pairs)
    return Templates(sparsity, counts, coloring)


def in_one_variable(expr, wrt, shapes):
    """Return an expression as a function of one variable, and that variable.

    PyTensor's pushforwards in several variables are wrong: it takes them as pullbacks of gradients
    in all variables, and leaves out what one gradient gives another of which it is a part.
    """
    if len(wrt) == 1:
        return rebuilt([expr], {wrt[0]: wrt[0]})[0], wrt[0]
    z = pt.concatenate([x.ravel() for x in wrt])
    ends = np.cumsum([0, *map(size, shapes)]).tolist()
    parts = [
        z[begin:end].reshape(shape).astype(x.type.dtype)
        for x, shape, begin, end in zip(wrt, shapes, ends, ends[1:], strict=False)
    ]
    return rebuilt([expr], dict(zip(wrt, parts, strict=True)))[0], z


def directions(colors, shape, dtype):
    """Make an array for each color, with ones where that color is."""
    k = count(colors)
    seeds = (colors == np.arange(k)[:, None]).astype(dtype)
    return constant(seeds.reshape(k, *shape))


def shape_of_expression(expr, wrt, givens):
    """Find the shape of an expression, from static shapes and examples."""
    if None not in expr.type.shape:
        return expr.type.shape
    walk = start(wrt, givens, "dense")
    walk.run([expr])
    return walk.shape(expr)


# ---- colors ----


def colorings(sparsity, mode, shape):
    """List the colorings to try, the best one first."""
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
    """Check that the coloring of the user can be used, and return it."""
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
    """Find each entry of the pattern among the products, color by color."""
    place = coloring._recovery.place
    if coloring.structure == "row":
        return place
    m = coloring.sparsity.shape[0]
    k = count(coloring._both[0])
    return np.where(place < m * k, place % max(k, 1) * m + place // max(k, 1), place)


def packed(coloring, places, pattern, zero):
    """Find each stored value of an analyzed pattern; `zero` where the Hessian has no entry."""
    lower, place = coloring._places_in(pattern)
    out = np.full(len(pattern.indices), zero)
    out[place] = places[lower]
    return out


def packed_places(coloring, pattern):
    """Find each value of a packed pattern among the entries of a coloring; -1 for none."""
    lower, where = coloring._places_in(pattern)
    places = np.full(len(pattern.indices), -1)
    places[where] = lower
    return places


def with_zeros(values, places):
    """Take the elements at constant places; zero where a place is negative."""
    if (places < 0).any():
        values = pt.concatenate([values, pt.zeros(1, values.type.dtype)])
    return values[constant(places)]


def taken(flat, places):
    """Take the elements at constant places; where some were taken before, both at once."""
    flat, before = getattr(flat.tag, "taken", (flat, None))
    places = places if before is None else before[places]
    out = flat[constant(places.astype(np.int64))]
    out.tag.taken = flat, places
    return out


# ---- results ----


def formatted(values, coloring, format):
    """Make the matrix with these values, by column, on the pattern of a coloring."""
    A = coloring.sparsity
    if format == "values":
        return values, coloring
    if format == "dense":
        row, column = coordinates(A)
        zeros = pt.zeros(A.shape, values.type.dtype)
        out = pt.set_subtensor(zeros[constant(row), constant(column)], values)
    elif format == "csr":
        place = csc_array((np.arange(A.nnz), A.indices, A.indptr), shape=A.shape).tocsr()
        out = sparse_variable(ps.CSR, taken(values, place.data), place)
    else:
        out = sparse_variable(ps.CSC, values, A)
    out.tag.how = coloring.how
    return out


def sparse_variable(build, values, A):
    """Make a sparse variable on a known pattern."""
    parts = (A.indices, A.indptr, np.array(A.shape))
    out = build(values, *(pt.constant(part.astype(np.int32)) for part in parts))
    out.type = out.type.clone(shape=A.shape)
    return out


def checked(data, variables, shapes):
    """Add a check that the arrays have the shapes that the pattern was found for."""
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
    """Refuse a value that is not allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, not {value!r}")
