"""Evaluate sparse Jacobians by few products: find the pattern, color it, compress."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO, BCSR
from scipy.sparse import coo_array, csc_array, csr_array

from .._cached import cached_property
from .._sparsity.template_derivatives import (
    jacobian_values,
    plan_jacobian,
)
from .._typing import MatrixLike, Mode, OnUnknown
from ..coloring import Coloring, Templates
from ..coloring._modes import MODES, STRUCTURES, cheapest_first, colored_for
from ..coloring._pattern import coordinates, entries_of
from ._compat import is_concrete
from ._detect import RaveledFunction, detect
from ._matrix import SymmetricMatrix
from ._templates import equations
from ._typing import Pytree
from ._walk import ReverseOnly

Matrix = csc_array | csr_array | coo_array | BCOO | BCSR | jax.Array
Format = Literal["csc", "csr", "coo", "bcoo", "bcsr", "dense"]

MODE_OF = {structure: mode for mode, structure in STRUCTURES.items()}
HOST = ("csc", "csr", "coo")
BY_ROW = ("csr", "bcoo", "bcsr")
FORMATS = (*HOST, "bcoo", "bcsr", "dense")
LARGE = 10_000_000  # elements of seeds that are better computed in each call than stored


class CompressedDerivative:
    """A sparse matrix of derivatives, evaluated by compressed products.

    The columns (or rows) of one color share a product. `SparseJacobian` and `SparseHessian` say how
    products are made.
    """

    _name = ""

    def __init__(
        self,
        raveled: RaveledFunction,
        coloring: Coloring | Templates,
        format: str,
        chunk_size: int | None,
    ):
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be positive, not {chunk_size}")
        if isinstance(coloring, Coloring) and coloring.method != "direct":
            raise ValueError("a coloring whose method is 'direct' is needed")
        self._raveled = raveled
        self.coloring = coloring
        self.format = format
        self._chunk_size = chunk_size

    @property
    def sparsity(self) -> csc_array:
        """Pattern of the matrix: a csc_array of ones where there may be entries."""
        return self.coloring.sparsity

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.sparsity.shape

    @property
    def how(self) -> str:
        """How the matrix is computed, in words: by products, or by templates of equations."""
        return self.coloring.how

    @property
    def _colors(self) -> Coloring:
        """The coloring, where there is one."""
        return cast("Coloring", self.coloring)

    @cached_property
    def _place(self):
        """Position of each entry among the products.

        Products with columns come one by one, then those with rows. In the coloring the products
        with columns are side by side.
        """
        place = self._colors._recovery.place
        m, k = self.shape[0], self._colors_of_columns
        i, c = np.divmod(place, max(k, 1))
        place = np.where(place < m * k, c * m + i, place)
        return place.astype(np.int32) if place.max(initial=0) < 2**31 else place

    @property
    def _colors_of_columns(self):
        if self._colors.structure == "row":
            return 0
        colors = self._colors._both[0]
        return int(colors.max(initial=-1)) + 1

    @cached_property
    def _by_row(self):
        """Positions of the entries in the order of rows among those in the order of columns."""
        i, j = coordinates(self.sparsity)
        return np.lexsort((j, i))

    def _products(self, args):
        """Return all compressed products in one vector."""
        raise NotImplementedError

    def _mapped(self, apply, colors, dtype):
        """Apply a product to the sum of the unit vectors of each color."""
        every = np.arange(int(colors.max(initial=-1)) + 1, dtype=colors.dtype)[:, None]
        if every.size * colors.size <= LARGE:
            seeds = jnp.asarray((colors == every).astype(dtype))
        else:
            seeds = (jnp.asarray(colors) == every).astype(dtype)
        seeds = jax.lax.optimization_barrier(seeds)  # or XLA computes with them when it compiles
        if self._chunk_size is not None and every.size > self._chunk_size:
            return jax.lax.map(apply, seeds, batch_size=self._chunk_size).ravel()
        return jax.vmap(apply)(seeds).ravel()

    def values(self, *args: Pytree, **kwargs: Pytree) -> jax.Array:
        """Compute the entries by column.

        Parameters
        ----------
        *args, **kwargs : pytrees of arrays
            The point of evaluation, with the shapes of the example arguments.

        Returns
        -------
        (sparsity.nnz,) jax.Array
            The entries in the order of ``sparsity.indices``. They can be compiled, batched and
            differentiated.
        """
        return self._all_entries((*args, kwargs))

    def _all_entries(self, args):
        return self._entries(args, self._place)

    def _entries(self, args, place):
        """Return entries at positions among the products, zero where a position is negative."""
        products = self._products(args)
        if not products.size:
            return jnp.zeros(place.shape, products.dtype)
        found = products.at[np.maximum(place, 0)].get(mode="promise_in_bounds")
        return jnp.where(place < 0, 0, found) if place.min(initial=0) < 0 else found

    @property
    def _format_place(self):
        """Positions of the entries in the order of the format."""
        return self._place[self._by_row] if self.format in BY_ROW else self._place

    def _with_results(self, args, has_value):
        """Return the value where it is wanted, what is not differentiated, and the entries."""
        value = aux = None
        if has_value or self._raveled.has_aux:
            value, aux = self._results(args)
        return value if has_value else None, aux, self._entries(args, self._format_place)

    def _results(self, args):
        """Return the value, and what is not differentiated."""
        return self._raveled.results(args)

    @cached_property
    def _compiled(self):
        return jax.jit(self._with_results, static_argnums=1)

    def __call__(self, *args: Pytree, **kwargs: Pytree) -> Any:
        """Compute the matrix in the format that was asked for.

        Parameters
        ----------
        *args, **kwargs : pytrees of arrays
            See `values`.

        Returns
        -------
        csc_array, csr_array, coo_array, BCOO, BCSR, jax.Array or SymmetricMatrix
            SciPy's formats are possible outside of transformations only. With ``has_aux=True`` it
            is a pair of the matrix and what the function returns besides.
        """
        _, aux, matrix = self._computed((*args, kwargs), False)
        return (matrix, aux) if self._raveled.has_aux else matrix

    def _value_and_matrix(self, args):
        """Return the result of the function and the matrix, which share one program."""
        value, aux, matrix = self._computed(args, True)
        return (value, aux) if self._raveled.has_aux else value, matrix

    def _computed(self, args, has_value):
        """Return the value, what is not differentiated, and the matrix."""
        traced = not all(map(is_concrete, jax.tree.leaves(args)))
        if traced and self.format in HOST:
            raise TypeError(
                f"a SciPy array (format={self.format!r}) cannot be made inside jit, grad or vmap:"
                " use the method values, or the format 'bcoo', 'bcsr' or 'dense'"
            )
        run = self._with_results if traced else self._compiled
        value, aux, entries = run(args, has_value)
        return value, aux, self._formatted(entries)

    def _formatted(self, values: jax.Array) -> Matrix | SymmetricMatrix:
        """Return the matrix with these entries."""
        A = self.sparsity
        rows, columns = coordinates(A)
        if self.format == "csc":
            return csc_array((on_host(values), A.indices, A.indptr), shape=A.shape)
        if self.format == "coo":
            return coo_array((on_host(values), (rows, columns)), shape=A.shape)
        if self.format == "dense":
            return jnp.zeros(A.shape, values.dtype).at[rows, columns].set(values)
        rows, columns = rows[self._by_row], columns[self._by_row]
        if self.format == "bcoo":
            indices = np.stack([rows, columns], axis=1).astype(np.int32)
            return BCOO(
                (values, cast("jax.Array", indices)),
                shape=A.shape,
                indices_sorted=True,
                unique_indices=True,
            )
        starts = np.searchsorted(rows, np.arange(A.shape[0] + 1)).astype(np.int32)
        columns = columns.astype(np.int32)
        if self.format == "csr":
            return csr_array((on_host(values), columns, starts), shape=A.shape)
        arrays = cast("tuple[jax.Array, jax.Array, jax.Array]", (values, columns, starts))
        return BCSR(arrays, shape=A.shape, indices_sorted=True, unique_indices=True)

    def __repr__(self) -> str:
        m, n = self.shape
        k = f"{self.coloring.num_colors} colors"
        k = self.how if isinstance(self.coloring, Templates) else k
        name = self._name or type(self).__name__
        return f"<{name} of shape ({m}, {n}): {self.sparsity.nnz} entries, {k}>"


def on_host(values: jax.Array) -> np.ndarray:
    """Return values for a SciPy array; SciPy has no numbers of 16 bits."""
    return np.array(values, np.float32 if values.dtype.itemsize < 4 else None)


@jax.tree_util.register_static
class SparseJacobian(CompressedDerivative):
    """The Jacobian of a function, ready to be evaluated; made by `sparse_jacobian`.

    Attributes
    ----------
    sparsity : (m, n) csc_array of int8
        Ones where there may be entries.
    coloring : sparsechol.coloring.Coloring, or sparsechol.coloring.Templates
        The groups of columns or rows; an evaluation takes ``coloring.num_colors`` products. Of
        scalar equations it is the groups of equations of one form.
    how : str
        The same in words.
    mode : {'forward', 'reverse', 'bidirectional', 'templates'}
    shape : tuple of int
    format : str
    """

    @property
    def mode(self) -> str:
        """The products that are made: with columns, with rows, or both."""
        return MODE_OF[self._colors.structure]

    def value_and_jacobian(self, *args: Pytree, **kwargs: Pytree) -> tuple[Any, Any]:
        """Compute the function and its Jacobian in one program.

        Parameters
        ----------
        *args, **kwargs : pytrees of arrays
            See `values`.

        Returns
        -------
        value : pytree of arrays
            What the function returns; with ``has_aux=True`` this is the pair ``(result, aux)``.
        J : see `format`
            The matrix.
        """
        return self._value_and_matrix((*args, kwargs))

    def _products(self, args):
        vector, f = self._raveled.split(args)
        parts = []
        both = self._colors._both
        if self.mode != "reverse":
            _, push = jax.linearize(f, vector)
            parts.append(self._mapped(push, both[0], vector.dtype))
        if self.mode != "forward":
            out, pull = jax.vjp(f, vector)
            parts.append(self._mapped(lambda ct: pull(ct)[0], both[-1], out.dtype))
        return jnp.concatenate(parts) if len(parts) > 1 else parts[0]


@jax.tree_util.register_static
class TemplateJacobian(SparseJacobian):
    """A Jacobian that is computed by templates of scalar equations."""

    _name = "SparseJacobian"

    def __init__(self, found, raveled, args, chunk_size, format, on_unknown):
        self._programs = Programs(
            partial(equations, raveled, on_unknown=on_unknown, forced=True), args, found
        )
        self._inner = None
        if found.inner:
            rest = InnerFunction(raveled, self._programs, "inner_values")
            colors = colored(rest, args, "auto", on_unknown)
            self._inner = SparseJacobian(cast("Any", rest), colors, "dense", chunk_size)
        known = self._inner and self._inner.sparsity
        self._programs.planned(lambda found: plan_jacobian(found.apart, raveled.size, known))
        super().__init__(raveled, described(found, self._inner), format, chunk_size)

    @property
    def mode(self) -> str:
        """The way in which the matrix is computed: 'templates'."""
        return "templates"

    @cached_property
    def _place(self):
        return np.arange(self.sparsity.nnz)

    def _products(self, args):
        vector, _ = self._raveled.split(args)
        found, inner = self._programs.of(args), None
        leaves = jax.tree.leaves(args)
        if self._inner is not None:
            inner = found.inner_values(leaves, vector), self._inner._all_entries(args)
        return jacobian_values(found.apart, found.at(vector, leaves), inner)

    def _results(self, args):
        return results_by_templates(self._raveled, self._programs.of(args), args)


def results_by_templates(raveled, found, args):
    """Return what `RaveledFunction.results` returns, without running the equations one by one."""
    if raveled.has_aux or found.apart.still is None:
        return raveled.results(args)
    vector, _ = raveled.split(args)
    flat = found.results(jax.tree.leaves(args), vector)
    examples, tree = jax.tree.flatten(jax.eval_shape(raveled.results, args)[0])
    ends = np.cumsum([x.size for x in examples])[:-1]
    parts = [
        part.reshape(x.shape).astype(x.dtype)
        for part, x in zip(jnp.split(flat, ends), examples, strict=True)
    ]
    return jax.tree.unflatten(tree, parts), None


def described(found, rest) -> Templates:
    """Say how a matrix is made by templates."""
    level = found.apart.levels[-1]
    counts = tuple(len(t) for t in level.templates if t.live or t.pairs)
    return Templates(level.pattern, counts, rest and cast("Coloring", rest.coloring))


class Programs:
    """Programs taken apart, one for each list of types of arguments.

    Parameters
    ----------
    make : callable
        ``make(args)`` reads the program for arguments.
    args : tuple of pytrees
        The example arguments.
    found : TemplateProgram
        The program for these.
    """

    def __init__(self, make, args, found):
        self._make = make
        self._found = {self._types(args): found}

    @staticmethod
    def _types(args):
        return tuple(jnp.result_type(x) for x in jax.tree.leaves(args))

    def planned(self, plan):
        """Plan the derivatives of the program, and of those for other types later."""
        [found] = self._found.values()
        self._plan, self._pattern = plan, plan(found)

    def of(self, args):
        """Return the program for arguments."""
        types = self._types(args)
        if types not in self._found:
            found = self._make(args)
            other = self._plan(found) if found is not None else None
            if other is None or other.nnz != self._pattern.nnz or (other != self._pattern).nnz:
                raise ValueError("arguments of other types need a derivative of their own")
            self._found[types] = found
        return self._found[types]


class InnerFunction:
    """A part of a program as a function of one vector, in the place of a `RaveledFunction`."""

    def __init__(self, raveled, programs, part):
        self.raveled, self.programs, self.part = raveled, programs, part
        self.size, self.chosen = raveled.size, raveled.chosen

    def split(self, args):
        """Return the vector of arguments, and the function of this vector."""
        vector, _ = self.raveled.split(args)
        return vector, partial(getattr(self.programs.of(args), self.part), jax.tree.leaves(args))

    def gradient(self, leaves, vector):
        """Return the gradient of a function whose result is one number."""
        function = getattr(self.programs.of(tuple(leaves)), self.part)
        return jax.grad(partial(function, leaves))(vector)


def sparse_jacobian(
    f: Callable[..., Pytree],
    *args: Pytree,
    argnums: int | Sequence[int] = 0,
    sparsity: MatrixLike | Coloring | None = None,
    mode: Mode = "auto",
    chunk_size: int | None = None,
    format: Format = "csc",
    on_unknown: OnUnknown = "dense",
    kwargs: dict[str, Pytree] | None = None,
    has_aux: bool = False,
) -> SparseJacobian:
    """Prepare the sparse Jacobian of a function: find its pattern, and color it.

    Parameters
    ----------
    f : callable
        ``f(*args, **kwargs)`` returns a real floating point array of any shape, or a pytree of
        them.
    *args : pytrees of arrays or jax.ShapeDtypeStruct
        Example arguments; only shapes and types count.
    argnums : int or tuple of int, optional
        The arguments to differentiate.
    sparsity : (m, n) sparse or dense array, or Coloring, optional
        Where the Jacobian may have entries. By default the pattern is found. A given pattern must
        have every entry: a missing one corrupts others. `check_pattern` looks for missing entries.
    mode : {'auto', 'forward', 'reverse', 'bidirectional', 'templates'}, optional
        Products with the Jacobian (`jax.linearize`), with its transpose (`jax.vjp`), or both.
        'templates' takes the program apart into scalar equations, and differentiates those of one
        form together; what is vectorized gets products. 'auto' takes the cheapest that is possible.
    chunk_size : int, optional
        Most products to be made at the same time; by default all.
    format : {'csc', 'csr', 'coo', 'bcoo', 'bcsr', 'dense'}, optional
        Format of the matrix: an array of SciPy, of `jax.experimental.sparse`, or a dense one.
        SciPy has no numbers of 16 bits: those of float16 and bfloat16 are made float32.
    on_unknown : {'dense', 'raise'}, optional
        See `jacobian_pattern`.
    kwargs : dict, optional
        Example keyword arguments of `f`, pytrees of arrays that are not differentiated. Later calls
        take them as keyword arguments: ``J(*args, **kwargs)``.
    has_aux : bool, optional
        Whether `f` returns a pair ``(result, aux)``. Then ``J(*args)`` is a pair of the matrix and
        `aux`, a pytree of arrays that is not differentiated.

    Returns
    -------
    J : SparseJacobian
        ``J(*args)`` is the matrix. ``J.values(*args)`` are its entries by column, which can be
        compiled, batched and differentiated. ``J.value_and_jacobian(*args)`` is a pair of what `f`
        returns and the matrix. ``J.sparsity`` and ``J.coloring`` say where they are
        and how they are computed. J is static: it can be an argument of a compiled function.

    Raises
    ------
    TypeError
        If an argument or a result is not real and floating point.
    ValueError
        If the shape of `sparsity` differs from that of the Jacobian, or a name is unknown. In later
        calls, if the shapes of the arguments differ from those of the examples.

    Notes
    -----
    Rows are the elements of all results, and columns those of all arguments that are
    differentiated, in the order of `jax.tree.leaves`, each of them raveled. For the
    method see Curtis, A. R., Powell, M. J. D., Reid, J. K. (1974). On the estimation of sparse
    Jacobian matrices. IMA J. Appl. Math. 13(1).

    Examples
    --------
    >>> import jax.numpy as jnp, sparsechol.jax as scj
    >>> f = lambda x: x[1:] * x[:-1]
    >>> J = scj.sparse_jacobian(f, jnp.ones(4))
    >>> J.coloring.num_colors
    2
    >>> print(J(jnp.array([1.0, 2.0, 3.0, 4.0])).toarray())
    [[2. 1. 0. 0.]
     [0. 3. 2. 0.]
     [0. 0. 4. 3.]]
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, not {mode!r}")
    if format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}, not {format!r}")
    raveled = RaveledFunction(f, args, argnums, kwargs, has_aux)
    args = raveled.examples
    if sparsity is None and mode in ("auto", "templates"):
        found = equations(raveled, args, on_unknown, forced=mode == "templates")
        if found is not None:
            return TemplateJacobian(found, raveled, args, chunk_size, format, on_unknown)
    elif mode == "templates":
        raise ValueError("mode='templates' finds the sparsity itself: pass no sparsity")
    if sparsity is None:
        coloring = colored(raveled, args, mode, on_unknown)
    else:
        coloring = given(sparsity, mode, jacobian_shape(raveled))
    return SparseJacobian(raveled, coloring, format, chunk_size)


def jacobian_shape(raveled):
    """Return the numbers of results and of arguments."""
    examples = raveled.examples
    out = jax.eval_shape(lambda args: (lambda v, f: f(v))(*raveled.split(args)), examples)
    return out.size, raveled.size


def colored(raveled, args, mode, on_unknown) -> Coloring:
    """Find the pattern of a Jacobian, and color it for a mode."""
    find = partial(detect, raveled, args, on_unknown=on_unknown)
    if mode == "bidirectional":
        return colored_for(mode, find("forward") + find("reverse"))
    if mode != "auto":
        return colored_for(mode, find(mode))
    try:
        P = find("forward")
    except ReverseOnly:
        return colored_for("reverse", find("reverse"))

    def find_reverse():
        try:
            return find("reverse")
        except ValueError:  # some programs run in forward mode only, loops of unknown length
            return None

    return next(cheapest_first(P, find_reverse))


def given(sparsity, mode, shape) -> Coloring:
    """Return the coloring of a pattern that the user gives, or the coloring that the user gives."""
    if isinstance(sparsity, Coloring):
        known = MODE_OF.get(sparsity.structure)
        if known is None or mode not in ("auto", known):
            raise ValueError(
                f"a coloring of structure {sparsity.structure!r} does not fit mode={mode!r}"
            )
        require_shape(sparsity.sparsity.shape, shape)
        return sparsity
    P = entries_of(sparsity)
    require_shape(P.shape, shape)
    return next(cheapest_first(P)) if mode == "auto" else colored_for(mode, P)


def require_shape(found, wanted):
    """Raise ValueError if a sparsity pattern has another shape than the derivative."""
    if tuple(found) != tuple(wanted):
        raise ValueError(
            f"the sparsity has shape {tuple(found)}, and the derivative {tuple(wanted)}"
        )
