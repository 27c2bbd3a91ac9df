"""The Ops in JAX: the primitives of `sparsechol.jax`, which JAX differentiates itself."""

from functools import partial

import jax.numpy as jnp
from pytensor.link.jax.dispatch import jax_funcify

from ..jax import _primitives as primitives
from ._batches import Batch, batch_shape
from ._ops import Kernel, QuadForm

OPTIONS = {
    "cholesky": ("accept_weak",),
    "ldl_signs": ("diagonal", "below"),
    "replaced_pivots": ("diagonal", "below"),
    "logdet": ("signed",),
    "solve": ("signed",),
    "gather": ("diagonal", "below"),
    "scatter": ("diagonal", "below"),
    "weigh": ("diagonal", "below"),
    "gathered_inverse": ("diagonal", "below"),
    "fold": ("diagonal", "below"),
    "unfold": ("diagonal", "below"),
    "solve_triangular": ("lower", "permute"),
    "factor_product": ("lower", "permute"),
    "factor_outer": ("lower", "permute"),
    "csc_triangle_solve": ("lower",),
    "csc_triangle_product": ("lower",),
    "csc_triangle_outer": ("lower",),
}


@jax_funcify.register(Kernel)
def jax_funcify_kernel(op, node=None, **kwargs):
    options = {name: getattr(op, name) for name in OPTIONS.get(op.operation, ())}
    if op.operation == "place_diagonal":
        options = {"dtype": node.outputs[0].type.dtype}
    return partial(getattr(primitives, f"{op.operation}_call"), op.pattern, **options)


@jax_funcify.register(Batch)
def jax_funcify_batch(op, node=None, **kwargs):
    kernel = jax_funcify_kernel(op.kernel, node)

    def batch(*operands):
        batch_shape(node, [x.shape for x in operands])
        return kernel(*operands)

    return batch


@jax_funcify.register(QuadForm)
def jax_funcify_quad_form(op, **kwargs):
    def quad_form(a, x, y):
        return jnp.sum(x * primitives.product_call(op.pattern, a, x), axis=0)

    return quad_form
