"""Nothing is collected where PyTensor is not installed."""

import importlib.util
import os

if importlib.util.find_spec("pytensor") is None:
    collect_ignore_glob = ["test_*.py"]
elif importlib.util.find_spec("jaxlib") is not None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    jax.config.update("jax_enable_x64", True)
