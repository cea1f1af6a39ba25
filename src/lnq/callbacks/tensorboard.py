"""Curves and pictures for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from lnq.callbacks.only_reports import reporting
from lnq.errors import UsageError
from lnq.run_folder import RunFolder
from lnq.volume import Array


@reporting("TensorBoard's log", "log_metrics", "log_hyperparams", "log_image", "save", "finalize")
class TensorBoardCurves(TensorBoardLogger):
    """Lightning's TensorBoard logger, in the run's folder; takes pictures too.

    Args:
        folder: The run's folder; the files lie in `tensorboard/` inside.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            name = RunFolder(folder).tensorboard.name
            super().__init__(folder, name="", version=name, default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise UsageError(
                "TensorBoard is not installed",
                where="logger.tensorboard",
                remedy="pip install '.[track]' in the repository, or leave it out of logger=...",
            ) from error

    @rank_zero_only
    def log_image(
        self, key: str, images: Sequence[Array], step: int | None, caption: Sequence[str]
    ) -> None:
        """Shows pictures, uint8 (height, width, 3), at their step; it has no captions."""
        for image in images:
            self.experiment.add_image(key, image, step, dataformats="HWC")
