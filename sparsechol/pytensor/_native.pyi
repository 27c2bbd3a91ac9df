"""Signatures of `_native.pyx`."""

ARGUMENTS: int
SYMBOL: str

def use_threads(threads: int) -> None: ...
def address() -> int: ...
