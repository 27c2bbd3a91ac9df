"""Sparse Jacobians and Hessians: detected, colored, and evaluated by few products."""

from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO, BCSR
from scipy.sparse import coo_array, csc_array, csr_array

from .._scipy.symbolic_factor import SymbolicFactor, analyze
from ..coloring import Coloring, color
from ..coloring._modes import BUDGET, MODES, STRUCTURES, cheapest_first, colored_for
from ..coloring._pattern import coordinates, entries_of, symmetrized
from ._detect import Flat, abstract, detect
from ._matrix import SymmetricMatrix
from ._walk import ReverseOnly

HOST = ("csc", "csr", "coo")
BY_ROW = ("csr", "bcoo", "bcsr")
FORMATS = (*HOST, "bcoo", "bcsr", "dense")
LARGE = 10_000_000  # elements of directions that are better computed than stored


class Prepared:
    """What Jacobians and Hessians have in common: a pattern, its colors, and the products."""

    def __init__(self, flat: Flat, coloring: Coloring, format, chunk_size):
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be positive, not {chunk_size}")
        if coloring.method != "direct":
            raise ValueError("a coloring whose method is 'direct' is needed")
        self._flat = flat
        self.coloring = coloring
        self.format = format
        self._chunk_size = chunk_size

    @property
    def pattern(self) -> csc_array:
        return self.coloring.sparsity

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @cached_property
    def _place(self):
        """Of each entry in the products: those with columns one by one, and then those with rows.

        The coloring has the products with columns side by side.
        """
        place = self.coloring._recovery.place
        m, k = self.shape[0], self._colors_of_columns
        i, c = np.divmod(place, max(k, 1))
        place = np.where(place < m * k, c * m + i, place)
        return place.astype(np.int32) if place.max(initial=0) < 2**31 else place

    @property
    def _colors_of_columns(self):
        if self.coloring.structure == "row":
            return 0
        colors = self.coloring._both[0]
        return int(colors.max(initial=-1)) + 1

    @cached_property
    def _by_row(self):
        """Where the entries in the order of rows stand in the order of columns."""
        i, j = coordinates(self.pattern)
        return np.lexsort((j, i))

    def _products(self, args):
        raise NotImplementedError

    def _mapped(self, apply, colors, dtype):
        """Products with the sums of the unit vectors of each color."""
        every = np.arange(int(colors.max(initial=-1)) + 1, dtype=colors.dtype)[:, None]
        if every.size * colors.size <= LARGE:
            seeds = jnp.asarray((colors == every).astype(dtype))
        else:
            seeds = (jnp.asarray(colors) == every).astype(dtype)  # computed again in each call
        if self._chunk_size is not None and every.size > self._chunk_size:
            return jax.lax.map(apply, seeds, batch_size=self._chunk_size).ravel()
        return jax.vmap(apply)(seeds).ravel()

    def values(self, *args: Any) -> jax.Array:
        """The entries of the pattern, by column.

        Parameters
        ----------
        *args
            Where, with the shapes that it was prepared for.

        Returns
        -------
        (pattern.nnz,) jax.Array
            In the order of ``pattern.indices``. Can be compiled, batched and differentiated.
        """
        return self._entries(args, self._place)

    def _entries(self, args, place):
        """Entries at places among the products, zero where they are negative."""
        flat = self._products(args)
        if not flat.size:
            return jnp.zeros(place.shape, flat.dtype)
        if place.size and place.min() < 0:
            found = flat.at[np.maximum(place, 0)].get(mode="promise_in_bounds")
            return (
                jnp.where(place < 0, 0, found) if flat.size else jnp.zeros(place.size, flat.dtype)
            )
        return flat.at[place].get(mode="promise_in_bounds")

    @property
    def _format_place(self):
        """Where the entries are in the order of the format."""
        return self._place[self._by_row] if self.format in BY_ROW else self._place

    @cached_property
    def _compiled(self):
        return jax.jit(lambda args: self._entries(args, self._format_place))

    def __call__(self, *args: Any) -> Any:
        """The matrix in the format that was asked for.

        Parameters
        ----------
        *args
            As for `values`.

        Returns
        -------
        csc_array, csr_array, coo_array, BCOO, BCSR or jax.Array
            SciPy's outside of transformations only.
        """
        traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args))
        if traced and self.format in HOST:
            raise TypeError(
                f"a SciPy array (format={self.format!r}) cannot be made inside jit, grad or vmap:"
                " use the method values, or the format 'bcoo', 'bcsr' or 'dense'"
            )
        return self._formatted(
            self._entries(args, self._format_place) if traced else self._compiled(args)
        )

    def _formatted(self, values):
        """The matrix with these entries."""
        rows, columns = coordinates(self.pattern)
        A = self.pattern
        if self.format == "csc":
            return csc_array((np.array(values), A.indices, A.indptr), shape=A.shape)
        if self.format == "coo":
            return coo_array((np.array(values), (rows, columns)), shape=A.shape)
        if self.format == "dense":
            return jnp.zeros(A.shape, values.dtype).at[rows, columns].set(values)
        rows, columns = rows[self._by_row], columns[self._by_row]
        if self.format == "bcoo":
            indices = np.stack([rows, columns], axis=1).astype(np.int32)
            return BCOO((values, indices), shape=A.shape, indices_sorted=True, unique_indices=True)
        starts = np.searchsorted(rows, np.arange(A.shape[0] + 1)).astype(np.int32)
        columns = columns.astype(np.int32)
        if self.format == "csr":
            return csr_array((np.array(values), columns, starts), shape=A.shape)
        return BCSR(
            (values, columns, starts), shape=A.shape, indices_sorted=True, unique_indices=True
        )

    def __repr__(self) -> str:
        m, n = self.shape
        k = self.coloring.num_colors
        return (
            f"<{type(self).__name__} of shape ({m}, {n}): {self.pattern.nnz} entries, {k} colors>"
        )


@jax.tree_util.register_static
class SparseJacobian(Prepared):
    """The Jacobian of a function, ready to be evaluated; made by `sparse_jacobian`.

    Attributes
    ----------
    pattern : (m, n) csc_array of int8
        Ones where there may be entries.
    coloring : sparsechol.coloring.Coloring
        ``coloring.num_colors`` products with the Jacobian are made.
    mode : {'forward', 'reverse', 'bidirectional'}
    shape : tuple of int
    format : str
    """

    @property
    def mode(self) -> str:
        return {structure: mode for mode, structure in STRUCTURES.items()}[self.coloring.structure]

    def _products(self, args):
        vector, f = self._flat.split(args)
        parts = []
        both = self.coloring._both
        if self.mode != "reverse":
            _, push = jax.linearize(f, vector)
            parts.append(self._mapped(push, both[0], vector.dtype))
        if self.mode != "forward":
            out, pull = jax.vjp(f, vector)
            parts.append(self._mapped(lambda ct: pull(ct)[0], both[-1], out.dtype))
        return jnp.concatenate(parts) if len(parts) > 1 else parts[0]


def sparse_jacobian(
    f: Any,
    *args: Any,
    argnums: int | tuple = 0,
    sparsity: Any = None,
    mode: str = "auto",
    chunk_size: int | None = None,
    format: str = "csc",
    on_unknown: str = "dense",
) -> SparseJacobian:
    """Prepare the sparse Jacobian of a function: find its pattern, and color it.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns a real floating point array of any shape, or a pytree of them.
    *args : pytrees of arrays or jax.ShapeDtypeStruct
        Example arguments; only shapes and types count.
    argnums : int or tuple of int, optional
        The arguments to differentiate.
    sparsity : (m, n) sparse or dense array, or Coloring, optional
        Where the Jacobian may have entries, instead of the pattern that is found: a promise, which
        `check_pattern` can examine. An entry that it lacks spoils others.
    mode : {'auto', 'forward', 'reverse', 'bidirectional'}, optional
        Products with the Jacobian (`jax.linearize`), with its transpose (`jax.vjp`), or some of
        both. 'auto' takes the cheapest that is possible.
    chunk_size : int, optional
        Most products to be made at the same time; by default all.
    format : {'csc', 'csr', 'coo', 'bcoo', 'bcsr', 'dense'}, optional
        What is returned: an array of SciPy, of `jax.experimental.sparse`, or a dense one.
    on_unknown : {'dense', 'raise'}, optional
        See `jacobian_pattern`.

    Returns
    -------
    J : SparseJacobian
        ``J(*args)`` is the matrix, ``J.values(*args)`` its entries by column, which can be
        compiled, batched and differentiated; ``J.pattern`` and ``J.coloring``. It is static: it can
        be an argument of a compiled function.

    Raises
    ------
    TypeError
        If an argument or a result is not real and floating point.
    ValueError
        If the shape of `sparsity` differs from that of the Jacobian, a name is unknown; in calls if
        shapes are not those that it was prepared for.

    Notes
    -----
    Rows are the elements of all results, columns those of all arguments that are differentiated,
    in the order of `jax.tree.leaves`, each of them raveled. Curtis, A. R., Powell, M. J. D.,
    Reid, J. K. (1974). On the estimation of sparse Jacobian matrices. IMA J. Appl. Math. 13(1).

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
    flat = Flat(f, args, argnums)
    if sparsity is None:
        coloring = colored(flat, args, mode, on_unknown)
    else:
        coloring = given(sparsity, mode, jacobian_shape(flat, args))
    return SparseJacobian(flat, coloring, format, chunk_size)


def jacobian_shape(flat, args):
    """Number of results and of arguments."""
    out = jax.eval_shape(lambda args: (lambda v, f: f(v))(*flat.split(args)), abstract(args))
    return out.size, flat.size


def colored(flat, args, mode, on_unknown) -> Coloring:
    """Find the pattern of a Jacobian, and color it for a mode."""
    find = partial(detect, flat, args, on_unknown=on_unknown)
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
    """The coloring of a pattern that the user knows, or their coloring."""
    if isinstance(sparsity, Coloring):
        modes = {structure: name for name, structure in STRUCTURES.items()}
        known = modes.get(sparsity.structure)
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
    if tuple(found) != tuple(wanted):
        raise ValueError(f"the sparsity has shape {tuple(found)}, and the derivative {wanted}")


@jax.tree_util.register_static
class SparseHessian(Prepared):
    """The Hessian of a function, ready to be evaluated; made by `sparse_hessian`.

    Attributes
    ----------
    pattern : (n, n) csc_array of int8
        Ones where there may be entries; symmetric.
    coloring : sparsechol.coloring.Coloring
        Of structure 'symmetric': ``coloring.num_colors`` products with the Hessian are made.
    symbolic : SymbolicFactor
        The same pattern analyzed for the Cholesky factorization, once.
    shape : tuple of int
    format : str
    """

    def __init__(self, flat, coloring, format, chunk_size, ordering):
        super().__init__(flat, coloring, format, chunk_size)
        self._order = ordering

    def _products(self, args):
        vector, f = self._flat.split(args)
        _, push = jax.linearize(partial(self._flat.gradient, *f.args), vector)
        return self._mapped(push, self.coloring.colors, vector.dtype)

    @cached_property
    def symbolic(self) -> SymbolicFactor:
        return analyze(self.pattern, ordering=self._order)

    @cached_property
    def _packed_place(self):
        """Of the entries of `symbolic` in the products; -1 if they are not on the pattern."""
        lower, where = self.coloring._places_in(self.symbolic)
        place = np.full(len(self.symbolic.indices), -1, self._place.dtype)
        place[where] = self._place[lower]
        return place

    def packed(self, *args: Any) -> jax.Array:
        """The lower triangle as the factorization takes it.

        Parameters
        ----------
        *args
            As for `values`.

        Returns
        -------
        (len(symbolic.indices),) jax.Array
            What ``symbolic.factorize`` takes in NumPy, and `SymmetricMatrix` with ``symbolic`` in
            JAX.
            Diagonal entries that are not on the pattern are zero.
        """
        return self._entries(args, self._packed_place)

    def matrix(self, *args: Any) -> SymmetricMatrix:
        """The Hessian as a matrix to factorize; see `packed`."""
        return SymmetricMatrix(self.symbolic, self.packed(*args))

    @property
    def _format_place(self):
        return self._packed_place if self.format == "spd" else super()._format_place

    def _formatted(self, values):
        if self.format == "spd":
            return SymmetricMatrix(self.symbolic, values)
        return super()._formatted(values)


def sparse_hessian(
    f: Any,
    *args: Any,
    argnums: int | tuple = 0,
    sparsity: Any = None,
    chunk_size: int | None = None,
    format: str = "csc",
    ordering: Any = "auto",
    on_unknown: str = "dense",
) -> SparseHessian:
    """Prepare the sparse Hessian of a function: find its pattern, color it, analyze it.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns a real floating point number.
    *args, argnums, chunk_size, on_unknown
        See `sparse_jacobian`.
    sparsity : (n, n) sparse or dense array, or Coloring of structure 'symmetric', optional
        Where the Hessian may have entries; both triangles.
    format : {'csc', 'csr', 'coo', 'bcoo', 'bcsr', 'dense', 'spd'}, optional
        As for `sparse_jacobian`, both triangles; or 'spd', a `SymmetricMatrix` to factorize, with
        no conversion in between.
    ordering : optional
        The fill-reducing ordering, as for `analyze`.

    Returns
    -------
    H : SparseHessian
        Besides what `sparse_jacobian` returns, ``H.symbolic`` is the pattern analyzed for the
        Cholesky factorization, ``H.packed(*args)`` the values in its order, and
        ``H.matrix(*args)`` both of them.

    Raises
    ------
    ValueError
        If the result is not one number, or `sparsity` is not symmetric or has another shape.

    Notes
    -----
    Products are forward derivatives of the gradient (forward over reverse), one for each color of
    a star coloring (Gebremedhin et al., 2005).

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
    if format not in (*FORMATS, "spd"):
        raise ValueError(f"format must be one of {(*FORMATS, 'spd')}, not {format!r}")
    flat = Flat(f, args, argnums)
    if isinstance(sparsity, Coloring):
        if sparsity.structure != "symmetric":
            raise ValueError(
                f"a Hessian needs a coloring of structure 'symmetric', not {sparsity.structure!r}"
            )
        coloring = sparsity
    else:
        if sparsity is None:
            P = detect(flat, args, "forward", on_unknown, gradient=True)
            sparsity = symmetrized(P)
        coloring = color(sparsity, "symmetric", budget=BUDGET)
    require_shape(coloring.sparsity.shape, (flat.size, flat.size))
    return SparseHessian(flat, coloring, format, chunk_size, ordering)
