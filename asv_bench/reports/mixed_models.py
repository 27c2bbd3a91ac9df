"""Compare restricted likelihoods with lme4: ``python -m asv_bench.reports.mixed_models``.

Run from the repository root, with the package installed, and R with lme4 (Debian: r-cran-lme4),
whose data it takes. Both evaluate the profiled restricted deviance (Bates, Maechler, Bolker and
Walker 2015. Fitting linear mixed-effects models using lme4. J. Stat. Softw. 67(1)); lme4 has no
gradient of it, ours comes with one. Times are processor times, the least of several runs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import scipy.sparse as sp

from .solvers import forget_source_tree

SCRIPT = Path(__file__).parent / "tmb" / "lme4.R"
POINTS = {
    "sleepstudy": [[0.9, 0.02, 0.2], [1.0, 0.01, 0.3]],
    "Penicillin": [[1.5, 3.5], [1.6, 3.2]],
    "Pastes": [[1.5, 3.5], [1.6, 3.2]],
    "InstEval": [[0.28, 0.43, 0.1], [0.3, 0.45, 0.12]],
}


def indicators(groups):
    """Return the matrix with a column for each group."""
    _, number = np.unique(groups, return_inverse=True)
    return sp.csc_array((np.ones(number.size), (np.arange(number.size), number)))


def scaled(effects, G):
    """Return the values of the matrix and the factors of the right-hand side: one for a term."""
    import jax.numpy as jnp

    rows, columns, values = G
    term = np.repeat(np.arange(len(effects)), effects)

    def parts(theta):
        factor = jnp.append(theta, 1.0)[term]  # those of the fixed effects are not scaled
        return values * factor[rows] * factor[columns], lambda b: factor * b

    return parts


def correlated(effects, G):
    """Return the same for pairs of intercept and slope, with a triangle Lambda for each pair.

    The matrix of all effects is a sum of constant ones, weighted by the elements of Lambda and a
    one; so what is made of it is linear in the products of two of them.
    """
    import jax.numpy as jnp

    rows, columns, values = G
    n, pairs = sum(effects), effects[0] // 2
    A = np.zeros((n, n))
    A[rows, columns] = A[columns, rows] = values
    of_pairs = [np.zeros((2, 2)) for _ in range(3)]
    for element, place in zip(of_pairs, ((0, 0), (1, 0), (1, 1)), strict=True):
        element[place] = 1
    rest = np.diag(np.arange(n) >= effects[0])
    T = [*(np.kron(np.eye(pairs), element) for element in of_pairs), rest]
    T = [np.pad(part, (0, n - len(part))) for part in T]
    table = np.array([(s.T @ A @ t)[rows, columns] for s in T for t in T]).T

    def parts(theta):
        t = jnp.append(theta, 1.0)
        return table @ jnp.outer(t, t).ravel(), lambda b: np.array([s.T @ b for s in T]).T @ t

    return parts


def design(name, data):
    """Return response, random effects term by term, fixed effects, and how they are scaled."""
    y, *groups = data.T
    one = np.ones((y.size, 1))
    if name != "sleepstudy":
        return y, [indicators(g) for g in groups], one, scaled
    Z, days = indicators(groups[0]), groups[1]
    pairs = sp.hstack([Z, sp.diags_array(days) @ Z]).tocsc()
    order = np.arange(pairs.shape[1]).reshape(2, -1).T.ravel()
    return y, [pairs[:, order]], np.column_stack([one, days]), correlated


def deviance(name, data):
    """Return the profiled restricted deviance as a function of theta."""
    import jax.numpy as jnp

    import sparsechol.jax as scj

    y, terms, X, kind = design(name, data)
    W = sp.csc_array(sp.hstack([*terms, X]))
    A = sp.csc_array(W.T @ W)
    P = scj.analyze(A)
    columns = np.repeat(np.arange(A.shape[0]), np.diff(P.indptr))
    effects = [Z.shape[1] for Z in (*terms, X)]
    unit = (P.indices == columns) & (columns < sum(effects[:-1]))
    parts = kind(effects, (P.indices, columns, P.values(A)))
    b, yy, m = W.T @ y, y @ y, y.size - X.shape[1]

    def f(theta):
        values, scale = parts(theta)
        F = scj.cholesky(scj.SymmetricMatrix(P, values + unit))
        c = scale(b)
        rest = yy - c @ F.solve(c)
        return F.logdet() + m * (1 + jnp.log(2 * np.pi * rest / m))

    return f


def ours(name, data):
    """Return the deviance, and seconds of a deviance with its gradient, and of it alone."""
    import jax
    import jax.numpy as jnp

    f = deviance(name, data)
    points = [jnp.array(p) for p in POINTS[name]]
    repeats = max(1, 10_000 // len(data))
    seconds = []
    for run in (jax.jit(jax.value_and_grad(f)), jax.jit(f)):
        jax.block_until_ready(run(points[0]))
        times = []
        for _ in range(5):
            begin = process_time()
            for _ in range(repeats):
                jax.block_until_ready([run(p) for p in points])
            times.append((process_time() - begin) / (repeats * len(points)))
        seconds.append(min(times))
    return float(jax.jit(f)(points[0])), *seconds


def compare():
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run(
            ["Rscript", str(SCRIPT), folder], check=True, capture_output=True, text=True
        )
        for line in out.stdout.splitlines():
            name, wanted, theirs = line.split()
            data = np.loadtxt(Path(folder) / f"{name}.csv", delimiter=",", skiprows=1)
            value, both, alone = ours(name, data)
            times = [1e3 * seconds for seconds in (alone, both, float(theirs))]
            ratios = times[2] / alone / 1e3, times[2] / both / 1e3
            error = abs(value / float(wanted) - 1)
            yield [name, str(len(data)), *(f"{x:.3f}" for x in times),
                   *(f"{x:.2f}" for x in ratios), f"{error:.0e}"]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.reports.mixed_models", description=__doc__
    )
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    args = parser.parse_args()
    os.environ["SPARSECHOL_BENCH_THREADS"] = "1"
    os.environ.setdefault("SPARSECHOL_NUM_THREADS", "1")
    forget_source_tree()
    from ..benchmarks.jax_face import start_jax
    from . import machine, tables

    load = machine.load_average()
    start_jax()
    header = ["data", "observations", "value ms", "with gradient ms", "lme4 value ms",
              "lme4 / value", "lme4 / with gradient", "difference"]  # fmt: skip
    lines = [tables.title("Restricted deviance beside lme4", args.markdown), "",
             *tables.table(header, list(compare()), args.markdown), ""]  # fmt: skip
    print("\n".join([*lines, *machine.describe(load)]))


if __name__ == "__main__":
    sys.exit(main())
