"""Check that a version is ready to be released: ``python .ci/release.py v0.1.0``.

The tag, meson.build, CITATION.cff and CHANGELOG.md must say the same version, and the last two the
same date.
"""

import re
import sys
from pathlib import Path

VERSION = {
    "meson.build": r"^  version: '(.+)',$",
    "CITATION.cff": r"^version: (.+)$",
    "CHANGELOG.md": r"^## (\S+)",
}
DATE = {
    "CITATION.cff": r"^date-released: (\d{4}-\d{2}-\d{2})$",
    "CHANGELOG.md": r"^## \S+ \((\d{4}-\d{2}-\d{2})\)$",
}


def first(file, pattern):
    """Return what the first match of a pattern says, None where there is none."""
    match = re.search(pattern, Path(file).read_text(encoding="utf-8"), re.MULTILINE)
    return match and match[1]


def main(tag):
    """Print what each file says, and return 1 unless all agree."""
    versions = {"the tag": tag.removeprefix("v")} | {f: first(f, p) for f, p in VERSION.items()}
    dates = {f: first(f, p) for f, p in DATE.items()}
    for name in versions:
        print(f"{name:14}{versions[name] or 'no version':14}{dates.get(name, '') or ''}")
    agree = len({*versions.values()}) == len({*dates.values()}) == 1
    if not agree or None in dates.values():
        print("not ready: versions and dates must agree", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
