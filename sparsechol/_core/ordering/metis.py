"""Nested dissection by METIS, through the optional package pymetis."""

import importlib.util

import numpy as np


def have_metis() -> bool:
    """Whether pymetis can be imported."""
    return importlib.util.find_spec("pymetis") is not None


def metis(indptr, indices):
    """Nested dissection of an adjacency structure without diagonal (Karypis and Kumar 1998).

    Raises ImportError where pymetis is not installed.
    """
    if not have_metis():
        raise ImportError(
            "ordering='metis' needs the package pymetis, which is not installed:"
            " python -m pip install 'sparsechol[metis]'"
        )
    import pymetis

    if indices.shape[0] == 0:  # METIS ends the process on an empty graph
        return np.arange(indptr.shape[0] - 1, dtype=np.int32)
    graph = pymetis.CSRAdjacency(indptr.astype(np.int64), indices.astype(np.int64))
    perm, _ = pymetis.nested_dissection(adjacency=graph)
    return np.asarray(perm, dtype=np.int32)
