"""What is compiled: factorizations, caches on disk, shapes, threads, and what gets imported."""

import os
import re
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from pytensor.compile.debug.debugmode import DebugMode

import sparsechol as sc
import sparsechol.pytensor as scpt
from sparsechol._core.numeric.handle import registered
from support.pytensor_systems import FUNCTIONS, MODES, VALUES, A, B, N, P, kernels, matrix, measure

a, t = pt.dvector("a"), pt.dscalar("t")
# All rewrites and no compiler.
REWRITTEN = pytensor.compile.mode.Mode(linker="py", optimizer="fast_run")


# ---- factorizations ----


@pytest.mark.fast_cases(r"FAST_COMPILE|NUMBA")
@pytest.mark.parametrize("mode", MODES)
def test_one_factorization(mode):
    """Of logdet, solve and partial_inverse of one Q, built twice, with all gradients."""
    Q, again = scpt.combine([(t, A), (a[0], A)]), scpt.combine([(t, A), (a[0], A)])
    f = scpt.logdet(Q) + measure(scpt.solve(again, B)) + measure(scpt.partial_inverse(Q))
    function = pytensor.function([t, a], [f, *pytensor.grad(f, [t, a])], mode=mode)
    counts = kernels(function)
    assert counts["Factor"] == 1
    assert counts["PartialInverse"] == 1


def test_a_gradient_costs_what_it_should():
    f = 0.5 * scpt.logdet(matrix(a)) - 0.5 * (B * scpt.solve(matrix(a), B)).sum()
    function = pytensor.function([a], [f, pytensor.grad(f, a)], mode="FAST_COMPILE")
    counts = kernels(function)
    assert counts.pop("Solve") <= 2
    assert counts == {
        "Factor": 1, "LogDet": 1, "PartialInverse": 1, "Gather": 1, "SampledOuter": 1
    }  # fmt: skip


def test_quad_form_multiplies_once():
    x = pt.dvector("x")
    f = matrix(a).quad_form(x)
    function = pytensor.function([a, x], [f, *pytensor.grad(f, [a, x])], mode="FAST_COMPILE")
    assert kernels(function) == {"MatVec": 1, "SampledOuter": 1}


def test_ops_merge_by_content():
    """Patterns that are equal, though not the same object."""
    other = sc.analyze(A)
    assert other is not P
    first, second = (
        scpt.logdet(scpt.SymmetricMatrix(P, a)),
        scpt.logdet(scpt.SymmetricMatrix(other, a)),
    )
    assert first.owner.op == second.owner.op
    function = pytensor.function([a], [first, second], mode="FAST_COMPILE")
    assert kernels(function) == {"Factor": 1, "LogDet": 1}
    natural = sc.analyze(A, ordering="natural")
    assert scpt.logdet(scpt.SymmetricMatrix(natural, a)).owner.op != first.owner.op


# ---- what PyTensor asks of an Op ----


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shapes_without_the_values(name):
    x = FUNCTIONS[name](a)
    shape = pytensor.function([a], x.shape, mode=REWRITTEN, on_unused_input="ignore")
    assert kernels(shape) == {}
    assert tuple(shape(VALUES)) == x.eval({a: VALUES}, mode="FAST_COMPILE").shape == x.type.shape


def test_unknown_number_of_vectors():
    b = pt.dmatrix("b")
    x = scpt.solve(matrix(a), b)
    assert x.type.shape == (N, None)
    shape = pytensor.function([a, b], x.shape, mode=REWRITTEN, on_unused_input="ignore")
    assert kernels(shape) == {}
    assert tuple(shape(VALUES, np.ones((N, 5)))) == (N, 5)


def test_debug_mode():
    """PyTensor's own checks: results that change, operands that are overwritten, wrong types."""
    f = measure(FUNCTIONS["gmrf_logp"](a)) + measure(FUNCTIONS["draw"](a))
    mode = DebugMode(optimizer="fast_compile", check_c_code=False, stability_patience=1)
    value, gradient = pytensor.function([a], [f, pytensor.grad(f, a)], mode=mode)(VALUES)
    wanted = pytensor.function([a], [f, pytensor.grad(f, a)], mode="FAST_COMPILE")(VALUES)
    np.testing.assert_allclose(value, wanted[0])
    np.testing.assert_allclose(gradient, wanted[1])


@pytest.mark.fast_cases(r"NUMBA")
@pytest.mark.parametrize("mode", [None, "NUMBA"])
def test_no_object_mode_and_no_warning(mode):
    Q = scpt.combine([(t, A)])
    outputs = [scpt.logdet(Q), scpt.solve(Q, B), Q.solve_triangular(B, trans="T")]
    outputs += [scpt.partial_inverse(Q), scpt.marginal_variances(Q), Q.quad_form(B), Q @ B]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pytensor.function([t], outputs, mode=mode)(2.0)


def test_threads_at_once():
    """The same compiled functions, from several threads, outside of the interpreter's lock."""
    S = sc.analyze(
        sp.kronsum(*[sp.diags_array([-1.0, 2.1, -1.0], offsets=[-1, 0, 1], shape=(60, 60))] * 2)
    )
    values = S.values(
        sp.kronsum(*[sp.diags_array([-1.0, 2.1, -1.0], offsets=[-1, 0, 1], shape=(60, 60))] * 2)
    )
    x = pt.dvector("x")
    f = scpt.logdet(scpt.SymmetricMatrix(S, x))
    functions = [pytensor.function([x], [f, pytensor.grad(f, x)], mode="NUMBA") for _ in range(4)]
    wanted = functions[0](values)
    np.testing.assert_allclose(values @ wanted[1], S.shape[0])  # log det cA = log det A + n log c
    results = [None] * 4

    def work(k):
        results[k] = [functions[k](values * (1.0 + k)) for _ in range(20)][-1]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        np.testing.assert_allclose(results[k][0], wanted[0] + S.shape[0] * np.log(1.0 + k))
        np.testing.assert_allclose(results[k][1], wanted[1] / (1.0 + k))


def test_compiled_functions_keep_their_patterns():
    """numba does not give machine code back; what it names must stay."""
    before = registered()

    def compiled():
        S = sc.analyze(np.diag(np.arange(1.0, 12.0)))
        return pytensor.function([a], scpt.logdet(scpt.SymmetricMatrix(S, a)), mode="NUMBA")

    f = compiled()
    assert registered() == before + 1
    np.testing.assert_allclose(f(np.full(11, 2.0)), 11 * np.log(2))


# ---- processes ----


def python(program, **environment):
    """Output of a program in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True, text=True, timeout=300, env=os.environ | environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


IMPORTS = """
import sys, pytensor, pytensor.tensor as pt, numpy as np
import sparsechol, sparsechol.pytensor as scpt
loaded = lambda: [m for m in ("numba", "jax", "sparsechol.jax", "sparsechol.pytensor._numba")
                  if m in sys.modules]
print(loaded())
Q = scpt.SymmetricMatrix(sparsechol.analyze(np.ones((2, 2))), [4.0, 1.0, 5.0])
f = pytensor.function([], scpt.logdet(Q), mode={mode!r})
print(loaded())
print(f())
"""


@pytest.mark.slow
def test_backends_are_loaded_when_they_compile():
    out = python(IMPORTS.format(mode="FAST_COMPILE"))
    assert out[:2] == ["[]", "[]"]
    out = python(IMPORTS.format(mode="NUMBA"))
    assert out[:3] == ["[]", "['numba',", "'sparsechol.pytensor._numba']"]
    out = python(IMPORTS.format(mode="JAX"))
    assert out[0] == "[]"
    assert "'sparsechol.jax']" in out
    np.testing.assert_allclose(float(out[-1]), np.log(19))


CACHED = """
import time
import numpy as np, pytensor, pytensor.tensor as pt, sparsechol.pytensor as scpt
import scipy.sparse as sp
from sparsechol.pytensor import _native, _numba
import llvmlite.binding
if {bump}:
    llvmlite.binding.add_symbol("sparsechol_bumped", _native.address())
    _native.SYMBOL = "sparsechol_bumped"
n = 20_000
A = sp.diags_array([np.ones(n - 1), np.full(n, 4.0), np.ones(n - 1)], offsets=[-1, 0, 1])
t = pt.dscalar("t")
f = scpt.logdet(scpt.combine([(t, A)]))
function = pytensor.function([t], [f, pytensor.grad(f, t)])
start = time.perf_counter()
value, gradient = function(2.0)
print(time.perf_counter() - start, value, gradient)
"""


def machine_code(folder):
    return set(folder.rglob("*.nbc"))


@pytest.mark.slow
def test_cache_on_disk(tmp_path):
    """A new process compiles nothing; one with another interface compiles for itself."""
    flags = {"PYTENSOR_FLAGS": f"base_compiledir={tmp_path}"}
    cold = python(CACHED.format(bump=False), **flags)
    files = machine_code(tmp_path)
    assert files
    warm = python(CACHED.format(bump=False), **flags)
    assert machine_code(tmp_path) == files
    assert warm[1:] == cold[1:]
    assert float(warm[2]) == pytest.approx(10_000)
    bumped = python(CACHED.format(bump=True), **flags)
    assert bumped[1:] == cold[1:]
    assert len(machine_code(tmp_path)) > len(files)


PROGRAMS = """
import pytensor, pytensor.tensor as pt, sparsechol.pytensor as scpt
x, t = pt.dvector("x", shape=(5,)), pt.dscalar("t")
found = scpt.laplace(-0.5 * pt.exp(t) * ((x - 1) ** 2).sum() - pt.exp(x).sum() + t, x)
value = found.log_marginal
print(*pytensor.function([t], [value, pytensor.grad(value, t)])({t}))
"""


@pytest.mark.slow
def test_programs_on_disk(tmp_path):
    """A new process loads programs, in whatever order."""
    flags = {"PYTENSOR_FLAGS": f"base_compiledir={tmp_path}"}
    cold = python(PROGRAMS.format(t=0.5), **flags)
    files = machine_code(tmp_path)
    warm = python(PROGRAMS.format(t=0.5), **flags)
    assert warm == cold
    assert machine_code(tmp_path) == files
    low, high = (float(python(PROGRAMS.format(t=0.5 + h), **flags)[0]) for h in (-1e-5, 1e-5))
    assert float(cold[1]) == pytest.approx((high - low) / 2e-5, rel=1e-7)


@pytest.mark.slow
def test_large_patterns_are_no_constants(tmp_path):
    """Machine code of a pattern with 20 000 rows is as short as any."""
    python(CACHED.format(bump=False), PYTENSOR_FLAGS=f"base_compiledir={tmp_path}")
    assert sum(path.stat().st_size for path in machine_code(tmp_path)) < 2_000_000


def test_symbol_names_the_interface():
    from sparsechol.pytensor import _native

    assert re.fullmatch(r"sparsechol_\d+_[0-9a-f]{8}", _native.SYMBOL)
