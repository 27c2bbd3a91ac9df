"""Find the sparsity patterns of Jacobians and Hessians, with the rules that users register."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from scipy.sparse import csc_array

from .._sparsity import propagate
from .._typing import OnUnknown
from ..coloring._pattern import symmetrized
from . import _sparsity_rules  # noqa: F401  (registers the rules)
from ._compat import without_folding
from ._rule_table import RULES
from ._typing import Pytree
from ._walk import Detection, ReverseOnly


class RaveledFunction:
    """A function of pytrees as a function of one vector.

    The vector holds the arguments that are differentiated, each leaf raveled. Everywhere else the
    arguments are one tuple, whose last element is the dict of the keyword arguments.

    Attributes
    ----------
    examples : tuple
        Shapes and types of the arguments that the function was prepared with.
    shapes : list of tuple
        Shapes of all leaves of all arguments.
    size : int
        Number of elements of the vector.
    """

    def __init__(
        self,
        f: Callable[..., Pytree],
        args: tuple,
        argnums: int | Sequence[int],
        kwargs: dict[str, Any] | None = None,
        has_aux: bool = False,
    ):
        self.f, self.has_aux = f, has_aux
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if not args or any(not -len(args) <= k < len(args) for k in numbers):
            raise ValueError(f"argnums {argnums} of a function that is given {len(args)} arguments")
        self.argnums = tuple(k % len(args) for k in numbers)
        if len(set(self.argnums)) < len(numbers):
            raise ValueError(f"argnums {argnums} name an argument twice")
        args = (*args, dict(kwargs or {}))
        self.examples = abstract(args)  # values would be kept alive
        leaves, self.tree = jax.tree.flatten(args)
        self.shapes = [np.shape(leaf) for leaf in leaves]
        owners = [k for k, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
        order = {k: q for q, k in enumerate(self.argnums)}
        chosen = [k for k, owner in enumerate(owners) if owner in order]
        self.chosen = sorted(chosen, key=lambda k: order[owners[k]])
        for k in self.chosen:
            dtype = jnp.result_type(leaves[k])
            if not jnp.issubdtype(dtype, jnp.floating):
                raise TypeError(
                    f"an argument of type {dtype} cannot be differentiated: real floating point"
                    " numbers are needed (choose others by argnums; of complex numbers pass the"
                    " real and imaginary parts)"
                )
        self.size = sum(int(np.prod(self.shapes[k])) for k in self.chosen)

    def split(self, args):
        """Return the vector of arguments, and the function of this vector."""
        leaves, tree = jax.tree.flatten(args)
        found = [np.shape(leaf) for leaf in leaves]
        if tree != self.tree and found == self.shapes:
            raise ValueError(
                f"the arguments have the structure {tree}, and the derivative was prepared for"
                f" {self.tree} (the dict has the keyword arguments)"
            )
        if tree != self.tree or found != self.shapes:
            raise ValueError(
                f"the arguments have shapes {found}, and the derivative was prepared for"
                f" {self.shapes}: call sparse_jacobian or sparse_hessian for the other shapes"
            )
        parts = [jnp.asarray(leaves[k]) for k in self.chosen]
        for part in parts:
            if not jnp.issubdtype(part.dtype, jnp.floating):
                raise TypeError(f"an argument of type {part.dtype} cannot be differentiated")
        vector = jnp.concatenate([jnp.ravel(part) for part in parts]) if parts else jnp.zeros(0)
        return vector, partial(self.at, leaves, [part.dtype for part in parts])

    def results(self, args):
        """Return what is differentiated and what is not, None without ``has_aux``."""
        *args, kwargs = args
        out = self.f(*args, **kwargs)
        if not self.has_aux:
            return out, None
        if not (isinstance(out, tuple) and len(out) == 2):
            raise TypeError("with has_aux=True the function returns a pair, (result, aux)")
        return out

    def at(self, leaves, dtypes, vector):
        """Return all results in one vector."""
        leaves, start = list(leaves), 0
        for k, dtype in zip(self.chosen, dtypes, strict=True):
            stop = start + int(np.prod(self.shapes[k]))
            leaves[k] = vector[start:stop].reshape(self.shapes[k]).astype(dtype)
            start = stop
        value, _ = self.results(jax.tree.unflatten(self.tree, leaves))
        results = [jnp.asarray(y) for y in jax.tree.leaves(value)]
        for y in results:
            if not jnp.issubdtype(y.dtype, jnp.floating):
                raise TypeError(
                    f"a result of type {y.dtype} cannot be differentiated: real floating point"
                    " numbers are needed (of complex numbers return real and imaginary parts)"
                )
        if len(results) == 1:
            return results[0].ravel()
        return jnp.concatenate([y.ravel() for y in results]) if results else jnp.zeros(0)

    def gradient(self, leaves, dtypes, vector):
        """Return the gradient of a function whose result is one number."""

        def scalar(vector):
            out = self.at(leaves, dtypes, vector)
            if out.shape != (1,):
                raise ValueError(
                    f"a Hessian needs a function that returns one number, not {out.shape[0]}"
                )
            return out[0]

        return jax.grad(scalar)(vector)


def abstract(args):
    """Return the shapes and types of arguments."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)), args)


# ---- detection ----


def detect(raveled: RaveledFunction, args, mode, on_unknown, gradient=False) -> csc_array:
    """Find the (m, n) pattern of the Jacobian from the program of a mode.

    With `gradient` it is the Jacobian of the gradient.
    """

    def prepare(args) -> tuple[Any, Any]:
        vector, f = raveled.split(args)
        if gradient:
            f = partial(raveled.gradient, *f.args)
        return vector, f

    def forward(args, direction):
        vector, f = prepare(args)
        return jax.jvp(f, (vector,), (direction,))[1]

    def reverse(args, direction):
        vector, f = prepare(args)
        return jax.vjp(f, vector)[1](direction)[0]

    examples = abstract(args)
    vector = jax.eval_shape(lambda args: prepare(args)[0], examples)
    if mode == "forward":
        program, direction = forward, vector
    else:
        program = reverse
        direction = jax.eval_shape(lambda args: (lambda v, f: f(v))(*prepare(args)), examples)
    with without_folding():
        jaxpr = jax.make_jaxpr(program)(examples, direction)
    detection = Detection(direction.size, on_unknown)
    detection.point = {jaxpr.jaxpr.invars[k] for k in raveled.chosen}
    operands: list = [None] * len(jaxpr.in_avals)
    operands[-1] = detection.sets.inputs((direction.size,))
    [found] = detection.follow(jaxpr, operands)
    if found is None:
        found = propagate.no_inputs(jaxpr.out_avals[0].shape)
    P = propagate.to_matrix(detection.sets, found)
    return P.tocsc() if mode == "forward" else P.T.tocsr().tocsc()  # sorted


def jacobian_pattern(
    f: Callable[..., Pytree],
    *args: Pytree,
    argnums: int | Sequence[int] = 0,
    mode: Literal["auto", "forward", "reverse"] = "auto",
    on_unknown: OnUnknown = "dense",
    kwargs: dict[str, Pytree] | None = None,
    has_aux: bool = False,
) -> csc_array:
    """Find where the Jacobian of a function may have entries, at any point.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns a real floating point array, or a pytree of them.
    *args : pytrees of arrays or jax.ShapeDtypeStruct
        Only shapes and types count.
    argnums : int or tuple of int, optional
        The arguments to differentiate, real floating point numbers.
    mode : {'auto', 'forward', 'reverse'}, optional
        The program to follow: products with columns or with rows of the Jacobian. 'auto' follows
        the first of them that is possible.
    on_unknown : {'dense', 'raise'}, optional
        How to treat an operation without a sparsity rule, a loop that is too long to be followed,
        and an index that is not known and may be any of more than 64 elements. 'dense': its results
        are taken to depend on all its operands, or on all these elements, and a `SparsityWarning`
        names it and the line. 'raise': NotImplementedError.
    kwargs : dict, optional
        Example keyword arguments of `f`, which are not differentiated.
    has_aux : bool, optional
        Whether `f` returns a pair, of which the second part is not differentiated.

    Returns
    -------
    (m, n) csc_array of int8
        Ones. Rows are the elements of all results, and columns those of all arguments that are
        differentiated, in the order of `jax.tree.leaves`, each of them raveled.

    Notes
    -----
    The pattern holds for all points: branches that depend on the point are united, and an index
    that depends on the point may take any value. Constants of the program and of its closure are
    known; other arguments are not. There is no warning where elements of the point are chosen by
    their values, as by `jax.numpy.sort`, `argmax` or the pivots of an LU factorization. Of a
    function with `jax.custom_jvp` or `jax.custom_vjp` the derivative rule is followed, and not the
    function itself.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsechol.jax as scj
    >>> print(scj.jacobian_pattern(lambda x: x[1:] * x[:-1], jnp.ones(4)).toarray())
    [[1 1 0 0]
     [0 1 1 0]
     [0 0 1 1]]
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f"mode must be 'auto', 'forward' or 'reverse', not {mode!r}")
    raveled = RaveledFunction(f, args, argnums, kwargs, has_aux)
    find = partial(detect, raveled, raveled.examples, on_unknown=on_unknown)
    if mode != "auto":
        return find(mode)
    try:
        return find("forward")
    except ReverseOnly:
        return find("reverse")


def hessian_pattern(
    f: Callable[..., jax.Array],
    *args: Pytree,
    argnums: int | Sequence[int] = 0,
    on_unknown: OnUnknown = "dense",
    kwargs: dict[str, Pytree] | None = None,
    has_aux: bool = False,
) -> csc_array:
    """Find where the Hessian of a function may have entries, at any point.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns a real floating point number.
    *args, argnums, on_unknown, kwargs, has_aux
        See `jacobian_pattern`.

    Returns
    -------
    (n, n) csc_array of int8
        Ones, at symmetric positions.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsechol.jax as scj
    >>> f = lambda x: jnp.sum((x[1:] - x[:-1] ** 2) ** 2)
    >>> print(scj.hessian_pattern(f, jnp.ones(4)).toarray())
    [[1 1 0 0]
     [1 1 1 0]
     [0 1 1 1]
     [0 0 1 1]]
    """
    raveled = RaveledFunction(f, args, argnums, kwargs, has_aux)
    P = detect(raveled, raveled.examples, "forward", on_unknown, gradient=True)
    return symmetrized(P)


# ---- rules of users ----


def register_sparsity_rule(
    primitive: Primitive | str, rule: Callable[[list, list, dict[str, Any]], list]
) -> None:
    """Register the sparsity of a JAX primitive: which results depend on which operands.

    Parameters
    ----------
    primitive : jax.extend.core.Primitive or str
        The primitive, or its name.
    rule : callable
        ``rule(operands, results, params)`` is called with the shapes and types of the operands and
        of the results (`jax.ShapeDtypeStruct`), and with the parameters of the equation. It returns
        a list with one element for each result. Each element is a list with one element for each
        operand: a sparse matrix of shape (elements of the result, elements of the operand) with
        entries where there may be a dependence, None where there is none, or True if everything may
        depend on everything.

    Notes
    -----
    A rule replaces an earlier one of the same primitive. Detection follows programs that
    differentiation has made. It therefore asks for the rule of a linear primitive itself; of
    another primitive it sees the primitives in the derivative rules.

    Examples
    --------
    >>> import scipy.sparse as sp, sparsechol.jax as scj
    >>> def mirror(operands, results, params):
    ...     n = operands[0].size
    ...     return [[sp.eye_array(n).tocsr()[::-1]]]
    >>> scj.register_sparsity_rule("my_mirror", mirror)
    """
    name = primitive if isinstance(primitive, str) else primitive.name

    def apply(scope, eqn, operands):
        wanted = rule(_described(eqn.invars), _described(eqn.outvars), eqn.params)
        if len(wanted) != len(eqn.outvars):
            raise ValueError(
                f"the sparsity rule of '{name}' returned {len(wanted)} lists for"
                f" {len(eqn.outvars)} results"
            )
        return [
            propagate.compose(scope.sets, matrices, operands, var.aval.shape)
            for matrices, var in zip(wanted, eqn.outvars, strict=True)
        ]

    RULES[name] = apply


def _described(atoms):
    """Return the shapes and types of atoms."""
    return [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in atoms]
