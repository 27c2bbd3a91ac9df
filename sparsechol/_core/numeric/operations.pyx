"""Every kernel behind one entry: the table of operations.

The signature of an operation names the arrays that it takes and gives:

    a   (nnz,)          stored values on the pattern of A: lower triangle by column
    d   (2 nnz - n,)    both triangles by column
    l   (size,)         flat panels: a factor, or a matrix on its pattern
    e   (nnz(L),)       its entries by column, as `CholeskyFactor.L` has them
    x   (n, k)          vectors
    r   (n,)            a real number for each row of A
    g   (entries,)      of a rectangular matrix G, whose congruence is on the pattern, by row
    w   (rows k,)       weights of its rows, or the k x k blocks of them
    s   ()              a real number

All of them have leading dimensions of one batch, as many in each, of which some may be 1 in an
operand: it is the same for all matrices along them. The result has them all. Above the diagonal of
a panel nothing is read and zeros are written, except by `partial_inverse`, whose squares are full.

The promoted ones take values in single precision, factor them in double precision and go on in it.
Those of a CSC triangle are for a triangle of any pattern, whose values by column are `a` then.
Those of a congruence are for a pattern that knows G, see `gram`.

A matrix that is not positive definite gets a factor of NaN, and so does all that is computed of it.
So does one with a weak pivot, positive but within rounding of zero, unless the flag ACCEPT_WEAK is
set. LDL takes pivots of both signs, and `turn` gives the columns of its second operand the signs of
the pivots of the first. LDL_SIGNS says which signs. All other
operations take a factor of either kind; SOLVE has the flag SIGNED for that of LDL.
"""

from libc.float cimport DBL_EPSILON, FLT_EPSILON
from libc.math cimport NAN
from libc.stdint cimport INT32_MAX, int8_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset, strlen

from sparsechol._core.numeric cimport derivative_sweeps
from sparsechol._core.numeric.condition cimport reciprocal_condition
from sparsechol._core.numeric.dense cimport (
    DOUBLE, DOUBLE_COMPLEX, FLOAT, FLOAT_COMPLEX, Outcome, conjugate, pivot_rule, scalar, size_of,
)
from sparsechol._core.numeric.determinant cimport AT_ONCE, log_determinants
from sparsechol._core.numeric.derivative_sweeps cimport Kind, derivative_all, derivative_space
from sparsechol._core.numeric.factorize cimport REFUSED_ROUNDINGS, factor_all, factor_space
from sparsechol._core.numeric.gram cimport FORM, ROWS, WEIGHTS, congruence
from sparsechol._core.numeric.packing cimport (
    fold, gather_kind, gather_panels, read_diagonal, read_places, scatter_panels, turn_panels,
    unfold, weigh_entries, write_diagonal, write_places,
)
from sparsechol._core.numeric.partial_inverse cimport inverse_space, invert_all
from sparsechol._core.numeric.products cimport (
    multiply_factor, multiply_hermitian, multiply_triangle, sample_factor, sample_outer,
    sample_triangle,
)
from sparsechol._core.numeric.solve cimport (
    RHS_BLOCK, System, solve_all, solve_space, useful_threads,
)
from sparsechol._core.numeric.sweep_driver cimport Arrays, Many, Packed, array_of, on_panels
from sparsechol._core.numeric.triangle cimport substitute
from sparsechol._core.parallel.pool cimport POOL_UP, pool_run, pool_scratch, pool_worker


cdef extern from "memory.h" nogil:
    void prefer_large_pages(void *start, size_t bytes)


cpdef enum Operation:
    CHOLESKY
    TANGENT                     # of cholesky, from stored values
    TANGENT_PANELS              # and from flat panels
    ADJOINT                     # of the tangent
    OUTER
    INNER
    PARTIAL_INVERSE
    SANDWICH
    SOLVE
    SOLVE_TRIANGULAR
    FACTOR_PRODUCT
    FACTOR_OUTER
    PRODUCT
    SAMPLED_OUTER
    LOGDET
    DIAGONAL
    PLACE_DIAGONAL
    GATHER
    SCATTER
    WEIGH
    ENTRIES
    PLACE_ENTRIES
    FOLD
    UNFOLD
    PROMOTED_LOGDET             # from values in single precision, all in double precision
    PROMOTED_SOLVE
    PROMOTED_PARTIAL_INVERSE
    PROMOTED_SANDWICH
    RCOND                       # an estimate of the reciprocal condition number
    LDL                         # A = L S L^H, the diagonal of L is negative where that of S is
    TURN                        # X S
    LDL_SIGNS                   # LDL whose pivots have the signs r; `diagonal` and `below` of the
    REPLACED_PIVOTS             # call are the rule, see `pivot_rule`; 1 where one was replaced
    CSC_TRIANGLE_SOLVE          # with a triangle that is no factor
    CSC_TRIANGLE_PRODUCT
    CSC_TRIANGLE_OUTER
    GRAM                        # the Hermitian part of G^H W H
    GRAM_ROWS                   # and its adjoints
    GRAM_WEIGHTS
    GATHERED_INVERSE            # `gather` of `partial_inverse`


cdef enum:
    OPERATIONS = GATHERED_INVERSE + 1


# The signature of each, in the order of the enumeration.
NAMES = {
    "cholesky": "a>l",
    "tangent": "la>l",
    "tangent_panels": "ll>l",
    "adjoint": "ll>l",
    "outer": "ll>l",
    "inner": "ll>l",
    "partial_inverse": "l>l",
    "sandwich": "lll>l",
    "solve": "lx>x",
    "solve_triangular": "lx>x",
    "factor_product": "lx>x",
    "factor_outer": "xx>l",
    "product": "ax>x",
    "sampled_outer": "xx>a",
    "logdet": "l>s",
    "diagonal": "l>r",
    "place_diagonal": "r>l",
    "gather": "l>a",
    "scatter": "a>l",
    "weigh": "l>l",
    "entries": "l>e",
    "place_entries": "e>l",
    "fold": "d>a",
    "unfold": "a>d",
    "promoted_logdet": "a>s",
    "promoted_solve": "ax>x",
    "promoted_partial_inverse": "a>a",
    "promoted_sandwich": "aa>a",
    "rcond": "la>s",
    "ldl": "a>l",
    "turn": "ll>l",
    "ldl_signs": "ar>l",
    "replaced_pivots": "ar>r",
    "csc_triangle_solve": "ax>x",
    "csc_triangle_product": "ax>x",
    "csc_triangle_outer": "xx>a",
    "gram": "gwg>a",
    "gram_rows": "wga>g",
    "gram_weights": "gga>w",
    "gathered_inverse": "l>a",
}
if [name.upper() for name in NAMES] != list(Operation.__members__):
    raise ImportError("operations: the enumeration and the signatures are out of step")
CODES = {name: code for code, name in enumerate(NAMES)}
CORE_RANK = {letter: 2 if letter == "x" else 0 if letter == "s" else 1 for letter in "adlexrsgw"}
cdef const char *signatures[OPERATIONS]
cdef bytes spelled = b"".join(signature.encode() + b"\0" for signature in NAMES.values())
cdef const char *next_signature = spelled
cdef int code_
for code_ in range(OPERATIONS):
    signatures[code_] = next_signature
    next_signature += strlen(next_signature) + 1


# ---- what is to be done ----

cdef const char *no_memory = "no memory"


cdef struct Work:
    const View *view
    const Call *call
    int kind
    int threads
    Py_ssize_t batch
    Py_ssize_t columns          # vectors of each matrix
    Many operand[MOST_OPERANDS]
    Py_ssize_t bytes[MOST_OPERANDS]     # of each array of an operand,
    Py_ssize_t result_bytes             # and of the result
    int64_t *tables             # of those operands that matrices share
    char *room                  # a vector for each matrix, where one is needed


cdef const char *signature_for(int operation) noexcept nogil:
    """Its letters, NULL if there is no such operation."""
    return signatures[operation] if 0 <= operation < OPERATIONS else NULL


cdef int core_rank(char letter) noexcept nogil:
    return 2 if letter == c"x" else 0 if letter == c"s" else 1


cdef inline bint is_real(char letter) noexcept nogil:
    return letter == c"r" or letter == c"s"


cdef inline int real_of(int kind) noexcept nogil:
    return FLOAT if kind == FLOAT or kind == FLOAT_COMPLEX else DOUBLE


cdef Py_ssize_t length_of(const View *view, char letter) noexcept nogil:
    """Length of the array that a letter stands for, of one vector for x; -1 if it is not known."""
    if letter == c"a":
        return view.p.nnz
    if letter == c"d":
        return view.full_count if view.sources != NULL else -1
    if letter == c"l":
        return view.p.size
    if letter == c"e":
        return view.entry_count if view.entries != NULL else -1
    if letter == c"g" or letter == c"w":
        if view.gram == NULL:
            return -1
        return view.gram.entries if letter == c"g" else view.gram.rows * view.gram.block
    return 1 if letter == c"s" else view.p.n


cdef const char *check(const Work *w, char letter, const Operand *o, bint full,
                       Py_ssize_t *columns) noexcept nogil:
    """Whether an array has the type and the shape of its letter."""
    cdef const Operand *result = &w.call.result
    cdef int core = core_rank(letter), rest = core_rank(signature_of(w)[0])
    cdef Py_ssize_t i, lead = o.rank - core
    cdef Py_ssize_t length = length_of(w.view, letter)
    if o.kind != (real_of(w.kind) if is_real(letter) else w.kind):
        return "the operands have different types"
    if length < 0:
        return "the pattern does not know these entries yet"
    if lead < 0 or lead != result.rank - rest:
        return "the operands have different ranks"
    for i in range(lead):
        if o.dims[i] != result.dims[i] and (full or o.dims[i] != 1):
            return "the dimensions of the batch do not fit"
    if core > 0 and o.dims[lead] != length:
        return "an operand does not belong to this pattern"
    if letter == c"x":
        if columns[0] != -1 and columns[0] != o.dims[lead + 1]:
            return "the operands have different numbers of vectors"
        columns[0] = o.dims[lead + 1]
    return NULL


cdef inline const char *signature_of(const Work *w) noexcept nogil:
    """The signature from the result on."""
    return signatures[w.call.operation] + w.call.operands + 1


cdef inline bint is_congruence(int operation) noexcept nogil:
    return GRAM <= operation <= GRAM_WEIGHTS


cdef const char *prepare(const View *view, const Call *call, Work *w) noexcept nogil:
    """Check everything a caller has given, and find the arrays of each matrix."""
    cdef const char *signature
    cdef const char *error
    cdef const Operand *o
    cdef Py_ssize_t i, own, lead, columns = -1
    cdef int q
    memset(w, 0, sizeof(Work))
    signature = signature_for(call.operation)
    if signature == NULL:
        return "no such operation"
    if <int>strlen(signature) != call.operands + 2:
        return "wrong number of operands"
    if ((view.members != NULL) != (CSC_TRIANGLE_SOLVE <= call.operation <= CSC_TRIANGLE_OUTER)
            or (view.gram != NULL) != is_congruence(call.operation)):
        return "this pattern is of another kind"
    w.view = view
    w.call = call
    w.kind = call.operand[0].kind if is_real(signature_of(w)[0]) else call.result.kind
    lead = call.result.rank - core_rank(signature_of(w)[0])
    w.batch = 1
    for i in range(lead):
        w.batch *= call.result.dims[i]
    for q in range(call.operands):
        error = check(w, signature[q], &call.operand[q], False, &columns)
        if error != NULL:
            return error
    error = check(w, signature_of(w)[0], &call.result, True, &columns)
    if error != NULL:
        return error
    w.columns = max(columns, <Py_ssize_t>0)
    if w.batch >= INT32_MAX or w.batch * max(w.columns, <Py_ssize_t>1) >= INT32_MAX:
        return "the batch is too large"
    w.threads = threads_for(w)
    w.result_bytes = bytes_of(w, signature_of(w)[0])
    for q in range(call.operands):
        o = &call.operand[q]
        w.bytes[q] = bytes_of(w, signature[q])
        own = 1
        for i in range(lead):
            own *= o.dims[i]
        w.operand[q] = Many(data=o.data, which=NULL)
        if own != w.batch:
            if w.tables == NULL:
                w.tables = <int64_t *>malloc(sizeof(int64_t) * (MOST_OPERANDS * w.batch + 1))
                if w.tables == NULL:
                    return no_memory
            w.operand[q].which = share(w, o, w.tables + q * w.batch)
    return NULL


cdef Py_ssize_t bytes_of(const Work *w, char letter) noexcept nogil:
    """Bytes of one array."""
    cdef Py_ssize_t length = length_of(w.view, letter)
    if letter == c"x":
        length *= w.columns
    return length * size_of(real_of(w.kind) if is_real(letter) else w.kind)


cdef int64_t *share(const Work *w, const Operand *o, int64_t *table) noexcept nogil:
    """The number of the array that each matrix of the batch has."""
    cdef const int64_t *dims = w.call.result.dims
    cdef Py_ssize_t lead = w.call.result.rank - core_rank(signature_of(w)[0])
    cdef Py_ssize_t k, i
    cdef int64_t rest, step
    for k in range(w.batch):
        rest = k
        step = 1
        table[k] = 0
        for i in range(lead - 1, -1, -1):
            if o.dims[i] != 1:
                table[k] += rest % dims[i] * step
                step *= dims[i]
            rest //= dims[i]
    return table


cdef enum:
    WORTH_WAKING = 20_000       # entries of the factors of a batch that are worth more threads


cdef int threads_for(const Work *w) noexcept nogil:
    """Threads that gain something."""
    if w.batch == 1:
        if w.view.gram != NULL:
            return w.call.threads
        return min(w.call.threads, useful_threads(w.view.p, w.columns))
    if w.batch * w.view.p.size < WORTH_WAKING:
        return 1
    return <int>min(<Py_ssize_t>w.call.threads, w.batch)


cdef const char *perform(const View *view, const Call *call) noexcept nogil:
    """Carry out one operation; NULL, or what is wrong with the call."""
    cdef Work w
    cdef const char *error = prepare(view, call, &w)
    if error == NULL and w.batch > 0:
        if view.p.n == 0:
            memset(call.result.data, 0, w.batch * w.result_bytes)
            if call.operation == RCOND:
                fill(w.kind, w.batch * w.result_bytes, 1, call.result.data)
        elif w.result_bytes:
            prefer_large_pages(call.result.data, w.batch * w.result_bytes)
            error = dispatch(&w)
    free(w.tables)
    return error


cdef const char *dispatch(const Work *w) noexcept nogil:
    cdef int operation = w.call.operation
    cdef bint done
    if operation == CHOLESKY or operation == LDL:
        done = factor(w, NULL, w.call.result.data)
    elif operation == LDL_SIGNS or operation == REPLACED_PIVOTS:
        done = factor_with_signs(w)
    elif operation == TANGENT or operation == TANGENT_PANELS:
        done = differentiate(w, derivative_sweeps.TANGENT)
    elif operation == ADJOINT:
        done = differentiate(w, derivative_sweeps.ADJOINT)
    elif operation == OUTER:
        done = differentiate(w, derivative_sweeps.OUTER)
    elif operation == INNER:
        done = differentiate(w, derivative_sweeps.INNER)
    elif operation == SANDWICH:
        done = differentiate(w, derivative_sweeps.SANDWICH)
    elif operation == PARTIAL_INVERSE:
        done = invert_on_panels(w)
    elif operation == GATHERED_INVERSE:
        done = invert_on_pattern(w)
    elif operation == SOLVE or operation == SOLVE_TRIANGULAR:
        done = solve_factored(w)
    elif operation == RCOND or is_congruence(operation):
        done = apply_with_answers(w)
    elif operation == CSC_TRIANGLE_SOLVE:
        done = solve_csc_triangle(w)
    elif PROMOTED_LOGDET <= operation <= PROMOTED_SANDWICH:
        return promoted(w)
    else:
        done = apply_per_matrix(w)
    if done:
        return NULL
    return no_memory


# ---- sweeps of the tree ----


cdef void *workspace(const Work *w, Py_ssize_t scalars) noexcept nogil:
    cdef size_t bytes = size_of(w.kind) * scalars + 1
    cdef void *work = malloc(bytes)
    prefer_large_pages(work, bytes)
    return work


cdef bint factor(const Work *w, const pivot_rule *rule, char *panels) noexcept nogil:
    """Factor each matrix; by a rule, for pivots of both signs without one, or positive ones."""
    cdef void *work = workspace(w, factor_space(w.view.p, w.batch, w.threads))
    cdef double least = REFUSED_ROUNDINGS * (
        FLT_EPSILON if real_of(w.kind) == FLOAT else DBL_EPSILON)
    cdef bint accept_weak = w.call.flags & ACCEPT_WEAK != 0
    cdef Py_ssize_t k, bytes = bytes_of(w, c"l")
    cdef Outcome *outcomes = NULL
    cdef pivot_rule any_sign
    memset(&any_sign, 0, sizeof(pivot_rule))
    if rule == NULL and w.call.operation == LDL:
        rule = &any_sign
    if work != NULL:
        outcomes = factor_all(w.view.p, w.kind, w.batch, w.operand[0], panels, rule, work,
                              w.threads)
    free(work)
    if outcomes == NULL:
        return False
    for k in range(w.batch):
        if (outcomes[k].failed != INT32_MAX or not outcomes[k].ratio > least and not accept_weak
                or not outcomes[k].growth * least < 1):
            fill(w.kind, bytes, NAN, panels + k * bytes)
    free(outcomes)
    return True


cdef bint factor_with_signs(const Work *w) noexcept nogil:
    """Factor each matrix with its signs, all at once where these are the same."""
    cdef Work one = w[0]
    cdef Py_ssize_t k
    cdef bint same = True
    for k in range(1, w.batch):
        same = same and array_of(&w.operand[1], w.bytes[1], k) == w.operand[1].data
    if same:
        return factor_expected(w, w.call.result.data)
    one.batch = 1
    for k in range(w.batch):
        one.operand[0] = Many(data=array_of(&w.operand[0], w.bytes[0], k), which=NULL)
        one.operand[1] = Many(data=array_of(&w.operand[1], w.bytes[1], k), which=NULL)
        if not factor_expected(&one, w.call.result.data + k * w.result_bytes):
            return False
    return True


cdef bint factor_expected(const Work *w, char *result) noexcept nogil:
    """Factor with the signs of the first matrix for all of them."""
    cdef Py_ssize_t n = w.view.p.n, j, k
    cdef const char *signs = array_of(&w.operand[1], w.bytes[1], 0)
    cdef bint flags = w.call.operation == REPLACED_PIVOTS
    cdef int real_kind = real_of(w.kind)
    cdef double sign
    cdef int8_t *expected = <int8_t *>malloc(n)
    cdef uint8_t *replaced = <uint8_t *>calloc(n, w.batch)
    cdef char *panels = result
    cdef pivot_rule rule
    cdef bint done = False
    if flags:
        panels = <char *>malloc(w.batch * bytes_of(w, c"l") + 1)
    if expected != NULL and replaced != NULL and panels != NULL:
        for j in range(n):
            k = w.view.order[j]
            sign = (<const float *>signs)[k] if real_kind == FLOAT else (<const double *>signs)[k]
            expected[j] = 1 if sign > 0 else -1
        rule = pivot_rule(expected=expected, least=w.call.diagonal, replacement=w.call.below,
                          replaced=replaced, sums=NULL, weighed=NULL)
        done = factor(w, &rule, panels)
    if flags:
        free(panels)
        for k in range(w.batch if done else 0):
            for j in range(n):
                if real_kind == FLOAT:
                    (<float *>result)[k * n + w.view.order[j]] = replaced[k * n + j]
                else:
                    (<double *>result)[k * n + w.view.order[j]] = replaced[k * n + j]
    free(expected)
    free(replaced)
    return done


cdef void fill(int kind, Py_ssize_t bytes, double value, char *array) noexcept nogil:
    """Every real number of an array <- value."""
    cdef int part = real_of(kind)
    cdef Py_ssize_t i
    for i in range(bytes // size_of(part)):
        if part == FLOAT:
            (<float *>array)[i] = <float>value
        else:
            (<double *>array)[i] = value


cdef bint differentiate(const Work *w, Kind what) noexcept nogil:
    """Run one of the sweeps of `derivative_sweeps`."""
    cdef Arrays arrays
    cdef void *work = workspace(w, derivative_space(w.view.p, what, w.batch, w.threads))
    cdef bint done
    memset(&arrays, 0, sizeof(arrays))
    if what == derivative_sweeps.TANGENT:
        arrays.factor = w.operand[0]
        if w.call.operation == TANGENT:
            arrays.values = w.operand[1]
        else:
            arrays.flat = w.operand[1]
    elif what == derivative_sweeps.ADJOINT:
        arrays.factor = w.operand[0]
        arrays.x = w.operand[1]
    elif what == derivative_sweeps.OUTER:
        arrays.x = w.operand[0]
        arrays.y = w.operand[1]
    elif what == derivative_sweeps.INNER:
        arrays.s = w.operand[0]
        arrays.y = w.operand[1]
    else:
        arrays.factor = w.operand[0]
        arrays.s = w.operand[1]
        arrays.y = w.operand[2]
    done = work != NULL and derivative_all(w.view.p, what, w.kind, w.batch, &arrays,
                                           w.call.result.data, work, w.threads)
    free(work)
    return done


cdef bint invert(const Work *w, char *panels, Packed packed) noexcept nogil:
    """The partial inverse of each matrix, on the panels or on the pattern of A."""
    cdef void *work = workspace(w, inverse_space(w.view.p, packed, w.batch, w.threads))
    cdef bint done = work != NULL and invert_all(
        w.view.p, w.kind, w.batch, w.operand[0], panels, packed, work, w.threads)
    free(work)
    return done


cdef bint invert_on_panels(const Work *w) noexcept nogil:
    return invert(w, w.call.result.data, on_panels())


cdef bint invert_on_pattern(const Work *w) noexcept nogil:
    """With panels for each thread, in cache, in the place of panels for each matrix."""
    cdef Packed packed = Packed(data=w.call.result.data, diagonal=w.call.diagonal,
                                below=w.call.below)
    cdef char *panels
    cdef bint done
    if w.batch > 1:
        return invert(w, NULL, packed)
    panels = <char *>workspace(w, w.view.p.size)
    done = panels != NULL and invert(w, panels, on_panels())
    if done:
        gather_kind(w.view.p, w.kind, panels, packed.diagonal, packed.below, packed.data)
    free(panels)
    return done


cdef inline bint lower_of(const Work *w) noexcept nogil:
    return w.call.flags & LOWER != 0


cdef inline const int32_t *rows_of(const Work *w, bint solution) noexcept nogil:
    """The row at each place, of the solution or of the right-hand side of a triangular system."""
    if w.call.flags & PERMUTE and solution != lower_of(w):
        return w.view.order
    return w.view.post


cdef bint solve_factored(const Work *w) noexcept nogil:
    cdef int block = <int>min(<Py_ssize_t>RHS_BLOCK, w.columns)
    cdef System system
    cdef Py_ssize_t k
    cdef bint done
    memset(&system, 0, sizeof(system))
    system.p = w.view.p
    system.kind = w.kind
    system.factor = w.operand[0]
    system.b = w.call.result.data
    system.strides[0] = w.view.p.n * w.columns
    system.strides[1] = w.columns
    system.strides[2] = 1
    system.columns = w.columns
    system.block = block
    if w.call.operation == SOLVE:
        system.lower = system.upper = True
        system.signs = w.call.flags & SIGNED != 0
        system.inward = system.outward = w.view.order
    else:
        system.lower = lower_of(w)
        system.upper = not system.lower
        system.inward = rows_of(w, False)
        system.outward = rows_of(w, True)
    for k in range(w.batch):
        memcpy(system.b + k * w.result_bytes, array_of(&w.operand[1], w.bytes[1], k),
               w.result_bytes)
    system.work = <char *>workspace(w, solve_space(w.view.p, block, w.threads))
    done = system.work != NULL and solve_all(&system, w.batch, w.threads)
    free(system.work)
    return done


cdef bint apply_with_answers(const Work *w) noexcept nogil:
    """Matrix by matrix, with a number for each that says whether there was memory."""
    cdef Work with_room = w[0]
    cdef Py_ssize_t k
    cdef bint done
    with_room.room = <char *>malloc(w.batch)
    done = with_room.room != NULL and apply_per_matrix(&with_room)
    for k in range(w.batch if done else 0):
        done = done and with_room.room[k] != 0
    free(with_room.room)
    return done


cdef bint estimate_condition(const Work *w, const scalar *l, const scalar *a,
                             char *out) noexcept nogil:
    """The reciprocal condition number of one matrix."""
    cdef const View *view = w.view
    cdef double rcond = NAN
    cdef bint done = reciprocal_condition(
        view.p, view.indptr, view.indices, a, l, w.call.flags & UNSCALED == 0,
        w.call.flags & QUICK != 0, w.threads if w.batch == 1 else 1, &rcond)
    fill(w.kind, w.result_bytes, rcond, out)
    return done


cdef bint form_congruence(const Work *w, Py_ssize_t k) noexcept nogil:
    """A congruence of one matrix, or an adjoint of it."""
    cdef int operation = w.call.operation
    return congruence(
        w.view.gram, w.view.p, w.view.indptr, w.view.indices,
        FORM if operation == GRAM else ROWS if operation == GRAM_ROWS else WEIGHTS, w.kind,
        array_of(&w.operand[0], w.bytes[0], k), array_of(&w.operand[1], w.bytes[1], k),
        array_of(&w.operand[2], w.bytes[2], k), w.call.result.data + k * w.result_bytes,
        w.threads if w.batch == 1 else 1)


# ---- single passes over the arrays ----


cdef bint solve_csc_triangle(const Work *w) noexcept nogil:
    """Matrix by matrix, with room for a diagonal for each."""
    cdef Work with_room = w[0]
    cdef bint done
    with_room.room = <char *>workspace(w, w.batch * w.view.p.n)
    done = with_room.room != NULL and apply_per_matrix(&with_room)
    free(with_room.room)
    return done


cdef void substitute_csc_triangle(const Work *w, const scalar *values, const scalar *b,
                                  scalar *diagonal, scalar *x) noexcept nogil:
    """T x = b, or T^H x = b."""
    cdef const View *view = w.view
    cdef Py_ssize_t j, n = view.p.n
    cdef bint lower = lower_of(w)
    memcpy(x, b, w.result_bytes)
    for j in range(n):
        diagonal[j] = values[view.indptr[j]]
        if not lower:
            diagonal[j] = conjugate(diagonal[j])
    substitute(n, view.indptr, view.members, values, <const scalar *>diagonal, x, w.columns, lower,
               lower, not lower)


cdef void take_logarithms(const Work *w, Py_ssize_t group, const scalar *tag) noexcept nogil:
    """The log-determinants of a few matrices."""
    cdef const scalar *factor[AT_ONCE]
    cdef double out[AT_ONCE]
    cdef Py_ssize_t first = group * <Py_ssize_t>AT_ONCE
    cdef int v, count = <int>min(w.batch - first, <Py_ssize_t>AT_ONCE)
    for v in range(count):
        factor[v] = <const scalar *>array_of(&w.operand[0], w.bytes[0], first + v)
    log_determinants(w.view.p, count, factor, out)
    for v in range(count):
        if scalar is float or scalar is floatcomplex:
            (<float *>w.call.result.data)[first + v] = <float>out[v]
        else:
            (<double *>w.call.result.data)[first + v] = out[v]


cdef bint apply_per_matrix(const Work *w) noexcept nogil:
    """Matrix by matrix, on several threads if there are several."""
    cdef Py_ssize_t items = w.batch
    cdef void *scratch
    if w.call.operation == LOGDET:
        items = (items + AT_ONCE - 1) // AT_ONCE
    scratch = malloc(pool_scratch(<int32_t>items, w.threads) + 1)
    if scratch == NULL:
        return False
    if items > 1:
        pool_run(w.threads, <int32_t>items, NULL, POOL_UP, NULL, apply_item, <void *>w, scratch)
    else:
        apply(w, 0)
    free(scratch)
    return True


cdef void apply_item(void *context, int32_t k, pool_worker *worker) noexcept nogil:
    apply(<const Work *>context, k)


cdef void apply(const Work *w, Py_ssize_t k) noexcept nogil:
    if is_congruence(w.call.operation):
        w.room[k] = form_congruence(w, k)
    elif w.kind == DOUBLE:
        apply_typed(w, k, <const double *>NULL)
    elif w.kind == FLOAT:
        apply_typed(w, k, <const float *>NULL)
    elif w.kind == DOUBLE_COMPLEX:
        apply_typed(w, k, <const double complex *>NULL)
    else:
        apply_typed(w, k, <const float complex *>NULL)


cdef void apply_typed(const Work *w, Py_ssize_t k, const scalar *tag) noexcept nogil:
    cdef const View *view = w.view
    cdef const Call *call = w.call
    cdef Py_ssize_t n = view.p.n
    cdef const scalar *first = <const scalar *>array_of(&w.operand[0], w.bytes[0], k)
    cdef const scalar *second = <const scalar *>array_of(&w.operand[1], w.bytes[1], k)
    cdef scalar *out = <scalar *>(call.result.data + k * w.result_bytes)
    cdef const int32_t *of_x = rows_of(w, True)
    cdef const int32_t *of_b = rows_of(w, False)
    if call.operation == CSC_TRIANGLE_SOLVE:
        substitute_csc_triangle(w, first, second, <scalar *>w.room + k * n, out)
    elif call.operation == CSC_TRIANGLE_PRODUCT:
        multiply_triangle(n, view.indptr, view.members, first, not lower_of(w), second, w.columns,
                          out)
    elif call.operation == CSC_TRIANGLE_OUTER:
        if lower_of(w):
            sample_triangle(n, view.indptr, view.members, first, second, w.columns, out)
        else:
            sample_triangle(n, view.indptr, view.members, second, first, w.columns, out)
    elif call.operation == PRODUCT:
        multiply_hermitian(n, view.indptr, view.indices, first, second, w.columns, out)
    elif call.operation == SAMPLED_OUTER:
        sample_outer(n, view.indptr, view.indices, first, second, w.columns, out)
    elif call.operation == FACTOR_PRODUCT:
        multiply_factor(view.p, first, second, w.columns, not lower_of(w), of_x, of_b, out)
    elif call.operation == FACTOR_OUTER:        # of b and x
        if lower_of(w):
            sample_factor(view.p, first, second, w.columns, of_b, of_x, out)
        else:
            sample_factor(view.p, second, first, w.columns, of_x, of_b, out)
    elif call.operation == LOGDET:
        take_logarithms(w, k, <const scalar *>NULL)
    elif call.operation == RCOND:
        w.room[k] = estimate_condition(w, first, second, <char *>out)
    elif call.operation == DIAGONAL:
        read_diagonal(view.p, first, out)
    elif call.operation == PLACE_DIAGONAL:
        write_diagonal(view.p, first, out)
    elif call.operation == GATHER:
        gather_panels(view.p, first, call.diagonal, call.below, out)
    elif call.operation == SCATTER:
        scatter_panels(view.p, first, call.diagonal, call.below, out)
    elif call.operation == TURN:
        turn_panels(view.p, first, second, out)
    elif call.operation == WEIGH:
        weigh_entries(view.p, first, call.diagonal, call.below, out)
    elif call.operation == ENTRIES:
        read_places(first, view.entries, view.entry_count, out)
    elif call.operation == PLACE_ENTRIES:
        write_places(view.p.size, first, view.entries, view.entry_count, out)
    elif call.operation == FOLD:
        fold(view.indptr, n, view.sources, view.full_count, first, call.diagonal, call.below, out)
    else:
        unfold(view.indptr, n, view.sources, view.full_count, first, call.diagonal, call.below,
               out)


# ---- in double precision ----


cdef enum:
    PROMOTED_ARRAYS = 8         # most arrays in double precision at once


cdef struct Promotion:
    # Arrays in double precision.
    int kind
    Py_ssize_t lead
    int64_t *dims
    char *data[PROMOTED_ARRAYS]
    int count


cdef const char *promoted(const Work *w) noexcept nogil:
    cdef Promotion arrays
    cdef const char *error
    cdef int k
    memset(&arrays, 0, sizeof(arrays))
    if w.kind != FLOAT and w.kind != FLOAT_COMPLEX:
        return "values in single precision are needed"
    arrays.kind = DOUBLE if w.kind == FLOAT else DOUBLE_COMPLEX
    arrays.lead = w.call.result.rank - core_rank(signature_of(w)[0])
    arrays.dims = <int64_t *>malloc(sizeof(int64_t) * PROMOTED_ARRAYS * (arrays.lead + 2))
    error = run_promoted(w, &arrays) if arrays.dims != NULL else no_memory
    for k in range(arrays.count):
        free(arrays.data[k])
    free(arrays.dims)
    return error


cdef Operand array_like(const Work *w, Promotion *arrays, char letter,
                        const Operand *other) noexcept nogil:
    """A new array with the dimensions of a batch of another; its data NULL without memory."""
    cdef Operand o
    cdef int64_t *dims = arrays.dims + arrays.count * (arrays.lead + 2)
    cdef Py_ssize_t i, length = 1
    o.kind = DOUBLE if is_real(letter) else arrays.kind
    o.rank = arrays.lead + core_rank(letter)
    o.dims = dims
    for i in range(arrays.lead):
        dims[i] = other.dims[i]
    if core_rank(letter) > 0:
        dims[arrays.lead] = length_of(w.view, letter)
    if letter == c"x":
        dims[arrays.lead + 1] = w.columns
    for i in range(o.rank):
        length *= dims[i]
    o.data = <char *>malloc(size_of(o.kind) * length + 1)
    prefer_large_pages(o.data, size_of(o.kind) * length)
    arrays.data[arrays.count] = o.data
    arrays.count += 1
    return o


cdef inline Py_ssize_t reals_of(const Operand *o) noexcept nogil:
    """Real numbers in an array."""
    cdef Py_ssize_t i, length = 2 if o.kind > DOUBLE else 1
    for i in range(o.rank):
        length *= o.dims[i]
    return length


cdef void promote(const Operand *operand, const Operand *result) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(reals_of(operand)):
        (<double *>result.data)[i] = (<const float *>operand.data)[i]


cdef void demote(const Operand *operand, const Operand *result) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(reals_of(result)):
        (<float *>result.data)[i] = <float>(<const double *>operand.data)[i]


cdef const char *perform_promoted(const Work *w, int operation, int count, const Operand *a,
                                  const Operand *b, const Operand *c,
                                  const Operand *result) noexcept nogil:
    """One operation among arrays in double precision."""
    cdef Call call = w.call[0]
    call.operation = operation
    call.operands = count
    if a.data == NULL or b.data == NULL or c.data == NULL or result.data == NULL:
        return no_memory
    call.operand[0] = a[0]
    call.operand[1] = b[0]
    call.operand[2] = c[0]
    call.result = result[0]
    return perform(w.view, &call)


cdef const char *run_promoted(const Work *w, Promotion *arrays) noexcept nogil:
    cdef int operation = w.call.operation
    cdef const Operand *first = &w.call.operand[0]
    cdef const Operand *second = &w.call.operand[1]
    cdef char letter = signature_of(w)[0]
    cdef Operand a = array_like(w, arrays, c"a", first)
    cdef Operand panels, s, x, out
    cdef const char *error
    if a.data == NULL:
        return no_memory
    promote(first, &a)
    panels = array_like(w, arrays, c"l", first)
    error = perform_promoted(w, CHOLESKY, 1, &a, &a, &a, &panels)
    if error != NULL:
        return error
    out = array_like(w, arrays, letter, &w.call.result)
    if operation == PROMOTED_LOGDET:
        error = perform_promoted(w, LOGDET, 1, &panels, &panels, &panels, &out)
    elif operation == PROMOTED_SOLVE:
        x = array_like(w, arrays, c"x", second)
        if x.data == NULL:
            return no_memory
        promote(second, &x)
        error = perform_promoted(w, SOLVE, 2, &panels, &x, &x, &out)
    else:
        s = array_like(w, arrays, c"l", first)
        error = perform_promoted(w, PARTIAL_INVERSE, 1, &panels, &panels, &panels, &s)
        if error == NULL and operation == PROMOTED_PARTIAL_INVERSE:
            error = perform_promoted(w, GATHER, 1, &s, &s, &s, &out)
        elif error == NULL:
            error = promoted_sandwich(w, arrays, &panels, &s, &out)
    if error == NULL:
        demote(&out, &w.call.result)
    return error


cdef const char *promoted_sandwich(const Work *w, Promotion *arrays, const Operand *factor_,
                                   const Operand *s, const Operand *out) noexcept nogil:
    """A^-1 M A^-1 from the factor and the partial inverse."""
    cdef const Operand *result = &w.call.result
    cdef Operand m = array_like(w, arrays, c"a", &w.call.operand[1])
    cdef Operand x = array_like(w, arrays, c"l", result)
    cdef Operand h = array_like(w, arrays, c"l", result)
    cdef const char *error
    if m.data == NULL:
        return no_memory
    promote(&w.call.operand[1], &m)
    error = perform_promoted(w, TANGENT, 2, factor_, &m, &m, &x)
    if error == NULL:
        error = perform_promoted(w, SANDWICH, 3, factor_, s, &x, &h)
    if error == NULL:
        error = perform_promoted(w, GATHER, 1, &h, &h, &h, out)
    return error
