"""Sparsity rules of the sparse matrices of jax.experimental.sparse."""

import math
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ..._sparsity import propagate
from .._rule_table import dense, out_shape, rule
from .products import as_matrix

UNKNOWN_PLACES = "has a batch, or indices that are not known"


def bcoo_matrix(indices, shape, contract, count) -> tuple[Any, Any, np.ndarray]:
    """Return rows (free axes), columns (axes that are summed over) and numbers of entries."""
    inside = (indices < np.array(shape)).all(axis=1)
    number = np.flatnonzero(inside)
    free = [axis for axis in range(len(shape)) if axis not in contract]
    rows, columns = (
        np.ravel_multi_index(tuple(indices[inside][:, axis] for axis in axes),
                             [shape[axis] for axis in axes]) if axes
        else np.zeros(len(number), np.int64)
        for axes in (free, list(contract))
    )  # fmt: skip
    return rows, columns, number


def sparse_product(scope, eqn, rows, columns, number: np.ndarray, data, rhs, contract):
    """Propagate sets through a sparse matrix times a dense array, either of which may depend."""
    shape_rhs = eqn.invars[-1].aval.shape
    shape = out_shape(eqn)
    free = [axis for axis in range(len(shape_rhs)) if axis not in contract]
    width = math.prod(shape_rhs[axis] for axis in free)
    depth = math.prod(shape_rhs[axis] for axis in contract)
    height = math.prod(shape) // max(width, 1)
    terms = [propagate.no_inputs((height, width))]
    ones = np.ones(len(number), np.int8)
    if data is not None:
        members = csr_array((ones, (rows, number)), shape=(height, data.size))
        terms.append(propagate.apply_matrix(scope.sets, members, propagate.flatten(data))[:, None])
    if rhs is not None:
        A = csr_array((ones, (rows, columns)), shape=(height, depth))
        lines = as_matrix(rhs, (), free, contract)[0]
        terms.append(propagate.apply_matrix(scope.sets, A, lines).T)
    return [propagate.union(scope.sets, *terms, shape=(height, width)).reshape(shape)]


@rule("bcoo_dot_general")
def bcoo_dot_general(scope, eqn, operands):
    data, _, rhs = operands
    (contract, contract_rhs), (batch, _) = eqn.params["dimension_numbers"]
    indices, shape = scope.value(eqn.invars[1]), eqn.params["lhs_spinfo"].shape
    if indices is None or batch or indices.ndim != 2 or indices.shape[1] != len(shape):
        return dense(scope, eqn, operands, UNKNOWN_PLACES)
    found = bcoo_matrix(indices, shape, contract, len(indices))
    return sparse_product(scope, eqn, *found, data, rhs, contract_rhs)


@rule("bcsr_dot_general")
def bcsr_dot_general(scope, eqn, operands):
    data, _, _, rhs = operands
    (contract, contract_rhs), (batch, _) = eqn.params["dimension_numbers"]
    columns, starts = scope.value(eqn.invars[1]), scope.value(eqn.invars[2])
    shape = eqn.params["lhs_spinfo"].shape
    if columns is None or starts is None or batch or columns.ndim != 1 or len(shape) != 2:
        return dense(scope, eqn, operands, UNKNOWN_PLACES)
    rows = np.repeat(np.arange(shape[0]), np.diff(starts))
    indices = np.stack([rows, columns[: len(rows)]], axis=1)
    found = bcoo_matrix(indices, shape, contract, len(indices))
    return sparse_product(scope, eqn, *found, data, rhs, contract_rhs)


@rule("bcoo_todense")
def bcoo_todense(scope, eqn, operands):
    indices, shape = scope.value(eqn.invars[1]), out_shape(eqn)
    if indices is None or indices.ndim != 2 or indices.shape[1] != len(shape):
        return dense(scope, eqn, operands, UNKNOWN_PLACES)
    rows, _, number = bcoo_matrix(indices, shape, (), len(indices))
    size = math.prod(shape)
    members = csr_array((np.ones(len(rows), np.int8), (rows, number)), (size, operands[0].size))
    return [
        propagate.apply_matrix(scope.sets, members, propagate.flatten(operands[0])).reshape(shape)
    ]


@rule("bcoo_dot_general_sampled")
def bcoo_dot_general_sampled(scope, eqn, operands):
    """Propagate sets to elements of a product of dense arrays, each from a row and a column."""
    a, b, _ = operands
    (contract_a, contract_b), (batch, _) = eqn.params["dimension_numbers"]
    indices = scope.value(eqn.invars[2])
    shapes = [atom.aval.shape for atom in eqn.invars[:2]]
    free = [
        [axis for axis in range(len(shape)) if axis not in contract]
        for shape, contract in zip(shapes, (contract_a, contract_b), strict=True)
    ]
    size = [shape[axis] for shape, axes in zip(shapes, free, strict=True) for axis in axes]
    if indices is None or batch or indices.ndim != 2 or indices.shape[1] != len(size):
        return dense(scope, eqn, operands, UNKNOWN_PLACES)
    inside = (indices < np.array(size)).all(axis=1)
    indices = np.where(inside[:, None], indices, 0)
    columns = np.split(indices, [len(free[0])], axis=1)
    terms = [propagate.no_inputs(len(indices))]
    for ids, contract, places in zip((a, b), (contract_a, contract_b), columns, strict=True):
        if ids is not None:
            terms.append(propagate.union_along(scope.sets, ids, contract)[tuple(places.T)])
    return [propagate.keep_where(propagate.union(scope.sets, *terms), inside)]


@rule("bcoo_transpose")
def bcoo_transpose(scope, eqn, operands):
    plain = eqn.invars[1].aval.ndim == 2 and eqn.invars[0].aval.ndim == 1
    return [operands[0], None] if plain else dense(scope, eqn, operands)


@rule("bcoo_extract")
def bcoo_extract(scope, eqn, operands):
    indices, dense_operand = scope.value(eqn.invars[0]), operands[1]
    shape = eqn.invars[1].aval.shape
    if indices is None or indices.ndim != 2 or indices.shape[1] != len(shape):
        return dense(scope, eqn, operands, UNKNOWN_PLACES)
    inside = (indices < np.array(shape)).all(axis=1)
    places = np.ravel_multi_index(tuple(np.where(inside[:, None], indices, 0).T), shape)
    return [propagate.take(dense_operand, np.where(inside, places, -1))]
