"""Checkpoints that appear whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lnq.files import atomic_path
from lnq.networks.transfer import PREVIOUS


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, flushes, and renames it into place.

    A checkpoint that is replaced stays as `<name>.previous`, so that a good one is left when the
    disk spoils the newest.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Saves `checkpoint` at `path`."""
        target, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)  # to a file it would hide that the disk is full
        with atomic_path(target) as temporary:
            temporary.write_bytes(content.getbuffer())
            if target.exists():
                previous = target.with_name(target.name + PREVIOUS)
                previous.unlink(missing_ok=True)
                os.link(target, previous)
