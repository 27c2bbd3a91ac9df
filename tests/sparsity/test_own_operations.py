"""What the kernels let depend on what, against differences of the kernels themselves."""

import numpy as np
import pytest
from scipy.sparse import block_diag, csc_array, random_array

import sparsechol as sc
from sparsechol._core.numeric.operations import CODES, CORE_RANK, NAMES
from sparsechol._sparsity import propagate
from sparsechol._sparsity.own_operations import RULES, connect
from sparsechol._sparsity.sets import Sets

FACTOR_FIRST = {"tangent", "tangent_panels", "adjoint", "partial_inverse", "sandwich", "solve",
                "solve_triangular", "logdet", "factor_product", "diagonal"}  # fmt: skip


def has_form(name):
    """Whether it is with one of two triangles, and permuted or not."""
    return "triangular" in name or "factor_" in name


FORMS = [
    (name, lower, permute)
    for name in RULES
    for lower in ([True, False] if has_form(name) else [False])
    for permute in ([True, False] if has_form(name) else [False])
    if not name.startswith(("csc_triangle", "gram"))
]
EXACT = {"solve", "logdet", "product", "sampled_outer", "gather", "scatter", "diagonal", "fold",
         "place_diagonal", "weigh", "entries", "place_entries", "unfold", "solve_triangular",
         "factor_product", "factor_outer"}  # fmt: skip


def problem(seed):
    """A matrix of two components with fill, analyzed."""
    rng = np.random.default_rng(seed)
    blocks = []
    for n in (5, 3):
        R = random_array((n, n), density=0.4, random_state=rng)
        blocks.append(R @ R.T + n * np.diag(np.ones(n)))
    A = csc_array(block_diag(blocks))
    return rng, A, sc.analyze(A)


def perform(P, name, operands, shape, lower, permute, promoted):
    handle = P._handle
    if "d" in NAMES[name]:
        handle.know_both_triangles(P)
    if "e" in NAMES[name]:
        handle.know_factor(P)
    out = np.zeros(shape, np.float32 if promoted else float)
    handle.perform(CODES[name], tuple(operands), out, 1, lower + 2 * permute, 1.0, 1.0)
    return out.astype(float)


def operands_of(rng, A, P, name, promoted):
    """Numbers for which the operation makes sense."""
    letters = NAMES[name].split(">")[0]
    dtype = np.float32 if promoted else float
    factor = np.empty(P._handle.length("l"))
    P._handle.perform(CODES["cholesky"], (P.values(A),), factor, 1, 0, 1.0, 1.0)
    filled = factor != 0
    out = []
    for k, letter in enumerate(letters):
        if (
            letter == "a"
            and k == 0
            and name in ("cholesky", *filter(lambda n: "promoted" in n, NAMES))
        ):
            out.append(P.values(A).astype(dtype))
        elif letter == "l" and k == 0 and name in FACTOR_FIRST:
            out.append(factor.copy())
        elif letter == "l" and k == 1 and name == "sandwich":
            inverse = np.empty_like(factor)
            P._handle.perform(CODES["partial_inverse"], (factor,), inverse, 1, 0, 1.0, 1.0)
            out.append(inverse)
        elif letter == "l":
            out.append(np.where(filled, rng.standard_normal(filled.shape), 0.0))
        else:
            length = P._handle.length(letter)
            shape = (length, 2) if letter == "x" else (length,)
            out.append(rng.standard_normal(shape).astype(dtype))
    return out


def result_shape(P, name):
    letter = NAMES[name].split(">")[1]
    length = P._handle.length(letter)
    return {0: (), 1: (length,), 2: (length, 2)}[CORE_RANK[letter]]


@pytest.mark.parametrize(("name", "lower", "permute"), FORMS)
def test_no_dependence_is_missed(name, lower, permute):
    rng, A, P = problem(3)
    promoted = "promoted" in name
    if "d" in NAMES[name]:
        P._handle.know_both_triangles(P)
    if "e" in NAMES[name]:
        P._handle.know_factor(P)
    shape = result_shape(P, name)
    operands = operands_of(rng, A, P, name, promoted)
    options = {"lower": lower, "permute": permute} if has_form(name) else {}
    h = 1e-2 if promoted else 1e-5
    for k, x in enumerate(operands):
        sets = Sets(x.size)
        ids = [None] * len(operands)
        ids[k] = sets.inputs(x.shape)
        found = propagate.to_matrix(sets, connect(sets, name, P, ids, shape, **options)).toarray()
        changes = np.zeros(found.shape)
        for q in range(x.size):
            both = []
            for sign in (1, -1):
                moved = [y.copy() for y in operands]
                moved[k].flat[q] += sign * h
                both.append(perform(P, name, moved, shape, lower, permute, promoted).ravel())
            changes[:, q] = (both[0] - both[1]) / 2 / h
        nonzero = abs(changes) > (1e-3 if promoted else 1e-6)
        assert not (nonzero & (found == 0)).any()
        if name in EXACT:
            assert found.sum() == nonzero.sum()


def test_batches():
    _, _, P = problem(0)
    n = P.shape[0]
    sets = Sets(3 * n)
    x = sets.inputs((3, n, 1))
    found = propagate.to_matrix(sets, connect(sets, "solve", P, [None, x], (3, n, 1))).toarray()
    single = Sets(n)
    ids = connect(single, "solve", P, [None, single.inputs((n, 1))], (n, 1))
    one = propagate.to_matrix(single, ids)
    assert np.array_equal(found, np.kron(np.eye(3), one.toarray()))


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("name", ["gram", "gram_rows", "gram_weights"])
def test_congruences(name, block):
    """The sets are exact: each operation is linear in each operand, so that units tell."""
    rng = np.random.default_rng(5)
    A = random_array((6, 5), density=0.4, random_state=rng)
    P = sc.gram(A, block=block)
    letters, result = NAMES[name].split(">")
    operands = [rng.standard_normal(P._handle.length(letter)) for letter in letters]
    shape = (P._handle.length(result),)
    for k, x in enumerate(operands):
        sets = Sets(x.size)
        ids = [None] * len(operands)
        ids[k] = sets.inputs(x.shape)
        found = propagate.to_matrix(sets, connect(sets, name, P, ids, shape)).toarray()
        changes = np.zeros(found.shape)
        for q in range(x.size):
            moved = list(operands)
            moved[k] = np.eye(x.size)[q]
            P._handle.perform(CODES[name], tuple(moved), out := np.empty(shape), 1)
            changes[:, q] = out
        assert np.array_equal(changes != 0, found != 0)
