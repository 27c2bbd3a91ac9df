"""Sparsity rules of the primitives of this package."""

from functools import partial

from ..._core.numeric.operations import NAMES
from ..._sparsity import own_operations
from .._rule_table import RULES, out_shape, rule


def kernel(operation, scope, eqn, operands):
    """Propagate sets through an operation of `numeric.operations`."""
    p = eqn.params
    options = {name: p[name] for name in ("lower", "permute") if name in p}
    return [
        own_operations.connect(
            scope.sets, operation, p["pattern"], operands, out_shape(eqn), **options
        )
    ]


for _name in NAMES:
    RULES[f"sparsechol_{_name}"] = partial(kernel, _name)


@rule("sparsechol_attach")
def attach(scope, eqn, operands):
    shape = out_shape(eqn)
    return [
        own_operations.connect(scope.sets, "cholesky", eqn.params["pattern"], operands[:1], shape)
    ]
