"""A^H W A on a fixed pattern, and its adjoints: one trilinear form and two transposes.

    FORM     T(a, w, b) = (A^H W B + B^H W A) / 2         packed values
    ROWS     R(w, b, x) = W B X                           where A has entries
    WEIGHTS  S(a, b, x) = (A X B^H + B X A^H) / 2         the diagonal, or its blocks

X is Hermitian with the packed values x, halved off the diagonal. Of W the Hermitian part counts,
and of the imaginary part of a diagonal nothing. For the inner product Re sum(conj(u) v) of stored
numbers,

    <x, T(a, w, b)> = <a, R(w, b, x)> = <w, S(a, b, x)>,

and so the three are closed under differentiation.

Units with a square (see `symbolic.congruence`) go through dense products. With others a column of
the product is added up in a vector of length n. Sums run in one order for any number of threads.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from sparsechol._core.numeric.dense cimport (
    AS_IS, CONJ_TRANS, DOUBLE, DOUBLE_COMPLEX, FLOAT, PACK, Crew, conjugate, multiply, real,
    scalar, size_of,
)
from sparsechol._core.parallel.pool cimport (
    POOL_UP, pool_run, pool_scratch, pool_stopped, pool_worker,
)
from sparsechol._core.symbolic.structure cimport Pattern


cdef extern from "memory.h" nogil:
    void prefetch(const void *place)


cdef enum:
    AHEAD = 8                   # rows that are fetched before their turn
    PANEL_ROWS = 64             # about the rows of a unit that are multiplied at once


cdef struct Job:
    const Congruence *g
    const int64_t *indptr
    const int32_t *indices
    Py_ssize_t n
    Role role
    int kind
    const void *a               # operands in A's pattern, the same one if there is only one
    const void *b
    const void *w
    const void *x
    void *out
    void *squares
    void *rows                  # for WEIGHTS B X in rows alone
    char *vectors               # (n) zeros for each thread,
    char *panels                # and room for panels of a unit and for products
    Py_ssize_t vector_bytes
    Py_ssize_t panel_bytes


cdef inline Py_ssize_t panel_rows(const Congruence *g) noexcept nogil:
    return max(<Py_ssize_t>1, PANEL_ROWS // g.block) * g.block


cdef bint congruence(const Congruence *g, const Pattern *p, const int64_t *indptr,
                     const int32_t *indices, Role role, int kind, const void *x, const void *y,
                     const void *z, void *out, int threads) noexcept nogil:
    """Carry out one of the three; False without memory."""
    cdef Py_ssize_t size = size_of(kind), tasks = max(g.unit_tasks, g.column_tasks)
    cdef Job job
    cdef void *scratch
    cdef bint done
    threads = <int>max(<Py_ssize_t>1, min(<Py_ssize_t>threads, tasks))
    job.g, job.n, job.indptr, job.indices = g, p.n, indptr, indices
    job.role, job.kind, job.out = role, kind, out
    job.a, job.w, job.b, job.x = x, y, z, NULL
    if role == ROWS:
        job.a, job.w, job.b, job.x = NULL, x, y, z
    elif role == WEIGHTS:
        job.a, job.w, job.b, job.x = x, NULL, y, z
    job.vector_bytes = size * p.n + 64
    job.panel_bytes = 64
    if g.squares:
        job.panel_bytes += size * (3 * g.widest * panel_rows(g) + PACK + g.block * g.block)
    job.squares = malloc(size * g.squares + 1)
    job.rows = malloc(size * (g.entries if role == WEIGHTS else 0) + 1)
    job.vectors = <char *>calloc(threads, job.vector_bytes)
    job.panels = <char *>malloc(threads * job.panel_bytes)
    scratch = malloc(pool_scratch(<int32_t>tasks, threads) + 1)
    done = (job.squares != NULL and job.rows != NULL and job.vectors != NULL
            and job.panels != NULL and scratch != NULL)
    if done and role == FORM:
        if g.unit_tasks:
            pool_run(threads, <int32_t>g.unit_tasks, NULL, POOL_UP, NULL, unit_task, &job, scratch)
        pool_run(threads, <int32_t>g.column_tasks, NULL, POOL_UP, NULL, column_task, &job, scratch)
    elif done:
        pool_run(threads, <int32_t>g.column_tasks, NULL, POOL_UP, NULL, column_task, &job, scratch)
        if g.unit_tasks:
            pool_run(threads, <int32_t>g.unit_tasks, NULL, POOL_UP, NULL, unit_task, &job, scratch)
    free(job.squares)
    free(job.rows)
    free(job.vectors)
    free(job.panels)
    free(scratch)
    return done


cdef void unit_task(void *context, int32_t task, pool_worker *worker) noexcept nogil:
    cdef const Job *job = <const Job *>context
    cdef void *panels = job.panels + job.panel_bytes * worker.number
    if job.kind == DOUBLE:
        units(job, task, <double *>panels)
    elif job.kind == FLOAT:
        units(job, task, <float *>panels)
    elif job.kind == DOUBLE_COMPLEX:
        units(job, task, <double complex *>panels)
    else:
        units(job, task, <float complex *>panels)


cdef void column_task(void *context, int32_t task, pool_worker *worker) noexcept nogil:
    cdef const Job *job = <const Job *>context
    cdef void *vector = job.vectors + job.vector_bytes * worker.number
    if job.kind == DOUBLE:
        columns(job, task, <double *>vector)
    elif job.kind == FLOAT:
        columns(job, task, <float *>vector)
    elif job.kind == DOUBLE_COMPLEX:
        columns(job, task, <double complex *>vector)
    else:
        columns(job, task, <float complex *>vector)


# ---- column by column ----


cdef void columns(const Job *job, int32_t task, scalar *v) noexcept nogil:
    """The columns of a task; v, of length n, is zero before and after."""
    cdef int32_t j
    cdef int64_t q, work = 0
    cdef const Congruence *g = job.g
    cdef scalar *out = <scalar *>job.out
    cdef const scalar *x = <const scalar *>job.x
    for j in range(g.column_task[task], g.column_task[task + 1]):
        if job.role == FORM:
            add_column(job, j, v)
            for q in range(job.indptr[j], job.indptr[j + 1]):
                out[q] = v[job.indices[q]]
                v[job.indices[q]] = 0
            out[job.indptr[j]] = <scalar>real(out[job.indptr[j]])
        else:
            for q in range(g.full_start[j], g.full_start[j + 1]):
                v[g.full_rows[q]] = column_entry(x, g.full_sources[q], job.indptr[j])
            read_column(job, j, v)
            for q in range(g.full_start[j], g.full_start[j + 1]):
                v[g.full_rows[q]] = 0
        work += g.incidence_start[j + 1] - g.incidence_start[j] + 1
        if work > 4096:
            if pool_stopped(16 * work):
                return
            work = 0


cdef inline scalar column_entry(const scalar *x, int64_t source, int64_t diagonal) noexcept nogil:
    """An entry of X, halved off the diagonal."""
    if source == diagonal:
        return <scalar>real(x[source])
    if source >= 0:
        return x[source] / 2
    return conjugate(x[~source]) / 2


cdef void add_column(const Job *job, int32_t j, scalar *v) noexcept nogil:
    """v <- column j of A^H W B, Hermitian part, from the diagonal down.

    Unit by unit, a row with a_rj:    v[i] <- v[i] + conj(a_ri) w_r a_rj    for its columns i >= j
    """
    cdef const Congruence *g = job.g
    cdef int64_t q
    cdef int32_t t, tail
    cdef const int32_t *cols
    cdef const scalar *square
    cdef const scalar *a
    cdef const scalar *b
    cdef const scalar *w = <const scalar *>job.w
    cdef scalar x, y
    cdef int64_t later, end = g.incidence_start[g.column_task[g.column_tasks]]
    for q in range(g.incidence_start[j], g.incidence_start[j + 1]):
        later = q + AHEAD
        if later < end and g.incidence_tail[later] > 0:
            prefetch(g.unit_columns + g.incidence_column[later])
            prefetch(<const scalar *>job.a + g.incidence_at[later])
            prefetch(w + g.incidence_row[later])
        cols = g.unit_columns + g.incidence_column[q]
        tail = g.incidence_tail[q]
        if tail < 0:
            square = <const scalar *>job.squares + g.incidence_at[q]
            for t in range(~tail):
                v[cols[t]] = v[cols[t]] + conjugate(square[t])
            continue
        a = <const scalar *>job.a + g.incidence_at[q]
        x = <scalar>real(w[g.incidence_row[q]])
        if job.a == job.b:
            x = x * a[0]
            for t in range(tail):
                v[cols[t]] = v[cols[t]] + conjugate(a[t]) * x
            continue
        b = <const scalar *>job.b + g.incidence_at[q]
        y = x / 2 * a[0]
        x = x / 2 * b[0]
        for t in range(tail):
            v[cols[t]] = v[cols[t]] + (conjugate(a[t]) * x + conjugate(b[t]) * y)


cdef void read_column(const Job *job, int32_t j, const scalar *v) noexcept nogil:
    """From column j of X: that of B X, or W B X, in rows alone; X, transposed, of other units."""
    cdef const Congruence *g = job.g
    cdef int64_t q
    cdef int32_t t, before, tail
    cdef const int32_t *cols
    cdef scalar *square
    cdef const scalar *b
    cdef const scalar *w = <const scalar *>job.w
    cdef scalar sum
    for q in range(g.incidence_start[j], g.incidence_start[j + 1]):
        before = g.incidence_local[q]
        cols = g.unit_columns + g.incidence_column[q] - before
        tail = g.incidence_tail[q]
        if tail < 0:
            square = <scalar *>job.squares + g.incidence_at[q] - before
            for t in range(before + ~tail):
                square[t] = conjugate(v[cols[t]])
            continue
        b = <const scalar *>job.b + g.incidence_at[q] - before
        sum = 0
        for t in range(before + tail):
            sum = sum + b[t] * v[cols[t]]
        if job.role == ROWS:
            (<scalar *>job.out)[g.incidence_at[q]] = <scalar>real(w[g.incidence_row[q]]) * sum
        else:
            (<scalar *>job.rows)[g.incidence_at[q]] = sum


# ---- unit by unit ----


cdef void units(const Job *job, int32_t task, scalar *panels) noexcept nogil:
    """The units of a task."""
    cdef const Congruence *g = job.g
    cdef int64_t u, c, s
    for u in range(g.unit_task[task], g.unit_task[task + 1]):
        c = g.column_start[u + 1] - g.column_start[u]
        if g.square_start[u + 1] > g.square_start[u]:
            if pool_stopped(c * c * (g.unit_start[u + 1] - g.unit_start[u])):
                return
            multiply_unit(job, u, panels)
        elif g.block > 1:       # blocks without entries
            s = g.unit_start[u]
            while job.role == WEIGHTS and s < g.unit_start[u + 1]:
                memset(<scalar *>job.out + g.row_order[s] * g.block, 0,
                       g.block * sizeof(scalar))
                s += 1
        elif job.role == WEIGHTS:
            for s in range(g.unit_start[u], g.unit_start[u + 1]):
                weight_of_row(job, g.row_order[s], panels)


cdef void weight_of_row(const Job *job, int32_t r, const scalar *tag) noexcept nogil:
    """The weight of a row without a square, after columns of X were read."""
    cdef const Congruence *g = job.g
    cdef const scalar *a = <const scalar *>job.a
    cdef const scalar *z = <const scalar *>job.rows
    cdef int64_t q
    cdef double sum = 0
    for q in range(g.row_start[r], g.row_start[r + 1]):
        sum += real(conjugate(a[q]) * z[q])
    (<scalar *>job.out)[r] = <scalar>sum


cdef void multiply_unit(const Job *job, int64_t u, scalar *panels) noexcept nogil:
    """Panel by panel of the rows of a unit, as columns of c x h matrices:

        FORM       square <- square + A (W B)^H
        ROWS       Z <- X^T B,  then W Z goes to the rows
        WEIGHTS    Z <- X^T B,  then the products of columns of A and Z
    """
    cdef const Congruence *g = job.g
    cdef int64_t s, end = g.unit_start[u + 1]
    cdef int c = <int>(g.column_start[u + 1] - g.column_start[u]), h
    cdef bint begun = False
    cdef scalar *square = <scalar *>job.squares + g.square_start[u]
    cdef scalar *first = panels
    cdef scalar *second = first + g.widest * panel_rows(g)
    cdef scalar *third = second + g.widest * panel_rows(g)
    cdef const scalar *a
    cdef const scalar *b
    cdef Crew crew
    crew.threads, crew.worker, crew.stride = 1, NULL, 0
    crew.packs = <char *>(third + g.widest * panel_rows(g))
    s = g.unit_start[u]
    while s < end:
        h = <int>min(end - s, <int64_t>panel_rows(g))
        b = load(job, u, s, h, <const scalar *>job.b, first)
        if job.role == FORM:
            a = b
            if job.a != job.b:
                a = load(job, u, s, h, <const scalar *>job.a, third)
            weigh(job, s, h, c, -1.0 if job.a == job.b else -0.5, b, second,
                  &crew)
            multiply(CONJ_TRANS, True, c, c, h, a, c, <const scalar *>second, c, begun, square, c,
                     &crew)
            begun = True
            if job.a != job.b:
                weigh(job, s, h, c, -0.5, a, second, &crew)
                multiply(CONJ_TRANS, True, c, c, h, b, c, <const scalar *>second, c, begun, square,
                         c, &crew)
        else:
            multiply(AS_IS, False, c, h, c, <const scalar *>square, c, b, c, False, second, c,
                     &crew)
            if job.role == ROWS:
                weigh(job, s, h, c, -1.0, <const scalar *>second, third, &crew)
                store(job, u, s, h, <const scalar *>third)
            else:
                a = load(job, u, s, h, <const scalar *>job.a, third)
                weigh_panel(job, s, h, c, a, <const scalar *>second)
        s += h


cdef const scalar *load(const Job *job, int64_t u, int64_t s, int h, const scalar *a,
                        scalar *panel) noexcept nogil:
    """Rows s to s + h of a unit as columns, with zeros where a row has no entry."""
    cdef const Congruence *g = job.g
    cdef Py_ssize_t c = g.column_start[u + 1] - g.column_start[u]
    cdef const scalar *w = <const scalar *>job.w
    cdef int64_t r, q
    cdef Py_ssize_t i, t
    if g.local == NULL and g.row_at[s + h - 1] - g.row_at[s] == (h - 1) * c:
        return a + g.row_at[s]
    for i in range(h):
        if s + i + AHEAD < g.rows:
            prefetch(a + g.row_at[s + i + AHEAD])
            if w != NULL and g.block == 1:
                prefetch(w + g.row_order[s + i + AHEAD])
        q = g.row_at[s + i]
        if g.local == NULL:
            for t in range(c):
                panel[i * c + t] = a[q + t]
            continue
        memset(panel + i * c, 0, c * sizeof(scalar))
        r = g.row_order[s + i]
        for q in range(g.row_start[r], g.row_start[r + 1]):
            panel[i * c + g.local[q]] = a[q]
    return panel


cdef void store(const Job *job, int64_t u, int64_t s, int h, const scalar *panel) noexcept nogil:
    """The reverse of `load`, to the result."""
    cdef const Congruence *g = job.g
    cdef Py_ssize_t c = g.column_start[u + 1] - g.column_start[u]
    cdef scalar *out = <scalar *>job.out
    cdef int64_t r, q
    cdef int i
    for i in range(h):
        if g.local == NULL:
            memcpy(out + g.row_at[s + i], panel + i * c, c * sizeof(scalar))
            continue
        r = g.row_order[s + i]
        for q in range(g.row_start[r], g.row_start[r + 1]):
            out[q] = panel[i * c + g.local[q]]


cdef void weigh(const Job *job, int64_t s, int h, int c, double factor, const scalar *b,
                scalar *out, const Crew *crew) noexcept nogil:
    """out <- factor W B for columns of a panel that are rows of whole blocks."""
    cdef const Congruence *g = job.g
    cdef const scalar *w = <const scalar *>job.w
    cdef Py_ssize_t k = g.block, i, j, t, row, first
    cdef const scalar *of_block
    cdef scalar *half = <scalar *>crew.packs + PACK
    cdef scalar x
    if k == 1:
        for i in range(h):
            x = <scalar>(real(w[g.row_order[s + i]]) * factor)
            for t in range(c):
                out[i * c + t] = x * b[i * c + t]
        return
    for i in range(h // k):
        first = i * k
        of_block = w + <Py_ssize_t>g.row_order[s + first] * k
        for row in range(k):
            for j in range(k):
                x = of_block[row * k + j] + conjugate(of_block[j * k + row])
                half[row * k + j] = <scalar>(x * (-factor / 2))
        multiply(AS_IS, False, c, <int>k, <int>k, b + first * c, c, <const scalar *>half, <int>k,
                 False, out + first * c, c, crew)


cdef void weigh_panel(const Job *job, int64_t s, int h, int c, const scalar *a,
                      const scalar *z) noexcept nogil:
    """The weights of rows, whole blocks of them, from A and -B X."""
    cdef const Congruence *g = job.g
    cdef scalar *out = <scalar *>job.out
    cdef Py_ssize_t k = g.block, i, j, first
    cdef scalar x
    for i in range(h):
        first = i // k * k
        for j in range(first, i + 1):
            x = -(product(c, a + i * c, z + j * c)
                  + conjugate(product(c, a + j * c, z + i * c))) / 2
            if i == j:
                x = <scalar>real(x)
            if k == 1:
                out[g.row_order[s + i]] = x
                continue
            out[g.row_order[s + first] * k + (i - first) * k + j - first] = x
            out[g.row_order[s + first] * k + (j - first) * k + i - first] = conjugate(x)


cdef inline scalar product(int c, const scalar *a, const scalar *z) noexcept nogil:
    """The sum of a conj(z)."""
    cdef scalar sum = 0
    cdef int t
    for t in range(c):
        sum = sum + a[t] * conjugate(z[t])
    return sum
