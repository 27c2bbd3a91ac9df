"""Colorings by their definitions, slowly: what the kernels are compared with."""

import numpy as np


def near(A):
    """Whether two columns share a row."""
    M = (A.T.astype(int) @ A.astype(int)) > 0
    np.fill_diagonal(M, False)
    return M


def greedy(conflicts, order):
    """The smallest color that no neighbor has."""
    colors = np.full(len(conflicts), -1)
    for v in order:
        taken = set(colors[conflicts[v]].tolist())
        colors[v] = next(c for c in range(len(conflicts) + 1) if c not in taken)
    return colors


def smallest_valid(adjacent, order, valid):
    """The smallest color with which the vertices colored so far satisfy a condition."""
    colors = np.full(len(adjacent), -1)
    for v in order:
        for c in range(len(adjacent) + 1):
            colors[v] = c
            if valid(adjacent, colors):
                break
    return colors


def is_star(adjacent, colors):
    """Neighbors differ, and no path on four vertices has two colors."""
    n = len(adjacent)
    edges = [(a, b) for a in range(n) for b in range(n) if adjacent[a, b]]
    known = [(a, b) for a, b in edges if colors[a] >= 0 and colors[b] >= 0]
    if any(colors[a] == colors[b] for a, b in known):
        return False
    for b, c in known:
        for a in np.flatnonzero(adjacent[b]):
            for d in np.flatnonzero(adjacent[c]):
                four = a != c and d != b and a != d and colors[a] >= 0 and colors[d] >= 0
                if four and colors[a] == colors[c] and colors[d] == colors[b]:
                    return False
    return True


def is_acyclic(adjacent, colors):
    """Neighbors differ, and the vertices of any two colors are a forest."""
    known = np.flatnonzero(colors >= 0)
    for c in set(colors[known].tolist()):
        for d in set(colors[known].tolist()):
            among = np.flatnonzero((colors == c) | (colors == d))
            if not is_forest(adjacent[np.ix_(among, among)], colors[among]):
                return False
    return True


def is_forest(adjacent, colors):
    parent = list(range(len(adjacent)))

    def root(v):
        while parent[v] != v:
            v = parent[v]
        return v

    for a in range(len(adjacent)):
        for b in np.flatnonzero(adjacent[a, :a]):
            if colors[a] == colors[b] or root(a) == root(b):
                return False
            parent[root(a)] = root(b)
    return True


def products(coloring, M):
    """The compressed products of a matrix."""
    if coloring.structure == "row":
        return coloring.seed().T @ M
    if coloring.structure == "bidirectional":
        columns, rows = coloring.seed()
        return M @ columns, rows.T @ M
    return M @ coloring.seed()


def determines(coloring, M):
    """Whether the products determine the values: the rank of a linear map says so."""
    entries = np.argwhere(M != 0)
    if coloring.structure == "symmetric":
        entries = entries[entries[:, 0] >= entries[:, 1]]
    maps = []
    for i, j in entries:
        E = np.zeros(M.shape)
        E[i, j] = 1
        if coloring.structure == "symmetric":
            E[j, i] = 1
        B = products(coloring, E)
        maps.append(np.concatenate([np.ravel(b) for b in (B if isinstance(B, tuple) else (B,))]))
    return np.linalg.matrix_rank(np.array(maps)) == len(entries) if maps else True
