"""Sparse Jacobians and Hessians: detection, evaluation, Laplace's approximation; others beside.

Functions are the usual ones of the field: Bratu's and the Brusselator's right-hand sides, and the
Hessian of Rosenbrock's function, of any size. In PyTensor, bands against its dense Jacobian.
"""

from functools import partial

import numpy as np
import scipy.sparse as sp

from .jax_face import installed, start_jax

DETECTED = ["bratu_10000", "brusselator_9800", "rosenbrock_10000"]
GRID = "grid2d_200"  # Bratu's problem there; in the quick run of all benchmarks, too
LARGE = ["bratu_1000000", "brusselator_1000000", "rosenbrock_1000000"]
CLIFFS = ["dense_2000", "times_sum_5000", "heat_10000", "cumsum_10000"]
PEERS = ["asdex", "sparsejac"]
BANDS = {"bands_1000": (1000, (-1, 0, 2)), "tridiagonal_1500": (1500, (-1, 0, 1))}


# ---- functions ----


def bratu(u):
    """Evaluate Bratu's equation on a square grid, with five points."""
    import jax.numpy as jnp

    n = round(u.size**0.5)
    U = jnp.pad(u.reshape(n, n), 1)
    around = U[2:, 1:-1] + U[:-2, 1:-1] + U[1:-1, 2:] + U[1:-1, :-2]
    return (4 * U[1:-1, 1:-1] - around - jnp.exp(U[1:-1, 1:-1]) / (n + 1) ** 2).ravel()


def brusselator(y):
    """Evaluate the rates of two species on a periodic square grid."""
    import jax.numpy as jnp

    n = round((y.size // 2) ** 0.5)
    u, v = y.reshape(n, n, 2).transpose(2, 0, 1)

    def around(w):
        sides = (jnp.roll(w, shift, axis) for shift in (1, -1) for axis in (0, 1))
        return 10 * (sum(sides) - 4 * w)

    du = 1 + u**2 * v - 4.4 * u + around(u)
    dv = 3.4 * u - u**2 * v + around(v)
    return jnp.stack([du, dv], axis=-1).ravel()


def rosenbrock(x):
    import jax.numpy as jnp

    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def heat(x):
    """Take fifty explicit steps on a line."""
    import jax

    def step(_, u):
        return u.at[1:-1].add(0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]))

    return jax.lax.fori_loop(0, 50, step, x)


def dense(n):
    """Return the product with a dense constant."""
    D = np.random.default_rng(0).standard_normal((n, n))
    return lambda x: D @ x


def problem(name):
    """Return a function of JAX, whether its Hessian is meant, and its number of arguments."""
    import jax.numpy as jnp

    kind, size = ("bratu", 200**2) if name == GRID else name.rsplit("_", 1)
    n = int(size)
    if kind == "brusselator":
        n = 2 * round((n // 2) ** 0.5) ** 2
    functions = {
        "bratu": bratu,
        "brusselator": brusselator,
        "rosenbrock": rosenbrock,
        "heat": heat,
        "cumsum": jnp.cumsum,
        "times_sum": lambda x: x * jnp.sum(x**2),
        "dense": dense(n) if kind == "dense" else None,
    }
    return functions[kind], kind == "rosenbrock", n


# ---- detection ----


def detection(name, library="sparsechol"):
    """Return a function that finds the pattern, and returns its number of entries."""
    import jax.numpy as jnp

    f, is_hessian, n = problem(name)
    x = jnp.ones(n)
    if library == "asdex":
        if not installed("asdex"):
            raise NotImplementedError("asdex is not installed")
        import asdex

        find = asdex.hessian_sparsity if is_hessian else asdex.jacobian_sparsity
        return lambda: find(f, x).nnz
    import sparsechol.jax as scj

    find = scj.hessian_pattern if is_hessian else scj.jacobian_pattern
    return lambda: find(f, x).nnz


# ---- evaluation ----


def evaluation(name, library="sparsechol"):
    """Return a compiled call that gives the entries, and the number of colors."""
    import jax
    import jax.numpy as jnp

    f, is_hessian, n = problem(name)
    x = jnp.asarray(np.random.default_rng(0).standard_normal(n))
    make = {"sparsechol": ours, "asdex": by_asdex, "sparsejac": by_sparsejac}[library]
    values, colors = make(f, is_hessian, x)
    run = jax.jit(values)
    jax.block_until_ready(run(x))
    return (lambda: jax.block_until_ready(run(x))), colors


def ours(f, is_hessian, x):
    import sparsechol.jax as scj

    D = (scj.sparse_hessian if is_hessian else scj.sparse_jacobian)(f, x)
    return D.values, D.coloring.num_colors


def by_asdex(f, is_hessian, x):
    if not installed("asdex"):
        raise NotImplementedError("asdex is not installed")
    import asdex

    if is_hessian:
        coloring = asdex.hessian_coloring(f, x)
        D = asdex.hessian_from_coloring(f, coloring)
    else:
        coloring = asdex.jacobian_coloring(f, x)
        D = asdex.jacobian_from_coloring(f, coloring)
    return (lambda x: D(x).data), coloring.num_colors


def by_sparsejac(f, is_hessian, x):
    if is_hessian or not installed("sparsejac"):
        raise NotImplementedError("sparsejac has no Hessians, or is not installed")
    import jax.numpy as jnp
    import sparsejac
    from jax.experimental.sparse import BCOO

    import sparsechol.jax as scj

    P = scj.jacobian_pattern(f, x).tocoo()
    indices = np.stack(P.coords, axis=1).astype(np.int32)
    sparsity = BCOO((jnp.ones(P.nnz), jnp.asarray(indices)), shape=P.shape)
    D = sparsejac.jacfwd(f, sparsity)
    return (lambda x: D(x).data), None


def one_product(name):
    """Return one compiled forward product with the Jacobian or the Hessian, the unit of cost."""
    import jax
    import jax.numpy as jnp

    f, is_hessian, n = problem(name)
    g = jax.grad(f) if is_hessian else f
    x, v = jnp.asarray(np.random.default_rng(0).standard_normal((2, n)))
    run = jax.jit(lambda x, v: jax.jvp(g, (x,), (v,))[1])
    jax.block_until_ready(run(x, v))
    return lambda: jax.block_until_ready(run(x, v))


# ---- PyTensor ----


def start_pytensor():
    if not installed("pytensor"):
        raise NotImplementedError("pytensor is not installed")


def banded(name):
    """A vector each element of which depends on a few others, and what it depends on."""
    import pytensor.tensor as pt

    n, offsets = BANDS[name]
    x = pt.vector("x", shape=(n,), dtype="float64")
    y = pt.zeros(n)
    for k in offsets:
        rows = slice(max(0, -k), n - max(0, k))
        columns = slice(max(0, k), n - max(0, -k))
        y = pt.inc_subtensor(y[rows], pt.sin(x[columns]) * (2 + k))
    return y * y, x


def banded_jacobian(name, library="sparsechol"):
    """A compiled call, and the number of colors."""
    import pytensor

    y, x = banded(name)
    point = np.random.default_rng(0).standard_normal(x.type.shape)
    if library == "pytensor":
        J, colors = pytensor.gradient.jacobian(y, x, vectorize=True), x.type.shape[0]
    else:
        import sparsechol.pytensor as scpt

        J, coloring = scpt.sparse_jacobian(y, x, format="values")
        colors = coloring.num_colors
    f = pytensor.function([x], J, trust_input=True)
    f(point)
    return partial(f, point), colors


# ---- Laplace's approximation ----


def grid_model(side):
    """Return a grid and counts on it, for a field with two parameters."""
    rng = np.random.default_rng(0)
    d = np.r_[1.0, 2 * np.ones(side - 2), 1.0]
    path = sp.diags_array([-np.ones(side - 1), d, -np.ones(side - 1)], offsets=[-1, 0, 1])
    grid = sp.csc_array(sp.kronsum(path, path))
    return grid, rng.poisson(2.0, side**2).astype(float)


def laplace_in_jax(side=100):
    """Return compiled functions: the value, and the value with its gradient."""
    import jax
    import jax.numpy as jnp

    import sparsechol.jax as scj

    grid, counts = grid_model(side)
    n = side**2
    P = scj.analyze(grid + sp.eye_array(n))
    a, unit = (jnp.asarray(P.values(A)) for A in (grid, sp.csc_array(sp.eye_array(n))))

    def logjoint(x, theta):
        Q = scj.SymmetricMatrix(P, jnp.exp(theta[0]) * (a + jnp.exp(theta[1]) * unit))
        return scj.gmrf_logpdf(x, 0.0, Q) + jnp.sum(counts * x - jnp.exp(x))

    f = lambda theta: scj.laplace(logjoint, jnp.zeros(n), theta).log_marginal  # noqa: E731
    return jax.jit(f), jax.jit(jax.value_and_grad(f)), jnp.array([0.3, -1.0])


def laplace_in_pytensor(side=100):
    """The same; the two parameters are scalars."""
    import pytensor
    import pytensor.tensor as pt

    import sparsechol.pytensor as scpt

    grid, counts = grid_model(side)
    n = side**2
    theta, x = pt.dvector("theta"), pt.vector("x", shape=(n,), dtype="float64")
    tau, kappa = pt.exp(theta[0]), pt.exp(theta[1])
    Q = scpt.combine([(tau, grid), (tau * kappa, sp.eye_array(n))])
    logjoint = scpt.gmrf_logp(x, 0.0, Q) + (counts * x - pt.exp(x)).sum()
    value = scpt.laplace(logjoint, x).log_marginal
    f = pytensor.function([theta], value)
    g = pytensor.function([theta], [value, pytensor.grad(value, theta)])
    return f, g, np.array([0.3, -1.0])


# ---- benchmarks ----


class Detect:
    params = ([*DETECTED, GRID, *LARGE, *CLIFFS], ["sparsechol", "asdex"])
    param_names = ("function", "library")
    timeout = 300

    def setup(self, function, library):
        start_jax()
        if library == "asdex" and function not in DETECTED:
            raise NotImplementedError("too large")
        self.run = detection(function, library)
        self.run()

    def time_detect(self, function, library):
        self.run()


class Evaluate:
    params = ([*DETECTED, GRID], ["sparsechol", *PEERS])
    param_names = ("function", "library")
    timeout = 300

    def setup(self, function, library):
        start_jax()
        self.run, self.colors = evaluation(function, library)

    def time_evaluate(self, function, library):
        self.run()

    def track_colors(self, function, library):
        return np.nan if self.colors is None else self.colors  # sparsejac does not tell

    track_colors.unit = "colors"


class Banded:
    params = (list(BANDS), ["sparsechol", "pytensor"])
    param_names = ("function", "library")
    timeout = 600

    def setup(self, function, library):
        start_pytensor()
        self.run, _ = banded_jacobian(function, library)

    def time_evaluate(self, function, library):
        self.run()


class Laplace:
    """Value and gradient of a marginal density, of 10^4 latent values."""

    params = ("spde_100",)
    param_names = ("model",)
    timeout = 600

    def setup(self, model):
        start_jax()
        _, self.run, self.theta = laplace_in_jax()
        self.run(self.theta)

    def time_value_and_gradient(self, model):
        import jax

        jax.block_until_ready(self.run(self.theta))
