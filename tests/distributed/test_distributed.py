"""sparsechol.distributed on one rank and on two, each run with a time limit."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import documents
from support.helpers import matrix_names

PROGRAMS = Path(__file__).parents[1] / "support/mpi_programs.py"
MPIRUN = shutil.which("mpirun")


def python(code):
    """Of the installed package, not of the source folder."""
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def reason_to_skip():
    """Found out in another process: to import it here would start MPI."""
    if MPIRUN is None:
        return "no mpirun (Debian: openmpi-bin)"
    run = python("import sparsechol.distributed")
    return run.stderr.strip().splitlines()[-1] if run.returncode else None


REASON = reason_to_skip()
needs_mpi = pytest.mark.skipif(REASON is not None, reason=str(REASON))
RANKS = pytest.mark.parametrize("ranks", [1, 2])

ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(PROGRAMS.parents[1]),
    "OMP_NUM_THREADS": "1",
    "SPARSECHOL_NUM_THREADS": "1",
    # Of Open MPI: more ranks than cores, ranks of the superuser (in containers).
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    # Ranks that wait give their core away: a third of the time where cores are fewer than ranks.
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def mpirun(ranks, *command, limit=300):
    """Output of a program on so many ranks."""
    run = subprocess.run(
        [MPIRUN, "-n", str(ranks), sys.executable, *map(str, command)],
        env=ENVIRONMENT,
        timeout=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.mpi
@needs_mpi
@RANKS
@pytest.mark.parametrize("program", ["answers", "many", "packed", "blocks", "docstrings"])
def test_answers(program, ranks):
    mpirun(ranks, PROGRAMS, program)


@pytest.mark.mpi
@needs_mpi
def test_three_ranks():
    mpirun(3, PROGRAMS, "many")


@pytest.mark.mpi
@needs_mpi
@RANKS
@pytest.mark.parametrize("program", ["faults", "indefinite_root", "workspace", "collection"])
def test_faults(program, ranks):
    mpirun(ranks, PROGRAMS, program)


@pytest.mark.mpi
@needs_mpi
@RANKS
@pytest.mark.skipif(not matrix_names(), reason="no matrices (set SPARSECHOL_MATRICES)")
@pytest.mark.parametrize("share", [0, 1])
def test_matrices(ranks, share):
    mpirun(ranks, PROGRAMS, "matrices", *matrix_names()[share::2])


@pytest.mark.mpi
@needs_mpi
@RANKS
def test_example(ranks):
    mpirun(ranks, PROGRAMS, "example", 9)


@pytest.mark.mpi
@needs_mpi
@pytest.mark.parametrize("place", [0, 1])
def test_document(place, tmp_path):
    program, output = documents.programs("large.md")[place]
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    assert mpirun(2, file) == output


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("mpi4py", ["pip install mpi4py", "openmpi-bin"]),
        ("sparsechol.distributed._mumps", ["libmumps-dev", "mumps-mpi", "mpi4py", "pip install ."]),
    ],
)
def test_what_is_missing_is_named(missing, words):
    if missing != "mpi4py" and importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed")
    code = f"import sys; sys.modules[{missing!r}] = None\nimport sparsechol.distributed"
    run = python(code)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert all(word in last for word in words)


def test_importing_the_package_imports_no_mpi():
    code = "import sys, sparsechol; print({'mpi4py', 'sparsechol.distributed'} & set(sys.modules))"
    assert python(code).stdout.strip() == "set()"
