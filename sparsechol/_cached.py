"""Properties that are computed once.

`functools.cached_property` does as here from Python 3.12 on. In 3.11 it holds one lock for all
instances while it computes: threads wait for each other, and a process that is forked meanwhile
waits forever.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:
        """Compute a property at its first use, and keep it in the dictionary of the instance."""

        def __init__(self, function: Callable[[Any], Any]):
            self.function = function
            self.__doc__ = function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            # Two threads may both compute it: what the first one kept is what both return.
            return instance.__dict__.setdefault(self.name, self.function(instance))


__all__ = ["cached_property"]
