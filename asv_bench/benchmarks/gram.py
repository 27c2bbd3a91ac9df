"""Values of A^T W A for new weights and entries, beside SciPy's product."""

import numpy as np
import scipy.sparse as sp

import sparsechol as sc


def crossed(rng):
    """Ratings by students on lecturers, of the size of lme4's InstEval."""
    ratings, levels = 73_421, (2972, 1128, 14, 2)
    first = np.cumsum((0, *levels[:-1]))
    column = np.stack([f + rng.integers(0, q, ratings) for f, q in zip(first, levels, strict=True)])
    row = np.tile(np.arange(ratings), len(levels))
    return sp.csr_array((np.ones(row.size), (row, column.ravel())), (ratings, sum(levels)))


def projection(rng):
    """Bilinear interpolation at 100,000 places on a grid of 100 x 100."""
    count, side = 100_000, 100
    place = rng.random((2, count)) * (side - 1)
    corner = place.astype(int)
    part = place - corner
    weights, columns = [], []
    for up in (0, 1):
        for right in (0, 1):
            x = part[0] if up else 1 - part[0]
            weights.append(x * (part[1] if right else 1 - part[1]))
            columns.append((corner[0] + up) * side + corner[1] + right)
    row = np.tile(np.arange(count), 4)
    return sp.csr_array((np.ravel(weights), (row, np.ravel(columns))), (count, side**2))


def pose_graph(rng, k=6, poses=2500):
    """Relative poses along a path, and as many loop closures."""
    path = np.stack([np.arange(poses - 1), np.arange(1, poses)], axis=1)
    loops = np.sort([rng.choice(poses, 2, replace=False) for _ in range(poses)], axis=1)
    edges = np.concatenate([path, loops])
    blocks = rng.standard_normal((edges.size, k, k))
    starts = np.arange(0, edges.size + 1, 2)
    shape = (len(edges) * k, poses * k)
    return sp.csr_array(sp.bsr_array((blocks, edges.ravel(), starts), shape=shape))


def logistic(rng):
    """A design with 40 columns and 100,000 rows."""
    return sp.csr_array(rng.standard_normal((100_000, 40)))


DESIGNS = {
    "crossed": (crossed, 1),
    "projection": (projection, 1),
    "pose graph": (pose_graph, 6),
    "logistic": (logistic, 1),
}


class Values:
    """New values of the normal equations on one thread."""

    params = (list(DESIGNS), ["sparsechol", "scipy"])
    param_names = ("design", "by")

    def setup(self, design, by):
        rng = np.random.default_rng(0)
        make, k = DESIGNS[design]
        self.A = make(rng)
        m = self.A.shape[0]
        self.w = rng.random(m) + 0.1
        self.W = sp.diags_array(self.w, format="csr")
        if k > 1:
            roots = rng.standard_normal((m // k, k, k))
            self.w = roots @ roots.swapaxes(1, 2)
            blocks = (self.w, np.arange(m // k), np.arange(m // k + 1))
            self.W = sp.csr_array(sp.bsr_array(blocks, shape=(m, m)))
        self.G = sc.gram(self.A, block=k, ordering="natural")
        self.a = self.G.entries(self.A)
        self.out = np.empty(self.G.pattern.indices.size)
        self.x = rng.standard_normal(self.out.size)

    def time_values(self, design, by):
        if by == "scipy":
            self.A.T @ (self.W @ self.A)
        else:
            self.G.values(self.a, self.w, out=self.out, threads=1)

    def time_adjoint(self, design, by):
        if by == "scipy":
            raise NotImplementedError
        self.G.adjoint(self.x, self.a, self.w, threads=1)


class Analysis:
    """The analysis, without an ordering."""

    params = tuple(DESIGNS)
    param_names = ("design",)

    def setup(self, design):
        self.make, self.block = DESIGNS[design]
        self.A = self.make(np.random.default_rng(0))

    def time_analysis(self, design):
        sc.gram(self.A, block=self.block, ordering="natural")
