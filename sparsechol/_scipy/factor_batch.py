"""FactorBatch: what the factors of many matrices have in common, of Cholesky and signed."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import derivatives
from .factor_base import FactorBase, checked
from .input import dense_rhs, unmasked
from .single_factor import SingleFactor


class FactorBatch(FactorBase):
    """Solve and invert many matrices of one pattern; item i is the factor of one of them."""

    _single: ClassVar[type[SingleFactor]]

    _is_batch = True

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, item: int) -> Any:
        factor = object.__new__(self._single)
        self._valid_panels  # noqa: B018 - raises where there is no factor
        state = self.__getstate__()
        own = {name: state[name][item][None].copy() for name in self._rows}
        factor._set_state(state | own)
        return factor

    def _as_many(self, values: ArrayLike) -> np.ndarray:
        """Return packed values of as many matrices."""
        packed = self.pattern._packed_batch(values, self.dtype)
        if len(packed) != len(self):
            raise ValueError(f"{len(packed)} matrices do not fit a batch of {len(self)}")
        return packed

    def _columnwise(self, b: ArrayLike, threads: int | None, solve: Any = None) -> np.ndarray:
        """Solve for every matrix; by `solve` where `_solve` is not enough."""
        b = unmasked(b, "b")
        count, n = len(self), self.shape[0]
        if b.ndim not in (2, 3) or b.shape[:2] != (count, n):
            raise ValueError(
                f"the shapes of the batch, {count} matrices of {(n, n)}, and b, {b.shape}, do not"
                f" fit: b is ({count}, {n}) or ({count}, {n}, k)"
            )
        rows = b.reshape(count * n, *b.shape[2:])
        columns, _ = dense_rhs(rows, count * n, self._vector_dtype(b.dtype.kind == "c"))
        columns = columns.reshape(count, n, b.shape[2] if b.ndim == 3 else 1)
        solve = self._solve if solve is None else solve
        return checked(solve(columns, self._both_triangles(), threads)).reshape(b.shape)

    def partial_inverse(self, *, threads: int | None = None) -> np.ndarray:
        """Compute the entries of every ``A_i^-1`` on the pattern of A.

        Parameters
        ----------
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        values : (len(self), len(pattern.indices)) ndarray
            The lower triangles, packed as the values of the matrices are.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> S = sc.analyze(np.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> S.factorize_batch([[2.0, 1.0, 2.0], [1.0, 0.0, 4.0]]).partial_inverse().round(6)
        array([[ 0.666667, -0.333333,  0.666667],
               [ 1.      , -0.      ,  0.25    ]])
        """
        return checked(self._on_pattern(self._inverse(threads)))

    solve_vjp = derivatives.solve_vjp
    partial_inverse_vjp = derivatives.partial_inverse_vjp
