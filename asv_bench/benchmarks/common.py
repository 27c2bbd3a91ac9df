"""What the benchmark classes share."""

from threadpoolctl import threadpool_limits

from . import THREADS, peers, problems


def matrix(problem):
    """A test matrix; tells asv to skip the benchmark where it is missing."""
    if not problems.available(problem):
        raise NotImplementedError(f"{problem} is not in the folder of real matrices")
    return problems.load(problem)


def solver(problem, name):
    """A solver for a test matrix; tells asv to skip the benchmark where one of them is missing."""
    if not peers.installed(name):
        raise NotImplementedError(f"{name} is not installed")
    made = peers.make(name, matrix(problem))
    # The environment variables came too late for a library that was loaded before this package.
    threadpool_limits(THREADS)
    return made


class Peers:
    """Every problem with every solver: `self.solver`, made by `setup`, freed by `teardown`."""

    params = (problems.NAMES, peers.NAMES)
    param_names = ("problem", "solver")
    timeout = 300

    def setup(self, problem, solver_name, *_):
        self.solver = solver(problem, solver_name)

    def teardown(self, *_):
        if hasattr(self, "solver"):
            self.solver.release()


class Factored(Peers):
    """The same, with the matrix factored by `setup`."""

    def setup(self, problem, solver_name, *_):
        super().setup(problem, solver_name)
        self.solver.analyze()
        self.solver.factorize()
