"""Cases for the fuzzer: signed and semidefinite factors, changes of factors, corrections."""

import copy
import pickle

import numpy as np
import scipy.sparse as sp

import sparsechol as sc
from sparsechol import derivatives as dv
from support.scipy_fuzz import (
    WILD,
    Argument,
    attempt,
    chance,
    check_factor,
    close,
    clothes,
    inside,
    inverse,
    outcome_of,
    pick,
    sparse_clothes,
    unfit,
)

NONSENSE = [-1, 0.0, np.nan, np.inf, "x", None, [], [1, 2], {}, 1e300, np.array([1.0]), 1j]


def integers(fuzz):
    """Return rows of the matrix, some of them beyond it, and whether all are in it."""
    rng, n = fuzz.rng, fuzz.n
    rows = rng.integers(-n, max(n, 1), int(rng.integers(0, 4)))
    if chance(rng, 0.25) and rows.size:
        rows = rows.astype(np.int64)
        rows[0] = pick(rng, [n, -n - 1, *WILD[:8]])
    elif chance(rng, 0.1):
        return pick(rng, [rows + 0.5, rows.astype(object), np.array("x"), None, rows > 0]), None
    return rows, bool(((rows >= -n) & (rows < n)).all())


def signed_matrix(fuzz):
    """Return a dominant matrix with a diagonal of both signs, and these signs."""
    signs = fuzz.rng.choice([-1.0, 1.0], fuzz.n)
    K = fuzz.matrix()
    K[np.diag_indices(fuzz.n)] *= signs
    return K, signs


def check_signed(F, K):
    L, D = F.L.toarray(), F.D.toarray()
    close(L @ D @ L.conj().T, K[F.perm][:, F.perm], F.dtype)
    assert F.inertia.negative == (np.linalg.eigvalsh(K) < 0).sum()


def signed(fuzz):
    """ldl, and what its factors do, one at a time or many."""
    rng, n = fuzz.rng, fuzz.n
    K, signs = signed_matrix(fuzz)
    A = sparse_clothes(rng, K, ["csc", "csr", "coo"]).value.astype(K.dtype)
    options = {"signs": signs} if chance(rng, 0.5) else {}
    options |= fuzz.ordering() | fuzz.threads()
    F = attempt(lambda: sc.ldl(A, **options), [A], None)
    if not isinstance(F, sc.LDLFactor):
        assert isinstance(F, ValueError | TypeError)
        return
    K = A.toarray()
    check_signed(F, K)
    inverse_of_K, (sign, logabsdet) = inverse(K), np.linalg.slogdet(K)
    attempt(F.logabsdet, [], True, logabsdet, F.dtype)
    assert np.isclose(F.slogdet()[0], np.real(sign))
    attempt(F.diag_inverse, [], True, np.diag(inverse_of_K).real, F.dtype)
    attempt(F.logabsdet_grad, [], True)
    attempt(lambda: F.regularized, [], True)
    b = fuzz.vectors()
    refine = pick(rng, [None, 0, 1, 3, *NONSENSE])
    attempt(lambda: F.solve(b.value, refine=refine), [b.value], None)
    x = rng.standard_normal(n)
    attempt(lambda: F.solve(x), [x], True, np.linalg.solve(K, x), F.dtype)
    attempt(lambda: F.solve_triangular(b.value), [b.value], None)
    rows, fits = integers(fuzz)
    attempt(lambda: F.inverse_entries(rows, rows), [rows], fits)
    attempt(lambda: F.inverse_quadratic(x), [x], True, np.real(x @ inverse_of_K @ x), F.dtype)
    attempt(F.partial_inverse, [], True)
    attempt(lambda: F.partial_inverse(entries="factor"), [], True)
    attempt(F.condest, [], bool(n))
    attempt(lambda: F.rcond, [], True)
    if n:
        attempt(lambda: F.to_linear_operator() @ x, [x], True)
    attempt(lambda: F.solve_vjp(x, x), [x], True)
    attempt(lambda: F.partial_inverse_vjp(np.ones(F.pattern.indices.size)), [], None)
    wrong = {
        pick(rng, ["signs", "regularize", "weak_pivots", "lower", "ordering", "check_symmetric"]):
        pick(rng, [*NONSENSE, -signs, signs[:-1], 0.5 * signs, (1e-9, 1e-3), 1e-6])
    }  # fmt: skip
    attempt(lambda: sc.ldl(A, **(options | wrong)), [A], None)
    for twin in (F.copy(), pickle.loads(pickle.dumps(F)), F.pattern.ldl(A)):
        check_signed(twin.refactorize(A), K)
    signed_batch(fuzz, F.pattern, [K, signed_matrix(fuzz)[0]])


def signed_batch(fuzz, S, matrices):
    values = np.array([fuzz.packed(K, S) for K in matrices])
    kept = inside(S)
    if any((np.abs(K) * ~kept).any() for K in matrices):
        return
    F = attempt(lambda: S.ldl_batch(values, **fuzz.threads()), [values], None)
    if not isinstance(F, sc.LDLBatch):
        return
    k, n, b = len(matrices), fuzz.n, np.ones((len(matrices), fuzz.n))
    inverses = np.array([inverse(K) for K in matrices]).reshape(k, n, n)
    attempt(lambda: F.solve(b), [b], True, inverses.sum(axis=2), F.dtype)
    attempt(lambda: F.solve(b, refine=2), [b], True, inverses.sum(axis=2), F.dtype)
    attempt(F.diag_inverse, [], True, np.einsum("kii->ki", inverses).real, F.dtype)
    attempt(F.logabsdet, [], True, [np.linalg.slogdet(K)[1] for K in matrices], F.dtype)
    attempt(F.slogdet, [], True)
    attempt(F.logabsdet_grad, [], True)
    attempt(F.partial_inverse, [], True)
    attempt(lambda: F.inertia, [], True)
    attempt(lambda: F.regularized, [], True)
    batch_methods(F, values)
    one = F[fuzz.rng.integers(k)]
    attempt(lambda: one.solve(b[0]), [b], True)
    attempt(lambda: F.refactorize(values), [values], True)
    wrong = unfit(fuzz.rng, values)
    attempt(lambda: F.refactorize(wrong.value), [wrong.value], False if values.size else None)


def batch_methods(F, values):
    """Call what the batches of all kinds have."""
    n, b = F.shape[0], np.ones((len(F), F.shape[0]))
    attempt(lambda: F.inverse_quadratic(b[0]), [b], True)
    attempt(F.condest, [], bool(n))
    attempt(lambda: F.rcond, [], True)
    assert len(F.perm) == n
    assert F.nnz >= n
    attempt(lambda: F.solve_vjp(b, b), [b], True)
    attempt(lambda: F.partial_inverse_vjp(values), [values], True)
    assert outcome_of(copy.copy(F).solve(b)) == outcome_of(F.solve(b))


# ---- changes -----------------------------------------------------------------------------------


def a_factor(fuzz):
    """Return a factor that may be changed, the matrix of it, and how it is checked."""
    if chance(fuzz.rng, 0.3):
        K, _ = signed_matrix(fuzz)
        return sc.ldl(sp.csc_array(K), **fuzz.ordering()), K, check_signed
    F = fuzz.factor().copy()
    return F, fuzz.H.copy(), check_factor


def unchanged(F, H, check):
    if not isinstance(F, ValueError):
        check(F, H)


def update(fuzz):
    """Update and downdate, within the pattern and beyond, with vectors of any kind."""
    rng, n = fuzz.rng, fuzz.n
    F, H, check = a_factor(fuzz)
    for _ in range(3):
        downdate = chance(rng, 0.4)
        if chance(rng, 0.4):
            c = fuzz.vectors()
        else:
            C = np.zeros((n, int(rng.integers(0, 3))), H.dtype)
            for k in range(C.shape[1] if n else 0):
                i = int(rng.integers(n))
                rows = np.flatnonzero(H[:, i])
                rows = rng.choice(rows, min(len(rows), int(rng.integers(1, 4))), replace=False)
                C[rows, k] = rng.standard_normal(len(rows)) * 0.3
            dressed = sparse_clothes(rng, C) if chance(rng, 0.5) else None
            c = dressed or Argument(C, C, True)
        before = outcome_of(F.L)
        # A call cannot be made twice: it changes the factor.
        try:
            F.update(c.value, downdate=downdate)
        except (ValueError, TypeError, OverflowError):
            assert outcome_of(F.L) == before
            continue
        assert c.truth is not None
        if c.truth is ...:  # empty
            return
        C = c.truth
        C = (C[:, None] if C.ndim == 1 else C).astype(H.dtype)
        H = H - C @ C.conj().T if downdate else H + C @ C.conj().T
        if np.linalg.cond(H) > 1e4 if n else False:
            return
        check(F, H)
        attempt(F.condest, [], True if n and outside_is_empty(F, H) else None)
    b = rng.standard_normal(n)
    attempt(lambda: F.solve(b), [b], True, np.linalg.solve(H, b), F.dtype)
    wrong = pick(rng, NONSENSE)
    before = outcome_of(F.L)
    try:
        F.update(wrong)
    except (ValueError, TypeError, OverflowError):
        assert outcome_of(F.L) == before
    else:
        assert n <= 2


def outside_is_empty(F, H):
    return not (np.abs(H) * ~inside(F.pattern)).any()


def rows(fuzz):
    """Delete rows and put them back."""
    rng, n = fuzz.rng, fuzz.n
    F, H, check = a_factor(fuzz)
    chosen, fits = integers(fuzz)
    try:
        F.delete_rows(chosen)
    except (IndexError, TypeError, ValueError):
        assert not fits
        check(F, H)
        return
    assert fits is not False
    deleted = np.unique(np.asarray(chosen, dtype=np.int64).ravel() % max(n, 1))
    left = H.copy()
    left[deleted], left[:, deleted] = 0, 0
    left[deleted, deleted] = 1
    check(F, left)
    gone = set(deleted.tolist())
    for row in deleted.tolist():
        a = H[:, row].copy()
        a[[r for r in gone if r != row]] = 0
        wrong = fuzz.vectors()
        if wrong.truth is None:
            attempt(lambda wrong=wrong, row=row: F.add_row(row, wrong.value), [wrong.value], False)
        no_row = pick(rng, [n, -n - 1, 2**40, 0.5, "x"])
        attempt(lambda a=a, no_row=no_row: F.add_row(no_row, a), [a], False)
        dressed = sp.csc_array(a[:, None]) if chance(rng, 0.5) else a
        F.add_row(row, dressed)
        gone.discard(row)
        left[:, row], left[row] = a, a.conj()
        check(F, left)
    check(F, H)


# ---- corrections -------------------------------------------------------------------------------


def low_rank(fuzz):
    """with_low_rank."""
    rng, n = fuzz.rng, fuzz.n
    F, H = fuzz.factor(), fuzz.H
    k = int(rng.integers(0, 4))
    C = rng.standard_normal((n, k)).astype(H.dtype)
    D = pick(rng, [None, np.ones(k), np.eye(k), rng.uniform(0.1, 1, k)])
    dense = np.eye(k) if D is None else np.diag(D) if D.ndim == 1 else D
    G = attempt(lambda: F.with_low_rank(C, D), [C], True)
    A = H + C @ dense @ C.conj().T
    b = rng.standard_normal(n)
    attempt(lambda: G.solve(b), [b], True, np.linalg.solve(A, b), F.dtype)
    attempt(G.logdet, [], True, np.linalg.slogdet(A)[1], F.dtype)
    attempt(G.slogdet, [], True)
    attempt(G.diag_inverse, [], True, np.diag(inverse(A)).real, F.dtype)
    r, fits = integers(fuzz)
    truth = inverse(A)[r, r] if fits else None
    attempt(lambda: G.inverse_entries(r, r), [r], fits, truth, F.dtype)
    attempt(lambda: G.inverse_quadratic(b), [b], True, np.real(b @ inverse(A) @ b), F.dtype)
    attempt(lambda: G.sample(2, rng=0), [], True)
    assert G.condition >= 1 - 1e-12
    assert G.dtype == F.dtype
    assert G.shape == F.shape
    wrong = fuzz.vectors()
    attempt(lambda: G.solve(wrong.value), [wrong.value], False if wrong.truth is None else None)
    attempt(lambda: G.inverse_quadratic(wrong.value), [wrong.value], None)
    bad_C, bad_D = clothes(rng, C), pick(rng, [*NONSENSE, -10 * np.ones(k), np.full((k, k), 2.0)])
    attempt(lambda: F.with_low_rank(bad_C.value), [bad_C.value], None)
    attempt(lambda: F.with_low_rank(C, bad_D), [C], None)


def conditioned(fuzz):
    """Condition on C x = e."""
    rng, n = fuzz.rng, fuzz.n
    F, H = fuzz.factor(), fuzz.H
    m = int(rng.integers(0, min(n, 3) + 1))
    C, e = rng.standard_normal((m, n)), rng.standard_normal(m)
    G = attempt(lambda: F.condition(C, e, **fuzz.threads()), [C, e], None)
    if F.dtype.kind == "c":
        assert isinstance(G, TypeError)
        return
    if isinstance(G, sc.Conditioned):
        assert G.constraints == m
        W = inverse(H)
        M = W @ C.T @ np.linalg.inv(C @ W @ C.T) if m else np.zeros((n, 0))
        V = W - M @ C @ W
        attempt(G.mean, [], True, M @ e, F.dtype)
        attempt(G.marginal_variances, [], True, np.diag(V), F.dtype)
        r, fits = integers(fuzz)
        truth = V[r, r] if fits else None
        attempt(lambda: G.covariance_entries(r, r), [r], fits, truth, F.dtype)
        b = rng.standard_normal((2, n))
        attempt(
            lambda: G.quadratic_variance(b), [b], True, np.einsum("ki,ij,kj->k", b, V, b), F.dtype
        )
        x = attempt(lambda: G.sample((2,), rng=0), [], True)
        close(x @ C.T, np.broadcast_to(e, (2, m)), np.float32)
        attempt(lambda: G.logpdf(x), [x], True)
        wrong = fuzz.vectors(sparse=False).value
        for call in (G.logpdf, G.mean, G.quadratic_variance):
            attempt(lambda call=call: call(wrong), [wrong], None)
        size = pick(rng, NONSENSE)
        attempt(lambda: G.sample(size, rng=0), [], None)
    bad_C, bad_e = clothes(rng, C), fuzz.vectors(sparse=False)
    attempt(lambda: F.condition(bad_C.value), [bad_C.value], None)
    attempt(lambda: F.condition(C, bad_e.value), [C, bad_e.value], None)


def quadratics(fuzz):
    """inverse_quadratic, rcond, gradients of the factor."""
    rng, n = fuzz.rng, fuzz.n
    F, H = fuzz.factor(), fuzz.H
    B = rng.standard_normal((3, n)) * (rng.random((3, n)) < 0.6)
    right = np.einsum("ki,ij,kj->k", B, inverse(H), B).real
    dressed = sparse_clothes(rng, B)
    if dressed.truth.dtype == float and dressed.value.dtype.kind == "f":
        attempt(lambda: F.inverse_quadratic(dressed.value), [dressed.value], True, None)
    attempt(lambda: F.inverse_quadratic(B, **fuzz.threads()), [B], True, right, F.dtype)
    wrong = clothes(rng, B)
    attempt(lambda: F.inverse_quadratic(wrong.value), [wrong.value], None)
    attempt(F.slogdet, [], True)
    attempt(F.logdet_grad, [], True)
    attempt(lambda: F.rcond, [], True)
    assert F.nnz >= n
    attempt(lambda: F.solve_vjp(B[0], B[0]), [B], True)
    values = F.pattern.values(sp.csc_array(H))
    attempt(lambda: F.partial_inverse_vjp(values), [values], True)
    batch = F.pattern.factorize_batch(values[None])
    batch_methods(batch, values[None])
    attempt(batch.slogdet, [], True)
    attempt(batch.logdet_grad, [], True)
    attempt(lambda: dv.diag_inverse_vjp(batch, np.ones((1, n))), [], True)


# ---- semidefinite matrices ---------------------------------------------------------------------


def semidefinite(fuzz):
    """Laplacians of graphs, one at a time or many, and their null spaces."""
    rng, n = fuzz.rng, fuzz.n
    W = np.triu(fuzz.mask, 1) * rng.uniform(0.5, 2, (n, n))
    W = W + W.T
    A = np.diag(W.sum(axis=1)) - W
    dressed = sp.csc_array(A).astype(pick(rng, [np.float64, np.complex128]))
    F = attempt(
        lambda: sc.cholesky(dressed, null_space="components"), [dressed], True if n else None
    )
    if not isinstance(F, sc.SemidefiniteFactor) or n == 0:
        return
    pseudo = np.linalg.pinv(A, rcond=1e-9)
    eigenvalues = np.linalg.eigvalsh(A)
    positive = eigenvalues[eigenvalues > 1e-9]
    assert F.rank == len(positive)
    logdet = np.log(positive).sum()
    b = rng.standard_normal(n)
    attempt(lambda: F.solve(b, **fuzz.threads()), [b], True, pseudo @ b, F.dtype)
    attempt(F.logdet, [], True, logdet, F.dtype)
    attempt(F.slogdet, [], True)
    attempt(F.diag_inverse, [], True, np.diag(pseudo), F.dtype)
    for entries in ("matrix", "factor", 3):
        attempt(lambda entries=entries: F.partial_inverse(entries=entries), [], entries != 3)
    r, fits = integers(fuzz)
    attempt(lambda: F.inverse_entries(r, r), [r], fits, pseudo[r, r] if fits else None, F.dtype)
    attempt(lambda: F.inverse_quadratic(b), [b], None)
    attempt(lambda: F.sample(2, rng=0), [], None)
    attempt(lambda: F.to_linear_operator() @ b, [b], True, pseudo @ b, F.dtype)
    attempt(lambda: F.rcond, [], True)
    assert F.shape == (n, n)
    assert F.pattern.shape == (n, n)
    wrong = fuzz.vectors()
    attempt(lambda: F.solve(wrong.value), [wrong.value], False if wrong.truth is None else None)
    attempt(lambda: F.condition(np.ones((1, n)), 0.0), [], None)
    bad = clothes(rng, A)
    attempt(lambda: sc.cholesky(bad.value, null_space="components"), [bad.value], None)
    V = pick(rng, [np.ones(n), np.ones((n, 2)), rng.standard_normal(n), *NONSENSE, "rows"])
    attempt(lambda: sc.cholesky(dressed, null_space=V), [dressed], None)
    for twin in (F.copy(), copy.copy(F), pickle.loads(pickle.dumps(F))):
        assert np.isclose(twin.refactorize(3 * dressed).logdet(), logdet + F.rank * np.log(3))
    attempt(F.logdet, [], True, logdet, F.dtype)
    attempt(lambda: F.refactorize(bad.value), [bad.value], None)
    null_space(fuzz, F.null_space, A)
    semidefinite_batch(fuzz, F, dressed, pseudo, logdet)


def semidefinite_batch(fuzz, F, A, pseudo, logdet):
    S, b = F.pattern, np.ones((2, fuzz.n))
    values = np.array([S.values(A), S.values(2 * A)])
    B = attempt(lambda: S.factorize_batch(values, null_space="components"), [values], True)
    logdets = logdet + F.rank * np.log([1.0, 2.0])
    attempt(B.logdet, [], True, logdets, F.dtype)
    attempt(B.slogdet, [], True)
    attempt(
        lambda: B.solve(b), [b], True, np.stack([pseudo, pseudo / 2]) @ np.ones(fuzz.n), F.dtype
    )
    attempt(B.diag_inverse, [], True, [np.diag(pseudo), np.diag(pseudo) / 2], F.dtype)
    attempt(B.partial_inverse, [], True)
    attempt(lambda: B.rcond, [], True)
    assert (B.rank, B.shape, B.dtype, B.pattern) == (F.rank, F.shape, F.dtype, F.pattern)
    assert np.isclose(B[1].logdet(), logdets[1])
    attempt(lambda: B[2], [], False)
    attempt(lambda: B.refactorize(values), [values], True)
    wrong = unfit(fuzz.rng, values)
    attempt(lambda: B.refactorize(wrong.value), [wrong.value], False)
    attempt(lambda: B.solve(b[:, :-1]), [b], False)


def null_space(fuzz, N, A):
    """Call what NullSpace has."""
    rng, n = fuzz.rng, fuzz.n
    x, V = rng.standard_normal(n), N.dense()
    assert np.abs(A @ V).max(initial=0) < 1e-9
    attempt(lambda: N.project(x), [x], True, x - V @ np.linalg.lstsq(V, x, rcond=None)[0])
    y = attempt(lambda: N.coordinates(x), [x], True)
    attempt(lambda: N.expand(y), [y], True)
    values = N.pattern.values(A)
    grounded = attempt(lambda: N.ground(values), [values], True)
    attempt(lambda: N.unground(grounded), [grounded], True, values)
    attempt(lambda: N.log_correction(values), [values], True)
    attempt(lambda: N.half_correction(V), [V], None)
    attempt(lambda: N.require(values[None]), [values], True)
    attempt(lambda: N.require(values[None] + 1.0), [values], False)
    attempt(lambda: N.basis_as(np.dtype(np.complex64)), [], True)
    assert sc.NullSpace.of(N.pattern, N) is N
    assert pickle.loads(pickle.dumps(N)) == N
    assert N.digest
    attempt(lambda: sc.NullSpace.of(sc.analyze(np.ones((n + 1, n + 1))), N), [], False)
    V = pick(
        rng, [np.zeros(n), np.ones((n, n + 1)), np.full(n, np.nan), np.ones(n + 1), 3, None, "x"]
    )
    attempt(lambda: sc.NullSpace(N.pattern, V), [], False)


OPERATIONS = [
    signed, signed, update, update, rows, rows, low_rank, conditioned, quadratics, semidefinite,
]  # fmt: skip
