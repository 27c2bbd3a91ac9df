"""What the variables of a graph depend on: a walk from inputs to outputs.

Each variable gets an array of sets of inputs (see `_sparsity.sets`) of its own shape, or None if
the variable depends on no input. A sparse variable gets a SciPy matrix whose data are sets, stored
where the variable may have entries. Variables of integers have no derivatives and no dependence.
"""

import inspect
import math
import os
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Constant
from pytensor.graph.null_type import NullType
from pytensor.graph.op import Op
from pytensor.graph.traversal import ancestors, toposort
from pytensor.scalar import Cast, Mul, Neg, Second, Sqr, TrueDiv
from pytensor.sparse import SparseTensorType
from pytensor.tensor.basic import AllocEmpty
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.linalg import PivotToPermutations
from pytensor.tensor.math import Argmax
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Shape, Shape_i
from pytensor.tensor.sort import ArgSortOp, SortOp
from pytensor.tensor.subtensor import Subtensor
from scipy.sparse import csc_array, csc_matrix, csr_matrix, issparse

from .. import _exceptions
from .._exceptions import SparsityWarning
from .._sparsity import propagate
from .._sparsity.sets import Sets
from ._rule_table import REGISTERED, RULES

PULLBACKS = ("pullback", "L_op", "grad")
CHOICES = 64  # most elements that a value that is not known chooses from without a warning
CHOOSE = (ArgSortOp, SortOp, Argmax, PivotToPermutations)
INSIDE = tuple(os.path.dirname(module.__file__) + os.sep for module in (pytensor, _exceptions))
KNOWN_HINT = "make it of constants, or pass its value in givens= or the pattern in sparsity="


class NotKnownError(Exception):
    """A rule asks for a value that is not known before the graph runs."""

    def __init__(self, x=None):
        super().__init__()
        self.x = x


def size(shape):
    return math.prod(shape)


def is_sparse(x):
    return isinstance(x.type, SparseTensorType)


def has_derivatives(x):
    return getattr(x.type, "dtype", "").startswith(("float", "complex"))


def touches_sparse(node):
    return any(is_sparse(x) for x in (*node.inputs, *node.outputs))


def takes_one_step(node):
    """Say whether an index takes one slice of the first axis."""
    return isinstance(node.op, Subtensor) and isinstance(node.op.idx_list[0], int)


def format_of(x):
    """Return the SciPy class of a sparse variable."""
    return csr_matrix if x.type.format == "csr" else csc_matrix


def sets_in(ids):
    """Return the array of sets in what a variable depends on."""
    return ids.data if issparse(ids) else ids


class Source:
    """What is known of a variable from outside of a graph.

    Parameters
    ----------
    shape : function
    value : function or None
        None if the value is not known.
    hidden : bool
        Whether to ask for the value is noted, and not answered.
    """

    def __init__(self, shape, value=None, hidden=False):
        self.shape, self.value, self.hidden = shape, value, hidden

    @classmethod
    def of(cls, walk, x):
        """Make a source from what another walk knows of a variable."""
        known = isinstance(x, Constant) or x in walk.known
        value = (lambda: walk.value(x)) if known else None
        return cls(lambda: walk.shape(x), value, x in walk.hidden)


class Walk:
    """Dependence in one graph.

    Parameters
    ----------
    sets : Sets
    ids : dict
        What the variables from which the walk starts depend on.
    sources : dict of Source
        What is known of other variables.
    on_unknown : {'dense', 'raise'}
    in_pullback : bool
        Whether this is the graph of a pullback already.

    Attributes
    ----------
    known : set
        Variables whose values can be computed: they depend on constants, what is given and shapes.
    hidden : set
        Those that need hidden values for that.
    asked : bool
        Whether a hidden value was asked for.
    elastic : set
        Variables whose shape, as the walk has it, is not that of all values.
    named : set
        What has been warned of, in all graphs of a detection.
    put_off : list
        Warnings that count if a loop is not walked step by step, as arguments of `doubt`.
    """

    def __init__(self, sets, ids, sources=(), on_unknown="dense", in_pullback=False):
        self.sets = sets
        self.ids = dict(ids)
        self.sources = dict(sources)
        self.on_unknown = on_unknown
        self.in_pullback = in_pullback
        self.known = {x for x, s in self.sources.items() if s.value is not None and not s.hidden}
        self.hidden = {x for x, s in self.sources.items() if s.hidden}
        self.asked = False
        self.elastic = set()
        self._values = {}
        self._zeros = {}
        self._shapes = {}
        self._asked: set = set()  # shapes that are being inferred
        self.named: set = set()
        self.put_off: list = []
        self._marked = set(self.ids) | set(self.sources)

    def inner(self, sets, ids, sources, in_pullback=False):
        """Make a walk through a graph inside of this one."""
        walk = Walk(sets, ids, sources, self.on_unknown, self.in_pullback or in_pullback)
        walk.named, walk.put_off = self.named, self.put_off
        return walk

    def doubt(self, what, advice):
        """Warn, once, that results may have too many entries; or raise NotImplementedError."""
        if self.on_unknown == "raise":
            raise NotImplementedError(f"{what}: {advice}")
        if what not in self.named:
            self.named.add(what)
            warnings.warn(f"{what}: {advice}", SparsityWarning, stacklevel=2)

    def doubt_value(self, x, node, what):
        """Warn that a value is not known.

        There is no warning where elements of the inputs are chosen by their values: that a result,
        and its derivative, may then be that of any element is how a sort is defined.
        """
        every = [*ancestors([x])]
        if any(self.ids.get(y) is not None for y in every) and any(
            y.owner is not None and isinstance(y.owner.op, CHOOSE) for y in every
        ):
            return
        message = f"{what}{line_of(node.outputs[0])}", KNOWN_HINT
        if x in self.hidden:
            self.put_off.append(message)
        else:
            self.doubt(*message)

    def run(self, outputs):
        """Return what each output depends on; an output that is None depends on nothing."""
        wanted = [x for x in outputs if x is not None]
        for node in toposort(wanted, blockers=self._marked):
            self.mark(node)
            for x, ids in zip(node.outputs, self.after(node), strict=True):
                if ids is not None:
                    self.ids[x] = ids
        return [None if x is None else self.ids.get(x) for x in outputs]

    def after(self, node):
        """Return what each output of a node depends on."""
        operands = [self.ids.get(x) for x in node.inputs]
        nothing = [None] * len(node.outputs)
        if not any(map(has_derivatives, node.outputs)):
            return nothing
        moves = any(ids is not None and sets_in(ids).any() for ids in operands)
        if not moves and (node.outputs[0] in self.known or not touches_sparse(node)):
            return nothing
        if any(x in self.elastic for x in node.inputs) and not takes_one_step(node):
            self.elastic.update(x for x in node.outputs if None in getattr(x.type, "shape", ()))
        found = apply_rule(self, node, operands, moves)
        return [self.tidied(x, ids) for x, ids in zip(node.outputs, found, strict=True)]

    def tidied(self, x, ids):
        """Replace what depends on nothing by None, but keep the places of a sparse variable."""
        if ids is None or not has_derivatives(x):
            return None
        if is_sparse(x):
            return ids
        static = x.type.shape
        if len(static) != ids.ndim or any(
            None is not wanted != n for wanted, n in zip(static, ids.shape, strict=True)
        ):
            raise ValueError(
                f"the sparsity rule of {x.owner.op} returned an array of shape {ids.shape} for a"
                f" result of shape {static}"
            )
        return ids if ids.any() else None

    # ---- values ----

    def mark(self, node):
        """Note whether the values of a node's outputs could be computed."""
        needed = reads(node)
        if isinstance(node.op, Shape | Shape_i) and node.inputs[0] in self.elastic:
            state = None
        elif all(isinstance(x, Constant) or x in self.known for x in needed):
            state = self.known
        elif all(isinstance(x, Constant) or x in self.known or x in self.hidden for x in needed):
            state = self.hidden
        else:
            state = None
        if state is not None and can_be_computed(node.op):
            state.update(node.outputs)
        self._marked.update(node.outputs)

    def value(self, x):
        """Return the value of a variable; None if the value is not known."""
        if isinstance(x, Constant):
            return x.data
        if x in self.hidden:
            self.asked = True
        if x not in self.known:
            return None
        todo = [x]
        while todo:
            y = todo[-1]
            missing = []
            if y not in self._values and y not in self.sources:
                missing = [z for z in reads(y.owner) if not self._is_at_hand(z)]
            if missing:
                todo += missing
                continue
            todo.pop()
            if y not in self._values:
                self._compute(y)
        return self._values[x]

    def _is_at_hand(self, x):
        return isinstance(x, Constant) or x in self._values

    def _compute(self, x):
        if x in self.sources:
            self._values[x] = self.sources[x].value()
            return
        node = x.owner
        inputs = {y: y.data if isinstance(y, Constant) else self._values[y] for y in reads(node)}
        if any(value is None and not isinstance(y, Constant) for y, value in inputs.items()):
            found = [None] * len(node.outputs)
        elif isinstance(node.op, Shape):
            found = [np.array(self.shape(node.inputs[0]), np.int64)]
        elif isinstance(node.op, Shape_i):
            found = [np.array(self.shape(node.inputs[0])[node.op.i], np.int64)]
        elif isinstance(node.op, AllocEmpty):  # any numbers, but always the same
            found = [np.zeros([int(n) for n in inputs.values()], x.type.dtype)]
        elif is_fill(node.op):
            found = [np.broadcast_to(inputs[node.inputs[1]], self.shape(x))]
        else:
            found = computed(node, inputs)
        self._values.update(zip(node.outputs, found, strict=True))

    def give(self, x, value):
        """Note the value of a variable that a rule knows."""
        self.known.add(x)
        self._values[x] = value

    def needed(self, x):
        """Return a value that a rule cannot do without."""
        found = self.value(x)
        if found is None and not isinstance(x, Constant):
            raise NotKnownError(x)
        return found

    def zeros(self, x):
        """Return where a variable is known to be zero; None if it is so nowhere."""
        if x not in self._zeros:
            mask = self._find_zeros(x)
            self._zeros[x] = mask if mask is not None and mask.any() else None
        return self._zeros[x]

    def _find_zeros(self, x):
        value = self.value(x)
        if value is not None:
            return None if issparse(value) else np.asarray(value) == 0
        if x.owner is None or not isinstance(x.owner.op, Elemwise):
            return None
        masks = [self.zeros(y) for y in factors(x.owner.op.scalar_op, x.owner.inputs)]
        masks = [np.broadcast_to(mask, self.shape(x)) for mask in masks if mask is not None]
        return np.any(masks, axis=0) if masks else None

    # ---- shapes ----

    def shape(self, x):
        """Return the shape of a variable; ValueError if the shape is not known."""
        static = getattr(x.type, "shape", ())
        if None not in static:
            return tuple(static)
        if self.ids.get(x) is not None:
            return self.ids[x].shape
        if x not in self._shapes:
            if x in self._asked:  # a loop that ends when it likes has the shape that it has
                raise unknown_shape(x)
            self._asked.add(x)
            try:
                found = self.sources[x].shape() if x in self.sources else self._shape_of(x)
            finally:
                self._asked.discard(x)
            self._shapes[x] = tuple(int(n) for n in found)
        return self._shapes[x]

    def _shape_of(self, x):
        if isinstance(x, Constant):
            return x.data.shape
        if isinstance(x, SharedVariable):
            return x.get_value(borrow=True).shape
        if x.owner is None:
            raise unknown_shape(x)
        if x in self.known and is_sparse(x):
            return self.needed(x).shape
        return self._inferred(x)

    def _inferred(self, x):
        """Let the Op compute the shape from the shapes of its inputs."""
        node = x.owner
        shapes = [
            tuple(pt.constant(n, dtype="int64") for n in self.shape(y))
            if hasattr(y.type, "shape")
            else None
            for y in node.inputs
        ]
        try:
            found = infer_shape(node, shapes)[node.outputs.index(x)]
        except (NotImplementedError, AttributeError) as error:
            raise unknown_shape(x) from error
        found = [pt.as_tensor_variable(n) for n in found]
        for inner in toposort(found, blockers=self._marked):
            self.mark(inner)
        values = [self.value(n) for n in found]
        if any(value is None for value in values):
            raise unknown_shape(x)
        return values

    def matrix(self, x):
        """Return what a sparse variable depends on: a SciPy matrix, with zeros if on nothing."""
        if self.ids.get(x) is not None:
            return self.ids[x]
        found = self.needed(x).copy()
        found.data = propagate.no_inputs(found.data.shape)
        return found

    def or_none(self, x):
        """Return what a dense variable depends on, as an array in any case."""
        ids = self.ids.get(x)
        return propagate.no_inputs(self.shape(x)) if ids is None else ids


def unknown_shape(x):
    """Make the error that tells how to show the shape of a variable."""
    return ValueError(
        f"the shape of {x} ({x.type}) is not known when the graph is built: declare it, as in"
        " pt.vector('x', shape=(10,)), or pass an example, as in givens={x: np.zeros(10)}"
    )


def infer_shape(node, shapes):
    """Call the method of the Op, which before PyTensor 3.1 has one more argument."""
    count = len(inspect.signature(node.op.infer_shape).parameters)
    return node.op.infer_shape(*((node, shapes) if count == 2 else (None, node, shapes)))


# ---- computing values ----


def is_fill(op):
    return isinstance(op, Elemwise) and isinstance(op.scalar_op, Second)


def reads(node):
    """Return the inputs whose values the outputs are computed from."""
    if isinstance(node.op, Shape | Shape_i):
        return []
    return node.inputs[1:] if is_fill(node.op) else node.inputs


def factors(op, inputs):
    """Return the operands of a scalar Op each of which, if it is zero, makes the result zero."""
    if isinstance(op, Mul):
        return inputs
    return inputs[:1] if isinstance(op, TrueDiv | Neg | Sqr | Cast) else []


def can_be_computed(op):
    return not isinstance(op, RandomVariable)


def is_cast(op):
    return isinstance(op, Elemwise) and isinstance(op.scalar_op, Cast)


def fits(x, dtype):
    """Say whether each backend casts a value to the same whole numbers."""
    x = np.asarray(x)
    if dtype.kind not in "iu" or x.dtype.kind != "f":
        return True
    limits = np.iinfo(dtype)
    return bool(((x > float(limits.min) - 1) & (x < float(limits.max) + 1)).all())


def computed(node, inputs):
    """Compute the outputs of a node in Python; None where the node cannot be run.

    Casts of numbers that do not fit differ between PyTensor's backends: they are not known.
    """
    if is_cast(node.op) and not fits(inputs[node.inputs[0]], np.dtype(node.outputs[0].type.dtype)):
        return [None]
    storage = {y: [value] for y, value in inputs.items()}
    storage.update((y, [None]) for y in node.outputs)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node.op.make_thunk(node, storage, {y: [True] for y in storage}, [], impl="py")()
    except Exception:  # whatever an Op raises: then nothing is known
        return [None] * len(node.outputs)
    return [storage[y][0] for y in node.outputs]


# ---- rules ----


def apply_rule(walk, node, operands, moves=True):
    """Return what the outputs of a node depend on, by the rule for its Op."""
    op = node.op
    try:
        return rule_of(op)(walk, op, node, operands)
    except NotKnownError as error:
        if not moves:
            return [None] * len(node.outputs)
        if error.x is not None and number_of_sets(operands) > CHOICES:
            what = f"{op} needs a value that is not known, {described(error.x)}: its results are"
            walk.doubt_value(error.x, node, f"{what} taken to depend on all its operands")
        return dense(walk, op, node, operands)


def number_of_sets(operands):
    """Return how many sets there are that are not empty."""
    every = [np.zeros(1, np.int32), *(sets_in(ids).ravel() for ids in operands if ids is not None)]
    return len(np.unique(np.concatenate(every))) - 1


def described(x):
    """Name a variable, or the Op that makes it; casts keep the name."""
    while x.name is None and x.owner is not None and len(x.owner.inputs) == 1:
        x = x.owner.inputs[0]
    if x.name:
        return repr(x.name)
    return "that of each step" if x.owner is None else f"the result of {x.owner.op}"


def line_of(x):
    """Tell the line of the user's program that made a variable, if PyTensor has noted it."""
    for frames in getattr(x.tag, "trace", None) or ():
        for name, line, *_ in reversed(frames):
            if not name.startswith(INSIDE) and not name.startswith("<"):
                return f", at {name}:{line}"
    return ""


def rule_of(op):
    """Find the rule for the class of an Op, or for the nearest base class that has one.

    A rule for a base class holds only if the Op has the pullback of that class.
    """
    for cls in type(op).__mro__:
        if cls in REGISTERED:
            return REGISTERED[cls]
    if hasattr(op, "connectivity_pattern"):
        return by_its_method
    if not getattr(op, "pullback_overrides", None):
        for cls in type(op).__mro__:
            if cls in RULES:
                return RULES[cls] if has_pullback_of(type(op), cls) else unknown
    return unknown


def has_pullback_of(cls, base):
    return all(getattr(cls, name, None) is getattr(base, name, None) for name in PULLBACKS)


def by_its_method(walk, op, node, operands):
    """Ask the Op how its outputs are connected to its inputs."""
    return from_matrices(walk, node, operands, op.connectivity_pattern(node))


def from_matrices(walk, node, operands, matrices):
    """Connect outputs with inputs by a matrix for each pair."""
    return [
        propagate.compose(walk.sets, of_output, operands, walk.shape(x))
        for x, of_output in zip(node.outputs, matrices, strict=True)
    ]


def connected_inputs(op, node, k):
    """Say for each input whether an output is connected to it."""
    if not hasattr(op, "connection_pattern"):
        return [True] * len(node.inputs)
    return [row[k] for row in op.connection_pattern(node)]


def dense(walk, op, node, operands):
    """Let each element of an output depend on all that the connected inputs depend on."""
    out = []
    for k, x in enumerate(node.outputs):
        if not has_derivatives(x):
            out.append(None)
            continue
        connected = zip(operands, connected_inputs(op, node, k), strict=True)
        parts = [sets_in(ids) for ids, joined in connected if joined and ids is not None]
        out.append(filled(x, walk.shape(x), propagate.union_all(walk.sets, parts, ())))
    return out


def filled(x, shape, ids):
    """Make an array, or a matrix, with one set for all elements of a variable."""
    ids = np.full(shape, ids, np.int32)
    if not is_sparse(x):
        return ids
    places = csc_array(np.ones(shape, np.int8))
    return format_of(x)((np.full(places.nnz, ids.flat[0] if ids.size else 0),
                         *places.nonzero()), shape)  # fmt: skip


def unknown(walk, op, node, operands):
    """Take an Op without a rule for what its pullback shows, or for dense if it has none."""
    if not walk.in_pullback:
        try:
            return by_its_pullback(walk, op, node, operands)
        except PullbackError:
            pass
    return assumed_dense(walk, op, node, operands)


def assumed_dense(walk, op, node, operands):
    """Take an Op for dense, and warn or raise."""
    message = (
        f"nothing is known about the sparsity of the derivatives of {op}, a {type(op).__name__}"
    )
    advice = "register_sparsity_rule, or a method connectivity_pattern, can tell it"
    walk.doubt(f"{message}, and they are taken to be dense{line_of(node.outputs[0])}", advice)
    return dense(walk, op, node, operands)


class PullbackError(Exception):
    """An Op has no pullback that could be walked."""


def by_its_pullback(walk, op, node, operands):
    """Find what the pullback of an Op passes from each output to each input.

    Derivatives are made of pullbacks, so that this is right for Ops with their own derivatives.
    """
    inputs, outputs = node.inputs, node.outputs
    moving = [k for k, x in enumerate(outputs) if has_derivatives(x) and not is_sparse(x)]
    if any(map(is_sparse, [*inputs, *outputs])):
        raise PullbackError
    shapes = [walk.shape(x) for x in outputs]
    ends = np.cumsum([0, *(size(shapes[k]) for k in moving)])
    sets = Sets(int(ends[-1]))
    places = sets.inputs(-1)
    cotangents = [x.type() for x in outputs]
    ids = {
        cotangents[k]: places[begin:end].reshape(shapes[k])
        for k, begin, end in zip(moving, ends[:-1], ends[1:], strict=True)
    }
    wanted = [q for q, ids in enumerate(operands) if ids is not None]
    gradients = pullback_of(op, inputs, outputs, cotangents, wanted)
    sources = {x: Source.of(walk, x) for x in [*inputs, *outputs] if not isinstance(x, Constant)}
    inner = walk.inner(sets, ids, sources, in_pullback=True)
    matrices = [[None] * len(inputs) for _ in outputs]
    for q, found in zip(wanted, inner.run(gradients), strict=True):
        if found is None:
            continue
        if found.shape != operands[q].shape:
            raise PullbackError
        A = csc_array(propagate.to_matrix(sets, found))
        for k, begin, end in zip(moving, ends[:-1], ends[1:], strict=True):
            matrices[k][q] = A[:, begin:end].T
    return from_matrices(walk, node, operands, matrices)


def pullback_of(op, inputs, outputs, cotangents, wanted):
    """Return gradients in the wanted inputs; None where there is none."""
    if getattr(type(op), "pullback", None) is Op.pullback and not has_old_pullback(op):
        raise PullbackError
    try:
        gradients = op.pullback(inputs, outputs, cotangents)
        gradients = [gradients[q] for q in wanted]
    except Exception as error:  # whatever an Op raises: then there is none
        raise PullbackError from error
    if any(isinstance(g.type, NullType) for g in gradients):
        raise PullbackError
    return [None if isinstance(g.type, DisconnectedType) else g for g in gradients]


def has_old_pullback(op):
    return any(
        getattr(type(op), name, None) is not getattr(Op, name, None) for name in PULLBACKS[1:]
    )
