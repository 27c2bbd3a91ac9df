"""An estimate of the reciprocal condition number, from the factor.

The matrix of a Cholesky factor is scaled to a unit diagonal first,

    H = D^-1/2 A D^-1/2,      D = diag A,

which is the best scaling up to a factor n (van der Sluis 1969), and what the error of a Cholesky
factorization depends on (Demmel 1989): rows in other units have the same H. The 1-norm of H^-1 is
estimated by the maximum of a convex function over the unit ball, from corner to corner (Hager
1984; Higham 1988). It starts in the corner of the weakest pivot: an average of all corners hides
a null vector of few entries that add up to nothing. A few solves are all that it takes.

Where a pivot is negative, D has the largest absolute value of each row instead.

Scaling A by K A K with powers of two in K, or by a power of four, changes no bit of the result.

References
----------
Demmel, J. (1989). On floating point errors in Cholesky. LAPACK working note 14.
Hager, W. W. (1984). Condition estimates. SIAM J. Sci. Stat. Comput. 5(2), 311-316.
Higham, N. J. (1988). FORTRAN codes for estimating the one-norm of a real or complex matrix, with
    applications to condition estimation. ACM Trans. Math. Softw. 14(4), 381-396.
van der Sluis, A. (1969). Condition numbers and equilibration of matrices. Numer. Math. 14, 14-23.
"""

from libc.math cimport INFINITY, NAN, hypot, sqrt
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from sparsechol._core.numeric.dense cimport kind_of, real, scalar
from sparsechol._core.numeric.solve cimport System, solve_all, solve_space
from sparsechol._core.numeric.sweep_driver cimport each
from sparsechol._core.symbolic.structure cimport Pattern


cdef inline double quick_bound(const scalar *tag) noexcept nogil:
    """A condition number so far from 1 / eps that a first estimate is enough."""
    return 1e4 if scalar is float or scalar is floatcomplex else 1e10


cdef enum:
    STEPS = 5                   # most corners that are looked at; two are usual


cdef bint reciprocal_condition(const Pattern *p, const int64_t *indptr, const int32_t *indices,
                               const scalar *a, const scalar *l, bint scaled, bint quick,
                               int threads, double *result) noexcept nogil:
    """1 / (|H| |H^-1|) in the 1-norm, NaN where L is; of A itself unless `scaled`.

    a : values by column, whose pattern is `indptr` and `indices`.
    l : its factor.
    quick : whether the first solve is enough where it tells of no doubt.

    Returns False without memory.
    """
    cdef Py_ssize_t n = p.n
    cdef double *root
    cdef scalar *x
    cdef System system
    cdef double size
    cdef bint done, signed = has_negative(p, l)
    if real(l[0]) != real(l[0]):
        result[0] = NAN
        return True
    root = <double *>malloc(sizeof(double) * 2 * n)
    x = <scalar *>malloc(sizeof(scalar) * (n + solve_space(p, 1, threads)))
    done = root != NULL and x != NULL
    if done:
        scale_of_rows(p, a, signed, root)
        take_roots(n, scaled, root)
        size = norm(n, indptr, indices, a, <const double *>root, root + n)
        system = system_of(p, l, x, signed)
        done = norm_of_inverse(&system, root, x, weakest(p, l, root), threads,
                               quick_bound(l) if quick else 0, &size)
        result[0] = 1 / size
    free(x)
    free(root)
    return done


cdef System system_of(const Pattern *p, const scalar *l, scalar *x, bint signed) noexcept nogil:
    """The system A x = b, to be solved in place; the workspace is behind x."""
    cdef System system
    memset(&system, 0, sizeof(system))
    system.p = p
    system.kind = kind_of(l)
    system.lower = system.upper = True
    system.signs = signed
    system.factor = each(l)
    system.b = <char *>x
    system.strides[0] = p.n
    system.strides[1] = system.strides[2] = 1
    system.columns = system.block = 1
    system.inward = system.outward = p.perm
    system.work = <char *>(x + p.n)
    return system


cdef bint surely_regular(const Pattern *p, const scalar *a, const scalar *l, double ratio,
                         bint signed, int threads) noexcept nogil:
    """Whether the first solve tells that a matrix in doubt is far from singular.

    It does where a quick `reciprocal_condition` needs no second one, too: no entry of H is greater
    than 1, so that |H| is at most the number of entries in a row, doubled for its rounding. False
    also without memory.

    ratio : least part of a diagonal entry that a pivot is, but for rounding; of signed ones unused.
    """
    cdef Py_ssize_t i, n = p.n, corner
    cdef double *root = <double *>malloc(sizeof(double) * n)
    cdef scalar *x = <scalar *>malloc(sizeof(scalar) * (n + solve_space(p, 1, threads)))
    cdef System system
    cdef double total = INFINITY
    if root != NULL and x != NULL:
        if signed:
            signed = has_negative(p, l)
            scale_of_rows(p, a, signed, root)
            take_roots(n, True, root)
            corner = weakest(p, l, root)
        else:
            corner = weakest_of_ratio(p, a, l, ratio, root)
        memset(x, 0, sizeof(scalar) * n)
        x[corner] = <scalar>root[corner]
        system = system_of(p, l, x, signed)
        if solve_all(&system, 1, threads):
            total = 0
            for i in range(n):
                total += modulus(x[i]) * root[i]
    free(x)
    free(root)
    return 2. * p.longest_row * total < quick_bound(l)


cdef Py_ssize_t weakest_of_ratio(const Pattern *p, const scalar *a, const scalar *l, double ratio,
                                 double *root) noexcept nogil:
    """`weakest`, where the part of its diagonal entry that a pivot is, is known but for rounding.

    Filled in are the roots of the diagonal entries.
    """
    cdef Py_ssize_t where = p.n, row
    cdef double least = INFINITY, scale, pivot
    cdef int32_t s, j, rows
    ratio *= 1 + 1e-6 if scalar is double or scalar is doublecomplex else 1 + 1e-3
    for s in range(p.nsuper):
        rows = <int32_t>(p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s])
        for j in range(p.first[s], p.first[s + 1]):
            row = p.perm[j]
            scale = max(abs(<double>real(a[p.entry_source[p.entry_start[j]]])), least_normal(a))
            pivot = abs(<double>real(l[0]))
            root[row] = sqrt(scale)
            l += rows + 1
            if pivot * pivot > ratio * (scale + least_normal(a)):
                continue
            pivot /= root[row]
            if pivot < least or pivot == least and row < where:
                least = pivot
                where = row
        l -= p.first[s + 1] - p.first[s]
    return where if where < p.n else 0


cdef void scale_of_rows(const Pattern *p, const scalar *a, bint largest,
                        double *scale) noexcept nogil:
    """scale <- the diagonal, or the largest absolute value of each row."""
    cdef int32_t s, j, at, row, column, nc
    cdef int64_t q, source
    cdef double size
    for j in range(p.n):
        size = abs(<double>real(a[p.entry_source[p.entry_start[j]]]))
        scale[p.perm[j]] = max(size, least_normal(a))
    for s in range(p.nsuper if largest else 0):
        nc = p.first[s + 1] - p.first[s]
        for j in range(p.first[s], p.first[s + 1]):
            column = p.perm[j]
            for q in range(p.entry_start[j] + 1, p.entry_start[j + 1]):
                at = p.entry_row[q]
                row = p.perm[p.first[s] + at if at < nc else p.rows[p.row_start[s] + at - nc]]
                source = p.entry_source[q]
                size = modulus(a[source if source >= 0 else ~source])
                scale[column] = max(scale[column], size)
                scale[row] = max(scale[row], size)


cdef bint has_negative(const Pattern *p, const scalar *l) noexcept nogil:
    """Whether a pivot is negative."""
    cdef int32_t s, nc
    cdef Py_ssize_t j, rows
    for s in range(p.nsuper):
        nc = p.first[s + 1] - p.first[s]
        rows = nc + p.row_start[s + 1] - p.row_start[s]
        for j in range(nc):
            if real(l[p.panel[s] + j * (rows + 1)]) < 0:
                return True
    return False


cdef void take_roots(Py_ssize_t n, bint scaled, double *root) noexcept nogil:
    """root <- its square roots, or all the largest of them."""
    cdef Py_ssize_t j
    cdef double largest = 0
    for j in range(n):
        root[j] = sqrt(root[j])
        largest = max(largest, root[j])
    if not scaled:
        for j in range(n):
            root[j] = largest


cdef inline double modulus(scalar x) noexcept nogil:
    if scalar is floatcomplex or scalar is doublecomplex:
        return hypot(x.real, x.imag)
    else:
        return abs(<double>x)


cdef double norm(Py_ssize_t n, const int64_t *indptr, const int32_t *indices, const scalar *a,
                 const double *root, double *sums) noexcept nogil:
    """|H|_1."""
    cdef Py_ssize_t j, q
    cdef double size, largest = 0
    memset(sums, 0, sizeof(double) * n)
    for j in range(n):
        sums[j] += abs(<double>real(a[indptr[j]])) / root[j] / root[j]
        for q in range(indptr[j] + 1, indptr[j + 1]):
            size = modulus(a[q]) / root[j] / root[indices[q]]
            sums[j] += size
            sums[indices[q]] += size
    for j in range(n):
        largest = max(largest, sums[j])
    return largest


cdef Py_ssize_t weakest(const Pattern *p, const scalar *l, const double *root) noexcept nogil:
    """The original row with the smallest pivot of H, the first of equals."""
    cdef Py_ssize_t where = p.n
    cdef double least = INFINITY, pivot
    cdef int32_t s, j
    for s in range(p.nsuper):
        for j in range(p.first[s], p.first[s + 1]):
            pivot = abs(<double>real(l[0])) / root[p.perm[j]]
            if pivot < least or pivot == least and p.perm[j] < where:
                least = pivot
                where = p.perm[j]
            l += p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s] + 1
        l -= p.first[s + 1] - p.first[s]
    return where if where < p.n else 0      # all NaN


cdef bint norm_of_inverse(System *system, const double *root, scalar *x, Py_ssize_t corner,
                          int threads, double enough, double *size) noexcept nogil:
    """Multiply `size` by an estimate of |H^-1|_1; False without memory."""
    cdef Py_ssize_t i, n = system.p.n, last
    cdef double estimate = 0, found
    cdef int _
    for _ in range(STEPS):
        memset(x, 0, sizeof(scalar) * n)
        x[corner] = 1
        if not solve_scaled(system, root, x, threads):
            return False
        found = sum_of(n, x)
        if not found < INFINITY:
            size[0] = INFINITY          # complex arithmetic makes NaN of it
            return True
        if found <= estimate:
            break
        estimate = found
        if size[0] * estimate < enough:
            size[0] *= estimate
            return True
        for i in range(n):
            x[i] = sign(x[i])
        if not solve_scaled(system, root, x, threads):
            return False
        last = corner
        corner = largest_of(n, x)
        if corner == last:
            break
    for i in range(n):
        x[i] = <scalar>((-1 if i % 2 else 1) * (1 + i / max(n - 1., 1.)))
    if not solve_scaled(system, root, x, threads):
        return False
    size[0] *= max(estimate, 2 * sum_of(n, x) / (3. * n))
    return True


cdef bint solve_scaled(System *system, const double *root, scalar *x,
                       int threads) noexcept nogil:
    """x <- H^-1 x."""
    cdef Py_ssize_t i
    cdef bint done
    for i in range(system.p.n):
        x[i] = <scalar>(x[i] * root[i])
    done = solve_all(system, 1, threads)
    for i in range(system.p.n):
        x[i] = <scalar>(x[i] * root[i])
    return done


cdef inline scalar sign(scalar x) noexcept nogil:
    """x / |x|, and 1 for zero."""
    cdef double size = modulus(x)
    if size == 0:
        return 1
    return <scalar>(x / size)


cdef double sum_of(Py_ssize_t n, const scalar *x) noexcept nogil:
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(n):
        total += modulus(x[i])
    return total


cdef Py_ssize_t largest_of(Py_ssize_t n, const scalar *x) noexcept nogil:
    """Where |x| is largest, the first of equals."""
    cdef Py_ssize_t i, where = 0
    for i in range(n):
        if modulus(x[i]) > modulus(x[where]):
            where = i
    return where
