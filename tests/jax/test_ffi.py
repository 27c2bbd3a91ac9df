"""The handler that XLA calls, and the registry of patterns."""

import gc
import os
import subprocess
import sys
from collections import deque
from struct import error

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol.jax as scj
from sparsechol._core.numeric.handle import name_of, register, registered
from sparsechol.jax import _lowering

P = scj.analyze(np.diag([4.0, 9.0]))
DEFAULTS = {
    "operation": "cholesky",
    **dict(zip(("high", "low"), map(np.int64, name_of(P.digest)), strict=True)),
    "flags": np.int32(0),
    "diagonal": np.float64(1),
    "below": np.float64(1),
}


@pytest.fixture(autouse=True)
def handler():
    _lowering.use_backend("ffi")
    register(P.digest, P._handle)


def call(*operands, out=((2,), np.float64), **attributes):
    result = jax.ShapeDtypeStruct(*out)
    return jax.ffi.ffi_call("sparsechol", result)(*operands, **(DEFAULTS | attributes))


def test_a_call():
    np.testing.assert_allclose(call(jnp.array([4.0, 9.0])), [2, 3])
    np.testing.assert_allclose(
        call(jnp.array([4.0, 9.0], np.float32), out=((2,), np.float32)), [2, 3]
    )


@pytest.mark.parametrize(
    ("message", "operands", "out", "attributes"),
    [
        ("not known in this process", [np.ones(2)], ((2,), float), {"high": np.int64(0)}),
        ("not known in this process", [np.ones(2)], ((2,), float), {"low": "short"}),
        ("another version", [np.ones(2)], ((2,), float), {"operation": "factor"}),
        ("does not belong", [np.ones(3)], ((3,), float), {}),
        ("different types", [np.ones(2, "f")], ((2,), float), {}),
        ("wrong type of operand", [np.ones(2, int)], ((2,), float), {}),
        ("wrong type of result", [np.ones(2)], ((2,), int), {}),
        ("wrong number", [np.ones(2)] * 2, ((2,), float), {}),
        ("wrong number", [np.ones(2)] * 4, ((2,), float), {}),
        ("do not fit", [np.ones((2, 2))], ((3, 2), float), {}),
    ],
)
def test_wrong_calls_are_errors(message, operands, out, attributes):
    with pytest.raises(Exception, match=message):
        call(*map(jnp.asarray, operands), out=out, **attributes).block_until_ready()


def logdet_of_a_new_pattern(k, one):
    """Return logdet(2 I); only JAX knows the pattern and the program after that."""
    pattern = scj.analyze(sp.eye_array(k))
    return jax.jit(lambda a: scj.logdet(scj.SymmetricMatrix(pattern, a * jnp.ones(k))))(2 * one)


@pytest.mark.slow
def test_programs_in_flight_have_their_patterns():
    """Let programs wait for an operand until their functions are gone."""
    x = jnp.ones((1500, 1500)) / 1500
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 60, lambda _, y: y @ x, x))(x)
    values = [logdet_of_a_new_pattern(k, slow[0, 0] * 1500) for k in range(100, 104)]
    jax.clear_caches()
    gc.collect()
    np.testing.assert_allclose(values, np.log(2) * np.arange(100, 104))


def test_patterns_live_as_long_as_programs(monkeypatch):
    jax.clear_caches()
    gc.collect()
    monkeypatch.setattr(_lowering._Hold, "released", deque(maxlen=1))
    before = registered()

    def compiled_here():
        pattern = scj.analyze(np.diag(np.arange(1.0, 6.0)))
        f = jax.jit(lambda a: scj.logdet(scj.SymmetricMatrix(pattern, a)))
        return f.lower(jnp.ones(5)).compile()

    compiled = compiled_here()
    jax.clear_caches()
    gc.collect()
    assert registered() == before + 1
    np.testing.assert_allclose(compiled(2 * jnp.ones(5)), 5 * np.log(2))
    del compiled
    gc.collect()
    _lowering._Hold.released.clear()
    assert registered() == before


def test_wrong_registrations():
    for digest in ("short", "0" * 34):
        with pytest.raises((ValueError, error)):
            register(digest, P._handle)
    before = registered()
    assert register(P.digest, P._handle) == name_of(P.digest)
    assert registered() == before


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
jax.config.update("jax_compilation_cache_dir", {folder!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
P = scj.analyze(np.diag(np.arange(1.0, 6.0)))
f = jax.jit(jax.value_and_grad(lambda a: scj.logdet(scj.SymmetricMatrix(P, a))))
value, gradient = f(2 * jnp.ones(5))
np.testing.assert_allclose(value, 5 * np.log(2), rtol=1e-6)
np.testing.assert_allclose(gradient, 0.5 * np.ones(5), rtol=1e-6)
"""


@pytest.mark.slow
def test_programs_from_the_persistent_cache(tmp_path):
    """Let a second process replay the programs that the first has compiled."""
    for _ in range(2):
        program = PROGRAM.format(folder=str(tmp_path))
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],
            env=os.environ,
            timeout=120,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert any(tmp_path.iterdir())
