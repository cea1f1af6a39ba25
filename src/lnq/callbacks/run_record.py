"""What a run leaves behind so that it can be repeated and its network used."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from lnq.curves import HASH
from lnq.files import sha256, write_json, write_manifest, write_text
from lnq.networks.training_record import KEY, TrainingRecord
from lnq.resuming import FINISHED
from lnq.run_folder import RunFolder


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
        end = {FINISHED: datetime.now(UTC).isoformat(timespec="seconds")}
        if self.run.curves.is_file():
            end[HASH] = sha256(self.run.curves)
        write_json(self.run.manifest, {**self._manifest, **end})

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the record."""
        checkpoint[KEY] = self.record.to_dict()
