"""A matrix as MUMPS sees it: real, with rows numbered from one.

MUMPS has no Hermitian factorization. A complex Hermitian matrix X + iY goes in as the real
symmetric one of twice the size in which each entry becomes

    [ x  -y ]
    [ y   x ]

which is positive definite exactly where X + iY is. Real and imaginary parts take turns, so that
complex vectors, and columns of the inverse, are views of the same memory.
"""

import numpy as np

from ._mumps import INT


class Real:
    """Hand a real matrix over as it is."""

    width = 1

    def entries(self, row, column):
        """Return MUMPS's rows and columns of a lower triangle."""
        return (row + 1).astype(INT), (column + 1).astype(INT)

    def values(self, row, column, packed):
        """Return the values of a lower triangle, in the order of `entries`."""
        return packed

    def places(self, perm):
        """Return the position of each row in the order of elimination."""
        places = np.empty(perm.size, dtype=INT)
        places[perm] = np.arange(1, perm.size + 1)
        return places

    def requests(self, starts, rows):
        """Return column starts and rows of entries of the inverse."""
        return (starts + 1).astype(INT), (rows + 1).astype(INT)


class Hermitian:
    """Hand a complex matrix over in twice the rows."""

    width = 2

    def entries(self, row, column):
        strict = row != column
        below, left = row[strict], column[strict]
        rows = np.concatenate([2 * row + 1, 2 * row + 2, 2 * below + 2, 2 * below + 1])
        columns = np.concatenate([2 * column + 1, 2 * column + 2, 2 * left + 1, 2 * left + 2])
        return rows.astype(INT), columns.astype(INT)

    def values(self, row, column, packed):
        y = packed.imag[row != column]
        return np.concatenate([packed.real, packed.real, y, -y])

    def places(self, perm):
        places = np.empty((perm.size, 2), dtype=INT)
        places[perm] = np.arange(1, 2 * perm.size + 1).reshape(-1, 2)
        return places.ravel()

    def requests(self, starts, rows):
        """Ask for the two parts of each entry, both in the first of two columns."""
        begins = np.repeat(2 * starts + 1, 2)[1:]  # nothing is asked of the second column
        return begins.astype(INT), (2 * rows[:, None] + [1, 2]).ravel().astype(INT)
