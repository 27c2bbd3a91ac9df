"""Signatures of `operations.pyx`."""

from typing import Any

LOWER: int
PERMUTE: int
ACCEPT_WEAK: int
UNSCALED: int
QUICK: int
SIGNED: int
NAMES: dict[str, Any]
CODES: dict[str, int]
CORE_RANK: dict[str, int]
