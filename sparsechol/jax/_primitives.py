"""Define the kernels as JAX primitives, with rules to differentiate, transpose and batch them.

Each primitive is one operation of `numeric.operations`, with the same shapes: stored values `a`,
flat panels `l`, vectors `x` of shape (n, k). Every operand may have leading dimensions of a batch;
they broadcast, and some of them may be 1. The factor is an ordinary array, and the analyzed pattern
is a static parameter. An operation NAME has a primitive `NAME_p` and a function `NAME_call`.

`solve` and `logdet` are functions of A, though the kernels compute them from L. Their primitives
take both and move with A alone, so that a derivative costs no more than the pattern of A. `attach`
turns a factor that is at hand into one that moves with A, so that no matrix is factored twice.

A rule in terms of adjoints is one for the inner product ``Re sum(conj(x) y)`` of stored numbers; a
transpose in JAX has the conjugates on both sides. The sweeps are closed under differentiation (see
numeric.derivatives). Every rule here is therefore made of the functions of this module again, and
gives derivatives of every order.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from .._core.numeric.operations import CORE_RANK, NAMES
from ._compat import (
    Primitive,
    ShapedArray,
    Zero,
    define_batching,
    define_jvp,
    define_lowering,
    define_transpose,
    evaluate,
    is_linear,
    lower_function,
    zero_like,
)
from ._lowering import lower_for_cpu, lower_with, options_of, through_callback

# ---- shapes ----


def _core(pattern, letter, columns):
    """Return the shape of one array, see numeric.operations."""
    length = pattern._handle.length(letter)
    return {0: (), 1: (length,), 2: (length, columns)}[CORE_RANK[letter]]


def _lead(aval, letter):
    """Return the dimensions of the batch."""
    return aval.shape[: len(aval.shape) - CORE_RANK[letter]]


def _real(dtype):
    return np.finfo(dtype).dtype


# ---- making primitives ----


def _define(name, operation=None, unused="", lowering=None):
    """Return the primitive of an operation.

    `unused` names operands that stand before the others: the result moves with them, and the kernel
    does not read them. `lowering` is a rule that is given the usual one, and may take its place.
    """
    operation = name if operation is None else operation
    letters, result = NAMES[operation].split(">")
    letters = unused + letters
    primitive = Primitive(f"sparsechol_{name}")

    def abstract(*avals, pattern, dtype, **options):
        columns = next((v.shape[-1] for v, c in zip(avals, letters, strict=True) if c == "x"), 0)
        for aval, letter in zip(avals, letters, strict=True):
            core = _core(pattern, letter, columns)
            wanted = _real(dtype) if letter in "rs" else dtype
            if aval.shape[len(aval.shape) - len(core) :] != core or aval.dtype != wanted:
                raise TypeError(
                    f"{name}: an operand has shape {aval.shape} and type {aval.dtype}, and the"
                    f" pattern, of a matrix of shape {pattern.shape}, needs {core} of {wanted}"
                )
        lead = np.broadcast_shapes(*(_lead(v, c) for v, c in zip(avals, letters, strict=True)))
        kind = _real(dtype) if result in "rs" else dtype
        return ShapedArray((*lead, *_core(pattern, result, columns)), kind)

    def lower(rule, context, *operands, pattern, dtype, **options):
        skip = len(unused)
        context = context.replace(avals_in=context.avals_in[skip:])
        return rule(
            context,
            *operands[skip:],
            operation=operation,
            pattern=pattern,
            options=options_of(**options),
        )

    primitive.def_impl(partial(evaluate, primitive))
    primitive.def_abstract_eval(abstract)
    for rule, platform in (partial(lower_with, through_callback), None), (lower_for_cpu, "cpu"):
        own = partial(lower, rule)
        if lowering is not None:
            own = partial(lowering, own)
        define_lowering(primitive, own, platform=platform)
    define_batching(primitive, partial(_batch, primitive))
    return primitive


def _bind(primitive, pattern, *operands, **options):
    """Call a primitive on values of the type of the first operand."""
    return primitive.bind(*operands, pattern=pattern, dtype=np.dtype(operands[0].dtype), **options)


def _batch(primitive, args, dims, **parameters):
    """Add a leading dimension to each operand, of length 1 where it is not batched."""
    args = [
        jnp.expand_dims(x, 0) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(args, dims, strict=True)
    ]
    return primitive.bind(*args, **parameters), 0


def _batch_columns(primitive, args, dims, **parameters):
    """Put vectors side by side where the matrix is the same for all of them."""
    *matrix, x = args
    if any(d is not None for d in dims[:-1]):
        return _batch(primitive, args, dims, **parameters)
    x = jnp.moveaxis(x, dims[-1], -1)
    *rest, each, count = x.shape
    out = primitive.bind(*matrix, x.reshape(*rest, each * count), **parameters)
    return out.reshape(*out.shape[:-1], each, count), x.ndim - 1


def _moves(tangent):
    """Tell whether a tangent or cotangent is more than a symbolic zero."""
    return type(tangent) is not Zero


def _sum(terms):
    return reduce(jnp.add, terms)


def _unbroadcast(x, aval):
    """Sum over the batch dimensions along which an operand is the same."""
    axes = tuple(i for i, (s, t) in enumerate(zip(x.shape, aval.shape, strict=True)) if s != t)
    return x.sum(axes, keepdims=True) if axes else x


def _transposes(primitive, **rules):
    """Define transposes by adjoints.

    ``rules["_q"](pattern, ct, *others, **options)`` is the adjoint in operand q.
    """

    def transpose(ct, *args, pattern, dtype, **options):
        out: list = [None] * len(args)
        [q] = [q for q, x in enumerate(args) if is_linear(x)]
        if not _moves(ct):
            out[q] = Zero(args[q].aval)
            return out
        others = [x for x in args if not is_linear(x)]
        value = jnp.conj(rules[f"_{q}"](pattern, jnp.conj(ct), *others, **options))
        out[q] = _unbroadcast(value, args[q].aval)
        return out

    define_transpose(primitive, transpose)


def _multilinear(primitive, **rules):
    """Define the derivatives of a primitive that is linear in each operand; see `_transposes`."""

    def jvp(primals, tangents, **parameters):
        out = primitive.bind(*primals, **parameters)
        terms = [
            primitive.bind(*primals[:q], t, *primals[q + 1 :], **parameters)
            for q, t in enumerate(tangents)
            if _moves(t)
        ]
        return out, _sum(terms)

    define_jvp(primitive, jvp)
    _transposes(primitive, **rules)


# ---- maps between arrays: linear ----


gather_p = _define("gather")
scatter_p = _define("scatter")
weigh_p = _define("weigh")
diagonal_p = _define("diagonal")
place_diagonal_p = _define("place_diagonal")
entries_p = _define("entries")
place_entries_p = _define("place_entries")
fold_p = _define("fold")
unfold_p = _define("unfold")


def gather_call(pattern, flat, diagonal=1.0, below=1.0):
    """Gather stored values from flat panels, with weights on and below the diagonal."""
    return _bind(gather_p, pattern, flat, diagonal=diagonal, below=below)


def scatter_call(pattern, a, diagonal=1.0, below=1.0):
    """Scatter stored values into flat panels; the adjoint of `gather`."""
    return _bind(scatter_p, pattern, a, diagonal=diagonal, below=below)


def weigh_call(pattern, flat, diagonal, below):
    """Multiply flat panels by weights on and below the diagonal."""
    return _bind(weigh_p, pattern, flat, diagonal=diagonal, below=below)


def diagonal_call(pattern, flat):
    """Return the real diagonal of flat panels, in the order of A."""
    return _bind(diagonal_p, pattern, flat)


def place_diagonal_call(pattern, rows, dtype):
    """Return flat panels with a diagonal given in the order of A; the adjoint of `diagonal`."""
    return place_diagonal_p.bind(rows, pattern=pattern, dtype=np.dtype(dtype))


def entries_call(pattern, flat):
    """Return the entries of L by column from flat panels."""
    pattern._handle.know_factor(pattern)
    return _bind(entries_p, pattern, flat)


def place_entries_call(pattern, values):
    """Return flat panels from the entries of L; the adjoint of `entries`."""
    pattern._handle.know_factor(pattern)
    return _bind(place_entries_p, pattern, values)


def fold_call(pattern, full, diagonal=1.0, below=1.0):
    """Return stored values as the weighted sum of both triangles, given by column."""
    pattern._handle.know_both_triangles(pattern)
    return _bind(fold_p, pattern, full, diagonal=diagonal, below=below)


def unfold_call(pattern, a, diagonal=1.0, below=1.0):
    """Return both triangles, by column, from stored values; the adjoint of `fold`."""
    pattern._handle.know_both_triangles(pattern)
    return _bind(unfold_p, pattern, a, diagonal=diagonal, below=below)


_multilinear(gather_p, _0=scatter_call)
_multilinear(scatter_p, _0=gather_call)
_multilinear(weigh_p, _0=weigh_call)
_multilinear(entries_p, _0=place_entries_call)
_multilinear(place_entries_p, _0=entries_call)
_multilinear(fold_p, _0=unfold_call)
_multilinear(unfold_p, _0=fold_call)


# ---- products: linear in each operand ----


outer_p = _define("outer")
inner_p = _define("inner")
product_p = _define("product")
sampled_outer_p = _define("sampled_outer")
factor_product_p = _define("factor_product")
factor_outer_p = _define("factor_outer")


def outer_call(pattern, x, y):
    """Return the lower triangle of X Y^H + Y X^H on the panels."""
    return _bind(outer_p, pattern, x, y)


def inner_call(pattern, s, y):
    """Return the lower triangle of S Y on the panels; S is Hermitian, kept by its lower half."""
    return _bind(inner_p, pattern, s, y)


def product_call(pattern, a, x):
    """Return A x."""
    return _bind(product_p, pattern, a, x)


def sampled_outer_call(pattern, x, y):
    """Return the gradient of Re(x^H A y) in the stored values of A."""
    return _bind(sampled_outer_p, pattern, x, y)


def factor_product_call(pattern, l, x, lower, permute):
    """Multiply x by the triangle that `solve_triangular` solves with."""
    return _bind(factor_product_p, pattern, l, x, lower=lower, permute=permute)


def factor_outer_call(pattern, w, x, lower, permute):
    """Return the gradient in L of Re(w^H K x), for the triangle K of `solve_triangular`."""
    return _bind(factor_outer_p, pattern, w, x, lower=lower, permute=permute)


def _outer_adjoint(pattern, m, y):
    return inner_call(pattern, weigh_call(pattern, m, 2.0, 1.0), y)


_multilinear(outer_p, _0=_outer_adjoint, _1=_outer_adjoint)
_multilinear(
    inner_p,
    _0=lambda pattern, z, y: weigh_call(pattern, outer_call(pattern, z, y), 0.5, 1.0),
    _1=lambda pattern, z, s: inner_call(pattern, s, z),
)
_multilinear(
    product_p,
    _0=sampled_outer_call,
    _1=lambda pattern, w, a: product_call(pattern, a, w),
)
_multilinear(sampled_outer_p, _0=product_call, _1=product_call)
define_batching(product_p, partial(_batch_columns, product_p))


def _diagonal_jvp(primals, tangents, **parameters):
    return diagonal_p.bind(*primals, **parameters), diagonal_p.bind(*tangents, **parameters)


def _diagonal_transpose(ct, flat, *, pattern, dtype):
    if not _moves(ct):
        return [Zero(flat.aval)]
    return [_unbroadcast(place_diagonal_call(pattern, ct, dtype), flat.aval)]


def _place_diagonal_jvp(primals, tangents, **parameters):
    values = place_diagonal_p.bind(*primals, **parameters)
    return values, place_diagonal_p.bind(*tangents, **parameters)


def _place_diagonal_transpose(ct, rows, *, pattern, dtype):
    if not _moves(ct):
        return [Zero(rows.aval)]
    return [_unbroadcast(diagonal_call(pattern, ct), rows.aval)]


define_jvp(diagonal_p, _diagonal_jvp)
define_transpose(diagonal_p, _diagonal_transpose)
define_jvp(place_diagonal_p, _place_diagonal_jvp)
define_transpose(place_diagonal_p, _place_diagonal_transpose)


# ---- the factorization and its tangent ----


cholesky_p = _define("cholesky")
ldl_p = _define("ldl")
ldl_signs_p = _define("ldl_signs")
replaced_pivots_p = _define("replaced_pivots")
turn_p = _define("turn")
tangent_p = _define("tangent")
tangent_panels_p = _define("tangent_panels")
adjoint_p = _define("adjoint")


def cholesky_call(pattern, a, accept_weak=False):
    """Return the flat panels of L; all of them are NaN where A is not positive definite."""
    return _bind(cholesky_p, pattern, a, accept_weak=accept_weak)


def ldl_call(pattern, a):
    """Return the flat panels of L with A = L S L^H; all of them are NaN where there is none."""
    return _bind(ldl_p, pattern, a)


def ldl_signs_call(pattern, a, signs, diagonal=0.0, below=0.0):
    """Return the same for pivots with these signs, constants.

    A pivot that is not farther than `diagonal` on its side of zero becomes as large as `below`.
    """
    return _bind(ldl_signs_p, pattern, a, signs, diagonal=diagonal, below=below)


def replaced_pivots_call(pattern, a, signs, diagonal=0.0, below=0.0):
    """Return 1 for each row of A whose pivot `ldl_signs_call` replaces, 0 for the others."""
    return _bind(replaced_pivots_p, pattern, a, signs, diagonal=diagonal, below=below)


def turn_call(pattern, l, x):
    """Return X S on the panels, S the signs of the diagonal of L."""
    return _bind(turn_p, pattern, l, x)


def tangent_call(pattern, l, da):
    """Return the change of L for a change of the stored values of A, without signs."""
    return _bind(tangent_p, pattern, l, da)


def tangent_panels_call(pattern, l, m):
    """Return the change of L for a change of A on the panels."""
    return _bind(tangent_panels_p, pattern, l, m)


def adjoint_call(pattern, l, c):
    """Return the gradient in the entries of A, on the panels, from the gradient in those of L."""
    return _bind(adjoint_p, pattern, l, c)


def _cholesky_jvp(primals, tangents, *, pattern, dtype, **options):
    [a], [da] = primals, tangents
    l = cholesky_call(pattern, a, **options)
    return l, tangent_call(pattern, l, da)


def _ldl_jvp(primals, tangents, *, pattern, dtype):
    [a], [da] = primals, tangents
    l = ldl_call(pattern, a)
    return l, _change_of_factor(pattern, l, da, signed=True)


def _ldl_signs_jvp(primals, tangents, *, pattern, dtype, **options):
    # What replaces pivots is a constant matrix on the diagonal, added to A.
    (a, signs), (da, _) = primals, tangents
    l = ldl_signs_call(pattern, a, signs, **options)
    return l, _change_of_factor(pattern, l, da, signed=True) if _moves(da) else zero_like(l)


def _replaced_pivots_jvp(primals, tangents, *, pattern, dtype, **options):
    out = replaced_pivots_call(pattern, *primals, **options)
    return out, zero_like(out)


def _change_of_factor(pattern, l, da, signed):
    """Return the change of a factor of either kind, see numeric.derivative_sweeps."""
    x = tangent_call(pattern, l, da)
    return turn_call(pattern, l, x) if signed else x


def _turn_jvp(primals, tangents, *, pattern, dtype):
    (l, x), (_, dx) = primals, tangents
    out = turn_call(pattern, l, x)
    return out, turn_call(pattern, l, dx) if _moves(dx) else zero_like(out)


def _tangent_jvp(from_values, primals, tangents, *, pattern, dtype):
    (l, m), (dl, dm) = primals, tangents
    apply = tangent_call if from_values else tangent_panels_call
    x = apply(pattern, l, m)
    if not _moves(dl):
        return x, apply(pattern, l, dm)
    change = -outer_call(pattern, dl, x)
    if _moves(dm):
        change = change + (scatter_call(pattern, dm) if from_values else dm)
    return x, tangent_panels_call(pattern, l, change)


def _adjoint_jvp(primals, tangents, *, pattern, dtype):
    (l, c), (dl, dc) = primals, tangents
    a = adjoint_call(pattern, l, c)
    terms = [dc] if _moves(dc) else []
    if _moves(dl):
        terms.append(-inner_call(pattern, weigh_call(pattern, a, 2.0, 1.0), dl))
    return a, adjoint_call(pattern, l, _sum(terms))


define_jvp(cholesky_p, _cholesky_jvp)
define_jvp(ldl_p, _ldl_jvp)
define_jvp(ldl_signs_p, _ldl_signs_jvp)
define_jvp(replaced_pivots_p, _replaced_pivots_jvp)
define_jvp(turn_p, _turn_jvp)
define_jvp(tangent_p, partial(_tangent_jvp, True))
define_jvp(tangent_panels_p, partial(_tangent_jvp, False))
define_jvp(adjoint_p, _adjoint_jvp)
_transposes(tangent_p, _1=lambda pattern, c, l: gather_call(pattern, adjoint_call(pattern, l, c)))
_transposes(turn_p, _1=lambda pattern, c, l: turn_call(pattern, l, c))
_transposes(tangent_panels_p, _1=lambda pattern, c, l: adjoint_call(pattern, l, c))
_transposes(adjoint_p, _1=lambda pattern, m, l: tangent_panels_call(pattern, l, m))


# ---- a factor that moves with A ----


attach_p = Primitive("sparsechol_attach")


def attach_call(pattern, a, l, signed=False):
    """Return l, the factor of A, as a function of a."""
    return attach_p.bind(a, l, pattern=pattern, signed=signed)


def _attached(a, l, *, pattern, signed):
    lead = np.broadcast_shapes(a.shape[:-1], l.shape[:-1])
    return jnp.broadcast_to(l, (*lead, l.shape[-1]))


def _attach_abstract(a, l, *, pattern, signed):
    lead = np.broadcast_shapes(a.shape[:-1], l.shape[:-1])
    return ShapedArray((*lead, l.shape[-1]), l.dtype)


def _attach_jvp(primals, tangents, *, pattern, signed):
    a, l = primals
    out = attach_call(pattern, a, l, signed)
    da, _ = tangents
    if not _moves(da):
        return out, zero_like(out)
    return out, _change_of_factor(pattern, out, da, signed)


def _lower_attach(context, *operands, **parameters):
    return lower_function(partial(_attached, **parameters), multiple_results=False)(
        context, *operands
    )


attach_p.def_impl(_attached)
attach_p.def_abstract_eval(_attach_abstract)
define_lowering(attach_p, _lower_attach)
define_batching(attach_p, partial(_batch, attach_p))
define_jvp(attach_p, _attach_jvp)


# ---- what is computed from a factor ----


def _gathered_inverse(l, *, pattern, dtype, **weights):
    return gather_call(pattern, partial_inverse_call(pattern, l), **weights)


def _lower_gathered_inverse(at_once, context, l, **parameters):
    """One matrix by two operations, of which a program may need the first one anyway."""
    if context.avals_in[0].ndim > 1:
        return at_once(context, l, **parameters)
    by_two = lower_function(partial(_gathered_inverse, **parameters), multiple_results=False)
    return by_two(context, l)


partial_inverse_p = _define("partial_inverse")
gathered_inverse_p = _define("gathered_inverse", lowering=_lower_gathered_inverse)
sandwich_p = _define("sandwich")
logdet_p = _define("logdet", unused="a")
solve_p = _define("solve", unused="a")
solve_triangular_p = _define("solve_triangular")
rcond_p = _define("rcond")


def partial_inverse_call(pattern, l):
    """Return A^-1 on the panels; the diagonal blocks are full."""
    return _bind(partial_inverse_p, pattern, l)


def gathered_inverse_call(pattern, l, diagonal=1.0, below=1.0):
    """Return A^-1 on the pattern of A, with weights: `gather` of `partial_inverse`.

    Of a batch no inverse on the panels leaves the cache.
    """
    return _bind(gathered_inverse_p, pattern, l, diagonal=diagonal, below=below)


def sandwich_call(pattern, l, s, x):
    """Return A^-1 M A^-1 on the panels, from s = `partial_inverse` and x = `tangent` of M."""
    return _bind(sandwich_p, pattern, l, s, x)


def logdet_call(pattern, a, l, signed=False):
    """Return log |det A|."""
    return _bind(logdet_p, pattern, a, l, signed=signed)


def solve_call(pattern, a, l, b, signed=False):
    """Return A^-1 b."""
    return _bind(solve_p, pattern, a, l, b, signed=signed)


def solve_triangular_call(pattern, l, b, lower, permute):
    """Return L^-1 P b, or P^T L^-H b; without `permute` all is in the order of L."""
    return _bind(solve_triangular_p, pattern, l, b, lower=lower, permute=permute)


def rcond_call(pattern, l, a):
    """Return an estimate of the reciprocal condition number, which has no derivative."""
    return _bind(rcond_p, pattern, jax.lax.stop_gradient(l), jax.lax.stop_gradient(a))


def _partial_inverse_jvp(primals, tangents, *, pattern, dtype):
    [l], [dl] = primals, tangents
    s = partial_inverse_call(pattern, l)
    return s, -sandwich_call(pattern, l, s, dl)


def _gathered_inverse_jvp(primals, tangents, *, pattern, dtype, **weights):
    [l], [dl] = primals, tangents
    s = partial_inverse_call(pattern, l)
    change = -sandwich_call(pattern, l, s, dl)
    return gather_call(pattern, s, **weights), gather_call(pattern, change, **weights)


def _sandwich_jvp(primals, tangents, *, pattern, dtype):
    (l, s, x), (dl, ds, dx) = primals, tangents
    h = sandwich_call(pattern, l, s, x)
    out = [sandwich_call(pattern, l, s, dx)] if _moves(dx) else []
    terms = [inner_call(pattern, 2 * ds, x)] if _moves(ds) else []
    if _moves(dl):
        root = diagonal_call(pattern, l)
        change = diagonal_call(pattern, x) * diagonal_call(pattern, dl)
        terms.append(-place_diagonal_call(pattern, 4 * change / abs(root) ** 3, dtype))
        terms.append(-inner_call(pattern, 2 * h, dl))
    if terms:
        out.append(weigh_call(pattern, adjoint_call(pattern, l, _sum(terms)), 1.0, 0.5))
    return h, _sum(out)


def _sandwich_adjoint(pattern, m, l, s):
    z = tangent_panels_call(pattern, l, weigh_call(pattern, m, 1.0, 0.5))
    root = diagonal_call(pattern, l)
    ends = place_diagonal_call(pattern, 2 * diagonal_call(pattern, z) / (root * abs(root)), m.dtype)
    return ends + inner_call(pattern, 2 * s, z)


def _differentiate_logdet(primitive, gradient):
    """Define the derivative of log det A, given its gradient in the stored values of A."""

    def jvp(primals, tangents, **parameters):
        value, da = primitive.bind(*primals, **parameters), tangents[0]
        if not _moves(da):
            return value, zero_like(value)
        del parameters["dtype"]
        g = gradient(parameters.pop("pattern"), *primals, **parameters)
        return value, jnp.sum(jnp.conj(g) * da, axis=-1).real

    define_jvp(primitive, jvp)


def _logdet_gradient(pattern, a, l, signed):
    return gathered_inverse_call(pattern, attach_call(pattern, a, l, signed), 1.0, 2.0)


def _differentiate_solve(primitive):
    """Define the rules of A^-1 b, where b is the last operand and the values of A are the first."""

    def jvp(primals, tangents, **parameters):
        (*matrix, _), (da, *_, db) = primals, tangents
        x = primitive.bind(*primals, **parameters)
        terms = [db] if _moves(db) else []
        if _moves(da):
            terms.append(-product_call(parameters["pattern"], da, x))
        if not terms:
            return x, zero_like(x)
        return x, primitive.bind(*matrix, _sum(terms), **parameters)

    define_jvp(primitive, jvp)
    define_batching(primitive, partial(_batch_columns, primitive))


def _other(form):
    """Return the options of the other triangle, that of the adjoint."""
    return form | {"lower": not form["lower"]}


def _differentiate_triangle(solve, product, outer):
    """Define the rules of solves with a triangle, of products with it, and of its gradients."""

    def jvp(primals, tangents, *, pattern, dtype, **form):
        (t, b), (dt, db) = primals, tangents
        x = _bind(solve, pattern, t, b, **form)
        terms = [db] if _moves(db) else []
        if _moves(dt):
            terms.append(-_bind(product, pattern, dt, x, **form))
        return x, _bind(solve, pattern, t, _sum(terms), **form)

    define_jvp(solve, jvp)
    _transposes(solve, _1=lambda pattern, c, t, **form: _bind(solve, pattern, t, c, **_other(form)))
    _multilinear(
        product,
        _0=partial(_bind, outer),
        _1=lambda pattern, w, t, **form: _bind(product, pattern, t, w, **_other(form)),
    )
    _multilinear(
        outer,
        _0=partial(_bind, product),
        _1=lambda pattern, c, w, **form: _bind(product, pattern, c, w, **_other(form)),
    )
    define_batching(solve, partial(_batch_columns, solve))
    define_batching(product, partial(_batch_columns, product))


define_jvp(partial_inverse_p, _partial_inverse_jvp)
define_jvp(gathered_inverse_p, _gathered_inverse_jvp)
define_jvp(sandwich_p, _sandwich_jvp)
_transposes(sandwich_p, _2=_sandwich_adjoint)
_transposes(
    solve_p, _2=lambda pattern, c, a, l, signed: solve_call(pattern, a, l, c, signed=signed)
)
_differentiate_logdet(logdet_p, _logdet_gradient)
_differentiate_solve(solve_p)
_differentiate_triangle(solve_triangular_p, factor_product_p, factor_outer_p)


# ---- triangles that are no factors ----


csc_triangle_solve_p = _define("csc_triangle_solve")
csc_triangle_product_p = _define("csc_triangle_product")
csc_triangle_outer_p = _define("csc_triangle_outer")


def csc_triangle_solve_call(pattern, t, b, lower):
    """Return T^-1 b, or T^-H b, for a lower triangle T by column."""
    return _bind(csc_triangle_solve_p, pattern, t, b, lower=lower)


def csc_triangle_product_call(pattern, t, x, lower):
    """Return T x, or T^H x."""
    return _bind(csc_triangle_product_p, pattern, t, x, lower=lower)


def csc_triangle_outer_call(pattern, w, x, lower):
    """Return the gradient of Re(w^H T x), or Re(w^H T^H x), in the entries of T."""
    return _bind(csc_triangle_outer_p, pattern, w, x, lower=lower)


_differentiate_triangle(csc_triangle_solve_p, csc_triangle_product_p, csc_triangle_outer_p)


# ---- single precision in, double precision inside ----


promoted_logdet_p = _define("promoted_logdet")
promoted_solve_p = _define("promoted_solve")
promoted_partial_inverse_p = _define("promoted_partial_inverse")
promoted_sandwich_p = _define("promoted_sandwich")


def promoted_logdet_call(pattern, a, **options):
    """Return log det A; the options are those of `cholesky_call`."""
    return _bind(promoted_logdet_p, pattern, a, **options)


def promoted_solve_call(pattern, a, b, **options):
    """Return A^-1 b."""
    return _bind(promoted_solve_p, pattern, a, b, **options)


def promoted_partial_inverse_call(pattern, a, diagonal=1.0, below=1.0, **options):
    """Return A^-1 on the pattern of A, with weights on and below the diagonal."""
    return _bind(promoted_partial_inverse_p, pattern, a, diagonal=diagonal, below=below, **options)


def promoted_sandwich_call(pattern, a, m, diagonal=1.0, below=1.0, **options):
    """Return A^-1 M A^-1 on the pattern of A, with weights.

    Derivatives in A are in single precision.
    """
    return _bind(promoted_sandwich_p, pattern, a, m, diagonal=diagonal, below=below, **options)


def _promoted_partial_inverse_jvp(primals, tangents, *, pattern, dtype, **options):
    [a], [da] = primals, tangents
    s = promoted_partial_inverse_call(pattern, a, **options)
    return s, -promoted_sandwich_call(pattern, a, da, **options)


def _promoted_sandwich_jvp(primals, tangents, *, pattern, dtype, **options):
    (a, m), (da, dm) = primals, tangents
    h = promoted_sandwich_call(pattern, a, m, **options)
    terms = [promoted_sandwich_call(pattern, a, dm, **options)] if _moves(dm) else []
    if _moves(da):
        terms.append(jax.jvp(lambda a: _sandwiched(pattern, a, m, **options), (a,), (da,))[1])
    return h, _sum(terms)


def _sandwiched(pattern, a, m, diagonal, below, **options):
    l = cholesky_call(pattern, a, **options)
    h = sandwich_call(pattern, l, partial_inverse_call(pattern, l), tangent_call(pattern, l, m))
    return gather_call(pattern, h, diagonal, below)


def _promoted_sandwich_adjoint(pattern, c, a, diagonal, below, **options):
    m = gather_call(pattern, scatter_call(pattern, c, diagonal, below), 1.0, 0.5)
    return promoted_sandwich_call(pattern, a, m, 1.0, 2.0, **options)


define_jvp(promoted_partial_inverse_p, _promoted_partial_inverse_jvp)
define_jvp(promoted_sandwich_p, _promoted_sandwich_jvp)
_transposes(
    promoted_solve_p,
    _1=lambda pattern, c, a, **options: promoted_solve_call(pattern, a, c, **options),
)
_transposes(promoted_sandwich_p, _1=_promoted_sandwich_adjoint)
_differentiate_logdet(
    promoted_logdet_p, partial(promoted_partial_inverse_call, diagonal=1.0, below=2.0)
)
_differentiate_solve(promoted_solve_p)


# ---- congruences of rectangular matrices ----


gram_p = _define("gram")
gram_rows_p = _define("gram_rows")
gram_weights_p = _define("gram_weights")


def gram_call(pattern, a, w, b):
    """Return the packed values of (A^H W B + B^H W A) / 2."""
    return _bind(gram_p, pattern, a, w, b)


def gram_rows_call(pattern, w, b, x):
    """Return the gradient of Re <x, gram(a, w, b)> in the entries of A."""
    return _bind(gram_rows_p, pattern, w, b, x)


def gram_weights_call(pattern, a, b, x):
    """Return the gradient of Re <x, gram(a, w, b)> in the weights."""
    return _bind(gram_weights_p, pattern, a, b, x)


_multilinear(
    gram_p,
    _0=lambda pattern, x, w, b: gram_rows_call(pattern, w, b, x),
    _1=lambda pattern, x, a, b: gram_weights_call(pattern, a, b, x),
    _2=lambda pattern, x, a, w: gram_rows_call(pattern, w, a, x),
)
_multilinear(
    gram_rows_p,
    _0=lambda pattern, a, b, x: gram_weights_call(pattern, a, b, x),
    _1=lambda pattern, a, w, x: gram_rows_call(pattern, w, a, x),
    _2=lambda pattern, a, w, b: gram_call(pattern, a, w, b),
)
_multilinear(
    gram_weights_p,
    _0=lambda pattern, w, b, x: gram_rows_call(pattern, w, b, x),
    _1=lambda pattern, w, a, x: gram_rows_call(pattern, w, a, x),
    _2=lambda pattern, w, a, b: gram_call(pattern, a, w, b),
)
