"""NormalDraws: draw from normal distributions whose precision matrices were factored."""

import math

import numpy as np

from .._typing import RandomState
from .factor_base import CholeskyBase, checked
from .input import draws_shape


class NormalDraws(CholeskyBase):
    """Draw by a triangular solve with the factor, or with each of a batch."""

    def sample(
        self,
        size: int | tuple[int, ...] | None = None,
        *,
        rng: RandomState = None,
        threads: int | None = None,
    ) -> np.ndarray:
        """Draw from the normal distribution with mean zero and precision matrix A.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the draws; by default a single draw.
        rng : numpy.random.Generator or seed, optional
        threads : int, optional
            Most threads to use, see `cholesky`.

        Returns
        -------
        x : ndarray of shape ``(*size, n)``, or ``(len(self), *size, n)`` of a batch
            Draws from N(0, A^-1): ``x = P^T L^-H z`` with standard normal z; for complex A
            circular, so that ``E[x x^H] = A^-1``. Those of different matrices are independent.

        References
        ----------
        Rue, H. (2001). Fast sampling of Gaussian Markov random fields. J. R. Stat. Soc. B 63(2).

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> F = sc.cholesky(np.diag([1.0, 4.0, 100.0]))
        >>> F.sample(10_000, rng=0).std(axis=0).round(1)
        array([1. , 0.5, 0.1])
        """
        shape = draws_shape(size)
        z = self._normal_draws(math.prod(shape), rng)
        x = checked(self._solve(z, self._one_triangle("C", permute=True), threads))
        rows = np.ascontiguousarray(x.swapaxes(1, 2))
        return self._result(rows.reshape(self._count, *shape, self.shape[0]))

    def _normal_draws(self, count: int, rng: RandomState) -> np.ndarray:
        """Draw independent standard normal numbers, `count` columns for each matrix."""
        rng, shape = np.random.default_rng(rng), (self._count, count, self.shape[0])
        z = rng.standard_normal(shape)
        if self.dtype.kind == "c":
            z = (z + 1j * rng.standard_normal(shape)) * np.sqrt(0.5)
        return z.astype(self.dtype).swapaxes(1, 2)
