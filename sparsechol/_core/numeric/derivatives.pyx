"""Sweeps of the tree that differentiate the factorization and what is computed from it.

E is the pattern of the panels of L; X and Y are lower triangular on E with a real diagonal, S is
Hermitian and known on E, P takes the lower triangle on E. Five sweeps, each with about twice the
arithmetic of the factorization, are closed under differentiation:

    tangent     X with  P(L X^H + X L^H) = M        T^-1, from the leaves up
    outer       P(X Y^H + Y X^H)                    B
    adjoint     of the tangent                      T^-*, from the roots down
    inner       P(S Y)                              C
    sandwich    P(A^-1 M A^-1) from X = T^-1 M and S = A^-1

With W, the weights 1 on the diagonal and 2 below it, and the inner product Re sum(conj(x) y) of
stored values:

    tangent of tangent(L, M)        tangent(L, dM - outer(dL, X))
    tangent of adjoint(L, C)        adjoint(L, dC - inner(2 W^-1 adjoint(L, C), dL))
    adjoint of M -> tangent(L, M)   C -> adjoint(L, C)
    adjoint of X -> outer(X, Y)     M -> inner(2 W^-1 M, Y)
    adjoint of Y -> inner(S, Y)     Z -> inner(S, Z)
    adjoint of S -> inner(S, Y)     Z -> W outer(Z, Y) / 2

The update of a front in the tangent is the change of the Schur complement; in the adjoint M is the
gradient on the rows below.

References
----------
Smith, S. P. (1995). Differentiation of the Cholesky algorithm. J. Comput. Graph. Stat. 4(2).
Giles, M. (2008). Collected matrix derivative results for forward and reverse mode algorithmic
    differentiation. Advances in Automatic Differentiation, 35-44.
Vandenberghe, L., Andersen, M. S. (2015). Chordal graphs and semidefinite optimization.
    Foundations and Trends in Optimization 1(4), section 9.
Murray, I. (2016). Differentiation of the Cholesky decomposition. arXiv:1602.07527.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from sparsechol._core.numeric.assembly cimport (
    Place, complete, gather, gather_guests, open_region, pass_on, put_panel, receives, square_of,
)
from sparsechol._core.numeric.batch cimport array_of, each
from sparsechol._core.numeric.dense cimport (
    ADJOINT, AS_IS, DOUBLE, DOUBLE_COMPLEX, FLOAT, PACK, PANEL, Crew, adjoint_columns,
    adjoint_triangle, conjugate, inner_columns, kind_of, multiply, outer_columns, outer_panel,
    real, scalar, size_of, solve_right, tangent_columns, tangent_panel, transpose,
)
from sparsechol._core.parallel.pool cimport POOL_DOWN, POOL_UP, pool_run, pool_scratch, pool_worker
from sparsechol._core.symbolic.structure cimport Pattern, Plan, Structure, plan_for


cdef struct Sweep:
    # What a thread works with; flat panels of one matrix.
    Kind what
    Place at                # fronts of the result, except of INNER
    Place known             # fronts of S
    const void *factor      # L
    const void *x           # X, or C where the gradient is swept down
    const void *y
    void *out
    void *spare             # see own_space


# ---- from the leaves up ----


cdef void tangent_front(const Pattern *p, int32_t s, const Sweep *sweep,
                        const scalar *witness) noexcept nogil:
    """The change of L on one front whose change is assembled.

        [ X11  .  ]     X1 with X1 L11^H + L1 X11^H = the columns,
        [ X21 X22 ]     X22 <- X22 - X21 L21^H - L21 X21^H
    """
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const scalar *panel = <const scalar *>sweep.factor + p.panel[s]
    cdef scalar *x = <scalar *>sweep.out + p.panel[s]
    tangent_panel(nc + m, nc, panel, x, nc + m, &sweep.at.crew)
    if m:
        subtract_both(p, s, <const scalar *>x + nc, panel + nc, nc, m, &sweep.at)
    clear_above(nc, nc + m, x)


cdef void outer_front(const Pattern *p, int32_t s, const Sweep *sweep,
                      const scalar *witness) noexcept nogil:
    """P(X Y^H + Y X^H) on one front that holds what the children add, all with the sign turned.

        [ O11  .  ]     O1 from X1 and Y1 (rows of X and Y are those of the panels),
        [ O21 O22 ]     O22 <- O22 - X21 Y21^H - Y21 X21^H
    """
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const scalar *x = <const scalar *>sweep.x + p.panel[s]
    cdef const scalar *y = <const scalar *>sweep.y + p.panel[s]
    cdef scalar *out = <scalar *>sweep.out + p.panel[s]
    outer_panel(nc + m, nc, x, y, out, nc + m, &sweep.at.crew)
    if m:
        subtract_both(p, s, x + nc, y + nc, nc, m, &sweep.at)
    turn_sign(nc, nc + m, out)


cdef inline void subtract_both(const Pattern *p, int32_t s, const scalar *x, const scalar *y,
                               int nc, int m, const Place *at) noexcept nogil:
    """The update matrix of s takes in -(x y^H + y x^H), x and y below the panel's square."""
    cdef scalar *update = square_of(p, s, at, x)
    multiply(ADJOINT, True, m, m, nc, x, nc + m, y, nc + m, receives(at, s), update, m, &at.crew)
    multiply(ADJOINT, True, m, m, nc, y, nc + m, x, nc + m, True, update, m, &at.crew)


cdef inline void clear_above(int nc, Py_ssize_t rows, scalar *panel) noexcept nogil:
    """Zeros above the diagonal of a panel."""
    cdef Py_ssize_t j
    for j in range(1, nc):
        memset(panel + j * rows, 0, sizeof(scalar) * j)


cdef inline void turn_sign(int nc, Py_ssize_t rows, scalar *panel) noexcept nogil:
    cdef Py_ssize_t i, j
    for j in range(nc):
        for i in range(j, rows):
            panel[i] = -panel[i]
        memset(panel, 0, sizeof(scalar) * j)
        panel += rows


cdef void ascend(const Pattern *p, int32_t t, const Sweep *sweep,
                 const scalar *witness) noexcept nogil:
    """One task from its leaves up."""
    cdef const Plan *plan = sweep.at.plan
    cdef int32_t k, s
    cdef int64_t begin
    cdef scalar *out = <scalar *>sweep.out
    cdef scalar *update
    for k in range(plan.task_start[t], plan.task_start[t + 1]):
        s = plan.steps[k]
        if p.region[s] == -1:
            complete(p, s, &sweep.at, witness)
            if sweep.what == TANGENT:
                tangent_front(p, s, sweep, witness)
            else:
                outer_front(p, s, sweep, witness)
        else:
            open_region(p, s, &sweep.at, witness)
            update = square_of(p, s, &sweep.at, witness)
            if sweep.what == TANGENT:
                tangent_columns(p, s, <const scalar *>sweep.factor, out, update)
            else:
                outer_columns(p, s, <const scalar *>sweep.x, <const scalar *>sweep.y, out, update)
                begin = p.panel[p.begin[s]]
                turn_sign(1, p.panel[s + 1] - begin, out + begin)
        pass_on(p, s, &sweep.at, witness)


# ---- from the roots down ----


cdef void gradient_front(const Pattern *p, int32_t s, const Sweep *sweep,
                         const scalar *witness) noexcept nogil:
    """Twice the gradient G on one front from C in its place; M, the same on the rows below.

        [ F11  .   .  ]  w     by blocks of columns from the right, M growing to the left:
        [ F21  Zc  .  ]  c     F2 <- (C2 - [Zc Zb^H; Zb M] L2) L11^-1 (two blocks of rows),
        [ F31  Zb  M  ]  m     F11 from C11 - lower(F2^H L2)
    """
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef int ld = nc + m
    cdef const scalar *panel = <const scalar *>sweep.factor + p.panel[s]
    cdef const scalar *corner = square_of(p, s, &sweep.at, witness)
    cdef scalar *z = <scalar *>sweep.out + p.panel[s]
    cdef scalar *h = <scalar *>sweep.spare
    cdef scalar *t = h + <Py_ssize_t>PANEL * p.tallest
    cdef const Crew *crew = &sweep.at.crew
    cdef const scalar *block
    cdef const scalar *zc
    cdef scalar *f
    cdef Py_ssize_t a, b
    cdef int w, c, j = nc
    while j > 0:
        w = min(<int>PANEL, j)
        j -= w
        c = nc - j - w
        block = panel + j * (<Py_ssize_t>ld + 1)
        f = z + j * (<Py_ssize_t>ld + 1)
        zc = f + w * (<Py_ssize_t>ld + 1)
        if c + m:
            transpose(c + m, w, block + w, ld, h)
            if m:
                multiply(AS_IS, False, m, w, m, corner, m, block + w + c, ld, True, f + w + c, ld,
                         crew)
            if c:
                multiply(AS_IS, False, c, w, c, zc, ld, block + w, ld, True, f + w, ld, crew)
            if c and m:
                multiply(AS_IS, False, m, w, c, zc + c, ld, block + w, ld, True, f + w + c, ld,
                         crew)
                multiply(AS_IS, False, w, c, m, <const scalar *>h + c * w, w, zc + c, ld, False,
                         t, w, crew)
                for b in range(w):
                    for a in range(c):
                        f[w + a + b * ld] += conjugate(t[b + a * w])
            solve_right(AS_IS, c + m, w, block, ld, f + w, ld, crew)
            multiply(AS_IS, False, w, w, c + m, <const scalar *>h, w, <const scalar *>f + w, ld,
                     False, t, w, crew)
            for b in range(w):
                for a in range(b, w):
                    f[a + b * ld] += conjugate(t[b + a * w])
            for a in range(c):
                for b in range(w):
                    f[b + (w + a) * ld] = conjugate(f[w + a + b * ld])
        adjoint_triangle(w, block, f, ld, crew)


cdef void inner_front(const Pattern *p, int32_t s, const Sweep *sweep,
                      const scalar *witness) noexcept nogil:
    """P(S Y) on one front; M, the entries of S on the rows below.

        [ Q  R^H ] [ Y1 ]  nc      by blocks of columns of Y, of which no row above is used;
        [ R  M   ] [ Y2 ]  m       the first rows get R^H Y2 as (Y2^H R)^H

    In a sandwich Q is stored in full and Y has zeros above its diagonal; else both are made so.
    """
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef int ld = nc + m
    cdef const scalar *panel = <const scalar *>sweep.known.panels + p.panel[s]
    cdef const scalar *corner = square_of(p, s, &sweep.known, witness)
    cdef const scalar *y = <const scalar *>sweep.y + p.panel[s]
    cdef scalar *out = <scalar *>sweep.out + p.panel[s]
    cdef scalar *h = <scalar *>sweep.spare
    cdef scalar *t = h + <Py_ssize_t>PANEL * p.tallest
    cdef scalar *copy = t + <Py_ssize_t>PANEL * p.tallest
    cdef scalar *full = copy + <Py_ssize_t>PANEL * p.tallest
    cdef const Crew *crew = &sweep.at.crew
    cdef const scalar *block
    cdef const scalar *q = panel
    cdef const scalar *r
    cdef Py_ssize_t a, b
    cdef scalar *o
    cdef int w, rest, ldq = ld, ldy = ld, j = 0
    if sweep.what == INNER:
        fill_square(nc, ld, panel, full)
        q = full
        ldq = nc
    while j < nc:
        w = min(<int>PANEL, nc - j)
        rest = nc - j
        block = y + j * (<Py_ssize_t>ld + 1)
        if sweep.what == INNER:
            ldy = rest + m
            copy_lower(w, ldy, block, ld, copy)
            block = copy
        o = out + j * (<Py_ssize_t>ld + 1)
        r = panel + nc + j * <Py_ssize_t>ld
        multiply(AS_IS, False, rest, w, rest, q + j * (<Py_ssize_t>ldq + 1), ldq, block, ldy, False,
                 o, ld, crew)
        if m:
            multiply(AS_IS, False, m, w, rest, r, ld, block, ldy, False, o + rest, ld, crew)
            multiply(AS_IS, False, m, w, m, corner, m, block + rest, ldy, True, o + rest, ld, crew)
            transpose(m, w, block + rest, ldy, h)
            multiply(AS_IS, False, w, rest, m, <const scalar *>h, w, r, ld, False, t, w, crew)
            for b in range(w):
                for a in range(b, rest):
                    o[a + b * ld] += conjugate(t[b + a * w])
        for b in range(w):
            o[b + b * ld] = <scalar>real(o[b + b * ld])
        j += w
    turn_sign(nc, ld, out)


cdef inline void fill_square(int nc, Py_ssize_t ld, const scalar *panel,
                             scalar *full) noexcept nogil:
    """The square of a panel from its lower triangle."""
    cdef Py_ssize_t i, j
    for j in range(nc):
        full[j + j * nc] = <scalar>real(panel[j + j * ld])
        for i in range(j + 1, nc):
            full[i + j * nc] = panel[i + j * ld]
            full[j + i * nc] = conjugate(panel[i + j * ld])


cdef inline void copy_lower(int w, Py_ssize_t rows, const scalar *panel, Py_ssize_t ld,
                            scalar *copy) noexcept nogil:
    """The first w columns of a panel, rows `ld` apart, with zeros above the diagonal."""
    cdef Py_ssize_t i, j
    for j in range(w):
        for i in range(j):
            copy[i + j * rows] = 0
        copy[j + j * rows] = <scalar>real(panel[j + j * ld])
        memcpy(copy + j * (rows + 1) + 1, panel + j * (ld + 1) + 1,
               sizeof(scalar) * (rows - j - 1))


cdef inline void add_diagonal(const Pattern *p, int32_t s, const Sweep *sweep,
                              const scalar *witness) noexcept nogil:
    """out_jj += x_jj / l_jj^2 in one supernode: half the change of the diagonal of 2 / L."""
    cdef Py_ssize_t rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
    cdef const scalar *root = <const scalar *>sweep.factor + p.panel[s]
    cdef const scalar *x = <const scalar *>sweep.y + p.panel[s]
    cdef scalar *out = <scalar *>sweep.out + p.panel[s]
    cdef int32_t _
    for _ in range(p.first[s], p.first[s + 1]):
        out[0] = out[0] + <scalar>(real(x[0]) / real(root[0]) / real(root[0]))
        root += rows + 1
        x += rows + 1
        out += rows + 1


cdef inline void descend_front(const Pattern *p, int32_t s, const Sweep *sweep,
                               const scalar *witness) noexcept nogil:
    """A front whose matrices M are in place."""
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef Py_ssize_t rows = nc + p.row_start[s + 1] - p.row_start[s]
    if sweep.what == GRADIENT:
        put_panel(rows, 0, nc, <const scalar *>sweep.x + p.panel[s],
                  <scalar *>sweep.out + p.panel[s])
    else:
        inner_front(p, s, sweep, witness)
    if sweep.what == SANDWICH:
        add_diagonal(p, s, sweep, witness)
    if sweep.what != INNER:
        gradient_front(p, s, sweep, witness)


cdef inline void descend_region(const Pattern *p, int32_t root, const Sweep *sweep,
                                const scalar *witness) noexcept nogil:
    """A region; M belongs to the rows below its root."""
    cdef int64_t begin = p.panel[p.begin[root]]
    cdef scalar *out = <scalar *>sweep.out
    cdef scalar *t = <scalar *>sweep.spare
    cdef int32_t s
    if sweep.what == GRADIENT:
        memcpy(out + begin, <const scalar *>sweep.x + begin,
               sizeof(scalar) * (p.panel[root + 1] - begin))
    else:
        inner_columns(p, root, <const scalar *>sweep.known.panels, <const scalar *>sweep.y, out,
                      <const scalar *>square_of(p, root, &sweep.known, witness), t)
    if sweep.what == SANDWICH:
        for s in range(p.begin[root], root + 1):
            add_diagonal(p, s, sweep, witness)
    if sweep.what != INNER:
        adjoint_columns(p, root, <const scalar *>sweep.factor, out,
                        <const scalar *>square_of(p, root, &sweep.at, witness), t)


cdef void descend(const Pattern *p, int32_t t, const Sweep *sweep,
                  const scalar *witness) noexcept nogil:
    """One task from its roots down; the guests get their matrices M."""
    cdef const Plan *plan = sweep.at.plan
    cdef int32_t k, s
    for k in range(plan.task_start[t + 1] - 1, plan.task_start[t] - 1, -1):
        s = plan.steps[k]
        if p.parent[s] != -1 and plan.handed[s] == -1:
            if sweep.what != INNER:
                gather(p, s, &sweep.at, witness)
            if sweep.what != GRADIENT:
                gather(p, s, &sweep.known, witness)
        if p.region[s] == -1:
            descend_front(p, s, sweep, witness)
        else:
            descend_region(p, s, sweep, witness)
        if sweep.what != INNER:
            gather_guests(p, s, &sweep.at, witness)
        if sweep.what != GRADIENT:
            gather_guests(p, s, &sweep.known, witness)


cdef void weigh_typed(const Pattern *p, double diagonal, scalar *panel) noexcept nogil:
    cdef Py_ssize_t j, rows
    cdef int32_t s, nc
    for s in range(p.nsuper):
        nc = p.first[s + 1] - p.first[s]
        rows = nc + p.row_start[s + 1] - p.row_start[s]
        for j in range(nc):
            panel[j * (rows + 1)] = <scalar>(real(panel[j * (rows + 1)]) * diagonal)
        clear_above(nc, rows, panel)
        panel += nc * rows


cdef void weigh_panels(const Pattern *p, int kind, double diagonal, void *panels) noexcept nogil:
    """The diagonal of flat panels times a number; zeros above it."""
    if kind == DOUBLE:
        weigh_typed(p, diagonal, <double *>panels)
    elif kind == FLOAT:
        weigh_typed(p, diagonal, <float *>panels)
    elif kind == DOUBLE_COMPLEX:
        weigh_typed(p, diagonal, <double complex *>panels)
    else:
        weigh_typed(p, diagonal, <float complex *>panels)


# ---- jobs ----


cdef struct Job:
    # A sweep for one matrix, or a batch of them.
    Kind what
    const Pattern *p
    const Plan *plan
    int kind                # scalar type
    int threads
    Arrays arrays
    char *out
    char *work              # handed over, then each thread's own


cdef inline bint is_up(Kind what) noexcept nogil:
    return what == TANGENT or what == OUTER


cdef inline Py_ssize_t shared_space(const Plan *plan, Kind what) noexcept nogil:
    """Scalars of what is handed over, of G and of S."""
    return plan.handovers * (2 if what == SANDWICH else 1)


cdef inline Py_ssize_t spare_space(const Pattern *p, Kind what) noexcept nogil:
    """Scalars of blocks of columns, and of the square of a panel of S."""
    if is_up(what):
        return 0
    return (3 * <Py_ssize_t>PANEL * p.tallest
            + (<Py_ssize_t>p.widest * p.widest if what == INNER else 0))


cdef inline Py_ssize_t own_space(const Pattern *p, const Plan *plan, Kind what) noexcept nogil:
    """Scalars of a thread's own workspace: for products, spare ones, square matrices."""
    return <Py_ssize_t>PACK + spare_space(p, what) + plan.updates * (2 if what == SANDWICH else 1)


cdef inline Sweep sweep_of(const Job *job, Py_ssize_t k, char *shared, char *packs, int threads,
                           pool_worker *worker) noexcept nogil:
    """What a thread works with on matrix k of a batch."""
    cdef const Pattern *p = job.p
    cdef Py_ssize_t size = size_of(job.kind)
    cdef Py_ssize_t flat = size * p.size
    cdef Py_ssize_t step = size * own_space(p, job.plan, job.what)
    cdef char *spare = packs + size * PACK + (step * worker.number if threads > 1 else 0)
    cdef char *own = spare + size * spare_space(p, job.what)
    cdef const Arrays *arrays = &job.arrays
    cdef Place at = Place(
        a=array_of(&arrays.values, size * p.nnz, k), flat=array_of(&arrays.flat, flat, k),
        panels=job.out + flat * k, shared=shared, own=own, kind=job.kind, plan=job.plan,
        crew=Crew(threads=threads, worker=worker, packs=packs, step=step),
    )
    cdef Place known = at
    known.panels = <void *>array_of(&arrays.s, flat, k)
    if job.what == SANDWICH:
        known.shared = shared + size * job.plan.handovers
        known.own = own + size * job.plan.updates
    return Sweep(what=job.what, at=at, known=known, factor=array_of(&arrays.factor, flat, k),
                 x=array_of(&arrays.x, flat, k), y=array_of(&arrays.y, flat, k), out=at.panels,
                 spare=spare)


cdef void run_task(void *context, int32_t t, pool_worker *worker) noexcept nogil:
    """One task of a sweep."""
    cdef Job *job = <Job *>context
    cdef char *packs = job.work + size_of(job.kind) * shared_space(job.plan, job.what)
    cdef Sweep sweep = sweep_of(job, 0, job.work, packs, job.threads, worker)
    sweep_any(job.p, t, &sweep)


cdef void run_matrix(void *context, int32_t k, pool_worker *worker) noexcept nogil:
    """One matrix of a batch: all its tasks."""
    cdef Job *job = <Job *>context
    cdef Py_ssize_t size = size_of(job.kind)
    cdef Py_ssize_t shared = shared_space(job.plan, job.what)
    cdef char *work = job.work + (
        size * worker.number * (shared + own_space(job.p, job.plan, job.what)))
    cdef Sweep sweep = sweep_of(job, k, work, work + size * shared, 1, worker)
    cdef int32_t t
    for t in range(job.plan.tasks):
        sweep_any(job.p, t if is_up(job.what) else job.plan.tasks - 1 - t, &sweep)


cdef inline void sweep_any(const Pattern *p, int32_t t, const Sweep *sweep) noexcept nogil:
    if sweep.at.kind == DOUBLE:
        sweep_task(p, t, sweep, <const double *>NULL)
    elif sweep.at.kind == FLOAT:
        sweep_task(p, t, sweep, <const float *>NULL)
    elif sweep.at.kind == DOUBLE_COMPLEX:
        sweep_task(p, t, sweep, <const double complex *>NULL)
    else:
        sweep_task(p, t, sweep, <const float complex *>NULL)


cdef inline void sweep_task(const Pattern *p, int32_t t, const Sweep *sweep,
                            const scalar *witness) noexcept nogil:
    if is_up(sweep.what):
        ascend(p, t, sweep, witness)
    else:
        descend(p, t, sweep, witness)


cdef Py_ssize_t sweep_space(const Pattern *p, Kind what, Py_ssize_t batch,
                            int threads) noexcept nogil:
    """Scalars of workspace."""
    cdef const Plan *plan = plan_for(p, batch, threads)
    return max(<Py_ssize_t>1, shared_space(plan, what)) + threads * own_space(p, plan, what)


cdef bint sweep_all(const Pattern *p, Kind what, int kind, Py_ssize_t batch, const Arrays *arrays,
                    void *out, void *work, int threads) noexcept nogil:
    """A sweep for each matrix of a batch, neither empty; False without memory."""
    cdef const Plan *plan = plan_for(p, batch, threads)
    cdef bint up = is_up(what)
    cdef Job job = Job(what=what, p=p, plan=plan, kind=kind, threads=threads, arrays=arrays[0],
                       out=<char *>out, work=<char *>work)
    cdef Py_ssize_t k
    cdef void *scratch = malloc(
        pool_scratch(<int32_t>max(batch, <Py_ssize_t>plan.tasks), threads) + 1)
    if scratch == NULL:
        return False
    if batch == 1:
        pool_run(threads, plan.tasks, plan.task_parent, POOL_UP if up else POOL_DOWN,
                 plan.up_rank if up else plan.down_rank, run_task, &job, scratch)
    else:
        pool_run(threads, <int32_t>batch, NULL, POOL_UP, NULL, run_matrix, &job, scratch)
    free(scratch)
    if what == GRADIENT or what == SANDWICH:    # no child reads the result any more
        for k in range(batch):
            weigh_panels(p, kind, 0.5 if what == GRADIENT else 1,
                         job.out + size_of(kind) * p.size * k)
    return True


SWEEPS = {"tangent": TANGENT, "outer": OUTER, "adjoint": GRADIENT, "inner": INNER,
          "sandwich": SANDWICH}


def workspace(str sweep, Structure structure, Py_ssize_t batch, int threads):
    """Scalars of workspace of a sweep."""
    return sweep_space(&structure.pattern, SWEEPS[sweep], batch, threads)


cdef Many many_of(const scalar[:, ::1] array, Py_ssize_t batch, Py_ssize_t length) except *:
    """`length` values for each matrix of a batch; none if there is nothing to do."""
    if array.shape[0] != batch or array.shape[1] != length:
        raise ValueError("derivatives: arrays do not belong to this structure")
    return each(&array[0, 0]) if batch and length else each(NULL)


cdef int run(Structure structure, Kind what, const Arrays *arrays, scalar[:, ::1] out,
             scalar[::1] work, int threads) except -1:
    """A sweep for each matrix of a batch."""
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t batch = out.shape[0]
    cdef bint done
    if out.shape[1] != p.size or threads < 1:
        raise ValueError("derivatives: arrays do not belong to this structure")
    if work.shape[0] < sweep_space(p, what, batch, threads):
        raise ValueError("derivatives: workspace too small")
    if p.n == 0 or batch == 0:
        return 0
    if batch >= 2**31 - 1:
        raise OverflowError(f"a batch of {batch} matrices is too large")
    with nogil:
        done = sweep_all(p, what, kind_of(&out[0, 0]), batch, arrays, &out[0, 0], &work[0],
                         threads)
    if not done:
        raise MemoryError("no memory for the list of tasks")
    return 0


def tangent(Structure structure, const scalar[:, ::1] l, const scalar[:, ::1] change,
            bint on_panels, scalar[:, ::1] x, scalar[::1] work, int threads):
    """x <- the change of L that a change of A makes, for each matrix of a batch.

    Parameters
    ----------
    structure : Structure
    l : (batch, structure.size) flat panels of each L.
    change : lower triangle of each change: (batch, structure.size) flat panels, or
        (batch, structure.nnz) stored values.
    on_panels : which of the two.
    x : (batch, structure.size) overwritten, with zeros above the diagonal of each panel.
    work : (workspace("tangent", structure, batch, threads),) workspace.
    threads : most threads to work at once: on the tasks of one matrix, or on several matrices.
    """
    cdef Arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.factor = many_of(l, x.shape[0], structure.pattern.size)
    if on_panels:
        arrays.flat = many_of(change, x.shape[0], structure.pattern.size)
    else:
        arrays.values = many_of(change, x.shape[0], structure.pattern.nnz)
    run(structure, TANGENT, &arrays, x, work, threads)


def outer(Structure structure, const scalar[:, ::1] x, const scalar[:, ::1] y,
          scalar[:, ::1] out, scalar[::1] work, int threads):
    """out <- the lower triangle of X Y^H + Y X^H on the panels; see `tangent`."""
    cdef Arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.x = many_of(x, out.shape[0], structure.pattern.size)
    arrays.y = many_of(y, out.shape[0], structure.pattern.size)
    run(structure, OUTER, &arrays, out, work, threads)


def adjoint(Structure structure, const scalar[:, ::1] l, const scalar[:, ::1] c,
            scalar[:, ::1] out, scalar[::1] work, int threads):
    """out <- the adjoint of `tangent` of c: gradient of stored values from one of L's entries."""
    cdef Arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.factor = many_of(l, out.shape[0], structure.pattern.size)
    arrays.x = many_of(c, out.shape[0], structure.pattern.size)
    run(structure, GRADIENT, &arrays, out, work, threads)


def inner(Structure structure, const scalar[:, ::1] s, const scalar[:, ::1] y,
          scalar[:, ::1] out, scalar[::1] work, int threads):
    """out <- the lower triangle of S Y on the panels, S Hermitian from its lower triangle."""
    cdef Arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.s = many_of(s, out.shape[0], structure.pattern.size)
    arrays.y = many_of(y, out.shape[0], structure.pattern.size)
    run(structure, INNER, &arrays, out, work, threads)


def sandwich(Structure structure, const scalar[:, ::1] l, const scalar[:, ::1] s,
             const scalar[:, ::1] x, scalar[:, ::1] out, scalar[::1] work, int threads):
    """out <- the lower triangle of A^-1 M A^-1 on the panels.

    l, s, x : (batch, structure.size) flat panels of L, of the partial inverse (as
        `partial_inverse` gives it: squares in full), and of ``tangent(l, M)``.
    """
    cdef Arrays arrays
    memset(&arrays, 0, sizeof(arrays))
    arrays.factor = many_of(l, out.shape[0], structure.pattern.size)
    arrays.s = many_of(s, out.shape[0], structure.pattern.size)
    arrays.y = many_of(x, out.shape[0], structure.pattern.size)
    run(structure, SANDWICH, &arrays, out, work, threads)
