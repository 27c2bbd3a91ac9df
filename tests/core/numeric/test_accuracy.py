"""Rounding errors in single precision over many seeds, of every kernel, against double precision.

Kernel matrices are where the order of a sum shows: what is left of an entry shrinks fast. Sums from
zero that are then subtracted err by 1e-2 in the log-determinant, every time in the same direction.
"""

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._core.numeric.operations import CODES

SEEDS = range(12)
SINGLE = [np.float32, np.complex64]


def gaussian_process(seed, dtype, n=200):
    """Squared exponential kernel with noise; with random phases if complex. Exact in `dtype`."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 3, n)
    A = np.exp(-0.5 * (x[:, None] - x) ** 2) + 1e-3 * np.eye(n)
    if np.dtype(dtype).kind == "c":
        phase = np.exp(1j * rng.uniform(0, 6, n))
        A = phase[:, None] * A * phase.conj()
    lower = np.tril(A, -1).astype(dtype)
    return lower + lower.conj().T + np.diag(A.diagonal().real.astype(dtype))


def double(x):
    """The same numbers in double precision."""
    return x.astype(np.result_type(x.dtype, np.float64))


def distance(x, y):
    """Relative distance in the Frobenius norm."""
    return np.linalg.norm(x - y) / np.linalg.norm(y)


def rms(errors):
    """Root mean square."""
    return np.sqrt(np.mean(np.square(errors)))


@pytest.mark.fast_cases(r".*float32")
@pytest.mark.parametrize("dtype", SINGLE)
def test_the_log_determinant_has_no_bias(instruction_set, dtype):
    """Sums from zero: mean 1.2e-2 (2.2e-2 if complex); LAPACK: 4e-3 (2.6e-2)."""
    errors = []
    for seed in SEEDS:
        A = gaussian_process(seed, dtype)
        errors.append(sc.cholesky(A).logdet() - np.linalg.slogdet(double(A))[1])
    assert abs(np.mean(errors)) < 5e-4
    assert rms(errors) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("dtype", SINGLE)
def test_solutions(instruction_set, dtype):
    """Sums from zero: 1.4e-3 for one right-hand side, 2.4e-3 for several."""
    one, many = [], []
    for seed in SEEDS:
        A = gaussian_process(seed, dtype)
        F = sc.cholesky(A)
        b = A @ np.random.default_rng(seed).standard_normal((200, 9)).astype(dtype)
        x = np.linalg.solve(double(A), double(b))
        one.append(distance(F.solve(b[:, 0]), x[:, 0]))
        many.append(distance(F.solve(b), x))
    assert rms(one) < 8e-4
    assert rms(many) < 8e-4


@pytest.mark.slow
@pytest.mark.parametrize("dtype", SINGLE)
def test_sweeps_from_the_same_factor(dtype):
    """Each sweep in single and in double precision, from inputs that are exact in single."""
    bound = dict.fromkeys(["partial_inverse", "adjoint", "inner"], 4e-6)
    bound |= dict.fromkeys(["tangent", "outer", "sandwich"], 1.5e-5)
    errors = {name: [] for name in bound}
    for seed in SEEDS:
        A = gaussian_process(seed, dtype)
        F = sc.cholesky(double(A))
        pattern = F.pattern
        L = F._panels.astype(dtype)

        def sweep(name, *operands, pattern=pattern, L=L):
            """The double result, rounded; the error of the single one is noted."""
            results = []
            for kind in (dtype, double(L).dtype):
                out = np.empty(L.shape, kind)
                given = tuple(np.ascontiguousarray(x.astype(kind)) for x in operands)
                pattern._handle.perform(CODES[name], given, out, 1)
                results.append(out)
            errors[name].append(distance(*results))
            return results[1].astype(dtype)

        S = sweep("partial_inverse", L)
        M = pattern.values(double(A) / 10 + np.eye(len(A)))[None].astype(dtype)
        X = sweep("tangent", L, M)
        sweep("adjoint", L, X)
        sweep("outer", X, L)
        sweep("inner", S, X)
        sweep("sandwich", L, S, X)
    assert {name: rms(e) for name, e in errors.items() if rms(e) > bound[name]} == {}
