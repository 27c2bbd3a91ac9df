"""Coordinates on the plane where linear constraints hold, for samplers that move freely.

The plane is C x = e, and the columns of U (n x k) are an orthonormal basis of the rows of C. Take k
rows J of U that are well conditioned, G the other ones, and the orthogonal matrix S for which
U_J S is symmetric and negative semidefinite (polar decomposition). The block reflector
I - Y (I - U_J S)^-1 Y^T with Y = E_J - U S maps the coordinates J to the columns of U, and the
others to the plane. With B = U_G S a point of the plane has the coordinates y:

    x_J = t,   x_G = y - B M t,   t = B^T y,   M = (I - U_J S)^-1;     y = x_G + B M x_J.

The map is an isometry: densities are those on the plane, and no Jacobian is needed. For
C = (1, ..., 1) it is the transform of `pymc.ZeroSumNormal`. (Schreiber and Parlett, 1988, on block
reflectors.)
"""

import numpy as np
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform
from scipy.linalg import polar, qr

ABSOLUTE, RELATIVE = 1e-6, 1e-6  # how far from the plane a point may be


class Plane:
    """The points x with U^T x = c, for orthonormal U of shape (n, k).

    Attributes
    ----------
    basis : (n, k) ndarray
        U.
    """

    def __init__(self, basis: np.ndarray):
        self.basis = basis
        count = self.basis.shape[1]
        pivots = qr(self.basis.T, mode="r", pivoting=True)[1]
        solved, rest = np.sort(pivots[:count]), np.sort(pivots[count:])
        self._place = np.argsort(np.concatenate([solved, rest]))  # of x in (x_J, x_G)
        self._solved, self._rest = solved, rest
        turn = -polar(self.basis[solved])[0].T
        self._below = self.basis[rest] @ turn
        self._weighted = np.linalg.solve(
            np.eye(count) - turn.T @ self.basis[solved].T, self._below.T
        )

    def point(self, y, offset):
        """Return the point with free coordinates `y` (..., n - k) and U^T x = `offset` (..., k)."""
        t = y @ self._below
        x = pt.concatenate([t, y - t @ self._weighted], axis=-1)[..., self._place]
        return x + offset @ self.basis.T

    def coordinates(self, x):
        """Return the free coordinates of the point of the plane next to `x`."""
        x = x - (x @ self.basis) @ self.basis.T
        return x[..., self._rest] + x[..., self._solved] @ self._weighted

    def offset(self, x):
        """Return U^T x."""
        return x @ self.basis

    def contains(self, x, offset):
        """Say whether x is on the plane, but for rounding."""
        away = abs(self.offset(x) - offset)
        return pt.all(away <= ABSOLUTE + RELATIVE * pt.max(abs(x), axis=-1, keepdims=True), axis=-1)


class OnPlane(Transform):
    """The transform of a random variable on a plane to its free coordinates."""

    name = "plane"
    ndim_supp = 1

    def __init__(self, law):
        self.law = law

    def forward(self, value, *inputs):
        """Return the free coordinates."""
        return self.law.plane.coordinates(value)

    def backward(self, value, rng, size, *parameters):
        """Return the point."""
        return self.law.plane.point(value, self.law.offset(*parameters))

    def log_jac_det(self, value, *inputs):
        """Return 0: the map is an isometry."""
        return value.sum(axis=-1).zeros_like()
