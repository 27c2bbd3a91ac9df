"""Matrices of a batch side by side against each by itself."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsechol as sc
from sparsechol._core.numeric.dense import instruction_set
from sparsechol._core.numeric.factorize import factorize, workspace
from sparsechol._core.numeric.operations import CODES, NAMES
from sparsechol._core.numeric.sweep_driver import side_by_side
from support.helpers import random_pattern, random_values

SWEEPS = ["tangent", "tangent_panels", "adjoint", "outer", "inner", "partial_inverse", "sandwich"]
KINDS = ["random", "tree", "dense", "diagonal"]


@pytest.fixture(autouse=True)
def put_back():
    yield
    side_by_side(None)


@pytest.fixture(params=["portable", "avx2", "avx512"])
def isa(request):
    best = instruction_set()
    try:
        instruction_set(request.param)
    except ValueError:
        pytest.skip(f"no {request.param} here")
    yield request.param
    instruction_set(best)


def batch_of(count, n, kind, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "chain":
        pattern = sp.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])
        pattern = pattern.toarray() != 0
    else:
        pattern = random_pattern(rng, n, kind)
    S = sc.analyze(pattern.astype(float))
    return S, np.array([S.values(random_values(rng, pattern, float)) for _ in range(count)])


def dense(S, packed):
    """A matrix from its packed values."""
    lower = sp.csc_array((packed, S.indices, S.indptr), shape=S.shape).toarray()
    return lower + np.tril(lower, -1).T


def both_ways(run):
    """The results side by side, and matrix by matrix."""
    results = []
    for allow in (True, False):
        side_by_side(allow)
        results.append(run())
    return results


def perform(name, S, *operands, threads=1):
    """An operation on a batch; without what stands above the diagonal of panels."""
    count = len(operands[-1])
    letter = NAMES[name][-1]
    out = np.full((count, S._handle.length(letter)), np.nan)
    S._handle.perform(CODES[name], operands, out, threads)
    if letter != "l":
        return out
    lower = np.empty_like(out)
    S._handle.perform(CODES["weigh"], (out,), lower, 1)
    return lower


def all_sweeps(S, values, threads):
    factor = perform("cholesky", S, values, threads=threads)
    inverse = np.empty_like(factor)
    S._handle.perform(CODES["partial_inverse"], (factor,), inverse, threads)
    x = perform("tangent", S, factor, values[::-1].copy(), threads=threads)
    y = perform("tangent", S, factor[:1], values, threads=threads)  # one operand for all
    operands = {
        "tangent": (factor, values),
        "tangent_panels": (factor, x),
        "adjoint": (factor, x),
        "outer": (x, y),
        "inner": (inverse, y),
        "partial_inverse": (factor,),
        "sandwich": (factor, inverse, x),
    }
    found = {name: perform(name, S, *operands[name], threads=threads) for name in SWEEPS}
    return found | {"cholesky": factor, "square": inverse}


@pytest.mark.parametrize("operation", ["solve", "solve_triangular"])
@pytest.mark.parametrize("flags", [0, 1, 2, 32])
@pytest.mark.parametrize("kind", [*KINDS, "chain"])
@pytest.mark.parametrize(("count", "threads"), [(8, 1), (19, 2)])
def test_solves_have_the_bits_of_single_matrices(isa, operation, flags, kind, count, threads):
    S, values = batch_of(count, 70, kind)
    rng = np.random.default_rng(4)
    factor = perform("cholesky", S, values)
    factor[:, :: 3 if flags == 32 else 1] *= -1 if flags == 32 else 1  # some pivots negative
    factor[count // 2] = np.nan
    for shared in (False, True):
        b = rng.standard_normal((1 if shared else count, 70, 1))

        def run(b=b):
            out = np.full((count, 70, 1), 7.0)
            S._handle.perform(CODES[operation], (factor, b), out, threads, flags)
            return out

        together, alone = both_ways(run)
        np.testing.assert_array_equal(together, alone)
        assert np.isnan(together).all(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "threads"), [(1, 1), (1, 2), (8, 1), (19, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex64])
def test_inverse_on_the_pattern_is_what_panels_hold(isa, kind, count, threads, dtype):
    S, values = batch_of(count, 70, kind)
    values = values.astype(dtype)
    if count > 1:
        values[3, S.indptr[5]] = -1
    factor = np.empty((count, S._structure.size), dtype)
    panels = np.empty_like(factor)
    S._handle.perform(CODES["cholesky"], (values,), factor, threads)
    S._handle.perform(CODES["partial_inverse"], (factor,), panels, threads)
    expected = np.empty_like(values)
    S._handle.perform(CODES["gather"], (panels,), expected, threads, 0, 1.0, 2.0)

    def run():
        out = np.full_like(values, 7)
        S._handle.perform(CODES["gathered_inverse"], (factor,), out, threads, 0, 1.0, 2.0)
        return out

    for found in both_ways(run):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "threads"), [(8, 1), (19, 1), (19, 2), (33, 3)])
def test_every_sweep_has_the_bits_of_single_matrices(isa, kind, count, threads):
    S, values = batch_of(count, 70, kind)
    together, alone = both_ways(lambda: all_sweeps(S, values, threads))
    for name, expected in alone.items():
        np.testing.assert_array_equal(together[name], expected, err_msg=name)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 90), st.integers(1, 26), st.sampled_from(KINDS), st.integers(0, 99))
def test_any_size_of_matrix_and_batch(n, count, kind, seed):
    S, values = batch_of(count, n, kind, seed)
    together, alone = both_ways(lambda: all_sweeps(S, values, 2))
    for name, expected in alone.items():
        np.testing.assert_array_equal(together[name], expected, err_msg=name)


def test_solutions_are_those_of_dense_matrices():
    S, values = batch_of(16, 40, "random")
    side_by_side(True)
    F = S.factorize_batch(values)
    b = np.random.default_rng(1).standard_normal((16, 40))
    matrices = np.array([dense(S, v) for v in values])
    x = np.linalg.solve(matrices, b[..., None])[..., 0]
    np.testing.assert_allclose(F.solve(b), x, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(F.logdet(), np.linalg.slogdet(matrices).logabsdet, rtol=1e-12)


def outcomes(S, values, threads=1):
    """What the factorization reports of each matrix, and the factors."""
    structure = S._structure
    flat = np.empty((len(values), structure.size))
    work = np.empty(workspace(structure, len(values), threads))
    return [*factorize(structure, values, flat, work, threads)[:4], flat]


def compare_outcomes(S, values):
    together, alone = both_ways(lambda: outcomes(S, values))
    for found, expected in zip(together[:4], alone[:4], strict=True):
        np.testing.assert_array_equal(found, expected)
    for k in np.flatnonzero(alone[0] == -1):
        lower = [perform("weigh", S, part[4][k : k + 1]) for part in (together, alone)]
        np.testing.assert_array_equal(*lower)
    return alone


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_is_told_as_by_itself_and_disturbs_no_other(isa, kind):
    """Negative, zero, NaN, infinite and overflowing pivots at early and late rows."""
    S, values = batch_of(24, 40, kind)
    spoiled = [(1, 3, -2.0), (1, 30, -5.0), (4, 39, 0.0), (6, 0, np.nan), (9, 17, np.inf),
               (12, 5, -0.0), (13, 25, -1e300)]  # fmt: skip
    for item, row, value in spoiled:
        values[item, S.indptr[row]] = value
    failed, *_ = compare_outcomes(S, values)
    assert set(np.flatnonzero(failed != -1)) == {item for item, *_ in spoiled}


@pytest.mark.parametrize("kind", ["random", "tree", "dense"])
def test_weak_pivots_are_weighed_as_by_themselves(isa, kind):
    S, values = batch_of(16, 40, kind)
    rng = np.random.default_rng(3)
    L = [S.factorize(v).L.toarray() for v in values]
    for k, scale in enumerate(10.0 ** -np.arange(16)):
        F = S.factorize(values[k])
        weak = L[k] * np.where(rng.random(40) < 0.3, scale, 1)  # some columns nearly vanish
        A = np.empty((40, 40))
        A[np.ix_(F.perm, F.perm)] = weak @ weak.T
        values[k] = S.values(A * (dense(S, values[k]) != 0))
    _, _, part, _, _ = compare_outcomes(S, values)
    assert part.min() < 1e-6


@pytest.mark.parametrize("scale", [1e-310, 1e-308, 1e300])
@pytest.mark.parametrize("kind", KINDS)
def test_matrices_near_the_ends_of_the_range(isa, kind, scale):
    S, values = batch_of(9, 30, kind)
    values[::2] *= scale
    compare_outcomes(S, values)
