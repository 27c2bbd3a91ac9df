"""Finite differences against formulas and SciPy's."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import rosen_der, rosen_hess
from scipy.optimize._numdiff import approx_derivative

import sparsechol as sc
from sparsechol.coloring import color

TOLERANCES = {"2-point": 3e-6, "3-point": 1e-8, "cs": 1e-12}
N = 12
RNG = np.random.default_rng(0)
M = RNG.standard_normal((9, N)) * (RNG.random((9, N)) < 0.3)
X = RNG.standard_normal(N) * np.exp(2 * RNG.standard_normal(N))


def f(x):
    return M @ np.sin(x) + (M @ x) ** 2


def jacobian(x):
    return M * np.cos(x) + 2 * (M @ x)[:, None] * M


@pytest.mark.parametrize("method", TOLERANCES)
def test_jacobian(method):
    J = sc.approx_jacobian(f, X, M, method=method)
    wanted = jacobian(X)
    assert J.format == "csc"
    assert np.max(abs(J - wanted)) < TOLERANCES[method] * np.max(abs(wanted)) * 100
    options = {"sparsity": sp.csr_matrix(M != 0)}
    theirs = approx_derivative(f, X, method, **options).toarray()
    np.testing.assert_allclose(J.toarray(), theirs, rtol=1e-6, atol=1e-6 * np.max(abs(wanted)))


@pytest.mark.parametrize("method", TOLERANCES)
def test_hessian(method):
    x = np.linspace(-1, 2, 30) ** 3 * 10
    wanted = rosen_hess(x)
    H = sc.approx_hessian(rosen_der, x, wanted, method=method)
    assert abs(H - H.T).max() == 0
    assert np.max(abs(H - wanted)) < TOLERANCES[method] * np.max(abs(wanted))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 12), density=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_hessians_of_quadratic_functions(n, density, seed):
    """Central differences are exact but for rounding, whatever the steps."""
    rng = np.random.default_rng(seed)
    A = np.tril(rng.standard_normal((n, n)) * (rng.random((n, n)) < density))
    A = A + A.T
    x, steps = rng.standard_normal(n), np.exp2(rng.integers(-8, 3, n))
    H = sc.approx_hessian(lambda x: A @ x, x, A, method="3-point", abs_step=steps)
    np.testing.assert_allclose(H.toarray(), A, atol=1e-11)


def test_calls():
    """One for each color, and what else the method needs."""
    counts = {}
    pattern = sp.diags_array([np.ones(99), np.ones(100), np.ones(99)], offsets=[-1, 0, 1])
    C = color(pattern)
    assert C.num_colors == 3
    for method, options in [("2-point", {}), ("2-point", {"f0": np.zeros(100)}), ("3-point", {}),
                            ("cs", {})]:  # fmt: skip
        calls = []

        def counted(x, scale, calls=calls):
            calls.append(x)
            return scale * (pattern @ x)

        J = sc.approx_jacobian(counted, np.zeros(100), C, method=method, args=(2.0,), **options)
        counts[method, len(options)] = len(calls)
        assert abs(J - 2 * pattern).max() < 1e-6
    assert counts == {("2-point", 0): 4, ("2-point", 1): 3, ("3-point", 0): 6, ("cs", 0): 3}


def test_steps():
    """Relative ones have the sign of x, so that they do not leave its half-line."""
    seen = []

    def g(x):
        seen.append(x)
        return x

    x = np.array([100.0, -3.0, 0.0])
    sc.approx_jacobian(g, x, np.eye(3), rel_step=0.1)
    np.testing.assert_allclose(seen[-1] - x, [10.0, -0.3, 0.1])
    sc.approx_jacobian(g, x, np.eye(3), abs_step=[1.0, 2.0, -3.0])
    np.testing.assert_allclose(seen[-1] - x, [1.0, 2.0, -3.0])


def test_no_variables_and_no_entries():
    assert sc.approx_jacobian(lambda x: x, np.zeros(0), np.zeros((0, 0))).shape == (0, 0)
    J = sc.approx_jacobian(lambda x: np.zeros(2), np.zeros(3), np.zeros((2, 3)))
    assert J.shape == (2, 3)
    assert J.nnz == 0
    assert sc.approx_hessian(lambda x: x, np.zeros(0), np.zeros((0, 0)), method="cs").shape == (
        0,
        0,
    )


def test_nan_in_a_function_stays():
    """It is for the caller to see."""
    J = sc.approx_jacobian(lambda x: x * [1.0, np.nan], np.ones(2), np.eye(2))
    assert np.isfinite(J[0, 0])
    assert np.isnan(J[1, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sc.approx_jacobian(f, X[:3], M), "12 columns"),
        (lambda: sc.approx_jacobian(f, X[:, None], M), "12 columns"),
        (lambda: sc.approx_jacobian(f, X + 0j, M), "real"),
        (lambda: sc.approx_jacobian(f, X * np.nan, M), "NaN"),
        (lambda: sc.approx_jacobian(f, X, M, method="4-point"), "method must be one of"),
        (lambda: sc.approx_jacobian(f, X, M, rel_step=0.0), "vanishes"),
        (lambda: sc.approx_jacobian(f, X, M, abs_step=1e-300), "vanishes"),
        (lambda: sc.approx_jacobian(f, X, M, f0=np.ones(2)), "f0 has shape"),
        (lambda: sc.approx_jacobian(lambda x: x, X, M), "the pattern has 9 rows"),
        (lambda: sc.approx_jacobian(f, X, color(M, "row")), "structure 'column' is needed"),
        (lambda: sc.approx_hessian(f, X, M), "square"),
        (lambda: sc.approx_hessian(f, X, color(np.eye(12), "symmetric", "substitution")),
         "a direct coloring"),
    ],
)  # fmt: skip
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
