"""What is refused, what is warned of, and what goes through: singular matrices and near ones."""

import itertools
import pickle
import warnings
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from scipy.linalg import LinAlgWarning, lapack

import sparsechol as sc
from sparsechol._core.numeric import factorize
from sparsechol._core.numeric.operations import CODES, QUICK
from sparsechol._scipy.pivots import rcond
from support.helpers import DTYPES, eps, laplacian

EXAMPLE = np.array([[34.0, -13, 17], [-13, 5, -6], [17, -6, 17]])  # of rank two


def verdict(A, ordering="natural", **options):
    """'ok', 'warned', 'singular' or 'indefinite'."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            sc.cholesky(A, ordering=ordering, **options)
        except sc.NotPositiveDefiniteError as error:
            return "singular" if "singular" in str(error) else "indefinite"
        except LinAlgWarning:
            return "warned"
    return "ok"


def orthogonal(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def with_eigenvalues(rng, values):
    Q = orthogonal(rng, len(values))
    A = Q * values @ Q.T
    return (A + A.T) / 2


def condition(A):
    """Condition number after scaling to a unit diagonal."""
    root = np.sqrt(np.diag(A).real)
    return np.linalg.cond(A / np.outer(root, root))


# ---- singular matrices: none goes through ------------------------------------------------------


def products_of_small_factors():
    """B B^T of every 3 x 2 matrix B with entries from -2 to 2: each product once."""
    seen = {}
    for entries in itertools.product(range(-2, 3), repeat=6):
        B = np.reshape(entries, (3, 2))
        A = B @ B.T
        if np.diag(A).all():
            seen[A.tobytes()] = A.astype(float)
    return list(seen.values())


def integer_products(rng, count, dtype=float):
    """B B^H of integer matrices B with a column less than rows."""
    while count:
        n, most = rng.integers(4, 41), rng.integers(1, 8)
        B = rng.integers(-most, most + 1, (n, n - 1)).astype(dtype)
        if np.dtype(dtype).kind == "c":
            B += 1j * rng.integers(-most, most + 1, (n, n - 1))
        if rng.random() < 0.5:
            B *= rng.random(B.shape) < rng.choice([0.1, 0.3, 0.6])
        A = B @ B.conj().T
        if np.diag(A).all():
            count -= 1
            yield A


def dummies(rng, count):
    """X^T X with an intercept and all dummies of one factor or two, columns in any order."""
    for _ in range(count):
        rows = rng.integers(20, 200)
        parts = [np.ones((rows, 1))]
        for levels in rng.integers(2, 12, rng.integers(1, 3)):
            parts.append(np.eye(levels)[rng.integers(0, levels, rows)])
        if rng.random() < 0.5:
            parts.append(rng.standard_normal((rows, 2)))
        X = np.hstack(parts)
        X = X[:, X.any(axis=0)]
        yield (X.T @ X)[np.ix_(*[rng.permutation(X.shape[1])] * 2)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_singular_example(dtype):
    for order in itertools.permutations(range(3)):
        assert verdict(EXAMPLE.astype(dtype), list(order)) != "ok"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_products_of_small_integer_factors(step, dtype):
    for A in products_of_small_factors()[::step]:
        for order in itertools.permutations(range(3)):
            assert verdict(A.astype(dtype), list(order)) == "singular"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [100, pytest.param(2_000, marks=pytest.mark.slow)])
def test_singular_integer_matrices(count, dtype):
    for A in integer_products(np.random.default_rng(0), count, dtype):
        for order in ("natural", "amd"):
            assert verdict(A, order) in ("singular", "warned")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.slow)])
def test_designs_with_an_intercept_and_all_dummies(count, dtype):
    for A in dummies(np.random.default_rng(1), count):
        for order in ("natural", "amd"):
            assert verdict(A.astype(dtype), order) in ("singular", "warned")


@pytest.mark.parametrize("n", [10, 40, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_graph_laplacians(n, dtype):
    assert verdict(laplacian(n, n, shift=0, dtype=dtype), "auto") in ("singular", "warned")


@pytest.mark.parametrize("n", [3, 5, 8, 12, 16])
def test_a_warning_is_possible_for_every_order(n):
    """Also below 16, where n roundings are less than what is refused."""
    rng, found = np.random.default_rng(n), Counter()
    for _ in range(200):
        values = np.append(10.0 ** -rng.uniform(0, 3, n - 1), 10.0 ** -rng.uniform(14, 16))
        found[verdict(with_eigenvalues(rng, values))] += 1
    assert found["warned"]
    assert not found["indefinite"]


def test_hilbert_matrices():
    assert [verdict(scipy.linalg.hilbert(n)) for n in (2, 6, 8, 9, 10)] == ["ok"] * 5
    assert verdict(scipy.linalg.hilbert(12)) == "warned"


# ---- no false alarms ---------------------------------------------------------------------------


def well_conditioned(rng, most):
    """A matrix of some kind, in other units, with a scaled condition number up to `most`."""
    while True:
        n, size = int(rng.integers(2, 60)), most ** rng.random()
        kind = rng.integers(4)
        if kind == 0:
            A = with_eigenvalues(rng, np.append(size ** -rng.random(n - 1), 1 / size))
        elif kind == 1:
            x = rng.uniform(0, n / 8, (n, 1))
            A = np.exp(-((x - x.T) ** 2) / 2) + np.eye(n) * n / size
        else:
            L = np.eye(n) - np.diag(rng.uniform(0.5, 1.2, n - 1), -1)
            if kind == 2:
                L = np.tril(rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.3), -1)
                L += np.eye(n)
            A = L @ L.T
        if condition(A) <= most:
            return A


@pytest.mark.parametrize(("dtype", "most", "units"), [(np.float64, 1e8, 40), (np.float32, 1e4, 8)])
@pytest.mark.parametrize("count", [300, pytest.param(2_000, marks=pytest.mark.slow)])
def test_no_word_on_well_conditioned_matrices(count, dtype, most, units):
    rng = np.random.default_rng(2)
    for _ in range(count):
        A = well_conditioned(rng, most)
        unit = 2.0 ** rng.integers(-units, units, len(A))
        assert verdict((A * np.outer(unit, unit)).astype(dtype), "amd") == "ok"


def doubtful(rng, count):
    yield from integer_products(rng, count // 3)
    yield from dummies(rng, count // 3)
    for _ in range(count // 3):
        small = 10.0 ** -rng.uniform(5, 18)
        yield with_eigenvalues(
            rng, np.append(10.0 ** -rng.uniform(0, 3, rng.integers(2, 20)), small)
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaling_by_powers_of_two(dtype):
    """K A K and 4 A have the same verdict and `rcond`, bit for bit; 2 A rounds in another way."""
    rng = np.random.default_rng(3)
    for A in doubtful(rng, 150):
        A = A.astype(dtype)
        unit = 2.0 ** rng.integers(-10, 11, len(A)).astype(A.real.dtype)
        wanted = verdict(A)
        for scaled in (A * np.outer(unit, unit), A * A.real.dtype.type(4.0**7)):
            assert verdict(scaled) == wanted
            if wanted == "ok":
                assert sc.cholesky(scaled).rcond == sc.cholesky(A).rcond
        assert (verdict(2 * A) == "ok") == (wanted == "ok")


# ---- against LAPACK ----------------------------------------------------------------------------


def small_matrix(rng, kind, n, dtype):
    is_complex = np.dtype(dtype).kind == "c"

    def normal(*shape):
        real, imaginary = rng.standard_normal((2, *shape))
        return real + 1j * imaginary if is_complex else real

    def integer(most, *shape):
        real, imaginary = rng.integers(-most, most + 1, (2, *shape))
        return real + 1j * imaginary if is_complex else real

    if kind in ("random", "graded"):
        B = normal(n, n + 2)
        unit = 2.0 ** rng.integers(-40, 40, n) if kind == "graded" else np.ones(n)
        return B @ B.conj().T * np.outer(unit, unit)
    if kind in ("singular", "regular"):
        B = integer(int(rng.integers(1, 6)), n, n - (kind == "singular"))
        return B @ B.conj().T
    if kind == "indefinite":
        B = integer(3, n, n)
        return B + B.conj().T + np.diag(rng.integers(0, 12, n))
    weak = rng.uniform(0, 18, 1) if kind == "nearly singular" else rng.uniform(0, 14, n - 1)
    values = 10.0 ** -np.append(weak, rng.uniform(0, 2, n - len(weak)))
    Q, _ = np.linalg.qr(normal(n, n))
    A = Q * values @ Q.conj().T
    return (A + A.conj().T) / 2


LAPACK_KINDS = [
    "random", "graded", "singular", "regular", "indefinite", "nearly singular", "spread",
]  # fmt: skip


@pytest.mark.parametrize("count", [50, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", LAPACK_KINDS)
def test_verdict_and_values_beside_lapack(kind, dtype, count):
    """What goes through is what LAPACK factors, with the same values up to the conditioning."""
    rng, e = np.random.default_rng(4), eps(dtype)
    for _ in range(count):
        n = int(rng.integers(2, 11))
        A = small_matrix(rng, kind, n, dtype).astype(dtype)
        diagonal = np.diag(A).real.astype(float)
        if not (diagonal > 0).all():
            continue
        potrf, potrs = lapack.get_lapack_funcs(("potrf", "potrs"), (A,))
        L, info = potrf(A, lower=True)
        found = verdict(A)
        if kind in ("random", "graded"):
            assert found == "ok"
        if kind == "singular":
            assert found in ("singular", "warned")
        if found != "ok":
            root = np.sqrt(diagonal)
            least = np.linalg.eigvalsh(A.astype(np.complex128) / np.outer(root, root))[0]
            assert least <= 100 * n * e
            continue
        assert info == 0
        F = sc.cholesky(A, ordering="natural")
        allowed = 20 * e / F.rcond
        logdet = 2 * np.log(np.diag(L).real.astype(float)).sum()
        assert abs(F.logdet() - logdet) <= allowed * (1 + abs(logdet))
        b = np.ones(n, dtype)
        x, wanted = F.solve(b) * np.sqrt(diagonal), potrs(L, b, lower=True)[0] * np.sqrt(diagonal)
        assert abs(x - wanted).max() <= allowed * abs(wanted).max()


def rank(A):
    """Rank of an integer matrix, in exact arithmetic."""
    rows, found = [[Fraction(int(x)) for x in row] for row in A], 0
    for column in range(len(A)):
        pivot = next((r for r in range(found, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        for r in range(found + 1, len(rows)):
            ratio = rows[r][column] / rows[found][column]
            rows[r] = [x - ratio * y for x, y in zip(rows[r], rows[found], strict=True)]
        found += 1
    return found


@pytest.mark.parametrize("count", [200, pytest.param(3_000, marks=pytest.mark.slow)])
def test_integer_matrices_beside_their_exact_rank(count):
    rng = np.random.default_rng(5)
    for _ in range(count):
        n = int(rng.integers(2, 8))
        B = rng.integers(-3, 4, (n, n))
        A = B @ B.T
        if np.diag(A).all():
            assert (verdict(A) == "ok") == (rank(A) == n)


# ---- the reciprocal condition number -----------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_rcond_is_that_of_the_scaled_matrix(dtype):
    rng = np.random.default_rng(6)
    for _ in range(50):
        n = int(rng.integers(1, 30))
        A = small_matrix(rng, "graded", n, dtype).astype(dtype)
        root = np.sqrt(np.diag(A).real.astype(float))
        H = A.astype(np.complex128) / np.outer(root, root)
        exact = 1 / np.linalg.cond(H, 1)
        F = sc.cholesky(A)
        assert exact * (1 - 1e-3) <= F.rcond <= 4 * exact
        assert isinstance(F.rcond, float)
        batch = F.pattern.factorize_batch([F.pattern.values(A)] * 3)
        assert batch.rcond.tolist() == [F.rcond] * 3


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_doubt_is_settled_as_the_estimate_decides(dtype, signed):
    """A solve settles most doubts inside the kernel: there is a warning where there was one."""
    rng = np.random.default_rng(11)
    verdicts = Counter()
    for _ in range(60):
        blocks = []
        for worst in rng.choice([0.3, 0.4, 0.5, 0.95], int(rng.integers(2, 12))):
            values = eps(dtype) ** np.append(rng.uniform(0, worst, 2), worst)
            Q = orthogonal(rng, 3)
            blocks.append((Q * values @ Q.T) * (rng.choice([1, -1]) if signed else 1))
        A = scipy.linalg.block_diag(*blocks).astype(dtype)
        A = np.tril(A) + np.tril(A, -1).conj().T
        S = sc.analyze(A, ordering="natural")
        packed = S.values(A)[None]
        panels = np.empty((1, S._structure.size), dtype)
        work = np.empty(factorize.workspace(S._structure, 1, 1), dtype)
        arguments = S._structure, packed, panels, work, 1, signed
        failed, _, kept, doubt, growth = factorize.factorize(*arguments, brief=False)
        if failed[0] >= 0 or kept[0] <= 16 * eps(dtype) or not doubt[0]:
            continue
        if signed and growth[0] > eps(dtype) ** -0.5 / 2:
            continue
        warned = not rcond(S, panels, packed, 1, QUICK)[0] > 16 * eps(dtype)
        outcome = factorize.factorize(*arguments, brief=True)
        verdicts[warned, outcome is None] += 1
        assert not (warned and outcome is None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            S.ldl(packed[0]) if signed else S.factorize(packed[0])
        assert bool(caught) == warned
    assert verdicts[False, True] > 3  # settled at once
    assert verdicts[True, False] > 0


def test_rcond_has_the_same_bits_for_any_number_of_threads():
    A = laplacian(60, 60)
    S = sc.analyze(A)
    panels, values = S.factorize(A)._panels, S.values(A)[None]
    out = np.empty((4, 1))
    for k in range(4):
        S._handle.perform(CODES["rcond"], (panels, values), out[k], k + 1)
    assert (out == out[0]).all()


@pytest.mark.parametrize("n", [2, 10, 1000])
def test_rcond_finds_a_small_part_of_a_large_matrix(n):
    """Two rows that are nearly the same: their null vector is orthogonal to most start vectors."""
    A = sp.block_diag([laplacian(n, shift=1.0), [[1, 1], [1, 1 + 1e-10]]], format="csc")
    assert 2e-11 <= sc.cholesky(A).rcond <= 3e-11


def test_rcond_of_an_empty_matrix():
    assert sc.cholesky(np.empty((0, 0))).rcond == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_condition_numbers_beyond_the_largest_number(dtype):
    small = np.finfo(dtype).tiny / 100
    diagonal = np.array([small, 1], dtype)
    F = sc.cholesky(np.diag(diagonal))
    assert F.condest() == np.inf
    assert F.rcond > 1e-3
    batch = F.pattern.factorize_batch(np.array([diagonal, [1, 1]], dtype))
    assert batch.condest().tolist() == [np.inf, 1]


# ---- what an error says ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["natural", "amd", "nested_dissection"])
def test_errors_name_the_dependent_rows(order, dtype):
    """Rows 2, 5 and 7 of a larger matrix are dependent, in all orders."""
    rng = np.random.default_rng(7)
    A = laplacian(40, shift=1.0, dtype=dtype).toarray()
    rows = [2, 15, 37]
    B = np.array([[1, 2], [1, -1], [2, 1]])
    A[np.ix_(rows, rows)] = B @ B.T
    A[np.ix_(rows, [k for k in range(40) if k not in rows])] = 0
    A[np.ix_([k for k in range(40) if k not in rows], rows)] = 0
    unit = 2.0 ** rng.integers(-5, 5, 40).astype(A.real.dtype)
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        sc.cholesky(sp.csc_array(A * np.outer(unit, unit)), ordering=order)
    error = caught.value
    assert "rows 2, 15, 37 are linearly dependent" in str(error)
    assert sorted(error.rows) == rows
    assert error.row in rows
    again = pickle.loads(pickle.dumps(error))
    assert (again.rows, again.row, str(again)) == (error.rows, error.row, str(error))


@pytest.mark.parametrize("threads", [1, 3])
def test_dependent_rows_of_a_large_matrix(threads):
    """The null vector of a graph Laplacian is constant: all rows of its part depend."""
    A = sp.block_diag([laplacian(30, 30), laplacian(10, 10, shift=0)], format="csc")
    with pytest.raises(sc.NotPositiveDefiniteError, match="and 92 more are linearly") as caught:
        sc.cholesky(A, threads=threads)
    assert sorted(caught.value.rows) == list(range(900, 1000))


def test_warnings_name_nearly_dependent_rows():
    nearly = EXAMPLE + np.diag([0, 0, 4e-13])  # a pivot that is more than rounding
    A = sp.block_diag([np.eye(5), nearly], format="csc")
    with pytest.warns(LinAlgWarning, match="rows 5, 6, 7 are nearly dependent"):
        sc.cholesky(A, ordering="natural")


def test_a_negative_pivot_within_rounding_is_singular():
    A = np.array([[1.0, 1.0], [1.0, 1.0]])
    A[1, 1] -= 8 * np.finfo(float).eps
    with pytest.raises(sc.NotPositiveDefiniteError, match="singular") as caught:
        sc.cholesky(A, ordering="natural")
    assert caught.value.pivot < 0
    assert caught.value.rows == (0, 1)
    A[1, 1] -= 1e-10
    with pytest.raises(sc.NotPositiveDefiniteError, match="not positive definite") as caught:
        sc.cholesky(A, ordering="natural")
    assert caught.value.rows == ()


# ---- weak pivots -------------------------------------------------------------------------------


def kernel(seed, length=0.1):
    x = np.random.default_rng(seed).uniform(0, 10, (200, 1))
    return np.exp(-(((x - x.T) / length) ** 2) / 2) + 1e-6 * np.eye(200)


@pytest.mark.parametrize("seed", range(3))
def test_weak_pivots_are_accepted_with_a_warning(seed):
    """A Gaussian process kernel in single precision, as good as its rounding lets it be.

    A change dK of the matrix changes the log-determinant by the trace of K^-1 dK.
    """
    K = kernel(seed).astype(np.float32)
    truth = np.linalg.slogdet(K.astype(float))[1]
    rounding = np.finfo("f").eps * np.linalg.norm(np.linalg.inv(K.astype(float)))
    assert rounding < 1
    S = sc.analyze(K)
    calls = [
        lambda **options: sc.cholesky(K, **options).logdet(),
        lambda **options: sc.logdet(K, **options),
        lambda **options: S.factorize(K, **options).logdet(),
        lambda **options: S.factorize_batch([S.values(K)], **options).logdet()[0],
        lambda **options: S.factorize(np.eye(200, dtype="f")).refactorize(K, **options).logdet(),
        lambda **options: (
            S.factorize_batch([S.values(np.eye(200, dtype="f"))])
            .refactorize([S.values(K)], **options)
            .logdet()[0]
        ),
    ]
    for call in calls:
        with pytest.raises(sc.NotPositiveDefiniteError, match="singular"):
            call()
        with pytest.warns(LinAlgWarning, match="reciprocal condition number"):
            logdet = call(weak_pivots="accept")
        assert abs(logdet - truth) <= 2 * rounding
    b = np.ones(200, np.float32)
    for function in (sc.solve, lambda A, b, **options: sc.partial_inverse(A, **options)):
        with pytest.warns(LinAlgWarning, match="reciprocal"):
            function(K, b, weak_pivots="accept")


def test_weak_pivots_must_be_positive():
    for A in (np.ones((2, 2)), np.diag([1.0, -1e-300])):
        with pytest.raises(sc.NotPositiveDefiniteError):
            sc.cholesky(A, weak_pivots="accept")
    with pytest.raises(ValueError, match="weak_pivots must be 'refuse' or 'accept', not 'warn'"):
        sc.cholesky(np.eye(2), weak_pivots="warn")


# ---- subnormal numbers -------------------------------------------------------------------------

SMALL = {np.float32: 1e-40, np.complex64: 1e-40, np.float64: 1e-310, np.complex128: 1e-310}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 3, 30, 200])
def test_subnormal_matrices(n, dtype):
    """Simplicial columns and fronts: as exact as the numbers are."""
    small = SMALL[dtype]
    dense = n == 30
    A = np.eye(n) + np.ones((n, n)) / n if dense else laplacian(n, shift=1.0).toarray()
    F = sc.cholesky((A * small).astype(dtype))
    spacing = float(np.finfo(dtype).smallest_subnormal) / small
    assert F.logdet() == pytest.approx(
        np.linalg.slogdet(A)[1] + n * np.log(small), abs=100 * n * spacing
    )
    x = F.solve((A @ np.ones(n) * small).astype(dtype))
    np.testing.assert_allclose(x, np.ones(n), atol=100 * spacing)
    assert F.rcond == pytest.approx(sc.cholesky(A).rcond, rel=0.1) or small < 1e-300
    for result in (F.partial_inverse, F.diag_inverse, lambda: F.solve(np.ones(n))):
        with pytest.raises(OverflowError, match="multiply the matrix by a large number"):
            result()


@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_subnormal_matrices(dtype):
    """Their roundings are as large as those of the smallest normal numbers."""
    for A in (EXAMPLE, np.ones((2, 2)), np.ones((3, 3)) * 1.37):
        small = (A * SMALL[dtype]).astype(dtype)
        assert verdict(small) in ("singular", "warned")
    least = np.finfo(dtype).smallest_subnormal
    with pytest.raises(sc.NotPositiveDefiniteError, match="is subnormal: multiply"):
        sc.cholesky((np.array([[4, 3], [3, 4]]) * least).astype(dtype))
    F = sc.cholesky(np.diag([least, 1]).astype(dtype))
    assert F.logdet() == pytest.approx(np.log(float(least)))
