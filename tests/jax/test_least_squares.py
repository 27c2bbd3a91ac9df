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
    integer = {"a": jnp.array(1), "b": jnp.array(0.5)}
    with pytest.raises(TypeError, match=r"x0\['a'\] has type int64: real floating point"):
        scj.least_squares(lambda x: x["a"] * x["b"] - 1.0, integer)
    with pytest.raises(TypeError, match=r"x0\['a'\] has type int64: real floating point"):
        scj.newton(lambda x: (x["a"] * x["b"] - 1.0) ** 2, integer)


def test_losses_and_scales_that_are_none():
    square = lambda x: x - 1.0  # noqa: E731
    with pytest.raises(ValueError, match=r"loss\(z\) must have the shape of z, \(3,\), not \(\)"):
        scj.least_squares(square, jnp.ones(3), loss=jnp.sum)
    with pytest.raises(ValueError, match=r"f_scale has shape \(3,\)"):
        scj.least_squares(square, jnp.ones(3), f_scale=jnp.ones(3))
    for scale in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="a positive number is needed"):
            scj.least_squares(square, jnp.ones(3), loss="huber", f_scale=scale)


@pytest.mark.parametrize(
    "retract",
    [
        lambda x, d: [x["a"] + d["a"]],
        lambda x, d: {"a": (x["a"] + d["a"])[:, None]},
        lambda x, d: {"a": jnp.concatenate([x["a"], d["a"]])},
    ],
)
def test_retractions_that_return_no_point(retract):
    with pytest.raises(ValueError, match=r"retract\(x, d\) must return a point like x0"):
        scj.least_squares(lambda x: x["a"] - 1.0, {"a": jnp.ones(3)}, retract=retract)


def test_numbers_of_the_type_of_x0():
    start = {"a": jnp.ones(2, jnp.float32)}
    y = np.array([2.0, 3.0])  # double precision
    found = scj.least_squares(lambda x, y: x["a"] * y - 1.0, start, y)
    assert found.x["a"].dtype == found.cost.dtype == np.float32
    np.testing.assert_allclose(found.x["a"], 1 / y, rtol=1e-6)
    single = lambda x, d: {"a": (x["a"] + d["a"]).astype(np.float32)}  # noqa: E731
    start = {"a": jnp.ones(2)}
    found = scj.least_squares(lambda x: x["a"] * y - 1.0, start, retract=single, ftol=1e-6)
    np.testing.assert_allclose(found.x["a"], 1 / y, rtol=1e-6)
    with pytest.raises(ValueError, match="no residual depends on x"):
        scj.least_squares(lambda x: None, jnp.ones(1))
    assert bool(scj.least_squares(lambda x: jnp.ones(2), {}).converged)


def test_newton_in_the_type_of_x0():
    y = np.array([2.0, 3.0])  # double precision
    found = scj.newton(lambda x, y: jnp.sum(jnp.exp(x) - x * y), jnp.zeros(2, jnp.float32), y)
    assert found.x.dtype == np.float32
    np.testing.assert_allclose(found.x, np.log(y), rtol=1e-6)


def test_tiny_residuals():
    # gtol is absolute, all else is relative.
    tiny = lambda x, y: 1e-150 * (x["a"] * jnp.arange(1.0, 3) - y)  # noqa: E731
    y = np.array([2.0, 3.0])
    found = scj.least_squares(tiny, {"a": jnp.zeros(1)}, y, gtol=0)
    assert bool(found.converged)
    np.testing.assert_allclose(found.x["a"], 8 / 5, rtol=1e-6)
    assert int(scj.least_squares(tiny, {"a": jnp.zeros(1)}, y).iterations) == 0


def test_no_tracer_is_kept():
    fit = lambda y: scj.least_squares(lambda x, y: x**2 - y, jnp.ones(2), y).x.sum()  # noqa: E731
    with jax.checking_leaks():
        slope = jax.jit(jax.grad(fit))(np.array([4.0, 9.0]))
    np.testing.assert_allclose(slope, [1 / 4, 1 / 6], rtol=1e-6)


def test_units_of_any_size():
    # Parameters of sizes 1e-8 and 1e8: all steps are those of parameters of size one.
    t, y = np.arange(4.0), np.array([2.0, 1.1, 0.5, 0.2])
    units = np.array([1e8, 1e-8])
    residual = lambda x: units[0] * x[0] * jnp.exp(-units[1] * x[1] * t) - y  # noqa: E731
    wanted = scipy_least_squares(
        lambda x: x[0] * np.exp(-x[1] * t) - y, [1.0, 0.5], xtol=1e-12, ftol=1e-12
    )
    for method in ("lm", "dogleg"):
        found = scj.least_squares(residual, np.array([1.0, 0.5]) / units, method=method)
        assert bool(found.converged)
        np.testing.assert_allclose(units * found.x, wanted.x, rtol=1e-5)
        np.testing.assert_allclose(found.cost, wanted.cost, rtol=1e-8)


def test_words_and_numbers_under_transformations():
    fit = lambda y: scj.least_squares(lambda x, y: x - y, jnp.zeros(2), y)  # noqa: E731
    found = fit(jnp.ones(2))
    assert "_parameters" not in repr(found)
    several = jax.vmap(fit)(jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="use the numbers in status"):
        several.message  # noqa: B018
    with pytest.raises(ValueError, match="use the numbers in status"):
        jax.jit(lambda found: len(found.message))(found)
    with pytest.raises(TypeError, match="i must be known when the function is traced"):
        jax.jit(lambda i: found.covariance_blocks(i, i))(jnp.arange(2))
    with pytest.raises(TypeError, match="rows must be known when the function is traced"):
        jax.jit(lambda i: scj.cholesky(found.information).inverse_entries(i, i))(jnp.arange(2))


def test_nothing_to_do():
    found = scj.least_squares(lambda x: x - 1.0, jnp.ones(0))
    assert bool(found.converged)
    found = scj.least_squares(lambda x: x - 1.0, jnp.ones(3))
    assert int(found.iterations) == 0
    stopped = scj.least_squares(decay, X0, Y, maxiter=1)
    assert int(stopped.status) == 0
    assert "largest number" in stopped.message


# ---- problems of Moré, Garbow and Hillstrom (1981). Testing unconstrained optimization ----


def _helical_valley(x):
    turn = jnp.arctan2(x[1], x[0]) / (2 * np.pi)
    turn = jnp.where((x[0] < 0) & (turn < 0), turn + 1, turn)
    return 10 * (x[2] - 10 * turn), 10 * (jnp.hypot(x[0], x[1]) - 1), x[2]


def _bard(x):
    y = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.1, 4.39]
    u = np.arange(1.0, 16)
    return np.array(y) - (x[0] + u / ((16 - u) * x[1] + np.minimum(u, 16 - u) * x[2]))


def _kowalik_osborne(x):
    y = [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
    u = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    return np.array(y) - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def _meyer(x):
    y = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744]
    y += [8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
    return x[0] * jnp.exp(x[1] / (45 + 5 * np.arange(1.0, 17) + x[2])) - np.array(y)


def _wood(x):
    return (
        jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0], 90**0.5 * (x[3] - x[2] ** 2), 1 - x[2]]),
        jnp.stack([10**0.5 * (x[1] + x[3] - 2), 10**-0.5 * (x[1] - x[3])]),
    )


def _freudenstein_roth(x):
    return (
        -13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1],
        -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1],
    )


def _jennrich_sampson(x):
    i = np.arange(1.0, 11)
    return 2 + 2 * i - (jnp.exp(i * x[0]) + jnp.exp(i * x[1]))


def _box(x):
    t = 0.1 * np.arange(1, 11)
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def _powell_singular(x):
    linear = x[0] + 10 * x[1], 5**0.5 * (x[2] - x[3])
    return linear, (x[1] - 2 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2


CLASSICAL = {  # the start, and the least sum of squares
    "powell_singular": (_powell_singular, [3.0, -1, 0, 1], 0),
    "helical_valley": (_helical_valley, [-1.0, 0, 0], 0),
    "wood": (_wood, [-3.0, -1, -3, -1], 0),
    "freudenstein_roth": (_freudenstein_roth, [0.5, -2], 48.9842),
    "kowalik_osborne": (_kowalik_osborne, [0.25, 0.39, 0.415, 0.39], 3.07505e-4),
    "bard": (_bard, [1.0, 1, 1], 8.21487e-3),
    "meyer": (_meyer, [0.02, 4000, 250], 87.9458),
    "box": (_box, [0.0, 10, 20], 0),
    "brown": (lambda x: (x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2), [1.0, 1], 0),
    "jennrich_sampson": (_jennrich_sampson, [0.3, 0.4], 124.362),
    "powell_scaled": (
        lambda x: (1e4 * x[0] * x[1] - 1, jnp.exp(-x[0]) + jnp.exp(-x[1]) - 1.0001),
        [0.0, 1],
        0,
    ),
}


@pytest.mark.fast_cases("bard-lm")
@pytest.mark.parametrize("method", ["lm", "dogleg"])
@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_problems(name, method):
    residual, start, least = CLASSICAL[name]
    found = scj.least_squares(residual, jnp.array(start), method=method)
    assert bool(found.converged), found.message
    np.testing.assert_allclose(2 * found.cost, least, rtol=3e-6, atol=1e-11)
