"""Functions whose sparsity patterns are compared with dense Jacobians, family by family.

All take a vector of eight numbers. The counts are those of the entries that are not zero at random
points; None where a pattern that holds for all points has more.
"""

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import scipy.sparse as sp
from jax import lax
from jax.experimental.sparse import BCOO, BCSR

import sparsechol.jax as scj

N = 8
rng = np.random.default_rng(0)
M = rng.standard_normal((8, 8))
SPARSE = M * (rng.random((8, 8)) < 0.3)
LOWER = np.tril(M) + 4 * np.eye(8)
UPPER = np.triu(M) + 4 * np.eye(8)
KERNEL = rng.standard_normal((4, 1, 1, 2))
IMAGE = rng.standard_normal((2, 2, 5, 5))
TRIANGLES = rng.standard_normal((2, 4, 4)) * np.tri(4)
WEIGHTS = [rng.standard_normal((6, 8)), rng.standard_normal((3, 6))]
UP = rng.standard_normal((3, 2, 2))
BY_ENTRY = BCOO.from_scipy_sparse(sp.coo_array(SPARSE))
BY_ROW = BCSR.from_scipy_sparse(sp.csr_array(SPARSE))
TABLE = jnp.array([[0, 0], [1, 2], [2, 2], [3, 1], [3, 3], [4, 4], [5, 5], [9, 9]])
BLOCKS = sp.block_diag(
    [sp.diags_array([1.0, 3.0, 1.0], offsets=[-1, 0, 1], shape=(k, k)) for k in (3, 5)]
)
P = scj.analyze(BLOCKS)
VALUES = jnp.asarray(P.values(sp.csc_array(BLOCKS)))
T = scj.analyze_triangle(sp.tril(BLOCKS))


def matrix(x):
    return x.reshape(2, 4)


def gram(x):
    return matrix(x) @ matrix(x).T + jnp.eye(2)


def spd(x):
    """Return a matrix that moves with x."""
    return scj.SymmetricMatrix(P, VALUES.at[jnp.asarray(P.indptr[:-1])].add(x**2))


@jax.custom_jvp
def straight(x):
    return jnp.round(x)


straight.defjvp(lambda p, t: (jnp.round(p[0]), 2 * t[0]))


@jax.custom_vjp
def straight_back(x):
    return jnp.round(x)


straight_back.defvjp(lambda x: (jnp.round(x), None), lambda _, ct: (ct,))


@jax.custom_jvp
def called_back(x):
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(lambda x: np.sin(np.asarray(x)), like, x, vmap_method="sequential")


called_back.defjvp(lambda p, t: (called_back(p[0]), jnp.cos(p[0]) * t[0]))


def while_with_constants(x):
    """Loop with constants in the condition and in the body."""
    limit, factor = jnp.asarray(3), x[::-1]

    def loop(limit, factor):
        state = (x, 0)
        return lax.while_loop(lambda c: c[1] < limit, lambda c: (c[0] * factor, c[1] + 1), state)[0]

    return loop(limit, factor)


def brusselator(x):
    u, v = x.reshape(2, 2, 2).transpose(2, 0, 1)
    around = lambda w: jnp.roll(w, 1, 0) + jnp.roll(w, 1, 1) - 4 * w  # noqa: E731
    return jnp.stack([1 + u * u * v + around(u), 3 * u - u * u * v + around(v)], -1).ravel()


def bratu(x):
    U = jnp.pad(x.reshape(2, 4), 1)
    around = U[2:, 1:-1] + U[:-2, 1:-1] + U[1:-1, 2:] + U[1:-1, :-2]
    return (4 * U[1:-1, 1:-1] - around - jnp.exp(U[1:-1, 1:-1])).ravel()


def heat(x):
    step = lambda i, u: u.at[1:-1].add(0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]))  # noqa: E731
    return lax.fori_loop(0, 2, step, x)


def remembered(x):
    """Scan with steps that look two values back."""
    return lax.scan(lambda c, v: ((c[1], v), c[0] * 2), (x[0], x[1]), x[2:])[1]


def tridiagonal(x):
    return jnp.diag(x) + jnp.diag(x[1:], 1) + jnp.diag(x[:-1] ** 2, -1)


def two_blocks(x):
    """Return a symmetric positive definite matrix with blocks of 2 rows."""
    blocks = x.reshape(2, 2, 2)
    return jsp.linalg.block_diag(*(b @ b.T + jnp.eye(2) for b in blocks))


MOVES = {
    "identity": (lambda x: x, 8),
    "reshape": (lambda x: x.reshape(4, 2).T, 8),
    "flip": (lambda x: matrix(x)[::-1, ::-1], 8),
    "roll": (lambda x: jnp.roll(matrix(x), 1, 1), 8),
    "rot90": (lambda x: jnp.rot90(matrix(x)), 8),
    "steps": (lambda x: x[1:8:3] + x[6:0:-2], 5),
    "stack": (lambda x: jnp.stack([x[:4], x[4:]], 1), 8),
    "concatenate": (lambda x: jnp.concatenate([x[2:], jnp.ones(2), x[:1]]), 7),
    "split": (lambda x: jnp.split(x, [2, 5])[1] * 2, 3),
    "tile": (lambda x: jnp.tile(x[:3], 2), 6),
    "repeat": (lambda x: jnp.repeat(x[:3], np.array([1, 2, 3])), 6),
    "repeat traced": (lambda x: jnp.repeat(x[:3], jnp.array([1, 2, 3]), total_repeat_length=6), 6),
    "broadcast": (lambda x: jnp.broadcast_to(x[:2, None], (2, 3)) * x[None, 2:5], 12),
    "squeeze": (lambda x: jnp.squeeze(x[None, :, None]) * 1.5, 8),
    "moveaxis": (lambda x: jnp.moveaxis(x.reshape(2, 2, 2), 0, 2), 8),
    "pad": (lambda x: lax.pad(matrix(x), 0.0, ((1, -1, 1), (-1, 2, 0))), 3),
    "pad with x": (lambda x: lax.pad(matrix(x), x[0], ((1, -1, 1), (-1, 2, 0))), None),
    "edge": (lambda x: jnp.pad(x, 2, mode="edge"), 12),
    "triu": (lambda x: jnp.triu(jnp.outer(x, x)), 64),
    "tril": (lambda x: jnp.tril(x.reshape(2, 2, 2), -1), 2),
    "diag": (lambda x: jnp.diag(x), 8),
    "diagonal": (lambda x: jnp.diagonal(matrix(x), 1), 2),
    "trace": (lambda x: jnp.trace(jnp.outer(x, x[::-1])), 8),
    "meshgrid": (lambda x: jnp.stack(jnp.meshgrid(x[:3], x[3:5])), 12),
    "dynamic slice": (lambda x: lax.dynamic_slice(x, (9,), (3,)), 3),
    "dynamic slice by shape": (lambda x: lax.dynamic_slice(x, (x.shape[0] - 6,), (2,)), 2),
    "dynamic slice by value": (lambda x: lax.dynamic_slice(x, (jnp.int32(x[0] > 0),), (3,)), None),
    "dynamic update": (lambda x: lax.dynamic_update_slice(x, x[:2] * 3, (5,)), 8),
    "update by value": (
        lambda x: lax.dynamic_update_slice(x, x[:2] * 3, (jnp.int32(x[0] > 0),)),
        None,
    ),
}

INDICES = {
    "take": (lambda x: jnp.take(x, jnp.array([0, 3, 3, 9]), mode="clip"), 4),
    "take fill": (lambda x: jnp.take(x, jnp.array([0, 3, -1, 9]), mode="fill", fill_value=0.0), 3),
    "take along": (lambda x: jnp.take_along_axis(matrix(x), jnp.array([[0, 1], [3, 2]]), 1), 4),
    "take rows": (lambda x: matrix(x)[jnp.array([1, 1, 0])], 12),
    "take columns": (lambda x: matrix(x)[:, jnp.array([[3, 0], [1, 1]])], 8),
    "take points": (lambda x: matrix(x)[jnp.array([0, 1]), jnp.array([2, 3])], 2),
    "boolean mask": (lambda x: x[np.arange(8) % 3 == 0], 3),
    "take by value": (lambda x: x[jnp.argsort(x)], None),
    "argmax": (lambda x: x[jnp.argmax(x)] * x, None),
    "searchsorted": (lambda x: x[jnp.searchsorted(jnp.arange(4.0), x)], None),
    "interp": (lambda x: jnp.interp(x, jnp.arange(4.0), x[:4]), None),
    "get fill": (lambda x: x.at[jnp.array([2, 11])].get(mode="fill", fill_value=1.0), 1),
    "set clip": (lambda x: x.at[jnp.array([1, 9])].set(x[2:4], mode="clip"), 8),
    "set drop": (lambda x: x.at[jnp.array([1, 9])].set(x[2:4]), 8),
    "set twice": (lambda x: x.at[jnp.array([1, 1])].set(x[4:6]), None),
    "set block": (lambda x: matrix(x).at[1, ::2].set(x[:2]), 8),
    "set by value": (lambda x: x.at[jnp.argmax(x)].set(x[0] * 2), None),
    "add twice": (lambda x: x.at[jnp.array([1, 1, 2])].add(x[4:7]), 11),
    "add by value": (lambda x: matrix(x).at[:, jnp.argmax(x[:4])].add(x[:2]), None),
    "mul": (lambda x: x.at[jnp.array([1, 2])].mul(x[4:6], unique_indices=True), 10),
    "min": (lambda x: x.at[jnp.array([1, 2])].min(x[4:6]), None),
    "power": (lambda x: x.at[2].power(2), 8),
    "segment sum": (lambda x: jax.ops.segment_sum(x, jnp.array([0, 0, 1, 1, 2, 2, 0, 1]), 3), 8),
    "random permutation": (lambda x: jax.random.permutation(jax.random.key(0), x), 8),
    "random choice": (lambda x: x[jax.random.randint(jax.random.key(1), (3,), 0, 8)], 3),
    "order of constants": (
        lambda x: lax.sort_key_val(jnp.array([3, 1, 2, 5, 4, 0, 7, 6]), x)[1],
        8,
    ),
    "rows in the order of constants": (
        lambda x: lax.sort((jnp.array([[3, 1, 2, 5], [3.5, 0, 2, 1]]), matrix(x)), num_keys=1)[1],
        8,
    ),
    "one hot": (lambda x: jax.nn.one_hot(jnp.array([1, 3]), 8) @ x, 2),
}

BOUNDED = {
    "position of a maximum": (lambda x: x[jnp.argmax(x[:2])][None], 2),
    "remainder": (lambda x: x[jnp.int32(3 * x[0]) % 3][None], 3),
    "quotient": (lambda x: x[jnp.int32(9 * x[0]) % 6 // 2][None], 3),
    "clipped": (lambda x: x[jnp.clip(jnp.int32(x[0]), 2, 4)][None], 3),
    "table": (lambda x: x[jnp.array([4, 5, 6])[jnp.argmax(x[:3])]][None], 3),
    "from the end": (lambda x: x[jnp.argmax(x[:2]) - 2][None], 2),
    "square": (lambda x: x[(jnp.argmax(x[:3]) - 1) ** 2][None], 2),
    "cases": (lambda x: x[jnp.where(x[0] > 0, jnp.argmax(x[:2]), 2)][None], 3),
    "element of a row": (lambda x: matrix(x)[jnp.argmax(x[:2]), 1][None], 2),
    "any row": (lambda x: x.reshape(4, 2)[jnp.int32(x[0])], 8),
    "several": (lambda x: x[jnp.arange(4) + jnp.argmax(x[:3])], 12),
    "slice": (lambda x: lax.dynamic_slice(x, (jnp.argmax(x[:3]),), (2,)), 6),
    "set": (lambda x: x.at[jnp.argmax(x[:2])].set(x[7]), 10),
    "set a row": (lambda x: x.reshape(4, 2).at[jnp.argmax(x[:2])].set(x[6:]), 12),
    "update": (lambda x: lax.dynamic_update_slice(x, x[6:] * 2, (jnp.argmax(x[:2]),)), 11),
    "set or drop": (
        lambda x: x.reshape(1, 8).at[jnp.int32(x[1])].set(x[2], mode="drop"), 15,
    ),
    "number that wraps": (
        lambda x: x[jnp.argmax(x[:3]).astype(jnp.uint8) - jnp.uint8(1)][None], 8,
    ),
}  # fmt: skip

ZEROS = {
    "tridiagonal": (lambda x: tridiagonal(x) @ x, 22),
    "twice tridiagonal": (lambda x: (tridiagonal(x) @ tridiagonal(x)) @ x, 34),
    "rows of tridiagonal": (lambda x: tridiagonal(x)[jnp.array([1, 3])] @ x, 6),
    "padded": (lambda x: jnp.pad(jnp.diag(x[1:]), ((0, 1), (1, 0))) @ x, 7),
    "set": (lambda x: jnp.zeros((8, 8)).at[jnp.arange(8), jnp.arange(8)].set(x) @ x[::-1], 16),
    "triangle": (lambda x: jnp.tril(jnp.outer(x, x)) @ x, 36),
    "blocks": (
        lambda x: jnp.block([[jnp.outer(x[:4], x[:4]), jnp.zeros((4, 4))],
                             [jnp.zeros((4, 4)), jnp.outer(x[4:], x[4:])]]) @ x,
        32,
    ),
    "two cases": (lambda x: jnp.where(x[0] > 0, jnp.diag(x), jnp.diag(2 * x)) @ x, 8),
    "in a batch": (lambda x: jax.vmap(lambda r: tridiagonal(r) @ r)(matrix(x)), 20),
    "in a loop": (lambda x: lax.fori_loop(0, 2, lambda i, u: tridiagonal(x) @ u, x), 34),
    "solve": (lambda x: jnp.linalg.solve(two_blocks(x), x[:4]), 20),
    "inverse": (lambda x: jnp.linalg.inv(two_blocks(x)), 32),
    "qr": (lambda x: jnp.linalg.qr(two_blocks(x))[0], 32),
    "lu": (lambda x: jsp.linalg.lu_factor(two_blocks(x))[0], None),
    "inverse of mixed blocks": (
        lambda x: jnp.linalg.inv(two_blocks(x)[np.ix_([0, 2, 1, 3], [0, 2, 1, 3])]), 32,
    ),
    "cholesky": (lambda x: jnp.linalg.cholesky(two_blocks(x)), 20),
    "solve by cholesky": (
        lambda x: jsp.linalg.cho_solve((jnp.linalg.cholesky(two_blocks(x)), True), x[4:]), 20,
    ),
}  # fmt: skip

ELEMENTS = {
    "polynomial": (lambda x: x**3 - 2 * x + 1, 8),
    "transcendental": (lambda x: jnp.sin(jnp.exp(x)) + jnp.arctan(x) * jnp.tanh(x), 8),
    "powers": (lambda x: jnp.abs(x[:4]) ** x[4:], 8),
    "arctan2": (lambda x: jnp.arctan2(x[:4], x[4:]), 8),
    "hypot": (lambda x: jnp.hypot(x[:4], x[4:, None]), 32),
    "floor times": (lambda x: jnp.floor(x) * x[::-1] + 0.5 * x[::-1], 8),
    "steps of x": (lambda x: jnp.sign(x) + jnp.floor(x) + jnp.round(x) + (x > 0), 0),
    "stop gradient": (lambda x: lax.stop_gradient(x) * x[::-1], 8),
    "where": (lambda x: jnp.where(jnp.arange(8) % 2 == 0, x, x[::-1]), 8),
    "where by value": (lambda x: jnp.where(x > 0, x, x[::-1]), None),
    "select": (
        lambda x: jnp.select([np.arange(8) < 2, np.arange(8) < 5], [x, 2.0 * x[::-1]], 0.0),
        5,
    ),
    "clip": (lambda x: jnp.clip(x, -0.5, 0.5), None),
    "maximum": (lambda x: jnp.maximum(x, x[::-1]), None),
    "times zeros": (lambda x: x * np.array([1.0, 0, 1, 0, 1, 0, 1, 0]), 4),
    "times zeros of the program": (lambda x: x * (jnp.arange(8) % 4 == 1), 2),
    "gammaln": (lambda x: jsp.special.gammaln(jnp.abs(x) + 1), 8),
    "digamma": (lambda x: jsp.special.digamma(jnp.abs(x) + 1), 8),
    "igamma": (lambda x: jsp.special.gammainc(jnp.abs(x[:4]) + 1, jnp.abs(x[4:]) + 1), 8),
    "betainc": (lambda x: jsp.special.betainc(2.0, 3.0, jax.nn.sigmoid(x)), 8),
    "bessel": (lambda x: jsp.special.i0(x) + jsp.special.i1e(x), 8),
    "erf": (lambda x: jsp.special.erf(x) + jsp.special.ndtri(jax.nn.sigmoid(x)), 8),
    "gelu": (lambda x: jax.nn.gelu(x) + jax.nn.softplus(x) + jax.nn.silu(x), 8),
    "complex": (lambda x: ((x[:4] + 1j * x[4:]) ** 2).real, 8),
    "absolute of complex": (lambda x: jnp.abs(lax.complex(x[:4], x[4:])), 8),
    "polyval": (lambda x: jnp.polyval(x[:3], x[3:]), 20),
    "straight through": (straight, 8),
    "straight through backwards": (straight_back, 8),
    "callback": (called_back, 8),
}

SUMS = {
    "sum": (lambda x: jnp.sum(matrix(x), axis=0), 8),
    "mean": (lambda x: x - x.mean(), 64),
    "prod": (lambda x: jnp.prod(matrix(x), axis=0), 8),
    "max": (lambda x: jnp.max(matrix(x), axis=1), None),
    "var": (lambda x: jnp.var(matrix(x), axis=0), 8),
    "norm": (lambda x: jnp.linalg.norm(matrix(x), axis=0), 8),
    "normalize": (lambda x: x / jnp.linalg.norm(x[:2]), 22),
    "logsumexp": (lambda x: jsp.special.logsumexp(matrix(x), axis=1), 8),
    "softmax": (lambda x: jax.nn.softmax(matrix(x)), 32),
    "cumsum": (jnp.cumsum, 36),
    "cumsum of columns": (lambda x: jnp.cumsum(x.reshape(4, 2), axis=0), 20),
    "cumsum backwards": (lambda x: lax.cumsum(x, reverse=True), 36),
    "cumprod": (jnp.cumprod, 36),
    "cummax": (lax.cummax, None),
    "cumlogsumexp": (lax.cumlogsumexp, 36),
    "associative scan": (lambda x: lax.associative_scan(jnp.multiply, x), 36),
    "sort": (jnp.sort, None),
    "sort of rows": (lambda x: jnp.sort(matrix(x), axis=1), None),
    "median": (lambda x: jnp.median(x), None),
    "top k": (lambda x: lax.top_k(x, 3)[0], None),
    "times its sum": (lambda x: x * jnp.sum(x**2), 64),
}

PRODUCTS = {
    "dense": (lambda x: M @ x, 64),
    "with zeros": (lambda x: SPARSE @ x, int((SPARSE != 0).sum())),
    "from the left": (lambda x: x @ jnp.asarray(SPARSE), int((SPARSE != 0).sum())),
    "made in the program": (lambda x: (jnp.eye(8) + jnp.eye(8, k=1)) @ x, 15),
    "with itself": (lambda x: matrix(x) @ matrix(x).T, 24),
    "outer": (lambda x: jnp.outer(x[:3], x[3:]), 30),
    "kron": (lambda x: jnp.kron(matrix(x), jnp.eye(2)), 16),
    "tensordot": (lambda x: jnp.tensordot(matrix(x), jnp.asarray(M[:4]), 1), 64),
    "vdot": (lambda x: jnp.vdot(x[:4], x[4:]), 8),
    "einsum": (
        lambda x: jnp.einsum("ij,kj->ik", matrix(x), jnp.asarray(SPARSE[:3, :4])),
        2 * int((SPARSE[:3, :4] != 0).sum()),
    ),
    "batch of triangles": (
        lambda x: jnp.einsum("bi,bij->bj", matrix(x), jnp.asarray(TRIANGLES)),
        20,
    ),
    "batched": (lambda x: jnp.einsum("bij,bjk->bik", x.reshape(2, 2, 2), x.reshape(2, 2, 2)), 24),
    "bcoo": (lambda x: BY_ENTRY @ x, int((SPARSE != 0).sum())),
    "bcoo from the left": (lambda x: x @ BY_ENTRY, int((SPARSE != 0).sum())),
    "bcoo times matrix": (lambda x: BY_ENTRY @ x.reshape(8, 1), int((SPARSE != 0).sum())),
    "bcoo transposed": (lambda x: BY_ENTRY.T @ x, int((SPARSE != 0).sum())),
    "bcoo scaled": (lambda x: (BY_ENTRY * x) @ jnp.ones(8), int((SPARSE != 0).sum())),
    "bcoo of x": (lambda x: BCOO((x, TABLE), shape=(6, 6)) @ jnp.arange(1.0, 7.0), 7),
    "bcoo to dense": (lambda x: BCOO((x, TABLE), shape=(6, 6)).todense(), 7),
    "bcsr": (lambda x: BY_ROW @ x, int((SPARSE != 0).sum())),
    "mlp": (lambda x: jnp.asarray(WEIGHTS[1]) @ jnp.tanh(jnp.asarray(WEIGHTS[0]) @ x), 24),
}

WINDOWS = {
    "convolve": (lambda x: jnp.convolve(x, jnp.array([1.0, 2, 3]), "same"), 22),
    "convolve both": (lambda x: jnp.convolve(x[:4], x[4:]), 32),
    "strides": (
        lambda x: lax.conv_general_dilated(
            x.reshape(1, 1, 2, 4), jnp.ones((3, 1, 2, 2)), (1, 2), "SAME"
        ),
        36,
    ),
    "groups of the batch": (
        lambda x: lax.conv_general_dilated(
            x.reshape(4, 1, 2), jnp.asarray(KERNEL[..., 0]), (1,), "VALID", batch_group_count=2,
            dimension_numbers=("NCH", "OIH", "NCH"),
        ),
        16,
    ),
    "groups and dilation": (
        lambda x: lax.conv_general_dilated(
            x.reshape(1, 2, 1, 4), jnp.asarray(KERNEL), (1, 1), ((0, 0), (1, 1)),
            feature_group_count=2, rhs_dilation=(1, 2),
        ),
        24,
    ),
    "kernel": (
        lambda x: lax.conv_general_dilated(
            jnp.asarray(IMAGE), x.reshape(2, 2, 1, 2), (2, 1), ((0, 0), (0, 2)), lhs_dilation=(2, 1)
        ),
        None,
    ),
    "transposed": (
        lambda x: lax.conv_transpose(
            x.reshape(1, 4, 2), jnp.asarray(UP), (2,), "SAME"
        ),
        44,
    ),
    "channels last": (
        lambda x: lax.conv_general_dilated(
            x.reshape(1, 2, 2, 2), jnp.ones((1, 2, 2, 3)), (1, 1), "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        24,
    ),
    "max pool": (
        lambda x: lax.reduce_window(
            x.reshape(1, 2, 4, 1), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 1, 2, 1), "VALID"
        ),
        None,
    ),
    "average pool": (lambda x: lax.reduce_window(x, 0.0, lax.add, (3,), (2,), "SAME"), 11),
    "gradient of convolve": (
        jax.grad(lambda x: jnp.sum(jnp.convolve(x, jnp.ones(3)) ** 2)), 34,
    ),
    "gradient of max pool": (
        jax.grad(
            lambda x: jnp.sum(lax.reduce_window(x, -jnp.inf, lax.max, (2,), (2,), "VALID") ** 2)
        ),
        None,
    ),
    "fft": (lambda x: jnp.abs(jnp.fft.fft(x)), 64),
    "rfft of rows": (lambda x: jnp.fft.rfft(matrix(x)).real, None),
    "irfft": (lambda x: jnp.fft.irfft(x[:5] + 0j), None),
    "fft of columns": (lambda x: jnp.fft.fft(x.reshape(4, 2), axis=0).real, None),
}  # fmt: skip

CONTROL = {
    "scan": (lambda x: lax.scan(lambda c, v: (c * v, c + v), x[0], x)[1], 36),
    "scan backwards": (
        lambda x: lax.scan(lambda c, v: (c * v, c + v), x[0], x, reverse=True)[1], 43,
    ),
    "scan with memory": (remembered, 6),
    "scan in scan": (
        lambda x: lax.scan(
            lambda c, r: (c + r.sum(), lax.scan(lambda d, v: (d * v, d), c, r)[1]), 1.0, matrix(x)
        )[1],
        None,
    ),
    "loop with an index": (
        lambda x: lax.fori_loop(1, N, lambda i, u: u.at[i].set(u[i - 1] * x[i]), x), 36,
    ),
    "loop of rolls": (lambda x: lax.fori_loop(0, 3, lambda i, u: jnp.roll(u, 1) + x, x), 32),
    "loop with a condition": (
        lambda x: lax.fori_loop(0, N, lambda i, u: jnp.where(i < 2, u * x[0], u), x), 15,
    ),
    "while": (
        lambda x: lax.while_loop(
            lambda c: c[1] < 3, lambda c: (c[0].at[1:].add(c[0][:-1]), c[1] + 1), (x, 0)
        )[0],
        None,
    ),
    "while with constants": (while_with_constants, 16),
    "while by value": (
        lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: y * 2, jnp.abs(x) + 0.5), 8,
    ),
    "cond": (lambda x: lax.cond(True, lambda x: x[::-1], lambda x: x * x.sum(), x), 8),
    "cond by value": (lambda x: lax.cond(x[0] > 0, lambda x: x[::-1], lambda x: x * 2, x), None),
    "switch": (
        lambda x: lax.switch(2, [jnp.sin, lambda x: x * x.sum(), lambda x: jnp.roll(x, 1)], x), 8,
    ),
    "switch by value": (
        lambda x: lax.switch(jnp.int32(x[0] > 0), [jnp.sin, lambda x: jnp.roll(x, 1)], x), None,
    ),
    "map": (lambda x: lax.map(lambda v: v**2, x), 8),
    "jit": (jax.jit(lambda x: jnp.sin(x) * x[::-1]), 16),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(x) * x[::-1]), 16),
    "vmap": (lambda x: jax.vmap(jnp.cumsum)(matrix(x)), 20),
    "vmap of scan": (
        lambda x: jax.vmap(lambda r: lax.scan(lambda c, v: (c + v, c), 0.0, r)[1])(matrix(x)), 12,
    ),
    "jvp": (lambda x: jax.jvp(lambda y: y[::-1] * y, (x,), (x**2,))[1], 16),
    "gradient": (jax.grad(lambda x: jnp.sum(x[1:] ** 2 * x[:-1])), 21),
    "gradient of sort": (
        jax.grad(lambda x: jnp.sum(jnp.sort(x) * jnp.arange(8)) + x[jnp.argmax(x)] ** 2), None,
    ),
    "bratu": (bratu, 28),
    "brusselator": (brusselator, 32),
    "heat": (heat, 30),
    "nothing": (lambda x: jnp.ones(3) + 0 * jnp.floor(x[:3]), 0),
    "scalar": (lambda x: x[3] ** 2, 1),
    "pytree": (lambda x: {"b": x[:2], "a": (x[3] * x[4], x[:3])}, 7),
}  # fmt: skip

ALGEBRA = {
    "solve": (lambda x: jnp.linalg.solve(jnp.asarray(M), x), 64),
    "solve with x": (lambda x: jnp.linalg.solve(gram(x), x[:2]), 16),
    "inverse": (lambda x: jnp.linalg.inv(gram(x)), 32),
    "cholesky": (lambda x: jnp.linalg.cholesky(gram(x)), None),
    "qr": (lambda x: jnp.linalg.qr(matrix(x).T)[1], None),
    "eigvalsh": (lambda x: jnp.linalg.eigvalsh(gram(x)), 16),
    "svd": (lambda x: jnp.linalg.svd(matrix(x), compute_uv=False), 16),
    "slogdet": (lambda x: jnp.linalg.slogdet(gram(x))[1], 8),
    "det": (lambda x: jnp.linalg.det(gram(x)), 8),
    "cho solve": (lambda x: jsp.linalg.cho_solve((jnp.asarray(LOWER), True), x), 64),
    "triangle": (lambda x: jsp.linalg.solve_triangular(jnp.asarray(LOWER), x, lower=True), 36),
    "triangle transposed": (
        lambda x: jsp.linalg.solve_triangular(jnp.asarray(LOWER), x, lower=True, trans=1), 36,
    ),
    "triangle on the right": (
        lambda x: lax.linalg.triangular_solve(jnp.asarray(UPPER), x[None], left_side=False), 36,
    ),
    "tridiagonal": (
        lambda x: lax.linalg.tridiagonal_solve(x[:4], x[4:] + 5, x[:4], x[:4, None]), 32,
    ),
    "expm": (lambda x: jsp.linalg.expm(matrix(x)[:, :2]), 16),
    "cg": (
        lambda x: jsp.sparse.linalg.cg(lambda v: jnp.concatenate([2 * v[:4], 3 * v[4:]]), x)[0],
        8,
    ),
    "custom linear solve": (
        lambda x: lax.custom_linear_solve(
            lambda v: 2 * v + jnp.roll(v, 4), x, lambda mv, b: (2 * b - jnp.roll(b, 4)) / 3,
            symmetric=True,
        ),
        16,
    ),
    "our solve": (lambda x: scj.solve(scj.SymmetricMatrix(P, VALUES), x), 34),
    "our solve with x": (lambda x: scj.solve(spd(x), jnp.ones(8)), 34),
    "our logdet": (lambda x: scj.logdet(spd(x)), 8),
    "our partial inverse": (
        lambda x: scj.partial_inverse(spd(x)), 3 * 5 + 5 * 9,
    ),
    "our factor": (lambda x: scj.cholesky(spd(x)).L, 24),
    "our diagonal of the inverse": (lambda x: scj.cholesky(spd(x)).diag_inverse(), 34),
    "our triangle": (
        lambda x: scj.solve_triangular(
            scj.TriangularMatrix(T, jnp.asarray(T.values(sp.tril(BLOCKS)))), x
        ),
        21,
    ),
    "our product": (lambda x: spd(x) @ jnp.ones(8), 8),
    "our product with x": (lambda x: scj.SymmetricMatrix(P, VALUES) @ x, BLOCKS.nnz),
    "our density": (lambda x: scj.gmrf_logpdf(x, 0.0, spd(x)), 8),
    "gradient of our logdet": (jax.grad(lambda x: scj.logdet(spd(x))), 34),
}  # fmt: skip

FAMILIES = {
    "moves": MOVES,
    "indices": INDICES,
    "bounded": BOUNDED,
    "zeros": ZEROS,
    "elements": ELEMENTS,
    "sums": SUMS,
    "products": PRODUCTS,
    "windows": WINDOWS,
    "control": CONTROL,
    "algebra": ALGEBRA,
}
BATTERY = {
    f"{family}: {name}": case for family, cases in FAMILIES.items() for name, case in cases.items()
}
FORWARD_ONLY = {"control: while", "control: while with constants", "control: while by value"}
REVERSE_ONLY = {"elements: straight through backwards"}


# ---- Hessians ----

COUNTS = jnp.array([1.0, 0, 2, 1, 3, 0, 1, 2])
PRECISION = BCOO.from_scipy_sparse(sp.coo_array(BLOCKS))


def dot_product_network(x):
    hidden = jax.nn.softplus(x[:4] * x[4:])
    return jnp.sum(hidden**2) + jnp.sum(x)


def state_space(x):
    step = lambda c, v: (v, -((v - 0.9 * c) ** 2) - jnp.exp(v))  # noqa: E731
    return jnp.sum(lax.scan(step, x[0], x[1:])[1])


HESSIANS = {
    "rosenbrock": (lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), 22),
    "separable": (lambda x: jnp.sum(jnp.exp(x) + x**4), 8),
    "linear": (lambda x: jnp.sum(x * COUNTS), 0),
    "linear and quadratic": (lambda x: jnp.sum(x) + x[0] * x[1] + x[2] ** 2, 3),
    "arrow": (lambda x: jnp.sum(x[0] * x[1:] ** 2) + x[0] ** 2, 22),
    "dense": (lambda x: jnp.sum(x) ** 3, 64),
    "quadratic": (lambda x: x @ jnp.asarray(SPARSE + SPARSE.T) @ x, 24),
    "gaussian": (lambda x: -0.5 * x @ (PRECISION @ x), BLOCKS.nnz),
    "gaussian with a scale": (
        lambda x: 0.5 * 7 * x[0] - 0.5 * jnp.exp(x[0]) * jnp.sum((x[2:] - x[1:-1]) ** 2), 34,
    ),
    "logsumexp": (jsp.special.logsumexp, 64),
    "groups of logsumexp": (lambda x: jnp.sum(jsp.special.logsumexp(matrix(x), axis=0)), 16),
    "poisson": (lambda x: jnp.sum(COUNTS * x - jnp.exp(x)), 8),
    "poisson regression": (
        lambda x: jnp.sum(COUNTS * (BY_ENTRY @ x) - jnp.exp(BY_ENTRY @ x)), 26,
    ),
    "state space": (state_space, 22),
    "softplus network": (dot_product_network, 16),
    "norm": (lambda x: jnp.sqrt(1 + jnp.sum(x**2)), 64),
    "pairs": (lambda x: jnp.sum(jnp.sin(x[::2] * x[1::2])), 16),
    "cube of differences": (lambda x: jnp.sum(jnp.diff(x) ** 3), 22),
    "second differences": (lambda x: jnp.sum(jnp.diff(x, 2) ** 4), 34),
    "max": (lambda x: jnp.max(x) ** 2 + jnp.sum(x**3), None),
    "straight through": (lambda x: jnp.sum(straight(x) * x), 8),
    "scan of products": (lambda x: lax.scan(lambda c, v: (c * v, None), 1.0, x)[0], 56),
    "interaction": (lambda x: x[0] * x[7] + jnp.sum(jnp.cos(x[2:4])), 4),
    "convolution": (lambda x: jnp.sum(jnp.convolve(x, jnp.ones(2)) ** 3), 22),
    "student t": (lambda x: -jnp.sum(jnp.log1p((x[1:] - x[:-1]) ** 2)), 22),
    "our logdet": (lambda x: scj.logdet(spd(x)), 34),
    "our solve": (lambda x: jnp.sum(scj.solve(spd(x), jnp.ones(8))), 34),
    "our density": (lambda x: scj.gmrf_logpdf(x, 0.0, scj.SymmetricMatrix(P, VALUES)), BLOCKS.nnz),
}  # fmt: skip
