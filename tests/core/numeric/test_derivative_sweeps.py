"""The derivative sweeps called directly, against dense formulas and their own identities."""

import ctypes
import sys

import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
from sparsechol._core.numeric import products
from sparsechol._core.numeric.operations import CODES
from sparsechol._core.numeric.partial_inverse import partial_inverse
from sparsechol._core.numeric.partial_inverse import workspace as inverse_workspace
from support.helpers import eps, random_spd

SWEEPS = ["tangent_panels", "outer", "adjoint", "inner", "sandwich"]
M_PERTURB = -6  # of glibc: new memory holds the complement of this byte


class Panels:
    """Flat panels of a structure and dense matrices in its order."""

    def __init__(self, S):
        self.structure = S._structure
        a = self.structure.arrays
        rows, columns = [], []
        for s in range(len(a["parent"])):
            own = np.arange(a["first"][s], a["first"][s + 1])
            below = a["rows"][a["row_start"][s] : a["row_start"][s + 1]]
            r, c = np.meshgrid(np.concatenate([own, below]), own, indexing="ij")
            rows.append(r.ravel(order="F"))
            columns.append(c.ravel(order="F"))
        self.rows, self.columns = np.concatenate(rows), np.concatenate(columns)
        self.lower = self.rows >= self.columns
        self.n = S.shape[0]
        self.mask = np.zeros((self.n, self.n), bool)
        self.mask[self.rows[self.lower], self.columns[self.lower]] = True

    def dense(self, flat):
        """The lower triangle; nothing above the diagonal of a panel."""
        D = np.zeros((self.n, self.n), flat.dtype)
        D[self.rows[self.lower], self.columns[self.lower]] = flat[self.lower]
        return D

    def flat(self, D, above=0):
        return np.where(self.lower, D[self.rows, self.columns], above).astype(D.dtype)

    def random(self, rng, dtype, above=0):
        """Lower triangular on the panels with a real diagonal."""
        D = rng.standard_normal((self.n, self.n))
        if dtype.kind == "c":
            D = D + 1j * rng.standard_normal((self.n, self.n))
        D = np.where(self.mask, D, 0)
        np.fill_diagonal(D, D.diagonal().real)
        return self.flat(D.astype(dtype), above)


def hermitian(D):
    """The Hermitian matrix with the lower triangle of D."""
    lower = np.tril(D, -1)
    return lower + lower.conj().T + np.diag(D.diagonal().real)


def phi(D):
    return np.tril(D, -1) + np.diag(D.diagonal().real) / 2


def weights(panels):
    return np.where(panels.rows == panels.columns, 1, 2) * panels.lower


def dot(x, y):
    return np.vdot(x, y).real


def perform(name, S, *arrays, threads=1):
    """One sweep on a batch; whatever the operands."""
    out = np.full((len(arrays[0]), S._structure.size), np.nan, arrays[0].dtype)
    for x in arrays:
        x.setflags(write=False)
    S._handle.perform(CODES[name], arrays, out, threads)
    return out


def run(name, S, *arrays, threads=1):
    """One sweep on a batch of one."""
    return perform(name, S, *(x[None] for x in arrays), threads=threads)[0]


@pytest.fixture(autouse=True)
def dirty_memory():
    """Fill what is allocated with huge numbers: what a workspace held before must not matter."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(M_PERTURB, 0x80)
    yield
    mallopt(M_PERTURB, 0)


def inverse_of(structure, factor):
    s = np.full((1, structure.size), np.nan, factor.dtype)
    work = np.empty(inverse_workspace(structure, 1, 1), factor.dtype)
    partial_inverse(structure, factor[None], s, work, 1)
    return s[0]


class Case:
    def __init__(self, A, order="amd"):
        self.S = sc.analyze(A, ordering=order)
        self.structure = self.S._structure
        self.panels = Panels(self.S)
        F = self.S.factorize(A)
        self.l = F._panels[0]
        self.dtype = F.dtype
        self.L = self.panels.dense(self.l).astype(complex)
        self.s = inverse_of(self.structure, self.l)
        self.rng = np.random.default_rng(1)
        # What lies above the diagonal of a panel must not matter.
        self.x, self.y, self.z = (
            self.panels.random(self.rng, self.dtype, np.nan) for _ in range(3)
        )

    def check(self, flat, dense, scale=1):
        expected = np.where(self.panels.mask, dense, 0)
        found = self.panels.dense(flat)
        assert not np.any(flat[~self.panels.lower])
        bound = 2000 * eps(self.dtype) * max(scale, abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@pytest.fixture(params=["random", "dense", "arrow", "chain", "wide"])
def case(request, dtype):
    rng = np.random.default_rng(5)
    if request.param == "wide":  # several blocks of columns in one front, and rows below it
        A = np.zeros((190, 190), dtype)
        A[:150, :150] = random_spd(rng, 150, "dense", dtype)
        A[20:, 20:] += random_spd(rng, 170, "dense", dtype)
        A[:20, :20] += 40 * np.eye(20)
        return Case(A, order="natural")
    if request.param == "chain":  # a simplicial subtree
        d = rng.standard_normal(40)
        A = sp.diags_array([d[:-1], np.full(40, 4.0), d[:-1]], offsets=[-1, 0, 1])
        return Case(A.astype(dtype))
    n = 40
    if request.param == "arrow":
        A = np.diag(np.full(n, 8.0)).astype(dtype)
        A[-3:] = random_spd(rng, n, "dense", dtype)[-3:]
        A[:, -3:] = A[-3:].conj().T
        A[-3:, -3:] += 400 * np.eye(3)
        return Case(A)
    return Case(random_spd(rng, n, request.param, dtype))


def test_tangent(case):
    M = hermitian(case.panels.dense(case.x))
    inner = np.linalg.solve(case.L, np.linalg.solve(case.L, M).conj().T).conj().T
    case.check(run("tangent_panels", case.S, case.l, case.x), case.L @ phi(inner))


def test_tangent_of_stored_values(case):
    a = case.rng.standard_normal(len(case.S.indices)).astype(case.dtype)
    if case.dtype.kind == "c":
        a += 1j * case.rng.standard_normal(len(a)).astype(case.dtype)
    M = case.S._symmetric(a).toarray()
    order = case.S._order
    M = hermitian(M[np.ix_(order, order)])
    inner = np.linalg.solve(case.L, np.linalg.solve(case.L, M).conj().T).conj().T
    case.check(run("tangent", case.S, case.l, a), case.L @ phi(inner))


def test_adjoint(case):
    C = case.panels.dense(case.x)
    P = phi(case.L.conj().T @ C)
    back = np.linalg.inv(case.L)
    G = back.conj().T @ (P + P.conj().T) @ back / 2
    out = run("adjoint", case.S, case.l, case.x)
    w = np.where(np.eye(case.panels.n), 1, 2)
    case.check(out, w * np.tril(G))


def test_outer(case):
    X, Y = case.panels.dense(case.x), case.panels.dense(case.y)
    out = run("outer", case.S, case.x, case.y)
    case.check(out, np.tril(X @ Y.conj().T + Y @ X.conj().T))


def test_inner(case):
    S, Y = hermitian(case.panels.dense(case.x)), case.panels.dense(case.y)
    out = run("inner", case.S, case.x, case.y)
    dense = np.tril(S @ Y)
    np.fill_diagonal(dense, dense.diagonal().real)
    case.check(out, dense)


def test_sandwich(case):
    M = hermitian(case.panels.dense(case.x))
    inverse = np.linalg.inv(case.L @ case.L.conj().T)
    x = run("tangent_panels", case.S, case.l, case.x)
    out = run("sandwich", case.S, case.l, case.s, x)
    case.check(out, np.tril(inverse @ M @ inverse))


def test_partial_inverse_is_an_adjoint(case):
    c = np.zeros(case.structure.size, case.dtype)
    diagonal = case.panels.rows == case.panels.columns
    c[diagonal] = 2 / case.l[diagonal]
    out = run("adjoint", case.S, case.l, c)
    lower = case.panels.lower
    bound = 1000 * eps(case.dtype) * abs(case.s).max()
    np.testing.assert_allclose(
        out[lower] / weights(case.panels)[lower], case.s[lower], rtol=0, atol=bound
    )


def test_adjoint_pairs(case):
    """The inner product of stored values is the same from both sides."""
    lower, factor, S = case.panels.lower, case.l, case.S
    w = weights(case.panels)
    x, y, z = (np.where(lower, v, 0) for v in (case.x, case.y, case.z))
    half = np.where(lower, 2 / np.maximum(w, 1), 0).astype(factor.real.dtype)
    pairs = [
        # adjoint of tangent
        (
            dot(run("tangent_panels", S, factor, x), y),
            dot(x, run("adjoint", S, factor, y)),
        ),
        # adjoint of X -> outer(X, Y)
        (dot(run("outer", S, x, y), z), dot(x, run("inner", S, half * z, y))),
        # adjoint of Y -> inner(S, Y)
        (dot(run("inner", S, x, y), z), dot(y, run("inner", S, x, z))),
        # adjoint of S -> inner(S, Y)
        (
            dot(run("inner", S, x, y), z),
            dot(x, w * run("outer", S, z, y) / 2),
        ),
    ]
    for left, right in pairs:
        assert left == pytest.approx(right, rel=2e4 * eps(case.dtype), abs=2e4 * eps(case.dtype))


def test_sandwich_is_its_own_adjoint(case):
    lower, S, factor, s = case.panels.lower, case.S, case.l, case.s
    w = weights(case.panels)
    x, y = (np.where(lower, v, 0) for v in (case.x, case.y))

    def sandwich(m):
        return run("sandwich", S, factor, s, run("tangent_panels", S, factor, m))

    left, right = dot(w * sandwich(x), y), dot(w * x, sandwich(y))
    assert left == pytest.approx(right, rel=2e4 * eps(case.dtype), abs=2e4 * eps(case.dtype))


def test_tangents_of_the_sweeps():
    """Second derivatives are compositions of sweeps: against differences of the first ones."""
    rng = np.random.default_rng(2)
    case = Case(random_spd(rng, 30, "random", np.dtype(float)))
    S, lower, h = case.S, case.panels.lower, 1e-6
    m, dm, c, dc, da = (np.where(lower, case.panels.random(rng, case.dtype), 0) for _ in range(5))
    dl = run("tangent_panels", S, case.l, da)
    forward, backward = (np.where(lower, case.l, 0) + e * dl for e in (h, -h))

    x = run("tangent_panels", S, case.l, m)
    exact = run("tangent_panels", S, case.l, dm - run("outer", S, dl, x))
    difference = (
        run("tangent_panels", S, forward, m + h * dm)
        - run("tangent_panels", S, backward, m - h * dm)
    ) / (2 * h)
    np.testing.assert_allclose(difference, exact, atol=1e-7 * abs(exact).max())

    a = run("adjoint", S, case.l, c)
    half = np.where(lower, 2 / np.maximum(weights(case.panels), 1), 0)
    exact = run("adjoint", S, case.l, dc - run("inner", S, half * a, dl))
    difference = (
        run("adjoint", S, forward, c + h * dc) - run("adjoint", S, backward, c - h * dc)
    ) / (2 * h)
    np.testing.assert_allclose(difference, exact, atol=1e-7 * abs(exact).max())


def arguments(name, case):
    factor, s, x, y = case.l, case.s, case.x, case.y
    return {
        "tangent_panels": (factor, x),
        "outer": (x, y),
        "adjoint": (factor, x),
        "inner": (s, y),
        "sandwich": (factor, s, x),
    }[name]


@pytest.mark.parametrize("name", SWEEPS)
def test_batches_have_the_bits_of_single_matrices(name, dtype):
    case = Case(random_spd(np.random.default_rng(0), 40, "random", dtype))
    scaled = [
        [v * np.array(factor, dtype) for v in arguments(name, case)] for factor in (1.0, 2.0, 0.5)
    ]
    single = [run(name, case.S, *arrays) for arrays in scaled]
    stacked = [np.stack(column) for column in zip(*scaled, strict=True)]
    out = perform(name, case.S, *stacked, threads=2)
    for found, expected in zip(out, single, strict=True):
        assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("name", SWEEPS)
def test_nan_spreads_and_nothing_hangs(name, case):
    out = run(name, case.S, *(np.full_like(v, np.nan) for v in arguments(name, case)))
    assert np.isnan(out[case.panels.lower]).all()


@pytest.mark.parametrize("name", SWEEPS)
def test_wrong_lengths_are_refused(name, case):
    stacked = [v[None] for v in arguments(name, case)]
    out = np.empty((1, case.structure.size), case.dtype)
    for i, v in enumerate(stacked):
        wrong = [*stacked]
        wrong[i] = v[:, :-1].copy()
        with pytest.raises(ValueError, match="does not belong"):
            case.S._handle.perform(CODES[name], tuple(wrong), out, 1)
    with pytest.raises(ValueError, match="does not belong"):
        case.S._handle.perform(CODES[name], tuple(stacked), out[:, :-1].copy(), 1)


def test_products_with_vectors(dtype):
    rng = np.random.default_rng(4)
    A = random_spd(rng, 25, "random", dtype)
    case = Case(A)
    n, S = 25, case.S

    def vectors():
        v = rng.standard_normal((1, n, 3))
        return (v + 1j * rng.standard_normal(v.shape) if dtype.kind == "c" else v).astype(dtype)

    x, y, out = vectors(), vectors(), np.empty((1, n, 3), dtype)
    tolerance = {"rtol": 0, "atol": 1000 * eps(dtype)}
    values = S.values(A)
    products.hermitian_product(S.indptr, S.indices, values[None], x, out)
    np.testing.assert_allclose(out[0], A @ x[0], atol=100 * eps(dtype) * abs(A).max() * n)
    entries = np.empty((1, len(S.indices)), dtype)
    products.hermitian_outer(S.indptr, S.indices, x, y, entries)
    full = x[0] @ y[0].conj().T + y[0] @ x[0].conj().T
    column = np.repeat(np.arange(n), np.diff(S.indptr))
    expected = full[S.indices, column] * np.where(S.indices == column, 0.5, 1)
    np.testing.assert_allclose(entries[0], expected, **tolerance)
    L = case.L
    inward, outward = (rng.permutation(n).astype(np.int32) for _ in range(2))
    products.factor_product(case.structure, case.l[None], x, False, inward, outward, out)
    out, z = out[:, outward], x[:, inward]
    np.testing.assert_allclose(out[0], L @ z[0], atol=100 * eps(dtype) * abs(L).max() * n)
    products.factor_product(case.structure, case.l[None], x, True, inward, outward, out)
    out = out[:, outward]
    np.testing.assert_allclose(out[0], L.conj().T @ z[0], atol=100 * eps(dtype) * abs(L).max() * n)
    flat = np.empty((1, case.structure.size), dtype)
    products.factor_outer(case.structure, x, y, inward, outward, flat)
    product = x[0][inward] @ y[0][outward].conj().T
    np.fill_diagonal(product, product.diagonal().real)
    case.check(flat[0], product)


def test_products_refuse_wrong_shapes():
    case = Case(np.diag([1.0, 2.0, 3.0]))
    S, x = case.S, np.ones((1, 3, 1))
    wrong = np.ones((1, 2, 1))
    values, flat, rows = np.ones((1, 3)), case.l[None], np.arange(3, dtype=np.int32)
    structure, few = case.structure, rows[:2]
    calls = [
        (products.hermitian_product, S.indptr, S.indices, values, wrong, wrong.copy()),
        (products.hermitian_product, S.indptr, S.indices, values, x, wrong.copy()),
        (products.hermitian_outer, S.indptr, S.indices, x, wrong, values.copy()),
        (products.hermitian_outer, S.indptr, S.indices, x, x, values[:, :2].copy()),
        (products.factor_product, structure, flat[:, :2].copy(), x, False, rows, rows, x.copy()),
        (products.factor_product, structure, flat, x, False, rows, rows, wrong.copy()),
        (products.factor_product, structure, flat, x, False, few, rows, x.copy()),
        (products.factor_outer, structure, x, wrong, rows, rows, flat.copy()),
        (products.factor_outer, structure, wrong, wrong, rows, rows, flat.copy()),
        (products.factor_outer, structure, x, x, rows, few, flat.copy()),
    ]
    for function, *arguments_ in calls:
        with pytest.raises(ValueError, match="sampled"):
            function(*arguments_)


@pytest.mark.parametrize("name", SWEEPS)
def test_nothing_is_swept_of_nothing(name):
    S = sc.analyze(np.zeros((0, 0)))
    empty = np.zeros((1, 0))
    assert perform(name, S, *(empty,) * (3 if name == "sandwich" else 2)).shape == (1, 0)


@pytest.mark.fast_cases(r".*-float64-(1|8|17)|.*-complex64-4")
@pytest.mark.parametrize("nc", [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 31, 65])
def test_panels_of_every_width_and_height(instruction_set, dtype, nc):
    """Two blocks of nc columns, each joined to all of the same m last rows, which are dense."""
    rng = np.random.default_rng(nc)
    for m in [0, 1, 3, 7, 8, 9, 16, 17, 25]:
        n = 2 * nc + m
        A = random_spd(rng, n, "dense", dtype)
        A[:nc, nc : 2 * nc] = 0
        A[nc : 2 * nc, :nc] = 0
        case = Case(A, order="natural")
        test_tangent(case)
        test_adjoint(case)
        test_outer(case)
        test_inner(case)
        test_sandwich(case)
