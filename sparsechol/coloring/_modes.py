"""How to evaluate a sparse Jacobian: products with columns, with rows, or with both.

A product with columns is a forward derivative, a product with rows a reverse derivative. Both
frameworks decide by the same costs.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import csc_array

from .._typing import Structure
from ._pattern import count
from ._result import Coloring
from ._search import color

MODES = ("auto", "forward", "reverse", "bidirectional", "templates")
STRUCTURES: dict[str, Structure] = {
    "forward": "column",
    "reverse": "row",
    "bidirectional": "bidirectional",
}
REVERSE = 1.5  # cost of a reverse product, in forward products
BUDGET = 0.5  # seconds for each search for a coloring
NODE = 4  # cost of a node of the graph in a program of products, in operations of templates
LEAST = 100  # nodes of scalar equations that are worth templates beside products


def cost(coloring: Coloring) -> float:
    """Estimate the cost of a Jacobian with this coloring, in forward products.

    Each direction that is used also runs the function once.
    """
    if coloring.structure == "column":
        return 1 + coloring.num_colors
    if coloring.structure == "row":
        return REVERSE * (1 + coloring.num_colors)
    columns, rows = map(count, coloring._both)
    return 1 + columns + REVERSE * (1 + rows)


def do_templates_pay(work: int, nodes: int, products: bool) -> bool:
    """Tell whether scalar equations are cheaper by templates than by products, to build and to run.

    A product runs through every node of the graph, forward or reverse, a template through one of
    each kind. Templates of one equation are the gradient of that equation. The number of colors
    counts little: few elements are computed for each node of a scalar equation.

    Parameters
    ----------
    work : int
        Operations of the templates and their derivatives; see `_sparsity.templates.work`.
    nodes : int
        Nodes of the graph that templates replace.
    products : bool
        Whether arrays that are no scalar equations need products in any case.
    """
    return work <= NODE * nodes and (nodes >= LEAST or not products)


def least_cost_of_others(A: csc_array) -> float:
    """Return a lower bound of the cost of every coloring that is not of columns alone."""
    in_a_column = int(np.diff(A.indptr).max(initial=0))
    products = -(-A.nnz // max(*A.shape, 1))  # a product has m or n elements
    return min(REVERSE * (1 + in_a_column), 1 + REVERSE + max(products, 1 + REVERSE))


def colored_for(mode: str, A: csc_array) -> Coloring:
    """Color a pattern for a mode that is not 'auto'."""
    return color(A, STRUCTURES[mode], budget=BUDGET)


def cheapest_first(
    forward: csc_array, find_reverse: Callable[[], csc_array | None] | None = None
) -> Iterator[Coloring]:
    """Yield the colorings of a Jacobian for ``mode="auto"``, in the order of their costs.

    Parameters
    ----------
    forward : (m, n) csc_array
        The pattern that forward products have.
    find_reverse : callable, optional
        ``find_reverse()`` returns the pattern that reverse products have, or None if there are no
        reverse products. It is called only if reverse products may be cheaper, or if a second
        coloring is asked for. By default both patterns are the same.

    Yields
    ------
    Coloring
        Of structure 'column', 'row' or 'bidirectional', each once. A coloring is computed only if
        its cost is needed.
    """
    columns = colored_for("forward", forward)
    settled = cost(columns) <= least_cost_of_others(columns.sparsity)
    if settled:
        yield columns
    reverse = forward if find_reverse is None else find_reverse()
    others = []
    if reverse is not None:
        both = forward if find_reverse is None else forward + reverse
        others = [colored_for("reverse", reverse), colored_for("bidirectional", both)]
    yield from sorted(others if settled else [columns, *others], key=cost)
