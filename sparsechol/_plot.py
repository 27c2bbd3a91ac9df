"""The picture of `sparsechol demo --plot` and `sparsechol info --plot`."""

from itertools import pairwise
from os import PathLike

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ._symbolic import SymbolicFactor

# Cells of an image in each direction; a smaller matrix has one cell for each entry.
CELLS = 500

# Supernodes are outlined up to this order; beyond it the outlines would hide the colours.
OUTLINED = 200


def plot(symbolic: SymbolicFactor, path: str | PathLike) -> None:
    """Draw the patterns of A and L and the supernodes, and write the figure to a file.

    Parameters
    ----------
    symbolic : SymbolicFactor
    path : str or path
        Its suffix names the format: ``.png``, ``.pdf``, ``.svg``.

    Raises
    ------
    ValueError
        If matplotlib does not know the format.
    OSError
        If the file cannot be written.
    """
    figure = Figure(figsize=(16, 5.4), layout="constrained")
    axes = figure.subplots(1, 3)
    draw_matrix(axes[0], symbolic)
    draw_factor(axes[1], symbolic)
    draw_supernodes(axes[2], symbolic)
    with matplotlib.rc_context({"svg.hashsalt": "sparsechol"}):
        figure.savefig(path, dpi=150)


def draw_matrix(ax: Axes, symbolic: SymbolicFactor) -> None:
    """Pattern of A, both triangles."""
    n = symbolic.shape[0]
    counts = cell_counts(symbolic.indptr, symbolic.indices, n)
    counts += np.tril(counts, -1).T + np.triu(counts, 1).T
    entries = 2 * symbolic.indices.shape[0] - n
    show_counts(ax, counts, n, f"A: {n:,} rows, {entries:,} entries")


def draw_factor(ax: Axes, symbolic: SymbolicFactor) -> None:
    """Pattern of L in the order of `perm`."""
    n = symbolic.shape[0]
    counts = cell_counts(*symbolic._pattern_of_factor(), n)
    fill = symbolic.nnz / symbolic.indices.shape[0]
    method = symbolic.ordering.method
    show_counts(ax, counts, n, f"L ({method}): {symbolic.nnz:,} entries, {fill:.2f} × tril(A)")


def draw_supernodes(ax: Axes, symbolic: SymbolicFactor) -> None:
    """Supernodes of L, each with the colour of its number of columns."""
    n = symbolic.shape[0]
    widths = supernode_widths(symbolic)
    image = show_image(ax, widths, n, "viridis_r")
    label = "columns of the supernode" + (" (widest in each cell)" if n > CELLS else "")
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
    if n <= OUTLINED:
        outline_supernodes(ax, symbolic)
    ax.set_title(f"{symbolic._first.shape[0] - 1:,} supernodes, in the order they are visited")


def show_counts(ax: Axes, counts: np.ndarray, n: int, title: str) -> None:
    """An image of entries a cell, with a colour bar if they differ."""
    image = show_image(ax, counts, n, "Blues")
    if n > CELLS:
        ax.figure.colorbar(image, ax=ax, label="entries in each cell", shrink=0.8)
    ax.set_title(title)


def show_image(ax: Axes, cells: np.ndarray, n: int, colours: str):
    """Positive cells of an image of a matrix of order n, on a logarithmic scale of colours."""
    # The scale starts below the smallest value: light colours would be lost on white.
    scale = LogNorm(vmin=0.3 if colours == "Blues" else 1, vmax=max(2, cells.max()))
    extent = (-0.5, n - 0.5, n - 0.5, -0.5)
    masked = np.ma.masked_equal(cells, 0)
    ax.tick_params(labelsize="small")
    return ax.imshow(masked, colours, norm=scale, extent=extent, interpolation="nearest")


def cell_of(index: np.ndarray, n: int) -> np.ndarray:
    """Cell of the image in which rows (or columns) of a matrix of order n lie."""
    return index.astype(np.int64) * min(n, CELLS) // n


def cell_counts(indptr: np.ndarray, indices: np.ndarray, n: int) -> np.ndarray:
    """Entries of a CSC pattern in each cell of the image."""
    size = min(n, CELLS)
    column = np.repeat(cell_of(np.arange(n), n), np.diff(indptr))
    flat = cell_of(indices, n) * size + column
    return np.bincount(flat, minlength=size * size).reshape(size, size)


def supernode_widths(symbolic: SymbolicFactor) -> np.ndarray:
    """Columns of the widest supernode in each cell of the image; 0 where there is none."""
    n, first = symbolic.shape[0], symbolic._first
    arrays = symbolic._structure.arrays
    width = np.diff(first)
    members = np.concatenate([np.arange(n), arrays["rows"]])
    number = np.arange(width.shape[0])
    owner = np.concatenate(
        [np.repeat(number, width), np.repeat(number, np.diff(arrays["row_start"]))]
    )
    size = min(n, CELLS)
    owner, row = np.divmod(np.unique(owner * size + cell_of(members, n)), size)
    left, right = cell_of(first[:-1], n), cell_of(first[1:] - 1, n)
    span = (right - left + 1)[owner]
    # Each row of cells of a supernode, once for every column of cells.
    owner, row = np.repeat(owner, span), np.repeat(row, span)
    step = np.arange(owner.shape[0]) - np.repeat(np.cumsum(span) - span, span)
    cells = np.zeros((size, size), dtype=np.int64)
    np.maximum.at(cells, (row, left[owner] + step), width[owner])
    upper = np.triu_indices(size, 1)
    cells[upper] = 0
    return cells


def outline_supernodes(ax: Axes, symbolic: SymbolicFactor) -> None:
    """Rectangles around the diagonal block and each run of rows below of every supernode."""
    first = symbolic._first
    arrays = symbolic._structure.arrays
    for s, (begin, end) in enumerate(pairwise(first)):
        rows = arrays["rows"][arrays["row_start"][s] : arrays["row_start"][s + 1]]
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        for run in [np.arange(begin, end), *runs]:
            if run.size:
                corner = (begin - 0.5, run[0] - 0.5)
                ax.add_patch(
                    Rectangle(corner, end - begin, run.size, fill=False, lw=0.6, ec="black")
                )
