"""What the models return: a precision matrix, or a family of them with parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csc_array, csr_array, issparse

from .._scipy.input import canonical, check_order, compressed
from ._matrices import tidy

Interval: TypeAlias = tuple[float, float]  # an open one
Basis: TypeAlias = np.ndarray | csc_array | csr_array


@dataclass(frozen=True, eq=False)
class PrecisionModel:
    """A precision matrix, with what a user must know where it is singular.

    Parameters
    ----------
    Q : (n, n) csc_array
        The precision matrix, symmetric and positive semidefinite, both triangles.
    null_space : (n, k) ndarray or csc_array, optional
        Columns that span the null space of `Q`; None where Q is positive definite.
    constraint : (c, n) ndarray or csr_array, optional
        Rows C of the default constraint ``C x = 0``. In all models of this package it removes the
        null space and nothing else.

    Attributes
    ----------
    Q, null_space, constraint
    shape : tuple of int
    rank : int
        n - k.

    See Also
    --------
    scale : Give the field variances of about one.

    Examples
    --------
    >>> import sparsechol as sc
    >>> model = sc.models.rw2(100)
    >>> model
    <PrecisionModel of shape (100, 100), rank 98>
    >>> model.null_space.shape, model.constraint.shape
    ((100, 2), (2, 100))
    """

    Q: csc_array
    null_space: Basis | None = None
    constraint: Basis | None = None

    def __post_init__(self):
        check_matrices(self.Q, null_space=self.null_space, constraint=self.constraint)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the precision matrix."""
        return self.Q.shape

    @property
    def rank(self) -> int:
        """Rank of the precision matrix."""
        null_space = self.null_space
        return self.shape[0] - (0 if null_space is None else null_space.shape[1])

    def __repr__(self) -> str:
        return f"<PrecisionModel of shape {self.shape}, rank {self.rank}>"


@dataclass(frozen=True, eq=False)
class PrecisionFamily:
    """Precision matrices with parameters: ``Q = sum_k c_k B_k`` with known matrices B.

    The coefficients c are functions of the parameters. They are plain arithmetic, so that the
    parameters may be numbers, or variables of JAX or PyTensor.

    Parameters
    ----------
    matrices : tuple of (n, n) csc_array
        The matrices B.
    coefficients : callable
        Takes the parameters as keywords, and returns a coefficient for each matrix.
    parameters : mapping of str to (low, high)
        Names of the parameters, and the open interval of each.
    null_space, constraint : optional
        As in `PrecisionModel`, the same for all parameters.
    defaults : mapping of str to float, optional
        Values of parameters that need not be given.

    Attributes
    ----------
    matrices, coefficients, parameters, null_space, constraint, defaults
    shape : tuple of int
    pattern : csc_array
        Ones wherever a matrix of the family has an entry: what is analyzed once.

    Notes
    -----
    With numbers, ``family(rho=0.5)`` is a `PrecisionModel`. For frameworks
    ``family.terms(rho=rho)`` lists pairs of a coefficient and a matrix:

    * PyTensor: ``scpt.combine(family.terms(rho=rho))``.
    * JAX: ``P = scj.analyze(family.pattern)`` outside, and inside
      ``sum(c * scj.SymmetricMatrix(P, P.values(B)) for c, B in family.terms(rho=rho))``.
    * NumPy: ``S = sc.analyze(family.pattern)``, and
      ``S.factorize(sum(c * S.values(B) for c, B in family.terms(rho=rho)))``.

    Examples
    --------
    >>> import sparsechol as sc
    >>> family = sc.models.ar1(4)
    >>> family
    <PrecisionFamily of shape (4, 4), parameters rho>
    >>> family(rho=0.5).Q.toarray().round(3)
    array([[ 1.333, -0.667,  0.   ,  0.   ],
           [-0.667,  1.667, -0.667,  0.   ],
           [ 0.   , -0.667,  1.667, -0.667],
           [ 0.   ,  0.   , -0.667,  1.333]])
    """

    matrices: tuple[csc_array, ...]
    coefficients: Callable[..., tuple[Any, ...]]
    parameters: Mapping[str, Interval]
    null_space: Basis | None = None
    constraint: Basis | None = None
    defaults: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        check_matrices(*self.matrices, null_space=self.null_space, constraint=self.constraint)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the precision matrices."""
        return self.matrices[0].shape

    @property
    def pattern(self) -> csc_array:
        """Ones wherever a matrix of the family has an entry, and on the diagonal."""
        n = self.shape[0]
        total = tidy(sum((abs(canonical(B)) for B in self.matrices), csc_array((n, n))))
        total.setdiag(1.0)
        pattern = tidy(total)
        pattern.data[:] = 1.0
        return pattern

    def terms(self, **parameters: Any) -> list[tuple[Any, csc_array]]:
        """List the coefficients and the matrices of a precision matrix.

        Parameters
        ----------
        **parameters : number or variable of a framework
            The parameters; those with defaults need not be given.

        Returns
        -------
        list of (coefficient, csc_array)

        Raises
        ------
        TypeError
            If a parameter is missing or not known.
        """
        values = self._complete(parameters)
        return list(zip(self.coefficients(**values), self.matrices, strict=True))

    def __call__(self, **parameters: Any) -> PrecisionModel:
        """Return the model of numbers.

        Parameters
        ----------
        **parameters : float
            As for `terms`.

        Returns
        -------
        PrecisionModel

        Raises
        ------
        ValueError
            If a parameter is not in its interval.
        """
        values = self._complete(parameters)
        for name, value in values.items():
            low, high = self.parameters[name]
            for part in np.ravel(value):
                if not low < part < high:
                    raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {part}")
        terms = self.terms(**values)
        Q = tidy(sum((float(c) * B for c, B in terms), csc_array(self.shape)))
        return PrecisionModel(Q, self.null_space, self.constraint)

    def _complete(self, parameters):
        """Return all parameters, or raise TypeError if these are not those of the family."""
        values = {**self.defaults, **parameters}
        known = ", ".join(self.parameters)
        for name in values:
            if name not in self.parameters:
                raise TypeError(f"the parameter {name} is none of this family, which has {known}")
        for name in self.parameters:
            if name not in values:
                raise TypeError(f"the parameter {name} is missing: the family has {known}")
        return values

    def __repr__(self) -> str:
        names = ", ".join(self.parameters)
        return f"<PrecisionFamily of shape {self.shape}, parameters {names}>"


def check_matrices(*matrices: Any, null_space: Any, constraint: Any) -> None:
    """Raise ValueError for corrupt index arrays, which SciPy's own code does not look for."""
    for Q in matrices:
        compressed(Q, name="Q", check_shape=check_order)
    for name, basis in (("null_space", null_space), ("constraint", constraint)):
        if issparse(basis):
            compressed(basis, name=name)


def intrinsic(Q, null_space) -> PrecisionModel:
    """Return a singular model, of which the constraint removes the null space."""
    if null_space.shape[1] == 0:
        return PrecisionModel(Q)
    return PrecisionModel(Q, null_space, null_space.T)
