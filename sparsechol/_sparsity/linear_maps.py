"""Choose the linear maps of the unknowns through which a Hessian is computed.

Where f(x) = r(x) + sum_i g_i((A x)_i), the Hessian is that of r and A^T W A with W diagonal, or
with blocks if the g_i have several rows of A. The product needs no colors. Maps are arrays that
depend on x linearly, one after the other; the rows of A are their elements.
"""

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import connected_components

FEW = 8  # colors that are not worth another way
LARGEST = 4  # rows that may have second derivatives with one another
SHORT = 64  # entries of a row that are never too many
MOST = 32  # elements of sums whose rows are long that are split off
PER_COLUMN = 20  # entries of the Hessian, for each of its columns, that one row may bring


def row_lengths(A: csc_array) -> np.ndarray:
    """Return the number of entries of each row."""
    return np.bincount(A.indices, minlength=A.shape[0])


def long_rows(A: csc_array) -> np.ndarray:
    """Tell which rows would alone make the Hessian nearly dense."""
    lengths = row_lengths(A)
    return (lengths > SHORT) & (lengths * (lengths + 1) // 2 > PER_COLUMN * A.shape[1])


def anchors(A: csc_array) -> np.ndarray:
    """Choose an unknown of each row, no unknown twice.

    Where sums s are split off, a soft constraint on a sum may be what makes a Hessian definite: the
    sparse part is then singular, the unknowns of the sum can move together. It is definite with
    something added to the diagonal at one unknown of each sum, which a correction of low rank takes
    away.
    """
    rows, found = csr_array(A), []
    for k, (begin, end) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        free = np.setdiff1d(rows.indices[begin:end], found)
        found += free[[(k + 1) * free.size // (A.shape[0] + 1)]].tolist() if free.size else []
    return np.array(found, np.int64)


def of_maps(rows: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Split what is known of each row into what is known of each map."""
    return np.split(rows, np.cumsum(sizes)[:-1])


def short(A: csc_array, sizes: list[int]) -> list[bool]:
    """Tell which maps have no row that is too long."""
    return [not part.any() for part in of_maps(long_rows(A), sizes)]


def separable(H: csc_array, n: int, sizes: list[int]) -> list[bool]:
    """Tell which maps have second derivatives with few rows of all maps, and none with x.

    Parameters
    ----------
    H : (n + sum(sizes), n + sum(sizes)) csc_array
        Pattern of the Hessian in x and in the maps, as if these were unknowns of their own.
    """
    _, label = connected_components(H[n:, n:], directed=False)
    coupled = row_lengths(csc_array(H[:, :n]))[n:] > 0
    coupled |= np.bincount(label)[label] > LARGEST
    return [not part.any() for part in of_maps(coupled, sizes)]


def worth_taking(A: csc_array, G: csc_array, sizes: list[int]) -> list[bool]:
    """Tell which maps have rows with several entries, or second derivatives with other rows."""
    _, label = connected_components(G, directed=False)
    useful = (row_lengths(A) > 1) | (np.bincount(label)[label] > 1)
    return [bool(part.any()) for part in of_maps(useful, sizes)]


def blocks_of(G: csc_array) -> np.ndarray:
    """List the rows of each diagonal block of a permuted matrix.

    Returns
    -------
    (number of blocks, rows of the largest) ndarray
        Filled up with -1.
    """
    count, label = connected_components(G, directed=False)
    order = np.argsort(label, kind="stable")
    lengths = np.bincount(label, minlength=count)
    position = np.arange(order.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    table = np.full((count, lengths.max(initial=1)), -1)
    table[label[order], position] = order
    return table


def places_of_blocks(G: csc_array, blocks: np.ndarray) -> np.ndarray:
    """Find the entries of diagonal blocks, see `blocks_of`, by column; -1 where there is none.

    Returns
    -------
    (number of blocks,) ndarray, or (number of blocks, k, k) for blocks of k rows
    """
    count, k = blocks.shape
    place = np.full((count, k, k), -1)
    owner, position = (np.zeros(G.shape[0], np.int64) for _ in range(2))
    b, i = np.nonzero(blocks >= 0)
    owner[blocks[b, i]], position[blocks[b, i]] = b, i
    column = np.repeat(np.arange(G.shape[1]), np.diff(G.indptr))
    place[owner[column], position[G.indices], position[column]] = np.arange(G.nnz)
    return place[:, 0, 0] if k == 1 else place


def rows_of(A: csc_array, rows: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """Take rows of a pattern; negative ones are empty.

    Returns
    -------
    pattern : csr_array
    place : ndarray
        Where each of its entries is in A, by column.
    """
    number = csc_array((np.arange(A.nnz), A.indices, A.indptr), shape=A.shape).tocsr()
    taken = number[rows[rows >= 0]]
    lengths = np.where(rows < 0, 0, np.diff(number.indptr)[rows])
    starts = np.append(0, np.cumsum(lengths))
    ones = np.ones(taken.nnz, np.int8)
    shape = (rows.size, A.shape[1])
    return csr_array((ones, taken.indices, starts), shape=shape), taken.data


def choose(values: list, chosen: list[bool]) -> list:
    """Return the values that are chosen."""
    return [x for x, flag in zip(values, chosen, strict=True) if flag]


def both_triangles(indptr: np.ndarray, indices: np.ndarray) -> tuple[csc_array, np.ndarray]:
    """Return the pattern of a symmetric matrix, and where its entries are in the lower triangle.

    Parameters
    ----------
    indptr, indices : ndarray
        The lower triangle by column, with the whole diagonal.

    Returns
    -------
    pattern : (n, n) csc_array of int8
    place : (pattern.nnz,) ndarray
        The number of the packed value of each entry.
    """
    n = indptr.shape[0] - 1
    number = np.arange(1, indices.shape[0] + 1)
    lower = csc_array((number, indices, indptr), shape=(n, n))
    strict = number.copy()
    strict[indptr[:-1]] = 0
    upper = csr_array((strict, indices, indptr), shape=(n, n)).tocsc()
    whole = csc_array(lower + upper)
    whole.eliminate_zeros()
    whole.sort_indices()
    pattern = csc_array((np.ones(whole.nnz, np.int8), whole.indices, whole.indptr), whole.shape)
    return pattern, whole.data - 1
