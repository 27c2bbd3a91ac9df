"""Coloring of sparsity patterns: time, numbers of colors, decompression; other libraries beside.

Patterns are those of grids, of bands and borders, and of the test matrices. The others color
columns by a greedy algorithm in one order, or symmetric matrices as stars; none has two directions
or substitution.
"""

import importlib.util
from functools import cache, partial

import numpy as np
import scipy.sparse as sp

from . import problems
from .common import matrix
from .derivatives import ratio

KINDS = {
    "column": ("column", "direct"),
    "star": ("symmetric", "direct"),
    "acyclic": ("symmetric", "substitution"),
    "bidirectional": ("bidirectional", "direct"),
}
ORDERS = ["natural", "auto"]
BUDGET = 0.25  # seconds for 'auto' in the asv suite; the report leaves the default
LARGEST_PRODUCT = 100_000_000  # elements of what is decompressed


# ---- patterns ----


def brusselator(N):
    """Two species in turn, each with neighbors on a periodic grid, and with the other one."""
    ring = sp.diags_array([1.0] * 4, offsets=[1 - N, -1, 1, N - 1], shape=(N, N))
    one = sp.eye_array(N)
    grid = sp.kron(ring, one) + sp.kron(one, ring)
    return sp.kron(grid, sp.eye_array(2)) + sp.kron(sp.eye_array(N * N), np.ones((2, 2)))


def nine_point(N):
    line = band(N, 1)
    return sp.kron(line, line)


def band(n, half):
    """So many diagonals on each side."""
    offsets = list(range(-half, half + 1))
    return sp.diags_array([1.0] * len(offsets), offsets=offsets, shape=(n, n))


def border(n, half, dense):
    """A band whose last rows and columns are dense."""
    rows = sp.csr_array(np.ones((dense, n)))
    rows.resize(n, n)
    rows = sp.csr_array(rows[::-1])
    return band(n, half) + rows + rows.T


def random(m, n, per_row, seed=0):
    """So many entries in each row, or fewer where they meet."""
    columns = np.random.default_rng(seed).integers(n, size=m * per_row)
    return sp.csc_array((np.ones(m * per_row), (np.repeat(np.arange(m), per_row), columns)), (m, n))


def random_symmetric(n, per_row, seed=0):
    A = random(n, n, per_row, seed)
    return A + A.T + sp.eye_array(n)


def cross(m, n, dense):
    """Dense first rows and first columns, and nothing else."""
    A = np.zeros((m, n))
    A[:dense] = A[:, :dense] = 1
    return A


def arrow(n):
    """A dense first row, a dense first column, and the diagonal."""
    return cross(n, n, 1) + np.eye(n)


PATTERNS = {
    "bratu_100": partial(problems.model, "grid_laplacian", (100, 100)),
    "bratu_450": partial(problems.model, "grid_laplacian", (450, 450)),  # a million entries
    "brusselator_70": partial(brusselator, 70),
    "seven_point_22": partial(problems.model, "grid_laplacian", (22, 22, 22)),
    "nine_point_100": partial(nine_point, 100),
    "random_200000": partial(random, 200_000, 200_000, 5),
    "border_100000": partial(border, 100_000, 5, 5),
    "band_10": partial(band, 10_000, 5),  # by the number of bands beside the diagonal
    "band_20": partial(band, 10_000, 10),
}

# Small ones, of the report alone.
SMALL = {
    "cross_10x20": partial(cross, 10, 20, 2),
    "arrow_200": partial(arrow, 200),
    "border_4000": partial(border, 4000, 5, 5),
}
RANDOM = {
    f"random_{m}x{n}_{k}": partial(random, m, n, k)
    for m, n in ((2000, 2000), (500, 2000), (2000, 500))
    for k in (2, 5, 20)
} | {f"symmetric_2000_{k}": partial(random_symmetric, 2000, k) for k in (1, 2, 5, 20)}

ALL = PATTERNS | SMALL | RANDOM
# Of the small test matrices the one that is no grid: CI runs every benchmark on those named here.
NAMES = [*PATTERNS, "crossed_2000x400", *problems.LARGE, *problems.REAL]


@cache
def load(name, folder=None):
    """A pattern by name: csc_array of float64, without explicit zeros."""
    if name not in ALL:
        return matrix(name) if folder is None else problems.load(name, folder)
    A = sp.csc_array(ALL[name](), dtype=np.float64)
    A.sum_duplicates()
    A.eliminate_zeros()
    return A


def is_symmetric(A):
    return A.shape[0] == A.shape[1] and (A.astype(bool) != A.T.astype(bool)).nnz == 0


def coloring(A, kind, order="auto", **options):
    from sparsechol.coloring import color

    structure, method = KINDS[kind]
    return color(A, structure, method=method, order=order, **options)


def fitting(name, kind):
    """A pattern; tells asv to skip the benchmark where it is none of this kind."""
    A = load(name)
    if kind in ("star", "acyclic") and not is_symmetric(A):
        raise NotImplementedError(f"{name} is not symmetric")
    return A


# ---- other libraries: functions that color, and give the number of colors ----


def asdex(A, star):
    """By largest degree first; of stars without the colors that nothing needs."""
    import asdex

    i, j = A.nonzero()
    pattern = asdex.SparsityPattern.from_coo(i, j, A.shape)
    run = asdex.color_symmetric if star else asdex.color_cols
    return lambda: int(run(pattern)[1])


def casadi(A, star, stars="star_coloring", largest_first=True):
    """Columns in their order; stars by one of two algorithms."""
    from casadi import Sparsity

    pattern = Sparsity(*A.shape, A.indptr.tolist(), A.indices.tolist())
    if star:
        return lambda: getattr(pattern, stars)(int(largest_first)).size2()
    return lambda: pattern.uni_coloring().size2()


def sparsejac(A, star):
    """By networkx, on the graph of columns that share rows: what its `jacfwd` does at first."""
    from sparsejac.sparsejac import _greedy_color, _input_connectivity_from_sparsity

    return lambda: _greedy_color(_input_connectivity_from_sparsity(A), "largest_first")[1]


PEERS = {
    "column": {"asdex": asdex, "casadi": casadi, "sparsejac": sparsejac},
    "star": {
        "asdex": asdex,
        "casadi": casadi,
        "casadi 2": partial(casadi, stars="star_coloring2"),
        "casadi 2 natural": partial(casadi, stars="star_coloring2", largest_first=False),
    },
}
# Pairs of entries in the same row that they get through in seconds.
MOST_PAIRS = {"asdex": 300_000_000, "casadi": 300_000_000, "sparsejac": 1_000_000}
LINEAR = ("casadi 2 natural",)


def peer(A, kind, name):
    """A function that colors and gives the number; tells asv to skip what takes too long."""
    library = name.split()[0]
    if importlib.util.find_spec(library) is None:
        raise NotImplementedError(f"{library} is not installed")
    if name not in LINEAR and pairs(A) > MOST_PAIRS[library]:
        raise NotImplementedError(f"{library} takes minutes")
    return PEERS[kind][name](A, kind == "star")


def pairs(A):
    """Of entries in the same row."""
    counts = np.bincount(A.indices, minlength=A.shape[0])
    return int(counts @ counts)


# ---- decompression ----


def with_values(A, kind):
    """Random values on a pattern, symmetric where they have to be."""
    J = A.copy()
    J.data = np.random.default_rng(0).standard_normal(J.nnz)
    if kind in ("star", "acyclic"):
        J = sp.csc_array(sp.tril(J) + sp.tril(J, -1).T)
    return J


def products(C, J):
    """With the directions of a coloring."""
    seed = C.seed()
    if C.structure == "bidirectional":
        return J @ seed[0], seed[1].T @ J
    return J @ seed


def decompression(A, kind):
    """One matrix out of its products, and one product with a vector."""
    C = coloring(A, kind, "natural")
    if C.num_colors * max(A.shape) > LARGEST_PRODUCT:
        raise NotImplementedError("the products need too much memory")
    J = with_values(A, kind)
    B, v = products(C, J), np.ones(A.shape[1])
    C.decompress(B)  # the first one finds the places
    return lambda: C.decompress(B), lambda: J @ v


# ---- benchmarks ----


class Color:
    params = (NAMES, list(KINDS), ORDERS)
    param_names = ("pattern", "kind", "order")
    timeout = 300

    def setup(self, pattern, kind, order):
        self.A = fitting(pattern, kind)

    def time_color(self, pattern, kind, order):
        return coloring(self.A, kind, order, budget=BUDGET)

    def track_colors(self, pattern, kind, order):
        return self.time_color(pattern, kind, order).num_colors

    track_colors.unit = "colors"


class Others:
    """The same by other libraries."""

    params = (NAMES, [f"{kind}, {name}" for kind, names in PEERS.items() for name in names])
    param_names = ("pattern", "library")
    timeout = 300

    def setup(self, pattern, library):
        kind, name = library.split(", ")
        self.run = peer(fitting(pattern, kind), kind, name)
        self.run()  # compiles

    def time_color(self, pattern, library):
        return self.run()

    def track_colors(self, pattern, library):
        return self.run()

    track_colors.unit = "colors"


class Decompress:
    params = (NAMES, list(KINDS))
    param_names = ("pattern", "kind")
    timeout = 300

    def setup(self, pattern, kind):
        self.run, self.product = decompression(fitting(pattern, kind), kind)

    def time_decompress(self, pattern, kind):
        self.run()

    def track_ratio_to_product(self, pattern, kind):
        return ratio(self.run, self.product)

    track_ratio_to_product.unit = "products with a vector"
