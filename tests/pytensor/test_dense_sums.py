"""Sums over many unknowns, which make a Hessian dense: a warning says which."""

import warnings

import pytensor.tensor as pt
import pytest

import sparsechol as sc
import sparsechol.pytensor as scpt

N = 150


@pytest.mark.parametrize("name", ["constraint", "mean", "dot"])
def test_warning(name):
    x = pt.vector("x", shape=(N,))
    total = x.sum()
    total.name = "total"
    term = {
        "constraint": lambda: total**2,
        "mean": lambda: pt.exp(x - total / N).sum(),
        "dot": lambda: pt.dot(x, x) ** 2,
    }[name]()
    what = "dot" if name == "dot" else "total"
    with pytest.warns(sc.SparsityWarning, match=f"(?i)sum over many variables.*{what}.*low_rank"):
        H = scpt.sparse_hessian(-term - pt.exp(x).sum(), x, format="symmetric")
    assert H.pattern.indices.size == N * (N + 1) // 2


def test_sums_in_which_the_function_is_linear():
    """They make nothing dense."""
    x, t = pt.vector("x", shape=(N,)), pt.scalar("t")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        H = scpt.sparse_hessian(-t * pt.exp(x).mean() - 3 * pt.dot(x, x), x, format="symmetric")
    assert H.pattern.indices.size == N
