"""Nested dissection by METIS, through the optional package pymetis."""

import importlib.util

import numpy as np


def have_metis() -> bool:
    """Return whether pymetis can be imported."""
    return importlib.util.find_spec("pymetis") is not None


def metis(indptr, indices):
    """Return METIS's nested dissection ordering of a graph (Karypis and Kumar 1998).

    Parameters
    ----------
    indptr, indices : lists of the neighbors of each vertex, without the vertex itself.

    Raises
    ------
    ImportError
        If pymetis is not installed.
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
