"""Collect everything that differs between versions of JAX, or is not quite public in them."""

import os
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
from jax.core import ShapedArray, Tracer
from jax.extend.core import ClosedJaxpr, JaxprEqn, Primitive
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
    "bound",
    "buffer_callback",
    "define_batching",
    "define_jvp",
    "define_lowering",
    "define_transpose",
    "evaluate",
    "is_concrete",
    "is_linear",
    "kept_alive",
    "line_of",
    "loop_of",
    "lower_function",
    "without_folding",
    "zero_like",
]

Zero = ad.Zero
evaluate = xla.apply_primitive  # runs a primitive outside of jit
is_linear = ad.is_undefined_primal  # true of the operand that a transpose rule is asked about
lower_function = mlir.lower_fun


def define_jvp(primitive: Primitive, rule: Callable) -> None:
    """Register the forward derivative of a primitive."""
    ad.primitive_jvps[primitive] = rule


def define_transpose(primitive: Primitive, rule: Callable) -> None:
    """Register the transpose of a primitive."""
    ad.primitive_transposes[primitive] = rule


def define_batching(primitive: Primitive, rule: Callable) -> None:
    """Register how `jax.vmap` batches a primitive."""
    batching.primitive_batchers[primitive] = rule


def define_lowering(primitive: Primitive, rule: Callable, platform: str | None = None) -> None:
    """Register how a primitive is compiled, on one platform or on all others."""
    mlir.register_lowering(primitive, rule, platform=platform)


_forever: list = []


def kept_alive(context: mlir.LoweringRuleContext) -> list:
    """Return the list of objects that a program keeps alive; a global list if JAX has none."""
    return getattr(context.module_context, "keepalives", _forever)


def zero_like(x: jax.Array) -> ad.Zero:
    """Return the tangent of a constant."""
    return ad.Zero(jax.typeof(x).to_tangent_aval())


def _bind_arguments(eqn: JaxprEqn) -> tuple:
    """Return functions and parameters to bind the primitive of an equation again."""
    found = eqn.primitive.get_bind_params(eqn.params)
    return found if isinstance(found, tuple) else ((), found)


def bound(eqn: JaxprEqn, operands: list) -> list:
    """Return the results of an equation with other operands."""
    functions, params = _bind_arguments(eqn)
    out = eqn.primitive.bind(*functions, *operands, **params)
    return list(out) if eqn.primitive.multiple_results else [out]


def is_concrete(x: object) -> bool:
    """Tell whether this is a value, and not a tracer of a transformation."""
    return not isinstance(x, Tracer)


# ---- tracing ----

try:
    from jax._src.interpreters.partial_eval import const_fold_rules
except ImportError:  # not public: then constants are folded as JAX does it
    const_fold_rules = {}
_lock = threading.Lock()
_folding: dict = {"off": 0, "rule": None}


@contextmanager
def without_folding() -> Iterator[None]:
    """Keep casts of constants in the jaxprs that are traced here.

    JAX folds them with NumPy when it traces, and computes them with XLA when it does not. Numbers
    that do not fit the new type differ then, and the sparsity must hold for both.
    """
    cast = next((p for p in list(const_fold_rules) if p.name == "convert_element_type"), None)
    with _lock:
        if cast is not None and not _folding["off"]:
            _folding["rule"] = (cast, const_fold_rules.pop(cast))
        _folding["off"] += 1
    try:
        yield
    finally:
        with _lock:
            _folding["off"] -= 1
            if not _folding["off"] and _folding["rule"] is not None:
                key, rule = _folding["rule"]
                const_fold_rules[key], _folding["rule"] = rule, None


_INSIDE = (
    os.path.dirname(jax.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
)
_STANDARD = sysconfig.get_paths()["stdlib"] + os.sep


def line_of(eqn: JaxprEqn) -> str:
    """Return the line of the user's program that an equation comes from, '' if not known."""
    traceback = getattr(eqn.source_info, "traceback", None)
    for frame in getattr(traceback, "frames", ()):
        name = frame.file_name
        standard = name.startswith(_STANDARD) and "site-packages" not in name
        if not standard and not name.startswith(_INSIDE) and not name.startswith("<"):
            return f"{name}:{frame.line_num}"
    return ""


# ---- loops ----


@dataclass
class Loop:
    """Parameters of `scan`.

    Attributes
    ----------
    jaxpr : ClosedJaxpr
        The program of one step, of constants, carried values and inputs.
    consts, carry : int
        Numbers of constants and of carried values.
    length : int
        Number of steps.
    reverse : bool
        Whether the steps run from the last to the first.
    """

    jaxpr: ClosedJaxpr
    consts: int
    carry: int
    length: int
    reverse: bool


def loop_of(eqn: JaxprEqn) -> Loop:
    """Return the loop of an equation whose primitive is `scan`.

    Not every version of JAX has the counts among the parameters. They are found by dimensions: the
    inputs and outputs of a step have one dimension less than those of the loop.
    """
    jaxpr = eqn.params["jaxpr"]
    inner = jaxpr.jaxpr
    coming = sum(_ndim(a) != _ndim(b) for a, b in zip(eqn.invars, inner.invars, strict=True))
    yields = sum(_ndim(a) != _ndim(b) for a, b in zip(eqn.outvars, inner.outvars, strict=True))
    carry = len(eqn.outvars) - yields
    consts = len(eqn.invars) - coming - carry
    return Loop(jaxpr, consts, carry, eqn.params["length"], eqn.params["reverse"])


def _ndim(variable: Any) -> int:
    """Return the number of dimensions of a variable of a jaxpr."""
    return variable.aval.ndim
