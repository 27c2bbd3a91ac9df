"""JAX with 64-bit types, on four host devices; nothing is collected where it is not installed."""

import importlib.util
import os

import pytest

if importlib.util.find_spec("jaxlib") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    jax.config.update("jax_enable_x64", True)

BACKENDS = ["ffi", "buffer", "callback"]


@pytest.fixture(scope="module", autouse=True)
def programs_are_forgotten():
    """Memory would grow by gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    """Choose each way to reach the kernels in turn."""
    from sparsechol.jax import _lowering

    before = _lowering.backend()
    _lowering.use_backend(request.param)
    jax.clear_caches()
    yield request.param
    _lowering.use_backend(before)
    jax.clear_caches()
