"""Output of the command: progress on stderr, tables on stdout, with rich or without."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any


def timed(what: str, function: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, float]:
    """Call a function under a progress line; return its result and the seconds it took."""
    with progress(what):
        start = time.perf_counter()
        result = function(*args, **options)
        return result, time.perf_counter() - start


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show a spinner on a terminal, a plain line elsewhere; on stderr: tables can be piped."""
    console = rich_console(stderr=True)
    if console is None:
        print(f"{what} ...", file=sys.stderr, flush=True)
        yield
    else:
        with console.status(what):
            yield


def rich_console(stderr: bool = False) -> Any:
    """Return a rich console, or None where rich is not installed or there is no terminal."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else None


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> None:
    """Print a table; `align` has 'l' or 'r' for each column. Columns with 'l' may be wrapped."""
    console = rich_console()
    space = shutil.get_terminal_size((100, 24)).columns if console is None else console.width
    widths = column_widths(header, rows, align, space)
    if console is None:
        print(plain_table(header, rows, align, widths))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title, side, width in zip(header, align, widths, strict=True):
        table.add_column(title, justify="right" if side == "r" else "left", width=width)
    for row in rows:
        table.add_row(*row, style="red" if "FAILED" in row[-1] else None)
    console.print(table)


def plain_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], align: str, widths: Sequence[int]
) -> str:
    """Return the table as text."""
    lines = []
    for row in (header, ["-" * width for width in widths], *rows):
        wrapped = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            cells = [
                part.rjust(width) if side == "r" else part.ljust(width)
                for part, width, side in zip(parts, widths, align, strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def column_widths(
    header: Sequence[str], rows: Sequence[Sequence[str]], align: str, space: int
) -> list[int]:
    """Return column widths: the widest shrink, down to their longest word, until all fit."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    least = [
        width if side == "r" else max(len(word) for cell in column for word in cell.split(" "))
        for column, width, side in zip(columns, widths, align, strict=True)
    ]
    while sum(widths) + 2 * (len(widths) - 1) > space and widths != least:
        widest = max(range(len(widths)), key=lambda k: (widths[k] > least[k], widths[k]))
        widths[widest] -= 1
    return widths


def format_seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
