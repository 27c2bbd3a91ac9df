"""Functions of pytrees as functions of one vector, and the patterns of their derivatives."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csc_array

from .._sparsity import propagate
from ..coloring._pattern import symmetrized
from ._sparsity_rules import (  # noqa: F401  (they register rules)
    indices,
    kernels,
    loops,
    products,
    sparse,
    windows,
)
from ._walk import Detection, ReverseOnly


class Flat:
    """A function of pytrees as one of vectors: of those of its arguments that are differentiated.

    Attributes
    ----------
    shapes : list of tuple
        Of all leaves of all arguments.
    size : int
        Number of elements of those that are differentiated.
    """

    def __init__(self, f, args, argnums):
        self.f = f
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if not args or any(not -len(args) <= k < len(args) for k in numbers):
            raise ValueError(f"argnums {argnums} of a function that is given {len(args)} arguments")
        self.argnums = tuple(k % len(args) for k in numbers)
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
                    " numbers are needed (choose others by argnums)"
                )
        self.size = sum(int(np.prod(self.shapes[k])) for k in self.chosen)

    def split(self, args):
        """The vector, and the function of it."""
        leaves, tree = jax.tree.flatten(args)
        found = [np.shape(leaf) for leaf in leaves]
        if tree != self.tree or found != self.shapes:
            raise ValueError(
                f"arguments of shapes {found}: it was prepared for {self.shapes}; another"
                " sparse_jacobian or sparse_hessian is needed for other shapes"
            )
        parts = [jnp.asarray(leaves[k]) for k in self.chosen]
        for part in parts:
            if not jnp.issubdtype(part.dtype, jnp.floating):
                raise TypeError(f"an argument of type {part.dtype} cannot be differentiated")
        vector = jnp.concatenate([jnp.ravel(part) for part in parts]) if parts else jnp.zeros(0)
        return vector, partial(self.at, leaves, [part.dtype for part in parts])

    def at(self, leaves, dtypes, vector):
        """All results in one vector."""
        leaves, start = list(leaves), 0
        for k, dtype in zip(self.chosen, dtypes, strict=True):
            stop = start + int(np.prod(self.shapes[k]))
            leaves[k] = vector[start:stop].reshape(self.shapes[k]).astype(dtype)
            start = stop
        results = jax.tree.leaves(self.f(*jax.tree.unflatten(self.tree, leaves)))
        results = [jnp.asarray(y) for y in results]
        for y in results:
            if not jnp.issubdtype(y.dtype, jnp.floating):
                raise TypeError(
                    f"a result of type {y.dtype} cannot be differentiated: real floating point"
                    " numbers are needed"
                )
        if len(results) == 1:
            return results[0].ravel()
        return jnp.concatenate([y.ravel() for y in results]) if results else jnp.zeros(0)

    def gradient(self, leaves, dtypes, vector):
        """Of a function with one number as its result."""

        def scalar(vector):
            out = self.at(leaves, dtypes, vector)
            if out.shape != (1,):
                raise ValueError(f"a Hessian is that of one number, not of {out.shape[0]}")
            return out[0]

        return jax.grad(scalar)(vector)


def abstract(args):
    """Shapes and types of arguments."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)), args)


# ---- detection ----


def detect(flat: Flat, args, mode, on_unknown, gradient=False) -> csc_array:
    """Pattern of the Jacobian, or of the gradient's, from the program of a mode: (m, n)."""

    def prepare(args):
        vector, f = flat.split(args)
        if gradient:
            f = partial(flat.gradient, *f.args)
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
    jaxpr = jax.make_jaxpr(program)(examples, direction)
    detection = Detection(direction.size, on_unknown)
    operands: list = [None] * len(jaxpr.in_avals)
    operands[-1] = detection.sets.inputs((direction.size,))
    [found] = detection.follow(jaxpr, operands)
    if found is None:
        found = propagate.no_inputs(jaxpr.out_avals[0].shape)
    P = propagate.to_matrix(detection.sets, found)
    return P.tocsc() if mode == "forward" else P.T.tocsr().tocsc()  # sorted


def jacobian_pattern(
    f: Any, *args: Any, argnums: int | tuple = 0, mode: str = "auto", on_unknown: str = "dense"
) -> csc_array:
    """Where the Jacobian of a function may have entries, whatever the numbers.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns a real floating point array, or a pytree of them.
    *args : pytrees of arrays or jax.ShapeDtypeStruct
        Only shapes and types count.
    argnums : int or tuple of int, optional
        The arguments to differentiate, real floating point numbers.
    mode : {'auto', 'forward', 'reverse'}, optional
        The program to look at: products with columns, or with rows. 'auto' takes the first that
        there is.
    on_unknown : {'dense', 'raise'}, optional
        What to do about an operation without a sparsity rule: take all that it returns to depend
        on all that it takes, with a warning that names it, or raise NotImplementedError.

    Returns
    -------
    (m, n) csc_array of int8
        Ones; rows are the elements of all results, columns those of all arguments that are
        differentiated, in the order of `jax.tree.leaves`, each of them raveled.

    Notes
    -----
    The pattern holds for all points: branches that depend on the point are united, and an index
    that depends on it may be any. Constants of the program, those of its closure too, are known;
    other arguments are not. Derivative rules that are given for a function by `jax.custom_jvp` or
    `jax.custom_vjp` are what is looked at, not the function itself.

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
    find = partial(detect, Flat(f, args, argnums), args, on_unknown=on_unknown)
    if mode != "auto":
        return find(mode)
    try:
        return find("forward")
    except ReverseOnly:
        return find("reverse")


def hessian_pattern(
    f: Any, *args: Any, argnums: int | tuple = 0, on_unknown: str = "dense"
) -> csc_array:
    """Where the Hessian of a function may have entries; see `jacobian_pattern`.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns a real floating point number.
    *args, argnums, on_unknown
        See `jacobian_pattern`.

    Returns
    -------
    (n, n) csc_array of int8
        Symmetric.

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
    P = detect(Flat(f, args, argnums), args, "forward", on_unknown, gradient=True)
    return symmetrized(P)
