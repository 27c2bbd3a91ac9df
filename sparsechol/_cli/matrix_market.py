"""Read a symmetric matrix from a Matrix Market file, strictly.

SciPy's reader takes 3.0 from 3.0D+1 and zeros for what a cut off file lacks, and a NUL byte kills
the process. Here every line must say what the header promises. What the header promises is checked
before anything of its size is read.

References
----------
Boisvert, R. F., Pozo, R. and Remington, K. A. (1996). The Matrix Market exchange formats: initial
design. NISTIR 5935.
"""

import bz2
import gzip
import io
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TextIO

import numpy as np
from scipy.sparse import coo_array, csc_array

# Longest line that is read of what may be no text at all.
LONGEST = 2**20

# Lines without an entry that a small file may have.
COMMENTS = 1_000_000

# Numbers that stand for a value.
WIDTH = {"real": 1, "double": 1, "integer": 1, "unsigned-integer": 1, "complex": 2}

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}


class FileError(Exception):
    """Say in one line what is wrong with a file."""


class Header(NamedTuple):
    """Hold what the first lines of a file say; `entries` is the number of lines after them."""

    dense: bool
    complex: bool
    symmetry: str
    n: int
    entries: int


def read_matrix_market(path: str) -> tuple[csc_array, str]:
    """Read a matrix that may be symmetric positive definite.

    Parameters
    ----------
    path : str
        The file; it is compressed if it ends in ``.gz`` or ``.bz2``.

    Returns
    -------
    A : csc_array
        Both triangles, float64 or complex128.
    symmetry : str
        ``'general'``, ``'symmetric'`` or ``'hermitian'``, as the header says.

    Raises
    ------
    FileError
        If the file cannot be read, or no matrix in it can be positive definite.
    """
    opener = OPENERS.get(os.path.splitext(path)[1], open)
    try:
        with opener(path, "rb") as raw, io.TextIOWrapper(raw, encoding="latin-1") as file:
            header = read_header(file)
            return entries_of(read_numbers(file, header), header), header.symmetry
    except FileNotFoundError:
        raise FileError("no such file") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FileError(f"cannot be read as a Matrix Market file: {error}") from None


def read_header(file: TextIO) -> Header:
    """Read the lines before the entries, and refuse what cannot be factored."""
    banner = file.readline(LONGEST).lower().split()
    if banner[:2] != ["%%matrixmarket", "matrix"] or len(banner) != 5:
        raise ValueError(
            "its first line must be %%MatrixMarket matrix, a format, a field and a symmetry"
        )
    layout, field, symmetry = banner[2:]
    if layout not in ("coordinate", "array"):
        raise ValueError(f"the format {layout!r} is unknown")
    if field == "pattern":
        raise FileError("holds no values (a pattern file): numbers are needed")
    if field not in WIDTH:
        raise ValueError(f"the field {field!r} is unknown")
    if symmetry == "skew-symmetric":
        raise FileError("holds a skew-symmetric matrix: it must be symmetric")
    if symmetry not in ("general", "symmetric", "hermitian"):
        raise ValueError(f"the symmetry {symmetry!r} is unknown")
    sizes = read_sizes(file, 2 if layout == "array" else 3)
    n = check_order(*sizes[:2])
    if layout == "array":
        entries = n * n if symmetry == "general" else n * (n + 1) // 2
    else:
        entries = sizes[2]
        if entries < n:
            raise FileError(
                f"holds {entries:,} entries in {n:,} rows: it is not positive definite without"
                " an entry on the diagonal of each row"
            )
    return Header(layout == "array", field == "complex", symmetry, n, entries)


def read_sizes(file: TextIO, count: int) -> list[int]:
    """Read the line of sizes, which is the first after the comments."""
    while line := file.readline(LONGEST):
        words = line.split()
        if words and not line.startswith("%"):
            if len(words) != count or not all(word.isdecimal() for word in words):
                raise ValueError(f"its line of sizes has to hold {count} numbers: {line[:80]!r}")
            return [int(word) for word in words]
    raise ValueError("it ends before the line of sizes")


def check_order(rows: int, columns: int) -> int:
    """Return the order of a matrix that can be factored."""
    if rows != columns:
        raise FileError(f"holds a {rows} x {columns} matrix: it must be square")
    if rows == 0:
        raise FileError("holds an empty matrix")
    if rows >= 2**31 - 1:
        raise FileError(f"holds a matrix of order {rows}: row numbers have 32 bits")
    return rows


def read_numbers(file: TextIO, header: Header) -> np.ndarray:
    """Read the lines after the header, a row of numbers for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # there is no line
        try:
            numbers = np.loadtxt(lines_of(file, header.entries), comments="%", ndmin=2)
        except ValueError as error:
            raise ValueError(f"below the header, {str(error).partition(';')[0]}") from None
    found, width = numbers.shape
    if found != header.entries:
        raise ValueError(
            f"its header promises {header.entries:,} entries, but {found:,} follow"
            f" ({'truncated' if found < header.entries else 'too many lines'})"
        )
    needed = (0 if header.dense else 2) + 1 + header.complex
    if width != needed:
        raise ValueError(f"a line must hold {needed} numbers, but there are {width}")
    return numbers


def lines_of(file: TextIO, entries: int) -> Iterator[str]:
    """Yield lines; raise ValueError where a line, or the file, has no end."""
    left = 2 * entries + COMMENTS
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise ValueError(f"a line has {LONGEST:,} characters or more")
        left -= 1
        if left < 0:
            raise ValueError(f"there is no end of lines: its header promises {entries:,} entries")
        yield line


def entries_of(numbers: np.ndarray, header: Header) -> csc_array:
    """Return the matrix whose entries are the rows of an array."""
    row, column = (dense_places if header.dense else listed_places)(numbers, header)
    value = numbers[:, -1].copy()
    if header.complex:
        value = numbers[:, -2] + 1j * value
    bad = np.flatnonzero(~np.isfinite(value))
    if bad.size:
        p = bad[0]
        raise FileError(
            f"entry ({row[p]}, {column[p]}) is {value[p]}: numbers must be finite (rows count"
            " from 0)"
        )
    if header.symmetry != "general":
        row, column, value = mirrored(row, column, value, header)
    return csc_array(coo_array((value, (row, column)), shape=(header.n, header.n)))


def dense_places(numbers: np.ndarray, header: Header) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of a dense matrix or of its lower triangle, by column."""
    if header.symmetry == "general":
        column, row = np.divmod(np.arange(len(numbers)), header.n)
    else:
        column, row = np.triu_indices(header.n)
    return row, column


def listed_places(numbers: np.ndarray, header: Header) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns that stand before each value."""
    places = numbers[:, :2]
    wrong = ~((places >= 1) & (places <= header.n) & (places == np.floor(places))).all(axis=1)
    if wrong.any():
        p = np.argmax(wrong)
        row, column = places[p]
        raise ValueError(
            f"entry {p + 1} of {header.entries} is out of bounds: row {row:.16g}, column"
            f" {column:.16g} of {header.n}"
        )
    row, column = places.astype(np.int32).T - 1
    return row, column


def mirrored(row, column, value, header: Header):
    """Return the entries of one triangle and their mirror images."""
    off = row != column
    if (row > column).any() and (row < column).any():
        raise ValueError(
            f"its header says {header.symmetry}, but it holds entries of both triangles"
        )
    mirror = value[off].conj() if header.symmetry == "hermitian" else value[off]
    return (
        np.concatenate([row, column[off]]),
        np.concatenate([column, row[off]]),
        np.concatenate([value, mirror]),
    )
