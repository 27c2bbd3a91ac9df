"""What the fast fuzzer (`support.fuzz_calls`) calls: entry points, right arguments, right results.

A `Base` is a small matrix with objects of the package on it, made once and used in many calls.
Results are compared with dense NumPy where `truth` gives them, else with that of the right
arguments.
"""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

import sparsechol as sc
from sparsechol import derivatives as dv
from sparsechol import models
from sparsechol.coloring import Coloring, color
from support.fuzz_damage import EITHER, WILD, pick
from support.helpers import KINDS, random_pattern, random_values

FORMATS = ["csc", "csc", "csc", "csr", "csr", "coo", "bsr", "dia", "lil", "dok"]
DTYPES = ["f8", "f8", "c16", "f4", "c8"]


class Entry(NamedTuple):
    """An entry point.

    Attributes
    ----------
    call : called with the arguments; returns what is compared.
    arguments : right ones, each of which may be damaged.
    truth : the right result of them, by dense NumPy; None if that of the call is taken.
    free : places of arguments that may have another length.
    unread : whether some elements have no part in the result, whose NaN is not seen.
    """

    call: Callable[..., Any]
    arguments: tuple
    truth: Any = None
    free: tuple = ()
    unread: bool = False


class Base:
    """A matrix H with a pattern, factors of it, and the entries that are called with them."""

    def __init__(self, rng):
        self.rng = rng
        self.n = n = int(rng.integers(3, 10))
        self.dtype = np.dtype(pick(rng, DTYPES))
        self.mask = random_pattern(rng, n, pick(rng, KINDS), 0.3)
        self.H, self.other = self.matrix(), self.matrix()
        self.K = self.H.copy()
        self.K[np.diag_indices(n)] *= np.where(np.arange(n) % 3, 1, -1)
        self.lower = rng.random() < 0.5
        self.A = self.stored(self.H)
        self.S = sc.analyze(self.A, ordering=pick(rng, ["amd", "natural", "auto"]))
        self.F = self.S.factorize(self.A)
        self.LDL = self.S.ldl(self.stored(self.K))
        self.V = self.packed(self.H)
        self.batch = self.S.factorize_batch(np.stack([self.V, self.packed(self.other)]))
        self.inverse = np.linalg.inv(self.H)
        self.entries = {}
        for some in ENTRIES:
            self.entries |= some(self)

    def matrix(self):
        return random_values(self.rng, self.mask, self.dtype)

    def stored(self, M):
        """A matrix in some format; its lower triangle only, or all of it."""
        M = np.tril(M) if self.lower else M
        return sp.csc_array(M).asformat(pick(self.rng, FORMATS))

    def packed(self, M):
        S = self.S
        return np.ascontiguousarray(M[S.indices, np.repeat(np.arange(self.n), np.diff(S.indptr))])

    def update(self):
        """A column that fits into the pattern, twice."""
        C = np.zeros((self.n, 2), self.dtype)
        rows = np.flatnonzero(self.mask[:, self.rng.integers(self.n)])[:2]
        if len(rows) == 2 and not self.mask[rows[0], rows[1]]:
            rows = rows[:1]
        C[rows] = self.rng.standard_normal((len(rows), 2)) * 0.3
        return C

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)


def with_all(F):
    """What a factor holds."""
    return F.solve(np.ones(F.shape[0]))


# ---- one call each -----------------------------------------------------------------------------


def functions(base):
    A, K, H = base.A, base.stored(base.K), base.H
    b, B = base.normal(base.n), base.stored(base.other * 0.1)
    x, L = base.inverse @ b, sp.csc_array(np.tril(H)).asformat(pick(base.rng, FORMATS))
    logdet = np.linalg.slogdet(H)[1]
    ones = np.ones(base.n)
    order = base.rng.permutation(base.n)
    tree = base.S.parent
    return {
        "solve": Entry(sc.solve, (A, b), x),
        "solve, options": Entry(
            lambda A, b, order, threads: sc.solve(A, b, ordering=order, threads=threads),
            (A, b, order, 2), x,
        ),
        "logdet": Entry(sc.logdet, (A,), logdet),
        "cholesky": Entry(lambda A: with_all(sc.cholesky(A)), (A,), base.inverse @ ones),
        "partial_inverse": Entry(
            lambda A: sc.partial_inverse(A).diagonal(), (A,), np.diag(base.inverse)
        ),
        "ldl": Entry(
            lambda K: with_all(sc.ldl(K, ordering="amd")), (K,), np.linalg.solve(base.K, ones)
        ),
        "ldl, options": Entry(
            lambda signs, pair: with_all(sc.ldl(A, signs=signs, regularize=pair)),
            (ones, 1e-9),
        ),
        "analyze": Entry(lambda A: sc.analyze(A, ordering="amd").perm, (A,)),
        "analyze, options": Entry(
            lambda order, reserve: sc.analyze(A, ordering=order, reserve=reserve).perm,
            (order, sp.csc_array(np.eye(base.n, 2))),
        ),
        "solve_triangular": Entry(
            lambda L, b: sc.solve_triangular(L, b, trans="T"), (L, b),
            np.linalg.solve(np.tril(H).T, b),
        ),
        "elimination_tree": Entry(sc.elimination_tree, (A,)),
        "column_counts": Entry(sc.column_counts, (A,)),
        "postorder": Entry(sc.postorder, (tree,)),
        "logdet_pencil": Entry(
            lambda A, B, t: sc.logdet_pencil(A, B, (0.0, 0.1))(t), (A, B, np.array([0.05])),
            [np.linalg.slogdet(H + 0.005 * base.other)[1]], free=(2,),
        ),
    }  # fmt: skip


def analyses(base):
    S, A, H = base.S, base.A, base.H
    two = np.stack([base.V, base.V])
    logdet = np.linalg.slogdet(H)[1]
    return {
        "values": Entry(S.values, (A,), base.V),
        "factorize": Entry(lambda A: S.factorize(A).logdet(), (A,), logdet),
        "factorize, packed": Entry(
            lambda v, threads: S.factorize(v, threads=threads).logdet(), (base.V, 2), logdet
        ),
        "factorize_batch": Entry(lambda v: S.factorize_batch(v).logdet(), (two,), [logdet, logdet]),
        "SymbolicFactor.ldl": Entry(lambda K: S.ldl(K).logabsdet(), (base.stored(base.K),)),
        "ldl_batch": Entry(lambda v: S.ldl_batch(v).logabsdet(), (two,), [logdet, logdet]),
        "refactorize": Entry(lambda A: base.F.copy().refactorize(A).logdet(), (A,), logdet),
        "refactorize, packed": Entry(
            lambda v: base.F.copy().refactorize(v).logdet(), (base.V,), logdet
        ),
        "LDLFactor.refactorize": Entry(
            lambda A: base.LDL.copy().refactorize(A).logabsdet(), (A,), logdet
        ),
        "CholeskyBatch.refactorize": Entry(
            lambda v: copy.copy(base.batch).refactorize(v).logdet(), (two,), [logdet, logdet]
        ),
    }


def factors(base):
    F, n, rng = base.F, base.n, base.rng
    b, B = base.normal(n), base.normal(n, 3)
    sparse_b = sp.csc_array(B * (rng.random((n, 3)) < 0.4)).asformat(pick(rng, FORMATS))
    rows, columns = rng.integers(-n, n, 4), rng.integers(-n, n, 4)
    inverse, K = base.inverse, np.linalg.inv(base.K)
    quadratic = np.real(b.conj() @ inverse @ b)
    constraint, e = rng.standard_normal((2, n)), rng.standard_normal(2)
    found = {
        "solve of a factor": Entry(
            lambda b, threads: F.solve(b, threads=threads), (B[:, :2], 2), inverse @ B[:, :2]
        ),
        "solve, sparse": Entry(F.solve, (sparse_b,), inverse @ sparse_b.toarray()),
        "solve_triangular of a factor": Entry(
            lambda b, trans, permute: F.solve_triangular(b, trans=trans, permute=permute),
            (b, "T", True),
        ),
        "LDLFactor.solve": Entry(
            lambda b, refine: base.LDL.solve(b, refine=refine), (b, 1), K @ b
        ),
        "CholeskyBatch.solve": Entry(base.batch.solve, (np.stack([b, b]),)),
        "batch[...]": Entry(lambda k: base.batch[k].logdet(), (1,)),
        "inverse_entries": Entry(F.inverse_entries, (rows, columns), inverse[rows, columns]),
        "LDLFactor.inverse_entries": Entry(
            base.LDL.inverse_entries, (rows, columns), K[rows, columns]
        ),
        "inverse_quadratic": Entry(F.inverse_quadratic, (b.conj(),), quadratic),
        "inverse_quadratic, sparse": Entry(F.inverse_quadratic, (sparse_b.T.asformat("csr"),)),
        "with_low_rank": Entry(
            lambda C, D, b: F.with_low_rank(C, D).solve(b), (B, np.ones(3), b),
            np.linalg.solve(base.H + B @ B.conj().T, b),
        ),
        "partial_inverse of a factor": Entry(
            lambda entries: F.partial_inverse(entries=entries).diagonal(), ("factor",),
            np.diag(inverse),
        ),
        "sample": Entry(lambda size: F.sample(size, rng=0), (2,)),
        "update": Entry(
            lambda C, down: with_all(F.copy().update(C, downdate=down)), (base.update(), False)
        ),
        "delete_rows": Entry(lambda rows: with_all(F.copy().delete_rows(rows)), (rows,)),
        "add_row": Entry(
            lambda row, a: with_all(F.copy().delete_rows(row).add_row(row, a)),
            (1, base.H[:, 1].copy()), inverse @ np.ones(n),
        ),
        "add_row, sparse": Entry(
            lambda a: with_all(F.copy().delete_rows(1).add_row(1, a)),
            (sp.csc_array(base.H[:, [1]]),), inverse @ np.ones(n),
        ),
    }  # fmt: skip
    if base.dtype.kind == "f":
        found["condition"] = Entry(lambda C, e: F.condition(C, e).mean(), (constraint, e))
        G = F.condition(constraint, e)
        found["covariance_entries"] = Entry(G.covariance_entries, (rows, columns))
        found["quadratic_variance"] = Entry(G.quadratic_variance, (rng.standard_normal((2, n)),))
        found["logpdf"] = Entry(G.logpdf, (G.sample(2, rng=0), np.zeros(n)), free=(0,))
    return found


def derivatives(base):
    F, V = base.F, base.V * 0.1
    dA, M = base.H * 0.1, base.stored(base.H * 0.1)
    x, y = base.normal(base.n), base.normal(base.n)
    inverse = base.inverse
    change = np.trace(inverse @ dA).real
    return {
        "logdet_jvp": Entry(lambda dA: dv.logdet_jvp(F, dA), (M,), change),
        "logdet_jvp, packed": Entry(lambda dA: dv.logdet_jvp(F, dA), (V,), change),
        "logdet_hvp": Entry(lambda dA: dv.logdet_hvp(F, dA), (V,)),
        "factor_jvp": Entry(lambda dA: dv.factor_jvp(F, dA), (M,)),
        "factor_vjp": Entry(lambda L: dv.factor_vjp(F, L), (F.L,)),
        "solve_jvp": Entry(
            lambda x, dA, db: dv.solve_jvp(F, x, dA=dA, db=db), (x, M, y), inverse @ (y - dA @ x)
        ),
        "solve_vjp": Entry(lambda x, g: dv.solve_vjp(F, x, g)[0], (x, y)),
        "solve_triangular_jvp": Entry(
            lambda x, dA, db: dv.solve_triangular_jvp(F, x, dA=dA, db=db), (x, V, y)
        ),
        "solve_triangular_vjp": Entry(lambda x, g: dv.solve_triangular_vjp(F, x, g)[0], (x, y)),
        "partial_inverse_jvp": Entry(lambda dA: dv.partial_inverse_jvp(F, dA), (M,)),
        "partial_inverse_vjp": Entry(lambda Z: dv.partial_inverse_vjp(F, Z), (M,)),
        "diag_inverse_jvp": Entry(
            lambda dA: dv.diag_inverse_jvp(F, dA), (V,), -np.diag(inverse @ dA @ inverse).real
        ),
        "diag_inverse_vjp": Entry(lambda v: dv.diag_inverse_vjp(F, v), (x.real.copy(),)),
        "quadratic_form": Entry(
            lambda b: dv.quadratic_form(F, b), (x,), np.real(x.conj() @ inverse @ x)
        ),
        "quadratic_form_jvp": Entry(
            lambda x, dA, db: dv.quadratic_form_jvp(F, x, dA=dA, db=db), (x, V, y)
        ),
        "sampled_outer": Entry(lambda x, y: dv.sampled_outer(base.S, x, y), (x, y)),
        "full_gradient": Entry(lambda g: dv.full_gradient(base.S, g), (V,)),
        "batch, logdet_hvp": Entry(lambda dA: dv.logdet_hvp(base.batch, dA), (np.stack([V, V]),)),
    }


def products(base):
    rng, n = base.rng, base.n
    D = base.normal(5, n) * (rng.random((5, n)) < 0.5)
    A = sp.csr_array(D).asformat(pick(rng, FORMATS))
    G = sc.gram(A, base.A)
    a, w, b = G.entries(A), rng.uniform(1, 2, 5).astype(base.dtype.char.lower()), base.V
    product = (D.conj().T * w) @ D + base.H
    S = G.pattern
    packed = product[S.indices, np.repeat(np.arange(n), np.diff(S.indptr))]
    return {
        "gram": Entry(lambda A, B: sc.gram(A, B).pattern.indices, (A, base.A), S.indices),
        "Gram.entries": Entry(G.entries, (A,)),
        "Gram.values": Entry(G.values, (a, w, b), packed),
        "Gram.values, sparse": Entry(G.values, (A, w, base.A), packed),
        "Gram.values, out": Entry(lambda out: G.values(a, w, b, out=out), (packed.copy(),), packed),
        "Gram.tangent": Entry(
            lambda a, w, da, dw: G.tangent(a, w, da=da, dw=dw, db=b), (a, w, a, w)
        ),
        "Gram.adjoint": Entry(lambda g, a, w: G.adjoint(g, a, w), (packed, a, w)),
    }


def colorings(base):
    rng, n = base.rng, base.n
    structure = pick(rng, ["column", "row", "symmetric"])
    J = base.H.real.astype(np.float64)
    C = color(J, structure, budget=0.0)
    A = sp.csc_array(J).asformat(pick(rng, FORMATS))
    product = C.seed().T @ J if structure == "row" else J @ C.seed()
    order, x = rng.permutation(n), rng.standard_normal(n)
    return {
        "color": Entry(
            lambda A, order: color(A, structure, order=order, budget=0.0).num_colors, (A, order)
        ),
        "decompress": Entry(C.decompress, (product,), J, unread=True),
        "approx_jacobian": Entry(
            lambda x, sparsity: sc.approx_jacobian(lambda y: J @ y, x, sparsity), (x, A), J
        ),
        "approx_hessian": Entry(
            lambda x, sparsity: sc.approx_hessian(lambda y: J @ y, x, sparsity), (x, A), J
        ),
    }


def precision_models(base):
    rng, n = base.rng, base.n
    W = (np.triu(base.mask, 1) | np.eye(n, k=1, dtype=bool)) * rng.uniform(0.5, 2, (n, n))
    W = sp.csc_array(W + W.T).asformat(pick(rng, FORMATS))
    points, triangles = models.triangulation(3, 3)
    Q = sp.csc_array(base.H.real.astype(np.float64)).asformat(pick(rng, FORMATS))
    found = {
        "PrecisionModel": Entry(lambda Q: models.PrecisionModel(Q).shape, (Q,), Q.shape),
        "PrecisionFamily": Entry(
            lambda Q, t: models.PrecisionFamily((Q,), lambda t: (t,), {"t": (0, 1)})(t=t).Q,
            (Q, 0.5),
        ),
        "adjacency": Entry(models.adjacency, (np.array([(0, 1), (1, 2), (3, 1)]), 5)),
        "finite_elements": Entry(
            lambda p, t: models.finite_elements(p, t)[1], (points, triangles), free=(0, 1)
        ),
        "barycentric": Entry(
            models.barycentric, (points, triangles, np.full((2, 2), 0.4)), free=(0, 1)
        ),
        "rw1": Entry(lambda t: models.rw1(t).Q, (np.array([0.0, 1.0, 2.5]),), free=(0,)),
    }
    for build in (models.besag, models.car, models.leroux, models.bym2):
        found[build.__name__] = Entry(lambda W, build=build: build(W).shape, (W,))
    return found


def semidefinite(base):
    n, rng = base.n, base.rng
    W = np.triu(base.mask, 1) * rng.uniform(0.5, 2, (n, n))
    W = W + W.T + np.eye(n, k=1) + np.eye(n, k=-1)
    A = np.diag(W.sum(axis=1)) - W
    F = sc.cholesky(A, null_space=np.ones(n))
    b, v = rng.standard_normal(n), F.null_space.pattern.values(A)
    pseudo = np.linalg.pinv(A)
    return {
        "cholesky, null_space": Entry(
            lambda A, V: sc.cholesky(A, null_space=V).solve(b),
            (sp.csc_array(A).asformat(pick(rng, FORMATS)), np.ones(n)), pseudo @ b,
        ),
        "SemidefiniteFactor.solve": Entry(F.solve, (b,), pseudo @ b),
        "SemidefiniteFactor.inverse_entries": Entry(
            F.inverse_entries, (np.array([0, -1]), np.array([1, 0])), pseudo[[0, -1], [1, 0]]
        ),
        "NullSpace.project": Entry(F.null_space.project, (b,), b - b.mean()),
        "NullSpace.require": Entry(
            lambda v: F.null_space.require(v[None] if isinstance(v, np.ndarray) else v) or 0, (v,)
        ),
    }  # fmt: skip


# ---- sequences, pickles, files -----------------------------------------------------------------


def flipped(rng, data: bytearray, k: int):
    """Damage bytes: one bit, a whole word, or the end is cut off."""
    how = rng.integers(3)
    if how == 0:
        data[k] ^= 1 << rng.integers(8)
    elif how == 1:
        k -= k % 8
        word = (int(pick(rng, WILD)) & (2**64 - 1)).to_bytes(8, "little")
        data[k : k + 8] = word[: len(data) - k]
    elif len(data) > 1:
        del data[k:]
    return data


def pickles(base):
    """Pickles of all kinds with damaged arrays, and what is then done with them."""
    rng, n = base.rng, base.n
    b = np.ones(n)
    things = {
        "SymbolicFactor": base.S, "CholeskyFactor": base.F, "LDLFactor": base.LDL,
        "CholeskyBatch": base.batch, "Gram": sc.gram(base.A),
    }  # fmt: skip

    def uses(twin):
        if isinstance(twin, sc.SymbolicFactor):
            return twin.factorize(base.V).solve(b)
        if isinstance(twin, sc.Gram):
            return twin.values(np.ones(len(twin.entries(base.A))))
        if isinstance(twin, sc.CholeskyBatch):
            return (
                twin.solve(np.ones((2, n))),
                twin.partial_inverse(),
                twin.refactorize(np.stack([base.V, base.V])),
            )
        return twin.solve(b), twin.diag_inverse(), twin.L, twin.copy().update(b * 0)

    def damaged(thing):
        buffers = []
        text = pickle.dumps(thing, 5, buffer_callback=buffers.append)
        arrays = [bytearray(buffer) for buffer in buffers]

        def call(_):
            k = rng.integers(len(arrays))
            if not arrays[k]:
                return
            mended = list(arrays)
            mended[k] = flipped(rng, arrays[k].copy(), int(rng.integers(len(arrays[k]))))
            uses(pickle.loads(text, buffers=mended))

        return call

    return {f"pickle of {name}": Entry(damaged(thing), (EITHER,)) for name, thing in things.items()}


def files(base):
    """Files of colorings with damaged bytes."""
    rng = base.rng
    C = color(base.H.real, pick(rng, ["column", "symmetric", "bidirectional"]), budget=0.0)
    file = io.BytesIO()
    C.save(file)
    text = file.getvalue()

    def load(_):
        damaged = flipped(rng, bytearray(text), int(rng.integers(len(text))))
        Coloring.load(io.BytesIO(damaged)).check()

    return {"Coloring.load": Entry(load, (EITHER,))}


class Changes:
    """One factor that is changed again and again, by right calls and wrong ones."""

    def __init__(self, base):
        self.base = base
        self.start()

    def start(self):
        self.F, self.H, self.deleted = self.base.F.copy(), self.base.H.copy(), None

    def step(self, _):
        base, rng, n = self.base, self.base.rng, self.base.n
        getattr(self, pick(rng, self.ACTIONS))(rng, n)
        if self.H is None or np.linalg.cond(self.H) > 1e3:
            self.start()
        if rng.random() < 0.3:
            b = rng.standard_normal(n)
            found, right = self.F.solve(b), np.linalg.solve(self.H, b)
            loose = 1e-2 if base.dtype.itemsize // (1 + (base.dtype.kind == "c")) == 4 else 1e-7
            if not np.abs(found - right).max() <= loose * (1 + np.abs(right).max()):
                raise AssertionError(f"the factor is not that of its matrix: {found}, {right}")

    def update(self, rng, n):
        C = self.base.update()
        self.F.update(C)
        self.H = self.H + C @ C.conj().T

    def downdate(self, rng, n):
        C = self.base.update()
        try:
            self.F.update(C, downdate=True)
        except np.linalg.LinAlgError:
            return
        self.H = self.H - C @ C.conj().T

    def refused_update(self, rng, n):
        wrong = sp.csc_array(self.base.update())
        if not wrong.nnz:
            return
        wrong.indices = wrong.indices.astype(np.int64)
        wrong.indices[0] = pick(rng, WILD)
        refused(lambda: self.F.update(wrong))

    def delete(self, rng, n):
        row = int(rng.integers(n))
        self.F.delete_rows([row])
        a = self.H[:, row].copy()
        if rng.random() < 0.5:
            refused(lambda: self.F.add_row(row, a[:-1]))
            refused(lambda: self.F.add_row(row, np.full(n, np.nan)))
        if rng.random() < 0.7:
            self.F.add_row(row, a)
        else:
            self.H[row], self.H[:, row], self.H[row, row] = 0, 0, 1

    def refused_row(self, rng, n):
        refused(lambda: self.F.delete_rows([pick(rng, [n, -n - 1, *WILD[1:]])]))

    def refactorize(self, rng, n):
        self.H = self.base.matrix()
        self.F.refactorize(self.base.stored(self.H))

    def refused_values(self, rng, n):
        wrong = self.base.V.copy()
        wrong[rng.integers(len(wrong))] = np.nan
        refused(lambda: self.F.refactorize(wrong))
        self.H = None  # whether the old one stays is told by the error

    def twin(self, rng, n):
        self.F = pick(rng, [copy.copy, copy.deepcopy, lambda F: pickle.loads(pickle.dumps(F))])(
            self.F
        )

    ACTIONS = ("update", "downdate", "refused_update", "delete", "refused_row", "refactorize",
               "refused_values", "twin")  # fmt: skip


def refused(call):
    try:
        call()
    except (ValueError, TypeError, IndexError, OverflowError):
        return
    raise AssertionError("not refused")


def sequences(base):
    return {"changes of a factor": Entry(Changes(base).step, (EITHER,))}


ENTRIES = [functions, analyses, factors, derivatives, products, colorings, precision_models,
           semidefinite, pickles, files, sequences]  # fmt: skip
