"""Arguments of the fast fuzzer (`support.fuzz_calls`): the same in other clothes, or damaged.

Each function here makes one change of a right argument, and tells what must become of the call:
SAME, the right result; REFUSED, an error; TOLD, an error or NaN in the result; LENGTH, an error
where the entry does not take arguments of any length; or EITHER, where all are right.
"""

import copy

import numpy as np
import scipy.sparse as sp

SAME, REFUSED, TOLD, EITHER = "the same result", "an error", "an error or NaN", "either"
LENGTH = "an error, unless the entry takes any length"

WILD = [-1, -(2**31), 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63)]
SHORT = ["i1", "i2", ">i4", "u1", "u4", "u8", ">i8"]  # integers that hold what is small
NONSENSE = [
    None, "x", b"", [], {}, (), -1, 0, 1.5, np.nan, 2**70, True, 1j, object(), [[1, 2], [3]], set(),
    np.float64, len, np.zeros((0, 0)), np.zeros((2, 2, 2)), np.array("x"), np.array(None),
    np.zeros(3, "M8[s]"), np.zeros(3, [("a", "f8")]), sp.csc_array((0, 0)), sp.coo_array((2, 3)),
]  # fmt: skip


def pick(rng, options):
    return options[rng.integers(len(options))]


def misaligned(array):
    """The same numbers at an odd address."""
    moved = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def reversed_in_memory(array):
    return np.flip(np.flip(array).copy())


def strided(array):
    return np.repeat(array, 2, axis=0)[::2]


CLOTHES = [
    read_only, misaligned, strided, reversed_in_memory, np.asfortranarray, np.ma.masked_array,
    lambda x: x.astype(x.dtype.newbyteorder(">")), np.ndarray.tolist,
    lambda x: np.broadcast_to(x, (2, *x.shape))[1],
]  # fmt: skip


# ---- dense arrays ------------------------------------------------------------------------------


def dressed(rng, array):
    """The same numbers in another layout or byte order."""
    clothes = pick(rng, CLOTHES)
    if clothes is np.ndarray.tolist and (array.size == 0 or array.dtype.itemsize in (4, 8)):
        clothes = read_only  # lists have no type, and forget a dimension
    return clothes(array), SAME


def not_finite(rng, array):
    if not array.size or array.dtype.kind not in "fc":
        return misshapen(rng, array)
    array = array.copy()
    array.flat[rng.integers(array.size)] = pick(rng, [np.nan, np.inf, -np.inf])
    return array, TOLD


def misshapen(rng, array):
    if array.ndim == 0:
        return array[None, None], EITHER
    axis = rng.integers(array.ndim)
    length = array.shape[axis]
    if length < 3:  # what is left may be broadcast
        return np.ones((3, 2, 4)), LENGTH
    if rng.random() < 0.25:
        return array[None, None, None], EITHER  # many at once
    lengths = [np.arange(length - 1), [*range(length), 0], np.zeros(0, int)]
    return np.take(array, pick(rng, lengths), axis), LENGTH


def mistyped(rng, array):
    if not array.size:
        return misshapen(rng, array)
    masked = np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) == 0)
    kinds = [
        array.astype(object), np.full(array.shape, "1"), np.zeros(array.shape, "M8[s]"),
        np.zeros(array.shape, [("a", "f8")]), masked,
    ]  # fmt: skip
    return pick(rng, kinds), REFUSED


def other_numbers(rng, array):
    """Numbers that are right or wrong, large or small, in any type."""
    array = array.copy()
    if array.size:
        value = pick(rng, [0, 1e-320, 1e300, -1e300, 3e38, -1.0, 1e16])
        with np.errstate(all="ignore"):
            array.flat[rng.integers(array.size)] = value
    kind = pick(rng, ["?", "i1", "u8", "f2", "f4", "f8", "g", "c8", "c16", "G", array.dtype])
    with np.errstate(all="ignore"):
        return array.astype(kind), EITHER


def nonsense(rng, _):
    return pick(rng, NONSENSE), EITHER


DENSE = [dressed, dressed, not_finite, misshapen, mistyped, other_numbers, nonsense]


def dense(rng, array):
    return pick(rng, DENSE)(rng, array)


# ---- rows, columns, parents, colors ------------------------------------------------------------


def wild_index(rng, array):
    """A number that is none of a row, in the type that holds it."""
    if not array.size:
        return array.astype(">i8"), EITHER
    array = array.astype(np.int64)
    array.flat[rng.integers(array.size)] = pick(rng, WILD)
    return array, EITHER


def integers(rng, array):
    action = pick(rng, [dressed, wild_index, wild_index, misshapen, mistyped, nonsense, "kind"])
    if action == "kind":
        kind = pick(rng, [*SHORT, "?", "f4", "f8", "c16", "g"])
        with np.errstate(all="ignore"):
            return array.astype(kind), EITHER
    value, verdict = action(rng, array)
    return value, SAME if verdict == SAME else EITHER


# ---- sparse arrays -----------------------------------------------------------------------------

PARTS = {"csc": ("indptr", "indices", "data"), "bsr": ("indptr", "indices", "data"),
         "coo": ("row", "col", "data"), "dia": ("offsets", "data")}  # fmt: skip
PARTS["csr"] = PARTS["csc"]


def replace(A, **parts):
    """A sparse array with other arrays, which SciPy does not check."""
    twin = copy.copy(A)
    twin.__dict__ = A.__dict__.copy()
    for name, part in parts.items():
        if name in ("row", "col"):
            row, column = twin.coords
            twin.coords = (part, column) if name == "row" else (row, part)
        elif name == "shape":
            twin._shape = part
        else:
            setattr(twin, name, part)
    return twin


def sparse(rng, A):
    """A sparse array with one of its arrays in other clothes, or damaged."""
    if rng.random() < 0.05:
        return nonsense(rng, A)
    if A.format not in PARTS:
        return A, SAME
    if rng.random() < 0.08:
        m, n = A.shape
        shapes = [(m + 1, n), (m, n + 1), (m + 1, n + 1), (2**31 - 1,) * 2, (2**32,) * 2, (0, 0)]
        m, n = pick(rng, shapes)
        lines = {"csc": n, "csr": m, "bsr": m}.get(A.format)
        # A larger COO or DIA array is another honest one, and may cost memory of its order.
        if lines is None and max(m, n) > 100:
            m, n = A.shape[0] + 1, A.shape[1]
        known = lines is not None and lines * max(1, getattr(A, "blocksize", (1,))[0])
        return replace(A, shape=(m, n)), REFUSED if known and known > 100 else EITHER
    name = pick(rng, PARTS[A.format])
    array = getattr(A, name)
    action = pick(rng, [part_dressed, part_dressed, part_entry, part_entry, part_spoiled, twice])
    changed, verdict = action(rng, A, name, array)
    return (changed if sp.issparse(changed) else replace(A, **{name: changed})), verdict


def part_dressed(rng, A, name, array):
    if name != "data" and rng.random() < 0.5 and array.size and array.max() < 127:
        kind = pick(rng, [k for k in SHORT if array.min() >= 0 or k[-2] != "u"])
        return array.astype(kind), SAME
    return pick(rng, [read_only, misaligned, strided, reversed_in_memory, swapped])(array), SAME


def swapped(array):
    return array.astype(array.dtype.newbyteorder(">"))


def part_entry(rng, A, name, array):
    """One wrong number in an array."""
    if not array.size:
        return part_spoiled(rng, A, name, array)
    k = rng.integers(len(array))
    if name == "data":
        array = array.copy()
        array.flat[rng.integers(array.size)] = pick(rng, [np.nan, np.inf, 1e300, 0, -1])
        return array, EITHER
    array = array.astype(np.int64) if rng.random() < 0.5 else array.copy()
    wild = pick(rng, WILD)
    if array.dtype == np.int32 and not -(2**31) <= wild < 2**31:
        wild = -1
    if name == "indptr" and rng.random() < 0.5:  # out of order, or beyond the entries by a little
        wild = int(array[-1]) + 1 if rng.random() < 0.5 else int(array[max(k - 1, 0)]) - 1
    array[k] = wild
    return array, EITHER if name == "offsets" else REFUSED


def part_spoiled(rng, A, name, array):
    """An array of another length, dimension or type."""
    if not array.size:
        return array.astype(np.int64 if array.dtype.kind == "i" else array.dtype), SAME
    spoiled = [
        array[:-1], array[:0], array[None], array[..., None], array.astype(object), None,
        np.full(array.shape, "1"), np.zeros(array.shape, "M8[s]"), np.ones(()),
    ]  # fmt: skip
    if name != "data":
        spoiled += [array.astype("f8"), array.astype("c16"), array.astype("?"), array.tolist()]
    if name != "indptr" and A.format in ("csc", "csr", "coo"):
        spoiled.append(np.concatenate([array, array[:1]]))
    return pick(rng, spoiled), EITHER if A.format in ("dia", "bsr") else REFUSED


def twice(rng, A, name, array):
    """The same matrix with repeated, unsorted entries, or with room at the end."""
    if A.format == "coo":
        order = rng.permutation(2 * A.nnz)
        row, column = (np.concatenate([x, x])[order] for x in A.coords)
        return replace(A, row=row, col=column, data=np.tile(A.data / 2, 2)[order]), SAME
    if A.format not in ("csc", "csr"):
        return A, SAME
    if rng.random() < 0.3:
        junk = np.array([99], A.indices.dtype), np.full(1, np.nan, A.data.dtype)
        indices, data = np.append(A.indices, junk[0]), np.append(A.data, junk[1])
        return replace(A, indices=indices, data=data), SAME
    indices = np.empty(2 * A.nnz, A.indices.dtype)
    data = np.empty(2 * A.nnz, A.data.dtype)
    for p, q in zip(A.indptr[:-1].tolist(), A.indptr[1:].tolist(), strict=True):
        indices[2 * p : 2 * q] = np.concatenate([A.indices[p:q], A.indices[p:q][::-1]])
        data[2 * p : 2 * q] = np.concatenate([A.data[p:q], A.data[p:q][::-1]]) / 2
    return replace(A, indptr=2 * A.indptr, indices=indices, data=data), SAME


def change(rng, argument):
    """Change an argument of any kind once; return it and what must become of the call."""
    if sp.issparse(argument):
        return sparse(rng, argument)
    if isinstance(argument, np.ndarray):
        return (integers if argument.dtype.kind in "iu" else dense)(rng, argument)
    return nonsense(rng, argument)
