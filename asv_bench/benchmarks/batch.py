"""Many matrices of one pattern at once."""

from ..batch import LOOPS, MODELS, work_of
from . import peers


class Batch:
    params = (list(MODELS), ["batch", *LOOPS])
    param_names = ("model", "solver")
    timeout = 300

    def setup(self, model, solver):
        if solver != "batch" and not peers.installed(solver):
            raise NotImplementedError(f"{solver} is not installed")
        loops = [] if solver == "batch" else [solver]
        self.work = work_of(MODELS[model](), loops)[solver]

    def time_factorize_solve_logdet(self, model, solver):
        self.work()
