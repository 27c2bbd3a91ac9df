"""The one entry to all kernels: what it checks, and how operands are shared in a batch."""

import gc

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._core.numeric.handle import PatternHandle, handle_of
from sparsechol._core.numeric.operations import CODES, NAMES, Operation
from support.helpers import random_spd

RNG = np.random.default_rng(0)
A = random_spd(RNG, 12, "random")
S = sc.analyze(A)
HANDLE = S._handle
HANDLE.know_factor(S)
HANDLE.know_both_triangles(S)
STRUCTURE = S._structure
N, NNZ, SIZE = 12, len(S.indices), STRUCTURE.size
LENGTHS = {"a": (NNZ,), "d": (2 * NNZ - N,), "l": (SIZE,), "e": (S.nnz,), "x": (N, 3), "r": (N,),
           "s": ()}  # fmt: skip
FACTORED = [name for name in NAMES if not name.startswith(("csc_triangle", "promoted", "gram"))]


def perform(name, operands, result, **options):
    HANDLE.perform(CODES[name], tuple(operands), result, 2, **options)
    return result


def arrays(name, lead=(), dtype=np.float64):
    """Operands and a result of an operation, with a factor and a partial inverse where one is."""
    letters, result = NAMES[name].split(">")
    factor = S.factorize(A)._panels[0].astype(dtype)
    operands = []
    for q, letter in enumerate(letters):
        x = RNG.standard_normal((*lead, *LENGTHS[letter])).astype(dtype)
        if letter == "a" and name == "cholesky":
            x[...] = S.values(A)
        if letter == "l" and q == 0:
            x[...] = factor
        operands.append(x)
    return operands, np.full((*lead, *LENGTHS[result]), 7.0, dtype)


@pytest.mark.parametrize("name", FACTORED)
def test_operands_shared_along_any_dimension(name):
    """Whatever dimensions of the batch are 1, each matrix gets what it gets alone."""
    letters = NAMES[name].split(">")[0]
    lead = (2, 3, 2)
    whole, result = arrays(name, lead)
    for pattern in range(2 ** len(letters)):
        operands = []
        for q, x in enumerate(whole):
            keep = [pattern >> q & 1, 1, 1 - (pattern >> q & 1)]
            if len(letters) == 1:
                keep = [1, 1, 1]
            operands.append(
                np.ascontiguousarray(x[tuple(slice(None) if k else slice(1) for k in keep)])
            )
        if np.broadcast_shapes(*(x.shape[:3] for x in operands)) != lead:
            continue
        options = {"flags": 3, "diagonal": 2.0, "below": -0.5}
        perform(name, operands, result, **options)
        for index in np.ndindex(*lead):
            own = [x[tuple(i % s for i, s in zip(index, x.shape[:3], strict=True))]
                   for x in operands]  # fmt: skip
            alone = perform(
                name, map(np.ascontiguousarray, own), np.array(result[index]), **options
            )
            np.testing.assert_array_equal(alone, result[index])


@pytest.mark.parametrize("name", FACTORED)
def test_wrong_arrays_are_refused(name):
    operands, result = arrays(name, (2,))

    def refused(message, operands, result):
        with pytest.raises((ValueError, BufferError), match=message):
            perform(name, operands, result)

    refused("number of operands", operands[1:], result)
    refused("number of operands|arguments", [*operands, *operands], result)
    refused("arguments", [operands[0].astype(int), *operands[1:]], result)
    refused("different types", [operands[0].astype("f"), *operands[1:]], result)
    refused("different ranks|do not fit", [operands[0][0], *operands[1:]], result)
    refused("do not fit", [np.repeat(operands[0], 2, axis=0), *operands[1:]], result)
    refused("contiguous", [np.repeat(operands[0], 2, axis=0)[::2], *operands[1:]], result)
    if operands[0].ndim > 1:
        short = np.ascontiguousarray(operands[0][:, :-1])
        refused("belong", [short, *operands[1:]], result)
    if result.ndim > 1:
        refused("belong", operands, np.ascontiguousarray(result[:, :-1]))
    frozen = result.copy()
    frozen.setflags(write=False)
    refused("read-only", operands, frozen)


def test_numbers_of_vectors_must_agree():
    x, y = np.ones((N, 2)), np.ones((N, 3))
    with pytest.raises(ValueError, match="numbers of vectors"):
        perform("sampled_outer", [x, y], np.ones(NNZ))
    with pytest.raises(ValueError, match="numbers of vectors"):
        perform("solve", [S.factorize(A)._panels[0], x], y)


def test_no_such_operation():
    for code in (-1, len(NAMES)):
        with pytest.raises(ValueError, match="no such operation"):
            HANDLE.perform(code, (), np.ones(1), 1)
    with pytest.raises(ValueError, match="arguments"):
        HANDLE.perform(0, (S.values(A),), np.ones(SIZE), 0)


def test_operations_of_another_kind_of_pattern():
    with pytest.raises(ValueError, match="another kind"):
        perform("csc_triangle_product", [np.ones(NNZ), np.ones((N, 1))], np.ones((N, 1)))


def test_one_operand_shared_by_a_batch():
    """Its only operand may be the same for all matrices, also of a sweep."""
    for name in FACTORED:
        if len(NAMES[name].split(">")[0]) > 1:
            continue
        operands, result = arrays(name, (3,))
        single, expected = operands[0][:1].copy(), np.full_like(result[:1], 7.0)
        perform(name, [single], expected)
        perform(name, [single], result)
        np.testing.assert_array_equal(result, np.repeat(expected, 3, axis=0))


def test_names_are_those_of_the_enumeration():
    assert [name.upper() for name in NAMES] == [member.name for member in Operation]
    assert list(CODES.values()) == [member.value for member in Operation]


def test_unknown_entries():
    handle = PatternHandle(sc.analyze(np.eye(3)))
    with pytest.raises(ValueError, match="does not know"):
        handle.perform(CODES["entries"], (np.ones(3),), np.ones(3), 1)
    with pytest.raises(ValueError, match="belongs to one pattern"):
        handle.__init__(S)


def test_double_precision_is_for_single_precision():
    with pytest.raises(ValueError, match="single precision"):
        perform("promoted_logdet", [S.values(A)], np.zeros(()))


def test_equal_patterns_share_a_handle():
    own = np.roll(np.arange(37), 11)  # no other test's pattern, which might be alive
    first, second = sc.analyze(np.eye(37), ordering=own), sc.analyze(np.eye(37), ordering=own)
    assert first is not second
    assert first._handle is second._handle is handle_of(first)
    digest = first.digest
    del first, second
    gc.collect()
    from sparsechol._core.numeric.handle import handles

    assert digest not in handles


def test_empty_batches():
    result = perform("cholesky", [np.ones((0, NNZ))], np.ones((0, SIZE)))
    assert result.shape == (0, SIZE)
    flat = S.factorize(A)._panels[0]
    assert perform("solve", [flat, np.ones((N, 0))], np.ones((N, 0))).shape == (N, 0)
    outer = perform("sampled_outer", [np.ones((N, 0)), np.ones((N, 0))], np.ones(NNZ))
    assert not outer.any()
    outer = perform("factor_outer", [np.ones((N, 0)), np.ones((N, 0))], np.ones(SIZE), flags=3)
    assert not outer.any()
