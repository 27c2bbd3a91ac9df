"""The short ways of solve and refactorize: same results, same refusals as the long ones."""

import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
from support.helpers import random_spd


def given(A, kind, dtype):
    """A matrix as users hold it, and which triangle to read."""
    container = sp.csr_array if kind.startswith("csr") else sp.csc_matrix
    part = {"both": lambda A: A, "lower": sp.tril, "upper": sp.triu}[kind.split("-")[1]]
    return container(part(sp.csc_array(A)).astype(dtype)), not kind.endswith("upper")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("kind", ["csc-lower", "csc-both", "csc-upper", "csr-both", "csr-upper"])
def test_known_places_give_the_same_values(kind, dtype):
    rng = np.random.default_rng(0)
    A = random_spd(rng, 12, dtype=dtype)
    M, lower = given(A, kind, dtype)
    S = sc.analyze(A)
    F = S.factorize(M, lower=lower)
    G = F.copy()
    for scale in (2.0, 3.0, 4.0):  # the second time from known places
        N = M.copy()
        N.data = N.data * np.asarray(scale, N.data.real.dtype)
        F.refactorize(N, lower=lower)
        assert F._known is not None
        assert F._known.packed(N, lower, F.dtype) is not None
        np.testing.assert_array_equal(F._values[0], S.values(N, lower=lower))
    assert G._values[0, 0] != F._values[0, 0]
    assert F._known.packed(N, not lower, F.dtype) is None
    N.indices = N.indices[::-1].copy()  # other arrays, and the same ones changed in place
    assert F._known.packed(N, lower, F.dtype) is None
    M.indices[:] = M.indices[::-1].copy()
    assert F._known.packed(M, lower, F.dtype) is None


def test_known_places_refuse_what_the_long_way_refuses():
    A = random_spd(np.random.default_rng(1), 9)
    F = sc.cholesky(A)
    M = sp.csc_array(A)
    F.refactorize(M).refactorize(M)
    before = F._values
    bad = M.copy()
    bad.data[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        F.refactorize(bad)
    with pytest.raises(TypeError):
        F.refactorize(M.astype(complex))
    upper, cut = M.copy(), M.copy()
    upper.data[np.repeat(np.arange(9), np.diff(M.indptr)) < M.indices] = 0
    with pytest.raises(ValueError, match="pass lower=False"):
        F.refactorize(upper)
    cut.data = cut.data[:-1]
    with pytest.raises(ValueError, match="length"):
        F.refactorize(cut)
    assert F._values is before
    other = sp.csc_array(np.eye(9))  # a smaller pattern, and then the old one again
    np.testing.assert_allclose(F.refactorize(other).logdet(), 0, atol=1e-15)
    np.testing.assert_allclose(F.refactorize(M).logdet(), np.linalg.slogdet(A)[1])
    twice = sp.csc_array((18 * [1.0], np.repeat(np.arange(9), 2), np.arange(0, 19, 2)), (9, 9))
    for _ in range(2):
        np.testing.assert_allclose(F.refactorize(twice).logdet(), 9 * np.log(2))
    assert F._known is None


@pytest.mark.parametrize("signed", [False, True])
def test_vectors_of_every_kind(signed):
    rng = np.random.default_rng(2)
    A = random_spd(rng, 11)
    F = sc.ldl(-A) if signed else sc.cholesky(A)
    A = -A if signed else A
    b = rng.standard_normal(22)
    frozen = b[:11].copy()
    frozen.flags.writeable = False
    shifted = np.frombuffer(b"x" + b[:11].tobytes(), np.float64, offset=1)
    for v in (b[:11], b[::2], b[::-2], b[:11].astype(">f8"), b[:11].astype(np.float32), frozen,
              shifted, b[:11].astype(complex) * 1j, np.arange(11), list(b[:11])):  # fmt: skip
        kept = np.array(v)
        np.testing.assert_allclose(A @ F.solve(v), kept, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(v, kept)
    for threads in (1, 2, np.int64(2), None):
        np.testing.assert_array_equal(F.solve(b[:11], threads=threads), F.solve(b[:11]))
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"b\[4\]"):
            F.solve(np.where(np.arange(11) == 4, value, 1.0))
    with pytest.raises(ValueError, match="shapes"):
        F.solve(b)
    for wrong in (0, 1.5, True):
        with pytest.raises((ValueError, TypeError)):
            F.solve(b[:11], threads=wrong)
    with pytest.raises(np.linalg.LinAlgError):
        F.refactorize(0 * A)
    with pytest.raises(np.linalg.LinAlgError, match="no factor"):
        F.solve(b[:11])
    F.refactorize(A)
    with pytest.raises(OverflowError):
        F.refactorize(1e-200 * A).solve(1e200 * np.ones(11))
