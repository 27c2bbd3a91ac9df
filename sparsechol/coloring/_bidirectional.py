"""Bidirectional colorings: colors of columns and of rows that together determine every entry.

References
----------
Coleman, T. F., Verma, A. (1998). The efficient computation of sparse Jacobian matrices using
    automatic differentiation. SIAM J. Sci. Comput. 19(4), 1210-1233.
Montoison, A., Dalle, G., Gebremedhin, A. (2025). Revisiting sparse matrix coloring and
    bicoloring. arXiv:2505.07308.
"""

import numpy as np

from ._acyclic import elimination
from ._decompression import edges_of, is_alone, recoverable, two_sided
from ._graphs import Columns
from ._pattern import coordinates, count

GOOD_ORDERS = ("natural", "largest_first")
MOST_TRIALS = 64  # trials to leave out a color where entries are substituted
MOST_WORK = 3_000_000  # entries that all trials look at


def by_density(A, max_colors):
    """Yield colorings that find dense rows by rows, and the other entries by columns.

    There is one coloring for each of some limits between dense and sparse rows; then columns and
    rows change places. None is yielded where more than ``max_colors()`` colors are needed.
    """
    for transposed in (False, True):
        M = A.T.tocsc() if transposed else A
        counts = np.diff(M.tocsr().indptr)
        for limit in limits(counts):
            dense = counts > limit
            colors = colors_of_columns(M.tocsr()[~dense].tocsc(), max_colors())
            of_dense = colors_of_columns(M.tocsr()[dense].T.tocsc(), max_colors())
            if colors is None or of_dense is None:
                yield None
                continue
            others = np.full(len(dense), -1, np.int32)
            others[dense] = of_dense
            both = (others, colors) if transposed else (colors, others)
            yield without_unneeded(A, *both, "direct")


def limits(counts, most=6):
    """Return numbers of entries that part sparse from dense rows.

    The limits are where the numbers of entries leap most; with the last one no row is dense.
    """
    steps = np.unique(counts)
    leaps = steps[1:] / np.maximum(steps[:-1], 1)
    return [*steps[np.argsort(-leaps, kind="stable")[:most]].tolist(), counts.max(initial=0)]


def colors_of_columns(M, max_colors):
    """Color the columns that have entries, -1 for the others; return None if that fails."""
    chosen = np.flatnonzero(np.diff(M.indptr))
    colors = np.full(M.shape[1], -1, np.int32)
    graph = Columns(M[:, chosen])
    if graph.lower_bound > max_colors:
        return None
    found = [graph.greedy(graph.order(name, None), max_colors) for name in GOOD_ORDERS]
    found = [x for x in (*found, graph.lattice(max_colors)) if x is not None]
    if found:
        colors[chosen] = min(found, key=count)
    return colors if found else None


def without_unneeded(A, columns, rows, method):
    """Leave out the colors that find no entry, and renumber the others from zero."""
    drop = drop_direct if method == "direct" else drop_substituted
    return tuple(renumbered(colors) for colors in drop(A, columns, rows))


def renumbered(colors):
    """Return colors numbered without gaps; -1 stays."""
    out = np.full(colors.shape, -1, np.int32)
    has = colors >= 0
    out[has] = np.unique(colors[has], return_inverse=True)[1]
    return out


def drop_direct(A, columns, rows):
    """Leave out colors whose entries all are found from the other side, small classes first."""
    i, j = coordinates(A)
    kc, kr = count(columns), count(rows)
    # The colors of rows are numbered behind those of columns; the last number is for no color.
    of_column = np.where(columns[j] >= 0, columns[j], kc + kr)
    of_row = np.where(rows[i] >= 0, kc + rows[i], kc + kr)
    dropped = unneeded(of_column, of_row, *recoverable(A, columns, rows), kc + kr)
    return (
        np.where(dropped[columns], -1, columns),  # dropped[-1] is the last
        np.where(dropped[np.where(rows >= 0, kc + rows, -1)], -1, rows),
    )


def drop_symmetric(A, colors):
    """Leave out colors of a star coloring whose entries are found as their mirror images."""
    i, j = coordinates(A)
    k = count(colors)
    alone = is_alone(i * k + colors[j], A.shape[0] * k)
    mirrored = np.empty_like(alone)
    mirrored[np.lexsort((j, i))] = alone
    dropped = unneeded(colors[j], colors[i], alone, mirrored & (i != j), k)
    return renumbered(np.where(dropped[colors], -1, colors))


def unneeded(one, other, by_one, by_other, total):
    """Return which of some colors can be left out, small classes first.

    Parameters
    ----------
    one, other : (nnz,) ndarrays of int
        The two colors of each entry; `total` where there is none.
    by_one, by_other : (nnz,) ndarrays of bool
        Whether the entry is found from each of them.
    total : int
        Number of colors.

    Returns
    -------
    (total + 1,) ndarray of bool
    """
    needed = np.zeros(total + 1, bool)
    needed[one[~by_other]] = True
    needed[other[~by_one]] = True
    mine = np.concatenate([one, other])
    sizes = np.bincount(mine, minlength=total + 1)
    dropped = np.zeros(total + 1, bool)
    # The other color of each entry, sorted by this one.
    others = np.concatenate([other, one])[np.argsort(mine, kind="stable")]
    ends = np.cumsum(sizes)
    for k in np.argsort(sizes[:total], kind="stable"):
        if not needed[k]:
            dropped[k] = True
            needed[others[ends[k] - sizes[k] : ends[k]]] = True
    dropped[-1] = True
    return dropped


def drop_substituted(A, columns, rows):
    """Leave out colors while substitution still finds all entries, small classes first."""
    starts, members, twin = edges_of(two_sided(A))
    colors = [columns, rows]
    sizes = [np.bincount(of[of >= 0]) for of in colors]
    classes = [(size, side, k) for side in (0, 1) for k, size in enumerate(sizes[side])]
    for _, side, k in sorted(classes)[: min(MOST_TRIALS, MOST_WORK // max(A.nnz, 1))]:
        trial = list(colors)
        trial[side] = np.where(colors[side] == k, -1, colors[side])
        found = elimination(starts, members, twin, np.concatenate(trial).astype(np.int32))
        if len(found[0]) == A.nnz:
            colors = trial
    return colors
