"""The text of a `Program` as instructions of LLVM.

Numba finds out in many passes which types variables have, what they hold, and when they are needed
no more. A program is plain: loops of known lengths around assignments of numbers, and a variable
keeps the type that it got first. So its text is read once, from top to bottom, and each operation
becomes the instructions that numba has for operands of these types.
"""

import ast
import operator

import numpy as np
from llvmlite import ir
from numba import from_dtype, typeof, types
from numba.core import cgutils
from numba.core.funcdesc import ExternalFunctionDescriptor
from numba.extending import intrinsic

OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}


def translated(text, names):
    """Return a function for numba that takes a tuple of operands, and is what a text says.

    Parameters
    ----------
    text : str
        A function of numbers and pointers that returns a variable.
    names : dict
        What it reads: functions and constants.
    """
    [program] = ast.parse(text).body
    parameters = [x.arg for x in program.args.args]

    @intrinsic
    def run(typingctx, operands):
        def code(context, builder, signature, args):
            values = cgutils.unpack_tuple(builder, args[0], len(parameters))
            given = dict(zip(parameters, zip(operands.types, values, strict=True), strict=True))
            return Translation(context, builder, names, given).run(program.body)

        return types.int64(operands), code

    return run


class Translation:
    """Instructions for statements; an expression is a pair, its type and its value."""

    def __init__(self, context, builder, names, given):
        self.context, self.builder, self.names, self.known = context, builder, names, given
        self.places, self.functions = {}, {}

    def run(self, body):
        """Write a body that ends with ``return``, and return the number there."""
        *statements, end = body
        self.statements(statements)
        return self.cast(self.expression(end.value), types.int64)

    def statements(self, body):
        """Write statements one after the other."""
        for statement in body:
            match statement:
                case ast.For(ast.Name(index), ast.Call(_, [ast.Constant(n)]), inside):
                    count = self.context.get_constant(types.intp, n)
                    with cgutils.for_range(self.builder, count) as loop:
                        self.known[index] = types.intp, loop.index
                        self.statements(inside)
                case ast.Assign([ast.Name(name)], value):
                    self.assign(name, self.expression(value))
                case ast.Assign([ast.Subscript() as target], value):
                    self.store(*self.element(target), self.expression(value))
                case ast.AugAssign(ast.Subscript() as target, kind, value):
                    dtype, pointer = self.element(target)
                    before = dtype, self.context.unpack_value(self.builder, dtype, pointer)
                    after = self.call(OPERATIONS[type(kind)], before, self.expression(value))
                    self.store(dtype, pointer, after)

    def assign(self, name, value):
        """Keep a number; LLVM makes registers of such places."""
        if name not in self.places:
            kind = self.context.get_value_type(value[0])
            self.places[name] = value[0], cgutils.alloca_once(self.builder, kind, name=name)
        kind, place = self.places[name]
        self.builder.store(self.cast(value, kind), place)

    def store(self, dtype, pointer, value):
        """Write an element."""
        self.context.pack_value(self.builder, dtype, self.cast(value, dtype), pointer)

    def element(self, subscript):
        """Return type and place of an element."""
        kind, base = self.expression(subscript.value)
        index = self.cast(self.expression(subscript.slice), types.intp)
        return kind.dtype, self.builder.gep(base, [index])

    def cast(self, value, kind):
        """Convert a number."""
        return self.context.cast(self.builder, value[1], value[0], kind)

    def expression(self, x):
        """Write an expression."""
        match x:
            case ast.Name(name) if name in self.places:
                kind, place = self.places[name]
                return kind, self.builder.load(place)
            case ast.Name(name) if name in self.known:
                return self.known[name]
            case ast.Name(name):
                return self.constant(self.names[name])
            case ast.Constant(value):
                return self.constant(value)
            case ast.Subscript():
                dtype, pointer = self.element(x)
                return dtype, self.context.unpack_value(self.builder, dtype, pointer)
            case ast.UnaryOp(ast.USub(), ast.Constant(value)):
                return self.constant(-value)
            case ast.UnaryOp(kind, operand):
                return self.call(OPERATIONS[type(kind)], self.expression(operand))
            case ast.BinOp(left, kind, right) | ast.Compare(left, [kind], [right]):
                operands = self.expression(left), self.expression(right)
                return self.call(OPERATIONS[type(kind)], *operands)
            case ast.IfExp(test, body, orelse):
                test = self.cast(self.expression(test), types.boolean)
                (kind, first), second = self.expression(body), self.expression(orelse)
                return kind, self.builder.select(test, first, self.cast(second, kind))
            case ast.Call(ast.Attribute(_, dtype), [value]):
                kind = from_dtype(np.dtype(getattr(np, dtype)))
                return kind, self.cast(self.expression(value), kind)
            case ast.Call(ast.Name("at"), [array, offset]):
                kind, base = self.expression(array)
                return kind, self.builder.gep(base, [self.expression(offset)[1]])
            case ast.Call(ast.Name("max"), [left, right]):
                first, second = self.expression(left), self.expression(right)
                _, more = self.call(operator.gt, first, second)
                found = self.builder.select(more, first[1], self.cast(second, first[0]))
                return first[0], found
            case ast.Call(ast.Name(name), values):
                return self.call(self.names[name], *map(self.expression, values))
        raise NotImplementedError(ast.dump(x))

    def constant(self, value):
        """Return a constant."""
        kind = types.int64 if type(value) is int else typeof(value)
        return kind, self.context.get_constant_generic(self.builder, kind, value)

    def call(self, function, *values):
        """Write what numba has for a function of numbers."""
        kinds = tuple(kind for kind, _ in values)
        if isinstance(function, types.ExternalFunction):
            return self.external(function, values)
        if (function, kinds) not in self.functions:
            typing = self.context.typing_context
            known = typing.resolve_value_type(function)
            signature = typing.resolve_function_type(known, kinds, {})
            self.functions[function, kinds] = signature, self.context.get_function(known, signature)
        signature, write = self.functions[function, kinds]
        pairs = zip(values, signature.args, strict=True)
        operands = [self.cast(value, kind) for value, kind in pairs]
        return signature.return_type, write(self.builder, operands)

    def external(self, function, values):
        """Write a call of a function that has a symbol, whose pointers may be to anything."""
        signature = function.sig
        operands = [
            self.builder.bitcast(value[1], ir.IntType(8).as_pointer())
            if isinstance(value[0], types.CPointer)
            else self.cast(value, kind)
            for value, kind in zip(values, signature.args, strict=True)
        ]
        described = ExternalFunctionDescriptor(
            function.symbol, signature.return_type, signature.args
        )
        symbol = self.context.declare_external_function(self.builder.module, described)
        found = self.context.call_external_function(self.builder, symbol, signature.args, operands)
        return signature.return_type, found
