"""Colouring of sparsity patterns: few products determine a sparse Jacobian or Hessian."""

from ._color import color
from ._coloring import Coloring

__all__ = ["Coloring", "color"]
