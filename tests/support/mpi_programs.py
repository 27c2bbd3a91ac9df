"""What the ranks of `mpirun` do in the tests of sparsechol.distributed.

Run: ``mpirun -n 2 python tests/support/mpi_programs.py NAME [ARGUMENT...]`` with ``tests`` on
PYTHONPATH. A rank that fails ends all.
"""

import doctest
import gc
import importlib.util
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI
from scipy.linalg import LinAlgWarning

import sparsechol as sc
import sparsechol.distributed as scd
from sparsechol.distributed import _engine, _factor, _functions
from support.helpers import (
    DTYPES,
    SETTINGS,
    eps,
    laplacian,
    random_spd,
    shared_matrix,
    spd_matrices,
)

WORLD = MPI.COMM_WORLD


# ---- parts of matrices ----


def by_entries(A, comm):
    """Each entry on some rank, scattered."""
    A = sp.coo_array(A)
    row, column = A.coords
    own = (7 * row + 5 * column + row * column // 3) % comm.size == comm.rank
    return sp.coo_array((A.data[own], (row[own], column[own])), shape=A.shape)


def by_rows(A, comm):
    """Consecutive rows on each rank."""
    A = sp.csr_array(A)
    rows = np.array_split(np.arange(A.shape[0]), comm.size)[comm.rank]
    keep = np.isin(np.arange(A.shape[0]), rows).astype(A.real.dtype)
    return sp.csr_array(sp.diags_array(keep) @ A).astype(A.dtype)


def by_terms(A, comm):
    """Every entry on all ranks, as terms of a sum; with some that cancel."""
    share = sp.csc_array(A) * (0.75 if comm.rank == 0 else 0.25 / max(1, comm.size - 1))
    return sp.csc_array(share if comm.size > 1 else A).astype(A.dtype)


def on_first(A, comm):
    return A if comm.rank == 0 else None


def on_last(A, comm):
    return A if comm.rank == comm.size - 1 else None


SPLITS = [by_entries, by_rows, by_terms, on_first, on_last]


# ---- answers ----


def relative(found, wanted):
    """Largest error in units of the largest element; zero for nothing."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    scale = abs(wanted).max(initial=0)
    return abs(found - wanted).max(initial=0) / (scale if scale > 0 else 1.0)


def mask(S):
    """Both triangles of the pattern of a rank's part."""
    n = S.shape[0]
    lower = sp.csc_array((np.ones(S.indices.size), S.indices, S.indptr), shape=(n, n)).toarray()
    return (lower + lower.T) > 0


def errors(F, A, rng):
    """Errors of everything a factor answers, against dense NumPy."""
    n = A.shape[0]
    inverse = np.linalg.inv(A.astype(np.result_type(A.dtype, np.float64)))
    b = rng.standard_normal((n, 3))
    rows, cols = rng.integers(0, n, (2, 20)) if n else np.zeros((2, 0), dtype=int)
    own = (rows + F._comm.rank) % max(n, 1)  # each rank asks for others
    pattern = mask(F.pattern)
    Z = F.partial_inverse()
    gradient = np.where(np.eye(n), 1, 2) * inverse
    column = np.repeat(np.arange(n), np.diff(F.pattern.indptr))
    yield relative(F.solve(b), inverse @ b)
    yield relative(F.solve(b + 1j * b[::-1]), inverse @ (b + 1j * b[::-1]))
    yield relative(F.solve(b[:, 0] if F._comm.rank == 0 else None), inverse @ b[:, 0])
    yield relative(F.solve(on_last(np.asfortranarray(b), F._comm)), inverse @ b)
    assert F.solve(b[:, :0]).shape == (n, 0)
    yield abs(F.logdet() - np.linalg.slogdet(A)[1]) / max(n, 1)
    yield relative(Z.toarray(), np.where(pattern, inverse, 0))
    assert Z.has_sorted_indices
    assert Z.nnz == pattern.sum()
    yield relative(F.diag_inverse(), inverse.diagonal().real)
    yield relative(F.inverse_entries(own, cols), inverse[own, cols])
    yield relative(F.inverse_entries(own[:, None], cols), inverse[own[:, None], cols])
    yield relative(F.logdet_grad(), gradient[F.pattern.indices, column])


def check(F, A, rng):
    worst = max(errors(F, A, rng))
    assert worst < 2000 * eps(F.dtype), worst
    assert F.dtype == A.dtype


def answers():
    """Every type, way to part a matrix, and triangle, against dense NumPy."""
    rng = np.random.default_rng(5)
    for dtype in DTYPES:
        for kind in ("random", "disconnected", "arrow", "tree"):
            A, other = (random_spd(rng, 60, kind, dtype) for _ in range(2))
            other = np.where(A != 0, other, 0) + 100 * np.eye(60, dtype=dtype)
            for split in SPLITS:
                with scd.cholesky(split(A, WORLD), WORLD) as F:
                    check(F, A, rng)
                    assert F.refactorize(split(other, WORLD)) is F
                    check(F, other, rng)
            upper = sp.csc_array(by_entries(np.triu(A), WORLD))
            with scd.cholesky(upper, WORLD, lower=False, ordering="amd") as F:
                check(F, A, rng)


def many():
    """Small matrices of every kind and type, parted at random; both ranks draw the same."""

    @SETTINGS
    @given(spd_matrices(max_n=25, min_n=0), st.integers(0, 99), st.sampled_from(SPLITS))
    def run(A, seed, split):
        rng = np.random.default_rng(seed)
        order = "auto" if seed % 3 else rng.permutation(A.shape[0])
        S = scd.analyze(split(A, WORLD), WORLD, ordering=order)
        with S.factorize(split(A, WORLD)) as F:
            check(F, A, rng)
        if seed % 2:
            indefinite = A - 2 * A.max(initial=0) * np.eye(A.shape[0], dtype=A.dtype)
            if A.shape[0]:
                fails(
                    sc.NotPositiveDefiniteError, "", lambda: S.factorize(split(indefinite, WORLD))
                )

    run()


def packed():
    """Packed values go in and gradients come out in one order; a derivative by differences."""
    A = laplacian(5, 6)
    S = scd.analyze(by_entries(A, WORLD), WORLD)
    values = S.values(by_entries(A, WORLD))
    direction = np.random.default_rng(WORLD.rank).standard_normal(values.size)
    direction[S.indices == np.repeat(np.arange(30), np.diff(S.indptr))] += 1
    h = 1e-5
    with S.factorize(values) as F:
        slope = WORLD.allreduce(float(F.logdet_grad() @ direction))
        F.refactorize(values + h * direction)
        above = F.logdet()
        F.refactorize(values - h * direction)
        np.testing.assert_allclose(slope, (above - F.logdet()) / (2 * h), rtol=1e-7)
    np.testing.assert_array_equal(np.sort(S.perm), np.arange(30))
    single = sc.analyze(A, ordering=S.perm)
    assert (S.nnz, S.flops) == (single.nnz, single.flops)


def matrices(*names):
    """Real matrices against the serial engine."""
    for name in names:
        A = shared_matrix(name)
        b = np.random.default_rng(0).standard_normal((A.shape[0], 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)  # some are ill-conditioned
            try:
                serial = sc.cholesky(A)
            except sc.NotPositiveDefiniteError:
                part = by_rows(A, WORLD)
                fails(sc.NotPositiveDefiniteError, "", lambda part=part: scd.cholesky(part, WORLD))
                continue
            F = scd.cholesky(by_rows(A, WORLD), WORLD)
        tolerance = max(1e-9, 1e-17 * serial.condest())
        wanted = serial.partial_inverse()
        with F:
            x = F.solve(b)
            assert relative(x, serial.solve(b)) < tolerance, name
            # (in another order of a matrix with condition 4e18 the serial one differs by 1e-6)
            assert abs(F.logdet() / serial.logdet() - 1) < min(tolerance, 1e-5), name
            assert relative(F.diag_inverse(), wanted.diagonal()) < tolerance, name
            Z = F.partial_inverse()
            difference = abs(Z - wanted.multiply(Z != 0)).max()
            assert difference < tolerance * abs(wanted).max(), name
            # trace(A A^-1) = n
            trace = WORLD.allreduce(F.pattern.values(by_rows(A, WORLD)) @ F.logdet_grad())
        assert abs(trace / A.shape[0] - 1) < 100 * tolerance, name


# ---- faults ----


def fails(kind, words, call):
    """Every rank raises the same."""
    with pytest.raises(kind) as caught:
        call()
    told = type(caught.value).__name__, str(caught.value)
    assert words in told[1], told
    assert len(set(WORLD.allgather(told))) == 1, told


def with_entry(A, row, column, value, rank):
    """A on the first rank, and one more entry on another."""
    extra = sp.coo_array(([value], ([row], [column])), shape=A.shape)
    zero = sp.coo_array(A.shape)
    part = A if WORLD.rank == 0 else zero
    return sp.csc_array(part + extra if WORLD.rank == rank else part)


def faults():
    """Whatever is wrong on whatever rank is raised on all, and the communicator still works."""
    last = WORLD.size - 1
    A = sp.csc_array(laplacian(6, 7))
    S = scd.analyze(with_entry(A, 5, 4, 2.5, last), WORLD)
    F = S.factorize(on_first(A, WORLD))
    wanted = F.solve(np.ones(42))
    refused = sc.NotPositiveDefiniteError

    def either(first, other):
        return first if WORLD.rank < last else other

    def cholesky(part, **options):
        return lambda: scd.cholesky(part, WORLD, **options)

    for value in (np.nan, np.inf):
        message = f"entry (5, 4) is {value}"
        fails(ValueError, message, cholesky(with_entry(A, 5, 4, value, last)))
        fails(ValueError, message, lambda v=value: F.refactorize(with_entry(A, 5, 4, v, last)))
    fails(ValueError, "square", cholesky(either(A, A[:, :-1])))
    for value, width in ((1.0, 1), (1j, 2)):
        huge = sp.coo_array(([value], ([0], [0])), shape=(1, 1))
        huge._shape = (4_000_000_000 // width,) * 2  # nothing of that size is allocated
        fails(OverflowError, f"cannot count {width} x", cholesky(either(None, huge)))
    fails(ValueError, "None", cholesky(None))
    fails(TypeError, "supported", cholesky(either(A, np.array([["a"]]))))
    fails(ValueError, "outside 0 <=", cholesky(either(None, corrupt())))
    fails(ValueError, "ordering must be", cholesky(on_first(A, WORLD), ordering="no order"))
    fails(ValueError, "permutation", cholesky(on_first(A, WORLD), ordering=np.zeros(42, dtype=int)))
    fails(ValueError, "(1, 0) and (0, 1) differ", cholesky(slanted(last), check_symmetric=True))
    symmetric = on_first(np.array([[2, 1j], [1j, 2]]), WORLD)
    fails(ValueError, "complex symmetric, not", cholesky(symmetric, check_symmetric=True))
    upper = by_rows(sp.triu(A), WORLD)
    fails(ValueError, "pass lower=False", cholesky(upper))
    fails(ValueError, "pass lower=False", lambda: scd.analyze(upper, WORLD))
    fails(ValueError, "pass lower=False", lambda: S.factorize(upper))
    fails(ValueError, "pass lower=False", lambda: F.refactorize(upper))
    with scd.cholesky(upper, WORLD, lower=False, check_symmetric=True) as other:
        assert abs(other.logdet() / F.logdet() - 1) < 1e-12
    with scd.cholesky(by_entries(A, WORLD), WORLD, check_symmetric=True) as checked:
        assert abs(checked.logdet() / F.logdet() - 1) < 1e-12
    fails(sc.PatternMismatchError, "(9, 0)", lambda: F.refactorize(with_entry(A, 9, 0, 1.0, last)))
    fails(ValueError, "shape", lambda: F.refactorize(either(None, sp.eye_array(3))))
    fails(TypeError, "", lambda: F.refactorize(either(None, A * 1j)))
    fails(ValueError, "do not fit", lambda: F.solve(either(None, np.ones(5))))
    fails(
        ValueError, "b[3]", lambda: F.solve(either(None, np.where(np.arange(42) == 3, np.nan, 1)))
    )
    fails(ValueError, "None", lambda: F.solve(None))
    fails(TypeError, "sparse", lambda: F.solve(either(None, A)))
    fails(IndexError, "42", lambda: F.inverse_entries(either([0], [42]), [0]))
    fails(TypeError, "pickle", lambda: __import__("pickle").dumps(F))
    if last:
        fails(ValueError, "shape of A differs", cholesky(either(A, laplacian(3, 3))))
        fails(TypeError, "dtype differs", cholesky(either(A, A.astype(np.float32))))
        fails(ValueError, "lower differs", cholesky(A, lower=WORLD.rank == 0))
        fails(ValueError, "b differs", lambda: F.solve(np.ones((42, 1 + WORLD.rank))))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scd.cholesky(A, WORLD).finalize()
        assert [w.category for w in caught] == [UserWarning]
        assert caught[0].filename == __file__
    # None of these has harmed the factor.
    np.testing.assert_allclose(F.solve(np.ones(42)), wanted, rtol=1e-13)

    # The two triangles of the whole differ, and the one that is read is not positive definite.
    B = A.toarray()
    B[1, 0], B[0, 1] = 9, -1
    message = "Only one triangle was read, and the matrix is not symmetric: entries"
    for part in (by_rows(B, WORLD), by_entries(B, WORLD), on_first(B, WORLD)):
        fails(refused, message, cholesky(part))
    fails(refused, message, lambda: S.factorize(on_first(B, WORLD)))
    fails(refused, message, lambda: F.refactorize(on_first(B, WORLD)))
    F.refactorize(on_first(A, WORLD))

    # Not positive definite: found on the diagonal, by a pivot's sign, by its size.
    negative = sp.diags_array(np.where(np.arange(42) == 17, -2.0, 1.0))
    fails(refused, "row and column 17 is -2", cholesky(by_rows(negative, WORLD)))
    fails(refused, "INFOG(12)", cholesky(by_rows(A - 0.5 * sp.eye_array(42), WORLD)))
    singular = np.array([[1.0, 1.0], [1.0, 1.0 + np.finfo(float).eps]])
    fails(refused, "singular", cholesky(on_first(singular, WORLD), ordering="natural"))
    fails(refused, "", cholesky(by_rows(sp.csc_array(np.ones((4, 4))), WORLD)))
    fails(refused, "", lambda: F.refactorize(on_first(A - 0.5 * sp.eye_array(42), WORLD)))
    for use in (F.logdet, F.partial_inverse, F.diag_inverse, lambda: F.solve(np.ones(42))):
        fails(np.linalg.LinAlgError, "the last factorization failed", use)
    F.refactorize(on_first(A, WORLD))
    np.testing.assert_allclose(F.solve(np.ones(42)), wanted, rtol=1e-13)
    F.finalize()
    F.finalize()
    for use in (F.logdet, F.partial_inverse, lambda: F.refactorize(on_first(A, WORLD))):
        fails(ValueError, "finalized", use)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weak = np.eye(200)
        weak[0, 1] = weak[1, 0] = 1 - 1e-14
        scd.cholesky(on_first(weak, WORLD), WORLD, ordering="natural").finalize()
    assert [w.category for w in caught] == [LinAlgWarning]


def corrupt():
    """A matrix with an index out of range."""
    A = sp.csc_array(laplacian(6, 7))
    A.indices = A.indices.copy()
    A.indices[3] = 99
    return A


def slanted(rank):
    """The sum of all parts differs from its transpose."""
    A = np.eye(42)
    if WORLD.rank == rank:
        A[1, 0] = 0.5
        A[3, 2] = A[2, 3] = 0.5
    return A


def indefinite_root():
    """A negative pivot in the dense part at the root, which MUMPS may leave to ScaLAPACK."""
    n = 1200
    A = 2 * np.eye(n) + np.full((n, n), 1e-3)
    A[-1, :-1] = A[:-1, -1] = 0.1
    for last in (100.0, -1.0, 0.5):
        A[-1, -1] = last
        part = by_rows(A, WORLD)
        if np.linalg.eigvalsh(A)[0] > 0:
            with scd.cholesky(part, WORLD, ordering="natural") as F:
                assert abs(F.logdet() / np.linalg.slogdet(A)[1] - 1) < 1e-12
        else:
            fails(
                sc.NotPositiveDefiniteError,
                "",
                lambda part=part: scd.cholesky(part, WORLD, ordering="natural"),
            )


def workspace():
    """Too little workspace is raised until it is enough; else the error names INFOG."""
    A = laplacian(12, 12, 12)
    wanted = sc.logdet(A)
    _engine.FIRST_WORKSPACE = -60  # percent of what MUMPS estimates
    with scd.cholesky(by_rows(A, WORLD), WORLD) as F:
        assert abs(F.logdet() / wanted - 1) < 1e-12
        S = F.pattern
    _engine.ATTEMPTS = 1
    fails(MemoryError, "INFOG(1) = -", lambda: S.factorize(by_rows(A, WORLD)))
    _engine.FIRST_WORKSPACE = 25
    S.factorize(by_rows(A, WORLD)).finalize()


def blocks():
    """Right-hand sides and requests in several calls, as where 32 bits do not count them."""
    _factor.MOST_NUMBERS = 100
    rng = np.random.default_rng(2)
    for dtype in DTYPES:
        A = random_spd(rng, 30, "random", dtype)
        with scd.cholesky(by_entries(A, WORLD), WORLD) as F:
            check(F, A, rng)


# ---- what is freed ----


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def collection():
    """Factors dropped in any order, on any rank, at any time: all is freed, nothing waits."""
    A = on_first(laplacian(25, 25), WORLD)
    comm, kept, sizes = WORLD.Dup(), [], []
    for k in range(120):
        F = scd.cholesky(A, comm)
        if k % 4 == 0:
            F.finalize()
        if k % 3 == WORLD.rank:
            kept.append(F)  # other factors on other ranks
        if k % 8 == WORLD.rank:
            kept.clear()
        if k % 5 == 0:
            F.itself = F  # left to the collector of cycles
        if k % 20 == 19:
            gc.collect()
            kept.clear()
            sizes.append(resident())
    context = F.pattern._context
    del F
    gc.collect()
    context.sweep()
    assert not context._instances
    late = scd.cholesky(A, comm)
    comm.Free()  # takes the factor with it
    fails(ValueError, "finalized", late.logdet)
    # 20 of these factors, had they been kept, would take more than 20 MiB.
    assert sizes[-1] - sizes[1] < 4 * 2**20, sizes
    scd.cholesky(A, WORLD)
    forgotten = scd.cholesky(A, WORLD)
    if WORLD.rank == 0:
        del forgotten  # and nothing collective after that: the end must not wait


# ---- documents ----


def docstrings():
    result = doctest.testmod(_functions)
    assert result.attempted > 5
    assert result.failed == 0


def example(rows):
    """Log-likelihood and gradient of the example against the serial engine."""
    path = Path(__file__).parents[2] / "examples/spde_mpi.py"
    spec = importlib.util.spec_from_file_location("spde_mpi", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.compare(WORLD, int(rows))


if __name__ == "__main__":
    warnings.simplefilter("error")
    try:
        globals()[sys.argv[1]](*sys.argv[2:])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        WORLD.Abort(1)
