"""Elimination trees, counts and the patterns of products, against elimination of dense patterns."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsechol as sc
from support.helpers import DTYPES, SETTINGS, eliminate, laplacian, naive_etree, orders, patterns

FORMATS = ["csc", "csr", "coo", "bsr", "lil", "dok"]


def is_postorder(post, parent):
    """Every node comes right after its descendants."""
    assert sorted(post) == list(range(len(parent)))
    place = np.argsort(post)
    for j in range(len(parent)):
        below, size = [j], 0
        while below:
            k = below.pop()
            size += 1
            below += np.flatnonzero(parent == k).tolist()
        descendants = {int(k) for k in post[place[j] - size + 1 : place[j] + 1]}
        top = {k for k in descendants if parent[k] not in descendants}
        if len(descendants) != size or top != {j}:
            return False
    return True


@SETTINGS
@given(patterns(), st.booleans(), st.sampled_from([np.asarray, sp.csc_array, sp.csr_array]))
def test_functions_of_a_pattern(B, lower, form):
    parent, counts = naive_etree(eliminate(B)), eliminate(B).sum(axis=0)
    for whole in (B, np.tril(B) if lower else np.triu(B)):
        A = form(whole.astype(float))
        assert sc.elimination_tree(A, lower=lower).tolist() == parent.tolist()
        assert sc.column_counts(A, lower=lower).tolist() == counts.tolist()
    assert is_postorder(sc.postorder(parent), np.asarray(parent))


@SETTINGS
@given(patterns(), st.data())
def test_the_tree_of_an_analysis_is_that_of_the_permuted_matrix(B, data):
    S = sc.analyze(B.astype(float), ordering=data.draw(orders(len(B))))
    L = eliminate(B[np.ix_(S.perm, S.perm)])
    assert S.parent.tolist() == naive_etree(L).tolist()
    assert S.column_counts.tolist() == L.sum(axis=0).tolist()
    assert S.column_counts.tolist() == np.diff(S.factor_pattern()[0]).tolist()
    assert S.column_counts.sum() == S.nnz
    assert (S.column_counts.astype(float) ** 2).sum() == S.flops
    assert is_postorder(S.postorder, S.parent)


def test_trees_are_immutable_and_no_part_of_the_content():
    A = laplacian(5, 6)
    S = sc.analyze(A)
    digest = S.digest
    for array in (S.parent, S.postorder, S.column_counts):
        assert not array.flags.writeable
    other = pickle.loads(pickle.dumps(S))
    assert other == S
    assert other.digest == digest
    assert other.parent.tolist() == S.parent.tolist()
    assert S.parent.dtype == S.postorder.dtype == np.int32


def test_wrong_arguments():
    upper = sp.triu(laplacian(3, 3))
    for function in (sc.elimination_tree, sc.column_counts):
        with pytest.raises(ValueError, match="square"):
            function(np.ones((2, 3)))
        with pytest.raises(ValueError, match="pass lower=False"):
            function(upper)
    for parent, message in (
        ([[1, -1]], r"1-D .* of shape \(1, 2\)"),
        ([1.0, -1.0], "integers, not float64"),
        ([0, -1], r"parent\[0\] = 0"),
        ([-2, -1], r"parent\[0\] = -2"),
        ([1, 2], r"parent\[1\] = 2"),
        ([2, 0, -1], r"parent\[1\] = 0"),
    ):
        with pytest.raises(ValueError, match=message):
            sc.postorder(parent)
    assert sc.postorder([]).tolist() == []
    assert sc.postorder(np.array([1, 2, 2**8 - 1], np.uint8).astype(np.int8)).tolist() == [0, 1, 2]


# ---- products ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("format", ["dense", *FORMATS])
@pytest.mark.parametrize("shape", [(9, 6), (6, 9), (7, 7), (1, 5), (5, 1)])
def test_products_are_analyzed_without_values(shape, format, dtype):
    rng = np.random.default_rng(sum(shape))
    A = np.where(rng.random(shape) < 0.3, rng.integers(-2, 3, shape), 0).astype(dtype)
    given = A if format == "dense" else sp.coo_array(A).asformat(format)
    B = A != 0
    for product, places in (("AAt", B @ B.T), ("AtA", B.T @ B)):
        S = sc.analyze(given, product=product, ordering="amd", lower=False, check_symmetric=True)
        assert sc.analyze(places, ordering="amd") == S
        G = (A @ A.conj().T if product == "AAt" else A.conj().T @ A) + np.eye(len(places))
        F = S.factorize(G.astype(dtype))
        np.testing.assert_allclose(F.logdet(), np.linalg.slogdet(G)[1], rtol=1e-4)


def test_what_cancels_and_what_is_often_repeated_counts():
    A = np.array([[1.0, 1.0], [1.0, -1.0]])  # orthogonal columns
    assert sc.analyze(A, product="AtA").indices.size == 3
    tall = sp.csc_array(np.ones((256, 2)))  # as many terms as eight bits count
    assert sc.analyze(tall, product="AtA").indices.size == 3
    zeros = sp.csc_array(tall)
    zeros.data[:] = 0
    assert sc.analyze(zeros, product="AtA").indices.size == 3
    assert sc.analyze(sp.csc_array((3, 0)), product="AAt").indices.size == 3
    assert sc.analyze(sp.csc_array((3, 0)), product="AtA").indices.size == 0


def test_the_tree_of_a_product():
    A = sp.random_array((30, 12), density=0.15, random_state=np.random.default_rng(0))
    B = (A.toarray() != 0).astype(int)
    S = sc.analyze(A, product="AtA", ordering="natural")
    assert (
        S.parent.tolist() == naive_etree(eliminate((B.T @ B > 0) | np.eye(12, dtype=bool))).tolist()
    )


def test_unknown_products_are_refused():
    with pytest.raises(ValueError, match="product must be None, 'AAt' or 'AtA', not 'AA'"):
        sc.analyze(np.eye(2), product="AA")
