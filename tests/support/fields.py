"""Semidefinite matrices with known null space, and what dense algebra says of them."""

import numpy as np
import scipy.linalg
import scipy.sparse as sp


def laplacian(n, i, j, weights):
    """Laplacian of a graph with weighted edges (i, j); an edge may come twice."""
    A = sp.coo_array((weights, (i, j)), shape=(n, n)).tocsr()
    A = A + A.T
    return sp.csc_array(sp.diags_array(A.sum(axis=1)) - A)


def random_graph(rng, n, parts, isolated):
    """Edges of a graph with so many connected parts, and isolated vertices, in random order."""
    label = np.arange(n - isolated) % parts
    pairs = []
    for part in range(parts):
        members = rng.permutation(np.flatnonzero(label == part))
        k = len(members)
        pairs += [(members[t], members[rng.integers(t)]) for t in range(1, k)]
        pairs += [tuple(rng.choice(members, 2, replace=False)) for _ in range(k // 2) if k > 1]
    names = rng.permutation(n)
    i, j = names[np.array(pairs, int).reshape(-1, 2).T]
    return i, j


def second_order(n, weights=None):
    """Precision of a random walk of second order; constants and lines are its null space."""
    D = np.diff(np.eye(n), 2, axis=0)
    w = np.ones(n - 2) if weights is None else weights
    return sp.csc_array(D.T @ (w[:, None] * D)), np.c_[np.ones(n), np.arange(n)]


def pseudo_inverse(Q, V):
    """Pseudo-inverse and log pseudo-determinant of a dense Q with null space V."""
    U = scipy.linalg.orth(V)
    size = np.trace(Q).real / max(1, len(Q)) or 1.0
    A = Q + size * U @ U.conj().T
    W = np.linalg.inv(A) - U @ U.conj().T / size
    return W, np.linalg.slogdet(A)[1] - U.shape[1] * np.log(size)


def conditional(Q, C, e, mu):
    """Mean, covariance, log of its pseudo-determinant and basis of the plane of x given C x = e."""
    N = scipy.linalg.null_space(C)
    A = N.T @ Q @ N
    start = np.linalg.lstsq(C, e, rcond=None)[0]
    mean = start + N @ np.linalg.solve(A, N.T @ Q @ (mu - start))
    return mean, N @ np.linalg.inv(A) @ N.T, -np.linalg.slogdet(A)[1], N
