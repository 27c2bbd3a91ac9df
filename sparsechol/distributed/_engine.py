"""A symmetric positive definite matrix in MUMPS: its phases, and the errors of each.

Values are scaled by powers of two to a diagonal between 1/2 and 2. That is exact, keeps float32
and the determinant in range, and makes the smallest pivot comparable with rounding.
"""

import warnings

import numpy as np
from scipy.linalg import LinAlgWarning

from .._core.numeric.factorize import REFUSED_ROUNDINGS
from .._exceptions import NotPositiveDefiniteError
from .._scipy.pivots import EPS, external_stacklevel
from ._mumps import ANALYZE, FACTORIZE, SOLVE

# Controls, by the numbers of the users' guide.
OUTPUT = (1, 2, 3)
VERBOSITY = 4
ORDERING, GIVEN = 7, 1
SCALING = 8
WORKSPACE = 14  # percentage beyond the estimate
DISTRIBUTED, ENTRIES = 18, 3
ICNTL_BLOCK = 27
INVERSE = 30
DETERMINANT = 33

# Warn of a pivot that is at most n rounding errors of its diagonal entry. More roundings than
# these are not counted, or every large float32 problem would warn.
MOST_ROUNDINGS = 10_000

# Values of INFOG(1).
SINGULAR = (-10, -40)
SMALL_WORKSPACE = (-8, -9, -11, -14, -15, -17, -20)
NO_MEMORY = (-5, -7, -13, -19, -22)

FIRST_WORKSPACE = 25
ATTEMPTS = 5

# Columns that MUMPS works on together: right-hand sides, and columns of the inverse.
SOLVE_BLOCK = 64
INVERSE_BLOCK = 256


def start(context, owner, dtype):
    """Start an instance that prints nothing and takes entries from all ranks; collective."""
    instance, drop = context.start(owner, np.finfo(dtype).dtype == np.float32)
    for k in OUTPUT:
        instance.set_icntl(k, -1)
    for k, value in (
        (VERBOSITY, 0),
        (ORDERING, GIVEN),
        (SCALING, 0),
        (DISTRIBUTED, ENTRIES),
        (ICNTL_BLOCK, SOLVE_BLOCK),
        (DETERMINANT, 1),
    ):
        instance.set_icntl(k, value)
    return instance, drop


def analyze(instance) -> None:
    """Analyze with the ordering that was set; collective."""
    check(instance, instance.run(ANALYZE), "analysis")


def factorize(instance, workspace) -> int:
    """Factor the entries that were set, with as much workspace as needed; collective.

    Return the workspace, with which the next factorization starts.
    """
    for _ in range(ATTEMPTS):
        instance.set_icntl(WORKSPACE, workspace)
        answer = instance.run(FACTORIZE)
        if answer not in SMALL_WORKSPACE:
            break
        workspace = 50 + 2 * max(workspace, 0)
    check(instance, answer, "factorization")
    return workspace


def check(instance, answer, phase) -> None:
    """Raise the error that INFOG(1) tells of a phase, the same on all ranks."""
    if answer >= 0:
        return
    told = f"INFOG(1) = {answer}, INFOG(2) = {instance.infog(2)}"
    if answer in SINGULAR:
        raise NotPositiveDefiniteError(
            f"the matrix is not positive definite: a pivot is zero or negative (MUMPS: {told})",
            None,
            np.nan,
        )
    if answer in SMALL_WORKSPACE + NO_MEMORY:
        raise MemoryError(
            f"MUMPS has not enough memory for the {phase}, not with {ATTEMPTS} sizes of its"
            f" workspace: {told}. Use more ranks, or fewer on each machine"
            if answer in SMALL_WORKSPACE
            else f"a rank has not enough memory for the {phase}: MUMPS says {told}. Use more"
            " machines, or fewer ranks on each"
        )
    raise RuntimeError(f"MUMPS fails in the {phase}: {told}")


def check_factor(instance, n, dtype) -> None:
    """Refuse a factor with negative pivots or pivots that are rounding; warn of weak pivots."""
    negative = instance.infog(12)
    if negative:
        raise NotPositiveDefiniteError(
            f"the matrix is not positive definite: {negative} pivots are negative (MUMPS:"
            f" INFOG(12) = {negative})",
            None,
            np.nan,
        )
    if not np.isfinite(instance.rinfog(12)):
        raise NotPositiveDefiniteError(
            "the matrix is not positive definite: a pivot is infinite or NaN (MUMPS: RINFOG(12) ="
            f" {instance.rinfog(12)})",
            None,
            np.nan,
        )
    smallest = instance.rinfog(20)
    if smallest <= REFUSED_ROUNDINGS * EPS[dtype]:
        raise NotPositiveDefiniteError(
            f"the matrix is singular to working precision: elimination left {smallest:.3g} of a"
            " diagonal entry, which is rounding (MUMPS: RINFOG(20))",
            None,
            smallest,
        )
    if smallest <= min(n, MOST_ROUNDINGS) * EPS[dtype]:
        warnings.warn(
            f"ill-conditioned matrix: elimination left {smallest:.3g} of a diagonal entry; results"
            " may not be accurate",
            LinAlgWarning,
            stacklevel=external_stacklevel(),
        )


def logdet(instance) -> float:
    """Return the logarithm of the determinant of the scaled matrix."""
    return float(np.log(instance.rinfog(12)) + instance.infog(34) * np.log(2.0))


def solve(instance, columns, count, block) -> None:
    """Solve for `count` right-hand sides, in Fortran order on the root, in place; collective.

    MUMPS gets `block` of them at a time: it counts numbers in 32 bits.
    """
    for j in range(0, count, block):
        if columns is not None:
            instance.set_columns(columns[:, j : j + block])
        check(instance, instance.run(SOLVE), "solve")


def inverse(instance, count, requests) -> None:
    """Fill entries of the inverse; collective.

    Parameters
    ----------
    count : int
        Number of requests.
    requests : list of (starts, rows, values)
        The requests on the root, an empty list elsewhere.
    """
    instance.set_icntl(INVERSE, 1)
    instance.set_icntl(ICNTL_BLOCK, INVERSE_BLOCK)
    for k in range(count):
        if requests:
            instance.set_requests(*requests[k])
        check(instance, instance.run(SOLVE), "selected inverse")
    instance.set_icntl(INVERSE, 0)
    instance.set_icntl(ICNTL_BLOCK, SOLVE_BLOCK)
