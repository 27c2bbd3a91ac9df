"""
Disease map
===========

Relative risks by the BYM2 model of Riebler et al. (2016), on the districts of a country.

Cases ``y ~ Poisson(E exp(b + x))`` with ``x = sigma (sqrt(rho) u + sqrt(1 - rho) v)``, where v is
white noise and u an intrinsic autoregression on the map, which sums to zero and is scaled to have
variances of about one. `sparsechol.pymc.BYM2` is the distribution of x: u and v are integrated
out, and the sampler moves in the n effects alone.

Run: ``python examples/bym2.py [MAP [FIGURE]]``, where MAP is a Matrix Market file with an entry for
each pair of neighbors, say the 544 districts of Germany that come with R-INLA; without one the map
is a Delaunay triangulation of as many points. Borders are not in such a file: the figure places
districts by the graph alone, and gives each the points that are nearest to it.
"""

import sys
import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import scipy.sparse as sp
from scipy.io import mmread
from scipy.sparse.csgraph import shortest_path
from scipy.sparse.linalg import eigsh
from scipy.spatial import Delaunay, cKDTree

import sparsechol as sc
import sparsechol.pymc as scpm
from sparsechol.models import besag, scale


def neighbors(file=None, n=544):
    """Adjacency matrix of a map."""
    if file is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the class that mmread returns
            W = sp.csc_array(mmread(file)) != 0
    else:
        triangles = Delaunay(np.random.default_rng(0).random((n, 2))).simplices
        i, j = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
        W = sp.csc_array((np.ones(len(i)), (i, j)), (n, n))
        W = (W + W.T) != 0
    W = sp.csc_array(W, dtype=float)
    W.setdiag(0.0)
    W.eliminate_zeros()
    return W


def bym2(W, expected, cases):
    """The model; relative risks are its variable 'risk'."""
    with pm.Model() as model:
        b = pm.Normal("b")
        sigma = pm.HalfNormal("sigma")
        rho = pm.Beta("rho", 0.5, 0.5)
        x = scpm.BYM2("x", W, sigma, rho)
        risk = pm.Deterministic("risk", pt.exp(b + x))
        pm.Poisson("y", expected * risk, observed=cases)
    return model


def simulate(W, rng, sigma=0.4, rho=0.8):
    """Expected and observed cases, and the true relative risks."""
    n = W.shape[0]
    spatial = scale(besag(W))
    u = sc.cholesky(spatial.Q, null_space=spatial.null_space).sample(rng=rng)
    risk = np.exp(sigma * (np.sqrt(rho) * u + np.sqrt(1 - rho) * rng.standard_normal(n)))
    expected = rng.uniform(5, 50, n)
    return expected, rng.poisson(expected * risk), risk


def places(W):
    """Where districts may lie: at distances like those in the graph (classical scaling)."""
    squares = shortest_path(W, directed=False, unweighted=True) ** 2
    means = squares.mean(axis=0)
    inner = 0.5 * (means[:, None] + means - squares - means.mean())
    largest, vectors = eigsh(inner, k=2, v0=np.ones(len(means)))
    return vectors[:, ::-1] * np.sqrt(largest[::-1])


def draw(path, W, raw, risk, deviation, truth):
    """Maps of observed ratios, true and estimated risks, and how sure the estimates are."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    at = places(W)
    low, high = at.min(axis=0) - 1, at.max(axis=0) + 1
    x, y = np.meshgrid(*(np.linspace(a, b, 500) for a, b in zip(low, high, strict=True)))
    away, district = cKDTree(at).query(np.column_stack([x.ravel(), y.ravel()]))
    outside = away > 0.8

    figure = Figure(figsize=(13, 9), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    limit = max(risk.max(), 1 / risk.min(), truth.max(), 1 / truth.min())
    scale = {"norm": LogNorm(1 / limit, limit), "cmap": "RdBu_r"}
    maps = [
        ("observed / expected cases", raw, scale),
        ("relative risk, posterior mean", risk, scale),
        ("relative risk, posterior standard deviation", deviation, {"cmap": "viridis"}),
        ("true relative risk", truth, scale),
    ]
    ticks = [0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5]
    for ax, (title, values, colors) in zip(axes, maps, strict=True):
        cells = np.where(outside, np.nan, values[district]).reshape(x.shape)
        extent = (low[0], high[0], low[1], high[1])
        image = ax.imshow(cells, origin="lower", extent=extent, **colors)
        bar = figure.colorbar(image, ax=ax)
        if colors is scale:
            bar.ax.yaxis.set_major_locator(
                FixedLocator([t for t in ticks if 1 / limit < t < limit])
            )
            bar.ax.yaxis.set_minor_locator(NullLocator())
            bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.set_title(title)
        ax.set_axis_off()
    figure.savefig(path, dpi=150)


def main(file=None, figure="bym2.png", **options):
    W = neighbors(file)
    expected, cases, truth = simulate(W, np.random.default_rng(2))
    with bym2(W, expected, cases):
        trace = pm.sample(random_seed=3, **options)
    posterior = trace.posterior
    print(f"{W.shape[0]} districts, {W.nnz // 2} borders")
    for name, true in [("b", 0.0), ("sigma", 0.4), ("rho", 0.8)]:
        draws = posterior[name].values
        print(f"{name:6} {draws.mean():6.3f} +- {draws.std():.3f}   (true: {true})")
    draws = posterior["risk"].values
    risk, deviation = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1))
    print("risk of the first districts: estimate +- deviation (true)")
    for row in zip(risk[:5], deviation[:5], truth[:5], strict=True):
        print("       {:6.3f} +- {:.3f}   ({:.3f})".format(*row))
    raw = np.corrcoef(np.log((cases + 0.5) / expected), np.log(truth))[0, 1]
    smooth = np.corrcoef(np.log(risk), np.log(truth))[0, 1]
    print(f"correlation with the true risks: raw ratios {raw:.2f}, model {smooth:.2f}")
    if figure is not None:
        draw(figure, W, cases / expected, risk, deviation, truth)
    return trace, raw, smooth


if __name__ == "__main__":
    main(*sys.argv[1:3])
