"""The picture of `sparsechol demo --plot` and `sparsechol info --plot`."""

from os import PathLike

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon, Rectangle

from .._scipy.symbolic_factor import SymbolicFactor

# Cells of an image in each direction; a smaller matrix has one cell for each entry.
CELLS = 500

# Supernodes are outlined up to this many; of a larger tree an inset shows the last ones.
OUTLINED = 40

# From a blue that can be told from white.
BLUES = ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0.35, 1, 256)))

OUTLINE = {"fill": False, "linewidth": 0.4, "edgecolor": "black"}


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
    figure = Figure(figsize=(16, 6.2))
    figure.subplots_adjust(left=0.04, right=0.98, bottom=0.14, top=0.96, wspace=0.15)
    axes = figure.subplots(1, 3)
    draw_matrix(axes[0], symbolic)
    draw_factor(axes[1], symbolic)
    draw_supernodes(axes[2], symbolic)
    with matplotlib.rc_context({"svg.hashsalt": "sparsechol"}):
        figure.savefig(path, dpi=150)


def draw_matrix(ax: Axes, symbolic: SymbolicFactor) -> None:
    """Draw the pattern of A, both triangles."""
    n = symbolic.shape[0]
    lower = cell_counts(symbolic.indptr, symbolic.indices, n)
    counts = lower + lower.T - np.diag(np.bincount(cell_of(np.arange(n), n)))
    entries = 2 * symbolic.indices.shape[0] - n
    show_counts(ax, counts, n, f"A: {n:,} rows, {entries:,} entries")


def draw_factor(ax: Axes, symbolic: SymbolicFactor) -> None:
    """Draw the pattern of L in the order of `perm`."""
    n = symbolic.shape[0]
    counts = cell_counts(*symbolic.factor_pattern(), n)
    fill = symbolic.nnz / symbolic.indices.shape[0]
    method = symbolic.ordering.method
    show_counts(ax, counts, n, f"L ({method}): {symbolic.nnz:,} entries, {fill:.2f} × tril(A)")


def draw_supernodes(ax: Axes, symbolic: SymbolicFactor) -> None:
    """Draw the supernodes of L, each with the color of its number of columns."""
    n, first = symbolic.shape[0], symbolic._first
    count = first.shape[0] - 1
    scale = LogNorm(1, max(2, np.diff(first).max()))
    image = show_image(ax, supernode_widths(symbolic, 0), 0, n, "viridis_r", scale)
    label = "columns of the supernode" + (", the widest in each cell" if n > CELLS else "")
    color_bar(ax, image, label)
    ax.set_title(f"{count:,} supernodes, in the order they are visited")
    if count <= OUTLINED:
        outline_supernodes(ax, symbolic, 0)
        return
    start = int(first[-1 - OUTLINED])
    inset = ax.inset_axes((0.5, 0.5, 0.48, 0.48))
    inset.set_title(f"the last {OUTLINED}", fontsize="small", y=0.85, x=0.7)
    show_image(inset, supernode_widths(symbolic, start), start, n, "viridis_r", scale)
    inset.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    outline_supernodes(inset, symbolic, start)
    ax.indicate_inset_zoom(inset, edgecolor="black", alpha=0.4)


def show_counts(ax: Axes, counts: np.ndarray, n: int, title: str) -> None:
    """Show an image of entries a cell, with a color bar if a cell can hold several."""
    several = n > CELLS
    scale = LogNorm(1 if several else 0.5, max(2, counts.max()))
    image = show_image(ax, counts, 0, n, BLUES, scale)
    if several:
        color_bar(ax, image, "entries in each cell")
    ax.set_title(title)


def show_image(
    ax: Axes, cells: np.ndarray, start: int, stop: int, colors: str | Colormap, scale: LogNorm
) -> AxesImage:
    """Show the positive cells of an image of rows and columns from `start` to `stop`."""
    extent = (start - 0.5, stop - 0.5, stop - 0.5, start - 0.5)
    ax.tick_params(labelsize="small")
    masked = np.ma.masked_equal(cells, 0)
    return ax.imshow(masked, colors, norm=scale, extent=extent, interpolation="nearest")


def color_bar(ax: Axes, image: AxesImage, label: str) -> None:
    """Draw a color bar below a panel, outside of its room, so that the three stay in line."""
    place = ax.inset_axes((0.15, -0.09, 0.7, 0.02))
    ax.figure.colorbar(image, cax=place, label=label, orientation="horizontal")


def cell_of(index: np.ndarray, n: int) -> np.ndarray:
    """Return the cell of the image for each row (or column) of a matrix of order n."""
    return index.astype(np.int64) * min(n, CELLS) // n


def cell_counts(indptr: np.ndarray, indices: np.ndarray, n: int) -> np.ndarray:
    """Count the entries of a CSC pattern in each cell of the image."""
    size = min(n, CELLS)
    column = np.repeat(cell_of(np.arange(n), n), np.diff(indptr))
    flat = cell_of(indices, n) * size + column
    return np.bincount(flat, minlength=size * size).reshape(size, size)


def supernode_widths(symbolic: SymbolicFactor, start: int) -> np.ndarray:
    """Return the columns of the widest supernode in each cell of an image, or 0.

    The image shows the rows and columns from `start`, the first column of a supernode.
    """
    skipped = int(np.searchsorted(symbolic._first, start))
    first = symbolic._first[skipped:] - start
    arrays = symbolic._structure.arrays
    below = arrays["row_start"][skipped:]
    n = int(first[-1])
    width = np.diff(first)
    number = np.arange(width.shape[0])
    owner = np.concatenate([np.repeat(number, width), np.repeat(number, np.diff(below))])
    members = np.concatenate([np.arange(n), arrays["rows"][below[0] :] - start])
    size = min(n, CELLS)
    owner, row = np.divmod(np.unique(owner * size + cell_of(members, n)), size)
    # Each row of cells of a supernode, once for every column of cells.
    left, right = cell_of(first[:-1], n), cell_of(first[1:] - 1, n)
    span = (right - left + 1)[owner]
    step = np.arange(span.sum()) - np.repeat(np.cumsum(span) - span, span)
    owner, row = np.repeat(owner, span), np.repeat(row, span)
    cells = np.zeros((size, size), dtype=np.int64)
    np.maximum.at(cells, (row, left[owner] + step), width[owner])
    return np.tril(cells)


def outline_supernodes(ax: Axes, symbolic: SymbolicFactor, start: int) -> None:
    """Outline the diagonal block and each longer run of rows of the supernodes shown."""
    first = symbolic._first
    arrays = symbolic._structure.arrays
    visible = max(1, (symbolic.shape[0] - start) / 60)
    for s in range(int(np.searchsorted(first, start)), first.shape[0] - 1):
        begin, end = first[s], first[s + 1]
        rows = arrays["rows"][arrays["row_start"][s] : arrays["row_start"][s + 1]]
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        diagonal = [(begin, begin), (end, end), (begin, end)]
        ax.add_patch(Polygon(np.array(diagonal) - 0.5, **OUTLINE))
        for run in (run for run in runs if run.size >= visible):
            corner = (begin - 0.5, run[0] - 0.5)
            ax.add_patch(Rectangle(corner, end - begin, run.size, **OUTLINE))
