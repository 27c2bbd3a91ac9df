"""The elimination tree of a pattern in its own order, and the patterns of A A^T and A^T A."""

from typing import get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, csr_array

from .._core.symbolic import etree
from .._core.symbolic.analysis import tree_in_order
from .._core.symbolic.patterns import lower_pattern
from .._typing import MatrixLike, Product
from .input import (
    Compressed,
    as_scipy,
    check_order,
    check_rhs_shape,
    compressed,
    sparse_or_dense,
    unmasked,
)
from .symmetry import check_triangle


def elimination_tree(A: MatrixLike, *, lower: bool = True) -> np.ndarray:
    """Compute the elimination tree of a symmetric pattern, rows in the order they have.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, or dense array
        Only the places of the entries of one triangle count.
    lower : bool, optional
        Whether the lower triangle is read (default) or the upper one.

    Returns
    -------
    parent : (n,) int32 ndarray
        The parent of column j is the row of the first entry below the diagonal in column j of L;
        -1 for a root.

    See Also
    --------
    SymbolicFactor.parent : The tree in a fill-reducing order.

    References
    ----------
    Liu, J. W. H. (1990). The role of elimination trees in sparse factorization. SIAM J. Matrix
    Anal. Appl. 11(1).

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> A = np.array([[4, 0, 0, 1], [0, 4, 1, 0], [0, 1, 4, 1], [1, 0, 1, 4]])
    >>> sc.elimination_tree(A)
    array([ 3,  2,  3, -1], dtype=int32)
    """
    return _tree(A, lower)[0]


def column_counts(A: MatrixLike, *, lower: bool = True) -> np.ndarray:
    """Count the entries in each column of L, rows in the order they have.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, or dense array
        Only the places of the entries of one triangle count.
    lower : bool, optional
        Whether the lower triangle is read (default) or the upper one.

    Returns
    -------
    counts : (n,) int64 ndarray
        The diagonal included, so that their sum is the number of entries of L, and the sum of
        their squares the number of flops.

    See Also
    --------
    SymbolicFactor.column_counts : The counts in a fill-reducing order.

    References
    ----------
    Gilbert, J. R., Ng, E. G., Peyton, B. W. (1994). An efficient algorithm to compute row and
    column counts for sparse Cholesky factorization. SIAM J. Matrix Anal. Appl. 15(4).

    Examples
    --------
    >>> import numpy as np, sparsechol as sc
    >>> A = np.array([[4, 0, 0, 1], [0, 4, 1, 0], [0, 1, 4, 1], [1, 0, 1, 4]])
    >>> sc.column_counts(A)
    array([2, 2, 2, 1])
    """
    return _tree(A, lower)[2]


def postorder(parent: ArrayLike) -> np.ndarray:
    """Order the nodes of a forest so that each comes right after its descendants.

    Parameters
    ----------
    parent : (n,) array_like of int
        The parent of each node, which has a larger number, or -1 for a root: an elimination tree.

    Returns
    -------
    post : (n,) int32 ndarray
        Node ``post[k]`` is at place k. Children, and roots, are in ascending order.

    Raises
    ------
    ValueError
        If a parent is not -1 and not a node with a larger number.

    Examples
    --------
    >>> import sparsechol as sc
    >>> sc.postorder([3, 2, 3, -1])
    array([0, 1, 2, 3], dtype=int32)
    >>> sc.postorder([2, 3, 3, -1])
    array([1, 0, 2, 3], dtype=int32)
    """
    parent = unmasked(parent, "parent")
    if parent.ndim != 1 or (parent.dtype.kind not in "iu" and parent.size):
        raise ValueError(
            f"parent must be a 1-D array of integers, not {parent.dtype} of shape {parent.shape}"
        )
    node = np.arange(parent.size)
    wrong = np.flatnonzero((parent != -1) & ((parent <= node) | (parent >= parent.size)))
    if wrong.size:
        j = wrong[0]
        raise ValueError(
            f"parent[{j}] = {parent[j]}: it must be -1, or a node with a number above {j} and below"
            f" {parent.size}"
        )
    return etree.postorder(parent.astype(np.int32))


def _tree(A: MatrixLike, lower: bool):
    """Return parents, postorder and column counts of a pattern in its own order."""
    arrays = compressed(A, check_shape=check_order)
    indptr, indices = triangle_of(arrays, lower)
    return tree_in_order(indptr, indices, np.arange(arrays.shape[0], dtype=np.int32))


def triangle_of(
    arrays: Compressed, lower: bool, values: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower pattern by column, with the whole diagonal, of a square matrix.

    Without `values` stored zeros are entries like any other, where triangles are compared.
    """
    check_order(arrays.shape)
    check_triangle(arrays, lower, values=values)
    return lower_pattern(arrays.starts, arrays.indices, (arrays.format == "csc") == lower)


def pattern_of_product(arrays: Compressed, product: Product) -> Compressed:
    """Return the pattern of A A^T or A^T A, whatever cancels in it."""
    if product not in get_args(Product):
        raise ValueError(f"product must be None, 'AAt' or 'AtA', not {product!r}")
    A = as_scipy(arrays)
    A = csr_array(A if product == "AAt" else A.T)
    places = csr_array((np.ones(A.indices.size, dtype=bool), A.indices, A.indptr), shape=A.shape)
    whole = csr_array(places @ places.T)
    ones = np.ones(whole.indices.size, dtype=np.float32)
    return Compressed("csr", whole.indptr, whole.indices, ones, whole.shape)


def with_products(
    indptr: np.ndarray, indices: np.ndarray, C: MatrixLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower pattern of ``A + C C^H`` from that of A, and C of one or more columns."""
    n = indptr.size - 1
    given = sparse_or_dense(C, "reserve")
    check_rhs_shape(given.shape, n, "reserve")
    if isinstance(given, np.ndarray) and given.ndim == 1:
        given = given[:, None]
    columns = compressed(given, name="reserve")
    product = triangle_of(pattern_of_product(columns, "AAt"), True)
    whole = lower_ones(indptr, indices) + lower_ones(*product)
    return whole.indptr.astype(np.int64), whole.indices.astype(np.int32)


def lower_ones(indptr: np.ndarray, indices: np.ndarray) -> csc_array:
    """Return a matrix of ones on a lower pattern by column."""
    n = indptr.size - 1
    return csc_array((np.ones(indices.size, np.float32), indices, indptr), shape=(n, n))
