"""Derivatives against dense formulas, differences, mpmath and their own adjoints."""

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given

import sparsechol as sc
from sparsechol import derivatives as d
from sparsechol.models import grid_laplacian
from support.helpers import (
    DTYPES,
    SETTINGS,
    eps,
    matrix_names,
    random_spd,
    shared_matrix,
    spd_matrices,
)

H = 1e-6  # step of central differences


def changes(rng, S, dtype, shape=()):
    """Random packed values with a real diagonal."""
    v = rng.standard_normal((*shape, len(S.indices)))
    if np.dtype(dtype).kind == "c":
        v = v + 1j * rng.standard_normal(v.shape)
        v[..., S.indptr[:-1]] = v[..., S.indptr[:-1]].real
    return v.astype(dtype)


def vectors(rng, shape, dtype):
    v = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        v = v + 1j * rng.standard_normal(shape)
    return v.astype(dtype)


def inner(x, y):
    return np.vdot(x, y).real


def packed(S, Z):
    """Stored values of a Hermitian result."""
    return S.values(Z)


class Problem:
    def __init__(self, dtype=np.float64, n=35, kind="random", order="amd", seed=0):
        self.rng = np.random.default_rng(seed)
        self.A = self.matrix(n, kind, dtype)
        self.S = sc.analyze(self.A, ordering=order)
        self.F = self.factorize(self.A)
        self.a = self.S.values(self.A)
        self.dtype = np.dtype(dtype)
        self.dA = changes(self.rng, self.S, dtype)
        self.db = vectors(self.rng, (n, 2), dtype)
        self.b = vectors(self.rng, (n, 2), dtype)
        self.n = n

    def matrix(self, n, kind, dtype):
        return random_spd(self.rng, n, kind, dtype)

    def factorize(self, A):
        return self.S.factorize(A)

    def moved(self, step):
        return self.factorize(self.a + step * self.dA)

    def difference(self, function):
        """Central difference of a function of the factor along dA (and db)."""
        return (function(self.moved(H), H) - function(self.moved(-H), -H)) / (2 * H)


class SignedProblem(Problem):
    """A quasi-definite matrix: every third row and column with another sign."""

    def matrix(self, n, kind, dtype):
        A, negative = super().matrix(n, kind, dtype), np.arange(n) % 3 == 0
        return np.where(np.logical_and.outer(negative, negative), -A, A)

    def factorize(self, A):
        return self.S.ldl(A)


KINDS = pytest.mark.parametrize("Problem", [Problem, SignedProblem])


def logdet(F):
    return F.logabsdet() if isinstance(F, sc.LDLFactor) else F.logdet()


@pytest.fixture(params=[np.float64, np.complex128])
def problem(request):
    return Problem(request.param)


TRANS = ["N", "T", "C"]


def functions():
    """name -> (value as an array, tangent, adjoint of a gradient in it); b moves with A."""

    def solve(p, F, step):
        return F.solve(p.b + step * p.db)

    def triangular(trans, permute):
        def value(p, F, step):
            return F.solve_triangular(p.b + step * p.db, trans=trans, permute=permute)

        def tangent(p):
            x = value(p, p.F, 0)
            return d.solve_triangular_jvp(p.F, x, dA=p.dA, db=p.db, trans=trans, permute=permute)

        def adjoint(p, bar):
            return d.solve_triangular_vjp(p.F, value(p, p.F, 0), bar, trans=trans, permute=permute)

        return value, tangent, adjoint

    table = {
        "logdet": (
            lambda p, F, _: np.array(logdet(F)),
            lambda p: d.logdet_jvp(p.F, p.dA),
            lambda p, bar: (bar * d.logdet_grad(p.F), 0 * p.b),
        ),
        "logdet_grad": (
            lambda p, F, _: d.logdet_grad(F),
            lambda p: d.logdet_hvp(p.F, p.dA),
            lambda p, bar: (d.logdet_hvp(p.F, bar), 0 * p.b),
        ),
        "factor": (
            lambda p, F, _: F.L.data,
            lambda p: d.factor_jvp(p.F, p.dA).data,
            lambda p, bar: (d.factor_vjp(p.F, like(p.F.L, bar)), 0 * p.b),
        ),
        "solve": (
            solve,
            lambda p: d.solve_jvp(p.F, p.F.solve(p.b), dA=p.dA, db=p.db),
            lambda p, bar: d.solve_vjp(p.F, p.F.solve(p.b), bar),
        ),
        "quadratic_form": (
            lambda p, F, step: np.array(d.quadratic_form(F, p.b + step * p.db)),
            lambda p: d.quadratic_form_jvp(p.F, p.F.solve(p.b), dA=p.dA, db=p.db),
            lambda p, bar: tuple(bar * g for g in d.quadratic_form_grad(p.F, p.F.solve(p.b))),
        ),
        "partial_inverse": (
            lambda p, F, _: packed(p.S, F.partial_inverse()),
            lambda p: packed(p.S, d.partial_inverse_jvp(p.F, p.dA)),
            lambda p, bar: (d.partial_inverse_vjp(p.F, bar), 0 * p.b),
        ),
        "partial_inverse of the factor": (
            lambda p, F, _: F.partial_inverse(entries="factor").data,
            lambda p: d.partial_inverse_jvp(p.F, p.dA, entries="factor").data,
            lambda p, bar: (
                d.partial_inverse_vjp(
                    p.F, like(p.F.partial_inverse(entries="factor"), bar), entries="factor"
                ),
                0 * p.b,
            ),
        ),
        "diag_inverse": (
            lambda p, F, _: F.diag_inverse(),
            lambda p: d.diag_inverse_jvp(p.F, p.dA),
            lambda p, bar: (d.diag_inverse_vjp(p.F, bar), 0 * p.b),
        ),
    }
    for trans in TRANS:
        for permute in (True, False):
            table[f"solve_triangular {trans} {permute}"] = triangular(trans, permute)
    return table


def like(matrix, data):
    """A matrix of the same pattern with other entries."""
    return sp.csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


FUNCTIONS = functions()


@KINDS
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_tangent_is_the_difference(Problem, name, dtype):
    problem = Problem(dtype)
    value, tangent, _ = FUNCTIONS[name]
    expected = problem.difference(lambda F, step: value(problem, F, step))
    found = tangent(problem)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * max(1, abs(expected).max()))


@KINDS
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_adjoint_pairs_with_the_tangent(Problem, name, dtype):
    p = Problem(dtype)
    _, tangent, adjoint = FUNCTIONS[name]
    change = np.asarray(tangent(p))
    bar = vectors(p.rng, change.shape, change.dtype)
    if name == "logdet_grad":
        bar[p.S.indptr[:-1]] = bar[p.S.indptr[:-1]].real
    if bar.ndim == 0:
        bar = float(bar)
    A_bar, b_bar = adjoint(p, bar)
    left = inner(bar, change)
    right = inner(A_bar, p.dA) + inner(b_bar, p.db)
    size = float(np.linalg.norm(bar) * np.linalg.norm(change))
    assert abs(left - right) <= 2000 * eps(dtype) * size
    assert A_bar.dtype == np.result_type(dtype, bar)
    assert not np.any(np.imag(A_bar[p.S.indptr[:-1]]))


@SETTINGS
@given(spd_matrices(max_n=30))
def test_adjoint_pairs_on_any_pattern(A):
    p = Problem()
    p.A, p.n = A, len(A)
    p.S = sc.analyze(A)
    p.F, p.dtype = p.S.factorize(A), p.S.factorize(A).dtype
    p.dA = changes(p.rng, p.S, p.dtype)
    p.b, p.db = (vectors(p.rng, (p.n, 2), p.dtype) for _ in range(2))
    for name in ("factor", "partial_inverse", "solve", "solve_triangular N True"):
        _, tangent, adjoint = FUNCTIONS[name]
        change = tangent(p)
        bar = vectors(p.rng, change.shape, change.dtype)
        A_bar, b_bar = adjoint(p, bar)
        right = inner(A_bar, p.dA) + inner(b_bar, p.db)
        size = float(np.linalg.norm(bar) * np.linalg.norm(change))
        assert abs(inner(bar, change) - right) <= 1e4 * eps(p.dtype) * max(size, abs(right))


def test_small_problems_to_the_last_digits():
    """Against mpmath in 40 digits: Giles's formulas, dense."""
    p = Problem(n=8, kind="dense", order="natural")
    with mpmath.workdps(40):
        A, dA = (mpmath.matrix(M.tolist()) for M in (p.A, p.S._symmetric(p.dA).toarray()))
        L = mpmath.cholesky(A)
        K = L**-1 * dA * (L**-1).T
        phi = mpmath.matrix(8, 8)
        for i in range(8):
            for j in range(i + 1):
                phi[i, j] = K[i, j] / (2 if i == j else 1)
        dL = np.array((L * phi).tolist(), dtype=float)
        dZ = np.array((-(A**-1) * dA * A**-1).tolist(), dtype=float)
        slope = float(sum((A**-1 * dA)[i, i] for i in range(8)))
    found = d.factor_jvp(p.F, p.dA).toarray()
    np.testing.assert_allclose(found, dL, rtol=0, atol=1e-13 * abs(dL).max())
    found = d.partial_inverse_jvp(p.F, p.dA).toarray()
    np.testing.assert_allclose(found, dZ, rtol=0, atol=1e-13 * abs(dZ).max())
    assert d.logdet_jvp(p.F, p.dA) == pytest.approx(slope, rel=1e-13)


def test_full_gradient_halves_what_stands_for_two(problem):
    S = problem.S
    g = problem.F.logdet_grad()
    G = d.full_gradient(S, g)
    assert np.allclose(G.toarray(), (G.conj().T).toarray())
    dense = np.where(problem.S._symmetric(np.ones(len(g))).toarray(), np.linalg.inv(problem.A), 0)
    np.testing.assert_allclose(G.toarray(), dense, atol=1e-12)
    dA = S._symmetric(problem.dA)
    assert inner(G.data, dA.data) == pytest.approx(inner(g, problem.dA))


def test_a_matrix_is_a_change_too(problem):
    dA = problem.S._symmetric(problem.dA)
    assert d.logdet_jvp(problem.F, dA) == d.logdet_jvp(problem.F, problem.dA)
    lower = d.logdet_hvp(problem.F, sp.tril(dA).tocsr())
    assert np.array_equal(lower, d.logdet_hvp(problem.F, problem.dA))


def test_gradient_of_a_matrix_and_of_packed_values_agree(problem):
    """df = sum(Z_bar * dZ) over all entries, wherever they are given."""
    S, F = problem.S, problem.F
    bar = changes(problem.rng, S, problem.dtype)
    full = d.full_gradient(S, bar)
    expected = d.partial_inverse_vjp(F, bar)
    np.testing.assert_allclose(d.partial_inverse_vjp(F, full), expected, atol=1e-12)
    one_sided = sp.tril(full, -1) * 2 + sp.diags_array(full.diagonal())
    np.testing.assert_allclose(d.partial_inverse_vjp(F, one_sided), expected, atol=1e-12)
    np.testing.assert_allclose(
        d.partial_inverse_vjp(F, full.toarray(), entries="factor"), expected, atol=1e-12
    )


def test_complex_right_hand_sides_of_a_real_factor():
    p = Problem()
    b, db, bar = (vectors(p.rng, (p.n,), complex) for _ in range(3))
    x = p.F.solve(b)
    dx = d.solve_jvp(p.F, x, dA=p.dA, db=db)
    expected = (p.moved(H).solve(b + H * db) - p.moved(-H).solve(b - H * db)) / (2 * H)
    np.testing.assert_allclose(dx, expected, atol=1e-7 * abs(expected).max())
    A_bar, b_bar = d.solve_vjp(p.F, x, bar)
    assert A_bar.dtype == float
    assert inner(bar, dx) == pytest.approx(inner(A_bar, p.dA) + inner(b_bar, db))
    y = p.F.solve_triangular(b)
    dy = d.solve_triangular_jvp(p.F, y, dA=p.dA, db=db)
    A_bar, b_bar = d.solve_triangular_vjp(p.F, y, bar)
    assert inner(bar, dy) == pytest.approx(inner(A_bar, p.dA) + inner(b_bar, db))


def test_gradient_of_a_gaussian_density():
    """What a maximum likelihood needs: half log-determinant minus half quadratic form."""
    p = Problem(n=60)

    def density(values):
        F = p.S.factorize(values)
        return F.logdet() / 2 - d.quadratic_form(F, p.b[:, 0]) / 2

    x = p.F.solve(p.b[:, 0])
    gradient = p.F.logdet_grad() / 2 - d.quadratic_form_grad(p.F, x)[0] / 2
    expected = (density(p.a + H * p.dA) - density(p.a - H * p.dA)) / (2 * H)
    assert gradient @ p.dA == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_are_their_matrices(dtype):
    p = Problem(dtype, n=25)
    values = np.stack([p.a, 2 * p.a, p.a + 0.01 * abs(p.a)])
    batch = p.S.factorize_batch(values)
    dA = changes(p.rng, p.S, dtype, (3,))
    x, bar, db = (vectors(p.rng, (3, p.n, 2), dtype) for _ in range(3))
    v = vectors(p.rng, (3, p.n), np.dtype(dtype).type(0).real.dtype)
    calls = {
        "logdet_jvp": (dA,),
        "logdet_grad": (),
        "logdet_hvp": (dA,),
        "solve_jvp": (x, {"dA": dA, "db": db}),
        "solve_vjp": (x, bar),
        "solve_triangular_jvp": (x, {"dA": dA, "db": db}),
        "solve_triangular_vjp": (x, bar),
        "quadratic_form": (x,),
        "quadratic_form_jvp": (x, {"dA": dA, "db": db}),
        "quadratic_form_grad": (x,),
        "partial_inverse_jvp": (dA,),
        "partial_inverse_vjp": (dA,),
        "diag_inverse_jvp": (dA,),
        "diag_inverse_vjp": (v,),
    }
    for name, arguments in calls.items():
        function = getattr(d, name)
        options = arguments[-1] if arguments and isinstance(arguments[-1], dict) else {}
        operands = arguments[: len(arguments) - bool(options)]
        found = function(batch, *operands, **options)
        for i in range(3):
            one_of = {key: value[i] for key, value in options.items()}
            expected = function(batch[i], *(operand[i] for operand in operands), **one_of)
            if name == "partial_inverse_jvp":
                expected = packed(p.S, expected)
            pairs = (
                zip(found, expected, strict=True)
                if isinstance(expected, tuple)
                else [(found, expected)]
            )
            for many, one in pairs:
                tolerance = 100 * eps(dtype) * max(1, np.abs(one).max())
                np.testing.assert_allclose(many[i], one, rtol=0, atol=tolerance, err_msg=name)


def test_methods_are_the_functions():
    p = Problem(n=12)
    batch = p.S.factorize_batch(np.stack([p.a, 2 * p.a]))
    for F, x, bar in [(p.F, p.b, p.dA), (batch, np.stack([p.b] * 2), np.stack([p.dA] * 2))]:
        assert np.array_equal(F.logdet_grad(), d.logdet_grad(F))
        for found, expected in zip(F.solve_vjp(x, 2 * x), d.solve_vjp(F, x, 2 * x), strict=True):
            assert np.array_equal(found, expected)
        assert np.array_equal(F.partial_inverse_vjp(bar), d.partial_inverse_vjp(F, bar))


def test_one_and_two_threads_have_the_same_bits():
    A = grid_laplacian((60, 60), shift=0.1)
    S = sc.analyze(A)
    rng = np.random.default_rng(0)
    F, dA = S.factorize(A), changes(rng, S, float)
    bar = like(F.L, rng.standard_normal(F.nnz))
    for function in (
        lambda t: d.factor_jvp(F, dA, threads=t).data,
        lambda t: d.factor_vjp(F, bar, threads=t),
        lambda t: d.logdet_hvp(F, dA, threads=t),
    ):
        assert np.array_equal(function(1), function(2))


@pytest.mark.slow
@pytest.mark.skipif(not matrix_names(), reason="the folder of real matrices is not there")
@pytest.mark.parametrize("name", [name for name in matrix_names() if name != "unit_square"])
def test_identities_on_real_matrices(name):
    A = shared_matrix(name)
    if A.shape[0] > 5000:
        pytest.skip("for matrices up to n = 5000")
    scale = sp.diags_array(1 / np.sqrt(A.diagonal()))
    A = sp.csc_array(scale @ A @ scale)
    p = Problem()
    p.A, p.n, p.dtype = A, A.shape[0], np.dtype(float)
    p.S = sc.analyze(A)
    p.F = p.S.factorize(A)
    p.dA = changes(p.rng, p.S, float)
    p.b, p.db = (vectors(p.rng, (p.n, 1), float) for _ in range(2))
    for function in ("factor", "partial_inverse", "solve", "solve_triangular N True"):
        _, tangent, adjoint = FUNCTIONS[function]
        change = tangent(p)
        bar = vectors(p.rng, change.shape, float)
        A_bar, b_bar = adjoint(p, bar)
        right = inner(A_bar, p.dA) + inner(b_bar, p.db)
        size = np.linalg.norm(bar) * np.linalg.norm(change)
        assert abs(inner(bar, change) - right) <= 1e-12 * max(size, abs(right)), function
    # M = A: the change of L is L / 2, that of the inverse is -A^-1.
    L = p.F.L
    np.testing.assert_allclose(
        d.factor_jvp(p.F, A).data, L.data / 2, rtol=0, atol=1e-12 * abs(L.data).max() * p.n
    )


# ---- what bad input gets ----


def test_wrong_shapes_are_refused():
    p = Problem(n=10)
    F, S, x = p.F, p.S, p.F.solve(p.b)
    calls = [
        (lambda: d.logdet_jvp(F, p.dA[:-1]), "packed values"),
        (lambda: d.logdet_jvp(F, np.eye(3)), "shape"),
        (lambda: d.solve_jvp(F, x[:-1], dA=p.dA), "x has shape"),
        (lambda: d.solve_jvp(F, x, dA=p.dA, db=p.db[:, :1]), "db has shape"),
        (lambda: d.solve_vjp(F, x, x[:, 0]), "x_bar has shape"),
        (lambda: d.solve_triangular_jvp(F, x, dA=p.dA, trans="X"), "trans"),
        (lambda: d.solve_triangular_vjp(F, x, x, trans=3), "trans"),
        (lambda: d.quadratic_form(F, 1.0), "b has shape"),
        (lambda: d.partial_inverse_jvp(F, p.dA, entries="all"), "entries"),
        (lambda: d.partial_inverse_vjp(F, np.eye(3)), "shape"),
        (lambda: d.factor_vjp(F, np.eye(3)), "shape"),
        (lambda: d.diag_inverse_vjp(F, np.ones(3)), "shape"),
        (lambda: d.full_gradient(S, p.dA[:-1]), "shape"),
        (lambda: d.sampled_outer(S, np.ones(3), np.ones(3)), "shapes"),
        (lambda: d.sampled_outer(S, np.ones(10), np.ones((10, 2))), "shapes"),
    ]
    for call, words in calls:
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(sc.PatternMismatchError):
        d.logdet_jvp(F, np.ones((10, 10)))
    with pytest.raises(TypeError):
        d.logdet_jvp(F, 1j * p.dA)
    with pytest.raises(TypeError):
        d.solve_jvp(F, np.array(["a"] * 10))


def test_batches_refuse_what_they_do_not_have():
    p = Problem(n=10)
    batch = p.S.factorize_batch(np.stack([p.a, p.a]))
    with pytest.raises(ValueError, match="batch"):
        d.partial_inverse_jvp(batch, np.stack([p.dA] * 2), entries="factor")
    with pytest.raises(ValueError, match="packed values"):
        d.logdet_jvp(batch, p.dA)
    with pytest.raises(ValueError, match="packed values"):
        d.logdet_jvp(batch, np.stack([p.dA] * 3))


def test_nan_in_a_change_spreads():
    p = Problem(n=10, kind="dense")
    p.dA[3] = np.nan
    assert np.isnan(d.logdet_jvp(p.F, p.dA))
    assert np.isnan(d.logdet_hvp(p.F, p.dA)).any()
    assert np.isnan(d.factor_jvp(p.F, p.dA).data).any()
    assert np.isnan(d.solve_jvp(p.F, p.F.solve(p.b), dA=p.dA)).any()
    assert np.isnan(d.solve_vjp(p.F, p.b, np.full_like(p.b, np.nan))[0]).all()


def test_a_failed_factor_has_no_derivatives():
    p = Problem(n=5)
    with pytest.raises(sc.NotPositiveDefiniteError):
        p.F.refactorize(-p.A)
    for call in (p.F.logdet_grad, lambda: d.factor_jvp(p.F, p.dA)):
        with pytest.raises(np.linalg.LinAlgError, match="no factor"):
            call()


def test_empty_and_single():
    F = sc.cholesky(np.zeros((0, 0)))
    assert F.logdet_grad().shape == (0,)
    assert d.logdet_jvp(F, np.zeros(0)) == 0
    assert d.factor_jvp(F, np.zeros(0)).shape == (0, 0)
    assert d.solve_vjp(F, np.zeros(0), np.zeros(0))[0].shape == (0,)
    F = sc.cholesky(np.array([[4.0]]))
    assert d.factor_jvp(F, [1.0]).toarray() == 0.25
    assert d.partial_inverse_vjp(F, [1.0]) == -1 / 16
