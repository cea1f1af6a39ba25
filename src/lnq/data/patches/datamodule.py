"""Patches for training and whole volumes for validation, from a store of preprocessed cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytorch_lightning as pl
import torch
import torchio as tio
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from lnq.acceleration import available_cpus
from lnq.box import PatchSize
from lnq.data.datasets.folds import Fold
from lnq.data.patches.batch import Batch
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.known import KnownBackground
from lnq.data.patches.loader import PatchLoader, PatchStream
from lnq.data.patches.pasting import NodePasting
from lnq.data.patches.queue import DrawSampler, PatchQueue, collate
from lnq.data.store.case_store import CaseStore
from lnq.data.store.training_cases import training_cases
from lnq.errors import CaseError, RunError, UsageError

QUEUED_BATCHES = 4
MOST_WORKERS = 16
"""Of one training: they cut more patches than any GPU of today uses."""


class PatchDataModule(pl.LightningDataModule):
    """Feeds training from a store through a TorchIO queue.

    The patch of a step is a function of (seed, step), so that a resumed run sees what an
    uninterrupted one would have seen.

    Args:
        store: Folder that `lnq.preprocess` wrote.
        patch_size: z, y, x in voxels.
        batch_size: Patches of a batch on each device.
        steps_per_epoch: Batches of an epoch.
        foreground_share: Share of the patches centred on an annotated voxel.
        transform: Augmentation or corruption of each patch.
        num_workers: Processes that cut and transform; 0 = in the training process; `auto` = for a
            GPU its share of the CPUs there are, less one; one on a CPU.
        seed: Seed of the patches.
        overfit: Train on the first batch alone, over and over.
        holdout: Share of the patients with annotations that training never sees, drawn by the seed.
        fold: Of a cross-validation by patient: training never sees whom it leaves out, validation
            does; None = the splits as they are.
        folds: How many, drawn by the seed of all patients of `train` and `val`.
        splits: A `splits_final.json` in nnU-Net's form that lists the folds instead.
        known_background: What counts as such.
        knows_background: Whether the method asks for it.
        pasting: Adds annotated nodes to some patches; None = none.

    Raises:
        UsageError: There is no training case, or nobody can be held out.
    """

    def __init__(
        self,
        store: Path,
        patch_size: PatchSize,
        batch_size: Annotated[int, Field(ge=1)] = 2,
        steps_per_epoch: Annotated[int, Field(ge=1)] = 250,
        foreground_share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        transform: Callable[[tio.Subject], tio.Subject] | None = None,
        num_workers: Literal["auto"] | Annotated[int, Field(ge=0)] = 0,
        seed: int = 0,
        overfit: bool = False,
        holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        fold: Annotated[int, Field(ge=0)] | None = None,
        folds: Annotated[int, Field(ge=2)] = 5,
        splits: Path | None = None,
        known_background: KnownBackground = KnownBackground(),
        knows_background: bool = False,
        pasting: NodePasting | None = None,
    ) -> None:
        super().__init__()
        self.store = CaseStore(Path(store))
        chosen = None if fold is None else Fold(fold, folds, splits)
        self.cases = training_cases(self.store, holdout, seed, chosen)
        if not self.cases.trained:
            raise UsageError(
                "no training cases", where=self.store.root,
                remedy="run lnq.preprocess on a dataset that has some",
            )  # fmt: skip
        rule = PatchRule(self.cases.trained, patch_size, foreground_share, seed)
        self.patches = PatchDataset(
            self.store, rule, transform, known_background, knows_background, pasting
        )
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.num_workers = num_workers
        self.overfit = overfit
        self._stream: PatchStream | None = None

    def train_dataloader(self) -> PatchLoader:
        """The batches of the current epoch; the trainer asks anew each epoch."""
        trainer = self.trainer
        step, epoch = (0, 0) if trainer is None else (trainer.global_step, trainer.current_epoch)
        steps = range(step, (epoch + 1) * self.steps_per_epoch)
        return PatchLoader(self._stream_at, steps, self.steps_per_epoch)

    def teardown(self, stage: str) -> None:
        """Called by Lightning when training ends well: ends the processes that cut patches."""
        self._close()

    def on_exception(self, exception: BaseException) -> None:
        """Called by Lightning when training ends otherwise; the same."""
        self._close()

    def _stream_at(self, step: int) -> PatchStream:
        """That of the training so far, if its next batch is this step's; else a new one."""
        if self._stream is None or self._stream.next_step != step:
            self._close()
            self._stream = self._new_stream(step)
        return self._stream

    def _new_stream(self, step: int) -> PatchStream:
        trainer = self.trainer
        last_step = None if trainer is None else self._last_step(trainer)
        sampler = DrawSampler(
            step,
            last_step,
            self.batch_size,
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
            overfit=self.overfit,
        )
        on_gpu = trainer is not None and trainer.strategy.root_device.type == "cuda"
        workers = self._workers(on_gpu, 1 if trainer is None else trainer.num_devices)
        queue = PatchQueue(self.patches, sampler, QUEUED_BATCHES * self.batch_size, workers)
        ahead = on_gpu and workers > 0
        return PatchStream(queue, self.batch_size, step, last_step, ahead=ahead)

    def _last_step(self, trainer: pl.Trainer) -> int | None:
        """Of the training, by its epochs and steps; None where neither has an end."""
        in_epochs = (trainer.max_epochs or -1) * self.steps_per_epoch
        ends = [end for end in (in_epochs, trainer.max_steps) if end > 0]
        return min(ends) - 1 if ends else None

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _workers(self, on_gpu: bool, trainings: int) -> int:
        if self.num_workers != "auto":
            return self.num_workers
        return min(max(1, available_cpus() // trainings - 1), MOST_WORKERS) if on_gpu else 1

    def first_batch(self) -> Batch:
        """The batch that training began with; the same whenever it is asked for."""
        return collate([self.patches[draw] for draw in range(self.batch_size)])

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Whole volumes of the completely annotated validation cases, one at a time."""
        if not self.cases.validated:
            return []
        return [DataLoader(WholeVolumes(self.store, self.cases.validated), batch_size=None)]


class WholeVolumes(Dataset[Batch]):
    """Item n is the whole preprocessed volume of case n as a batch of one."""

    def __init__(self, store: CaseStore, case_ids: list[str]) -> None:
        self.store = store
        self.case_ids = case_ids

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.case_ids)

    def __getitem__(self, index: int) -> Batch:
        """`image` float32 and `label` uint8, both (1, 1, z, y, x), and `case_id`.

        Raises:
            RunError: The case cannot be read.
        """
        case_id = self.case_ids[index]
        try:
            image, label = self.store.image(case_id), self.store.label(case_id)
        except CaseError as error:
            raise RunError("a case stops the training", why=str(error)) from error
        if label is None:
            raise IndexError(f"{case_id} has no label")
        return {
            "image": torch.from_numpy(np.array(image, np.float32))[None, None],
            "label": torch.from_numpy(label)[None, None],
            "case_id": [case_id],
        }
