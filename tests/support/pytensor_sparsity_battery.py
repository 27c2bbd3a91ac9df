"""Expressions of one vector of eight positive numbers, and how many entries their Jacobians have.

Where no number is given, the pattern may be larger than the Jacobian is, but not smaller.
"""

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import scipy.sparse as sp
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.mode import Mode
from pytensor.gradient import (
    disconnected_grad,
    grad_clip,
    grad_scale,
    zero_grad,
)
from pytensor.scan.utils import until

import sparsechol.pytensor as scpt

try:
    from pytensor.conditional.op import ifelse
except ImportError:  # before PyTensor 3.3
    from pytensor.ifelse import ifelse

# Without a BLAS to link to PyTensor warns, and two rewrites of 3.0 print errors of their own.
pytensor.config.blas__ldflags = ""
PYTHON = Mode(linker="py", optimizer="fast_compile").excluding(
    "local_add_of_sparse_write", "local_csm_properties_csm"
)

N = 8
RNG = np.random.default_rng(0)
C = RNG.uniform(0.5, 1.5, N)
MASK = np.arange(N) % 2
D = RNG.uniform(0.5, 1.5, (N, N))
BAND = np.diag(np.full(N, 3.0)) + np.diag(np.ones(N - 1), -1) + np.diag(np.ones(N - 2), 2)
S = sp.csc_matrix(BAND)
R = sp.csr_matrix(BAND)
BLOCKS = np.kron(np.eye(4), [[3.0, 1.0], [1.0, 2.0]])
SPD = sp.diags_array([np.full(7, -1.0), np.full(8, 4.0), np.full(7, -1.0)], offsets=[-1, 0, 1])
PERMUTATION = RNG.permutation(N)
BANDED = int((BAND != 0).sum())


def column(x):
    return x[:, None]


def mat(x):
    """2 x 4."""
    return x.reshape((2, 4))


def cube(x):
    return x.reshape((2, 2, 2))


def sparse_of(x, A=S):
    """A sparse variable with the pattern of A and values that depend on x."""
    owner = np.repeat(np.arange(N), np.diff(A.indptr))
    build = ps.CSC if A.format == "csc" else ps.CSR
    return build(x[owner] * 2.0, A.indices, A.indptr, np.array(A.shape, np.int32))


def spd_dense(x):
    """A positive definite matrix of the first four."""
    return pt.diag(x[:4] + 3) + pt.outer(x[:4], x[:4])


def precision(x):
    """On the pattern of a path: the diagonal depends on x."""
    return scpt.combine([(1.0, SPD)]).add_diagonal(x)


def steps(f, n, *, init, **options):
    return pytensor.scan(f, outputs_info=init, n_steps=n, return_updates=False, **options)


def straight_through(x):
    """Rounds; its pullback is that of the identity."""
    v = pt.vector("v", shape=(N,))
    op = OpFromGraph([v], [pt.floor(v)], pullback=lambda inputs, outputs, cts: [cts[0]])
    return op(x)


def reversed_pullback(x):
    """The pullback moves what the function does not."""
    v = pt.vector("v", shape=(N,))
    op = OpFromGraph([v], [v * 2], pullback=lambda inputs, outputs, cts: [cts[0][::-1]])
    return op(x)


def composed(x):
    v, w = pt.vector("v", shape=(N,)), pt.vector("w", shape=(N,))
    op = OpFromGraph([v, w], [v[1:] * w[:-1], pt.cumsum(v)])
    a, b = op(x, pt.sin(x))
    return pt.concatenate([a, b])


def heat(x, n):
    def step(u):
        return pt.set_subtensor(u[1:-1], u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]))

    return steps(step, n, init=[x])[-1]


ELEMENTWISE = {
    "exp": (pt.exp, 8),
    "power": (lambda x: x**2.5, 8),
    "power of itself": (lambda x: x**x, 8),
    "constant vector": (lambda x: C * x, 8),
    "mask": (lambda x: MASK * x, 4),
    "mask, of three factors": (lambda x: MASK * x * x[::-1], 8),
    "masked numerator": (lambda x: MASK / x, 4),
    "floor": (lambda x: pt.floor(x) + x, 8),
    "floor times": (lambda x: pt.floor(10 * x) * x[::-1], 8),
    "steps": (lambda x: pt.ceil(x) + pt.sign(x) + pt.round(x) + pt.trunc(x), 0),
    "comparison": (lambda x: (x > 1) * x, 8),
    "comparison alone": (lambda x: pt.cast(x > 1, "float64"), 0),
    "isnan": (lambda x: pt.switch(pt.isnan(x), 0.0, x), 8),
    "switch, known": (lambda x: pt.switch(MASK, x, x[::-1]), 8),
    "switch, unknown": (lambda x: pt.switch(x > 1, x, x[::-1]), 16),
    "switch, known scalar": (lambda x: pt.switch(np.array(True), x, x[::-1]), 8),
    "where, constants": (lambda x: pt.where(x > 1, 2.0, 3.0), 0),
    "maximum": (lambda x: pt.maximum(x, x[0]), 15),
    "clip": (lambda x: pt.clip(x, 0.8, 1.2), 8),
    "clip, bounds": (lambda x: pt.clip(x[2:], x[0], x[1]), 18),
    "mod": (lambda x: x % 0.7, 8),
    "mod, by itself": (lambda x: 5.0 % x, 8),
    "integer division": (lambda x: x // 0.3, 0),
    "abs": (lambda x: abs(x - 1), 8),
    "arctan2": (lambda x: pt.arctan2(x[1:], x[:-1]), 14),
    "special functions": (lambda x: pt.gammaln(x) + pt.erf(x) + pt.digamma(x), 8),
    "sigmoid": (lambda x: pt.sigmoid(x) + pt.softplus(x) + pt.log1mexp(-x), 8),
    "fill": (lambda x: pt.second(x, x[0]), 8),
    "zeros like": (lambda x: pt.zeros_like(x) + x[0], 8),
    "ones like": (lambda x: pt.ones_like(x) * x, 8),
    "times zeros like": (lambda x: pt.zeros_like(x) * x, 0),
    "cast": (lambda x: pt.cast(x, "float32"), 8),
    "cast to integers": (lambda x: pt.cast(x, "int64") * x, 8),
    "broadcast": (lambda x: x[:4, None] + x[None, 4:], 32),
    "logaddexp": (lambda x: pt.logaddexp(x[1:], x[:-1]), 14),
    "xlogy": (lambda x: pt.special.xlogy(x, x[::-1]), 16),
    "betainc": (lambda x: pt.gammainc(2.0, x), 8),
    "constant": (lambda x: pt.constant(C) + 0 * x, 0),
    "tanh of a difference": (lambda x: pt.tanh(x[1:] - x[:-1]), 14),
    "polynomial": (lambda x: 1 + x * (2 + x * (3 + x)), 8),
}

MOVEMENT = {
    "reversed": (lambda x: x[::-1], 8),
    "every second": (lambda x: x[1::2], 4),
    "one": (lambda x: x[3], 1),
    "negative": (lambda x: x[-2:] * x[0], 4),
    "reshape": (lambda x: mat(x).T, 8),
    "reshape, minus one": (lambda x: x.reshape((-1, 2))[:, 0], 4),
    "dimshuffle": (lambda x: mat(x).dimshuffle(1, "x", 0), 8),
    "transpose of three": (lambda x: cube(x).transpose(2, 0, 1), 8),
    "join": (lambda x: pt.concatenate([x[4:], x[:2], C]), 6),
    "join, second axis": (lambda x: pt.concatenate([mat(x), mat(x)[:, :1]], axis=1), 10),
    "stack": (lambda x: pt.stack([x[0], x[3], 1.0]), 2),
    "stack of vectors": (lambda x: pt.stack([x, x[::-1]], axis=1), 16),
    "split": (lambda x: pt.concatenate(pt.split(x, [3, 5], n_splits=2)[::-1]), 8),
    "tile": (lambda x: pt.tile(x[:3], 2), 6),
    "repeat": (lambda x: pt.repeat(x, 2), 16),
    "repeat, each": (lambda x: pt.repeat(x[:3], np.array([1, 0, 2])), 3),
    "roll": (lambda x: pt.roll(x, 3), 8),
    "flip": (lambda x: pt.flip(mat(x), axis=1), 8),
    "pad": (lambda x: pt.pad(x, 2), 8),
    "pad, edge": (lambda x: pt.pad(x, 2, mode="edge"), 12),
    "pad, wrap": (lambda x: pt.pad(x, 2, mode="wrap"), 12),
    "diff": (lambda x: pt.diff(x), 14),
    "diff, twice": (lambda x: pt.diff(x, n=2), 18),
    "alloc": (lambda x: pt.alloc(x[2], 3, 2), 6),
    "broadcast to": (lambda x: pt.broadcast_to(x[:4], (3, 4)), 12),
    "diagonal": (lambda x: pt.diagonal(pt.outer(x, x)), 8),
    "diagonal of a constant": (lambda x: pt.diag(pt.as_tensor(D)) * x, 8),
    "diagonal matrix": (lambda x: pt.diag(x[:3]), 3),
    "off diagonal": (lambda x: pt.diag(x[:3], k=1), 3),
    "fill diagonal": (lambda x: pt.fill_diagonal(pt.outer(x[:3], x[3:6]), x[0]), 15),
    "fill diagonal, offset": (
        lambda x: pt.fill_diagonal_offset(pt.outer(x[:3], x[3:6]), x[0], 1),
        16,
    ),
    "triangle": (lambda x: pt.tril(pt.outer(x[:3], x[3:6])), 12),
    "squeeze": (lambda x: x[:, None].squeeze(), 8),
    "join dims": (lambda x: pt.join_dims(cube(x)), 8),
    "split dims": (lambda x: pt.split_dims(x, (4, 2))[0], 2),
    "swapaxes": (lambda x: pt.swapaxes(cube(x), 0, 2), 8),
    "moveaxis": (lambda x: pt.moveaxis(cube(x), 0, 2)[1], 4),
    "specify shape": (lambda x: pt.specify_shape(x, (8,)) * 2, 8),
    "atleast 2d": (lambda x: pt.atleast_2d(x), 8),
    "copy": (lambda x: x.copy(), 8),
}

INDICES = {
    "permutation": (lambda x: x[PERMUTATION], 8),
    "twice the same": (lambda x: x[np.array([0, 0, 3])] * x[1], 6),
    "two index arrays": (lambda x: mat(x)[np.array([0, 1]), np.array([3, 2])], 2),
    "index array and slice": (lambda x: mat(x)[:, np.array([3, 0])], 4),
    "separated index arrays": (lambda x: cube(x)[np.array([0, 1]), :, np.array([1, 0])], 4),
    "boolean mask": (lambda x: x[MASK.astype(bool)], 4),
    "new axis": (lambda x: x[:, None][:, 0], 8),
    "index by shape": (lambda x: x[x.shape[0] // 2], 1),
    "slice by shape": (lambda x: x[: x.shape[0] - 3], 5),
    "take": (lambda x: pt.take(mat(x), 1, axis=1), 2),
    "take along axis": (lambda x: pt.take_along_axis(mat(x), np.array([[1], [2]]), axis=1), 2),
    "argmax": (lambda x: x[pt.argmax(x)] * x, None),
    "argsort": (lambda x: x[pt.argsort(x)], 64),
    "argsort of a constant": (lambda x: x[pt.argsort(pt.as_tensor(C))], 8),
    "sort": (lambda x: pt.sort(x), 64),
    "sort of rows": (lambda x: pt.sort(mat(x), axis=1), 32),
    "value-dependent scalar": (lambda x: x[pt.cast(pt.floor(x[0]), "int64")], 8),
    "value-dependent row": (lambda x: mat(x)[pt.cast(x[0] > 1, "int64")], 8),
    "value-dependent column": (lambda x: mat(x)[:, pt.cast(x[0] > 1, "int64")], 8),
    "searchsorted": (lambda x: x[pt.searchsorted(np.array([0.5, 0.9, 1.2]), x[0])], 8),
    "set": (lambda x: pt.set_subtensor(x[2:4], x[:2] ** 2), 8),
    "set to a constant": (lambda x: pt.set_subtensor(x[2:4], 1.0), 6),
    "set by an array": (lambda x: x[np.array([1, 5])].set(x[0]), 8),
    "set one place twice": (lambda x: pt.zeros(3)[np.array([1, 1, 2])].set(x[:3]), 3),
    "increase": (lambda x: x[2:4].inc(x[:2]), 10),
    "increase by an array": (lambda x: x[np.array([1, 5])].inc(x[:2]), 10),
    "increase one place twice": (lambda x: pt.zeros(3)[np.array([1, 1, 2])].inc(x[:3]), 3),
    "increase rows": (lambda x: pt.zeros((2, 4))[1].inc(x[:4]), 4),
    "increase a column": (lambda x: mat(x)[:, 1].inc(x[0]), 10),
    "set, value-dependent": (lambda x: x[pt.cast(x[0] > 1, "int64")].set(x[7]), 15),
    "increase, value-dependent": (lambda x: x[pt.argsort(x)[:2]].inc(x[:2]), None),
    "set at argmax": (lambda x: pt.set_subtensor(x[pt.argmax(x)], 0.0), 8),
    "set by a mask": (lambda x: x[MASK.astype(bool)].set(x[0]), 8),
    "set a separated index": (
        lambda x: pt.zeros((2, 2, 2))[np.array([0, 1]), :, np.array([1, 0])].set(
            x[:4].reshape((2, 2))
        ),
        4,
    ),
    "unravel": (lambda x: mat(x)[pt.unravel_index(np.array([1, 6]), (2, 4))], 2),
    "ravel multi index": (
        lambda x: x[pt.ravel_multi_index((np.array([0, 1]), np.array([1, 2])), (2, 4))],
        2,
    ),
    "arange": (lambda x: x[pt.arange(x.shape[0] - 1) + 1], 7),
    "nonzero": (lambda x: x[pt.nonzero(pt.as_tensor(MASK))[0]], 4),
}

REDUCTIONS = {
    "sum": (lambda x: x.sum(), 8),
    "sum of rows": (lambda x: mat(x).sum(axis=1), 8),
    "sum, two axes": (lambda x: cube(x).sum(axis=(0, 2)), 8),
    "mean": (lambda x: mat(x).mean(axis=0), 8),
    "variance": (lambda x: mat(x).var(axis=0), 8),
    "product": (lambda x: mat(x).prod(axis=1), 8),
    "maximum of rows": (lambda x: mat(x).max(axis=1), 8),
    "minimum": (lambda x: x.min(), 8),
    "logsumexp": (lambda x: pt.logsumexp(mat(x), axis=1), 8),
    "softmax": (lambda x: pt.special.softmax(mat(x), axis=1), 32),
    "log softmax": (lambda x: pt.special.log_softmax(mat(x), axis=0), 16),
    "softmax of all": (lambda x: pt.special.softmax(x), 64),
    "cumulative sum": (pt.cumsum, 36),
    "cumulative product": (pt.cumprod, 36),
    "cumulative sum of rows": (lambda x: pt.cumsum(mat(x), axis=1), 20),
    "cumulative sum of columns": (lambda x: pt.cumsum(mat(x), axis=0), 12),
    "all": (lambda x: pt.all(x > 0) * x, 8),
    "norm": (lambda x: x / pt.sqrt((x**2).sum()), 64),
    "times its sum": (lambda x: x * (x[:4] ** 2).sum(), 36),
    "argmin": (lambda x: pt.argmin(x) * x, 8),
    "moving average": (lambda x: (x[2:] + x[1:-1] + x[:-2]) / 3, 18),
    "max and index": (lambda x: pt.max_and_argmax(x)[0], 8),
}

PRODUCTS = {
    "dense constant": (lambda x: D @ x, 64),
    "banded constant": (lambda x: BAND @ x, BANDED),
    "banded constant, on the right": (lambda x: x @ BAND, BANDED),
    "banded made in the graph": (lambda x: (pt.eye(8) + pt.diag(pt.ones(7), k=1)) @ x, 15),
    "matrix product": (lambda x: mat(x) @ mat(x).T, 16 + 8),
    "constant times matrix": (lambda x: np.array([[1.0, 0.0], [1.0, 1.0]]) @ mat(x), 12),
    "matrix times constant": (lambda x: mat(x) @ np.diag(C[:4]), 8),
    "inner product": (lambda x: x[:4] @ x[4:], 8),
    "outer product": (lambda x: pt.outer(x[:4], x[4:]), 32),
    "batched matmul": (lambda x: cube(x) @ cube(x), 2 * 4 * 3),
    "batched matmul, constant": (
        lambda x: np.array([[[1.0, 0.0], [2.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]]) @ cube(x),
        10,
    ),
    "one constant for a batch": (lambda x: np.array([[1.0, 0.0], [2.0, 1.0]]) @ cube(x), 12),
    "one matrix for constants": (lambda x: D[:4].reshape(4, 2, 4) @ x.reshape((4, 2)), None),
    "transposed times ones": (lambda x: mat(x).T @ np.ones(2), 8),
    "tensordot": (lambda x: pt.tensordot(cube(x), np.eye(2), axes=[[2], [0]]), 8),
    "einsum": (lambda x: pt.einsum("ij,ij->i", mat(x), mat(x)), 8),
    "einsum, product": (lambda x: pt.einsum("ij,kj->ik", mat(x), mat(x)), 24),
    "kronecker": (lambda x: pt.linalg.kron(x[:2][None], x[2:5][None]), 12),
    "convolution": (lambda x: pt.signal.convolve1d(x, np.ones(3), mode="valid"), 18),
    "convolution, full": (lambda x: pt.signal.convolve1d(x, np.ones(3), mode="full"), 24),
    "convolution of both": (lambda x: pt.signal.convolve1d(x[:5], x[5:], mode="valid"), 3 * 6),
    "convolution in two dimensions": (
        lambda x: pt.signal.convolve2d(mat(x), np.ones((2, 2)), mode="valid"),
        12,
    ),
    "quadratic form": (lambda x: x @ BAND @ x, 8),
    "chain": (lambda x: BAND @ (x * (BAND @ x)), None),
}

LINEAR_ALGEBRA = {
    "solve": (lambda x: pt.linalg.solve(D + 3 * np.eye(8), x), 64),
    "solve, blocks": (lambda x: pt.linalg.solve(BLOCKS, x), 16),
    "solve, columns": (lambda x: pt.linalg.solve(D[:2, :2] + np.eye(2), mat(x)), 16),
    "solve, blocks and columns": (lambda x: pt.linalg.solve(np.diag(C[:2]), mat(x)), 8),
    "solve, of the matrix": (lambda x: pt.linalg.solve(spd_dense(x), x[4:]), 32),
    "lower triangular": (lambda x: pt.linalg.solve_triangular(np.tril(D), x, lower=True), 36),
    "upper triangular": (lambda x: pt.linalg.solve_triangular(np.triu(D), x, lower=False), 36),
    "bidiagonal": (
        lambda x: pt.linalg.solve_triangular(np.kron(np.eye(4), [[1, 0], [1, 1.0]]), x, lower=True),
        12,
    ),
    "triangular, of the matrix": (
        lambda x: pt.linalg.solve_triangular(pt.tril(spd_dense(x)), C[:4], lower=True),
        None,
    ),
    "triangular, both": (
        lambda x: pt.linalg.solve_triangular(pt.tril(spd_dense(x)), x[4:], lower=True),
        None,
    ),
    "triangular, unknown": (
        lambda x: pt.linalg.solve_triangular(pt.tril(pt.outer(x[:3], x[:3])), x[3:6], lower=True),
        None,
    ),
    "cholesky": (lambda x: pt.linalg.cholesky(spd_dense(x)), 40),
    "cholesky, diagonal": (lambda x: pt.diag(pt.linalg.cholesky(spd_dense(x))), None),
    "inverse": (lambda x: pt.linalg.inv(spd_dense(x)), 64),
    "determinant": (lambda x: pt.linalg.det(spd_dense(x)), 4),
    "log determinant": (lambda x: pt.linalg.slogdet(spd_dense(x))[1], 4),
    "eigenvalues": (lambda x: pt.linalg.eigh(spd_dense(x))[0], 16),
    "singular values": (lambda x: pt.linalg.svd(mat(x), compute_uv=False), 16),
    "qr": (lambda x: pt.linalg.qr(mat(x)[:, :2])[1], None),
    "exponential": (lambda x: pt.linalg.expm(0.1 * mat(x)[:, :2]), 16),
    "pseudo-inverse": (lambda x: pt.linalg.pinv(mat(x)), 64),
    "batched inverse": (lambda x: pt.linalg.inv(cube(x) + 3 * np.eye(2)), 32),
    "batched determinant": (lambda x: pt.linalg.det(cube(x)), 8),
    "batched solve": (
        lambda x: pt.linalg.solve(np.stack([D[:2, :2] + np.eye(2)] * 2), mat(x)[:, :2], b_ndim=1),
        8,
    ),
    "cholesky solve": (lambda x: pt.linalg.cho_solve((np.linalg.cholesky(BLOCKS), True), x), None),
    "block diagonal": (lambda x: pt.linalg.block_diag(mat(x)[:, :2], mat(x)[:, 2:]), 8),
}

LOOPS = {
    "heat": (lambda x: heat(x, 1), 2 + 3 * 6),
    "heat, three steps": (lambda x: heat(x, 3), 38),
    "cumulative product in a loop": (
        lambda x: pytensor.scan(
            lambda s, c: s * c, sequences=[x], outputs_info=[pt.ones(())], return_updates=False
        ),
        36,
    ),
    "map": (lambda x: pytensor.map(lambda s: s**2, [x], return_updates=False), 8),
    "map of pairs": (
        lambda x: pytensor.map(lambda a, b: a * b, [x[1:], x[:-1]], return_updates=False),
        14,
    ),
    "two taps": (
        lambda x: steps(lambda a, b: a * b, 3, init=[{"initial": x[:2], "taps": [-2, -1]}]),
        6,
    ),
    "far tap": (
        lambda x: steps(lambda a: pt.sin(a), 5, init=[{"initial": x[:3], "taps": [-3]}]),
        5,
    ),
    "sequence with taps": (
        lambda x: pytensor.scan(
            lambda a, b: a * b, sequences=[{"input": x, "taps": [-1, 1]}], return_updates=False
        ),
        12,
    ),
    "backwards": (
        lambda x: pytensor.scan(
            lambda s, c: s + c,
            sequences=[x],
            outputs_info=[pt.zeros(())],
            go_backwards=True,
            return_updates=False,
        ),
        36,
    ),
    "index that steps": (
        lambda x: pytensor.scan(
            lambda i, v: v[i] * v[0],
            sequences=[pt.arange(8)],
            non_sequences=[x],
            return_updates=False,
        ),
        15,
    ),
    "index that is carried": (
        lambda x: steps(
            lambda i, s, v: (i + 1, s + v[i]),
            4,
            init=[pt.constant(0), pt.zeros(())],
            non_sequences=[x],
        )[1],
        10,
    ),
    "non-sequence": (
        lambda x: steps(lambda s, v: s * v, 3, init=[pt.ones(8)], non_sequences=[x])[-1],
        8,
    ),
    "carried and mapped": (
        lambda x: pt.concatenate(
            pytensor.scan(
                lambda s, c: (s + c, s * s),
                sequences=[x[:4]],
                outputs_info=[pt.zeros(()), None],
                return_updates=False,
            )
        ),
        None,
    ),
    "matrix in a loop": (lambda x: steps(lambda u: BAND @ u / 5, 2, init=[x])[-1], None),
    "dense in a loop": (lambda x: steps(lambda u: u * u.sum() / 5, 2, init=[x])[-1], 64),
    "set in a loop": (
        lambda x: pytensor.scan(
            lambda i, u, v: u[i].set(v[i] * u[i]),
            sequences=[pt.arange(1, 4)],
            outputs_info=[pt.ones(8)],
            non_sequences=[x],
            return_updates=False,
        )[-1],
        3,
    ),
    "until": (
        lambda x: pytensor.scan(
            lambda s: (s * 0.5, until(pt.max(s) < 0.3)),
            outputs_info=[x],
            n_steps=20,
            return_updates=False,
        )[-1],
        8,
    ),
    "until, mixing": (
        lambda x: pytensor.scan(
            lambda s: (pt.concatenate([s[:1] * 0.5, 0.5 * s[:-1]]), until(pt.max(s) < 0.3)),
            outputs_info=[x],
            n_steps=20,
            return_updates=False,
        )[-1],
        None,
    ),
    "gradient of a loop": (
        lambda x: pytensor.grad((steps(lambda u: u**1.5, 3, init=[x])[-1] ** 2).sum(), x),
        8,
    ),
    "gradient of a recurrence": (
        lambda x: pytensor.grad(
            pytensor.scan(
                lambda s, c: pt.tanh(s * c),
                sequences=[x],
                outputs_info=[pt.ones(())],
                return_updates=False,
            )[-1],
            x,
        ),
        64,
    ),
    "gradient of a random walk": (
        lambda x: pytensor.grad(
            pytensor.scan(
                lambda a, b: pt.tanh(a - b), sequences=[x[1:], x[:-1]], return_updates=False
            ).sum(),
            x,
        ),
        22,
    ),
}

INNER = {
    "graph inside": (composed, 14 + 36),
    "straight through": (straight_through, 8),
    "reversed by its pullback": (reversed_pullback, 8),
    "if, unknown": (lambda x: ifelse(x[0] > 1, x, x[::-1] ** 2), 16),
    "if, known": (lambda x: ifelse(pt.constant(1) > 0, x, x[::-1]), 8),
    "if, value-dependent scalar": (lambda x: ifelse(x.sum() > 8, x[0], x[1]), 2),
    "vectorized": (
        lambda x: pt.vectorize(lambda r: pt.cumsum(r), signature="(a)->(a)")(mat(x)),
        20,
    ),
    "vectorized product": (
        lambda x: pt.vectorize(lambda r: pt.cumprod(r) * r[3], signature="(a)->(a)")(mat(x)),
        26,
    ),
}

STOPPED = {
    "disconnected": (lambda x: disconnected_grad(x[::-1]) * x, 8),
    "zero gradient": (lambda x: zero_grad(x.sum()) * x, 8),
    "clipped gradient": (lambda x: grad_clip(x, -1, 1) * 2, 8),
    "scaled gradient": (lambda x: grad_scale(x, 2.0)[1:], 7),
    "assertion": (lambda x: pt.specify_broadcastable(x[:1], 0) * x, 15),
}

SPARSE = {
    "csc times vector": (lambda x: ps.structured_dot(S, column(x))[:, 0], BANDED),
    "csr times vector": (lambda x: ps.structured_dot(R, column(x))[:, 0], BANDED),
    "csc times matrix": (lambda x: ps.structured_dot(S[:2, :2], mat(x)), 12),
    "dot": (lambda x: ps.dot(S, column(x)), BANDED),
    "dot, dense first": (lambda x: ps.dot(x[None], S), BANDED),
    "true dot": (lambda x: ps.true_dot(S, column(x)), BANDED),
    "values": (lambda x: ps.csm_data(sparse_of(x)), BANDED),
    "to dense": (lambda x: sparse_of(x).toarray(), BANDED),
    "transpose": (lambda x: sparse_of(x).T.toarray(), BANDED),
    "of rows": (lambda x: sparse_of(x, R).toarray(), BANDED),
    "sum of columns": (lambda x: ps.sp_sum(sparse_of(x), axis=0), 8),
    "sum of rows": (lambda x: ps.sp_sum(sparse_of(x), axis=1), BANDED),
    "sum of all": (lambda x: ps.sp_sum(sparse_of(x)), 8),
    "both sides": (lambda x: ps.structured_dot(sparse_of(x), column(x))[:, 0], BANDED),
    "of its values": (lambda x: ps.structured_dot(sparse_of(x), pt.ones((8, 1)))[:, 0], BANDED),
    "sparse sum": (lambda x: (sparse_of(x) + ps.as_sparse_variable(S)).toarray(), BANDED),
    "sparse and dense": (lambda x: sparse_of(x) + pt.diag(x), None),
    "dense and constant": (lambda x: ps.as_sparse_variable(S) + pt.diag(x), 8),
    "times a dense matrix": (lambda x: (ps.as_sparse_variable(S) * pt.outer(x, x)).toarray(), None),
    "sparse times sparse": (
        lambda x: (sparse_of(x) * ps.as_sparse_variable(sp.csc_matrix(np.eye(8)))).toarray(),
        8,
    ),
    "elementwise": (lambda x: ps.structured_exp(sparse_of(x)).toarray(), BANDED),
    "square": (lambda x: ps.sqr(sparse_of(x)).toarray(), BANDED),
    "negative": (lambda x: (-sparse_of(x)).toarray(), BANDED),
    "diagonal": (lambda x: ps.diag(sparse_of(x)), 8),
    "square diagonal": (lambda x: ps.structured_dot(ps.square_diagonal(x), pt.ones((8, 2))), 16),
    "stacked": (lambda x: ps.hstack([sparse_of(x), sparse_of(x)], format="csc").toarray(), 42),
    "from dense": (lambda x: ps.csc_from_dense(pt.diag(x)).toarray(), 8),
    "columns scaled": (lambda x: ps.col_scale(ps.as_sparse_variable(S), x).toarray(), BANDED),
    "rows scaled": (lambda x: ps.row_scale(ps.as_sparse_variable(S), x).toarray(), BANDED),
    "product of sparse": (
        lambda x: ps.true_dot(sparse_of(x), ps.as_sparse_variable(S)).toarray(),
        None,
    ),
    "sampled": (lambda x: ps.csm_data(ps.sampling_dot(column(x), column(x), R)), None),
}

KERNELS = {
    "solve": (lambda x: scpt.solve(SPD, x), 64),
    "solve, of the matrix": (lambda x: scpt.solve(precision(x), C), 64),
    "log determinant": (lambda x: scpt.logdet(precision(x)), 8),
    "marginal variances": (lambda x: scpt.marginal_variances(precision(x)), 64),
    "product": (lambda x: scpt.combine([(1.0, SPD)]) @ x, 22),
    "product, of the matrix": (lambda x: precision(x) @ C, 8),
    "quadratic form": (lambda x: precision(C).quad_form(column(x)), 8),
    "quadratic form, of the matrix": (lambda x: precision(x).quad_form(C), 8),
    "log density": (lambda x: scpt.gmrf_logp(x, 0.0, precision(x)), 8),
    "draw": (lambda x: precision(C).solve_triangular(x, trans="T"), None),
    "draw, of the matrix": (lambda x: precision(x).solve_triangular(C), None),
    "partial inverse": (lambda x: scpt.partial_inverse(precision(x)), None),
    "plain triangle": (lambda x: scpt.solve_triangular(SPD, x), None),
    "plain triangle, of its diagonal": (
        lambda x: scpt.solve_triangular(precision(x).to_sparse(), C, lower=False, trans="T"),
        None,
    ),
    "diagonal": (lambda x: precision(x).diagonal(), 8),
    "as sparse": (lambda x: precision(x).to_sparse().toarray(), 8),
    "as dense": (lambda x: precision(x).todense(), 8),
    "blocks": (lambda x: scpt.solve(BLOCKS, x), 16),
    "gradient of a log density": (
        lambda x: pytensor.grad(scpt.gmrf_logp(x, 0.0, precision(C)), x),
        22,
    ),
}

JACOBIANS = {
    f"{family}: {name}": case
    for family, cases in {
        "elementwise": ELEMENTWISE,
        "movement": MOVEMENT,
        "indices": INDICES,
        "reductions": REDUCTIONS,
        "products": PRODUCTS,
        "linear algebra": LINEAR_ALGEBRA,
        "loops": LOOPS,
        "inner graphs": INNER,
        "stopped": STOPPED,
        "sparse": SPARSE,
        "kernels": KERNELS,
    }.items()
    for name, case in cases.items()
}

HESSIANS = {
    "separable": (lambda x: (x**3).sum(), 8),
    "linear": (lambda x: (C * x).sum(), 0),
    "linear and quadratic": (lambda x: (C * x).sum() + (x[:3] ** 2).sum(), 3),
    "rosenbrock": (lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(), 22),
    "differences": (lambda x: ((x[1:] - x[:-1]) ** 2).sum(), 22),
    "second differences": (lambda x: ((x[2:] - 2 * x[1:-1] + x[:-2]) ** 2).sum(), 34),
    "arrow": (lambda x: (x[0] * x[1:] ** 2).sum(), 21),
    "arrow, exponential": (lambda x: pt.exp(x[0] * x[1:]).sum(), 22),
    "gaussian": (lambda x: -0.5 * x @ (BLOCKS @ x), 16),
    "sparse gaussian": (lambda x: (ps.structured_dot(S, column(x)) ** 2).sum(), None),
    "kernel gaussian": (lambda x: scpt.combine([(1.0, SPD)]).quad_form(x), 22),
    "log density": (lambda x: scpt.gmrf_logp(x, 0.0, SPD), 22),
    "log determinant": (lambda x: scpt.logdet(precision(x)), 64),
    "poisson": (lambda x: (C * x - pt.exp(x)).sum() - 0.5 * scpt.combine([(1.0, SPD)])
                .quad_form(x), 22),
    "logsumexp": (lambda x: pt.logsumexp(x), 64),
    "grouped logsumexp": (lambda x: pt.logsumexp(mat(x), axis=1).sum(), 32),
    "product": (lambda x: x[0] * x[1] * x[2], 6),
    "square of the sum": (lambda x: x[:4].sum() ** 2, 16),
    "bilinear": (lambda x: x[:4] @ x[4:], 8),
    "indexed": (lambda x: (x[np.array([0, 0, 5])] * x[np.array([1, 2, 6])]).sum(), 6),
    "switch": (lambda x: pt.switch(x > 1, x**2, x).sum(), 8),
    "masked": (lambda x: (MASK * x**2).sum(), 4),
    "cumulative": (lambda x: (pt.cumsum(x)[:3] ** 2).sum(), 9),
    "matrix": (lambda x: ((mat(x) @ mat(x).T) ** 2).sum(), 64),
    "recurrence": (
        lambda x: (pytensor.scan(lambda a, b: pt.tanh(a * b), sequences=[x[1:], x[:-1]],
                                 return_updates=False)).sum(), 22),
    "loop": (lambda x: (heat(x, 1) ** 2).sum(), None),
    "determinant": (lambda x: pt.linalg.slogdet(spd_dense(x))[1], 16),
    "student": (lambda x: -pt.log1p((x[1:] - x[:-1]) ** 2).sum(), 22),
}  # fmt: skip
