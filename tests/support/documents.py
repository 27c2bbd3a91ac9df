"""Documents whose Python blocks are run, and must print what the text blocks after them say."""

import contextlib
import io
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "doc"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks_of(name):
    """Language and text of each block."""
    return BLOCK.findall((FOLDER / name).read_text(encoding="utf-8"))


def programs(name):
    """Each Python block, and the text block after it."""
    texts = [text for language, text in blocks_of(name) if language in ("python", "text")]
    return list(zip(texts[::2], texts[1::2], strict=True))


def run(blocks):
    """How many outputs were right; the others fail."""
    names, printed, checked = {}, "", 0
    for language, text in blocks:
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(text, names)
            printed = out.getvalue()
        elif language == "text":
            assert printed == text
            checked += 1
    return checked
