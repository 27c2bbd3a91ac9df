"""sparsechol and its peers behind one small interface.

Each class converts a matrix to what its library takes when it is made (and in `load`), so that
`analyze`, `factorize` and `solve` time the library alone. Libraries are imported when a solver
is made: asv forks a process for each benchmark, and threaded libraries do not like forks.
"""

import ctypes
import importlib.util
from functools import partial

import numpy as np
import scipy.sparse as sp


class Solver:
    """What every solver does. `A` is a symmetric csc_array with both triangles.

    Attributes
    ----------
    order : str
        The ordering in use; of sparsechol, what was asked for and, after `analyze`, chosen.
    """

    def load(self, A):
        """Take the values of another matrix of the same pattern; `factorize` then uses them."""
        raise NotImplementedError

    def analyze(self):
        """Ordering and symbolic factorization."""
        raise NotImplementedError

    def factorize(self):
        """Numeric factorization; from the second call on in place, the analysis reused."""
        raise NotImplementedError

    def right_hand_side(self, b):
        """An ndarray in the library's own form."""
        return b

    def solve(self, b):
        """Solve for right-hand sides in the library's own form, which are kept."""
        raise NotImplementedError

    def once(self, b):
        """All of it from scratch, where no more factorizations are to come."""
        self.analyze()
        self.factorize()
        return self.solve(b)

    def array(self, x):
        """What `solve` returned as an ndarray."""
        return x

    def logdet(self):
        """Logarithm of the determinant, where the library offers it."""

    def release(self):
        """Free what garbage collection would not."""


class Sparsechol(Solver):
    """This package."""

    def __init__(self, A, order="auto", threads=None):
        import sparsechol

        self._package = sparsechol
        self._threads = threads
        self.order = self._asked = order
        self.symbolic = self.factor = None
        self.load(A)

    def load(self, A):
        self._lower = sp.csc_array(sp.tril(A))
        self._values = None if self.symbolic is None else self.symbolic.values(self._lower)

    def load_packed(self, values):
        """The same from packed values."""
        self._values = values

    def logdet(self):
        return self.factor.logdet()

    def analyze(self):
        self.factor = None
        self.symbolic = self._package.analyze(self._lower, ordering=self._asked)
        self._values = self.symbolic.values(self._lower)
        self.order = self.symbolic.ordering.method

    def factorize(self):
        if self.factor is None:
            self.factor = self.symbolic.factorize(self._values, threads=self._threads)
        else:
            self.factor.refactorize(self._values, threads=self._threads)

    def solve(self, b):
        return self.factor.solve(b, threads=self._threads)

    def once(self, b):
        return self._package.solve(self._lower, b, ordering=self._asked, threads=self._threads)


class SparsecholLDL(Sparsechol):
    """This package, with pivots of both signs."""

    def factorize(self):
        if self.factor is None:
            signs = np.sign(self._lower.diagonal())  # those of a quasi-definite matrix
            self.factor = self.symbolic.ldl(self._values, signs=signs, threads=self._threads)
        else:
            self.factor.refactorize(self._values, threads=self._threads)


class QDLDL(Solver):
    """QDLDL with AMD, upper triangle in CSC; ordering and first factorization are one call."""

    def __init__(self, A):
        self.order = "amd"
        self.load(A)

    def load(self, A):
        self._upper = sp.csc_matrix(sp.triu(A))
        self._upper.sort_indices()

    def analyze(self):
        import qdldl

        self._solver = qdldl.Solver(self._upper, upper=True)

    def factorize(self):
        self._solver.update(self._upper, upper=True)

    def solve(self, b):
        return self._solver.solve(b)


class Cholmod(Solver):
    """CHOLMOD through cvxopt, AMD by CHOLMOD itself or METIS through pymetis.

    cvxopt solves for several right-hand sides one column at a time.
    """

    def __init__(self, A, supernodal, order="amd"):
        from cvxopt import cholmod, matrix, spmatrix

        self.order = order
        self._cholmod, self._matrix = cholmod, matrix
        self._supernodal = 2 if supernodal else 0
        self._pattern = A
        lower = sp.tril(A).tocsc().tocoo()
        rows, columns = (matrix(index.astype(np.int64)) for index in lower.coords)
        self._A = spmatrix(matrix(lower.data), rows, columns, A.shape)

    def load(self, A):
        self._A.V = self._matrix(sp.csc_array(sp.tril(A)).data)

    def analyze(self):
        self._set_options()
        if self.order == "metis":
            permutation = self._matrix(metis_permutation(self._pattern).astype(np.int64))
            self._factor = self._cholmod.symbolic(self._A, permutation)
        else:
            self._factor = self._cholmod.symbolic(self._A)

    def factorize(self):
        self._set_options()
        self._cholmod.numeric(self._A, self._factor)

    def right_hand_side(self, b):
        return self._matrix(b)

    def solve(self, b):
        self._set_options()
        x = +b
        self._cholmod.solve(self._factor, x)
        return x

    def array(self, x):
        return np.array(x).squeeze()

    def _set_options(self):
        """CHOLMOD's options are global to the process, so every call sets its own."""
        self._cholmod.options["supernodal"] = self._supernodal


class Pardiso(Solver):
    """MKL PARDISO for real SPD matrices (mtype 2) through pypardiso, upper triangle in CSR.

    For indefinite ones mtype is -2.

    The library is called through PyPardisoSolver's pointers and not its methods: those convert
    the index arrays and copy the solution at every call, which is not PARDISO's time.
    """

    ANALYZE, FACTORIZE, SOLVE, RELEASE = 11, 22, 33, -1

    def __init__(self, A, order="metis", mtype=2):
        from pypardiso import PyPardisoSolver

        self.order = order
        self._mtype = mtype
        self._mkl = PyPardisoSolver(mtype=mtype)
        self._mkl.iparm[0] = 1  # the options are given here, all others 0
        self._mkl.iparm[1] = {"minimum degree": 0, "metis": 2}[order]
        upper = sp.csr_array(sp.triu(A))
        self._n = A.shape[0]
        self._indptr = upper.indptr.astype(np.int32) + 1
        self._indices = upper.indices.astype(np.int32) + 1
        self._perm = np.zeros(self._n, dtype=np.int32)
        self._nothing = np.zeros(1)
        self._data = upper.data

    def load(self, A):
        self._data = sp.csr_array(sp.triu(A)).data

    def analyze(self):
        self.release()
        self._call(self.ANALYZE, self._nothing, self._nothing)

    def factorize(self):
        self._call(self.FACTORIZE, self._nothing, self._nothing)

    def right_hand_side(self, b):
        return np.asfortranarray(b)

    def solve(self, b):
        x = np.empty_like(b)
        self._call(self.SOLVE, b, x, 1 if b.ndim == 1 else b.shape[1])
        return x

    def release(self):
        if self._mkl.pt.any():
            self._call(self.RELEASE, self._nothing, self._nothing)
            self._mkl.pt[:] = 0

    def _call(self, phase, b, x, nrhs=1):
        from pypardiso.pardiso_wrapper import PyPardisoError

        error = ctypes.c_int32(0)
        self._mkl._mkl_pardiso(
            _pointer(self._mkl.pt, ctypes.c_int64),
            *(_integer(value) for value in (1, 1, self._mtype, phase, self._n)),
            _pointer(self._data, ctypes.c_double),
            *(_pointer(array) for array in (self._indptr, self._indices, self._perm)),
            _integer(nrhs),
            _pointer(self._mkl.iparm),
            _integer(0),
            _pointer(b, ctypes.c_double),
            _pointer(x, ctypes.c_double),
            ctypes.byref(error),
        )
        if error.value:
            raise PyPardisoError(error.value)


class ScikitSparse(Solver):
    """CHOLMOD through scikit-sparse, which chooses between supernodal and simplicial."""

    def __init__(self, A):
        from sksparse import cholmod

        self.order = "CHOLMOD's default"
        self._cholmod = cholmod
        self.load(A)

    def load(self, A):
        self._A = sp.csc_matrix(A)

    def analyze(self):
        self._factor = self._cholmod.analyze(self._A)

    def factorize(self):
        self._factor.cholesky_inplace(self._A)

    def solve(self, b):
        return self._factor(b)

    def logdet(self):
        return self._factor.logdet()


class SuperLU(Solver):
    """scipy.sparse.linalg.splu in its symmetric mode; it cannot reuse an analysis."""

    def __init__(self, A):
        from scipy.sparse.linalg import splu

        self.order = "minimum degree"
        self._splu = splu
        self.load(A)

    def load(self, A):
        self._A = A

    def analyze(self):
        pass

    def factorize(self):
        self._factor = self._splu(
            self._A,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def solve(self, b):
        return self._factor.solve(b)


def metis_permutation(A):
    """Nested dissection of the graph of a symmetric csc_array by METIS."""
    from sparsechol._core.ordering.metis import metis

    graph = A - sp.diags_array(A.diagonal())
    graph.eliminate_zeros()
    return metis(graph.indptr, graph.indices)


def _pointer(array, kind=ctypes.c_int32):
    return array.ctypes.data_as(ctypes.POINTER(kind))


def _integer(value):
    return ctypes.byref(ctypes.c_int32(value))


# name -> (how to make it, the packages it needs)
SOLVERS = {
    "sparsechol": (Sparsechol, ()),
    "cholmod-supernodal": (partial(Cholmod, supernodal=True), ("cvxopt",)),
    "cholmod-simplicial": (partial(Cholmod, supernodal=False), ("cvxopt",)),
    "cholmod-supernodal-metis": (
        partial(Cholmod, supernodal=True, order="metis"),
        ("cvxopt", "pymetis"),
    ),
    "cholmod-simplicial-metis": (
        partial(Cholmod, supernodal=False, order="metis"),
        ("cvxopt", "pymetis"),
    ),
    "pardiso": (Pardiso, ("pypardiso",)),
    "pardiso-mindegree": (partial(Pardiso, order="minimum degree"), ("pypardiso",)),
    "splu": (SuperLU, ()),
    "scikit-sparse": (ScikitSparse, ("sksparse",)),
    "sparsechol-one-thread": (partial(Sparsechol, threads=1), ()),
    "sparsechol-ldl": (partial(SparsecholLDL, threads=1), ()),
    "qdldl": (QDLDL, ("qdldl",)),
    "pardiso-indefinite": (partial(Pardiso, mtype=-2), ("pypardiso",)),
}

# Those of the asv suite, for indefinite and for definite matrices.
INDEFINITE = ["sparsechol-ldl", "qdldl", "pardiso-indefinite"]
NAMES = ["sparsechol", "cholmod-supernodal", "cholmod-simplicial", "pardiso", "splu"]


def installed(name):
    """Whether the packages that a solver needs are there."""
    return all(importlib.util.find_spec(package) is not None for package in SOLVERS[name][1])


def make(name, A):
    """A solver by name for a matrix, nothing analyzed yet."""
    return SOLVERS[name][0](A)
