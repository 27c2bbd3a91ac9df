"""Transformations of JAX, and what each of them gives, put together from derivatives."""

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

# What is done to a real function of the stored values.
TRANSFORMATIONS = {
    "eval": lambda f, a, da: f(a),
    "jit": lambda f, a, da: jax.jit(f)(a),
    "jvp": lambda f, a, da: jax.jvp(f, (a,), (da,)),
    "grad": lambda f, a, da: jax.grad(f)(a),
    "jit grad": lambda f, a, da: jax.jit(jax.grad(f))(a),
    "linearize": lambda f, a, da: jax.linearize(f, a)[1](da),
    "vmap": lambda f, a, da: jax.vmap(f)(jnp.stack([a, 1.1 * a, a + 0.1])),
    "vmap grad": lambda f, a, da: jax.vmap(jax.grad(f))(jnp.stack([a, 1.1 * a])),
    "grad vmap": lambda f, a, da: jax.grad(lambda t: jnp.sum(jax.vmap(lambda s: f(a * s))(t)))(
        jnp.array([1.0, 1.2])
    ),
    "jacfwd jacrev": lambda f, a, da: jax.jacfwd(jax.jacrev(f))(a),
    "jacrev jacrev": lambda f, a, da: jax.jacrev(jax.jacrev(f))(a),
    "jacfwd jacfwd": lambda f, a, da: jax.jacfwd(jax.jacfwd(f))(a),
    "jacrev jacfwd": lambda f, a, da: jax.jacrev(jax.jacfwd(f))(a),
    "hvp": lambda f, a, da: jax.jvp(jax.grad(f), (a,), (da,)),
    "checkpoint": lambda f, a, da: jax.grad(jax.checkpoint(f))(a),
    "scan": lambda f, a, da: jax.lax.scan(
        lambda c, t: (c + f(a * t), f(a * t)), 0.0, jnp.array([1.0, 1.1])
    ),
    "grad scan": lambda f, a, da: jax.grad(
        lambda x: jax.lax.scan(lambda c, t: (c + f(x * t), None), 0.0, jnp.array([1.0, 1.1]))[0]
    )(a),
    "third": lambda f, a, da: jax.grad(
        lambda x: jnp.vdot(jax.jvp(jax.grad(f), (x,), (da,))[1], da).real
    )(a),
    "fourth": lambda f, a, da: jax.jvp(
        jax.grad(lambda x: jax.jvp(lambda y: jnp.vdot(jax.grad(f)(y), da).real, (x,), (da,))[1]),
        (a,),
        (da,),
    ),
}

# Those done operation by operation; the others are one program.
EAGER = ["eval", "jit", "jvp", "grad", "jit grad", "linearize", "vmap", "vmap grad", "hvp"]


def transform(name, f, a, da, eager=False):
    """Apply a transformation: as one program, or else JAX compiles each operation on its own."""

    def apply(a, da):
        return TRANSFORMATIONS[name](f, a, da)

    return (apply if eager else jax.jit(apply))(a, da)


class Expected:
    """The results of all transformations, put together from few derivatives of a dense function."""

    def __init__(self, f, a, da):
        self.f, self.a, self.da = f, a, da

    @cached_property
    def first(self):
        """Values and gradients at all points."""
        a = self.a
        points = jnp.stack([a, 1.1 * a, 1.2 * a, a + 0.1])
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(self.f)))(points))

    @cached_property
    def second(self):
        """The derivative of the gradient along da, and of a real function the Hessian."""

        def derivatives(a, da):
            g = jax.grad(self.f)
            hessian = None if jnp.iscomplexobj(a) else jax.jacfwd(g)(a)
            return jax.jvp(g, (a,), (da,))[1], hessian

        return jax.jit(derivatives)(self.a, self.da)

    def higher(self, order):
        """The third derivative along da and its conjugate, or with it the fourth, also along da."""

        def along(g, change):
            return lambda a: jax.jvp(g, (a,), (change,))[1]

        def derivatives(a, da):
            third = along(along(jax.grad(self.f), da.conj()), da)
            return third(a) if order == 3 else jax.jvp(third, (a,), (da,))

        return jax.jit(derivatives)(self.a, self.da)

    def __getitem__(self, name):
        values, (g, g_larger, g_largest, _) = self.first
        slope = np.sum(g * self.da).real
        match name:
            case "eval" | "jit":
                return values[0]
            case "grad" | "jit grad" | "checkpoint":
                return g
            case "jvp":
                return values[0], slope
            case "linearize":
                return slope
            case "vmap":
                return values[[0, 1, 3]]
            case "vmap grad":
                return np.stack([g, g_larger])
            case "grad vmap":
                return np.sum([g * self.a, g_largest * self.a], axis=1).real
            case "scan":
                return values[0] + values[1], values[:2]
            case "grad scan":
                return g + 1.1 * g_larger
            case "hvp":
                return g, self.second[0]
            case "third":
                return self.higher(3)
            case "fourth":
                return self.higher(4)
        assert name.startswith("jac"), name
        return self.second[1]
