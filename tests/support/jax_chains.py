"""Chains that run at the same time: python jax_chains.py SCENARIO, in a process of its own.

The pattern is a chain with a million stored values: every operand is far above the size from which
JAX copies asynchronously.
"""

import os
import sys
import threading

SCENARIO = sys.argv[1]
if SCENARIO == "one core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402

import sparsechol.jax as scj  # noqa: E402

jax.config.update("jax_enable_x64", True)

N, STEPS = 500_000, 5
A = sp.diags_array([[-1.0] * (N - 1), [3.0] * N, [-1.0] * (N - 1)], offsets=[-1, 0, 1])
P = scj.analyze(A, ordering="natural")
a = jnp.asarray(P.values(A))
b = jnp.ones(N)


def objective(a, scale):
    M = scj.SymmetricMatrix(P, scale * a)
    return scj.logdet(M) - b @ scj.solve(M, b) / N


def chain(a, scale):
    """Take some steps uphill, each of which needs the one before."""

    def step(a, _):
        value, gradient = jax.value_and_grad(objective)(a, scale)
        return a + 1e-3 * gradient, value

    return jax.lax.scan(step, a, None, STEPS)[1]


scales = jnp.arange(1.0, 5.0)
expected = [np.log(s) * N for s in range(1, 5)]
if SCENARIO == "blocking":
    run = jax.jit(chain)
    values = [run(a, s).block_until_ready() for s in scales]
elif SCENARIO == "devices":
    values = jax.pmap(chain)(jnp.stack([a] * 4), scales)
elif SCENARIO == "threads":
    run, values = jax.jit(chain), [None] * 4

    def work(k):
        values[k] = run(a, scales[k]).block_until_ready()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
elif SCENARIO in ("one core", "in flight"):
    run = jax.jit(lambda a, scales: [objective(a, s) for s in scales])
    values = [run(a, list(scales)) for _ in range(6)][-1]
    values = [jnp.stack([v]) for v in values]
else:
    raise ValueError(SCENARIO)
differences = [float(v[0]) for v in values] - np.asarray(expected)
assert abs(np.diff(differences)).max() < 1, differences
print("done")
