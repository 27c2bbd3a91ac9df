"""Solves with sparse unsymmetric matrices, by SciPy's SuperLU, with derivatives of every order."""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from .._typing import MatrixLike
from ..coloring import Coloring, Templates
from ..coloring._pattern import coordinates, entries_of
from ._matrix import constant


def superlu_solve(
    values: Any, sparsity: MatrixLike | Coloring | Templates, b: Any, *, trans: bool = False
) -> Variable:
    """Solve a linear system with a sparse unsymmetric matrix, by SciPy's SuperLU.

    Parameters
    ----------
    values : (nnz,) tensor variable
        The entries by column, as ``sparse_jacobian(..., format="values")`` returns them.
    sparsity : (n, n) sparse or dense array, or Coloring, or Templates
        Where the entries are; the second part of what `sparse_jacobian` returns.
    b : (n,) or (n, k) tensor variable
        Right-hand sides.
    trans : bool, optional
        Whether to solve with the transpose.

    Returns
    -------
    x : tensor variable of the shape of b

    Raises
    ------
    ValueError
        If the matrix is not square. When the graph runs: if sizes do not fit.
    RuntimeError
        When the graph runs: if the matrix is singular.

    Notes
    -----
    Each solve factorizes the matrix. Derivatives are solves with the matrix and with its transpose.
    Numba runs SciPy in object mode, and JAX cannot compile the Op.

    Examples
    --------
    >>> import pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x = pt.vector("x", shape=(2,))
    >>> f = pt.stack([x[0] ** 2 + x[1], x[0] * x[1] ** 2])
    >>> J = scpt.sparse_jacobian(f, x, format="values")
    >>> scpt.superlu_solve(*J, f).eval({x: [1.0, 1.0]}, mode="FAST_COMPILE")
    array([1., 0.])
    """
    A = sparsity.sparsity if isinstance(sparsity, Coloring | Templates) else entries_of(sparsity)
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"the matrix must be square, and its shape is {A.shape}")
    return SuperLUSolve(A, trans)(values, b)


class SuperLUSolve(Op):
    """Solve with a matrix of known pattern, or with its transpose."""

    __props__ = ("n", "_key", "trans")

    def __init__(self, sparsity: csc_array, trans: bool):
        self.sparsity, self.trans, self.n = sparsity, trans, sparsity.shape[0]
        self._key = sparsity.indptr.tobytes(), sparsity.indices.tobytes()

    def __str__(self):
        return f"SuperLUSolve{{n={self.n}, trans={self.trans}}}"

    def make_node(self, values, b):
        values, b = pt.as_tensor_variable(values), pt.as_tensor_variable(b)
        if values.type.ndim != 1 or b.type.ndim not in (1, 2):
            raise ValueError(
                "values must be a vector, and b a vector or a matrix: they have"
                f" {values.type.ndim} and {b.type.ndim} dimensions"
            )
        return Apply(self, [values, b], [pt.tensor(dtype="float64", shape=b.type.shape)])

    def infer_shape(self, *arguments):  # before PyTensor 3.1 there is one more
        return [arguments[-1][1]]

    def perform(self, node, inputs, output_storage):
        values, b = (np.asarray(x, np.float64) for x in inputs)
        S = self.sparsity
        if values.shape != (S.nnz,) or b.shape[0] != self.n:
            raise ValueError(
                f"{S.nnz} values and {self.n} rows of b are needed, not {len(values)} and {len(b)}"
            )
        A = csc_array((values, S.indices, S.indptr), shape=S.shape)
        output_storage[0][0] = splu(A).solve(b, trans="T" if self.trans else "N")

    def pullback(self, inputs, outputs, cotangents):
        values, b = inputs
        [x], [g] = outputs, cotangents
        if isinstance(g.type, DisconnectedType):
            return [DisconnectedType()(), DisconnectedType()()]
        adjoint = SuperLUSolve(self.sparsity, not self.trans)(values, g)
        i, j = map(constant, coordinates(self.sparsity))
        left, right = (x[i], adjoint[j]) if self.trans else (adjoint[i], x[j])
        product = left * right
        if b.type.ndim == 2:
            product = product.sum(axis=1)
        return [-product.astype(values.type.dtype), adjoint.astype(b.type.dtype)]

    L_op = pullback  # before PyTensor 3.0 had its name
