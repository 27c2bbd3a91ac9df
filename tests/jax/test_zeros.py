"""What is known to be zero in factors and solutions is zero at any point, whatever the pivots."""

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
import pytest
from jax import lax

import sparsechol.jax as scj
from sparsechol.jax._bounds import bounds
from sparsechol.jax._walk import UNKNOWN, Detection, Scope
from sparsechol.jax._zeros import zeros

CASES = {
    "lu": lambda A: lax.linalg.lu(A)[0],
    "qr": lambda A: lax.linalg.qr(A, full_matrices=False),
    "complete qr": lambda A: lax.linalg.qr(A, full_matrices=True),
}
SQUARE = {
    "solve": lambda A: jnp.linalg.solve(A, A.T[:, :2]),
    "triangle": lambda A: [
        lax.linalg.triangular_solve(
            A + 2 * jnp.eye(6), B, left_side=left, lower=lower, transpose_a=turned
        )
        for left in (True, False)
        for lower in (True, False)
        for turned in (True, False)
        for B in [A[:, :2] if left else A[:2]]
    ],
}


def masks_of(f, mask):
    """Return where the results of a function of a matrix with known zeros are known to be zero."""
    inside = np.flatnonzero(~mask)
    program = jax.make_jaxpr(
        lambda x: jax.tree.leaves(f(jnp.zeros(mask.size).at[inside].set(x).reshape(mask.shape)))
    )(jnp.ones(len(inside)))
    scope = Scope(Detection(1), program)
    scope.run([None], [UNKNOWN])
    return [zeros(scope, atom) for atom in program.jaxpr.outvars]


def values(mask, seed):
    """Return a matrix whose entries differ much in size, so that pivots are anywhere."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(
        ~mask * rng.standard_normal(mask.shape) * 10 ** rng.uniform(-3, 3, mask.shape)
    )


@pytest.mark.parametrize("shape", [(6, 6), (7, 4), (4, 7)], ids=str)
def test_zeros_of_factors_and_solutions(shape):
    rng = np.random.default_rng(0)
    cases = {**CASES, **SQUARE} if shape == (6, 6) else CASES
    known = dict.fromkeys(cases, 0)
    for seed in range(6 if shape == (6, 6) else 12):
        mask = rng.random(shape) > rng.uniform(0.1, 0.4)
        if seed % 2:
            np.fill_diagonal(mask, False)
        for name, f in cases.items():
            for k, found in enumerate(masks_of(f, mask)):
                for point in range(2) if found is not None else ():
                    out = np.asarray(jax.tree.leaves(f(values(mask, 10 * seed + point)))[k])
                    assert not (found & np.isfinite(out) & (out != 0)).any(), (name, k, mask)
                    known[name] += found.sum()
    assert all(known.values())


def test_pivots_stay_within_blocks():
    def f(x):
        A = jsp.linalg.block_diag(x[:9].reshape(3, 3), x[9:].reshape(2, 2))
        _, pivots, permutation = lax.linalg.lu(A)
        return pivots, permutation, lax.linalg.lu_pivots_to_permutation(pivots, 5)

    program = jax.make_jaxpr(f)(jnp.ones(13))
    scope = Scope(Detection(1), program)
    scope.run([None], [UNKNOWN])
    found = [np.array(bounds(scope, atom)) for atom in program.jaxpr.outvars]
    least, most = [0, 0, 0, 3, 3], [2, 2, 2, 4, 4]
    np.testing.assert_array_equal(found[0], [[0, 1, 2, 3, 4], most])
    np.testing.assert_array_equal(found[1], [least, most])
    np.testing.assert_array_equal(found[2], [least, most])
    for seed in range(5):
        x = jnp.asarray(np.random.default_rng(seed).standard_normal(13))
        for (low, high), value in zip(found, f(x), strict=True):
            assert ((low <= value) & (value <= high)).all()


def test_blocks_are_not_coupled():
    """Inverses and factors of block-diagonal matrices depend on one block each."""
    blocks = np.kron(np.eye(4), np.ones((2, 2))).astype(bool)

    def matrix(x):
        return jsp.linalg.block_diag(*(b + 3 * jnp.eye(2) for b in x.reshape(4, 2, 2)))

    owner = np.arange(16) // 4
    for f in (
        jnp.linalg.inv,
        lambda A: jnp.linalg.qr(A)[0],
        lambda A: jnp.linalg.qr(A)[1],
        lambda A: jsp.linalg.lu_factor(A)[0],
        lambda A: jsp.linalg.lu_solve(jsp.linalg.lu_factor(A), jnp.eye(8)),
    ):
        P = scj.jacobian_pattern(lambda x, f=f: f(matrix(x)), jnp.ones(16))
        row, column = P.nonzero()
        i, j = np.divmod(row, 8)
        assert blocks[i, j].all()
        assert (owner[column] == i // 2).all()
