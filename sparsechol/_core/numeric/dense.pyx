"""Dense building blocks of a front (see dense.pxd).

Panels are halved down to WIDTH columns, which are factored in registers; everything between the
halves is a product. No BLAS: it costs more than the arithmetic on small blocks, and its threads
would meet those of the caller.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from sparsechol._core.parallel.pool cimport pool_share, pool_stopped


cdef extern from "kernels.h" nogil:
    ctypedef struct subtree:
        Py_ssize_t begin, root
        const int32_t *first
        const int64_t *panel
        const int64_t *row_start
        const int32_t *rows
        int nested
        const int32_t *target
    ctypedef struct kernels:
        int (*factor)(Py_ssize_t, int, void *, Py_ssize_t) noexcept nogil
        void (*solve)(int, Py_ssize_t, int, const void *, Py_ssize_t, void *,
                      Py_ssize_t) noexcept nogil
        void (*multiply)(int, int, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t,
                         const void *, Py_ssize_t, int, void *, Py_ssize_t,
                         void *) noexcept nogil
        void (*forward)(Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, void *) noexcept nogil
        void (*backward)(Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, void *) noexcept nogil
        void (*forward_columns)(const subtree *, const void *, void *, const uint8_t *,
                                int) noexcept nogil
        void (*backward_columns)(const subtree *, const void *, void *) noexcept nogil
        void (*scatter)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const int32_t *, const int32_t *, int,
                        const void *, void *, Py_ssize_t) noexcept nogil
        void (*gather)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const int32_t *, const int32_t *, int,
                       const void *, Py_ssize_t, void *) noexcept nogil
        void (*mirror)(Py_ssize_t, Py_ssize_t, Py_ssize_t, void *) noexcept nogil
        Py_ssize_t (*columns)(const subtree *, void *, void *) noexcept nogil
        void (*inverse_columns)(const subtree *, const void *, void *, const void *,
                                void *) noexcept nogil
        void (*tangent)(Py_ssize_t, int, const void *, void *, Py_ssize_t) noexcept nogil
        void (*outer)(Py_ssize_t, int, const void *, const void *, void *,
                      Py_ssize_t) noexcept nogil
        void (*adjoint)(int, const void *, void *, Py_ssize_t) noexcept nogil
        void (*tangent_columns)(const subtree *, const void *, void *, void *) noexcept nogil
        void (*outer_columns)(const subtree *, const void *, const void *, void *,
                              void *) noexcept nogil
        void (*adjoint_columns)(const subtree *, const void *, void *, const void *,
                                void *) noexcept nogil
        void (*inner_columns)(const subtree *, const void *, const void *, void *, const void *,
                              void *) noexcept nogil
        int (*factor_signed)(Py_ssize_t, int, void *, Py_ssize_t,
                             const pivot_rule *) noexcept nogil
        void (*multiply_signed)(int, int, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *,
                                Py_ssize_t, const void *, Py_ssize_t, int, void *, Py_ssize_t,
                                void *, const void *, Py_ssize_t) noexcept nogil
        Py_ssize_t (*columns_signed)(const subtree *, void *, void *,
                                     const pivot_rule *) noexcept nogil
        int (*update)(int, Py_ssize_t, int, int, void *, Py_ssize_t, void *, Py_ssize_t, double *,
                      const int8_t *, double, double *) noexcept nogil
        int (*update_column)(int, Py_ssize_t, int, void *, const int32_t *, Py_ssize_t, void *,
                             double *, const int8_t *, double, double *) noexcept nogil
        void (*interleave)(Py_ssize_t, const double *const *, void *) noexcept nogil
        void (*separate)(Py_ssize_t, const void *, double *const *) noexcept nogil
        int (*weak)(const void *, const void *, const void *, double) noexcept nogil
    int (*kernels_stopped)(int64_t) noexcept nogil
    const char *kernels_best()
    int kernels_use(const char *name, const kernels **tables)


cdef const kernels *tables[KINDS]
kernels_use(kernels_best(), tables)


cdef int stopped(int64_t work) noexcept nogil:
    """Whether large products end early."""
    return pool_stopped(work)


kernels_stopped = stopped


cdef enum:
    SHARED = 1 << 21        # multiplications from which a product is worth sharing


cdef inline const kernels *own(const element *tag) noexcept nogil:
    """The own kernels for the type of the pointer."""
    return tables[kind_of(tag)]


cdef int factor_panel(int rows, int nc, element *P, int ld, const pivot_rule *rule,
                      const Crew *crew) noexcept nogil:
    """Factor the first nc columns of a front; -1, or the column whose pivot is refused.

        [ P11  .   ]  h            L11 <- chol(P11), L21 <- P21 L11^-H
        [ P21  P22 ]  rows - h     P22 <- P22 - L21 L21^H, then the same on P22

    With a rule for pivots L21 <- P21 L11^-H S and P22 <- P22 - L21 S L21^H.
    """
    cdef int h, bad
    cdef pivot_rule rest
    if nc <= WIDTH:
        if rule == NULL:
            return own(<const element *>P).factor(rows, nc, P, ld)
        return own(<const element *>P).factor_signed(rows, nc, P, ld, rule)
    if nc <= PANEL and rows > nc:
        # The triangle first, then the rows below it in blocks that stay in cache.
        bad = factor_panel(nc, nc, P, ld, rule, crew)
        if bad < 0:
            solve_rows(rows - nc, nc, <const element *>P, ld, P + nc, ld, crew)
            if rule != NULL:
                turn_columns(rows - nc, nc, <const element *>P, ld, P + nc)
        return bad
    h = half(nc)
    bad = factor_panel(rows, h, P, ld, rule, crew)
    if bad >= 0 or pool_stopped(0):
        return bad
    if rule == NULL:
        multiply(CONJ_TRANS, True, rows - h, nc - h, h, P + h, ld, P + h, ld, True,
                 P + h * (<Py_ssize_t>ld + 1), ld, crew)
    else:
        multiply_signed(rows - h, nc - h, h, <const element *>P, ld, True,
                        P + h * (<Py_ssize_t>ld + 1), ld, crew)
        rest = shifted(rule, h)
        rule = &rest
    bad = factor_panel(rows - h, nc - h, P + h * (<Py_ssize_t>ld + 1), ld, rule, crew)
    return bad + h if bad >= 0 else -1


cdef inline void turn_columns(Py_ssize_t rows, int nc, const element *L, Py_ssize_t ld,
                              element *X) noexcept nogil:
    """X <- X S, S the signs of the diagonal of L; both have the same leading dimension."""
    cdef Py_ssize_t i
    cdef int j
    if element not in lanes:
        for j in range(nc):
            if real(L[j * (ld + 1)]) < 0:
                for i in range(rows):
                    X[i + j * ld] = -X[i + j * ld]


cdef inline int half(int nc) noexcept nogil:
    """About half of nc, a multiple of WIDTH."""
    return (nc // 2 + WIDTH - 1) // WIDTH * WIDTH


cdef void tangent_panel(int rows, int nc, const element *L, element *X, int ld,
                        const Crew *crew) noexcept nogil:
    """X <- the change of the first nc columns of L that a change X of the front makes.

        [ X11  .   ]  h            X1 with  X1 L11^H + L1 X11^H = the first h columns,
        [ X21  X22 ]  rows - h     X22 <- X22 - X21 L21^H - L21 X21^H, then the same on X22
    """
    cdef int h
    if nc <= WIDTH:
        own(L).tangent(rows, nc, L, X, ld)
        return
    h = half(nc)
    tangent_panel(rows, h, L, X, ld, crew)
    L += h
    X += h
    multiply(CONJ_TRANS, True, rows - h, nc - h, h, <const element *>X, ld, L, ld, True,
             X + <Py_ssize_t>h * ld, ld, crew)
    multiply(CONJ_TRANS, True, rows - h, nc - h, h, L, ld, <const element *>X, ld, True,
             X + <Py_ssize_t>h * ld, ld, crew)
    tangent_panel(rows - h, nc - h, L + <Py_ssize_t>h * ld, X + <Py_ssize_t>h * ld, ld, crew)


cdef void outer_panel(int rows, int nc, const element *X, const element *Y, element *out, int ld,
                      const Crew *crew) noexcept nogil:
    """out <- out - X Y^H - Y X^H on the first nc columns of a front, lower triangles.

        [ X11  .   ]  h            the first h columns of out from X1 and Y1,
        [ X21  X22 ]  rows - h     the others from X21 and Y21, then from X22 and Y22
    """
    cdef int h
    if nc <= WIDTH:
        own(X).outer(rows, nc, X, Y, out, ld)
        return
    h = half(nc)
    outer_panel(rows, h, X, Y, out, ld, crew)
    X += h
    Y += h
    out += h + <Py_ssize_t>h * ld
    multiply(CONJ_TRANS, True, rows - h, nc - h, h, X, ld, Y, ld, True, out, ld, crew)
    multiply(CONJ_TRANS, True, rows - h, nc - h, h, Y, ld, X, ld, True, out, ld, crew)
    outer_panel(rows - h, nc - h, X + <Py_ssize_t>h * ld, Y + <Py_ssize_t>h * ld, out, ld, crew)


cdef void adjoint_triangle(int nc, const element *L, element *Z, int ld,
                           const Crew *crew) noexcept nogil:
    """Z <- L^-H (P + P^H) L^-1 from C in its lower triangle; P = L^H C, diagonal halved, lower.

        [ Z11 Z21^H ]  h           Z22 from C22,  Z21 = (C21 - Z22 L21) L11^-1,
        [ Z21 Z22   ]  nc - h      Z11 from C11 - lower(Z21^H L21)
    """
    cdef int h, i, j
    cdef const element *L21
    cdef element *Z21
    cdef element *Z12
    if nc <= WIDTH:
        own(L).adjoint(nc, L, Z, ld)
        return
    h = half(nc)
    L21 = L + h
    Z21 = Z + h
    Z12 = Z + <Py_ssize_t>h * ld
    adjoint_triangle(nc - h, L21 + <Py_ssize_t>h * ld, Z12 + h, ld, crew)
    multiply(AS_IS, False, nc - h, h, nc - h, <const element *>Z12 + h, ld, L21, ld, True, Z21, ld,
             crew)
    solve_right(AS_IS, nc - h, h, L, ld, Z21, ld, crew)
    for j in range(nc - h):
        for i in range(h):
            Z12[i + j * <Py_ssize_t>ld] = conjugate(Z21[j + i * <Py_ssize_t>ld])
    multiply(AS_IS, True, h, h, nc - h, <const element *>Z12, ld, L21, ld, True, Z, ld, crew)
    adjoint_triangle(h, L, Z, ld, crew)


cdef void solve_right(int op, int rows, int nc, const element *L, int ldl, element *X,
                      int ldx, const Crew *crew) noexcept nogil:
    """X <- X op(L)^-1.

        [X1 X2]   with  L = [ L11      ]     transposed: X1, then X2 <- X2 - X1 L21^T, then X2
                            [ L21  L22 ]     as is:      X2, then X1 <- X1 - X2 L21, then X1
    """
    cdef int h
    cdef const element *L21
    cdef const element *L22
    cdef element *X2
    if nc <= WIDTH:
        own(<const element *>X).solve(op, rows, nc, L, ldl, X, ldx)
        return
    h = half(nc)
    L21 = L + h
    L22 = L21 + <Py_ssize_t>h * ldl
    X2 = X + <Py_ssize_t>h * ldx
    if op == AS_IS:
        solve_right(op, rows, nc - h, L22, ldl, X2, ldx, crew)
        multiply(op, False, rows, h, nc - h, X2, ldx, L21, ldl, True, X, ldx, crew)
        solve_right(op, rows, h, L, ldl, X, ldx, crew)
    else:
        solve_right(op, rows, h, L, ldl, X, ldx, crew)
        multiply(op, False, rows, nc - h, h, X, ldx, L21, ldl, True, X2, ldx, crew)
        solve_right(op, rows, nc - h, L22, ldl, X2, ldx, crew)


cdef void multiply(int op, bint lower, int m, int n, int k, const element *A, int lda,
                   const element *B, int ldb, bint beta, element *C, int ldc,
                   const Crew *crew) noexcept nogil:
    """C <- beta C - A op(B), beta 0 or 1; `lower` leaves out what lies above the diagonal of C."""
    cdef Product job
    if crew.threads == 1 or <int64_t>m * n * k < SHARED:
        own(<const element *>C).multiply(op, lower, m, n, k, A, lda, B, ldb, beta, C, ldc,
                                         pack_of(crew))
        return
    job = Product(
        kind=kind_of(<const element *>C), op=op, lower=lower, beta=beta, m=m, n=n, k=k,
        height=piece_height(m, crew.threads), A=A, lda=lda, B=B, ldb=ldb, C=C, ldc=ldc, crew=crew,
        diagonal=NULL, step=0,
    )
    pool_share(crew.worker, (m + job.height - 1) // job.height, multiply_piece, &job)


cdef void multiply_signed(int m, int n, int k, const element *L, int ld, bint beta, element *C,
                          int ldc, const Crew *crew) noexcept nogil:
    """C <- beta C - L21 S L21'^H, lower triangle, beta 0 or 1; L21' is the first n rows of L21.

        [ L11 ]  k
        [ L21 ]  m
    """
    cdef const element *L21 = L + k
    cdef Product job
    if not has_negative(k, L, ld):
        multiply(CONJ_TRANS, True, m, n, k, L21, ld, L21, ld, beta, C, ldc, crew)
        return
    if crew.threads == 1 or <int64_t>m * n * k < SHARED:
        own(<const element *>C).multiply_signed(
            CONJ_TRANS, True, m, n, k, L21, ld, L21, ld, beta, C, ldc, pack_of(crew), L, ld + 1)
        return
    job = Product(
        kind=kind_of(<const element *>C), op=CONJ_TRANS, lower=True, beta=beta, m=m, n=n, k=k,
        height=piece_height(m, crew.threads), A=L21, lda=ld, B=L21, ldb=ld, C=C, ldc=ldc, crew=crew,
        diagonal=L, step=ld + 1,
    )
    pool_share(crew.worker, (m + job.height - 1) // job.height, multiply_piece, &job)


cdef inline bint has_negative(int nc, const element *L, Py_ssize_t ld) noexcept nogil:
    """Whether a pivot of a panel is negative."""
    cdef int j
    if element not in lanes:
        for j in range(nc):
            if real(L[j * (ld + 1)]) < 0:
                return True
    return False


cdef struct Product:
    # A product that the threads of a crew share, and how many rows of it are a piece.
    int kind, op
    bint lower, beta
    int m, n, k, height
    const void *A
    int lda
    const void *B
    int ldb
    void *C
    int ldc
    const Crew *crew
    const void *diagonal        # whose signs the columns of A take; NULL: as they are
    Py_ssize_t step


cdef void multiply_piece(void *context, int32_t piece, pool_worker *worker) noexcept nogil:
    """Some rows of C; if only the lower part is wanted, a rectangle and a triangle.

        [ done elsewhere ]           The last rows come first: they are the longest.
        [ rectangle  \\   ]
    """
    cdef const Product *job = <const Product *>context
    cdef Py_ssize_t size = size_of(job.kind)
    cdef Py_ssize_t i = ((job.m - 1) // job.height - piece) * <Py_ssize_t>job.height
    cdef Py_ssize_t rows = min(<Py_ssize_t>job.height, job.m - i)
    cdef Py_ssize_t left = min(i, <Py_ssize_t>job.n) if job.lower else job.n
    cdef const char *A = <const char *>job.A + size * i
    cdef const char *B = <const char *>job.B
    cdef char *C = <char *>job.C + size * i
    cdef void *pack = job.crew.packs + job.crew.stride * worker.number
    if left:
        multiply_part(job, False, rows, left, A, B, C, pack)
    if left < job.n:
        # Lower products are with op(B) transposed: row j of B belongs to column j of C.
        multiply_part(job, True, rows, min(rows, job.n - left), A, B + size * left,
                      C + size * left * job.ldc, pack)


cdef inline void multiply_part(const Product *job, bint lower, Py_ssize_t m, Py_ssize_t n,
                               const void *A, const void *B, void *C, void *pack) noexcept nogil:
    """A rectangle or a triangle of C."""
    cdef const kernels *table = tables[job.kind]
    if job.diagonal == NULL:
        table.multiply(job.op, lower, m, n, job.k, A, job.lda, B, job.ldb, job.beta, C, job.ldc,
                       pack)
    else:
        table.multiply_signed(job.op, lower, m, n, job.k, A, job.lda, B, job.ldb, job.beta, C,
                              job.ldc, pack, job.diagonal, job.step)


cdef inline int piece_height(int rows, int threads) noexcept nogil:
    """Rows of a piece: a few pieces for each thread, none so low that packing is felt."""
    return max(96, min(384, (rows // (3 * threads) + 23) // 24 * 24))


cdef inline void *pack_of(const Crew *crew) noexcept nogil:
    """The workspace of the thread that calls."""
    return crew.packs + (crew.stride * crew.worker.number if crew.threads > 1 else 0)


cdef struct Rows:
    # A solve from the right that the threads of a crew share.
    int kind, rows, nc, ldl, ldx
    const void *L
    void *X
    const Crew *crew


cdef void solve_rows(int rows, int nc, const element *L, int ldl, element *X, int ldx,
                     const Crew *crew) noexcept nogil:
    """X <- X L^-H in blocks of rows that stay in cache."""
    cdef Rows job = Rows(
        kind=kind_of(L), rows=rows, nc=nc, ldl=ldl, ldx=ldx, L=L, X=X, crew=crew,
    )
    cdef int i = 0
    if crew.threads > 1 and <int64_t>rows * nc * nc >= SHARED:
        pool_share(crew.worker, (rows + PANEL - 1) // PANEL, solve_piece, &job)
        return
    while i < rows:
        solve_right(CONJ_TRANS, min(<int>PANEL, rows - i), nc, L, ldl, X + i, ldx, crew)
        i += PANEL


cdef void solve_piece(void *context, int32_t piece, pool_worker *worker) noexcept nogil:
    """One block of rows."""
    cdef const Rows *job = <const Rows *>context
    cdef Crew crew = Crew(
        threads=1, worker=worker, packs=job.crew.packs + job.crew.stride * worker.number, stride=0,
    )
    cdef int i = piece * <int>PANEL
    cdef int rows = min(<int>PANEL, job.rows - i)
    if job.kind == DOUBLE:
        solve_right(CONJ_TRANS, rows, job.nc, <const double *>job.L, job.ldl, <double *>job.X + i,
                    job.ldx, &crew)
    elif job.kind == FLOAT:
        solve_right(CONJ_TRANS, rows, job.nc, <const float *>job.L, job.ldl, <float *>job.X + i,
                    job.ldx, &crew)
    elif job.kind == DOUBLE_COMPLEX:
        solve_right(CONJ_TRANS, rows, job.nc, <const double complex *>job.L, job.ldl,
                    <double complex *>job.X + i, job.ldx, &crew)
    else:
        solve_right(CONJ_TRANS, rows, job.nc, <const float complex *>job.L, job.ldl,
                    <float complex *>job.X + i, job.ldx, &crew)


cdef void forward_one(int nc, int m, const scalar *L, scalar *z) noexcept nogil:
    """z1 <- L11^-1 z1 and z2 <- z2 - L21 z1 for one right-hand side of a front."""
    own(L).forward(nc, m, L, nc + m, z)


cdef void backward_one(int nc, int m, const scalar *L, scalar *z) noexcept nogil:
    """z1 <- L11^-H (z1 - L21^H z2) for one right-hand side of a front."""
    own(L).backward(nc, m, L, nc + m, z)


cdef void scatter_add(int m, int begin, int end, const int32_t *place, const int32_t *runs,
                      int shift, const element *U, element *D, int ldd) noexcept nogil:
    """D[place[i] - shift, place[j] - shift] += U[i, j] for i >= j, begin <= j < end."""
    if begin < end:
        own(<const element *>D).scatter(m, begin, end, place, runs, shift, U, D, ldd)


cdef void gather_lower(int m, int begin, int end, const int32_t *place, const int32_t *runs,
                       int shift, const element *D, int ldd, element *U) noexcept nogil:
    """U[i, j] = D[place[i] - shift, place[j] - shift] for i >= j, begin <= j < end."""
    if begin < end:
        own(D).gather(m, begin, end, place, runs, shift, D, ldd, U)


cdef void mirror(int m, int begin, int end, element *U) noexcept nogil:
    """U[j, i] = conj(U[i, j]) for i > j, begin <= j < end."""
    own(<const element *>U).mirror(m, begin, end, U)


cdef inline subtree up(const Pattern *p, int32_t root) noexcept nogil:
    """The simplicial subtree of a root for a kernel that begins with its first column."""
    cdef int32_t begin = p.begin[root]
    return subtree(begin=begin, root=root, first=p.first, panel=p.panel, row_start=p.row_start,
                   rows=p.rows, nested=p.nested, target=p.target + p.target_start[begin])


cdef inline subtree down(const Pattern *p, int32_t root) noexcept nogil:
    """The simplicial subtree of a root for a kernel that begins with the root."""
    cdef subtree r = up(p, root)
    r.target = p.target + p.target_start[root + 1]
    return r


cdef Py_ssize_t factor_columns(const Pattern *p, int32_t root, element *l, element *update,
                               const pivot_rule *rule) noexcept nogil:
    """Factor the columns of a simplicial subtree; -1, or the column whose pivot is refused."""
    cdef subtree r = up(p, root)
    l += p.panel[r.begin]
    if rule == NULL:
        return own(<const element *>l).columns(&r, l, update)
    return own(<const element *>l).columns_signed(&r, l, update, rule)


cdef void forward_columns(const Pattern *p, int32_t begin, int32_t root, const element *l,
                          element *x, const uint8_t *reached, bint signs) noexcept nogil:
    """x <- L^-1 x, or S L^-1 x, on supernodes of one column each, for one right-hand side."""
    cdef subtree r = up(p, root)
    r.begin = begin
    own(l).forward_columns(&r, l + p.panel[r.begin], x, reached, signs)


cdef void backward_columns(const Pattern *p, int32_t begin, int32_t root, const element *l,
                           element *x) noexcept nogil:
    """x <- L^-H x on supernodes of one column each, for one right-hand side."""
    cdef subtree r = up(p, root)
    r.begin = begin
    own(l).backward_columns(&r, l + p.panel[r.begin], x)


cdef void invert_columns(const Pattern *p, int32_t root, const element *l, element *z,
                         const element *below, element *t) noexcept nogil:
    """Partial inverse on the columns of a simplicial subtree."""
    cdef subtree r = down(p, root)
    cdef int64_t at = p.panel[r.begin]
    own(l).inverse_columns(&r, l + at, z + at, below, t)


cdef void tangent_columns(const Pattern *p, int32_t root, const element *l, element *x,
                          element *update) noexcept nogil:
    """Tangent of the factor on the columns of a simplicial subtree."""
    cdef subtree r = up(p, root)
    cdef int64_t at = p.panel[r.begin]
    own(l).tangent_columns(&r, l + at, x + at, update)


cdef void outer_columns(const Pattern *p, int32_t root, const element *x, const element *y,
                        element *out, element *update) noexcept nogil:
    """-(X Y^H + Y X^H) on the columns of a simplicial subtree."""
    cdef subtree r = up(p, root)
    cdef int64_t at = p.panel[r.begin]
    own(x).outer_columns(&r, x + at, y + at, out + at, update)


cdef void adjoint_columns(const Pattern *p, int32_t root, const element *l, element *z,
                          const element *below, element *t) noexcept nogil:
    """Adjoint of the tangent on the columns of a simplicial subtree."""
    cdef subtree r = down(p, root)
    cdef int64_t at = p.panel[r.begin]
    own(l).adjoint_columns(&r, l + at, z + at, below, t)


cdef void inner_columns(const Pattern *p, int32_t root, const element *s, const element *y,
                        element *out, const element *below, element *t) noexcept nogil:
    """S Y on the columns of a simplicial subtree."""
    cdef subtree r = down(p, root)
    cdef int64_t at = p.panel[r.begin]
    own(s).inner_columns(&r, s + at, y + at, out + at, below, t)


cdef int kind_side_by_side() noexcept nogil:
    """The kind of the entries of matrices side by side; -1: the instruction set has none."""
    if tables[LANES_OF_8] != NULL:
        return LANES_OF_8
    return LANES_OF_4 if tables[LANES_OF_4] != NULL else -1


cdef void interleave(int kind, Py_ssize_t n, const double *const *one, void *all) noexcept nogil:
    """Number v of all[p] <- one[v][p], for p < n."""
    tables[kind].interleave(n, one, all)


cdef void separate(int kind, Py_ssize_t n, const void *all, double *const *one) noexcept nogil:
    """one[v][p] <- number v of all[p], for p < n."""
    tables[kind].separate(n, all, one)


cdef int weak_lanes(const lanes *root, const lanes *part, const lanes *entry,
                    double least) noexcept nogil:
    """Which matrices have a pivot root^2 that is not finite, or less than a part of its diagonal
    entry; one bit each."""
    return own(root).weak(root, part, entry, least)


cdef int update_panel(int form, int nc, int m, int k, scalar *L, scalar *W, double *signs,
                      const int8_t *expected, double least, double *weakest) noexcept nogil:
    """A front takes up k = 1, 2, 4 or WIDTH vectors; -1, or the column whose pivot is refused.

        [ L11 | W1 ]  nc        block by block of WIDTH columns, the triangle first: its rotations
        [ L21 | W2 ]  m         are then those of all rows below
    """
    cdef int j = 0, bad, rows = nc + m
    while j < nc:
        bad = own(<const scalar *>L).update(
            form, rows - j, min(<int>WIDTH, nc - j), k, L + j + <Py_ssize_t>j * rows, rows, W + j,
            rows, signs, expected + j if expected != NULL else NULL, least, weakest)
        if bad >= 0:
            return j + bad
        j += WIDTH
    return -1


cdef int update_column(int form, int m, int k, scalar *column, const int32_t *below, int32_t at,
                       scalar *W, double *signs, const int8_t *expected, double least,
                       double *weakest) noexcept nogil:
    """A simplicial column takes up k vectors, with k entries in each row of W; -1, or 0."""
    return own(<const scalar *>W).update_column(form, m, k, column, below, at, W, signs, expected,
                                                least, weakest)


def subtract_product(scalar[::1, :] A, scalar[::1, :] B, scalar[:, :] C,
                     scalar[::1] pack, int op=AS_IS, bint lower=False):
    """C <- C - A op(B), for tests; C may be a block of a matrix in Fortran order."""
    cdef int m = <int>C.shape[0]
    cdef int n = <int>C.shape[1]
    cdef int k = <int>A.shape[1]
    if (A.shape[0], B.shape[0], B.shape[1]) != ((m, k, n) if op == AS_IS else (m, n, k)):
        raise ValueError("subtract_product: shapes do not fit")
    if pack.shape[0] < PACK:
        raise ValueError("subtract_product: workspace too small")
    if C.strides[0] != sizeof(scalar):
        raise ValueError("subtract_product: the columns of C must be contiguous")
    cdef Crew crew = Crew(threads=1, worker=NULL, packs=<char *>&pack[0], stride=0)
    multiply(op, lower, m, n, k, &A[0, 0], m, &B[0, 0], <int>B.shape[0], True, &C[0, 0],
             <int>(C.strides[1] // <Py_ssize_t>sizeof(scalar)), &crew)


def instruction_set(name=None):
    """Name of the instruction set in use; with `name`, switch to it (for tests)."""
    global current
    if name is not None:
        if not kernels_use(name.encode(), tables):
            raise ValueError(f"kernels for {name!r} are not built or cannot run on this processor")
        current = name
    return current


current = (<bytes>kernels_best()).decode()
workspace = <Py_ssize_t>PACK    # scalars of workspace of a product
