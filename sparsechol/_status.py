"""Why a search for a minimum ended: numbers that all faces share, and sentences for Newton's."""

# Positive where a minimum was found. The first four are SciPy's.
MAXITER, GTOL, FTOL, XTOL = 0, 1, 2, 3
NOT_FINITE, SINGULAR, STUCK = -1, -2, -3

NEWTON = {
    MAXITER: "the largest number of iterations was reached (maxiter)",
    FTOL: "the last step promised to change the function by next to nothing (tol)",
    NOT_FINITE: "the function or its derivatives are not finite where the search ended",
    SINGULAR: "the Hessian is not positive definite where the search ended",
    STUCK: "no step changes the function as its derivatives promise: is one of them wrong?",
}
