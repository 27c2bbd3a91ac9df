"""Models in PyMC, by every sampler it has."""

import importlib.util
import warnings

import numpy as np
import pytest

from support.pytensor_systems import kernels

if importlib.util.find_spec("pymc") is None:
    pytest.skip("PyMC is not installed (it needs Python 3.12)", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyMC's own imports warn
    import pymc as pm
import scipy.sparse as sp
from scipy.stats import multivariate_normal

import sparsechol as sc
import sparsechol.pytensor as scpt
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


@pytest.mark.parametrize(("shape", "rows"), [((3, N), None), (None, 3), ((3, N), 3)])
def test_several_fields(shape, rows):
    """Of one precision or of one for each: densities, draws and gradients."""
    with pm.Model() as model:
        tau = pm.Gamma("tau", 4.0, 2.0, shape=rows)
        t = tau[:, None] if rows else tau
        Q = scpt.combine([(t, D), (-0.4 * t, W)])
        x = field("x", Q, shape=shape)
        prior = pm.sample_prior_predictive(4, random_seed=1).prior
    assert prior["x"].shape == (1, 4, 3, N)
    points = np.random.default_rng(0).standard_normal((3, N))
    scales = np.array([1.0, 2.0, 3.0]) if rows else np.full(3, 2.0)
    wanted = [
        multivariate_normal(cov=np.linalg.inv(scale * (D - 0.4 * W).toarray())).logpdf(point)
        for scale, point in zip(scales, points, strict=True)
    ]
    at = {"x": points, "tau_log__": np.log(scales if rows else 2.0)}
    np.testing.assert_allclose(model.compile_logp(x, sum=False)(at)[0], wanted)
    assert np.isfinite(model.compile_dlogp()(at)).all()


NOISE = {
    "draw": (lambda Q, z: Q.solve_triangular(z, trans="T"), lambda M, L: np.linalg.inv(M)),
    "factor": (
        lambda Q, z: Q.solve_triangular(z, permute=False),
        lambda M, L: np.linalg.inv(L.T @ L),
    ),
    "solve": (lambda Q, z: Q.solve(z), lambda M, L: np.linalg.inv(M @ M)),
    "plain": (
        lambda Q, z: scpt.solve_triangular(LOWER, z, trans=1),
        lambda M, L: np.linalg.inv(LOWER.toarray() @ LOWER.toarray().T),
    ),
}
LOWER = sp.csc_array(sp.tril(2.0 * D - W))


@pytest.mark.parametrize("name", NOISE)
def test_density_of_transformed_noise(name):
    """PyMC derives the density of the solution from that of the right-hand side."""
    transform, covariance = NOISE[name]
    with pm.Model() as model:
        Q = precision(2.0, 0.4)
        x = pm.CustomDist(
            "x",
            np.ones(N),
            Q.values,
            dist=lambda mu, values, size: (
                mu + transform(Q.with_values(values), pm.Normal.dist(size=N))
            ),
            signature="(n),(k)->(n)",
        )
    point = np.random.default_rng(0).standard_normal(N)
    M, p = 2.0 * (D - 0.4 * W).toarray(), Q.pattern.perm
    L = np.linalg.cholesky(M[np.ix_(p, p)])
    wanted = multivariate_normal(np.ones(N), covariance(M, L)).logpdf(point)
    np.testing.assert_allclose(model.compile_logp(x)({"x": point}), wanted)


def test_density_of_a_batch_of_transformed_noise():
    Q, z = precision(2.0, 0.4), pm.Normal.dist(size=(3, N))
    points = np.random.default_rng(0).standard_normal((3, N))
    logp = pm.logp(Q.solve_triangular(z, trans="T", b_ndim=1), points).eval()
    S = np.linalg.inv(2.0 * (D - 0.4 * W).toarray())
    np.testing.assert_allclose(logp, multivariate_normal(cov=S).logpdf(points))


def test_random_matrices_have_no_derived_density():
    Q = precision(pm.Gamma.dist(4.0, 2.0), 0.4)
    with pytest.raises(Exception, match=r"not implemented|could not be derived"):
        pm.logp(Q.solve_triangular(pm.Normal.dist(size=N), trans="T"), np.ones(N))


def test_named_dimensions_are_refused():
    pmd = pytest.importorskip("pymc.dims")
    with pm.Model(coords={"region": range(N)}):
        x = pmd.Normal("x", 0.0, 1.0, dims="region")
        with pytest.raises(TypeError, match="named dimensions"):
            precision(2.0, 0.4).gmrf_logp(x)
        precision(2.0, 0.4).gmrf_logp(x.values)


def test_data():
    """A matrix of data, and data that change their size."""
    dense = (2.0 * D - W).toarray()
    with pm.Model():
        M, b = pm.Data("M", dense), pm.Data("b", np.ones(N))
        Q = scpt.combine([(1.0, M)], pattern=sc.analyze(2.0 * D - W))
        solution = Q.solve(b)
        np.testing.assert_allclose(solution.eval(), np.linalg.solve(dense, np.ones(N)))
        pm.set_data({"b": np.ones(N + 1)})
        with pytest.raises(ValueError, match=r"build the graph .* again"):
            solution.eval()


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


@pytest.mark.parametrize("name", MODELS)
def test_fit_laplace(name):
    """Of pymc-extras: it finds a point without a gradient, and draws around it."""
    need("pymc_extras")
    from pymc_extras import fit_laplace

    with MODELS[name]():
        draws = fit_laplace(progressbar=False, draws=50, random_seed=1).posterior
    assert all(np.isfinite(draws[v].values).all() for v in draws.data_vars)
    assert draws["mu"].values.std() > 0
