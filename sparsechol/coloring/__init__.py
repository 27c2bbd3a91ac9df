"""Coloring of sparsity patterns: few products determine a sparse Jacobian or Hessian.

`color` finds a `Coloring`, which has the directions of the products and decompresses them.
"""

from ._result import Coloring
from ._search import color

__all__ = ["Coloring", "color"]
