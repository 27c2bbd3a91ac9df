"""Evaluation of sparse Jacobians and Hessians: modes, formats, transformations, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental.sparse import BCOO, BCSR

import sparsechol.jax as scj
from sparsechol import _exceptions
from sparsechol.coloring import color
from sparsechol.coloring._pattern import coordinates
from sparsechol.jax._rule_table import RULES

MODES = ["forward", "reverse", "bidirectional"]


def bratu(u):
    """Apply a five-point stencil on a square, with a nonlinear term."""
    n = round(u.size**0.5)
    U = jnp.pad(u.reshape(n, n), 1)
    around = U[2:, 1:-1] + U[:-2, 1:-1] + U[1:-1, 2:] + U[1:-1, :-2]
    return (4 * U[1:-1, 1:-1] - around - jnp.exp(U[1:-1, 1:-1]) / (n + 1) ** 2).ravel()


def arrow(x):
    """Evaluate a function whose Jacobian has a dense row and a dense column."""
    return jnp.concatenate([jnp.sum(x**2)[None], x[1:] * x[0] + x[1:] ** 2])


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def point(n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(n))


def close(A, B):
    np.testing.assert_allclose(A, B, rtol=1e-10, atol=1e-12)


# ---- evaluation ----


@pytest.mark.fast_cases(r"arrow-bidirectional")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("f", [bratu, arrow])
def test_modes(f, mode):
    x = point(36)
    J = scj.sparse_jacobian(f, x, mode=mode)
    assert J.mode == mode
    assert J.shape == (36, 36)
    close(J(x).toarray(), jax.jacobian(f)(x))


def test_auto_takes_the_cheapest():
    x = point(100)
    assert scj.sparse_jacobian(bratu, x).coloring.num_colors == 5
    many = lambda x: jnp.outer(x[:2], jnp.ones(50)).ravel() * jnp.arange(100.0)  # noqa: E731
    assert scj.sparse_jacobian(many, point(2)).mode == "forward"
    few = lambda x: x.reshape(2, 50).prod(axis=1)  # noqa: E731
    J = scj.sparse_jacobian(few, x)
    assert (J.mode, J.coloring.num_colors) == ("reverse", 1)
    J = scj.sparse_jacobian(arrow, x)
    assert (J.mode, J.coloring.num_colors) == ("bidirectional", 3)
    close(J(x).toarray(), jax.jacobian(arrow)(x))


@pytest.mark.fast_cases(r"csr|bcsr")
@pytest.mark.parametrize("format", ["csc", "csr", "coo", "bcoo", "bcsr", "dense"])
def test_formats(format):
    x = point(25)
    J = scj.sparse_jacobian(bratu, x, format=format)
    A = J(x)
    types = {"csc": sp.csc_array, "csr": sp.csr_array, "coo": sp.coo_array, "bcoo": BCOO,
             "bcsr": BCSR, "dense": jax.Array}  # fmt: skip
    assert isinstance(A, types[format])
    dense = A if format == "dense" else A.toarray() if format in ("csc", "csr", "coo") else None
    close(A.todense() if dense is None else dense, jax.jacobian(bratu)(x))
    if format in ("csc", "csr"):
        assert A.has_canonical_format
        A.check_format()
    if format in ("bcoo", "bcsr", "dense"):
        traced = jax.jit(J)(x)
        close(traced if format == "dense" else traced.todense(), jax.jacobian(bratu)(x))
    else:
        with pytest.raises(TypeError, match="use the method values"):
            jax.jit(J)(x)


def test_values_are_those_of_the_pattern():
    x = point(25)
    J = scj.sparse_jacobian(bratu, x)
    A = sp.csc_array((np.asarray(J.values(x)), J.sparsity.indices, J.sparsity.indptr), J.shape)
    close(A.toarray(), jax.jacobian(bratu)(x))


@pytest.mark.slow
def test_transformations():
    x = point(12)
    for mode in MODES:
        J = scj.sparse_jacobian(arrow, x, mode=mode)
        close(jax.jit(J.values)(x), J.values(x))
        X = jnp.stack([x, 2 * x, -x])
        close(jax.vmap(J.values)(X), jnp.stack([J.values(y) for y in X]))
        rows, columns = J.sparsity.tocoo().coords

        def entries(y, rows=rows, columns=columns):
            return jax.jacobian(arrow)(y)[rows, columns]

        close(jax.jacfwd(J.values)(x), jax.jacfwd(entries)(x))
        close(jax.jacrev(J.values)(x), jax.jacfwd(entries)(x))
        second = jax.jacfwd(jax.jacrev(lambda y, J=J: jnp.sum(J.values(y) ** 3)))
        close(second(x), jax.hessian(lambda y, e=entries: jnp.sum(e(y) ** 3))(x))


@pytest.mark.slow
def test_it_can_be_an_argument_of_a_compiled_function():
    x = point(16)
    J = scj.sparse_jacobian(bratu, x)
    H = scj.sparse_hessian(rosenbrock, x)
    close(jax.jit(lambda J, x: J.values(x).sum())(J, x), J.values(x).sum())
    close(jax.jit(lambda H, x: H.packed(x).sum())(H, x), H.packed(x).sum())


@pytest.mark.slow
def test_it_can_be_prepared_within_a_compiled_function():
    @jax.jit
    def f(x):
        return scj.sparse_jacobian(bratu, x, format="dense")(x)

    x = point(16)
    close(f(x), jax.jacobian(bratu)(x))


@pytest.mark.fast_cases(r"reverse-2|forward-1")
@pytest.mark.parametrize("chunk_size", [1, 2, 100])
@pytest.mark.parametrize("mode", MODES)
def test_chunks(mode, chunk_size):
    x = point(25)
    J = scj.sparse_jacobian(bratu, x, mode=mode, chunk_size=chunk_size)
    close(J(x).toarray(), jax.jacobian(bratu)(x))


@pytest.mark.slow
def test_single_precision():
    x = point(25).astype(jnp.float32)
    J = scj.sparse_jacobian(bratu, x)
    assert J(x).dtype == np.float32
    assert scj.sparse_hessian(rosenbrock, x).packed(x).dtype == np.float32
    np.testing.assert_allclose(J(x).toarray(), jax.jacobian(bratu)(x), rtol=1e-5)


@pytest.mark.slow
def test_pytrees_and_other_arguments():
    def f(p, k, scale):
        return {"y": p["a"][::2] * scale * p["b"], "z": (p["b"] ** k).sum(), "w": scale**2}

    p = {"a": point(6), "b": jnp.float64(1.5)}
    J = scj.sparse_jacobian(f, p, 2, 3.0)
    assert J.shape == (5, 7)
    leaves = jax.jacobian(f)(p, 2, 3.0)
    dense = np.zeros((5, 7))
    dense[0] = 0.0  # "w" comes first in the order of the leaves
    for row, name in ((slice(0, 1), "w"), (slice(1, 4), "y"), (slice(4, 5), "z")):
        dense[row, :6] = leaves[name]["a"].reshape(-1, 6)
        dense[row, 6:] = np.reshape(leaves[name]["b"], (-1, 1))
    close(J(p, 2, 3.0).toarray(), dense)
    close(J(p, 3, 5.0).toarray()[1], 5 / 3 * dense[1])
    both = scj.sparse_jacobian(f, p, 2, 3.0, argnums=(2, 0))
    assert both.shape == (5, 8)
    close(both(p, 2, 3.0).toarray()[:, 1:], dense)
    close(both(p, 2, 3.0).toarray()[0, 0], 6.0)
    assert scj.sparse_jacobian(f, p, 2, 3.0, argnums=-1).shape == (5, 1)


@pytest.mark.slow
def scaled(x, *, k, power=2.0):
    """A function with keyword arguments, and more to return than is differentiated."""
    y = k * x[1:] ** power * x[:-1]
    return y, {"norm": jnp.sum(y**2), "count": jnp.arange(3)}


POINT, FACTOR = jnp.linspace(0.5, 1.5, 6), jnp.asarray(1.7)


@pytest.mark.fast_cases(r"auto")
@pytest.mark.parametrize("mode", ["auto", *MODES, "templates"])
def test_keyword_arguments_aux_and_value(mode):
    J = scj.sparse_jacobian(
        scaled, POINT, kwargs={"k": 1.0}, mode=mode, has_aux=True, format="bcoo"
    )
    value, aux = scaled(POINT, k=FACTOR)
    dense = jax.jacfwd(scaled, has_aux=True)(POINT, k=FACTOR)[0]
    for call in (lambda f: f, jax.jit):
        found, rest = call(lambda x, k: J(x, k=k))(POINT, FACTOR)
        close(found.todense(), dense)
        jax.tree.map(close, rest, aux)
        (y, rest), found = call(lambda x, k: J.value_and_jacobian(x, k=k))(POINT, FACTOR)
        close(y, value)
        close(rest["norm"], aux["norm"])
        close(found.todense(), dense)
    rows, columns = coordinates(J.sparsity)
    close(J.values(POINT, k=FACTOR), dense[rows, columns])
    known = scj.jacobian_pattern(scaled, POINT, kwargs={"k": 1.0}, has_aux=True)
    assert (known != J.sparsity).nnz == 0
    options = {"kwargs": {"k": FACTOR}, "has_aux": True}
    assert not scj.check_pattern(scaled, POINT, **options).size
    assert len(scj.check_pattern(scaled, POINT, sparsity=np.eye(5, 6), **options)) == 5


def test_hessian_with_keyword_arguments_and_value():
    def cost(x, *, k):
        return jnp.sum(scaled(x, k=k)[0] ** 2)

    options = {"kwargs": {"k": 1.0}}
    H = scj.sparse_hessian(cost, POINT, **options)
    value, found = H.value_and_hessian(POINT, k=FACTOR)
    dense = jax.hessian(cost)(POINT, k=FACTOR)
    close(value, cost(POINT, k=FACTOR))
    close(found.toarray(), dense)
    close(H.matrix(POINT, k=FACTOR).todense(), dense)
    assert (scj.hessian_pattern(cost, POINT, **options) != H.sparsity).nnz == 0
    pair = lambda x, *, k: (cost(x, k=k), 2 * k)  # noqa: E731
    H = scj.sparse_hessian(pair, POINT, **options, has_aux=True, format="symmetric")
    found, aux = H(POINT, k=FACTOR)
    assert aux == 2 * FACTOR
    close(found.todense(), dense)


def test_structures_that_do_not_fit():
    J = scj.sparse_jacobian(lambda x, **kwargs: x, POINT, kwargs={"k": 1.0})
    with pytest.raises(ValueError, match=r"structure .*'m'.*'k'.*keyword arguments"):
        J(POINT, m=1.0)
    with pytest.raises(TypeError, match=r"a pair, \(result, aux\)"):
        scj.sparse_jacobian(lambda x: x, POINT, has_aux=True)
    with pytest.raises(TypeError, match="return real and imaginary parts"):
        scj.sparse_jacobian(lambda x: 1j * x, POINT)


def test_shapes_of_any_rank():
    f = lambda x: jnp.sin(x[:, 1:] * x[:, :-1])[None]  # noqa: E731
    x = point(12).reshape(3, 4)
    J = scj.sparse_jacobian(f, x)
    assert J.shape == (9, 12)
    assert J.coloring.num_colors == 2
    close(J(x).toarray(), jax.jacobian(f)(x).reshape(9, 12))
    scalar = scj.sparse_jacobian(lambda x: x**2, 3.0)
    close(scalar(3.0).toarray(), [[6.0]])


def test_shape_structs_are_enough():
    J = scj.sparse_jacobian(bratu, jax.ShapeDtypeStruct((25,), np.float64))
    assert J.coloring.num_colors == 5


def test_nothing_depends_on_anything():
    x = point(4)
    J = scj.sparse_jacobian(lambda x: jnp.zeros(3) + jnp.floor(x[:3]), x)
    assert J.sparsity.nnz == 0
    assert J(x).shape == (3, 4)
    assert J.values(x).shape == (0,)
    empty = scj.sparse_jacobian(lambda x: x * 2, jnp.zeros(0))
    assert empty(jnp.zeros(0)).shape == (0, 0)
    H = scj.sparse_hessian(lambda x: jnp.sum(x), x)
    assert H(x).nnz == 0
    assert H.pattern.shape == (4, 4)
    assert not H.packed(x).any()


def test_nan_stays_in_its_row():
    x = point(25).at[12].set(jnp.nan)
    A = scj.sparse_jacobian(bratu, x)(x)
    assert np.isnan(A.toarray()).any(axis=1).tolist() == [k == 12 for k in range(25)]


# ---- what the user knows ----


@pytest.mark.fast_cases(r"auto")
@pytest.mark.parametrize("mode", ["auto", *MODES])
def test_given_patterns(mode):
    x = point(20)
    pattern = jax.jacobian(arrow)(x) != 0
    J = scj.sparse_jacobian(arrow, x, sparsity=pattern, mode=mode)
    close(J(x).toarray(), jax.jacobian(arrow)(x))


def test_given_colorings():
    x = point(25)
    pattern = scj.jacobian_pattern(bratu, x)
    C = color(pattern, "row", order="natural")
    J = scj.sparse_jacobian(bratu, x, sparsity=C)
    assert J.coloring is C
    assert J.mode == "reverse"
    close(J(x).toarray(), jax.jacobian(bratu)(x))
    with pytest.raises(ValueError, match="does not fit mode='forward'"):
        scj.sparse_jacobian(bratu, x, sparsity=C, mode="forward")
    H = scj.hessian_pattern(rosenbrock, x)
    star = color(H, "symmetric")
    assert scj.sparse_hessian(rosenbrock, x, sparsity=star).coloring is star
    with pytest.raises(ValueError, match="'symmetric'"):
        scj.sparse_hessian(rosenbrock, x, sparsity=C)
    with pytest.raises(ValueError, match="'direct'"):
        scj.sparse_hessian(rosenbrock, x, sparsity=color(H, "symmetric", method="substitution"))


def test_check_pattern():
    x = point(8)
    f = lambda x: x * x[0] + jnp.roll(x, 1)  # noqa: E731
    assert scj.check_pattern(f, x).shape == (0, 2)
    P = scj.jacobian_pattern(f, x).tolil()
    P[5, 0] = P[7, 6] = 0
    missed = scj.check_pattern(f, x, sparsity=P)
    assert missed.tolist() == [[5, 0], [7, 6]]
    # Of a Hessian, its gradient's.
    g = jax.grad(rosenbrock)
    assert scj.check_pattern(g, x, sparsity=np.eye(8)).shape == (14, 2)
    assert not len(scj.check_pattern(g, x))


def test_check_pattern_in_one_mode():
    x = jnp.array([1.0, 2.0, 3.0])

    def forward_only(x):
        return jax.lax.while_loop(lambda c: c[1] < 3, lambda c: (c[0] * x[0], c[1] + 1), (x, 0))[0]

    missed = scj.check_pattern(forward_only, x, sparsity=np.eye(3))
    assert missed.tolist() == [[1, 0], [2, 0]]

    @jax.custom_vjp
    def reverse_only(x):
        return jnp.round(x)

    reverse_only.defvjp(lambda x: (jnp.round(x), None), lambda _, ct: (ct[::-1],))
    assert scj.check_pattern(reverse_only, x, sparsity=np.eye(3)).tolist() == [[2, 0], [0, 2]]
    assert not len(scj.check_pattern(reverse_only, x))


def test_modes_that_are_not_possible():
    x = point(4)

    @jax.custom_vjp
    def straight(x):
        return jnp.round(x)

    straight.defvjp(lambda x: (jnp.round(x), None), lambda _, ct: (ct,))
    J = scj.sparse_jacobian(straight, x)
    assert J.mode == "reverse"
    close(J(x).toarray(), np.eye(4))
    with pytest.raises(TypeError, match="reverse derivatives only"):
        scj.sparse_jacobian(straight, x, mode="forward")

    def loop(x):
        return jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y * 2, jnp.abs(x) + x[0])

    J = scj.sparse_jacobian(loop, x + 3)
    assert J.mode == "forward"
    close(J(x + 3).toarray(), jax.jacfwd(loop)(x + 3))
    with pytest.raises(ValueError, match="Reverse-mode"):
        scj.sparse_jacobian(loop, x, mode="reverse")


# ---- Hessians ----


@pytest.mark.parametrize("format", ["csc", "bcoo", "dense", "symmetric"])
def test_hessians(format):
    x = point(30)
    H = scj.sparse_hessian(rosenbrock, x, format=format)
    assert H.coloring.num_colors == 3
    dense = jax.hessian(rosenbrock)(x)
    A = H(x)
    if format == "symmetric":
        assert isinstance(A, scj.SymmetricMatrix)
        close(A @ jnp.eye(30), dense)
        close(jax.jit(H)(x).values, A.values)
    elif format == "csc":
        close(A.toarray(), dense)
    else:
        close(A if format == "dense" else A.todense(), dense)


def test_chain_of_hessian_and_factorization():
    x = 0.001 * point(30) + 1
    H = scj.sparse_hessian(rosenbrock, x)
    hessian = jax.jit(jax.hessian(rosenbrock))
    dense = np.asarray(hessian(x))
    F = H.pattern.factorize(np.asarray(H.packed(x)))  # NumPy
    close(F.solve(np.ones(30)), np.linalg.solve(dense, np.ones(30)))
    b = jnp.ones(30)
    close(scj.solve(H.matrix(x), b), np.linalg.solve(dense, np.ones(30)))

    def curvature(x):
        return scj.logdet(H.matrix(x))

    gradient = jax.jit(jax.grad(curvature))(x)
    wanted = jax.jit(jax.grad(lambda x: jnp.linalg.slogdet(hessian(x))[1]))(x)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-8)
    assert H.pattern is H.pattern


@pytest.mark.slow
def test_arrow_hessian_has_two_colors():
    f = lambda x: jnp.sum(x[0] * x[1:] ** 2) + x[0] ** 2  # noqa: E731
    x = point(40)
    H = scj.sparse_hessian(f, x)
    assert H.coloring.num_colors == 2
    close(H(x).toarray(), jax.hessian(f)(x))


@pytest.mark.slow
def test_a_missing_diagonal_is_zero_when_packed():
    f = lambda x: jnp.sum(x[:-1] * x[1:])  # noqa: E731
    x = point(5)
    H = scj.sparse_hessian(f, x)
    packed = sp.csc_array((np.asarray(H.packed(x)), H.pattern.indices, H.pattern.indptr))
    close(packed.toarray(), np.tril(jax.hessian(f)(x)))


@pytest.mark.slow
def test_hessian_over_several_arguments():
    f = lambda a, b: jnp.sum(a**2 * b)  # noqa: E731
    a, b = point(4), point(4, 1)
    H = scj.sparse_hessian(f, a, b, argnums=(0, 1))
    joint = jax.hessian(lambda v: f(v[:4], v[4:]))(jnp.concatenate([a, b]))
    close(H(a, b).toarray(), joint)


# ---- bad input ----


def test_types():
    with pytest.raises(TypeError, match="int64 cannot be differentiated"):
        scj.sparse_jacobian(lambda x: x * 2.0, jnp.arange(3))
    with pytest.raises(TypeError, match=r"complex128 cannot be differentiated.*imaginary parts"):
        scj.sparse_jacobian(lambda x: x * 2.0, jnp.ones(3) + 0j)
    with pytest.raises(TypeError, match="a result of type int64"):
        scj.sparse_jacobian(lambda x: jnp.round(x).astype(int), jnp.ones(3))
    J = scj.sparse_jacobian(lambda x: x * 2.0, jnp.ones(3))
    with pytest.raises(TypeError, match="int64"):
        J(jnp.arange(3))


def test_shapes_that_change():
    J = scj.sparse_jacobian(bratu, point(25))
    with pytest.raises(ValueError, match=r"shapes \[\(36,\)\], and .* for \[\(25,\)\]: call"):
        J(point(36))
    with pytest.raises(ValueError, match="prepared for"):
        J.values(point(25), 1.0)
    with pytest.raises(ValueError, match="prepared for"):
        scj.sparse_hessian(rosenbrock, point(4))(point(5))


def test_names_and_numbers():
    x = point(4)
    with pytest.raises(ValueError, match="mode must be"):
        scj.sparse_jacobian(arrow, x, mode="sideways")
    with pytest.raises(ValueError, match="mode must be"):
        scj.jacobian_pattern(arrow, x, mode="bidirectional")
    with pytest.raises(ValueError, match="format must be"):
        scj.sparse_jacobian(arrow, x, format="symmetric")
    with pytest.raises(ValueError, match="format must be"):
        scj.sparse_hessian(rosenbrock, x, format="lil")
    with pytest.raises(ValueError, match="chunk_size"):
        scj.sparse_jacobian(arrow, x, chunk_size=0)
    with pytest.raises(ValueError, match="argnums"):
        scj.sparse_jacobian(arrow, x, argnums=1)
    with pytest.raises(ValueError, match="on_unknown"):
        scj.jacobian_pattern(arrow, x, on_unknown="ignore")
    with pytest.raises(ValueError, match="one number, not 4"):
        scj.sparse_hessian(arrow, x)


def test_patterns_that_do_not_fit():
    x = point(4)
    with pytest.raises(ValueError, match=r"sparsity has shape \(3, 3\)"):
        scj.sparse_jacobian(arrow, x, sparsity=np.eye(3))
    with pytest.raises(ValueError, match=r"sparsity has shape \(3, 3\)"):
        scj.sparse_hessian(rosenbrock, x, sparsity=np.eye(3))
    with pytest.raises(ValueError, match=r"not symmetric: one of the entries \(1, 0\)"):
        scj.sparse_hessian(rosenbrock, x, sparsity=np.triu(np.ones((4, 4))))
    with pytest.raises(ValueError, match="sparsity has shape"):
        scj.check_pattern(arrow, x, sparsity=np.eye(3))


# ---- operations without a rule ----


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("format", ["csc", "csr", "coo", "bcoo", "dense"])
def test_numbers_of_16_bits(dtype, format):
    x = jnp.arange(1.0, 5.0, dtype=dtype)
    A = scj.sparse_jacobian(lambda x: x[1:] * x[:-1], x, format=format)(x)
    assert A.dtype == ("float32" if format in ("csc", "csr", "coo") else dtype)
    assert str(A)
    dense = np.asarray(A if format == "dense" else A.todense()).astype(float)
    assert np.array_equal(dense, [[2, 1, 0, 0], [0, 3, 2, 0], [0, 0, 4, 3]])


def test_an_argument_is_differentiated_once():
    with pytest.raises(ValueError, match="twice"):
        scj.jacobian_pattern(lambda x, y: x * y, jnp.ones(2), jnp.ones(2), argnums=(0, -2))


@pytest.mark.parametrize(("f", "name"), [
    (lambda x, i: x[i] ** 2, "gather"),
    (lambda x, i: jnp.zeros(x.size).at[i].add(x**2), "scatter-add"),
    (lambda x, i: jax.lax.dynamic_slice(x, (i[0],), (3,)) ** 2, "dynamic_slice"),
    (lambda x, i: jax.lax.dynamic_update_slice(jnp.zeros(x.size), x[:2] ** 2, (i[0],)),
     "dynamic_update_slice"),
    (lambda x, i: jax.lax.map(lambda k: x[k] ** 2, i), "gather"),
    (lambda x, i: x[(70 * x).astype(int)] ** 2, "gather"),
])  # fmt: skip
def test_an_index_that_is_not_known_is_told(f, name):
    x, i = jnp.ones(70), jnp.arange(70)[::-1]
    told = rf"'{name}' has an index that is not known into 70 elements, at .*{__file__}.*constants"
    with pytest.warns(_exceptions.SparsityWarning, match=told):
        P = scj.jacobian_pattern(f, x, i)
    assert P.nnz == P.shape[0] * (2 if name == "dynamic_update_slice" else 70)
    with pytest.raises(NotImplementedError, match=name):
        scj.jacobian_pattern(f, x, i, on_unknown="raise")
    assert scj.jacobian_pattern(f, x[:9], i[:9]).nnz  # no word of a few elements


@pytest.mark.parametrize("f", [
    jnp.sort,
    jnp.median,
    lambda x: x * x[jnp.argmax(x)],
    lambda x: jax.lax.top_k(x, 3)[0],
    lambda x: jnp.interp(x, np.linspace(0, 1, 99), np.linspace(0, 1, 99) ** 2),
    lambda x: x * jnp.searchsorted(np.linspace(0, 1, 99), x),
    lambda x: jnp.linalg.det(jnp.diag(x) + jnp.outer(x, x)),
    lambda x: x[np.arange(70)[::-1]],
])  # fmt: skip
def test_no_word_where_values_choose_or_indices_are_known(f):
    assert scj.jacobian_pattern(f, jnp.ones(70), on_unknown="raise").nnz


def test_unknown_operations():
    @jax.custom_jvp
    def solved(x):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda x: 2 * np.asarray(x), like, x)

    solved.defjvp(lambda p, t: (solved(*p), solved(*t)))
    g = lambda x: jnp.concatenate([x[:2], solved(x[2:5])])  # noqa: E731
    assert scj.SparsityWarning is _exceptions.SparsityWarning  # the one of all frameworks
    with pytest.warns(scj.SparsityWarning, match="'pure_callback' has no sparsity rule"):
        P = scj.jacobian_pattern(g, point(6))
    wanted = np.zeros((5, 6))
    wanted[0, 0] = wanted[1, 1] = 1
    wanted[2:, 2:5] = 1
    assert np.array_equal(P.toarray(), wanted)
    with pytest.raises(NotImplementedError, match="register_sparsity_rule"):
        scj.jacobian_pattern(g, point(6), on_unknown="raise")

    def rule(operands, results, params):
        assert operands[0].shape == results[0].shape == (3,)
        return [[sp.eye_array(3)]]

    scj.register_sparsity_rule("pure_callback", rule)
    try:
        assert scj.jacobian_pattern(g, point(6)).nnz == 5
        scj.register_sparsity_rule("pure_callback", lambda *_: [[sp.eye_array(2)]])
        with pytest.raises(ValueError, match=r"matrix of shape \(2, 2\)"):
            scj.jacobian_pattern(g, point(6))
        scj.register_sparsity_rule("pure_callback", lambda *_: [])
        with pytest.raises(ValueError, match="returned 0 lists"):
            scj.jacobian_pattern(g, point(6))
        scj.register_sparsity_rule("pure_callback", lambda *_: [[True]])
        assert scj.jacobian_pattern(g, point(6)).nnz == 11
        scj.register_sparsity_rule("pure_callback", lambda *_: [[None]])
        assert scj.jacobian_pattern(g, point(6)).nnz == 2
    finally:
        del RULES["pure_callback"]


# ---- no cliffs ----


def test_large_problems_stay_sparse_and_quick():
    n = 100_000
    P = scj.hessian_pattern(rosenbrock, jax.ShapeDtypeStruct((n,), float))
    assert P.nnz == 3 * n - 2

    def heat(x):
        step = lambda i, u: u.at[1:-1].add(0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]))  # noqa: E731
        return jax.lax.fori_loop(0, 50, step, x)

    P = scj.jacobian_pattern(heat, jax.ShapeDtypeStruct((10_000,), float))
    assert 1_000_000 < P.nnz < 1_010_000

    def chain(x):
        step = lambda c, v: (v, -((v - 0.9 * c) ** 2))  # noqa: E731
        return jnp.sum(jax.lax.scan(step, x[0], x[1:])[1])

    assert scj.hessian_pattern(chain, jax.ShapeDtypeStruct((n,), float)).nnz == 3 * n - 2


def test_a_model_on_the_factorization():
    """Follow our own primitives, for a Gaussian field of two components."""
    path = lambda k: sp.diags_array([1.0, 3.0, 1.0], offsets=[-1, 0, 1], shape=(k, k))  # noqa: E731
    A = sp.block_diag([path(4), path(3)])
    P = scj.analyze(A)
    a = jnp.asarray(P.values(sp.csc_array(A)))

    def f(b):
        return scj.solve(scj.SymmetricMatrix(P, a), b)

    x = point(7)
    J = scj.sparse_jacobian(f, x)
    assert J.sparsity.nnz == 16 + 9
    close(J(x).toarray(), np.linalg.inv(A.toarray()))
    H = scj.sparse_hessian(lambda a: scj.logdet(scj.SymmetricMatrix(P, a)), a)
    close(H(a).toarray(), jax.hessian(lambda a: scj.logdet(scj.SymmetricMatrix(P, a)))(a))
    assert H.shape == (len(P.indices),) * 2
