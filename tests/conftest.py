"""The fast suite, and how JAX and PyTensor compile: once in a session, and quickly."""

import atexit
import os
import re
import shutil
import tempfile

import pytest

# Workers and tests in subprocesses inherit it, and sessions may share a folder. Before anything
# imports JAX or PyTensor.
folder = os.environ.get("SPARSECHOL_TEST_CACHE")
if folder is None:
    folder = os.environ["SPARSECHOL_TEST_CACHE"] = tempfile.mkdtemp(prefix="sparsechol_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
compiledir = f"base_compiledir={folder}/pytensor"
flags = [x for x in os.environ.get("PYTENSOR_FLAGS", "").split(",") if x not in ("", compiledir)]
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "PYTENSOR_FLAGS": ",".join([*flags, compiledir]),
}

# The tests ask for values, not for speed: XLA compiles in three quarters of the time. An empty
# variable brings its usual optimization back.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


def pytest_itemcollected(item):
    """Mark as slow what the marker `fast_cases` does not name."""
    for marker in item.iter_markers("fast_cases"):
        if not any(re.fullmatch(pattern, item.callspec.id) for pattern in marker.args):
            item.add_marker(pytest.mark.slow)
