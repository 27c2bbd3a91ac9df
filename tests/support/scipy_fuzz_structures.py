"""Cases for the fuzzer: products, pencils, trees, finite differences, models, pickles, files."""

import contextlib
import io
import pickle

import numpy as np
import scipy.sparse as sp

import sparsechol as sc
from sparsechol import models
from sparsechol.coloring import Coloring, Templates, color
from support.helpers import naive_etree
from support.scipy_fuzz import (
    REFUSALS,
    WILD,
    Argument,
    attempt,
    chance,
    close,
    clothes,
    corrupt,
    inside,
    pick,
    sparse_clothes,
    unfit,
)

NONSENSE = [-1, 0, 1.5, np.nan, "x", None, [], {}, b"", True, 1j, np.array([[1]])]


def is_large(value):
    """Whether a sparse array says that it is large; it may be right, and then costs memory."""
    return sp.issparse(value) and max(value.shape, default=0) > 10_000


# ---- products ----------------------------------------------------------------------------------


def gram(fuzz):
    """A^H W A + B."""
    rng, n = fuzz.rng, fuzz.n
    m, block = int(rng.integers(0, 7)), int(pick(rng, [1, 1, 2]))
    m -= m % block
    A = rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.5)
    if fuzz.complex:
        A = A + 1j * A[:, ::-1]
    B = fuzz.matrix() if chance(rng, 0.5) else None
    pattern_of_b = None if B is None else sp.csc_array(B)
    G = attempt(lambda: sc.gram(A, pattern_of_b, block=block, **fuzz.threads()), [A], True)
    w = rng.uniform(1, 2, m) if block == 1 else np.tile(np.eye(2) + 0.5, (m // 2, 1, 1))
    W = np.diag(w) if block == 1 else sp.block_diag([np.zeros((0, 0)), *w]).toarray()
    a = attempt(lambda: G.entries(A), [A], True)
    b = None if B is None else sc.analyze(pattern_of_b).values(pattern_of_b)
    product = A.conj().T @ W @ A + (0 if B is None else B)
    packed = fuzz.packed(product, G.pattern)
    attempt(lambda: G.values(a, w, b, **fuzz.threads()), [a, w], True, packed, a.dtype)
    attempt(lambda: G.values(sp.csr_array(A), w, pattern_of_b), [A, w], True, packed, a.dtype)
    out = np.full(packed.shape, np.nan, np.result_type(a, w, *([] if b is None else [b])))
    close(G.values(a, w, b, out=out), packed, a.dtype)
    attempt(lambda: G.tangent(a, w, da=a, dw=w, db=b), [a, w], True)
    attempt(lambda: G.adjoint(packed, a, w), [packed, a, w], True)
    assert G.memory >= 0
    assert G.shape == (m, n)
    assert pickle.loads(pickle.dumps(G)) == G
    assert G.digest
    assert G.weight_shape
    wrong = clothes(rng, A)
    if is_large(wrong.value):
        return
    attempt(lambda: G.entries(wrong.value), [wrong.value], False if wrong.truth is None else None)
    attempt(lambda: G.values(wrong.value), [wrong.value], None)
    attempt(lambda: sc.gram(wrong.value), [wrong.value], None)
    attempt(lambda: sc.gram(A, wrong.value), [wrong.value], None)
    for name in ("block", "ordering", "threads"):
        option = {name: pick(rng, NONSENSE)}
        attempt(lambda option=option: sc.gram(A, **option), [A], None)
    bad = pick(rng, [a[:-1], np.append(a, 1), a.astype(object), *NONSENSE])
    attempt(lambda: G.values(bad), [bad], None)
    attempt(lambda: G.values(a, bad), [bad], None)
    attempt(lambda: G.values(a, w, bad), [bad], None)
    attempt(lambda: G.tangent(a, w, da=bad), [bad], None)
    attempt(lambda: G.adjoint(bad, a, w), [bad], None)
    not_out = pick(rng, [packed[::2], packed.astype("f2"), packed.tolist(), a, 3])
    attempt(lambda: G.values(a, out=not_out), [], None)


def pencil(fuzz):
    """logdet_pencil."""
    rng = fuzz.rng
    A, B = fuzz.matrix(), fuzz.matrix()
    f = attempt(lambda: sc.logdet_pencil(A, B, (0.0, 1.0)), [A, B], True)
    t = rng.uniform(0, 1, 3)
    right = [np.linalg.slogdet(A + s * B)[1] for s in t]
    close(f(t), right, np.float32)
    attempt(lambda: f.derivative(t, 2), [t], True)
    at = pick(rng, [*NONSENSE, 7.0, [0.1, np.nan]])
    attempt(lambda: f(at), [], None)
    order = pick(rng, [0, 1, 5, *NONSENSE])
    attempt(lambda: f.derivative(0.5, order), [], None)
    bad = clothes(rng, B)
    interval = pick(rng, [(0, 1), (1, 0), (0, np.inf), (0, np.nan), 3, None, "ab", (-1e3, 0)])
    if not is_large(bad.value):
        attempt(lambda: sc.logdet_pencil(A, bad.value, (0.0, 0.1)), [bad.value], None)
    attempt(lambda: sc.logdet_pencil(A, B, interval), [A, B], None)


def pencil_pair(fuzz):
    """logdet_pencil_pair."""
    rng = fuzz.rng
    A, B, C = fuzz.matrix(), fuzz.matrix(), fuzz.matrix()
    f = attempt(lambda: sc.logdet_pencil_pair(A, B, C, ((0.0, 1.0), (0.0, 2.0))), [A, B, C], True)
    s, t = rng.uniform(0, 1, 3), rng.uniform(0, 2, 3)
    right = [np.linalg.slogdet(A + i * B + j * C)[1] for i, j in zip(s, t, strict=True)]
    close(f(s, t), right, np.float32)
    attempt(lambda: f.derivative(s, t, (1, 2)), [s, t], True)
    at = pick(rng, [*NONSENSE, 7.0, [0.1, np.nan]])
    attempt(lambda: f(at, 0.5), [], None)
    order = pick(rng, [0, (0, 1), (5, -1), (0, 1, 2), *NONSENSE])
    attempt(lambda: f.derivative(0.5, 0.5, order), [], None)
    bad = clothes(rng, B)
    box = pick(rng, [((0, 1), (1, 0)), ((0, np.inf),) * 2, ((0, np.nan),) * 2, 3, None, "ab"])
    if not is_large(bad.value):
        narrow = ((0.0, 0.1), (0.0, 0.1))
        attempt(lambda: sc.logdet_pencil_pair(A, bad.value, C, narrow), [bad.value], None)
    attempt(lambda: sc.logdet_pencil_pair(A, B, C, box), [A, B, C], None)


# ---- trees -------------------------------------------------------------------------------------


def trees(fuzz):
    """elimination_tree, column_counts, postorder, and those of an analysis."""
    rng, n = fuzz.rng, fuzz.n
    lower = chance(rng, 0.5)
    A = clothes(rng, np.tril(fuzz.mask) * 1.0 if lower else np.triu(fuzz.mask) * 1.0)
    if is_large(A.value):
        return
    must = False if A.truth is None else None
    if isinstance(A.value, np.ndarray) and A.value.dtype.kind in "fc":
        must = None  # NaN is an entry like any other
    parent = attempt(lambda: sc.elimination_tree(A.value, lower=lower), [A.value], must)
    counts = attempt(lambda: sc.column_counts(A.value, lower=lower), [A.value], must)
    if isinstance(parent, np.ndarray) and isinstance(counts, np.ndarray):
        attempt(lambda: sc.postorder(parent), [parent], True)
        assert parent.shape == counts.shape
    S = fuzz.analysis()
    L = np.zeros((n, n), bool)
    indptr, indices = S.factor_pattern()
    L[indices, np.repeat(np.arange(n), np.diff(indptr))] = True
    assert np.array_equal(S.parent, naive_etree(L))
    assert np.array_equal(S.column_counts, L.sum(axis=0))
    assert np.array_equal(S.postorder, sc.postorder(S.parent))
    wrong = S.parent.astype(np.int64)
    if n:
        wrong[rng.integers(n)] = pick(rng, [*WILD, 0, n, -2])
    attempt(lambda: sc.postorder(wrong), [wrong], None)
    nonsense = pick(rng, NONSENSE)
    attempt(lambda: sc.postorder(nonsense), [nonsense], None)
    for product in ("AAt", "AtA", pick(rng, ["x", 3, b"AAt"])):
        attempt(lambda product=product: sc.analyze(A.value, product=product), [A.value], None)
    C = clothes(rng, np.eye(n, 2))
    if not is_large(C.value):
        attempt(lambda: sc.analyze(fuzz.mask, reserve=C.value), [C.value], None)


# ---- finite differences ------------------------------------------------------------------------


def differences(fuzz):
    """approx_jacobian and approx_hessian of linear functions."""
    rng, n = fuzz.rng, fuzz.n
    J = fuzz.matrix().real * (rng.random((n, n)) < 0.6)
    H, x = fuzz.matrix().real, rng.standard_normal(n)
    method = pick(rng, ["2-point", "3-point", "cs"])
    truth = np.float32

    def jacobian(A, **options):
        return sc.approx_jacobian(lambda y: J @ y, x, A, method=method, **options)

    def hessian(A, **options):
        return sc.approx_hessian(lambda y: H @ y, x, A, method=method, **options)

    close(attempt(lambda: jacobian(J), [J, x], True), J, truth)
    close(attempt(lambda: hessian(H), [H, x], True), H, truth)
    sparsity, wrong_x = clothes(rng, J), fuzz.vectors(sparse=False).value
    if is_large(sparsity.value):
        return
    attempt(lambda: jacobian(sparsity.value), [sparsity.value], None)
    attempt(lambda: hessian(sparsity.value), [sparsity.value], None)
    attempt(lambda: sc.approx_jacobian(lambda y: J @ y, wrong_x, J), [wrong_x], None)
    option = {pick(rng, ["rel_step", "abs_step", "f0"]): pick(rng, [*NONSENSE, x, x[:-1]])}
    attempt(lambda: jacobian(J, **option), [], None)
    attempt(lambda: hessian(H, **option), [], None)
    wrong = pick(rng, [lambda y: y[:-1], lambda y: None, lambda y: "x", lambda y: y * np.nan])
    attempt(lambda: sc.approx_jacobian(wrong, x, J), [], None)


def files(fuzz):
    """Colorings in files, whole or damaged, and what a coloring and templates tell."""
    rng = fuzz.rng
    A = fuzz.matrix()
    C = color(A, pick(rng, ["column", "row", "symmetric", "bidirectional"]), budget=0.0)
    assert C.how
    assert C.compressed_shapes
    assert C.num_colors >= C.lower_bound >= 0
    T = Templates(C.sparsity, (3, 1), C)
    assert T.how
    assert T.num_colors == C.num_colors
    file = io.BytesIO()
    C.save(file)
    text = bytearray(file.getvalue())
    for _ in range(3):
        damaged = text.copy()
        if chance(rng, 0.3):
            damaged = damaged[: rng.integers(len(damaged))]
        else:
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        with contextlib.suppress(*REFUSALS, NotImplementedError):
            Coloring.load(io.BytesIO(damaged)).check()


# ---- models ------------------------------------------------------------------------------------


def mesh(rng):
    """Return arguments of a mesh, sometimes wrong."""
    points, triangles = models.triangulation(3, int(rng.integers(2, 5)), seed=pick(rng, [None, 1]))
    if chance(rng, 0.4):
        triangles = triangles.astype(pick(rng, [np.int32, np.uint64, float, object]))
        if chance(rng, 0.7) and triangles.dtype.kind != "O":
            value = pick(rng, WILD if triangles.dtype.kind in "if" else [2**63, 99])
            with contextlib.suppress(OverflowError):
                triangles[0, 0] = value
    if chance(rng, 0.3):
        points = pick(rng, [points[:, :1], points * 0, points * np.nan, points.tolist(), points.T])
    return points, triangles


def size(rng):
    return pick(rng, [1, 2, 3, 4, 5, 7, *NONSENSE, np.int8(3), np.array(4)])


SHAPES = [(2, 3), (4,), (2, 2, 2), (1, 3), (), (2, -1), (2, 1.5), 3, None, "ab"]

BUILDERS = {
    "iid": lambda rng: models.iid(size(rng)),
    "rw1": lambda rng: models.rw1(steps(rng), period=period(rng)),
    "rw2": lambda rng: models.rw2(steps(rng), period=period(rng)),
    "seasonal": lambda rng: models.seasonal(size(rng), size(rng)),
    "ar1": lambda rng: models.ar1(size(rng)),
    "arp": lambda rng: models.arp(size(rng), size(rng), by=pick(rng, ["pacf", "phi", "x"])),
    "pspline": lambda rng: models.pspline(size(rng), order=size(rng)),
    "thin_plate": lambda rng: models.thin_plate(pick(rng, SHAPES)),
    "spde_lattice": lambda rng: models.spde_lattice(
        pick(rng, SHAPES), alpha=pick(rng, [1, 2, 3, 0, 1.5]), mass=pick(rng, ["lumped", "x"]),
        spacing=pick(rng, [1.0, 0.5, 0.0, -1.0, np.nan, (1.0, 2.0), "x"]),
    ),
    "spde_mesh": lambda rng: models.spde_mesh(
        *mesh(rng), alpha=pick(rng, [1, 2, 3, 0]), mass=pick(rng, ["lumped", "consistent", 3])
    ),
    "finite_elements": lambda rng: models.finite_elements(*mesh(rng)),
    "mass_matrix": lambda rng: models.mass_matrix(*mesh(rng)),
    "barycentric": lambda rng: models.barycentric(
        *mesh(rng), pick(rng, [[(0.1, 0.1)], [(9, 9)], [], 3, None, [(np.nan, 0)], "ab"])
    ),
    "triangulation": lambda rng: models.triangulation(size(rng), size(rng)),
    "spde_parameters": lambda rng: models.spde_parameters(
        range_=pick(rng, [0.1, 0.0, -1.0, np.nan]), alpha=pick(rng, [1, 2, 3]),
        dim=pick(rng, [1, 2, 3]),
    ),
    "matern_spde": lambda rng: models.matern_spde(size(rng), size(rng), nu=pick(rng, [1, 2, 0])),
    "space_time": lambda rng: models.space_time(size(rng), size(rng), size(rng)),
    "grid_laplacian": lambda rng: models.grid_laplacian(pick(rng, SHAPES)),
    "mixed_model": lambda rng: models.mixed_model(*[size(rng) for _ in range(rng.integers(3))]),
    "block_arrow": lambda rng: models.block_arrow(size(rng), size(rng), size(rng)),
    "adjacency": lambda rng: models.adjacency(*edges(rng)),
}  # fmt: skip


def steps(rng):
    gaps = rng.uniform(0.5, 1, 4)
    return pick(rng, [size(rng), np.cumsum(gaps), -np.cumsum(gaps), gaps * np.nan, [], [gaps]])


def period(rng):
    return pick(rng, [None, None, 12.0, 0.1, -1.0, np.nan, "x"])


def edges(rng):
    pairs = rng.integers(0, 5, (4, 2))
    if chance(rng, 0.4):
        pairs = pairs.astype(pick(rng, [np.int64, np.uint64, float, np.int8]))
        with contextlib.suppress(OverflowError):
            pairs[0, 0] = pick(rng, [-1, -(2**31), 2**32, 2**40, 2**63 - 1, 7, 100])
    return pick(rng, [pairs, pairs[:, :1], [], [(0, 1), (1, 2)], 3, "ab"]), pick(rng, [None, 5, -1])


def model(fuzz):
    """Build models from arguments of any kind; what is built is what it says."""
    rng = fuzz.rng
    for name in rng.permutation(list(BUILDERS))[:3].tolist():
        state = rng.bit_generator.state

        def build(name=name, state=state):
            rng.bit_generator.state = state  # the same arguments
            return BUILDERS[name](rng)

        check_model(attempt(build, [], None), rng)


def graphs(fuzz):
    """Build models on a graph in any clothes."""
    rng, n = fuzz.rng, fuzz.n
    W = np.triu(fuzz.mask, 1) * rng.uniform(0.5, 2, (n, n))
    A = clothes(rng, W + W.T)
    if is_large(A.value):
        return
    build = pick(rng, [models.besag, models.car, models.leroux, models.bym2])
    check_model(attempt(lambda: build(A.value), [A.value], None), rng)


def check_model(found, rng):
    """Check that a model is semidefinite, with the null space that it says."""
    if isinstance(found, models.PrecisionFamily):
        assert found.pattern.shape == found.shape
        names = [*found.parameters, *(["none"] if chance(rng, 0.2) else [])]
        attempt(lambda: found.terms(**dict.fromkeys(names, 0.3)), [], None)
        values = {name: pick(rng, [0.3, 0.5, *NONSENSE]) for name in found.parameters}
        attempt(lambda: found(**values), [], None)
        found = attempt(lambda: found(**dict.fromkeys(found.parameters, 0.5)), [], None)
    if isinstance(found, sc.models.PrecisionModel):
        Q = found.Q.toarray()
        values = np.linalg.eigvalsh(Q)
        np.testing.assert_allclose(Q, Q.T, rtol=1e-12, atol=1e-12 * np.abs(Q).max(initial=0))
        assert values.min(initial=0) > -1e-9 * max(1, np.abs(Q).max(initial=0))
        if found.null_space is not None:
            V = found.null_space
            V = V.toarray() if sp.issparse(V) else V
            assert np.abs(Q @ V).max(initial=0) < 1e-9 * max(1, np.abs(Q).max(initial=0))
        assert 0 <= found.rank <= found.shape[0]
        attempt(lambda: models.generalized_variances(found), [], None)
        attempt(lambda: models.scale(found), [], None)
        other = pick(rng, [models.iid(2), models.rw1(3), models.ar1(2), 3, None])
        attempt(lambda: models.kron(found, other).shape, [], None)
        attempt(lambda: models.kron_sum(found, other).shape, [], None)


def own_models(fuzz):
    """Make models of matrices in any clothes."""
    rng, n = fuzz.rng, fuzz.n
    A = sparse_clothes(rng, fuzz.matrix().real, ["csc"])
    V = sparse_clothes(rng, np.eye(n, 1), ["csc"])
    if chance(rng, 0.7):
        A = corrupt(rng, A)
    if chance(rng, 0.5):
        V = corrupt(rng, V)
    if is_large(A.value) or is_large(V.value):
        return
    made = attempt(lambda: models.PrecisionModel(A.value, V.value), [A.value], None)
    if isinstance(made, models.PrecisionModel):
        attempt(lambda: models.kron(made, models.iid(2)).shape, [], None)
        attempt(lambda: models.scale(made), [], None)
    family = attempt(
        lambda: models.PrecisionFamily((A.value,), lambda t: (t,), {"t": (0, 1)}), [A.value], None
    )
    if isinstance(family, models.PrecisionFamily):
        attempt(lambda: family.pattern, [], None)
        attempt(lambda: family(t=0.5), [], None)


# ---- pickles -----------------------------------------------------------------------------------


def pickles(fuzz):
    """Flip a byte in an array of a pickle: an analysis is refused, a factor stays in bounds."""
    rng = fuzz.rng
    F = fuzz.factor()
    thing = pick(rng, [F.pattern, F, sc.ldl(sp.csc_array(fuzz.H)), sc.gram(fuzz.H)])
    buffers = []
    text = pickle.dumps(thing, 5, buffer_callback=buffers.append)
    arrays = [bytearray(buffer) for buffer in buffers]
    k = int(rng.integers(len(arrays)))
    if not arrays[k]:
        return
    arrays[k][rng.integers(len(arrays[k]))] ^= 1 << rng.integers(8)
    try:
        twin = pickle.loads(text, buffers=arrays)
    except ValueError as error:
        if "damaged" not in str(error):
            raise
        return
    assert not isinstance(thing, sc.SymbolicFactor | sc.Gram), "not refused"
    b = np.ones(fuzz.n)
    attempt(lambda: twin.solve(b), [b], None)
    attempt(twin.diag_inverse, [], None)


def tells(fuzz):
    """Call what tells of an analysis and of the package."""
    S = fuzz.analysis()
    assert S.digest == pickle.loads(pickle.dumps(S)).digest
    assert S.memory.factor >= 0
    assert S.ordering.method
    assert S.shape == (fuzz.n, fuzz.n)
    assert inside(S)[np.diag_indices(fuzz.n)].all()
    with contextlib.redirect_stdout(io.StringIO()):
        attempt(sc.show_config, [], True)
    mode = pick(fuzz.rng, ["dicts", *NONSENSE])
    attempt(lambda: type(sc.show_config(mode)), [], None)
    wrong = unfit(fuzz.rng, np.ones((2, 2)))
    assert isinstance(wrong, Argument)
    attempt(lambda: S.values(wrong.value), [wrong.value], None)


OPERATIONS = [
    gram, pencil, pencil_pair, trees, differences, files, model, model, graphs, own_models, pickles,
    tells,
]  # fmt: skip
