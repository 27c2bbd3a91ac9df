"""Solve with a SymmetricMatrix in lineax.

Examples
--------
>>> import jax.numpy as jnp, lineax, numpy as np, sparsechol.jax as scj
>>> from sparsechol.jax.lineax_solver import Cholesky, SPDLinearOperator
>>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
>>> operator = SPDLinearOperator(scj.SymmetricMatrix(P, jnp.array([4.0, 1.0, 5.0])))
>>> print(lineax.linear_solve(operator, jnp.array([5.0, 6.0]), Cholesky()).value.round(4))
[1. 1.]
"""

from typing import Any

import jax
import jax.numpy as jnp

try:
    import lineax
except ImportError as error:
    raise ImportError("sparsechol.jax.lineax_solver needs lineax: pip install lineax") from error

from ._factor import Factor, cholesky
from ._matrix import SymmetricMatrix


class SPDLinearOperator(lineax.AbstractLinearOperator):
    """`SymmetricMatrix` as a lineax operator on vectors of shape (n,).

    Parameters
    ----------
    matrix : SymmetricMatrix
    """

    matrix: SymmetricMatrix

    def mv(self, vector: jax.Array) -> jax.Array:
        return self.matrix @ vector

    def as_matrix(self) -> jax.Array:
        return self.matrix.todense()

    def transpose(self) -> lineax.AbstractLinearOperator:
        return lineax.conj(self)  # Hermitian

    def in_structure(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(self.matrix.shape[:1], self.matrix.dtype)

    def out_structure(self) -> jax.ShapeDtypeStruct:
        return self.in_structure()


def matrix_of(operator: lineax.AbstractLinearOperator) -> SymmetricMatrix:
    """Return the matrix of an operator: one of `SPDLinearOperator`, scaled, or a sum of them."""
    if isinstance(operator, SPDLinearOperator):
        return operator.matrix
    if isinstance(operator, lineax.TaggedLinearOperator):
        return matrix_of(operator.operator)
    if isinstance(operator, lineax.NegLinearOperator):
        return -matrix_of(operator.operator)
    if isinstance(operator, lineax.MulLinearOperator):
        return real(operator.scalar) * matrix_of(operator.operator)
    if isinstance(operator, lineax.DivLinearOperator):
        return matrix_of(operator.operator) / real(operator.scalar)
    if isinstance(operator, lineax.AddLinearOperator):
        return matrix_of(operator.operator1) + matrix_of(operator.operator2)
    raise ValueError(f"this solver takes an SPDLinearOperator, not {type(operator).__name__}")


def real(factor):
    """Return a factor of a matrix, which must be real for the product to be Hermitian."""
    if jnp.iscomplexobj(factor):
        raise ValueError("a complex multiple of a Hermitian matrix is not Hermitian")
    return factor


class Cholesky(lineax.AbstractLinearSolver):
    """Sparse Cholesky factorization of an `SPDLinearOperator`, a multiple, or a sum of them.

    The state is a `Factor`: call ``solver.init(operator, {})`` once and pass ``state=`` for any
    number of right-hand sides. lineax differentiates through the operator. If the matrix is not
    positive definite, the solution is NaN and lineax reports a singular system.
    """

    def init(self, operator: lineax.AbstractLinearOperator, options: dict[str, Any]) -> Factor:
        del options
        return cholesky(matrix_of(operator))

    def compute(
        self, state: Factor, vector: jax.Array, options: dict[str, Any]
    ) -> tuple[jax.Array, lineax.RESULTS, dict[str, Any]]:
        del options
        return state.solve(vector), lineax.RESULTS.successful, {}

    def transpose(self, state: Factor, options: dict[str, Any]) -> tuple[Factor, dict[str, Any]]:
        return self.conj(state, options)  # Hermitian

    def conj(self, state: Factor, options: dict[str, Any]) -> tuple[Factor, dict[str, Any]]:
        return jax.tree.map(jnp.conj, state), options

    def assume_full_rank(self) -> bool:
        return True


@lineax.conj.register(SPDLinearOperator)
def _(operator):
    return SPDLinearOperator(jax.tree.map(jnp.conj, operator.matrix))


@lineax.linearise.register(SPDLinearOperator)
@lineax.materialise.register(SPDLinearOperator)
def _(operator):
    return operator


@lineax.diagonal.register(SPDLinearOperator)
def _(operator):
    return operator.matrix.diagonal().astype(operator.matrix.dtype)


@lineax.tridiagonal.register(SPDLinearOperator)
def _(operator):
    matrix = operator.as_matrix()
    return jnp.diag(matrix), jnp.diag(matrix, -1), jnp.diag(matrix, 1)


@lineax.is_symmetric.register(SPDLinearOperator)
def _(operator):
    return operator.matrix.dtype.kind != "c"


@lineax.is_positive_semidefinite.register(SPDLinearOperator)
def _(operator):
    return True


@lineax.is_diagonal.register(SPDLinearOperator)
@lineax.is_lower_triangular.register(SPDLinearOperator)
@lineax.is_upper_triangular.register(SPDLinearOperator)
@lineax.is_tridiagonal.register(SPDLinearOperator)
@lineax.has_unit_diagonal.register(SPDLinearOperator)
@lineax.is_negative_semidefinite.register(SPDLinearOperator)
def _(operator):
    return False
