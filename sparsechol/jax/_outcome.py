"""What the results of a search say of how it ended."""

from typing import ClassVar

import jax
import numpy as np

from ._compat import is_concrete


class Outcome:
    """The words of a result that has a `status`."""

    status: jax.Array
    _messages: ClassVar[dict[int, str]]

    @property
    def converged(self) -> jax.Array:
        """True where a minimum was found."""
        return self.status > 0

    @property
    def message(self) -> str:
        """Why the iteration ended, in words; of one problem, outside of transformations."""
        return self._messages[self._known_status()]

    def _known_status(self) -> int:
        if not is_concrete(self.status) or np.ndim(self.status):
            raise ValueError(
                "message is the words for one known status: under a transformation or for several"
                " problems use the numbers in status"
            )
        return int(self.status)
