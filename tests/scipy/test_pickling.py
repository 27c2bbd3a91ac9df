"""Pickles that are damaged, or were written by another version, are refused."""

import copy
import pickle

import numpy as np
import pytest

import sparsechol as sc
from sparsechol._scipy import pickling
from sparsechol._scipy.triangle_pattern import TriangularPattern

A = np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])
L = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
S = sc.analyze(A)
PACKED = np.array([S.values(A), S.values(2 * A)])

# Each with a function that tells the content.
ANALYSES = {
    "SymbolicFactor": (S, lambda S: S.digest),
    "Gram": (sc.gram(A, A), lambda G: G.digest),
    "NullSpace": (sc.NullSpace(sc.analyze(L), np.ones(3)), lambda N: N.project(np.arange(3.0))),
    "TriangularPattern": (
        TriangularPattern.of(np.tril(A)), lambda T: T.digest,
    ),
    "Coloring": (sc.coloring.color(A), lambda C: C.colors),
}  # fmt: skip
FACTORS = {
    "CholeskyFactor": (sc.cholesky(A), lambda F: F.solve(np.ones(3))),
    "CholeskyBatch": (S.factorize_batch(PACKED), lambda F: F.solve(np.ones((2, 3)))),
    "LDLFactor": (sc.ldl(-A), lambda F: F.solve(np.ones(3))),
    "LDLBatch": (S.ldl_batch(-PACKED), lambda F: F.solve(np.ones((2, 3)))),
    "SemidefiniteFactor": (sc.cholesky(L, null_space="components"), lambda F: F.logdet()),
    "SemidefiniteBatch": (
        sc.analyze(L).factorize_batch([sc.analyze(L).values(L)], null_space="components"),
        lambda F: F.logdet(),
    ),
    "Conditioned": (
        sc.cholesky(A).condition([[1.0, 1.0, 0.0]]), lambda C: C.marginal_variances(),
    ),
    "LowRankFactor": (sc.cholesky(A).with_low_rank([1.0, 0.0, 1.0]), lambda F: F.logdet()),
    "LogdetPencil": (sc.logdet_pencil(A, np.eye(3), (0.0, 1.0)), lambda f: f(0.5)),
}  # fmt: skip
EVERY = ANALYSES | FACTORS


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", EVERY)
def test_what_is_unpickled_is_the_same(name, protocol):
    thing, content = EVERY[name]
    twin = pickle.loads(pickle.dumps(thing, protocol))
    assert type(twin) is type(thing)
    np.testing.assert_array_equal(content(twin), content(thing))


def parts(thing):
    """Return a pickle and its arrays apart."""
    buffers = []
    text = pickle.dumps(thing, 5, buffer_callback=buffers.append)
    return text, [bytearray(buffer) for buffer in buffers]


@pytest.mark.parametrize("name", ANALYSES)
def test_no_byte_of_an_analysis_may_change(name):
    text, buffers = parts(ANALYSES[name][0])
    assert buffers
    for k, buffer in enumerate(buffers):
        for byte in range(len(buffer)):
            damaged = [bytearray(b) for b in buffers]
            damaged[k][byte] ^= 1 << byte % 8
            with pytest.raises(ValueError, match="damaged"):
                pickle.loads(text, buffers=damaged)


@pytest.mark.parametrize("name", EVERY)
def test_a_pickle_that_is_cut_off_is_refused(name):
    text = pickle.dumps(EVERY[name][0])
    for length in range(0, len(text), 37):
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError)):
            pickle.loads(text[:length])


@pytest.mark.parametrize("name", EVERY)
def test_another_format_is_refused(monkeypatch, name):
    monkeypatch.setattr(pickling, "FORMAT", 2)
    monkeypatch.setattr("sparsechol._scipy.factor_base.FORMAT", 2)
    text = pickle.dumps(EVERY[name][0])
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 2, and this version of sparsechol reads"):
        pickle.loads(text)


@pytest.mark.parametrize("name", ["CholeskyFactor", "CholeskyBatch", "LDLFactor", "LDLBatch"])
def test_factors_from_before_there_was_a_format_are_refused(name):
    factor = FACTORS[name][0]
    old = object.__new__(type(factor))
    with pytest.raises(ValueError, match="has format 0, and this version of sparsechol reads"):
        old.__setstate__(factor.__getstate__())


@pytest.mark.parametrize("name", ["CholeskyFactor", "CholeskyBatch", "LDLFactor", "LDLBatch"])
@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("_panels", lambda F: F._panels[:, :-1].copy()),
        ("_panels", lambda F: F._panels.astype(np.float32)),
        ("_panels", lambda F: np.asfortranarray(np.repeat(F._panels, 2, axis=0))),
        ("_panels", lambda F: F._panels.tolist()),
        ("_panels", lambda F: None),
        ("_values", lambda F: F._values[:, :-1].copy()),
        ("_values", lambda F: F._values.astype(np.complex128)),
        ("_values", lambda F: "none"),
        ("pattern", lambda F: sc.analyze(np.ones((4, 4)))),
        ("pattern", lambda F: None),
        ("dtype", lambda F: np.dtype(np.float32)),
    ],
)
def test_a_factor_whose_parts_do_not_fit_is_refused(name, part, wrong):
    factor = FACTORS[name][0]
    make, (kind, form, state) = factor.__reduce__()
    with pytest.raises(ValueError, match="damaged"):
        make(kind, form, state | {part: wrong(factor)})


OTHERS = {
    "CholeskyBatch": 3 * PACKED,
    "LDLBatch": -3 * PACKED,
    "SemidefiniteBatch": 3 * sc.analyze(L).values(L)[None],
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_copy_of_a_batch_is_independent(name):
    batch, content = FACTORS[name]
    before = content(batch)
    for twin in (copy.copy(batch), copy.deepcopy(batch)):
        twin.refactorize(OTHERS[name])
        assert (content(twin) != before).all()
        np.testing.assert_array_equal(content(batch), before)


def test_a_copy_of_a_semidefinite_factor_is_independent():
    F = sc.cholesky(L, null_space="components")
    for twin in (F.copy(), copy.copy(F), copy.deepcopy(F)):
        assert twin.refactorize(2 * L).logdet() == pytest.approx(np.log(2 * 6))
        assert F.logdet() == pytest.approx(np.log(3))
