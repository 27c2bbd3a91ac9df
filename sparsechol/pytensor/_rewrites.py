"""What PyTensor's rewrites run for this package when they compile a function."""

import sys
from importlib import import_module

from pytensor.compile.mode import optdb
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.sparse.type import SparseTensorType
from pytensor.tensor.blockwise import Blockwise

BACKENDS = {"numba": "_numba_programs", "jax": "_jax"}  # what to import, with all below it


class LoadBackend(GraphRewriter):
    """Import what a backend needs for the Ops of this package; the graph stays as it is."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def apply(self, fgraph):
        import_module(self.module)


class SparseInDenseError(TypeError, AssertionError):
    """A type error that PyTensor's rewrites let through: they swallow all but assertions."""


class RefuseSparse(GraphRewriter):
    """Refuse sparse variables in dense linear algebra; the graph stays as it is.

    PyTensor builds such graphs, of `pt.linalg.slogdet` say, and they fail when they run.
    """

    def apply(self, fgraph):
        for node in fgraph.apply_nodes:
            if not isinstance(node.op, Blockwise):
                continue
            for x in node.inputs:
                if isinstance(x.type, SparseTensorType):
                    raise SparseInDenseError(
                        f"the sparse variable {x} reaches {node.op}, which takes dense matrices"
                        " alone: use logdet, slogdet, solve, partial_inverse or"
                        " SymmetricMatrix.solve_triangular of sparsechol.pytensor, or x.toarray()"
                    )


def register():
    """Register the rewrites, once, when the package is imported."""
    optdb.register(
        "sparsechol_refuse_sparse", RefuseSparse(), "fast_run", "fast_compile", position=0
    )
    for backend, name in BACKENDS.items():
        module = f"{__package__}.{name}"
        optdb.register(f"sparsechol_{backend}", LoadBackend(module), backend, position=0)
        if f"pytensor.link.{backend}.dispatch" in sys.modules:  # for linkers without rewrites
            import_module(module)


def meet_pymc():
    """Register the densities of solves with PyMC, if PyMC is imported."""
    if "pymc.logprob.rewriting" in sys.modules:
        import_module(f"{__package__}._pymc")
