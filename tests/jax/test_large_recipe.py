"""The recipe of doc/large.md for many processes of JAX, with two on this machine."""

import socket
import subprocess
import sys

import pytest

from support import documents

pytestmark = pytest.mark.slow

LIMIT = 300  # seconds


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_recipe(tmp_path):
    program, output = documents.programs("large.md")[-1]
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    address = f"localhost:{free_port()}"
    processes = [
        subprocess.Popen(
            [sys.executable, str(file), address, "2", str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        printed = [process.communicate(timeout=LIMIT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], printed
    # (the library that connects the processes may say so before)
    assert printed[0][0].endswith(output)
