"""The examples that need NumPy and SciPy alone, smaller, against dense algebra."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.special import expit
from scipy.stats import multivariate_normal

from support.helpers import assert_drawn, example, figure_in, matrices_folder

# ---- mixed model ----


@pytest.fixture(scope="module")
def mixed():
    """The example, and ratings, W and their likelihood for few levels."""
    script, levels = example("mixed_model"), (12, 7, 3)
    y, W, _ = script.simulate(levels, 90, np.random.default_rng(3))
    return script, y, W.toarray(), script.Likelihood(y, W, levels)


def test_restricted_likelihood_against_dense(mixed):
    """By the covariance matrix V of the ratings, as Patterson and Thompson have it."""
    _, y, W, likelihood = mixed
    theta = np.log([0.4, 0.7, 0.2, 1.1])
    variances = np.exp(2 * theta)
    X, Z = W[:, :3], W[:, 3:]
    V = Z * np.repeat(variances[:3], (12, 7, 3)) @ Z.T + variances[3] * np.eye(len(y))
    information = X.T @ np.linalg.solve(V, X)
    beta = np.linalg.solve(information, X.T @ np.linalg.solve(V, y))
    r = y - X @ beta
    wanted = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
    wanted += r @ np.linalg.solve(V, r) + (len(y) - 3) * np.log(2 * np.pi)
    np.testing.assert_allclose(likelihood(theta)[0], wanted, rtol=1e-12)
    F, b = likelihood.factor(theta)
    np.testing.assert_allclose(b[:3], beta, rtol=1e-10)
    np.testing.assert_allclose(F.diag_inverse()[:3], np.diag(np.linalg.inv(information)))


def test_gradient_of_restricted_likelihood(mixed):
    likelihood, theta = mixed[3], np.log([0.4, 0.7, 0.2, 1.1])
    differences = approx_fprime(theta, lambda t: likelihood(t)[0], 1e-7)
    np.testing.assert_allclose(likelihood(theta)[1], differences, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_mixed_model_runs(capsys, tmp_path):
    figure = figure_in(tmp_path)
    script = example("mixed_model")
    estimates, errors, true, inside = script.main(figure, levels=(300, 120, 28), ratings=8000)
    assert np.all(abs(estimates - true) < 4 * errors)
    assert 0.9 < inside < 0.99
    assert "8000 ratings, 451 effects" in capsys.readouterr().out
    assert_drawn(figure)


# ---- trend and season of a monthly series ----


@pytest.fixture(scope="module")
def monthly():
    script = example("monthly_series")
    y = np.log(script.PASSENGERS[:40])
    return script, y, script.Series(y, 45)


def test_likelihood_of_a_monthly_series_against_dense(monthly):
    """By the covariance of y and a flat prior on the null spaces (Harville 1974)."""
    _, y, series = monthly
    theta = np.log([300.0, 200.0, 50.0])
    t, u, s = np.exp(theta)
    Q = (t * series.matrices[0] + u * series.matrices[1]).toarray()
    eigenvalues, vectors = np.linalg.eigh(Q)
    free = eigenvalues < 1e-9 * eigenvalues.max()
    assert free.sum() == 2 + 11
    B, X = series.B.toarray(), series.B @ vectors[:, free]
    V = B @ (vectors[:, ~free] / eigenvalues[~free]) @ vectors[:, ~free].T @ B.T + np.eye(40) / s
    information = X.T @ np.linalg.solve(V, X)
    r = y - X @ np.linalg.solve(information, X.T @ np.linalg.solve(V, y))
    wanted = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
    wanted += r @ np.linalg.solve(V, r) + (40 - 13) * np.log(2 * np.pi)
    value, gradient = series(theta)
    np.testing.assert_allclose(value, wanted / 2, rtol=1e-9)
    differences = approx_fprime(theta, lambda x: series(x)[0], 1e-6)
    np.testing.assert_allclose(gradient, differences, rtol=1e-4, atol=1e-4)


def test_monthly_series_runs(monthly, capsys, tmp_path):
    figure = figure_in(tmp_path)
    _, error, spread = monthly[0].main(figure)
    assert np.sqrt(np.mean(error**2)) < 0.06
    assert np.all(abs(error) < 2.5 * spread)
    assert "12 of 12 months" in capsys.readouterr().out
    assert_drawn(figure)


# ---- logistic regression with random effects ----


@pytest.fixture(scope="module")
def logistic():
    script, levels = example("logistic_effects"), (9, 5)
    y, A, _ = script.simulate(levels, 150, np.random.default_rng(4))
    return y, A.toarray(), script.Likelihood(y, A, levels)


def test_mode_of_logistic_effects(logistic):
    """Against a solver that knows no least squares, and dense determinants."""
    y, A, likelihood = logistic
    theta = np.log([0.9, 0.5])
    prior = np.append(np.zeros(3), np.repeat([0.9**-2, 0.5**-2], (9, 5)))

    def energy(b):
        return np.sum(np.logaddexp(0, A @ b) - y * (A @ b)) + prior @ b**2 / 2

    found = minimize(energy, np.zeros(17), method="BFGS", options={"gtol": 1e-6})
    b, _ = likelihood.mode(theta)
    np.testing.assert_allclose(b, found.x, atol=1e-4)
    p = expit(A @ b)
    H = A.T * (p * (1 - p)) @ A + np.diag(prior)
    wanted = 2 * energy(b) + 2 * (9 * theta[0] + 5 * theta[1]) + np.linalg.slogdet(H)[1]
    np.testing.assert_allclose(likelihood(theta), wanted, rtol=1e-12)


def test_fixed_effects_are_a_schur_complement(logistic):
    _, A, likelihood = logistic
    theta = np.log([0.9, 0.5])
    p = expit(A @ likelihood.mode(theta)[0])
    X, Z = A[:, :3], A[:, 3:]
    V = np.diag(1 / (p * (1 - p))) + Z * np.repeat([0.9**2, 0.5**2], (9, 5)) @ Z.T
    information = X.T @ np.linalg.solve(V, X)
    logdet, covariance = likelihood.of_fixed_effects(theta)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(information)[1])
    np.testing.assert_allclose(covariance, np.linalg.inv(information), rtol=1e-8)


@pytest.mark.slow
def test_logistic_effects_runs(capsys):
    script = example("logistic_effects")
    deviations, beta, errors, inside = script.main(levels=(300, 40), answers=8000)
    np.testing.assert_allclose(deviations, script.DEVIATIONS, rtol=0.25)
    assert np.all(abs(beta - script.BETA) < 4 * errors)
    assert 0.9 < inside < 0.99
    assert "8000 answers, 343 effects" in capsys.readouterr().out


# ---- pose graph ----


def test_jacobian_of_the_pose_graph():
    script, rng = example("pose_graph"), np.random.default_rng(4)
    poses = rng.standard_normal((6, 3))
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [0, 5], [1, 4]])
    measured = script.seen(poses, edges) + 0.1 * rng.standard_normal((7, 3))

    def residuals(free):
        everything = np.concatenate([poses[0], free]).reshape(-1, 3)
        return script.residuals(everything, edges, measured).ravel()

    differences = approx_fprime(poses[1:].ravel(), residuals, 1e-7)
    J = script.jacobian(poses, edges).toarray()
    np.testing.assert_allclose(J, differences, rtol=1e-5, atol=1e-4)


def test_a_tree_of_exact_measurements_leads_to_the_truth():
    script = example("pose_graph")
    places, edges = script.walk(600, np.random.default_rng(1))
    truth = script.with_headings(places)
    order, parents = script.breadth_first_order(script.adjacency(edges), 0, directed=False)
    poses = script.along(parents, order, edges, script.seen(truth, edges), truth[0])
    np.testing.assert_allclose(poses[:, :2], truth[:, :2], atol=1e-10)
    np.testing.assert_allclose(script.wrapped(poses[:, 2] - truth[:, 2]), 0, atol=1e-10)
    assert np.any(parents[edges[:, 0]] == edges[:, 1])  # some edges are taken backwards


@pytest.mark.slow
@pytest.mark.parametrize("graph", [None, "slam_manhattan"])
def test_pose_graph_runs(graph, capsys, tmp_path):
    file = None if graph is None else matrices_folder() / f"{graph}.mtx.gz"
    if file is not None and not file.exists():
        pytest.skip("the folder of matrices is not here")
    figure = figure_in(tmp_path)
    ratios, slope, away, history = example("pose_graph").main(file, figure, poses=800)
    assert max(abs(ratio - 1) for ratio in ratios) < 0.1  # chi squared of 1000 and more
    assert slope < 1e-6
    assert 2 * away[2] < away[0]
    assert history[-1][1] < 1e-10
    assert "iteration 1" in capsys.readouterr().out
    assert_drawn(figure)


# ---- space and time ----


@pytest.fixture(scope="module")
def process():
    """The example, its model of 60 unknowns, and covariance matrices of x and y."""
    script = example("space_time")
    rows, columns, hours = 3, 4, 5
    _, at, y, _ = script.simulate(rows, columns, hours, 4, np.random.default_rng(2))
    a, d, v, tau, s = script.TRUTH
    S, operands = script.operators(rows, columns)
    K = sum(c * k for c, k in zip((a, d, v), operands, strict=True)).toarray()
    n = rows * columns
    noise = np.linalg.inv(tau * S.toarray())
    # x is a linear function of the noise of all hours: its blocks are powers of K.
    powers = [np.linalg.matrix_power(K, k) for k in range(hours)]
    response = np.zeros((hours * n, hours * n))
    for i in range(hours):
        for j in range(i + 1):
            response[i * n : (i + 1) * n, j * n : (j + 1) * n] = powers[i - j]
    covariance = response @ np.kron(np.eye(hours), noise) @ response.T
    of_y = covariance[np.ix_(at, at)] + np.eye(len(at)) / s
    return script, script.Model(rows, columns, hours, y, at), covariance, of_y


def test_likelihood_of_the_process_against_dense(process):
    script, model, covariance, of_y = process
    F, mean = model.factor(script.TRUTH)
    value = model.value(script.TRUTH, F, mean)
    np.testing.assert_allclose(value, multivariate_normal(cov=of_y).logpdf(model.y), rtol=1e-11)
    gain = np.linalg.solve(of_y, covariance[model.at]).T
    np.testing.assert_allclose(mean, gain @ model.y, rtol=1e-9, atol=1e-10)
    variance = model.gradient(script.TRUTH, F, mean)[1]
    np.testing.assert_allclose(variance, np.diag(covariance - gain @ covariance[model.at]))
    logdet = np.linalg.slogdet(covariance)[1]
    np.testing.assert_allclose(model.logdet_of_prior(script.TRUTH), -logdet, rtol=1e-11)


def test_gradient_of_the_process(process):
    script, model = process[:2]

    def value(parameters):
        return model.value(parameters, *model.factor(parameters))

    gradient = model.gradient(script.TRUTH, *model.factor(script.TRUTH))[0]
    differences = approx_fprime(script.TRUTH, value, 1e-7 * script.TRUTH)
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_space_time_runs(capsys, tmp_path):
    figure = figure_in(tmp_path)
    script = example("space_time")
    *_, logdet_error, gradient_error, inside = script.main(figure, 10, 12, 40, stations=8)
    assert abs(logdet_error) < 1e-12
    assert abs(gradient_error) < 1e-4
    assert 0.92 < inside < 0.98
    out = capsys.readouterr().out
    assert "4800 unknowns, 320 measurements" in out
    assert "GiB" in out
    assert_drawn(figure)
