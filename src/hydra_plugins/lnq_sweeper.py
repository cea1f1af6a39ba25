"""Hydra takes sweepers from this namespace alone; this one hands over to the command that runs."""

from __future__ import annotations

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LnqSweeper(Sweeper):
    """Launches what `lnq.config.sweeps` has planned and checked.

    Args:
        jobs: Which jobs there are; `lnq.config.sweeps` has read it already.
    """

    def __init__(self, jobs: Any) -> None:
        self.launcher: Launcher
        self.task_function: Any

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra before `sweep`."""
        self.task_function = task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Called by Hydra: runs the jobs of the command line that `arguments` repeats."""
        self.task_function.run_sweep(self.launcher.launch)
