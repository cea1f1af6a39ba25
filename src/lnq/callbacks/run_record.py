"""What a run leaves behind so that it can be repeated and its network used."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from lnq.curves import HASH
from lnq.files import sha256, write_json, write_manifest, write_text
from lnq.resuming import FINISHED
from lnq.run_folder import RunFolder


class RunRecord(pl.Callback):
    """Writes `config.yaml` and `manifest.json` into the run's folder, and both into checkpoints.

    Args:
        folder: The run's folder.
        config: The resolved configuration, plain types only: a checkpoint must load without running
            code.
        facts: What inference needs and what the manifest records beside: preprocessing, the store's
            hash, the weights the run began with.
    """

    KEY = "lnq"

    def __init__(self, folder: Path, config: dict[str, Any], facts: dict[str, Any]) -> None:
        self.run = RunFolder(folder)
        self.config = config
        self.facts = facts
        self._manifest: dict[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Called by Lightning before training."""
        if trainer.is_global_zero:
            write_text(
                self.run.config,
                yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True),
            )
            manifest = write_manifest(self.run.path, "train", self.config, **self.facts)
            self._manifest = manifest
            for logger in trainer.loggers:
                record = {k: v for k, v in manifest.items() if k != "config"}
                logger.log_hyperparams({**self.config, "manifest": record})

    def finish(self) -> None:
        """Notes that training came to its end, and the hash of the curves that it left."""
        end = {FINISHED: datetime.now(UTC).isoformat(timespec="seconds")}
        if self.run.curves.is_file():
            end[HASH] = sha256(self.run.curves)
        write_json(self.run.manifest, {**self._manifest, **end})

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the record under the key `lnq`."""
        checkpoint[self.KEY] = {"config": self.config, **self.facts}
