"""Models in PyMC, by every sampler it has."""

import importlib.util
import warnings

import numpy as np
import pytest

from support.pytensor_systems import kernels

if importlib.util.find_spec("pymc") is None:
    pytest.skip("PyMC is not installed (it needs Python 3.12)", allow_module_level=True)

import pymc as pm

from support.pymc_models import MODELS, D, N, W, field, of_distribution, often_indefinite, precision

BATCH = 100  # draws of a chain that depend on each other
SAMPLERS = {
    "pymc": {"cores": 2, "mp_ctx": "spawn"},
    "nutpie": {"nuts_sampler_kwargs": {"backend": "numba"}},
    "numpyro": {},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]  # of PyMC, ArviZ and the samplers


def need(sampler):
    if importlib.util.find_spec(sampler) is None:
        pytest.skip(f"{sampler} is not installed")


def sample(model, sampler, draws=1000, tune=500):
    """Draws of two chains."""
    with model:
        return pm.sample(
            draws,
            tune=tune,
            chains=2,
            random_seed=7,
            progressbar=False,
            nuts_sampler=sampler,
            compute_convergence_checks=False,
            **SAMPLERS[sampler],
        )


def moments(trace, names):
    """Posterior means, with their Monte Carlo errors from means of batches."""
    draws = np.stack([trace.posterior[name].values for name in names])
    batches = draws.reshape(len(names), -1, BATCH).mean(axis=2)
    return batches.mean(axis=1), batches.std(axis=1) / np.sqrt(batches.shape[1] - 1)


@pytest.fixture(scope="module")
def reference():
    """Posterior means of the centered model, by PyMC's own sampler in two processes."""
    return moments(sample(of_distribution(), "pymc"), ["tau", "alpha", "mu"])


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("distribution", "nutpie"),
        ("distribution", "numpyro"),
        ("potential", "pymc"),
        ("potential", "nutpie"),
        ("potential", "numpyro"),
        ("non-centered", "nutpie"),
        ("non-centered", "numpyro"),
    ],
)
def test_posterior_means(reference, name, sampler):
    need(sampler)
    trace = sample(MODELS[name](), sampler)
    means, errors = moments(trace, ["tau", "alpha", "mu"])
    assert int(trace.sample_stats.diverging.sum()) < 20
    assert np.all(abs(means - reference[0]) < 4 * np.hypot(errors, reference[1]))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_points_that_are_not_positive_definite(sampler):
    """They are refused, and the sampler goes on; alpha = 1 is where positive definiteness ends."""
    need(sampler)
    trace = sample(often_indefinite(), sampler, draws=300, tune=300)
    alpha = trace.posterior["alpha"].values
    assert np.all(np.isfinite(trace.posterior["x"].values))
    assert alpha.max() < 1
    assert alpha.std() > 0.05


@pytest.mark.parametrize("name", MODELS)
def test_compiled_model(name):
    """One factorization for density and gradient, and nothing in object mode."""
    model = MODELS[name]()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*object mode")
        function = model.logp_dlogp_function(ravel_inputs=True)
        point = model.initial_point()
        function.set_extra_values({})
        function(pm.blocking.DictToArrayBijection.map(point))
    assert kernels(function._pytensor_function)["Factor"] == 1


def test_density_is_that_of_the_dense_model():
    with pm.Model() as model:
        x = field("x", precision(2.0, 0.4))
    Q = 2.0 * (D - 0.4 * W).toarray()
    dense = pm.MvNormal.dist(np.zeros(N), tau=Q)
    point = np.random.default_rng(0).standard_normal(N)
    wanted = pm.logp(dense, point).eval()
    np.testing.assert_allclose(model.compile_logp(x)({"x": point}), wanted, rtol=1e-12)


def test_draws():
    """Of the prior: their second moments; of both predictives: their shapes."""
    with pm.Model() as model:
        field("x", precision(2.0, 0.4))
        prior = pm.sample_prior_predictive(4000, random_seed=1).prior["x"].values[0]
    assert model.compile_logp()({"x": prior[0]}) < 0
    S = np.linalg.inv(2.0 * (D - 0.4 * W).toarray())
    spread = np.sqrt((np.outer(S.diagonal(), S.diagonal()) + S**2) / 4000)
    assert np.all(abs(prior.T @ prior / 4000 - S) < 5 * spread)

    with of_distribution():
        prior = pm.sample_prior_predictive(50, random_seed=1)
        assert prior.prior["x"].shape == (1, 50, N)
        assert prior.prior_predictive["y"].shape == (1, 50, N)
    need("nutpie")
    model = of_distribution()
    trace = sample(model, "nutpie", draws=50, tune=100)
    with model:
        posterior = pm.sample_posterior_predictive(trace, random_seed=1, progressbar=False)
    y = posterior.posterior_predictive["y"].values
    assert y.shape == (2, 50, N)
    assert 1 < y.mean() < 3


def test_mode():
    """The density found by PyMC to be the largest has no gradient."""
    model = MODELS["potential"]()
    with model:
        mode = pm.find_MAP(progressbar=False, include_transformed=True)
    names = [variable.name for variable in model.value_vars]
    gradient = model.compile_dlogp(jacobian=False)({name: mode[name] for name in names})
    assert np.max(abs(gradient)) < 0.01
