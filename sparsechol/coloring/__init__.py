"""Colouring of sparsity patterns: few products determine a sparse Jacobian or Hessian.

`color` chooses the order; a `Coloring` holds the seeds and puts the products back in place.
"""

from ._color import color
from ._coloring import Coloring

__all__ = ["Coloring", "color"]
