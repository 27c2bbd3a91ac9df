"""The kernels as JAX primitives, with the rules that differentiate, transpose and batch them.

Each primitive is one operation of `numeric.operations`, with the same shapes: stored values `a`,
flat panels `l`, vectors `x` of shape (n, k), each with as many leading dimensions of a batch, of
which some may be 1. The factor is an ordinary array, the analyzed pattern a static parameter.

Two things are functions of A though they are computed from L: `solve` and `logdet` take both and
move with A alone, at the cost of A's pattern. `attach` makes of a factor that is at hand one that
moves with A, so that nothing is factored twice. In this module a rule in terms of adjoints is one
for the inner product ``Re sum(conj(x) y)`` of stored numbers; a transpose in JAX has the conjugates
on both sides. The sweeps are closed under differentiation (see numeric.derivatives), so that every
rule here is made of the functions of this module again, for derivatives of every order.
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
    """Shape of one array, see numeric.operations."""
    length = pattern._handle.length(letter)
    return {0: (), 1: (length,), 2: (length, columns)}[CORE_RANK[letter]]


def _lead(aval, letter):
    """Dimensions of the batch."""
    return aval.shape[: len(aval.shape) - CORE_RANK[letter]]


def _real(dtype):
    return np.finfo(dtype).dtype


# ---- making primitives ----


def _define(name, operation=None, unused=""):
    """A primitive of an operation, preceded by operands that it moves with but does not read."""
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
    define_lowering(primitive, partial(lower, partial(lower_with, through_callback)))
    define_lowering(primitive, partial(lower, lower_for_cpu), platform="cpu")
    define_batching(primitive, partial(_batch, primitive))
    return primitive


def _bind(primitive, pattern, *operands, **options):
    """Call a primitive whose type is that of the operands that are not real by nature."""
    return primitive.bind(*operands, pattern=pattern, dtype=np.dtype(operands[0].dtype), **options)


def _batch(primitive, args, dims, **parameters):
    """One more leading dimension, of length 1 where an operand has none."""
    args = [
        jnp.expand_dims(x, 0) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(args, dims, strict=True)
    ]
    return primitive.bind(*args, **parameters), 0


def _batch_columns(primitive, args, dims, **parameters):
    """Vectors of one and the same matrix are taken side by side."""
    *matrix, x = args
    if any(d is not None for d in dims[:-1]):
        return _batch(primitive, args, dims, **parameters)
    x = jnp.moveaxis(x, dims[-1], -1)
    *rest, each, count = x.shape
    out = primitive.bind(*matrix, x.reshape(*rest, each * count), **parameters)
    return out.reshape(*out.shape[:-1], each, count), x.ndim - 1


def _moves(tangent):
    return type(tangent) is not Zero


def _sum(terms):
    return reduce(jnp.add, terms)


def _unbroadcast(x, aval):
    """Sum over the dimensions of a batch along which an operand is the same."""
    axes = tuple(i for i, (s, t) in enumerate(zip(x.shape, aval.shape, strict=True)) if s != t)
    return x.sum(axes, keepdims=True) if axes else x


def _transposes(primitive, **rules):
    """Transposes from adjoints: rules[_q](pattern, ct, *others, **options) for operand q."""

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
    """Derivatives of a primitive that is linear in each operand; `rules` as for `_transposes`."""

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


_gather = _define("gather")
_scatter = _define("scatter")
_weigh = _define("weigh")
_diagonal = _define("diagonal")
_place_diagonal = _define("place_diagonal")
_entries = _define("entries")
_place_entries = _define("place_entries")
_fold = _define("fold")
_unfold = _define("unfold")


def gather(pattern, flat, diagonal=1.0, below=1.0):
    """Stored values from flat panels, with weights on and below the diagonal."""
    return _bind(_gather, pattern, flat, diagonal=diagonal, below=below)


def scatter(pattern, a, diagonal=1.0, below=1.0):
    """Flat panels from stored values; the adjoint of `gather`."""
    return _bind(_scatter, pattern, a, diagonal=diagonal, below=below)


def weigh(pattern, flat, diagonal, below):
    """Flat panels with weights on and below the diagonal."""
    return _bind(_weigh, pattern, flat, diagonal=diagonal, below=below)


def diagonal(pattern, flat):
    """Diagonal of flat panels in the order of A, real."""
    return _bind(_diagonal, pattern, flat)


def place_diagonal(pattern, rows, dtype):
    """Flat panels with this diagonal, in the order of A; the adjoint of `diagonal`."""
    return _place_diagonal.bind(rows, pattern=pattern, dtype=np.dtype(dtype))


def entries(pattern, flat):
    """Entries of L by column from flat panels."""
    pattern._handle.know_factor(pattern)
    return _bind(_entries, pattern, flat)


def place_entries(pattern, values):
    """Flat panels from entries of L; the adjoint of `entries`."""
    pattern._handle.know_factor(pattern)
    return _bind(_place_entries, pattern, values)


def fold(pattern, full, diagonal=1.0, below=1.0):
    """Stored values from both triangles, by column: their weighed sum."""
    pattern._handle.know_both_triangles(pattern)
    return _bind(_fold, pattern, full, diagonal=diagonal, below=below)


def unfold(pattern, a, diagonal=1.0, below=1.0):
    """Both triangles, by column, from stored values; the adjoint of `fold`."""
    pattern._handle.know_both_triangles(pattern)
    return _bind(_unfold, pattern, a, diagonal=diagonal, below=below)


_multilinear(_gather, _0=scatter)
_multilinear(_scatter, _0=gather)
_multilinear(_weigh, _0=weigh)
_multilinear(_entries, _0=place_entries)
_multilinear(_place_entries, _0=entries)
_multilinear(_fold, _0=unfold)
_multilinear(_unfold, _0=fold)


# ---- products: linear in each operand ----


_outer = _define("outer")
_inner = _define("inner")
_product = _define("product")
_sampled_outer = _define("sampled_outer")
_factor_product = _define("factor_product")
_factor_outer = _define("factor_outer")


def outer(pattern, x, y):
    """Lower triangle of X Y^H + Y X^H on the panels."""
    return _bind(_outer, pattern, x, y)


def inner(pattern, s, y):
    """Lower triangle of S Y on the panels, S Hermitian from its lower triangle."""
    return _bind(_inner, pattern, s, y)


def product(pattern, a, x):
    """A x."""
    return _bind(_product, pattern, a, x)


def sampled_outer(pattern, x, y):
    """Gradient of Re(x^H A y) in the stored values of A."""
    return _bind(_sampled_outer, pattern, x, y)


def factor_product(pattern, l, x, lower, permute):
    """The triangle that `solve_triangular` solves with times x."""
    return _bind(_factor_product, pattern, l, x, lower=lower, permute=permute)


def factor_outer(pattern, w, x, lower, permute):
    """Gradient of Re(w^H K x) in L, where K is the triangle that `solve_triangular` solves with."""
    return _bind(_factor_outer, pattern, w, x, lower=lower, permute=permute)


def _outer_adjoint(pattern, m, y):
    return inner(pattern, weigh(pattern, m, 2.0, 1.0), y)


_multilinear(_outer, _0=_outer_adjoint, _1=_outer_adjoint)
_multilinear(
    _inner,
    _0=lambda pattern, z, y: weigh(pattern, outer(pattern, z, y), 0.5, 1.0),
    _1=lambda pattern, z, s: inner(pattern, s, z),
)
_multilinear(
    _product,
    _0=sampled_outer,
    _1=lambda pattern, w, a: product(pattern, a, w),
)
_multilinear(_sampled_outer, _0=product, _1=product)
define_batching(_product, partial(_batch_columns, _product))


def _diagonal_jvp(primals, tangents, **parameters):
    return _diagonal.bind(*primals, **parameters), _diagonal.bind(*tangents, **parameters)


def _diagonal_transpose(ct, flat, *, pattern, dtype):
    if not _moves(ct):
        return [Zero(flat.aval)]
    return [_unbroadcast(place_diagonal(pattern, ct, dtype), flat.aval)]


def _place_diagonal_jvp(primals, tangents, **parameters):
    values = _place_diagonal.bind(*primals, **parameters)
    return values, _place_diagonal.bind(*tangents, **parameters)


def _place_diagonal_transpose(ct, rows, *, pattern, dtype):
    if not _moves(ct):
        return [Zero(rows.aval)]
    return [_unbroadcast(diagonal(pattern, ct), rows.aval)]


define_jvp(_diagonal, _diagonal_jvp)
define_transpose(_diagonal, _diagonal_transpose)
define_jvp(_place_diagonal, _place_diagonal_jvp)
define_transpose(_place_diagonal, _place_diagonal_transpose)


# ---- the factorization and its tangent ----


_cholesky = _define("cholesky")
_tangent = _define("tangent")
_tangent_panels = _define("tangent_panels")
_adjoint = _define("adjoint")


def cholesky(pattern, a):
    """Flat panels of L; all NaN where A is not positive definite."""
    return _bind(_cholesky, pattern, a)


def tangent(pattern, l, da):
    """Change of L that a change of the stored values of A makes."""
    return _bind(_tangent, pattern, l, da)


def tangent_panels(pattern, l, m):
    """The same from the change of A on the panels."""
    return _bind(_tangent_panels, pattern, l, m)


def adjoint(pattern, l, c):
    """Gradient in entries of A on the panels from one in those of L."""
    return _bind(_adjoint, pattern, l, c)


def _cholesky_jvp(primals, tangents, *, pattern, dtype):
    [a], [da] = primals, tangents
    l = cholesky(pattern, a)
    return l, tangent(pattern, l, da)


def _tangent_jvp(from_values, primals, tangents, *, pattern, dtype):
    (l, m), (dl, dm) = primals, tangents
    apply = tangent if from_values else tangent_panels
    x = apply(pattern, l, m)
    if not _moves(dl):
        return x, apply(pattern, l, dm)
    change = -outer(pattern, dl, x)
    if _moves(dm):
        change = change + (scatter(pattern, dm) if from_values else dm)
    return x, tangent_panels(pattern, l, change)


def _adjoint_jvp(primals, tangents, *, pattern, dtype):
    (l, c), (dl, dc) = primals, tangents
    a = adjoint(pattern, l, c)
    terms = [dc] if _moves(dc) else []
    if _moves(dl):
        terms.append(-inner(pattern, weigh(pattern, a, 2.0, 1.0), dl))
    return a, adjoint(pattern, l, _sum(terms))


define_jvp(_cholesky, _cholesky_jvp)
define_jvp(_tangent, partial(_tangent_jvp, True))
define_jvp(_tangent_panels, partial(_tangent_jvp, False))
define_jvp(_adjoint, _adjoint_jvp)
_transposes(_tangent, _1=lambda pattern, c, l: gather(pattern, adjoint(pattern, l, c)))
_transposes(_tangent_panels, _1=lambda pattern, c, l: adjoint(pattern, l, c))
_transposes(_adjoint, _1=lambda pattern, m, l: tangent_panels(pattern, l, m))


# ---- a factor that moves with A ----


_attach = Primitive("sparsechol_attach")


def attach(pattern, a, l):
    """l, the factor of A, as a function of a."""
    return _attach.bind(a, l, pattern=pattern)


def _attached(a, l, *, pattern):
    lead = np.broadcast_shapes(a.shape[:-1], l.shape[:-1])
    return jnp.broadcast_to(l, (*lead, l.shape[-1]))


def _attach_abstract(a, l, *, pattern):
    lead = np.broadcast_shapes(a.shape[:-1], l.shape[:-1])
    return ShapedArray((*lead, l.shape[-1]), l.dtype)


def _attach_jvp(primals, tangents, *, pattern):
    out = attach(pattern, *primals)
    da, _ = tangents
    return out, tangent(pattern, out, da) if _moves(da) else zero_like(out)


def _lower_attach(context, *operands, pattern):
    return lower_function(partial(_attached, pattern=pattern), multiple_results=False)(
        context, *operands
    )


_attach.def_impl(_attached)
_attach.def_abstract_eval(_attach_abstract)
define_lowering(_attach, _lower_attach)
define_batching(_attach, partial(_batch, _attach))
define_jvp(_attach, _attach_jvp)


# ---- what is computed from a factor ----


_partial_inverse = _define("partial_inverse")
_sandwich = _define("sandwich")
_logdet = _define("logdet", unused="a")
_solve = _define("solve", unused="a")
_solve_triangular = _define("solve_triangular")


def partial_inverse(pattern, l):
    """A^-1 on the panels; their squares are full."""
    return _bind(_partial_inverse, pattern, l)


def sandwich(pattern, l, s, x):
    """A^-1 M A^-1 on the panels from s = `partial_inverse` and x = `tangent` of M."""
    return _bind(_sandwich, pattern, l, s, x)


def logdet(pattern, a, l):
    """log det A."""
    return _bind(_logdet, pattern, a, l)


def solve(pattern, a, l, b):
    """A^-1 b."""
    return _bind(_solve, pattern, a, l, b)


def solve_triangular(pattern, l, b, lower, permute):
    """L^-1 P b, or P^T L^-H b; without `permute` all in the order of L."""
    return _bind(_solve_triangular, pattern, l, b, lower=lower, permute=permute)


def _partial_inverse_jvp(primals, tangents, *, pattern, dtype):
    [l], [dl] = primals, tangents
    s = partial_inverse(pattern, l)
    return s, -sandwich(pattern, l, s, dl)


def _sandwich_jvp(primals, tangents, *, pattern, dtype):
    (l, s, x), (dl, ds, dx) = primals, tangents
    h = sandwich(pattern, l, s, x)
    out = [sandwich(pattern, l, s, dx)] if _moves(dx) else []
    terms = [inner(pattern, 2 * ds, x)] if _moves(ds) else []
    if _moves(dl):
        root, change = diagonal(pattern, l), diagonal(pattern, x) * diagonal(pattern, dl)
        terms.append(-place_diagonal(pattern, 4 * change / root**3, dtype))
        terms.append(-inner(pattern, 2 * h, dl))
    if terms:
        out.append(weigh(pattern, adjoint(pattern, l, _sum(terms)), 1.0, 0.5))
    return h, _sum(out)


def _sandwich_adjoint(pattern, m, l, s):
    z = tangent_panels(pattern, l, weigh(pattern, m, 1.0, 0.5))
    root = diagonal(pattern, l)
    ends = place_diagonal(pattern, 2 * diagonal(pattern, z) / root**2, m.dtype)
    return ends + inner(pattern, 2 * s, z)


def _logdet_jvp(primals, tangents, *, pattern, dtype):
    (a, l), (da, _) = primals, tangents
    value = logdet(pattern, a, l)
    if not _moves(da):
        return value, zero_like(value)
    gradient = gather(pattern, partial_inverse(pattern, attach(pattern, a, l)), 1.0, 2.0)
    return value, jnp.sum(jnp.conj(gradient) * da, axis=-1).real


def _solve_jvp(primals, tangents, *, pattern, dtype):
    (a, l, b), (da, _, db) = primals, tangents
    x = solve(pattern, a, l, b)
    terms = [db] if _moves(db) else []
    if _moves(da):
        terms.append(-product(pattern, da, x))
    return x, solve(pattern, a, l, _sum(terms)) if terms else zero_like(x)


def _other(form):
    """The other triangle: that of the adjoint."""
    return form | {"lower": not form["lower"]}


def _triangular(solve, product, outer):
    """Rules of solves with a triangle, of products with it and of gradients in its entries."""

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


define_jvp(_partial_inverse, _partial_inverse_jvp)
define_jvp(_sandwich, _sandwich_jvp)
define_jvp(_logdet, _logdet_jvp)
define_jvp(_solve, _solve_jvp)
_transposes(_sandwich, _2=_sandwich_adjoint)
_transposes(_solve, _2=lambda pattern, c, a, l: solve(pattern, a, l, c))
define_batching(_solve, partial(_batch_columns, _solve))
_triangular(_solve_triangular, _factor_product, _factor_outer)


# ---- triangles that are no factors ----


_csc_triangle_solve = _define("csc_triangle_solve")
_csc_triangle_product = _define("csc_triangle_product")
_csc_triangle_outer = _define("csc_triangle_outer")


def csc_triangle_solve(pattern, t, b, lower):
    """T^-1 b, or T^-H b, for a lower triangle T by column."""
    return _bind(_csc_triangle_solve, pattern, t, b, lower=lower)


def csc_triangle_product(pattern, t, x, lower):
    """T x, or T^H x."""
    return _bind(_csc_triangle_product, pattern, t, x, lower=lower)


def csc_triangle_outer(pattern, w, x, lower):
    """Gradient of Re(w^H T x), or Re(w^H T^H x), in the entries of T."""
    return _bind(_csc_triangle_outer, pattern, w, x, lower=lower)


_triangular(_csc_triangle_solve, _csc_triangle_product, _csc_triangle_outer)


# ---- single precision in, double precision inside ----


_promoted_logdet = _define("promoted_logdet")
_promoted_solve = _define("promoted_solve")
_promoted_partial_inverse = _define("promoted_partial_inverse")
_promoted_sandwich = _define("promoted_sandwich")


def promoted_logdet(pattern, a):
    """log det A."""
    return _bind(_promoted_logdet, pattern, a)


def promoted_solve(pattern, a, b):
    """A^-1 b."""
    return _bind(_promoted_solve, pattern, a, b)


def promoted_partial_inverse(pattern, a, diagonal=1.0, below=1.0):
    """A^-1 on the pattern of A, with weights on and below the diagonal."""
    return _bind(_promoted_partial_inverse, pattern, a, diagonal=diagonal, below=below)


def promoted_sandwich(pattern, a, m, diagonal=1.0, below=1.0):
    """A^-1 M A^-1 on the pattern of A, weighed; derivatives in A are in single precision."""
    return _bind(_promoted_sandwich, pattern, a, m, diagonal=diagonal, below=below)


def _promoted_logdet_jvp(primals, tangents, *, pattern, dtype):
    [a], [da] = primals, tangents
    gradient = promoted_partial_inverse(pattern, a, 1.0, 2.0)
    return promoted_logdet(pattern, a), jnp.sum(jnp.conj(gradient) * da, axis=-1).real


def _promoted_solve_jvp(primals, tangents, *, pattern, dtype):
    (a, b), (da, db) = primals, tangents
    x = promoted_solve(pattern, a, b)
    terms = [db] if _moves(db) else []
    if _moves(da):
        terms.append(-product(pattern, da, x))
    return x, promoted_solve(pattern, a, _sum(terms))


def _promoted_partial_inverse_jvp(primals, tangents, *, pattern, dtype, **weights):
    [a], [da] = primals, tangents
    s = promoted_partial_inverse(pattern, a, **weights)
    return s, -promoted_sandwich(pattern, a, da, **weights)


def _promoted_sandwich_jvp(primals, tangents, *, pattern, dtype, **weights):
    (a, m), (da, dm) = primals, tangents
    h = promoted_sandwich(pattern, a, m, **weights)
    terms = [promoted_sandwich(pattern, a, dm, **weights)] if _moves(dm) else []
    if _moves(da):
        terms.append(jax.jvp(lambda a: _sandwiched(pattern, a, m, **weights), (a,), (da,))[1])
    return h, _sum(terms)


def _sandwiched(pattern, a, m, **weights):
    l = cholesky(pattern, a)
    h = sandwich(pattern, l, partial_inverse(pattern, l), tangent(pattern, l, m))
    return gather(pattern, h, **weights)


def _promoted_sandwich_adjoint(pattern, c, a, diagonal, below):
    m = gather(pattern, scatter(pattern, c, diagonal, below), 1.0, 0.5)
    return promoted_sandwich(pattern, a, m, 1.0, 2.0)


define_jvp(_promoted_logdet, _promoted_logdet_jvp)
define_jvp(_promoted_solve, _promoted_solve_jvp)
define_jvp(_promoted_partial_inverse, _promoted_partial_inverse_jvp)
define_jvp(_promoted_sandwich, _promoted_sandwich_jvp)
_transposes(_promoted_solve, _1=lambda pattern, c, a: promoted_solve(pattern, a, c))
_transposes(_promoted_sandwich, _1=_promoted_sandwich_adjoint)
define_batching(_promoted_solve, partial(_batch_columns, _promoted_solve))
