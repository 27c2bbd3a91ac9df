"""GMRF, CAR and Matern: fields of precision matrices that depend on parameters."""

import pytensor.tensor as pt

from ..models import PrecisionModel, car, spde_mesh, spde_parameters
from ..pytensor._matrix import combine
from ..pytensor._null_space import SemidefiniteFactor, cholesky
from ..pytensor._sparse import from_sparse
from ._field import Field
from ._laws import MatrixLaw


class GMRF(Field):
    """Gaussian Markov random field: the normal distribution with a sparse precision matrix.

    Parameters
    ----------
    name : str
    mu : () or (..., n) tensor_like
        The mean.
    Q : SymmetricMatrix, SemidefiniteFactor, PrecisionModel, or (n, n) sparse or dense array
        The precision matrix; a `SymmetricMatrix` of `sparsechol.pytensor.combine`, say, where its
        values are random. A batch of matrices makes a batch of fields.
    null_space : NullSpace, (n, k) array_like, sparse matrix or 'components', optional
        Of a semidefinite Q, see `sparsechol.pytensor.cholesky`: ``x - mu`` is orthogonal to it. A
        SemidefiniteFactor and a PrecisionModel bring it along.
    constraint : (C, e) or C, optional
        The field given ``C x = e`` (by default 0), C (n,) or (m, n), e () or (..., m), which may be
        random. If there is a null space, too, C must leave none of it free, and stands in for it.
    centered : bool, optional
        With False the model has white noise NAME_noise, and the field is a function of it and of
        the parameters. Samplers move better in it where data are few.
    **kwargs
        As for all distributions of PyMC: dims, shape, observed, initval and so on.

    Notes
    -----
    Draws and densities are compiled. A field with constraints is sampled in free coordinates of the
    plane on which it lies. They are isometric, so that its density is the one on that plane.
    Observed data may have missing values, unless there are constraints. A Q that is not positive
    definite has the log density NaN, which samplers refuse.

    Examples
    --------
    >>> import numpy as np, pymc as pm, scipy.sparse as sp, sparsechol.pymc as scpm
    >>> x = scpm.GMRF.dist(0.0, sp.diags_array([4.0, 1.0]))
    >>> print(pm.logp(x, np.zeros(2)).eval().round(6))
    -1.14473
    """

    @classmethod
    def dist(cls, mu, Q, *, null_space=None, constraint=None, **kwargs):
        """Make the random variable without a model; see the class."""
        if isinstance(Q, PrecisionModel):
            Q, null_space = Q.Q, Q.null_space if null_space is None else null_space
        elif isinstance(Q, SemidefiniteFactor):
            Q, null_space = Q.matrix, Q.null_space if null_space is None else null_space
        if null_space is None:
            Q = from_sparse(Q)
        else:
            F = cholesky(Q, null_space=null_space)
            Q, null_space = F.matrix, F.null_space
        if constraint is None:
            law = MatrixLaw("GMRF", Q, null_space, None)
            return cls._of_law(law, as_mean(mu, Q), Q.values, **kwargs)
        C, e = constraint if isinstance(constraint, tuple) else (constraint, 0.0)
        law = MatrixLaw("GMRF", Q, null_space, C)
        e = number(e) + pt.zeros(law.plane.basis.shape[1])
        return cls._of_law(law, as_mean(mu, Q), Q.values, e, **kwargs)


class CAR(Field):
    """Conditional autoregression on a graph: the precision matrix is tau (D - alpha W).

    Parameters
    ----------
    name : str
    mu : () or (..., n) tensor_like
        The mean.
    W : (n, n) sparse or dense array
        Symmetric adjacency matrix with nonnegative weights; every vertex needs a neighbor. D holds
        its row sums.
    alpha : () or (...) tensor_like
        How much neighbors share, between -1 and 1.
    tau : () or (...) tensor_like
        Precision.
    centered : bool, optional
        See `GMRF`.
    **kwargs
        As for all distributions of PyMC.

    Notes
    -----
    The density is that of `pymc.CAR`, and normalized: it is larger by ``log det D / 2 - n log(2 pi)
    / 2``. `pymc.CAR` takes the eigenvalues of W, once, in O(n^3); this one factorizes for each
    evaluation, which takes less time for large n, takes batches of parameters, and is drawn
    by compiled code.

    Examples
    --------
    >>> import numpy as np, pymc as pm, sparsechol.pymc as scpm
    >>> x = scpm.CAR.dist(0.0, np.array([[0.0, 1.0], [1.0, 0.0]]), 0.5, 2.0)
    >>> print(pm.logp(x, np.zeros(2)).eval().round(6))
    -1.288571
    """

    @classmethod
    def dist(cls, mu, W, alpha, tau, **kwargs):
        """Make the random variable without a model; see the class."""
        alpha, tau = number(alpha)[..., None], number(tau)[..., None]
        Q = combine([(tau * c, B) for c, B in car(W).terms(alpha=alpha)])
        law = MatrixLaw("CAR", Q, None, None)
        return cls._of_law(law, as_mean(mu, Q), Q.values, **kwargs)


class Matern(Field):
    """Matern field at the vertices of a triangle mesh, by finite elements (SPDE).

    Parameters
    ----------
    name : str
    points : (n, 2) or (n, 3) array_like
        Vertices; in three dimensions the triangles are a surface.
    triangles : (m, 3) array_like of int
    range_ : () or (...) tensor_like
        Distance at which the correlation has fallen to about 0.14.
    sigma : () or (...) tensor_like, optional
        Standard deviation, far from the boundary.
    mu : () or (..., n) tensor_like, optional
        The mean.
    alpha : int, optional
        The smoothness is ``nu = alpha - 1``.
    centered : bool, optional
        See `GMRF`.
    **kwargs
        As for all distributions of PyMC.

    Notes
    -----
    Lindgren, Rue and Lindstrom (2011), see `sparsechol.models.spde_mesh`. The field at other points
    is ``A x`` with A of `sparsechol.models.barycentric`.

    Examples
    --------
    >>> import numpy as np, pymc as pm, sparsechol as sc, sparsechol.pymc as scpm
    >>> x = scpm.Matern.dist(*sc.models.triangulation(20, 20), 0.2, sigma=2.0)
    >>> deviation = pm.draw(x, 2000, random_seed=1).std(axis=0)
    >>> print(deviation.reshape(20, 20)[8:12, 8:12].mean().round(1))
    2.1
    """

    @classmethod
    def dist(cls, points, triangles, range_, sigma=1.0, *, mu=0.0, alpha=2, **kwargs):
        """Make the random variable without a model; see the class."""
        kappa, tau = spde_parameters(
            range_=number(range_)[..., None], sigma=number(sigma)[..., None], alpha=alpha
        )
        family = spde_mesh(points, triangles, alpha=alpha)
        Q = combine(family.terms(kappa=kappa, tau=tau))
        law = MatrixLaw("Matern", Q, None, None)
        return cls._of_law(law, as_mean(mu, Q), Q.values, **kwargs)


def as_mean(mu, Q):
    """Return the mean of a field as a variable of shape (..., n)."""
    n = Q.shape[0]
    mu = number(mu)
    if mu.type.ndim == 0:
        return mu + pt.zeros(n)
    if mu.type.shape[-1] not in (None, n):
        raise ValueError(
            f"mu has shape {mu.type.shape}, and the field {n} rows: mu is () or (..., {n})"
        )
    return mu


def number(x):
    """Return a variable of floating point numbers."""
    return pt.as_tensor_variable(x).astype("floatX")
