"""Models of two things at a time, space and time say: Kronecker products and sums."""

from functools import reduce

import numpy as np
from scipy.sparse import csc_array, eye_array, hstack
from scipy.sparse import kron as kronecker

from ._matrices import pivot_rows, tidy
from ._types import PrecisionFamily, PrecisionModel


def kron(*models: PrecisionModel | PrecisionFamily) -> PrecisionModel | PrecisionFamily:
    """Build the Kronecker product of models: interactions, and fields in space and time.

    Parameters
    ----------
    *models : PrecisionModel or PrecisionFamily
        With ``kron(time, space)`` one time stands after another.

    Returns
    -------
    PrecisionModel or PrecisionFamily
        A family where one of the models is, with the parameters of all. Vectors that one factor
        maps to zero are in the null space, whatever they are in the other one.

    Raises
    ------
    ValueError
        If two families have a parameter of the same name.

    See Also
    --------
    kron_sum : The Kronecker sum.

    Notes
    -----
    Products of two singular models have a large null space: of dimension ``n1 k2 + k1 n2 - k1 k2``
    for models of order n with k null vectors. The product of a random walk and `besag` is
    the interaction of type IV, with `iid` it is of type II or III (Knorr-Held 2000).

    Examples
    --------
    >>> from sparsechol import models
    >>> models.kron(models.rw1(4), models.iid(3))
    <PrecisionModel of shape (12, 12), rank 9>
    >>> models.kron(models.ar1(4), models.spde_lattice((5, 6)))
    <PrecisionFamily of shape (120, 120), parameters rho, kappa, tau>
    """
    return _reduced(_product, models)


def kron_sum(*models: PrecisionModel | PrecisionFamily) -> PrecisionModel | PrecisionFamily:
    """Build the Kronecker sum of models: ``Q1 kron I + I kron Q2``.

    Parameters
    ----------
    *models : PrecisionModel or PrecisionFamily
        In the order of `kron`.

    Returns
    -------
    PrecisionModel or PrecisionFamily
        As for `kron`; the null space is made of the products of null vectors of all models.

    Raises
    ------
    ValueError
        If two families have a parameter of the same name.

    Examples
    --------
    >>> from sparsechol import models
    >>> grid = models.kron_sum(models.rw1(4), models.rw1(3))
    >>> grid.Q.diagonal()
    array([2., 3., 2., 3., 4., 3., 3., 4., 3., 2., 3., 2.])
    """
    return _reduced(_sum, models)


def _reduced(operation, models):
    if not models:
        raise ValueError("there are no models")
    for k, model in enumerate(models):
        if not isinstance(model, PrecisionModel | PrecisionFamily):
            raise TypeError(
                f"models[{k}] is a {type(model).__name__}: a PrecisionModel is needed, which"
                " PrecisionModel(Q) makes of a matrix"
            )
    family = reduce(operation, map(_as_family, models))
    if family.parameters:
        return family
    return PrecisionModel(family.matrices[0], family.null_space, family.constraint)


def _as_family(model):
    if isinstance(model, PrecisionFamily):
        return model
    return PrecisionFamily((model.Q,), lambda: (1.0,), {}, model.null_space, model.constraint)


def _product(A, B):
    matrices = [tidy(kronecker(a, b)) for a in A.matrices for b in B.matrices]
    null_space = _null_space_of_product(A, B)

    def combined(a, b):
        return tuple(x * y for x in a for y in b)

    return _joined(A, B, matrices, combined, null_space)


def _sum(A, B):
    eye_a, eye_b = eye_array(A.shape[0]), eye_array(B.shape[0])
    matrices = [tidy(kronecker(a, eye_b)) for a in A.matrices]
    matrices += [tidy(kronecker(eye_a, b)) for b in B.matrices]
    null_space = None
    if A.null_space is not None and B.null_space is not None:
        null_space = csc_array(kronecker(A.null_space, B.null_space))

    if not A.parameters and not B.parameters:  # of matrices without coefficients the sum is one
        return _joined(A, B, [tidy(matrices[0] + matrices[1])], lambda a, b: (1.0,), null_space)
    return _joined(A, B, matrices, lambda a, b: (*a, *b), null_space)


def _joined(A, B, matrices, combined, null_space):
    """Make a family with the parameters of two."""
    both = sorted(set(A.parameters) & set(B.parameters))
    if both:
        raise ValueError(f"two of the families have a parameter {both[0]}")

    def coefficients(**parameters):
        of_a, of_b = ({name: parameters[name] for name in F.parameters} for F in (A, B))
        return combined(A.coefficients(**of_a), B.coefficients(**of_b))

    return PrecisionFamily(
        tuple(matrices),
        coefficients,
        {**A.parameters, **B.parameters},
        null_space,
        None if null_space is None else null_space.T,
        {**A.defaults, **B.defaults},
    )


def _null_space_of_product(A, B):
    """Return a basis of N1 (x) everything + everything (x) N2, sparse and without repetition."""
    parts, n = [], A.shape[0]
    rest = np.arange(n)
    if A.null_space is not None:
        parts.append(kronecker(A.null_space, eye_array(B.shape[0])))
        rest = np.setdiff1d(rest, pivot_rows(A.null_space))
    if B.null_space is not None:
        parts.append(kronecker(csc_array(eye_array(n))[:, rest], B.null_space))
    return csc_array(hstack(parts)) if parts else None
