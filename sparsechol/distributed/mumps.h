/* One instance of MUMPS, in single or double precision, behind one set of names. */

#ifndef SPARSECHOL_MUMPS_H
#define SPARSECHOL_MUMPS_H

#include <smumps_c.h>
#include <dmumps_c.h>

typedef struct {
    int single;
    union {
        SMUMPS_STRUC_C s;
        DMUMPS_STRUC_C d;
    } as;
} mumps_instance;

/* A member that has the same type in both precisions. */
#define MEMBER(m, name) (*((m)->single ? &(m)->as.s.name : &(m)->as.d.name))

/* Sets a member that points to real numbers. */
#define SET_REALS(m, name, array)                 \
    do {                                          \
        if ((m)->single)                          \
            (m)->as.s.name = (float *)(array);    \
        else                                      \
            (m)->as.d.name = (double *)(array);   \
    } while (0)

/* A phase, on all ranks together; INFOG(1). */
static int mumps_run(mumps_instance *m, int job)
{
    MEMBER(m, job) = job;
    if (m->single)
        smumps_c(&m->as.s);
    else
        dmumps_c(&m->as.d);
    return (int)MEMBER(m, infog[0]);
}

static void mumps_start(mumps_instance *m, int comm_fortran, int sym)
{
    MEMBER(m, comm_fortran) = comm_fortran;
    MEMBER(m, par) = 1;
    MEMBER(m, sym) = sym;
}

/* Controls and answers by the numbers of the users' guide, which count from one. */
static void mumps_set_icntl(mumps_instance *m, int k, int value)
{
    MEMBER(m, icntl[k - 1]) = value;
}

static int mumps_infog(mumps_instance *m, int k)
{
    return (int)MEMBER(m, infog[k - 1]);
}

static double mumps_rinfog(mumps_instance *m, int k)
{
    return m->single ? (double)m->as.s.rinfog[k - 1] : m->as.d.rinfog[k - 1];
}

/* This rank's entries, numbered from one. */
static void mumps_set_entries(mumps_instance *m, MUMPS_INT n, MUMPS_INT8 count, MUMPS_INT *rows,
                              MUMPS_INT *columns, void *values)
{
    MEMBER(m, n) = n;
    MEMBER(m, nnz_loc) = count;
    MEMBER(m, irn_loc) = rows;
    MEMBER(m, jcn_loc) = columns;
    SET_REALS(m, a_loc, values);
}

/* Place of each row in the order of elimination, from one; on the host. */
static void mumps_set_places(mumps_instance *m, MUMPS_INT *places)
{
    MEMBER(m, perm_in) = places;
}

/* Dense right-hand sides, column by column; on the host. */
static void mumps_set_columns(mumps_instance *m, MUMPS_INT n, MUMPS_INT count, void *values)
{
    MEMBER(m, nrhs) = count;
    MEMBER(m, lrhs) = n;
    SET_REALS(m, rhs, values);
}

/* Entries of the inverse that are asked for, by column, numbered from one; on the host. */
static void mumps_set_requests(mumps_instance *m, MUMPS_INT n, MUMPS_INT count, MUMPS_INT *starts,
                               MUMPS_INT *rows, void *values)
{
    MEMBER(m, nrhs) = n;
    MEMBER(m, nz_rhs) = count;
    MEMBER(m, irhs_ptr) = starts;
    MEMBER(m, irhs_sparse) = rows;
    SET_REALS(m, rhs_sparse, values);
}

#endif
