"""Calls of the SciPy face with arrays of any kind (`support.scipy_fuzz_cases`, `fuzz_calls`).

What they found is below.

SPARSECHOL_FUZZ_CASES is the number of cases of the long test, 2000 by default.
"""

import os

import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
from sparsechol import derivatives as dv
from sparsechol._scipy.triangle_pattern import TriangularPattern
from support.fuzz_calls import run_base
from support.scipy_fuzz import Fuzz, derivatives, one_shot
from support.scipy_fuzz_cases import OPERATIONS, code_called, public_code, run_case
from support.scipy_fuzz_structures import model

FAST = 60
ALL = int(os.environ.get("SPARSECHOL_FUZZ_CASES", "2000"))
CHUNK = 100


def run(seeds):
    for seed in seeds:
        try:
            run_case(seed)
        except Exception as error:
            error.add_note(f"case {seed} of support.scipy_fuzz")
            raise


def test_some_cases():
    run(range(FAST))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FAST, ALL, CHUNK))
def test_many_cases(start):
    run(range(start, min(start + CHUNK, ALL)))


def test_single_calls():
    for seed in range(4):
        run_base(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(4, max(4, ALL // 20), 10))
def test_many_single_calls(start):
    for seed in range(start, start + 10):
        run_base(seed)


OF_MANY = [model, derivatives, one_shot]  # operations that choose among many functions


@pytest.mark.filterwarnings("ignore")  # of matrices that are meant to be nearly singular, and worse
def test_every_public_name_is_called():
    """A new function or method needs an operation that calls it."""
    missing = public_code()

    def call(operations, seed):
        for operation in dict.fromkeys(operations):
            operation(Fuzz(seed))

    for seed in range(60):
        called = code_called(call, OPERATIONS if seed < 4 else OF_MANY, seed)
        missing = {name: code for name, code in missing.items() if code not in called}
        if not missing:
            break
    assert not missing, sorted(missing)


# ---- what it found -----------------------------------------------------------------------------

A = sp.csc_array(np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]]))
MASKED = np.ma.masked_array([1.0, 2.0, 3.0], mask=[True, False, False])
PACKED = np.ma.masked_array(np.ones(5), mask=[True, False, False, False, False])


@pytest.mark.parametrize("format", ["csc", "csr", "bsr", "coo", "lil"])
@pytest.mark.parametrize("index", [-1, 3, 10**8])
def test_gradients_with_corrupt_indices_are_refused(format, index):
    bar = sp.eye_array(3, format="csc").asformat(format)
    if format == "lil":
        bar.rows[1] = [index]
    elif format == "coo":
        bar.col[1] = index
    else:
        bar.indices[1] = index
    F = sc.cholesky(A)
    for entries in ("matrix", "factor"):
        with pytest.raises(ValueError, match=r"gradient\.(indices|col)\[1\] ="):
            dv.partial_inverse_vjp(F, bar, entries=entries)
    with pytest.raises(ValueError, match=r"gradient\.(indices|col)\[1\] ="):
        dv.factor_vjp(F, bar)


def test_gradients_with_too_few_diagonals_are_refused():
    bar = sp.dia_array(np.eye(3))
    bar.offsets = np.array([0, 1, 2], dtype=np.int32)
    with pytest.raises(ValueError, match=r"gradient\.data has length 1"):
        dv.factor_vjp(sc.cholesky(A), bar)


def test_gradients_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="complex"):
        dv.factor_vjp(sc.cholesky(A), 1j * np.eye(3))


F = sc.cholesky(A)
BATCH = F.pattern.factorize_batch([F.pattern.values(A)])
TAKE_MASKED = {
    "solve": lambda: F.solve(MASKED),
    "solve of a batch": lambda: BATCH.solve(MASKED[None]),
    "solve_triangular": lambda: sc.solve_triangular(A, MASKED),
    "triangle": lambda: sc.solve_triangular(np.ma.diag(MASKED), np.ones(3)),
    "factorize": lambda: F.pattern.factorize(PACKED),
    "factorize_batch": lambda: F.pattern.factorize_batch(PACKED[None]),
    "inverse_entries": lambda: F.inverse_entries(np.ma.masked_array([0, 1], [True, False]), 0),
    "quadratic_form": lambda: dv.quadratic_form(F, MASKED),
    "solve_jvp": lambda: dv.solve_jvp(F, np.ones(3), db=MASKED),
    "logdet_jvp": lambda: dv.logdet_jvp(F, PACKED),
    "full_gradient": lambda: dv.full_gradient(F.pattern, PACKED),
    "sampled_outer": lambda: dv.sampled_outer(F.pattern, MASKED, MASKED),
    "diag_inverse_vjp": lambda: dv.diag_inverse_vjp(F, MASKED),
    "factor_vjp": lambda: dv.factor_vjp(F, np.ma.diag(MASKED)),
    "color": lambda: sc.coloring.color(np.ma.diag(MASKED)),
    "ordering": lambda: sc.analyze(A, ordering=np.ma.masked_array([0, 1, 2], True)),
    "order": lambda: sc.coloring.color(A, order=np.ma.masked_array([0, 1, 2], True)),
    "decompress": lambda: sc.coloring.color(np.eye(3)).decompress(MASKED[:, None]),
}


@pytest.mark.parametrize("name", TAKE_MASKED)
def test_masked_elements_are_refused(name):
    with pytest.raises(ValueError, match="has masked elements"):
        TAKE_MASKED[name]()


CORRUPT = sp.csc_array(np.eye(3))
CORRUPT.indices[1] = 10**8
READ_CORRUPT = {
    "with_low_rank": lambda: F.with_low_rank(CORRUPT),
    "condition": lambda: F.condition(CORRUPT),
    "reserve": lambda: sc.analyze(A, reserve=CORRUPT),
    "gram": lambda: sc.gram(CORRUPT),
    "update": lambda: F.update(CORRUPT),
    "inverse_quadratic": lambda: F.inverse_quadratic(CORRUPT),
    "null_space": lambda: sc.cholesky(A, null_space=CORRUPT),
    "PrecisionModel": lambda: sc.models.PrecisionModel(CORRUPT),
    "PrecisionModel.null_space": lambda: sc.models.PrecisionModel(A, null_space=CORRUPT),
    "PrecisionFamily": lambda: sc.models.PrecisionFamily((CORRUPT,), lambda: (1.0,), {}),
    "besag": lambda: sc.models.besag(CORRUPT),
}


@pytest.mark.parametrize("name", READ_CORRUPT)
def test_corrupt_indices_are_refused(name):
    with pytest.raises(ValueError, match=r"indices\[1\] = 100000000"):
        READ_CORRUPT[name]()


def unsorted(dtype):
    """Return a symmetric matrix with unsorted, repeated indices."""
    part = np.array([1.0, 2.0, 3.0, 1.0, 1.0, 5.0, 1.0, 2.0, 6.0]).astype(dtype)
    rows = np.array([1, 0, 0, 2, 0, 1, 1, 2, 2], dtype=np.int32)
    B = sp.csc_array((3, 3), dtype=dtype)
    B.data, B.indices, B.indptr = part, rows, np.array([0, 3, 6, 9], dtype=np.int32)
    return B


READ_UNSORTED = {
    "logdet_pencil": lambda B: sc.logdet_pencil(A, B, (0.0, 1.0)),
    "solve_triangular": lambda B: sc.solve_triangular(B, np.ones(3)),
    "TriangularPattern": lambda B: TriangularPattern.of(B).values(B),
    "scale": lambda B: sc.models.scale(sc.models.PrecisionModel(B)),
    "family": lambda B: sc.models.PrecisionFamily((B,), lambda: (1.0,), {}).pattern,
    "inverse_quadratic": lambda B: F.inverse_quadratic(B),
    "gram": lambda B: sc.gram(B).values(B),
    "color": lambda B: sc.coloring.color(B),
}


@pytest.mark.parametrize("dtype", ["f4", "f8", "g"])
@pytest.mark.parametrize("name", READ_UNSORTED)
def test_unsorted_arrays_stay_as_they_are(name, dtype):
    B, same = unsorted(dtype), unsorted(dtype)
    READ_UNSORTED[name](B)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(B, part), getattr(same, part))


def test_a_pencil_of_an_unsorted_matrix():
    B = unsorted("g")
    f = sc.logdet_pencil(sp.eye_array(3), B, (0.0, 1.0))
    D = np.array([[5.0, 1.0, 0.0], [1.0, 5.0, 1.0], [0.0, 1.0, 8.0]])
    assert f(0.5) == pytest.approx(np.linalg.slogdet(np.eye(3) + 0.5 * D)[1])


def test_an_empty_matrix_has_quadratic_forms():
    E = sc.cholesky(np.zeros((0, 0)))
    assert E.inverse_quadratic(np.zeros(0)) == 0
    np.testing.assert_array_equal(E.inverse_quadratic(np.zeros((2, 0))), [0, 0])
    assert E.with_low_rank(np.zeros((0, 1))).inverse_quadratic(np.zeros(0)) == 0


@pytest.mark.parametrize("name", ["range_", "sigma"])
@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf])
def test_a_field_without_extent_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        sc.models.spde_parameters(**({"range_": 1.0} | {name: value}))


@pytest.mark.parametrize(
    "text", [b"", b"PK\x03\x04", b"hello", np.lib.format.magic(1, 0) + b"junk"]
)
def test_files_that_hold_no_coloring_are_refused(tmp_path, text):
    path = tmp_path / "coloring.npz"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="no coloring that `save` wrote"):
        sc.coloring.Coloring.load(path)
    np.save(tmp_path / "array.npy", np.ones(3))
    with pytest.raises(ValueError, match="no coloring that `save` wrote"):
        sc.coloring.Coloring.load(tmp_path / "array.npy")
    with pytest.raises(FileNotFoundError):
        sc.coloring.Coloring.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("structure", "diagonal"), ("method", "guess"), ("colors0", np.array([0, 1, 10**12])),
        ("colors0", np.array([0.0, 1.0, 2.0])), ("indices", np.array([0, 1, 9] * 3)),
        ("shape", np.array([3, -3])),
    ],
)  # fmt: skip
def test_colorings_that_cannot_be_are_refused(tmp_path, name, value):
    path = tmp_path / "coloring.npz"
    sc.coloring.color(np.ones((3, 3))).save(path)
    with np.load(path) as found:
        parts = dict(found)
    np.savez(path, **(parts | {name: value}))
    with pytest.raises(ValueError, match="no coloring that `save` wrote"):
        sc.coloring.Coloring.load(path)


def at_odd_address(array):
    moved = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
def test_arrays_at_odd_addresses_are_read(dtype):
    """On some processors, and in vectorized loops, reading them in place is an error."""
    D = A.toarray().astype(dtype)
    B = sp.csc_array(D)
    B.indptr, B.indices, B.data = map(at_odd_address, (B.indptr, B.indices, B.data))
    b = at_odd_address(np.ones(3, dtype))
    solution = np.linalg.solve(D, np.ones(3))
    for F in (sc.cholesky(B), sc.cholesky(at_odd_address(D)), sc.ldl(B)):
        for _ in range(2):  # the second time from known places
            np.testing.assert_allclose(F.solve(b), solution, rtol=1e-5)
            np.testing.assert_allclose(F.solve(b[:, None])[:, 0], solution, rtol=1e-5)
            F.refactorize(B)
        packed = at_odd_address(F.pattern.values(B))
        np.testing.assert_allclose(F.refactorize(packed).solve(b), solution, rtol=1e-5)
    G = sc.gram(B)
    out = at_odd_address(G.values(B))
    with pytest.raises(ValueError, match="out must be a writable C-contiguous"):
        G.values(B, out=out)


def test_packed_values_of_another_length_are_not_read():
    """The null space is checked entry by entry: fewer entries were read past their end."""
    L = sp.csc_array(np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]]))
    N = sc.cholesky(L, null_space="components").null_space
    values = N.pattern.values(L)
    for right in (values[None], values[None].astype(">f8"), np.array([values, values])[::-1]):
        N.require(right)
    for wrong in (values[None, :2], np.append(values, 1.0)[None], values, values[None, None]):
        with pytest.raises(ValueError, match=r"packed is \(count, 5\), but its shape is"):
            N.require(wrong)


@pytest.mark.parametrize("size", [{}, "x", 1.5, [[1]], (2, 0.5), np.nan])
def test_a_size_of_draws_that_is_none_is_refused(size):
    low_rank = F.with_low_rank(np.ones((3, 1)))
    for sample in (F.sample, low_rank.sample):
        with pytest.raises((TypeError, ValueError), match="size"):
            sample(size)


@pytest.mark.parametrize("format", ["csc", "csr", "coo", "bsr", "dia"])
@pytest.mark.parametrize("data", [None, [1.0, 2.0, 3.0]])
def test_data_that_is_no_array_is_refused(format, data):
    B = sp.eye_array(3, format="csc").asformat(format)
    B.data = data
    for call in (sc.cholesky, sc.analyze, lambda B: sc.gram(B), lambda B: F.refactorize(B)):
        with pytest.raises(ValueError, match=r"data must be an array, not (NoneType|list)"):
            call(B)


TWICE = sp.csc_array((2, 3))  # each entry in two halves
TWICE.indptr = np.array([0, 2, 4, 6], dtype=np.int32)
TWICE.indices = np.array([0, 0, 1, 1, 1, 1], dtype=np.int32)
TWICE.data = np.array([0.5, 0.5, 1.0, 1.0, 1.5, 1.5])


@pytest.mark.parametrize("format", ["csc", "csr"])
def test_repeated_entries_are_summed_in_the_other_format(format):
    """SciPy's conversion leaves them: half of the values were lost."""
    D = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 3.0]])
    G = sc.gram(D)
    twice = TWICE if format == "csc" else sp.csr_array(TWICE)
    assert twice.nnz == 6
    np.testing.assert_array_equal(G.entries(twice), [1.0, 2.0, 3.0])
    dense = np.zeros((3, 3))
    S = G.pattern
    dense[S.indices, np.repeat(np.arange(3), np.diff(S.indptr))] = G.values(twice)
    np.testing.assert_array_equal(dense, np.tril(D.T @ D))


DATES, TEXT = np.zeros(3, "M8[s]"), np.full(3, "1")
PLANE = F.condition(np.ones((1, 3)))
POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
TAKE_NUMBERS = {
    "logpdf": lambda x: PLANE.logpdf(x),
    "logpdf, mu": lambda x: PLANE.logpdf(np.zeros(3), mu=x),
    "condition": lambda x: F.condition(np.eye(3), x),
    "rw1": lambda x: sc.models.rw1(x),
    "points": lambda x: sc.models.finite_elements(np.stack([x, x], axis=1), [[0, 1, 2]]),
    "at": lambda x: sc.models.barycentric(POINTS, [[0, 1, 2]], np.stack([x, x], axis=1)),
    "pencil": lambda x: sc.logdet_pencil(A, A, (0.0, 1.0))(x),
    "approx_jacobian": lambda x: sc.approx_jacobian(np.asarray, x, A),
    "approx_hessian": lambda x: sc.approx_hessian(np.asarray, x, A),
    "decompress": lambda x: sc.coloring.color(np.ones((1, 3))).decompress(x[None]),
    "diag_inverse_vjp": lambda x: dv.diag_inverse_vjp(F, x),
    "full_gradient": lambda x: dv.full_gradient(F.pattern, x[[0, 1, 2, 0, 1]]),
    "sampled_outer": lambda x: dv.sampled_outer(F.pattern, x, x),
    "with_low_rank": lambda x: F.with_low_rank(np.eye(3), x),
    "project": lambda x: sc.cholesky(np.zeros((3, 3)), null_space=np.eye(3)).null_space.project(x),
}


@pytest.mark.parametrize("wrong", [DATES, TEXT, np.ones(3, object)], ids=["date", "text", "any"])
@pytest.mark.parametrize("name", TAKE_NUMBERS)
def test_what_is_no_number_is_refused(name, wrong):
    """Dates were seconds, and texts were parsed."""
    with pytest.raises(TypeError, match=r"hold|not supported"):
        TAKE_NUMBERS[name](wrong)


@pytest.mark.parametrize("approx", [sc.approx_jacobian, sc.approx_hessian])
def test_points_with_masked_elements_are_refused(approx):
    with pytest.raises(ValueError, match="x has masked elements"):
        approx(np.asarray, MASKED, A)


def test_lists_of_unequal_lengths_are_told_by_name():
    ragged = [[1.0, 2.0], [3.0]]
    for name, call in {
        "b": F.solve,
        "A": sc.cholesky,
        "parent": sc.postorder,
        "ordering": lambda x: sc.analyze(A, ordering=x),
        "the gradient": lambda x: dv.partial_inverse_vjp(F, x),
        "x_bar": lambda x: dv.solve_vjp(F, np.ones(3), x),
        "packed values": F.pattern.factorize,
    }.items():
        with pytest.raises(ValueError, match=f"{name} is no array: its parts have different len"):
            call(ragged)


def test_rows_and_columns_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"rows, \(2,\), and columns, \(3,\), do not fit"):
        F.inverse_entries([0, 1], [0, 1, 2])


def test_infinity_is_not_in_a_null_space():
    L = np.array([[1.0, -1.0], [-1.0, 1.0]])
    N = sc.cholesky(L, null_space=np.ones(2)).null_space
    with pytest.raises(ValueError, match="not in the null space"):
        N.require(np.array([[np.inf, -1.0, 1.0]]))
