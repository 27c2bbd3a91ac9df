"""
On many machines
================

Log-likelihood of a field in three dimensions and its gradient, on many ranks of MPI.

Measurements ``y = x + noise`` on a grid, of a field x with the precision matrix of the stochastic
partial differential equation of Lindgren, Rue and Lindstrom (2011), ::

    Q = tau (kappa^2 I + G)^2,    G the Laplacian of the grid.

Given y, the field has the precision ``Q + I / noise^2``. Both matrices have one pattern, which is
analyzed once. Every rank assembles the rows that are its own, and no rank ever has all of them;
derivatives of the log-determinants come from the inverse on each rank's own entries.

Run: ``mpirun -n 2 python examples/spde_mpi.py``
"""

import sys

import numpy as np
import scipy.sparse as sp
from mpi4py import MPI

import sparsechol as sc
import sparsechol.distributed as scd


def laplacian(m, rows):
    """Rows of the Laplacian of a grid with m vertices in each of three directions."""
    i, j, k = np.unravel_index(rows, (m, m, m))
    row, column, value = [rows], [rows], [np.full(rows.size, 6.0)]
    for step in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
        place = np.stack([i, j, k], axis=1) + step
        inside = np.all((place >= 0) & (place < m), axis=1)
        row.append(rows[inside])
        column.append(np.ravel_multi_index(place[inside].T, (m, m, m)))
        value.append(np.full(inside.sum(), -1.0))
    entries = np.concatenate(value), (np.concatenate(row), np.concatenate(column))
    return sp.csr_array(entries, shape=(m**3, m**3))


def terms(m, rows):
    """These rows of I, G and G^2, of which both precision matrices are sums."""
    G = laplacian(m, rows)
    neighbors = np.unique(G.indices)
    own = np.zeros(m**3)
    own[rows] = 1
    return sp.csr_array(sp.diags_array(own)), G, sp.csr_array(G @ laplacian(m, neighbors))


def weights(theta):
    """Factors of I, G, G^2 in Q and in Q + I / noise^2, and their derivatives in theta.

    theta are the logarithms of tau, kappa and the noise.
    """
    tau, kappa, noise = np.exp(theta)
    prior = tau * np.array([kappa**4, 2 * kappa**2, 1.0])
    slopes = np.array([prior, tau * np.array([4 * kappa**4, 4 * kappa**2, 0.0]), np.zeros(3)])
    precision = np.array([noise**-2, 0.0, 0.0])
    return (prior, slopes), (prior + precision, slopes + np.outer([0, 0, -2], precision))


def likelihood(theta, y, values, prior, posterior, total):
    """Log-likelihood and gradient, for one machine and for many.

    Parameters
    ----------
    theta : (3,) ndarray
    y : (n,) ndarray
    values : (3, entries) ndarray
        Packed values of the terms, of this rank's part.
    prior, posterior : factors, which are updated
    total : callable
        Sums a number over all ranks.
    """
    noise = np.exp(theta[2])
    (w, dw), (v, dv) = weights(theta)
    prior.refactorize(w @ values)
    posterior.refactorize(v @ values)
    mean = posterior.solve(y / noise**2)
    size = y.size * (np.log(2 * np.pi) + 2 * theta[2])
    value = prior.logdet() - posterior.logdet() - size - y @ (y - mean) / noise**2
    traces = total(values @ prior.logdet_grad()), total(values @ posterior.logdet_grad())
    row, column = coordinates(posterior.pattern)
    products = np.where(row == column, 1.0, 2.0) * mean[row] * mean[column]
    quadratic = total(values @ products)  # mean^T term mean
    gradient = dw @ traces[0] - dv @ traces[1] - dv @ quadratic
    gradient[2] += -2 * y.size + 2 * y @ y / noise**2 - 4 * y @ mean / noise**2
    return value / 2, gradient / 2


def coordinates(symbolic):
    """Rows and columns of the packed values."""
    column = np.repeat(np.arange(symbolic.shape[0]), np.diff(symbolic.indptr))
    return symbolic.indices, column


def on_ranks(comm, m, theta, y):
    """Each rank with its rows."""
    rows = np.array_split(np.arange(m**3), comm.size)[comm.rank]
    parts = terms(m, rows)
    S = scd.analyze(sum(abs(part) for part in parts), comm)
    values = np.stack([S.values(part) for part in parts])
    start = weights(theta)[1][0] @ values
    with S.factorize(start) as prior, S.factorize(start) as posterior:
        return likelihood(theta, y, values, prior, posterior, comm.allreduce)


def on_one(m, theta, y):
    """The same on one machine."""
    parts = terms(m, np.arange(m**3))
    S = sc.analyze(sum(abs(part) for part in parts))
    values = np.stack([S.values(part) for part in parts])
    start = weights(theta)[1][0] @ values
    return likelihood(theta, y, values, S.factorize(start), S.factorize(start), lambda x: x)


def compare(comm, m):
    """Both must agree to ten digits, on every rank."""
    theta, y = np.log([2.0, 0.7, 0.5]), np.random.default_rng(1).standard_normal(m**3)
    value, gradient = on_ranks(comm, m, theta, y)
    wanted = on_one(m, theta, y)
    assert abs(value / wanted[0] - 1) < 1e-10
    assert np.all(abs(gradient / wanted[1] - 1) < 1e-10)
    return value, gradient


if __name__ == "__main__":
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    answer, slope = compare(MPI.COMM_WORLD, side)
    if MPI.COMM_WORLD.rank == 0:
        print(f"{side**3} unknowns on {MPI.COMM_WORLD.size} ranks")
        print(f"log-likelihood {answer:.6f}, gradient {slope.round(6)}")
