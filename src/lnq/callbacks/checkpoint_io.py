"""Checkpoints that appear whole or not at all, and are what was written or nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lnq.callbacks.restoring import restorable
from lnq.files import atomic_path
from lnq.networks.checkpoint_file import CHECKSUM, PREVIOUS, RECORD, load_file, values_hash


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, flushes, and renames it into place.

    A checkpoint that is replaced stays as `<name>.previous`, so that a good one is left when the
    disk spoils the newest. The record of `lnq.train` in it gets a hash of everything.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Saves `checkpoint` at `path`."""
        target, content = Path(path), io.BytesIO()
        if RECORD in checkpoint:
            checkpoint[RECORD][CHECKSUM] = values_hash(checkpoint)
        torch.save(checkpoint, content)  # to a file it would hide that the disk is full
        with atomic_path(target) as temporary:
            temporary.write_bytes(content.getbuffer())
            if target.exists():
                previous = target.with_name(target.name + PREVIOUS)
                previous.unlink(missing_ok=True)
                os.link(target, previous)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """What a resumed training takes over of the checkpoint at `path`.

        Raises:
            UsageError: It is damaged, or no checkpoint of a training.
        """
        return restorable(load_file(Path(path)).contents, Path(path))
