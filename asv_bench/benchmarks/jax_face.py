"""The JAX face, compiled, beside other sparse solvers for JAX; values change on every call.

A likelihood is ``log det(A) / 2 - b^T A^-1 b / 2``, its gradient that in the stored values of A;
who has no determinant computes the quadratic form alone.
"""

import importlib.util
from functools import partial
from itertools import count
from time import perf_counter

import numpy as np
import scipy.sparse as sp

from . import problems
from .batch import COUNT
from .batch import MODELS as BATCHES
from .common import matrix
from .derivatives import ratio

NUMBERS = count()


def new_scales():
    """Return numbers near one, none twice in a process: sparsax keeps factors by values."""
    return (1 + 1e-9 * k for k in NUMBERS)


def installed(*names):
    return all(importlib.util.find_spec(name) is not None for name in names)


def start_jax():
    """Return JAX with 64-bit types; without JAX let asv skip the benchmark."""
    if not installed("jaxlib"):
        raise NotImplementedError("jax is not installed")
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


# ---- functions of the values of one matrix ----


def ours(A, b):
    import sparsechol.jax as scj

    pattern = scj.analyze(A)

    def likelihood(a, b):
        M = scj.SymmetricMatrix(pattern, a)
        return 0.5 * scj.logdet(M) - 0.5 * b @ scj.solve(M, b)

    def quadratic(a, b):
        return 0.5 * b @ scj.solve(scj.SymmetricMatrix(pattern, a), b)

    return likelihood, quadratic, pattern.values(A)


def sparsax(A, b):
    import sparsax

    upper = sp.triu(A).tocoo()
    i, j, n = upper.row.astype(np.int32), upper.col.astype(np.int32), A.shape[0]

    def likelihood(a, b):
        return 0.5 * sparsax.logdet(i, j, a, n) - 0.5 * b @ sparsax.solve(i, j, a, b)

    def quadratic(a, b):
        return 0.5 * b @ sparsax.solve(i, j, a, b)

    return likelihood, quadratic, upper.data


def klujax(A, b):
    import klujax

    entries = A.tocoo()
    i, j = entries.row.astype(np.int32), entries.col.astype(np.int32)

    def quadratic(a, b):
        return 0.5 * b @ klujax.solve(i, j, a, b)

    return None, quadratic, entries.data


def spsolve(A, b):
    from jax.experimental.sparse.linalg import spsolve

    rows = sp.csr_array(A)

    def quadratic(a, b):
        return 0.5 * b @ spsolve(a, rows.indices, rows.indptr, b)

    return None, quadratic, rows.data


SOLVERS = {"sparsechol": ours, "sparsax": sparsax, "klujax": klujax, "spsolve": spsolve}
LIKELIHOODS = ["sparsechol", "sparsax"]
LOOP = "sparsechol, loop"


def available(name):
    return name in ("sparsechol", LOOP, "spsolve") or installed(name)


def value_and_gradient(A, name, likelihood=True):
    """Return a function that computes both with other values each time."""
    jax = start_jax()
    if not available(name):
        raise NotImplementedError(f"{name} is not installed")
    b = problems.right_hand_side(A)
    functions = SOLVERS[name](A, b)
    f = functions[0] if likelihood else functions[1]
    run = jax.jit(jax.value_and_grad(lambda a, b, scale: f(scale * a, b)))
    values, b = jax.numpy.asarray(functions[2]), jax.numpy.asarray(b)
    scales = new_scales()
    return lambda: jax.block_until_ready(run(values, b, next(scales)))


def direct(A):
    """Return a function that computes both with our kernels called from NumPy."""
    import sparsechol
    from sparsechol import derivatives

    symbolic = sparsechol.analyze(A)
    values, scales = symbolic.values(A), new_scales()
    factor = symbolic.factorize(values)
    b = problems.right_hand_side(A)

    def run():
        factor.refactorize(next(scales) * values)
        x = factor.solve(b)
        gradient = factor.logdet_grad() / 2 + derivatives.solve_vjp(factor, x, -b / 2)[0]
        return factor.logdet() / 2 - b @ x / 2, gradient

    return run


def compile_seconds(A):
    """Measure the time to trace and compile value and gradient of the likelihood."""
    jax = start_jax()
    b = problems.right_hand_side(A)
    likelihood, _, values = ours(A, b)
    start = perf_counter()
    jax.jit(jax.value_and_grad(likelihood)).lower(values, b).compile()
    return perf_counter() - start


def batch(A, name):
    """Compute value and gradient for many matrices: ours in one call, others in a loop."""
    jax = start_jax()
    b = problems.right_hand_side(A)
    likelihood, _, values = SOLVERS["sparsechol" if name == LOOP else name](A, b)
    f = jax.value_and_grad(lambda a, b, scale: likelihood(scale * a, b))
    stacked = (1 + np.random.default_rng(0).random(COUNT))[:, None] * values
    stacked, b, scales = jax.numpy.asarray(stacked), jax.numpy.asarray(b), new_scales()
    if name == "sparsechol":
        run = jax.jit(jax.vmap(f, (0, None, None)))
        return lambda: jax.block_until_ready(run(stacked, b, next(scales)))
    run, each = jax.jit(f), list(stacked)
    return lambda: [jax.block_until_ready(run(a, b, next(scales))) for a in each]


# ---- benchmarks ----


class ValueAndGradient:
    params = (problems.NAMES, LIKELIHOODS)
    param_names = ("problem", "solver")
    timeout = 300

    def setup(self, problem, solver):
        self.run = value_and_gradient(matrix(problem), solver)
        self.run()

    def time_likelihood(self, problem, solver):
        self.run()


class Quadratic:
    params = (problems.NAMES, list(SOLVERS))
    param_names = ("problem", "solver")
    timeout = 300

    def setup(self, problem, solver):
        if problem in problems.LARGE and solver in ("klujax", "spsolve"):
            raise NotImplementedError(f"{solver} takes minutes")
        self.run = value_and_gradient(matrix(problem), solver, likelihood=False)
        self.run()

    def time_quadratic_form(self, problem, solver):
        self.run()


class Overhead:
    params = (problems.NAMES,)
    param_names = ("problem",)
    timeout = 300

    def setup(self, problem):
        start_jax()

    def track_ratio_to_kernels(self, problem):
        A = matrix(problem)
        return ratio(value_and_gradient(A, "sparsechol"), direct(A))

    def track_compile_time(self, problem):
        return compile_seconds(matrix(problem))

    track_ratio_to_kernels.unit = "times"
    track_compile_time.unit = "seconds"


class Batch:
    params = (list(BATCHES), [*LIKELIHOODS, LOOP])
    param_names = ("model", "solver")
    timeout = 300

    def setup(self, model, solver):
        start_jax()
        if not available(solver):
            raise NotImplementedError(f"{solver} is not installed")
        self.run = partial(batch, sp.csc_array(BATCHES[model]()), solver)()
        self.run()

    def time_value_and_gradient(self, model, solver):
        self.run()
