"""The `sparsechol` command: a demonstration that checks itself, a look at a user's matrix, and what
an installation is made of.
"""

import argparse
import importlib.util
import json
import math
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.linalg import LinAlgError, norm
from scipy.linalg import LinAlgWarning
from scipy.sparse import csc_array, diags_array, tril, triu

from .._core.ordering.choose import Ordering, methods
from .._core.ordering.metis import have_metis
from .._core.parallel.threads import thread_count
from .._scipy.cholesky_factor import CholeskyFactor
from .._scipy.config import show_config
from .._scipy.functions import cholesky
from .._scipy.input import compressed
from .._scipy.symbolic_factor import SymbolicFactor, analyze
from .._scipy.symmetry import asymmetry
from .._version import __version__
from ..models import matern_spde
from .matrix_market import FileError, read_matrix_market
from .terminal import format_seconds, progress, show_table, timed

INSTALL = 'python -m pip install "sparsechol[cli]"'

# Relative residuals of backward stable steps: hundreds of roundings.
BACKWARD_LIMIT = 1e-13

# Errors of what depends on the condition of the matrix, in roundings times its estimate.
FORWARD_ROUNDINGS = 10

# The natural ordering is tried up to this order of a matrix only: its fill has no bound.
NATURAL_LIMIT = 5000


class CommandError(Exception):
    """End the command with one line for the user, and exit status 2."""


class Step(NamedTuple):
    """Hold one line of the table of steps; `error` is compared with `limit`."""

    name: str
    seconds: float
    result: str
    check: str = ""
    error: float = 0.0
    limit: float = math.inf

    @property
    def passed(self) -> bool:
        return self.error <= self.limit

    def cells(self) -> tuple[str, ...]:
        verdict = "ok" if self.passed else f"FAILED: > {self.limit:.0e}"
        error = f"{self.error:.1e} {verdict}" if self.check else ""
        return self.name, format_seconds(self.seconds), self.result, self.check, error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 if a check failed, 2 if the work could not be done.
    """
    arguments = parser().parse_args(argv)
    try:
        status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed it: the rest, flushed at exit, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def run(arguments: argparse.Namespace) -> int:
    """Run a command that has been parsed, and return the exit status."""
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always", LinAlgWarning)
        try:
            thread_count()  # the time of starting the workers belongs to no step
        except ValueError as error:  # the environment variable
            return refuse(str(error))
        try:
            require_matplotlib(arguments.plot)
            passed = arguments.run(arguments)
        except LinAlgError as error:
            return refuse(f"{error} (rows count from 0)")
        except (CommandError, ValueError, OverflowError, MemoryError) as error:
            return refuse(str(error) or type(error).__name__)
    for message in dict.fromkeys(str(doubt.message) for doubt in doubts):
        print(f"note: {message}")
    if passed is None:
        return 0
    print("all checks passed" if passed else "a check FAILED")
    if importlib.util.find_spec("rich") is None:
        print(f"for progress and colors on a terminal: {INSTALL}", file=sys.stderr)
    return 0 if passed else 1


def refuse(message: str) -> int:
    """Print an error in one line, and return exit status 2."""
    print(f"sparsechol: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="sparsechol", description="Sparse Cholesky factorization: demonstration and analysis."
    )
    command.add_argument("--version", action="version", version=f"sparsechol {__version__}")
    commands = command.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="factor a Matern field on a mesh and check every result",
        description="Factor the precision matrix of a Matern field on a 2-D mesh, time each step"
        " and check its result by an independent computation.",
    )
    demo.add_argument(
        "--n", type=unknowns, default=100_000, help="unknowns, at least (default 100000)"
    )
    demo.set_defaults(run=run_demo)
    info = commands.add_parser(
        "info",
        help="analyze and factor a Matrix Market file; without one, say what is installed",
        description="Compare the fill-reducing orderings on the symmetric positive definite"
        " matrix of a Matrix Market file, then time and check each step in the chosen order."
        " Without a file, say what this installation is made of.",
    )
    info.add_argument("file", metavar="FILE", nargs="?", help="FILE.mtx or FILE.mtx.gz")
    info.add_argument("--json", action="store_true", help="this installation as JSON; no FILE")
    info.add_argument(
        "--ordering", choices=methods(), default="auto", help="ordering of the steps (default auto)"
    )
    info.set_defaults(run=run_info)
    for one in (demo, info):
        one.add_argument(
            "--plot",
            metavar="OUT.png",
            help="draw the patterns of A and L and the supernodes (needs matplotlib)",
        )
    return command


def unknowns(text: str) -> int:
    n = int(text)
    if n < 4:
        raise argparse.ArgumentTypeError("a mesh has at least 4 unknowns")
    return n


def run_demo(arguments: argparse.Namespace) -> bool:
    """Run the demonstration, and return whether all checks passed."""
    nx = max(2, round(math.sqrt(arguments.n)))
    ny = max(2, math.ceil(arguments.n / nx))
    A, seconds = timed("mesh and model", matern_spde, nx, ny, range_=0.1, seed=0)
    print(
        f"precision matrix of a Matern field (SPDE) on a mesh of {nx} x {ny} vertices:\n"
        f"{A.shape[0]:,} unknowns, {A.nnz:,} entries, built in {format_seconds(seconds)}\n"
    )
    return show_steps(A, "auto", arguments.plot)


def run_info(arguments: argparse.Namespace) -> bool | None:
    """Analyze and factor a user's matrix, and return whether all checks passed.

    Without one describe the installation, and return None.
    """
    if arguments.file is None:
        if arguments.plot is not None:
            raise CommandError("--plot needs a FILE")
        describe_installation(arguments.json)
        return None
    if arguments.json:
        raise CommandError("--json describes the installation: it takes no FILE")
    if arguments.ordering == "metis" and not have_metis():
        raise CommandError(
            '--ordering metis needs pymetis: python -m pip install "sparsechol[metis]"'
        )
    (A, general), seconds = timed(f"reading {arguments.file}", read_matrix, arguments.file)
    print(
        f"{arguments.file}: {A.shape[0]:,} rows, {A.nnz:,} entries,"
        f" read in {format_seconds(seconds)}"
    )
    chosen, _ = timed("ordering auto", analyze_checked, A, general)
    if general:
        print("the file holds both triangles: they agree, and the lower one is used")
    print()
    show_orderings(A, chosen.ordering)
    print()
    return show_steps(A, arguments.ordering, arguments.plot)


def describe_installation(as_json: bool) -> None:
    if as_json:
        print(json.dumps(show_config(mode="dicts"), indent=2))
    else:
        show_config()


def require_matplotlib(path: str | None) -> None:
    if path is not None and importlib.util.find_spec("matplotlib") is None:
        raise CommandError(f"--plot needs matplotlib: {INSTALL}")


def read_matrix(path: str) -> tuple[csc_array, bool]:
    """Read a Matrix Market file, and whether it holds both triangles."""
    try:
        A, symmetry = read_matrix_market(path)
    except FileError as error:
        raise CommandError(f"{path}: {error}") from None
    return A, symmetry == "general"


def analyze_checked(A: csc_array, general: bool) -> SymbolicFactor:
    """Analyze a matrix, and make sure that it is symmetric and finite."""
    if general and (tril(A, -1).nnz == 0) != (triu(A, 1).nnz == 0):
        raise CommandError(
            "the matrix is not symmetric: the file holds one triangle alone, but its header says"
            " 'general', not 'symmetric'"
        )
    try:
        symbolic = analyze(A)
        symbolic.values(A)
    except ValueError as error:
        raise CommandError(f"{error} (rows count from 0)") from None
    reason = asymmetry(compressed(A))
    if reason is not None:
        raise CommandError(f"{reason} (rows count from 0)")
    return symbolic


def show_orderings(A: csc_array, auto: Ordering) -> None:
    """Print the table of orderings, and which of them 'auto' takes."""
    rows = []
    for method in available_orderings(A.shape[0]):
        symbolic, analysis = timed(f"analysis ({method})", analyze, A, ordering=method)
        _, factorization = timed(f"factorization ({method})", symbolic.factorize, A)
        rows.append(
            (
                method,
                f"{symbolic.nnz:,}",
                f"{symbolic.flops:.3g}",
                format_seconds(analysis),
                format_seconds(factorization),
            )
        )
    show_table(("ordering", "nnz(L)", "flops", "analysis", "factorization"), rows, "lrrrr")
    print(f"auto takes {auto.method}: {auto.reason}")


def available_orderings(n: int) -> list[str]:
    """Return the orderings that can be tried on a matrix of order n."""
    methods = ["amd", "nested_dissection"]
    if have_metis():
        methods.append("metis")
    if n <= NATURAL_LIMIT:
        methods.append("natural")
    return methods


def show_steps(A: csc_array, ordering: str, path: str | None) -> bool:
    """Run, time and check each step, print and draw; return whether all checks passed."""
    symbolic, analysis = timed("analysis", analyze, A, ordering=ordering)
    F, factorization = timed("factorization", symbolic.factorize, A)
    with progress("condition number"):
        condition = F.condest()
    limit = FORWARD_ROUNDINGS * np.finfo(F.dtype).eps * condition
    steps = [
        analysis_step(symbolic, analysis),
        factorization_step(F, A, factorization),
        solve_step(F, A),
        logdet_step(F, A, limit),
        partial_inverse_step(F, A, limit),
        refactorization_step(F, A),
    ]
    header = ("step", "time", "result", "check", "error")
    show_table(header, [step.cells() for step in steps], "lrlll")
    print(f"condition number about {condition:.1e}; fill is nnz(L) / nnz(tril(A))")
    if path is not None:
        draw(symbolic, path)
    return all(step.passed for step in steps)


def analysis_step(symbolic: SymbolicFactor, seconds: float) -> Step:
    fill = symbolic.nnz / symbolic.indices.shape[0]
    method = symbolic.ordering.method
    result = f"{method}, nnz(L) {symbolic.nnz:,}, fill {fill:.1f}"
    return Step("analysis", seconds, result)


def factorization_step(F: CholeskyFactor, A: csc_array, seconds: float) -> Step:
    symbolic = F.pattern
    size = (symbolic.memory.factor + symbolic.memory.workspace) / 1e6
    result = f"{symbolic.flops / 1e9:.3g} Gflop, {rate(symbolic.flops, seconds)}, {size:.1f} MB"
    return Step("factorization", seconds, result, *product_check(F, A))


def solve_step(F: CholeskyFactor, A: csc_array) -> Step:
    b = random_vector(A)
    x, seconds = timed("solve", F.solve, b)
    scale = inf_norm(A) * norm(x, np.inf) + norm(b, np.inf)
    error = float(norm(A @ x - b, np.inf) / scale)
    return Step("solve", seconds, "one right-hand side", "A x = b", error, BACKWARD_LIMIT)


def logdet_step(F: CholeskyFactor, A: csc_array, limit: float) -> Step:
    value, seconds = timed("log-determinant", F.logdet)
    with progress("check of the log-determinant: second elimination"):
        other = shuffled_logdet(A)
    error = abs(value - other) / max(abs(value), A.shape[0])
    check = "shuffled rows, AMD"
    return Step("log-determinant", seconds, f"{value:.10g}", check, error, limit)


def partial_inverse_step(F: CholeskyFactor, A: csc_array, limit: float) -> Step:
    Z, seconds = timed("partial inverse", F.partial_inverse)
    n = A.shape[0]
    error = abs((A * Z.conj()).sum() - n) / n
    result = f"{Z.nnz:,} entries, {rate(2 * F.pattern.flops, seconds)}"
    return Step("partial inverse", seconds, result, "trace(A Z) = n", error, limit)


def refactorization_step(F: CholeskyFactor, A: csc_array) -> Step:
    """Refactorize with other values: A scaled from both sides."""
    scale = diags_array(np.random.default_rng(1).uniform(0.5, 2, A.shape[0]))
    other = csc_array(scale @ A @ scale)
    _, seconds = timed("refactorization", F.refactorize, other)
    result = f"other values, {rate(F.pattern.flops, seconds)}"
    return Step("refactorization", seconds, result, *product_check(F, other))


def product_check(F: CholeskyFactor, A: csc_array) -> tuple[str, float, float]:
    """Check the factor by a product with a random vector; return name, error and limit."""
    v = random_vector(A)
    with progress("check of the factor"):
        L = F.L
        unpermuted = np.empty_like(v)
        unpermuted[F.perm] = v
        difference = L @ (L.conj().T @ v) - (A @ unpermuted)[F.perm]
    error = float(norm(difference, np.inf) / (inf_norm(A) * norm(v, np.inf)))
    return "L L^H v = P A P^T v", error, BACKWARD_LIMIT


def shuffled_logdet(A: csc_array) -> float:
    """Compute the log-determinant with rows in random order: another tree, other roundings."""
    shuffle = np.random.default_rng(2).permutation(A.shape[0])
    return cholesky(A[shuffle][:, shuffle], ordering="amd").logdet()


def random_vector(A: csc_array) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(A.shape[0])


def inf_norm(A: csc_array) -> float:
    return float(abs(A).sum(axis=1).max())


def draw(symbolic: SymbolicFactor, path: str) -> None:
    from .plot import plot

    try:
        with progress(f"drawing {path}"):
            plot(symbolic, path)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be written: {error}") from None
    print(f"wrote {path}")


def rate(flops: float, seconds: float) -> str:
    return f"{flops / max(seconds, 1e-9) / 1e9:.2g} GF/s"
