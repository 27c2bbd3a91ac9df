"""Gaussian fields as PyMC distributions: the random variable, its density, draws and coordinates.

A field is made of white noise z, x = f(z, parameters), by Ops of this package, so that draws are
compiled. A `Law` says what f and the density are. It holds what is known when the model is built,
such as the analyzed pattern, and is a property of the random variable.
"""

from inspect import Parameter, Signature, signature

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.distribution import Continuous, SymbolicRandomVariable, _support_point
from pymc.distributions.shape_utils import (
    convert_dims,
    convert_shape,
    rv_size_is_none,
    shape_from_dims,
)
from pymc.distributions.transforms import _default_transform
from pymc.exceptions import NotConstantValueError
from pymc.logprob.abstract import _logprob
from pymc.pytensorf import constant_fold, normalize_rng_param
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.utils import normalize_size_param

from ._plane import OnPlane, Plane


class Law:
    """A family of normal distributions, without its parameters.

    Attributes
    ----------
    name : str
    length : int
        Number of rows of the field.
    cores : tuple of str
        A letter for the dimension of each parameter, "" for a number; leading dimensions make a
        batch.
    noises : int
        How many vectors of noise make one field.
    plane : Plane or None
        Where all fields of the family are, if constraints hold.
    """

    name: str
    length: int
    cores: tuple[str, ...]
    noises: int = 1
    plane: Plane | None = None

    def logp(self, x, *parameters):
        """Return the log density at `x` (..., n)."""
        raise NotImplementedError

    def of_noise(self, z, *parameters):
        """Return the field made of white noise `z` (..., noises, n)."""
        raise NotImplementedError

    def mean(self, *parameters):
        """Return the mean, or a point of the plane near it."""
        raise NotImplementedError

    def offset(self, *parameters):
        """Return where the plane lies, (..., k)."""
        raise NotImplementedError

    def transform(self):
        """Return the transform to the coordinates in which samplers move, None for x itself."""
        return None if self.plane is None else OnPlane(self)

    def noise_shape(self, size, parameters):
        """Return the shape of the noise of fields of a batch."""
        if rv_size_is_none(size):
            leading = [
                tuple(p.shape)[: p.type.ndim - len(core)]
                for p, core in zip(parameters, self.cores, strict=True)
                if p.type.ndim > len(core)
            ]
            size = pt.broadcast_shape(*leading, arrays_are_shapes=True) if leading else ()
        return (*size, self.noises, self.length)


class FieldRV(SymbolicRandomVariable):
    """A field; the inner graph makes it of white noise."""

    law: Law

    @classmethod
    def rv_op(cls, *parameters, law, size=None, rng=None):
        """Make a random variable."""
        rng = normalize_rng_param(rng)
        size = normalize_size_param(size)
        next_rng, z = pt.random.normal(
            size=law.noise_shape(size, parameters), rng=rng, return_next_rng=True
        )
        x = pt.specify_shape(law.of_noise(z, *parameters), (..., law.length))
        inputs = [rng, size, *parameters]
        cores = ",".join(f"({core})" for core in law.cores)
        op = cls(inputs, [next_rng, x], extended_signature=f"[rng],[size],{cores}->[rng],(n)")
        op.law = law
        op._print_name = (law.name, rf"\operatorname{{{law.name}}}")
        return op(*inputs)

    def rebuild_rv(self, *parameters, size=None, rng=None):
        """Make the same field of another size."""
        return self.rv_op(*parameters, law=self.law, size=size, rng=rng)


@_logprob.register(FieldRV)
def logp_of_field(op, values, rng, size, *parameters, **kwargs):
    """Return the log density; beside the plane there is none."""
    [x], law = values, op.law
    logp = law.logp(x, *parameters)
    if law.plane is None:
        return logp
    return pt.switch(law.plane.contains(x, law.offset(*parameters)), logp, -np.inf)


@_support_point.register(FieldRV)
def support_point_of_field(op, rv, rng, size, *parameters):
    """Return the mean."""
    return pt.zeros_like(rv) + op.law.mean(*parameters)


@_default_transform.register(FieldRV)
def transform_of_field(op, rv):
    """Return the coordinates of samplers."""
    return op.law.transform()


class Field(Continuous):
    """What the distributions of this package have in common."""

    rv_type = FieldRV
    rv_op = FieldRV.rv_op

    def __init_subclass__(cls, **kwargs):
        """Let help show what `dist` takes, after the name."""
        super().__init_subclass__(**kwargs)
        *given, rest = signature(cls.dist).parameters.values()
        name = Parameter("name", Parameter.POSITIONAL_OR_KEYWORD)
        centered = Parameter("centered", Parameter.KEYWORD_ONLY, default=True)
        given = [p for p in given if p.name != "shape"]
        cls.__signature__ = Signature([name, *given, centered, rest])

    def __new__(cls, name, *args, centered=True, **kwargs):
        """Add the field to the model of the context."""
        if not centered:
            return cls._of_noise(name, *args, **kwargs)
        x = super().__new__(cls, name, *args, **kwargs)
        observed = kwargs.get("observed")
        if observed is not None and not isinstance(observed, Variable):
            check_observed(name, x, observed)
        return x

    @classmethod
    def _of_noise(cls, name, *args, dims=None, shape=None, **kwargs):
        """Add white noise to the model, and the field that is made of it."""
        for option in ("observed", "initval", "transform", "default_transform", "total_size"):
            if kwargs.pop(option, None) is not None:
                raise TypeError(
                    f"{name}: with centered=False it is a function of the white noise {name}_noise,"
                    f" and no random variable that could take {option}=; use centered=True"
                )
        dims = convert_dims(dims)
        if shape is None and dims is not None:
            shape = shape_from_dims(dims, pm.modelcontext(None))
        x = cls.dist(*args, shape=shape, **kwargs)
        _, size, *parameters = x.owner.inputs
        law = x.owner.op.law
        noise_shape = [known(length) for length in law.noise_shape(size, parameters)]
        z = pm.Normal(f"{name}_noise", shape=noise_shape)
        return pm.Deterministic(name, law.of_noise(z, *parameters), dims=dims)

    @classmethod
    def _of_law(cls, law, *parameters, shape=None, **kwargs):
        """Make a random variable, of a shape that fits the law."""
        if shape is not None:
            last = last_of(shape)
            if last != law.length and (last is None or isinstance(last, int)):
                raise ValueError(
                    f"{law.name}: the field has {law.length} rows, and the last dimension of shape,"
                    f" dims or observed is {'missing' if last is None else last}: the shape is"
                    f" (..., {law.length})"
                )
        return super(Field, Field).dist(parameters, law=law, shape=shape, **kwargs)


def known(length):
    """Return a length as a number where it is known, else the variable that it is."""
    if isinstance(length, SharedVariable):
        return int(length.get_value())
    if isinstance(length, Variable):
        try:
            [length] = constant_fold([length])
        except NotConstantValueError:
            return length
    return int(length)


def last_of(shape):
    """Return the last length of a shape, None if there is none."""
    lengths = convert_shape(shape)
    return known(lengths[-1]) if lengths else None


def check_observed(name, x, observed):
    """Refuse data beside the plane, and data that are missing where constraints hold."""
    nodes = (variable.owner for variable in ancestors([x]))
    node = next(node for node in nodes if node is not None and isinstance(node.op, FieldRV))
    law, parameters = node.op.law, node.inputs[2:]
    if law.plane is None:
        return
    data = np.ma.masked_invalid(np.ma.asarray(observed, float))
    if np.ma.is_masked(data):
        raise ValueError(
            f"{name}: values are missing in the observed data of a field with constraints: fill"
            " them in, or leave the field unobserved and let the data be draws around it"
        )
    inside = law.plane.contains(pt.constant(data.data), law.offset(*parameters))
    try:
        [inside] = constant_fold([inside])
    except NotConstantValueError:
        return
    if not inside.all():
        raise ValueError(
            f"{name}: the observed data do not satisfy the constraints, and the density there is"
            " zero: subtract what violates them (the mean of each component, say), or leave the"
            " field unobserved and let the data be draws around it"
        )
