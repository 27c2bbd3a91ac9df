"""The `sparsechol` command, run in process; all but the tests at the end need neither extra."""

import bz2
import gzip
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.io import mmwrite
from scipy.sparse import coo_array, csc_array, save_npz

import sparsechol as sc
from sparsechol._cli import main as _cli
from sparsechol._cli.terminal import column_widths, plain_table
from sparsechol.models import grid_laplacian, matern_spde

STEPS = (
    "analysis",
    "factorization",
    "solve",
    "log-determinant",
    "partial inverse",
    "refactorization",
)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """No rich, a wide terminal, nothing that forces colors."""
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def write(path, A, symmetry="symmetric", field=None):
    buffer = io.BytesIO()
    mmwrite(buffer, coo_array(A), symmetry=symmetry, field=field)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(buffer.getvalue())
    return str(path)


@pytest.fixture
def grid(tmp_path):
    return write(tmp_path / "grid.mtx.gz", grid_laplacian((12, 10)))


def refused(capsys, argv):
    """The one line that a refused command leaves on stderr, after those of progress."""
    assert _cli.main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if not line.endswith(" ...")]
    assert len(errors) == 1, lines
    assert errors[0].startswith("sparsechol: error: ")
    return errors[0]


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        _cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"sparsechol {sc.__version__}\n"


def test_installation(capsys):
    assert _cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    config = sc.show_config(mode="dicts")
    assert [line.split()[0] for line in lines] == list(config)


def test_installation_as_json(capsys):
    assert _cli.main(["info", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == sc.show_config(mode="dicts")
    assert printed.err == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["info", "--json", "some.mtx"], "--json describes the installation: it takes no FILE"),
        (["info", "--plot", "some.png"], "--plot needs a FILE"),
    ],
)
def test_installation_and_file(argv, message, monkeypatch, capsys):
    monkeypatch.setattr(_cli, "require_matplotlib", lambda path: None)
    assert refused(capsys, argv) == f"sparsechol: error: {message}"


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["demo", "--n", "3"], ["demo", "--n", "x"], ["info", "--nonsense"]]
)
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        _cli.main(argv)
    assert stop.value.code == 2
    assert "usage: sparsechol" in capsys.readouterr().err


@pytest.mark.parametrize("n", [4, 7, 900])
def test_demo(n, capsys):
    assert _cli.main(["demo", "--n", str(n)]) == 0
    out, err = capsys.readouterr()
    assert int(re.search(r"([\d,]+) unknowns", out)[1].replace(",", "")) >= n
    for step in STEPS:
        assert re.search(rf"^{step} ", out, re.MULTILINE)
    assert out.count(" ok\n") == len(STEPS) - 1
    assert out.endswith("all checks passed\n")
    assert err.splitlines()[-1].endswith(_cli.INSTALL)
    assert "factorization ...\n" in err


def test_logdet_is_printed(tmp_path, capsys):
    A = grid_laplacian((12, 10))
    assert _cli.main(["info", write(tmp_path / "grid.mtx", A)]) == 0
    printed = float(re.search(r"log-determinant.* m?s  (\S+)", capsys.readouterr().out)[1])
    assert printed == pytest.approx(np.linalg.slogdet(A.toarray())[1], rel=1e-8)


@pytest.mark.parametrize("step", ["solve", "logdet", "partial_inverse"])
def test_a_wrong_result_fails_its_check(step, monkeypatch, capsys):
    right = getattr(sc.CholeskyFactor, step)
    monkeypatch.setattr(sc.CholeskyFactor, step, lambda *args: 1.001 * right(*args))
    # The second elimination of the log-determinant uses the same class: leave it right.
    monkeypatch.setattr(_cli, "shuffled_logdet", lambda A: np.linalg.slogdet(A.toarray())[1])
    # The condition estimate solves too, which only moves the limits a little.
    assert _cli.main(["demo", "--n", "400"]) == 1
    out = capsys.readouterr().out
    assert out.count("FAILED: >") == 1
    assert out.endswith("a check FAILED\n")


def test_a_wrong_factor_fails_its_check(monkeypatch, capsys):
    right = sc.CholeskyFactor.L.fget
    monkeypatch.setattr(sc.CholeskyFactor, "L", property(lambda F: 1.001 * right(F)))
    assert _cli.main(["demo", "--n", "400"]) == 1
    assert capsys.readouterr().out.count("FAILED: >") == 2  # factorization and refactorization


def test_info_compares_orderings(grid, capsys, monkeypatch):
    monkeypatch.setattr(_cli, "have_metis", lambda: False)
    assert _cli.main(["info", grid]) == 0
    out = capsys.readouterr().out
    assert "120 rows, 556 entries" in out
    A = grid_laplacian((12, 10))
    for method in ("amd", "nested_dissection", "natural"):
        assert re.search(rf"^{method} +{sc.analyze(A, ordering=method).nnz:,} ", out, re.MULTILINE)
    assert "auto takes amd: too few flops for nested dissection to pay\n" in out
    assert "metis" not in out


@pytest.mark.parametrize("order", ["amd", "natural"])
def test_info_order(grid, order, capsys):
    assert _cli.main(["info", grid, "--ordering", order]) == 0
    assert re.search(rf"^analysis .* {order}, nnz\(L\)", capsys.readouterr().out, re.MULTILINE)


def test_info_of_a_hermitian_matrix(tmp_path, capsys):
    A = grid_laplacian((5, 5)).toarray() + 0j
    A[3, 0], A[0, 3] = 0.5j, -0.5j
    path = str(tmp_path / "hermitian.mtx")
    mmwrite(path, coo_array(A), symmetry="hermitian")
    assert _cli.main(["info", path, "--ordering", "natural"]) == 0
    assert "all checks passed" in capsys.readouterr().out


def test_natural_order_only_for_small_matrices(monkeypatch):
    monkeypatch.setattr(_cli, "have_metis", lambda: True)
    ours = ["amd", "nested_dissection"]
    assert _cli.available_orderings(_cli.NATURAL_LIMIT) == [*ours, "metis", "natural"]
    assert _cli.available_orderings(_cli.NATURAL_LIMIT + 1) == [*ours, "metis"]


def test_info_metis(grid, capsys):
    pytest.importorskip("pymetis", reason="pymetis is not installed")
    assert _cli.main(["info", grid, "--ordering", "metis"]) == 0
    assert re.search(r"^analysis .* metis, nnz\(L\)", capsys.readouterr().out, re.MULTILINE)


def test_info_metis_missing(grid, capsys, monkeypatch):
    monkeypatch.setattr(_cli, "have_metis", lambda: False)
    assert "sparsechol[metis]" in refused(capsys, ["info", grid, "--ordering", "metis"])


@pytest.mark.parametrize("field", ["real", "integer"])
def test_general_file(tmp_path, field, capsys):
    path = write(tmp_path / "a.mtx", grid_laplacian((4, 4)), "general", field)
    assert _cli.main(["info", path]) == 0
    assert "the file holds both triangles: they agree" in capsys.readouterr().out


def test_dense_file(tmp_path, capsys):
    path = tmp_path / "a.mtx"
    path.write_text("%%MatrixMarket matrix array real general\n2 2\n2\n1\n1\n3\n")
    assert _cli.main(["info", str(path)]) == 0
    assert "2 rows, 4 entries" in capsys.readouterr().out


def test_warning_of_the_package_is_a_note(tmp_path, capsys):
    nearly = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-47]])
    # 2^-47 is 32 roundings: accepted, with a warning at more rows than that.
    A = csc_array(np.kron(np.eye(50), nearly))
    assert _cli.main(["info", write(tmp_path / "a.mtx", A)]) == 0
    assert "note: ill-conditioned matrix" in capsys.readouterr().out


HEAD = "%%MatrixMarket matrix coordinate "
ARRAY = "%%MatrixMarket matrix array "
UNREADABLE = "cannot be read as a Matrix Market file: "
BAD_FILES = {
    "empty file": ("", UNREADABLE + "its first line must be"),
    "not the format": ("hello\nworld\n", UNREADABLE + "its first line must be"),
    "binary": ("PK\x03\x04\x00\x00" * 1000, UNREADABLE + "its first line must be"),
    "banner cut off": ("%%MatrixMarket matrix coord", "its first line must be"),
    "vector": ("%%MatrixMarket vector coordinate real general\n1 1\n1 2\n", "its first line"),
    "format": ("%%MatrixMarket matrix list real general\n1 1 1\n1 1 2\n", "format 'list'"),
    "field": (HEAD + "quaternion general\n1 1 1\n1 1 2\n", "field 'quaternion'"),
    "symmetry": (HEAD + "real antisymmetric\n1 1 1\n1 1 2\n", "symmetry 'antisymmetric'"),
    "no sizes": (HEAD + "real symmetric\n% nothing\n", "ends before the line of sizes"),
    "two sizes": (HEAD + "real symmetric\n3 3\n1 1 2.0\n", "has to hold 3 numbers: '3 3"),
    "negative": (HEAD + "real symmetric\n-3 -3 1\n1 1 2.0\n", "has to hold 3 numbers: '-3 -3"),
    "negative entries": (HEAD + "real symmetric\n3 3 -1\n1 1 2.0\n", "has to hold 3 numbers"),
    "NUL in the sizes": (HEAD + "real symmetric\n1 1 1\0\n1 1 2.0\n", "has to hold 3 numbers"),
    "endless number": (HEAD + "real symmetric\n" + "9" * 9999 + " 1 1\n", UNREADABLE),
    "overflow": (HEAD + f"real general\n{10**22} {10**22} 1\n1 1 2.0\n", "have 32 bits"),
    "order beyond 32 bits": (HEAD + f"real general\n{2**31} {2**31} {2**32}\n", "have 32 bits"),
    "order 3e9": (HEAD + "real general\n3000000000 3000000000 1\n1 1 2.0\n", "have 32 bits"),
    "order 1e8": (HEAD + "real general\n100000000 100000000 1\n1 1 2.0\n", "1 entries in 100,0"),
    "entries 1e15": (HEAD + f"real general\n9 9 {10**15}\n1 1 2.0\n", "but 1 follow (truncated)"),
    "cut off": (HEAD + "real symmetric\n2 2 2\n1 1 2.0\n", "but 1 follow (truncated)"),
    "cut off at once": (HEAD + "real symmetric\n2 2 2\n", "but 0 follow (truncated)"),
    "cut off in a line": (HEAD + "real symmetric\n2 2 2\n1 1 2.0\n2 2", "from 3 to 2 at row"),
    "too long": (HEAD + "real symmetric\n1 1 1\n1 1 2\n1 1 3\n", "but 2 follow (too many lines)"),
    "dense, cut off": (ARRAY + "real symmetric\n2 2\n2\n1\n", "3 entries, but 2 follow"),
    "dense, too long": (ARRAY + "real symmetric\n2 2\n2\n1\n3\n4\n", "3 entries, but 4 follow"),
    "dense, huge": (ARRAY + "real general\n2000000000 2000000000\n2\n", "but 1 follow"),
    "dense, lists": (ARRAY + "real general\n1 1\n1 1 2\n", "must hold 1 numbers, but there are 3"),
    "index outside": (
        HEAD + "real symmetric\n2 2 2\n1 1 2\n5 5 2.0\n",
        "entry 2 of 2 is out of bo",
    ),
    "index zero": (HEAD + "real symmetric\n1 1 1\n0 1 2.0\n", "out of bounds: row 0, column 1"),
    "index negative": (HEAD + "real symmetric\n1 1 1\n1 -1 2.0\n", "row 1, column -1 of 1"),
    "index 2^32": (HEAD + f"real symmetric\n1 1 1\n{2**32 + 1} 1 2\n", "row 4294967297"),
    "index not whole": (HEAD + "real symmetric\n1 1 1\n1 1.5 2.0\n", "row 1, column 1.5"),
    "index nan": (HEAD + "real symmetric\n1 1 1\nnan 1 2.0\n", "row nan, column 1"),
    "no number": (HEAD + "real symmetric\n1 1 1\n1 1 abc\n", "could not convert string 'abc'"),
    "NUL": (HEAD + "real symmetric\n1 1 1\n1 1 2\0.0\n", "could not convert string '2\\x00.0'"),
    "NULs alone": (HEAD + "real symmetric\n1 1 1\n" + "\0" * 100, "could not convert"),
    "Fortran's D": (HEAD + "real symmetric\n1 1 1\n1 1 3.0D+1\n", "convert string '3.0D+1'"),
    "decimal comma": (HEAD + "real symmetric\n1 1 1\n1 1 2,5\n", "could not convert"),
    "two values": (
        HEAD + "real symmetric\n1 1 1\n1 1 2 3\n",
        "must hold 3 numbers, but there are 4",
    ),
    "value missing": (HEAD + "complex general\n1 1 1\n1 1 2\n", "must hold 4 numbers, but there a"),
    "pattern": (HEAD + "pattern symmetric\n2 2 2\n1 1\n2 2\n", "no values (a pattern file)"),
    "rectangular": (HEAD + "real general\n2 3 1\n1 1 1.0\n", "2 x 3 matrix: it must be square"),
    "skew": (HEAD + "real skew-symmetric\n2 2 1\n2 1 1.0\n", "skew-symmetric"),
    "no rows": (HEAD + "real symmetric\n0 0 0\n", "empty matrix"),
    "both triangles": (
        HEAD + "real symmetric\n2 2 4\n1 1 2.0\n2 2 2.0\n2 1 1.0\n1 2 1.0\n",
        "its header says symmetric, but it holds entries of both triangles",
    ),
    "not symmetric": (
        HEAD + "real general\n2 2 4\n1 1 2.0\n2 2 2.0\n2 1 1.0\n1 2 2.0\n",
        "entries (1, 0) and (0, 1) differ by 1, they are 1 and 2 (rows count from 0)",
    ),
    "general lower": (
        HEAD + "real general\n2 2 3\n1 1 2.0\n2 2 2.0\n2 1 1.0\n",
        "not symmetric: the file holds one triangle alone",
    ),
    "general upper": (
        HEAD + "real general\n2 2 3\n1 1 2.0\n2 2 2.0\n1 2 1.0\n",
        "not symmetric: the file holds one triangle alone",
    ),
    "complex symmetric": (
        HEAD + "complex symmetric\n2 2 3\n1 1 2.0 0.0\n2 1 0.0 1.0\n2 2 2.0 0.0\n",
        "complex symmetric, not Hermitian: entries (1, 0) and (0, 1) are both 0+1j",
    ),
    "imaginary diagonal": (
        HEAD + "complex hermitian\n2 2 3\n1 1 2.0 1.0\n2 1 0.0 1.0\n2 2 2.0 0.0\n",
        "not Hermitian: entry (0, 0), on the diagonal, is 2+1j, not real",
    ),
    "sum beyond float64": (HEAD + "real general\n1 1 2\n1 1 1e308\n1 1 1e308\n", "is inf"),
    "endless line": (HEAD + "real general\n1 1 1\n" + "1" * 2**21, "a line has 1,048,576 char"),
    "endless lines": (HEAD + "real general\n1 1 1\n" + "1 1 1\n" * 1_000_003, "is no end of lines"),
    "entries 1e30": (HEAD + f"real general\n9 9 {10**30}\n1 1 2.0\n", "but 1 follow (truncated)"),
    "not finite above": (
        HEAD + "real general\n2 2 4\n1 1 1.0\n2 1 1.0\n1 2 nan\n2 2 1.0\n",
        "entry (0, 1) is nan",
    ),
    "not finite": (HEAD + "real symmetric\n2 2 2\n1 1 nan\n2 2 1.0\n", "entry (0, 0) is nan"),
    "general, not finite": (HEAD + "real general\n1 1 1\n1 1 inf\n", "entry (0, 0) is inf"),
    "complex, not finite": (HEAD + "complex general\n1 1 1\n1 1 1 nan\n", "entry (0, 0) is"),
    "beyond float64": (HEAD + "real general\n1 1 1\n1 1 1e999\n", "entry (0, 0) is inf"),
    "indefinite": (
        HEAD + "real symmetric\n2 2 3\n1 1 1.0\n2 1 2.0\n2 2 1.0\n",
        "is not positive definite: the pivot at row and column",
    ),
    "singular": (HEAD + "real symmetric\n2 2 3\n1 1 1\n2 1 1\n2 2 1\n", "the pivot"),
    "few entries": (HEAD + "real symmetric\n2 2 1\n1 1 1.0\n", "not positive definite"),
    "no diagonal": (HEAD + "real symmetric\n2 2 2\n1 1 1\n2 1 0\n", "not positive definite"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(name, tmp_path, capsys):
    text, message = BAD_FILES[name]
    path = tmp_path / "bad.mtx"
    path.write_bytes(text.encode())
    assert message in refused(capsys, ["info", str(path)])


GOOD_FILES = {
    "plain": "1 1 4.0\n2 1 1.0\n2 2 3.0\n",
    "comments": "% first\n1 1 4.0\n%\n  % between\n2 1 1.0 % behind\n2 2 3.0\n%last",
    "Windows": "1 1 4.0\r\n2 1 1.0\r\n2 2 3.0\r\n",
    "tabs and blanks": "\n1\t1\t4.0\n\n  2 1 1.0  \n2 2 3.0\n \n",
    "no end of line": "1 1 4.0\n2 1 1.0\n2 2 3.0",
    "any order, signs": "2 2 +3.\n1 1 4\n2 1 .1E+1",
    "upper triangle": "1 1 4.0\n1 2 1.0\n2 2 3.0",
    "zero": "1 1 4\n2 1 1\n2 2 3",
}


@pytest.mark.parametrize("end", [".mtx", ".mtx.gz", ".mtx.bz2"])
@pytest.mark.parametrize("name", GOOD_FILES)
def test_good_file(name, end, tmp_path):
    path = tmp_path / f"good{end}"
    head = "%%MatrixMarket MATRIX Coordinate REAL symmetric\n% caf\u00e9\n\n 2 2 3\n"
    opener = {".mtx": open, ".mtx.gz": gzip.open, ".mtx.bz2": bz2.open}[end]
    with opener(path, "wb") as file:
        file.write((head + GOOD_FILES[name]).encode())
    A, general = _cli.read_matrix(str(path))
    assert not general
    assert_array_equal(A.toarray(), [[4, 1], [1, 3]])


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("symmetry", ["general", "symmetric", "hermitian"])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64, np.complex128])
def test_files_are_read_as_by_scipy(dtype, symmetry, dense, tmp_path):
    rng = np.random.default_rng(0)
    A = (9 * rng.random((7, 7))).astype(dtype) * (rng.random((7, 7)) < 0.6)
    if dtype == np.complex128:
        A += 1j * rng.random((7, 7)) * (A != 0)
    A += A.T if symmetry == "symmetric" else A.conj().T
    A[np.diag_indices(7)] = 50
    path = tmp_path / "a.mtx"
    mmwrite(path, A if dense else coo_array(A), symmetry=symmetry, precision=17)
    assert_array_equal(_cli.read_matrix(str(path))[0].toarray(), A)


def test_damaged_files_are_refused_in_one_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    whole = write(tmp_path / "a.mtx", grid_laplacian((3, 2), shift=1.0))
    with open(whole, "rb") as file:
        text = np.frombuffer(file.read(), np.uint8)
    path = tmp_path / "b.mtx"
    for _ in range(300):
        damaged = text[: rng.integers(1, len(text) + 1)] if rng.random() < 0.2 else text.copy()
        places = rng.integers(0, len(damaged), rng.integers(1, 4))
        damaged = damaged.copy()
        damaged[places] = rng.choice(
            np.frombuffer(b"\0\n\r\t %-+.e019n\xff", np.uint8), places.size
        )
        path.write_bytes(damaged.tobytes())
        if _cli.main(["info", str(path), "--ordering", "natural"]) == 0:
            capsys.readouterr()
            continue
        errors = capsys.readouterr().err.splitlines()
        assert len([line for line in errors if not line.endswith(" ...")]) == 1


def test_missing_file(tmp_path, capsys):
    for name in ("missing.mtx", "missing.mtx.gz"):
        path = str(tmp_path / name)
        assert refused(capsys, ["info", path]).endswith(f"{path}: no such file")


@pytest.mark.parametrize("keep", [0, 5, 40, 100])
def test_damaged_gzip(tmp_path, keep, grid, capsys):
    with open(grid, "rb") as file:
        whole = file.read()
    path = tmp_path / "cut.mtx.gz"
    path.write_bytes(whole[:keep])
    assert "cannot be read" in refused(capsys, ["info", str(path)])
    path.write_bytes(b"junk" * 10)
    assert "cannot be read" in refused(capsys, ["info", str(path)])


def test_damaged_bz2(tmp_path, capsys):
    whole = bz2.compress((HEAD + "real symmetric\n1 1 1\n1 1 2.0\n").encode())
    path = tmp_path / "cut.mtx.bz2"
    for content in (b"", b"junk", whole[:-5]):
        path.write_bytes(content)
        assert "cannot be read" in refused(capsys, ["info", str(path)])


def test_scipy_file(tmp_path, capsys):
    path = str(tmp_path / "a.npz")
    save_npz(path, grid_laplacian((3, 3)))
    assert "its first line must be %%MatrixMarket" in refused(capsys, ["info", path])


def test_any_error_is_one_line(monkeypatch, grid, capsys):
    def fail(*args):
        raise ValueError("this\nand that")

    monkeypatch.setattr(_cli, "show_steps", fail)
    assert refused(capsys, ["info", grid]) == "sparsechol: error: this and that"


def test_directory(tmp_path, capsys):
    assert "cannot be read" in refused(capsys, ["info", str(tmp_path)])


def test_plot_without_matplotlib(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refused(capsys, ["demo", "--n", "100", "--plot", "out.png"])
    assert message == f"sparsechol: error: --plot needs matplotlib: {_cli.INSTALL}"


def test_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "62")
    assert _cli.main(["demo", "--n", "900"]) == 0
    table = capsys.readouterr().out.split("\n\n")[1].splitlines()[:-2]
    assert max(map(len, table)) <= 62


@pytest.mark.skipif(os.name == "nt", reason="Windows has no broken pipes")
def test_reader_gone():
    script = "from sparsechol._cli.main import main; raise SystemExit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, "demo", "--n", "100"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert "Error" not in done.stderr


def test_table_as_text():
    header, rows = ("name", "n"), [("one two", "1"), ("three", "22")]
    text = plain_table(header, rows, "lr", column_widths(header, rows, "lr", 80))
    assert text.splitlines() == ["name      n", "-------  --", "one two   1", "three    22"]
    assert column_widths(header, rows, "lr", 10) == [6, 2]
    assert column_widths(header, rows, "lr", 1) == [5, 2]
    text = plain_table(header, rows, "lr", [5, 2])
    assert text.splitlines() == ["name    n", "-----  --", "one     1", "two", "three  22"]


@pytest.fixture
def rich(monkeypatch):
    """Undo what `plain` did to rich, and pretend to be a terminal."""
    monkeypatch.delitem(sys.modules, "rich")
    monkeypatch.delitem(sys.modules, "rich.console")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    return pytest.importorskip("rich", reason="rich is not installed")


@pytest.mark.parametrize("columns", [60, 120])
def test_rich_terminal(rich, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert _cli.main(["demo", "--n", "400"]) == 0
    out, err = capsys.readouterr()
    assert "\x1b[" in out
    assert out.count("e-1") + out.count("0.0e+00") >= len(STEPS) - 1
    assert "install" not in err
    assert "factorization ..." not in err


def test_rich_without_terminal_is_plain(rich, monkeypatch, capsys):
    monkeypatch.delenv("FORCE_COLOR")
    assert _cli.main(["demo", "--n", "100"]) == 0
    out, err = capsys.readouterr()
    assert "\x1b[" not in out + err
    assert "\n---" in out
    assert "install" not in err


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot(tmp_path, grid, suffix, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / f"out{suffix}"
    assert _cli.main(["info", grid, "--plot", str(path)]) == 0
    assert f"wrote {path}\n" in capsys.readouterr().out
    start = {".png": b"\x89PNG", ".svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["out.nonsense", os.path.join("no", "such", "out.png")])
def test_plot_that_cannot_be_written(tmp_path, name, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    message = refused(capsys, ["demo", "--n", "100", "--plot", str(tmp_path / name)])
    assert "cannot be written" in message


@pytest.mark.parametrize("n", [1, 3, 20, 400])
def test_cells_are_entries_of_small_matrices(n):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from sparsechol._cli import plot as _plot

    A = grid_laplacian((n,), shift=1.0) if n < 20 else matern_spde(n // 5, 5)
    S = sc.analyze(A)
    n = A.shape[0]
    L = sc.cholesky(A).L
    assert_array_equal(_plot.cell_counts(L.indptr, L.indices, n), (L != 0).toarray())
    widths = _plot.supernode_widths(S, 0)
    size = np.repeat(np.diff(S._first), np.diff(S._first))
    assert_array_equal(np.diag(widths), size)
    # Relaxed supernodes cover L, in the order in which they are visited.
    place = np.argsort(S._order)
    pattern = coo_array(A)
    row, column = place[pattern.coords[0]], place[pattern.coords[1]]
    lower = row >= column
    assert np.all(widths[row[lower], column[lower]] == size[column[lower]])
    start = int(S._first[len(S._first) // 2])
    if start < n:
        assert_array_equal(_plot.supernode_widths(S, start), widths[start:, start:])


def test_wrong_number_of_threads_in_the_environment(monkeypatch, capsys):
    from sparsechol._core.parallel import threads as _threads

    monkeypatch.setenv(_threads.VARIABLE, "many")
    _threads._default.cache_clear()
    try:
        message = refused(capsys, ["demo", "--n", "50"])
    finally:
        monkeypatch.undo()
        _threads._default.cache_clear()
    assert "SPARSECHOL_NUM_THREADS" in message


def test_as_a_module_of_python():
    """`python -m sparsechol` is the command, with its exit status."""
    command = [sys.executable, "-P", "-m", "sparsechol"]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert sc.__version__ in version.stdout
    refused = subprocess.run([*command, "info", "/nowhere.mtx"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "/nowhere.mtx" in refused.stderr
