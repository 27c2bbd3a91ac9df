"""The kernels as PyTensor Ops, with the rules that differentiate them.

Each Op is one operation of `_core.numeric.operations` on one analyzed pattern. The arrays are those
of that module: stored values `a`, flat panels `l`, vectors `x` of shape (n, k), all of them real.
The factor is an ordinary vector. The pattern is a property of the Op and equal by content: Ops of
equal patterns merge, and no pattern is a constant of the graph. An operand with leading dimensions
makes a batch of an Op, which `Blockwise` runs.

Two Ops are functions of A although they are computed from L. `LogDet` and `Solve` take both and
have derivatives in A alone, which cost as much as the pattern of A. The other Ops have derivatives
in L, and through `Factor` in A. The kernels are closed under differentiation (see
`_core.numeric.derivatives`): every rule here is made of the functions of this module again, and so
derivatives of every order exist.
"""

from functools import reduce
from operator import add
from typing import ClassVar

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.scalar import upcast
from pytensor.tensor.blockwise import Blockwise

from .._core.numeric.operations import (
    ACCEPT_WEAK,
    CODES,
    CORE_RANK,
    LOWER,
    NAMES,
    PERMUTE,
    SIGNED,
)
from .._core.parallel.threads import thread_count

DTYPES = ("float32", "float64")
RESIZED = (
    "the pattern is analyzed once, when the graph is built; for data of another size build the"
    " graph (the PyMC model) again"
)


class Differentiable(Op):
    """An Op with one result, whose derivatives are `adjoints` and `tangents`."""

    fixed: ClassVar[tuple[int, ...]] = ()  # operands that are read and have no derivative
    core_ranks: ClassVar[tuple[int, ...]]  # numbers of dimensions of the operands of one matrix

    def __call__(self, *operands, **kwargs):
        """Apply the Op, to each element of a batch where an operand has leading dimensions."""
        operands = as_floats(*operands)
        ranks = zip(operands, self.core_ranks, strict=True)
        if any(x.type.ndim > rank for x, rank in ranks):
            return Blockwise(self)(*operands, **kwargs)
        return super().__call__(*operands, **kwargs)

    def connection_pattern(self, node):
        return [[q not in self.fixed] for q in range(len(node.inputs))]

    def pullback(self, inputs, outputs, cotangents):
        """Return the gradients in all inputs, disconnected in those that are fixed."""
        gradients = iter(self.adjoints(cotangents[0], outputs[0], *inputs))
        return [
            disconnected_type() if q in self.fixed else next(gradients) for q in range(len(inputs))
        ]

    L_op = pullback

    def pushforward(self, inputs, outputs, tangents):
        """Return the change of the output that changes of the inputs make."""
        changes = [
            None if q in self.fixed or isinstance(t.type, DisconnectedType) else t
            for q, t in enumerate(tangents)
        ]
        if all(t is None for t in changes):
            return [disconnected_type()]
        return [total(self.tangents(outputs[0], inputs, changes))]

    def adjoints(self, ct, out, *inputs):
        """Return the gradients in all operands that are not fixed."""
        raise NotImplementedError

    def tangents(self, out, inputs, changes):
        """Return terms of the change of the result; an operand whose change is None has none."""
        raise NotImplementedError


def total(terms):
    """Add up terms."""
    return reduce(add, terms)


class Kernel(Differentiable):
    """One operation on one pattern; operands that have a derivative and are not read come first."""

    __props__ = ("pattern", "lower", "permute", "diagonal", "below", "accept_weak")

    operation: ClassVar[str]
    signed: ClassVar[bool] = False  # whether the factor is that of `SignedFactor`
    unused: ClassVar[str] = ""
    letters: ClassVar[str]
    result: ClassVar[str]
    gufunc_signature: ClassVar[str]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "operation"):
            return
        letters, cls.result = NAMES[cls.operation].split(">")
        cls.letters = cls.unused + letters
        cls.core_ranks = tuple(CORE_RANK[c] for c in cls.letters)
        cores = {"x": "(n,k)", "r": "(n)", "s": "()"}
        inputs, output = ([cores.get(c, f"({c})") for c in cs] for cs in (cls.letters, cls.result))
        cls.gufunc_signature = f"{','.join(inputs)}->{output[0]}"

    def __init__(
        self, pattern, lower=False, permute=False, diagonal=1.0, below=1.0, accept_weak=False
    ):
        self.pattern = pattern
        self.lower = bool(lower)
        self.permute = bool(permute)
        self.diagonal = float(diagonal)
        self.below = float(below)
        self.accept_weak = bool(accept_weak)

    def __str__(self):
        return f"{type(self).__name__}{{n={self.pattern.shape[0]}}}"

    @property
    def handle(self):
        """The pattern as the kernels see it."""
        handle = self.pattern._handle
        if "d" in self.letters + self.result:
            handle.know_both_triangles(self.pattern)
        return handle

    @property
    def flags(self):
        flags = LOWER * self.lower + PERMUTE * self.permute + ACCEPT_WEAK * self.accept_weak
        return flags + SIGNED * self.signed

    def core_shape(self, letter, columns):
        """Return the shape of the array that a letter stands for."""
        length = self.handle.length(letter)
        return {0: (), 1: (length,), 2: (length, columns)}[CORE_RANK[letter]]

    def make_node(self, *operands):
        operands = as_floats(*operands)
        self.check([x.type.shape for x in operands])
        columns = self.columns_of([x.type.shape for x in operands])
        out = pt.TensorType(operands[0].type.dtype, self.core_shape(self.result, columns))
        return Apply(self, operands, [out()])

    def columns_of(self, shapes):
        """Find the number of vectors, the first one that is known."""
        pairs = (shape for shape, c in zip(shapes, self.letters, strict=True) if c == "x")
        return next((shape[1] for shape in pairs if len(shape) == 2 and shape[1] is not None), None)

    def check(self, shapes):
        """Refuse a shape that, as far as it is known, is not that of its letter."""
        columns = self.columns_of(shapes)
        for shape, letter in zip(shapes, self.letters, strict=True):
            wanted = self.core_shape(letter, columns)
            if len(shape) != len(wanted) or any(
                None not in (s, w) and s != w for s, w in zip(shape, wanted, strict=True)
            ):
                raise ValueError(
                    f"{type(self).__name__}: an operand has shape {shape}, and the pattern, of a"
                    f" matrix of shape {self.pattern.shape}, needs {wanted}: {RESIZED}"
                )

    def perform(self, node, inputs, outputs):
        outputs[0][0] = self.compute(inputs, ())

    def compute(self, inputs, batch):
        """Return the result for one matrix, or for a batch: of arrays with its dimensions in front.

        In an operand some of these may be 1: it is the same for all matrices along them.
        """
        shapes = [x.shape[len(batch) :] for x in inputs]
        self.check(shapes)
        core = self.core_shape(self.result, self.columns_of(shapes))
        out = np.empty((*batch, *core), inputs[0].dtype)
        read = tuple(np.asarray(x, order="C") for x in inputs[len(self.unused) :])
        self.handle.perform(
            CODES[self.operation], read, out, thread_count(), self.flags, self.diagonal, self.below
        )
        return out

    def infer_shape(self, *args):
        # Of (fgraph, node, shapes), or from PyTensor 3.1 on of (node, shapes).
        shapes = args[-1]
        columns = [shape[1] for shape, c in zip(shapes, self.letters, strict=True) if c == "x"]
        return [self.core_shape(self.result, columns[0] if columns else None)]

    def tangents(self, out, inputs, changes):
        """Return those of an operation that is linear in each operand."""
        return [
            self(*inputs[:q], change, *inputs[q + 1 :])
            for q, change in enumerate(changes)
            if change is not None
        ]


def as_floats(*operands):
    """Make tensor variables of one real floating point type."""
    for x in operands:
        refuse_named(x)
    operands = [pt.as_tensor_variable(x) for x in operands]
    dtype = upcast(*(x.type.dtype for x in operands))
    if dtype.startswith("complex"):
        raise TypeError("real values are needed: PyTensor does not differentiate complex values")
    if dtype not in DTYPES:
        dtype = "float32" if dtype == "float16" else "float64"
    return [x.astype(dtype) for x in operands]


def refuse_named(x):
    """Refuse a variable with named dimensions, as `pymc.dims` makes them."""
    dims = getattr(getattr(x, "type", None), "dims", None)
    if dims is not None:
        raise TypeError(
            f"{x} has named dimensions, {dims}, and the rows of a sparse matrix have no names: pass"
            " its values, x.transpose(...).values with the dimension of the rows last"
        )


# ---- maps between arrays: linear ----


class Gather(Kernel):
    """Stored values from flat panels, with weights on and below the diagonal."""

    operation = "gather"

    def adjoints(self, ct, out, flat):
        return [scatter(self.pattern, ct, self.diagonal, self.below)]


class Scatter(Kernel):
    """Flat panels from stored values; the adjoint of `Gather`."""

    operation = "scatter"

    def adjoints(self, ct, out, a):
        return [gather(self.pattern, ct, self.diagonal, self.below)]


class Weigh(Kernel):
    """Flat panels with weights on and below the diagonal."""

    operation = "weigh"

    def adjoints(self, ct, out, flat):
        return [self(ct)]


class Diagonal(Kernel):
    """Diagonal of flat panels in the order of A."""

    operation = "diagonal"

    def adjoints(self, ct, out, flat):
        return [place_diagonal(self.pattern, ct)]


class PlaceDiagonal(Kernel):
    """Flat panels with this diagonal, in the order of A; the adjoint of `Diagonal`."""

    operation = "place_diagonal"

    def adjoints(self, ct, out, rows):
        return [diagonal(self.pattern, ct)]


class Fold(Kernel):
    """Stored values from both triangles, by column: their weighed sum."""

    operation = "fold"

    def adjoints(self, ct, out, full):
        return [unfold(self.pattern, ct, self.diagonal, self.below)]


class Unfold(Kernel):
    """Both triangles, by column, from stored values; the adjoint of `Fold`."""

    operation = "unfold"

    def adjoints(self, ct, out, a):
        return [fold(self.pattern, ct, self.diagonal, self.below)]


# ---- products: linear in each operand ----


class Outer(Kernel):
    """Lower triangle of X Y^T + Y X^T on the panels."""

    operation = "outer"

    def adjoints(self, ct, out, x, y):
        m = weigh(self.pattern, ct, 2.0, 1.0)
        return [inner(self.pattern, m, y), inner(self.pattern, m, x)]


class Inner(Kernel):
    """Lower triangle of S Y on the panels, S symmetric from its lower triangle."""

    operation = "inner"

    def adjoints(self, ct, out, s, y):
        of_s = weigh(self.pattern, outer(self.pattern, ct, y), 0.5, 1.0)
        return [of_s, inner(self.pattern, s, ct)]


class MatVec(Kernel):
    """A x."""

    operation = "product"

    def adjoints(self, ct, out, a, x):
        return [sampled_outer(self.pattern, ct, x), matvec(self.pattern, a, ct)]


class SampledOuter(Kernel):
    """Gradient of x^T A y in the stored values of A."""

    operation = "sampled_outer"

    def adjoints(self, ct, out, x, y):
        return [matvec(self.pattern, ct, y), matvec(self.pattern, ct, x)]


# ---- the factorization and its tangent ----


class Factor(Kernel):
    """Flat panels of L; all NaN where A is not positive definite."""

    operation = "cholesky"

    def adjoints(self, ct, l, a):
        return [gather(self.pattern, adjoint(self.pattern, l, ct))]

    def tangents(self, l, inputs, changes):
        [da] = changes
        return [tangent(self.pattern, l, scatter(self.pattern, da))]


class SignedFactor(Kernel):
    """Flat panels of L with A = L S L^T, S = sign(diag L); all NaN where there is none."""

    operation = "ldl"

    def adjoints(self, ct, l, a):
        turned = turn(self.pattern, l, ct)
        return [gather(self.pattern, adjoint(self.pattern, l, turned))]

    def tangents(self, l, inputs, changes):
        [da] = changes
        return [turn(self.pattern, l, tangent(self.pattern, l, scatter(self.pattern, da)))]


class FactorWithSigns(SignedFactor):
    """The same for pivots with given signs, constants.

    A pivot that is not farther than `diagonal` on its side of zero becomes as large as `below`:
    what that adds to the diagonal of A is a constant of the derivatives.
    """

    operation = "ldl_signs"
    fixed = (1,)

    def adjoints(self, ct, l, a, signs):
        return super().adjoints(ct, l, a)

    def tangents(self, l, inputs, changes):
        return super().tangents(l, inputs[:1], changes[:1])


class ReplacedPivots(Kernel):
    """1 for each row whose pivot `FactorWithSigns` replaces, 0 for the others."""

    operation = "replaced_pivots"
    fixed = (0, 1)


class Turn(Kernel):
    """X S on the panels, S the signs of the diagonal of L."""

    operation = "turn"
    fixed = (0,)

    def adjoints(self, ct, out, l, x):
        return [turn(self.pattern, l, ct)]


class Tangent(Kernel):
    """Change of L that a change of A on the panels makes, without signs."""

    operation = "tangent_panels"

    def adjoints(self, ct, x, l, m):
        w = adjoint(self.pattern, l, ct)
        return [-inner(self.pattern, weigh(self.pattern, w, 2.0, 1.0), x), w]

    def tangents(self, x, inputs, changes):
        [l, _], [dl, dm] = inputs, changes
        terms = [dm] if dm is not None else []
        if dl is not None:
            terms.append(-outer(self.pattern, dl, x))
        return [tangent(self.pattern, l, term) for term in terms]


class Adjoint(Kernel):
    """Gradient in entries of A on the panels from one in those of L."""

    operation = "adjoint"

    def adjoints(self, ct, a, l, c):
        z = tangent(self.pattern, l, ct)
        return [-inner(self.pattern, weigh(self.pattern, a, 2.0, 1.0), z), z]

    def tangents(self, a, inputs, changes):
        [l, _], [dl, dc] = inputs, changes
        terms = [dc] if dc is not None else []
        if dl is not None:
            terms.append(-inner(self.pattern, weigh(self.pattern, a, 2.0, 1.0), dl))
        return [adjoint(self.pattern, l, term) for term in terms]


# ---- what is computed from a factor ----


class PartialInverse(Kernel):
    """A^-1 on the panels; their squares are full."""

    operation = "partial_inverse"

    def adjoints(self, ct, s, l):
        return [-_sandwich_adjoint(self.pattern, ct, l, s)[0]]

    def tangents(self, s, inputs, changes):
        [l], [dl] = inputs, changes
        return [-sandwich(self.pattern, l, s, dl)]


class Sandwich(Kernel):
    """A^-1 M A^-1 on the panels, where M = L X^T + X L^T and S is the partial inverse."""

    operation = "sandwich"

    def adjoints(self, ct, h, l, s, x):
        P = self.pattern
        of_x, z = _sandwich_adjoint(P, ct, l, s)
        ends = 4 * diagonal(P, x) * diagonal(P, z) / abs(diagonal(P, l)) ** 3
        of_l = -place_diagonal(P, ends) - inner(P, 2 * h, z)
        return [of_l, 2 * weigh(P, outer(P, z, x), 0.5, 1.0), of_x]

    def tangents(self, h, inputs, changes):
        P = self.pattern
        [l, s, x], [dl, ds, dx] = inputs, changes
        terms = [inner(P, 2 * ds, x)] if ds is not None else []
        if dl is not None:
            ends = 4 * diagonal(P, x) * diagonal(P, dl) / abs(diagonal(P, l)) ** 3
            terms += [-place_diagonal(P, ends), -inner(P, 2 * h, dl)]
        out = [weigh(P, adjoint(P, l, total(terms)), 1.0, 0.5)] if terms else []
        return out if dx is None else [*out, sandwich(P, l, s, dx)]


def _sandwich_adjoint(pattern, ct, l, s):
    """Return the gradient in X, and the tangent that the gradient is made of."""
    z = tangent(pattern, l, weigh(pattern, ct, 1.0, 0.5))
    root = diagonal(pattern, l)
    ends = place_diagonal(pattern, 2 * diagonal(pattern, z) / (root * abs(root)))
    return ends + inner(pattern, 2 * s, z), z


class LogDet(Kernel):
    """log det A, from its factor."""

    operation = "logdet"
    unused = "a"
    fixed = (1,)

    def gradient(self, l):
        return gather(self.pattern, partial_inverse(self.pattern, l), 1.0, 2.0)

    def adjoints(self, ct, out, a, l):
        return [ct * self.gradient(l)]

    def tangents(self, out, inputs, changes):
        return [(self.gradient(inputs[1]) * changes[0]).sum()]


class LogAbsDet(LogDet):
    """log |det A|, from its signed factor."""

    signed = True


class Solve(Kernel):
    """A^-1 b, from the factor of A."""

    operation = "solve"
    unused = "a"
    fixed = (1,)

    def adjoints(self, ct, x, a, l, b):
        w = self(a, l, ct)
        return [-sampled_outer(self.pattern, w, x), w]

    def tangents(self, x, inputs, changes):
        [a, l, _], [da, _, db] = inputs, changes
        terms = [db] if db is not None else []
        if da is not None:
            terms.append(-matvec(self.pattern, da, x))
        return [self(a, l, term) for term in terms]


class SignedSolve(Solve):
    """A^-1 b, from the signed factor of A."""

    signed = True


class RCond(Kernel):
    """Reciprocal condition number of A, from its factor; without a derivative."""

    operation = "rcond"
    fixed = (0, 1)

    def adjoints(self, ct, out, l, a):
        return []


class QuadForm(Differentiable):
    """x^T A x of each vector x, given y = A x."""

    __props__ = ("pattern",)
    fixed = (2,)
    core_ranks = (1, 2, 2)
    gufunc_signature = "(a),(n,k),(n,k)->(k)"

    def __init__(self, pattern):
        self.pattern = pattern

    def make_node(self, a, x, y):
        a, x, y = as_floats(a, x, y)
        return Apply(self, [a, x, y], [pt.TensorType(y.type.dtype, y.type.shape[1:])()])

    def perform(self, node, inputs, outputs):
        _, x, y = inputs
        outputs[0][0] = np.einsum("ij,ij->j", x, y)

    def infer_shape(self, *args):
        return [args[-1][2][1:]]

    def adjoints(self, ct, out, a, x, y):
        return [sampled_outer(self.pattern, x * ct, x), 2 * y * ct]

    def tangents(self, out, inputs, changes):
        [_, x, y], [da, dx, _] = inputs, changes
        terms = [2 * (dx * y).sum(0)] if dx is not None else []
        if da is not None:
            terms.append((x * matvec(self.pattern, da, x)).sum(0))
        return terms


# ---- with a triangle: a solve, a product, and the gradient of x^T K y in it ----


class Triangular(Kernel):
    """An operation with a triangle K or, unless `lower`, with K^T; by kind of triangle and role."""

    kinds: ClassVar[dict[tuple[str, str], type]] = {}
    kind: ClassVar[str]
    role: ClassVar[str]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.kinds[cls.kind, cls.role] = cls

    def other(self, role, lower):
        """Make the Op of another role with the same triangle."""
        return self.kinds[self.kind, role](self.pattern, lower, self.permute)


class SolveTriangular(Triangular):
    """L^-1 P b, or P^T L^-T b; without `permute` all in the order of L."""

    operation, kind, role = "solve_triangular", "factor", "solve"

    def adjoints(self, ct, x, l, b):
        w = self.other("solve", not self.lower)(l, ct)
        return [-self.other("outer", self.lower)(w, x), w]

    def tangents(self, x, inputs, changes):
        [l, _], [dl, db] = inputs, changes
        terms = [db] if db is not None else []
        if dl is not None:
            terms.append(-self.other("product", self.lower)(dl, x))
        return [self(l, term) for term in terms]


class FactorProduct(Triangular):
    """The triangle that `SolveTriangular` solves with times x."""

    operation, kind, role = "factor_product", "factor", "product"

    def adjoints(self, ct, out, l, x):
        return [
            self.other("outer", self.lower)(ct, x),
            self.other("product", not self.lower)(l, ct),
        ]


class FactorOuter(Triangular):
    """Gradient of w^T K x in L, where K is the triangle that `SolveTriangular` solves with."""

    operation, kind, role = "factor_outer", "factor", "outer"

    def adjoints(self, ct, out, w, x):
        return [
            self.other("product", self.lower)(ct, x),
            self.other("product", not self.lower)(ct, w),
        ]


class PlainSolve(SolveTriangular):
    """T^-1 b, or T^-T b, for a lower triangle T by column that is no factor."""

    operation, kind = "csc_triangle_solve", "plain"


class PlainProduct(FactorProduct):
    """T x, or T^T x."""

    operation, kind = "csc_triangle_product", "plain"


class PlainOuter(FactorOuter):
    """Gradient of w^T T x, or w^T T^T x, in the entries of T."""

    operation, kind = "csc_triangle_outer", "plain"


# ---- congruences of rectangular matrices: linear in each operand ----


class GramForm(Kernel):
    """Packed values of (A^T W B + B^T W A) / 2."""

    operation = "gram"

    def adjoints(self, ct, out, a, w, b):
        P = self.pattern
        return [GramRows(P)(w, b, ct), GramWeights(P)(a, b, ct), GramRows(P)(w, a, ct)]


class GramRows(Kernel):
    """Gradient of <x, GramForm(a, w, b)> in the entries of A."""

    operation = "gram_rows"

    def adjoints(self, ct, out, w, b, x):
        P = self.pattern
        return [GramWeights(P)(ct, b, x), self(w, ct, x), GramForm(P)(ct, w, b)]


class GramWeights(Kernel):
    """Gradient of <x, GramForm(a, w, b)> in the weights."""

    operation = "gram_weights"

    def adjoints(self, ct, out, a, b, x):
        P = self.pattern
        return [GramRows(P)(ct, b, x), GramRows(P)(ct, a, x), GramForm(P)(a, ct, b)]


# ---- as functions ----


def gather(pattern, flat, diagonal=1.0, below=1.0):
    return Gather(pattern, diagonal=diagonal, below=below)(flat)


def scatter(pattern, a, diagonal=1.0, below=1.0):
    return Scatter(pattern, diagonal=diagonal, below=below)(a)


def weigh(pattern, flat, diagonal, below):
    return Weigh(pattern, diagonal=diagonal, below=below)(flat)


def fold(pattern, full, diagonal=1.0, below=1.0):
    return Fold(pattern, diagonal=diagonal, below=below)(full)


def unfold(pattern, a, diagonal=1.0, below=1.0):
    return Unfold(pattern, diagonal=diagonal, below=below)(a)


def diagonal(pattern, flat):
    return Diagonal(pattern)(flat)


def place_diagonal(pattern, rows):
    return PlaceDiagonal(pattern)(rows)


def outer(pattern, x, y):
    return Outer(pattern)(x, y)


def inner(pattern, s, y):
    return Inner(pattern)(s, y)


def matvec(pattern, a, x):
    return MatVec(pattern)(a, x)


def sampled_outer(pattern, x, y):
    return SampledOuter(pattern)(x, y)


def tangent(pattern, l, m):
    return Tangent(pattern)(l, m)


def adjoint(pattern, l, c):
    return Adjoint(pattern)(l, c)


def turn(pattern, l, x):
    return Turn(pattern)(l, x)


def partial_inverse(pattern, l):
    return PartialInverse(pattern)(l)


def sandwich(pattern, l, s, x):
    return Sandwich(pattern)(l, s, x)
