"""Cases of the fuzzer of the SciPy face, and the public names that they are to call.

A case is a number, from which everything follows. As a script it runs many and tells of those that
fail:

    python tests/support/scipy_fuzz_cases.py 0 1000000
"""

import inspect
import sys
import time
import traceback
import types
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import sparsechol as sc
from support import scipy_fuzz, scipy_fuzz_changes, scipy_fuzz_structures
from support.scipy_fuzz import Fuzz

OPERATIONS = (
    scipy_fuzz.OPERATIONS + scipy_fuzz_changes.OPERATIONS + scipy_fuzz_structures.OPERATIONS
)


def run_case(seed: int) -> None:
    """Run one case; an AssertionError tells what is wrong."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        Fuzz(seed).run(OPERATIONS)


# ---- what is to be called ------------------------------------------------------------------------


def public_code() -> dict[str, types.CodeType]:
    """Return the code of each public function, method and property, by its name."""
    found = {}
    for module in (sc, sc.derivatives, sc.coloring, sc.models):
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, type) and not issubclass(thing, Exception | Warning):
                found |= {f"{name}.{member}": code for member, code in members(thing)}
            elif isinstance(thing, types.FunctionType):
                found[name] = inspect.unwrap(thing).__code__
    return found


def members(kind: type) -> Iterable[tuple[str, types.CodeType]]:
    """Yield public methods and properties that the package defines."""
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        member = getattr(member, "fget", None) or getattr(member, "func", None) or member
        member = getattr(member, "__func__", member)
        is_public = not name.startswith("_") and isinstance(member, types.FunctionType)
        if is_public and member.__module__.startswith("sparsechol"):
            yield name, member.__code__


def code_called(function, *arguments) -> set[types.CodeType]:
    """Return the code of all functions that run in a call."""
    seen = set()

    def note(frame, event, _):
        if event == "call":
            seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return seen


# ---- as a script ---------------------------------------------------------------------------------


def main(first: int, last: int) -> int:
    """Run cases; print how many a minute, and those that fail."""
    begin = due = time.monotonic()
    failed = 0
    for seed in range(first, last):
        try:
            run_case(seed)
        except Exception:
            failed += 1
            print(f"case {seed}:\n{traceback.format_exc()}", flush=True)
        if time.monotonic() >= due:
            due += 60
            done = seed + 1 - first
            print(f"{time.monotonic() - begin:.0f} s: {done} cases, {failed} failed", flush=True)
    print(f"{last - first} cases, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
