"""A trial of an Optuna study is told how its training goes, and is cut short if it is hopeless."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytorch_lightning as pl
from pydantic import Field

from lnq.console import console


class ReportToTrial(pl.Callback):
    """Reports a metric after each validation; ends the training where Optuna prunes the trial.

    A trial is pruned if its best value so far is worse than the median of earlier trials at the
    same epoch.

    Args:
        study: SQLite file of the study, which is the only one in it.
        number: Of the trial.
        metric: What is reported; nothing is, where it was not logged.
        startup_trials: Whole trials before the first one is pruned.
        warmup_epochs: Of each training, before it may be pruned.
    """

    PRUNED = "pruned"

    def __init__(
        self,
        study: Path,
        number: Annotated[int, Field(ge=0)],
        metric: str,
        startup_trials: Annotated[int, Field(ge=1)] = 5,
        warmup_epochs: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.study = study
        self.number = number
        self.metric = metric
        self.startup_trials = startup_trials
        self.warmup_epochs = warmup_epochs
        self.pruned = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Called by Lightning after each validation."""
        value = trainer.callback_metrics.get(self.metric)
        if value is None or not trainer.is_global_zero:
            return
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)  # else a worker tells of each loading
        study = optuna.load_study(
            study_name=None,
            storage=f"sqlite:///{self.study.absolute()}",
            pruner=optuna.pruners.MedianPruner(self.startup_trials, self.warmup_epochs),
        )
        # Optuna has no public way to a trial of another process.
        trial = optuna.Trial(study, study.trials[self.number]._trial_id)
        epoch = trainer.current_epoch
        if epoch not in study.trials[self.number].intermediate_values:  # a resumed run's may be
            trial.report(float(value), epoch)
        if trial.should_prune():
            trial.set_user_attr(self.PRUNED, True)
            self.pruned = trainer.should_stop = True
            console().print(f"pruned after epoch {epoch + 1}: {self.metric} {float(value):.4g}")
