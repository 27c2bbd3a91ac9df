"""Nothing hangs, whatever runs at the same time: each scenario in a process with a time limit.

`jax.pure_callback` itself hangs where callbacks with operands above 100 KB run at the same time
(jax issues 24255 and 25861), so that on this lowering one chain runs after the other.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCENARIOS = ["blocking", "devices", "threads", "in flight", "one core"]
CASES = [(backend, s) for backend in ("ffi", "buffer") for s in SCENARIOS]
CASES.append(("callback", "blocking"))
LIMIT = 180  # seconds; a few on an idle machine


@pytest.mark.parametrize(("backend", "scenario"), CASES)
def test_chains(backend, scenario):
    if scenario == "one core" and not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to cores")
    program = Path(__file__).parents[1] / "support/jax_chains.py"
    done = subprocess.run(
        [sys.executable, program, scenario],
        env=os.environ | {"SPARSECHOL_JAX_BACKEND": backend},
        timeout=LIMIT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "done", done.stderr[-2000:]
