"""show_config."""

import importlib.metadata
import re

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._core.numeric.dense import instruction_set


def test_dicts():
    config = sc.show_config(mode="dicts")
    assert config["version"] == sc.__version__
    assert config["numpy"] == np.__version__
    assert config["kernels"] == instruction_set()
    assert config["gil"] in (True, False)
    for package in ("jax", "pytensor", "pymc", "rich"):
        try:
            expected = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            expected = None
        assert config[package] == expected


def test_stdout(capsys):
    assert sc.show_config() is None
    printed = capsys.readouterr().out.splitlines()
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in printed)
    config = sc.show_config(mode="dicts")
    assert lines == {k: "not installed" if v is None else str(v) for k, v in config.items()}


def test_threads_of_the_call():
    assert sc.show_config(mode="dicts")["threads"] >= 1


@pytest.mark.parametrize("mode", ["json", None, 1])
def test_mistake(mode):
    with pytest.raises(ValueError, match="'stdout' or 'dicts'"):
        sc.show_config(mode=mode)
