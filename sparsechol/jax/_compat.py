"""What differs between versions of JAX, and what is not quite public in them: all in one place."""

import jax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla

try:
    from jax.experimental.buffer_callback import buffer_callback
except ImportError:  # experimental: it may move
    buffer_callback = None

__all__ = [
    "Primitive",
    "ShapedArray",
    "Zero",
    "buffer_callback",
    "define_batching",
    "define_jvp",
    "define_lowering",
    "define_transpose",
    "evaluate",
    "is_linear",
    "kept_alive",
    "lower_function",
    "zero_like",
]

Zero = ad.Zero
evaluate = xla.apply_primitive  # what a primitive does outside of jit
is_linear = ad.is_undefined_primal  # whether a transpose rule is asked about this operand
lower_function = mlir.lower_fun


def define_jvp(primitive: Primitive, rule) -> None:
    ad.primitive_jvps[primitive] = rule


def define_transpose(primitive: Primitive, rule) -> None:
    ad.primitive_transposes[primitive] = rule


def define_batching(primitive: Primitive, rule) -> None:
    batching.primitive_batchers[primitive] = rule


def define_lowering(primitive: Primitive, rule, platform: str | None = None) -> None:
    mlir.register_lowering(primitive, rule, platform=platform)


_forever: list = []


def kept_alive(context: mlir.LoweringRuleContext) -> list:
    """What the compiled program holds, to add to; held for ever where JAX has no such list."""
    return getattr(context.module_context, "keepalives", _forever)


def zero_like(x) -> ad.Zero:
    """The tangent of something that does not move."""
    return ad.Zero(jax.typeof(x).to_tangent_aval())
