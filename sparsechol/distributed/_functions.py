"""Functions that analyze, and factor, a matrix whose entries lie on many ranks."""

from typing import Any

from mpi4py import MPI

from .._typing import OrderingLike
from ._analysis import DistributedSymbolic, analyze_parts, blaming_asymmetry, read_part
from ._context import context_of
from ._factor import DistributedFactor


def analyze(
    A: Any,
    comm: MPI.Intracomm,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = False,
) -> DistributedSymbolic:
    """Analyze the pattern of a symmetric matrix for repeated factorization; collective.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, dense array, or None
        This rank's part of the matrix, as for `sparsechol.distributed.cholesky`.
    comm : mpi4py.MPI.Intracomm
        The package works on a duplicate, which it keeps with this communicator.
    ordering : str or (n,) array_like of int, optional
        Fill-reducing ordering, see `sparsechol.analyze`; that of rank 0 counts.
    lower : bool, optional
        Whether the lower triangle is read (default) or the upper one; the same on all ranks.
    check_symmetric : bool, optional
        Test that the two triangles of the sum of all parts agree but for rounding, and raise
        ValueError where they do not. Off by default, since entries travel between ranks for it.

    Returns
    -------
    DistributedSymbolic

    Raises
    ------
    ValueError
        On every rank, if a part is not square, shapes or options differ between ranks, all parts
        are None, the matrix is not symmetric with ``check_symmetric=True``, index arrays are
        corrupt, or the triangle that is read is empty off the diagonal and the other one is not.
    OverflowError
        If rows cannot be counted by MUMPS's integers.
    """
    context = context_of(comm)
    arrays, n = read_part(context.comm, A, lower, check_symmetric)
    return analyze_parts(context, arrays, n, ordering, lower, reuse=True)


def cholesky(
    A: Any,
    comm: MPI.Intracomm,
    *,
    ordering: OrderingLike = "auto",
    lower: bool = True,
    check_symmetric: bool = False,
) -> DistributedFactor:
    """Factor a sparse symmetric (Hermitian) positive definite matrix on many ranks; collective.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, dense array, or None
        This rank's part. The matrix that is factored is the **sum** of the parts of all ranks.
        Each part has the full shape, with rows and columns of the whole: some rows or some
        entries on each rank, or all of them on one rank and None on the others. float32, float64,
        complex64 or complex128, the same on all ranks with a part; integers become float64. Only
        the triangle named by `lower` is read.
    comm : mpi4py.MPI.Intracomm
        The package works on a duplicate, which it keeps with this communicator.
    ordering : str or (n,) array_like of int, optional
        Fill-reducing ordering, see `sparsechol.analyze`; that of rank 0 counts.
    lower : bool, optional
        Whether the lower triangle is read (default) or the upper one; the same on all ranks.
    check_symmetric : bool, optional
        Test that the two triangles of the sum of all parts agree but for rounding, and raise
        ValueError where they do not. Off by default, since entries travel between ranks for it.

    Returns
    -------
    DistributedFactor

    Raises
    ------
    NotPositiveDefiniteError
        If the matrix is not positive definite, or is singular to working precision. MUMPS does not
        tell the row: the attribute ``row`` is None unless a diagonal entry is not positive.
    ValueError
        If a part is not square, holds NaN or infinity in that triangle, or its index arrays are
        corrupt; if shapes or options differ between ranks; if all parts are None; if the triangle
        that is read is empty off the diagonal on all ranks and the other one is not.
    TypeError
        If a part is not numeric, or types differ between ranks.
    MemoryError
        If a rank has not enough memory.
    OverflowError
        If rows cannot be counted by MUMPS's integers.

        All of them are raised on every rank.

    Warns
    -----
    scipy.linalg.LinAlgWarning
        If a pivot is so small that rounding may have decided it.
    UserWarning
        If all ranks have the same matrix, which is then added up.

    See Also
    --------
    analyze : Do the symbolic part alone.
    sparsechol.cholesky : Factor on one machine, which is faster there.

    Notes
    -----
    Multifrontal factorization by MUMPS (Amestoy, Duff, L'Excellent and Koster 2001). A complex
    matrix is factored as a real one of twice the size, see the document on large problems.

    Examples
    --------
    On each rank of ``mpirun``, with the rows that are its own:

    >>> import numpy as np, scipy.sparse as sp
    >>> from mpi4py import MPI
    >>> from sparsechol.distributed import cholesky
    >>> comm = MPI.COMM_WORLD
    >>> A = sp.diags_array([[-1.0] * 9, [2.0] * 10, [-1.0] * 9], offsets=[-1, 0, 1]).tolil()
    >>> A[[i for i in range(10) if i % comm.size != comm.rank]] = 0
    >>> with cholesky(A, comm) as F:
    ...     x, logdet = F.solve(np.ones(10)), F.logdet()
    >>> x.round(6)
    array([ 5.,  9., 12., 14., 15., 15., 14., 12.,  9.,  5.])
    >>> round(logdet, 6)  # of 11
    2.397895
    """
    context = context_of(comm)
    arrays, n = read_part(context.comm, A, lower, check_symmetric)
    pattern = analyze_parts(context, arrays, n, ordering, lower, reuse=False)
    packed = pattern._agreed(lambda: None if arrays is None else pattern._pack(arrays, lower, True))
    with blaming_asymmetry(context.comm, A, n):
        return pattern._factorize(packed)
