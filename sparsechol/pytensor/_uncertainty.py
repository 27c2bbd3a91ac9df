"""Covariances of parameters, of latent values, and of functions of both, after `laplace`.

The formulas are those of `sparsechol.jax._uncertainty`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from scipy.sparse import csc_array

from .._cached import cached_property
from .._scipy.joint_pattern import joint_pattern
from .._scipy.symbolic_factor import analyze
from ._detect import as_expression, as_inputs, gradient, shape_of
from ._graphs import joined, rebuilt, rows_of_jacobian
from ._low_rank import LowRankFactor
from ._matrix import SymmetricMatrix
from ._rows import Rows
from ._sparse_derivatives import sparse_jacobian

if TYPE_CHECKING:
    from ._laplace import Laplace


class Estimate(NamedTuple):
    """A function of parameters and latent values with its standard errors, of one shape."""

    value: Variable
    standard_errors: Variable


class Uncertainty:
    """How exactly parameters and latent values are known; made by `Laplace.uncertainty`.

    Parameters are counted in the order in which they were passed, each of them raveled.

    Attributes
    ----------
    parameters : list of variables
    """

    def __init__(self, laplace: "Laplace", parameters: Variable | Sequence[Variable]):
        self.parameters: list[Variable] = as_inputs(parameters)
        self._laplace, self._givens = laplace, laplace._givens
        self._shapes = [shape_of(x, self._givens) for x in self.parameters]
        self._size = sum(int(np.prod(shape)) for shape in self._shapes)

    @cached_property
    def gradient(self) -> Variable:
        """The gradient of `log_marginal` in the parameters, (p,): zero at the maximum."""
        return gradient(self._laplace.log_marginal, self.parameters)

    @cached_property
    def _information(self) -> SymmetricMatrix:
        """V^-1: minus the Hessian of the log marginal."""
        curvature = -rows_of_jacobian(self.gradient, self.parameters, self._size)
        P = analyze(np.ones((self._size, self._size)))
        column = np.repeat(np.arange(self._size), np.diff(P.indptr))
        return SymmetricMatrix(P, curvature[P.indices, column])

    @cached_property
    def covariance(self) -> Variable:
        """The covariance matrix of the parameters, (p, p), inverse of the negative Hessian."""
        return self._information.solve(np.eye(self._size))

    @cached_property
    def _sensitivity(self) -> Variable:
        """J, (n, p): the Jacobian of the mode in the parameters."""
        density = self._laplace._density
        slope = gradient(density.parts["value"], self.parameters)
        rows = rows_of_jacobian(slope, [density.x], self._size)
        return self._laplace.precision.solve(self._at_mode(rows).T)

    def _at_mode(self, *parts):
        found = rebuilt(list(parts), {self._laplace._density.x: self._laplace.mode})
        return found[0] if len(found) == 1 else found

    def _apart(self, vector):
        """Return what belongs to each parameter, in its shape, of a vector of all."""
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self._shapes)])
        lead = tuple(vector.shape)[:-1]
        return [
            vector[..., begin:end].reshape((*lead, *shape), ndim=len(lead) + len(shape))
            for shape, begin, end in zip(self._shapes, ends[:-1], ends[1:], strict=True)
        ]

    def standard_errors(self) -> list[Variable]:
        """Return the standard errors of each parameter.

        Returns
        -------
        list of variables
            Of the shapes of `parameters`.
        """
        return self._apart(pt.sqrt(pt.diagonal(self.covariance)))

    def latent_standard_errors(self) -> Variable:
        """Return the standard errors of all latent values, the parameters being estimates.

        Returns
        -------
        (n,) tensor variable
            Roots of the diagonal of ``H^-1 + J V J^T``.
        """
        J = self._sensitivity
        variances = self._laplace.precision.diag_inverse() + ((J @ self.covariance) * J).sum(axis=1)
        return pt.sqrt(variances)

    def propagate(self, expr: Variable | Sequence[Variable]) -> Estimate:
        """Return a function of latent values and parameters with its standard errors.

        Parameters
        ----------
        expr : tensor variable of floats, or sequence of them
            In the variable x that was passed to `laplace`, and in the parameters. A sequence is
            raveled and joined.

        Returns
        -------
        Estimate
            ``(value, standard_errors)``: `expr` at the mode, and standard errors by the delta
            method: of first order, exact for a linear function of normal variables.

        Notes
        -----
        The Jacobian in x is sparse, see `sparse_jacobian`, so that there may be as many values as
        latent ones; see `SymmetricMatrix.inverse_quadratic` for what each costs.
        """
        expr, x = as_expression(expr), self._laplace._density.x
        values, coloring = sparse_jacobian(expr, x, givens=self._givens, format="values")
        A = coloring.sparsity
        by_row = csc_array((np.arange(A.nnz), A.indices, A.indptr), shape=A.shape).tocsr()
        full = np.ones((A.shape[0], self._size))
        beside = sparse_jacobian(
            expr, self.parameters, sparsity=full, givens=self._givens, format="dense"
        )
        value, values, beside = self._at_mode(expr, values, beside)
        rows = Rows(by_row, values[by_row.data])
        T = beside + rows.product(self._sensitivity)
        variances = self._laplace.precision.inverse_quadratic(rows)
        variances = variances + ((T @ self.covariance) * T).sum(axis=1)
        return Estimate(value, pt.sqrt(variances).reshape(value.shape, ndim=value.type.ndim))

    def _sparse_precision(self) -> SymmetricMatrix:
        """Return H, or raise ValueError if a part of low rank was split off."""
        H = self._laplace.precision
        if isinstance(H, LowRankFactor):
            raise ValueError(
                "the precision matrix is a LowRankFactor, because logjoint is not linear in a sum"
                " over many latent values: there are standard errors, and neither draws nor a joint"
                " precision matrix"
            )
        return H

    def precision(self) -> SymmetricMatrix:
        """Return the joint precision matrix of latent values and parameters.

        Returns
        -------
        SymmetricMatrix of order n + p
            Latent values come first, then the parameters. In TMB this is ``getJointPrecision``.
        """
        H, J, p = self._sparse_precision(), self._sensitivity, self._size
        product = H @ J
        corner = self._information.todense() + J.T @ product
        P, places = joint_pattern(H.pattern, p)
        parts = [H.values, -product.ravel(), corner[np.tril_indices(p)]]
        return SymmetricMatrix(P, pt.concatenate(parts)[places])

    def sample(self, z: pt.TensorLike) -> tuple[Variable, list[Variable]]:
        """Make draws of latent values and parameters from their joint normal approximation.

        Parameters
        ----------
        z : (..., n + p) tensor variable or array_like
            Independent standard normal numbers.

        Returns
        -------
        x : (..., n) tensor variable
        parameters : list of variables
            Like `parameters`, with the leading dimensions of `z` in front.
        """
        found, n = self._laplace, self._laplace.precision.shape[0]
        z = pt.as_tensor_variable(z)
        moved = self._information.sample(z[..., n:])
        x = found.mode + self._sparse_precision().sample(z[..., :n]) + moved @ self._sensitivity.T
        return x, self._apart(joined(self.parameters) + moved)
