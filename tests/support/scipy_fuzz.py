"""A fuzzer of the SciPy face: matrices in any clothes, honest or corrupt, and calls in any order.

`scipy_fuzz_cases` runs a case, with the operations of this file and of those beside it. Each call
must either return what dense NumPy returns or raise an error that says what is wrong; it must not
change its arguments, and must do the same when it is repeated. Under the sanitizers it must also
stay within bounds.
"""

import copy
import io
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

import sparsechol as sc
from sparsechol import derivatives as dv
from sparsechol._scipy.input import compressed
from sparsechol._scipy.symmetry import triangles
from sparsechol.coloring import Coloring, color
from support.helpers import KINDS, eliminate, eps, random_pattern, random_values

# What a wrong argument may raise. LinAlgError and PatternMismatchError are ValueErrors.
REFUSALS = (ValueError, TypeError, IndexError, OverflowError, MemoryError)

FORMATS = ["csc", "csr", "coo", "bsr", "dia", "lil", "dok"]
ORDERINGS = ["auto", "best", "natural", "amd", "nested_dissection"]
WILD = [-1, -(2**31), 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, -(2**63), 7, 100]


class Argument(NamedTuple):
    """An argument and what it means.

    Attributes
    ----------
    value : the argument.
    truth : the dense array that it is; None if it is none, ... if that is not known.
    honest : whether it has to be taken.
    """

    value: Any
    truth: Any
    honest: bool = False


# ---- clothes -----------------------------------------------------------------------------------


def pick(rng, options):
    return options[int(rng.integers(len(options)))]


def chance(rng, probability):
    return bool(rng.random() < probability)


def retyped(rng, dense):
    """The numbers of an array in some other type; integers keep a dominant diagonal."""
    if dense.dtype.kind == "c":
        return dense.astype(pick(rng, ["c8", "c16", "c16", ">c16", "G"]))
    kind = pick(rng, ["f8", "f8", "f4", ">f8", "g", "f2", "i4", "i8", "i2"])
    if kind[0] != "i":
        return dense.astype(kind)
    whole = np.trunc(dense)
    if dense.ndim == 2 and dense.shape[0] == dense.shape[1]:
        whole[np.diag_indices(len(dense))] = np.ceil(np.diag(dense))
    return whole.astype(kind)


def meaning(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def dense_clothes(rng, dense):
    """A dense array in any type and layout."""
    array = retyped(rng, dense)
    layout = pick(
        rng, ["C", "F", "strided", "reversed", "read-only", "misaligned", "list", "masked"]
    )
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "strided":
        wide = np.zeros([2 * size for size in array.shape], array.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
        view[...] = array
        array = view
    elif layout == "reversed":
        array = np.flip(np.flip(array).copy())
    elif layout == "read-only":
        array.setflags(write=False)
    elif layout == "misaligned":
        array = misaligned(array)
    elif layout == "list" and array.dtype.itemsize <= 16 and array.size:
        return Argument(array.tolist(), meaning(np.asarray(array.tolist())), True)
    elif layout == "masked":
        array = np.ma.masked_array(array)
    return Argument(array, meaning(np.asarray(array)), True)


def misaligned(array):
    """The same numbers at an odd address."""
    moved = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def sparse_clothes(rng, dense, formats=FORMATS):
    """A sparse array of any format: unsorted, repeated, with stored zeros and room at the end."""
    array = retyped(rng, dense)
    stored = (array != 0) | (rng.random(array.shape) < (0.1 if chance(rng, 0.2) else 0))
    row, column = np.nonzero(stored)
    data = array[row, column]
    if chance(rng, 0.3) and data.dtype.kind in "fc" and data.dtype.itemsize > 2:
        data, row, column = (
            np.concatenate(x) for x in ((data / 2, data / 2), (row,) * 2, (column,) * 2)
        )
    shuffle = rng.permutation(len(row)) if chance(rng, 0.5) else np.arange(len(row))
    row, column, data = row[shuffle], column[shuffle], data[shuffle]
    index = pick(rng, [np.int32, np.int64])
    row, column = row.astype(index), column.astype(index)
    format = pick(rng, formats)
    kind = pick(rng, ["array", "array", "matrix"])
    if format in ("csc", "csr"):
        A = compressed_array(format, kind, row, column, data, array.shape, index)
    elif format == "coo":
        A = getattr(sp, f"coo_{kind}")((np.zeros(len(data)), (row, column)), shape=array.shape)
        A.data = data
    else:
        # SciPy's own conversions do not know every type.
        data = data.astype(np.float32 if data.dtype.char == "e" else data.dtype.newbyteorder("="))
        A = sp.coo_array((data, (row, column)), shape=array.shape)
        if array.shape[0] and array.shape[1]:
            A = getattr(sp, f"{format}_{kind}")(A)
    if A.format in ("csc", "csr", "bsr"):
        if chance(rng, 0.15):
            A.indices = np.append(A.indices, A.indices.dtype.type(99))
            A.data = np.append(
                A.data,
                A.data[:1] if len(A.data) else np.zeros((1, *A.data.shape[1:]), A.data.dtype),
                axis=0,
            )
            if len(A.data) != len(A.indices):
                A.indices = A.indices[: len(A.data)]
        if chance(rng, 0.1):
            A.indptr = A.indptr.astype(pick(rng, [np.int16, np.uint32, np.int64, ">i4"]))
        if chance(rng, 0.1):
            A.indices = np.repeat(A.indices, 2)[::2]
        if chance(rng, 0.1):
            A.indptr, A.indices, A.data = map(misaligned, (A.indptr, A.indices, A.data))
        if chance(rng, 0.2):
            for part in (A.indptr, A.indices, A.data):
                part.setflags(write=False)
    return Argument(A, meaning(array), True)


def compressed_array(format, kind, row, column, data, shape, index):
    """CSC or CSR with the entries of each line in the order in which they come."""
    major, minor, lines = (column, row, shape[1]) if format == "csc" else (row, column, shape[0])
    order = np.argsort(major, kind="stable")
    A = getattr(sp, f"{format}_{kind}")(shape, dtype=np.float64)
    A.indptr = np.concatenate([[0], np.cumsum(np.bincount(major, minlength=lines))]).astype(index)
    A.indices, A.data = minor[order].astype(index), data[order]
    return A


def clothes(rng, dense):
    """An array in any clothes, dense or sparse, sometimes corrupt."""
    if chance(rng, 0.25):
        return unfit(rng, dense) if chance(rng, 0.3) else dense_clothes(rng, dense)
    honest = sparse_clothes(rng, dense)
    return corrupt(rng, honest) if chance(rng, 0.35) else honest


def unfit(rng, dense):
    """A dense array that no function takes."""
    kind = pick(rng, ["nan", "object", "string", "shape", "flat", "none", "ragged", "date", "mask"])
    array = dense.copy()
    if kind == "nan":
        if not array.size:
            return dense_clothes(rng, dense)
        array[:] = pick(rng, [np.nan, np.inf, -np.inf])
        return Argument(array, None)
    wrong = {
        "object": array.astype(object),
        "string": np.full(array.shape, "1"),
        "shape": np.zeros((array.shape[0] + 1, *array.shape[1:], 2, 2)),
        "flat": np.zeros(()),
        "none": None,
        "ragged": [[1.0, 2.0], [3.0]],
        "date": np.zeros(array.shape, "M8[s]"),
        "mask": np.ma.masked_all((*array.shape[:-1], array.shape[-1] + 1)),
    }
    return Argument(wrong[kind], ... if kind == "mask" and wrong["mask"].size == 0 else None)


# ---- corruption --------------------------------------------------------------------------------


def corrupt(rng, honest):
    """The same array with wrong parts; its meaning is read again, without SciPy."""
    A = copy.deepcopy(honest.value)
    for part in ("indptr", "indices", "data", "row", "col"):
        if isinstance(getattr(A, part, None), np.ndarray):
            getattr(A, part).setflags(write=True)
    names = {
        "csc": ["indptr", "indices", "data"], "csr": ["indptr", "indices", "data"],
        "bsr": ["indptr", "indices", "data"], "coo": ["row", "col", "data"],
        "dia": ["offsets", "data"],
    }.get(A.format)  # fmt: skip
    if names is None:
        return honest
    if chance(rng, 0.15):
        spoil_shape(rng, A)
    else:
        for _ in range(int(rng.integers(1, 3))):
            spoil(rng, A, pick(rng, names))
    return Argument(A, reading(A))


def spoil_shape(rng, A):
    m, n = A.shape
    shapes = [
        (n, m + 1),
        (m + 1, n),
        (m + 1, n + 1),
        (4_000_000_000,) * 2,
        (2**31 - 1,) * 2,
        (1, 1),
    ]
    A._shape = pick(rng, shapes)


def spoil(rng, A, name):
    """Replace one of the arrays of a sparse array."""
    array = np.array(getattr(A, name))
    if not array.ndim:
        return
    action = pick(
        rng, ["entry", "entry", "entry", "length", "type", "shape", "swap", "nan", "layout"]
    )
    if action == "entry" and array.size and array.dtype.kind == "i":
        info = np.iinfo(array.dtype)
        wild = pick(rng, WILD)
        if chance(rng, 0.5):
            array = array.astype(np.int64)
        elif not info.min <= wild <= info.max:
            wild = -1
        array.flat[int(rng.integers(array.size))] = wild
    elif action == "length":
        shorter = array[: int(rng.integers(len(array) + 1))]
        array = shorter if chance(rng, 0.5) else np.concatenate([array, array[:1], array[:1]])
    elif action == "type" and array.dtype.kind in "biufc":
        array = array.astype(pick(rng, [object, "f8", "U5", "u8", "i1", "?", ">i8", "c16"]))
    elif action == "shape":
        array = pick(
            rng, [array[np.newaxis], array[..., np.newaxis], array.reshape(-1)[:0], np.ones(())]
        )
    elif action == "swap" and len(array) > 1:
        i, j = rng.integers(len(array), size=2)
        array[[i, j]] = array[[j, i]]
    elif action == "nan" and name == "data" and array.size and array.dtype.kind in "fc":
        array.flat[int(rng.integers(array.size))] = pick(rng, [np.nan, np.inf])
    elif action == "layout":
        array = np.repeat(array, 2, axis=0)[::2]
    A.__dict__.update({name: array} if name not in ("row", "col") else {})
    if name in ("row", "col"):
        A.coords = (array, A.coords[1]) if name == "row" else (A.coords[0], array)


def reading(A):
    """The meaning of a sparse array, entry by entry; None if it has none; ... if not known."""
    if A.format == "dia":
        return ...
    if max(A.shape) > 10_000:
        return None
    if A.data.dtype.kind not in "biufc":
        return None
    try:
        entries = list(entries_of(A))
    except (IndexError, ValueError, TypeError):
        return None
    dense = np.zeros(A.shape, np.complex128 if A.data.dtype.kind == "c" else np.float64)
    for i, j, value in entries:
        if not (0 <= i < A.shape[0] and 0 <= j < A.shape[1]):
            return None
        dense[i, j] += value
    return dense


def entries_of(A):
    """Rows, columns and values of a sparse array, as its arrays say, checked one by one."""
    parts = A.coords if A.format == "coo" else (A.indptr, A.indices)
    if any(np.ndim(part) != 1 or part.dtype.kind not in "iu" for part in parts):
        raise ValueError
    if len(A.data) != len(parts[1]) or A.data.ndim != (3 if A.format == "bsr" else 1):
        raise ValueError
    if A.format == "coo":
        if len(parts[0]) != len(parts[1]):
            raise ValueError
        yield from zip(map(int, parts[0]), map(int, parts[1]), A.data, strict=True)
        return
    r, c = A.data.shape[1:] if A.format == "bsr" else (1, 1)
    if not r or not c or A.shape[0] % r or A.shape[1] % c:
        raise ValueError
    lines = A.shape[1] if A.format == "csc" else A.shape[0] // r
    indptr = [int(p) for p in A.indptr]
    if len(indptr) != lines + 1 or indptr[0] != 0 or indptr[-1] > len(A.indices):
        raise ValueError
    if any(q < p for p, q in pairwise(indptr)):
        raise ValueError
    for major in range(lines):
        for p in range(indptr[major], indptr[major + 1]):
            minor = int(A.indices[p])
            if A.format == "csc":
                yield minor, major, A.data[p]
            elif A.format == "csr":
                yield major, minor, A.data[p]
            else:
                for i in range(r):
                    for j in range(c):
                        yield major * r + i, minor * c + j, A.data[p, i, j]


# ---- calls -------------------------------------------------------------------------------------


def fingerprint(x):
    """Everything that a call could change in an argument."""
    if isinstance(x, (list, tuple)):
        return tuple(map(fingerprint, x))
    if sp.issparse(x):
        state = x.__dict__ if x.format != "dok" else {"dict": sorted(x.items())}
        return tuple((name, fingerprint(part)) for name, part in sorted(state.items()))
    if isinstance(x, np.ndarray):
        return id(x), x.shape, x.strides, x.dtype.str, x.flags.writeable, x.tobytes()
    return repr(x)


def outcome_of(x):
    """A result as bytes, to be compared with that of the same call."""
    if isinstance(x, (tuple, list)):
        return tuple(map(outcome_of, x))
    if sp.issparse(x):
        x = x.tocoo()
        return x.shape, *map(outcome_of, (*x.coords, x.data))
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes()
    if isinstance(x, sc.SymbolicFactor):
        return x.digest
    if isinstance(x, sc.CholeskyFactor):
        return outcome_of(x.L)
    if isinstance(x, sc.CholeskyBatch):
        return outcome_of(x.partial_inverse())
    return repr(x)


def dense_of(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def close(result, expected, dtype):
    """Compare with dense NumPy, as the rounding of a type and a condition of some 100 allow."""
    if isinstance(expected, tuple):
        for part, right in zip(result, expected, strict=True):
            close(part, right, dtype)
        return
    found, expected = dense_of(result), np.asarray(expected)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert found.dtype.kind in "fc", found.dtype
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    error = float(np.abs(found - expected).max(initial=0))
    assert error <= 2e4 * eps(dtype) * scale, f"error {error} of {scale}"


def attempt(call: Callable[[], Any], arguments, must, expected=None, dtype=np.float64):
    """Make a call twice, and judge it.

    Parameters
    ----------
    must : whether it has to succeed; None where both are right.
    expected : the right result, if it is known.

    Returns the result, or the refusal.
    """
    before = fingerprint(arguments)
    results = []
    for _ in range(2):
        try:
            results.append(call())
        except REFUSALS as refusal:
            results.append(refusal)
        assert fingerprint(arguments) == before, "an argument was changed"
    first, second = results
    assert outcome_of(first) == outcome_of(second), ("not repeated", first, second)
    refused = isinstance(first, BaseException)
    assert not (refused and must is True), f"refused: {first!r}"
    assert refused or must is not False, f"not refused: {first!r}"
    if not refused and expected is not None:
        close(first, expected, dtype)
    return first


# ---- arguments ---------------------------------------------------------------------------------


class Fuzz:
    """One case: a pattern, a type, and objects of the package on them."""

    def __init__(self, seed: int):
        self.rng = rng = np.random.default_rng(seed)
        self.n = 0 if chance(rng, 0.03) else int(rng.integers(1, 41 if chance(rng, 0.05) else 11))
        self.mask = random_pattern(rng, self.n, pick(rng, KINDS), 0.3)
        self.complex = chance(rng, 0.3)
        self.S = self.F = self.H = self.batch = self.batch_truth = None
        self.valid = False

    def run(self, operations):
        for _ in range(int(self.rng.integers(1, 7))):
            pick(self.rng, operations)(self)

    def matrix(self) -> np.ndarray:
        """Another positive definite matrix of the pattern."""
        return random_values(self.rng, self.mask, np.complex128 if self.complex else np.float64)

    def symmetric(self) -> tuple[Any, Any, bool, bool]:
        """A matrix in clothes, the Hermitian matrix that it means, `lower`, and if it is honest."""
        lower = chance(self.rng, 0.7)
        D = self.matrix()
        if chance(self.rng, 0.4) and (np.tril(self.mask, -1).any() or chance(self.rng, 0.5)):
            D = np.tril(D) if lower else np.triu(D)
        A = clothes(self.rng, D)
        return A.value, meant(A.truth, lower, self.n), lower, A.honest

    def vectors(self, *, sparse=True, bad=0.25) -> Argument:
        """Right-hand sides in clothes, with their meaning."""
        rng = self.rng
        k = int(pick(rng, [0, 1, 2, 3, 3, 70] if chance(rng, 0.1) else [1, 2, 3]))
        one = chance(rng, 0.5)
        b = rng.standard_normal(self.n if one else (self.n, k))
        if chance(rng, 0.3):
            b = b + 1j * rng.standard_normal(b.shape)
        if chance(rng, bad):
            if sparse and not one and chance(rng, 0.5):
                return corrupt(rng, sparse_clothes(rng, b))
            wrong = unfit(rng, b)
            return wrong
        if sparse and not one and chance(rng, 0.4):
            return sparse_clothes(rng, b * (rng.random(b.shape) < 0.4))
        return dense_clothes(rng, b)

    def threads(self) -> dict:
        return {"threads": pick(self.rng, [1, 2, 3])} if chance(self.rng, 0.3) else {}

    def ordering(self) -> dict:
        rng = self.rng
        if chance(rng, 0.15):
            return {"ordering": rng.permutation(self.n)}
        return {"ordering": pick(rng, ORDERINGS)} if chance(rng, 0.6) else {}

    def factor(self):
        """A valid factor, of which H is the matrix."""
        if self.F is None or not self.valid:
            self.H = self.matrix()
            self.F, self.valid = sc.cholesky(sp.csc_array(self.H), **self.ordering()), True
        return self.F

    def analysis(self):
        if self.S is None:
            self.S = sc.analyze(self.mask, **self.ordering())
        return self.S

    def packed(self, H, S) -> np.ndarray:
        """The packed values of a dense matrix."""
        return H[S.indices, np.repeat(np.arange(self.n), np.diff(S.indptr))]

    def change(self, S) -> Argument:
        """A change of A, packed or as a matrix; its meaning is Hermitian."""
        rng, dA = self.rng, self.matrix() * 0.1
        if chance(rng, 0.15) and self.n:
            return unfit(rng, self.packed(dA, S))
        if chance(rng, 0.5):
            A = sparse_clothes(rng, dA)
            return corrupt(rng, A) if chance(rng, 0.3) else A
        dA = dA * inside(S)
        return Argument(self.packed(dA, S), dA)


def meant(truth, lower, n):
    """The Hermitian matrix given by one triangle of an array."""
    if truth is None or truth is ...:
        return truth
    if truth.shape != (n, n):
        return ... if truth.ndim == 2 and truth.shape[0] == truth.shape[1] else None
    T = np.tril(truth) if lower else np.triu(truth)
    if not np.isfinite(T).all():
        return None
    off = T - np.diag(np.diag(T))
    return off + off.conj().T + np.diag(np.diag(T).real)


def has_stored_zeros_alone(A, lower):
    """Whether a diagonal matrix stores zeros, and none in the triangle that is read.

    They are entries of a pattern, and may be refused as those of the other triangle.
    """
    return triangles(compressed(A), lower) == (0, 1)


def dominant(H):
    diagonal = np.diag(H).real
    rest = np.abs(H).sum(axis=1) - np.abs(np.diag(H))
    return bool((diagonal > rest).all()) and bool((np.abs(H) < 1e6).all())


def known(H):
    """The meaning of a matrix that has to be factored, as it is dominant; else None."""
    return H if isinstance(H, np.ndarray) and dominant(H) else None


def result_type(A):
    """The type whose rounding a result has."""
    return rounding(getattr(A, "dtype", np.dtype(float)))


def dtype_of(x):
    return x.dtype if sp.issparse(x) else np.asarray(x).dtype


def rounding(*dtypes):
    """The type in which operands are computed, as to its rounding."""
    dtype = np.result_type(*dtypes)
    return np.dtype(np.float32 if dtype.kind in "fc" and eps(dtype) > 1e-10 else np.float64)


def solvable(b, n):
    """Whether an array is a right-hand side."""
    return isinstance(b, np.ndarray) and b.shape[:1] == (n,) and bool(np.isfinite(b).all())


def inverse(H):
    return np.linalg.inv(H)


# ---- operations: functions of matrices ---------------------------------------------------------


def one_shot(fuzz):
    """cholesky, logdet, solve, partial_inverse, analyze of a matrix in any clothes."""
    rng = fuzz.rng
    A, H, lower, honest = fuzz.symmetric()
    options = {"lower": lower, **fuzz.ordering(), **fuzz.threads()}
    if chance(rng, 0.1):
        options["check_symmetric"] = chance(rng, 0.5)
        honest = False
    good, dtype = known(H), result_type(A)
    must = False if H is None else True if honest and good is not None else None
    name = pick(rng, ["cholesky", "logdet", "solve", "partial_inverse", "analyze"])
    if name == "analyze":
        if must and has_stored_zeros_alone(A, lower):
            must = None
        S = attempt(lambda: sc.analyze(A, **options), [A], must or None)
        if isinstance(S, sc.SymbolicFactor) and S.shape[0] == fuzz.n:
            check_analysis(S)
        return
    if name == "solve":
        b = fuzz.vectors()
        if b.truth is None:
            must = False
        elif not b.honest:
            must = must and None
        expected = None
        if good is not None and must is not False and solvable(b.truth, fuzz.n):
            expected = np.linalg.solve(good, b.truth)
        attempt(lambda: sc.solve(A, b.value, **options), [A, b.value], must, expected, dtype)
        return
    if name == "logdet":
        expected = None if good is None else np.linalg.slogdet(good)[1]
        attempt(lambda: sc.logdet(A, **options), [A], must, expected, dtype)
        return
    if name == "partial_inverse":
        Z = attempt(lambda: sc.partial_inverse(A, **options), [A], must)
        if good is not None and sp.issparse(Z):
            inside = Z.toarray() != 0
            close(Z, np.where(inside, inverse(good), 0), dtype)
            assert inside[good != 0].all()
        return
    F = attempt(lambda: sc.cholesky(A, **options), [A], must)
    if good is not None and isinstance(F, sc.CholeskyFactor):
        check_factor(F, good)
        fuzz.F, fuzz.H, fuzz.valid = F, good, True


def inside(S):
    """The pattern of an analysis, both triangles, as a boolean array."""
    n = S.shape[0]
    B = np.zeros((n, n), bool)
    B[S.indices, np.repeat(np.arange(n), np.diff(S.indptr))] = True
    return B | B.T


def check_analysis(S):
    assert sorted(S.perm.tolist()) == list(range(S.shape[0]))
    B = inside(S)
    L = eliminate(B[S.perm][:, S.perm])
    assert S.nnz == L.sum()
    indptr, indices = S.factor_pattern()
    assert np.array_equal(indices, np.nonzero(L.T)[1])
    assert np.array_equal(np.diff(indptr), L.sum(axis=0))
    assert min(S.memory) >= 0
    assert repr(S).startswith("<SymbolicFactor")
    assert pickle.loads(pickle.dumps(S)) == S


def check_factor(F, H):
    L = F.L.toarray()
    close(L @ L.conj().T, H[F.perm][:, F.perm], F.dtype)


def triangle(fuzz):
    """sc.solve_triangular."""
    rng = fuzz.rng
    lower, unit = chance(rng, 0.5), chance(rng, 0.3)
    D = np.tril(fuzz.matrix()) if lower else np.triu(fuzz.matrix())
    if chance(rng, 0.2):
        D = fuzz.matrix()
    if chance(rng, 0.1) and fuzz.n:
        D[0, 0] = 0
    T, b = clothes(rng, D), fuzz.vectors()
    trans = pick(rng, [0, 1, 2, "N", "T", "C"])
    must = False if T.truth is None or b.truth is None else None
    expected = None
    arrays = isinstance(T.truth, np.ndarray) and isinstance(b.truth, np.ndarray)
    if arrays and T.truth.shape == (fuzz.n, fuzz.n) and b.truth.shape[:1] == (fuzz.n,):
        M = np.tril(T.truth, -1) if lower else np.triu(T.truth, 1)
        diagonal = np.ones(fuzz.n) if unit else np.diag(T.truth)
        M = M + np.diag(diagonal)
        well = (np.abs(diagonal) > 0).all() and np.isfinite(M).all()
        if well and np.isfinite(b.truth).all() and (fuzz.n == 0 or np.linalg.cond(M) < 1e3):
            M = {0: M, "N": M, 1: M.T, "T": M.T}.get(trans, M.conj().T)
            expected = np.linalg.solve(M, b.truth)
            must = True if T.honest and b.honest else None
    options = {"lower": lower, "trans": trans, "unit_diagonal": unit}
    if T.truth is None and isinstance(T.value, np.ndarray) and T.value.dtype.kind == "f":
        must = None  # a NaN may lie in the part that is not read
    values = [T.value, b.value]
    dtype = rounding(*map(dtype_of, values)) if expected is not None else None
    attempt(lambda: sc.solve_triangular(*values, **options), values, must, expected, dtype)


# ---- operations: analyses and factors ----------------------------------------------------------


def factorize(fuzz):
    """values, factorize and refactorize with other values, in one or the other form."""
    rng, S = fuzz.rng, fuzz.analysis()
    A, H, lower, honest = fuzz.symmetric()
    if chance(rng, 0.3):
        honest = True
        H = fuzz.matrix()
        A, lower = fuzz.packed(H, S), True
        if chance(rng, 0.2) and fuzz.n:
            A = A[:-1] if chance(rng, 0.5) else A.astype(object)
            H = None
    must = False if H is None else None
    if isinstance(H, np.ndarray):
        fits = not (np.abs(H) * ~inside(S)).any()
        must = None if fits else False
    good = known(H) if must is None else None
    must = True if good is not None and honest else must
    expected = None if good is None else fuzz.packed(good, S)
    if not (isinstance(A, np.ndarray) and A.ndim == 1):
        attempt(lambda: S.values(A, lower=lower), [A], must, expected, result_type(A))
    if fuzz.F is None or fuzz.F.pattern != S or chance(rng, 0.5):
        F = attempt(lambda: S.factorize(A, lower=lower, **fuzz.threads()), [A], must)
        if isinstance(F, sc.CholeskyFactor) and good is not None:
            check_factor(F, good)
            fuzz.F, fuzz.H, fuzz.valid = F, good, True
        return
    was = fuzz.valid
    F = attempt(lambda: fuzz.F.refactorize(A, lower=lower, **fuzz.threads()), [A], must)
    if isinstance(F, np.linalg.LinAlgError):
        fuzz.valid = False
        for use in (
            fuzz.F.logdet,
            fuzz.F.partial_inverse,
            lambda: fuzz.F.solve(np.ones(fuzz.n)),
            lambda: fuzz.F.L,
        ):
            attempt(use, [], False)
    elif isinstance(F, sc.CholeskyFactor):
        fuzz.valid = good is not None
        if good is not None:
            check_factor(F, good)
            fuzz.H = good
    elif was:
        check_factor(fuzz.F, fuzz.H)  # the old factor stays


def indefinite(fuzz):
    """A matrix that is not positive definite is refused, and leaves no factor."""
    H = fuzz.matrix()
    if not fuzz.n:
        return
    i = int(fuzz.rng.integers(fuzz.n))
    H[i, i] = pick(fuzz.rng, [-1.0, 0.0, -1e300, -1e-300])
    A = sparse_clothes(fuzz.rng, np.tril(H), ["csc", "csr"]).value
    if A.dtype.kind == "i" or A.dtype.itemsize == 2:
        return
    options = fuzz.ordering()
    attempt(lambda: sc.cholesky(A, **options), [A], False)


def solves(fuzz):
    F, H, rng = fuzz.factor(), fuzz.H, fuzz.rng
    b = fuzz.vectors()
    fits = solvable(b.truth, fuzz.n)
    must = False if b.truth is None else True if b.honest else None
    dtype = F.dtype
    if chance(rng, 0.5):
        expected = np.linalg.solve(H, b.truth) if fits else None
        attempt(lambda: F.solve(b.value, **fuzz.threads()), [b.value], must, expected, dtype)
        return
    trans, permute = pick(rng, ["N", "T", "C", 0, 1, 2]), chance(rng, 0.5)
    expected = None
    if fits:
        L, P = F.L.toarray(), np.eye(fuzz.n)[F.perm] if permute else np.eye(fuzz.n)
        M = {"N": P.T @ L, 0: P.T @ L, "T": L.T @ P, 1: L.T @ P}.get(trans, L.conj().T @ P)
        expected = np.linalg.solve(M, b.truth)
    options = {"trans": trans, "permute": permute, **fuzz.threads()}
    attempt(lambda: F.solve_triangular(b.value, **options), [b.value], must, expected, dtype)


def wrong_options(fuzz):
    """Orderings, numbers of threads and names that are none."""
    rng, n = fuzz.rng, fuzz.n
    A, F, b = sp.csc_array(fuzz.matrix()), fuzz.factor(), np.ones(n)
    order = np.arange(n)
    orderings = [
        order + 1, order[:-1], np.zeros(n, int), order.astype(float) + 0.5, order.astype(object),
        [order], order - 2**40, np.full(n, -(2**63)), "nothing", None, 3, {}, np.arange(n + 1),
        b"amd", np.full(n, np.nan), np.ma.masked_array(order, True),
    ]  # fmt: skip
    method = pick(rng, orderings)
    right = n == 0 or (n == 1 and np.array_equal(method, [0]))
    attempt(lambda: sc.analyze(A, ordering=method), [A, method], None if right else False)
    attempt(lambda: sc.solve(A, b, ordering=method), [A, b], None if right else False)
    threads = pick(rng, [0, -1, 1.5, "2", 2**40, 10**30, np.int8(2), True, [], np.nan])
    attempt(lambda: sc.cholesky(A, threads=threads), [A], None)
    attempt(lambda: F.solve(b, threads=threads), [b], None)
    attempt(lambda: F.partial_inverse(threads=threads), [], None)
    name = pick(rng, ["X", 3, -1, b"N", "n", 0.5])
    attempt(lambda: F.solve_triangular(b, trans=name), [b], False)
    attempt(lambda: sc.solve_triangular(A, b, trans=name), [A, b], False)
    attempt(lambda: F.partial_inverse(entries=name), [], False)
    attempt(lambda: color(A, name), [A], False)
    attempt(lambda: color(A, order=method, budget=0.0), [A, method], None)
    attempt(lambda: fuzz.analysis().values(A, dtype="O"), [A], False)


def properties(fuzz):
    """What a factor knows of itself, and copies of it."""
    F, H = fuzz.factor(), fuzz.H
    attempt(F.logdet, [], True, np.linalg.slogdet(H)[1], F.dtype)
    attempt(lambda: F.diag_inverse(**fuzz.threads()), [], True, np.diag(inverse(H)).real, F.dtype)
    Z = attempt(F.partial_inverse, [], True)
    close(Z, np.where(Z.toarray() != 0, inverse(H), 0), F.dtype)
    Z = attempt(lambda: F.partial_inverse(entries="factor"), [], True)
    close(Z, np.where(Z.toarray() != 0, inverse(H), 0), F.dtype)
    if fuzz.n:
        assert attempt(F.condest, [], True) <= np.linalg.cond(H, 1) * 1.01
    for twin in (F.copy(), copy.copy(F), copy.deepcopy(F), pickle.loads(pickle.dumps(F))):
        assert outcome_of(twin) == outcome_of(F)
        twin.refactorize(sp.csc_array(H))
    attempt(lambda: F.sample(rng=0), [], True)
    attempt(lambda: F.sample((2, 0, 3), rng=0), [], True)
    b = np.ones(fuzz.n)
    if fuzz.n:
        attempt(lambda: F.to_linear_operator() @ b, [b], True, np.linalg.solve(H, b), F.dtype)


def inverse_entries(fuzz):
    F, rng, n = fuzz.factor(), fuzz.rng, fuzz.n
    size = int(rng.integers(0, 4))
    rows, columns = (rng.integers(-n, max(n, 1), size) for _ in range(2))
    wrong = n == 0 and size
    if chance(rng, 0.3) and size:
        rows = rows.astype(np.int64)
        rows[0] = pick(rng, [n, -n - 1, *WILD[:8]])
        wrong = wrong or not -n <= rows[0] < n
    elif chance(rng, 0.1):
        rows = pick(rng, [rows.astype(float) + 0.5, rows.astype(object), np.array("x"), None])
        wrong = None
    must = None if wrong is None else not wrong
    expected = inverse(fuzz.H)[rows, columns] if must else None
    attempt(
        lambda: F.inverse_entries(rows, columns, **fuzz.threads()),
        [rows, columns],
        must,
        expected,
        F.dtype,
    )


def batches(fuzz):
    """factorize_batch, and what a batch does."""
    S, rng = fuzz.analysis(), fuzz.rng
    Hs = [fuzz.matrix() for _ in range(int(rng.integers(0, 4)))]
    values = np.array([fuzz.packed(H, S) for H in Hs]).reshape(len(Hs), len(S.indices))
    values = values.astype(pick(rng, ["c16", "c8"] if fuzz.complex else ["f8", "f4"]))
    if chance(rng, 0.2):
        wrong = unfit(rng, values) if values.size else Argument(values[:, :-1], None)
        must = False if values.shape[1] else None
        attempt(lambda: S.factorize_batch(wrong.value), [wrong.value], must)
        return
    batch = attempt(lambda: S.factorize_batch(values, **fuzz.threads()), [values], True)
    dtype, k, n = values.dtype, len(Hs), fuzz.n
    inverses = np.array([inverse(H) for H in Hs]).reshape(k, n, n)
    attempt(batch.logdet, [], True, np.array([np.linalg.slogdet(H)[1] for H in Hs]), dtype)
    b = rng.standard_normal((k, n, 2) if chance(rng, 0.5) else (k, n))
    x = np.einsum("kij,kj...->ki...", inverses, b)
    attempt(lambda: batch.solve(b, **fuzz.threads()), [b], True, x, dtype)
    packed = [fuzz.packed(Z, S) for Z in inverses]
    expected = np.array(packed).reshape(values.shape)
    attempt(lambda: batch.partial_inverse(**fuzz.threads()), [], True, expected, dtype)
    attempt(batch.diag_inverse, [], True, np.einsum("kii->ki", inverses).real, dtype)
    attempt(lambda: batch.solve(b[:, :-1]), [b], False if n else None)
    for item in (-1, 0, k, -k - 1, 2**40):
        one = attempt(lambda item=item: batch[item], [], -k <= item < k)
        if isinstance(one, sc.CholeskyFactor):
            check_factor(one, Hs[item])
    spoiled = values.copy()
    if spoiled.size:
        spoiled[-1, 0] = pick(rng, [-1.0, 0.0, np.nan, -np.inf])
        refusal = attempt(lambda: batch.refactorize(spoiled), [spoiled], False)
        assert isinstance(refusal, ValueError)
    attempt(lambda: batch.refactorize(values), [values], True)
    attempt(batch.logdet, [], True, np.array([np.linalg.slogdet(H)[1] for H in Hs]), dtype)
    dA = np.ones_like(values)
    attempt(lambda: dv.logdet_hvp(batch, dA), [dA], True)
    attempt(lambda: dv.solve_vjp(batch, b, b), [b], True)
    assert outcome_of(pickle.loads(pickle.dumps(batch))) == outcome_of(batch)


# ---- operations: derivatives -------------------------------------------------------------------


def derivatives(fuzz):
    """Every function of `sparsechol.derivatives`, against dense formulas."""
    F, H, rng = fuzz.factor(), fuzz.H, fuzz.rng
    S, A1 = F.pattern, inverse(H)
    change = fuzz.change(S)
    v = change.value
    dA = meant(change.truth, True, fuzz.n) if change.truth is not None else None
    refused = change.truth is None or dA is None
    dA = dA if isinstance(dA, np.ndarray) and not (np.abs(dA) * ~inside(S)).any() else None
    must = False if refused and v is not None and not has_nan(v) else None
    weights = 2 - np.eye(fuzz.n)
    T = fuzz.threads()

    def check(call, right):
        expected = None if dA is None or must is False else right()
        return attempt(call, [v], must, expected, F.dtype)

    def stored(M):
        return fuzz.packed(M * weights, S)

    def L_change():
        L = np.linalg.cholesky(H[S.perm][:, S.perm])
        X = np.linalg.solve(L, np.linalg.solve(L, dA[S.perm][:, S.perm].conj().T).conj().T)
        return L @ (np.tril(X) - np.diag(np.diag(X)) / 2)

    name = pick(rng, DERIVATIVES)
    x = rng.standard_normal((fuzz.n, 2) if chance(rng, 0.5) else fuzz.n)
    if name == "logdet":
        check(lambda: dv.logdet_jvp(F, v, **T), lambda: np.trace(A1 @ dA).real)
        check(lambda: dv.logdet_hvp(F, v, **T), lambda: stored(-A1 @ dA @ A1))
        attempt(lambda: F.logdet_grad(**T), [], True, stored(A1), F.dtype)
    elif name == "factor":
        dL = check(lambda: dv.factor_jvp(F, v, **T), L_change)
        bar = clothes(rng, np.tril(fuzz.matrix()))
        g = attempt(
            lambda: dv.factor_vjp(F, bar.value, **T),
            [bar.value],
            None if has_nan(bar.value) or bar.truth is not None else False,
        )
        if (
            dA is not None
            and sp.issparse(dL)
            and isinstance(g, np.ndarray)
            and isinstance(bar.truth, np.ndarray)
        ):
            left = np.sum(bar.truth.conj() * dL.toarray()).real
            right = np.sum(g.conj() * fuzz.packed(dA, S)).real
            if np.isfinite(left):
                close(right, left, np.float32)
    elif name == "solve":
        db = rng.standard_normal(x.shape)
        check(lambda: dv.solve_jvp(F, x, dA=v, db=db, **T), lambda: A1 @ (db - dA @ x))
        right = stored(-(outer(A1 @ db, x) + outer(x, A1 @ db)) / 2)
        right = right if F.dtype.kind == "c" else right.real
        attempt(lambda: dv.solve_vjp(F, x, db, **T), [x, db], True, (right, A1 @ db), F.dtype)
    elif name == "triangular":
        options = {"trans": pick(rng, ["N", "T", "C"]), "permute": chance(rng, 0.5), **T}
        b = fuzz.vectors(sparse=False)
        must_b = None
        dx = attempt(
            lambda: dv.solve_triangular_jvp(F, b.value, dA=v, db=b.value, **options),
            [v, b.value],
            must_b,
        )
        attempt(lambda: dv.solve_triangular_vjp(F, b.value, b.value, **options), [b.value], must_b)
        assert dx is not None
    elif name == "quadratic":
        check(
            lambda: dv.quadratic_form_jvp(F, x, dA=v, db=x),
            lambda: 2 * np.sum(x * x) - np.sum(x * (dA @ x)).real,
        )
        attempt(lambda: dv.quadratic_form(F, x, **T), [x], True, np.sum(x * (A1 @ x)).real, F.dtype)
        attempt(lambda: dv.quadratic_form_grad(F, x), [x], True)
    elif name == "partial inverse":
        Z = check(lambda: dv.diag_inverse_jvp(F, v, **T), lambda: -np.diag(A1 @ dA @ A1).real)
        Z = attempt(lambda: dv.partial_inverse_jvp(F, v, **T), [v], must)
        if dA is not None and sp.issparse(Z):
            close(Z, np.where(inside(S), -A1 @ dA @ A1, 0), F.dtype)
        bar = clothes(rng, fuzz.matrix())
        entries = pick(rng, ["matrix", "factor"])
        attempt(
            lambda: dv.partial_inverse_vjp(F, bar.value, entries=entries, **T), [bar.value], None
        )
        d = fuzz.vectors(sparse=False).value
        attempt(lambda: dv.diag_inverse_vjp(F, d, **T), [d], None)
    else:
        a, b = fuzz.vectors(sparse=False), fuzz.vectors(sparse=False)
        attempt(lambda: dv.sampled_outer(S, a.value, a.value), [a.value], None)
        attempt(lambda: dv.sampled_outer(S, a.value, b.value), [a.value, b.value], None)
        attempt(lambda: dv.full_gradient(S, v), [v], None)
        attempt(lambda: dv.solve_jvp(F, a.value, db=b.value), [a.value, b.value], None)
        attempt(lambda: dv.solve_vjp(F, a.value, b.value), [a.value, b.value], None)
        attempt(lambda: dv.quadratic_form(F, a.value), [a.value], None)


DERIVATIVES = ["logdet", "factor", "solve", "triangular", "quadratic", "partial inverse", "rest"]


def outer(x, y):
    x, y = (v[:, np.newaxis] if v.ndim == 1 else v for v in (x, y))
    return x @ y.conj().T


def has_nan(value):
    """Whether an array holds NaN, which derivatives hand on."""
    data = value.tocoo().data if sp.issparse(value) and value.format == "dok" else value
    data = data.data if sp.issparse(data) else data
    data = np.asarray(data) if not isinstance(data, (list, memoryview)) else np.zeros(0)
    return data.dtype.kind in "fc" and not np.isfinite(data).all()


# ---- operations: colorings ---------------------------------------------------------------------


def colorings(fuzz):
    rng = fuzz.rng
    structure = pick(rng, ["column", "row", "symmetric", "bidirectional"])
    method = (
        pick(rng, ["direct", "substitution"])
        if structure in ("symmetric", "bidirectional")
        else "direct"
    )
    J = fuzz.matrix().real * (rng.random((fuzz.n, fuzz.n)) < 0.7)
    if structure == "symmetric":
        J = fuzz.matrix().real
    A = clothes(rng, J)
    order = pick(rng, ["auto", "natural", "smallest_last", "random", "incidence_degree"])
    if chance(rng, 0.2):
        order = rng.permutation(fuzz.n * (2 if structure == "bidirectional" else 1))
    if chance(rng, 0.1) and fuzz.n:
        order = rng.integers(-3, fuzz.n + 3, fuzz.n)
    if sp.issparse(A.value) and max(A.value.shape) > 10_000:
        return  # may be right, and then costs memory of its order
    must = None
    C = attempt(
        lambda: color(A.value, structure, method=method, order=order, budget=0.0), [A.value], must
    )
    if not isinstance(C, Coloring):
        return
    C.check()
    truth = np.zeros(C.sparsity.shape)
    i, j = C.sparsity.nonzero()
    truth[i, j] = rng.standard_normal(len(i))
    if structure == "symmetric":
        truth = np.tril(truth) + np.tril(truth, -1).T
    seeds = C.seed()
    if structure == "bidirectional":
        products = (truth @ seeds[0], seeds[1].T @ truth)
    else:
        products = seeds.T @ truth if structure == "row" else truth @ seeds
    loose = np.float32 if method == "substitution" else np.float64
    format = pick(rng, ["csc", "csr", "coo"])
    attempt(lambda: C.decompress(products, format=format), list(products), True, truth, loose)
    spoiled = (
        [np.asarray(p)[:-1] for p in products] if isinstance(products, tuple) else products[:-1]
    )
    attempt(lambda: C.decompress(spoiled), [spoiled], None)
    if truth.shape == (fuzz.n, fuzz.n):
        attempt(lambda: C.decompress(products, format=fuzz.analysis()), list(products), None)
    file = io.BytesIO()
    C.save(file)
    file.seek(0)
    assert Coloring.load(file) == C == pickle.loads(pickle.dumps(C))


OPERATIONS = [
    one_shot, one_shot, one_shot, triangle, triangle, factorize, factorize, indefinite, solves,
    solves, properties, inverse_entries, wrong_options, batches, derivatives, derivatives,
    derivatives, colorings,
]  # fmt: skip
