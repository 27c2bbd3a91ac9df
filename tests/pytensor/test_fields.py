"""The distributions of sparsechol.pymc: densities, draws, coordinates, shapes and errors."""

import importlib.util
import warnings

import numpy as np
import pytensor
import pytest

if importlib.util.find_spec("pymc") is None:
    pytest.skip("PyMC is not installed (it needs Python 3.12)", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyMC's own imports warn
    import pymc as pm
import scipy.sparse as sp
from scipy.stats import multivariate_normal

import sparsechol as sc
import sparsechol.pymc as scpm
import sparsechol.pytensor as scpt
from sparsechol import models

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyMC and ArviZ


@pytest.fixture(autouse=True)
def python():
    """Compile for Python, which is fastest."""
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        yield


def path(n):
    return sp.diags_array([np.ones(n - 1)] * 2, offsets=[-1, 1])


LATTICE = sp.csc_array(sp.kronsum(path(3), path(3)))
ISLANDS = sp.csc_array(sp.block_diag([LATTICE, path(4), sp.csc_array((1, 1))]))
N = ISLANDS.shape[0]
D = sp.diags_array(LATTICE.sum(axis=0))
PRECISION = (D - 0.4 * LATTICE).toarray()
RNG = np.random.default_rng(1)
X, MU = RNG.standard_normal((2, N)), RNG.standard_normal(N)


def inverse(Q):
    return np.linalg.pinv(Q, rcond=1e-10, hermitian=True)


def on_plane(covariance, mean, x):
    """Log density on the plane that a singular covariance leaves, by its eigenvectors."""
    values, vectors = np.linalg.eigh(covariance)
    free = vectors[:, values > 1e-8 * values[-1]]
    reduced = free.T @ covariance @ free
    return multivariate_normal(np.zeros(free.shape[1]), reduced).logpdf((x - mean) @ free)


def projected(covariance, x):
    values, vectors = np.linalg.eigh(covariance)
    free = vectors[:, values > 1e-8 * values[-1]]
    return x @ free @ free.T


def laplacian(W):
    return np.diag(W.sum(axis=0)) - W.toarray()


def bym2(sigma, rho):
    R = models.scale(models.besag(ISLANDS)).Q.toarray()
    return sigma**2 * (rho * inverse(R) + (1 - rho) * np.eye(N))


def matern():
    points, triangles = models.triangulation(4, 5)
    kappa, tau = models.spde_parameters(range_=0.5, sigma=2.0)
    Q = models.spde_mesh(points, triangles)(kappa=kappa, tau=tau).Q.toarray()
    return lambda: scpm.Matern.dist(points, triangles, 0.5, 2.0), np.linalg.inv(Q)


CASES = {  # the variable, and its covariance
    "GMRF": (lambda: scpm.GMRF.dist(0.0, PRECISION), inverse(PRECISION)),
    "intrinsic": (
        lambda: scpm.GMRF.dist(0.0, models.besag(LATTICE)),
        inverse(laplacian(LATTICE)),
    ),
    "CAR": (lambda: scpm.CAR.dist(0.0, LATTICE, 0.4, 2.0), inverse(2 * PRECISION)),
    "ICAR": (lambda: scpm.ICAR.dist(ISLANDS, 1.3), 1.69 * inverse(laplacian(ISLANDS))),
    "scaled": (
        lambda: scpm.ICAR.dist(ISLANDS, 1.3, scaled=True),
        1.69 * inverse(models.scale(models.besag(ISLANDS)).Q.toarray()),
    ),
    "BYM2": (lambda: scpm.BYM2.dist(ISLANDS, 1.3, 0.7), bym2(1.3, 0.7)),
    "walk": (
        lambda: scpm.RandomWalk.dist(0.5, shape=7),
        0.25 * inverse(laplacian(path(7))),
    ),
    "smooth": (
        lambda: scpm.RandomWalk.dist(0.5, order=2, t=[0.0, 1.0, 3.0, 4.0, 4.5, 6.0]),
        0.25 * inverse(models.rw2([0.0, 1.0, 3.0, 4.0, 4.5, 6.0]).Q.toarray()),
    ),
    "cycle": (
        lambda: scpm.RandomWalk.dist(0.5, order=2, period=8, shape=8, scaled=True),
        0.25 * inverse(models.scale(models.rw2(8, period=8)).Q.toarray()),
    ),
    "Matern": matern(),
}


@pytest.mark.parametrize("name", CASES)
def test_density(name):
    make, covariance = CASES[name]
    x = np.random.default_rng(2).standard_normal((2, len(covariance)))
    x = projected(covariance, x)
    wanted = on_plane(covariance, 0.0, x)
    np.testing.assert_allclose(pm.logp(make(), x).eval(), wanted, rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_draws(name):
    make, covariance = CASES[name]
    draws = pm.draw(make(), 4000, random_seed=1)
    error = abs(np.cov(draws.T) - covariance).max()
    assert error < 0.1 * covariance.max()
    np.testing.assert_allclose(draws, projected(covariance, draws), atol=1e-9)


@pytest.mark.parametrize("name", ["ICAR", "smooth", "BYM2"])
def test_coordinates_of_samplers(name):
    """The density in them is that of x, times the change of volume."""
    variable = CASES[name][0]()
    transform = variable.owner.op.law.transform()
    inputs = variable.owner.inputs
    count = transform.forward(variable, *inputs).eval().shape[0]
    y = np.random.default_rng(3).standard_normal(count)
    backward = transform.backward(pytensor.tensor.constant(np.vstack([y, np.eye(count)])), *inputs)
    x, *columns = backward.eval()
    np.testing.assert_allclose(transform.forward(pytensor.shared(x), *inputs).eval(), y)
    volume = np.linalg.slogdet(np.array(columns) @ np.array(columns).T)[1] / 2
    jacobian = transform.log_jac_det(pytensor.shared(y), *inputs).eval()
    np.testing.assert_allclose(jacobian, volume, atol=1e-10)


def test_car_of_pymc():
    """Up to normalization; PyMC leaves constants out."""
    W, mu = LATTICE.toarray(), MU[:9]
    points = X[0, :9], X[1, :9]
    constant = 0.5 * np.log(D.diagonal()).sum() - 4.5 * np.log(2 * np.pi)
    for x, alpha, tau in zip(points, (0.4, 0.9), (2.0, 0.5), strict=True):
        theirs = pm.logp(pm.CAR.dist(mu, W, alpha, tau), x).eval()
        ours = pm.logp(scpm.CAR.dist(mu, W, alpha, tau), x).eval()
        np.testing.assert_allclose(ours, theirs.squeeze() + constant)


def test_icar_of_pymc():
    """Up to normalization: that of the sum of zero, and one that depends on sigma."""
    eigenvalues = np.linalg.eigvalsh(laplacian(LATTICE))[1:]
    x = X[0, :9] - X[0, :9].mean()
    of_sum = -0.5 * np.log(2 * np.pi) - np.log(0.001 * 9)
    for sigma in (0.5, 2.0):
        theirs = pm.logp(pm.ICAR.dist(LATTICE.toarray().astype(int), sigma), x).eval()
        ours = pm.logp(scpm.ICAR.dist(LATTICE, sigma), x).eval()
        missing = 0.5 * (np.log(eigenvalues).sum() - 8 * np.log(2 * np.pi)) - 8 * np.log(sigma)
        np.testing.assert_allclose(ours, theirs - of_sum + missing)


def test_beside_the_plane_there_is_no_density():
    x = X[0, :9] - X[0, :9].mean()
    logp = pm.logp(scpm.ICAR.dist(LATTICE), np.stack([x, x + 1e-3])).eval()
    assert np.isfinite(logp[0])
    assert logp[1] == -np.inf


def test_constraints():
    """Conditional distributions, with a random right-hand side."""
    C = np.stack([np.ones(9), np.arange(9.0)])
    with pm.Model() as model:
        total = pm.Normal("total", 3.0)
        x = scpm.GMRF("x", MU[:9], PRECISION, constraint=(C, [total, 1.0]))
        prior = pm.sample_prior_predictive(20, random_seed=1).prior
    totals = prior["total"].values[0]
    draws = prior["x"].values[0]
    np.testing.assert_allclose(draws @ C.T, np.column_stack([totals, np.ones(20)]), atol=1e-10)
    wanted = sc.cholesky(PRECISION).condition(C, [totals[0], 1.0]).logpdf(draws[0], MU[:9])
    logp = pm.logp(x, draws[0])
    np.testing.assert_allclose(logp.eval({total: totals[0]}), wanted)
    point = model.initial_point()
    assert point["x_plane__"].shape == (7,)
    assert np.isfinite(model.compile_logp()(point))


def test_several_fields():
    """Parameters with leading dimensions, and shapes."""
    sigma, rho = np.array([0.5, 1.0]), np.array([0.3, 0.9])
    tau = np.array([1.0, 3.0])
    Q = scpt.combine([(tau[:, None], sp.csc_array(PRECISION))])
    for variable, covariances in [
        (
            scpm.BYM2.dist(ISLANDS, sigma, rho),
            [bym2(s, r) for s, r in zip(sigma, rho, strict=True)],
        ),
        (scpm.GMRF.dist(0.0, Q), [inverse(PRECISION) / t for t in tau]),
        (scpm.CAR.dist(0.0, LATTICE, 0.4, tau), [inverse(PRECISION) / t for t in tau]),
    ]:
        n = len(covariances[0])
        wanted = [
            multivariate_normal(cov=S).logpdf(x[:n]) for S, x in zip(covariances, X, strict=True)
        ]
        np.testing.assert_allclose(pm.logp(variable, X[:, :n]).eval(), wanted)
        assert pm.draw(variable, random_seed=1).shape == (2, n)
    assert pm.draw(scpm.ICAR.dist(ISLANDS, shape=(3, 2, N)), random_seed=1).shape == (3, 2, N)


def test_in_a_model():
    coords = {"area": [f"a{k}" for k in range(N)], "year": range(2)}
    with pm.Model(coords=coords) as model:
        sigma, rho = pm.HalfNormal("sigma"), pm.Beta("rho", 2, 2)
        x = scpm.BYM2("x", ISLANDS, sigma, rho, dims="area")
        scpm.ICAR("u", ISLANDS, sigma, mu=x, dims=("year", "area"))
        scpm.RandomWalk("walk", sigma, order=2, scaled=True, shape=6)
        scpm.BYM2("free", ISLANDS, sigma, rho, centered=False, dims=("year", "area"))
        scpm.ICAR("white", ISLANDS, sigma, centered=False)
        scpm.GMRF("y", x, sp.eye_array(N), observed=MU)
        prior = pm.sample_prior_predictive(5, random_seed=1)
    assert {name: value.shape for name, value in model.initial_point().items()} == {
        "sigma_log__": (),
        "rho_logodds__": (),
        "x_unit_along__": (N,),
        "u_plane__": (2, N - 3),
        "walk_plane__": (4,),
        "free_noise": (2, 2, N),
        "white_noise": (1, N),
    }
    assert np.isfinite(model.compile_logp()(model.initial_point()))
    assert np.isfinite(model.compile_dlogp()(model.initial_point())).all()
    assert prior.prior["u"].dims == ("chain", "draw", "year", "area")
    assert prior.prior_predictive["y"].shape == (1, 5, N)
    difference = (prior.prior["u"] - prior.prior["x"]).values
    for part in (slice(0, 9), slice(9, 13), slice(13, 14)):
        np.testing.assert_allclose(difference[..., part].sum(axis=-1), 0, atol=1e-10)
    assert "BYM2" in model.str_repr()


def test_white_noise():
    """The field that is made of it has the covariance of the distribution."""
    with pm.Model() as model:
        x = scpm.BYM2("x", ISLANDS, 1.3, 0.7, centered=False)
        u = scpm.ICAR("u", ISLANDS, 1.3, centered=False)
    for variable, covariance in ((x, bym2(1.3, 0.7)), (u, CASES["ICAR"][1])):
        noise = model[f"{variable.name}_noise"]
        size = np.prod(noise.shape.eval())
        f = pytensor.function([noise], variable, on_unused_input="ignore")
        root = np.array([f(e.reshape(-1, N)) for e in np.eye(size)])
        np.testing.assert_allclose(root.T @ root, covariance, atol=1e-10)


def test_missing_values():
    data = MU[:9].copy()
    data[[2, 5]] = np.nan
    with pm.Model() as model:
        scpm.GMRF("x", 0.0, PRECISION, observed=data)
    guess = np.array([0.3, -0.2])
    data[[2, 5]] = guess
    wanted = multivariate_normal(cov=inverse(PRECISION)).logpdf(data)
    np.testing.assert_allclose(model.compile_logp()({"x_unobserved": guess}), wanted)


def test_no_density_where_not_positive_definite():
    x = scpm.CAR.dist(0.0, LATTICE, 1.5, 1.0)
    assert np.isnan(pm.logp(x, X[0, :9]).eval())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: scpm.ICAR("x", ISLANDS, observed=np.ones(N)), ValueError, "satisfy the constr"),
        (
            lambda: scpm.ICAR("x", LATTICE, observed=np.r_[np.nan, np.zeros(8)]),
            ValueError,
            "values are missing",
        ),
        (lambda: scpm.RandomWalk("x", 1.0), ValueError, "how many values"),
        (lambda: scpm.RandomWalk("x", 1.0, order=3, shape=5), ValueError, "order must be 1 or 2"),
        (lambda: scpm.CAR("x", 0.0, ISLANDS, 0.5, 1.0), ValueError, "vertex 13 has no neighbor"),
        (lambda: scpm.GMRF("x", 0.0, PRECISION, shape=5), ValueError, "the field has 9 rows"),
        (lambda: scpm.GMRF("x", np.ones(4), PRECISION), ValueError, "mu has shape"),
        (
            lambda: scpm.GMRF("x", 0.0, PRECISION, centered=False, observed=np.ones(9)),
            TypeError,
            "could take observed=",
        ),
        (
            lambda: scpm.GMRF("x", 0.0, PRECISION, null_space=np.ones((9, 1))),
            ValueError,
            "null space of the matrix",
        ),
    ],
)
def test_errors(make, error, message):
    with pm.Model(), pytest.raises(error, match=message):
        make()
