"""Covariances of parameters, of latent values, and of functions of both, after `laplace`.

With the precision matrix H of latent values x at the mode, the covariance V of the parameters t and
J = dx/dt, the two have the joint normal density

    precision   [ H        -H J         ]     covariance   [ H^-1 + J V J^T   J V ]
                [ -J^T H   V^-1 + J^T H J ]                [ V J^T            V   ]

and a function g(x, t) has to first order the variance G_x H^-1 G_x^T + T V T^T, T = G_t + G_x J
(Kass, R. E., Steffey, D. (1989). Approximate Bayesian inference in conditionally independent
hierarchical models. J. Am. Stat. Assoc. 84(407); TMB's ``sdreport`` is this).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._exceptions import NotPositiveDefiniteError
from .._scipy.joint_pattern import joint_pattern
from ._compat import is_concrete
from ._factor import Factor, cholesky
from ._low_rank import LowRankFactor
from ._matrix import SymmetricMatrix
from ._newton import Minimization
from ._parameters import Parameters
from ._sparse_derivatives import sparse_jacobian
from ._typing import Pytree


class Estimate(NamedTuple):
    """A function of parameters and latent values with its standard errors, pytrees of one form."""

    value: Pytree
    standard_errors: Pytree


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("covariance", "gradient", "_mode", "_theta", "_sensitivity", "_factor"),
    meta_fields=("_problem", "_names", "_argnums"),
)
@dataclass(frozen=True)
class Uncertainty:
    """How exactly parameters and latent values are known; made by `Laplace.uncertainty`. A pytree.

    Parameters are counted in the order of `jax.tree.leaves`, each of them raveled.

    Attributes
    ----------
    covariance : (p, p) jax.Array
        The covariance matrix of the parameters: the inverse of the Hessian of ``-log_marginal``.
    gradient : (p,) jax.Array
        The gradient of `log_marginal` in the parameters: zero at the maximum, for which all else
        holds.
    """

    covariance: jax.Array
    gradient: jax.Array
    _mode: jax.Array = field(repr=False)
    _theta: tuple = field(repr=False)
    _sensitivity: jax.Array = field(repr=False)  # J, (n, p)
    _factor: Factor | LowRankFactor = field(repr=False)  # of H
    _problem: Minimization = field(repr=False)
    _names: Parameters = field(repr=False)
    _argnums: tuple[int, ...] = field(repr=False)

    def standard_errors(self) -> Pytree:
        """Compute the standard errors of all parameters.

        Returns
        -------
        pytree of arrays
            Like `theta`; a tuple where there are several arguments with parameters.
        """
        return self._unravel(jnp.sqrt(jnp.diagonal(self.covariance)))

    def latent_standard_errors(self) -> Pytree:
        """Compute the standard errors of all latent values, the parameters being estimates.

        Returns
        -------
        pytree of arrays
            Like `x0`: roots of the diagonal of ``H^-1 + J V J^T``.
        """
        J = self._sensitivity
        variances = self._factor.diag_inverse() + jnp.sum((J @ self.covariance) * J, axis=1)
        return self._problem.unravel(jnp.sqrt(variances))

    def propagate(self, g: Callable[..., Pytree]) -> Estimate:
        """Compute a function of latent values and parameters with its standard errors.

        Parameters
        ----------
        g : callable
            ``g(x, *theta)``, with the arguments of `logjoint`, returns a real floating point array
            or a pytree of them.

        Returns
        -------
        Estimate
            ``(value, standard_errors)``: ``g`` at the mode, and standard errors by the delta
            method: of first order, exact for a linear function of normal variables.

        Notes
        -----
        The Jacobian in x is sparse, see `sparse_jacobian`, so that there may be as many values as
        latent ones; see `Factor.inverse_quadratic` for what each costs.
        """
        x, problem = self._mode, self._problem
        vector, back = ravel_pytree(self._parameters)

        def flat(x, theta):
            return ravel_pytree(g(problem.unravel(x), *theta))[0]

        def along(t):
            moved = x + self._sensitivity @ (t - vector)
            return flat(moved, self._with(back(t)))

        value, pack = ravel_pytree(g(problem.unravel(x), *self._theta))
        T = jax.jacfwd(along)(vector)
        variances = jnp.sum((T @ self.covariance) * T, axis=1)
        if x.size:
            rows = sparse_jacobian(flat, x, self._theta, format="bcsr")(x, self._theta)
            variances += self._factor.inverse_quadratic(rows)
        return Estimate(pack(value), pack(jnp.sqrt(variances)))

    def _sparse_factor(self) -> Factor:
        """Return the factor of H, or raise ValueError if a part of low rank was split off."""
        if isinstance(self._factor, LowRankFactor):
            raise ValueError(
                "the precision matrix is a LowRankMatrix, because logjoint is not linear in a sum"
                " over many latent values: there are standard errors, and neither draws nor a joint"
                " precision matrix"
            )
        return self._factor

    def precision(self) -> SymmetricMatrix:
        """Compute the joint precision matrix of latent values and parameters.

        Returns
        -------
        SymmetricMatrix of order n + p
            Latent values come first, then the parameters; `cholesky` factors it. In TMB this is
            ``getJointPrecision``.
        """
        H, J = self._sparse_factor().matrix, self._sensitivity
        product, p = H @ J, J.shape[1]
        corner = jnp.linalg.inv(self.covariance) + J.T @ product
        P, places = joint_pattern(H.pattern, p)
        parts = H.values, -product.ravel(), corner[np.tril_indices(p)]
        return SymmetricMatrix(P, jnp.concatenate(parts)[places])

    def sample(self, key: jax.Array, *, shape: tuple[int, ...] | int = ()) -> tuple[Pytree, Pytree]:
        """Draw latent values and parameters from their joint normal approximation.

        Parameters
        ----------
        key : random key
        shape : int or tuple of int, optional
            Shape of the draws.

        Returns
        -------
        x : pytree like `x0`, with `shape` in front
        theta : pytree like `theta`, with `shape` in front
            A tuple where there are several arguments with parameters.
        """
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        count = math.prod(sizes)
        first, second = jax.random.split(key)
        vector, _ = ravel_pytree(self._parameters)
        z = jax.random.normal(first, (count, vector.size), vector.dtype)
        moved = z @ jnp.linalg.cholesky(self.covariance).T
        x = (
            self._mode
            + moved @ self._sensitivity.T
            + self._sparse_factor().sample(second, shape=count)
        )

        def shaped(unravel, draws):
            leaves = jax.vmap(unravel)(draws)
            return jax.tree.map(lambda y: y.reshape(*sizes, *y.shape[1:]), leaves)

        return shaped(self._problem.unravel, x), shaped(self._unravel, vector + moved)

    @property
    def _parameters(self) -> tuple:
        """The arguments with parameters."""
        return tuple(self._theta[k] for k in self._argnums)

    def _with(self, parameters: tuple) -> tuple:
        """Return all arguments, given those with parameters."""
        return replaced(self._theta, self._argnums, parameters)

    def _unravel(self, vector: jax.Array) -> Pytree:
        """Return the parameters of a vector; of a single argument without a tuple."""
        found = self._names.unravel(vector)
        parts = tuple(found[k] for k in self._argnums)
        return parts[0] if len(parts) == 1 else parts


def chosen(theta: tuple, argnums: int | Sequence[int] | None) -> tuple[int, ...]:
    """Read which arguments hold parameters; by default all of floating point numbers.

    Raises
    ------
    ValueError
        If there are none, or a number is no argument.
    TypeError
        If an argument that is asked for holds other numbers.
    """

    def real(k):
        leaves = jax.tree.leaves(theta[k])
        return all(jnp.issubdtype(jnp.result_type(y), jnp.floating) for y in leaves)

    if argnums is None:
        found = tuple(k for k in range(len(theta)) if jax.tree.leaves(theta[k]) and real(k))
        if not found:
            raise ValueError(
                "there are no parameters: they are the arguments theta of"
                " laplace(logjoint, x0, *theta), not variables of the closure of logjoint"
            )
        return found
    found = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for k in found:
        if not 0 <= k < len(theta):
            raise ValueError(f"argnums has {k}: there are {len(theta)} arguments theta, from 0")
        if not real(k):
            raise TypeError(f"theta[{k}] must hold real floating point numbers")
    return found


def replaced(theta: tuple, argnums: tuple[int, ...], parameters: tuple) -> tuple:
    """Put parameters in the places of some arguments."""
    new = dict(zip(argnums, parameters, strict=True))
    return tuple(new.get(k, y) for k, y in enumerate(theta))


def uncertainty(
    problem: Minimization, log_integral: Callable[..., Any], known: tuple, argnums: tuple[int, ...]
) -> Uncertainty:
    """Differentiate the log marginal twice at a mode that is known.

    Parameters
    ----------
    problem : Minimization
    log_integral : callable
        ``log_integral(problem, x, args)`` returns the approximation and H.
    known : tuple
        The mode, the arguments theta, and the variables of the closure.
    argnums : tuple of int
        Which arguments are parameters.
    """
    mode, theta, closure = known
    parameters = tuple(theta[k] for k in argnums)
    vector, back = ravel_pytree(parameters)

    @jax.jit
    def derivatives(mode, theta, closure):
        def log_marginal(t):
            args = (*replaced(theta, argnums, back(t)), *closure)
            x = problem.near(mode, args)
            return log_integral(problem, x, args)[0], x

        def slope(t):
            gradient, x = jax.grad(log_marginal, has_aux=True)(t)
            return (gradient, x), gradient

        t = ravel_pytree(tuple(theta[k] for k in argnums))[0]
        (curvature, J), gradient = jax.jacfwd(slope, has_aux=True)(t)
        return gradient, -(curvature + curvature.T) / 2, J

    gradient, curvature, J = derivatives(mode, theta, closure)
    root = jnp.linalg.cholesky(curvature)
    covariance = jax.scipy.linalg.cho_solve((root, True), jnp.eye(vector.size, dtype=root.dtype))
    names = Parameters.of(tuple(y if k in argnums else None for k, y in enumerate(theta)), "theta")
    if is_concrete(covariance) and not np.isfinite(covariance).all():
        raise_undetermined(np.asarray(curvature), np.asarray(gradient), names)
    factor = cholesky(problem.hessian.matrix(mode, *theta, *closure))
    results = covariance, gradient, mode, theta, J, factor
    return Uncertainty(*results, problem, names, argnums)


def raise_undetermined(curvature: np.ndarray, gradient: np.ndarray, names: Parameters) -> None:
    """Raise an error that names the parameters along the direction of least curvature."""
    if not np.isfinite(curvature).all():
        raise ValueError("the second derivatives of log_marginal are not finite")
    scale = np.sqrt(np.maximum(np.abs(np.diagonal(curvature)), np.finfo(curvature.dtype).tiny))
    least, vectors = np.linalg.eigh(curvature / np.outer(scale, scale))
    part = np.abs(vectors[:, 0])
    rows = np.flatnonzero(part > 0.1 * part.max())
    raise NotPositiveDefiniteError(
        "the Hessian of -log_marginal in the parameters is not positive definite:"
        f" the data do not determine {names.named(rows)}, or log_marginal has no maximum here (its"
        f" gradient is {np.array2string(gradient, precision=3)})",
        int(rows[0]),
        float(least[0]),
        None,
        tuple(map(int, rows)),
    )
