"""The distributions of sparsechol.pymc in every sampler: BYM2 on a graph of several components."""

import importlib.util
import warnings

import numpy as np
import pytest

if importlib.util.find_spec("pymc") is None:
    pytest.skip("PyMC is not installed (it needs Python 3.12)", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyMC's own imports warn
    import pymc as pm
import pytensor
import pytensor.tensor as pt
import scipy.sparse as sp

import sparsechol.pymc as scpm
from sparsechol import models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of PyMC, ArviZ and the samplers
]

BATCH = 100  # draws of a chain that depend on each other
SAMPLERS = {
    "pymc": {"cores": 1},
    "nutpie": {"nuts_sampler_kwargs": {"backend": "numba"}},
    "numpyro": {},
}


def lattice(rows, columns):
    paths = [sp.diags_array([np.ones(k - 1)] * 2, offsets=[-1, 1]) for k in (rows, columns)]
    return sp.csc_array(sp.kronsum(*paths))


PARTS = [lattice(6, 5), lattice(4, 4)]
W = sp.csc_array(sp.block_diag([*PARTS, sp.csc_array((1, 1))]))  # and an island
N = W.shape[0]
RNG = np.random.default_rng(11)
EXPECTED = RNG.uniform(5, 30, N)
CASES = RNG.poisson(EXPECTED * np.exp(0.2 + 0.5 * np.sin(np.arange(N) / 4)))


def hyperparameters():
    return pm.Normal("b"), pm.HalfNormal("sigma"), pm.Beta("rho", 2.0, 2.0)


def reference():
    """The usual formulation: `pymc.ICAR` for each component, its soft constraint, and noise."""
    with pm.Model() as model:
        b, sigma, rho = hyperparameters()
        scales = [models.generalized_variances(models.besag(part))[0] for part in PARTS]
        fields = [
            pm.ICAR(f"u{k}", part.toarray().astype(int)) / np.sqrt(scales[k])
            for k, part in enumerate(PARTS)
        ]
        u = pt.concatenate([*fields, pm.Normal("u2", shape=1)])
        x = sigma * (pt.sqrt(rho) * u + pt.sqrt(1 - rho) * pm.Normal("v", shape=N))
        observe(b, x)
    return model


def ours(centered):
    with pm.Model() as model:
        b, sigma, rho = hyperparameters()
        observe(b, scpm.BYM2("x", W, sigma, rho, centered=centered))
    return model


def intrinsic():
    with pm.Model() as model:
        b, sigma, rho = hyperparameters()
        u = scpm.ICAR("u", W, scaled=True)
        v = pm.Normal("v", shape=N)
        observe(b, sigma * (pt.sqrt(rho) * u + pt.sqrt(1 - rho) * v))
    return model


def observe(b, x):
    pm.Deterministic("effect", x[:3])
    pm.Poisson("y", EXPECTED * pt.exp(b + x), observed=CASES)


def moments(model, sampler):
    """Posterior means, and their Monte Carlo errors from means of batches."""
    with model:
        trace = pm.sample(
            1500,
            tune=700,
            chains=2,
            random_seed=7,
            progressbar=False,
            nuts_sampler=sampler,
            compute_convergence_checks=False,
            **SAMPLERS[sampler],
        )
    posterior = trace.posterior
    draws = [posterior[name].values[..., None] for name in ("b", "sigma", "rho")]
    draws = np.concatenate([*draws, posterior["effect"].values], axis=-1)
    batches = draws.reshape(-1, BATCH, draws.shape[-1]).mean(axis=1)
    errors = batches.std(axis=0) / np.sqrt(len(batches) - 1)
    return draws.mean(axis=(0, 1)), errors, int(trace.sample_stats.diverging.sum())


@pytest.fixture(scope="module")
def wanted():
    pytest.importorskip("nutpie")
    return moments(reference(), "nutpie")


@pytest.mark.parametrize(
    ("model", "sampler"),
    [
        ("centered", "nutpie"),
        ("centered", "pymc"),
        ("centered", "numpyro"),
        ("noise", "nutpie"),
        ("intrinsic", "nutpie"),
    ],
)
def test_posterior_means(wanted, model, sampler):
    pytest.importorskip(sampler)
    make = {"centered": lambda: ours(True), "noise": lambda: ours(False), "intrinsic": intrinsic}
    means, errors, diverging = moments(make[model](), sampler)
    assert diverging < 30
    assert np.all(abs(means - wanted[0]) < 4 * np.hypot(errors, wanted[1]))


def test_nothing_runs_in_python():
    """Neither densities and gradients nor draws."""
    with pm.Model() as model, warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*object mode")
        sigma = pm.HalfNormal("sigma")
        x = scpm.BYM2("x", W, sigma, 0.5)
        scpm.ICAR("u", W, sigma, mu=x)
        point = model.initial_point()
        assert np.isfinite(model.compile_logp()(point))
        assert np.isfinite(model.compile_dlogp()(point)).all()
        pm.sample_prior_predictive(3, random_seed=1)


def test_other_ways_to_fit():
    """The mode, a variational approximation, and predictions from it."""
    model = ours(True)
    # Compiled for Python, which is fastest here.
    with pytensor.config.change_flags(mode="FAST_COMPILE"), model:
        mode = pm.find_MAP(progressbar=False, include_transformed=True)
        fit = pm.fit(300, progressbar=False, random_seed=1)
        trace = fit.sample(20, random_seed=1)
        predicted = pm.sample_posterior_predictive(trace, progressbar=False, random_seed=1)
        values = {variable.name: mode[variable.name] for variable in model.value_vars}
        logp = model.compile_logp(jacobian=False)
    assert logp(values) > logp(model.initial_point())
    assert np.isfinite(fit.hist).all()
    assert predicted.posterior_predictive["y"].shape == (1, 20, N)
