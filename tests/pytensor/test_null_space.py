"""Semidefinite matrices with known null space, and linear constraints: against dense NumPy."""

import importlib.util

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp

import sparsechol as sc
import sparsechol.pytensor as scpt
from support.pytensor_systems import kernels

N = 9
SECOND = np.diff(np.eye(N), 2, axis=0)
RANDOM_WALK = SECOND.T @ SECOND
LINES = np.column_stack([np.ones(N), np.arange(N)])
EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7)]  # and vertex 8 alone
SCALES = np.array([1.5, 3.0])
RNG = np.random.default_rng(3)
B, Z, X = RNG.standard_normal((N, 2)), RNG.standard_normal((2, N)), RNG.standard_normal((2, N))
C, E = RNG.standard_normal((3, N)), np.array([1.0, 2.0, -1.0])
MU = RNG.standard_normal(N)
ROWS, COLUMNS = np.array([[0], [5], [-1]]), [0, 3, 6, 8]  # also in other components


def graph():
    R = np.zeros((N, N))
    for i, j in EDGES:
        R[[i, j], [i, j]] += 1
        R[[i, j], [j, i]] -= 1
    return R


CASES = {"graph": (graph(), "components"), "lines": (RANDOM_WALK, LINES)}
scales = pt.dvector("scales")


def results(F):
    fixed = F.condition(C, E)
    return {
        "logdet": F.logdet(),
        "solve": F.solve(B),
        "diag_inverse": F.diag_inverse(),
        "partial_inverse": F.partial_inverse(),
        "inverse_entries": F.inverse_entries(ROWS, COLUMNS),
        "gmrf_logp": F.gmrf_logp(X, MU),
        "sample": F.sample(Z),
        "mean": fixed.mean(MU),
        "variances": fixed.marginal_variances(),
        "covariance_entries": fixed.covariance_entries(ROWS, COLUMNS),
        "draw": fixed.sample(Z, MU),
        "density": fixed.gmrf_logp(fixed.sample(Z, MU), MU),
    }


@pytest.fixture(scope="module", params=CASES)
def system(request):
    """A batch of two matrices: the dense ones, the pattern, and a compiled function."""
    Q, V = CASES[request.param]
    M = scpt.combine([(scales[:, None], Q)])
    found = results(scpt.cholesky(M, null_space=V))
    f = pytensor.function([scales], list(found.values()), mode="FAST_COMPILE")
    dense = [s * Q for s in SCALES]
    return dense, M.pattern, V, dict(zip(found, f(SCALES), strict=True)), (f, found)


def constrained(Q, V):
    """Mean and covariance given C x = E: that of Q restricted to the plane, by its null space."""
    free = np.linalg.svd(C)[2][len(C) :].T
    inner = np.linalg.inv(free.T @ Q @ free)
    particular = np.linalg.pinv(C) @ E
    mean = particular + free @ inner @ free.T @ Q @ (MU - particular)
    return mean, free @ inner @ free.T, free


def test_against_dense(system):
    dense, P, _, found, _ = system
    columns = np.repeat(np.arange(N), np.diff(P.indptr))
    for k, Q in enumerate(dense):
        eigenvalues = np.linalg.eigvalsh(Q)
        nonzero = eigenvalues[eigenvalues > 1e-10]
        inverse = np.linalg.pinv(Q, rcond=1e-10)
        wanted = np.log(nonzero).sum()
        np.testing.assert_allclose(found["logdet"][k], wanted, rtol=1e-12)
        np.testing.assert_allclose(found["solve"][k], inverse @ B, atol=1e-11)
        np.testing.assert_allclose(found["diag_inverse"][k], inverse.diagonal(), atol=1e-11)
        np.testing.assert_allclose(
            found["partial_inverse"][k], inverse[P.indices, columns], atol=1e-11
        )
        np.testing.assert_allclose(found["inverse_entries"][k], inverse[ROWS, COLUMNS], atol=1e-11)
        d = X[k] - MU
        logp = 0.5 * (wanted - len(nonzero) * np.log(2 * np.pi) - d @ Q @ d)
        np.testing.assert_allclose(found["gmrf_logp"][k], logp)


def test_draws_have_the_pseudo_inverse_as_covariance(system):
    dense, _, V, _, _ = system
    F = scpt.cholesky(scpt.from_sparse(dense[0]), null_space=V)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        root = F.sample(np.eye(N)).eval()  # rows: the images of unit vectors
    np.testing.assert_allclose(root.T @ root, np.linalg.pinv(dense[0], rcond=1e-10), atol=1e-11)


def test_constraints_against_dense(system):
    dense, _, V, found, _ = system
    for k, Q in enumerate(dense):
        mean, covariance, free = constrained(Q, V)
        np.testing.assert_allclose(found["mean"][k], mean, atol=1e-10)
        np.testing.assert_allclose(found["variances"][k], covariance.diagonal(), atol=1e-11)
        np.testing.assert_allclose(
            found["covariance_entries"][k], covariance[ROWS, COLUMNS], atol=1e-11
        )
        np.testing.assert_allclose(C @ found["draw"][k], E, atol=1e-10)
        y = free.T @ (found["draw"][k] - mean)
        H = free.T @ Q @ free
        logp = 0.5 * (np.linalg.slogdet(H / (2 * np.pi))[1] - y @ H @ y)
        np.testing.assert_allclose(found["density"][k], logp)


def test_gradients(system):
    """Against central differences, all results at a time."""
    f, found = system[4]
    names = [name for name in found if name != "mean"]  # of three constraints it has none
    total = [found[name].sum() for name in names]
    gradients = pytensor.function(
        [scales],
        [pytensor.grad(t, scales, disconnected_inputs="ignore") for t in total],
        mode="FAST_COMPILE",
    )(SCALES)
    step = 1e-5
    for name, gradient in zip(names, gradients, strict=True):
        place = list(found).index(name)
        for j, change in enumerate(step * np.eye(2)):
            up, down = f(SCALES + change)[place].sum(), f(SCALES - change)[place].sum()
            np.testing.assert_allclose(gradient[j], (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def test_definite_fields_under_constraints():
    Q = RANDOM_WALK + np.eye(N)
    fixed = scpt.from_sparse(Q).condition(sp.csr_array(C), E)
    S = np.linalg.inv(Q)
    gain = S @ C.T @ np.linalg.inv(C @ S @ C.T)
    mean = MU - gain @ (C @ MU - E)
    reference = sc.cholesky(Q).condition(C, E)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        np.testing.assert_allclose(fixed.mean(MU).eval(), mean)
        variances = (S - gain @ C @ S).diagonal()
        np.testing.assert_allclose(fixed.marginal_variances().eval(), variances)
        draws = fixed.sample(Z, MU).eval()
        np.testing.assert_allclose(fixed.gmrf_logp(draws, MU).eval(), reference.logpdf(draws, MU))


def test_a_wrong_null_space():
    """Known values raise an error, others give NaN."""
    with pytest.raises(ValueError, match="null space of the matrix"):
        scpt.cholesky(np.diag([1.0, 2.0]), null_space=np.ones((2, 1)))
    a = pt.dvector("a")
    M = scpt.SymmetricMatrix(sc.analyze(np.ones((2, 2))), a)
    F = scpt.cholesky(M, null_space=np.ones((2, 1)))
    f = pytensor.function([a], [F.logdet(), F.solve(np.ones(2))], mode="FAST_COMPILE")
    assert f([1.0, -1.0, 1.0])[0] == pytest.approx(np.log(2))
    for values in ([1.0, -0.9, 1.0], [0.0, 0.0, 0.0], [-1.0, 1.0, -1.0]):
        assert all(np.isnan(part).all() for part in f(values))


def test_functions_of_a_field():
    Q, V = CASES["graph"]
    F = scpt.cholesky(Q, null_space=V)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        np.testing.assert_allclose(
            scpt.gmrf_logp(X[0], MU, Q, null_space=V).eval(), F.gmrf_logp(X[0], MU).eval()
        )
        np.testing.assert_allclose(
            scpt.marginal_variances(F).eval(), np.linalg.pinv(Q).diagonal(), atol=1e-12
        )
    with pytest.raises(TypeError, match="a factor is given"):
        scpt.marginal_variances(F, null_space=V)


@pytest.mark.parametrize(
    ("C", "e", "message"),
    [
        (np.ones(5), 0.0, r"C has shape \(1, 5\)"),
        (np.ones((2, N)), 0.0, "linearly dependent"),
        (np.ones(N), np.ones(2), "there are 1 constraints"),
    ],
)
def test_wrong_constraints(C, e, message):
    with pytest.raises(ValueError, match=message):
        scpt.from_sparse(np.eye(N)).condition(C, e)


def test_constraints_must_fix_the_null_space():
    with pytest.raises(ValueError, match="fewer constraints"):
        scpt.cholesky(RANDOM_WALK, null_space=LINES).condition(np.ones(N))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:np.dot:Warning")  # PyTensor's products of transposed matrices
@pytest.mark.parametrize("mode", ["NUMBA", "JAX"])
def test_other_modes(mode):
    if mode == "JAX" and importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    Q, V = CASES["graph"]
    t = pt.dscalar("t")
    F = scpt.cholesky(scpt.combine([(t, Q)]), null_space=V)
    fixed = F.condition(C, E)
    d = pt.dot(fixed.mean(MU), B).sum() + F.diag_inverse().sum()
    outputs = [F.gmrf_logp(X[0]) + fixed.gmrf_logp(fixed.sample(Z[0])) + d]
    outputs.append(pytensor.grad(outputs[0], t))
    wanted = pytensor.function([t], outputs, mode="FAST_COMPILE")(1.5)
    f = pytensor.function([t], outputs, mode=mode)
    np.testing.assert_allclose(f(1.5), wanted, rtol=1e-10)
    assert kernels(f)["Factor"] == 1
