"""The class Templates: how a matrix of derivatives is made without colors."""

from dataclasses import dataclass

from scipy.sparse import csc_array

from ._result import Coloring, places_in


@dataclass(frozen=True, eq=False)
class Templates:
    """What scalar equations were grouped into, in the place of a `Coloring`.

    Equations of one form are one template: an expression of vectors, whose derivatives are entries
    of the matrix.

    Attributes
    ----------
    sparsity : (m, n) csc_array of int8
        Ones where the matrix may have entries. Do not change it.
    equations : tuple of int
        Number of equations of each template, or of terms of sums.
    coloring : Coloring or None
        How arrays that are no scalar equations are differentiated.
    """

    sparsity: csc_array
    equations: tuple[int, ...]
    coloring: Coloring | None = None

    @property
    def num_colors(self) -> int:
        """Number of products, for what is not made by templates."""
        return 0 if self.coloring is None else self.coloring.num_colors

    @property
    def how(self) -> str:
        """How the matrix is computed, in words."""
        largest = sorted(self.equations, reverse=True)
        listed = ", ".join(map(str, largest[:8])) + (", ..." if len(largest) > 8 else "")
        words = f"{len(largest)} templates of {listed} equations" if largest else "no templates"
        if self.coloring is None:
            return words
        return f"{words}, and {self.coloring.how}"

    def _places_in(self, symbolic):
        """Return the entries of the lower triangle, and their positions in the packed values."""
        return places_in(self.sparsity, symbolic)

    def __repr__(self) -> str:
        m, n = self.sparsity.shape
        return f"<Templates of shape ({m}, {n}): {self.how}>"


@dataclass(frozen=True, eq=False, repr=False)
class LinearMaps(Templates):
    """How a Hessian is made where the unknowns enter by linear maps, in the place of a `Coloring`.

    Attributes
    ----------
    sparsity, coloring
        See `Templates`; the coloring is that of all other terms.
    equations : tuple of int
        Number of rows of each map.
    """

    @property
    def how(self) -> str:
        """How the matrix is computed, in words."""
        rows = ", ".join(map(str, self.equations))
        words = f"A^T W A with {rows} rows"
        return f"{words}, and {self.coloring.how}" if self.num_colors and self.coloring else words
