"""Compare Laplace's approximation with TMB and glmmTMB: ``python -m asv_bench.reports.laplace``.

Run from the repository root, with the package installed, and R with TMB and glmmTMB (Debian:
r-cran-tmb r-cran-glmmtmb). The models are the same, term by term, and so are the points; both begin
each search at the last mode. Times are processor times of a value with its gradient, medians over
the points.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time

import numpy as np

from .solvers import forget_source_tree

HERE = Path(__file__).parent / "tmb"
GLMM = (20_000, 500, 300)


def arguments():
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.reports.laplace", description=__doc__
    )
    parser.add_argument("--points", type=int, default=15, metavar="K", help="points of evaluation")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, metavar="M")
    parser.add_argument("--largest", type=int, default=100_000, metavar="N", help="latent values")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    return parser.parse_args()


def grid_counts(n):
    """Counts on a grid: the density, start, parameters, and data."""
    import jax.numpy as jnp
    import scipy.sparse as sp

    import sparsechol.jax as scj

    rows = round(n**0.5)
    line = sp.diags_array(
        [-np.ones(rows - 1), np.r_[1, 2 * np.ones(rows - 2), 1], -np.ones(rows - 1)],
        offsets=[-1, 0, 1],
    )
    grid, unit = sp.csc_array(sp.kronsum(line, line)), sp.eye_array(rows**2).tocsc()
    P = scj.analyze(grid + unit)
    q, one = jnp.asarray(P.values(grid)), jnp.asarray(P.values(unit))
    y = np.random.default_rng(0).poisson(2.0, rows**2).astype(float)
    e = 2 - 2 * np.cos(np.pi * np.arange(rows) / rows)
    eigenvalues = jnp.asarray(np.add.outer(e, e).ravel())

    def logjoint(x, t):
        Q = scj.SymmetricMatrix(P, jnp.exp(t[0]) * (q + jnp.exp(t[1]) * one))
        logdet = x.size * t[0] + jnp.sum(jnp.log(eigenvalues + jnp.exp(t[1])))
        prior = 0.5 * logdet - 0.5 * x @ (Q @ x) - 0.5 * x.size * np.log(2 * np.pi)
        return prior + jnp.sum(y * x - jnp.exp(x))

    return logjoint, np.zeros(rows**2), np.array([0.3, -1.0]), {"y": y}


def volatility(n):
    """Stochastic volatility."""
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    h = np.zeros(n)
    for t in range(1, n):
        h[t] = 0.95 * h[t - 1] + 0.3 * rng.standard_normal()
    y = np.exp(h / 2) * rng.standard_normal(n)

    def logjoint(x, t):
        phi, sigma = jnp.tanh(t[1]), jnp.exp(t[2])
        d = (x - t[0]) / sigma
        step = d[1:] - phi * d[:-1]
        prior = 0.5 * jnp.log(1 - phi**2) - n * jnp.log(sigma) - 0.5 * jnp.sum(step**2)
        prior -= 0.5 * (1 - phi**2) * d[0] ** 2
        return prior - 0.5 * jnp.sum(x + y**2 * jnp.exp(-x)) - n * np.log(2 * np.pi)

    return logjoint, np.zeros(n), np.array([0.1, 1.7, -1.2]), {"y": y}


def student(n):
    """A random walk with Student's noise: the density is not concave."""
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    y = np.cumsum(0.5 * rng.standard_normal(n)) + rng.standard_t(4, n)

    def logjoint(x, t):
        step, r = x[1:] - x[:-1], (y - x) * jnp.exp(-t[1])
        walk = -0.5 * jnp.exp(t[0]) * (jnp.sum(step**2) + x[0] ** 2)
        return 0.5 * n * t[0] + walk - n * t[1] - 2.5 * jnp.sum(jnp.log1p(r * r / 4))

    return logjoint, np.zeros(n), np.array([1.0, 0.1]), {"y": y}


def crossed_counts(_):
    """Counts with two crossed random effects, as glmmTMB writes the model."""
    import jax
    import jax.numpy as jnp

    rng, (m, p, q) = np.random.default_rng(0), GLMM
    g, h, z = rng.integers(0, p, m), rng.integers(0, q, m), rng.standard_normal(m)
    u, v = 0.5 * rng.standard_normal(p), 0.3 * rng.standard_normal(q)
    y = rng.poisson(np.exp(0.5 + 0.3 * z + u[g] + v[h])).astype(float)
    constant = float(jax.scipy.special.gammaln(y + 1).sum() + 0.5 * (p + q) * np.log(2 * np.pi))

    def logjoint(x, t):
        u, v = jnp.exp(t[2]) * x[:p], jnp.exp(t[3]) * x[p:]
        eta = t[0] + t[1] * z + u[g] + v[h]
        return jnp.sum(y * eta - jnp.exp(eta)) - 0.5 * jnp.sum(x**2) - constant

    # glmmTMB names levels by their labels; every level of both factors occurs.
    return logjoint, np.zeros(p + q), np.array([0.5, 0.3, -0.7, -1.2]), {"y": y, "z": z,
        "g": np.char.add("g", g.astype(str)), "h": np.char.add("h", h.astype(str))}  # fmt: skip


MODELS = {
    "gmrf": (grid_counts, (1_000, 10_000, 100_000)),
    "volatility": (volatility, (1_000, 10_000)),
    "student": (student, (1_000, 10_000)),
    "glmm": (crossed_counts, (GLMM[0],)),
}


def write(path, columns):
    """Write columns for R."""
    names, lines = ",".join(columns), zip(*columns.values(), strict=True)
    text = "\n".join(",".join(str(x) for x in line) for line in lines)
    path.write_text(f"{names}\n{text}\n")


def ours(logjoint, start, points):
    """Return value, gradient, seconds of an evaluation, and of the preparation."""
    import jax
    import jax.numpy as jnp

    import sparsechol.jax as scj

    def loss(t, x):
        found = scj.laplace(logjoint, x, t)
        return -found.log_marginal, found.mode

    begin = process_time()
    f = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, mode), gradient = jax.block_until_ready(f(points[0], jnp.asarray(start)))
    ready, times = process_time() - begin, []
    for point in points[1:]:
        begin = process_time()
        (_, mode), _ = jax.block_until_ready(f(point, mode))
        times.append(process_time() - begin)
    return float(value), np.asarray(gradient), float(np.median(times)), ready


def theirs(name, folder):
    """Return value, gradient and seconds of an evaluation in R."""
    command = ["Rscript", str(HERE / "time.R"), name, str(folder)]
    out = subprocess.run(command, check=False, capture_output=True, text=True)
    print(out.stderr.strip(), file=sys.stderr)
    if out.returncode:
        raise RuntimeError(f"Rscript failed for {name}: its last words are above")
    found = np.array(out.stdout.splitlines()[-1].split(), float)
    return found[0], found[1:-1], found[-1]


def compare(args):
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(HERE / "models.cpp", folder)
        for model in args.models:
            make, sizes = MODELS[model]
            for n in (n for n in sizes if n <= args.largest):
                logjoint, start, theta, data = make(n)
                rng = np.random.default_rng(1)
                points = theta + 0.02 * rng.standard_normal((args.points, theta.size))
                write(folder / "data.csv", data)
                write(folder / "start.csv", {"x": start})
                write(folder / "points.csv", {f"t{k}": points[:, k] for k in range(theta.size)})
                value, gradient, seconds, ready = ours(logjoint, start, points)
                wanted, slopes, other = theirs(model, folder)
                error = max(abs(value / wanted - 1), np.abs(gradient / slopes - 1).max())
                rows.append([model, str(start.size), f"{1e3 * seconds:.2f}", f"{1e3 * other:.1f}",
                             f"{other / seconds:.1f}", f"{ready:.1f}", f"{error:.0e}"])  # fmt: skip
                print(*rows[-1], file=sys.stderr)
    return rows


def main():
    args = arguments()
    os.environ["SPARSECHOL_BENCH_THREADS"] = "1"
    os.environ.setdefault("SPARSECHOL_NUM_THREADS", "1")
    forget_source_tree()
    from ..benchmarks.jax_face import start_jax
    from . import machine, tables

    load = machine.load_average()
    start_jax()
    header = ["model", "latent values", "ms", "TMB ms", "TMB / ours", "prepared s", "difference"]
    lines = [tables.title("Laplace's approximation beside TMB", args.markdown), "",
             *tables.table(header, compare(args), args.markdown), ""]  # fmt: skip
    print("\n".join([*lines, *machine.describe(load)]))


if __name__ == "__main__":
    sys.exit(main())
