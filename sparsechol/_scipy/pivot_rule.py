"""PivotRule: which pivots a signed factorization takes."""

from numbers import Real
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from .._typing import Regularize
from .input import numbers


class PivotRule(NamedTuple):
    """Say which pivots are taken.

    Attributes
    ----------
    signs : (n,) int8 ndarray or None
        The sign of each pivot, 1 or -1, in the user's numbering; None: any.
    least, replacement : float
        A pivot that is not farther than `least` on its side of zero becomes `replacement` on that
        side; 0: it is refused.
    shift : float
        What is added to the diagonal with the sign of the pivot before the factorization.
    accept : bool
        Whether pivots that are rounding are accepted.
    """

    signs: np.ndarray | None
    least: float
    replacement: float
    shift: float
    accept: bool

    @property
    def regularizes(self) -> bool:
        """Whether the matrix that is factored may be another one."""
        return self.shift > 0 or self.replacement > 0


def pivot_rule(n: int, signs: ArrayLike | None, regularize: Regularize, accept: bool) -> PivotRule:
    """Read the options of `ldl`, or raise ValueError."""
    least = replacement = shift = 0.0
    if signs is not None:
        signs = _signs(n, signs)
    if regularize is not None:
        if signs is None:
            raise ValueError("regularize= needs signs=: the side of zero of each pivot")
        if isinstance(regularize, Real):
            shift = _positive(regularize, "regularize")
        else:
            try:
                least, replacement = cast("tuple[float, float]", regularize)
            except (TypeError, ValueError):
                raise ValueError(
                    f"regularize is delta or a pair (eps, delta), not {regularize!r}"
                ) from None
            replacement = _positive(replacement, "the delta of regularize")
            least = _positive(least, "the eps of regularize", zero=True)
    return PivotRule(signs, least, replacement, shift, accept)


def _signs(n: int, signs: ArrayLike) -> np.ndarray:
    """Return signs as int8."""
    signs = numbers(signs, "signs")
    if signs.shape != (n,):
        raise ValueError(f"signs has shape {signs.shape}, not ({n},): one for each row")
    wrong = ~np.isin(signs, (-1, 1))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"signs are 1 or -1: that of row {at} is {signs[at]}")
    return signs.astype(np.int8)


def _positive(value: Any, name: str, zero: bool = False) -> float:
    """Return a finite positive number."""
    if not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, not {value!r}")
    number = float(value)
    if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be a positive number, not {value!r}")
    return number
