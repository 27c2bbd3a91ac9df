"""Constants are folded to what the compiled program computes, extreme values too."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax

import sparsechol.jax as scj
from sparsechol.jax._fold import run_eagerly

FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
INTEGERS = (np.int8, np.int32, np.int64, np.uint8, np.uint32, np.uint64)
TYPES = (np.bool_, *INTEGERS, *FLOATS)
TINY = [1e-8, 6e-5, 1e-40, 1e-30, 1.2e-38, 1e-310, 3e-308]
POINTS = [0, 1, 2.5, 3.5, 7, 127, 128, 255, 300, 65504, 1e5, 2**31, 2**32, 1e10, 2**63, 2**64, 1e38,
          1e300, np.inf, *TINY]  # fmt: skip


def extremes(dtype):
    """Return the extreme values of a type."""
    if dtype == np.bool_:
        return np.array([False, True])
    if dtype in INTEGERS:
        kind = np.iinfo(dtype)
        chosen = {0, 1, 2, 3, 100, kind.min, kind.min + 1, kind.max, kind.max - 1, kind.max // 2}
        return np.array(sorted(chosen | ({-1, -7} if kind.min else set())), dtype)
    with np.errstate(all="ignore"):
        return np.array([*POINTS, *(-x for x in POINTS), -0.0, np.nan], float).astype(dtype)


def normal(x):
    """Leave out what may be taken for zero."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    with np.errstate(invalid="ignore"):
        return x[~((np.abs(x) < jnp.finfo(x.dtype).tiny) & (x != 0))]


def same(f, *args):
    """Fold the only equation of a function, and compare with the compiled function, bit by bit."""
    jaxpr = jax.make_jaxpr(f)(*args)
    [eqn] = jaxpr.eqns
    found = run_eagerly(eqn, list(args))
    assert found is not None
    wanted = jax.tree.leaves(jax.jit(f)(*map(jnp.asarray, args)))
    for x, y in zip(found, wanted, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype
        numbers = ~np.equal(y, y, dtype=bool) if y.dtype.kind not in "biu" else False
        np.testing.assert_array_equal(x != x, numbers)
        x, y = np.where(numbers, 0, x), np.where(numbers, 0, y)
        if jnp.issubdtype(y.dtype, jnp.floating):  # subnormal numbers may be flushed
            tiny = float(jnp.finfo(y.dtype).tiny)
            np.testing.assert_allclose(x.astype(float), y.astype(float), rtol=0, atol=tiny)
        else:
            np.testing.assert_array_equal(x, y)


@pytest.mark.fast_cases("bool|uint8|float32")
@pytest.mark.parametrize("source", TYPES)
def test_casts(source):
    for dtype in TYPES:
        if np.dtype(source) != np.dtype(dtype):
            same(
                lambda x, dtype=dtype: lax.convert_element_type(x, dtype), normal(extremes(source))
            )


ARITHMETIC = [lax.add, lax.sub, lax.mul, lax.max, lax.min]
COMPARISONS = [lax.eq, lax.ne, lax.lt, lax.le, lax.gt, lax.ge]


@pytest.mark.fast_cases("bool|uint8|float32")
@pytest.mark.parametrize("dtype", TYPES)
def test_arithmetic_and_comparisons(dtype):
    x = normal(extremes(dtype))
    a, b = (np.ascontiguousarray(z.ravel()) for z in np.meshgrid(x, x))
    numbers = [] if dtype == np.bool_ else ARITHMETIC
    logic = [] if dtype in FLOATS else [lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor]
    for f in (*COMPARISONS, *numbers, *logic):
        same(f, a, b)
    same(lax.bitwise_not if dtype not in FLOATS else lax.neg, x)


@pytest.mark.fast_cases("bool|uint8|float32")
@pytest.mark.parametrize("dtype", TYPES)
def test_moves(dtype):
    x = extremes(dtype)
    same(lambda x: lax.broadcast_in_dim(x, (2, len(x)), (1,)), x)
    same(
        lambda x: lax.slice(x, (1,), (len(x),), (2,)) if len(x) > 2 else lax.slice(x, (0,), (1,)), x
    )
    same(lambda x, y: lax.concatenate([x, y], 0), x, x[::-1].copy())
    same(lambda x: lax.reshape(x, (len(x), 1)), x)
    same(lambda x: lax.transpose(x, (1, 0)), np.stack([x, x]))
    same(lambda p, a, b: lax.select_n(p, a, b), np.arange(len(x)) % 2 == 0, x, x[::-1].copy())
    if dtype not in (np.bool_,):
        size = 300
        jaxpr = jax.make_jaxpr(lambda: lax.iota(dtype, size))()
        [found] = run_eagerly(jaxpr.eqns[0], [])
        np.testing.assert_array_equal(np.asarray(found), np.asarray(lax.iota(dtype, size)))


def test_choices_out_of_range():
    which = np.array([-5, 0, 1, 2, 3, 9], np.int32)
    same(lambda p, *x: lax.select_n(p, *x), which, *(np.full(6, float(k)) for k in range(3)))


@pytest.mark.parametrize(
    "index",
    [
        lambda: jnp.clip(jnp.float32(1e10).astype(jnp.int32), 0, 7),
        lambda: jnp.float32(np.nan).astype(jnp.int32) + 3,
        lambda: jnp.clip(jnp.float32(-1e10).astype(jnp.uint32), 2, 7),
        lambda: jnp.clip(jnp.float32(-5.0).astype(jnp.uint8), 1, 7),
        lambda: (jnp.float32(1e-40) == 0).astype(jnp.int32) * 5,
        lambda: jnp.clip(jnp.array([1e10, -1e10], jnp.float32).astype(jnp.int32), 0, 7),
        lambda: jnp.clip(jnp.array([np.nan, 1e10]).astype(jnp.uint8), 2, 6),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered in cast:RuntimeWarning")
def test_an_index_made_from_constants(index):
    """JAX computes constants with NumPy where it traces, and with XLA where it does not."""
    f = lambda x: jnp.atleast_1d(x[index()])  # noqa: E731
    P = scj.jacobian_pattern(f, jnp.ones(8)).toarray()
    for J in (jax.jacfwd(f), jax.jit(jax.jacfwd(f))):
        assert not ((np.asarray(J(jnp.ones(8))) != 0) & (P == 0)).any()


def test_a_cast_that_fits_is_known():
    f = lambda x: x[jnp.float32(5.7).astype(jnp.int32)][None]  # noqa: E731
    assert np.flatnonzero(scj.jacobian_pattern(f, jnp.ones(8)).toarray()).tolist() == [5]


@pytest.mark.fast_cases("uint64")
@pytest.mark.parametrize("dtype", ["uint16", "uint64", "int16"])
@pytest.mark.parametrize("most", [False, True])
@pytest.mark.filterwarnings("ignore:the JAX primitive .* has an index that is not known")
def test_starts_of_any_type(dtype, most):
    # Compiled programs take large unsigned starts for negative ones, others do not.
    value = jnp.asarray(np.iinfo(dtype).max if most else 7, dtype)
    cases = (
        lambda x: lax.dynamic_slice(x, (value,), (3,)),
        lambda x: lax.dynamic_update_slice(x, x[:2] * 2, (value,)),
        lambda x: x.at[value[None]].get(mode="clip"),
        lambda x: x.at[value[None]].set(x[:1] * 2, mode="clip"),
    )
    x = jnp.ones(300)
    for f in cases:
        P = scj.jacobian_pattern(f, x).toarray()
        for J in (jax.jacfwd(f), jax.jit(jax.jacfwd(f))):
            assert not ((np.asarray(J(x)) != 0) & (P == 0)).any()
        assert most or P.sum() == (np.asarray(J(x)) != 0).sum()


def test_tracing_folds_again_afterwards():
    scj.jacobian_pattern(lambda x: x * jnp.float32(2).astype(int), jnp.ones(2))
    jaxpr = jax.make_jaxpr(lambda x: x * np.float32(2).astype(int))(1.0)
    assert len(jaxpr.eqns) == 1
