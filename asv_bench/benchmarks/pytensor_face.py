"""The PyTensor face, compiled by numba, beside our kernels themselves and what PyMC has.

Values change on every call. Compiled functions take arrays of the right types, unchecked.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from timeit import repeat

import numpy as np
import scipy.sparse as sp

from . import problems
from .common import matrix
from .derivatives import ratio
from .jax_face import installed, new_scales

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "nested_laplace.py"


def start_pytensor(*others):
    """Tells asv to skip the benchmark where PyTensor or what it is compared with is missing."""
    for name in ("pytensor", *others):
        if not installed(name):
            raise NotImplementedError(f"{name} is not installed")


def flags(folder):
    """What PYTENSOR_FLAGS is for a cache in this folder."""
    return f"{os.environ.get('PYTENSOR_FLAGS', '')},base_compiledir={folder}".strip(",")


def value_and_gradients(inputs, value):
    """Compiled in PyTensor's default mode, which is numba's."""
    import pytensor

    function = pytensor.function(inputs, [value, *pytensor.grad(value, inputs)])
    function.trust_input = True
    return function


# ---- the density of a Gaussian Markov random field, in the values of its matrix and in x ----


def density(A):
    """A compiled function of values and point, and arrays for both."""
    import pytensor.tensor as pt

    import sparsechol
    import sparsechol.pytensor as scpt

    pattern = sparsechol.analyze(A)
    values, x = pt.dvector("values"), pt.dvector("x")
    Q = scpt.SymmetricMatrix(pattern, values)
    function = value_and_gradients([values, x], scpt.gmrf_logp(x, 0.0, Q))
    return function, pattern.values(A), problems.right_hand_side(A)


def value_and_gradient(A):
    """A function that computes both with other values each time."""
    start_pytensor()
    function, values, x = density(A)
    function(values, x)  # numba compiles it now
    scales = new_scales()
    return lambda: function(next(scales) * values, x)


def direct(A):
    """The same with our kernels called from NumPy."""
    import sparsechol
    from sparsechol import derivatives
    from sparsechol._core.numeric.operations import CODES
    from sparsechol._core.parallel.threads import thread_count

    symbolic = sparsechol.analyze(A)
    packed, scales = symbolic.values(A), new_scales()
    factor = symbolic.factorize(packed)
    x = problems.right_hand_side(A)
    constant = len(x) * np.log(2 * np.pi)

    def run():
        values = next(scales) * packed
        factor.refactorize(values)
        y = np.empty((len(x), 1))
        symbolic._handle.perform(CODES["product"], (values, x[:, None]), y, thread_count())
        gradient = (factor.logdet_grad() - derivatives.sampled_outer(symbolic, x, x)) / 2
        return (factor.logdet() - constant - x @ y[:, 0]) / 2, gradient, -y[:, 0]

    return run


def compile_seconds(A):
    """Time to build and compile the function, and to call it once: numba compiles it then."""
    start_pytensor()
    import pytensor.link.numba.dispatch  # noqa: F401 (not timed)

    import sparsechol.pytensor  # noqa: F401 (not timed)

    start = perf_counter()
    function, values, x = density(A)
    function(values, x)
    return perf_counter() - start


# ---- what a call costs on top of the kernels ----


def small():
    return sp.csc_array(problems.model("grid_laplacian", (10, 10), 0.1))


def overhead_parts(A):
    """A compiled function, its kernels alone, the same by NumPy, an empty function of arrays."""
    import pytensor
    import pytensor.tensor as pt

    start_pytensor()
    function, values, x = density(A)
    a, b = pt.dvector("a"), pt.dvector("b")
    empty = pytensor.function([a, b], [a[0], a, b])
    empty.trust_input = True
    for each in (function, empty):
        each(values, x)
    return {
        "function": lambda: function(values, x),
        "kernels": kernels_of(function, values, x),
        "public": direct(A),
        "empty": lambda: empty(values, x),
    }


def kernels_of(function, *arguments):
    """The kernels of a compiled function in its order, on arrays that are there."""
    from pytensor.link.basic import PerformLinker

    from sparsechol._core.numeric.operations import CODES
    from sparsechol._core.parallel.threads import thread_count
    from sparsechol.pytensor._ops import Kernel

    linker, calls = PerformLinker(allow_gc=False).accept(function.maker.fgraph), []
    _, places, _, thunks, nodes = linker.make_all()
    for place, argument in zip(places, arguments, strict=True):
        place.storage[0] = argument
    for thunk, node in zip(thunks, nodes, strict=True):
        thunk()
        op = node.op
        if isinstance(op, Kernel):
            read = thunk.inputs[len(op.unused) :]
            inputs = tuple(np.array(storage[0], order="C") for storage in read)
            out = np.empty_like(thunk.outputs[0][0])
            options = (thread_count(), op.flags, op.diagonal, op.below)
            calls.append((op.handle.perform, CODES[op.operation], inputs, out, *options))

    def run():
        for perform, *of_one in calls:
            perform(*of_one)

    return run


def microseconds(function):
    return 1e6 * min(repeat(function, number=500, repeat=7)) / 500


# ---- the first call in a new process ----

START = """
import time
import numpy as np, pytensor, pytensor.tensor as pt, scipy.sparse as sp
import sparsechol, sparsechol.pytensor as scpt
import pytensor.link.numba.dispatch
A = sp.diags_array([-np.ones(99), np.full(100, 3.0), -np.ones(99)], offsets=[-1, 0, 1])
P = sparsechol.analyze(A)
values = P.values(A)
x = pt.dvector("x")
start = time.perf_counter()
f = {value}
pytensor.function([x], [f, pytensor.grad(f, x)])(values)
print(time.perf_counter() - start)
"""
STARTS = {"sum": "x.sum()", "logdet": "scpt.logdet(scpt.SymmetricMatrix(P, x))"}


def starts(name, warm=3):
    """Seconds to compile and call a function and its gradient: at first, and with a cache."""
    start_pytensor()
    with TemporaryDirectory() as folder:
        cold, *others = [new_process(STARTS[name], folder) for _ in range(1 + warm)]
    return cold, median(others)


def new_process(value, folder):
    result = subprocess.run(
        [sys.executable, "-P", "-c", START.format(value=value)],
        capture_output=True, text=True, check=True,
        env=os.environ | {"PYTENSOR_FLAGS": flags(folder)},
    )  # fmt: skip
    return float(result.stdout)


# ---- conditional autoregressions: Q = tau (D - alpha W), W the adjacency of a graph ----

LATTICES = {f"lattice_{rows}": rows for rows in (30, 50, 100)}
GRAPHS = [*LATTICES, "grid2d_200", "inla_germany"]  # grid2d_200 for CI, which has no PyMC
LARGEST = 2500  # nodes of the graphs on which the peers run


def lattice(rows):
    path = sp.diags_array([np.ones(rows - 1)] * 2, offsets=[-1, 1])
    return sp.csc_array(sp.kronsum(path, path))


def adjacency(name, folder=None):
    """Of a square lattice, or of the matrix of that name."""
    if name in LATTICES:
        return lattice(LATTICES[name])
    if not problems.available(name, folder):
        raise NotImplementedError(f"{name} is not in the folder of real matrices")
    A = problems.load(name, folder)
    W = sp.csc_array(A - sp.diags_array(A.diagonal()))
    W.eliminate_zeros()
    W.data[:] = 1.0
    return W


def car(W, tau, alpha, phi):
    import sparsechol.pytensor as scpt

    D = sp.diags_array(W.sum(axis=0))
    return scpt.gmrf_logp(phi, 0.0, scpt.combine([(tau, D), (-tau * alpha, W)]))


def car_of_pymc(W, tau, alpha, phi):
    """W is constant: its eigenvalues are computed once, when the function is compiled."""
    import pymc as pm

    rows = sp.csr_matrix(W)
    field = pm.CAR.dist(mu=np.zeros(W.shape[0]), W=rows, alpha=alpha, tau=tau)
    return pm.logp(field, phi).sum()


def dense_car(W, tau, alpha, phi):
    import pymc as pm
    import pytensor

    D, full = (pytensor.shared(A.toarray()) for A in (sp.diags_array(W.sum(axis=0)), W))
    return pm.logp(pm.MvNormal.dist(mu=np.zeros(W.shape[0]), tau=tau * (D - alpha * full)), phi)


def weighted(W, tau, alpha, phi, rho):
    """The edges have weights, W_ij = exp(-rho d_ij), and D their sums."""
    import pytensor.tensor as pt

    import sparsechol.pytensor as scpt

    n = W.shape[0]
    field = scpt.combine([(pt.exp(-rho * lengths(W)), W)])
    D = (tau * (field @ pt.ones(n)), sp.eye_array(n))
    return scpt.gmrf_logp(phi, 0.0, scpt.combine([D, (-tau * alpha, field)]))


def dense_weighted(W, tau, alpha, phi, rho):
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt

    n = W.shape[0]
    lower = sp.tril(W).tocoo()
    places = [pytensor.shared(indices) for indices in (lower.row, lower.col)]
    half = pt.set_subtensor(pt.zeros((n, n))[tuple(places)], pt.exp(-rho * lengths(W)))
    full = half + half.T
    Q = tau * (pt.diag(full.sum(axis=0)) - alpha * full)
    return pm.logp(pm.MvNormal.dist(mu=np.zeros(n), tau=Q), phi)


def lengths(W):
    """Of the edges, in the order of the lower triangle by column."""
    import pytensor

    return pytensor.shared(0.5 + np.random.default_rng(1).random(W.nnz // 2), name="lengths")


MODELS = {
    "constant": {"sparsechol": car, "pm.CAR": car_of_pymc, "pm.MvNormal": dense_car},
    "weighted": {"sparsechol": weighted, "pm.MvNormal": dense_weighted},
}
SOLVERS = list(MODELS["constant"])
PARAMETERS = {"tau": 2.0, "alpha": 0.9}


def autoregression(W, model, solver, largest=LARGEST):
    """A function for log density and gradient in all parameters; and seconds to compile it."""
    start_pytensor(*([] if solver == "sparsechol" else ["pymc"]))
    if solver not in MODELS[model]:
        raise NotImplementedError(f"{solver} has no model whose W has parameters")
    if solver != "sparsechol" and W.shape[0] > largest:
        raise NotImplementedError(f"{solver} takes minutes and gigabytes")
    import pytensor.tensor as pt

    tau, alpha, rho = pt.dscalars("tau", "alpha", "rho")
    inputs = [tau, alpha, pt.dvector("phi")] + [rho] * (model == "weighted")
    at = [*map(np.array, PARAMETERS.values()), problems.right_hand_side(W)]
    at += [np.array(0.5)] * (model == "weighted")
    start = perf_counter()
    function = value_and_gradients(inputs, MODELS[model][solver](W, *inputs))
    function(*at)
    seconds, scales = perf_counter() - start, new_scales()
    return lambda: function(np.array(next(scales) * at[0]), *at[1:]), seconds


# ---- nested Laplace approximation ----


def nested_laplace(rows=100):
    """A function for the value and gradient of a likelihood with rows^2 latent values."""
    start_pytensor()
    if not EXAMPLE.is_file():
        raise NotImplementedError(f"there is no {EXAMPLE}")
    spec = importlib.util.spec_from_file_location("nested_laplace", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    W, D = example.lattice(rows)
    theta = np.array([0.5, 3.0, 1.0])
    function = example.likelihood(example.simulate(theta, W, D, np.random.default_rng(1)), W, D)[0]
    function.trust_input = True
    function(theta)
    scales = new_scales()
    return lambda: function(next(scales) * theta)


# ---- benchmarks ----


def scalar_equations(n):
    """A function that builds and compiles the sparse Jacobian, and returns what evaluates it."""
    import pytensor
    import pytensor.tensor as pt

    import sparsechol.pytensor as scpt

    x = pt.dvector("x", shape=(n,))
    forms = (
        lambda a, b, c: 1.5 * a**2 - pt.exp(-b) + c,
        lambda a, b, c: pt.log(1 + b**2) * a - 0.7 * c,
        lambda a, b, c: pt.tanh(a * b) + c**3,
    )
    expr = pt.stack([forms[i % 3](x[i], x[i - 1], x[(7 * i + 3) % n]) for i in range(n)])
    point = np.random.default_rng(0).uniform(0.5, 1.5, n)

    def build():
        values, _ = scpt.sparse_jacobian(expr, x, format="values")
        function = pytensor.function([x], values)
        function.trust_input = True
        function(point)
        return lambda: function(point)

    return build


class ValueAndGradient:
    params = (problems.NAMES,)
    param_names = ("problem",)
    timeout = 300

    def setup(self, problem):
        self.run = value_and_gradient(matrix(problem))

    def time_density(self, problem):
        self.run()

    def track_ratio_to_kernels(self, problem):
        return ratio(self.run, direct(matrix(problem)))

    track_ratio_to_kernels.unit = "times"


class Compilation:
    """Of a small matrix, with an empty cache."""

    timeout = 300

    def setup(self):
        self.folder = TemporaryDirectory()
        os.environ["PYTENSOR_FLAGS"] = flags(self.folder.name)  # before PyTensor is loaded

    def track_seconds(self):
        return compile_seconds(small())

    def teardown(self):
        self.folder.cleanup()

    track_seconds.unit = "seconds"


class Overhead:
    """Of a call with a small matrix."""

    timeout = 300

    def setup(self):
        self.parts = overhead_parts(small())

    def track_overhead(self):
        return microseconds(self.parts["function"]) - microseconds(self.parts["kernels"])

    def track_empty_function(self):
        return microseconds(self.parts["empty"])

    def track_public_call(self):
        return microseconds(self.parts["public"])

    track_overhead.unit = track_empty_function.unit = "microseconds"
    track_public_call.unit = "microseconds"


class Start:
    """Of a function and its gradient in a new process, with a cache on disk."""

    params = (list(STARTS),)
    param_names = ("function",)
    timeout = 300

    def setup(self, function):
        start_pytensor()

    def track_warm_start(self, function):
        return starts(function)[1]

    track_warm_start.unit = "seconds"


class Autoregression:
    params = (GRAPHS, list(MODELS), SOLVERS)
    param_names = ("graph", "model", "solver")
    timeout = 600

    def setup(self, graph, model, solver):
        self.run, self.compile_seconds = autoregression(adjacency(graph), model, solver)

    def time_value_and_gradient(self, graph, model, solver):
        self.run()


class ScalarEquations:
    """A system of three forms that a Python loop writes, one scalar after the other."""

    params = (300, 3000)
    param_names = ("equations",)
    timeout = 600

    def setup(self, n):
        start_pytensor()
        self.build = scalar_equations(n)
        self.run = self.build()

    def track_build(self, n):
        return min(repeat(self.build, number=1, repeat=2))

    track_build.unit = "seconds"

    def time_jacobian(self, n):
        self.run()


class NestedLaplace:
    timeout = 300

    def setup(self):
        self.run = nested_laplace()

    def time_value_and_gradient(self):
        self.run()
