"""The same bits for any number of threads, and the errors too."""

import threading

import numpy as np
import pytest

import sparsechol as sc
from sparsechol.models import block_arrow, grid_laplacian, matern_spde, mixed_model

# Large enough to be cut into tasks; of every shape of tree.
PROBLEMS = {
    "2-D grid": lambda: grid_laplacian((90, 90), shift=0.1),
    "3-D grid": lambda: grid_laplacian((17, 17, 17), shift=0.1),
    "SPDE": lambda: matern_spde(60, 60),
    "blocks under one arrow": lambda: block_arrow(300, 20, 15),
    "mixed model": lambda: mixed_model(1500, 400, 300),
    "long chain": lambda: grid_laplacian((2000, 16), shift=0.1),
}
TYPES = [np.float64, np.float32, np.complex128, np.complex64]


@pytest.fixture(scope="module", params=PROBLEMS)
def problem(request):
    A = PROBLEMS[request.param]().tocsc()
    order = "natural" if request.param == "long chain" else "amd"
    S = sc.analyze(A, ordering=order)
    assert S._structure.tasks >= 4
    return A, S


def bits(array):
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.fast_cases(r"(?!long chain).*(float64|complex64)-3")
@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_result_has_the_same_bits(problem, threads, dtype):
    A, S = problem
    rng = np.random.default_rng(0)
    A = A.astype(dtype)
    F = S.factorize(A, threads=1)
    G = S.factorize(A, threads=threads)
    assert bits(F.L.data) == bits(G.L.data)
    assert bits(G.refactorize(A, threads=threads).L.data) == bits(F.L.data)
    for k in (1, 2, 7, 70):
        b = rng.standard_normal((A.shape[0], k)).astype(dtype)
        assert bits(F.solve(b, threads=1)) == bits(F.solve(b, threads=threads))
        for trans in "NTC":
            assert bits(F.solve_triangular(b, trans=trans, threads=1)) == bits(
                F.solve_triangular(b, trans=trans, threads=threads)
            )
    assert bits(F.partial_inverse(threads=1).data) == bits(F.partial_inverse(threads=threads).data)
    assert bits(F.diag_inverse(threads=1)) == bits(F.diag_inverse(threads=threads))


def test_results_on_two_threads_are_right(problem):
    A, S = problem
    F = S.factorize(A, threads=2)
    b = np.random.default_rng(1).standard_normal((A.shape[0], 3))
    x = F.solve(b, threads=2)
    scale = abs(A).sum(axis=1).max() * abs(x).max() + abs(b).max()
    assert abs(A @ x - b).max() <= 1e-13 * scale
    Z = F.partial_inverse(threads=2)
    # Columns of the inverse by solves.
    chosen = np.random.default_rng(2).choice(A.shape[0], 5, replace=False)
    unit = np.zeros((A.shape[0], 5))
    unit[chosen, np.arange(5)] = 1
    columns = F.solve(unit)
    for k, j in enumerate(chosen):
        rows = Z.indices[Z.indptr[j] : Z.indptr[j + 1]]
        entries = Z.data[Z.indptr[j] : Z.indptr[j + 1]]
        np.testing.assert_allclose(entries, columns[rows, k], atol=1e-11 * abs(columns).max())


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_same_pivot_fails(problem, threads):
    A, S = problem
    values = S.values(A)
    rows = np.random.default_rng(3).choice(A.shape[0], 12, replace=False)
    values[S.indptr[rows]] *= -1
    order = np.argsort(S._order)
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        S.factorize(values, threads=threads)
    # The first of them in the order of elimination, or a row that it spoiled before.
    assert order[caught.value.row] <= order[rows].min()
    with pytest.raises(sc.NotPositiveDefiniteError) as alone:
        S.factorize(values, threads=1)
    assert (caught.value.row, caught.value.pivot) == (alone.value.row, alone.value.pivot)


def test_sparse_right_hand_sides_have_the_bits_of_dense_ones(problem):
    from scipy.sparse import random_array

    A, S = problem
    F = S.factorize(A, threads=1)
    rng = np.random.default_rng(4)
    b = random_array((A.shape[0], 5), density=2e-3, random_state=rng, format="csc")
    for threads in (1, 2):
        for solve in (F.solve, F.solve_triangular):
            x = solve(b, threads=threads)
            assert np.array_equal(x.toarray(), solve(b.toarray(), threads=1))


def test_many_callers_at_once(problem):
    A, S = problem
    expected = S.factorize(A, threads=1)
    b = np.random.default_rng(5).standard_normal(A.shape[0])
    x = expected.solve(b)
    wrong = []

    def work():
        F = S.factorize(A, threads=2)
        for _ in range(5):
            F.refactorize(A, threads=2)
            if bits(F.solve(b, threads=2)) != bits(x):
                wrong.append(1)

    callers = [threading.Thread(target=work) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_wrong_numbers_of_threads_are_refused(problem, threads):
    A, S = problem
    with pytest.raises((TypeError, ValueError), match="threads"):
        S.factorize(A, threads=threads)
    small = sc.cholesky(np.eye(3))
    with pytest.raises((TypeError, ValueError), match="threads"):
        small.solve(np.ones(3), threads=threads)
