"""Models of areas that have neighbors: conditional autoregressions on a graph."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import block_array, coo_array, csc_array, diags_array, eye_array
from scipy.sparse.csgraph import connected_components

from .._scipy.input import as_scipy, check_finite, check_order, compressed, unmasked
from .._typing import MatrixLike
from ._matrices import positive_integer, tidy
from ._scaling import scale
from ._types import PrecisionFamily, PrecisionModel, intrinsic

ROUNDING = 1e-10  # of the larger one of two entries that should be equal


def adjacency(
    edges: ArrayLike, n: int | None = None, *, weights: ArrayLike | None = None
) -> csc_array:
    """Build the adjacency matrix of a graph from its edges.

    Parameters
    ----------
    edges : (m, 2) array_like of int
        Pairs of vertices, numbered from 0. An edge may be given in both directions.
    n : int, optional
        Number of vertices; by default one more than the largest number.
    weights : (m,) array_like of float, optional
        Positive weights of the edges, one by default.

    Returns
    -------
    (n, n) csc_array
        Symmetric.

    Raises
    ------
    ValueError
        If a vertex is not in the graph, an edge joins a vertex to itself, or an edge is given
        twice with different weights.

    Examples
    --------
    >>> from sparsechol.models import adjacency
    >>> adjacency([(0, 1), (1, 2)]).toarray()
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """
    edges = unmasked(edges, "edges")
    if edges.size == 0:
        edges = np.empty((0, 2), dtype=np.int64)
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"edges must be pairs of vertices, (m, 2), not {edges.shape}")
    if edges.dtype.kind not in "iu":
        raise TypeError(f"vertices are whole numbers, not {edges.dtype}")
    n = int(edges.max(initial=-1)) + 1 if n is None else positive_integer(n, "n")
    outside = np.argwhere((edges < 0) | (edges >= n))
    if outside.size:
        k, end = outside[0]
        raise ValueError(f"edges[{k}, {end}] = {edges[k, end]} is not a vertex, 0 to {n - 1}")
    check_order((n, n))
    loops = np.flatnonzero(edges[:, 0] == edges[:, 1])
    if loops.size:
        raise ValueError(f"edges[{loops[0]}] joins vertex {edges[loops[0], 0]} to itself")
    values = np.ones(len(edges)) if weights is None else unmasked(weights, "weights").astype(float)
    if values.shape != (len(edges),):
        raise ValueError(f"weights have shape {values.shape}: there are {len(edges)} edges")
    keys = edges.min(axis=1).astype(np.int64) * n + edges.max(axis=1)
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    different = np.flatnonzero(values != values[first][which])
    if different.size:
        k = different[0]
        raise ValueError(
            f"edges[{k}] and edges[{first[which[k]]}] are the same edge with different weights"
        )
    i, j = edges[first].T
    half = coo_array((values[first], (i, j)), shape=(n, n))
    return _weights(half + half.T)


def besag(W: MatrixLike) -> PrecisionModel:
    """Build the precision matrix of an intrinsic autoregression (ICAR, Besag) on a graph.

    Parameters
    ----------
    W : (n, n) sparse or dense array
        Symmetric adjacency matrix with nonnegative weights, which `adjacency` makes of edges.

    Returns
    -------
    PrecisionModel
        ``D - W`` with the row sums of W on the diagonal D: ``x^T Q x`` sums
        ``w_ij (x_i - x_j)^2`` over the edges. The null space has a column for each connected
        component, of ones; the constraint is that each component sums to zero.

    Raises
    ------
    ValueError
        If W is not symmetric, or has a negative or infinite weight or an entry on the diagonal.

    See Also
    --------
    scale : Scale each component to variances of about one.

    Notes
    -----
    A vertex without neighbors has an empty row, and is a component of its own: the constraint fixes
    it at zero. `scale` gives it variance one, as Freni-Sterrantino et al. recommend.

    References
    ----------
    * Besag, J., York, J. and Mollie, A. (1991). Bayesian image restoration, with two applications
      in spatial statistics. Ann. Inst. Stat. Math. 43(1).
    * Freni-Sterrantino, A., Ventrucci, M. and Rue, H. (2018). A note on intrinsic conditional
      autoregressive models for disconnected graphs. Spat. Spatio-temporal Epidemiol. 26.

    Examples
    --------
    >>> from sparsechol.models import adjacency, besag
    >>> besag(adjacency([(0, 1), (1, 2)])).Q.toarray()
    array([[ 1., -1.,  0.],
           [-1.,  2., -1.],
           [ 0., -1.,  1.]])
    """
    W = _weights(W)
    count, label = connected_components(W, directed=False)
    n = W.shape[0]
    null_space = csc_array((np.ones(n), (np.arange(n), label)), shape=(n, count))
    return intrinsic(_laplacian(W), null_space)


def car(W: MatrixLike) -> PrecisionFamily:
    """Build the precision matrices of proper autoregressions on a graph, ``D - alpha W``.

    Parameters
    ----------
    W : (n, n) sparse or dense array
        Adjacency matrix, as for `besag`; every vertex needs a neighbor.

    Returns
    -------
    PrecisionFamily
        With the parameter ``alpha``, between -1 and 1; D holds the row sums of W.

    Raises
    ------
    ValueError
        As for `besag`, and if a vertex has no neighbor.

    Notes
    -----
    ``sparsechol.logdet_pencil(D, -W, interval)`` gives log det Q by a short series in alpha.

    Examples
    --------
    >>> from sparsechol.models import adjacency, car
    >>> car(adjacency([(0, 1), (1, 2)]))(alpha=0.5).Q.toarray()
    array([[ 1. , -0.5,  0. ],
           [-0.5,  2. , -0.5],
           [ 0. , -0.5,  1. ]])
    """
    W = _weights(W)
    degrees = W.sum(axis=0)
    if not degrees.all():
        alone = np.argmin(degrees != 0)
        raise ValueError(f"vertex {alone} has no neighbor, so that D - alpha W is singular")

    def coefficients(alpha):
        return 1.0, -alpha

    return PrecisionFamily((tidy(diags_array(degrees)), W), coefficients, {"alpha": (-1.0, 1.0)})


def leroux(W: MatrixLike) -> PrecisionFamily:
    """Build the precision matrices of Leroux: ``(1 - lambda) I + lambda R``.

    Parameters
    ----------
    W : (n, n) sparse or dense array
        Adjacency matrix, as for `besag`.

    Returns
    -------
    PrecisionFamily
        With the parameter ``lambda_``, from 0 (independent) to 1 (`besag`), both excluded; R is the
        matrix of `besag`.

    Raises
    ------
    ValueError
        As for `besag`.

    References
    ----------
    Leroux, B., Lei, X. and Breslow, N. (2000). Estimation of disease rates in small areas: a new
    mixed model for spatial dependence. Statistical Models in Epidemiology, 179-191.

    Examples
    --------
    >>> from sparsechol.models import adjacency, leroux
    >>> leroux(adjacency([(0, 1), (1, 2)]))(lambda_=0.5).Q.toarray()
    array([[ 1. , -0.5,  0. ],
           [-0.5,  1.5, -0.5],
           [ 0. , -0.5,  1. ]])
    """
    W = _weights(W)

    def coefficients(lambda_):
        return 1 - lambda_, lambda_

    matrices = (tidy(eye_array(W.shape[0])), _laplacian(W))
    return PrecisionFamily(matrices, coefficients, {"lambda_": (0.0, 1.0)})


def bym2(W: MatrixLike) -> PrecisionFamily:
    """Build the precision matrices of BYM2: effects of areas that are partly shared by neighbors.

    Parameters
    ----------
    W : (n, n) sparse or dense array
        Adjacency matrix, as for `besag`.

    Returns
    -------
    PrecisionFamily
        Of shape (2 n, 2 n), with the parameters ``tau`` (one by default), the precision of the
        effects, and ``phi``, the part of their variance that is spatial, between 0 and 1. The
        first half of the field is the effect x of each area, the second half its spatial part w.
        The constraint is that w sums to zero over each component.

    Raises
    ------
    ValueError
        As for `besag`.

    Notes
    -----
    ``x = (sqrt(1 - phi) v + sqrt(phi) u) / sqrt(tau)`` with white noise v and the field u of
    `besag` after `scale`; ``w = sqrt(phi / tau) u``. Hence ``x | w ~ N(w, (1 - phi) / tau)`` and
    ``Q = tau / (1 - phi) [[I, -I], [-I, I]] + tau / phi [[0, 0], [0, R]]``. Riebler et al. have u
    in the place of w; with w the null space does not depend on the parameters. Isolated vertices
    have no neighbors to share with: u is white noise there.

    References
    ----------
    Riebler, A., Sorbye, S., Simpson, D. and Rue, H. (2016). An intuitive Bayesian spatial model
    for disease mapping that accounts for scaling. Stat. Methods Med. Res. 25(4).

    Examples
    --------
    >>> from sparsechol.models import adjacency, bym2
    >>> bym2(adjacency([(0, 1), (1, 2)]))
    <PrecisionFamily of shape (6, 6), parameters tau, phi>
    """
    spatial = scale(besag(W))
    n = spatial.shape[0]
    eye, zero = eye_array(n), csc_array((n, n))
    noise = tidy(block_array([[eye, -eye], [-eye, eye]]))
    structure = tidy(block_array([[zero, None], [None, spatial.Q]]))
    null_space = constraint = None
    if spatial.null_space is not None:
        V = csc_array(spatial.null_space)
        null_space = csc_array(block_array([[V], [V]]))
        constraint = csc_array(block_array([[csc_array(V.T.shape), V.T]]))

    def coefficients(tau, phi):
        return tau / (1 - phi), tau / phi

    return PrecisionFamily(
        (noise, structure),
        coefficients,
        {"tau": (0.0, np.inf), "phi": (0.0, 1.0)},
        null_space,
        constraint,
        {"tau": 1.0},
    )


def _laplacian(W):
    return tidy(diags_array(W.sum(axis=0)) - W)


def _weights(W) -> csc_array:
    """Return an adjacency matrix after all that could be wrong with it has been refused."""
    name = "the adjacency matrix"
    arrays = compressed(W, check_shape=check_order, name=name)
    if arrays.data.dtype.kind == "c":
        raise TypeError(f"{name} must be real, not {arrays.data.dtype}")
    check_finite(arrays.data, "the data of the adjacency matrix")
    W = tidy(as_scipy(arrays).astype(float))
    entries = W.tocoo()
    row, column = entries.coords
    _refuse(row, column, row == column, "joins a vertex to itself: the diagonal must be zero")
    _refuse(row, column, entries.data < 0, "is negative: weights are positive")
    apart = (abs(W - W.T) > ROUNDING * abs(W).maximum(abs(W.T))).tocoo()
    if apart.nnz:
        i, j = (index[0] for index in apart.coords)
        raise ValueError(
            f"{name} must be symmetric: entry ({i}, {j}) is {W[i, j]:g}, entry ({j}, {i}) is"
            f" {W[j, i]:g}"
        )
    return tidy((W + W.T) / 2)


def _refuse(row, column, wrong, why):
    if wrong.any():
        k = np.argmax(wrong)
        raise ValueError(f"entry ({row[k]}, {column[k]}) of the adjacency matrix {why}")
