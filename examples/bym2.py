"""Disease mapping: the BYM2 model of Riebler et al. (2016) on the districts of a country.

Cases ``y ~ Poisson(E exp(b + sigma (sqrt(rho) u + sqrt(1 - rho) v)))``, where v is white noise and
u an intrinsic autoregression on the map, scaled to have variances of about one. Both are made of
white noise, which a sampler moves in easily: u is `solve_triangular` with the factor of the
Laplacian R of the map, minus its mean. (R is singular, R + epsilon is not; its draws differ from
those of the intrinsic field by a constant alone, as epsilon goes to nought.)

Run: ``python examples/bym2.py [MAP]``, where MAP is a Matrix Market file with an entry for each
pair of neighbours, say the 544 districts of Germany that come with R-INLA; without one the map is
a Delaunay triangulation of as many points.
"""

import sys
import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import scipy.sparse as sp
from scipy.io import mmread
from scipy.spatial import Delaunay

import sparsechol as sc
import sparsechol.pytensor as scpt

EPSILON = 1e-6


def neighbours(file=None, n=544):
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


def laplacian(W):
    """R + epsilon, scaled so that the variances of u have the geometric mean one."""
    R = sp.csc_array(sp.diags_array(W.sum(axis=0) + EPSILON) - W)
    S = sc.cholesky(R).diag_inverse()
    without_mean = S - 1 / (EPSILON * R.shape[0])  # R + epsilon has the eigenvector (1, ..., 1)
    return R * np.exp(np.mean(np.log(without_mean)))


def bym2(W, expected, cases):
    """The model; relative risks are its variable 'risk'."""
    R = laplacian(W)
    n = R.shape[0]
    with pm.Model() as model:
        b = pm.Normal("b")
        sigma = pm.HalfNormal("sigma")
        rho = pm.Beta("rho", 0.5, 0.5)
        z, v = pm.Normal("z", shape=n), pm.Normal("v", shape=n)
        u = scpt.solve_triangular(R, z, trans="T")
        u = u - pt.mean(u)
        effect = sigma * (pt.sqrt(rho) * u + pt.sqrt(1 - rho) * v)
        risk = pm.Deterministic("risk", pt.exp(b + effect))
        pm.Poisson("y", expected * risk, observed=cases)
    return model


def simulate(W, rng, sigma=0.4, rho=0.8):
    """Expected and observed cases, and the true relative risks."""
    n = W.shape[0]
    u = sc.cholesky(laplacian(W)).sample(rng=rng)
    effect = np.sqrt(rho) * (u - u.mean()) + np.sqrt(1 - rho) * rng.standard_normal(n)
    risk = np.exp(sigma * effect)
    expected = rng.uniform(5, 50, n)
    return expected, rng.poisson(expected * risk), risk


def main(file=None, **options):
    W = neighbours(file)
    expected, cases, truth = simulate(W, np.random.default_rng(2))
    with bym2(W, expected, cases):
        trace = pm.sample(random_seed=3, **options)
    posterior = trace.posterior
    for name in ("b", "sigma", "rho"):
        draws = posterior[name].values
        print(f"{name:6} {draws.mean():6.3f} +- {draws.std():.3f}")
    risk = posterior["risk"].values.mean(axis=(0, 1))
    raw = np.corrcoef(np.log((cases + 0.5) / expected), np.log(truth))[0, 1]
    smooth = np.corrcoef(np.log(risk), np.log(truth))[0, 1]
    print(f"correlation with the true risks: raw ratios {raw:.2f}, model {smooth:.2f}")
    return trace, raw, smooth


if __name__ == "__main__":
    main(*sys.argv[1:2])
