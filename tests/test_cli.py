"""The `sparsechol` command: what it prints, what it checks, and how it refuses."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from sparsechol import __version__, _cli, _models


@pytest.fixture
def plain(monkeypatch):
    """As if rich and matplotlib were not installed."""
    real = importlib.util.find_spec

    def find_spec(name, *args):
        return None if name in ("rich", "matplotlib") else real(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setitem(__import__("sys").modules, "rich", None)
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)


def write(path, A, **options):
    scipy.io.mmwrite(path, A, **options)
    return str(path)


@pytest.fixture
def grid(tmp_path):
    return write(tmp_path / "grid.mtx", _models.grid_laplacian((9, 8)), symmetry="symmetric")


def test_demo_runs_every_step_and_every_check_passes(plain, capsys):
    assert _cli.main(["demo", "--n", "400"]) == 0
    out, err = capsys.readouterr()
    for step in (
        "analysis",
        "factorisation",
        "solve",
        "log-determinant",
        "partial inverse",
        "refactorisation",
    ):
        assert step in out
    assert out.count(" ok") == 5
    assert "all checks passed" in out
    assert 'pip install "sparsechol[cli]"' in err


def test_demo_fits_a_narrow_terminal(plain, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    assert _cli.main(["demo", "--n", "100"]) == 0
    table = capsys.readouterr().out.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 60


def test_a_failed_check_is_said_and_gives_status_1(plain, monkeypatch, capsys):
    monkeypatch.setattr(_cli, "BACKWARD_LIMIT", 0.0)
    assert _cli.main(["demo", "--n", "100"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "a check FAILED" in out


@pytest.mark.parametrize("compressed", [False, True])
def test_info_compares_the_orderings(plain, tmp_path, grid, compressed, capsys):
    if compressed:
        data = Path(grid).read_bytes()
        grid += ".gz"
        Path(grid).write_bytes(gzip.compress(data))
    assert _cli.main(["info", grid]) == 0
    out = capsys.readouterr().out
    assert "72 rows" in out
    assert "natural" in out
    assert "auto takes amd" in out
    assert "all checks passed" in out


def test_info_of_a_file_with_both_triangles_and_of_a_hermitian_one(plain, tmp_path, capsys):
    A = _models.grid_laplacian((5, 5)).tocoo()
    assert _cli.main(["info", write(tmp_path / "a.mtx", A, symmetry="general")]) == 0
    assert "both triangles: they agree" in capsys.readouterr().out
    B = A.toarray() + 0j
    B[3, 0], B[0, 3] = 0.5j, -0.5j
    path = write(tmp_path / "b.mtx", sp.coo_array(B), symmetry="hermitian")
    assert _cli.main(["info", path, "--order", "natural"]) == 0
    assert "all checks passed" in capsys.readouterr().out


BAD = {
    "not symmetric": (np.array([[4.0, 1.0], [2.0, 5.0]]), "general", "not symmetric"),
    "indefinite": (np.array([[1.0, 2.0], [2.0, 1.0]]), "symmetric", "not positive definite"),
    "rectangular": (np.ones((2, 3)), "general", "must be square"),
    "skew": (np.array([[0.0, 1.0], [-1.0, 0.0]]), "skew-symmetric", "skew-symmetric"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_matrices_are_refused_in_one_line(plain, tmp_path, case, capsys):
    A, symmetry, message = BAD[case]
    path = write(tmp_path / "bad.mtx", sp.coo_array(A), symmetry=symmetry)
    assert _cli.main(["info", path]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("sparsechol: error: ")
    assert message in lines[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("hello\n", "cannot be read"),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 2 2\n1 1 1.0\n", "cannot be read"),
        ("%%MatrixMarket matrix coordinate pattern symmetric\n1 1 1\n1 1\n", "no values"),
        ("%%MatrixMarket matrix coordinate real symmetric\n0 0 0\n", "empty"),
        ("%%MatrixMarket matrix coordinate real symmetric\n1 1 1\n1 1 nan\n", "NaN"),
    ],
)
def test_bad_files_are_refused_in_one_line(plain, tmp_path, content, message, capsys):
    path = tmp_path / "bad.mtx"
    if content is not None:
        path.write_text(content)
    assert _cli.main(["info", str(path)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_plot_without_matplotlib_says_what_to_install(plain, tmp_path, capsys):
    assert _cli.main(["demo", "--n", "100", "--plot", str(tmp_path / "x.png")]) == 2
    assert 'pip install "sparsechol[cli]"' in capsys.readouterr().err


@pytest.mark.parametrize("n", [100, 3000])
def test_plot_writes_a_picture(tmp_path, n):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    path = tmp_path / "x.png"
    assert _cli.main(["demo", "--n", str(n), "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_plot_that_cannot_be_written(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    assert _cli.main(["demo", "--n", "100", "--plot", str(tmp_path / "no" / "x.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_rich_tables_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("rich", reason="the table of a terminal needs rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert _cli.main(["demo", "--n", "100"]) == 0
    assert "all checks passed" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["demo", "--n", "1"], ["demo", "--n", "x"], ["bake"]])
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        _cli.main(arguments)
    assert stop.value.code == 2


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        _cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"sparsechol {__version__}\n"
