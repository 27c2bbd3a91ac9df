"""Poisson counts on a lattice with a conditional autoregression, as PyMC models.

A module of its own, because the processes of a sampler import it.
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import scipy.sparse as sp

import sparsechol.pytensor as scpt

ROWS = 6
N = ROWS * ROWS
PATH = sp.diags_array([np.ones(ROWS - 1)] * 2, offsets=[-1, 1])
W = sp.csc_array(sp.kronsum(PATH, PATH))
D = sp.diags_array(W.sum(axis=0))
COUNTS = np.random.default_rng(5).poisson(2.0, N)


def precision(tau, alpha):
    return scpt.combine([(tau, D), (-tau * alpha, W)])


def hyperparameters():
    return pm.Gamma("tau", 4.0, 2.0), pm.Beta("alpha", 2.0, 2.0), pm.Normal("mu")


def of_potential():
    with pm.Model() as model:
        tau, alpha, mu = hyperparameters()
        x = pm.Flat("x", shape=N)
        pm.Potential("field", precision(tau, alpha).gmrf_logp(x))
        pm.Poisson("y", pt.exp(mu + x), observed=COUNTS)
    return model


def of_distribution():
    with pm.Model() as model:
        tau, alpha, mu = hyperparameters()
        x = field("x", precision(tau, alpha))
        pm.Poisson("y", pt.exp(mu + x), observed=COUNTS)
    return model


def field(name, Q, **options):
    """A Gaussian Markov random field as a random variable."""
    return pm.CustomDist(
        name,
        np.zeros(Q.shape[0]),
        Q.values,
        logp=lambda x, mu, values: Q.with_values(values).gmrf_logp(x, mu),
        random=Q.random,
        signature="(n),(k)->(n)",
        **options,
    )


def non_centered():
    """The field as a smooth function of white noise."""
    with pm.Model() as model:
        tau, alpha, mu = hyperparameters()
        z = pm.Normal("z", shape=N)
        x = precision(tau, alpha).solve_triangular(z, trans="T")
        pm.Poisson("y", pt.exp(mu + x), observed=COUNTS)
    return model


def often_indefinite():
    """No density where alpha is above one: a third of what a sampler tries."""
    with pm.Model() as model:
        alpha = pm.Uniform("alpha", 0.0, 1.5, initval=0.5)
        field("x", precision(1.0, alpha))
    return model


MODELS = {
    "potential": of_potential,
    "distribution": of_distribution,
    "non-centered": non_centered,
}
