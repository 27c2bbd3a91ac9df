"""Programs: what is written down for numba, against what PyTensor runs in Python."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.ops import DeepCopyOp

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol.pytensor._programs import Program

pytensor.config.blas__ldflags = ""  # without one to link to PyTensor warns

N = 6
A = 3 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1)
P = sc.analyze(A)
POINTS = [np.random.default_rng(0).uniform(0.5, 1.5, shape) for shape in (N, (3, N), ())]


def variables(dtype="float64"):
    """A vector, a matrix and a scalar of known shapes."""
    return (
        pt.tensor("x", dtype=dtype, shape=(N,)),
        pt.tensor("M", dtype=dtype, shape=(3, N)),
        pt.tensor("t", dtype=dtype, shape=()),
    )


def check(inputs, outputs, points=POINTS, rtol=1e-12):
    """Compare all outputs, and return how many nodes of the compiled function are no programs."""
    dtype = inputs[0].type.dtype
    outputs = [*outputs, scpt.SymmetricMatrix(P, pt.as_tensor(P.values(A)) * inputs[2]).logdet()]
    points = [np.asarray(point, dtype) for point in points]
    options = {"on_unused_input": "ignore"}
    wanted = pytensor.function(inputs, outputs, mode="FAST_COMPILE", **options)(*points)
    f = pytensor.function(inputs, outputs, mode="NUMBA", **options)
    for got, like in zip(f(*points), wanted, strict=True):
        assert (got.dtype, got.shape) == (like.dtype, like.shape)
        np.testing.assert_allclose(got, like, rtol=rtol)
    nodes = f.maker.fgraph.apply_nodes
    assert any(isinstance(node.op, Program) for node in nodes)
    return [node.op for node in nodes if not isinstance(node.op, Program | DeepCopyOp)]


@pytest.mark.slow
def test_every_kind_of_node():
    x, M, t = variables()
    far = np.array([5, 0, 0, 3])
    mask = x > 1
    turned = M.T * t
    outputs = [
        # elements, alone and in broadcasts of every kind
        pt.exp(x) * t + x**2,
        M * x + M[:, :1] - t,
        pt.switch(mask, x, -x) + pt.switch(mask, 1.0, t),
        pt.stack([t, t * 2, x[-1]]),
        # reductions over all axes and over some
        (M * x).sum(),
        M.sum(axis=0),
        turned.sum(axis=1),
        turned.max(axis=0),
        pt.prod(M, axis=1),
        pt.all(mask) | pt.any(mask),
        # places
        x[1:] - x[:-1],
        x[::-2] * 2,
        M[::2, 1:-1] + 1,
        M[-1, 2],
        turned.reshape((9, 2)) * 3,
        turned.reshape((2, 3, 3)).dimshuffle(2, 0, 1),
        pt.concatenate([M, M[:, 1:3] * t], axis=1),
        pt.alloc(t, 2, 3),
        pt.alloc(x[1:3], 2, 2) + 1,
        *pt.split(x * 2, [2, 4], n_splits=2),
        # writes
        pt.inc_subtensor(x[2:4], t),
        pt.set_subtensor(M[:, ::2], x[:3]),
        pt.inc_subtensor(pt.set_subtensor((x * t)[1], t)[1:], x[1:]),
        # indices, also those that come twice
        (x * 2)[far],
        pt.inc_subtensor(pt.zeros(N)[far], x[:4]),
        pt.set_subtensor((x * 3)[far[1:]], t),
    ]
    assert check([x, M, t], outputs) == []


def test_kernels():
    """Also of vectors that have to be copied for them, and of several columns."""
    x, M, t = variables()
    Q = scpt.SymmetricMatrix(P, pt.as_tensor(P.values(A)) * t)
    outputs = [
        *(Q.solve(x), Q.solve(M.T), Q.solve(pt.alloc(t, N)), Q @ x[::-1], Q.diag_inverse()),
        pytensor.grad(Q.logdet() + Q.quad_form(x), t),
        pytensor.grad((Q.solve(x * t) ** 3).sum(), x),
    ]
    assert check([x, M, t], outputs, rtol=1e-11) == []


def test_single_precision():
    x, M, t = variables("float32")
    Q = scpt.SymmetricMatrix(P, pt.as_tensor(P.values(A).astype("float32")) * t)
    assert check([x, M, t], [Q.solve(x), (M * x).max(axis=1), x[1:] * t], rtol=1e-5) == []


def test_types_are_those_of_pytensor():
    """Numba takes float32 for the larger of a float32 and an integer, PyTensor float64."""
    x, M, t = variables()
    whole = pt.cast(t, "int64")
    larger = pt.maximum(pt.cast(whole, "float32"), whole)
    check([x, M, t], [pt.arctan2(larger, pt.cast(-x, "int64")), larger])


def test_what_cannot_be_written():
    """It stays: a sort, a product, places that are no constants, the largest of integers."""
    x, M, t = variables()
    y, whole = pt.sort(x * t), pt.cast(3 * M, "int64")
    outputs = [y[1:] - y[:-1], pt.exp(M @ y) + t, (y * 2)[pt.argsort(x)[:2]], pt.max(whole, axis=1)]
    assert len(check([x, M, t], outputs)) > 1


def test_unknown_shapes():
    x, _, t = variables()
    z = pt.vector("z")
    f = pytensor.function([x, t, z], scpt.SymmetricMatrix(P, z * t).solve(x * t), mode="NUMBA")
    wanted = np.linalg.solve(A, POINTS[0])
    np.testing.assert_allclose(f(POINTS[0], 2.0, P.values(A)), wanted)
    with pytest.raises(ValueError, match="shape"):
        f(POINTS[0], 2.0, np.ones(3))


def test_failures_are_told():
    """A factor that does not exist makes NaN, and the largest of what is not finite is NaN."""
    x, _, t = variables()
    Q = scpt.SymmetricMatrix(P, pt.as_tensor(P.values(A)) * t)
    outputs = [Q.logdet(), pt.max(Q.solve(x))]
    assert np.isnan(pytensor.function([x, t], outputs, mode="NUMBA")(POINTS[0], -1.0)).all()


def test_graphs_without_our_operations_stay_as_they_are():
    x, _, _ = variables()
    f = pytensor.function([x], (pt.exp(x[1:]) - x[:-1]).sum(), mode="NUMBA")
    assert not any(isinstance(node.op, Program) for node in f.maker.fgraph.apply_nodes)
