"""Congruences A^T W A + B in graphs, against the SciPy face and differences."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from pytensor.gradient import verify_grad

import sparsechol as sc
import sparsechol.pytensor as scpt
from support.pytensor_systems import MODES

RNG = np.random.default_rng(2)
M, N = 8, 5
A = sp.csr_array(np.where(RNG.random((M, N)) < 0.5, 1.0, 0))
B = np.eye(N) + np.eye(N, k=2) + np.eye(N, k=-2)


def problem(block):
    """The analysis, variables, and their values."""
    G = scpt.gram(A, B, block=block)
    a, b = pt.dvector("a"), pt.dvector("b")
    w = pt.dvector("w") if block == 1 else pt.dtensor3("w")
    weights = RNG.standard_normal(G.weight_shape)
    if block > 1:
        weights = weights + weights.swapaxes(1, 2)
    numbers = [RNG.standard_normal(G.indices.size), weights, RNG.standard_normal(2 * N - 2)]
    return G, (a, w, b), numbers


@pytest.mark.fast_cases("1-(JAX|FAST_COMPILE)")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("block", [1, 2])
def test_values_and_gradients(block, mode):
    G, variables, numbers = problem(block)
    values = G.values(*variables).values
    gradients = pt.grad((values**2).sum(), list(variables))
    f = pytensor.function(list(variables), [values, *gradients], mode=mode)
    found, *of = f(*numbers)
    plain = sc.gram(A, B, block=block)
    wanted = plain.values(*numbers)
    np.testing.assert_allclose(found, wanted, atol=1e-13)
    for x, y in zip(of, plain.adjoint(2 * wanted, *numbers[:2]), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 2])
def test_derivatives_of_second_order(block):
    G, _, numbers = problem(block)

    def value(a, w, b):
        return (G.values(a, w, b).values ** 2).sum()

    def check(f):
        verify_grad(f, numbers, rng=np.random.default_rng(0), mode="FAST_COMPILE")

    check(lambda *z: G.values(*z).values)
    for q in range(3):
        check(lambda *z, q=q: pt.grad(value(*z), z[q]))


def test_batches():
    G, (a, w, b), (x, y, z) = problem(1)
    many, weights = pt.dmatrix("many"), pt.dmatrix("weights")
    xs, ys = np.stack([x, 2 * x, -x]), np.stack([y, y + 1, y - 1])
    out = G.values(many, weights, b).values
    found = out.eval({many: xs, weights: ys, b: z}, mode="FAST_COMPILE")
    np.testing.assert_allclose(found, sc.gram(A, B).values(xs, ys, z))
    del a, w


@pytest.mark.slow
def test_to_a_solution():
    """Values of a Jacobian by column, to the derivative of a solution."""
    x = pt.dvector("x", shape=(N,))
    r = pt.concatenate([x[1:] - pt.sin(x[:-1]), x**2])
    values, coloring = scpt.sparse_jacobian(r, x, format="values")
    G = scpt.gram(coloring.sparsity, np.eye(N))
    H = G.values(G.from_columns(values), b=np.full(N, 0.5))
    at = np.linspace(0.5, 1.0, N)
    D = pt.jacobian(r, x)
    dense = pt.linalg.slogdet(D.T @ D + 0.5 * pt.eye(N))[1]
    for ours, theirs in ((scpt.logdet(H), dense), (pt.grad(scpt.logdet(H), x), pt.grad(dense, x))):
        pair = pytensor.function([x], [ours, theirs], mode="FAST_COMPILE")
        np.testing.assert_allclose(*pair(at), rtol=1e-10)


def test_forms_of_operands():
    G, _, (x, y, z) = problem(1)
    D = sp.csr_array((x, G.indices, G.indptr), shape=(M, N))
    Q = scpt.from_sparse(B)
    wanted = sc.gram(A, B).values(D, y, sp.csc_array(B))
    for a, b in ((D, Q), (x, Q.values), (D.tocsc(), sp.csc_array(B))):
        np.testing.assert_allclose(G.values(a, y, b).values.eval(mode="FAST_COMPILE"), wanted)
    assert scpt.gram(A, Q) == scpt.gram(A, B)
    single = G.values(x.astype("f"), y.astype("f"), z.astype("f"))
    assert single.dtype == "float32"
    assert G.values(pt.fvector("a")).dtype == "float32"
    with pytest.raises(ValueError, match="a has shape"):
        G.values(x[:-1])
    with pytest.raises(ValueError, match="w has shape"):
        G.values(x, np.ones(3))
    with pytest.raises(ValueError, match="another pattern"):
        G.values(x, b=scpt.from_sparse(np.eye(N)))
    with pytest.raises(ValueError, match="without its pattern"):
        scpt.gram(A).values(x, b=z)
    with pytest.raises(TypeError, match="complex"):
        G.values(1j * x)
    a = pt.dvector("a")
    with pytest.raises(ValueError, match="an operand has shape"):
        G.values(a).values.eval({a: np.ones(3)}, mode="FAST_COMPILE")
