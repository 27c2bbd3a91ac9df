"""Nonlinear least squares beside SciPy's, dense algebra and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares as scipy_least_squares
from scipy.spatial.transform import Rotation

import sparsechol as sc
import sparsechol.jax as scj

RNG = np.random.default_rng(7)
N = 20
T = np.linspace(0, 3, N)
Y = np.exp(-T) * (2 + 0.3 * RNG.standard_normal(N))
Y[3] += 5  # an outlier
X0 = {"rate": jnp.array([0.3]), "size": jnp.ones(N)}
TIGHT = dict(ftol=0, xtol=1e-13, gtol=1e-11)  # noqa: C408


def decay(x, y):
    """Sizes of a decay that change slowly, and a prior of its rate."""
    size, rate = x["size"], x["rate"]
    fit = jnp.exp(-rate[0] * T) * size - y
    return {"data": fit, "smooth": 3 * (size[1:] - size[:-1]), "prior": rate - 1.0}


def dense(residual, x0):
    """Return the same residuals as a function of one vector, and the first vector."""
    x, unravel = jax.flatten_util.ravel_pytree(x0)
    return jax.jit(lambda v: jax.flatten_util.ravel_pytree(residual(unravel(v)))[0]), x


def reference(loss, f_scale):
    f, x = dense(lambda x: decay(x, Y), X0)
    return scipy_least_squares(
        f,
        x,
        jac=jax.jit(jax.jacfwd(f)),
        loss=loss,
        f_scale=f_scale,
        ftol=1e-15,
        xtol=1e-15,
        gtol=1e-12,
    )


# ---- the minimum ----

LOSSES = ["linear", "soft_l1", "huber", "cauchy", "arctan"]


@pytest.mark.fast_cases("linear-lm", "cauchy-dogleg")
@pytest.mark.parametrize("method", ["lm", "gn", "dogleg"])
@pytest.mark.parametrize("loss", LOSSES)
def test_same_minimum_as_scipy(loss, method):
    wanted = reference(loss, 0.7)
    solve = jax.jit(
        lambda y: scj.least_squares(decay, X0, y, method=method, loss=loss, f_scale=0.7, **TIGHT)
    )
    found = solve(Y)
    assert bool(found.converged)
    np.testing.assert_allclose(found.cost, wanted.cost, rtol=1e-10)
    x = jax.flatten_util.ravel_pytree(found.x)[0]
    np.testing.assert_allclose(x, wanted.x, atol=2e-5)  # SciPy ends sooner
    assert found.x["size"].shape == (N,)


def test_rosenbrock_from_far():
    def residual(x):
        return 10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]

    for method in ("lm", "dogleg"):
        found = scj.least_squares(residual, jnp.array([-1.2, 1.0]), method=method)
        np.testing.assert_allclose(found.x, 1, atol=1e-6)
        assert bool(found.converged), found.message


def test_a_loss_of_ones_own():
    loss = lambda z: jnp.log1p(z)  # noqa: E731
    ours = scj.least_squares(decay, X0, Y, loss=loss, f_scale=0.7)
    np.testing.assert_allclose(ours.cost, reference("cauchy", 0.7).cost, rtol=1e-8)


@pytest.mark.slow
def test_retraction():
    # Rotations between which there are measurements, around a cycle that does not quite close.
    turns = Rotation.random(4, random_state=1)
    noise = Rotation.from_rotvec(0.1 * RNG.standard_normal((4, 3)))
    i, j = np.array([0, 1, 2, 3]), np.array([1, 2, 3, 0])
    measured = (turns[i].inv() * turns[j] * noise).as_quat()

    def times(p, q):
        vector = (
            p[..., 3:] * q[..., :3] + q[..., 3:] * p[..., :3] + jnp.cross(p[..., :3], q[..., :3])
        )
        scalar = p[..., 3:] * q[..., 3:] - jnp.sum(p[..., :3] * q[..., :3], -1, keepdims=True)
        return jnp.concatenate([vector, scalar], -1)

    inverse = jnp.array([-1.0, -1, -1, 1])

    def residual(q, measured):
        error = times(inverse * measured, times(inverse * q[i], q[j]))
        held = times(inverse * turns.as_quat()[0], q[0])
        return 2 * error[:, :3] * jnp.sign(error[:, 3:]), 2 * held[:3] * jnp.sign(held[3])

    def retract(q, d):
        moved = times(q, jnp.concatenate([d / 2, jnp.ones((4, 1))], -1))
        return moved / jnp.linalg.norm(moved, axis=-1, keepdims=True)

    start = turns.as_quat()
    solve = jax.jit(
        lambda m: scj.least_squares(
            residual, start, m, retract=retract, tangent=np.zeros((4, 3)), **TIGHT
        )
    )
    found = solve(measured)
    np.testing.assert_allclose(jnp.linalg.norm(found.x, axis=1), 1, rtol=1e-14)

    def errors(v):  # of rotation vectors, all by SciPy
        R = turns * Rotation.from_rotvec(v.reshape(4, 3))
        error = (Rotation.from_quat(measured).inv() * (R[i].inv() * R[j])).as_quat(canonical=True)
        held = (turns[0].inv() * R[0]).as_quat(canonical=True)
        return 2 * np.append(error[:, :3], held[:3])

    wanted = scipy_least_squares(errors, np.zeros(12), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    np.testing.assert_allclose(found.cost, wanted.cost, rtol=1e-9)
    R = turns * Rotation.from_rotvec(wanted.x.reshape(4, 3))
    same = np.abs(np.sum(R.as_quat() * np.asarray(found.x), axis=1))
    np.testing.assert_allclose(same, 1, atol=1e-10)
    # The derivative along a curve of measurements, by differences of the whole solution.
    direction = RNG.standard_normal(measured.shape)
    _, change = jax.jvp(lambda m: solve(m).x, (measured,), (direction,))
    h = 1e-5
    wanted = (solve(measured + h * direction).x - solve(measured - h * direction).x) / (2 * h)
    np.testing.assert_allclose(change, wanted, atol=1e-8)


# ---- derivatives ----


def along(f, x, d, h=1e-4):
    """Return a difference of fourth order along d."""
    return (8 * (f(x + h * d) - f(x - h * d)) - (f(x + 2 * h * d) - f(x - 2 * h * d))) / (12 * h)


@pytest.mark.fast_cases("cauchy")
@pytest.mark.parametrize("loss", ["linear", "cauchy"])
def test_derivatives(loss):
    solve = jax.jit(lambda y: scj.least_squares(decay, X0, y, loss=loss, **TIGHT).x["size"].sum())
    slope = jax.jit(jax.grad(solve))
    direction = RNG.standard_normal(N)
    np.testing.assert_allclose(slope(Y) @ direction, along(solve, Y, direction), rtol=1e-7)


@pytest.mark.slow
def test_second_derivatives_and_both_modes():
    solve = jax.jit(lambda y: scj.least_squares(decay, X0, y, **TIGHT).x["size"])
    forward, reverse = jax.jit(jax.jacfwd(solve)), jax.jit(jax.jacrev(solve))
    np.testing.assert_allclose(forward(Y), reverse(Y), rtol=1e-9, atol=1e-12)
    direction = RNG.standard_normal(N)
    curvature = jax.jit(lambda y: jax.jvp(forward, (y,), (direction,))[1])(Y)
    np.testing.assert_allclose(curvature, along(forward, Y, direction), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_closure_and_other_results():
    cost = jax.jit(lambda y: scj.least_squares(lambda x: decay(x, y), X0, **TIGHT).cost)
    errors = jax.jit(
        lambda y: scj.least_squares(decay, X0, y, **TIGHT).standard_errors()["rate"][0]
    )
    direction = RNG.standard_normal(N)
    for f in (cost, errors):
        np.testing.assert_allclose(jax.grad(f)(Y) @ direction, along(f, Y, direction), rtol=1e-6)


@pytest.mark.slow
def test_many_problems():
    solve = lambda y: scj.least_squares(decay, X0, y, **TIGHT)  # noqa: E731
    several = Y * np.array([[1.0], [1.1], [0.5]])
    together = jax.jit(jax.vmap(solve))(several)
    alone = [jax.jit(solve)(y) for y in several]
    np.testing.assert_allclose(together.cost, [one.cost for one in alone], rtol=1e-12)
    np.testing.assert_array_equal(together.iterations, [one.iterations for one in alone])
    together = jax.vmap(lambda found: found.standard_errors()["size"])(together)
    wanted = [one.standard_errors()["size"] for one in alone]
    np.testing.assert_allclose(together, wanted, rtol=1e-9)


# ---- covariances ----


def test_covariances():
    found = scj.least_squares(decay, X0, Y, **TIGHT)
    f, _ = dense(lambda x: decay(x, Y), X0)
    J = jax.jacfwd(f)(jax.flatten_util.ravel_pytree(found.x)[0])
    C = np.linalg.inv(J.T @ J)
    errors = found.standard_errors()
    np.testing.assert_allclose(errors["rate"], np.sqrt(np.diag(C)[:1]), rtol=1e-10)
    np.testing.assert_allclose(errors["size"], np.sqrt(np.diag(C)[1:]), rtol=1e-10)
    i, j = np.array([[0, 1], [5, 6]]), np.array([[1, 2, 3], [18, -1, 0]])
    blocks = found.covariance_blocks(i, j)
    wanted = [C[np.ix_(rows, columns)] for rows, columns in zip(i, j, strict=True)]
    np.testing.assert_allclose(blocks, wanted, rtol=1e-9)
    np.testing.assert_allclose(found.covariance_blocks([3], [4, 20]), C[3:4, [4, 20]], rtol=1e-9)
    with pytest.raises(IndexError, match="row or column 21 is outside"):
        found.covariance_blocks([21], [0])
    with pytest.raises(ValueError, match=r"\(\.\.\., p\) is needed"):
        found.covariance_blocks(0, 0)


@pytest.mark.fast_cases("complex128")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_inverse_entries(dtype):
    A = sc.models.grid_laplacian((6, 5)).astype(dtype)
    if dtype == "complex128":
        phases = np.exp(1j * np.arange(30))
        A = (A.multiply(phases[:, None]).multiply(phases.conj())).tocsc()
    M = scj.from_sparse(A)
    F, inverse = scj.cholesky(M), np.linalg.inv(A.toarray())
    every = np.arange(30)
    for rows, columns in [
        (every[:, None], every),
        (every, 7),
        (3, every),
        (A.tocoo().coords),
        (np.zeros(0, int), every[:0]),
        (-1, [[0, -2]]),
    ]:
        found = F.inverse_entries(rows, columns)
        np.testing.assert_allclose(found, inverse[rows, columns], rtol=1e-9, atol=1e-13)
    f = jax.jit(
        lambda a: scj.cholesky(M.with_values(a)).inverse_entries([0, 3], [9, 29]).real.sum()
    )
    direction = jnp.asarray(RNG.standard_normal(M.values.shape)).astype(dtype)
    direction = direction.at[M.pattern.indptr[:-1]].set(direction[M.pattern.indptr[:-1]].real)
    slope = jax.jvp(f, (M.values,), (direction,))[1]
    np.testing.assert_allclose(slope, along(f, M.values, direction), rtol=1e-7)


# ---- what goes wrong ----


def test_parameters_without_residuals():
    with pytest.raises(
        ValueError, match=r"no residual depends on x\['p'\]\[0, 0\], x\['p'\]\[1, 0\]"
    ):
        scj.least_squares(lambda x: x["p"][:, 1], {"p": jnp.ones((2, 2)), "q": jnp.ones(0)})


def test_free_parameters():
    differences = lambda x: x["at"][1:] - x["at"][:-1] - 1.0  # noqa: E731
    start = {"at": jnp.arange(4.0) ** 2}
    for method in ("gn", "dogleg"):
        with pytest.raises(sc.NotPositiveDefiniteError) as caught:
            scj.least_squares(differences, start, method=method)
        assert "x['at'][0], x['at'][1], x['at'][2], x['at'][3] can move together" in str(
            caught.value
        )
        assert sorted(caught.value.rows) == [0, 1, 2, 3]
        inside = jax.jit(lambda x, m=method: scj.least_squares(differences, x, method=m))(start)
        assert int(inside.status) == -2
        assert not bool(inside.converged)
        assert "singular" in inside.message
    found = scj.least_squares(differences, start)  # damping holds the free direction
    np.testing.assert_allclose(np.diff(found.x["at"]), 1, rtol=1e-7)
    with pytest.raises(sc.NotPositiveDefiniteError, match="do not determine all parameters"):
        found.standard_errors()


def test_residuals_that_are_not_finite():
    logs = lambda x: jnp.log(x) - 1  # noqa: E731
    found = scj.least_squares(logs, jnp.array([-1.0, 2.0]))
    assert int(found.status) == -1
    assert "not finite" in found.message
    np.testing.assert_array_equal(found.x, [-1.0, 2.0])
    # A step of Gauss and Newton to a negative number is not taken.
    found = scj.least_squares(logs, jnp.array([50.0, 2.0]), method="gn")
    assert int(found.status) == -1
    np.testing.assert_array_equal(found.x, [50.0, 2.0])
    # Shorter ones are.
    for method in ("lm", "dogleg"):
        found = scj.least_squares(logs, jnp.array([50.0, 2.0]), method=method)
        np.testing.assert_allclose(found.x, np.e, rtol=1e-6)


def test_names_and_types():
    with pytest.raises(ValueError, match="method must be one of"):
        scj.least_squares(decay, X0, Y, method="newton")
    with pytest.raises(ValueError, match="loss must be one of"):
        scj.least_squares(decay, X0, Y, loss="l1")
    with pytest.raises(TypeError, match="real floating point"):
        scj.least_squares(lambda x: x - 1.0, jnp.arange(3))
    with pytest.raises(TypeError, match="real floating point"):
        scj.least_squares(lambda x: x + 1j, jnp.ones(3))
    with pytest.raises(ValueError, match="tangent without retract"):
        scj.least_squares(lambda x: x - 1.0, jnp.ones(3), tangent=jnp.ones(2))


def test_nothing_to_do():
    found = scj.least_squares(lambda x: x - 1.0, jnp.ones(0))
    assert bool(found.converged)
    found = scj.least_squares(lambda x: x - 1.0, jnp.ones(3))
    assert int(found.iterations) == 0
    stopped = scj.least_squares(decay, X0, Y, maxiter=1)
    assert int(stopped.status) == 0
    assert "largest number" in stopped.message
