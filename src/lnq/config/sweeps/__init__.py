"""Sweeps: which jobs there are, where they lie, what of them is finished; studies by Optuna."""

from lnq.config.sweeps.gpus import OneGpuEach
from lnq.config.sweeps.jobs import Launch
from lnq.config.sweeps.parent import EndsWithParent
from lnq.config.sweeps.plan import Plan, plan_sweep
from lnq.config.sweeps.points import GridSearch, OneAtATime, Points
from lnq.config.sweeps.study import Study

__all__ = [
    "EndsWithParent",
    "GridSearch",
    "Launch",
    "OneAtATime",
    "OneGpuEach",
    "Plan",
    "Points",
    "Study",
    "plan_sweep",
]
