"""A^T W A + B with a fixed pattern."""

from typing import Any, cast

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable
from scipy.sparse import issparse

from .._scipy.gram_pattern import GramPattern, analyze_gram
from .._typing import MatrixLike, OrderingLike
from . import _ops as ops
from ._matrix import SymmetricMatrix, constant
from ._shapes import leading


class Gram(GramPattern):
    """Analysis of ``A^T W A + B``, and its values; made by `gram`."""

    def values(
        self,
        a: Any,
        w: Any = None,
        b: Any = None,
    ) -> SymmetricMatrix:
        """Return ``A^T W A + B``.

        Parameters
        ----------
        a : (..., len(indices)) tensor variable or array_like, or (m, n) SciPy sparse array
            The entries of A, by row with columns ascending; or A itself, a constant. The entries of
            a sparse variable in format 'csr' are ``pytensor.sparse.csm_data(A)``. Values by column
            go through `from_columns`.
        w : (..., m) or (..., m / k, k, k) tensor variable or array_like, optional
            The diagonal of W, or its blocks, of which the symmetric part counts. Ones by default.
        b : (..., len of B's packed values) tensor variable or array_like, or SymmetricMatrix
            Packed values of B, optional: zero by default.

        Returns
        -------
        SymmetricMatrix
            On the pattern `pattern`. Differentiable any number of times in a, w and b. Leading
            dimensions make a batch.

        Raises
        ------
        ValueError, TypeError
            If shapes do not fit, or values are not real.
        PatternMismatchError
            If a SciPy matrix has an entry outside of the analyzed pattern.

        Examples
        --------
        >>> import numpy as np, sparsechol.pytensor as scpt
        >>> G = scpt.gram(np.array([[1.0, 2.0], [0.0, 3.0]]))
        >>> G.values([1.0, 2.0, 3.0], w=[1.0, 10.0]).values.eval()
        array([ 1.,  2., 94.])
        """
        a = self.entries(cast("Any", a)) if issparse(a) else a
        w = self._unit_weights() if w is None else w
        if isinstance(b, SymmetricMatrix):
            self._check_pattern_of_b(b.pattern)
            b = b.values
        elif issparse(b) and self._of_b is not None:
            b = self._of_b.values(cast("Any", b))
        given = (a, w) if b is None else (a, w, b)
        a, w, *rest = operands = cast("Any", ops.as_floats(*given))
        for name, x in zip("awb", operands, strict=False):
            self._check_static(name, x.type.shape)
        if self.block > 1:
            w = w.flatten(w.type.ndim - 2)
        out = cast("Any", ops.GramForm(self)(a, w, a))
        for x in rest:
            places = self._places_of_b
            if not isinstance(places, slice):
                full = pt.zeros((*leading(x), self.pattern.indices.size), x.dtype)
                x = pt.set_subtensor(full[..., constant(places)], x)
            out = out + x
        return SymmetricMatrix(self.pattern, out)

    def from_columns(self, values: pt.TensorLike) -> TensorVariable:
        """Bring the entries of A from the order by column to the order by row.

        Parameters
        ----------
        values : (..., len(indices)) tensor variable or array_like
            By column, rows ascending, as `sparse_jacobian` with ``format="values"`` gives them.

        Returns
        -------
        TensorVariable, (..., len(indices))

        Examples
        --------
        >>> import numpy as np, sparsechol.pytensor as scpt
        >>> G = scpt.gram(np.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> G.from_columns([1.0, 3.0, 2.0, 4.0]).eval()
        array([1., 2., 3., 4.])
        """
        values = pt.as_tensor_variable(values)
        self._check_static("a", values.type.shape)
        return values[..., constant(self._by_column_places)]

    def _check_static(self, name, shape):
        """Raise ValueError for a shape that, as far as it is known, does not fit."""
        core = {"a": self.indices.shape, "w": self.weight_shape}.get(name)
        if core is None:
            core = self._of_b.indices.shape if self._of_b is not None else ()
        tail = shape[len(shape) - len(core) :]
        if len(shape) >= len(core):
            known = tuple(c if s is None else s for s, c in zip(tail, core, strict=True))
            shape = (*(1 if s is None else s for s in shape[: len(shape) - len(core)]), *known)
        self._check_length(name, shape)


def gram(
    A: MatrixLike,
    B: Any = None,
    *,
    block: int = 1,
    ordering: OrderingLike = "auto",
) -> Gram:
    """Analyze the normal equations ``A^T W A + B``, when the graph is built.

    Parameters
    ----------
    A : (m, n) SciPy sparse array or dense array
        Only its pattern counts. For a Jacobian that is the `sparsity` of its coloring.
    B : (n, n) SciPy sparse array, dense array, SymbolicFactor or SymmetricMatrix, optional
        Only its pattern counts, of which the lower triangle is read.
    block : int, optional
        With ``block=k`` W is block diagonal: a block belongs to k rows of A that follow one
        another. It is diagonal by default.
    ordering : optional
        Fill-reducing ordering, see `sparsechol.analyze`.

    Returns
    -------
    Gram
        Its `pattern` is the SymbolicFactor of the product, its method `values` makes the product.

    Raises
    ------
    ValueError
        If shapes do not fit, or rows of A have so many entries that they would make the product
        dense.

    Examples
    --------
    >>> import numpy as np, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> A = np.array([[1.0, -1.0], [0.0, 2.0]])
    >>> G = scpt.gram(A, np.eye(2))
    >>> w = pt.dvector("w")
    >>> logdet = scpt.logdet(G.values(G.entries(A), w, np.ones(2)))
    >>> pt.grad(logdet, w).eval({w: [1.0, 0.5]}).round(4)
    array([0.5714, 1.1429])
    """
    if isinstance(B, SymmetricMatrix):
        B = B.pattern
    return analyze_gram(Gram, A, B, block, ordering, None)
