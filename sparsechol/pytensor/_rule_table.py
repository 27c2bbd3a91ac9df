"""Sparsity rules by class of Op: the table that the walk reads and the rules enter themselves in.

A rule is called as ``rule(walk, op, node, operands)``, with what each input depends on, and returns
what each output depends on.
"""

RULES: dict = {}
REGISTERED: dict = {}  # by users


def rule(*classes):
    """Register a rule for classes of Ops; None is for a class that this PyTensor does not have."""

    def register(function):
        RULES.update((cls, function) for cls in classes if cls is not None)
        return function

    return register
