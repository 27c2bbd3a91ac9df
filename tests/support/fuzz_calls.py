"""A fuzzer for many calls: one argument of one call is damaged, in an instant.

`support.scipy_fuzz` makes long cases and compares everything; this makes short ones. A base, which
is a number, has a small matrix and objects on it, and is used for many calls. Each call returns the
right result where its argument only wears other clothes, and raises an error that helps where it
is damaged for sure; its arguments stay as they are. As a script it runs bases and counts the
calls of each entry point:

    python tests/support/fuzz_calls.py 0 2000
"""

import argparse
import collections
import faulthandler
import re
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.fuzz_damage import EITHER, LENGTH, REFUSED, SAME, TOLD, change
from support.fuzz_entries import Base

CALLS = 500  # of a base
SECONDS = 10  # a call that takes longer hangs
REFUSALS = (ValueError, TypeError, IndexError, OverflowError)
# What NumPy, Cython and Python say of a fault that nobody has looked for.
UNHELPFUL = re.compile(
    r"^$|^Buffer |broadcast|cannot reshape|memoryview|inhomogeneous|object has no|ufunc|"
    r"not subscriptable|unhashable|expected .* got|out of bounds for axis|truth value|"
    r"unsupported operand|not supported between|convert|could not be|einsum|matmul|assert"
)


class Fault(AssertionError):
    """A call that did what it should not."""


def flat(result):
    """A result as one array."""
    if isinstance(result, tuple):
        return np.concatenate([flat(part) for part in result])
    return np.asarray(result.toarray() if sp.issparse(result) else result).ravel()


def parts(argument):
    """The arrays of an argument."""
    if sp.issparse(argument):
        return [x for x in (*argument.__dict__.values(),) if isinstance(x, np.ndarray)]
    return [argument] if isinstance(argument, np.ndarray) else []


def is_array(argument):
    return isinstance(argument, np.ndarray) or sp.issparse(argument)


def snapshot(arguments):
    return [x.tobytes() for argument in arguments for x in parts(argument)]


def judge(entry, name, arguments, place, verdict, rng, dtype):
    """Make a call and raise `Fault` unless it does what is right; return its refusal, if any."""
    writes = name.endswith("out")
    before = snapshot(arguments) if rng.random() < 0.3 and not writes else None
    try:
        result = entry.call(*arguments)
    except REFUSALS as refusal:
        if verdict == SAME:
            raise Fault("a right argument was refused") from refusal
        if is_array(entry.arguments[place]) and UNHELPFUL.search(str(refusal)):
            raise Fault(f"an error that does not help: {refusal!r}") from refusal
        return refusal
    finally:
        if before is not None and snapshot(arguments) != before:
            raise Fault("an argument was changed")
    if (verdict == LENGTH and place in entry.free) or (verdict == TOLD and entry.unread):
        return None
    if verdict == TOLD and not np.isfinite(flat(result)).all():
        return None
    if verdict in (REFUSED, LENGTH, TOLD):
        raise Fault(f"not refused: {result!r}")
    if verdict == SAME and entry.truth is not None:
        found, right = flat(result), flat(entry.truth)
        loose = 1e-3 if dtype.char in "fF" else 1e-7
        scale = 1 + np.abs(right).max(initial=0)
        if found.shape != right.shape or not np.abs(found - right).max(initial=0) <= loose * scale:
            raise Fault(f"wrong result: {found} for {right}")
    return None


def completed(name, entry):
    """An entry with a right result: that of dense NumPy, or of a call with the right arguments."""
    if entry.arguments[0] is EITHER:
        return entry
    result = entry.call(*entry.arguments)
    if entry.truth is None:
        return entry._replace(truth=() if result is None else result)
    return entry


def run_base(seed, calls=CALLS, counts=None, fault=None, messages=None):
    """Make many calls of one base; a fault is raised, or handed to `fault`."""
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        base = Base(rng)
        entries = [(name, completed(name, entry)) for name, entry in base.entries.items()]
        for k in range(calls):
            name, entry = entries[rng.integers(len(entries))]
            arguments = list(entry.arguments)
            verdict, place = EITHER, 0
            if arguments[0] is not EITHER:
                place = int(rng.integers(len(arguments)))
                arguments[place], verdict = change(rng, arguments[place])
            if name.endswith("out"):
                verdict = EITHER  # it is written, if it may be
            begin = time.perf_counter()
            try:
                refusal = judge(entry, name, arguments, place, verdict, rng, base.dtype)
                if time.perf_counter() - begin > SECONDS:
                    raise Fault("it takes long")
                if messages is not None and refusal is not None:
                    text = re.sub(r"-?\d[\d.e+]*", "#", str(refusal))
                    messages[name, type(refusal).__name__, text] += 1
            except Exception as error:
                error.add_note(f"base {seed}, call {k}: {name}, argument {place}: {verdict}")
                is_sparse = sp.issparse(arguments[place])
                error.add_note(repr(arguments[place].__dict__ if is_sparse else arguments[place]))
                if fault is None:
                    raise
                fault(name, error)
            if counts is not None:
                counts[name] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--messages", action="store_true", help="print what was said, at the end")
    options = parser.parse_args()
    counts, faults, messages = (collections.Counter() for _ in range(3))
    begin = due = time.monotonic()

    def fault(name, error):
        kind = name, type(error).__name__, re.sub(r"-?\d[\d.e+]*", "#", str(error))[:80]
        faults[kind] += 1
        if faults[kind] <= 2:
            print("".join(traceback.format_exception(error)), flush=True)

    for seed in range(options.first, options.last):
        # A call that never ends is told with its stack, and ends the process.
        faulthandler.dump_traceback_later(60, exit=True)
        run_base(seed, counts=counts, fault=fault, messages=messages)
        if time.monotonic() >= due:
            due += 60
            spent, done = time.monotonic() - begin, counts.total()
            print(f"{spent:.0f} s: base {seed}, {done} calls, {faults.total()} faults", flush=True)
    faulthandler.cancel_dump_traceback_later()
    for table in (faults, counts, messages if options.messages else {}):
        for name, count in sorted(table.items(), key=lambda item: str(item[0])):
            print(f"{count:8d} {name}")
    print(f"{counts.total()} calls, {faults.total()} faults")
    return faults.total() > 0


if __name__ == "__main__":
    sys.exit(main())
