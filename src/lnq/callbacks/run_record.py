"""What a run leaves behind so that it can be repeated and its network used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from lnq.files import write_manifest, write_text
from lnq.networks.checkpoint_file import RECORD
from lnq.networks.training_record import TrainingRecord
from lnq.run_folder import RunFolder
from lnq.run_manifest import write_finished


class RunRecord(pl.Callback):
    """Writes `config.yaml` and `manifest.json` into the run's folder, and both into checkpoints.

    Args:
        folder: The run's folder.
        record: What the run is.
    """

    def __init__(self, folder: Path, record: TrainingRecord) -> None:
        self.run = RunFolder(folder)
        self.record = record
        self._manifest: dict[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Called by Lightning before training."""
        if trainer.is_global_zero:
            write_text(
                self.run.config,
                yaml.safe_dump(self.record.config, sort_keys=False, allow_unicode=True),
            )
            manifest = write_manifest(
                self.run.path, "train", self.record.config, **self.record.facts()
            )
            self._manifest = manifest
            for logger in trainer.loggers:
                facts = {k: v for k, v in manifest.items() if k != "config"}
                logger.log_hyperparams({**self.record.config, "manifest": facts})

    def finish(self) -> None:
        """Notes that training came to its end, and the hash of the curves that it left."""
        write_finished(self.run, self._manifest)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the record."""
        checkpoint[RECORD] = self.record.to_dict()
