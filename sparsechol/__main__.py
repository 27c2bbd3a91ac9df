"""``python -m sparsechol``: the `sparsechol` command, of this Python."""

import sys

from ._cli.main import main

sys.exit(main())
