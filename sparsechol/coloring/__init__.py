"""Coloring of sparsity patterns: few products determine a sparse Jacobian or Hessian.

`color` finds a `Coloring`, which has the directions of the products and decompresses them.
"""

from ._result import Coloring
from ._search import color
from ._templates import Templates

__all__ = ["Coloring", "Templates", "color"]
