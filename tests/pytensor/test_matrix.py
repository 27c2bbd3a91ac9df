"""The ways to a SymmetricMatrix: combinations, values, SciPy matrices and sparse variables."""

import pickle

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol.pytensor import _matrix
from support.helpers import SETTINGS, random_pattern
from support.pytensor_systems import MODES, VALUES, WEIGHTS, A, B, N, P, nodes_of, run

FULL = A.toarray()
FORMATS = ["csc", "csr", "coo", "bsr", "dia", "dok", "lil"]
MODE = "FAST_COMPILE"
t, u = pt.dscalars("t", "u")


def value(x, at=()):
    return x.eval(dict(at), mode=MODE)


def dense_of(Q, at=()):
    return value(Q.to_sparse(), at).toarray()


def logdet(X):
    return np.linalg.slogdet(X)[1]


# ---- combinations ----


def pieces(rng, n):
    """Symmetric matrices of different patterns, in different formats."""
    B = random_pattern(rng, n) * rng.standard_normal((n, n))
    C = random_pattern(rng, n, "tree") * rng.standard_normal((n, n))
    D = np.diag(rng.uniform(1, 2, n))
    return [sp.coo_array(B + B.T), sp.csr_array(C + C.T), sp.dia_array(D), np.asarray(B + B.T)]


@SETTINGS
@given(n=st.integers(1, 12), seed=st.integers(0, 1000))
def test_combine(n, seed):
    rng = np.random.default_rng(seed)
    matrices = pieces(rng, n)
    c = rng.standard_normal(len(matrices))
    Q = scpt.combine(list(zip(c, matrices, strict=True)))
    wanted = sum(
        x * (M if isinstance(M, np.ndarray) else M.toarray())
        for x, M in zip(c, matrices, strict=True)
    )
    np.testing.assert_allclose(dense_of(Q), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", [sp.csc_array, sp.csc_matrix, sp.coo_matrix, sp.dok_array])
def test_combine_coefficients(kind):
    W, D = sp.csc_array(A - sp.diags_array(A.diagonal())), sp.diags_array(A.diagonal())
    d = pt.dvector("d")
    Q = scpt.combine([(d, kind(D)), (-t * u, kind(W))])
    at = {d: np.arange(1.0, N + 1), t: 2.0, u: 0.3}
    wanted = np.diag(np.arange(1, N + 1) * A.diagonal()) - 0.6 * W.toarray()
    np.testing.assert_allclose(dense_of(Q, at), wanted, atol=1e-14)
    assert Q.pattern.nnz == P.nnz


def test_combine_vector_for_each_entry():
    lower = sp.tril(A).tocsc()
    c = np.linspace(1, 2, lower.nnz)
    Q = scpt.combine([(c, A), (0.5, sp.eye_array(N))])
    wanted = (lower * sp.csc_array((c, lower.indices, lower.indptr))).toarray()
    wanted = wanted + np.tril(wanted, -1).T + 0.5 * np.eye(N)
    np.testing.assert_allclose(dense_of(Q), wanted)


def test_combine_matrices():
    Q = scpt.combine([(t, A)])
    S = Q + sp.eye_array(N)
    R = 2.0 * Q - np.float64(0.5) * S * 2.0
    np.testing.assert_allclose(dense_of(S, {t: 3.0}), 3 * FULL + np.eye(N))
    np.testing.assert_allclose(dense_of(R, {t: 3.0}), 3 * FULL - np.eye(N), atol=1e-14)
    np.testing.assert_allclose(dense_of(sp.eye_array(N).tocsc() + Q, {t: 1.0}), FULL + np.eye(N))
    np.testing.assert_allclose(dense_of(Q * u, {t: 3.0, u: 2.0}), 6 * FULL)
    assert Q.pattern == S.pattern == R.pattern == P


def test_combine_on_a_given_pattern():
    Q = scpt.combine([(2.0, sp.eye_array(N))], pattern=P)
    assert Q.pattern is P
    np.testing.assert_allclose(dense_of(Q), 2 * np.eye(N))
    with pytest.raises(sc.PatternMismatchError):
        scpt.combine([(1.0, np.ones((N, N)))], pattern=P)


@pytest.mark.parametrize(
    ("terms", "error", "message"),
    [
        ([], ValueError, "no terms"),
        ([(1.0, A), (1.0, sp.eye_array(3))], ValueError, "different shapes"),
        ([(1.0, np.ones((3, 4)))], ValueError, "square"),
        ([(np.ones(3), A)], ValueError, r"shape \(3,\)"),
        ([(np.ones((3, 3)), A)], ValueError, r"shape \(3, 3\)"),
        ([(1.0, np.full((2, 2), np.nan))], ValueError, "NaN"),
        ([(1.0, np.triu(np.ones((2, 2))))], ValueError, "the matrix has .* pass its transpose"),
        ([(1.0, np.eye(2)), (t, [[1, 1], [0, 1]])], ValueError, r"terms\[1\] has .* its transpose"),
        ([(1.0, np.eye(2)), (t, [[1, 2], [1, 3]])], ValueError, r"terms\[1\] is not symmetric"),
        ([(1j, A)], TypeError, "real"),
        ([(1.0, 1j * A)], (TypeError, ValueError), "complex"),
    ],
)
def test_wrong_combinations(terms, error, message):
    with pytest.raises(error, match=message):
        scpt.combine(terms)


def test_symmetry_of_constants_is_checked():
    B = np.array([[4.0, 1.0], [2.0, 5.0]])
    constant = ps.as_sparse(sp.csc_matrix(B))
    for make in (scpt.from_sparse, lambda A, **options: scpt.combine([(1.0, A)], **options)):
        with pytest.raises(ValueError, match="not symmetric: entries"):
            make(B)
        np.testing.assert_allclose(dense_of(make(B, check_symmetric=False)), [[4, 2], [2, 5]])
    with pytest.raises(ValueError, match="not symmetric: entries"):
        scpt.from_sparse(constant)
    Q = scpt.from_sparse(constant, check_symmetric=False)
    np.testing.assert_allclose(dense_of(Q), [[4, 1.5], [1.5, 5]])
    for U in (np.triu(B), sp.csc_array(np.triu(B)), sp.csr_array(np.triu(B))):
        with pytest.raises(ValueError, match="pass its transpose"):
            scpt.from_sparse(U)


def test_sums_of_triangles():
    """A term stands for both triangles only where the whole sum has one."""
    B = np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])
    U, L = (ps.as_sparse(sp.csc_matrix(f(B))) for f in (np.triu, np.tril))
    R = ps.as_sparse(sp.csr_matrix(np.triu(B)))
    whole = ps.as_sparse(sp.csc_matrix(B))
    true = B + np.diag(np.diag(B))
    for variable, wanted in (
        (U, B),
        (R, B),
        (U + U, 2 * B),
        (U + ps.transpose(U), true),
        (R + ps.transpose(R), true),
        (U + L, true),
        (2.0 * L + 2.0 * R, 2 * true),
        (whole + U, B + (np.triu(B) + np.tril(B)) / 2),
        (whole + ps.as_sparse(sp.csc_matrix(np.eye(3))), B + np.eye(3)),
    ):
        np.testing.assert_allclose(dense_of(scpt.from_sparse(variable)), wanted)
    data = pt.dvector("data")
    T = sp.csc_matrix(np.triu(B))
    V = ps.CSC(data, T.indices, T.indptr, T.shape)
    Q = scpt.from_sparse(V + ps.transpose(V))
    np.testing.assert_allclose(dense_of(Q, {data: T.data}), true)
    corner = ps.as_sparse(sp.csc_matrix(np.eye(3)[[2, 1, 0]] * [[0], [0], [1]]))
    with pytest.raises(ValueError, match="not both there"):
        scpt.from_sparse(V + ps.transpose(V) + corner)


def test_large_matrices_are_no_constants(monkeypatch):
    monkeypatch.setattr(_matrix, "LARGE", 10)
    Q, R = scpt.combine([(t, A)]), scpt.combine([(t, A)])
    function = pytensor.function([t], [scpt.logdet(Q), scpt.logdet(R)], mode=MODE)
    nodes = [str(node.op) for node in nodes_of(function.maker.fgraph)]
    assert sum(name.startswith("Factor") for name in nodes) == 1
    np.testing.assert_allclose(function(2.0), 2 * [logdet(2 * FULL)])


# ---- values ----


def test_values():
    a = pt.dvector("a")
    Q = scpt.SymmetricMatrix(P, a)
    np.testing.assert_allclose(dense_of(Q, {a: VALUES}), FULL)
    np.testing.assert_allclose(dense_of(scpt.SymmetricMatrix(sc.analyze(A), VALUES)), FULL)
    full = scpt.SymmetricMatrix.from_full(sc.analyze(A), a)
    np.testing.assert_allclose(dense_of(full, {a: A.data}), FULL)
    gradient = value(pytensor.grad(scpt.logdet(full), a), {a: A.data})
    column = np.repeat(np.arange(N), np.diff(A.indptr))
    np.testing.assert_allclose(gradient, np.linalg.inv(FULL)[A.indices, column])


def test_integers_become_numbers():
    Q = scpt.SymmetricMatrix(sc.analyze(np.array([[4, 1], [1, 5]])), [4, 1, 5])
    assert Q.dtype == "float64"
    np.testing.assert_allclose(value(scpt.solve(Q, [5, 6])), [1, 1])


@pytest.mark.parametrize(
    ("values", "full", "error", "message"),
    [
        (np.ones(3), False, ValueError, r"shape \(3,\): the pattern has"),
        (np.ones((2, 3)), False, ValueError, r"\(\.\.\., 10\) for a batch"),
        (np.ones(3), True, ValueError, "both triangles"),
        (np.ones(len(VALUES)) * 1j, False, TypeError, "real"),
    ],
)
def test_wrong_values(values, full, error, message):
    with pytest.raises(error, match=message):
        scpt.SymmetricMatrix.from_full(P, values) if full else scpt.SymmetricMatrix(P, values)


def test_wrong_patterns():
    with pytest.raises(TypeError, match="analyze"):
        scpt.SymmetricMatrix(A, VALUES)


# ---- what a matrix does ----


def test_methods():
    Q = scpt.SymmetricMatrix(P, VALUES)
    np.testing.assert_allclose(value(Q.diagonal()), FULL.diagonal())
    np.testing.assert_allclose(value(Q.matvec(B)), FULL @ B)
    np.testing.assert_allclose(value(Q @ B[:, 0]), FULL @ B[:, 0])
    np.testing.assert_allclose(value(Q.quad_form(B[:, 0])), B[:, 0] @ FULL @ B[:, 0])
    np.testing.assert_allclose(dense_of(Q.add_diagonal(2.0)), FULL + 2 * np.eye(N))
    h = np.arange(N, dtype=float)
    np.testing.assert_allclose(dense_of(Q.add_diagonal(h)), FULL + np.diag(h))
    assert repr(Q).startswith("<SymmetricMatrix of shape (7, 7)")
    S = np.linalg.inv(FULL)
    b, at = B[:, 0], B[:, 1]
    np.testing.assert_allclose(value(Q.todense()), FULL)
    np.testing.assert_allclose(value(Q.logdet()), logdet(FULL))
    np.testing.assert_allclose([value(part) for part in Q.slogdet()], np.linalg.slogdet(FULL))
    np.testing.assert_allclose(value(Q.solve(B)), S @ B)
    np.testing.assert_allclose(value(Q.diag_inverse()), S.diagonal())
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    np.testing.assert_allclose(value(Q.partial_inverse()), S[P.indices, column])
    L = np.linalg.cholesky(FULL[P.perm][:, P.perm])
    np.testing.assert_allclose(L @ value(Q.solve_triangular(b)), b[P.perm])
    for trans in ("T", "C", 1, 2):
        x = value(Q.solve_triangular(b, trans=trans, permute=False))
        np.testing.assert_allclose(L.T @ x, b)
    wanted = multivariate_normal(at, S).logpdf(b)
    np.testing.assert_allclose(value(Q.gmrf_logp(b, at)), wanted)


@pytest.mark.parametrize("mode", MODES)
def test_dense_in_every_mode(mode):
    a = pt.dvector("a")
    M = scpt.SymmetricMatrix(P, a).todense()
    f = pytensor.function(
        [a], [M, pytensor.grad((M * WEIGHTS[: N * N].reshape(N, N)).sum(), a)], mode=mode
    )
    got, gradient = f(VALUES)
    np.testing.assert_allclose(got, FULL)
    W = WEIGHTS[: N * N].reshape(N, N)
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    wanted = np.where(P.indices == column, 1, 2) * 0.5 * (W + W.T)[P.indices, column]
    np.testing.assert_allclose(gradient, wanted)


@pytest.mark.parametrize("mode", [MODE, "NUMBA", "JAX"])
def test_inverse_entries(mode):
    """From the partial inverse and by solves, both for columns and for rows; and gradients."""
    n = 30
    T = np.diag(np.full(n, 2.5)) - np.diag(np.ones(n - 1), 1) - np.diag(np.ones(n - 1), -1)
    asked = [
        (np.arange(n), np.arange(n)),  # all on the pattern: cheaper by a partial inverse
        (np.append(np.arange(n), 3), np.append(np.arange(n), -1)),
        (np.arange(n)[:, None], [0, 29]),
        (7, np.arange(n)),
        ([], []),
    ]
    Q = scpt.combine([(t, T)], ordering="natural")
    entries = [Q.inverse_entries(*at) for at in asked]
    gradient = pytensor.grad(sum(x.sum() for x in entries[:4]), t)
    *found, slope = run([t], [*entries, gradient], [2.0], mode)
    inverse = np.linalg.inv(2.0 * T)
    for x, (i, j) in zip(found[:4], asked, strict=False):
        np.testing.assert_allclose(x, inverse[i, j], atol=1e-14)
    assert found[4].shape == (0,)
    np.testing.assert_allclose(slope, -sum(x.sum() for x in found[:4]) / 2)


def test_which_inverse_entries_there_are():
    Q = scpt.from_sparse(np.eye(3))
    with pytest.raises(IndexError, match="column 3 is outside"):
        Q.inverse_entries(0, [0, 3])
    with pytest.raises(TypeError, match="rows must be known when the graph is built"):
        Q.inverse_entries(pt.lscalar(), 0)


def test_functions_are_the_methods():
    """Of a matrix, and of what from_sparse takes."""
    S = np.linalg.inv(FULL)
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    for Q in (scpt.SymmetricMatrix(P, VALUES), A, ps.as_sparse_variable(sp.csc_matrix(A))):
        np.testing.assert_allclose(value(scpt.logdet(Q)), logdet(FULL))
        np.testing.assert_allclose([value(part) for part in scpt.slogdet(Q)], [1, logdet(FULL)])
        np.testing.assert_allclose(value(scpt.solve(Q, B)), S @ B)
        np.testing.assert_allclose(value(scpt.diag_inverse(Q)), S.diagonal())
        np.testing.assert_allclose(value(scpt.marginal_variances(Q)), S.diagonal())
        np.testing.assert_allclose(value(scpt.partial_inverse(Q)), S[P.indices, column])
        wanted = multivariate_normal(np.ones(N), S).logpdf(B[:, 0])
        np.testing.assert_allclose(value(scpt.gmrf_logp(B[:, 0], 1.0, Q)), wanted)


def test_slogdet_where_it_is_not_positive_definite():
    sign, logabsdet = scpt.slogdet(scpt.SymmetricMatrix(P, -VALUES))
    assert np.isnan([value(sign), value(logabsdet)]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda Q: Q.matvec(np.ones(3)), r"\(7, 7\), and x, \(3,\)"),
        (lambda Q: Q.quad_form(np.ones((7, 2, 2))), r"\(7, 2, 2\)"),
        (lambda Q: scpt.solve(Q, np.ones(8)), r"b, \(8,\)"),
        (lambda Q: Q.solve_triangular(np.ones(8)), r"b, \(8,\)"),
        (lambda Q: Q.solve_triangular(np.ones(7), trans="X"), "'X'"),
        (lambda Q: Q.add_diagonal(np.ones(3)), r"shape \(3,\)"),
        (lambda Q: scpt.gmrf_logp(np.ones((7, 2)), 0.0, Q), r"\(\.\.\., 7\) for a batch"),
        (lambda Q: Q.solve(np.ones((3, 7))), "b_ndim=1"),
        (lambda Q: Q.solve(np.ones(7), b_ndim=2), r"b, \(7,\)"),
        (lambda Q: Q.matvec(np.ones(7), x_ndim=0), "must be 1 or 2"),
        (lambda Q: Q.with_values(np.ones((2, 10))).to_sparse(), "take one of them"),
    ],
)
def test_wrong_operands(call, message):
    with pytest.raises(ValueError, match=message):
        call(scpt.SymmetricMatrix(P, VALUES))


def test_draws():
    Q = scpt.SymmetricMatrix(P, VALUES)
    rng = np.random.default_rng(0)
    x = Q.random(np.arange(N), VALUES, rng=rng, size=(20_000,))
    assert x.shape == (20_000, N)
    np.testing.assert_allclose(x.mean(0), np.arange(N), atol=0.02)
    np.testing.assert_allclose(np.cov(x.T), np.linalg.inv(FULL), atol=0.02)
    assert Q.random(np.zeros(N), VALUES).shape == (N,)
    assert Q.random(np.zeros((3, 1, N)), np.stack([VALUES] * 2)).shape == (3, 2, N)
    bad = Q.random(np.zeros(N), np.stack([VALUES, -VALUES]), rng=rng, size=(2,))
    assert np.isfinite(bad[0]).all()
    assert np.isnan(bad[1]).all()


def test_draws_of_one_matrix_for_each():
    """The transformation of white noise is that of solve_triangular."""
    Q = scpt.SymmetricMatrix(P, VALUES)
    many = np.stack([VALUES, 2 * VALUES])
    x = Q.random(np.zeros(N), many, rng=np.random.default_rng(1), size=(2,))
    z = np.random.default_rng(1).standard_normal((2, N))
    for k in range(2):
        R = scpt.SymmetricMatrix(P, many[k])
        np.testing.assert_allclose(x[k], value(R.solve_triangular(z[k], trans="T")))


# ---- batches ----

MANY = np.stack([VALUES, 2 * VALUES, VALUES + 0.1 * P.values(sp.eye_array(N, format="csc"))])
POINTS = np.random.default_rng(7).standard_normal((3, N))
BLOCKS = np.random.default_rng(8).standard_normal((3, N, 2))
BATCHED = {
    "logdet": lambda Q, x, X: Q.logdet(),
    "slogdet": lambda Q, x, X: Q.slogdet()[1],
    "partial_inverse": lambda Q, x, X: Q.partial_inverse(),
    "diag_inverse": lambda Q, x, X: Q.diag_inverse(),
    "diagonal": lambda Q, x, X: Q.diagonal(),
    "todense": lambda Q, x, X: Q.todense(),
    "add_diagonal": lambda Q, x, X: Q.add_diagonal(x**2).todense(),
    "solve": lambda Q, x, X: scpt.solve(Q, x, b_ndim=1),
    "solve columns": lambda Q, x, X: Q.solve(X),
    "solve_triangular": lambda Q, x, X: Q.solve_triangular(x, trans="T", b_ndim=1),
    "matvec": lambda Q, x, X: Q.matvec(x, x_ndim=1),
    "quad_form": lambda Q, x, X: Q.quad_form(x, x_ndim=1),
    "quad_form columns": lambda Q, x, X: Q.quad_form(X),
    "gmrf_logp": lambda Q, x, X: scpt.gmrf_logp(x, x[..., ::-1], Q),
    "combine": lambda Q, x, X: scpt.combine([(x, sp.eye_array(N)), (2.0, Q)]).values,
    "combine scalars": lambda Q, x, X: scpt.combine([(x[..., 0][..., None], A), (1, Q)]).values,
}


@pytest.mark.parametrize("name", BATCHED)
def test_batches(name):
    """As one by one: a matrix for each point, and one matrix for all points."""
    f, of_one = BATCHED[name], lambda a: scpt.SymmetricMatrix(P, a)
    a, x, X = pt.dvector(), pt.dvector(), pt.dmatrix()
    single = pytensor.function([a, x, X], f(of_one(a), x, X), mode=MODE, on_unused_input="ignore")
    b, y, Y = pt.dmatrix(), pt.dmatrix(), pt.dtensor3()
    batch = pytensor.function([b, y, Y], f(of_one(b), y, Y), mode=MODE, on_unused_input="ignore")
    shared = f(of_one(VALUES), pt.constant(POINTS), pt.constant(BLOCKS))
    wanted = [single(*parts) for parts in zip(MANY, POINTS, BLOCKS, strict=True)]
    np.testing.assert_allclose(batch(MANY, POINTS, BLOCKS), wanted, rtol=1e-12, atol=1e-13)
    alone = np.array([single(VALUES, *parts) for parts in zip(POINTS, BLOCKS, strict=True)])
    alone = alone if value(shared).ndim == alone.ndim else alone[0]
    np.testing.assert_allclose(value(shared), alone, rtol=1e-12, atol=1e-13)


def test_density_of_a_batch():
    """Against SciPy's, with gradients against those of each element."""
    a, x = pt.dmatrix(), pt.dmatrix()
    logp = scpt.SymmetricMatrix(P, a).gmrf_logp(x, 1.0)
    f = pytensor.function([a, x], [logp, *pytensor.grad(logp.sum(), [a, x])], mode=MODE)
    got, of_a, of_x = f(MANY, POINTS)
    dense = [value(scpt.SymmetricMatrix(P, v).todense()) for v in MANY]
    wanted = [
        multivariate_normal(np.ones(N), np.linalg.inv(M)).logpdf(point)
        for M, point in zip(dense, POINTS, strict=True)
    ]
    np.testing.assert_allclose(got, wanted)
    for k, (M, point) in enumerate(zip(dense, POINTS, strict=True)):
        r = point - 1
        slope = 0.5 * (np.linalg.inv(M) - np.outer(r, r))
        slope = 2 * slope - np.diag(slope.diagonal())
        column = np.repeat(np.arange(N), np.diff(P.indptr))
        np.testing.assert_allclose(of_a[k], slope[P.indices, column], atol=1e-12)
        np.testing.assert_allclose(of_x[k], -M @ r, atol=1e-12)


# ---- arithmetic ----


def test_arithmetic():
    Q = scpt.combine([(t, A)])
    at = {t: 3.0, u: 2.0}
    for got, wanted in (
        (-Q, -3 * FULL),
        (Q / u, 1.5 * FULL),
        (Q / 2, 1.5 * FULL),
        (sum([Q, Q, sp.eye_array(N)]), 6 * FULL + np.eye(N)),
        (Q - 0, 3 * FULL),
        (0 - Q, -3 * FULL),
        (sp.eye_array(N).tocsc() - Q, np.eye(N) - 3 * FULL),
    ):
        found = run([t, u], got.todense(), [at[t], at[u]], MODE)
        np.testing.assert_allclose(found, wanted)
    assert Q + 0 is Q
    for wrong in (lambda: Q + 1, lambda: Q / np.ones(N), lambda: Q / Q, lambda: 1 - Q):
        with pytest.raises(TypeError):
            wrong()


# ---- variables that are no sparse matrix ----


def test_dense_variables_in_combinations():
    """On a given pattern, which is tested when the graph runs."""
    M = pt.dmatrix("M")
    Q = scpt.combine([(t, M)], pattern=P)
    f = pytensor.function([t, M], Q.todense(), mode=MODE)
    np.testing.assert_allclose(f(2.0, FULL), 2 * FULL)
    outside = FULL.copy()
    i, j = np.argwhere(np.tril(FULL == 0))[0]
    outside[i, j] = 1.0
    with pytest.raises(sc.PatternMismatchError, match="not on the given pattern"):
        f(2.0, outside)
    with pytest.raises(ValueError, match="shape of the given pattern"):
        f(2.0, np.eye(N + 1))
    for bad, message in ((M, "pattern="), (pytensor.shared(FULL), "get_value"),
                         (ps.csc_matrix(), "from_sparse")):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            scpt.combine([(1.0, bad)])
    with pytest.raises(ValueError, match="and the pattern"):
        scpt.combine([(1.0, pt.matrix("S", shape=(3, 3)))], pattern=P)


def test_named_dimensions_are_refused():
    px = pytest.importorskip("pytensor.xtensor")
    x = px.as_xtensor(pt.zeros(N), dims=("region",))
    Q = scpt.from_sparse(A)
    for call in (
        lambda: Q.gmrf_logp(x),
        lambda: Q.gmrf_logp(0.0, x),
        lambda: Q @ x,
        lambda: Q * x,
        lambda: scpt.combine([(x, A)]),
        lambda: scpt.combine([(1.0, x)], pattern=P),
        lambda: scpt.sparse_jacobian(x, x),
        lambda: scpt.from_sparse(x),
    ):
        with pytest.raises(TypeError, match="named dimensions"):
            call()
    assert np.isfinite(value(Q.gmrf_logp(x.values)))


@pytest.mark.parametrize("mode", ["FAST_COMPILE", "NUMBA"])
def test_data_of_another_size(mode):
    b = pytensor.shared(np.ones(N), shape=(None,))
    f = pytensor.function([], scpt.from_sparse(A).gmrf_logp(b), mode=mode)
    f()
    b.set_value(np.ones(N + 1))
    with pytest.raises(ValueError, match=r"build the graph .* again"):
        f()


# ---- sparse variables ----


@pytest.mark.parametrize("format", FORMATS)
def test_scipy_formats(format):
    for convert in (A, sp.csc_matrix(A)):
        np.testing.assert_allclose(dense_of(scpt.from_sparse(convert.asformat(format))), FULL)


def built(values, format="csc", matrix=A):
    M = matrix.asformat(format)
    return (ps.CSC if format == "csc" else ps.CSR)(values, M.indices, M.indptr, M.shape)


@pytest.mark.parametrize("format", ["csc", "csr"])
def test_built_of_values(format):
    a = pt.dvector("a")
    Q = scpt.from_sparse(built(a, format))
    assert Q.pattern == P
    f = scpt.logdet(Q)
    data = A.asformat(format).data
    np.testing.assert_allclose(value(f, {a: data}), logdet(FULL))
    M = sp.csc_array(np.linalg.inv(FULL)).asformat(format)  # the gradient of each entry
    row = np.repeat(np.arange(N), np.diff(A.asformat(format).indptr))
    wanted = M.toarray()[A.asformat(format).indices, row]
    np.testing.assert_allclose(value(pytensor.grad(f, a), {a: data}), wanted)


@pytest.mark.parametrize("half", [sp.tril, sp.triu])
def test_one_triangle(half):
    a = pt.dvector("a")
    M = half(A).tocsc()
    Q = scpt.from_sparse(built(a, matrix=M))
    np.testing.assert_allclose(dense_of(Q, {a: M.data}), FULL)
    gradient = value(pytensor.grad(scpt.logdet(Q), a), {a: M.data})
    column = np.repeat(np.arange(N), np.diff(M.indptr))
    S = np.linalg.inv(FULL)[M.indices, column]
    np.testing.assert_allclose(gradient, np.where(M.indices == column, S, 2 * S))


def test_expressions_are_taken_apart():
    W = ps.as_sparse_variable(sp.csc_matrix(A))
    D = ps.as_sparse_variable(sp.csc_matrix(sp.diags_array(A.diagonal())))
    expression = t * (D - u * W) + (-(u * D)).T + 2.0 * W
    Q = scpt.from_sparse(expression)
    d = np.diag(FULL.diagonal())
    wanted = 3 * (d - 0.5 * FULL) - 0.5 * d + 2 * FULL
    np.testing.assert_allclose(dense_of(Q, {t: 3.0, u: 0.5}), wanted, atol=1e-13)
    x = scpt.logdet(expression)
    change = value(pytensor.grad(x, t), {t: 3.0, u: 0.5})
    np.testing.assert_allclose(change, np.trace(np.linalg.solve(wanted, d - 0.5 * FULL)))


@pytest.mark.parametrize("mode", [MODE, "NUMBA"])
def test_shared_variables(mode):
    shared = pytensor.shared(sp.csc_matrix(A))
    f = pytensor.function([t], scpt.logdet(t * shared), mode=mode)
    np.testing.assert_allclose(f(2.0), logdet(2 * FULL))
    shared.set_value(sp.csc_matrix(A * 3.0))
    np.testing.assert_allclose(f(2.0), logdet(6 * FULL))
    for other in (sp.csc_matrix(np.eye(N)), sp.csc_matrix(np.ones((N, N)))):
        shared.set_value(other)
        with pytest.raises(sc.PatternMismatchError, match="not those of the pattern"):
            f(2.0)


def test_a_given_pattern():
    """Analyzed elsewhere, with more entries than the matrix."""
    full = sc.analyze(np.ones((N, N)))
    a = pt.dvector("a")
    for M in (A, built(a)):
        Q = scpt.from_sparse(M, pattern=full)
        assert Q.pattern is full
        at = {a: A.data} if M is not A else {}
        np.testing.assert_allclose(dense_of(Q, at), FULL)
    diagonal = sc.analyze(np.eye(N))
    for M in (A, built(a)):
        with pytest.raises(sc.PatternMismatchError):
            scpt.from_sparse(M, pattern=diagonal)


def test_inputs_of_known_sparsity():
    S = ps.csc_matrix("S", dtype="float64")
    x = scpt.logdet(scpt.from_sparse(S, sparsity=A))
    f = pytensor.function([S], [x, ps.csm_data(pytensor.grad(x, S))], mode=MODE)
    got, gradient = f(sp.csc_matrix(A))
    np.testing.assert_allclose(got, logdet(FULL))
    column = np.repeat(np.arange(N), np.diff(A.indptr))
    np.testing.assert_allclose(gradient, np.linalg.inv(FULL)[A.indices, column])
    with pytest.raises(sc.PatternMismatchError, match="not those of the pattern"):
        f(sp.csc_matrix(np.eye(N)))
    with pytest.raises(TypeError, match="format 'csc'"):
        scpt.from_sparse(S, sparsity=A.tocsr())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ps.csc_matrix("S", dtype="float64"), TypeError, "pass sparsity="),
        (lambda: pt.dmatrix("M"), TypeError, "a sparse matrix is needed"),
        (lambda: np.ones((3, 4)), ValueError, "square"),
        (lambda: built(np.ones(3)), ValueError, r"values of shape \(3,\)"),
        (lambda: built(np.ones(2), matrix=sp.csc_array([[0.0, 1], [0, 1]])), None, ""),
        (
            lambda: built(np.ones(3), matrix=sp.csc_array([[0.0, 1, 0], [0, 0, 0], [1, 1, 0]])),
            ValueError,
            "store both triangles",
        ),
        (lambda: "matrix", (TypeError, ValueError), "matrix"),
    ],
)
def test_wrong_sparse_variables(make, error, message):
    if error is None:
        scpt.from_sparse(make())
        return
    with pytest.raises(error, match=message):
        scpt.from_sparse(make())


@pytest.mark.parametrize("function", [pt.linalg.slogdet, pt.linalg.det, pt.linalg.cholesky])
@pytest.mark.parametrize("mode", ["FAST_COMPILE", None, "JAX"])
def test_dense_functions_refuse_sparse_variables(function, mode):
    S = scpt.SymmetricMatrix(P, VALUES).to_sparse()
    first = (lambda x: x[0]) if function is pt.linalg.slogdet else (lambda x: x)
    with pytest.raises(TypeError, match=r"sparsechol\.pytensor, or x\.toarray\(\)"):
        pytensor.function([], first(function(S)), mode=mode)
    assert np.isfinite(value(first(function(S.toarray())))).all()


def test_pickles():
    Q = scpt.combine([(t, A)])
    Q2, t2 = pickle.loads(pickle.dumps((Q, t)))
    assert Q2.pattern == P
    np.testing.assert_allclose(value(scpt.logdet(Q2), {t2: 2.0}), logdet(2 * FULL))
    f = pytensor.function([t], scpt.logdet(Q), mode=MODE)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(f))(2.0), logdet(2 * FULL))
