"""Multifrontal factorization A = L L^H, and A = L S L^H with signs S = diag(+-1).

The signed factorization takes pivots of both signs, in the given order: it exists for every order
of a quasi-definite matrix (Vanderbei 1995). The diagonal of L is negative where the pivot is. Where
no pivot is negative, L is the Cholesky factor, bit by bit.

The fronts of a task (see symbolic.plans) are visited in postorder. A front is opened (panel and
update matrix cleared, the entries of A put in) when its first child in the task is done, so that
every child adds its update matrix to it while that is still in cache. The update matrices of
other tasks are added between them, so that the children come in ascending order: the result has the
same bits for any number of threads. Simplicial subtrees (see symbolic.structure) are done column by
column.

References
----------
Duff, I. S., Reid, J. K. (1983). The multifrontal solution of indefinite sparse symmetric linear
    equations. ACM Trans. Math. Softw. 9(3), 302-325.
Liu, J. W. H. (1992). The multifrontal method for sparse matrix solution: theory and practice.
    SIAM Review 34(1), 82-109.
Higham, N. J. (2002). Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM, section 10.1.
Vanderbei, R. J. (1995). Symmetric quasidefinite matrices. SIAM J. Optim. 5(1), 100-113.
Gill, P. E., Saunders, M. A., Shinnerl, J. R. (1996). On the stability of Cholesky factorization for
    symmetric quasidefinite systems. SIAM J. Matrix Anal. Appl. 17(1), 35-46.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.float cimport DBL_EPSILON, DBL_MANT_DIG, DBL_MIN, FLT_EPSILON, FLT_MANT_DIG
from libc.math cimport INFINITY, fabs, ilogb
from libc.stdint cimport INT32_MAX, int8_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from sparsechol._core.numeric.assembly cimport (
    assemble_rest, extend_add_to_parent, has_children, open_subtree, update_matrix,
)
from sparsechol._core.numeric.condition cimport least_normal, surely_regular
from sparsechol._core.numeric.dense cimport (
    CONJ_TRANS, DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX, KINDS, LANES_OF_4, LANES_OF_8,
    WEAK_LONG, WEAK_SHORT, Outcome, conjugate, element, factor_columns, factor_panel,
    kind_named, kind_of, lanes, lanes4, lanes8, matrices_in, multiply, multiply_signed,
    pivot_rule, real, scalar, shifted, weak_lanes, weigh_pivot,
)
from sparsechol._core.numeric.sweep_driver cimport (
    FrontContext, Many, Sweep, SweepJob, each, leave_step, run_sweep, step_work, sweep_job,
    sweep_space, task_function,
)
from sparsechol._core.parallel.pool cimport (
    pool_begin, pool_call, pool_end, pool_least, pool_lower, pool_read, pool_stopped,
)
from sparsechol._core.symbolic.structure cimport Pattern, Structure, plan_for


cdef enum:
    SPARE_LONG = 14                 # a factor is in doubt so many bits before it is rounding,
    SPARE_SHORT = 8                 # in single precision


cdef inline double stable(int kind) noexcept nogil:
    """Growth that is nothing to look at: half of the digits are left."""
    return 2**11 if kind == FLOAT or kind == FLOAT_COMPLEX else 2**26


cdef int READ = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT
cdef int WRITE = READ | PyBUF_WRITABLE


cdef struct Results:
    # What a factorization reports.
    Outcome *outcomes       # of each task of one matrix, or of each matrix of a batch
    pool_least *failed      # least column that has failed so far, of each matrix
    const pivot_rule *rule  # of the signed factorization; NULL: all pivots are to be positive
    double *sums            # of |l|^2 in each row: for each matrix n, and the tallest front


cdef inline Outcome no_outcome() noexcept nogil:
    """What is known before the first column."""
    return Outcome(failed=INT32_MAX, weakest=INT32_MAX, pivot=0, ratio=1, lost=0, growth=0)


cdef inline void merge_outcomes(Outcome *outcome, const Outcome *other) noexcept nogil:
    """The first failure and the weakest column, the first of equals: in any order the same."""
    if other.failed < outcome.failed:
        outcome.failed = other.failed
        outcome.pivot = other.pivot
    if (other.ratio < outcome.ratio
            or other.ratio == outcome.ratio and other.weakest < outcome.weakest):
        outcome.ratio = other.ratio
        outcome.weakest = other.weakest
    outcome.lost += other.lost


cdef bint factor_front(int32_t s, const FrontContext *ctx, Outcome *outcome,
                       const pivot_rule *rule, element *bars) noexcept nogil:
    """Factor one front; False if a pivot is refused.

        [ F11  .  ]      L11 = chol(F11), L21 = F21 L11^-H        signed:  L21 = F21 L11^-H S
        [ F21 F22 ]      F22 <- F22 - L21 L21^H                            F22 <- F22 - L21 S L21^H
    """
    cdef const Pattern *p = ctx.p
    cdef int nc = p.first[s + 1] - p.first[s]
    cdef int m = <int>(p.row_start[s + 1] - p.row_start[s])
    cdef element *panel = <element *>ctx.panels + p.panel[s]
    cdef const element *below = panel + nc
    cdef int bad
    assemble_rest(s, ctx, <const element *>bars)
    bad = factor_panel(nc + m, nc, panel, nc + m, rule, &ctx.crew)
    if bad >= 0:
        if element not in lanes:
            outcome.failed = p.first[s] + bad
            outcome.pivot = real(panel[bad * <Py_ssize_t>(nc + m + 1)])
        return False
    if rule == NULL:
        weigh_pivots(p, s, <const element *>ctx.a, <const element *>panel, nc + m, bars, outcome)
    elif rule.sums != NULL:
        if element not in lanes:
            weigh_front(p, s, <const element *>panel, rule.replaced, rule.sums, outcome)
    if m == 0:
        return True
    if rule == NULL:
        multiply(CONJ_TRANS, True, m, m, nc, below, nc + m, below, nc + m, has_children(ctx, s),
                 update_matrix(s, ctx, <const element *>bars), m, &ctx.crew)
    else:
        multiply_signed(m, m, nc, <const element *>panel, nc + m, has_children(ctx, s),
                        update_matrix(s, ctx, <const element *>bars), m, &ctx.crew)
    return True


cdef bint factor_subtree(int32_t root, const FrontContext *ctx, Outcome *outcome,
                         const pivot_rule *rule, element *bars) noexcept nogil:
    """Factor the columns of a simplicial subtree; False if a pivot is refused."""
    cdef const Pattern *p = ctx.p
    cdef int32_t s, begin = p.begin[root]
    cdef element *panels = <element *>ctx.panels
    cdef Py_ssize_t bad
    open_subtree(root, ctx, <const element *>bars)
    bad = factor_columns(p, root, panels, update_matrix(root, ctx, <const element *>bars), rule)
    if bad >= 0:
        if element not in lanes:
            outcome.failed = <int32_t>bad
            outcome.pivot = real(panels[p.panel[begin + bad - p.first[begin]]])
        return False
    if rule != NULL:        # weighed already, or at the end, see `weigh_all`
        return True
    for s in range(begin, root + 1):
        weigh_pivots(p, s, <const element *>ctx.a, <const element *>panels + p.panel[s], 1, bars,
                     outcome)
    return True


cdef void factor_task(const Sweep *sweep, int32_t t, const element *tag) noexcept nogil:
    """All steps of one task, as far as no earlier column has failed."""
    cdef const FrontContext *ctx = &sweep.ctx
    cdef const Pattern *p = ctx.p
    cdef const Results *results = <const Results *>sweep.job.results
    cdef pool_least *failed = &results.failed[sweep.matrix]
    cdef Outcome *outcome = &results.outcomes[sweep.matrix + t]     # one of the two is 0
    cdef const pivot_rule *rule = results.rule
    cdef pivot_rule own
    cdef int32_t k, s
    cdef int v
    cdef bint good
    cdef double *sums = NULL
    if rule != NULL and ctx.plan.tasks == 1:
        sums = results.sums + sweep.matrix * (p.n + p.tallest)
        memset(sums, 0, sizeof(double) * p.n)
    for v in range(matrices_in(tag)):
        outcome[v] = no_outcome()
        if element in lanes:
            (<double *>sweep.spare)[v] = outcome[v].ratio
    for k in range(ctx.plan.task_start[t], ctx.plan.task_start[t + 1]):
        s = ctx.plan.steps[k]
        if pool_read(failed) < p.first[s] or pool_stopped(step_work(p, s)):
            return
        if rule != NULL:
            own = shifted(results.rule, p.first[s if p.simplicial_root[s] == -1 else p.begin[s]])
            own.sums = sums
            own.weighed = outcome
            if own.replaced != NULL:
                own.replaced += sweep.matrix * p.n
            rule = &own
        if p.simplicial_root[s] == -1:
            good = factor_front(s, ctx, outcome, rule, <element *>sweep.spare)
        else:
            good = factor_subtree(s, ctx, outcome, rule, <element *>sweep.spare)
        if not good:
            pool_lower(failed, outcome.failed)
            return
        if element in lanes:
            leave_step(sweep, s)
        extend_add_to_parent(s, ctx, tag)
    if element in lanes:
        for v in range(matrices_in(tag)):
            if outcome[v].failed != INT32_MAX:
                sweep.again[0] |= 1 << v
    elif sums != NULL:
        outcome.growth = growth_of(p, <const element *>ctx.a, outcome.growth)


cdef inline void weigh_pivots(const Pattern *p, int32_t s, const element *a, const element *panel,
                              Py_ssize_t rows, element *bars, Outcome *outcome) noexcept nogil:
    """Note the pivot that is smallest against the diagonal entry it came from, and lost bits.

    bars : of matrices side by side, see `weigh_lanes`; outcome : of each of them.
    """
    cdef int32_t j
    cdef double root, entry
    cdef double weak = WEAK_SHORT if element is float or element is floatcomplex else WEAK_LONG
    cdef double bar = max(outcome.ratio, weak), least = least_normal(panel)
    if element in lanes:
        weigh_lanes(p, s, a, panel, rows, bars, outcome)
    else:
        for j in range(p.first[s], p.first[s + 1]):
            root = real(panel[0])
            entry = real(a[p.entry_source[p.entry_start[j]]])
            if root * root < bar * (entry + least):
                weigh_pivot(j, root * root, entry, least, weak, outcome)
                bar = max(outcome.ratio, weak)
            panel += rows + 1


cdef void weigh_lanes(const Pattern *p, int32_t s, const lanes *a, const lanes *panel,
                      Py_ssize_t rows, lanes *bars, Outcome *outcomes) noexcept nogil:
    """The same for matrices side by side, where a pivot that failed is noted, too.

    bars : the part of a diagonal entry below which a pivot is weak, or the weakest so far.
    """
    cdef double *bar = <double *>bars
    cdef double root, pivot
    cdef const lanes *entry
    cdef int32_t j
    cdef int v, marked
    for j in range(p.first[s], p.first[s + 1]):
        entry = a + p.entry_source[p.entry_start[j]]
        marked = weak_lanes(panel, bars, entry, DBL_MIN)
        while marked:
            v = lowest_bit(marked)
            marked &= marked - 1
            root = (<const double *>panel)[v]
            pivot = root * root
            if not 0 < pivot < INFINITY:
                outcomes[v].failed = min(outcomes[v].failed, j)
                continue
            weigh_pivot(j, pivot, (<const double *>entry)[v], DBL_MIN, WEAK_LONG, &outcomes[v])
            bar[v] = max(outcomes[v].ratio, WEAK_LONG)
        panel += rows + 1


cdef inline int lowest_bit(int bits) noexcept nogil:
    """The number of the lowest bit that is set."""
    cdef int v = 0
    while not bits & 1:
        bits >>= 1
        v += 1
    return v


cdef void weigh_front(const Pattern *p, int32_t s, const scalar *panel, const uint8_t *replaced,
                      double *sums, Outcome *outcome) noexcept nogil:
    """Note weak pivots and growth in one front, for pivots of both signs; its panel is `panel`.

    What is eliminated from a diagonal entry may cancel or add up. The rounding of pivot j is that
    of |d_j| + sum_k |l_jk|^2 >= |a_jj|, and that of the whole factorization |L| |L|^H, whose
    largest entry is on its diagonal. Growth is its ratio to the largest entry of A.

    replaced : of the first column on, or NULL.
    sums : n, and as many as the tallest front has rows.
    """
    cdef double *below = sums + p.n
    cdef double least = least_normal(panel), pivot, size
    cdef double weak = WEAK_SHORT if scalar is float or scalar is floatcomplex else WEAK_LONG
    cdef int32_t nc = p.first[s + 1] - p.first[s], j, rest
    cdef int64_t q, m = p.row_start[s + 1] - p.row_start[s]
    cdef const int32_t *rows = p.rows + p.row_start[s]
    memset(below, 0, sizeof(double) * m)
    for j in range(p.first[s], p.first[s + 1]):
        pivot = square(panel[0])
        size = sums[j] + pivot
        outcome.growth = max(outcome.growth, size)
        if (pivot < max(outcome.ratio, weak) * (size + least)
                and not (replaced != NULL and replaced[j - p.first[s]])):
            weigh_pivot(j, pivot, size, least, weak, outcome)
        rest = p.first[s + 1] - j
        for q in range(1, rest):
            sums[j + q] += square(panel[q])
        for q in range(m):
            below[q] += square(panel[rest + q])
        panel += nc + m + 1
    for q in range(m):
        sums[rows[q]] += below[q]


cdef double growth_of(const Pattern *p, const scalar *a, double grown) noexcept nogil:
    """Growth; where it is below `stable`, its ratio to an entry of A that is large enough."""
    cdef double largest = 0, size, bar = grown / stable(kind_of(a))
    cdef int64_t q
    for q in range(p.nnz):
        size = largest_part(a[q])
        if size > largest:
            largest = size
            if size > bar:
                break
    return grown / max(largest, least_normal(a))


cdef inline double largest_part(scalar x) noexcept nogil:
    """The larger of the absolute values of the parts."""
    if scalar is floatcomplex or scalar is doublecomplex:
        return max(fabs(x.real), fabs(x.imag))
    else:
        return fabs(x)


cdef void weigh_all(const Pattern *p, const Results *results, const scalar *a,
                    const scalar *l) noexcept nogil:
    """The same for one matrix that several threads have factored, in the order of one thread."""
    cdef const uint8_t *replaced = results.rule.replaced
    cdef int32_t s
    memset(results.sums, 0, sizeof(double) * p.n)
    for s in range(p.nsuper):
        weigh_front(p, s, l + p.panel[s], replaced + p.first[s] if replaced != NULL else NULL,
                    results.sums, results.outcomes)
    results.outcomes.growth = growth_of(p, a, results.outcomes.growth)


cdef inline double square(scalar x) noexcept nogil:
    """|x|^2."""
    if scalar is floatcomplex or scalar is doublecomplex:
        return x.real * <double>x.real + x.imag * <double>x.imag
    else:
        return x * <double>x


cdef void weigh_kind(const Pattern *p, int kind, const Results *results, const void *a,
                     const void *l) noexcept nogil:
    if kind == DOUBLE:
        weigh_all(p, results, <const double *>a, <const double *>l)
    elif kind == FLOAT:
        weigh_all(p, results, <const float *>a, <const float *>l)
    elif kind == DOUBLE_COMPLEX:
        weigh_all(p, results, <const double complex *>a, <const double complex *>l)
    else:
        weigh_all(p, results, <const float complex *>a, <const float complex *>l)


cdef bint in_doubt(const Pattern *p, int kind, const Outcome *outcome) noexcept nogil:
    """Whether rounding may have decided the factor, so that a condition estimate is worth while.

    A pivot that keeps the part r of its diagonal entry makes the roundings before it up to 1 / r
    times as large in what follows. While the product of all r is far above a rounding, no pivot is
    rounding alone. Only weak pivots count, or every large matrix would be in doubt. Bits are
    integers, whose sum is the same for any number of threads.
    """
    cdef bint single = kind == FLOAT or kind == FLOAT_COMPLEX
    cdef int bits = <int>(FLT_MANT_DIG if single else DBL_MANT_DIG)
    bits -= SPARE_SHORT if single else SPARE_LONG
    return outcome.lost > 0 and outcome.lost + ilogb(<double>p.n) >= bits


cdef task_function tasks[KINDS]
tasks[FLOAT] = <task_function>factor_task[float]
tasks[DOUBLE] = <task_function>factor_task[double]
tasks[FLOAT_COMPLEX] = <task_function>factor_task[floatcomplex]
tasks[DOUBLE_COMPLEX] = <task_function>factor_task[doublecomplex]
tasks[LANES_OF_4] = <task_function>factor_task[lanes4]
tasks[LANES_OF_8] = <task_function>factor_task[lanes8]


cdef Py_ssize_t factor_space(const Pattern *p, Py_ssize_t batch, int threads) noexcept nogil:
    """Scalars of workspace."""
    cdef SweepJob job = sweep_job(p, tasks, FLOAT)
    return sweep_space(&job, batch, threads)


cdef Outcome *factor_all(const Pattern *p, int kind, Py_ssize_t batch, Many a, void *l,
                         const pivot_rule *rule, void *work, int threads) noexcept nogil:
    """Factor each matrix of a batch, neither of which is empty; signed if there is a rule.

    Returns what came of each, for the caller to free; NULL if there is no memory for it.
    """
    cdef Py_ssize_t k, items = max(batch, <Py_ssize_t>plan_for(p, batch, threads).tasks)
    cdef SweepJob job = sweep_job(p, tasks, kind)
    cdef Results results
    results.rule = rule
    results.sums = NULL
    if rule != NULL:
        results.sums = <double *>malloc(sizeof(double) * batch * (p.n + p.tallest))
        if results.sums == NULL:
            return NULL
    results.outcomes = <Outcome *>malloc(sizeof(Outcome) * items + sizeof(pool_least) * batch)
    if results.outcomes == NULL:
        free(results.sums)
        return NULL
    results.failed = <pool_least *>&results.outcomes[items]
    for k in range(batch):
        results.failed[k] = INT32_MAX
    job.up = True
    job.most_work = 125 if rule == NULL else 0      # each matrix chooses its own signs
    job.arrays.values = a
    job.out = <char *>l
    job.results = &results
    if not run_sweep(&job, batch, work, threads):
        free(results.sums)
        free(results.outcomes)
        return NULL
    if batch == 1:
        for k in range(1, items):
            merge_outcomes(&results.outcomes[0], &results.outcomes[k])
        if rule != NULL and items > 1 and results.outcomes[0].failed == INT32_MAX:
            weigh_kind(p, kind, &results, a.data, l)
    free(results.sums)
    return results.outcomes


def workspace(Structure structure, Py_ssize_t batch, int threads):
    """Scalars of workspace that `factorize` needs."""
    return factor_space(&structure.pattern, batch, threads)


def factorize(Structure structure, a, factor, work, int threads, bint any_sign=False, expected=None,
              double least=0, double replacement=0, replaced=None, bint brief=False):
    """Factor A = L L^H, or A = L S L^H if pivots may have any sign, for each matrix of a batch.

    Parameters
    ----------
    structure : Structure
    a : (batch, structure.nnz) values of the lower triangle of each A, in the analyzed order.
    factor : (batch, structure.size) overwritten with the panels of each L.
    work : (workspace(structure, batch, threads),) workspace.
    threads : most threads to work at once: on the tasks of one matrix, or on several matrices.
    any_sign : whether S is not the identity.
    expected : (n,) the sign of each pivot in the order of the kernels, 1 or -1; None: any.
    least, replacement : a pivot that is not farther than `least` on its side of zero becomes as
        large as `replacement` on that side; 0: it fails.
    replaced : (batch, n) set to 1 where a pivot was replaced; needed with `expected`.
    brief : whether to return None where there is nothing to look at: no matrix failed, and none is
        in doubt, weak where signs are expected, or grown.

    Returns
    -------
    failed : (batch,) int32
        -1, or the original row at which the pivot is not positive (or not finite); of a signed
        factorization, not on its side of zero.
    row : (batch,) int32
        Original row whose pivot lost most of its diagonal entry to cancellation; -1 where none
        lost anything.
    value : (batch,) float64
        The failed pivot, or the part of the diagonal entry of `row` that was left.
    doubt : (batch,) uint8
        Whether rounding may have decided the factor.
    growth : (batch,) float64 or None
        max |L| |L|^H / max |A| of a signed factorization.
    """
    cdef const Pattern *p = &structure.pattern
    cdef Py_buffer held[5]
    cdef int count = 0, kind
    cdef Py_ssize_t batch, bytes_of_a, bytes_of_l, k
    cdef bint clear = True
    cdef Outcome *outcomes = NULL
    cdef pool_call call
    cdef Many values
    cdef pivot_rule rule = pivot_rule(expected=NULL, least=least, replacement=replacement,
                                      replaced=NULL, sums=NULL, weighed=NULL)
    try:
        for array in (a, factor, work):
            PyObject_GetBuffer(array, &held[count], READ if count == 0 else WRITE)
            count += 1
        if expected is not None:
            PyObject_GetBuffer(expected, &held[count], READ)
            count += 1
            PyObject_GetBuffer(replaced, &held[count], WRITE)
            count += 1
        batch = check_factor_arguments(p, held, count, threads)
        if p.n == 0 or batch == 0:
            return None if brief else report(p, FLOAT, NULL, batch, any_sign)
        if expected is not None:
            rule.expected = <const int8_t *>held[3].buf
            rule.replaced = <uint8_t *>held[4].buf
        kind = kind_named(held[0].format)
        bytes_of_a = held[0].itemsize * p.nnz
        bytes_of_l = held[0].itemsize * p.size
        values = each(held[0].buf)
        pool_begin(&call)
        with nogil:
            outcomes = factor_all(p, kind, batch, values, held[1].buf, &rule if any_sign else NULL,
                                  held[2].buf, threads)
            for k in range(batch if brief and outcomes != NULL else 0):
                if not nothing_to_tell(p, kind, &outcomes[k], rule.expected != NULL):
                    clear = clear and cleared(
                        p, kind, &outcomes[k], any_sign, <char *>held[0].buf + k * bytes_of_a,
                        <char *>held[1].buf + k * bytes_of_l, threads)
        pool_end(&call)
        if outcomes == NULL:
            raise MemoryError("no memory for the list of tasks")
        return None if brief and clear else report(p, kind, outcomes, batch, any_sign)
    finally:
        free(outcomes)
        for k in range(count):
            PyBuffer_Release(&held[k])


cdef Py_ssize_t check_factor_arguments(const Pattern *p, const Py_buffer *held, int count,
                                       int threads) except -1:
    """The number of matrices; ValueError unless arrays fit, in dimensions and types."""
    cdef const Py_buffer *a = &held[0]
    cdef const Py_buffer *panels = &held[1]
    cdef const Py_buffer *work = &held[2]
    cdef Py_ssize_t batch
    cdef int kind = kind_named(a.format)
    if (kind == -1 or kind_named(panels.format) != kind or kind_named(work.format) != kind
            or a.ndim != 2 or panels.ndim != 2 or work.ndim != 1):
        raise ValueError("factorize: wrong types or dimensions of arrays")
    batch = a.shape[0]
    if batch >= 2**31 - 1:
        raise OverflowError(f"a batch of {batch} matrices is too large")
    if (a.shape[1] != p.nnz or panels.shape[0] != batch or panels.shape[1] != p.size
            or threads < 1 or work.shape[0] < factor_space(p, batch, threads)):
        raise ValueError("factorize: arrays do not belong to this structure")
    if count == 5 and (held[3].ndim != 1 or held[3].shape[0] != p.n or held[3].itemsize != 1
                       or held[4].ndim != 2 or held[4].shape[0] != batch
                       or held[4].shape[1] != p.n or held[4].itemsize != 1):
        raise ValueError("factorize: signs do not belong to this structure")
    return batch


cdef bint nothing_to_tell(const Pattern *p, int kind, const Outcome *outcome,
                          bint expected) noexcept nogil:
    """Whether a factor needs no second look, see `factorize`."""
    if outcome.failed != INT32_MAX or not outcome.growth < stable(kind):
        return False
    return outcome.ratio > refused_part(kind) if expected else not in_doubt(p, kind, outcome)


cdef bint cleared(const Pattern *p, int kind, Outcome *outcome, bint any_sign, const void *a,
                  const void *l, int threads) noexcept nogil:
    """Whether one solve settles all that there is to tell of a factor, a doubt; it is then gone."""
    cdef bint regular
    if (outcome.failed != INT32_MAX or not outcome.growth < stable(kind)
            or outcome.ratio <= refused_part(kind)):
        return False
    if kind == DOUBLE:
        regular = surely_regular(
            p, <const double *>a, <const double *>l, outcome.ratio, any_sign, threads)
    elif kind == FLOAT:
        regular = surely_regular(
            p, <const float *>a, <const float *>l, outcome.ratio, any_sign, threads)
    elif kind == DOUBLE_COMPLEX:
        regular = surely_regular(
            p, <const double complex *>a, <const double complex *>l, outcome.ratio, any_sign,
            threads)
    else:
        regular = surely_regular(
            p, <const float complex *>a, <const float complex *>l, outcome.ratio, any_sign, threads)
    if regular:
        outcome.lost = 0
    return regular


cdef inline double refused_part(int kind) noexcept nogil:
    """The part of its diagonal entry below which a pivot is refused."""
    return REFUSED_ROUNDINGS * (
        FLT_EPSILON if kind == FLOAT or kind == FLOAT_COMPLEX else DBL_EPSILON)


cdef tuple report(const Pattern *p, int kind, const Outcome *outcomes, Py_ssize_t batch,
                  bint any_sign):
    """What came of each matrix as arrays, see `factorize`; of empty ones without outcomes."""
    arrays = (np.full(batch, -1, np.int32), np.full(batch, -1, np.int32), np.ones(batch),
              np.zeros(batch, np.uint8), np.ones(batch))
    cdef int32_t[::1] failed = arrays[0]
    cdef int32_t[::1] row = arrays[1]
    cdef double[::1] value = arrays[2]
    cdef uint8_t[::1] doubt = arrays[3]
    cdef double[::1] growth = arrays[4]
    cdef Py_ssize_t k
    for k in range(batch if outcomes != NULL else 0):
        value[k] = outcomes[k].ratio
        if outcomes[k].failed != INT32_MAX:
            failed[k] = p.perm[outcomes[k].failed]
            value[k] = outcomes[k].pivot
        if outcomes[k].weakest != INT32_MAX:
            row[k] = p.perm[outcomes[k].weakest]
        doubt[k] = in_doubt(p, kind, &outcomes[k])
        growth[k] = outcomes[k].growth
    return arrays if any_sign else (*arrays[:4], None)


def dependence(Structure structure, const scalar[::1] l, int32_t row):
    """x with A x = 0 where elimination leaves nothing of a row: one there, zero on later rows.

        [ A11  a ] [ x1 ]   [   0   ]
        [ a^H  d ] [ 1  ] = [ pivot ]       x1 = -A11^-1 a = -L11^-H (L11^-1 a)

    Parameters
    ----------
    structure : Structure
    l : (structure.size,) panels of L, as far as they were computed before `row` failed.
    row : original row.

    Returns
    -------
    (n,) ndarray in the order of the original rows
    """
    cdef const Pattern *p = &structure.pattern
    cdef int32_t s = 0, last = 0, j
    if l.shape[0] != p.size or not 0 <= row < p.n:
        raise ValueError("dependence: the factor does not belong to this structure")
    while p.perm[last] != row:
        last += 1
    x_array = np.zeros(p.n, dtype=np.asarray(l).dtype)
    out_array = np.empty_like(x_array)
    reached_array = np.zeros(p.nsuper, dtype=np.uint8)
    cdef scalar[::1] x = x_array
    cdef scalar[::1] out = out_array
    cdef uint8_t[::1] reached = reached_array
    with nogil:
        while p.first[s + 1] <= last:
            s += 1
        x[last] = 1
        reached[s] = True
        eliminate_above(p, s, last - 1, last + 1, &l[0], &x[0])
        for s in range(s - 1, -1, -1):
            if p.parent[s] != -1 and reached[p.parent[s]]:
                reached[s] = True
                eliminate_above(p, s, p.first[s + 1] - 1, p.n, &l[0], &x[0])
        for j in range(p.n):
            out[p.perm[j]] = x[j]
    return out_array


cdef void eliminate_above(const Pattern *p, int32_t s, int32_t column, int32_t end, const scalar *l,
                          scalar *x) noexcept nogil:
    """x_j <- -(L^H x)_j / l_jj in s, from `column` to the left, with the rows before `end`."""
    cdef int32_t nc = p.first[s + 1] - p.first[s], i, j
    cdef int64_t q, m = p.row_start[s + 1] - p.row_start[s]
    cdef const scalar *panel
    cdef scalar total
    for j in range(column, p.first[s] - 1, -1):
        panel = l + p.panel[s] + (j - p.first[s]) * (nc + m)
        total = 0
        for i in range(j + 1, min(end, p.first[s + 1])):
            total += conjugate(panel[i - p.first[s]]) * x[i]
        if end == p.n:
            for q in range(m):
                total += conjugate(panel[nc + q]) * x[p.rows[p.row_start[s] + q]]
        x[j] = -total / real(panel[j - p.first[s]])
