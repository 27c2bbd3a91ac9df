"""One driver for all sweeps of the tree, up or down, on one matrix or on a batch.

A sweep says what it does with one task of the tree (a function for each scalar type), in which
direction, and what workspace a thread needs. A front function sees a `Sweep`: the arrays of one
matrix, and where the thread that runs it works.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from sparsechol._core.numeric.dense cimport Crew
from sparsechol._core.parallel.pool cimport pool_task
from sparsechol._core.symbolic.structure cimport Pattern, Plan


cdef struct Many:
    # One array for each matrix of a batch; several matrices may have the same one.
    const char *data            # NULL: there is none
    const int64_t *which        # (batch) number of each matrix's array; NULL: each has its own


cdef inline Many each(const void *data) noexcept nogil:
    """An array of its own for each matrix."""
    return Many(data=<const char *>data, which=NULL)


cdef inline const char *array_of(const Many *many, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """The array of matrix k, each of so many bytes."""
    if many.data == NULL:
        return NULL
    return many.data + stride * (many.which[k] if many.which != NULL else k)


cdef struct Arrays:
    # What a sweep reads; an array that it has no use for is NULL.
    Many values             # on the pattern of A: fronts are opened with them,
    Many flat               # or with flat panels
    Many factor             # L
    Many s                  # Hermitian, known on the panels
    Many x                  # lower triangular on the panels
    Many y


cdef struct Packed:
    # Entries on the pattern of A, which a sweep of a batch gives in the place of panels.
    char *data              # NULL: it gives panels
    double diagonal         # weights of entries on and below the diagonal
    double below


cdef inline Packed on_panels() noexcept nogil:
    return Packed(data=NULL, diagonal=1, below=1)


cdef struct FrontContext:
    # Where a thread works on fronts: everything but `own` is the same for all threads.
    const Pattern *p
    const Plan *plan
    int kind                # scalar type
    const void *a           # what fronts are opened with: values on the pattern of A,
    const void *flat        # or flat panels; NULL: nothing
    void *panels            # the flat result, panel after panel
    void *shared            # square matrices that go from task to task
    void *own               # square matrices of this thread
    Crew crew               # this thread and those that help it


cdef struct SweepJob         # below


cdef struct Sweep:
    # What a thread works with on one matrix.
    const SweepJob *job
    Py_ssize_t matrix       # its number in the batch; of matrices side by side that of the first
    int *again              # the bits of those that are to be swept again, one by one
    FrontContext ctx        # fronts of the result; squares: the first set
    FrontContext known      # fronts of S; squares: the last set
    const void *factor
    const void *x
    const void *y
    void *out
    void *spare
    void *panels            # side by side: those of L, X and Y that a step has copied,
    void *packed            # and the result on the pattern of A


# One task. The last argument, NULL, carries the type (see `tag` in dense.pxd).
ctypedef void (*task_function)(const Sweep *sweep, int32_t t, const void *tag) noexcept nogil


cdef struct SweepJob:
    # A sweep for one matrix or a batch of them.
    const Pattern *p
    const task_function *tasks  # for each scalar type, and for matrices side by side
    int kind                # scalar type
    int what                # which sweep, where one function does several
    bint up                 # from the leaves up, or from the roots down
    int64_t most_work       # multiplications for an entry of L up to which matrices go side by side
    int squares             # sets of square matrices: 1, or 2 if those of S need their own
    Py_ssize_t spare        # scalars of workspace that a thread needs besides
    Arrays arrays
    char *out               # flat panels,
    Packed packed           # or what they hold on the pattern of A
    void *results           # what a sweep reports besides
    # Set by `run_sweep`.
    const Plan *plan
    Py_ssize_t batch
    int threads
    char *work
    Py_ssize_t groups       # of matrices side by side: the first ones of the batch
    int together            # matrices in a group,
    int kind_together       # entries of all of them,
    char *lanes             # and their workspace


cdef inline SweepJob sweep_job(const Pattern *p, const task_function *tasks,
                               int kind) noexcept nogil:
    """A sweep from the roots down without workspace of its own or arrays yet."""
    cdef SweepJob job
    memset(&job, 0, sizeof(job))
    job.p = p
    job.tasks = tasks
    job.kind = kind
    job.squares = 1
    return job


cdef inline int64_t step_work(const Pattern *p, int32_t s) noexcept nogil:
    """About how many multiplications a front or a simplicial subtree takes."""
    cdef int64_t nc = p.first[s + 1] - p.first[s]
    cdef int64_t rows = nc + p.row_start[s + 1] - p.row_start[s]
    if p.simplicial_root[s] == -1:
        return nc * rows * rows
    return 8 * (p.panel[s + 1] - p.panel[p.begin[s]])


cdef void enter_step(Sweep *sweep, int32_t s) noexcept nogil
cdef void leave_step(const Sweep *sweep, int32_t s) noexcept nogil
cdef bint allowed_side_by_side(bint pays) noexcept nogil
cdef Py_ssize_t sweep_space(const SweepJob *job, Py_ssize_t batch, int threads) noexcept nogil
cdef bint run_sweep(SweepJob *job, Py_ssize_t batch, void *work, int threads) noexcept nogil
cdef void run_tasks(const Plan *plan, bint up, int threads, pool_task run, void *context,
                    void *scratch) noexcept nogil
