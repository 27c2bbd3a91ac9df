"""Laws of Gaussian Markov random fields: of any precision matrix, of a known one, and BYM2."""

from math import log, pi

import pytensor
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform

from .._scipy.null_space import NullSpace
from ..pytensor import _ops as ops
from ..pytensor._matrix import SymmetricMatrix
from ..pytensor._null_space import SemidefiniteFactor, project
from ._field import Law
from ._plane import Plane


class MatrixLaw(Law):
    """N(mu, Q^-1) of packed values of Q; with e as a third parameter under constraints C x = e."""

    def __init__(self, name, Q: SymmetricMatrix, null_space: NullSpace | None, C):
        self.name = name
        self.length = Q.shape[0]
        self.pattern = Q.pattern
        self.weak_pivots = "accept" if Q._accept_weak else "refuse"
        self.null_space = null_space
        self.C = C
        self.cores = ("n", "a") if C is None else ("n", "a", "c")
        if C is not None:
            self.plane = Plane(self.unconditional(Q.values).condition(C)._rows.T)
        elif null_space is not None:
            self.plane = Plane(null_space.dense())

    def unconditional(self, values):
        """Return the precision matrix with these values."""
        Q = SymmetricMatrix(self.pattern, values, weak_pivots=self.weak_pivots)
        return Q if self.null_space is None else SemidefiniteFactor(Q, self.null_space)

    def field(self, values, *e):
        """Return the field with these values, under the constraints."""
        field = self.unconditional(values)
        return field if self.C is None else field.condition(self.C, *e)

    def logp(self, x, mu, values, *e):
        return self.field(values, *e).gmrf_logp(x, mu)

    def of_noise(self, z, mu, values, *e):
        field = self.field(values, *e)
        if self.C is None:
            return mu + field.sample(z[..., 0, :])
        return field.sample(z[..., 0, :], mu)

    def offset(self, mu, values, *e):
        return self.plane.offset(mu) if self.C is None else self.field(values, *e)._e

    def mean(self, mu, values, *e):
        if self.C is None:
            return mu
        return mu + (self.offset(mu, values, *e) - self.plane.offset(mu)) @ self.plane.basis.T


class Structure:
    """A known, positive semidefinite matrix R, with its factor.

    Attributes
    ----------
    null_space : NullSpace or None
    logdet : float
        Logarithm of the product of the nonzero eigenvalues.
    arrays : tuple of ndarray
        Packed values of R, and flat panels of the factor of R with rows grounded. They are
        parameters of a random variable: nothing is factorized when a model runs.
    """

    def __init__(self, R: SymmetricMatrix, null_space: NullSpace | None):
        self.pattern = R.pattern
        self.null_space = null_space
        field = self._field(R)
        definite = R if null_space is None else field.grounded
        self.rank = R.shape[0] if null_space is None else field.rank
        values, panels, logdet = pytensor.function(
            [], [R.values, definite._factor, field.logdet()], mode="FAST_COMPILE"
        )()
        self.arrays, self.logdet = (values, panels), float(logdet)

    @property
    def shape(self):
        """Shape of R."""
        return self.pattern.shape

    @property
    def dtype(self):
        """Type of the values."""
        return self.arrays[0].dtype.name

    def _field(self, R):
        return R if self.null_space is None else SemidefiniteFactor(R, self.null_space)

    def matrix(self, values):
        """Return R of its packed values."""
        return SymmetricMatrix(self.pattern, values)

    def sample(self, z, panels):
        """Make of white noise (..., n) a draw with covariance R^+."""
        solve = ops.SolveTriangular(self.pattern, lower=False, permute=True)
        x = solve(panels, z[..., None])[..., 0]
        return x if self.null_space is None else project(self.null_space, x)


class ScaledLaw(Law):
    """N(mu, sigma^2 R^+) of a known matrix R; parameters mu, sigma and the arrays of R."""

    cores = ("n", "", "a", "l")

    def __init__(self, name, structure: Structure):
        self.name = name
        self.structure = structure
        self.length = structure.pattern.shape[0]
        if structure.null_space is not None:
            self.plane = Plane(structure.null_space.dense())

    def logp(self, x, mu, sigma, values, panels):
        S = self.structure
        squares = S.matrix(values).quad_form((x - mu) / sigma[..., None], x_ndim=1)
        return 0.5 * (S.logdet - S.rank * log(2 * pi) - squares) - S.rank * pt.log(sigma)

    def of_noise(self, z, mu, sigma, values, panels):
        return mu + sigma[..., None] * self.structure.sample(z[..., 0, :], panels)

    def offset(self, mu, *parameters):
        return self.plane.offset(mu)

    def mean(self, mu, *parameters):
        return mu


class BYM2Law(Law):
    """sigma (sqrt(rho) u + sqrt(1 - rho) v), u of covariance R^+ and v white noise.

    The covariance S = sigma^2 (rho R^+ + (1 - rho) I) is dense. Let A = rho I + (1 - rho) R, which
    has the pattern of R, and let V span the null space of R, with k columns. All these matrices
    commute, so that with y = x / sigma, y' the part of y that is orthogonal to V

        x^T S^-1 x = y'^T R A^-1 y' + |V^T y|^2 / (1 - rho),
        log det S  = n log sigma^2 + log det A - log pdet R + k log((1 - rho) / rho).
    """

    cores = ("", "", "a", "l")
    noises = 2

    def __init__(self, structure: Structure):
        self.name = "BYM2"
        self.structure = structure
        self.length = structure.pattern.shape[0]

    def logp(self, x, sigma, rho, values, panels):
        S, n = self.structure, self.length
        y = x / sigma[..., None]
        inside = y if S.null_space is None else project(S.null_space, y)
        R = S.matrix(values)
        A = R.with_values(values * (1 - rho)[..., None]).add_diagonal(rho[..., None])
        squares = (R.matvec(inside, x_ndim=1) * A.solve(inside, b_ndim=1)).sum(axis=-1)
        squares += ((y - inside) ** 2).sum(axis=-1) / (1 - rho)
        logdet = 2 * n * pt.log(sigma) + A.logdet() - S.logdet
        logdet += (n - S.rank) * (pt.log1p(-rho) - pt.log(rho))
        return -0.5 * (n * log(2 * pi) + logdet + squares)

    def of_noise(self, z, sigma, rho, values, panels):
        u = self.structure.sample(z[..., 0, :], panels)
        shared, own = pt.sqrt(rho)[..., None], pt.sqrt(1 - rho)[..., None]
        return sigma[..., None] * (shared * u + own * z[..., 1, :])

    def mean(self, *parameters):
        return 0.0

    def transform(self):
        null_space = self.structure.null_space
        return None if null_space is None else UnitAlong(Plane(null_space.dense()))


class UnitAlong(Transform):
    """Coordinates of BYM2 with variance one along the null space V of R, and those on its plane.

    Along V there is nothing but sigma sqrt(1 - rho) v: as rho goes to one a sampler of x would meet
    a funnel, which has its neck in k directions only.
    """

    name = "unit_along"
    ndim_supp = 1

    def __init__(self, plane):
        self.plane = plane
        self.count = plane.basis.shape[1]

    def forward(self, value, rng, size, sigma, rho, *arrays):
        """Return the coordinates, first those along V."""
        along = self.plane.offset(value) / deviation(sigma, rho)[..., None]
        return pt.concatenate([along, self.plane.coordinates(value)], axis=-1)

    def backward(self, value, rng, size, sigma, rho, *arrays):
        """Return the field."""
        along = value[..., : self.count] * deviation(sigma, rho)[..., None]
        return self.plane.point(value[..., self.count :], along)

    def log_jac_det(self, value, rng, size, sigma, rho, *arrays):
        """Return the logarithm of the change of volume."""
        return self.count * pt.log(deviation(sigma, rho)) + value.sum(axis=-1).zeros_like()


def deviation(sigma, rho):
    """Return the standard deviation of BYM2 along the null space of its structure."""
    return sigma * pt.sqrt(1 - rho)
