"""Evaluate sparse Hessians: by few products, by templates, or by linear maps of the unknowns."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, cast

import jax
import numpy as np

from .._cached import cached_property
from .._exceptions import SparsityWarning
from .._scipy.symbolic_factor import SymbolicFactor, analyze
from .._sparsity import linear_maps as choice
from .._sparsity.template_derivatives import hessian_values, plan_hessian, twice_differentiable
from .._typing import MatrixLike, OnUnknown, OrderingLike
from ..coloring import Coloring, Templates, color
from ..coloring._modes import BUDGET
from ..coloring._pattern import symmetrized
from ..coloring._templates import LinearMaps
from ._dense_sums import dense_sums, why_dense
from ._detect import RaveledFunction, detect
from ._gram import gram
from ._linear_maps import CutPrograms, OuterFunction, separable_maps
from ._matrix import SymmetricMatrix
from ._sparse_derivatives import (
    FORMATS,
    CompressedDerivative,
    Format,
    InnerFunction,
    Matrix,
    Programs,
    SparseJacobian,
    colored,
    described,
    require_shape,
    results_by_templates,
)
from ._templates import Program, terms
from ._typing import Pytree


@jax.tree_util.register_static
class SparseHessian(CompressedDerivative):
    """The Hessian of a function, ready to be evaluated; made by `sparse_hessian`.

    Attributes
    ----------
    sparsity : (n, n) csc_array of int8
        Ones where there may be entries, at symmetric positions.
    coloring : sparsechol.coloring.Coloring
        The groups of columns, of structure 'symmetric'; an evaluation takes
        ``coloring.num_colors`` products. Of scalar equations it is the groups of terms of one form
        (`Templates`), and of functions of linear maps what the maps are (`LinearMaps`).
    pattern : SymbolicFactor
        The pattern of the Hessian, analyzed once for the Cholesky factorization.
    shape : tuple of int
    format : str
    """

    def __init__(
        self,
        raveled: RaveledFunction,
        coloring: Coloring | Templates,
        format: str,
        chunk_size: int | None,
        ordering: OrderingLike,
    ):
        super().__init__(raveled, coloring, format, chunk_size)
        self._ordering: OrderingLike = ordering

    def _products(self, args):
        vector, f = self._raveled.split(args)
        _, push = jax.linearize(partial(self._raveled.gradient, *f.args), vector)
        return self._mapped(push, self._colors.colors, vector.dtype)

    @cached_property
    def pattern(self) -> SymbolicFactor:
        """The pattern of the Hessian, analyzed for the Cholesky factorization."""
        return analyze(self.sparsity, ordering=self._ordering)

    @cached_property
    def _packed_place(self):
        return self._place_on(self.pattern)

    def _place_on(self, pattern):
        """Find packed values among the products; -1 for an entry that is zero."""
        lower, where = self.coloring._places_in(pattern)
        place = np.full(len(pattern.indices), -1, self._place.dtype)
        place[where] = self._place[lower]
        return place

    def packed(self, *args: Pytree, **kwargs: Pytree) -> jax.Array:
        """Compute the lower triangle as packed values.

        Parameters
        ----------
        *args, **kwargs : pytrees of arrays
            See `values`.

        Returns
        -------
        (len(pattern.indices),) jax.Array
            The values that ``pattern.factorize`` takes in NumPy, and `SymmetricMatrix` with
            ``pattern`` in JAX. Diagonal entries that `sparsity` lacks are zero.
        """
        return self._entries((*args, kwargs), self._packed_place)

    def value_and_hessian(self, *args: Pytree, **kwargs: Pytree) -> tuple[Any, Any]:
        """Compute the function and its Hessian in one program.

        Parameters
        ----------
        *args, **kwargs : pytrees of arrays
            See `values`.

        Returns
        -------
        value : jax.Array
            What the function returns; with ``has_aux=True`` this is the pair ``(result, aux)``.
        H : see `format`
            The matrix.
        """
        return self._value_and_matrix((*args, kwargs))

    def matrix(self, *args: Pytree, **kwargs: Pytree) -> SymmetricMatrix:
        """Compute the Hessian as a matrix to factorize; see `packed`.

        Parameters
        ----------
        *args, **kwargs : pytrees of arrays
            See `values`.

        Returns
        -------
        SymmetricMatrix
        """
        return SymmetricMatrix(self.pattern, self.packed(*args, **kwargs))

    @property
    def _format_place(self):
        return self._packed_place if self.format == "symmetric" else super()._format_place

    def _formatted(self, values: jax.Array) -> Matrix | SymmetricMatrix:
        if self.format == "symmetric":
            return SymmetricMatrix(self.pattern, values)
        return super()._formatted(values)


@jax.tree_util.register_static
class TemplateHessian(SparseHessian):
    """A Hessian that is computed by templates of the terms of a sum."""

    _name = "SparseHessian"

    def __init__(self, found, raveled, args, chunk_size, format, on_unknown, ordering):
        self._programs = Programs(
            partial(terms, raveled, on_unknown=on_unknown, forced=True), args, found
        )
        self._rest = None
        if any(not twice_differentiable(t) for t in found.apart.templates):
            rest = cast("Any", InnerFunction(raveled, self._programs, "rest"))
            sparsity = symmetrized(detect(rest, args, "forward", on_unknown, gradient=True))
            colors = color(sparsity, "symmetric", budget=BUDGET)
            self._rest = SparseHessian(rest, colors, "dense", chunk_size, ordering)
        known = self._rest and self._rest.sparsity
        self._programs.planned(lambda found: plan_hessian(found.apart, raveled.size, known))
        super().__init__(raveled, described(found, self._rest), format, chunk_size, ordering)

    @cached_property
    def _place(self):
        return np.arange(self.sparsity.nnz)

    def _products(self, args):
        vector, _ = self._raveled.split(args)
        found = self._programs.of(args)
        rest = None if self._rest is None else self._rest._all_entries(args)
        at = found.at(vector, jax.tree.leaves(args))
        return hessian_values(found.apart, at, rest)

    def _results(self, args):
        return results_by_templates(self._raveled, self._programs.of(args), args)


@jax.tree_util.register_static
class LinearMapsHessian(SparseHessian):
    """A Hessian A^T W A + R: of a sum of functions of linear maps, and of the rest by colors."""

    _name = "SparseHessian"

    def __init__(self, cut, blocks, raveled, args, chunk_size, format, on_unknown, ordering):
        self._programs = CutPrograms(raveled, args, cut)
        maps = cast("Any", InnerFunction(raveled, self._programs, "values"))
        self._maps = SparseJacobian(maps, colored(maps, args, "auto", on_unknown), "dense", None)
        outer = cast("Any", OuterFunction(raveled, self._programs))
        sparsity = symmetrized(detect(outer, args, "forward", on_unknown, gradient=True))
        rest = color(sparsity, "symmetric", budget=BUDGET)
        self._rest = SparseHessian(outer, rest, "dense", chunk_size, ordering)
        self._blocks = blocks
        A, self._taken = choice.rows_of(self._maps.sparsity, blocks.ravel())
        self._gram = gram(A, sparsity, block=blocks.shape[1], ordering=ordering)
        self._rest_place = self._rest._place_on(self._gram._of_b)
        self._constant = None
        self.products = blocks.shape[1] + rest.num_colors
        if cut.constant:
            zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), args)
            with jax.ensure_compile_time_eval():
                self._constant = np.asarray(self._maps._all_entries(zeros))
        else:
            self.products += self._maps.coloring.num_colors
        P = self._gram.pattern
        whole, self._place = choice.both_triangles(P.indptr, P.indices)
        words = LinearMaps(whole, tuple(cut.sizes), rest)
        super().__init__(raveled, words, format, chunk_size, ordering)

    @property
    def pattern(self) -> SymbolicFactor:
        """The pattern of the Hessian, analyzed for the Cholesky factorization."""
        return self._gram.pattern

    @property
    def _packed_place(self):
        return np.arange(len(self.pattern.indices))

    def _products(self, args):
        vector, _ = self._raveled.split(args)
        leaves, cut = jax.tree.leaves(args), self._programs.of(args)
        values = cut.values(leaves, vector)
        w = cut.curvature(leaves, values, vector, self._blocks)
        a = self._maps._all_entries(args) if self._constant is None else self._constant
        rest = self._rest._entries(args, self._rest_place)
        return self._gram.values(a[self._taken], w, rest).values


def sparse_hessian(
    f: Callable[..., jax.Array],
    *args: Pytree,
    argnums: int | Sequence[int] = 0,
    sparsity: MatrixLike | Coloring | None = None,
    chunk_size: int | None = None,
    format: Format | Literal["symmetric"] = "csc",
    ordering: OrderingLike = "auto",
    on_unknown: OnUnknown = "dense",
    kwargs: dict[str, Pytree] | None = None,
    has_aux: bool = False,
) -> SparseHessian:
    """Prepare the sparse Hessian of a function: find its pattern, color it, analyze it.

    Parameters
    ----------
    f : callable
        ``f(*args, **kwargs)`` returns a real floating point number.
    *args, argnums, chunk_size, on_unknown, kwargs, has_aux
        See `sparse_jacobian`.
    sparsity : (n, n) sparse or dense array, or Coloring of structure 'symmetric', optional
        Where the Hessian may have entries, in both triangles.
    format : {'csc', 'csr', 'coo', 'bcoo', 'bcsr', 'dense', 'symmetric'}, optional
        Format of the matrix. 'symmetric' is a `SymmetricMatrix` to factorize, without any
        conversion. The others have both triangles, see `sparse_jacobian`.
    ordering : optional
        The fill-reducing ordering, see `sparsechol.analyze`.

    Returns
    -------
    H : SparseHessian
        H has the methods of `SparseJacobian` (``H.value_and_hessian`` in the place of
        ``value_and_jacobian``), and three more: ``H.pattern`` is the pattern analyzed for the
        Cholesky factorization, ``H.packed(*args)`` are the values in its order, and
        ``H.matrix(*args)`` is the `SymmetricMatrix` of both.

    Raises
    ------
    ValueError
        If the result is not one number, or `sparsity` is not symmetric or has another shape.

    Notes
    -----
    Products are forward derivatives of the gradient (forward over reverse), one for each color of
    a star coloring (Gebremedhin et al., 2005). Where x enters by linear maps A x, and that takes
    fewer products, the Hessian is ``A^T W A + R`` by products of W and R; ``H.how`` tells.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsechol.jax as scj
    >>> f = lambda x: jnp.sum(x[:-1] * x[1:]) + jnp.sum(x**4)
    >>> x = jnp.array([1.0, 2.0, 3.0])
    >>> H = scj.sparse_hessian(f, x)
    >>> print(H(x).toarray())
    [[ 12.   1.   0.]
     [  1.  48.   1.]
     [  0.   1. 108.]]
    >>> print(scj.solve(H.matrix(x), jnp.array([13.0, 50.0, 109.0])).round(4))
    [1. 1. 1.]
    """
    if format not in (*FORMATS, "symmetric"):
        raise ValueError(f"format must be one of {(*FORMATS, 'symmetric')}, not {format!r}")
    raveled = RaveledFunction(f, args, argnums, kwargs, has_aux)
    args, program = raveled.examples, None
    if sparsity is None:
        program = Program(raveled, args)
        found = terms(raveled, args, on_unknown, program=program)
        if found is not None:
            return TemplateHessian(found, raveled, args, chunk_size, format, on_unknown, ordering)
        warn_of_dense_sums(raveled, program, args, on_unknown)
    if isinstance(sparsity, Coloring):
        if sparsity.structure != "symmetric":
            raise ValueError(
                f"a Hessian needs a coloring of structure 'symmetric', not {sparsity.structure!r}"
            )
        coloring = sparsity
    else:
        if sparsity is None:
            P = detect(raveled, args, "forward", on_unknown, gradient=True)
            sparsity = symmetrized(P)
        coloring = color(sparsity, "symmetric", budget=BUDGET)
    require_shape(coloring.sparsity.shape, (raveled.size, raveled.size))
    if program is not None and coloring.num_colors > choice.FEW:
        options = (chunk_size, format, on_unknown, ordering)
        found = hessian_by_maps(raveled, program, args, *options)
        if found is not None and 2 * found.products < coloring.num_colors:
            return found
    return SparseHessian(raveled, coloring, format, chunk_size, ordering)


def hessian_by_maps(raveled, program, args, chunk_size, format, on_unknown, ordering):
    """Prepare a Hessian by linear maps; None where there are none, or too long ones for `gram`."""
    found = separable_maps(raveled, program, args, on_unknown)
    if found is None:
        return None
    try:
        return LinearMapsHessian(*found, raveled, args, chunk_size, format, on_unknown, ordering)
    except (ValueError, OverflowError):  # blocks that make the product dense
        return None


def warn_of_dense_sums(raveled, program, args, on_unknown):
    """Warn where a sum over many unknowns makes the Hessian dense, and say which."""
    split = dense_sums(raveled, program, args, on_unknown) if raveled.size > choice.SHORT else None
    if split is not None:
        warnings.warn(
            f"{why_dense(split)}: newton and laplace split such terms off; elsewhere leave the term"
            " out, and add it to the factor as a change of low rank (Factor.with_low_rank)",
            SparsityWarning,
            stacklevel=3,
        )
