"""ICAR, RandomWalk and BYM2: fields of a known structure, scaled by parameters."""

from .._scipy.null_space import NullSpace
from ..models import besag, rw1, rw2, scale
from ..pytensor._matrix import constant
from ..pytensor._sparse import from_sparse
from ._field import Field, last_of
from ._gmrf import as_mean, number
from ._laws import BYM2Law, ScaledLaw, Structure


class ICAR(Field):
    """Intrinsic conditional autoregression on a graph; each connected component sums to zero.

    Parameters
    ----------
    name : str
    W : (n, n) sparse or dense array
        Symmetric adjacency matrix with nonnegative weights.
    sigma : () or (...) tensor_like, optional
        Standard deviation: ``(x_i - x_j) / sigma`` has precision W_ij. ``sigma * ICAR("x", W)`` is
        the same field with another geometry for samplers, which is often the better one.
    mu : () or (..., n) tensor_like, optional
        The mean; ``x - mu`` sums to zero.
    scaled : bool, optional
        Scale each component to variances of about one (their geometric mean), so that sigma means
        the same on all graphs, and give vertices without neighbors independent values of variance
        one. By default these are zero, as the sum of a component of one vertex.
    centered : bool, optional
        See `GMRF`.
    **kwargs
        As for all distributions of PyMC.

    Notes
    -----
    `pymc.ICAR` has a penalty, N(0, zero_sum_stdev n), on the one sum of all values, where this
    field has exact constraints, as many as the graph has components. With `sigma` its density lacks
    the factor ``sigma^-(n - 1)``. On the plane and but for normalization the densities are equal.
    Nothing is factorized when the model runs.

    Examples
    --------
    >>> import numpy as np, pymc as pm, sparsechol.pymc as scpm
    >>> W = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> x = scpm.ICAR.dist(W, 1.0)
    >>> print(pm.logp(x, np.array([1.0, 0.0, -1.0])).eval().round(6))
    -2.288571
    """

    @classmethod
    def dist(cls, W, sigma=1.0, *, mu=0.0, scaled=False, **kwargs):
        """Make the random variable without a model; see the class."""
        model = scale(besag(W)) if scaled else besag(W)
        return _scaled(cls, "ICAR", model, mu, sigma, **kwargs)


class RandomWalk(Field):
    """Intrinsic random walk: smooth values in a row, without level or, of order two, slope.

    Parameters
    ----------
    name : str
    sigma : () or (...) tensor_like, optional
        Standard deviation of the steps; of order two of the changes of slope.
    order : {1, 2}, optional
    t : (n,) array_like, optional
        Where the values lie, ascending; by default at distance one, as many as shape, dims or
        observed say.
    period : float, optional
        With it the walk is closed: the first value follows the last one.
    mu : () or (..., n) tensor_like, optional
        The mean.
    scaled : bool, optional
        Scale to variances of about one (their geometric mean), so that sigma is the standard
        deviation of the values.
    centered : bool, optional
        See `GMRF`.
    **kwargs
        As for all distributions of PyMC.

    Notes
    -----
    ``x - mu`` is orthogonal to constants and, for order two without a period, to straight lines:
    add an intercept and a slope to the model where they are wanted. `pymc.GaussianRandomWalk` has
    a distribution of the first value in their place. See `sparsechol.models.rw1` and `rw2`.
    Nothing is factorized when the model runs.

    Examples
    --------
    >>> import numpy as np, pymc as pm, sparsechol.pymc as scpm
    >>> x = pm.draw(scpm.RandomWalk.dist(2.0, order=2, shape=10), random_seed=1)
    >>> bool(abs(x.sum()) < 1e-12), bool(abs(x @ np.arange(10)) < 1e-12)
    (True, True)
    """

    @classmethod
    def dist(
        cls,
        sigma=1.0,
        *,
        order=1,
        t=None,
        period=None,
        mu=0.0,
        scaled=False,
        shape=None,
        **kwargs,
    ):
        """Make the random variable without a model; see the class."""
        if order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, not {order!r}")
        if t is None:
            t = None if shape is None else last_of(shape)
            if not isinstance(t, int):
                raise ValueError(
                    "RandomWalk: it is not known how many values there are: pass shape=, dims=,"
                    " observed=, or t=, where the values lie"
                )
        model = (rw1, rw2)[order - 1](t, period=period)
        model = scale(model) if scaled else model
        return _scaled(cls, "RandomWalk", model, mu, sigma, shape=shape, **kwargs)


class BYM2(Field):
    """BYM2: effects of areas, partly shared by neighbors, with their sum integrated out.

    ``x = sigma (sqrt(rho) u + sqrt(1 - rho) v)``, u a scaled `ICAR` and v white noise.

    Parameters
    ----------
    name : str
    W : (n, n) sparse or dense array
        Symmetric adjacency matrix with nonnegative weights. The graph may have components; in
        vertices without neighbors u is white noise.
    sigma : () or (...) tensor_like, optional
        Standard deviation of the effects.
    rho : () or (...) tensor_like, optional
        The part of the variance that neighbors share, between 0 and 1.
    centered : bool, optional
        By default the variables of the model are the n effects x. Their covariance is dense and not
        formed: a density takes a factorization with the pattern of the graph. With False they are
        the white noise of u and v, ``NAME_noise`` of shape (2, n), and nothing is factorized;
        samplers then need more steps for sigma and rho.
    **kwargs
        As for all distributions of PyMC.

    Notes
    -----
    Riebler, Sorbye, Simpson and Rue (2016); scaled by components as Freni-Sterrantino, Ventrucci
    and Rue (2018) do. u sums to zero in each component, x does not.

    Examples
    --------
    >>> import numpy as np, pymc as pm, sparsechol.pymc as scpm
    >>> W = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    >>> x = scpm.BYM2.dist(W, sigma=2.0, rho=0.9)
    >>> print(pm.draw(x, 20000, random_seed=1).var(axis=0).mean().round(1))
    4.3
    """

    @classmethod
    def dist(cls, W, sigma=1.0, rho=0.5, **kwargs):
        """Make the random variable without a model; see the class."""
        structure = _structure(scale(besag(W)))
        arrays = map(constant, structure.arrays)
        return cls._of_law(BYM2Law(structure), number(sigma), number(rho), *arrays, **kwargs)


def _structure(model):
    """Analyze and factorize the matrix of a model."""
    R = from_sparse(model.Q)
    V = model.null_space
    return Structure(R, None if V is None else NullSpace.of(R.pattern, V))


def _scaled(cls, name, model, mu, sigma, **kwargs):
    """Make the field with covariance sigma^2 Q^+, Q the matrix of a model."""
    structure = _structure(model)
    arrays = map(constant, structure.arrays)
    law = ScaledLaw(name, structure)
    return cls._of_law(law, as_mean(mu, structure), number(sigma), *arrays, **kwargs)
