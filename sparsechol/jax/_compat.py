"""What differs between versions of JAX, and what is not quite public in them: all in one place."""

from dataclasses import dataclass
from typing import Any

import jax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla

try:
    from jax.experimental.buffer_callback import buffer_callback
except ImportError:  # experimental: it may move
    buffer_callback = None

__all__ = [
    "Loop",
    "Primitive",
    "ShapedArray",
    "Zero",
    "bind_arguments",
    "buffer_callback",
    "define_batching",
    "define_jvp",
    "define_lowering",
    "define_transpose",
    "evaluate",
    "is_concrete",
    "is_linear",
    "kept_alive",
    "loop_of",
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


def bind_arguments(eqn) -> tuple:
    """Functions and parameters with which the primitive of an equation is bound again."""
    found = eqn.primitive.get_bind_params(eqn.params)
    return found if isinstance(found, tuple) else ((), found)


def is_concrete(x) -> bool:
    """Whether this is a value, and not something of a transformation."""
    return not isinstance(x, jax.core.Tracer)


@dataclass
class Loop:
    """What the parameters of `scan` say.

    Attributes
    ----------
    jaxpr : of one step: of constants, what is carried, and what comes in
    consts, carry : how many of them there are
    length : number of steps
    reverse : whether the last is the first
    """

    jaxpr: Any
    consts: int
    carry: int
    length: int
    reverse: bool


def loop_of(eqn) -> Loop:
    """The loop of an equation whose primitive is `scan`.

    Counts are not among the parameters of every version: a step has one dimension less of what
    comes in and of what it yields.
    """
    jaxpr = eqn.params["jaxpr"]
    inner = jaxpr.jaxpr
    coming = sum(a.aval.ndim != b.aval.ndim for a, b in zip(eqn.invars, inner.invars, strict=True))
    yields = sum(
        a.aval.ndim != b.aval.ndim for a, b in zip(eqn.outvars, inner.outvars, strict=True)
    )
    carry = len(eqn.outvars) - yields
    consts = len(eqn.invars) - coming - carry
    return Loop(jaxpr, consts, carry, eqn.params["length"], eqn.params["reverse"])
