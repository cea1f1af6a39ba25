"""Checkpoints that appear whole or not at all, and are what was written or nothing."""

from __future__ import annotations

import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lnq.callbacks.restoring import restorable
from lnq.files import atomic_path
from lnq.networks.checkpoint_file import CHECKSUM, PREVIOUS, RECORD, load_file, values_hash


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, flushes, and renames it into place.

    A checkpoint that is replaced stays as `<name>.previous`, so that a good one is left when the
    disk spoils the newest. The record of `lnq.train` in it gets a hash of everything.

    Args:
        asynchronous: Copy what is saved, and hash and write the copy in a thread while training
            goes on. What goes wrong there is told by the next call.
    """

    def __init__(self, *, asynchronous: bool = False) -> None:
        self._asynchronous = asynchronous
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Saves `checkpoint` at `path`."""
        self._wait()
        if not self._asynchronous:
            _write(checkpoint, Path(path))
            return
        copied = apply_to_collection(checkpoint, torch.Tensor, _copied)
        self._thread = self._thread or ThreadPoolExecutor(1)
        self._writing = self._thread.submit(_write, copied, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """What a resumed training takes over of the checkpoint at `path`.

        Raises:
            UsageError: It is damaged, or no checkpoint of a training.
        """
        self._wait()
        return restorable(load_file(Path(path)).contents, Path(path))

    def teardown(self) -> None:
        """Called by Lightning when training ends, in whatever way: the last one is on the disk."""
        try:
            self._wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)


def _write(checkpoint: dict[str, Any], target: Path) -> None:
    content = io.BytesIO()
    if RECORD in checkpoint:
        checkpoint[RECORD][CHECKSUM] = values_hash(checkpoint)
    torch.save(checkpoint, content)  # to a file it would hide that the disk is full
    with atomic_path(target) as temporary:
        temporary.write_bytes(content.getbuffer())
        if target.exists():
            previous = target.with_name(target.name + PREVIOUS)
            previous.unlink(missing_ok=True)
            os.link(target, previous)
