"""Hessians of functions of linear maps of the unknowns: against dense ones."""

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp

import sparsechol.pytensor as scpt

pytensor.config.blas__ldflags = ""  # without one to link to PyTensor warns


@pytest.fixture(autouse=True)
def in_python():
    """What compiles fastest."""
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


M, GROUPS, ITEMS = 400, 30, 24
N = GROUPS + ITEMS
RNG = np.random.default_rng(0)
GROUP, ITEM = RNG.integers(0, GROUPS, M), RNG.integers(0, ITEMS, M)
Y = RNG.poisson(1.5, M).astype(float)
COVARIATE = RNG.normal(size=M)
Z = sp.csr_matrix(
    (np.ones(2 * M), (np.tile(np.arange(M), 2), np.append(GROUP, GROUPS + ITEM))), (M, N)
)
THETA = np.array([0.3, -0.2])


def gathered(x, theta):
    return x[:GROUPS][GROUP] + x[GROUPS:][ITEM]


def scaled(x, theta):
    return pt.exp(theta[0]) * x[GROUP] + pt.exp(theta[1]) * x[GROUPS + ITEM] * COVARIATE


def multiplied(x, theta):
    return ps.structured_dot(ps.as_sparse_variable(Z), x[:, None])[:, 0]


def dense(x, theta):
    return pt.dot(Z.toarray(), x)


def prior(x, theta):
    return -0.5 * pt.exp(theta[0]) * (x**2).sum() - ((x[1:] - x[:-1]) ** 2).sum()


def poisson(map_of):
    def logjoint(x, theta):
        eta = map_of(x, theta)
        return prior(x, theta) + (Y * eta - pt.exp(eta)).sum()

    return logjoint


def location_and_scale(x, theta):
    """A normal density whose mean and deviation have random effects: blocks of two rows."""
    mean, scale = x[:GROUPS][GROUP], 0.3 * x[GROUPS:][ITEM] + 0.1 * x[:GROUPS][GROUP]
    return prior(x, theta) - (scale + 0.5 * ((Y - mean) / pt.exp(scale)) ** 2).sum()


def mixed_with_the_unknowns(x, theta):
    """One map that has second derivatives with x itself, beside one that has none."""
    shifted = x + pt.concatenate([x[1:], x[:1]])
    return poisson(gathered)(x, theta) - (x**2 * shifted**2).sum()


FUNCTIONS = {
    "gathered": poisson(gathered),
    "scaled": poisson(scaled),
    "multiplied": poisson(multiplied),
    "dense": poisson(dense),
    "location and scale": location_and_scale,
    "mixed": mixed_with_the_unknowns,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_products_with_all_columns(name):
    x, theta = pt.vector("x", shape=(N,)), pt.vector("theta", shape=(2,))
    cost = FUNCTIONS[name](x, theta)
    values, words = scpt.sparse_hessian(cost, x, format="values")
    assert "A^T W A" in words.how
    Q = scpt.sparse_hessian(cost, x, format="symmetric")
    weights = np.random.default_rng(2).normal(size=words.sparsity.nnz)
    slopes = pytensor.grad((weights * values).sum(), [x, theta])
    direct = scpt.sparse_hessian(cost, x, sparsity=words.sparsity, format="values")[0]
    wanted_slopes = pytensor.grad((weights * direct).sum(), [x, theta])
    f = pytensor.function([x, theta], [values, Q @ np.eye(N), *slopes])
    g = pytensor.function([x, theta], [direct, *wanted_slopes])
    at = np.random.default_rng(1).normal(size=N) / 3
    values, product, *slopes = f(at, THETA)
    wanted, *wanted_slopes = g(at, THETA)
    np.testing.assert_allclose(values, wanted, atol=1e-11 * abs(wanted).max())
    H = words.sparsity.astype(float)
    H.data = wanted
    np.testing.assert_allclose(product, H.toarray(), atol=1e-11 * abs(wanted).max())
    for a, b in zip(slopes, wanted_slopes, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9 * abs(b).max())


def test_two_variables():
    """Random effects as two vectors."""
    a, b = pt.vector("a", shape=(GROUPS,)), pt.vector("b", shape=(ITEMS,))
    eta = a[GROUP] + b[ITEM]
    cost = (Y * eta - pt.exp(eta)).sum() - (a**2).sum() - (b**2).sum()
    values, words = scpt.sparse_hessian(cost, [a, b], format="values")
    assert "A^T W A" in words.how
    at = np.random.default_rng(1).normal(size=N) / 3
    found = pytensor.function([a, b], values)(at[:GROUPS], at[GROUPS:])
    wanted = -(Z.T @ sp.diags_array(np.exp(Z @ at)) @ Z).toarray() - 2 * np.eye(N)
    H = words.sparsity.astype(float)
    H.data = found
    np.testing.assert_allclose(H.toarray(), wanted, atol=1e-12)


def test_few_colors_stay():
    x = pt.vector("x", shape=(50,))
    _, coloring = scpt.sparse_hessian(pt.exp(x[1:] - x[:-1]).sum(), x, format="values")
    assert "A^T W A" not in coloring.how
