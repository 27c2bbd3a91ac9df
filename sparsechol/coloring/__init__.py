"""Coloring of sparsity patterns: few products determine a sparse Jacobian or Hessian.

`color` chooses the order; a `Coloring` holds the seeds and puts the products back in place.
"""

from ._result import Coloring
from ._search import color

__all__ = ["Coloring", "color"]
