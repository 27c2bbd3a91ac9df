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

A signed factor, A = L S L^H with S = sign(diag L), needs no sweep of its own: all of these hold for
any L with a real diagonal. Only a change of A = L S L^H is dA = dL S L^H + L S dL^H, so that
dL = tangent(L, dA) S, and its adjoint is C -> adjoint(L, C S). X of a sandwich is that dL.

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

from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from sparsechol._core.numeric.assembly cimport (
    assemble_rest, extend_add_to_parent, gather, gather_foreign, has_children, open_subtree,
    put_panel, update_matrix,
)
from sparsechol._core.numeric.dense cimport (
    AS_IS, CONJ_TRANS, DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX, KINDS, LANES_OF_4,
    LANES_OF_8, PANEL, Crew, absolute, adjoint_columns, adjoint_triangle, conjugate, element,
    inner_columns, kind_side_by_side, lanes, lanes4, lanes8, multiply, number, outer_columns,
    outer_panel, quotient, real, real_part, scalar, size_of, solve_right, tangent_columns,
    tangent_panel, transpose,
)
from sparsechol._core.numeric.sweep_driver cimport (
    Arrays, FrontContext, Sweep, SweepJob, enter_step, leave_step, run_sweep, step_work, sweep_job,
    sweep_space, task_function,
)
from sparsechol._core.parallel.pool cimport pool_stopped
from sparsechol._core.symbolic.structure cimport Pattern, Plan


# ---- from the leaves up ----


cdef void tangent_front(int32_t s, const Sweep *sweep, const element *tag) noexcept nogil:
    """The change of L on one front whose change is assembled.

        [ X11  .  ]     X1 with X1 L11^H + L1 X11^H = the columns,
        [ X21 X22 ]     X22 <- X22 - X21 L21^H - L21 X21^H
    """
    cdef const Pattern *p = sweep.ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const element *panel = <const element *>sweep.factor + p.panel[s]
    cdef element *x = <element *>sweep.out + p.panel[s]
    tangent_panel(nc + m, nc, panel, x, nc + m, &sweep.ctx.crew)
    if m:
        subtract_both(s, <const element *>x + nc, panel + nc, nc, m, &sweep.ctx)
    clear_above(nc, nc + m, x)


cdef void outer_front(int32_t s, const Sweep *sweep, const element *tag) noexcept nogil:
    """P(X Y^H + Y X^H) on one front that holds what the children add, all with the sign turned.

        [ O11  .  ]     O1 from X1 and Y1 (rows of X and Y are those of the panels),
        [ O21 O22 ]     O22 <- O22 - X21 Y21^H - Y21 X21^H
    """
    cdef const Pattern *p = sweep.ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef const element *x = <const element *>sweep.x + p.panel[s]
    cdef const element *y = <const element *>sweep.y + p.panel[s]
    cdef element *out = <element *>sweep.out + p.panel[s]
    outer_panel(nc + m, nc, x, y, out, nc + m, &sweep.ctx.crew)
    if m:
        subtract_both(s, x + nc, y + nc, nc, m, &sweep.ctx)
    turn_sign(nc, nc + m, out)


cdef inline void subtract_both(int32_t s, const element *x, const element *y, int nc, int m,
                               const FrontContext *ctx) noexcept nogil:
    """The update matrix of s takes in -(x y^H + y x^H), x and y below the panel's square."""
    cdef element *update = update_matrix(s, ctx, x)
    multiply(CONJ_TRANS, True, m, m, nc, x, nc + m, y, nc + m, has_children(ctx, s), update, m,
             &ctx.crew)
    multiply(CONJ_TRANS, True, m, m, nc, y, nc + m, x, nc + m, True, update, m, &ctx.crew)


cdef inline void clear_above(int nc, Py_ssize_t rows, element *panel) noexcept nogil:
    """Zeros above the diagonal of a panel."""
    cdef Py_ssize_t j
    for j in range(1, nc):
        memset(panel + j * rows, 0, sizeof(element) * j)


cdef inline void turn_sign(int nc, Py_ssize_t rows, element *panel) noexcept nogil:
    cdef Py_ssize_t i, j
    for j in range(nc):
        for i in range(j, rows):
            panel[i] = -panel[i]
        memset(panel, 0, sizeof(element) * j)
        panel += rows


cdef void ascend(const Sweep *given, int32_t t, const element *tag) noexcept nogil:
    """One task from its leaves up."""
    cdef Sweep own = given[0]
    cdef Sweep *sweep = &own
    cdef const Pattern *p = sweep.ctx.p
    cdef const Plan *plan = sweep.ctx.plan
    cdef int32_t k, s
    cdef int64_t begin
    cdef element *out = <element *>sweep.out
    cdef element *update
    for k in range(plan.task_start[t], plan.task_start[t + 1]):
        s = plan.steps[k]
        if pool_stopped(2 * step_work(p, s)):
            return
        if element in lanes:
            enter_step(sweep, s)
        if p.simplicial_root[s] == -1:
            assemble_rest(s, &sweep.ctx, tag)
            if sweep.job.what == TANGENT:
                tangent_front(s, sweep, tag)
            else:
                outer_front(s, sweep, tag)
        else:
            open_subtree(s, &sweep.ctx, tag)
            update = update_matrix(s, &sweep.ctx, tag)
            if sweep.job.what == TANGENT:
                tangent_columns(p, s, <const element *>sweep.factor, out, update)
            else:
                outer_columns(p, s, <const element *>sweep.x, <const element *>sweep.y, out, update)
                begin = p.panel[p.begin[s]]
                turn_sign(1, p.panel[s + 1] - begin, out + begin)
        if element in lanes:
            leave_step(sweep, s)
        extend_add_to_parent(s, &sweep.ctx, tag)


# ---- from the roots down ----


cdef void adjoint_front(int32_t s, const Sweep *sweep, const element *tag) noexcept nogil:
    """Twice the gradient G on one front from C in its place; M, the same on the rows below.

        [ F11  .   .  ]  w     by blocks of columns from the right, M growing to the left:
        [ F21  Zc  .  ]  c     F2 <- (C2 - [Zc Zb^H; Zb M] L2) L11^-1 (two blocks of rows),
        [ F31  Zb  M  ]  m     F11 from C11 - lower(F2^H L2)
    """
    cdef const Pattern *p = sweep.ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef int ld = nc + m
    cdef const element *panel = <const element *>sweep.factor + p.panel[s]
    cdef const element *gradient_below = update_matrix(s, &sweep.ctx, tag)
    cdef element *z = <element *>sweep.out + p.panel[s]
    cdef element *h = <element *>sweep.spare
    cdef element *t = h + <Py_ssize_t>PANEL * p.tallest
    cdef const Crew *crew = &sweep.ctx.crew
    cdef const element *block
    cdef const element *zc
    cdef element *f
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
                multiply(AS_IS, False, m, w, m, gradient_below, m, block + w + c, ld, True,
                         f + w + c, ld, crew)
            if c:
                multiply(AS_IS, False, c, w, c, zc, ld, block + w, ld, True, f + w, ld, crew)
            if c and m:
                multiply(AS_IS, False, m, w, c, zc + c, ld, block + w, ld, True, f + w + c, ld,
                         crew)
                multiply(AS_IS, False, w, c, m, <const element *>h + c * w, w, zc + c, ld, False,
                         t, w, crew)
                for b in range(w):
                    for a in range(c):
                        f[w + a + b * ld] += conjugate(t[b + a * w])
            solve_right(AS_IS, c + m, w, block, ld, f + w, ld, crew)
            multiply(AS_IS, False, w, w, c + m, <const element *>h, w, <const element *>f + w, ld,
                     False, t, w, crew)
            for b in range(w):
                for a in range(b, w):
                    f[a + b * ld] += conjugate(t[b + a * w])
            for a in range(c):
                for b in range(w):
                    f[b + (w + a) * ld] = conjugate(f[w + a + b * ld])
        adjoint_triangle(w, block, f, ld, crew)


cdef void inner_front(int32_t s, const Sweep *sweep, const element *tag) noexcept nogil:
    """P(S Y) on one front; M, the entries of S on the rows below.

        [ Q  R^H ] [ Y1 ]  nc      by blocks of columns of Y, of which no row above is used;
        [ R  M   ] [ Y2 ]  m       the first rows get R^H Y2 as (Y2^H R)^H

    In a sandwich Q is stored in full and Y has zeros above its diagonal; else both are made so.
    """
    cdef const Pattern *p = sweep.ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef int ld = nc + m
    cdef const element *panel = <const element *>sweep.known.panels + p.panel[s]
    cdef const element *s_below = update_matrix(s, &sweep.known, tag)
    cdef const element *y = <const element *>sweep.y + p.panel[s]
    cdef element *out = <element *>sweep.out + p.panel[s]
    cdef element *h = <element *>sweep.spare
    cdef element *t = h + <Py_ssize_t>PANEL * p.tallest
    cdef element *copy = t + <Py_ssize_t>PANEL * p.tallest
    cdef element *full = copy + <Py_ssize_t>PANEL * p.tallest
    cdef const Crew *crew = &sweep.ctx.crew
    cdef const element *block
    cdef const element *q = panel
    cdef const element *r
    cdef Py_ssize_t a, b
    cdef element *o
    cdef int w, rest, ldq = ld, ldy = ld, j = 0
    if sweep.job.what == INNER:
        fill_square(nc, ld, panel, full)
        q = full
        ldq = nc
    while j < nc:
        w = min(<int>PANEL, nc - j)
        rest = nc - j
        block = y + j * (<Py_ssize_t>ld + 1)
        if sweep.job.what == INNER:
            ldy = rest + m
            copy_lower(w, ldy, block, ld, copy)
            block = copy
        o = out + j * (<Py_ssize_t>ld + 1)
        r = panel + nc + j * <Py_ssize_t>ld
        multiply(AS_IS, False, rest, w, rest, q + j * (<Py_ssize_t>ldq + 1), ldq, block, ldy, False,
                 o, ld, crew)
        if m:
            multiply(AS_IS, False, m, w, rest, r, ld, block, ldy, False, o + rest, ld, crew)
            multiply(AS_IS, False, m, w, m, s_below, m, block + rest, ldy, True, o + rest, ld,
                     crew)
            transpose(m, w, block + rest, ldy, h)
            multiply(AS_IS, False, w, rest, m, <const element *>h, w, r, ld, False, t, w, crew)
            for b in range(w):
                for a in range(b, rest):
                    o[a + b * ld] += conjugate(t[b + a * w])
        for b in range(w):
            o[b + b * ld] = real_part(o[b + b * ld])
        j += w
    turn_sign(nc, ld, out)


cdef inline void fill_square(int nc, Py_ssize_t ld, const element *panel,
                             element *full) noexcept nogil:
    """The square of a panel from its lower triangle."""
    cdef Py_ssize_t i, j
    for j in range(nc):
        full[j + j * nc] = real_part(panel[j + j * ld])
        for i in range(j + 1, nc):
            full[i + j * nc] = panel[i + j * ld]
            full[j + i * nc] = conjugate(panel[i + j * ld])


cdef inline void copy_lower(int w, Py_ssize_t rows, const element *panel, Py_ssize_t ld,
                            element *copy) noexcept nogil:
    """The first w columns of a panel, rows `ld` apart, with zeros above the diagonal."""
    cdef Py_ssize_t i, j
    for j in range(w):
        for i in range(j):
            copy[i + j * rows] = number(0, panel)
        copy[j + j * rows] = real_part(panel[j + j * ld])
        memcpy(copy + j * (rows + 1) + 1, panel + j * (ld + 1) + 1,
               sizeof(element) * (rows - j - 1))


cdef inline void add_diagonal(int32_t s, const Sweep *sweep, const element *tag) noexcept nogil:
    """out_jj += x_jj / (l_jj |l_jj|): minus the change of the diagonal of S L^-1."""
    cdef const Pattern *p = sweep.ctx.p
    cdef Py_ssize_t rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
    cdef const element *root = <const element *>sweep.factor + p.panel[s]
    cdef const element *x = <const element *>sweep.y + p.panel[s]
    cdef element *out = <element *>sweep.out + p.panel[s]
    cdef int32_t _
    for _ in range(p.first[s], p.first[s + 1]):
        if element in lanes:
            out[0] += quotient(quotient(x[0], root[0]), absolute(root[0]))
        else:
            out[0] = out[0] + <element>(real(x[0]) / real(root[0]) / fabs(real(root[0])))
        root += rows + 1
        x += rows + 1
        out += rows + 1


cdef inline void descend_front(int32_t s, const Sweep *sweep, const element *tag) noexcept nogil:
    """A front whose squares are in place."""
    cdef const Pattern *p = sweep.ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef Py_ssize_t rows = nc + p.row_start[s + 1] - p.row_start[s]
    if sweep.job.what == ADJOINT:
        put_panel(rows, 0, nc, <const element *>sweep.x + p.panel[s],
                  <element *>sweep.out + p.panel[s])
    else:
        inner_front(s, sweep, tag)
    if sweep.job.what == SANDWICH:
        add_diagonal(s, sweep, tag)
    if sweep.job.what != INNER:
        adjoint_front(s, sweep, tag)


cdef inline void descend_subtree(int32_t root, const Sweep *sweep,
                                 const element *tag) noexcept nogil:
    """A simplicial subtree; the squares belong to the rows below its root."""
    cdef const Pattern *p = sweep.ctx.p
    cdef int64_t begin = p.panel[p.begin[root]]
    cdef element *out = <element *>sweep.out
    cdef element *t = <element *>sweep.spare
    cdef int32_t s
    if sweep.job.what == ADJOINT:
        memcpy(out + begin, <const element *>sweep.x + begin,
               sizeof(element) * (p.panel[root + 1] - begin))
    else:
        inner_columns(p, root, <const element *>sweep.known.panels, <const element *>sweep.y, out,
                      <const element *>update_matrix(root, &sweep.known, tag), t)
    if sweep.job.what == SANDWICH:
        for s in range(p.begin[root], root + 1):
            add_diagonal(s, sweep, tag)
    if sweep.job.what != INNER:
        adjoint_columns(p, root, <const element *>sweep.factor, out,
                        <const element *>update_matrix(root, &sweep.ctx, tag), t)


cdef void descend(const Sweep *given, int32_t t, const element *tag) noexcept nogil:
    """One task from its roots down; the children in other tasks get their squares."""
    cdef Sweep own = given[0]
    cdef Sweep *sweep = &own
    cdef const Pattern *p = sweep.ctx.p
    cdef const Plan *plan = sweep.ctx.plan
    cdef int32_t k, s
    for k in range(plan.task_start[t + 1] - 1, plan.task_start[t] - 1, -1):
        s = plan.steps[k]
        if pool_stopped(2 * step_work(p, s)):
            return
        if p.parent[s] != -1 and not plan.shared[s]:
            if sweep.job.what != INNER:
                gather(s, &sweep.ctx, tag)
            if sweep.job.what != ADJOINT:
                gather(s, &sweep.known, tag)
        if element in lanes:
            enter_step(sweep, s)
        if p.simplicial_root[s] == -1:
            descend_front(s, sweep, tag)
        else:
            descend_subtree(s, sweep, tag)
        if element in lanes:
            leave_step(sweep, s)
        if sweep.job.what != INNER:
            gather_foreign(s, &sweep.ctx, tag)
        if sweep.job.what != ADJOINT:
            gather_foreign(s, &sweep.known, tag)


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


# ---- all of them ----


cdef task_function up_tasks[KINDS]
up_tasks[FLOAT] = <task_function>ascend[float]
up_tasks[DOUBLE] = <task_function>ascend[double]
up_tasks[FLOAT_COMPLEX] = <task_function>ascend[floatcomplex]
up_tasks[DOUBLE_COMPLEX] = <task_function>ascend[doublecomplex]
up_tasks[LANES_OF_4] = <task_function>ascend[lanes4]
up_tasks[LANES_OF_8] = <task_function>ascend[lanes8]

cdef task_function down_tasks[KINDS]
down_tasks[FLOAT] = <task_function>descend[float]
down_tasks[DOUBLE] = <task_function>descend[double]
down_tasks[FLOAT_COMPLEX] = <task_function>descend[floatcomplex]
down_tasks[DOUBLE_COMPLEX] = <task_function>descend[doublecomplex]
down_tasks[LANES_OF_4] = <task_function>descend[lanes4]
down_tasks[LANES_OF_8] = <task_function>descend[lanes8]


cdef enum:
    IN_CACHE = 1 << 23      # bytes


cdef SweepJob job_of(const Pattern *p, Kind what, int kind) noexcept nogil:
    """A job without arrays yet."""
    cdef bint up = what == TANGENT or what == OUTER
    cdef SweepJob job = sweep_job(p, down_tasks, kind)
    if up:
        job.tasks = up_tasks
    job.what = what
    job.most_work = 60 if what == OUTER or what == INNER else 75
    if what == OUTER and (kind_side_by_side() != LANES_OF_8
                          or 3 * p.size * <int64_t>sizeof(lanes8) > IN_CACHE):
        job.most_work = 0       # too little arithmetic to pay for copies
    job.up = up
    if what == SANDWICH:
        job.squares = 2
    if not up:
        job.spare = 3 * <Py_ssize_t>PANEL * p.tallest       # blocks of columns,
    if what == INNER:
        job.spare += <Py_ssize_t>p.widest * p.widest        # and the square of a panel of S
    return job


cdef Py_ssize_t derivative_space(const Pattern *p, Kind what, Py_ssize_t batch,
                                 int threads) noexcept nogil:
    """Scalars of workspace."""
    cdef SweepJob job = job_of(p, what, FLOAT)
    return sweep_space(&job, batch, threads)


cdef bint derivative_all(const Pattern *p, Kind what, int kind, Py_ssize_t batch,
                         const Arrays *arrays, void *out, void *work, int threads) noexcept nogil:
    """A sweep for each matrix of a batch, neither empty; False without memory."""
    cdef SweepJob job = job_of(p, what, kind)
    cdef Py_ssize_t k
    job.arrays = arrays[0]
    job.out = <char *>out
    if not run_sweep(&job, batch, work, threads):
        return False
    if what == ADJOINT or what == SANDWICH:     # no child reads the result any more
        for k in range(batch):
            weigh_panels(p, kind, 0.5 if what == ADJOINT else 1,
                         job.out + size_of(kind) * p.size * k)
    return True
